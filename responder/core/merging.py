"""What is to become of something that two databases have had for a while: a rule for each sort, and nothing else.

`before` is what both had. What changed there alone is taken; what changed on both sides to different things is a
conflict, and what stands here stays.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from responder.core.points import Point
from responder.core.told import entries, without

NOTED = ("capacity", "visitors", "staffing", "supplies")  # what operators tell each other of a point
PENDING, ACTIVE = "pending", "active"


class Verdict(StrEnum):
    """What happens here."""

    NOTHING = "nothing"
    TAKE = "take"
    CONFLICT = "conflict"


def judged(before_here: object, here: object, before_there: object, there: object) -> Verdict:
    """Whether `there` comes here. What was before may be known in another form on each side."""
    if there in (before_there, here):
        return Verdict.NOTHING
    return Verdict.TAKE if here == before_here else Verdict.CONFLICT


@dataclass(frozen=True, slots=True)
class Settled:
    """What a point becomes here, and what was decided of its two parts."""

    point: Point
    told: Verdict
    noted: Verdict


def settled(here: Point, there: Point, told: Verdict, noted: Verdict) -> Settled:
    """The point as it stands here after it was judged. Where both sides say the same, the later confirmation counts."""
    point = here
    if told is Verdict.TAKE:
        point = replace(there, **{name: getattr(here, name) for name in NOTED})
    elif _bare(here) == _bare(there) and _later(here, there):
        point = replace(here, confirmed_at=there.confirmed_at)
    if noted is Verdict.TAKE:
        point = replace(point, **{name: getattr(there, name) for name in NOTED})
    return Settled(point, told, noted)


def _later(here: Point, there: Point) -> bool:
    if there.confirmed_at is None:
        return False
    return here.confirmed_at is None or here.confirmed_at < there.confirmed_at


def _bare(point: Point) -> Point:
    return replace(point, confirmed_at=None, capacity=None, visitors=None, staffing="", supplies="")


@dataclass(frozen=True, slots=True)
class Known:
    """What a subscriber knows: `told`, `said` (core.told) and when they were told it, in seconds since 1970."""

    told: str
    said: str
    said_at: float


def known_after(here: Known, there: Known, since: float, spoken_of: Collection[str]) -> Known:
    """What somebody knows whom both sides may have told something after `since`.

    The later message counts. Doors that only the earlier one sent them to stay to be followed up, save those that the
    later side has `spoken_of`.
    """
    if there.said_at <= since:
        return here
    if here.said_at <= since:
        return there
    later, earlier = (here, there) if here.said_at >= there.said_at else (there, here)
    named = {entry.point for entry in entries(later.said)} | set(spoken_of)
    return replace(later, said=later.said + without(earlier.said, named))


def agreed(here: str, there: str) -> str:
    """The state of a subscription that waits for somebody's word on one side, or on none."""
    return ACTIVE if ACTIVE in (here, there) else here

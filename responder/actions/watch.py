"""What whoever keeps watch must see: whether the service is alive, which points are open, and what waits for people."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, may
from responder.core.broadcast import State, objection
from responder.core.points import ACTIVATED, PROPOSED, Kind, Point, Standing, standing
from responder.core.words import fold
from responder.store.accounts import read_accounts
from responder.store.desk import point_numbers
from responder.store.engine import Database
from responder.store.tables import AuditRow
from responder.store.watching import (
    Pulse,
    Sending,
    Submitted,
    current_point,
    current_points,
    point_log,
    pulse,
    submitted,
    under_way,
)

SYSTEM = "system"  # the kind of what goes to operators
TROUBLE = timedelta(minutes=10)  # for which texts may wait before somebody should ask why


@dataclass(frozen=True, slots=True)
class Shown:
    """A point as operators see it: with the version they see, what it is now, and its short number on a phone."""

    point: Point
    version: int
    standing: Standing
    number: int | None = None

    @property
    def confirmable(self) -> bool:
        """Whether there is a door to confirm: it is said to be open, and has not closed by its own time."""
        return self.point.status in ACTIVATED and self.standing.kind is not Kind.CLOSED

    @property
    def stale(self) -> bool:
        """Whether residents may be sent to it and nobody has confirmed it lately."""
        return self.confirmable and self.standing.unconfirmed


@dataclass(frozen=True, slots=True)
class District:
    """How many points of a district are what; "" for points that lie in none. `open` counts those that close soon."""

    name: str
    open: int
    full: int
    on_call: int
    closing_soon: int
    stale: int
    points: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Everything on one page. `queued`: messages that may go now; `stale`: the longest unconfirmed first; `mine`: what
    may be approved by who looks, of `waiting` in all.
    """

    pulse: Pulse
    jobs_run: bool
    queued: int
    stuck: bool
    points: tuple[Shown, ...]
    districts: tuple[District, ...]
    stale: tuple[Shown, ...]
    sending: tuple[Sending, ...]
    waiting: int
    mine: tuple[Submitted, ...]


def watch(database: Database, operator: Operator, zone: str, stale_after: timedelta, now: datetime) -> Watch:
    """How things stand at `now`, for `operator`. Raises StoreAway."""
    with database.read() as connection:
        points = _shown(connection, zone, stale_after, now)
        beat, sending = pulse(connection, now.timestamp()), under_way(connection)
        waiting = submitted(connection)
        mine = _mine(connection, operator, waiting)
    return Watch(
        beat,
        jobs_run=beat.leads_until > now.timestamp(),
        queued=sum(one.waiting for one in sending if one.state == State.SENDING),
        stuck=0 < beat.oldest < (now - TROUBLE).timestamp(),
        points=points,
        districts=_districts(points),
        stale=tuple(sorted((shown for shown in points if shown.stale), key=_unconfirmed_since)),
        sending=tuple(one for one in sending if one.kind != SYSTEM),
        waiting=len(waiting),
        mine=tuple(mine),
    )


def points(database: Database, zone: str, stale_after: timedelta, now: datetime) -> tuple[Shown, ...]:
    """Every point that has been decided on, by district and name. Raises StoreAway."""
    with database.read() as connection:
        return _shown(connection, zone, stale_after, now)


def point(database: Database, id: str, zone: str, stale_after: timedelta, now: datetime) -> Shown | None:
    """The point `id`, decided on or not, or None. Raises StoreAway."""
    with database.read() as connection:
        found, numbers = current_point(connection, id), point_numbers(connection)
    return Shown(*found, standing(found[0], now, zone, stale_after), numbers.get(id)) if found else None


def history(database: Database, id: str) -> list[AuditRow]:
    """What was done to the point `id`, the newest first. Raises StoreAway."""
    with database.read() as connection:
        return point_log(connection, id)


def matching(shown: Iterable[Shown], words: str, districts: Sequence[str]) -> list[Shown]:
    """Those whose name, district or address has all of `words`, or whose number it is, in one of `districts` (all if
    empty).
    """
    wanted, number = [fold(word) for word in words.split()], words.strip()
    return [
        one
        for one in shown
        if (not districts or one.point.district in districts)
        and (_has(one.point, wanted) or (number.isdecimal() and number == str(one.number)))
    ]


def _has(point: Point, wanted: list[str]) -> bool:
    text = fold(f"{point.name} {point.district} {point.address} {point.city} {point.postcode} {point.id}")
    return all(word in text for word in wanted)


def _shown(connection: Connection, zone: str, stale_after: timedelta, now: datetime) -> tuple[Shown, ...]:
    numbers = point_numbers(connection)
    found = [
        Shown(point, version, standing(point, now, zone, stale_after), numbers.get(point.id))
        for point, version in current_points(connection)
        if point.status not in PROPOSED
    ]
    return tuple(sorted(found, key=lambda shown: (shown.point.district, shown.point.name, shown.point.id)))


def _unconfirmed_since(shown: Shown) -> float:
    return shown.point.confirmed_at.timestamp() if shown.point.confirmed_at else 0.0


def _districts(points: Iterable[Shown]) -> tuple[District, ...]:
    by_name: dict[str, list[Shown]] = defaultdict(list)
    for shown in points:
        by_name[shown.point.district].append(shown)
    return tuple(_district(name, by_name[name]) for name in sorted(by_name, key=lambda name: (not name, name)))


def _district(name: str, points: list[Shown]) -> District:
    kinds = [shown.standing.kind for shown in points]
    return District(
        name,
        open=kinds.count(Kind.OPEN) + kinds.count(Kind.CLOSES_SOON),
        full=kinds.count(Kind.FULL),
        on_call=kinds.count(Kind.BY_PHONE),
        closing_soon=kinds.count(Kind.CLOSES_SOON),
        stale=sum(shown.stale for shown in points),
        points=len(points),
    )


def _mine(connection: Connection, operator: Operator, waiting: list[Submitted]) -> list[Submitted]:
    """Those of `waiting` that nothing forbids `operator` to approve."""
    if not waiting or not may(operator, Permission.APPROVE):
        return []
    creators = {account.operator.name: account.operator.created_by for account in read_accounts(connection)}
    return [one for one in waiting if objection(operator, one.writers, creators, one.version, one.version) is None]

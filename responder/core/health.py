"""Whether a gateway works, by what became of what we asked of it lately.

It goes down at once: what is sent on meanwhile is unclear, and somebody waits for it. Where it was only slow, what it
then answers to those very requests brings it back, and it is given more time from then on. Else it comes back slowly:
first it is asked whether it is there, which risks nobody's message; then it is given single messages; and only when it
has taken some in a row, and has been down for a while, it is given all. Who goes down again soon stays away twice as
long. So a gateway comes back at most once in `hold` seconds either way, however it behaves.

Times are seconds of any steady clock.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

MOST_HOLDS = 8  # a gateway that keeps going down stays away for at most so many times `hold`
SOON = 5  # times `hold`: going down again within that is a relapse


class State(StrEnum):
    """How far a gateway is trusted."""

    UP = "up"
    SUSPECT = "suspect"  # something went wrong: few messages at a time, so that few would be unclear
    DOWN = "down"  # nothing but what tries it


class Outcome(StrEnum):
    """What one request says about the gateway. What is a number's own fault says nothing, and is none."""

    GOOD = "good"
    FAILED = "failed"  # no answer, no connection, or an error of theirs
    LATE = "late"  # no answer yet, for longer than it usually takes
    BARRED = "barred"  # they do not take anything of ours: the account is refused


@dataclass(frozen=True, slots=True)
class Rule:
    """When a gateway is down and when it is up again. `probe`: seconds between two attempts to find out."""

    hold: float = 60.0
    probe: float = 5.0
    tries: int = 3  # messages in a row that it must have taken
    row: int = 4  # failures in a row that take it down ...
    doubt: int = 2  # ... and that make it suspect
    share: float = 0.5  # of the lately heard: more failures than that take it down, half of it makes it suspect
    least: int = 8  # heard of before a share says anything
    window: int = 40
    span: float = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Heard:
    """One outcome: when it was heard, whether it was good, and after how many seconds it came."""

    at: float
    good: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Health:
    """How a gateway stands. `since`: when it went down or came back; what began before says nothing any more."""

    state: State = State.UP
    since: float = float("-inf")
    recent: tuple[Heard, ...] = ()
    row: int = 0  # failures in a row
    holds: int = 1  # times `hold` for which it stays down
    asked_at: float = float("-inf")  # while it is down: when we last asked whether it is there,
    answers_since: float | None = None  # since when it has answered that every time,
    tried_at: float = float("-inf")  # when it was last given a message,
    taken: int = 0  # and how many in a row it took
    last_success: float | None = None
    late: int = 0  # of the failures in a row, how many may still be answered
    forgiven_at: float = float("-inf")  # when it was found to have been slow only

    @property
    def works(self) -> bool:
        """Whether messages may be sent through it."""
        return self.state is not State.DOWN

    @property
    def failed(self) -> float:
        """The share of what was heard lately that was a failure, 0 to 1."""
        return sum(not one.good for one in self.recent) / len(self.recent) if self.recent else 0.0

    @property
    def slowest(self) -> float:
        """The most seconds after which it took a message lately; 0 if it took none."""
        return max((one.seconds for one in self.recent if one.good), default=0.0)

    @property
    def latency(self) -> float:
        """The median of the seconds after which it took a message lately; 0 if it took none."""
        return median([one.seconds for one in self.recent if one.good] or [0.0])


def told(health: Health, at: float) -> Health:
    """For a process that begins, and hears from another that it is down."""
    return replace(health, state=State.DOWN, since=at) if not health.recent else health


def heard(health: Health, outcome: Outcome, began: float, at: float, rule: Rule) -> Health:
    """After a request that began and ended at these times."""
    good = outcome is Outcome.GOOD
    recent = [one for one in health.recent if one.at > at - rule.span][-rule.window + 1 :]
    if began < health.since:  # from before it went down, or came back: known already
        slow = good and health.state is State.DOWN and 0 < health.row == health.late
        if not slow or at - health.forgiven_at < rule.hold:
            return health
        recent = [*(one for one in recent if one.good), Heard(at, True, at - began)]
        return Health(State.SUSPECT, began, tuple(recent), holds=health.holds, last_success=at, forgiven_at=at)
    row, late = (0, 0) if good else (health.row + 1, health.late + (outcome is Outcome.LATE))
    new = replace(
        health, recent=(*recent, Heard(at, good, at - began)), row=row, late=late,
        last_success=at if good else health.last_success,
    )  # fmt: skip
    if health.state is State.DOWN:
        if outcome is Outcome.LATE:  # it may still take it
            return health
        return replace(new, taken=new.taken + 1) if good else replace(new, taken=0, answers_since=None)
    share = new.failed if len(new.recent) >= rule.least else 0.0
    if outcome is Outcome.BARRED or new.row >= rule.row or (share > rule.share and not good):
        return _down(new, at, rule)
    doubted = new.row >= rule.doubt or share > rule.share / 2
    return replace(new, state=State.SUSPECT if doubted else State.UP)


def given_up(health: Health, began: float) -> Health:
    """A request that was heard of as late has failed in the end: what tried one that is down has failed."""
    if health.state is not State.DOWN or began < health.since:
        return health
    return replace(health, taken=0, answers_since=None)


def asking(health: Health, at: float) -> Health:
    """It is being asked, while it is down, whether it is there."""
    return replace(health, asked_at=at) if health.state is State.DOWN else health


def asked(health: Health, answered: bool, at: float) -> Health:
    """What it answered to that, at the time `at`."""
    if health.state is not State.DOWN:
        return health
    since = (health.answers_since if health.answers_since is not None else at) if answered else None
    return replace(health, answers_since=since, taken=health.taken if answered else 0)


def tried(health: Health, at: float) -> Health:
    """A message is on its way to a gateway that is down."""
    return replace(health, tried_at=at) if health.state is State.DOWN else health


def may_be_asked(health: Health, at: float, rule: Rule) -> bool:
    """Whether it is time to ask one that is down whether it is there."""
    return health.state is State.DOWN and at - max(health.asked_at, health.since) >= rule.probe


def may_be_tried(health: Health, at: float, rule: Rule, alone: bool) -> bool:
    """Whether one that is down, and says that it is there, may be given a message. `alone`: no other works, so that the
    messages would wait anyway.
    """
    if health.state is not State.DOWN or health.answers_since is None:
        return False
    return alone or at - health.tried_at >= rule.probe


def settled(health: Health, at: float, rule: Rule, alone: bool) -> Health:
    """As time passes: one that is down comes back once it has taken messages in a row, or has had none to take while it
    answered for long enough; and not before its time is over, unless it is `alone` and there is nothing to swing
    between.
    """
    if health.state is not State.DOWN or health.answers_since is None:
        return health
    proved = health.taken >= rule.tries
    idle = at - max(health.answers_since, health.tried_at) >= rule.hold
    if not (proved or idle) or (at - health.since < rule.hold * health.holds and not (alone and proved)):
        return health
    return Health(
        State.UP, at, holds=health.holds, last_success=health.last_success, forgiven_at=health.forgiven_at,
        recent=tuple(one for one in health.recent if one.good),
    )  # fmt: skip


def _down(health: Health, at: float, rule: Rule) -> Health:
    relapse = at - health.since <= SOON * rule.hold
    holds = min(MOST_HOLDS, health.holds * 2) if relapse else 1
    return replace(
        health, state=State.DOWN, since=at, holds=holds, asked_at=float("-inf"), answers_since=None,
        tried_at=float("-inf"), taken=0,
    )  # fmt: skip

"""Broadcasts written by people: their states, who may approve them, whom they reach, what they say and cost.

An edit always leads back to a draft and makes a new version: what was approved is what is sent, to the letter.
An exercise is one from its first draft to its last delivery, and says so at both ends of every text.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum

from responder.core.access import SHELL, Operator, Permission, may
from responder.core.places import Gazetteer, Place, PlaceKind
from responder.core.problem import Phrase, Problem
from responder.core.words import swedish, words

MIN_REASON = 10  # characters
SEND_JOB = "send:"  # before the id of a broadcast that starts at a time
RULE = "rule"  # `approved_by` of what did not have to wait


class State(StrEnum):
    """Where a broadcast stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    SENDING = "sending"
    PAUSED = "paused"
    DONE = "done"
    RETURNED = "returned"
    REJECTED = "rejected"
    STOPPED = "stopped"


class Step(StrEnum):
    """What can be done with one."""

    EDIT = "edit"
    SUBMIT = "submit"
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"
    SEND = "send"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    FINISH = "finish"
    REOPEN = "reopen"  # a delivery nobody knew about is sent again


class Priority(IntEnum):
    """What goes first: the lower."""

    REPLY = 0
    CORRECTION = 1
    CLOSED_DOOR = 2
    STATUS = 3
    REST = 4


class Template(StrEnum):
    """What sort of message; all but `free` have a prewritten text."""

    FREE = "free"
    CORRECTION = "correction"
    ALL_CLEAR = "all_clear"
    EXERCISE = "exercise"


# One that is done may still have deliveries that are tried again: it can be stopped too.
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    **{(s, Step.EDIT): State.DRAFT for s in (State.DRAFT, State.SUBMITTED, State.APPROVED, State.RETURNED)},
    **{(s, Step.SUBMIT): State.SUBMITTED for s in (State.DRAFT, State.RETURNED)},
    (State.SUBMITTED, Step.APPROVE): State.APPROVED,
    (State.SUBMITTED, Step.RETURN): State.RETURNED,
    (State.SUBMITTED, Step.REJECT): State.REJECTED,
    (State.APPROVED, Step.SEND): State.SENDING,
    (State.SENDING, Step.PAUSE): State.PAUSED,
    (State.PAUSED, Step.RESUME): State.SENDING,
    **{
        (s, Step.STOP): State.STOPPED
        for s in (State.SENDING, State.PAUSED, State.APPROVED, State.SUBMITTED, State.DONE)
    },
    (State.SENDING, Step.FINISH): State.DONE,
    (State.DONE, Step.REOPEN): State.SENDING,
}
BEGUN = (State.SENDING, State.PAUSED, State.DONE, State.STOPPED)  # somebody may have been reached


class BroadcastError(Problem):
    """Something that a broadcast may not be or become. Nothing was changed."""


class NoSuchBroadcast(BroadcastError):
    """An id that no broadcast has."""


class IllegalStep(BroadcastError):
    """A step that the state does not allow."""

    def __init__(self, state: State, step: Step) -> None:
        self.state, self.step = state, step
        self.possible = tuple(s for was, s in TRANSITIONS if was is state and s not in (Step.FINISH, Step.REOPEN))
        super().__init__(
            Phrase(
                "cannot {step} a broadcast that is {state}; possible now: {possible}",
                step=step,
                state=state,
                possible=self.possible or Phrase("nothing"),
            )
        )


class BadTarget(BroadcastError):
    """Nobody is named, or somebody who does not exist: never everyone instead."""


def after(state: State, step: Step) -> State:
    """The state that `step` leads to, whoever takes it. Raises IllegalStep."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise IllegalStep(state, step) from None


def objection(
    approver: Operator, editors: Iterable[str], creators: Mapping[str, str], read: int, version: int
) -> Phrase | None:
    """Why `approver`, who read version `read`, may not approve `version`; None if they may.

    `editors` have written at it; `creators` has for each account who created it.
    """
    if not may(approver, Permission.APPROVE):
        return Phrase("{name} is not signed in as an approver; somebody else must approve", name=approver.name)
    if read != version:
        return Phrase(
            "version {read} was read, but it is now version {version}; read that one first", read=read, version=version
        )
    wrote = {_person(name) for name in editors}
    if _person(approver.name) in wrote:
        return Phrase("{name} wrote it or changed it; somebody else must approve", name=approver.name)
    for creator in _above(approver.name, creators):
        if _person(creator) in wrote:
            return Phrase(
                "{writer} wrote it or changed it, and the account {name} goes back to {writer}; somebody else must "
                "approve",
                writer=creator,
                name=approver.name,
            )
    return None


def waits(
    template: Template, recipients: int, recent: int, approve_above: int, free: bool, danger: bool = False
) -> bool:
    """Whether a second person must approve. `recent`: recipients of the same operator in the last hour; `free`: whether
    somebody wrote the text; `danger`: danger to life, with a reason.
    """
    if danger or (template is Template.CORRECTION and not free):
        return False
    return recipients + recent > approve_above


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a broadcast is for: the union of what is named. One that names nothing reaches nobody."""

    everyone: bool = False
    districts: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()  # names, or codes where a name is not enough
    postcodes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nobody is named."""
        return not (self.everyone or self.districts or self.areas or self.postcodes or self.points)

    @classmethod
    def parse(cls, tokens: Sequence[str], known: Gazetteer, points: Collection[str]) -> "Audience":
        """`everyone`, `district:Farsta`, `area:Hökarängen`, `postcode:12347`, `point:farsta-1`. Raises BadTarget."""
        if not tokens:
            raise BadTarget("nobody is named; choose everyone, or districts, areas, postcodes or points")
        named: dict[str, list[str]] = {}
        for token in tokens:
            kind, value = _target(token, known, points)
            named.setdefault(kind, []).append(value)
        if "everyone" in named and len(named) > 1:
            raise BadTarget("everyone takes in all others; choose either everyone or the others")
        return cls(
            everyone="everyone" in named,
            districts=_once(named.get("district", ())),
            areas=_once(named.get("area", ())),
            postcodes=_once(named.get("postcode", ())),
            points=_once(named.get("point", ())),
        )

    def tokens(self) -> tuple[str, ...]:
        """What `parse` would make it of."""
        named = (("district", self.districts), ("area", self.areas), ("postcode", self.postcodes))
        everyone = ("everyone",) if self.everyone else ()
        return (*everyone, *(f"{kind}:{v}" for kind, values in (*named, ("point", self.points)) for v in values))

    def codes(self, known: Gazetteer) -> frozenset[str]:
        """The codes of all places that it names, each once."""
        return frozenset(code for codes in self._codes(known) for code in codes)

    def _codes(self, known: Gazetteer) -> Iterator[Iterable[str]]:
        yield (place.code for place in known.by_code.values() if place.district and place.district in self.districts)
        yield (code for code in self.postcodes if code in known.by_code)
        for name in self.areas:
            for place in _named(name, known):
                yield (other.code for other in known.by_code.values() if _belongs(other, place))

    def to_json(self) -> str:
        """As JSON; only what is named."""
        return json.dumps(
            {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, data: str) -> "Audience":
        """The audience that `to_json` wrote; "" is nobody."""
        row = json.loads(data or "{}")
        lists = {name: tuple(row.get(name, ())) for name in ("districts", "areas", "postcodes", "points")}
        return cls(everyone=row.get("everyone") is True, **lists)


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody was shown of a broadcast before they said yes to it, `at` seconds since 1970."""

    corrects: int | None
    exercise: bool
    texts: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One broadcast as it is stored. Times in seconds since 1970; `template` is "" unless people wrote it."""

    id: int
    kind: str
    template: str
    exercise: bool
    state: State
    version: int
    priority: int
    audience: Audience
    texts: Mapping[str, str]
    fallback: str
    operator: str
    editors: tuple[str, ...]  # who edited last is last
    created_at: float
    approved_by: str = ""
    approved_version: int = 0
    reason: str = ""
    corrects: int | None = None
    recipients: int = 0
    submitted_at: float | None = None
    send_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def written(self) -> bool:
        """Whether people wrote it, so that its deliveries are made when it is sent."""
        return self.kind == "message"

    @property
    def writers(self) -> tuple[str, ...]:
        """Everybody who wrote at it."""
        return _once((self.operator, *self.editors))


def existing(found: Broadcast | None, id: int) -> Broadcast:
    """`found`, the broadcast `id` as it was read. Raises NoSuchBroadcast if it is none that people look at."""
    if found is None or found.kind == "system":
        raise NoSuchBroadcast("there is no broadcast {id}; look it up in the list of broadcasts", id=id)
    return found


def job(id: int) -> str:
    """What the schedule calls the start of the broadcast `id`."""
    return f"{SEND_JOB}{id}"


def subject(id: int) -> str:
    """What the audit log calls the broadcast `id`."""
    return f"broadcast:{id}"


def _target(token: str, known: Gazetteer, points: Collection[str]) -> tuple[str, str]:
    kind, _, value = (part.strip() for part in token.partition(":"))
    if kind == "everyone" and not value and ":" not in token:
        return kind, ""
    if not value:
        raise BadTarget("'{target}' names nobody; say which district, area, postcode or point", target=token)
    match kind:
        case "district":
            return kind, _district(value, known)
        case "area":
            return kind, _area(value, known)
        case "postcode":
            return kind, _postcode(value, known)
        case "point":
            if value not in points:
                raise BadTarget("no point has the id '{id}'; look it up in the list of points", id=value)
            return kind, value
    raise BadTarget("'{target}' is unknown; choose everyone, a district, area, postcode or point", target=token)


def _district(name: str, known: Gazetteer) -> str:
    for district in sorted(known.districts):
        if _key(district) == _key(name):
            return district
    raise BadTarget(
        "no district is called '{name}'; choose among {districts}", name=name, districts=sorted(known.districts)
    )


def _area(name: str, known: Gazetteer) -> str:
    found = _named(name, known)
    if not found and any(_key(district) == _key(name) for district in known.districts):
        raise BadTarget("'{name}' is a district, not an area; choose it as a district", name=name)
    if not found:
        raise BadTarget("no place is called '{name}'; check how it is written, or choose its district", name=name)
    if len({place.municipality for place in found}) > 1:
        raise BadTarget(
            "several places are called '{name}'; write one of {areas} instead",
            name=name,
            areas=[f"area:{place.code}" for place in found],
        )
    return name if name in known.by_code else found[0].name


def _postcode(value: str, known: Gazetteer) -> str:
    code = value.replace(" ", "")
    place = known.by_code.get(code)
    if not place or place.kind is not PlaceKind.POSTCODE:
        raise BadTarget("no postcode '{postcode}' is known; check its five digits", postcode=value)
    return code


def _named(name: str, known: Gazetteer) -> list[Place]:
    """The places, not postcodes or districts, that have the code or else the name `name`, or else an alias."""
    inhabited = [p for p in known.places if p.kind not in (PlaceKind.POSTCODE, PlaceKind.AREA)]
    by_code = [place for place in inhabited if place.code == name]
    by_name = [place for place in inhabited if _key(place.name) == _key(name)]
    return by_code or by_name or [p for p in inhabited if any(_key(alias) == _key(name) for alias in p.aliases)]


def _belongs(other: Place, place: Place) -> bool:
    """Whether who subscribed with `other` is meant by `place`: itself, its postcodes, a district seen from it."""
    if other.code == place.code:
        return True
    if other.municipality != place.municipality:
        return False
    if place.kind is PlaceKind.MUNICIPALITY:
        return True
    if other.kind is PlaceKind.POSTCODE:
        return other.near == place.name
    seen_from = other.kind is PlaceKind.AREA and "@" in other.code and other.district == place.district
    return seen_from and _key(other.name) in {_key(name) for name in (place.name, *place.aliases)}


def _key(name: str) -> str:
    return "".join(words(swedish(name)))


def _once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _person(name: str) -> str:
    return name.removeprefix(SHELL)


def _above(name: str, creators: Mapping[str, str]) -> Iterator[str]:
    """Who created the account `name`, who created theirs, and so on."""
    seen, todo = {name}, [name]
    while todo:
        for creator in creators.get(todo.pop(), "").split(", "):
            if creator and creator not in seen:
                seen.add(creator)
                todo.append(creator)
                yield creator

"""What somebody was told, in a form that can be stored and compared, and whether it still holds.

A *key* is what makes one answer another answer: "KIND POINT STATE UNTIL" ("open farsta-1 open 1795802400"; "-" for no
point, 0 for no end), never distance or confirmation. It is taken from a `neutral` board, which leaves the regular hours
of doors out: those push nothing. *Said* is the list of points that a text or a call sent somebody to, as they really
stood: ";POINT STATE UNTIL" for each. UNTIL is in seconds since 1970: when the door closes, or for opens_at when it
opens.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from responder.core.answer import REACH, Answer, AnswerKind, Board, Offer, board
from responder.core.nearest import Mask, Vectors, unit_vectors
from responder.core.places import Place, PlaceKind
from responder.core.points import ACTIVATED, PROPOSED, USABLE, Kind, Point, Standing, Status

CHUNK = 512  # places compared with all points at once
_WORSE = 1e8  # metres that a full or by-phone point is put behind a free one


class News(StrEnum):
    """What a change of somebody's answer means to them."""

    NONE = "none"
    LAPSED = "lapsed"  # the door closed when they had been told that it would
    CHANGED = "changed"
    CLOSED_DOOR = "closed_door"  # they might go, or be on their way, to a door that is not open


class Entry(NamedTuple):
    """A point as it was told; `until` in seconds since 1970, 0 for none."""

    point: str
    state: str
    until: int


def key_of(answer: Answer) -> str:
    """The key of an answer that was found on a neutral board."""
    return f"{answer.kind} {_entry(answer.offers[0]) if answer.offers else '- - 0'}"


def said_of(answer: Answer) -> str:
    """Every point that an answer sends somebody to."""
    return "".join(f";{_entry(offer)}" for offer in answer.offers)


def entries(said: str) -> tuple[Entry, ...]:
    """The points in a `said`, or the one in a key."""
    if not said.startswith(";"):
        said = said.partition(" ")[2]
    parts = (part.split(" ") for part in said.split(";") if part)
    return tuple(Entry(point, state, int(until)) for point, state, until in parts if point != "-")


def as_said(key: str) -> str:
    """The point in a key as a `said`."""
    return "".join(f";{entry.point} {entry.state} {entry.until}" for entry in entries(key))


def merged(*said: str) -> str:
    """All the points that any of `said` names, each entry once."""
    return "".join(dict.fromkeys(f";{part}" for one in said for part in one.split(";") if part))


def without(said: str, points: Collection[str]) -> str:
    """`said` without what it says of `points`."""
    return "".join(f";{part}" for part in said.split(";") if part and part.partition(" ")[0] not in points)


def neutral(points: Iterable[Point]) -> list[Point]:
    """`points` as if their doors had no regular hours."""
    return [replace(point, hours="") if point.hours else point for point in points]


def opener(key: str) -> str:
    """The point that the answer with this key names first, or ""."""
    found = entries(key)
    return found[0].point if found else ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A point that somebody counts on, and what has become of it: the end of a `news.` wording key."""

    point: Point
    how: str
    until: datetime | None


@dataclass(frozen=True)
class Now:
    """How all points stand at `at`: on the real board, and on the neutral one."""

    at: datetime
    real: Board
    neutral: Board

    @cached_property
    def _standings(self) -> dict[str, Standing]:
        return {point.id: standing for point, standing in zip(self.real.points, self.real.standings, strict=True)}

    @cached_property
    def _statuses(self) -> dict[str, Status]:
        return {point.id: point.status for point in self.real.points}

    @cached_property
    def _neutral_standings(self) -> dict[str, Standing]:
        return {p.id: standing for p, standing in zip(self.neutral.points, self.neutral.standings, strict=True)}

    def is_broken(self, entry: Entry, regular: bool = True) -> bool:
        """Whether somebody who was told `entry` might stand before a closed door. `regular`: with the doors' hours."""
        now = self.at.timestamp()
        standing = (self._standings if regular else self._neutral_standings).get(entry.point)
        kind = standing.kind if standing else Kind.UNTOLD
        if entry.state == Kind.OPENS_AT and entry.until <= now:  # it opened, or somebody has closed it meanwhile
            status = self._statuses.get(entry.point, Status.CANDIDATE)
            return status not in ACTIVATED
        if entry.state == Kind.OPENS_AT:
            later = standing is not None and standing.opens is not None and standing.opens.timestamp() > entry.until
            return kind not in USABLE - {Kind.FULL} and not (kind is Kind.OPENS_AT and not later)
        if entry.state not in (Kind.OPEN, Kind.BY_PHONE) or 0 < entry.until <= now:
            return False
        if kind not in USABLE or kind is Kind.FULL or (kind is Kind.BY_PHONE and entry.state == Kind.OPEN):
            return True
        until = int(standing.until.timestamp()) if standing and standing.until else 0
        return bool(until) and (not entry.until or until < entry.until)

    def lost(self, told: str) -> "tuple[Lost, ...]":
        """The points of `told` (a key or a said) that are not what they were said to be, and how."""
        points = {point.id: point for point in self.real.points}
        regular = told.startswith(";")  # a key knows no regular hours
        found = {
            entry.point: Lost(points[entry.point], _how(entry, self._standings[entry.point]), self._until(entry))
            for entry in reversed(entries(told))
            if entry.point in points and self.is_broken(entry, regular)
        }
        return tuple(reversed(found.values()))

    def _until(self, entry: Entry) -> datetime | None:
        return self._standings[entry.point].until

    def any_broken(self, said: str) -> bool:
        """Whether one of the points in `said` is broken."""
        return any(self.is_broken(entry) for entry in entries(said))

    def news(self, told: str, current: str) -> News:
        """What the change from the key `told` to the key `current` means."""
        if told == current:
            return News.NONE
        first = next(iter(entries(told)), None)
        if first and first.state != Kind.OPENS_AT and 0 < first.until <= self.at.timestamp():
            return News.CHANGED if opener(current) == first.point else News.LAPSED
        if first and (self.is_broken(first, regular=False) or self._was_full_and_is_closed(first)):
            return News.CLOSED_DOOR
        return News.CHANGED

    def _was_full_and_is_closed(self, entry: Entry) -> bool:
        standing = self._neutral_standings.get(entry.point)
        return entry.state == Kind.FULL and (standing is None or standing.kind not in USABLE)

    def key(self, place: Place, service: str) -> str:
        """The key of the answer at `place` now."""
        return key_of(self.neutral.answer(place, service))


def at(real: Board, now: datetime, before: Now | None = None) -> Now:
    """How the points of a board stand at `now`; what was worked out `before` is used for as long as it holds."""
    current = real.at(now)
    if before and before.real is current:
        return Now(now, current, before.neutral.at(now))
    return Now(now, current, board(neutral(current.points), now, current.zone, current.stale_after, current))


def keys(board: Board, asked: Sequence[tuple[Place, str]]) -> list[str]:
    """The key of each (place, service): as `key_of(board.answer(place, service))`, for all of them at once."""
    if not board.points:
        return [f"{AnswerKind.NO_POINTS} - - 0"] * len(asked)
    table = _Table.of(board)
    return [key for start in range(0, len(asked), CHUNK) for key in table.keys(asked[start : start + CHUNK])]


@dataclass(frozen=True)
class _Table:
    """The points of a board in columns."""

    board: Board
    told: list[str]
    municipalities: dict[str, int]
    districts: dict[str, int]
    municipality: Vectors
    district: Vectors
    full: Mask
    by_phone: Mask

    @classmethod
    def of(cls, board: Board) -> "_Table":
        points = board.points
        offers = [Offer(point, s, None, 0) for point, s in zip(points, board.standings, strict=True)]
        municipalities = {name: n for n, name in enumerate(dict.fromkeys(p.municipality for p in points))}
        districts = {name: n for n, name in enumerate(dict.fromkeys(p.district for p in points))}
        return cls(
            board,
            [_entry(offer) for offer in offers],
            municipalities,
            districts,
            np.array([municipalities[p.municipality] for p in points]),
            np.array([districts[p.district] for p in points]),
            board.kinds[Kind.FULL],
            board.kinds[Kind.BY_PHONE],
        )

    def keys(self, asked: Sequence[tuple[Place, str]]) -> list[str]:
        places = [place for place, _ in asked]
        metres = self.board.grid.distances(unit_vectors([p.lat for p in places], [p.lon for p in places]))
        home = np.array([self.municipalities.get(p.municipality, -1) for p in places])
        district = np.array([self.districts.get(p.district, -1) for p in places])
        area = np.array([p.kind is PlaceKind.AREA for p in places])
        whole = np.array([p.kind is PlaceKind.MUNICIPALITY for p in places])
        here = home[:, None] == self.municipality[None, :]
        reach = (metres <= REACH) | here
        usable = reach & self.board.usable[None, :]
        local = usable & ((area[:, None] & (district[:, None] == self.district[None, :])) | (whole[:, None] & here))
        listing = local.any(axis=1)
        pool = np.where(listing[:, None], local, usable)
        offered = self._offered([service for _, service in asked])
        wanted = pool & offered
        elsewhere = listing & ~wanted.any(axis=1) & (usable & offered).any(axis=1)
        wanted = np.where(elsewhere[:, None], usable & offered, wanted)
        listing = listing & ~elsewhere
        ranked = np.where(wanted.any(axis=1)[:, None], wanted, pool)
        worse = np.where(self.full[None, :], 2, (listing[:, None] & self.by_phone[None, :]).astype(int))
        first = np.where(ranked, metres + worse * _WORSE, np.inf).argmin(axis=1)
        later = np.where(reach & self.board.kinds[Kind.OPENS_AT][None, :], metres, np.inf)
        opens = np.where(np.isfinite(later.min(axis=1)), later.argmin(axis=1), -1)
        found = usable.any(axis=1)
        return [self._key(*row) for row in zip(places, found.tolist(), first.tolist(), opens.tolist(), strict=True)]

    def _offered(self, services: list[str]) -> Mask:
        columns = {
            code: np.array([not code or code in point.services for point in self.board.points], dtype=bool)
            for code in set(services)
        }
        return np.stack([columns[code] for code in services])

    def _key(self, place: Place, found: bool, first: int, opens: int) -> str:
        statuses = self._statuses.get(place.municipality)
        if found:
            kind = AnswerKind.OPEN if statuses or not place.municipality else AnswerKind.NO_POINTS
            return f"{kind} {self.told[first]}"
        if not statuses:
            return f"{AnswerKind.NO_POINTS} - - 0"
        if not statuses - {Status.PLANNED, *PROPOSED}:
            return f"{AnswerKind.NOT_ACTIVATED} - - 0"
        return f"{AnswerKind.OPENS_LATER} {self.told[opens]}" if opens >= 0 else f"{AnswerKind.NONE_OPEN} - - 0"

    @cached_property
    def _statuses(self) -> dict[str, set[Status]]:
        found: dict[str, set[Status]] = {}
        for point in self.board.points:
            found.setdefault(point.municipality, set()).add(point.status)
        return found


def _how(entry: Entry, standing: Standing) -> str:
    if standing.kind in (Kind.FULL, Kind.MOVED, Kind.BY_PHONE):
        return standing.kind.value
    if standing.kind in USABLE:
        return "closes"
    return "not_opening" if entry.state == Kind.OPENS_AT else "closed"


def moments(point: Point, now: datetime) -> list[datetime]:
    """When a change of `point` must be looked at: now, and when its announced times pass."""
    announced = (point.opens, point.closes) if point.status in ACTIVATED else ()
    return [now, *(moment for moment in announced if moment and moment > now)]


def _entry(offer: Offer) -> str:
    standing = offer.standing
    state = Kind.OPEN if standing.kind is Kind.CLOSES_SOON else standing.kind
    moment = standing.opens if standing.kind is Kind.OPENS_AT else standing.until
    return f"{offer.point.id} {state} {int(moment.timestamp()) if moment else 0}"

"""The answer to "where can I go?": which points to tell, in which order, and what else must be said.

Free points come before full ones; a point of another municipality counts only within `REACH`. Distances
carry the margin of both coordinates, so that nobody is told more than is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import hypot

import numpy as np

from responder.core.nearest import Grid, Mask, Vectors, unit_vector, unit_vectors
from responder.core.places import Place, PlaceKind
from responder.core.points import PROPOSED, USABLE, Kind, Point, Standing, Status, standing

REACH = 10_000  # metres to a point of another municipality
MOVED_NEARBY = 3_000  # metres within which a moved point is worth telling
MUCH_CLOSER = 0.5  # of the way to the point with the wanted service
MUCH_CLOSER_METRES = 500
NEAR_TIE = 50  # metres: nobody tells such places apart
MORE = 2
MEMORY = 20_000  # answers remembered


class AnswerKind(StrEnum):
    """What sort of answer it is."""

    OPEN = "open"
    OPENS_LATER = "opens_later"
    NONE_OPEN = "none_open"
    NOT_ACTIVATED = "not_activated"
    NO_POINTS = "no_points"  # the municipality reports no points here


@dataclass(frozen=True, slots=True)
class Offer:
    """A point to tell. `metres` is None where a distance must not or cannot be told; `margin` in metres."""

    point: Point
    standing: Standing
    metres: float | None
    margin: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything a reply needs; `offers` in the order in which they are told."""

    kind: AnswerKind
    place: Place
    offers: tuple[Offer, ...] = ()
    service: str = ""
    service_found: bool = True
    both_near: bool = False
    in_area: bool = False  # the offers lie in the area that was asked for
    skipped: int = 0
    left: int = 0  # usable points that MORE would tell
    closer: Offer | None = None  # much closer, but without the wanted service
    full: Offer | None = None  # nearer than the first, but full
    moved: Offer | None = None  # nearer than the first, but moved
    planned: Offer | None = None
    checked_at: datetime | None = None  # where none is open: the last time anybody confirmed anything there


@dataclass(frozen=True)
class Board:
    """All points with their standing at one moment, ready to be asked. Sorted by (name, id)."""

    points: tuple[Point, ...]
    standings: tuple[Standing, ...]
    grid: Grid
    kinds: dict[Kind, Mask]
    usable: Mask
    zone: str
    stale_after: timedelta
    made_at: datetime
    good_until: datetime | None  # None: for as long as no operator changes anything
    _answers: dict[tuple[Place, str, int], Answer] = field(default_factory=dict, repr=False, compare=False)

    def answer(self, place: Place, service: str = "", skip: int = 0) -> Answer:
        """`answer(self, ...)`, remembered: the same question has the same answer for as long as the board holds."""
        key = (place, service, skip)
        known = self._answers.get(key)
        if known is None:
            if len(self._answers) > MEMORY:
                self._answers.clear()
            known = self._answers[key] = answer(self, place, service, skip)
        return known

    def at(self, now: datetime) -> "Board":
        """This board if it still holds at `now`, else one made anew of the same points."""
        if self.made_at <= now and (self.good_until is None or now < self.good_until):
            return self
        return board(self.points, now, self.zone, self.stale_after)


def board(points: Iterable[Point], now: datetime, zone: str, stale_after: timedelta) -> Board:
    """The board of `points` at `now` (aware), in the IANA time zone `zone`."""
    rows = tuple(sorted(points, key=lambda point: (point.name, point.id)))
    standings = tuple(standing(point, now, zone, stale_after) for point in rows)
    kinds = {kind: np.array([s.kind is kind for s in standings], dtype=bool) for kind in Kind}
    vectors = unit_vectors([p.lat for p in rows], [p.lon for p in rows])
    return Board(
        points=rows,
        standings=standings,
        grid=Grid(vectors),
        kinds=kinds,
        usable=np.array([s.kind in USABLE for s in standings], dtype=bool),
        zone=zone,
        stale_after=stale_after,
        made_at=now,
        good_until=min((s.changes_at for s in standings if s.changes_at), default=None),
    )


def answer(board: Board, place: Place, service: str = "", skip: int = 0) -> Answer:
    """The answer for somebody at `place` who wants `service` (a code, or nothing), after `skip` points told before."""
    position = unit_vector(place.lat, place.lon)
    usable = _ranked(board, place, position)
    if not usable:
        return _nothing_usable(board, place, position, service)
    local = [offer for offer in usable if place.kind is PlaceKind.AREA and offer.point.district == place.district]
    if not local and place.kind is PlaceKind.MUNICIPALITY:
        local = [offer for offer in usable if offer.point.municipality == place.municipality]
    pool = local or usable
    wanted = [offer for offer in pool if service in offer.point.services] if service else pool
    if service and not wanted and local:
        wanted = [offer for offer in usable if service in offer.point.services]
        local = [] if wanted else local
    listing = bool(local)
    ranked = sorted(wanted or pool, key=lambda offer: _later_told(offer, listing))
    told, both_near = _first_told(ranked, listing)
    told_ids = {offer.point.id for offer in told}
    ranked = [*told, *(offer for offer in ranked if offer.point.id not in told_ids)]  # MORE goes on after those
    if skip:
        told, both_near = ranked[skip : skip + MORE], False
    kind = AnswerKind.OPEN if _has_points(board, place) else AnswerKind.NO_POINTS
    found = Answer(
        kind,
        place,
        tuple(told),
        service,
        service_found=bool(wanted),
        both_near=both_near,
        in_area=listing,
        skipped=skip,
        left=max(0, len(ranked) - skip - len(told)),
    )
    if skip:
        return found
    first = told[0]
    return replace(
        found,
        closer=_much_closer(usable[0], first) if service and wanted else None,
        full=next((o for o in usable if _is_full(o) and _nearer(o, first) and o.point.id not in told_ids), None),
        moved=_moved(board, position, place, first),
    )


def _ranked(board: Board, place: Place, position: Vectors) -> list[Offer]:
    """Every usable point within reach, nearest first."""
    return [
        _offer(board, place, index, metres)
        for index, metres in board.grid.order(position, board.usable)
        if metres <= REACH or board.points[index].municipality == place.municipality
    ]


def _offer(board: Board, place: Place, index: int, metres: float) -> Offer:
    point = board.points[index]
    told = None if point.hidden or place.is_area else metres
    return Offer(point, board.standings[index], told, hypot(place.accuracy, point.coordinate_accuracy))


def _later_told(offer: Offer, listing: bool) -> int:
    """Free before full; in a list of an area, where no distance is told, also open before by phone."""
    if _is_full(offer):
        return 2
    return int(listing and offer.standing.kind is Kind.BY_PHONE)


def _first_told(ranked: list[Offer], listing: bool) -> tuple[list[Offer], bool]:
    """One point; two at a near-tie, in an area, or where the first is full, by phone or unconfirmed."""
    if listing:
        return ranked[:2], False
    first, rest = ranked[0], ranked[1:]
    if not rest:
        return [first], False
    if first.standing.kind in (Kind.FULL, Kind.BY_PHONE) or first.standing.unconfirmed:
        sure = (offer for offer in rest if _is_sure(offer.standing))
        second = next(sure, None if first.standing.kind is Kind.OPEN else rest[0])
        return ([first, second] if second else [first]), False
    second = rest[0]
    if first.metres is None or second.metres is None or second.standing.kind is Kind.FULL:
        return [first], False
    near = second.metres - first.metres <= max(NEAR_TIE, min(first.margin, second.margin))
    return ([first, second], True) if near else ([first], False)


def _is_full(offer: Offer) -> bool:
    return offer.standing.kind is Kind.FULL


def _is_sure(standing: Standing) -> bool:
    return standing.kind in (Kind.OPEN, Kind.CLOSES_SOON) and not standing.unconfirmed


def _nearer(offer: Offer, first: Offer) -> bool:
    return offer.metres is not None and first.metres is not None and offer.metres < first.metres


def _much_closer(nearest: Offer, first: Offer) -> Offer | None:
    if nearest is first or nearest.metres is None or first.metres is None:
        return None
    gain = first.metres - nearest.metres
    return nearest if nearest.metres < MUCH_CLOSER * first.metres and gain > MUCH_CLOSER_METRES else None


def _moved(board: Board, position: Vectors, place: Place, first: Offer | None) -> Offer | None:
    if not board.kinds[Kind.MOVED].any():
        return None
    for index, metres in board.grid.order(position, board.kinds[Kind.MOVED]):
        offer = _offer(board, place, index, metres)
        if metres > MOVED_NEARBY or (first and first.metres is not None and metres > first.metres):
            return None
        return offer
    return None


def _has_points(board: Board, place: Place) -> bool:
    return any(point.municipality == place.municipality for point in board.points) or not place.municipality


def _nothing_usable(board: Board, place: Place, position: Vectors, service: str) -> Answer:
    statuses = {point.status for point in board.points if point.municipality == place.municipality}
    moved = _moved(board, position, place, None)
    if not statuses:
        return Answer(AnswerKind.NO_POINTS, place, service=service)
    if not statuses - {Status.PLANNED, *PROPOSED}:
        planned = _nearest_of(board, place, position, Kind.PLANNED)
        return Answer(AnswerKind.NOT_ACTIVATED, place, service=service, planned=planned)
    later = _nearest_of(board, place, position, Kind.OPENS_AT)
    if later:
        return Answer(AnswerKind.OPENS_LATER, place, (later,), service=service, moved=moved)
    confirmed = [p.confirmed_at for p in board.points if p.municipality == place.municipality and p.confirmed_at]
    checked_at = max(confirmed, default=None)
    return Answer(AnswerKind.NONE_OPEN, place, service=service, moved=moved, checked_at=checked_at)


def _nearest_of(board: Board, place: Place, position: Vectors, kind: Kind) -> Offer | None:
    for index, metres in board.grid.order(position, board.kinds[kind]):
        if metres <= REACH or board.points[index].municipality == place.municipality:
            return _offer(board, place, index, metres)
    return None

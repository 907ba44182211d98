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

from responder.core.nearest import Grid, Indices, Mask, Vectors, unit_vector, unit_vectors
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
    sure: Mask  # open, and confirmed lately
    zone: str
    stale_after: timedelta
    made_at: datetime
    good_until: datetime | None  # None: for as long as no operator changes anything
    _answers: dict[tuple[Place, str, int], Answer] = field(default_factory=dict, repr=False, compare=False)
    _having: dict[tuple[str, str], Mask] = field(default_factory=dict, repr=False, compare=False)

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
        return board(self.points, now, self.zone, self.stale_after, self)

    def having(self, column: str, value: str) -> Mask:
        """Which points have `value` as their "municipality" or "district", or among their "services"."""
        known = self._having.get((column, value))
        if known is None:
            if column == "services":
                known = np.array([value in point.services for point in self.points], dtype=bool)
            else:
                known = np.array([getattr(point, column) == value for point in self.points], dtype=bool)
            self._having[column, value] = known
        return known


def board(
    points: Iterable[Point], now: datetime, zone: str, stale_after: timedelta, last: Board | None = None
) -> Board:
    """The board of `points` at `now` (aware), in the IANA time zone `zone`.

    What an earlier board `last` says of a point is taken over for as long as it holds: of ten thousand points, one has
    changed.
    """
    if last and points is last.points:
        rows = last.points
    else:
        rows = tuple(sorted(points, key=lambda point: (point.name, point.id)))
    if last and (last.zone, last.stale_after) == (zone, stale_after) and last.made_at <= now:
        standings = _carried(rows, now, last)
    else:
        standings = tuple(standing(point, now, zone, stale_after) for point in rows)
    same = last if last and last.points == rows else None
    kinds = {kind: np.array([s.kind is kind for s in standings], dtype=bool) for kind in Kind}
    unconfirmed = np.array([s.unconfirmed for s in standings], dtype=bool)
    return Board(
        points=rows,
        standings=standings,
        grid=same.grid if same else Grid(unit_vectors([p.lat for p in rows], [p.lon for p in rows])),
        kinds=kinds,
        usable=np.logical_or.reduce([kinds[kind] for kind in USABLE]),
        sure=(kinds[Kind.OPEN] | kinds[Kind.CLOSES_SOON]) & ~unconfirmed,
        zone=zone,
        stale_after=stale_after,
        made_at=now,
        good_until=min((s.changes_at for s in standings if s.changes_at), default=None),
        _having=same._having if same else {},
    )


def _carried(rows: tuple[Point, ...], now: datetime, last: Board) -> tuple[Standing, ...]:
    """The standings of `rows`, worked out where `last` has another point or no longer holds."""
    ranks = {point.id: rank for rank, point in enumerate(last.points)}
    standings = []
    for point in rows:
        rank = ranks.get(point.id)
        found = last.standings[rank] if rank is not None and last.points[rank] is point else None
        if found is None or (found.changes_at and found.changes_at <= now):
            found = standing(point, now, last.zone, last.stale_after)
        standings.append(found)
    return tuple(standings)


@dataclass(frozen=True)
class _Reached:
    """Points that somebody at `place` may be told: where they stand on the board, and whole metres to each."""

    board: Board
    place: Place
    points: Indices
    metres: Vectors

    @classmethod
    def of(cls, board: Board, place: Place, allowed: Mask) -> "_Reached":
        """Those of the `allowed` that are near enough or in the place's municipality, nearest first."""
        home = board.having("municipality", place.municipality)
        return cls(board, place, *board.grid.near(unit_vector(place.lat, place.lon), allowed, REACH, home))

    def __len__(self) -> int:
        return len(self.points)

    def offer(self, rank: int) -> Offer:
        """The point of this rank, as it is told."""
        return _offer(self.board, self.place, int(self.points[rank]), float(self.metres[rank]))

    def only(self, mask: Mask) -> "_Reached":
        """Those that `mask` has, in the same order."""
        kept = mask[self.points]
        return _Reached(self.board, self.place, self.points[kept], self.metres[kept])

    def ranked(self, listing: bool) -> "_Reached":
        """Free before full; in a list of an area, where no distance is told, also open before by phone."""
        later = 2 * self.board.kinds[Kind.FULL][self.points].astype(int)
        if listing:
            later += self.board.kinds[Kind.BY_PHONE][self.points]
        order = np.argsort(later, kind="stable")
        return _Reached(self.board, self.place, self.points[order], self.metres[order])


def answer(board: Board, place: Place, service: str = "", skip: int = 0) -> Answer:
    """The answer for somebody at `place` who wants `service` (a code, or nothing), after `skip` points told before."""
    usable = _Reached.of(board, place, board.usable)
    if not usable:
        return _nothing_usable(board, place, service)
    local = usable.only(_ground(board, place))
    pool = local or usable
    wanted = pool.only(board.having("services", service)) if service else pool
    listing = bool(local)
    if listing and not wanted:
        wanted = usable.only(board.having("services", service))
        listing = not wanted
    ranked = (wanted or pool).ranked(listing)
    ranks, both_near = _first_told(ranked, listing)
    told = {ranked.offer(rank).point.id for rank in ranks}
    if skip:  # MORE goes on after those
        others = (rank for rank in range(min(len(ranked), skip + MORE + len(ranks))) if rank not in ranks)
        ranks, both_near = [*ranks, *others][skip : skip + MORE], False
    kind = AnswerKind.OPEN if _has_points(board, place) else AnswerKind.NO_POINTS
    found = Answer(
        kind,
        place,
        tuple(ranked.offer(rank) for rank in ranks),
        service,
        service_found=bool(wanted),
        both_near=both_near,
        in_area=listing,
        skipped=skip,
        left=max(0, len(ranked) - skip - len(ranks)),
    )
    if skip:
        return found
    first = found.offers[0]
    return replace(
        found,
        closer=_much_closer(usable.offer(0), first) if service and wanted else None,
        full=_nearer_and_full(usable, first, told),
        moved=_moved(board, place, first),
    )


def _ground(board: Board, place: Place) -> Mask:
    """The points that lie in the place itself, where it is an area or a municipality."""
    if place.kind is PlaceKind.AREA:
        return board.having("district", place.district)
    if place.kind is PlaceKind.MUNICIPALITY:
        return board.having("municipality", place.municipality)
    return np.zeros(len(board.points), dtype=bool)


def _offer(board: Board, place: Place, index: int, metres: float) -> Offer:
    point = board.points[index]
    told = None if point.hidden or place.is_area else metres
    return Offer(point, board.standings[index], told, hypot(place.accuracy, point.coordinate_accuracy))


def _first_told(ranked: _Reached, listing: bool) -> tuple[list[int], bool]:
    """The ranks of one point; of two at a near-tie, in an area, or where the first is full, by phone or unconfirmed."""
    if len(ranked) == 1:
        return [0], False
    if listing:
        return [0, 1], False
    first, second = ranked.offer(0), ranked.offer(1)
    if first.standing.kind in (Kind.FULL, Kind.BY_PHONE) or first.standing.unconfirmed:
        sure = np.flatnonzero(ranked.board.sure[ranked.points[1:]])
        if len(sure):
            return [0, int(sure[0]) + 1], False
        return ([0] if first.standing.kind is Kind.OPEN else [0, 1]), False
    if first.metres is None or second.metres is None or second.standing.kind is Kind.FULL:
        return [0], False
    near = second.metres - first.metres <= max(NEAR_TIE, min(first.margin, second.margin))
    return ([0, 1], True) if near else ([0], False)


def _nearer_and_full(usable: _Reached, first: Offer, told: set[str]) -> Offer | None:
    if first.metres is None:
        return None
    full = usable.only(usable.board.kinds[Kind.FULL])
    nearer = (full.offer(rank) for rank in range(int(np.searchsorted(full.metres, first.metres))))
    return next((offer for offer in nearer if offer.metres is not None and offer.point.id not in told), None)


def _much_closer(nearest: Offer, first: Offer) -> Offer | None:
    if nearest is first or nearest.metres is None or first.metres is None:
        return None
    gain = first.metres - nearest.metres
    return nearest if nearest.metres < MUCH_CLOSER * first.metres and gain > MUCH_CLOSER_METRES else None


def _moved(board: Board, place: Place, first: Offer | None) -> Offer | None:
    moved = np.flatnonzero(board.kinds[Kind.MOVED])
    if not len(moved):
        return None
    metres = board.grid.metres(unit_vector(place.lat, place.lon))[moved]
    nearest = int(metres.argmin())
    away = float(metres[nearest])
    if away > MOVED_NEARBY or (first and first.metres is not None and away > first.metres):
        return None
    return _offer(board, place, int(moved[nearest]), away)


def _has_points(board: Board, place: Place) -> bool:
    return not place.municipality or bool(board.having("municipality", place.municipality).any())


def _nothing_usable(board: Board, place: Place, service: str) -> Answer:
    here = [board.points[index] for index in np.flatnonzero(board.having("municipality", place.municipality))]
    statuses = {point.status for point in here}
    if not statuses:
        return Answer(AnswerKind.NO_POINTS, place, service=service)
    if not statuses - {Status.PLANNED, *PROPOSED}:
        planned = _nearest_of(board, place, Kind.PLANNED)
        return Answer(AnswerKind.NOT_ACTIVATED, place, service=service, planned=planned)
    moved = _moved(board, place, None)
    later = _nearest_of(board, place, Kind.OPENS_AT)
    if later:
        return Answer(AnswerKind.OPENS_LATER, place, (later,), service=service, moved=moved)
    checked_at = max((point.confirmed_at for point in here if point.confirmed_at), default=None)
    return Answer(AnswerKind.NONE_OPEN, place, service=service, moved=moved, checked_at=checked_at)


def _nearest_of(board: Board, place: Place, kind: Kind) -> Offer | None:
    reached = _Reached.of(board, place, board.kinds[kind])
    return reached.offer(0) if reached else None

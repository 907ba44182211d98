"""How much of a district has a trygghetspunkt near, and what is missing before it could be opened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from responder.core.nearest import Grid, Vectors, unit_vectors
from responder.core.places import Place, PlaceKind
from responder.core.points import ACTIVATED, Point, Status, YesNo

RADII = (500, 1000, 2000)  # metres
ESSENTIAL = ("information", "phone_charging", "first_aid")  # services that every district should have somewhere
COUNTED = ACTIVATED | {Status.PLANNED}
LACKS = ("address", "hours", "backup_power", "step_free", "capacity")


@dataclass(frozen=True, slots=True)
class Within:
    """Of a district's postcodes: how many lie within `radius` metres of a point, and how many coordinates are coarser
    than `radius`, so that they might as well lie on the other side of it.
    """

    radius: int
    near: int
    uncertain: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """One district: its postcodes, the median of their metres to the nearest point (None: no point), each radius."""

    district: str
    postcodes: int
    median: float | None
    within: tuple[Within, ...]

    def share(self, count: int) -> float:
        """`count` of its postcodes as a share from 0 to 1."""
        return count / self.postcodes if self.postcodes else 0.0


@dataclass(frozen=True, slots=True)
class District:
    """What a district has: its points by status, its coverage, and what is missing."""

    name: str
    points: tuple[Point, ...]
    coverage: Coverage

    @property
    def counted(self) -> tuple[Point, ...]:
        """Those that are planned or activated."""
        return tuple(point for point in self.points if point.status in COUNTED)

    @property
    def candidates(self) -> tuple[Point, ...]:
        """Those that somebody still has to decide on."""
        return tuple(point for point in self.points if point.status is Status.CANDIDATE)

    @property
    def missing_services(self) -> tuple[str, ...]:
        """What every district should have and none of its points has."""
        had = {service for point in self.counted for service in point.services}
        return tuple(service for service in ESSENTIAL if service not in had)

    @property
    def lacking(self) -> Mapping[str, tuple[Point, ...]]:
        """Each of LACKS to the points of which nobody has said it; for backup power and step-free also a no."""
        return {what: tuple(point for point in self.counted if lacks(point, what)) for what in LACKS}

    @property
    def open_matters(self) -> int:
        """How many lines of the checklist are not done."""
        lines = (not self.counted, bool(self.candidates), bool(self.missing_services), *self.lacking.values())
        return sum(bool(line) for line in lines)


def lacks(point: Point, what: str) -> bool:
    """Whether `what` of LACKS is missing."""
    value = getattr(point, what)
    return value is not YesNo.YES if isinstance(value, YesNo) else value in ("", None)


def districts(places: Iterable[Place], points: Sequence[Point]) -> list[District]:
    """Every stadsdelsområde among `places`, by name."""
    places = tuple(places)
    names = sorted({place.district for place in places if place.kind is PlaceKind.AREA})
    covered = coverage(places, points, names)
    return [District(name, tuple(point for point in points if point.district == name), covered[name]) for name in names]


def coverage(places: Iterable[Place], points: Iterable[Point], names: Sequence[str]) -> dict[str, Coverage]:
    """The coverage of each district in `names`; a point counts wherever it lies."""
    homes = [place for place in places if place.kind is PlaceKind.POSTCODE and not place.is_box]
    counted = [point for point in points if point.status in COUNTED]
    grid = Grid(unit_vectors([point.lat for point in counted], [point.lon for point in counted]))
    return {name: _covered(name, [home for home in homes if home.district == name], grid) for name in names}


def total(parts: Iterable[Coverage], places: Iterable[Place], points: Iterable[Point]) -> Coverage:
    """All districts of `parts` as one, with an empty name; the median is that of all their postcodes."""
    parts = tuple(parts)
    names = {part.district for part in parts}
    homes = [p for p in places if p.kind is PlaceKind.POSTCODE and not p.is_box and p.district in names]
    counted = [point for point in points if point.status in COUNTED]
    return _covered("", homes, Grid(unit_vectors([p.lat for p in counted], [p.lon for p in counted])))


def _covered(name: str, homes: Sequence[Place], grid: Grid) -> Coverage:
    accuracy = np.array([home.accuracy for home in homes], dtype=float)
    metres = _nearest(unit_vectors([home.lat for home in homes], [home.lon for home in homes]), grid)
    within = tuple(Within(r, int((metres <= r).sum()), int((accuracy > r).sum())) for r in RADII)
    median = float(np.median(metres)) if len(homes) and len(grid.vectors) else None
    return Coverage(name, len(homes), median, within)


def _nearest(places: Vectors, grid: Grid) -> Vectors:
    """(m,) metres from each place to its nearest point; infinite where there is none."""
    if not len(grid.vectors) or not len(places):
        return np.full(len(places), np.inf)
    nearest: Vectors = grid.distances(places).min(axis=1)
    return nearest

"""A map drawn from coordinates alone: districts as faint shapes, points as shapes by what they are. No outside tiles.

Degrees become units of the drawing by the equirectangular projection, with longitudes shortened by cos(latitude): over
a city it is out by less than the width of a mark.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians
from typing import NamedTuple

from responder.actions.watch import Shown
from responder.core.places import Gazetteer, PlaceKind

WIDTH = 1000.0
MARGIN = 40.0
TALLEST = 1.1  # times as high as it is wide
LETTER, LINE = 13.0, 26.0  # the room of a label
SMALL, MARK, BIG = 7.5, 10.0, 16.0  # half the size of a mark: on a full map, on another, and zoomed in
FULL = 150  # points
AROUND = 0.0085  # degrees of latitude, 900 m: so wide is the land that is drawn around a postcode
NEAR = 14  # places that are tried for a name so that it covers no mark


class Spot(NamedTuple):
    """A place on the drawing."""

    x: float
    y: float


class _Outline(NamedTuple):
    """A district: (lat, lon) of its postcodes, of their hull, and of their mean."""

    name: str
    spots: tuple[tuple[float, float], ...]
    corners: tuple[tuple[float, float], ...]
    middle: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point on the map; `number` ties it to its row of the table, 0 on the whole map; `at` is where that stands."""

    shown: Shown
    x: float
    y: float
    number: int
    at: Spot


@dataclass(frozen=True, slots=True)
class Area:
    """A district on the map: its outline as the points of a polygon, its postcodes as dots of a path, and where its
    name stands.
    """

    name: str
    outline: str
    dots: str
    at: Spot


@dataclass(frozen=True, slots=True)
class Map:
    """Everything that is drawn, in a box of `width` times `height`; `size`: half that of a mark; `around`: how wide the
    land around a postcode is.
    """

    width: float
    height: float
    size: float
    around: float
    areas: tuple[Area, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """How degrees become units of the drawing."""

    west: float
    north: float
    stretch: float
    scale: float
    shift: Spot

    def spot(self, lat: float, lon: float) -> Spot:
        x = (lon - self.west) * self.stretch * self.scale + self.shift.x
        return Spot(round(x, 1), round((self.north - lat) * self.scale + self.shift.y, 1))


def draw(points: Sequence[Shown], known: Gazetteer, district: str = "") -> Map:
    """`points` on the map of the districts of `known`; with numbers where one `district` fills it."""
    outlines = [one for one in _outlines(known) if not district or one.name == district]
    corners = [corner for outline in outlines for corner in outline.corners]
    corners += [(shown.point.lat, shown.point.lon) for shown in points]
    frame, height = _frame(corners)
    size = BIG if district else SMALL if len(points) > FULL else MARK
    spots = [frame.spot(shown.point.lat, shown.point.lon) for shown in points]
    numbers = range(1, len(points) + 1) if district else [0] * len(points)
    labels = _beside(spots, numbers, size) if district else spots
    marks = (Mark(s, *spot, n, at) for s, spot, n, at in zip(points, spots, numbers, labels, strict=True))
    names = _apart([(outline.name, frame.spot(*outline.middle)) for outline in outlines], height, spots, size)
    areas = (
        Area(
            outline.name,
            " ".join(f"{x:g},{y:g}" for x, y in (frame.spot(*corner) for corner in outline.corners)),
            "".join(f"M{x:.0f} {y:.0f}h0" for x, y in (frame.spot(*spot) for spot in outline.spots)),
            at,
        )
        for outline, at in zip(outlines, names, strict=True)
    )
    return Map(WIDTH, height, size, round(frame.scale * AROUND), tuple(areas), tuple(marks))


def _frame(corners: Sequence[tuple[float, float]]) -> tuple[_Frame, float]:
    """The frame that shows all of `corners` (lat, lon), and its height."""
    if not corners:
        return _Frame(0.0, 0.0, 1.0, 1.0, Spot(0.0, 0.0)), WIDTH / 2
    lats, lons = [lat for lat, _ in corners], [lon for _, lon in corners]
    south, north, west, east = min(lats), max(lats), min(lons), max(lons)
    stretch = cos(radians((south + north) / 2))
    wide, high = max((east - west) * stretch, 0.005), max(north - south, 0.005)  # at least some 500 m
    inner = WIDTH - 2 * MARGIN
    scale = min(inner / wide, inner * TALLEST / high)
    height = round(max(high * scale, WIDTH / 3) + 2 * MARGIN)
    shift = Spot((WIDTH - (east - west) * stretch * scale) / 2, (height - (north - south) * scale) / 2)
    return _Frame(west, north, stretch, scale, shift), height


def _outlines(known: Gazetteer) -> tuple[_Outline, ...]:
    """The districts of `known`, by name."""
    found: dict[str, list[tuple[float, float]]] = {}
    for place in known.places:
        if place.kind is PlaceKind.POSTCODE and place.district and not (place.is_box or place.is_coarse):
            found.setdefault(place.district, []).append((place.lat, place.lon))
    return tuple(
        _Outline(name, tuple(spots), _hull(spots), (_mean(lat for lat, _ in spots), _mean(lon for _, lon in spots)))
        for name, spots in sorted(found.items())
    )


def _mean(values: Iterable[float]) -> float:
    many = tuple(values)
    return sum(many) / len(many)


def _hull(spots: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The corners of the smallest convex shape around `spots`."""
    ordered = sorted(set(spots))
    if len(ordered) < 3:
        return tuple(ordered)
    return (*_side(ordered), *_side(reversed(ordered)))


def _side(spots: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    side: list[tuple[float, float]] = []
    for spot in spots:
        while len(side) > 1 and _turn(side[-2], side[-1], spot) <= 0:
            side.pop()
        side.append(spot)
    return iter(side[:-1])


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _apart(labels: Sequence[tuple[str, Spot]], height: float, marks: Sequence[Spot], size: float) -> list[Spot]:
    """Where each name stands so that none covers another, nor a mark if that can be: as near as there is room."""
    taken: list[tuple[Spot, float]] = []
    placed: dict[str, Spot] = {}
    for name, spot in sorted(labels, key=lambda label: label[1].y):
        half = len(name) * LETTER / 2
        x = min(max(spot.x, half), WIDTH - half)
        steps = (Spot(x, round(spot.y + sign * step * LINE / 2, 1)) for step in range(40) for sign in (1, -1))
        free = [at for at in steps if LINE < at.y < height - 4 and all(_clear(at, half, *other) for other in taken)]
        near = free[:NEAR]  # further away it would be the name of another district
        at = next((at for at in near if _bare(at, half, marks, size)), free[0] if free else Spot(x, spot.y))
        taken.append((at, half))
        placed[name] = at
    return [placed[name] for name, _ in labels]


def _clear(at: Spot, half: float, other: Spot, other_half: float) -> bool:
    return abs(at.y - other.y) >= LINE or abs(at.x - other.x) >= half + other_half


def _bare(at: Spot, half: float, marks: Sequence[Spot], size: float) -> bool:
    """Whether a name at `at` covers no mark."""
    return all(abs(m.x - at.x) > half + size or abs(m.y - (at.y - 7)) > size + 9 for m in marks)


def _beside(spots: Sequence[Spot], numbers: Iterable[int], size: float) -> list[Spot]:
    """Where the number of each mark stands: to its right, or where neither a mark nor a number is yet."""
    placed: list[Spot] = []
    for spot, number in zip(spots, numbers, strict=True):
        half = len(str(number)) * LETTER / 2
        away = size + half + 2
        ways = ((away, 7), (-away, 7), (0, -size - 5), (0, size + LINE - 6), (away, -size), (-away, -size))
        tried = [Spot(round(spot.x + x, 1), round(spot.y + y, 1)) for x, y in ways]
        free = (at for at in tried if _is_free(at, half, spot, spots, placed, size))
        placed.append(next(free, tried[0]))
    return placed


def _is_free(at: Spot, half: float, own: Spot, spots: Sequence[Spot], placed: Sequence[Spot], size: float) -> bool:
    return _bare(at, half, [s for s in spots if s is not own], size) and all(
        abs(p.x - at.x) > half + LETTER * 1.5 or abs(p.y - at.y) > LINE - 4 for p in placed
    )

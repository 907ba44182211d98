"""The vectorised distances against plain trigonometry: every bundled postcode, no difference."""

from math import asin, cos, radians, sin, sqrt

import numpy as np

from responder.actions import load
from responder.core.nearest import EARTH_RADIUS, Grid, unit_vector, unit_vectors
from responder.core.places import Place, PlaceKind
from responder.core.points import Point
from responder.core.pointsfile import read_points_file
from tests.conftest import NOW, ZONE


def all_points() -> list[Point]:
    files = ("points_stockholm.csv", "points_demo.csv")
    points = [p for f in files for p in read_points_file((load.DATA / f).read_text(encoding="utf-8"), ZONE, NOW)]
    return sorted(points, key=lambda point: (point.name, point.id))


def haversine(a: Place, b: Point) -> int:
    phi, psi = radians(a.lat), radians(b.lat)
    half = sin((psi - phi) / 2) ** 2 + cos(phi) * cos(psi) * sin(radians(b.lon - a.lon) / 2) ** 2
    return round(2 * EARTH_RADIUS * asin(sqrt(half)))


def brute(place: Place, points: list[Point], count: int) -> list[str]:
    return [p.id for p in sorted(points, key=lambda p: (haversine(place, p), p.name, p.id))[:count]]


def test_nearest_is_what_brute_force_finds_for_every_bundled_postcode(places: list[Place]) -> None:
    """One at a time and all at once: 3,867 codes against 50 points, order and all."""
    points = all_points()
    codes = [place for place in places if place.kind is PlaceKind.POSTCODE]
    grid = Grid(unit_vectors([p.lat for p in points], [p.lon for p in points]))
    everyone = np.ones(len(points), dtype=bool)
    table = grid.table(unit_vectors([p.lat for p in codes], [p.lon for p in codes]), everyone, 3)
    differences = 0
    for place, row in zip(codes, table, strict=True):
        expected = brute(place, points, 3)
        one = [points[index].id for index, _ in grid.order(unit_vector(place.lat, place.lon), everyone)[:3]]
        differences += one != expected or [points[index].id for index in row] != expected
    assert (len(codes), differences) == (3867, 0)


def test_only_allowed_points_count() -> None:
    grid = Grid(unit_vectors([59.30, 59.31, 59.32], [18.0, 18.0, 18.0]))
    found = grid.order(unit_vector(59.30, 18.0), np.array([False, True, True]))
    assert [index for index, _ in found] == [1, 2]
    assert grid.table(unit_vectors([59.3], [18.0]), np.array([False, False, True]), 2).tolist() == [[2, -1]]


def test_ties_are_broken_by_name() -> None:
    """Points come sorted by name; the same metre keeps that order."""
    grid = Grid(unit_vectors([59.30, 59.30], [18.0, 18.0]))
    assert [i for i, _ in grid.order(unit_vector(59.31, 18.0), np.array([True, True]))] == [0, 1]


def test_nobody_is_nearest_where_there_are_no_points() -> None:
    grid = Grid(unit_vectors([], []))
    assert grid.order(unit_vector(59.3, 18.0), np.array([], dtype=bool)) == []

"""How much of a district has a point near, and what is missing; half-years; the map that is clicked on."""

from datetime import date

import pytest

from responder.core.coverage import ESSENTIAL, LACKS, RADII, coverage, districts, lacks, total
from responder.core.frame import around
from responder.core.halfyear import HalfYear, half_year, read_half_year
from responder.core.places import Place, PlaceKind
from responder.core.points import Point, Status, YesNo
from responder.core.pointsfile import for_public, read_points_file, write_points_file, write_points_geojson
from responder.core.problem import Problem
from tests.conftest import NOW, ZONE, a_place, a_point

KM = 1 / 111.195  # degrees of latitude


def homes(*kilometres: float, accuracy: int = 100, **more: object) -> list[Place]:
    """Postcodes of Farsta so many km north of the point at 59.24."""
    return [
        a_place(f"1234{n}", lat=59.24 + km * KM, lon=18.09, accuracy=accuracy, **more)
        for n, km in enumerate(kilometres)
    ]


def area(name: str = "Farsta") -> Place:
    return a_place(name, kind=PlaceKind.AREA, district=name, accuracy=3000)


def farsta(places: list[Place], *points: Point) -> tuple[list[int], list[int], float | None]:
    """(near, uncertain) for 500 m, 1 km and 2 km, and the median."""
    found = coverage(places, points, ["Farsta"])["Farsta"]
    return [w.near for w in found.within], [w.uncertain for w in found.within], found.median


def test_a_postcode_counts_for_each_radius_that_reaches_it() -> None:
    assert RADII == (500, 1000, 2000)
    assert farsta(homes(0.4, 0.9, 1.9, 2.1), a_point()) == ([1, 2, 3], [0, 0, 0], 1400)


@pytest.mark.parametrize(
    ("status", "near"), [(s, s in (Status.PLANNED, Status.OPEN, Status.FULL, Status.ON_CALL)) for s in Status]
)
def test_only_planned_and_activated_points_cover_anybody(status: Status, near: bool) -> None:
    assert farsta(homes(0.1), a_point(status=status))[0][0] == near


def test_a_point_of_another_district_covers_as_well() -> None:
    assert farsta(homes(0.1), a_point(district="Skarpnäck"))[0] == [1, 1, 1]


def test_a_coordinate_coarser_than_the_radius_is_counted_and_called_uncertain() -> None:
    places = homes(0.1, accuracy=600) + homes(0.1, 5, accuracy=1500)[1:]
    assert farsta(places, a_point()) == ([1, 1, 1], [2, 1, 0], 2550)


def test_a_margin_of_just_the_radius_is_not_uncertain() -> None:
    assert farsta(homes(0.1, accuracy=500), a_point())[1] == [0, 0, 0]


def test_boxes_and_companies_are_nobodys_home() -> None:
    places = homes(0.1, method="box_city") + homes(0.1, 0.2, method="box_place")
    assert coverage(places, [a_point()], ["Farsta"])["Farsta"].postcodes == 0
    assert farsta(places, a_point()) == ([0, 0, 0], [0, 0, 0], None)


def test_without_any_point_there_is_no_median_and_nobody_is_near() -> None:
    assert farsta(homes(0.1, 0.2)) == ([0, 0, 0], [0, 0, 0], None)
    assert coverage([], [], ["Farsta"])["Farsta"].share(0) == 0.0


def test_the_whole_is_counted_from_all_postcodes_not_from_the_shares() -> None:
    places = [*homes(0.1, 0.2, 0.3), a_place("12900", lat=59.44, district="Järva")]
    parts = coverage(places, [a_point()], ["Farsta", "Järva"])
    whole = total(parts.values(), places, [a_point()])
    assert (whole.postcodes, whole.within[0].near, whole.median) == (4, 3, 250)


def test_the_districts_are_the_areas_of_the_gazetteer(places: list[Place]) -> None:
    assert [d.name for d in districts(places, [])] == [
        "Bromma", "Enskede-Årsta-Vantör", "Farsta", "Hägersten-Älvsjö", "Hässelby-Vällingby", "Järva", "Kungsholmen",
        "Norra innerstaden", "Skarpnäck", "Skärholmen", "Södermalm",
    ]  # fmt: skip


def test_every_box_that_the_bundled_postcodes_know_is_left_out(places: list[Place]) -> None:
    found = districts(places, [])
    codes = [p for p in places if p.kind is PlaceKind.POSTCODE and p.district]
    assert sum(d.coverage.postcodes for d in found) == len([p for p in codes if not p.method.startswith("box_")])


def test_a_service_is_missing_where_no_planned_or_open_point_has_it() -> None:
    points = [a_point(services=("information",)), a_point("p2", services=("first_aid",), status=Status.CANDIDATE)]
    assert districts([area()], points)[0].missing_services == ("phone_charging", "first_aid")
    assert districts([area()], [])[0].missing_services == ESSENTIAL


@pytest.mark.parametrize("what", LACKS)
def test_what_nobody_has_said_is_lacking(what: str) -> None:
    said = {"address": "Gatan 1", "hours": "Mo-Su 08:00-20:00", "capacity": 0}.get(what, YesNo.YES)
    nothing = {"address": "", "hours": "", "capacity": None}.get(what, YesNo.UNKNOWN)
    assert not lacks(a_point(**{what: said}), what)
    assert lacks(a_point(**{what: nothing}), what)


@pytest.mark.parametrize("what", ["backup_power", "step_free"])
def test_a_no_to_backup_power_or_step_free_is_lacking_too(what: str) -> None:
    assert lacks(a_point(**{what: YesNo.NO}), what)


def test_the_checklist_counts_what_is_not_done() -> None:
    whole = a_point(hours="24/7", backup_power=YesNo.YES, step_free=YesNo.YES, capacity=50, services=ESSENTIAL)
    assert districts([area()], [whole])[0].open_matters == 0
    assert districts([area()], [whole, a_point("p2", status=Status.CANDIDATE)])[0].open_matters == 1
    assert districts([area()], [])[0].open_matters == 2  # no point, and no services


@pytest.mark.parametrize(
    ("day", "period", "last"),
    [
        (date(2026, 1, 1), "2026-1", date(2026, 6, 30)), (date(2026, 6, 30), "2026-1", date(2026, 6, 30)),
        (date(2026, 7, 1), "2026-2", date(2026, 12, 31)), (date(2026, 12, 31), "2026-2", date(2026, 12, 31)),
    ],
)  # fmt: skip
def test_a_half_year_ends_in_june_or_december(day: date, period: str, last: date) -> None:
    assert (str(half_year(day)), half_year(day).last_day) == (period, last)
    assert read_half_year(period) == half_year(day)


def test_half_years_follow_on_each_other() -> None:
    assert str(HalfYear(2026, 2).after) == "2027-1" and HalfYear(2027, 1).before == HalfYear(2026, 2)
    assert HalfYear(2026, 2) < HalfYear(2027, 1)


@pytest.mark.parametrize("text", ["", "2026", "2026-3", "1999-1", "2026-1 OR 1=1"])
def test_anything_else_is_no_half_year(text: str) -> None:
    with pytest.raises(Problem, match="no half-year"):
        read_half_year(text)


def test_a_click_on_the_map_is_where_it_was_drawn() -> None:
    frame = around([(59.22, 18.05), (59.28, 18.14)], 640, 460)
    for position in ((59.22, 18.05), (59.24, 18.09), (59.28, 18.14)):
        x, y = frame.pixel(*position)
        assert frame.holds(*position)
        assert frame.position(x, y) == pytest.approx(position, abs=1e-9)
    assert frame.pixel(59.28, 18.05)[1] < frame.pixel(59.22, 18.05)[1]  # north is up
    assert not frame.holds(59.5, 18.09)


def test_a_pixel_is_as_many_metres_in_both_directions() -> None:
    from responder.core.nearest import Grid, unit_vector, unit_vectors

    frame = around([(59.22, 18.05), (59.28, 18.14)], 640, 460)
    middle = unit_vector(*frame.position(320, 230))
    ends = [frame.position(420, 230), frame.position(320, 130)]
    metres = Grid(unit_vectors([lat for lat, _ in ends], [lon for _, lon in ends])).metres(middle)
    assert list(metres) == pytest.approx([100 * frame.scale] * 2, rel=0.01)


HOSTILE = a_point(
    name="=HYPERLINK(\"http://x\")", address="@SUM(A1)", phone="+46 8 123 45 67", note="'+already quoted", contact="-2+3",
    supplies="'t Hart", staffing="%0A", capacity=0, hidden=True, opens=NOW,
)  # fmt: skip


def test_no_cell_of_the_points_file_is_a_formula_and_it_reads_back_to_the_letter() -> None:
    text = write_points_file([HOSTILE])
    import csv
    import io

    for cell in list(csv.reader(io.StringIO(text)))[1]:
        assert cell[:1] not in ("=", "+", "-", "@", "|", "%")
    assert read_points_file(text, ZONE, NOW) == [HOSTILE]
    assert read_points_file("\ufeff" + text, ZONE, NOW) == [HOSTILE]


def test_a_name_that_somebody_wrote_with_an_apostrophe_keeps_it() -> None:
    assert read_points_file("id,name,lat,lon,status\np1,'t Hart,59.24,18.09,open", ZONE, NOW)[0].name == "'t Hart"


def test_geojson_reads_back_to_the_same_points() -> None:
    points = [HOSTILE, a_point("p2", services=(), district="")]
    assert read_points_file(write_points_geojson(points), ZONE, NOW) == points


def test_the_public_gets_no_proposals_no_secret_addresses_and_no_notes_among_operators() -> None:
    told = a_point(contact="vaktmästaren", staffing="Anna", supplies="filtar", visitors=7)
    kept_back = [a_point("h", hidden=True), a_point("c", status=Status.CANDIDATE), a_point("r", status=Status.REJECTED)]
    assert for_public([told, *kept_back]) == [a_point()]

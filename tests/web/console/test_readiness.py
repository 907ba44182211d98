"""The pages of the half-year report."""

import html
import re
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from responder.core.access import Role
from responder.core.points import Point, Status
from responder.core.pointsfile import read_points_file
from responder.store import exercises
from responder.store.queries import read_points
from tests.conftest import NOW, ZONE, a_point
from tests.web.console.conftest import Browser, Console

PROPOSE = "/console/readiness/district/Farsta/propose"
FARSTA = "/console/readiness/district/Farsta"
FILLED: dict[str, Any] = {
    "name": "Hökarängens bibliotek",
    "lat": "59.2576",
    "lon": "18.0838",
    "coordinate_accuracy": "50",
}


def stored(console: Console) -> dict[str, Point]:
    with console.service.database.read() as connection:
        return {point.id: point for point, _ in read_points(connection)}


def text_of(page: str) -> str:
    """What somebody reads: tags away, spaces single."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def value(page: str, name: str) -> str:
    found = re.search(rf'<input[^>]*name="{name}"[^>]*>', page)
    assert found, name
    said = re.search(r'value="([^"]*)"', found[0])
    return html.unescape(said[1]) if said else ""


@pytest.fixture
def reporter(console: Console) -> Browser:
    return console.browser(Role.REPORTER)


@pytest.fixture
def approver(console: Console) -> Browser:
    return console.browser(Role.APPROVER)


def test_the_overview_has_every_district_its_figures_and_when_it_is_due(console: Console, reporter: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED))
    text = text_of(reporter.page("/console/readiness"))
    for name in ("Bromma", "Farsta", "Järva", "Södermalm"):
        assert name in text
    assert text.count("Ska vara klar om 37 dagar") == 11
    assert "0 av 11" in text


def test_a_report_that_is_late_says_so_in_words(console: Console, reporter: Browser) -> None:
    text = text_of(reporter.page("/console/readiness?period=2026-1"))
    assert text.count("Försenad 147 dagar") == 11
    assert "Försenad 147 dagar" in text_of(reporter.page(f"{FARSTA}?period=2026-1"))


def test_a_half_year_that_is_none_is_a_page_that_says_so(reporter: Browser) -> None:
    for path in ("/console/readiness", FARSTA, "/console/readiness/report"):
        assert reporter.get(f"{path}?period=x").status_code == 409


def test_the_district_page_names_what_is_missing(console: Console, reporter: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED, services=("water",), address=""))
    text = text_of(reporter.page(FARSTA))
    assert "Ingenstans i stadsdelsområdet: information, laddning av mobil, enklare sjukvård" in text
    assert "Saknas: Adress för varje punkt. 1 av 1 punkter utan: Hallen p1" in text


def test_a_proposal_is_saved_and_shown(console: Console, reporter: Browser) -> None:
    answer = reporter.post(PROPOSE, **FILLED, services=["water", "information"], capacity="80", step_free="yes")
    assert (answer.status_code, answer.location) == (303, "/console/readiness/point/farsta-1")
    point = stored(console)["farsta-1"]
    assert (point.status, point.services, point.capacity) == (Status.CANDIDATE, ("information", "water"), 80)
    text = text_of(reporter.page("/console/readiness/point/farsta-1"))
    assert "Hökarängens bibliotek" in text and "föreslagen" in text
    assert "Hökarängens bibliotek" in text_of(reporter.page(FARSTA))


def test_what_is_wrong_stands_beside_its_field_and_everything_typed_is_kept(
    console: Console, reporter: Browser
) -> None:
    answer = reporter.post(
        PROPOSE, **{**FILLED, "lat": "61"}, capacity="många", contact="<b>vakten</b>", services=["water"]
    )
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422 and stored(console) == {}
    assert 'id="capacity-error"' in page and 'id="lat-error"' in page and 'id="name-error"' not in page
    assert value(page, "contact") == "<b>vakten</b>" and "<b>vakten" not in page
    assert re.search(r'<input[^>]*checked[^>]*value="water"', page)


def test_a_click_on_the_map_fills_in_the_position_and_changes_nothing(console: Console, reporter: Browser) -> None:
    answer = reporter.post(PROPOSE, **{"name": "Hallen", "large.x": "320", "large.y": "230", "near": "0"})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200 and stored(console) == {}
    assert (value(page, "name"), value(page, "coordinate_accuracy")) == ("Hallen", "200")
    assert abs(float(value(page, "lat")) - 59.25) < 0.02 and abs(float(value(page, "lon")) - 18.09) < 0.03
    assert "på ungefär 200 m när" in text_of(page)
    further = reporter.post(PROPOSE, **{"large.x": "420", "large.y": "130", "near": "0"}).get_data(as_text=True)
    assert value(further, "lat") > value(page, "lat") and value(further, "lon") > value(page, "lon")


def test_a_closer_map_moves_the_point_by_less(reporter: Browser) -> None:
    at = {"at_lat": "59.25", "at_lon": "18.09"}
    for near, metres in (("1", 3000), ("2", 1000)):
        for size, width, height in (("large", 640, 460), ("small", 280, 280)):
            page = reporter.post(
                PROPOSE, **{f"{size}.x": str(width // 2), f"{size}.y": str(height // 2 - 100), "near": near, **at}
            ).get_data(as_text=True)
            moved = (float(value(page, "lat")) - 59.25) * 111_195
            assert moved == pytest.approx(100 * metres / width, abs=2), (near, size)
            assert value(page, "lon") == "18.09000"


def test_the_keyboards_click_on_a_map_asks_for_numbers_instead(reporter: Browser) -> None:
    page = reporter.post(PROPOSE, **{"large.x": "0", "large.y": "0"}).get_data(as_text=True)
    assert value(page, "lat") == "" and "skriv latitud och longitud" in text_of(page)


def test_a_postcode_gives_a_first_position_and_says_how_exact_it_is(reporter: Browser) -> None:
    page = reporter.post(PROPOSE, find="123 47", look_up="1").get_data(as_text=True)
    assert (value(page, "lat"), value(page, "coordinate_accuracy")) != ("", "")
    assert f"är känt på ungefär {value(page, 'coordinate_accuracy')} m när" in text_of(page)
    answer = reporter.post(PROPOSE, find="xyzzy", look_up="1")
    assert answer.status_code == 422 and 'id="find-error"' in answer.get_data(as_text=True)


def test_the_enter_key_sends_the_form_and_does_not_click_on_the_map(reporter: Browser) -> None:
    form = reporter.page(PROPOSE).partition('id="proposal"')[2]
    first = re.search(r'<button[^>]*>|<input[^>]*type="(?:image|submit)"[^>]*>', form)
    assert first and "name=" not in first[0]


def test_the_map_is_svg_without_anything_that_runs_or_fetches(console: Console, reporter: Browser) -> None:
    console.running.put(a_point(name='<script>alert(1)</script>&"', status=Status.PLANNED))
    answer = reporter.get(f"{FARSTA}/map.svg?lat=59.25&lon=18.09&near=1&size=small")
    svg = ElementTree.fromstring(answer.data)
    assert (answer.mimetype, svg.get("width"), svg.get("height")) == ("image/svg+xml", "280", "280")
    names = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert names <= {"svg", "rect", "circle", "path", "text"}
    assert b"href" not in answer.data and b"style" not in answer.data
    assert reporter.get("/console/readiness/district/Atlantis/map.svg").status_code == 404
    assert reporter.get(f"{FARSTA}/map.svg?lat=nan&lon=inf&near=9&size=huge&at_lat=x").status_code == 200


def test_a_reporter_of_another_district_does_not_come_to_the_form(console: Console) -> None:
    browser = console.browser(Role.REPORTER, "sara", ("Skarpnäck",))
    assert browser.get(PROPOSE).status_code == 403
    assert browser.post(PROPOSE, **FILLED).status_code == 403
    assert PROPOSE not in browser.page(FARSTA)


def test_whoever_decides_plans_rejects_and_takes_back(console: Console, reporter: Browser, approver: Browser) -> None:
    reporter.post(PROPOSE, **FILLED)
    page = "/console/readiness/point/farsta-1"
    short = approver.post(f"{page}/reject", reason="nej", seen="1")
    assert short.status_code == 422 and 'id="reason-error"' in short.get_data(as_text=True)
    assert approver.post(f"{page}/reject", reason="ligger för nära en annan", seen="1").status_code == 303
    assert "ligger för nära en annan" in text_of(reporter.page(page))
    assert reporter.post(f"{page}/again", seen="2").status_code == 303
    assert reporter.post(f"{page}/plan", seen="3").status_code == 403
    assert approver.post(f"{page}/plan", decision="Beslut 7", seen="3").status_code == 303
    assert stored(console)["farsta-1"].status is Status.PLANNED
    assert reporter.post(f"{page}/back", reason="lokalen är uppsagd", seen="4").status_code == 403
    assert approver.post(f"{page}/back", reason="lokalen är uppsagd", seen="4").status_code == 303
    assert stored(console)["farsta-1"].status is Status.CANDIDATE


def test_a_decision_on_something_that_has_changed_is_refused(
    console: Console, reporter: Browser, approver: Browser
) -> None:
    reporter.post(PROPOSE, **FILLED)
    reporter.post("/console/readiness/point/farsta-1/edit", **{**FILLED, "address": "Gatan 1"}, seen="1")
    answer = approver.post("/console/readiness/point/farsta-1/plan", seen="1")
    assert answer.status_code == 422 and "ändrades av någon annan" in text_of(answer.get_data(as_text=True))
    assert stored(console)["farsta-1"].status is Status.CANDIDATE


def test_the_report_is_signed_by_name_and_opened_again(console: Console, approver: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED))
    assert approver.post(f"{FARSTA}/sign?period=2026-2", note="Klart så långt").status_code == 303
    text = text_of(approver.page(FARSTA))
    assert "Underskriven av approver" in text and "Klart så långt" in text
    assert "När den skrevs under: 1 planerade eller öppna punkter" in text and "har ändrats sedan" not in text
    console.running.put(a_point(status=Status.CLOSED))
    assert "Läget har ändrats sedan den skrevs under" in text_of(approver.page(FARSTA))
    assert "1 av 11" in text_of(approver.page("/console/readiness"))
    assert approver.post(f"{FARSTA}/reopen?period=2026-2", reason="kort").status_code == 422
    assert approver.post(f"{FARSTA}/reopen?period=2026-2", reason="en punkt har stängts").status_code == 303
    assert "Underskriven av" not in text_of(approver.page("/console/readiness"))


def test_signing_asks_for_a_code_first(console: Console) -> None:
    answer = console.browser(Role.APPROVER, stale=True).post(f"{FARSTA}/sign", note="Klart")
    page = answer.get_data(as_text=True)
    assert 'name="proof"' in page and "Klart" in page


def test_a_deadline_can_be_set(approver: Browser) -> None:
    assert approver.post(f"{FARSTA}/deadline", deadline="2026-11-20").status_code == 303
    assert "Försenad 4 dagar" in text_of(approver.page(FARSTA))
    assert approver.post(f"{FARSTA}/deadline", deadline="snart").status_code == 422


def test_the_report_to_print_has_no_secret_address(console: Console, reporter: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED, hidden=True), a_point("p2", address="Synliga gatan 2"))
    text = text_of(reporter.page("/console/readiness/report?district=Farsta"))
    assert "Testgatan 36" not in text and "Synliga gatan 2" in text
    assert text_of(reporter.page("/console/readiness/report")).count("Inte underskriven") == 11


def test_the_downloads_read_back_to_the_same_points(console: Console, reporter: Browser) -> None:
    points = [a_point(phone="+46812345678", contact="=1+1", hidden=True), a_point("p2", status=Status.CANDIDATE)]
    console.running.put(*points)
    for ending in ("csv", "geojson"):
        answer = reporter.get(f"/console/readiness/points.{ending}")
        assert answer.headers["Content-Disposition"] == f"attachment; filename=points-2026-11-24.{ending}"
        assert read_points_file(answer.get_data(as_text=True), ZONE, NOW) == points


def test_a_viewer_gets_the_public_file_only(console: Console) -> None:
    console.running.put(a_point(hidden=True), a_point("p2", contact="vakten"), a_point("p3", status=Status.CANDIDATE))
    viewer = console.browser(Role.VIEWER)
    for ending in ("csv", "geojson"):
        assert viewer.get(f"/console/readiness/points.{ending}").status_code == 403
        text = viewer.get(f"/console/readiness/public.{ending}").get_data(as_text=True)
        assert [point.id for point in read_points_file(text, ZONE, NOW)] == ["p2"]
        assert "vakten" not in text and "59.24" in text
    assert "/points.csv" not in viewer.page("/console/readiness")


def test_during_an_exercise_nothing_is_decided(console: Console, reporter: Browser) -> None:
    with console.service.database.write() as connection:
        exercises.begin(connection, "Havsörn", "arne", NOW.timestamp())
    answer = reporter.post(PROPOSE, **FILLED)
    assert answer.status_code == 409 and "övning pågår" in answer.get_data(as_text=True)
    assert stored(console) == {}


def test_a_district_with_a_long_name_has_its_pages_too(approver: Browser) -> None:
    for name in ("Hägersten-Älvsjö", "Enskede-Årsta-Vantör", "Norra innerstaden"):
        assert name in approver.page(f"/console/readiness/district/{quote(name)}")
    assert approver.get("/console/readiness/district/Atlantis").status_code == 404

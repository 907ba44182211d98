"""The overview: everything that somebody who comes on duty must see, and a map that is not by colour alone."""

import re
import time
from datetime import timedelta
from html import unescape
from xml.etree import ElementTree

import pytest

from responder.actions.watch import points
from responder.core.access import Role
from responder.core.points import Kind, Status
from responder.store.gateways import Found, report, say
from responder.store.queries import read_points
from responder.web.console.map import LETTER, LINE, draw
from tests.conftest import NOW, STALE, ZONE, a_point
from tests.web.console.conftest import Console
from tests.web.console.test_points import fields, words


def drawn(page: str) -> ElementTree.Element:
    """The map on a page, which must be well-formed."""
    found = re.search(r'<svg class="map".*?</svg>', page, re.DOTALL)
    assert found
    return ElementTree.fromstring(found[0])


def test_the_overview_says_whether_the_service_is_alive_and_what_is_open(console: Console) -> None:
    console.running.put(a_point(), a_point("b", status=Status.FULL, district="Bromma", confirmed_at=None))
    console.running.phone.text("qwertyx")
    page = words(console.browser(Role.COMMUNICATOR).page("/console/overview"))
    assert "Utsändning Står still Den har aldrig varit i gång." in page
    assert "Senaste sms eller samtal 14.20" in page
    assert "Inte förstådda det senaste dygnet 1" in page
    assert "Bromma 0 1 0 0 1 1" in page and "Farsta 1 0 0 0 0 1" in page


def test_one_gateway_that_works_needs_no_table_and_one_that_is_down_comes_first(console: Console) -> None:
    browser, now = console.browser(Role.VIEWER), console.running.clock.now.timestamp()
    assert "Vägar ut" not in browser.page("/console/overview")
    with console.service.database.write() as connection:
        report(connection, [Found("twilio", "one", "down", 0.75, 0.1, now - 600, now)])
    page = words(browser.page("/console/overview/part"))
    assert "Twilio Ur funktion 75 % 14.10 0" in page
    assert "Ingen väg ut fungerar, och inget skickas. Ring den som sköter servern." in page
    assert page.index("Vägar ut") < page.index("Väntar på dig")


def test_what_an_operator_said_of_a_gateway_stands_there_with_the_name(console: Console) -> None:
    with console.service.database.write() as connection:
        say(connection, "twilio", "only", "anna", 0.0)
    page = words(console.browser(Role.VIEWER).page("/console/overview"))
    assert "Twilio Används Används ensam, har anna bestämt ; Ingen har tittat nyligen" in page


def test_an_unconfirmed_point_is_confirmed_from_the_overview_with_one_tap(console: Console) -> None:
    console.running.put(a_point(confirmed_at=NOW - timedelta(hours=20)), a_point("b", district="Bromma"))
    browser = console.browser(Role.REPORTER)
    page = browser.page("/console/overview/part")
    tap = fields(page, "/points/p1/confirm")
    answer = browser.post("/console/points/p1/confirm", **tap)
    assert (answer.status_code, answer.location) == (303, "/console/overview")
    with console.service.database.read() as connection:
        assert {p.id: p.confirmed_at for p, _ in read_points(connection)}["p1"] == NOW
    assert "/confirm" not in browser.page("/console/overview/part")


def test_who_may_not_confirm_there_gets_no_button(console: Console) -> None:
    console.running.put(a_point("b", district="Bromma", confirmed_at=None))
    assert "/confirm" not in console.browser(Role.REPORTER).page("/console/overview")
    assert "/confirm" not in console.browser(Role.VIEWER).page("/console/overview")


def test_the_parts_that_are_fetched_again_are_those_of_the_page(console: Console) -> None:
    console.running.put(a_point(confirmed_at=None), a_point("b", district="Bromma"))
    browser = console.browser(Role.APPROVER)
    page = browser.page("/console/overview?district=Farsta")
    bare = lambda text: re.sub(r'value="[^"]{40,}"', "", text)  # noqa: E731 - tokens against forged requests
    for part in ("/console/overview/part", "/console/overview/map?district=Farsta"):
        assert f'data-poll="{part}"' in page
        assert bare(browser.page(part)).strip() in bare(page)


@pytest.mark.parametrize("kind", Kind)
def test_a_mark_on_the_map_is_a_shape_a_word_and_a_link(console: Console, kind: Kind) -> None:
    late = NOW + timedelta(hours=5)
    made = {
        Kind.OPEN: a_point(), Kind.CLOSES_SOON: a_point(closes=NOW + timedelta(minutes=9)), Kind.OPENS_AT: a_point(opens=late),
        Kind.BY_PHONE: a_point(status=Status.ON_CALL, phone="08-1234567"), Kind.FULL: a_point(status=Status.FULL),
        Kind.MOVED: a_point(status=Status.MOVED), Kind.CLOSED: a_point(status=Status.CLOSED),
        Kind.PLANNED: a_point(status=Status.PLANNED), Kind.UNTOLD: a_point(status=Status.CANDIDATE),
    }  # fmt: skip
    console.running.put(made[kind])
    browser = console.browser(Role.VIEWER)
    marks = drawn(browser.page("/console/overview")).findall('.//a[@href="/console/points/p1"]')
    if kind is Kind.UNTOLD:
        assert marks == []
        return
    (mark,) = marks
    title, use = mark.find("title"), mark.find("use")
    assert title is not None and use is not None and title.text
    assert use.get("href") == f"#mark-{kind.value}"
    word = words(browser.page("/console/points/p1"))
    assert title.text.startswith("Hallen p1: ") and title.text.split(": ")[1].split(",")[0] in word


def test_every_shape_is_another_one(console: Console) -> None:
    console.running.put(a_point())
    page = console.browser(Role.VIEWER).page("/console/overview")
    shapes = dict(re.findall(r'<g id="mark-(\w+)">(.*?)</g>', page))
    assert set(shapes) == {kind.value for kind in Kind}
    del shapes["untold"]
    assert len(set(shapes.values())) == len(shapes)


def test_a_district_fills_the_map_and_its_table_says_the_same(console: Console) -> None:
    console.running.put(
        *(a_point(f"p{n}", lat=59.24 + n / 500, lon=18.09 + n / 500) for n in range(3)), a_point("b", district="Bromma")
    )
    page = console.browser(Role.VIEWER).page("/console/overview?district=Farsta")
    svg = drawn(page)
    on_map = {
        mark.findtext("text"): mark.get("href") for mark in svg.findall(".//a") if "mark" in (mark.get("class") or "")
    }
    table = page[page.index('id="after-map"') :]
    rows = dict(re.findall(r'<tr><td[^>]*>(\d+)</td><th scope="row"><a href="([^"]+)">', table))
    assert on_map == rows and len(rows) == 3
    assert [area.get("class") for area in svg.findall("polygon")] == ["area"]


def test_north_is_up_east_is_right_and_a_kilometre_is_as_long_both_ways(console: Console) -> None:
    km_north, km_east = 1 / 111.195, 1 / (111.195 * 0.5115)  # at 59.24 degrees
    console.running.put(
        a_point("here"), a_point("north", lat=59.24 + km_north), a_point("east", lon=18.09 + km_east),
    )  # fmt: skip
    known = console.service.snapshot.read(NOW).gazetteer
    marks = {m.shown.point.id: m for m in draw(points(console.service.database, ZONE, STALE, NOW), known).marks}
    up, right = marks["here"].y - marks["north"].y, marks["east"].x - marks["here"].x
    assert up > 0 and right > 0 and up == pytest.approx(right, rel=0.02)


def test_no_name_of_a_district_covers_another_and_all_are_inside(console: Console) -> None:
    made = draw([], console.service.snapshot.read(NOW).gazetteer)
    assert len(made.areas) == 11
    boxes = [(area.at.x, area.at.y, len(area.name) * LETTER / 2) for area in made.areas]
    for n, (x, y, half) in enumerate(boxes):
        assert half <= x <= made.width - half and 0 < y < made.height
        assert all(abs(y - b) >= LINE or abs(x - a) >= half + other for a, b, other in boxes[n + 1 :])


def test_points_at_one_spot_and_a_district_without_points_are_drawn_too(console: Console) -> None:
    console.running.put(a_point("a"), a_point("b"))
    browser = console.browser(Role.VIEWER)
    svg = drawn(browser.page("/console/overview?district=Farsta"))
    numbers = [(text.get("x"), text.get("y")) for text in svg.findall(".//a/text")]
    assert len(set(numbers)) == 2
    assert "Det finns inga trygghetspunkter i Bromma." in browser.page("/console/overview?district=Bromma")
    drawn(browser.page("/console/overview?district=Nowhere"))


def test_five_hundred_points_do_not_make_it_slow(console: Console) -> None:
    browser = console.browser(Role.APPROVER)

    def cost(points: int) -> float:
        """Seconds of CPU for the page."""
        console.running.put(*(a_point(f"p{n}", lat=59.2 + n / 5000, lon=17.9 + n % 50 / 100) for n in range(points)))
        browser.page("/console/overview/part")
        spent = []
        for _ in range(3):
            began = time.process_time()
            browser.page("/console/overview/part")
            spent.append(time.process_time() - began)
        return min(spent)

    few = cost(50)
    assert cost(500) < 10 * few
    page = browser.page("/console/overview/part")
    assert len(page) < 40_000
    assert len(drawn(browser.page("/console/overview/map")).findall(".//title")) == 500
    assert unescape(page).count("Trygghetspunkt") < 20


def test_openings_that_wait_for_approval_are_called_changed_points_and_not_by_whom(console: Console) -> None:
    with console.service.database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO broadcasts (kind, state, priority, operator, run, created_at, submitted_at, recipients)"
            " VALUES ('status', 'submitted', 3, '', 1, 0, 0, 5)"
        )
    page = words(console.browser(Role.APPROVER).page("/console/overview"))
    assert "Ändrade punkter (2) , till 5" in page

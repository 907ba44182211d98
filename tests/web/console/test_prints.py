"""What is printed or read aloud: nothing told as open that is not, and no secret address anywhere."""

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from responder.core.access import Role
from responder.core.points import Status, YesNo
from responder.store import exercises, notes
from responder.store.exercises import save_played
from responder.web.console import STATIC
from tests import engines
from tests.conftest import NOW, Running, a_point
from tests.web.console.conftest import Browser, Console

POSTER, LIST, SCRIPT, SITUATION = (f"/console/prints/{name}" for name in ("poster/p1", "list", "script", "situation"))


@pytest.fixture
def browser(console: Console) -> Browser:
    return console.browser(Role.VIEWER)


def main_of(page: str) -> str:
    """What somebody reads in the middle of the page."""
    middle = page.partition("<main")[2].partition("</main>")[0]
    return html.unescape(re.sub(r"[ \t]+", " ", re.sub(r"<[^>]+>", " ", "<" + middle)))


def flat(page: str) -> str:
    return " ".join(main_of(page).split())


def test_the_poster_says_all_in_swedish_and_english(start: Callable[..., Running]) -> None:
    running = start(twilio_from="+46766860000", twilio_call_from="+46812345678")
    console = Console(running)
    running.put(a_point(step_free=YesNo.YES, pets=YesNo.NO))
    text = flat(console.browser(Role.VIEWER).page(POSTER))
    for said in (
        "Hallen p1", "Testgatan 36, Farsta", "Trygghetspunkt vid kris", "laddning av mobil", "du kommer in med rullstol",
        "inga husdjur", "Sms:a ditt postnummer till 076-686 00 00", "eller ring 08-123 456 78", "Fara för liv: 112",
        "113 13", "1177", "103,3", "Är det öppet nu? Fråga först:",
        "Safety point in a crisis", "phone charging", "step-free", "no pets", "Text your postcode to 076-686 00 00",
        "or call 08-123 456 78", "Danger to life: 112", "Is it open now? Ask first:",
    ):  # fmt: skip
        assert said in text, said
    assert "nummer saknas" not in text


def test_a_poster_promises_nothing_about_now(console: Console, browser: Browser) -> None:
    console.running.put(a_point(hours="Mo-Su 08:00-20:00"))
    poster = browser.page(POSTER).partition('<article class="poster')[2]
    assert "öppen" not in poster.lower().replace("öppet nu?", "") and "08:00" not in poster


def test_without_a_number_the_poster_says_so_and_warns(console: Console, browser: Browser) -> None:
    console.running.put(a_point())
    text = flat(browser.page(POSTER))
    assert "(nummer saknas)" in text and "(number not set)" in text and "Sätt inte upp affischen" in text


def test_a_sender_that_nobody_can_text_is_no_number(start: Callable[..., Running]) -> None:
    running = start(twilio_from="Stockholm")
    running.put(a_point())
    assert "(nummer saknas)" in flat(Console(running).browser(Role.VIEWER).page(POSTER))


def test_demo_and_exercise_are_shouted(console: Console, browser: Browser) -> None:
    console.running.put(a_point())
    assert re.search(r'class="shout">DEMO', browser.page(POSTER)) and "ÖVNING" not in browser.page(POSTER)
    with console.service.database.write() as connection:
        exercises.begin(connection, "Havsörn", "arne", NOW.timestamp())
    assert re.search(r'class="shout">ÖVNING', browser.page(POSTER))
    assert flat(browser.page(SCRIPT)).count("Övning, övning, övning") == 2
    assert flat(browser.page(SITUATION)).count("*** ÖVNING: Havsörn ***") >= 2


def test_a_secret_address_is_on_nothing(console: Console, browser: Browser) -> None:
    console.running.put(a_point(hidden=True, address="Hemliga gatan 1", city="Hemligby"))
    answer = browser.get(POSTER)
    pages = [answer.get_data(as_text=True), *map(browser.page, (LIST, SCRIPT, SITUATION, "/console/prints"))]
    assert answer.status_code == 409
    for page in pages:
        assert "Hemliga" not in page and "Hemligby" not in page
    assert "ring 113 13" in flat(pages[1]) and "ring 113 13 för att få adressen" in flat(pages[2])


@pytest.mark.parametrize("status", [Status.CANDIDATE, Status.REJECTED])
def test_what_is_only_proposed_is_on_nothing(console: Console, browser: Browser, status: Status) -> None:
    console.running.put(a_point(status=status))
    assert browser.get(POSTER).status_code == 404
    for path in (LIST, SCRIPT, SITUATION, "/console/prints"):
        assert "Hallen p1" not in browser.page(path)


def test_the_list_has_open_and_planned_points_by_district(console: Console, browser: Browser) -> None:
    console.running.put(
        a_point(hours="Mo-Su 08:00-20:00"),
        a_point("p2", status=Status.PLANNED, district="Skarpnäck"),
        a_point("p3", status=Status.CLOSED),
    )
    text = flat(browser.page(LIST))
    assert "Hallen p1" in text and "stänger kl. 20" in text and "mån-sön 08:00-20:00" in text
    assert "Hallen p2" in text and "planerad" in text and "Hallen p3" not in text
    assert "Läget kl. 14.20 den 24 november" in text
    assert "Hallen p2" not in flat(browser.page(f"{LIST}?district=Farsta"))
    assert browser.get(f"{LIST}?district=Atlantis").status_code == 404


def test_the_head_of_the_list_is_a_head_that_comes_on_each_page(console: Console, browser: Browser) -> None:
    console.running.put(a_point())
    assert re.search(r"<table[^>]*points-list.*?<thead>", browser.page(LIST), re.S)
    css = (STATIC / "poster.css").read_text(encoding="utf-8")
    assert "table.points-list thead { display: table-header-group" in css


def test_the_script_tells_what_is_open_now_in_sentences(console: Console, browser: Browser) -> None:
    console.running.put(
        a_point(closes=NOW + timedelta(hours=5, minutes=40)),
        a_point("p2", status=Status.FULL),
        a_point("p3", status=Status.ON_CALL, phone="08-123 45 67"),
        a_point("p4", status=Status.CLOSED),
        a_point("p5", status=Status.PLANNED),
        a_point("p6", hours="Mo-Su 20:00-22:00"),
        a_point("p7", closes=NOW - timedelta(minutes=1)),
    )
    lines = [line.strip() for line in main_of(browser.page(SCRIPT)).splitlines() if line.strip()]
    assert "Läget kl. 14.20 den 24 november." in lines
    at = lines.index("Farsta.")
    assert lines[at + 1 : at + 4] == [
        "Öppet nu: Hallen p1, Testgatan 36, stänger kl. 20.",
        "Ring innan du går dit: Hallen p3, Testgatan 36, ring 08-123 45 67.",
        "Fullt just nu: Hallen p2, Testgatan 36.",
    ]
    for id in ("p4", "p5", "p6", "p7"):
        assert f"Hallen {id}" not in " ".join(lines)


def test_what_was_not_confirmed_lately_is_called_so_everywhere(console: Console, browser: Browser) -> None:
    console.running.put(a_point(confirmed_at=NOW - timedelta(hours=12)))
    assert "Uppgiften är inte bekräftad." in flat(browser.page(SCRIPT))
    assert "(obekräftad)" in flat(browser.page(LIST))
    assert "OBEKRÄFTAD" in flat(browser.page(SITUATION))
    console.running.put(a_point(confirmed_at=NOW - timedelta(hours=11)))
    assert "bekräfta" not in flat(browser.page(SCRIPT)) and "obekräftad" not in flat(browser.page(LIST))


def test_where_nothing_is_open_the_script_says_that(console: Console, browser: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED))
    assert "Ingen trygghetspunkt är öppen just nu." in flat(browser.page(SCRIPT))


def test_the_script_is_swedish_whatever_the_page_is(console: Console, browser: Browser) -> None:
    console.running.put(a_point())
    browser.post("/console/language", language="en")
    page = flat(browser.page(SCRIPT))
    assert "Script for radio and volunteers" in page and "Läget kl. 14.20 den 24 november." in page


def test_the_situation_report_counts(console: Console, browser: Browser) -> None:
    console.running.put(
        a_point(capacity=120, visitors=45),
        a_point("p2", status=Status.FULL, capacity=30),
        a_point("p3", status=Status.CLOSED),
    )
    with console.service.database.write() as connection:
        notes.add(connection, "rita", "on", "", NOW.timestamp() - 3600)
        notes.add(connection, "olle", "on", "", NOW.timestamp() - 3600)
        notes.add(connection, "olle", "off", "", NOW.timestamp() - 60)
    console.running.phone.text("xyzzy")
    text = flat(browser.page(SITUATION))
    assert "Farsta: 1 öppna, 0 ring först, 1 fulla, 1 stängda" in text
    assert "Personer där nu: 45 (känt för 1 av 2 punkter). Plats för: 150 (känt för 2 av 2 punkter)." in text
    assert "Hallen p1, Testgatan 36: öppen. Personer: 45 av 120" in text
    assert "inte förstods det senaste dygnet: 1" in text and "ingen vet om de kom fram: 0" in text
    assert "- rita, sedan 13.20" in text and "olle" not in text


def test_broadcasts_of_the_last_day_are_told_with_their_recipients(console: Console, browser: Browser) -> None:
    sql = (
        "INSERT INTO broadcasts (kind, template, exercise, state, version, priority, audience, texts, fallback, operator,"
        " editors, approved_by, approved_version, reason, recipients, created_at, started_at)"
        " VALUES ('message', '', false, 'done', 1, 4, '', '{}', '', 'anna', '[]', '', 0, '', ?, ?, ?)"
    )
    with engines.peek(console.running.path) as looking:
        for recipients, ago in ((731, 3600), (999, 25 * 3600)):
            at = NOW.timestamp() - ago
            looking.execute(sql, (recipients, at, at))
    text = flat(browser.page(SITUATION))
    assert "731 mottagare" in text and "999 mottagare" not in text


def test_what_people_typed_is_text_and_nothing_else(console: Console, browser: Browser) -> None:
    console.running.put(a_point(name="</textarea><script>alert(1)</script>", address="<b>gatan</b>"))
    for path in (POSTER, LIST, SCRIPT, SITUATION, "/console/prints"):
        page = browser.page(path)
        assert "<script>alert" not in page and "<b>gatan" not in page and page.count("</textarea>") <= 1


def test_an_exercise_prints_what_the_points_are_in_it(console: Console, browser: Browser) -> None:
    console.running.put(a_point(status=Status.PLANNED))
    with console.service.database.write() as connection:
        exercises.begin(connection, "Havsörn", "arne", NOW.timestamp())
        save_played(connection, [a_point()], {"p1": 1})
    assert "Öppet nu: Hallen p1" in flat(browser.page(SCRIPT))

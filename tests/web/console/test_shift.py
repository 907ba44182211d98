"""The shift log."""

import re

import pytest

from responder.actions import publish
from responder.core.access import Role, shell
from responder.core.points import Status
from tests.conftest import NOW, ZONE, a_point
from tests.web.console import hostile
from tests.web.console.conftest import Console
from tests.web.console.test_broadcasts import ANNA, DANGER, announcer, draft

PAGE = "/console/shift"


def flat(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def set_point(console: Console, status: Status, id: str = "p1") -> None:
    change, now = publish.Change(status), console.running.clock.now
    publish.set_point(console.service.database, id, change, shell("bo"), ZONE, now, "Beslut 7", "Krisledningen")


def test_one_goes_on_and_off_duty_with_one_press_however_often_it_is_pressed(console: Console) -> None:
    browser, other = console.browser(Role.REPORTER), console.browser(Role.VIEWER)
    assert "Ingen är i tjänst" in browser.page(PAGE)
    browser.post(f"{PAGE}/on")
    browser.post(f"{PAGE}/on")
    assert "reporter , sedan 14.20" in flat(other.page(PAGE))
    assert flat(browser.page(PAGE)).count("gick på skiftet") == 1
    browser.post(f"{PAGE}/off")
    assert "Ingen är i tjänst" in browser.page(PAGE)


def test_who_has_been_on_duty_for_more_than_twelve_hours_is_marked(console: Console) -> None:
    browser = console.browser(Role.REPORTER)
    browser.post(f"{PAGE}/on")
    console.running.clock.pass_time(hours=12)
    assert "avlösning" not in console.browser(Role.VIEWER).page(PAGE)
    console.running.clock.pass_time(minutes=1)
    assert "avlösning" in console.browser(Role.VIEWER).page(PAGE)


def test_a_note_is_left_for_the_next_shift_newest_first(console: Console) -> None:
    browser = console.browser(Role.REPORTER)
    browser.post(PAGE, text="Elverket i Farsta krånglar.\nRing Bo.")
    console.running.clock.pass_time(minutes=5)
    page = browser.post(PAGE, text="Nu går det igen.", follow=True).get_data(as_text=True)
    assert page.index("Nu går det igen.") < page.index("Elverket i Farsta krånglar.\nRing Bo.")
    assert browser.post(PAGE, text=" \n").status_code == 422
    kept = browser.post(PAGE, text="x" * 2001)
    assert kept.status_code == 422 and "x" * 2001 in kept.get_data(as_text=True)
    assert browser.post(PAGE, text="x" * 2000).status_code == 303


def test_a_viewer_reads_and_writes_nothing(console: Console) -> None:
    viewer = console.browser(Role.VIEWER)
    assert "<textarea" not in viewer.page(PAGE) and "/shift/on" not in viewer.page(PAGE)
    for path in (PAGE, f"{PAGE}/on", f"{PAGE}/off"):
        assert viewer.post(path, text="Hej").status_code == 403


def test_older_notes_stay_on_the_page_they_were_on(console: Console) -> None:
    browser = console.browser(Role.REPORTER)
    for n in range(35):
        browser.post(PAGE, text=f"rad {n:02d}.")
    first = browser.page(PAGE)
    assert "rad 34." in first and "rad 05." in first and "rad 04." not in first
    older = re.search(r'href="(/console/shift\?before=\d+)', first)
    assert older
    browser.post(PAGE, text="rad 35.")
    page = browser.page(older[1])
    assert "rad 04." in page and "rad 05." not in page and "rad 00." in page


def test_a_new_shift_hears_what_changed_since_it_was_last_on_duty(console: Console) -> None:
    console.running.put(a_point(), a_point("p2"), a_point("p3"))
    set_point(console, Status.FULL, "p3")
    browser = console.browser(Role.REPORTER)
    browser.post(f"{PAGE}/on")
    browser.post(f"{PAGE}/off")
    assert "Ingen trygghetspunkt och inget utskick har ändrats" in browser.page(PAGE)
    console.running.clock.pass_time(hours=8)
    set_point(console, Status.FULL)
    console.running.clock.pass_time(hours=1)
    set_point(console, Status.CLOSED)
    set_point(console, Status.OPEN, "p2")
    browser = console.browser(Role.REPORTER)
    browser.post(f"{PAGE}/on")
    text = flat(browser.page(PAGE))
    assert re.search(r"Hallen p1 ?: öppen → stängd \(2 steg, 23\.20, shell:bo\)", text), text
    assert re.search(r"Hallen p2 ?: bekräftad \(23\.20", text), text
    assert "Hallen p3" not in text and "Sedan du senast var i tjänst" in text


def test_who_was_never_on_duty_sees_the_last_day(console: Console) -> None:
    console.running.put(a_point())
    set_point(console, Status.FULL)
    viewer = console.browser(Role.VIEWER)
    assert "De senaste 24 timmarna" in viewer.page(PAGE) and "öppen → full" in flat(viewer.page(PAGE))
    console.running.clock.pass_time(hours=25)
    assert "öppen → full" not in flat(console.browser(Role.VIEWER).page(PAGE))


def test_a_broadcast_that_has_gone_out_meanwhile_is_not_said_to_be_going_out(console: Console) -> None:
    console.running.put(a_point())
    console.running.phone.text("START 12347")
    made = draft(console)
    announcer(console).submit(ANNA, made.id, NOW, DANGER)
    announcer(console).send(ANNA, made.id, NOW)
    viewer = console.browser(Role.VIEWER)
    said = f"Utskick {made.id} : "
    assert f"{said}skickas (" in flat(viewer.page(PAGE))
    with console.service.database.write() as connection:
        connection.exec_driver_sql("UPDATE broadcasts SET state = 'done'")
    assert f"{said}klart (" in flat(viewer.page(PAGE))


@pytest.mark.parametrize("text", hostile.ALL[:4], ids=("formula", "script", "turned", "controls"))
def test_a_note_that_is_meant_to_do_harm_is_plain_text(console: Console, text: str) -> None:
    browser = console.browser(Role.REPORTER)
    browser.post(PAGE, text=text)
    page = browser.page(PAGE)
    assert "<script>alert" not in page and "<img src=x" not in page
    assert not re.search("[\x00-\x08\x0e-\x1f]", page)
    if text is hostile.TURNED:
        assert "<bdi>" in page

"""The pages of points: what is there, and how a change is read before it is made."""

import re
from datetime import timedelta
from html import unescape

import pytest

from responder.actions.publish import Change, Notes, note, set_point
from responder.core.access import Role, shell
from responder.core.points import Point, Status
from responder.store import exercises
from responder.store.queries import read_points
from responder.web.console.points import typed
from tests.conftest import NOW, ZONE, a_point
from tests.web.console.conftest import Browser, Console


def stored(console: Console, id: str = "p1") -> tuple[Point, int]:
    with console.service.database.read() as connection:
        return {point.id: (point, version) for point, version in read_points(connection)}[id]


def words(page: str) -> str:
    """What is read on a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def fields(page: str, action: str) -> dict[str, list[str]]:
    """What the form that goes to `action` would send, but for its token."""
    form = re.search(rf'<form[^>]*action="[^"]*{action}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert form, action
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form[1]):
        at = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if at["name"] != "csrf_token" and (at.get("type") not in ("radio", "checkbox") or " checked" in tag):
            found.setdefault(at["name"], []).append(at.get("value", ""))
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form[1], re.DOTALL):
        found[name] = re.findall(r'<option selected value="([^"]*)"', options)
    return found


@pytest.fixture
def reporter(console: Console) -> Browser:
    """Somebody who may change points in Farsta."""
    console.running.put(a_point(), a_point("b", name="Borgen", district="Bromma", status=Status.CLOSED))
    return console.browser(Role.REPORTER)


# --- looking ----------------------------------------------------------------------------------------------------------


def test_the_list_tells_by_district_what_each_point_is_now(console: Console) -> None:
    console.running.put(
        a_point(closes=NOW + timedelta(minutes=30), visitors=20, capacity=80),
        a_point("b", name="Borgen", district="Bromma", status=Status.FULL, confirmed_at=None),
        a_point("c", name="Förslaget", status=Status.CANDIDATE), a_point("d", name="Nejet", status=Status.REJECTED),
    )  # fmt: skip
    page = words(console.browser(Role.VIEWER).page("/console/points"))
    assert page.index("Bromma Trygghetspunkt") < page.index("Farsta Trygghetspunkt")
    assert "Hallen p1 Nr 1 Testgatan 36 stänger snart till 14.50 14.20 20 av 80" in page
    assert "Borgen Nr 2 Testgatan 36 full aldrig obekräftad" in page
    assert "Förslaget" not in page and "Nejet" not in page and "Beredskap" in page


def test_the_list_is_sifted_by_words_district_and_one_s_own(console: Console, reporter: Browser) -> None:
    for query, seen, gone in (
        ("q=borg", "Borgen", "Hallen p1"), ("district=Farsta", "Hallen p1", "Borgen"), ("mine=1", "Hallen p1", "Borgen"),
    ):  # fmt: skip
        page = words(reporter.page(f"/console/points?{query}"))
        assert seen in page and gone not in page
    assert "Ingen trygghetspunkt hittades" in reporter.page("/console/points?q=nowhere")


def test_a_point_shows_the_exact_answer_that_residents_get(console: Console, reporter: Browser) -> None:
    place = console.service.snapshot.read(NOW).gazetteer.by_code["12347"]
    console.running.put(a_point(lat=place.lat, lon=place.lon, postcode="12347"))
    reply = console.running.phone.text("12347")
    sms = re.findall(r'<p class="sms" lang="sv">([^<]*)</p>', reporter.page("/console/points/p1"))
    assert [unescape(text) for text in sms] == [reply]


def test_who_may_not_change_a_point_sees_it_without_buttons(console: Console, reporter: Browser) -> None:
    for browser, id in ((console.browser(Role.VIEWER), "p1"), (reporter, "b")):
        page = browser.page(f"/console/points/{id}")
        assert "become" not in page and "/confirm" not in page and "Vad invånarna får veta nu" in page
    assert reporter.post("/console/points/b/confirm").status_code == 403
    assert reporter.post("/console/points/b/notes", visitors="1").status_code == 403
    assert reporter.post("/console/points/b/review", become="open", seen="1").status_code == 403
    assert stored(console, "b")[1] == 1


def test_a_proposed_point_leads_to_readiness_and_has_no_buttons(console: Console) -> None:
    console.running.put(a_point(status=Status.CANDIDATE))
    page = console.browser(Role.ADMIN).page("/console/points/p1")
    assert "become" not in page and "bara föreslagen" in page and 'class="sms"' not in page


def test_a_point_that_there_is_not_is_not_found(console: Console) -> None:
    browser = console.browser(Role.ADMIN)
    for path in ("", "/history", "/change"):
        assert browser.get(f"/console/points/nowhere{path}").status_code == 404
    for path in ("/change", "/review", "/save", "/confirm", "/notes"):
        assert browser.post(f"/console/points/nowhere{path}").status_code == 404


# --- a change in two steps --------------------------------------------------------------------------------------------


def test_opening_a_point_is_tap_open_read_tap_save(console: Console) -> None:
    console.running.put(a_point(status=Status.CLOSED, phone="08-1234567", note="Ta med filt"))
    browser = console.browser(Role.REPORTER)
    start = fields(browser.page("/console/points/p1"), "/review")
    review = browser.post("/console/points/p1/review", become="open", **start)
    assert review.status_code == 200
    page = review.get_data(as_text=True)
    assert "ÖPPEN nu" in page and "stängd → blir öppen" in words(page)
    assert stored(console)[1] == 1  # nothing is written by reading
    saved = browser.post("/console/points/p1/save", follow=True, **fields(page, "/save"))
    assert "Sparat. Invånarna får det nya svaret" in saved.get_data(as_text=True)
    after, version = stored(console)
    assert version == 2
    assert after == a_point(status=Status.OPEN, phone="08-1234567", note="Ta med filt", confirmed_at=after.confirmed_at)


def test_the_review_says_how_many_hear_and_when(console: Console, reporter: Browser) -> None:
    for number in ("+46701740601", "+46701740602"):
        console.running.another_phone(number).text("12347")
        console.running.another_phone(number).text("JA")
    console.running.another_phone("+46701740603").text("12347")
    page = words(reporter.post("/console/points/p1/review", become="closed", seen="1").get_data(as_text=True))
    assert "Ungefär 3 meddelanden" in page and "3 till dem som räknar med en dörr som inte blir öppen" in page
    assert "De går ut från ungefär 14.21" in page
    assert "ÄNDRAT 14.20" in page


def test_back_from_the_review_keeps_everything_that_was_filled_in(console: Console, reporter: Browser) -> None:
    filled = {
        "status": "on_call", "opens": "18:00", "closes": "21:30", "hours": "Mo-Su 08:00-22:00", "phone": "08-12 34 56",
        "moved_to": "", "note": "<b>Ring</b>", "services": ["water", "beds"], "step_free": "yes", "pets": "no",
        "overnight": "unknown", "backup_power": "no", "decision": "Beslut 7", "decided_by": "Krisledningen", "seen": "1",
    }  # fmt: skip
    page = reporter.post("/console/points/p1/review", **filled).get_data(as_text=True)
    assert "<b>Ring</b>" not in page
    carried = fields(page, "/save")
    back = fields(reporter.post("/console/points/p1/change", **carried).get_data(as_text=True), "/review")
    expected = {name: value if isinstance(value, list) else [value] for name, value in filled.items()}
    assert back == expected == carried
    assert reporter.post("/console/points/p1/save", **carried).status_code == 303
    assert "Beslut 7 (Krisledningen)" in words(reporter.page("/console/points/p1/history"))


def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(console: Console, reporter: Browser) -> None:
    answer = reporter.post(
        "/console/points/p1/review", status="moved", seen="1", phone="ring mig", closes="kl 8", note="Kvar"
    )
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    for field in ("phone", "closes", "moved_to"):
        assert f'id="{field}-error"' in page
    assert 'value="ring mig"' in page and 'value="kl 8"' in page and 'value="Kvar"' in page
    quick = reporter.post("/console/points/p1/review", become="on_call", seen="1")  # the number is missing
    assert quick.status_code == 422 and 'id="phone-error"' in quick.get_data(as_text=True)


def test_the_form_says_that_callers_do_not_hear_the_note(console: Console, reporter: Browser) -> None:
    note = "Ring på klockan."
    console.running.put(a_point(note=note))
    assert note in console.running.phone.text("12347")
    console.running.phone.call()
    assert note not in " ".join(console.running.phone.keys("12347"))
    page = words(reporter.page("/console/points/p1/change"))
    assert "En kort mening i sms-svaret, om den får plats. Den som ringer hör den inte." in page


def test_who_was_overtaken_sees_both_versions_and_chooses_again(console: Console, reporter: Browser) -> None:
    database, now = console.service.database, console.running.clock.now
    set_point(database, "p1", Change(Status.FULL, note="Fullt i salen"), shell("bo"), ZONE, now)
    mine = {"status": "closed", "note": "Vi stänger", "seen": "1", "services": ["water"]}
    for step in ("review", "save"):
        answer = reporter.post(f"/console/points/p1/{step}", **mine)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 409
        assert "shell:bo ändrade den här punkten 14.20" in words(page)
        assert "Status full stängd" in words(page)
        assert "Upplysning till invånare Fullt i salen Vi stänger" in words(page)
    assert stored(console)[0].note == "Fullt i salen"
    again = fields(page, "/review")
    assert (again["note"], again["seen"]) == (["Vi stänger"], ["2"])
    assert reporter.post("/console/points/p1/review", **again).status_code == 200
    assert reporter.post("/console/points/p1/save", **again).status_code == 303
    assert (stored(console)[0].status, stored(console)[0].note) == (Status.CLOSED, "Vi stänger")


def test_a_second_click_on_save_changes_nothing_and_says_that_it_is_saved(console: Console, reporter: Browser) -> None:
    said = {"status": "full", "note": "Fullt", "closes": "20:00", "seen": "1"}
    for _ in range(2):
        page = reporter.post("/console/points/p1/save", follow=True, **said).get_data(as_text=True)
        assert 'role="status">Sparat.' in page
        assert stored(console)[1] == 2
    for other in ({"note": "Nästan fullt"}, {"closes": "kl 8"}):
        answer = reporter.post("/console/points/p1/save", **{**said, **other})
        assert answer.status_code == 409 and next(iter(other.values())) in answer.get_data(as_text=True)
    database, now = console.service.database, console.running.clock.now
    set_point(database, "p1", Change(Status.FULL, closes="20:00", note="Fullt"), shell("bo"), ZONE, now)
    assert reporter.post("/console/points/p1/save", **said).status_code == 409  # somebody else has been here since


@pytest.mark.parametrize("seen", ["", "0", "-1", "x", "9" * 5000])
def test_a_form_that_says_no_version_overwrites_nothing(console: Console, reporter: Browser, seen: str) -> None:
    assert reporter.post("/console/points/p1/save", status="closed", seen=seen).status_code == 409
    assert reporter.post("/console/points/p1/confirm", seen=seen).status_code == 409
    assert stored(console)[1] == 1


def test_a_form_without_a_status_is_asked_again(console: Console, reporter: Browser) -> None:
    for sent in ({}, {"status": "candidate", "seen": "1"}, {"status": "rejected", "seen": "1"}, {"become": "x"}):
        assert reporter.post("/console/points/p1/review", **sent).status_code == 422
        assert reporter.post("/console/points/p1/save", **sent).status_code == 422
    assert stored(console)[1] == 1


@pytest.mark.parametrize("hours", [0.5, 5, 23, 26, 24 * 40, 24 * 200])
def test_a_time_is_shown_as_it_would_be_read_back(hours: float) -> None:
    from responder.actions.publish import next_time

    at = NOW + timedelta(hours=hours)
    assert next_time(typed(at, NOW, ZONE), NOW, ZONE) == at
    assert typed(NOW, NOW, ZONE) == typed(None, NOW, ZONE) == ""


# --- one tap, and notes -----------------------------------------------------------------------------------------------


def test_still_open_is_one_tap(console: Console, reporter: Browser) -> None:
    console.running.clock.pass_time(hours=1)
    tap = fields(reporter.page("/console/points/p1"), "/confirm")
    page = reporter.post("/console/points/p1/confirm", follow=True, **tap).get_data(as_text=True)
    assert "Hallen p1 är bekräftad: fortfarande öppen." in page
    assert stored(console)[0].confirmed_at == NOW + timedelta(hours=1)
    assert reporter.post("/console/points/p1/confirm", **tap).status_code == 409  # it is another version by now


def test_what_has_closed_by_its_own_time_has_no_such_button(console: Console) -> None:
    console.running.put(a_point(closes=NOW - timedelta(hours=1)))
    assert "/confirm" not in console.browser(Role.REPORTER).page("/console/points/p1")


def test_visitors_and_supplies_are_noted_without_confirming(console: Console, reporter: Browser) -> None:
    form = fields(reporter.page("/console/points/p1"), "/notes")
    assert {**form, "was": []} == {"visitors": [""], "capacity": [""], "staffing": [""], "supplies": [""], "was": []}
    sent = {"visitors": "45", "capacity": "80", "staffing": "Eva", "supplies": "Filtar slut"}
    page = reporter.post("/console/points/p1/notes", follow=True, **sent).get_data(as_text=True)
    assert "Invånarna får inte veta det" in page and 'value="Filtar slut"' in page
    assert stored(console) == (a_point(visitors=45, capacity=80, staffing="Eva", supplies="Filtar slut"), 1)
    wrong = reporter.post("/console/points/p1/notes", **{**sent, "visitors": "många"})
    assert wrong.status_code == 422 and 'value="många"' in wrong.get_data(as_text=True)


def test_what_somebody_else_has_noted_meanwhile_is_kept(console: Console, reporter: Browser) -> None:
    console.running.put(a_point(visitors=40, supplies="Filtar"))
    form = fields(reporter.page("/console/points/p1"), "/notes")
    note(console.service.database, "p1", Notes(visitors="90", staffing="Eva"), shell("eva"), ZONE, NOW)
    reporter.post("/console/points/p1/notes", **{**form, "supplies": [""], "capacity": ["100"]})
    assert stored(console)[0] == a_point(visitors=90, staffing="Eva", supplies="", capacity=100)


@pytest.mark.parametrize("was", ["", "[]", "{", "null", '{"visitors": 7}'])
def test_a_form_that_does_not_say_what_it_was_notes_everything(console: Console, reporter: Browser, was: str) -> None:
    console.running.put(a_point(visitors=40))
    reporter.post("/console/points/p1/notes", visitors="", capacity="9", staffing="", supplies="", was=was)
    assert stored(console)[0] == a_point(capacity=9)


def test_the_history_shows_what_changed_for_whom_and_why(console: Console, reporter: Browser) -> None:
    database, now = console.service.database, console.running.clock.now
    set_point(database, "p1", Change(Status.FULL), shell("bo"), ZONE, now, "Beslut 7", "Krisledningen")
    note(database, "p1", Notes(visitors="3"), shell("eva"), ZONE, now)
    page = words(reporter.page("/console/points/p1/history"))
    assert "shell:bo ändrat till full Status: öppen → blir full" in page
    assert "Beslut 7 (Krisledningen)" in page
    assert "shell:eva antecknat Besökare nu: 3" in page
    assert page.index("shell:eva") < page.index("shell:bo") and "Adress:" not in page


# --- exercises --------------------------------------------------------------------------------------------------------


def test_in_an_exercise_the_review_is_marked_and_nothing_real_changes(console: Console, reporter: Browser) -> None:
    with console.service.database.write() as connection:
        exercises.begin(connection, "Stormen", "anna", NOW.timestamp())
    seen = fields(reporter.page("/console/points/p1"), "/review")["seen"]
    review = reporter.post("/console/points/p1/review", become="closed", seen=seen).get_data(as_text=True)
    assert "Ingen: det här är en övning" in review and "Spara i övningen: ingen får veta" in review
    assert all(text.startswith("ÖVNING") for text in re.findall(r'<p class="sms"[^>]*>([^<]*)', review))
    saved = reporter.post("/console/points/p1/save", follow=True, **fields(review, "/save")).get_data(as_text=True)
    assert "Sparat i övningen" in saved and 'class="status closed"' in saved
    assert "Bara i övningen: invånare som frågar får veta det verkliga läget" in saved
    assert stored(console) == (a_point(), 1)
    assert "ÖVNING ändrat till stängd" in words(reporter.page("/console/points/p1/history"))


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_what_somebody_wrote_is_never_read_as_html(console: Console) -> None:
    evil = "<script>alert(1)</script>{{7*7}}"
    console.running.put(a_point(name=evil, note=evil, address=evil, staffing=evil, contact=evil, district=evil))
    browser = console.browser(Role.ADMIN)
    browser.post("/console/points/p1/review", become="full", seen="1")
    paths = ("", "/p1", "/p1/change", "/p1/history")
    pages = [browser.page(f"/console/points{path}") for path in paths]
    pages += [browser.page("/console/overview"), browser.page("/console/overview?district=" + "%3Cscript%3E")]
    pages.append(browser.post("/console/points/p1/review", become="full", seen="1").get_data(as_text=True))
    for page in pages:
        assert "<script>alert" not in page and "<script>\n" not in page and ">49<" not in page

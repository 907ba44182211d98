"""What was not understood, on its pages."""

import re
from typing import Any

import pytest
from sqlalchemy import text as sql

from responder.core.access import Role
from responder.store import exercises
from tests.conftest import a_point
from tests.web.console import hostile
from tests.web.console.conftest import Browser, Console

ANNA, BERTIL, CARIN = "+46701740601", "+46701740602", "+46701740603"
WHY = "Hon behöver en ambulans"


@pytest.fixture
def browser(console: Console) -> Browser:
    console.running.put(a_point())
    return console.browser(Role.COMMUNICATOR)


def write(console: Console, number: str, text: str) -> str:
    reply = console.running.another_phone(number).text(text)
    console.running.clock.pass_time(minutes=1)
    return reply


def rows(console: Console, question: str, **values: Any) -> list[tuple[Any, ...]]:
    from sqlalchemy import text

    with console.service.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(question), values)]


def group_of(browser: Browser, path: str = "/console/inbox") -> str:
    found = re.search(r'href="(/console/inbox/[0-9a-f]{32})"', browser.page(path))
    assert found
    return found[1]


def serial_of(page: str) -> str:
    found = re.search(r'name="serial"[^>]*value="([^"]+)"', page)
    assert found
    return found[1]


def flat(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


# --- the list ----------------------------------------------------------------------------------------------------------


def test_the_same_words_are_one_group_however_they_are_written(console: Console, browser: Browser) -> None:
    for number, text in ((ANNA, "Mordor zzyx"), (BERTIL, "  mordor   ZZYX!!"), (CARIN, "qwertyx")):
        write(console, number, text)
    page = browser.page("/console/inbox")
    assert len(set(re.findall(r"/console/inbox/[0-9a-f]{32}", page))) == 2
    assert page.index("qwertyx") < page.index("ZZYX!!")  # the newest first
    text = flat(page)
    assert re.search(r"mordor ZZYX!! 2 14\.20 14\.21 sv sms", text), text


def test_what_was_understood_is_not_there(console: Console, browser: Browser) -> None:
    write(console, ANNA, "12347")
    write(console, ANNA, "hjälp")
    assert "/console/inbox/" not in browser.page("/console/inbox").replace("/console/inbox/aliases", "")


def test_a_postcode_that_does_not_exist_is_there(console: Console, browser: Browser) -> None:
    write(console, ANNA, "11999")
    assert "11999" in browser.page(group_of(browser))


def test_no_number_is_shown_in_full(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    page = browser.page(group)
    assert ANNA not in page and ANNA[4:] not in page and "+4670*****01" in page
    assert ANNA not in browser.page("/console/inbox")


def test_what_a_lost_key_sealed_is_skipped_and_counted(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    write(console, BERTIL, "atlantis")
    with console.service.database.write() as connection:
        lost = "UPDATE turns SET body_sealed = :lost WHERE at = (SELECT min(at) FROM turns)"
        connection.execute(sql(lost), {"lost": bytes(26)})
    page = browser.page("/console/inbox")
    assert "atlantis" in page and "mordor" not in page
    assert "1 meddelanden kan inte läsas" in page


def test_who_said_stopp_is_in_no_group(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    write(console, ANNA, "STOPP")
    assert "mordor" not in browser.page("/console/inbox")


@pytest.mark.parametrize("text", hostile.ALL, ids=("formula", "script", "turned", "controls", "long"))
def test_what_is_meant_to_do_harm_is_shown_as_plain_text(console: Console, browser: Browser, text: str) -> None:
    write(console, ANNA, text)
    group = group_of(browser)
    for page in (browser.page("/console/inbox"), browser.page(group)):
        assert "<script>alert" not in page and "<img src=x" not in page
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f\x7f\x85]", page)
        assert len(page) < 40_000


# --- a name -----------------------------------------------------------------------------------------------------------


def test_a_name_that_was_learnt_is_understood_at_once_and_can_be_taken_back(console: Console, browser: Browser) -> None:
    assert "Hallen" not in write(console, ANNA, "mordor")
    group = group_of(browser)
    answer = browser.post(f"{group}/alias", alias="mordor", place="Hökarängen", follow=True)
    assert answer.status_code == 200 and "Hökarängen (stadsdel" in flat(answer.get_data(as_text=True))
    assert "Hallen p1" in write(console, BERTIL, "mordor")
    assert "mordor" not in browser.page("/console/inbox")  # dealt with
    aliases = browser.page("/console/inbox/aliases")
    assert "mordor" in aliases and "communicator" in aliases
    browser.post("/console/inbox/aliases/1/remove")
    assert "Hallen" not in write(console, CARIN, "mordor")
    lines = rows(console, "SELECT who, action, subject FROM audit WHERE action LIKE 'alias%' ORDER BY id")
    assert [line[:2] for line in lines] == [("communicator", "alias"), ("communicator", "alias removed")]


def test_where_several_places_are_called_so_one_chooses_before_anything_is_saved(
    console: Console, browser: Browser
) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    answer = browser.post(f"{group}/alias", alias="mordor", place="Farsta")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422 and rows(console, "SELECT count(*) FROM aliases") == [(0,)]
    codes = re.findall(r'type="radio" value="([^"]+)"', page)
    assert len(codes) > 1 and "Farsta (stadsdelsområde" in page
    assert browser.post(f"{group}/alias", alias="mordor", place="Farsta", code="no-such").status_code == 422
    assert browser.post(f"{group}/alias", alias="mordor", place="Farsta", code=codes[0]).status_code == 303
    assert rows(console, "SELECT alias, place FROM aliases") == [("mordor", codes[0])]


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("stopp", "kommando"), ("STOP", "kommando"), ("Stopp hemma", "kommando"), ("help", "kommando"),
        ("Bagarmossen", "betyder redan"), ("bagarmossens", "betyder redan"), ("12347", "minst 2 bokstäver"),
        ("mordor 12347", "postnummer"), ("x", "minst 2 bokstäver"), ("hemma", "vardagligt"), ("vatten", "service"),
        ("a b c d e", "högst"), ("å" * 41, "högst"),
    ],
)  # fmt: skip
def test_a_word_that_must_not_be_a_place_is_refused_beside_its_field(
    console: Console, browser: Browser, alias: str, why: str
) -> None:
    write(console, ANNA, "mordor")
    answer = browser.post(f"{group_of(browser)}/alias", alias=alias, place="Hökarängen")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422 and rows(console, "SELECT count(*) FROM aliases") == [(0,)]
    error = re.search(r'id="alias-error">([^<]+)<', page)
    assert error and why in error[1], page


def test_an_unknown_place_and_a_postcode_are_told_beside_the_place(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    for place in ("ingenstansby zz", "12347", ""):
        page = browser.post(f"{group}/alias", alias="mordor", place=place).get_data(as_text=True)
        assert 'id="place-error"' in page, place


# --- an answer --------------------------------------------------------------------------------------------------------


def test_an_answer_by_hand_goes_to_each_number_once_and_signed(console: Console, browser: Browser) -> None:
    for number, text in ((ANNA, "mordor"), (ANNA, "mordor?"), (BERTIL, "Mordor")):
        write(console, number, text)
    group = group_of(browser)
    page = browser.page(group)
    assert "2 nummer" in flat(page)
    serial = serial_of(page)
    first = browser.post(f"{group}/answer", text="Gå till Farsta centrum.", serial=serial, follow=True)
    again = browser.post(f"{group}/answer", text="Gå till Farsta centrum.", serial=serial, follow=True)
    assert "på väg till 2 nummer" in first.get_data(as_text=True)
    assert "redan" in again.get_data(as_text=True)
    sent = rows(console, "SELECT broadcast_id, kind, channel, body, state FROM deliveries")
    sender = console.service.settings.sender_name
    assert sent == [(1, "by_hand", "text", f"Gå till Farsta centrum. /{sender}", "queued")] * 2
    ((who, subject, after),) = rows(console, "SELECT who, subject, after FROM audit WHERE action = 'answer'")
    assert who == "communicator" and subject == f"inbox:{group[-32:]}" and '"numbers": 2' in after
    assert "4670174" not in after
    assert "besvarad" in flat(browser.page(group)) and 'name="serial"' not in browser.page(group)


def test_one_sender_alone_can_be_answered(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    write(console, BERTIL, "mordor")
    group = group_of(browser)
    link = re.search(r'href="([^"]+\?turn=[^"]+)#by-hand"', browser.page(group))
    assert link
    page = browser.page(link[1])
    turn = re.search(r'name="turn"[^>]*value="([^"]+)"', page)
    assert turn and "+4670*****02" in page
    browser.post(f"{group}/answer", text="Hej.", serial=serial_of(page), turn=turn[1])
    hashes = rows(console, "SELECT number_hash FROM deliveries")
    assert hashes == [(console.service.vault.newest(BERTIL),)]


def test_nothing_is_answered_by_hand_while_an_exercise_goes_on(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    serial = serial_of(browser.page(group))
    with console.service.database.write() as connection:
        exercises.begin(connection, "Höstvind", "anna", console.running.clock.now.timestamp())
    answer = browser.post(f"{group}/answer", text="Hej.", serial=serial)
    assert answer.status_code == 422 and rows(console, "SELECT count(*) FROM deliveries") == [(0,)]
    assert 'name="serial"' not in browser.page(group)


def test_a_call_is_not_answered_by_text(console: Console, browser: Browser) -> None:
    phone = console.running.another_phone(ANNA)
    phone.call()
    phone.speak("mordor zzyx")
    group = group_of(browser)
    page = browser.page(group)
    assert "samtal" in flat(page) and 'name="serial"' not in page
    answer = browser.post(f"{group}/answer", text="Hej.", serial="a" * 20)
    assert answer.status_code == 422 and rows(console, "SELECT count(*) FROM deliveries") == [(0,)]


def test_an_answer_that_is_empty_or_too_long_keeps_what_was_typed(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    serial = serial_of(browser.page(group))
    assert browser.post(f"{group}/answer", text="", serial=serial).status_code == 422
    answer = browser.post(f"{group}/answer", text="lång text " * 100, serial=serial)
    assert answer.status_code == 422 and "lång text lång text" in answer.get_data(as_text=True)
    assert serial_of(answer.get_data(as_text=True)) == serial


def test_segments_are_counted_while_one_writes(browser: Browser) -> None:
    part = browser.post("/console/inbox/count", text="Hej " * 60, language="sv").get_data(as_text=True)
    assert "Sms-delar: 2" in flat(part) and "GSM-7" in part
    assert "€" not in part and "&lt;b&gt;" in browser.post("/console/inbox/count", text="<b>").get_data(as_text=True)


# --- dealt with --------------------------------------------------------------------------------------------------------


def test_what_is_dealt_with_comes_back_when_somebody_writes_it_again(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    browser.post(f"{group}/handled")
    assert "mordor" not in browser.page("/console/inbox")
    assert "mordor" in browser.page("/console/inbox?all=1")
    write(console, BERTIL, "Mordor!")
    assert "Mordor!" in browser.page("/console/inbox")


def test_what_came_while_somebody_looked_is_not_dealt_with(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    seen = re.search(r'name="seen" value="([^"]+)"', browser.page(group))
    assert seen
    write(console, BERTIL, "mordor")
    browser.post(f"{group}/handled", seen=seen[1])
    assert "mordor" in browser.page("/console/inbox")


# --- a number ---------------------------------------------------------------------------------------------------------


def reveal_link(page: str) -> str:
    found = re.search(r'href="(/console/(?:inbox/turns|unknown)/[^"]+/reveal)"', page)
    assert found
    return found[1]


def test_a_number_is_shown_once_for_a_reason_and_never_written_down(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    group = group_of(browser)
    link = reveal_link(browser.page(group))
    assert browser.post(link, reason="för kort").status_code == 422
    assert browser.post(link, reason="").status_code == 422
    assert rows(console, "SELECT count(*) FROM audit WHERE action = 'reveal'") == [(0,)]
    answer = browser.post(link, reason=f"{WHY} {ANNA}")
    assert answer.status_code == 200 and ANNA in answer.get_data(as_text=True)
    assert answer.headers["Cache-Control"] == "no-store"
    assert ANNA not in browser.page(link) and ANNA not in browser.page(group)
    ((who, after),) = rows(console, "SELECT who, after FROM audit WHERE action = 'reveal'")
    assert who == "communicator" and WHY in after and ANNA not in after


def test_a_number_is_seen_only_by_who_has_just_proved_who_they_are(console: Console, browser: Browser) -> None:
    write(console, ANNA, "mordor")
    link = reveal_link(browser.page(group_of(browser)))
    stale = console.browser(Role.COMMUNICATOR, "sten", stale=True)
    page = stale.post(link, reason=WHY).get_data(as_text=True)
    assert 'name="proof"' in page and WHY in page and ANNA not in page


def test_a_turn_that_was_understood_reveals_nobody(console: Console, browser: Browser) -> None:
    write(console, ANNA, "12347")
    ((turn,),) = rows(console, "SELECT id FROM turns")
    answer = browser.post(f"/console/inbox/turns/{turn}/reveal", reason=WHY)
    assert answer.status_code == 422 and ANNA not in answer.get_data(as_text=True)


def test_the_turn_of_a_call_can_be_revealed_too(console: Console, browser: Browser) -> None:
    phone = console.running.another_phone(ANNA)
    phone.call()
    phone.speak("mordor zzyx")
    link = reveal_link(browser.page(group_of(browser)))
    assert ANNA in browser.post(link, reason=WHY).get_data(as_text=True)

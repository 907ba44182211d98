"""Deliveries that nobody knows about, and how many follow what."""

import re
from typing import Any

import pytest
from sqlalchemy import text

from responder.core.access import Role
from tests.conftest import a_point
from tests.web.console.conftest import Console

ANNA = "+46701740601"
WHY = "Hon behöver en ambulans"


def flat(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def rows(console: Console, question: str) -> list[tuple[Any, ...]]:
    with console.service.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(question))]


@pytest.fixture
def lost(console: Console) -> Console:
    """A console with an unknown delivery of a broadcast that is being sent."""
    service, now = console.service, console.running.clock.now.timestamp()
    console.running.put(a_point())
    with service.database.write() as connection:
        connection.execute(
            text("INSERT INTO broadcasts (id, kind, template, state, version, priority, audience, texts, fallback,"
                 " operator, editors, approved_by, approved_version, reason, recipients, created_at, exercise) VALUES"
                 " (7, 'message', 'free', 'sending', 1, 4, '', '{}', 'sv', 'anna', '[]', 'rule', 1, '', 1, :now, false)"),
            {"now": now},
        )  # fmt: skip
        connection.execute(
            text("INSERT INTO deliveries (id, broadcast_id, kind, number_hash, number_sealed, channel, language, state,"
                 " attempt, claimed_at, created_at) VALUES (41, 7, 'message', :hash, :sealed, 'text', 'sv', 'unknown', 2,"
                 " :now, :now)"),
            {"hash": service.vault.newest(ANNA), "sealed": service.vault.seal(ANNA), "now": now},
        )  # fmt: skip
    return console


def test_an_unknown_delivery_says_what_it_means_and_masks_its_number(lost: Console) -> None:
    page = lost.browser(Role.COMMUNICATOR).page("/console/unknown")
    assert "Det kan ha kommit fram, eller inte." in page and "kan någon få det två gånger" in page
    assert "+4670*****01" in page and ANNA not in page
    assert 'href="/console/broadcasts/7"' in page and "14.20" in page
    assert "Markera leverans 41 som skickad" in page and "Skicka leverans 41 igen" in page


def test_the_page_of_the_broadcast_says_how_many_are_unknown(lost: Console) -> None:
    page = flat(lost.browser(Role.COMMUNICATOR).page("/console/broadcasts/7"))
    assert "Ingen vet vad som hände med 1 meddelande." in page


def test_a_viewer_sees_it_and_can_do_nothing_about_it(lost: Console) -> None:
    viewer = lost.browser(Role.VIEWER)
    page = viewer.page("/console/unknown")
    assert "+4670*****01" in page and "/sent" not in page and "/resend" not in page and "/reveal" not in page
    assert viewer.post("/console/unknown/41/resend").status_code == 403
    assert rows(lost, "SELECT state FROM deliveries") == [("unknown",)]


@pytest.mark.parametrize(("button", "state"), [("sent", "accepted"), ("resend", "queued")])
def test_an_operator_says_what_became_of_it(lost: Console, button: str, state: str) -> None:
    browser = lost.browser(Role.COMMUNICATOR)
    answer = browser.post(f"/console/unknown/41/{button}", follow=True)
    assert answer.status_code == 200 and "Leverans 41" in answer.get_data(as_text=True)
    assert rows(lost, "SELECT state FROM deliveries") == [(state,)]
    again = browser.post(f"/console/unknown/41/{button}")
    assert again.status_code == 409  # somebody else was faster: it says so
    assert rows(lost, "SELECT action, subject FROM audit WHERE who = 'communicator'") == [
        (f"resolve {button}", "delivery:41")
    ]


def test_its_number_is_shown_for_a_reason_that_is_written_down(lost: Console) -> None:
    browser = lost.browser(Role.COMMUNICATOR)
    assert browser.post("/console/unknown/41/reveal", reason="kort").status_code == 422
    assert ANNA in browser.post("/console/unknown/41/reveal", reason=WHY).get_data(as_text=True)
    ((subject, after),) = rows(lost, "SELECT subject, after FROM audit WHERE action = 'reveal'")
    assert subject == "delivery:41" and WHY in after and ANNA not in after
    browser.post("/console/unknown/41/sent")
    assert browser.post("/console/unknown/41/reveal", reason=WHY).status_code == 422  # no need any more


def subscribe(console: Console, place: str, many: int, first: int = 0) -> None:
    service = console.service
    with service.database.write() as connection:
        for n in range(first, first + many):
            number = f"+467017{n:05d}"
            connection.execute(
                text("INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, state, created_at,"
                     " exercise) VALUES (:hash, :sealed, 'text', 'sv', :place, 'active', 1, false)"),
                {"hash": service.vault.newest(number), "sealed": service.vault.seal(number), "place": place},
            )  # fmt: skip


def test_subscriptions_are_counted_and_few_of_them_point_at_nobody(console: Console) -> None:
    subscribe(console, "12347", 12)
    subscribe(console, "12348", 3, first=20)
    page = flat(console.browser(Role.VIEWER).page("/console/subscriptions"))
    assert "Prenumerationer 15" in page and "Nummer 15" in page
    assert "12347 Farsta 12" in page and "12348 Farsta 1–4" in page and "Farsta 15" in page
    assert "12348 Farsta 3" not in page and "färre än 5" in page
    assert "+467" not in page


def test_the_order_of_small_counts_tells_nothing(console: Console) -> None:
    subscribe(console, "12347", 1)
    subscribe(console, "12348", 1, first=10)
    subscribe(console, "12346", 4, first=20)
    page = flat(console.browser(Role.VIEWER).page("/console/subscriptions?district=Farsta"))
    assert page.index("12346 Farsta") < page.index("12347 Farsta") < page.index("12348 Farsta")


def test_one_district_shows_its_places_alone(console: Console) -> None:
    subscribe(console, "12347", 6)
    subscribe(console, "16440", 6, first=10)
    browser = console.browser(Role.VIEWER)
    assert "16440" in browser.page("/console/subscriptions")
    assert "16440" not in browser.page("/console/subscriptions?district=Farsta")


def test_who_said_stopp_is_counted(console: Console) -> None:
    console.running.put(a_point())
    console.running.another_phone(ANNA).text("STOPP")
    assert "Har svarat STOPP 1" in flat(console.browser(Role.VIEWER).page("/console/subscriptions"))

"""Wrong codes for orders: the audit log tells of them, and whoever forges the number cannot fill it."""

import json
from collections.abc import Callable
from datetime import timedelta

import pyotp
import pytest

from responder.actions.signin import Door, hashed, new_secret
from responder.core.onetime import FREE, is_step, wait_after
from responder.store import accounts
from responder.store.queries import audit_log
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, RESIDENT, Office

NOT_DONE = "Inget är gjort. Kontrollera koden"


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna may change every point."""
    service = start(number_per_minute=10_000)
    service.put(a_point())
    made = Office(service)
    made.operator("anna", ANNA)
    return made


def lines(office: Office, name: str = "anna") -> list[tuple[str, str, str, int]]:
    """(who, action, decision, how many in a row) of what the log tells of wrong codes."""
    with office.running.database.read() as connection:
        log = audit_log(connection, f"operator:{name}")
    wrong = [line for line in log if line.action.startswith("wrong")]
    assert not any(line.before or line.decided_by for line in wrong)
    return [(line.who, line.action, line.decision, json.loads(line.after)["failures"]) for line in wrong]


def test_a_wrong_code_by_text_is_in_the_log(office: Office) -> None:
    office.phones["anna"].text("STÄNGD 1 000000")
    assert lines(office) == [("phone of anna", "wrong code", "via sms", 1)]


def test_a_wrong_code_in_a_call_is_in_the_log(office: Office) -> None:
    phone = office.phones["anna"]
    phone.call()
    phone.keys("00000")
    phone.keys("00000000")
    assert lines(office) == [("phone of anna", "wrong printed code", "via telefon", 1)]


@pytest.mark.parametrize("kind", ["app", "printed"])
def test_a_code_that_was_used_up_is_in_the_log_and_cannot_be_read_there(office: Office, kind: str) -> None:
    code = office.print_codes("anna")[0] if kind == "printed" else office.code("anna")
    office.phones["anna"].text(f"STÄNGD 1 {code}")
    assert lines(office) == []
    assert office.phones["anna"].text(f"STÄNGD 1 {code}").startswith(NOT_DONE)
    action = {"app": "wrong code", "printed": "wrong printed code"}[kind]
    assert lines(office) == [("phone of anna", action, "via sms", 1)]
    with office.running.database.read() as connection:
        assert code not in str(audit_log(connection, "operator:anna"))


def test_a_redelivered_wrong_code_is_told_once(office: Office) -> None:
    for _ in range(3):
        office.phones["anna"].text("STÄNGD 1 000000", "SM-wrong")
    assert len(lines(office)) == 1


def test_a_strangers_code_is_nobodys(office: Office) -> None:
    before = office.count("audit")
    office.running.another_phone(RESIDENT).text("STÄNGD 1 000000")
    assert office.count("audit") == before


def test_each_account_that_has_the_phone_is_told_of(office: Office) -> None:
    office.operator("bo", ANNA)
    office.phones["anna"].text("STÄNGD 1 000000")
    assert len(lines(office)) == len(lines(office, "bo")) == 1


def test_of_many_in_a_row_only_the_steps_of_the_wait_are_told(office: Office) -> None:
    for _ in range(30):
        office.phones["anna"].text("STÄNGD 1 000000")
        office.later(seconds=301)
    assert [line[3] for line in lines(office)] == [1, FREE, 14]


def test_whoever_waits_for_it_to_be_forgotten_fills_no_log_either(office: Office) -> None:
    """A day of what a patient stranger can do: both kinds of codes, anew as soon as patience is whole again."""
    begins, most, day = office.running.clock(), 0, 24
    while office.running.clock() < begins + timedelta(hours=day):
        for _ in range(FREE):
            office.phones["anna"].text("STÄNGD 1 000000")
            office.phones["anna"].text("STÄNGD 1 00000000")
        office.later(seconds=901)
        most += 4
    assert most > 6 * day >= len(lines(office)) > 5 * day


def test_the_steps_are_the_first_the_first_wait_and_the_longest() -> None:
    steps = {kind: [n for n in range(1, 100) if is_step(f"{kind}:t", n)] for kind in "po"}
    assert steps == {"p": [1, FREE, 10], "o": [1, FREE, 14]}
    assert (wait_after("p:t", 10), wait_after("o:t", 14)) == (30, 300)


@pytest.mark.parametrize("wrong", [1, FREE])
def test_a_clock_that_is_set_back_keeps_nobody_waiting(office: Office, wrong: int) -> None:
    for _ in range(wrong):
        office.phones["anna"].text("STÄNGD 1 000000")
    office.later(hours=-1)
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1")


def test_a_new_authenticator_ends_printed_codes(office: Office) -> None:
    codes, now = office.print_codes("anna"), office.running.clock()
    door = Door(office.running.database, office.service.vault, office.service.settings)
    with office.running.database.write() as connection:
        accounts.add_session(connection, hashed("token"), "anna", now.timestamp(), "192.0.2.1", "test")
    session, secret = door.session("token", now), new_secret()
    assert session
    door.enrol(session, secret, pyotp.TOTP(secret).at(now), now)
    assert office.phones["anna"].text(f"STÄNGD 1 {codes[0]}").startswith(NOT_DONE)
    office.secrets["anna"] = secret
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1")

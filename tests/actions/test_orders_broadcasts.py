"""Broadcasts by text: ordered by one, approved by another, stopped by one alone."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import text

from responder.core.access import Role
from responder.core.broadcast import State
from responder.store import exercises
from responder.store.broadcasts import read_broadcast
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, BO, RESIDENT, Office


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna writes, Bo approves, and one resident follows 12347, in Farsta."""
    service = start(number_per_minute=10_000)
    service.put(a_point())
    made = Office(service)
    made.operator("anna", ANNA)
    made.operator("bo", BO, Role.APPROVER)
    service.another_phone(RESIDENT).text("START 12347")
    return made


def state(office: Office, id: int) -> State | None:
    with office.running.database.read() as connection:
        found = read_broadcast(connection, id)
    return found.state if found else None


def messages(office: Office) -> int:
    with office.running.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM deliveries WHERE kind = 'message'")).scalar_one())


def newest(office: Office) -> int:
    with office.running.database.read() as connection:
        return int(connection.execute(text("SELECT max(id) FROM broadcasts")).scalar_one())


def ordered(office: Office, said: str = "SÄND FARSTA FARA ÖVER") -> int:
    office.order("anna", said)
    assert "väntar på en andra person" in office.phones["anna"].text("JA")
    return newest(office)


def test_it_takes_two_people_with_a_code_each(office: Office) -> None:
    said = office.order("anna", "SÄND FARSTA FARA ÖVER")
    assert said.startswith("Till 1 (Farsta):\nLäget är normalt igen") and "En andra person måste godkänna" in said
    assert newest(office) == 1  # nothing is drafted yet
    waits = office.phones["anna"].text("JA")
    id = newest(office)
    assert waits == f"Klart. Utskick {id} väntar på en andra person: GODKÄNN {id} och sin egen kod."
    assert state(office, id) is State.SUBMITTED and messages(office) == 0
    shown = office.order("bo", f"GODKÄNN {id}")
    assert (
        shown.startswith(f"Utskick {id} av anna till 1:\nLäget är normalt igen")
        and state(office, id) is State.SUBMITTED
    )
    assert office.phones["bo"].text("JA") == f"Klart. Utskick {id} är godkänt och skickas till 1."
    assert state(office, id) is State.SENDING and messages(office) == 1
    lines = [(who, action, how) for who, action, how in office.log(f"broadcast:{id}")]
    assert ("anna", "submit", "via sms") in lines and ("bo", "approve", "via sms") in lines


def test_nobody_approves_what_they_wrote_and_only_an_approver_does(office: Office) -> None:
    office.operator("cilla", "+46700000103", Role.APPROVER)
    office.order("cilla", "SÄND ALLA FARA ÖVER")
    office.phones["cilla"].text("JA")
    id = newest(office)
    assert "någon annan måste godkänna" in office.order("cilla", f"GODKÄNN {id}").lower()
    assert "får inte" in office.order("anna", f"GODKÄNN {id}")
    assert state(office, id) is State.SUBMITTED


def test_whoever_created_the_writers_account_does_not_approve(office: Office) -> None:
    with office.running.database.write() as connection:
        connection.execute(text("UPDATE operators SET created_by = 'anna' WHERE name = 'bo'"))
    id = ordered(office)
    assert "går tillbaka på anna" in office.order("bo", f"GODKÄNN {id}") or state(office, id) is State.SUBMITTED


def test_a_version_that_was_edited_meanwhile_is_not_approved(office: Office) -> None:
    id = ordered(office)
    office.order("bo", f"GODKÄNN {id}")
    with office.running.database.write() as connection:
        connection.execute(text("UPDATE broadcasts SET version = version + 1 WHERE id = :id"), {"id": id})
    assert office.phones["bo"].text("JA").startswith("Inget är gjort:")
    assert state(office, id) is State.SUBMITTED and messages(office) == 0


def test_one_alone_stops_it(office: Office) -> None:
    id = ordered(office)
    assert office.order("anna", f"STOPPA {id}").startswith(f"Stoppa utskick {id} av anna?")
    assert office.phones["anna"].text("JA") == f"Klart. Utskick {id} är stoppat."
    assert state(office, id) is State.STOPPED
    assert "Inget är gjort" in office.order("bo", f"GODKÄNN {id}")


def test_what_points_that_changed_have_set_off_is_the_services_own(office: Office) -> None:
    with office.running.database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO broadcasts (kind, state, priority, operator, run, created_at) VALUES ('status', 'sending', 3, '', 1, 0)"
        )
    id = newest(office)
    told = office.order("anna", f"STOPPA {id}")
    assert told.startswith(f"Stoppa utskick {id} av tjänsten?\n(Var och en får veta hur punkterna står.)")


def test_a_correction_stops_the_last_of_theirs_at_once_and_waits_itself(office: Office) -> None:
    assert "Inget är gjort" in office.order("anna", "SÄND RÄTTELSE")
    id = ordered(office)
    office.order("bo", f"GODKÄNN {id}")
    office.phones["bo"].text("JA")
    with office.running.database.write() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'accepted' WHERE kind = 'message'"))
    said = office.order("anna", "SÄND RÄTTELSE")
    assert said.startswith("Till 1 (de som fick det som var fel):\nRÄTTELSE: vårt meddelande som började")
    office.phones["anna"].text("JA")
    correction = newest(office)
    assert (state(office, id), state(office, correction)) == (State.STOPPED, State.SUBMITTED)
    office.order("bo", f"GODKÄNN {correction}")
    assert "skickas till 1" in office.phones["bo"].text("JA")


def test_an_unknown_target_reaches_nobody_and_never_everyone(office: Office) -> None:
    assert office.order("anna", "SÄND ATLANTIS FARA ÖVER") == (
        "Inget är gjort: atlantis är varken en stadsdel, ett område eller ALLA."
    )
    assert "Inget är gjort" in office.order("anna", "SÄND KISTA FARA ÖVER")  # nobody follows a place there
    assert office.count("wishes") == 0


def test_an_exercise_goes_only_while_one_goes_on(office: Office) -> None:
    office.running.another_phone(RESIDENT).text("ÖVNING")
    assert "Inget är gjort" in office.order("anna", "SÄND ALLA ÖVNING")
    with office.running.database.write() as connection:
        exercises.begin(connection, "Stormen", "anna", office.running.clock().timestamp())
    assert office.order("anna", "SÄND ALLA ÖVNING").startswith("Till 1 (alla):\nÖVNING.")
    id = ordered(office, "SÄND ALLA ÖVNING")
    with office.running.database.read() as connection:
        found = read_broadcast(connection, id)
    assert found and found.exercise and json.dumps(dict(found.texts))


def test_a_redelivered_yes_submits_and_sends_once(office: Office) -> None:
    office.order("anna", "SÄND FARSTA FARA ÖVER")
    first = office.phones["anna"].text("JA", "SM-1")
    id = newest(office)
    assert office.phones["anna"].text("JA", "SM-1") == first and newest(office) == id
    office.order("bo", f"GODKÄNN {id}")
    sent = office.phones["bo"].text("JA", "SM-2")
    assert office.phones["bo"].text("JA", "SM-2") == sent and messages(office) == 1

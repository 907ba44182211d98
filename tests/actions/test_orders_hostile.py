"""Orders as somebody reads them who looks for a way: never twice, never by who may not, never another than was shown."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
from sqlalchemy import text

from responder.actions import hosts as people
from responder.actions.desk import hosts, wishes
from responder.core.access import Operator, Role
from responder.core.broadcast import State
from responder.core.points import Status
from responder.core.wording import Channel
from responder.ports import Inbound
from responder.store import desk
from responder.store.broadcasts import read_broadcast
from responder.store.sequences import set_sequences
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, BO, HOST, RESIDENT, ROOT, Office

CHANGED = "Inget är gjort: något har ändrats under tiden. Skicka ordern igen."


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


def stored(office: Office) -> dict[str, object]:
    with office.running.database.read() as connection:
        found = connection.execute(text("SELECT command FROM wishes")).scalar_one()
    command: dict[str, object] = json.loads(found)
    return command


def store(office: Office, command: str) -> None:
    """As another version of the program would have written it."""
    with office.running.database.write() as connection:
        connection.execute(text("UPDATE wishes SET command = :command"), {"command": command})


def submitted(office: Office) -> int:
    office.order("anna", "SÄND FARSTA FARA ÖVER")
    office.phones["anna"].text("JA")
    with office.running.database.read() as connection:
        return int(connection.execute(text("SELECT max(id) FROM broadcasts")).scalar_one())


def state(office: Office, id: int) -> State | None:
    with office.running.database.read() as connection:
        found = read_broadcast(connection, id)
    return found.state if found else None


# --- a wish of another version of the program -------------------------------------------------------------------------

POINT = ["verb", "point", "number", "version", "opens", "closes", "exercise"]


@pytest.mark.parametrize("gone", POINT)
def test_a_wish_that_lacks_something_is_none_and_the_operator_is_told_to_order_again(office: Office, gone: str) -> None:
    office.order("anna", "STÄNGD 1")
    command = stored(office)
    assert list(command) == POINT
    store(office, json.dumps({name: value for name, value in command.items() if name != gone}))
    assert office.phones["anna"].text("JA") == CHANGED
    assert office.point().status is Status.OPEN and office.count("wishes") == 0
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1") and "är STÄNGD" in office.phones["anna"].text("JA")


@pytest.mark.parametrize("command", ["", "[]", "null", "{", '"open"', '{"verb": "burn"}', '{"verb": "state"}', "{}"])
def test_a_wish_that_cannot_be_read_is_none(office: Office, command: str) -> None:
    office.order("anna", "STÄNGD 1")
    store(office, command)
    assert office.phones["anna"].text("JA 1") == CHANGED and office.count("wishes") == 0


def test_a_wish_that_says_more_than_is_known_here_is_none(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    store(office, json.dumps({**stored(office), "note": "Ta med en filt."}))
    assert office.phones["anna"].text("JA") == CHANGED and office.point().status is Status.OPEN


@pytest.mark.parametrize("gone", ["corrects", "exercise", "texts", "at"])
def test_a_broadcast_of_which_it_is_not_known_what_was_shown_is_not_ordered(office: Office, gone: str) -> None:
    office.order("anna", "SÄND FARSTA FARA ÖVER")
    command, before = stored(office), office.count("broadcasts")
    shown = command["shown"]
    assert isinstance(shown, dict)
    del shown[gone]
    store(office, json.dumps(command))
    assert office.phones["anna"].text("JA") == CHANGED and office.count("broadcasts") == before


@pytest.mark.parametrize("verb", ["GODKÄNN", "STOPPA"])
def test_a_broadcast_of_which_it_is_not_known_which_version_was_shown_stays_as_it_is(office: Office, verb: str) -> None:
    id = submitted(office)
    office.order("bo", f"{verb} {id}")
    command = stored(office)
    del command["version"]
    store(office, json.dumps(command))
    assert office.phones["bo"].text("JA") == CHANGED and state(office, id) is State.SUBMITTED


def test_a_no_to_it_and_one_that_is_too_late_are_what_they_are(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    store(office, "{}")
    assert office.phones["anna"].text("NEJ") == "Inget är gjort."
    office.order("anna", "STÄNGD 1")
    store(office, "{}")
    office.later(seconds=301)
    assert office.phones["anna"].text("JA").startswith("För sent")


def test_in_a_call_it_is_told_too(office: Office) -> None:
    phone = office.phones["anna"]
    phone.call()
    for keys in ("00000", office.code("anna") + "#", "1#", "3"):
        phone.keys(keys)
    store(office, "{}")
    assert phone.keys("1") == [CHANGED, "Slå nästa nummer och sedan fyrkant, eller lägg på."]
    assert office.point().status is Status.OPEN and office.count("wishes") == 0


# --- another than was shown -------------------------------------------------------------------------------------------


def test_a_broadcast_that_was_written_anew_is_not_stopped_by_who_read_the_one_before(office: Office) -> None:
    id = submitted(office)
    office.order("bo", f"STOPPA {id}")
    anna, now = Operator("anna", Role.COMMUNICATOR, created_by="root", signed_in=True), office.running.clock()
    office.service.announcer.edit(anna, id, now, texts={"sv": "Allt är som vanligt igen. Tack för hjälpen."})
    office.service.announcer.submit(anna, id, now)
    assert office.phones["bo"].text("JA") == CHANGED
    assert state(office, id) is not State.STOPPED
    assert "Tack för hjälpen" in office.order("bo", f"STOPPA {id}")
    assert "är stoppat" in office.phones["bo"].text("JA") and state(office, id) is State.STOPPED


def long_numbered(office: Office) -> int:
    """As after a restore, which leaves ten million numbers out."""
    with office.running.database.write() as connection:
        set_sequences(connection, {"broadcasts": 10_000_000})
    return submitted(office)


@pytest.mark.parametrize("kind", ["app", "printed"])
@pytest.mark.parametrize(("verb", "then"), [("GODKÄNN", State.SENDING), ("STOPPA", State.STOPPED)])
def test_a_broadcast_whose_number_is_as_long_as_a_code_is_approved_and_stopped(
    office: Office, kind: str, verb: str, then: State
) -> None:
    id = long_numbered(office)
    assert id == 10_000_001
    code = office.print_codes("bo")[0] if kind == "printed" else office.code("bo")
    assert f"tskick {id}" in office.phones["bo"].text(f"{verb} {id} {code}")
    office.phones["bo"].text(f"JA {id}")
    assert state(office, id) is then


def test_a_yes_to_another_broadcast_whose_number_is_as_long_as_a_code_does_nothing(office: Office) -> None:
    id = long_numbered(office)
    office.order("bo", f"GODKÄNN {id}")
    assert office.phones["bo"].text(f"JA {id + 1}") == "Inget är gjort." and state(office, id) is State.SUBMITTED


@pytest.mark.parametrize("said", ["JA 482913", "JA 48291312"])
def test_a_code_with_the_yes_is_not_asked_for_and_no_other_number(office: Office, said: str) -> None:
    office.order("anna", "STÄNGD 1")
    assert "är STÄNGD" in office.phones["anna"].text(said)


def test_a_clock_that_is_set_back_makes_no_wish_last_longer(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    office.later(hours=-1)
    assert office.phones["anna"].text("JA").startswith("För sent") and office.point().status is Status.OPEN


def test_nor_in_a_call(office: Office) -> None:
    phone = office.phones["anna"]
    phone.call()
    for keys in ("00000", office.code("anna") + "#", "1#", "3"):
        phone.keys(keys)
    office.later(hours=-1)
    assert phone.keys("1")[0].startswith("För sent") and office.point().status is Status.OPEN


# --- twice ------------------------------------------------------------------------------------------------------------


def at_once(office: Office, texts: Sequence[tuple[str, str]]) -> list[str]:
    """What Anna's texts (id, body) are answered that several workers take in at the same moment."""
    ready = Barrier(len(texts))

    def sends(text: tuple[str, str]) -> str:
        ready.wait()
        return office.service.respond(Inbound(text[0], Channel.TEXT, ANNA, text[1]))

    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(sends, texts))


@pytest.mark.parametrize("same", [True, False], ids=["redelivered", "sent thrice"])
def test_a_yes_that_comes_thrice_at_once_does_it_once(office: Office, same: bool) -> None:
    office.order("anna", "STÄNGD 1")
    said = at_once(office, [("SM-yes" if same else f"SM-yes-{n}", "JA") for n in range(3)])
    done = [one for one in said if "är STÄNGD" in one]
    assert len(done) == (3 if same else 1) and len(set(done)) == 1
    assert [line[1] for line in office.log()].count("set closed") == 1


@pytest.mark.parametrize("same", [True, False], ids=["redelivered", "sent thrice"])
@pytest.mark.parametrize("kind", ["app", "printed"])
def test_an_order_that_comes_thrice_at_once_takes_its_code_once(office: Office, kind: str, same: bool) -> None:
    code = office.print_codes("anna")[0] if kind == "printed" else office.code("anna")
    order = f"STÄNGD 1 {code}"
    said = at_once(office, [("SM-order" if same else f"SM-order-{n}", order) for n in range(3)])
    shown = [one for one in said if "blir STÄNGD" in one]
    assert len(shown) == (3 if same else 1) and len(set(shown)) == 1
    assert office.count("wishes") <= 1 and office.point().status is Status.OPEN


# --- by who may not ---------------------------------------------------------------------------------------------------


def test_a_host_who_is_removed_while_their_answer_is_looked_at_changes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, before = office.host(), office.point()
    office.later(hours=4)
    assert office.ask() == 1
    with office.running.database.read() as connection:
        digits = desk.questions_of(connection, [id])[0].code
    genuine = hosts.judged

    def judges(*values: object) -> object:
        with suppress(people.BadHost):  # removed the first time
            people.remove(office.running.database, ROOT, id, office.running.clock())
        monkeypatch.setattr(hosts, "judged", genuine)
        return genuine(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(hosts, "judged", judges)
    office.running.another_phone(HOST).text(f"NEJ {digits}")
    assert office.point() == before


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before the yes", "while it is looked at"])
@pytest.mark.parametrize(
    "change",
    ["role = 'viewer'", "districts = '[\"Bromma\"]'", "disabled_at = 1", "phone_hash = :none"],
    ids=["no role for it any more", "another district", "disabled", "another phone"],
)
def test_what_somebody_may_no_longer_do_at_their_yes_is_not_done(
    office: Office, monkeypatch: pytest.MonkeyPatch, change: str, meanwhile: bool
) -> None:
    office.order("anna", "STÄNGD 1")

    def changes(*_: object) -> dict[str, int]:
        with office.running.database.write() as connection:
            sql = text(f"UPDATE operators SET {change} WHERE name = 'anna'")
            connection.execute(sql, {"none": b""} if ":none" in change else {})
        return {}

    if meanwhile:
        monkeypatch.setattr(wishes.Wishes, "counts", changes)
    else:
        changes()
    office.phones["anna"].text("JA")
    assert office.point().status is Status.OPEN

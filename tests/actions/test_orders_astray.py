"""Orders that go astray: late, mistyped, forged, or overtaken by what else happens. What was shown is done, or nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.actions import signin
from responder.core.access import Role
from responder.core.broadcast import State
from responder.core.points import Status
from responder.store import exercises
from responder.store.broadcasts import read_broadcast
from responder.store.engine import Database, StoreAway
from responder.store.meter import Meter
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, BO, RESIDENT, ROOT, Office

NOT_DONE = "Inget är gjort. Kontrollera koden"
ADD_CODE = "Inget är gjort: skriv också din kod"


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna may change every point; one resident follows 12347."""
    service = start(number_per_minute=10_000)
    service.put(a_point(), a_point("p2", name="Salen"))
    made = Office(service)
    made.operator("anna", ANNA)
    service.another_phone(RESIDENT).text("START 12347")
    return made


def kept(office: Office) -> list[str]:
    """What is stored of what was written, oldest first."""
    with office.running.database.read() as connection:
        rows = connection.execute(text("SELECT body_sealed FROM turns WHERE length(body_sealed) > 0 ORDER BY number"))
        return [office.service.vault.open(row) for row in rows.scalars()]


# --- late -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.CLOSED, Status.OPEN])
def test_a_closing_that_passes_before_the_yes_opens_nothing_until_tomorrow(office: Office, status: Status) -> None:
    office.running.put(a_point(status=status))
    before = office.point()
    said = office.order("anna", "ÖPPEN 1 till 14.23")
    assert "till 14.23" in said
    office.later(minutes=4)
    assert office.phones["anna"].text("JA").startswith("Inget är gjort:")
    assert office.point() == before


@pytest.mark.parametrize("order", ["ÖPPEN 1", "FULL 1"])
def test_a_kept_closing_that_passes_before_the_yes_is_not_lost(office: Office, order: str) -> None:
    closes = office.running.clock() + timedelta(minutes=3)
    office.running.put(a_point(closes=closes))
    assert "till 14.23" in office.order("anna", order)
    office.later(minutes=4)
    assert office.phones["anna"].text("JA").startswith("Inget är gjort:")
    assert office.point().closes == closes


def test_a_clock_that_is_set_back_leaves_an_operators_phone_alive(office: Office) -> None:
    for _ in range(3):
        office.order("anna", "LÄGE")
    office.later(hours=-1)
    for _ in range(3):
        assert office.phones["anna"].text("STÄNGD 1").startswith(ADD_CODE)


# --- forged -----------------------------------------------------------------------------------------------------------


def test_nothing_is_counted_within_a_transaction_that_writes(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are written by a connection of their own, which on SQLite would wait for us until it gives up."""
    writing, during = [0], list[bool]()
    write, add = Database.write, Meter.add

    @contextmanager
    def writes(self: Database) -> Iterator[Connection]:
        with write(self) as connection:
            writing[0] += 1
            try:
                yield connection
            finally:
                writing[0] -= 1

    def adds(self: Meter, *values: object) -> object:
        during.append(writing[0] > 0)
        return add(self, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "write", writes)
    monkeypatch.setattr(Meter, "add", adds)
    for said in ("STÄNGD 1 000000", "STÄNGD 1", "STÄNGD 1, 000000. Mvh"):
        office.phones["anna"].text(said)
    office.order("anna", "STÄNGD 1")
    office.phones["anna"].text("JA")
    assert during == [False] * 5


@pytest.mark.parametrize("said", ["LÄGE", "FULL 1", "STÄNGD 1 000000", "ÖPPEN skolan 12345678"])
def test_what_anybody_may_have_sent_is_answered_three_times_in_ten_minutes(office: Office, said: str) -> None:
    phone = office.phones["anna"]
    assert [bool(phone.text(said)) for _ in range(5)] == [True, True, True, False, False]
    office.later(minutes=11)
    assert phone.text(said)


@pytest.mark.parametrize("said", ["LÄGE", "STÄNGD 1 000000", "ÖPPEN skolan 12345678"])
def test_what_anybody_may_have_sent_is_not_answered_beyond_the_caps_and_a_good_code_is(
    start: Callable[..., Running], said: str
) -> None:
    service = start(number_per_minute=10_000, number_per_day=2)
    service.put(a_point())
    office = Office(service)
    office.operator("anna", ANNA)
    replies = [bool(office.phones["anna"].text(f"{said}")) for _ in range(3)]
    assert replies == [True, True, False]
    office.later(minutes=11)
    assert not office.phones["anna"].text(said)
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1")


# --- mistyped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["STOPPA 41", "STOPPA 41 48291", "STOPP 41 482 91", "STOPPA 482913"])
def test_a_stop_with_a_mistyped_code_is_not_a_residents(office: Office, said: str) -> None:
    phone = office.phones["anna"]
    phone.text("START 12347")
    before = office.count("subscriptions")
    assert phone.text(said).startswith(ADD_CODE) and office.count("subscriptions") == before
    assert not any("482" in body or "48291" in body for body in kept(office))


@pytest.mark.parametrize("said", ["STOPP", "STOPPA"])
def test_a_bare_stop_is(office: Office, said: str) -> None:
    assert office.phones["anna"].text(said).startswith("Klart. Vi har raderat")


@pytest.mark.parametrize("said", ["Ja tack", "JA 1", "jo", "Ja, gör det"])
def test_a_courteous_yes_is_a_yes(office: Office, said: str) -> None:
    office.order("anna", "STÄNGD 1")
    assert "är STÄNGD" in office.phones["anna"].text(said) and office.point().status is Status.CLOSED


@pytest.mark.parametrize("said", ["nej tack", "NEJ 1", "JA 2"])
def test_a_no_and_a_yes_to_another_point_do_nothing(office: Office, said: str) -> None:
    office.order("anna", "STÄNGD 1")
    assert office.phones["anna"].text(said) == "Inget är gjort." and office.count("wishes") == 0
    assert office.point().status is Status.OPEN


@pytest.mark.parametrize("later", ["STÄNGD 1", "STÄNGD 1 000000", "STÄNGD skolan 000000"])
def test_any_later_order_drops_what_was_wished(office: Office, later: str) -> None:
    office.order("anna", "FULL 1")
    office.phones["anna"].text(later)
    office.phones["anna"].text("JA")
    assert office.point().status is Status.OPEN and office.count("wishes") == 0


@pytest.mark.parametrize("said", ["ÖPPEN skolan {}", "STÄNGD 1, {}. Mvh Anna", "STÄNGD 1 nu genast {}"])
def test_a_code_in_what_is_no_order_is_not_kept_and_still_good(office: Office, said: str) -> None:
    code = office.print_codes("anna")[0]
    answered = office.phones["anna"].text(said.format(code))
    assert answered.startswith("Inget är gjort: det förstod vi inte som en order. Skriv till exempel STÄNGD 7")
    assert not any(code in body for body in kept(office))
    assert "blir STÄNGD" in office.phones["anna"].text(f"STÄNGD 1 {code[:4]}.{code[4:]}")
    assert not any(code[:4] in body for body in kept(office))


def test_an_invitation_ends_printed_codes(office: Office) -> None:
    codes = office.print_codes("anna")
    door = signin.Door(office.running.database, office.service.vault, office.service.settings)
    door.invite(ROOT, "anna", office.running.clock())
    assert office.phones["anna"].text(f"STÄNGD 1 {codes[0]}").startswith(NOT_DONE)


# --- by call, with the database away ------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], ["00000"], ["00000", "code"], ["00000", "code", "1#"]])
def test_keys_of_the_operators_menu_never_reach_the_residents(
    office: Office, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = office.phones["anna"]
    phone.call()
    for keys in steps:
        phone.keys(office.code("anna") if keys == "code" else keys)
    code = office.code("anna")

    def away(*_: object, **__: object) -> None:
        raise StoreAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", away)
        patch.setattr(Database, "write", away)
        said = phone.keys({0: "00000", 1: code, 2: "1#", 3: "3"}[len(steps)])
    assert said == ["Databasen nås inte just nu. Inget är gjort: skicka igen om en stund."]


# --- broadcasts -------------------------------------------------------------------------------------------------------


def newest(office: Office) -> int:
    with office.running.database.read() as connection:
        return int(connection.execute(text("SELECT max(id) FROM broadcasts")).scalar_one())


def submitted(office: Office) -> int:
    office.order("anna", "SÄND FARSTA FARA ÖVER")
    office.phones["anna"].text("JA")
    return newest(office)


def sent(office: Office) -> int:
    id = submitted(office)
    office.order("bo", f"GODKÄNN {id}")
    office.phones["bo"].text("JA")
    with office.running.database.write() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'accepted' WHERE kind = 'message'"))
    return id


def state(office: Office, id: int) -> State | None:
    with office.running.database.read() as connection:
        found = read_broadcast(connection, id)
    return found.state if found else None


def test_another_broadcast_than_was_shown_is_not_corrected(office: Office) -> None:
    office.operator("bo", BO, Role.APPROVER)
    first, second = sent(office), submitted(office)
    office.order("bo", f"GODKÄNN {second}")
    office.order("anna", "SÄND RÄTTELSE")
    office.phones["bo"].text("JA")  # the second goes out between what was shown and the yes
    assert office.phones["anna"].text("JA").startswith("Inget är gjort: något har ändrats under tiden.")
    assert State.STOPPED not in (state(office, first), state(office, second)) and newest(office) == second


@pytest.mark.parametrize("begins", [True, False])
def test_an_exercise_that_begins_or_ends_makes_nothing_else_of_an_order(office: Office, begins: bool) -> None:
    office.running.another_phone(RESIDENT).text("ÖVNING")

    def play() -> None:
        with office.running.database.write() as connection:
            exercises.begin(connection, "Stormen", "anna", office.running.clock().timestamp())

    def end() -> None:
        with office.running.database.write() as connection:
            going = exercises.current(connection)
            assert going and exercises.end(connection, going.id, "anna", office.running.clock().timestamp())

    if not begins:
        play()
    before = newest(office)
    office.order("anna", "SÄND ALLA FARA ÖVER")
    play() if begins else end()
    assert office.phones["anna"].text("JA").startswith("Inget är gjort: något har ändrats under tiden.")
    assert newest(office) == before


@pytest.mark.parametrize(
    "change",
    ["template = 'free'", "kind = 'status'", "texts = :long"],
    ids=["written freely", "nobody wrote it", "too long to be shown"],
)
def test_what_cannot_be_read_whole_is_approved_in_the_console(office: Office, change: str) -> None:
    office.operator("bo", BO, Role.APPROVER)
    id = submitted(office)
    with office.running.database.write() as connection:
        long = '{"sv": "' + "ord och " * 70 + '"}'
        connection.execute(
            text(f"UPDATE broadcasts SET {change} WHERE id = :id"),
            {"id": id} | ({"long": long} if "long" in change else {}),
        )
    said = office.order("bo", f"GODKÄNN {id}")
    assert said == f"Inget är gjort: utskick {id} kan inte läsas helt i ett sms. Läs och godkänn det i konsolen."
    office.phones["bo"].text("JA")
    assert state(office, id) is State.SUBMITTED

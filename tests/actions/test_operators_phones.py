"""An operator's phone that is given, changed or taken away: what the old one sends is nobody's order any more."""

import json
from collections.abc import Callable

import pytest

from responder.actions import staff
from responder.actions.desk import book, counter
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.points import Status
from responder.store.queries import audit_log
from tests import engines
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, BO, ROOT, Office

NEW = "+46700000111"
RESIDENTS = "känner inte igen"  # what a resident is answered who texts an order


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna may change every point."""
    service = start(number_per_minute=10_000)
    service.put(a_point())
    made = Office(service)
    made.operator("anna", ANNA)
    return made


def give(office: Office, phone: str, name: str = "anna", by: Operator = ROOT) -> str:
    return staff.set_phone(office.running.database, office.service.vault, by, name, phone, office.running.clock())


def changes(office: Office, name: str = "anna") -> list[tuple[str, str, str]]:
    """(who, before, after) of the lines that tell of its phone."""
    with office.running.database.read() as connection:
        log = audit_log(connection, f"operator:{name}")
    return [(line.who, line.before, line.after) for line in log if line.action == "change phone"]


# --- the old one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [NEW, ""])
def test_a_yes_from_the_old_phone_does_nothing(office: Office, phone: str) -> None:
    office.order("anna", "STÄNGD 1")
    give(office, phone)
    assert office.count("wishes") == 0
    office.phones["anna"].text("JA")
    assert office.point().status is Status.OPEN


@pytest.mark.parametrize("phone", [NEW, ""])
def test_an_order_from_the_old_phone_is_a_residents_and_costs_no_code(office: Office, phone: str) -> None:
    give(office, phone)
    paper = office.print_codes("anna")
    assert RESIDENTS in office.phones["anna"].text(f"STÄNGD 1 {paper[0]}")
    office.service.desk.look()
    assert RESIDENTS in office.order("anna", "STÄNGD 1")
    office.phones["anna"].text("JA")
    assert office.point().status is Status.OPEN and office.count("wishes") == 0 and office.count("failures") == 0
    give(office, NEW)
    office.service.desk.look()
    assert "blir STÄNGD" in office.running.another_phone(NEW).text(f"STÄNGD 1 {paper[0]}")


def test_what_was_wished_does_not_come_back_with_the_old_phone(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    give(office, NEW)
    give(office, ANNA)
    office.phones["anna"].text("JA")
    assert office.point().status is Status.OPEN


@pytest.mark.parametrize("keyed", [[], ["1#"], ["1#", "3"]])
def test_a_call_from_the_old_phone_does_nothing_more(office: Office, keyed: list[str]) -> None:
    phone = office.phones["anna"]
    phone.call()
    for keys in ["00000", office.code("anna") + "#", *keyed]:
        phone.keys(keys)
    give(office, NEW)
    assert office.count("wishes") == 0
    for keys in ["1#", "3", "1"][len(keyed) :]:
        phone.keys(keys)
    assert office.point().status is Status.OPEN


def test_a_phone_that_is_changed_while_its_order_is_looked_at_wishes_nothing_and_costs_no_code(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the code and the transaction that takes it."""
    paper, genuine = office.print_codes("anna"), book.Book.charge

    def charges(*values: object) -> object:
        give(office, NEW)
        return genuine(*values)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(book.Book, "charge", charges)
        assert "Kontrollera koden" in office.phones["anna"].text(f"STÄNGD 1 {paper[0]}")
    assert office.count("wishes") == 0
    office.service.desk.look()
    assert "blir STÄNGD" in office.running.another_phone(NEW).text(f"STÄNGD 1 {paper[0]}")


# --- the new one ------------------------------------------------------------------------------------------------------


def test_the_new_phone_orders_at_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process learns of it with the first order, and not only with its next look."""
    now = counter.monotonic() + 2
    monkeypatch.setattr(counter, "monotonic", lambda: now)
    give(office, NEW)
    phone = office.running.another_phone(NEW)
    assert "blir STÄNGD" in phone.text(f"STÄNGD 1 {office.code('anna')}")
    assert "är STÄNGD" in phone.text("JA") and office.log()[-1][0] == "anna"


@pytest.mark.parametrize("first", ["00000", "482913", "1#"])
def test_the_new_phone_is_known_at_once_in_a_call(office: Office, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """Whatever key of the call a process hears of first."""
    now = counter.monotonic() + 2
    monkeypatch.setattr(counter, "monotonic", lambda: now)
    phone = office.running.another_phone(NEW)
    phone.call()
    give(office, NEW)
    looks: list[int] = []
    genuine = counter.Desk.look
    monkeypatch.setattr(counter.Desk, "look", lambda self: looks.append(1) or genuine(self))
    said = phone.keys(first)
    assert looks == [1] and (first != "00000" or said == ["Slå din kod och sedan fyrkant."])


@pytest.mark.parametrize("said", ["12347", "JA", "STÄNGD 1", "var är det öppet i Farsta"])
def test_a_residents_text_is_no_reason_to_look_sooner(
    office: Office, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    now = counter.monotonic() + 2
    monkeypatch.setattr(counter, "monotonic", lambda: now)
    monkeypatch.setattr(counter.Desk, "look", lambda self: pytest.fail("it looked"))
    office.running.another_phone(NEW).text(said)


# --- who, and how -----------------------------------------------------------------------------------------------------


def test_each_change_is_in_the_log_with_who_and_never_the_whole_number(office: Office) -> None:
    assert give(office, " +46 70-000 01 11 ") == "+4670*****11"
    assert give(office, "") == ""
    assert give(office, BO) == "+4670*****02"
    assert changes(office) == [
        ("root", json.dumps({"phone": "+4670*****01"}), json.dumps({"phone": "+4670*****11"})),
        ("root", json.dumps({"phone": "+4670*****11"}), json.dumps({"phone": ""})),
        ("root", json.dumps({"phone": ""}), json.dumps({"phone": "+4670*****02"})),
    ]
    assert not any(number.encode() in engines.stored(office.running.path) for number in (ANNA, NEW, BO))


def test_taking_away_what_is_not_there_is_no_change(office: Office) -> None:
    give(office, "")
    give(office, "  ")
    assert len(changes(office)) == 1


@pytest.mark.parametrize(
    "by",
    [
        Operator("anna", Role.COMMUNICATOR, signed_in=True),
        Operator("bo", Role.APPROVER, signed_in=True),
        Operator("root", Role.ADMIN),
        shell("root"),
    ],
    ids=["themselves", "an approver", "not signed in", "a shell"],
)
def test_only_who_may_make_accounts_changes_a_phone(office: Office, by: Operator) -> None:
    for phone in (NEW, ""):
        with pytest.raises(Forbidden):
            give(office, phone, by=by)
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1") and not changes(office)


@pytest.mark.parametrize("phone", ["0701234567", "+46", "hej", "+46700000111222333"])
def test_what_is_no_number_changes_nothing(office: Office, phone: str) -> None:
    office.order("anna", "STÄNGD 1")
    with pytest.raises(staff.BadPhone):
        give(office, phone)
    assert "är STÄNGD" in office.phones["anna"].text("JA") and not changes(office)


def test_an_account_that_is_disabled_or_is_none_gets_no_phone(office: Office) -> None:
    staff.disable(office.running.database, ROOT, "anna", office.running.clock())
    with pytest.raises(staff.BadAccount, match="disabled"):
        give(office, NEW)
    with pytest.raises(staff.NoSuchAccount):
        give(office, NEW, "carl")


def test_whoever_shares_the_phone_keeps_it_and_what_they_wish(office: Office) -> None:
    office.operator("bo", ANNA)
    office.order("bo", "STÄNGD 1")
    give(office, NEW)
    assert "är STÄNGD" in office.phones["bo"].text("JA") and office.log()[-1][0] == "bo"
    office.order("bo", "FULL 1")
    give(office, BO, "bo")
    office.phones["anna"].text("JA")
    assert office.point().status is Status.CLOSED

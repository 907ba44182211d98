"""The operators' menu of a call: 00000, a code, a point, what it becomes, and 1 to do it."""

from collections.abc import Callable

import pytest

from responder.actions import staff
from responder.actions.desk import book
from responder.core.points import Status
from responder.store.engine import StoreAway
from responder.web.handset import Handset
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, HOST, RESIDENT, ROOT, Office


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna may change every point."""
    service = start(number_per_minute=10_000)
    service.put(a_point(), a_point("p2", name="Salen"))
    made = Office(service)
    made.operator("anna", ANNA)
    return made


def entered(office: Office) -> Handset:
    """A call that has reached the menu."""
    phone = office.phones["anna"]
    phone.call()
    assert phone.keys("00000") == ["Slå din kod och sedan fyrkant."] and phone.digits == 8
    return phone


def at_point(office: Office, number: str = "1#") -> Handset:
    phone = entered(office)
    assert phone.keys(office.code("anna") + "#") == ["Slå punktens nummer och sedan fyrkant."]
    phone.keys(number)
    return phone


def test_a_point_is_closed_with_keys(office: Office) -> None:
    phone = entered(office)
    phone.keys(office.code("anna") + "#")
    assert phone.keys("1#")[0].startswith("Hallen p1 är öppen. För öppen, tryck 1.")
    said = phone.keys("3")[0]
    assert said.startswith("Hallen p1 blir stängd. Ungefär 0 får meddelande. Den som frågar får veta:")
    assert said.endswith("För att göra det, tryck 1. För att låta bli, tryck 2.") and phone.digits == 1
    assert office.point().status is Status.OPEN
    assert phone.keys("1") == ["Klart. Hallen p1 är stängd.", "Slå nästa nummer och sedan fyrkant, eller lägg på."]
    assert office.point().status is Status.CLOSED and office.log()[-1] == ("anna", "set closed", "via telefon")
    assert "Salen" in phone.keys("2#")[0]


def test_two_leaves_it_as_it_is_and_four_tells_how_it_is(office: Office) -> None:
    phone = at_point(office)
    phone.keys("2")
    assert phone.keys("2")[0] == "Inget är gjort." and office.point().status is Status.OPEN
    phone.keys("1#")
    assert phone.keys("4")[0] == "Hallen p1 är öppen. Den bekräftades klockan 14.20."


def test_a_printed_code_opens_too(office: Office) -> None:
    code = office.print_codes("anna")[0]
    phone = entered(office)
    assert phone.keys(code) == ["Slå punktens nummer och sedan fyrkant."]


def test_two_wrong_codes_end_the_call_kindly(office: Office) -> None:
    phone = entered(office)
    assert phone.keys("000000#") == ["Det gick inte. Kontrollera koden.", "Slå din kod och sedan fyrkant."]
    said = phone.keys("000000#")
    assert said[-1].startswith("Inget mer görs i det här samtalet.") and not phone.action


def test_a_code_used_in_a_call_is_used_up(office: Office) -> None:
    code = office.code("anna")
    entered(office).keys(code + "#")
    assert "Det gick inte" in entered(office).keys(code + "#")[0]


def test_from_any_other_phone_it_is_an_unknown_postcode(office: Office) -> None:
    office.host()
    for number in (RESIDENT, HOST):
        phone = office.running.another_phone(number)
        phone.call()
        assert "Postnumret" in phone.keys("00000")[0]


def test_an_operators_ordinary_call_is_a_residents(office: Office) -> None:
    phone, other = office.phones["anna"], office.running.another_phone(RESIDENT)
    assert phone.call() == other.call()
    assert phone.keys("12347") == other.keys("12347")


def test_silence_and_mistakes_are_asked_again_twice(office: Office) -> None:
    phone = entered(office)
    assert phone.silence() == ["Slå din kod och sedan fyrkant."]
    assert phone.keys("12#")[0] == "Det förstod vi inte."
    assert phone.speak("fyra åtta två nio ett tre")[-1].startswith("Inget mer görs") and not phone.action
    phone = at_point(office)
    assert phone.keys("9")[0] == "Det förstod vi inte."
    phone.keys("3")
    assert phone.silence() == ["För att göra det, tryck 1. För att låta bli, tryck 2."]
    assert office.point().status is Status.OPEN


def test_an_unknown_number_is_asked_again(office: Office) -> None:
    assert entered(office).keys(office.code("anna") + "#") and at_point(office, "77#").digits == 4


def test_somebody_who_was_faster_is_told_of(office: Office) -> None:
    phone = at_point(office)
    phone.keys("3")
    office.running.put(a_point(status=Status.FULL))
    assert phone.keys("1")[0] == "Inget är gjort. Hallen p1 har ändrats under tiden och är nu full."
    assert office.point().status is Status.FULL


def test_a_disabled_account_does_nothing_more_in_its_call(office: Office) -> None:
    phone = at_point(office)
    phone.keys("3")
    staff.disable(office.running.database, ROOT, "anna", office.running.clock())
    phone.keys("1")
    assert office.point().status is Status.OPEN


def test_after_five_minutes_of_nothing_the_code_is_asked_for_again(office: Office) -> None:
    phone = at_point(office)
    office.later(minutes=6)
    phone.keys("3")
    assert phone.digits == 8 and office.point().status is Status.OPEN


def test_a_retried_turn_is_told_the_same_and_does_it_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = at_point(office)
    phone.keys("3")
    action = phone.action

    def dies(*_: object) -> bool:
        raise StoreAway("killed")

    with monkeypatch.context() as patch:
        patch.setattr(book.desk, "add_turn", dies)
        phone.keys("1")
    assert office.point().status is Status.OPEN
    phone.action = action
    done = phone.keys("1")
    phone.action = action
    assert phone.keys("1") == done and office.point().status is Status.CLOSED
    assert [line[1] for line in office.log()].count("set closed") == 1

"""Orders by text: a registered phone and a code, shown first, done on a second word, and once."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from responder.actions import publish, staff
from responder.actions.desk import book
from responder.core.access import Operator, Role, shell
from responder.core.points import Status
from responder.core.segments import cost
from responder.store import exercises
from responder.store.accounts import read_account
from responder.store.engine import Database, StoreAway
from responder.store.queries import Clash
from tests import engines
from tests.conftest import ZONE, Running, a_point
from tests.orders.office import ANNA, BO, RESIDENT, ROOT, Office


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna may change every point; p1 lies in Farsta, p2 in Bromma, both open."""
    service = start(number_per_minute=10_000)
    service.put(a_point(), a_point("p2", name="Salen", district="Bromma", lat=59.34, lon=17.94, city="Bromma"))
    made = Office(service)
    made.operator("anna", ANNA)
    return made


def test_a_point_is_closed_by_an_order_and_a_second_word(office: Office) -> None:
    said = office.order("anna", "STÄNGD 1")
    assert said.startswith("1 Hallen p1 blir STÄNGD. Ca 0 får meddelande. Den som frågar läser:\n")
    assert "Svara JA inom 5 min" in said and cost(said).segments <= 3
    assert office.point().status is Status.OPEN
    assert office.phones["anna"].text("JA") == "Klart 14.20: 1 Hallen p1 är STÄNGD."
    assert office.point().status is Status.CLOSED
    assert office.log()[-1] == ("anna", "set closed", "via sms")


def test_the_answer_quotes_what_residents_get(office: Office) -> None:
    office.running.put(a_point("p2", name="Salen", status=Status.CLOSED))
    said = office.order("anna", "FULL 1")
    quoted = said.split("läser:\n")[1].rsplit("\nSvara JA", 1)[0].splitlines()
    office.phones["anna"].text("JA")
    answered = office.running.another_phone(RESIDENT).text("12347").splitlines()
    assert quoted[0] == answered[0] == "Trygghetspunkten är FULL nu:"
    assert quoted[1].split(",")[:2] == answered[1].split(",")[:2] == ["Hallen p1", " Testgatan 36"]
    assert quoted[2] == answered[2]


def test_a_closing_time_goes_along(office: Office) -> None:
    assert "blir ÖPPEN till 20." in office.order("anna", "öppen 1 till 20")
    office.phones["anna"].text("ja")
    assert f"{office.point().closes:%H:%M}" == "19:00"  # UTC
    office.order("anna", "FULL 1")
    office.phones["anna"].text("ja")
    assert f"{office.point().closes:%H:%M}" == "19:00"


def test_a_no_drops_it_and_a_newer_order_replaces_it(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    assert office.phones["anna"].text("NEJ") == "Inget är gjort."
    office.order("anna", "STÄNGD 1")
    office.order("anna", "FULL 2")
    assert "2 Salen är FULL" in office.phones["anna"].text("JA")
    assert (office.point().status, office.point("p2").status) == (Status.OPEN, Status.FULL)


def test_a_number_alone_authorises_nothing(office: Office) -> None:
    assert office.phones["anna"].text("STÄNGD 1").startswith("Inget är gjort: skriv också din kod")
    assert "känner inte igen" in office.phones["anna"].text("JA") or office.count("wishes") == 0
    assert office.point().status is Status.OPEN


def test_a_code_alone_authorises_nothing_and_an_unknown_phone_is_a_residents(office: Office) -> None:
    stranger = office.running.another_phone(RESIDENT)
    before = office.count("failures")
    said = stranger.text(f"STÄNGD 1 {office.code('anna')}")
    assert "känner inte igen" in said and office.count("failures") == before
    assert office.order("anna", "STÄNGD 1").startswith("1 Hallen p1 blir")  # the code was not used up


def test_a_wrong_code_tells_nothing_and_a_right_one_is_good_once(office: Office) -> None:
    wrong = office.phones["anna"].text("STÄNGD 1 000000")
    assert wrong == "Inget är gjort. Kontrollera koden och skicka igen om en stund."
    code = office.code("anna")
    assert "blir STÄNGD" in office.phones["anna"].text(f"STÄNGD 1 {code}")
    assert office.phones["anna"].text(f"STÄNGD 1 {code}") == wrong
    assert office.phones["anna"].text("STÄNGD 99 000000") == wrong


def test_a_code_is_used_up_also_where_the_order_is_refused(office: Office) -> None:
    code = office.code("anna")
    assert "ingen punkt har nummer 99" in office.phones["anna"].text(f"STÄNGD 99 {code}")
    assert "Kontrollera koden" in office.phones["anna"].text(f"STÄNGD 1 {code}")


def test_printed_codes_are_good_once_and_new_ones_end_them(office: Office) -> None:
    first, second, *_ = office.print_codes("anna")
    assert len(office.paper["anna"]) == 20 and all(len(code) == 8 for code in office.paper["anna"])
    assert "blir STÄNGD" in office.phones["anna"].text(f"STÄNGD 1 {first[:4]} {first[4:]}")
    assert "Kontrollera koden" in office.phones["anna"].text(f"STÄNGD 1 {first}")
    office.print_codes("anna")
    assert "Kontrollera koden" in office.phones["anna"].text(f"STÄNGD 1 {second}")


def test_whoever_prints_codes_for_another_counts_as_who_created_the_account(office: Office) -> None:
    office.print_codes("anna")
    with office.running.database.read() as connection:
        found = read_account(connection, "anna")
    assert found and "root" in found.operator.created_by.split(", ")
    assert ("root", "print codes", "") in office.log("operator:anna")
    anna = Operator("anna", Role.COMMUNICATOR, signed_in=True)
    office.operator("bo", BO)
    with pytest.raises(Exception, match="may not"):
        staff.print_codes(office.running.database, office.service.vault, anna, "bo", office.running.clock())
    assert (
        len(staff.print_codes(office.running.database, office.service.vault, anna, "anna", office.running.clock()))
        == 20
    )


def test_guessing_waits_and_is_forgotten_and_the_other_kind_of_code_is_still_good(office: Office) -> None:
    paper = office.print_codes("anna")
    for _ in range(12):
        office.later(minutes=5)
        office.phones["anna"].text("STÄNGD 1 000000")
    assert "Kontrollera koden" in office.order("anna", "STÄNGD 1")  # a right one waits too
    assert "blir STÄNGD" in office.phones["anna"].text(f"STÄNGD 1 {paper[0]}")
    office.later(minutes=16)
    assert "blir FULL" in office.order("anna", "FULL 1")


def test_the_wait_is_never_longer_than_five_minutes(office: Office) -> None:
    for _ in range(40):
        office.phones["anna"].text("STÄNGD 1 000000")
        office.later(seconds=15)
    office.later(seconds=300)
    assert "blir STÄNGD" in office.order("anna", "STÄNGD 1")


def test_a_yes_too_late_does_nothing(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    office.later(seconds=301)
    assert office.phones["anna"].text("JA").startswith("För sent")
    assert office.point().status is Status.OPEN
    assert not office.phones["anna"].text("JA").startswith("För sent")  # it is told once, then JA is a resident's


def test_a_yes_after_an_ordinary_question_does_nothing_and_says_so_once(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    office.later(seconds=5)
    assert "ÖPPEN nu" in office.phones["anna"].text("12347")
    office.later(seconds=5)
    said = office.phones["anna"].text("JA")
    assert said.startswith("Inget är gjort: du frågade om något annat") and office.count("subscriptions") == 0
    assert "Du får sms när" in office.phones["anna"].text("JA")  # and from then on it is to what was asked
    assert office.point().status is Status.OPEN


def test_an_operators_question_and_stop_are_a_residents(office: Office) -> None:
    phone = office.phones["anna"]
    assert phone.text("12347") == office.running.another_phone(RESIDENT).text("12347")
    assert phone.text("JA").startswith("Klart. Du får sms")
    assert phone.text("STOPP").startswith("Klart. Vi har raderat")
    assert phone.text("STOPPA").startswith("Klart. Vi har raderat")


def test_stop_forgets_what_was_ordered_too(office: Office) -> None:
    office.order("anna", "LÄGE")
    assert office.count("turns") == 1
    office.phones["anna"].text("STOPP")
    assert office.count("turns") == 1 and "1 Hallen p1" in office.order("anna", "LÄGE")


def test_two_operators_at_once_and_the_second_is_told_what_it_is_now(office: Office) -> None:
    office.operator("bo", BO)
    office.order("anna", "STÄNGD 1")
    office.order("bo", "FULL 1")
    assert "är STÄNGD" in office.phones["anna"].text("JA")
    said = office.phones["bo"].text("JA")
    assert (
        said
        == "Inget är gjort: 1 Hallen p1 har ändrats under tiden och är nu STÄNGD. Skicka en ny order om det är fel."
    )
    assert office.point().status is Status.CLOSED


def test_a_change_on_the_console_in_between_is_not_overwritten(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    change = publish.Change(Status.FULL)
    publish.set_point(office.running.database, "p1", change, shell("cilla"), ZONE, office.running.clock())
    assert "är nu FULL" in office.phones["anna"].text("JA")
    assert office.point().status is Status.FULL


def test_districts_and_roles_hold(office: Office) -> None:
    office.operator("bo", BO, Role.REPORTER, ["Farsta"])
    assert "blir STÄNGD" in office.order("bo", "STÄNGD 1")
    assert "får inte" in office.order("bo", "STÄNGD 2")
    assert "1 Hallen p1" in office.order("bo", "LÄGE") and "Salen" not in office.order("bo", "LÄGE")
    office.operator("vera", "+46700000109", Role.VIEWER)
    assert "får inte" in office.order("vera", "STÄNGD 1")
    assert office.count("wishes") == 0  # a refused order leaves no older one waiting


def test_a_disabled_account_is_a_resident(office: Office) -> None:
    office.operator("bo", BO)
    office.order("bo", "STÄNGD 1")
    staff.disable(office.running.database, ROOT, "bo", office.running.clock())
    assert "raderat" not in office.phones["bo"].text("JA") and office.point().status is Status.OPEN
    office.service.desk.look()
    assert "känner inte igen" in office.order("bo", "STÄNGD 1")


def test_how_it_is_needs_a_code_and_confirms_nothing(office: Office) -> None:
    before = office.point()
    assert office.phones["anna"].text("LÄGE").startswith("Inget är gjort: skriv också din kod")
    assert office.order("anna", "LÄGE") == "1 Hallen p1: ÖPPEN\n2 Salen: ÖPPEN"
    assert office.order("anna", "LÄGE 2") == "2 Salen: ÖPPEN, bekräftad 14.20"
    assert office.point() == before and office.count("wishes") == 0


def test_a_long_list_keeps_within_three_segments(office: Office) -> None:
    office.running.put(*(a_point(f"x{n}", name=f"Medborgarhuset nummer {n}") for n in range(60)))
    said = office.order("anna", "LÄGE")
    assert cost(said).segments <= 3 and said.splitlines()[-1].endswith(" till.") and said.startswith("1 Hallen p1")


def test_every_answer_keeps_within_three_segments_at_the_longest_names(office: Office) -> None:
    office.running.put(
        a_point(name="W" * 60, address="Å" * 60, city="Ö" * 40, note="N" * 120, services=("water", "food"))
    )
    for said in ("STÄNGD 1", "FULL 1", "ÖPPEN 1 till 20", "LÄGE 1", "LÄGE"):
        assert cost(office.order("anna", said)).segments <= 3


def test_in_an_exercise_an_order_is_played(office: Office) -> None:
    with office.running.database.write() as connection:
        assert exercises.begin(connection, "Stormen", "anna", office.running.clock().timestamp())
    assert office.order("anna", "STÄNGD 1").startswith("ÖVNING: 1 Hallen p1 blir STÄNGD. Ingen boende hör det.")
    assert office.phones["anna"].text("JA").startswith("ÖVNING. Klart")
    assert office.point().status is Status.OPEN
    assert "1 Hallen p1: STÄNGD" in office.order("anna", "LÄGE")


def test_a_wish_from_before_an_exercise_is_overtaken_by_it(office: Office) -> None:
    office.order("anna", "STÄNGD 1")
    with office.running.database.write() as connection:
        exercises.begin(connection, "Stormen", "anna", office.running.clock().timestamp())
    assert office.phones["anna"].text("JA").startswith("Inget är gjort: 1 Hallen p1 har ändrats")


def test_a_hidden_points_address_is_not_told_and_a_moved_one_can_open_again(office: Office) -> None:
    office.running.put(a_point(hidden=True), a_point("p2", name="Salen", status=Status.MOVED, moved_to="Ny gata 1"))
    assert "Testgatan" not in office.order("anna", "FULL 1")
    assert "blir ÖPPEN" in office.order("anna", "ÖPPEN 2")


def test_a_proposed_point_has_no_number(office: Office) -> None:
    office.running.put(a_point("p3", status=Status.CANDIDATE))
    assert "ingen punkt har nummer 3" in office.order("anna", "ÖPPEN 3")


def test_numbers_are_given_once_and_stay(office: Office) -> None:
    assert (office.number_of("p1"), office.number_of("p2")) == (1, 2)
    office.running.put(a_point("a0"), a_point(name="Nytt namn"))
    assert (office.number_of("p1"), office.number_of("a0")) == (1, 3)


def test_english_for_who_reads_english(office: Office) -> None:
    office.operator("bo", BO, language="en")
    assert office.order("bo", "CLOSED 1").startswith("1 Hallen p1 becomes CLOSED.")
    assert office.phones["bo"].text("YES").startswith("Done ")
    assert office.point().status is Status.CLOSED


# --- once, whatever dies ----------------------------------------------------------------------------------------------


def test_a_redelivered_order_and_a_redelivered_yes_are_answered_again_and_nothing_happens_twice(office: Office) -> None:
    phone, code = office.phones["anna"], office.code("anna")
    first = phone.text(f"FULL 1 {code}", "SM-order")
    assert phone.text(f"FULL 1 {code}", "SM-order") == first and office.count("wishes") == 1
    done = phone.text("JA", "SM-yes")
    version = office.point().confirmed_at
    office.later(minutes=1)
    assert phone.text("JA", "SM-yes") == done
    assert phone.text(f"FULL 1 {code}", "SM-order") == first
    assert office.point().confirmed_at == version and office.count("wishes") == 0
    assert [line[1] for line in office.log()].count("set full") == 1


@pytest.mark.parametrize("said", ["order", "yes", "no"])
def test_what_dies_before_it_is_committed_has_not_happened(
    office: Office, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the turn is the last that is written: what came before it goes with it."""
    phone, code = office.phones["anna"], office.code("anna")
    order = f"FULL 1 {code}"
    body, sid = {"order": (order, "SM-order"), "yes": ("JA", "SM-yes"), "no": ("NEJ", "SM-no")}[said]
    if said != "order":
        phone.text(order, "SM-order")
    before = (office.count("wishes"), office.point(), office.count("audit"), office.count("turns"))

    def dies(*_: object) -> bool:
        raise StoreAway("killed")

    with monkeypatch.context() as patch:
        patch.setattr(book.desk, "add_turn", dies)
        phone.text(body, sid)
    assert (office.count("wishes"), office.point(), office.count("audit")) == before[:3]
    again = phone.text(body, sid)  # the provider delivers it once more
    assert again == phone.text(body, sid)
    assert {"order": "blir FULL", "yes": "är FULL", "no": "Inget är gjort."}[said] in again


def test_two_deliveries_at_the_same_moment_do_it_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds its row written by the first, only when it wants to write its own."""
    phone, genuine = office.phones["anna"], book.desk.add_turn
    lost = iter([Clash(), None])

    def loses_once(*args: object) -> bool:
        if next(lost, None):
            return False
        return genuine(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(book.desk, "add_turn", loses_once)
    assert "blir FULL" in office.order("anna", "FULL 1")
    assert "är FULL" in phone.text("JA") and [line[1] for line in office.log()].count("set full") == 1


def test_with_the_database_away_an_order_is_said_not_to_be_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = office.code("anna")

    def away(*_: object, **__: object) -> None:
        raise StoreAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", away)
        patch.setattr(Database, "write", away)
        assert office.phones["anna"].text(f"FULL 1 {code}").startswith("Databasen nås inte")
    assert "blir FULL" in office.phones["anna"].text(f"FULL 1 {code}")


def test_residents_pay_nothing_for_the_desk(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks a resident's text is told from an operator's in memory alone."""
    reads: list[object] = []
    genuine = Database.read
    monkeypatch.setattr(Database, "read", lambda self: reads.append(self) or genuine(self))
    resident = office.running.another_phone(RESIDENT)
    resident.text("12347")
    reads.clear()
    for body in ("12347", "STÄNGD 1 482913", "JA", "mer"):
        resident.text(body)
    assert not reads


def test_no_code_and_no_number_lies_in_the_open(office: Office, start: Callable[..., Running]) -> None:
    code = office.code("anna")
    paper = office.print_codes("anna")
    office.phones["anna"].text(f"STÄNGD 1 {code}")
    stored = engines.stored(office.running.path)
    assert not any(one.encode() in stored for one in (ANNA, *paper))
    with office.running.database.read() as connection:
        kept = connection.execute(text("SELECT body_sealed FROM turns")).scalars().all()
    assert [office.service.vault.open(body) for body in kept] == ["STÄNGD 1 ******"]

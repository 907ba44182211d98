"""Hosts: who is asked when, and what an answer does. The number alone changes nothing."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from responder.actions import hosts, publish
from responder.actions.housekeep import keep_house, rekey
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.hosting import code, should_ask
from responder.core.points import Status
from responder.core.segments import cost
from responder.jobs import Jobs
from responder.store import desk, exercises
from responder.store.vault import Vault
from tests import engines
from tests.conftest import NOW, ZONE, Running, a_point
from tests.orders.office import ANNA, BO, HOST, RESIDENT, ROOT, Office

EVERY, STALE = timedelta(hours=4), timedelta(hours=12)


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """p1 in Farsta is open since 14.20, and Kerstin is its host."""
    service = start(number_per_minute=10_000)
    service.put(a_point())
    made = Office(service)
    made.host()
    return made


def asked(office: Office, number: str = HOST) -> str:
    """The digits of the newest question to a number."""
    office.later(hours=4)
    assert office.ask() >= 1
    found = re.search(r"(\d\d)\. /", office.told(number)[-1]) or re.search(r" (\d\d) ", office.told(number)[-1])
    assert found
    return found[1]


def answered(office: Office, said: str, sid: str = "", number: str = HOST) -> str:
    return office.running.another_phone(number).text(said, sid)


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confirmed", "asked", "now", "ask"),
    [
        (0, None, 3.9, False), (0, None, 4, True), (0, 4, 7.9, False), (0, 4, 8, True), (2, 0, 5.9, False),
        (None, None, 0, True), (None, 0, 1, False), (0, 9, 11.3, True), (0, 11.3, 11.5, False), (0, 9, 11.2, False),
    ],
)  # fmt: skip
def test_one_is_asked_after_four_hours_without_a_word_and_before_it_grows_too_old(
    confirmed: float | None, asked: float | None, now: float, ask: bool
) -> None:
    at = [None if hours is None else NOW + timedelta(hours=hours) for hours in (confirmed, asked)]
    assert should_ask(at[0], at[1], NOW + timedelta(hours=now), EVERY, STALE) is ask


def test_the_digits_are_unlike_those_of_other_questions() -> None:
    taken = {f"{n}" for n in range(10, 99)}
    assert {code(taken, draw) for draw in range(5)} == {"99"}


def test_only_hosts_of_points_that_are_open_are_asked_and_each_once(office: Office) -> None:
    office.running.put(a_point("p2", status=Status.CLOSED), a_point("p3", status=Status.PLANNED))
    office.host("p2", "+46700000202")
    office.host("p3", "+46700000203")
    assert office.ask() == 0
    office.later(hours=4)
    assert (office.ask(), office.ask()) == (1, 0)
    said = office.told(HOST)
    assert len(said) == 1 and re.fullmatch(
        r"Är Hallen p1 öppen\? Svara JA (\d\d), FULL \1 eller NEJ \1\. /Stockholms stad", said[0]
    )
    assert cost(said[0]).segments == 1
    office.later(hours=4)
    assert office.ask() == 1 and len(set(office.told(HOST))) == 2


def test_nobody_is_asked_while_an_exercise_goes_on(office: Office) -> None:
    office.later(hours=4)
    with office.running.database.write() as connection:
        exercises.begin(connection, "Stormen", "anna", office.running.clock().timestamp())
    assert office.ask() == 0


def test_the_leader_asks_and_two_processes_ask_once(office: Office) -> None:
    office.later(hours=4)
    first, second = Jobs(office.service, "one"), Jobs(office.service, "two")
    for jobs in (first, second):
        jobs.lead()
        jobs.tick()
    assert len(office.told(HOST)) == 1


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_yes_with_the_digits_confirms(office: Office) -> None:
    digits = asked(office)
    assert answered(office, f"JA {digits}") == "Tack. Hallen p1 står som ÖPPEN."
    assert office.point().confirmed_at == office.running.clock()
    assert office.log()[-1] == ("host Kerstin", "confirm", "via sms")


def test_full_makes_it_full_and_no_closes_it_and_tells_those_who_may_change_it(office: Office) -> None:
    office.operator("anna", ANNA)
    office.operator("bo", BO, Role.REPORTER, ["Bromma"])
    assert answered(office, f"full {asked(office)}") == "Tack. Hallen p1 står som FULL."
    assert office.point().status is Status.FULL
    digits = asked(office)
    assert "står som FULL. Svara FULL" in office.told(HOST)[-1]
    assert answered(office, f"NEJ{digits}") == "Tack. Hallen p1 står som STÄNGD."
    assert office.point().status is Status.CLOSED and office.log()[-1][0] == "host Kerstin"
    assert office.told(ANNA) == [
        "Kerstin vid Hallen p1 svarar att den är stängd. Den sägs vara stängd från 22.20. /Trygghetssvar"
    ]
    assert office.told(BO) == []


def test_a_bare_yes_changes_nothing_and_is_explained_once(office: Office) -> None:
    before = office.point()
    asked(office)
    assert answered(office, "JA").startswith("Vi har frågat dig om Hallen p1. Svara med ordet och de två siffrorna")
    assert not answered(office, "JA").startswith("Vi har frågat")
    assert office.point() == before


def test_a_polite_answer_counts_and_one_with_words_of_its_own_is_asked_for_plainly(office: Office) -> None:
    digits = asked(office)
    assert answered(office, f"Nej {digits} vi har stängt").startswith("Vi har frågat dig om Hallen p1. Svara med ordet")
    assert office.point().status is Status.OPEN
    assert answered(office, f"Nej {digits} tack") == "Tack. Hallen p1 står som STÄNGD."
    assert office.point().status is Status.CLOSED


def test_three_tries_and_the_question_is_closed(office: Office) -> None:
    before, digits = office.point(), asked(office)
    wrong = "10" if digits != "10" else "11"
    for _ in range(3):
        assert answered(office, f"JA {wrong}").startswith("Siffrorna är inte de i vår senaste fråga")
    assert "stängd" in answered(office, f"JA {digits}") and office.point() == before


def test_an_answer_counts_once_and_a_late_one_is_thanked_for(office: Office) -> None:
    digits = asked(office)
    answered(office, f"JA {digits}")
    assert "redan svarat" in answered(office, f"JA {digits}") and office.point().status is Status.OPEN
    digits = asked(office)
    office.later(minutes=61)
    before = office.point()
    assert "gäller inte längre" in answered(office, f"NEJ {digits}") and office.point() == before


def test_a_point_that_has_changed_since_is_left_alone(office: Office) -> None:
    digits = asked(office)
    change = publish.Change(Status.FULL)
    publish.set_point(office.running.database, "p1", change, shell("anna"), ZONE, office.running.clock())
    assert answered(office, f"NEJ {digits}") == (
        "Tack. Hallen p1 har ändrats sedan vi frågade och står som FULL. Ditt svar ändrar inget."
    )
    assert office.point().status is Status.FULL


def test_an_answer_from_another_number_is_a_residents(office: Office) -> None:
    digits = asked(office)
    answered(office, f"NEJ {digits}", number=RESIDENT)
    assert office.point().status is Status.OPEN


def test_a_redelivered_answer_is_answered_again_and_done_once(office: Office) -> None:
    digits = asked(office)
    first = answered(office, f"FULL {digits}", "SM-1")
    assert answered(office, f"FULL {digits}", "SM-1") == first
    assert [line[1] for line in office.log()].count("set full") == 1


def test_one_phone_may_be_the_host_of_two_points(office: Office) -> None:
    office.running.put(a_point("p2", name="Salen"))
    office.host("p2")
    office.later(hours=4)
    assert office.ask() == 2
    found = dict(re.findall(r"Är (.+?) öppen\? Svara JA (\d\d)", "\n".join(office.told(HOST))))
    assert len(set(found.values())) == 2
    answered(office, f"NEJ {found['Salen']}")
    assert (office.point().status, office.point("p2").status) == (Status.OPEN, Status.CLOSED)


def test_a_hosts_question_is_a_residents_and_stop_ends_the_questions(office: Office) -> None:
    office.operator("anna", ANNA)
    assert answered(office, "12347") == answered(office, "12347", number=RESIDENT)
    assert answered(office, "STOPP").startswith("Klart. Vi har raderat")
    assert office.told(ANNA) == ["Kerstin vid Hallen p1 har svarat STOPP och får inga fler frågor. /Trygghetssvar"]
    office.later(hours=4)
    assert office.ask() == 0 and HOST.encode() not in engines.stored(office.running.path)
    with office.running.database.read() as connection:
        assert desk.hosts(connection) == []


def test_a_host_who_said_yes_may_say_no_within_the_hour_if_nothing_has_changed_since(office: Office) -> None:
    digits = asked(office)
    answered(office, f"JA {digits}")
    office.later(minutes=10)
    assert answered(office, f"NEJ {digits}") == "Tack. Hallen p1 står som STÄNGD."
    assert office.point().status is Status.CLOSED
    assert "redan svarat" in answered(office, f"JA {digits}") and office.point().status is Status.CLOSED


@pytest.mark.parametrize("before_the_yes", [True, False])
def test_a_mended_answer_never_undoes_what_somebody_else_has_said(office: Office, before_the_yes: bool) -> None:
    digits = asked(office)
    if not before_the_yes:
        answered(office, f"JA {digits}")
    change = publish.Change(Status.FULL)
    publish.set_point(office.running.database, "p1", change, shell("anna"), ZONE, office.running.clock())
    if before_the_yes:
        assert "har ändrats sedan vi frågade" in answered(office, f"JA {digits}")
    answered(office, f"NEJ {digits}")
    assert office.point().status is Status.FULL


def test_an_answer_that_cannot_be_taken_in_can_be_given_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = asked(office)

    def refuses(*_: object, **__: object) -> None:
        raise publish.ChangeRefused("not now")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "set_point_in", refuses)
        assert "går inte att ta emot" in answered(office, f"NEJ {digits}")
    assert answered(office, f"NEJ {digits}") == "Tack. Hallen p1 står som STÄNGD."


def test_spent_tries_are_told_to_operators_and_the_host_is_asked_anew_once(office: Office) -> None:
    office.operator("anna", ANNA)
    first = asked(office)

    def spend(right: str) -> str:
        wrong = next(f"{n}" for n in range(10, 100) if f"{n}" not in (right, first))
        return [answered(office, f"JA {wrong}") for _ in range(3)][-1]

    assert spend(first).endswith("Du får strax en ny fråga med nya siffror.")
    assert office.told(ANNA) == [
        "Tre svar med fel siffror har kommit från Kerstin vid Hallen p1. Ring och fråga hur det är där. /Trygghetssvar"
    ]
    assert len(office.told(HOST)) == 2
    second = re.search(r"JA (\d\d)", office.told(HOST)[-1])
    assert second and second[1] != first
    office.later(minutes=11)
    assert answered(office, f"JA {second[1]}") == "Tack. Hallen p1 står som ÖPPEN."


def test_nobody_makes_us_ask_a_host_again_and_again(office: Office) -> None:
    first = asked(office)
    for _ in range(2):
        found = re.search(r"JA (\d\d)", office.told(HOST)[-1])
        wrong = next(f"{n}" for n in range(10, 100) if found and f"{n}" not in (found[1], first))
        for _ in range(3):
            answered(office, f"JA {wrong}")
        office.later(minutes=11)
    assert len(office.told(HOST)) == 2


def test_wrong_digits_in_a_hosts_name_are_answered_three_times_in_ten_minutes(office: Office) -> None:
    digits = asked(office)
    said = [answered(office, "JA 10" if digits != "10" else "JA 11") for _ in range(12)]
    assert not any(said[-3:]) and max(said.count(one) for one in said if one) == 3
    office.later(minutes=11)
    assert "stängd" in answered(office, f"JA {digits}")


# --- who --------------------------------------------------------------------------------------------------------------


def test_hosts_are_added_and_removed_by_who_may_change_the_point(office: Office) -> None:
    database, vault, now = office.running.database, office.service.vault, NOW
    bo = Operator("bo", Role.REPORTER, ("Bromma",), signed_in=True)
    allowed = frozenset({"SE"})
    with pytest.raises(Forbidden):
        hosts.add(database, vault, bo, "p1", "Eva", "+46700000209", allowed, now)
    for point, name, number, why in (
        ("p9", "Eva", "+46700000209", "no point has the id"), ("p1", "", "+46700000209", "needs a name"),
        ("p1", "Eva", "08-123", "cannot be texted"), ("p1", "Eva", HOST, "with this number already"),
        ("p1", "Eva", "+4790000001", "cannot be texted"),
    ):  # fmt: skip
        with pytest.raises(hosts.BadHost, match=why):
            hosts.add(database, vault, ROOT, point, name, number, allowed, now)
    office.running.another_phone(RESIDENT).text("STOPP")
    with pytest.raises(hosts.BadHost, match="has said STOPP"):
        hosts.add(database, vault, ROOT, "p1", "Eva", RESIDENT, allowed, now)
    id = hosts.listed(database, ROOT)[0].host.id
    with pytest.raises(Forbidden):
        hosts.remove(database, bo, id, now)
    hosts.remove(database, ROOT, id, now)
    assert hosts.listed(database, ROOT) == []
    assert [line[:2] for line in office.log(f"host:{id}")] == [("root", "add host"), ("root", "remove host")]


def test_other_keys_know_the_phones_again(office: Office) -> None:
    office.operator("anna", ANNA)
    with office.running.database.write() as connection:
        desk.set_phone_hash(connection, "anna", b"")
    rekey(office.running.database, office.service.vault, NOW)
    old = office.service.settings
    new = Vault((old.number_key,), ("another lookup key", old.lookup_key))
    for vault in (office.service.vault, new):
        rekey(office.running.database, vault, NOW)
        with office.running.database.read() as connection:
            assert desk.names_of_phone(connection, [vault.newest(ANNA)]) == ["anna"]
            assert [one.name for one in desk.hosts_of_phone(connection, [vault.newest(HOST)])] == ["Kerstin"]


def test_old_wishes_and_questions_are_forgotten(office: Office) -> None:
    office.operator("anna", ANNA)
    asked(office)
    office.order("anna", "STÄNGD 1")
    assert (office.count("wishes"), office.count("questions")) == (1, 1)
    office.later(days=9)
    service = office.service
    view = service.snapshot.read_if_changed(office.running.clock())
    keep_house(
        service.database, service.vault, service.messages, view, service.settings, office.running.clock()
    )  # fmt: skip
    assert (office.count("wishes"), office.count("questions")) == (0, 0)

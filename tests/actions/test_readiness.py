"""Proposing points, deciding on them, and signing for half a year."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from responder.actions.readiness import NotNow, Planner, Proposal, Unfit, deadline, read_date, subject
from responder.core.access import Forbidden, NotSignedIn, Operator, Role, shell
from responder.core.halfyear import HalfYear
from responder.core.points import Point, Status, YesNo
from responder.core.problem import Problem
from responder.store import exercises
from responder.store.queries import audit_log, read_points, versions
from responder.store.readiness import Report, lines, read_report, signed_state
from tests.conftest import NOW, ZONE, Running, a_point

FARSTA = Proposal("Hökarängens bibliotek", "59.2576", "18.0838", services=("water", "information"), capacity="80")
REPORTER = Operator("rita", Role.REPORTER, ("Farsta",), signed_in=True)
APPROVER = Operator("arne", Role.APPROVER, ("Farsta",), signed_in=True)
PERIOD = HalfYear(2026, 2)
WHY = "ligger för nära en annan punkt"


@pytest.fixture
def planner(service: Running) -> Planner:
    return Planner(service.database, ZONE)


def stored(planner: Planner) -> dict[str, Point]:
    with planner.database.read() as connection:
        return {point.id: point for point, _ in read_points(connection)}


def log(planner: Planner, id: str) -> list[tuple[str, str, str, str]]:
    with planner.database.read() as connection:
        return [(line.action, line.who, line.decision, line.decided_by) for line in audit_log(connection, id)]


def test_a_proposal_becomes_a_candidate_with_an_id_of_its_district(planner: Planner) -> None:
    point = planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    assert stored(planner) == {"farsta-1": point}
    assert (point.status, point.district, point.municipality) == (Status.CANDIDATE, "Farsta", "Stockholm")
    assert (point.services, point.capacity, point.confirmed_at) == (("information", "water"), 80, None)
    assert log(planner, "farsta-1") == [("propose", "rita", "", "")]


def test_the_workers_hear_of_a_proposal(planner: Planner) -> None:
    with planner.database.read() as connection:
        before = versions(connection)[0]
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    with planner.database.read() as connection:
        assert versions(connection)[0] == before + 1


def test_the_next_id_is_after_the_highest_also_where_one_was_taken_by_a_file(
    service: Running, planner: Planner
) -> None:
    service.put(a_point("farsta-7"), a_point("farsta-x"), a_point("demo-farsta-9"))
    assert planner.propose(REPORTER, "Farsta", FARSTA, NOW).id == "farsta-8"
    boss = Operator("b", Role.ADMIN, signed_in=True)
    aside = replace(FARSTA, lat="59.30", lon="18.01")
    assert planner.propose(boss, "Enskede-Årsta-Vantör", aside, NOW).id == "enskede-arsta-vantor-1"
    service.put(a_point("farsta-1000000"))  # another point than that is never replaced
    assert planner.propose(REPORTER, "Farsta", FARSTA, NOW).id == "farsta-1000001"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", " ", "missing"), ("name", "x" * 61, "at most 60"), ("lat", "", "missing or no number"),
        ("lat", "nan", "from 55"), ("lat", "61.0", "km from the nearest"), ("lon", "1e9", "from 10.5"),
        ("postcode", "1234", "five digits"), ("capacity", "-1", "number of people"), ("capacity", "1e9", "number of people"),
        ("services", ("sauna",), "choose one"), ("step_free", "perhaps", "choose one"), ("hours", "sometimes", "opening hours"),
        ("phone", "ring mig", "phone number"), ("coordinate_accuracy", "0", "from 1 to"), ("contact", "x" * 201, "at most 200"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_and_nothing_is_written(
    planner: Planner, field: str, value: object, reason: str
) -> None:
    with pytest.raises(Unfit, match=reason) as refused:
        planner.propose(REPORTER, "Farsta", replace(FARSTA, **{field: value}), NOW)  # type: ignore[arg-type]
    assert [fault.field for fault in refused.value.faults] == [field]
    assert stored(planner) == {}


def test_a_real_service_takes_no_point_called_demo(service: Running) -> None:
    proposal = replace(FARSTA, name="DEMO Hallen")
    with pytest.raises(Unfit, match="real"):
        Planner(service.database, ZONE, real=True).propose(REPORTER, "Farsta", proposal, NOW)
    assert Planner(service.database, ZONE).propose(REPORTER, "Farsta", proposal, NOW).demo


@pytest.mark.parametrize(
    "operator",
    [replace(REPORTER, districts=("Skarpnäck",)), replace(REPORTER, districts=()), replace(REPORTER, role=Role.VIEWER)],
    ids=["another district", "no district", "a viewer"],
)
def test_nobody_else_proposes(planner: Planner, operator: Operator) -> None:
    with pytest.raises(Forbidden):
        planner.propose(operator, "Farsta", FARSTA, NOW)
    assert stored(planner) == {}


def test_an_unknown_district_has_no_points(planner: Planner) -> None:
    with pytest.raises(NotNow, match="no district called 'Atlantis'"):
        planner.propose(replace(APPROVER, districts=()), "Atlantis", FARSTA, NOW)


def test_a_candidate_can_be_changed_and_keeps_what_the_form_does_not_know(service: Running, planner: Planner) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    after = planner.edit(REPORTER, "farsta-1", replace(FARSTA, backup_power="yes", address="Gatan 1"), 1, NOW)
    assert (after.backup_power, after.address, after.id) == (YesNo.YES, "Gatan 1", "farsta-1")
    assert Proposal.of(after) == replace(FARSTA, backup_power="yes", address="Gatan 1", services=after.services)
    assert [line[0] for line in log(planner, "farsta-1")] == ["propose", "edit proposal"]


def test_only_the_version_that_was_looked_at_is_changed(planner: Planner) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    planner.edit(REPORTER, "farsta-1", replace(FARSTA, address="Gatan 1"), 1, NOW)
    with pytest.raises(NotNow, match="somebody else"):
        planner.edit(REPORTER, "farsta-1", replace(FARSTA, address="Gatan 2"), 1, NOW)
    with pytest.raises(NotNow, match="somebody else"):
        planner.decide(APPROVER, "farsta-1", True, "", 1, NOW)
    assert stored(planner)["farsta-1"].address == "Gatan 1"


def test_a_decision_says_who_and_why(planner: Planner) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    assert planner.decide(APPROVER, "farsta-1", False, WHY, 1, NOW).status is Status.REJECTED
    assert planner.propose_again(REPORTER, "farsta-1", 2, NOW).status is Status.CANDIDATE
    assert planner.decide(APPROVER, "farsta-1", True, "Beslut 7", 3, NOW).status is Status.PLANNED
    assert planner.take_back(APPROVER, "farsta-1", "lokalen är uppsagd", 4, NOW).status is Status.CANDIDATE
    assert log(planner, "farsta-1")[1:] == [
        ("reject", "arne", WHY, "arne"), ("propose again", "rita", "", ""), ("plan", "arne", "Beslut 7", "arne"),
        ("take back", "arne", "lokalen är uppsagd", "arne"),
    ]  # fmt: skip


@pytest.mark.parametrize("reason", ["", "nej", "  för  nära ", "x" * 501])
def test_a_rejection_needs_a_reason(planner: Planner, reason: str) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    with pytest.raises(Problem):
        planner.decide(APPROVER, "farsta-1", False, reason, 1, NOW)
    with pytest.raises(Problem):
        planner.take_back(APPROVER, "farsta-1", reason, 1, NOW)
    assert stored(planner)["farsta-1"].status is Status.CANDIDATE


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.CANDIDATE])
def test_only_a_candidate_is_decided_on_or_changed(service: Running, planner: Planner, status: Status) -> None:
    service.put(a_point(status=status, phone="08-1234567", moved_to="Gatan 2"))
    for step in (
        lambda: planner.decide(APPROVER, "p1", True, "", 1, NOW),
        lambda: planner.decide(APPROVER, "p1", False, WHY, 1, NOW),
        lambda: planner.edit(REPORTER, "p1", FARSTA, 1, NOW),
    ):
        with pytest.raises(NotNow):
            step()
    assert stored(planner)["p1"].status is status


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.PLANNED])
def test_only_a_planned_point_is_taken_back(service: Running, planner: Planner, status: Status) -> None:
    service.put(a_point(status=status))
    with pytest.raises(NotNow):
        planner.take_back(APPROVER, "p1", WHY, 1, NOW)


@pytest.mark.parametrize(
    "operator",
    [REPORTER, replace(APPROVER, districts=("Skarpnäck",)), replace(APPROVER, signed_in=False), shell("root")],
    ids=["a reporter", "another district", "not signed in", "a shell"],
)
def test_nobody_else_decides_or_signs(planner: Planner, operator: Operator) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    steps: list[Callable[[], object]] = [
        lambda: planner.decide(operator, "farsta-1", True, "", 1, NOW),
        lambda: planner.sign(operator, "Farsta", PERIOD, "", NOW),
        lambda: planner.set_deadline(operator, "Farsta", PERIOD, date(2026, 12, 1), NOW),
        lambda: planner.reopen(operator, "Farsta", PERIOD, WHY, NOW),
    ]
    for step in steps:
        with pytest.raises((Forbidden, NotSignedIn)):
            step()
    assert stored(planner)["farsta-1"].status is Status.CANDIDATE
    assert report(planner) == Report("Farsta", "2026-2")


def report(planner: Planner) -> Report:
    with planner.database.read() as connection:
        return read_report(connection, "Farsta", "2026-2")


def test_a_signature_keeps_how_things_stood(service: Running, planner: Planner) -> None:
    service.put(a_point(status=Status.PLANNED))
    planner.sign(APPROVER, "Farsta", PERIOD, "klart så långt", NOW)
    service.put(a_point(status=Status.CLOSED))
    assert report(planner) == Report("Farsta", "2026-2", "", "arne", NOW.timestamp(), "klart så långt")
    with planner.database.read() as connection:
        state = signed_state(connection, subject("Farsta", PERIOD))
    assert state is not None
    assert (state["points"], state["counted"], state["missing_services"]) == ({"planned": 1}, 1, ["first_aid"])
    assert state["postcodes"] == 51 and state["within"]["2000"][0] > state["within"]["500"][0] > 0


def test_a_report_is_signed_once_and_opened_again_with_a_reason(planner: Planner) -> None:
    with pytest.raises(NotNow, match="nobody has signed"):
        planner.reopen(APPROVER, "Farsta", PERIOD, WHY, NOW)
    planner.sign(APPROVER, "Farsta", PERIOD, "", NOW)
    with pytest.raises(NotNow, match="arne has signed"):
        planner.sign(APPROVER, "Farsta", PERIOD, "", NOW)
    with pytest.raises(Problem, match="say why"):
        planner.reopen(APPROVER, "Farsta", PERIOD, "fel", NOW)
    with pytest.raises(NotNow, match="reopen it first"):
        planner.set_deadline(APPROVER, "Farsta", PERIOD, date(2027, 1, 1), NOW)
    planner.reopen(APPROVER, "Farsta", PERIOD, WHY, NOW)
    assert report(planner) == Report("Farsta", "2026-2")
    with planner.database.read() as connection:
        done = lines(connection, subject("Farsta", PERIOD))
    assert [(line.action, line.decision) for line in done] == [("reopen", WHY), ("sign", "")]
    assert json.loads(done[0].before)["signed_by"] == "arne"


def test_a_half_year_that_has_not_begun_cannot_be_signed(planner: Planner) -> None:
    with pytest.raises(NotNow, match="has not begun"):
        planner.sign(APPROVER, "Farsta", HalfYear(2027, 1), "", NOW)
    planner.sign(APPROVER, "Farsta", HalfYear(2026, 1), "", NOW)


def test_a_deadline_is_the_last_day_unless_it_is_set(planner: Planner) -> None:
    assert deadline(report(planner), PERIOD) == date(2026, 12, 31)
    planner.set_deadline(APPROVER, "Farsta", PERIOD, date(2026, 12, 1), NOW)
    assert deadline(report(planner), PERIOD) == date(2026, 12, 1)


@pytest.mark.parametrize("text", ["", "31/12 2026", "2026-02-30", "0001-01-01", "9999-12-31"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="is no date"):
        read_date(text)


def test_while_an_exercise_goes_on_the_plan_stands_still(planner: Planner) -> None:
    planner.propose(REPORTER, "Farsta", FARSTA, NOW)
    with planner.database.write() as connection:
        exercises.begin(connection, "Havsörn", "arne", NOW.timestamp())
    steps: list[Callable[[], object]] = [
        lambda: planner.propose(REPORTER, "Farsta", FARSTA, NOW),
        lambda: planner.edit(REPORTER, "farsta-1", replace(FARSTA, note="ny"), 1, NOW),
        lambda: planner.decide(APPROVER, "farsta-1", True, "", 1, NOW),
        lambda: planner.sign(APPROVER, "Farsta", PERIOD, "", NOW),
        lambda: planner.set_deadline(APPROVER, "Farsta", PERIOD, date(2026, 12, 1), NOW),
    ]
    for step in steps:
        with pytest.raises(NotNow, match="exercise"):
            step()
    assert list(stored(planner)) == ["farsta-1"] and report(planner) == Report("Farsta", "2026-2")

"""What operators say of a point: changed, confirmed and noted; and in an exercise, in the exercise alone."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from responder.actions.publish import (
    Change,
    ChangeRefused,
    Foresight,
    Notes,
    Overtaken,
    confirm,
    note,
    set_point,
)
from responder.actions.push import push
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.points import Kind, Point, Status, YesNo
from responder.store import exercises, watching
from responder.store.broadcasts import add_line
from responder.store.queries import audit_log, read_points
from tests.conftest import NOW, ZONE, Running, a_point

ANNA, BO = shell("anna"), shell("bo")
LATER = NOW + timedelta(hours=3)


def real(running: Running, id: str = "p1") -> tuple[Point, int]:
    with running.database.read() as connection:
        return {point.id: (point, version) for point, version in read_points(connection)}[id]


def shown(running: Running, id: str = "p1") -> tuple[Point, int]:
    """As operators see it."""
    with running.database.read() as connection:
        return {p.id: (p, version) for p, version in watching.current_points(connection)}[id]


def lines(running: Running, id: str = "p1") -> list[tuple[str, str, str]]:
    with running.database.read() as connection:
        return [(row.who, row.action, row.subject) for row in watching.point_log(connection, id)]


def counters(running: Running) -> tuple[int, int]:
    """How often workers were told of changes, and how many pushes are due."""
    with running.database.read() as connection:
        told = connection.execute(text("SELECT value FROM meta WHERE key = 'points'")).scalar_one()
        due = connection.execute(text("SELECT count(*) FROM due WHERE job = 'push'")).scalar_one()
        return told, due


def begin(running: Running) -> None:
    with running.database.write() as connection:
        assert exercises.begin(connection, "Stormen", "anna", NOW.timestamp())


def end(running: Running) -> None:
    with running.database.write() as connection:
        current = exercises.current(connection)
        assert current and exercises.end(connection, current.id, "anna", LATER.timestamp())


def change(running: Running, what: Change, operator: Operator = ANNA, seen: int | None = None) -> Point:
    return set_point(running.database, "p1", what, operator, ZONE, LATER, seen=seen)[1]


# --- a change ---------------------------------------------------------------------------------------------------------


def test_a_change_carries_everything_that_operators_say_of_a_point(service: Running) -> None:
    service.put(a_point())
    after = change(
        service,
        Change(
            Status.OPEN, services=["water", "beds", "water"], step_free="yes", pets="no", overnight="unknown",
            backup_power="yes", capacity="120", visitors="40", staffing="Eva", supplies="Filtar",
        ),
    )  # fmt: skip
    assert after.services == ("water", "beds")  # each once, in the order in which residents are told them
    assert (after.step_free, after.pets, after.overnight, after.backup_power) == (
        YesNo.YES, YesNo.NO, YesNo.UNKNOWN, YesNo.YES,
    )  # fmt: skip
    assert (after.capacity, after.visitors, after.staffing, after.supplies) == (120, 40, "Eva", "Filtar")
    kept = change(service, Change(Status.FULL))
    assert kept == real(service)[0]
    assert (kept.services, kept.capacity, kept.step_free) == (("water", "beds"), 120, YesNo.YES)
    bare = change(service, Change(Status.FULL, services=(), capacity="", staffing=""))
    assert (bare.services, bare.capacity, bare.staffing, bare.visitors) == ((), None, "", 40)


def test_everything_that_is_wrong_is_named_at_its_field_and_nothing_is_changed(service: Running) -> None:
    service.put(a_point())
    wrong = Change(Status.OPEN, services=["sauna"], pets="maybe", visitors="many", staffing="x" * 201)
    with pytest.raises(ChangeRefused) as refused:
        change(service, wrong)
    assert {fault.field for fault in refused.value.faults} == {"services", "pets", "visitors", "staffing"}
    assert real(service) == (a_point(), 1)
    assert lines(service) == []


@pytest.mark.parametrize("status", [Status.CANDIDATE, Status.REJECTED])
def test_what_is_only_proposed_is_not_opened_and_nothing_becomes_a_proposal(service: Running, status: Status) -> None:
    service.put(a_point(status=status))
    with pytest.raises(ChangeRefused, match="only proposed"):
        change(service, Change(Status.OPEN))
    service.put(a_point())
    with pytest.raises(ChangeRefused, match="only proposed"):
        change(service, Change(status))


# --- still open -------------------------------------------------------------------------------------------------------


def test_still_open_confirms_and_keeps_everything_else(service: Running) -> None:
    until = LATER + timedelta(hours=2)
    service.put(a_point(closes=until, note="Ta med filt", visitors=7))
    before, after = confirm(service.database, "p1", ANNA, ZONE, LATER, seen=1)
    assert (before.confirmed_at, after.confirmed_at) == (NOW, LATER)
    assert after == real(service)[0] == a_point(closes=until, note="Ta med filt", visitors=7, confirmed_at=LATER)
    assert lines(service) == [("shell:anna", "confirm", "p1")]


def test_residents_read_at_once_that_it_was_confirmed(service: Running) -> None:
    service.put(a_point())
    service.clock.now = LATER
    assert "Kontrollerat 14.20" in service.phone.text("12347")
    confirm(service.database, "p1", ANNA, ZONE, LATER)
    assert "Kontrollerat 17.20" in service.phone.text("12347")


@pytest.mark.parametrize("status", [Status.CLOSED, Status.MOVED, Status.PLANNED, Status.CANDIDATE])
def test_what_is_not_open_is_not_still_open(service: Running, status: Status) -> None:
    service.put(a_point(status=status))
    with pytest.raises(ChangeRefused, match="cannot be still open"):
        confirm(service.database, "p1", ANNA, ZONE, LATER)
    assert real(service)[1] == 1


def test_nor_is_what_has_closed_by_its_own_time(service: Running) -> None:
    service.put(a_point(closes=NOW + timedelta(hours=1)))
    with pytest.raises(ChangeRefused, match="that has passed"):
        confirm(service.database, "p1", ANNA, ZONE, LATER)


def test_who_has_not_seen_the_newest_version_does_not_confirm_it(service: Running) -> None:
    service.put(a_point())
    change(service, Change(Status.FULL), BO)
    with pytest.raises(Overtaken, match=r"changed meanwhile by shell:bo at 17\.20") as overtaken:
        confirm(service.database, "p1", ANNA, ZONE, LATER, seen=1)
    assert (overtaken.value.who, overtaken.value.version) == ("shell:bo", 2)


def test_only_who_may_change_points_there_confirms_or_notes(service: Running) -> None:
    service.put(a_point())
    for who in (Operator("eva", Role.VIEWER), Operator("ulf", Role.REPORTER, ("Bromma",))):
        with pytest.raises(Forbidden):
            confirm(service.database, "p1", who, ZONE, LATER)
        with pytest.raises(Forbidden):
            note(service.database, "p1", Notes(visitors="1"), who, ZONE, LATER)
    confirm(service.database, "p1", Operator("ida", Role.REPORTER, ("Farsta",)), ZONE, LATER)


# --- notes ------------------------------------------------------------------------------------------------------------


def test_a_note_confirms_nothing_and_changes_no_answer(service: Running) -> None:
    closes = NOW + timedelta(hours=8)
    service.put(a_point(closes=closes))
    before = counters(service)
    note(service.database, "p1", Notes(visitors="45", supplies="Vatten slut"), ANNA, ZONE, LATER)
    assert real(service) == (a_point(closes=closes, visitors=45, supplies="Vatten slut"), 1)
    assert counters(service) == before  # no worker reads anything anew, no push is due
    assert lines(service) == [("shell:anna", "note", "note:p1")]


def test_a_note_makes_nobody_else_s_version_old(service: Running) -> None:
    service.put(a_point())
    note(service.database, "p1", Notes(visitors="45"), BO, ZONE, LATER)
    assert change(service, Change(Status.FULL), seen=1).visitors == 45


def test_a_note_hides_from_no_push_who_changed_the_point(service: Running) -> None:
    """An opening is added up for whoever made it, and must be approved, not for who then counted the visitors."""
    service.put(a_point(status=Status.CLOSED))
    service.clock.pass_time(minutes=5)
    service.phone.text("START 12347")
    set_point(service.database, "p1", Change(Status.OPEN), ANNA, ZONE, service.clock.now)
    note(service.database, "p1", Notes(visitors="3"), BO, ZONE, service.clock.now)
    service.clock.pass_time(minutes=5)
    wired, now = service.app.extensions["responder"], service.clock.now
    assert push(service.database, wired.snapshot.read_if_changed(now), wired.rules, now).changed == 1
    with service.database.read() as connection:
        assert connection.execute(text("SELECT operator FROM broadcasts WHERE kind = 'status'")).scalars().all() == [
            "shell:anna"
        ]


def test_a_note_without_anything_new_is_not_written_down(service: Running) -> None:
    service.put(a_point(visitors=45))
    note(service.database, "p1", Notes(visitors="45"), ANNA, ZONE, LATER)
    assert lines(service) == []


@pytest.mark.parametrize("visitors", ["-1", "1.5", "many", "100001", "9" * 5000])
def test_what_is_no_number_of_people_is_refused(service: Running, visitors: str) -> None:
    service.put(a_point())
    with pytest.raises(ChangeRefused, match="no number of people"):
        note(service.database, "p1", Notes(visitors=visitors), ANNA, ZONE, LATER)


# --- exercises --------------------------------------------------------------------------------------------------------


def test_in_an_exercise_only_the_exercise_changes(service: Running) -> None:
    service.put(a_point(status=Status.PLANNED))
    answer, before = service.phone.text("12347"), counters(service)
    begin(service)
    _, first = shown(service)
    change(service, Change(Status.OPEN), seen=first)
    confirm(service.database, "p1", ANNA, ZONE, LATER, seen=first + 1)
    note(service.database, "p1", Notes(visitors="45"), ANNA, ZONE, LATER)
    change(service, Change(Status.CLOSED), BO, seen=first + 2)
    assert real(service) == (a_point(status=Status.PLANNED), 1)
    assert counters(service) == before
    assert service.phone.text("12347") == answer
    played, version = shown(service)
    assert (played.status, played.visitors, played.confirmed_at, version) == (Status.CLOSED, 45, LATER, first + 3)
    actions = [action for _, action, _ in lines(service)]
    assert actions == ["exercise: set closed", "exercise: note", "exercise: confirm", "exercise: set open"]


def test_pushes_never_look_at_an_exercise(service: Running) -> None:
    """Also not where they look at what a point was before a change that still settles."""
    service.put(a_point(status=Status.CLOSED))
    service.clock.pass_time(minutes=5)
    service.phone.text("START 12347")
    begin(service)
    for status in (Status.OPEN, Status.FULL, Status.OPEN):
        set_point(service.database, "p1", Change(status), ANNA, ZONE, service.clock.now)
        service.clock.pass_time(seconds=10)
    wired, now = service.app.extensions["responder"], service.clock.now
    pushed = push(service.database, wired.snapshot.read_if_changed(now), wired.rules, now)
    assert (pushed.closed_doors, pushed.changed) == (0, 0)
    with service.database.read() as connection:
        assert audit_log(connection, "p1") == []


def test_in_an_exercise_too_nobody_overwrites_what_they_have_not_seen(service: Running) -> None:
    service.put(a_point())
    begin(service)
    _, first = shown(service)
    change(service, Change(Status.FULL), BO, seen=first)
    with pytest.raises(Overtaken, match="changed meanwhile by shell:bo") as overtaken:
        change(service, Change(Status.CLOSED), seen=first)
    assert (overtaken.value.who, overtaken.value.point.status) == ("shell:bo", Status.FULL)
    assert change(service, Change(Status.CLOSED), seen=first + 1).status is Status.CLOSED


def test_nobody_changes_in_truth_what_they_looked_at_in_an_exercise_nor_the_other_way_round(service: Running) -> None:
    """A form that somebody opened in an exercise opens no door when the exercise has ended meanwhile."""
    service.put(a_point())
    _, before = shown(service)
    begin(service)
    _, within = shown(service)
    with pytest.raises(Overtaken, match="an exercise has begun or ended") as overtaken:
        change(service, Change(Status.FULL), seen=before)
    assert overtaken.value.begun_or_ended and overtaken.value.version == within
    end(service)
    with pytest.raises(Overtaken, match="an exercise has begun or ended"):
        change(service, Change(Status.FULL), seen=within)
    begin(service)
    with pytest.raises(Overtaken, match="an exercise has begun or ended"):  # another one
        confirm(service.database, "p1", ANNA, ZONE, LATER, seen=within)
    assert real(service) == (a_point(), before)


def test_after_the_exercise_everything_is_as_it_really_is(service: Running) -> None:
    service.put(a_point())
    begin(service)
    change(service, Change(Status.CLOSED))
    end(service)
    assert shown(service) == real(service) == (a_point(), 1)
    assert change(service, Change(Status.FULL), seen=1) == real(service)[0]


def test_the_preview_of_an_exercise_says_so_and_that_nobody_hears(service: Running) -> None:
    service.put(a_point(status=Status.PLANNED))
    service.phone.text("START 12347")
    begin(service)
    change(service, Change(Status.OPEN))
    wired = service.app.extensions["responder"]
    foresight = Foresight(service.database, wired.messages, wired.manner, wired.settings)
    view = wired.snapshot.read_if_changed(LATER)
    told = foresight.preview(view, "p1", Change(Status.FULL), ANNA, LATER, seen=shown(service)[1])
    assert (told.was.kind, told.becomes.kind, told.exercise, told.hear) == (Kind.OPEN, Kind.FULL, True, 0)
    for sentence in (*told.texts.values(), *told.news.values(), *foresight.answers(view, "p1", LATER).values()):
        assert sentence.startswith("ÖVNING") and sentence.endswith("ÖVNING")
    assert "EXERCISE" in told.texts["en"]
    assert "FULL" in told.texts["sv"] and "Öppet" in foresight.answers(view, "p1", LATER)["sv"]


def test_a_point_is_not_taken_for_the_exercise_that_has_its_number(service: Running) -> None:
    service.put(a_point("1"))
    begin(service)
    with service.database.write() as connection:
        add_line(connection, NOW, "anna", "begin", "exercise:1", "", '{"name": "Stormen"}')
    set_point(service.database, "1", Change(Status.FULL), ANNA, ZONE, LATER)
    assert lines(service, "1") == [("shell:anna", "exercise: set full", "played:1")]

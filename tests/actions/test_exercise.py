"""What an exercise keeps from being sent, what it leaves as it was, and that nothing of it is left when it ends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from responder.actions import exercise, load
from responder.actions.announce import Announcer, Outcome
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.broadcast import Broadcast, State
from responder.core.exercise import ExerciseGoesOn, ExerciseRefused, NoExercise
from responder.core.points import Status
from responder.core.pointsfile import write_points_file
from responder.store import exercises
from responder.store.outbox import finish
from responder.store.queries import audit_log
from tests.conftest import NOW, ZONE, Clock, a_point
from tests.sending.conftest import Line
from tests.sending.conftest import connect as connect  # the fixture

ANNA, BO = (Operator(name, Role.APPROVER, signed_in=True) for name in ("anna", "bo"))
CARL = Operator("carl", Role.COMMUNICATOR, signed_in=True)
MOBILE, OTHER = "+46701740606", "+46701740607"


@pytest.fixture
def line(connect: Callable[..., Line]) -> Line:
    """A provider, a closed point, and two who follow 12347: one of them takes part in exercises."""
    line = connect(approve_above=1)
    line.running.put(a_point("near", status=Status.CLOSED))
    for number in (MOBILE, OTHER):
        line.text(number, "12347")
        line.text(number, "JA")
    with line.running.database.write() as connection:
        connection.execute(text("UPDATE subscriptions SET exercise = (id = 1)"))
        connection.execute(text("UPDATE audit SET run = 1"))
    return line


def announcer(line: Line) -> Announcer:
    found = line.running.app.extensions["responder"].announcer
    assert isinstance(found, Announcer)
    return found


def clock(line: Line) -> Clock:
    return line.running.clock


def begin(line: Line, name: str = "Höstövning") -> exercises.Exercise:
    return exercise.begin(line.running.database, ANNA, name, clock(line).now)


def end(line: Line) -> exercise.Ended:
    return exercise.end(line.running.database, CARL, clock(line).now)


def draft(line: Line, is_exercise: bool = False, said: str = "Hej") -> Broadcast:
    now = clock(line).now
    return announcer(line).draft(ANNA, ["everyone"], now, {"sv": said}, "sv", exercise=is_exercise)


def sent(line: Line, is_exercise: bool = False, said: str = "Hej") -> Broadcast:
    """One that is being sent: alone by danger to life, so that the limit does not matter."""
    made, now = draft(line, is_exercise, said), clock(line).now
    announcer(line).submit(ANNA, made.id, now, "Gasläcka i Farsta")
    return announcer(line).send(ANNA, made.id, now)


def state(line: Line, id: int) -> State:
    return announcer(line).show(ANNA, id, clock(line).now).broadcast.state


class TestBegin:
    def test_it_is_begun_once_by_who_may_and_noted(self, line: Line) -> None:
        for operator in (CARL, shell("root")):
            with pytest.raises(Forbidden, match="begin an exercise"):
                exercise.begin(line.running.database, operator, "Höstövning", NOW)
        begun = begin(line, "  Höstövning   2026 ")
        assert (begun.name, begun.begun_by) == ("Höstövning 2026", "anna")
        with pytest.raises(ExerciseRefused, match="Höstövning 2026 of anna goes on already"):
            begin(line, "En till")
        with line.running.database.read() as connection:
            lines = [(row.who, row.action) for row in audit_log(connection, f"exercise:{begun.id}")]
        assert lines == [("anna", "begin exercise")]

    @pytest.mark.parametrize("name", ["", "ab", " \u200bab ", "x" * 61])
    def test_its_name_is_neither_empty_nor_long(self, line: Line, name: str) -> None:
        with pytest.raises(ExerciseRefused, match="3 to 60"):
            begin(line, name)

    def test_not_while_a_real_point_is_activated(self, line: Line) -> None:
        for status in (Status.OPEN, Status.FULL, Status.ON_CALL):
            line.running.put(a_point("near", status=status, phone="08-1234567"))
            with pytest.raises(ExerciseRefused, match="activated points: Hallen near"):
                begin(line)
        line.running.put(a_point("near", status=Status.PLANNED), a_point("demo-1", name="DEMO hallen"))
        begin(line)

    def test_not_while_a_change_is_still_being_told(self, line: Line) -> None:
        line.set("near", Status.OPEN)
        line.set("near", Status.CLOSED)
        with pytest.raises(ExerciseRefused, match="a change of a point that is just being told"):
            begin(line)
        line.push()
        line.finish()
        begin(line)

    def test_not_while_something_real_may_yet_be_sent(self, line: Line) -> None:
        made, now = draft(line), clock(line).now
        announcer(line).submit(ANNA, made.id, now)
        with pytest.raises(ExerciseRefused, match=rf"broadcasts: {made.id} \(submitted\)"):
            begin(line)
        announcer(line).approve(BO, made.id, 1, now)
        with pytest.raises(ExerciseRefused, match=rf"{made.id} \(approved\)"):
            begin(line)
        announcer(line).send(ANNA, made.id, now, now + timedelta(hours=1))
        with pytest.raises(ExerciseRefused, match=rf"{made.id} \(approved\)"):
            begin(line)
        announcer(line).send(ANNA, made.id, now)
        with pytest.raises(ExerciseRefused, match=rf"{made.id} \(sending\)"):
            begin(line)
        announcer(line).pause(ANNA, made.id, now)
        with pytest.raises(ExerciseRefused, match=rf"{made.id} \(paused\)"):
            begin(line)
        announcer(line).stop(ANNA, made.id, now)
        begin(line)


class TestMeanwhile:
    def test_something_real_is_drafted_and_changed_but_neither_submitted_nor_sent_nor_corrected(
        self, line: Line
    ) -> None:
        done = sent(line)
        line.send()
        line.finish()
        begin(line)
        made, now, desk = draft(line), clock(line).now, announcer(line)
        desk.edit(ANNA, made.id, now, texts={"sv": "Hej igen"})
        for danger in ("", "Gasläcka i Farsta"):
            with pytest.raises(ExerciseGoesOn, match=f"Höstövning goes on, and broadcast {made.id} is real"):
                desk.submit(ANNA, made.id, now, danger)
        with pytest.raises(ExerciseGoesOn):
            desk.correct(ANNA, done.id, now)
        assert state(line, done.id) is State.DONE

    @pytest.mark.parametrize("was", ["submitted", "approved", "paused", "sending"])
    def test_even_if_something_real_stood_in_a_state_that_cannot_be_it_is_not_sent(self, line: Line, was: str) -> None:
        """An exercise begins only when nothing real is under way; these rules hold if it had been all the same."""
        made, now, desk = sent(line), clock(line).now, announcer(line)
        with line.running.database.write() as connection:
            connection.execute(text("UPDATE broadcasts SET state = :was WHERE id = :id"), {"was": was, "id": made.id})
            exercises.begin(connection, "Höstövning", "anna", now.timestamp())
        if was == "submitted":
            with pytest.raises(ExerciseGoesOn):
                desk.hasten(ANNA, made.id, "Gasläcka i Farsta", now)
        if was == "approved":
            for at in (None, now + timedelta(hours=1)):
                with pytest.raises(ExerciseGoesOn):
                    desk.send(ANNA, made.id, now, at)
        if was == "paused":
            with pytest.raises(ExerciseGoesOn):
                desk.resume(ANNA, made.id, now)
        assert line.service.deliverer("test").take_up("text", 10) == []
        line.send()
        assert line.states() == {"queued": 2}
        desk.stop(ANNA, made.id, now)
        assert state(line, made.id) is State.STOPPED

    def test_what_was_scheduled_is_left_with_the_reason_in_the_audit_log(self, line: Line) -> None:
        made, now, desk = draft(line), clock(line).now, announcer(line)
        desk.submit(ANNA, made.id, now, "Gasläcka i Farsta")
        desk.send(ANNA, made.id, now, now + timedelta(minutes=1))
        later = now + timedelta(minutes=1)
        with line.running.database.write() as connection:
            exercises.begin(connection, "Höstövning", "anna", now.timestamp())
            assert not desk.start_due(connection, made.id, later)
            last = audit_log(connection, f"broadcast:{made.id}")[-1]
        assert (last.who, last.action) == ("schedule", "not sent") and "nothing real is sent" in last.decision
        assert line.states() == {}

    def test_an_unknown_delivery_of_something_real_is_settled_but_not_sent_again(self, line: Line) -> None:
        sent(line)
        line.send()
        line.finish()
        with line.running.database.write() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'unknown'"))
        begin(line)
        with pytest.raises(ExerciseGoesOn):
            announcer(line).resolve(ANNA, 1, Outcome.RESEND, clock(line).now)
        announcer(line).resolve(ANNA, 1, Outcome.SENT, clock(line).now)
        assert line.states() == {"accepted": 1, "unknown": 1}

    def test_no_file_activates_a_point(self, line: Line) -> None:
        begin(line)
        database, now = line.running.database, clock(line).now
        with pytest.raises(ExerciseGoesOn, match=r"the file activates points \(p1\)"):
            load.load_points(database, write_points_file([a_point("p1")]), ZONE, now, real=False)
        planned = write_points_file([a_point("p1", status=Status.PLANNED)])
        assert load.load_points(database, planned, ZONE, now, real=False).new == 1

    def test_residents_are_answered_confirmed_and_let_go_as_ever(self, line: Line) -> None:
        begin(line)
        number = "+46701740608"
        assert "Svara JA" in line.text(number, "12347")
        assert "STOPP" in line.text(number, "JA")
        line.text(number, "STOPP")
        assert line.rows("SELECT count(*) FROM suppressions") == [(1,)]

    def test_who_asked_by_phone_to_subscribe_gets_the_text_that_was_asked_for(self, line: Line) -> None:
        begin(line)
        with line.running.database.write() as connection:
            connection.execute(
                text(
                    "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place,"
                    " serial, service, state, created_at) SELECT 1, 'agree', number_hash, number_sealed, 'text', 'sv',"
                    " '12347', 'x', '', 'queued', 0 FROM subscriptions WHERE id = 2"
                )
            )
        line.send()
        assert len(line.texts(OTHER)) == 1


class TestExerciseBroadcasts:
    def test_they_are_drafted_at_any_time_and_submitted_only_while_one_goes_on(self, line: Line) -> None:
        made, now = draft(line, True), clock(line).now
        with pytest.raises(NoExercise, match=f"broadcast {made.id} is an exercise, and none goes on"):
            announcer(line).submit(ANNA, made.id, now)
        begin(line)
        announcer(line).submit(ANNA, made.id, now)
        announcer(line).send(ANNA, made.id, now)
        line.send()
        assert (len(line.texts(MOBILE)), line.texts(OTHER)) == (1, [])
        assert line.texts(MOBILE)[0].startswith("ÖVNING") and line.texts(MOBILE)[0].endswith("ÖVNING")

    def test_the_last_look_before_a_message_leaves_sees_an_exercise_that_has_ended(self, line: Line) -> None:
        begin(line)
        made = sent(line, True)
        deliverer = line.running.app.extensions["responder"].deliverer("test")
        (ready,) = deliverer.take_up("text", 10)
        end(line)
        assert not deliverer._may_start(ready)
        with line.running.database.write() as connection:  # and so does it if only the state were wrong
            connection.execute(text("UPDATE broadcasts SET state = 'sending' WHERE id = :id"), {"id": made.id})
            connection.execute(text("UPDATE deliveries SET state = 'queued', not_before = 0"))
        line.send()
        assert line.texts(MOBILE) == []

    def test_the_last_look_sees_an_exercise_that_has_begun(self, line: Line) -> None:
        sent(line)
        deliverer = line.running.app.extensions["responder"].deliverer("test")
        ready = deliverer.take_up("text", 10)
        with line.running.database.write() as connection:
            exercises.begin(connection, "Höstövning", "anna", NOW.timestamp())
        assert [deliverer._may_start(one) for one in ready] == [False, False]
        assert line.states() == {"queued": 2}


class TestEnd:
    def test_whoever_may_stop_a_broadcast_ends_it_and_all_of_it_is_stopped_at_once(self, line: Line) -> None:
        begun, now, desk = begin(line), clock(line).now, announcer(line)
        made = {name: draft(line, True).id for name in ("draft", "submitted", "approved", "scheduled")}
        made |= {name: sent(line, True).id for name in ("sending", "paused")}
        for name in ("submitted", "approved", "scheduled"):
            desk.submit(ANNA, made[name], now, "" if name == "submitted" else "Gasläcka i Farsta")
        desk.send(ANNA, made["scheduled"], now, now + timedelta(hours=1))
        desk.pause(ANNA, made["paused"], now)
        with pytest.raises(Forbidden):
            exercise.end(line.running.database, Operator("ron", Role.REPORTER, ("Farsta",)), now)
        ended = end(line)
        assert set(ended.stopped) == set(made.values()) - {made["draft"]}
        assert {name for name, id in made.items() if state(line, id) is State.STOPPED} == set(made) - {"draft"}
        assert line.states() == {"stopped": 2}
        assert line.rows("SELECT count(*) FROM due WHERE job LIKE 'send:%' AND done_at IS NULL") == [(0,)]
        with line.running.database.read() as connection:
            lines = [(row.who, row.action) for row in audit_log(connection, f"exercise:{begun.id}")]
            assert lines == [("anna", "begin exercise"), ("carl", "end exercise")]
            assert audit_log(connection, f"broadcast:{made['sending']}")[-1].action == "stop"

    def test_what_had_gone_out_but_may_come_back_is_not_tried_again_in_the_next_one(self, line: Line) -> None:
        begin(line)
        made = sent(line, True)
        line.send()
        with line.running.database.write() as connection:
            finish(connection, NOW.timestamp())
            connection.execute(text("UPDATE deliveries SET state = 'accepted'"))
        assert state(line, made.id) is State.DONE
        assert end(line).stopped == (made.id,)

    def test_what_is_real_and_was_sent_before_it_is_left_alone(self, line: Line) -> None:
        made = sent(line)
        line.send()
        line.finish()
        with line.running.database.write() as connection:  # and may yet be tried again
            connection.execute(text("UPDATE deliveries SET state = 'accepted'"))
        begin(line)
        assert end(line).stopped == () and state(line, made.id) is State.DONE

    def test_it_forgets_what_the_points_were(self, line: Line) -> None:
        begin(line)
        with line.running.database.write() as connection:
            exercises.save_played(connection, [a_point("near")], {"near": 1})
        end(line)
        with line.running.database.read() as connection:
            assert exercises.played(connection) == {}

    def test_it_ends_once_and_only_the_one_that_was_meant(self, line: Line) -> None:
        begun = begin(line)
        with pytest.raises(ExerciseRefused, match="is over"):
            exercise.end(line.running.database, CARL, NOW, begun.id + 1)
        end(line)
        with pytest.raises(ExerciseRefused, match="is over"):
            end(line)
        assert begin(line, "En till").id != begun.id
        past = exercise.past(line.running.database, CARL, 10)
        assert [(one.name, one.ended_by) for one in past] == [("Höstövning", "carl")]
        assert exercise.current(line.running.database, replace(CARL, role=Role.VIEWER)).name == "En till"  # type: ignore[union-attr]

    def test_real_broadcasts_are_sent_again_afterwards(self, line: Line) -> None:
        begin(line)
        made = draft(line)
        end(line)
        announcer(line).submit(ANNA, made.id, NOW, "Gasläcka i Farsta")
        announcer(line).send(ANNA, made.id, NOW)
        line.send()
        assert len(line.texts(OTHER)) == 1

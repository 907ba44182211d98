"""Begin and end an exercise. While one goes on nothing real is sent; when it ends nothing of it is left.

Each is one transaction with its line in the audit log.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.broadcast import Broadcast, Step, after, job
from responder.core.exercise import UNDER_WAY, ExerciseRefused, checked_name, real_things
from responder.core.points import ACTIVATED
from responder.store import broadcasts, exercises, outbox
from responder.store.engine import Database
from responder.store.exercises import Exercise
from responder.store.pushes import is_untold
from responder.store.queries import read_points


@dataclass(frozen=True, slots=True)
class Ended:
    """An exercise that is over, and the ids of its broadcasts that were stopped with it."""

    exercise: Exercise
    stopped: tuple[int, ...]


def begin(database: Database, operator: Operator, name: str, now: datetime) -> Exercise:
    """Begin the exercise `name`. Raises ExerciseRefused, naming what is real and under way; Forbidden, StoreAway."""
    require(operator, Permission.EXERCISE)
    name = checked_name(name)
    with database.write() as connection:
        going = exercises.current(connection)
        if going:
            raise ExerciseRefused(
                "the exercise {name} of {who} goes on already; end it first", name=going.name, who=going.begun_by
            )
        # made-up points are not real: a demo can be exercised too
        active = [p.name for p, _ in read_points(connection) if p.status in ACTIVATED and not p.demo]
        sending = [one for one in broadcasts.read_under_way(connection, UNDER_WAY) if not one.exercise]
        real = real_things(active, sending, is_untold(connection, now.timestamp()))
        if real:
            raise ExerciseRefused("no exercise can begin while something real goes on: {real}", real=real)
        exercises.begin(connection, name, operator.name, now.timestamp())
        begun = exercises.current(connection)
        assert begun is not None
        _note(connection, operator, "begin exercise", begun, now)
        return begun


def end(database: Database, operator: Operator, now: datetime, id: int | None = None) -> Ended:
    """End the exercise that goes on (`id`: only that one), stop all that it sends, and forget what points were in it.

    Raises ExerciseRefused, Forbidden, StoreAway.
    """
    require(operator, Permission.SEND)
    with database.write() as connection:
        going = exercises.current(connection)
        if going is None or id not in (None, going.id):
            raise ExerciseRefused("this exercise is over; nothing needs doing")
        stopped = tuple(_stop(connection, operator, one, now) for one in _unfinished(connection))
        outbox.empty_stopped(connection, now.timestamp())
        exercises.end(connection, going.id, operator.name, now.timestamp())
        over = replace(going, ended_by=operator.name, ended_at=now.timestamp())
        _note(connection, operator, "end exercise", over, now)
    return Ended(over, stopped)


def current(database: Database, operator: Operator) -> Exercise | None:
    """The one that goes on."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return exercises.current(connection)


def past(database: Database, operator: Operator, most: int) -> list[Exercise]:
    """The newest that have ended."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return exercises.past(connection, most)


def _unfinished(connection: Connection) -> list[Broadcast]:
    """Exercise broadcasts of which something may yet be sent, also as another attempt."""
    under_way = [one for one in broadcasts.read_under_way(connection, UNDER_WAY) if one.exercise]
    return [*under_way, *broadcasts.read_retriable(connection)]


def _stop(connection: Connection, operator: Operator, was: Broadcast, now: datetime) -> int:
    broadcasts.drop_due(connection, job(was.id), now.timestamp())
    new = replace(was, state=after(was.state, Step.STOP), finished_at=now.timestamp())
    broadcasts.change_broadcast(connection, operator.name, Step.STOP, was, new, now)
    return was.id


def _note(connection: Connection, operator: Operator, action: str, exercise: Exercise, now: datetime) -> None:
    said = json.dumps({"name": exercise.name, "begun_by": exercise.begun_by}, ensure_ascii=False)
    broadcasts.add_line(connection, now, operator.name, action, f"exercise:{exercise.id}", "", said)

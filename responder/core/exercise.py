"""What an exercise allows: while one goes on nothing real is sent, and nothing of an exercise is sent outside one."""

from collections.abc import Sequence

from responder.core.broadcast import Broadcast, BroadcastError, State
from responder.core.problem import Phrase, Problem
from responder.core.words import clean

SHORTEST, LONGEST = 3, 60  # characters of a name
UNDER_WAY = (State.SUBMITTED, State.APPROVED, State.SENDING, State.PAUSED)  # something may yet be sent


class ExerciseRefused(Problem):
    """An exercise that cannot begin or end now. Nothing was changed."""


class ExerciseGoesOn(BroadcastError):
    """Something real that must wait until the exercise has ended."""


class NoExercise(BroadcastError):
    """Something of an exercise, while none goes on."""


def checked_name(name: str) -> str:
    """The name without odd characters. Raises ExerciseRefused."""
    name = clean(name)
    if not SHORTEST <= len(name) <= LONGEST:
        raise ExerciseRefused(
            "the name has {count} characters; give it one of {least} to {most}",
            count=len(name),
            least=SHORTEST,
            most=LONGEST,
        )
    return name


def fits(broadcast: Broadcast, going_on: str) -> None:
    """Raise ExerciseGoesOn or NoExercise if `broadcast` may not be sent now; `going_on`: the exercise's name, or ""."""
    if broadcast.exercise and not going_on:
        raise NoExercise("broadcast {id} is an exercise, and none goes on; begin one first", id=broadcast.id)
    if going_on and not broadcast.exercise:
        raise ExerciseGoesOn(
            "the exercise {name} goes on, and broadcast {id} is real: nothing real is sent until somebody ends the "
            "exercise",
            name=going_on,
            id=broadcast.id,
        )


def real_things(points: Sequence[str], broadcasts: Sequence[Broadcast], untold: bool) -> list[Phrase]:
    """What is real and keeps an exercise from beginning: activated `points`, `broadcasts` that may yet be sent, and
    changes of points that residents have not been told of.
    """
    found = []
    if points:
        found.append(Phrase("activated points: {points}", points=_some(points)))
    if broadcasts:
        states = [Phrase("{id} ({state})", id=one.id, state=one.state) for one in broadcasts]
        found.append(Phrase("broadcasts: {broadcasts}", broadcasts=_some(states)))
    if untold:
        found.append(Phrase("a change of a point that is just being told; wait a minute"))
    return found


def _some(things: Sequence[object]) -> list[object]:
    return [*things[:5], *(["..."] if len(things) > 5 else [])]

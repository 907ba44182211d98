"""Through which gateway a message goes, and what happens if its way is down.

1. The first gateway that works, in the order of GATEWAY, takes all that is bound to none. The others wait for it to
   fail: they cost more, or are slower, and a resident should see one number as long as that can be.
2. What a turn asked for goes back the way it came. Who wrote to the modem may have nothing else: the modem's number is
   the one that they know, and that they can answer to.
3. A closed door never waits for a way. Who is told too late walks to it; who is told from another number does not. So
   it takes its way back only if that works just now, and has room within seconds.
4. A reply waits for its way for WAIT seconds: an outage that is over by then was not worth a second number. After that
   any reply is better than none.
5. What an operator has said goes before what we have seen: a gateway that is off is not used, and one that alone shall
   be used is, for better or worse.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from responder.core.health import State

WAIT = 120.0  # seconds for which a reply waits for the way it came
SOON = 20.0  # seconds for which a closed door does
USUAL_SEGMENTS = 1.5  # of a text, as long as none has been sent that could be measured


class Mode(StrEnum):
    """What operators have said about a gateway."""

    AUTO = "auto"
    OFF = "off"
    ONLY = "only"


def allowed(names: Sequence[str], modes: Mapping[str, str]) -> list[str]:
    """Those of `names` that operators let us use, in the same order."""
    only = [name for name in names if modes.get(name) == Mode.ONLY]
    return only or [
        name for name in names if modes.get(name, Mode.AUTO) == Mode.AUTO and Mode.ONLY not in modes.values()
    ]


def chosen(names: Sequence[str], modes: Mapping[str, str], working: Collection[str]) -> str:
    """The gateway that takes what is bound to none: the first that is allowed and works; "" if none does."""
    return next((name for name in allowed(names, modes) if name in working), "")


def works(state: str) -> bool:
    """Whether a gateway in a state is given messages."""
    return state in (State.UP, State.SUSPECT)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Texts that wait at a priority, and seconds until the last of them has gone, after everything before it."""

    priority: int
    texts: int
    seconds: float


def finish(queues: Mapping[int, int], segments: float, rate: float) -> list[Waiting]:
    """When `queues` (priority to texts) of so many segments each are empty, at `rate` segments a second."""
    found: list[Waiting] = []
    before = 0
    for priority, texts in sorted(queues.items()):
        before += texts
        found.append(Waiting(priority, texts, before * segments / rate))
    return found

"""Looking around: what operators say about gateways, how others find them, and whether one that was down is back."""

import asyncio
from time import monotonic
from typing import Any

from responder.actions.deliver.base import Base
from responder.core.health import State
from responder.core.ways import works
from responder.store import gateways

LOOK_EVERY = 1.0  # seconds between two looks at what operators say, and at what is unclear
REPORT_EVERY = 3.0


class LookingAround(Base):
    """The part that knows which gateways there are."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._asking: set[asyncio.Task[None]] = set()
        self._looked_at = self._reported_at = float("-inf")
        self._reported: dict[str, State] = {}

    def _look_around(self) -> None:
        """What operators say, and what works at other processes."""
        if monotonic() - self._looked_at < LOOK_EVERY:
            return
        stamp = self._clock().timestamp()
        with self._db.read() as connection:
            self._ways.modes = gateways.modes(connection)
            found = gateways.reported(connection, stamp)
        if self._looked_at < 0:
            self._ways.believe(found, self._owner, monotonic())
        here = self._ways.senders
        self._ways.elsewhere = tuple({one.name for one in found if one.name not in here and works(one.state)})
        self._looked_at = monotonic()

    def ask_about(self) -> None:
        """Begin to ask gateways that are down whether they are there again."""
        for name in self._ways.to_ask(monotonic()):
            task = asyncio.get_running_loop().create_task(self._ask(name))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, name: str) -> None:
        await self._ways.ask(name, monotonic(), self._clock())

    def report(self) -> None:
        """Tell others how the gateways do: now and then, and when that has changed. Raises StoreAway."""
        states = {name: health.state for name, health in self._ways.health.items()}
        if states == self._reported and monotonic() - self._reported_at < REPORT_EVERY:
            return
        found = self._ways.found(self._owner, monotonic(), self._clock().timestamp())
        with self._db.write(alone=False) as connection:
            gateways.report(connection, found)
        self._reported_at, self._reported = monotonic(), states

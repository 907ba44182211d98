"""What the desk needs from others: who changes points and who sends broadcasts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.engine import Connection

from responder.core.access import Operator
from responder.core.broadcast import Broadcast, Shown, Template
from responder.core.estimate import Counts
from responder.core.points import Point, Standing, Status
from responder.store.desk import Host
from responder.store.snapshot import View


class Foreseen(Protocol):
    """What a change would do: the point then, the version that was looked at, what residents read by language, and how
    many messages it makes.
    """

    @property
    def after(self) -> Point: ...
    @property
    def becomes(self) -> Standing: ...
    @property
    def version(self) -> int: ...
    @property
    def texts(self) -> Mapping[str, str]: ...
    @property
    def hear(self) -> int: ...
    @property
    def exercise(self) -> bool: ...


class Points(Protocol):
    """Changes points. Everything raises Problem, Meanwhile or StoreAway."""

    def foresee(self, view: View, id: str, status: Status, closes: str, operator: Operator, now: datetime) -> Foreseen:
        """What setting the point would do; `closes` is "20:00" or ""."""
        ...

    def change(
        self, connection: Connection, id: str, status: Status, closes: str, operator: Operator, now: datetime,
        decision: str, seen: int,
    ) -> Point:  # fmt: skip
        """Set the point, if it is as it was `seen`."""
        ...

    def put(
        self, connection: Connection, id: str, status: Status, opens: str, closes: str, operator: Operator,
        now: datetime, decision: str, seen: int,
    ) -> Point:  # fmt: skip
        """Set the point with exactly these times, ISO 8601 or ""; none that has passed."""
        ...

    def confirm(
        self, connection: Connection, id: str, operator: Operator, now: datetime, decision: str, seen: int
    ) -> Point:
        """It is still what it is said to be."""
        ...


class Questions(Protocol):
    """Asks hosts."""

    def ask_host(self, connection: Connection, host: Host, point: Point, version: int, now: datetime) -> None:
        """A question to `host` with digits of its own, by text, in the caller's transaction."""
        ...


class Broadcasts(Protocol):
    """Sends broadcasts. Everything raises Problem or StoreAway; `how` is written down."""

    def foresee(
        self, operator: Operator, template: Template, to: Sequence[str], now: datetime
    ) -> tuple[Broadcast, Counts]:
        """(what would be submitted, whom it would reach)."""
        ...

    def order(
        self, connection: Connection, operator: Operator, template: Template, to: Sequence[str], counts: Counts,
        now: datetime, how: str, shown: Shown,
    ) -> Broadcast:  # fmt: skip
        """Submit what was `shown`; it waits for a second person. Raises Meanwhile if it would be another by now."""
        ...

    def waiting(self, operator: Operator, id: int) -> tuple[Broadcast, int]:
        """(what waits for a second person, how many it reaches)."""
        ...

    def approve_and_send(
        self, connection: Connection, operator: Operator, id: int, version: int, now: datetime, how: str
    ) -> Broadcast:
        """Approve that version and send it."""
        ...

    def stoppable(self, operator: Operator, id: int) -> Broadcast:
        """What would be stopped."""
        ...

    def stop_in(
        self, connection: Connection, operator: Operator, id: int, version: int, now: datetime, how: str
    ) -> Broadcast:
        """Stop that version. Raises Meanwhile if it is another by now."""
        ...

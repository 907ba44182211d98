"""How broadcasts stand: what operators look at, and nothing that changes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from responder.core.access import Operator, Permission, require
from responder.core.broadcast import Broadcast, State, existing, objection, subject
from responder.core.problem import Phrase
from responder.core.told import entries
from responder.store import broadcasts as store
from responder.store.accounts import creators
from responder.store.engine import Database
from responder.store.queries import audit_log, read_points
from responder.store.tables import AuditRow

MINUTE = 60.0
UNDER_WAY = (State.SENDING, State.PAUSED)


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a broadcast is: deliveries by state, how many a second have left lately (None: none has), and after how
    many seconds the rest has gone too at that rate.
    """

    states: Mapping[str, int]
    total: int
    over: int
    rate: float | None
    left: float | None


@dataclass(frozen=True)
class Tracker:
    """Looks at broadcasts. Everything raises NoSuchBroadcast, Forbidden or StoreAway."""

    database: Database

    def read(self, operator: Operator, id: int) -> Broadcast:
        """One of them, as it stands."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            return existing(store.read_broadcast(connection, id), id)

    def objection(self, operator: Operator, broadcast: Broadcast) -> Phrase | None:
        """Why `operator` may not approve it as it is; None if they may."""
        with self.database.read() as connection:
            created = creators(connection)
        return objection(operator, broadcast.writers, created, broadcast.version, broadcast.version)

    def history(self, operator: Operator, id: int) -> list[AuditRow]:
        """What was done to a broadcast and by whom, oldest first."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            return audit_log(connection, subject(id))

    def tells(self, operator: Operator, id: int) -> list[tuple[str, str, int]]:
        """(point, state, how many hear of it) that a push of changes tells; the point is "" where no point is left."""
        require(operator, Permission.VIEW)
        found: dict[tuple[str, str], int] = {}
        with self.database.read() as connection:
            names = {point.id: point.name for point, _ in read_points(connection)}
            for key, number in store.targets(connection, id).items():
                for point, state in [(e.point, e.state) for e in entries(key)] or [("", "")]:
                    about = (names.get(point, point), state)
                    found[about] = found.get(about, 0) + number
        return [(*about, number) for about, number in sorted(found.items(), key=lambda item: -item[1])]

    def progress(self, operator: Operator, id: int, now: datetime) -> tuple[Broadcast, Pace]:
        """How far it is, at the rate that was measured over the last minute."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            found = existing(store.read_broadcast(connection, id), id)
            states = store.progress(connection, id)
            span = min(MINUTE, max(1.0, now.timestamp() - (found.started_at or found.created_at)))
            moved = 0
            if found.state in UNDER_WAY:
                moved = store.moved_since(connection, id, now.timestamp() - span)
        total, over = sum(states.values()), _over(states)
        rate = moved / span if moved else None
        left = (total - over) / rate if rate and found.state is State.SENDING else None
        return found, Pace(states, total, over, rate, left)

    def under_way(self, operator: Operator, most: int) -> list[tuple[Broadcast, int, int]]:
        """(broadcast, deliveries, of them gone or over) of what is being sent or paused: the newest `most`."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            found = store.read_under_way(connection, UNDER_WAY)[::-1][:most]
            states = store.progress_of(connection, [one.id for one in found]) if found else {}
        return [(one, sum(states[one.id].values()), _over(states[one.id])) for one in found]

    def corrections(self, operator: Operator) -> Mapping[int, int]:
        """Broadcast to the newest one that corrects it."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            return store.corrections(connection)

    def newest(self, operator: Operator, most: int, state: str = "") -> list[Broadcast]:
        """The newest `most`, in one state or in any."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            return store.read_broadcasts(connection, most, state)

    def deliveries(self, operator: Operator, state: str, broadcast: int | None, most: int) -> Sequence[store.Delivery]:
        """The first `most` deliveries in `state`."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            return store.read_deliveries(connection, state, broadcast, most)


def _over(states: Mapping[str, int]) -> int:
    """Deliveries that have left us or are over: made is not sent."""
    return sum(number for state, number in states.items() if state not in ("queued", "sending", "unknown"))

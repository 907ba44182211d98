"""What monitoring asks of the database: few rows, all by an index, however much has been sent. Nothing here decides.

Times are seconds since 1970, UTC.
"""

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.ways import works
from responder.store.gateways import modes, reported
from responder.store.meter import SPEND
from responder.store.outbox import sending
from responder.store.restored import is_held
from responder.store.schedule import DAY, FOREVER, LEASE, leader, usage
from responder.store.tables import UNKNOWN

CHANNELS = ("text", "call")
COUNTED = 100_000  # deliveries of a broadcast and channel that are counted at most
_QUEUED = "broadcast_id = :broadcast AND channel = :channel AND state = 'queued'"
_IN_HAND = "state = 'sending' AND state IN ('sending', 'unknown') AND lease_until >= 0"

DEPTH = f"SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE {_QUEUED} LIMIT {COUNTED}) q"
NEXT = f"SELECT created_at, not_before FROM deliveries WHERE {_QUEUED} ORDER BY not_before, id LIMIT 1"
HELD = (
    f"SELECT (SELECT count(*) FROM deliveries WHERE {_IN_HAND}), (SELECT count(*) FROM deliveries WHERE {UNKNOWN}),"
    " (SELECT count(*) FROM broadcasts WHERE state = 'submitted'),"
    " (SELECT min(submitted_at) FROM broadcasts WHERE state = 'submitted'),"
    " (SELECT min(at) FROM due WHERE done_at IS NULL AND at <= :now)"
)


@dataclass(slots=True)
class Queue:
    """What waits to be sent: how many (up to COUNTED a broadcast), and since when the first could have gone."""

    depth: int = 0
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Gauges:
    """How it stands: queues by (priority, channel), deliveries in hand and unclear, broadcasts that wait for approval
    and since when, since when something is due, until when somebody leads (None: nobody), and what this day has cost.
    """

    sending: int
    unknown: int
    submitted: int
    submitted_since: float | None
    due_since: float | None
    leads_until: float | None
    spent: float
    queues: dict[tuple[int, str], Queue] = field(default_factory=dict)
    held: bool = False  # since a restore, until somebody releases it
    gateways: dict[str, bool] = field(default_factory=dict)  # whether a process that looked lately finds that it works
    modes: dict[str, str] = field(default_factory=dict)  # what operators have said about them

    @property
    def work_since(self) -> float | None:
        """Since when something waits for whoever leads; None if nothing does."""
        return min(
            (t for t in (self.due_since, *(q.since for q in self.queues.values())) if t is not None), default=None
        )


def read_gauges(connection: Connection, now: float) -> Gauges:
    """How it stands now."""
    held = connection.execute(text(HELD), {"now": now}).one()
    lease = leader(connection, LEASE)
    queues: dict[tuple[int, str], Queue] = {}
    for broadcast in sending(connection):
        for channel in CHANNELS:
            values = {"broadcast": broadcast.id, "channel": channel}
            first = connection.execute(text(NEXT), values).one_or_none()
            if first is None:
                continue
            queue = queues.setdefault((broadcast.priority, channel), Queue())
            queue.depth += int(connection.execute(text(DEPTH), values).scalar_one())
            since = max(first.created_at, first.not_before)
            if since <= now:
                queue.since = min(since, queue.since) if queue.since is not None else since
    leads_until = lease[1] if lease and now < lease[1] < FOREVER else None
    spent = usage(connection, SPEND, int(now // DAY))[1]
    found: dict[str, bool] = {}
    for one in reported(connection, now):
        found[one.name] = found.get(one.name, False) or works(one.state)
    return Gauges(
        held[0], held[1], held[2], held[3], held[4], leads_until, spent, queues, is_held(connection), found,
        modes(connection),
    )  # fmt: skip


def takes_writes(connection: Connection, sqlite: bool) -> bool:
    """Whether the server takes writes at all; a file is looked at on its disk."""
    if sqlite:
        return True
    sql = "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"
    return bool(connection.execute(text(sql)).scalar_one())

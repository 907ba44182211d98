"""What operators have said about gateways, how each process finds them, and what waits for them. Nothing here decides.

Each function is a part of the caller's transaction. Times are seconds since 1970, UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.store.outbox import sending
from responder.store.schedule import DAY, usages

FRESH = 20.0  # seconds for which what a process found is true
KEPT = 86_400.0
COUNTED = 100_000  # deliveries of a broadcast that are counted at most
SENT_LATELY = 200  # texts whose segments are averaged


@dataclass(frozen=True, slots=True)
class Said:
    """What an operator has said about a gateway."""

    name: str
    mode: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class Found:
    """How a process `owner` finds a gateway: see core.health. `last_success`: 0 for none."""

    name: str
    owner: str
    state: str
    failed: float
    latency: float
    last_success: float
    at: float


def said(connection: Connection) -> dict[str, Said]:
    """What operators have said, by gateway."""
    rows = connection.execute(text("SELECT name, mode, who, at FROM gateways"))
    return {row.name: Said(*row) for row in rows}


def modes(connection: Connection) -> dict[str, str]:
    """Gateway to mode, of those that operators have said anything about."""
    return {name: one.mode for name, one in said(connection).items()}


def say(connection: Connection, name: str, mode: str, who: str, now: float) -> None:
    """An operator says so about a gateway."""
    sql = (
        "INSERT INTO gateways (name, mode, who, at) VALUES (:name, :mode, :who, :now) ON CONFLICT (name) DO UPDATE SET"
        " mode = excluded.mode, who = excluded.who, at = excluded.at"
    )
    connection.execute(text(sql), {"name": name, "mode": mode, "who": who, "now": now})


def report(connection: Connection, found: Iterable[Found]) -> None:
    """What a process finds now; what nobody has renewed for long is forgotten."""
    rows = [
        {
            "name": one.name, "owner": one.owner, "state": one.state, "failed": one.failed, "latency": one.latency,
            "last_success": one.last_success, "at": one.at,
        }
        for one in found
    ]  # fmt: skip
    if not rows:
        return
    sql = (
        "INSERT INTO gateway_health (name, owner, state, failed, latency, last_success, at) VALUES (:name, :owner,"
        " :state, :failed, :latency, :last_success, :at) ON CONFLICT (name, owner) DO UPDATE SET"
        " state = excluded.state, failed = excluded.failed, latency = excluded.latency,"
        " last_success = excluded.last_success, at = excluded.at"
    )
    connection.execute(text(sql), rows)
    old = {"before": rows[0]["at"] - KEPT}  # type: ignore[operator]
    connection.execute(text("DELETE FROM gateway_health WHERE at < :before"), old)


def reported(connection: Connection, now: float) -> list[Found]:
    """What the processes that are there find just now."""
    sql = text(
        "SELECT name, owner, state, failed, latency, last_success, at FROM gateway_health"
        " WHERE at > :fresh AND at <= :ahead ORDER BY name, owner"
    )
    return [Found(*row) for row in connection.execute(sql, {"fresh": now - FRESH, "ahead": now + FRESH})]


def used(connection: Connection, names: Iterable[str], now: float) -> dict[str, tuple[int, float]]:
    """Gateway to (messages, cost) of this day, of those that sent any."""
    found = usages(connection, (scope(name) for name in names), int(now // DAY))
    return {name.removeprefix(_SCOPE): count for name, count in found.items()}


def scope(gateway: str) -> str:
    """What a gateway's messages are counted under."""
    return f"{_SCOPE}{gateway}"


_SCOPE = "g:"


def queues(connection: Connection) -> dict[int, int]:
    """Priority to how many texts wait now, of at most COUNTED a broadcast; calls are others' to make."""
    sql = text(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE broadcast_id = :id AND channel = 'text'"
        f" AND state = 'queued' LIMIT {COUNTED}) q"
    )
    found: dict[int, int] = {}
    for broadcast in sending(connection):
        if waiting := int(connection.execute(sql, {"id": broadcast.id}).scalar_one()):
            found[broadcast.priority] = found.get(broadcast.priority, 0) + waiting
    return found


def segments_lately(connection: Connection, since: float) -> float | None:
    """Segments a text, of the newest that were taken up after `since`; None if there were none."""
    sql = text(
        "SELECT avg(segments) FROM (SELECT segments FROM deliveries WHERE claimed_at > :since AND claimed_at > 0"
        f" AND channel = 'text' AND segments > 0 ORDER BY claimed_at DESC LIMIT {SENT_LATELY}) newest"
    )
    found = connection.execute(sql, {"since": since}).scalar()
    return float(found) if found is not None else None

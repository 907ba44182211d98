"""What the jobs process works from: what is due, who leads, and what has been used of the day's caps.

Times are seconds since 1970, UTC. Nothing here reads a clock.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.store.tables import many

PUSH = "push"  # look at whose answer has changed, once the change has settled
SLOT = "slot"  # housekeeping, every quarter of an hour
LEASE = "jobs"  # whoever holds it does the jobs
SENDER = "sender:"  # and its name: a process that sends
FOREVER = 253_402_300_799.0  # the end of the year 9999: a lease that nobody takes over
_FORGOTTEN = 600  # seconds after which a sender that is gone is not kept any more
DAY, HOUR = 86_400, 3_600
SLOT_SECONDS = 900
AHEAD = 30.0  # seconds by which a clock of ours may be ahead of another


def add_due(connection: Connection, job: str, moments: Iterable[float]) -> None:
    """Make `job` due at each of `moments`, once each."""
    rows = [{"job": job, "at": at} for at in sorted(moments)]
    if rows:
        connection.execute(text("INSERT INTO due (job, at) VALUES (:job, :at) ON CONFLICT DO NOTHING"), rows)


def due(connection: Connection, until: float) -> list[tuple[str, float]]:
    """(job, at) of everything that is due by `until` and not done, oldest first."""
    sql = text("SELECT job, at FROM due WHERE done_at IS NULL AND at <= :until ORDER BY at, job")
    return [(row.job, row.at) for row in connection.execute(sql, {"until": until})]


def done(connection: Connection, jobs: Iterable[tuple[str, float]], now: float) -> int:
    """Mark (job, at) as done; how many were not before."""
    sql = text("UPDATE due SET done_at = :now WHERE job = :job AND at = :at AND done_at IS NULL")
    rows = [{"job": job, "at": at, "now": now} for job, at in jobs]
    return connection.execute(sql, rows).rowcount if rows else 0


def missing_slots(connection: Connection, now: float) -> int:
    """Make every quarter of an hour due up to `now` that is not yet; how many. The first time only the newest."""
    newest = int(now // SLOT_SECONDS) * SLOT_SECONDS
    connection.execute(  # of a clock that was ahead
        text("DELETE FROM due WHERE job = :job AND at > :newest"), {"job": SLOT, "newest": newest}
    )
    last = connection.execute(text("SELECT max(at) FROM due WHERE job = :job"), {"job": SLOT}).scalar()
    first = int(last) + SLOT_SECONDS if last is not None else newest
    moments = range(first, newest + 1, SLOT_SECONDS)
    add_due(connection, SLOT, map(float, moments))
    return len(moments)


def lead(connection: Connection, name: str, owner: str, now: float, seconds: float) -> bool:
    """Whether `owner` holds the lease `name` for the next `seconds`: it had it, or nobody has it now; or it runs for
    longer than any lease does, and is of a clock that was ahead.
    """
    sql = text(
        "INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :until) ON CONFLICT (name) DO UPDATE SET"
        " owner = excluded.owner, until = excluded.until WHERE leases.owner = :owner OR leases.until <= :now"
        " OR (leases.until > :ahead AND leases.until < :forever)"
    )
    values = {"name": name, "owner": owner, "until": now + seconds, "now": now, "ahead": now + seconds + AHEAD}
    values["forever"] = FOREVER
    return connection.execute(sql, values).rowcount > 0


def join(connection: Connection, owner: str, now: float, seconds: float, name: str = SENDER) -> int:
    """`owner` sends for the next `seconds`, or by the gateway that `name` stands for; how many do just now: 0 while a
    restore holds back what is sent.
    """
    held = leader(connection, LEASE)
    if held and held[1] >= FOREVER:
        return 0
    lead(connection, name + owner, owner, now, seconds)
    gone = text("DELETE FROM leases WHERE name LIKE :senders AND until < :before")
    connection.execute(gone, {"senders": f"{name}%", "before": now - _FORGOTTEN})
    alive = text("SELECT count(*) FROM leases WHERE name LIKE :senders AND until > :now AND until <= :ahead")
    values = {"senders": f"{name}%", "now": now, "ahead": now + seconds + AHEAD}
    return int(connection.execute(alive, values).scalar_one())


def resign(connection: Connection, name: str, owner: str) -> None:
    """Let go of the lease `name` if `owner` holds it."""
    connection.execute(text("DELETE FROM leases WHERE name = :name AND owner = :owner"), {"name": name, "owner": owner})


def leader(connection: Connection, name: str) -> tuple[str, float] | None:
    """(owner, until) of the lease `name`, or None if there never was one."""
    row = connection.execute(text("SELECT owner, until FROM leases WHERE name = :name"), {"name": name}).one_or_none()
    return (row.owner, row.until) if row else None


ADD_USAGE = (
    "INSERT INTO usage (scope, span, count, cost) VALUES {rows} ON CONFLICT (scope, span) DO UPDATE SET"
    " count = usage.count + excluded.count, cost = usage.cost + excluded.cost"
)
Usage = Mapping[tuple[str, int], tuple[int, float]]  # (scope, span): (count, cost)


def add_usage(connection: Connection, used: Usage) -> None:
    """Add to the counts and costs."""
    if not used:
        return
    add = text(ADD_USAGE.format(rows="(:scope, :span, :count, :cost)"))
    rows: list[dict[str, Any]] = [
        {"scope": scope, "span": span, "count": count, "cost": cost}
        for (scope, span), (count, cost) in sorted(used.items())  # in one order, so that no two wait for each other
    ]
    connection.execute(add, rows)


def usage(connection: Connection, scope: str, span: int) -> tuple[int, float]:
    """(count, cost) of a scope in a span."""
    sql = text("SELECT count, cost FROM usage WHERE scope = :scope AND span = :span")
    row = connection.execute(sql, {"scope": scope, "span": span}).one_or_none()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def usages(connection: Connection, scopes: Iterable[str], span: int) -> dict[str, tuple[int, float]]:
    """Scope to (count, cost) in a span, of those that have any."""
    sql = text("SELECT scope, count, cost FROM usage WHERE span = :span AND scope IN :scopes")
    sql = sql.bindparams(many("scopes", str))
    wanted = list(scopes)
    return {
        row[0]: (int(row[1]), float(row[2]))
        for start in range(0, len(wanted), 500)
        for row in connection.execute(sql, {"span": span, "scopes": wanted[start : start + 500]})
    }


def purge_schedule(connection: Connection, before: float) -> None:
    """Delete what was done, and used, before `before`; the newest slot stays, so that none is made twice."""
    newest = connection.execute(text("SELECT max(at) FROM due WHERE job = :job"), {"job": SLOT}).scalar() or 0.0
    values = {"before": before, "day": int(before // DAY), "hour": int(before // HOUR), "newest": newest}
    connection.execute(text("DELETE FROM due WHERE done_at < :before AND at < :newest"), values)
    connection.execute(text("DELETE FROM usage WHERE scope LIKE 'p:%' AND span < :hour"), values)
    connection.execute(text("DELETE FROM usage WHERE scope NOT LIKE 'p:%' AND span < :day"), values)

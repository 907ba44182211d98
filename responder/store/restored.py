"""What a database that comes from a backup must not do by itself: the world has gone on since it was taken.

What waited then has mostly been sent since, and what was decided since is not known. So nothing is sent and nothing
pushed until a person says so, and what may have been sent is never sent again unless a person decides that: broadcasts
that were going out are paused, what had a time has none, and of what was in hand nobody knows. The ids that the lost
time gave out are left out, so that a late receipt speaks of no other message.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection

from responder.core.broadcast import Broadcast, State, Step, after, job
from responder.store.broadcasts import add_line, change_broadcast, drop_due, read_under_way
from responder.store.schedule import FOREVER, LEASE, leader
from responder.store.sequences import NEVER_TWICE, read_sequences, set_sequences
from responder.store.tables import AuditRow, TurnRow

HELD = "nobody (held since the restore, until `responder release`)"  # whoever holds the jobs' lease then
IDS_LEFT_OUT = 10_000_000
COUNTS_LEFT_OUT = 1_000_000  # of the counters by which processes see that points and places have changed
SUBJECT = "database:restore"
WHY = "restored from a backup: it may have been sent since"


@dataclass(frozen=True, slots=True)
class Held:
    """What was held back: ids of broadcasts, how many deliveries nobody knows of now, and what else to look at.
    `knows_until`: seconds since 1970, the newest thing that the backup knows of (0: nothing).
    """

    knows_until: float
    paused: tuple[int, ...]
    unscheduled: tuple[int, ...]
    waiting: tuple[int, ...]  # for a second person, or to be sent by hand
    unknown: int
    sessions: int
    invitations: tuple[str, ...]
    exercise: str


def hold(connection: Connection, now: datetime, who: str) -> Held:
    """Hold everything back, with lines in the audit log. A part of the caller's transaction."""
    stamp = now.timestamp()
    knows_until = _newest(connection)
    paused = [_paused(connection, one, now, who) for one in _going_out(connection)]
    unscheduled = [_unscheduled(connection, one, now, who) for one in _with_a_time(connection)]
    unknown = connection.execute(text(_NOBODY_KNOWS)).rowcount
    held = Held(
        knows_until=knows_until,
        paused=tuple(paused),
        unscheduled=tuple(unscheduled),
        waiting=tuple(
            one.id for one in read_under_way(connection, (State.SUBMITTED, State.APPROVED)) if one.id not in unscheduled
        ),
        unknown=unknown,
        sessions=connection.execute(text(_END_SESSIONS), {"now": stamp}).rowcount,
        invitations=tuple(sorted(connection.execute(text(_INVITED)).scalars())),
        exercise=str(connection.execute(text("SELECT name FROM exercises WHERE current = 1")).scalar() or ""),
    )
    connection.execute(text("UPDATE operators SET invite_hash = '', invite_until = 0 WHERE invite_hash <> ''"))
    connection.execute(text("UPDATE meta SET value = value + :more"), {"more": COUNTS_LEFT_OUT})
    last = read_sequences(connection)
    set_sequences(connection, {name: last[name] + IDS_LEFT_OUT for name in NEVER_TWICE})
    connection.execute(text("DELETE FROM leases WHERE name = :name"), {"name": LEASE})
    connection.execute(
        text("INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :until)"),
        {"name": LEASE, "owner": HELD, "until": FOREVER},
    )
    add_line(connection, now, who, "restore", SUBJECT, "", json.dumps(asdict(held), ensure_ascii=False), WHY)
    return held


def is_held(connection: Connection) -> bool:
    """Whether a restore holds back what is pushed and sent."""
    leads = leader(connection, LEASE)
    return leads is not None and leads[0] == HELD


def release(connection: Connection, now: datetime, who: str) -> bool:
    """Let jobs push and send again, with a line in the audit log; False if nothing was held."""
    sql = text("DELETE FROM leases WHERE name = :name AND owner = :owner")
    if not connection.execute(sql, {"name": LEASE, "owner": HELD}).rowcount:
        return False
    add_line(connection, now, who, "release", SUBJECT, "", "")
    return True


# What was asked for by phone, and what is in hand; what waits in a broadcast waits there for whoever resumes it.
_NOBODY_KNOWS = (
    "UPDATE deliveries SET state = 'unknown', lease_until = 0 WHERE state = 'sending' OR (state = 'queued'"
    " AND broadcast_id IN (SELECT id FROM broadcasts WHERE kind = 'system' OR state IN ('sending', 'done')))"
)
_END_SESSIONS = "UPDATE sessions SET ended_at = :now WHERE ended_at IS NULL"
_INVITED = "SELECT name FROM operators WHERE invite_hash <> ''"
_LEFT = "SELECT DISTINCT broadcast_id FROM deliveries WHERE state IN ('queued', 'sending')"


def _going_out(connection: Connection) -> Iterable[Broadcast]:
    """Those that would go on being sent; one of which nothing is left ends by itself."""
    left = set(connection.execute(text(_LEFT)).scalars())
    return [one for one in read_under_way(connection, (State.SENDING,)) if one.id in left]


def _with_a_time(connection: Connection) -> Iterable[Broadcast]:
    return [one for one in read_under_way(connection, (State.APPROVED,)) if one.send_at is not None]


def _paused(connection: Connection, was: Broadcast, now: datetime, who: str) -> int:
    new = replace(was, state=after(was.state, Step.PAUSE))
    return change_broadcast(connection, who, Step.PAUSE, was, new, now, WHY).id


def _unscheduled(connection: Connection, was: Broadcast, now: datetime, who: str) -> int:
    drop_due(connection, job(was.id), now.timestamp())
    return change_broadcast(connection, who, "not sent", was, replace(was, send_at=None), now, WHY).id


def _newest(connection: Connection) -> float:
    """The time of the newest turn or line of the audit log."""
    turn = connection.execute(select(func.max(TurnRow.at))).scalar()
    line = connection.execute(select(func.max(AuditRow.at))).scalar()
    return max(turn or 0.0, line.replace(tzinfo=line.tzinfo or UTC).timestamp() if line else 0.0)

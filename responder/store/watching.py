"""Named reads for whoever keeps watch, and what an exercise makes of the points. Nothing here decides.

Times are seconds since 1970, UTC.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.engine import Connection

from responder.core.points import Point
from responder.core.told import News
from responder.store import exercises
from responder.store.pushes import WANTS, load_news
from responder.store.queries import Clash, point_to_json, read_point, read_points
from responder.store.tables import NOT_UNDERSTOOD, UNKNOWN, AuditRow, PointRow

NEWEST = 100  # broadcasts that are looked through for what the provider has said
NOTED = "note:"  # before a point's id: a line of its log that changes nothing for residents ...
PLAYED = "played:"  # ... and one of an exercise. Pushes look at neither


def current_points(connection: Connection) -> list[tuple[Point, int]]:
    """(point, version) of every point, by id, as operators see them: an exercise that goes on shows its own.

    Its versions are of its own too: what somebody looked at before it began, or while it went on, is old afterwards.
    """
    real, going = read_points(connection), exercises.current(connection)
    if going is None:
        return real
    played = exercises.played(connection)
    return [played.get(p.id, (p, going.id * exercises.VERSIONS + version)) for p, version in real]


def current_point(connection: Connection, id: str) -> tuple[Point, int] | None:
    """The same of the point `id` alone; None if there is none."""
    real, going = read_point(connection, id), exercises.current(connection)
    if real is None or going is None:
        return real
    played = exercises.played_point(connection, id)
    return played or (real[0], going.id * exercises.VERSIONS + real[1])


def save_note(connection: Connection, point: Point, version: int) -> None:
    """What operators note among themselves: no answer changes, so no worker is told and the version stays. Clash."""
    noted = update(PointRow).where(PointRow.id == point.id, PointRow.version == version)  # type: ignore[arg-type]
    if connection.execute(noted.values(data=point_to_json(point))).rowcount == 0:
        raise Clash


def save_played_note(connection: Connection, point: Point, version: int) -> None:
    """The same in the exercise that goes on. Raises Clash."""
    sql = text(
        "INSERT INTO played_points (id, version, data) VALUES (:id, :version, :data) ON CONFLICT (id) DO UPDATE SET"
        " data = :data WHERE played_points.version = :version"
    )
    values = {"id": point.id, "version": version, "data": point_to_json(point)}
    if connection.execute(sql, values).rowcount == 0:
        raise Clash


def add_quiet_line(
    connection: Connection,
    at: datetime,
    who: str,
    action: str,
    prefix: str,
    before: Point,
    after: Point,
    decision: str = "",
    decided_by: str = "",
) -> None:
    """A line of the audit log that no push looks at: `prefix` (NOTED, PLAYED) stands before the point's id."""
    row = {"at": at, "who": who, "action": action, "decision": decision, "decided_by": decided_by}
    row |= {"subject": f"{prefix}{after.id}", "before": point_to_json(before), "after": point_to_json(after)}
    connection.execute(insert(AuditRow).values(**row))


def point_log(connection: Connection, id: str) -> list[AuditRow]:
    """What was done to the point `id`, notes and exercises with it, newest first."""
    columns = AuditRow.__table__.columns  # type: ignore[attr-defined]
    wanted = select(*columns).where(columns.subject.in_((id, f"{NOTED}{id}", f"{PLAYED}{id}")))
    return [AuditRow(**row._mapping) for row in connection.execute(wanted.order_by(columns.id.desc()))]


def last_change(connection: Connection, id: str, played: bool) -> tuple[str, datetime] | None:
    """(who, when) of the last line that changed what the point `id` is, in truth or in an exercise."""
    columns = AuditRow.__table__.columns  # type: ignore[attr-defined]
    subject = f"{PLAYED}{id}" if played else id
    found = select(columns.who, columns.at).where(columns.subject == subject, columns.action != "exercise: note")
    row = connection.execute(found.order_by(columns.id.desc()).limit(1)).first()
    return (row.who, row.at) if row else None


def hearers(
    connection: Connection,
    news: Sequence[Mapping[str, Any]],
    broken: Iterable[str],
    since: float,
    subscribed_since: float,
) -> tuple[int, int]:
    """How many messages (of a closed door, of other news) a push with these findings would make; as
    `pushes.queue_closed` and `queue_changed`, but nothing is written.
    """
    load_news(connection, news, broken)
    values = {"since": since, "subscribed": subscribed_since}
    counted = (
        f"SELECT count(*) FROM subscriptions s WHERE {WANTS} AND {_LOSES}",
        "SELECT count(DISTINCT t.sender_hash) FROM turns t JOIN push_broken b ON b.said = t.said WHERE t.said_at >"
        " :since AND t.way <> '' AND length(t.sender_sealed) > 0 AND NOT EXISTS (SELECT 1 FROM suppressions p WHERE"
        " p.number_hash = t.sender_hash) AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.number_hash ="
        f" t.sender_hash AND {WANTS} AND {_LOSES})",
        f"SELECT count(*) FROM subscriptions s JOIN push_news n ON {_SAME} WHERE n.news = '{News.CHANGED}'"
        f" AND {WANTS} AND NOT ({_LOSES})",
    )
    subscribed, asked, changed = (int(connection.execute(text(sql), values).scalar_one()) for sql in counted)
    return subscribed + asked, changed


_SAME = "s.place = n.place AND s.service = n.service AND s.told = n.told"
_LOSES = (
    f"(EXISTS (SELECT 1 FROM push_news n WHERE {_SAME} AND n.news = '{News.CLOSED_DOOR}')"
    " OR (s.said_at > :subscribed AND s.said IN (SELECT said FROM push_broken)))"
)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What shows that the service is alive. `leads_until`: of the jobs' lease; `accepted_at`: when the provider last
    took a delivery; `failed`: in the last hour; `oldest`: since when the oldest of the queue waits; `heard_at`: the
    last text or turn of a call; `not_understood`: texts in a day. Times 0 for never.
    """

    leads_until: float
    accepted_at: float
    failed: int
    oldest: float
    unknown: int
    heard_at: float
    not_understood: int


def pulse(connection: Connection, now: float) -> Pulse:
    """How things stand, by indexes alone: the tables of a crisis have millions of rows."""
    sql = text(
        "SELECT coalesce((SELECT until FROM leases WHERE name = 'jobs'), 0),"
        f" coalesce((SELECT max(claimed_at) FROM ({_LATEST}) latest), 0),"
        f" (SELECT count(*) FROM deliveries WHERE state = 'failed' AND settled_at > :hour AND +broadcast_id IN"
        f" ({_NEWEST})),"
        f" (SELECT count(*) FROM deliveries WHERE {UNKNOWN}),"
        " coalesce((SELECT max(at) FROM turns), 0),"
        f" (SELECT count(*) FROM turns WHERE at > :day AND channel = 'text' AND {NOT_UNDERSTOOD})"
    )
    values = {"hour": now - 3600, "day": now - 86_400}
    leads, accepted, failed, unknown, heard, missed = connection.execute(sql, values).one()
    first = text(
        "SELECT coalesce(min((SELECT d.created_at FROM deliveries d WHERE d.broadcast_id = b.id AND d.channel = w.way"
        f" AND d.state = 'queued' ORDER BY d.not_before, d.id LIMIT 1)), 0) FROM broadcasts b CROSS JOIN ({_WAYS}) w"
        " WHERE b.state = 'sending'"
    )
    oldest = connection.execute(first).scalar_one()
    return Pulse(leads, accepted, failed, oldest, unknown, heard, missed)


_NEWEST = f"SELECT id FROM broadcasts ORDER BY id DESC LIMIT {NEWEST}"
_QUEUED = "d.broadcast_id = b.id AND d.channel IN ('text', 'call') AND d.state = 'queued'"
_WAYS = "SELECT 'text' AS way UNION ALL SELECT 'call'"
# The last that was taken of each broadcast, way and state: they are taken in the order of this index.
_LATEST = (
    "SELECT (SELECT d.claimed_at FROM deliveries d WHERE d.broadcast_id = b.id AND d.channel = w.way AND d.state ="
    f" x.state ORDER BY d.not_before DESC, d.id DESC LIMIT 1) AS claimed_at FROM ({_NEWEST}) b"
    f" CROSS JOIN ({_WAYS}) w CROSS JOIN (SELECT 'accepted' AS state UNION ALL"
    " SELECT 'sent' UNION ALL SELECT 'delivered') x"
)


@dataclass(frozen=True, slots=True)
class Sending:
    """A broadcast that is being sent or paused, and how many of its recipients still `waiting`."""

    id: int
    kind: str
    state: str
    exercise: bool
    priority: int
    operator: str
    recipients: int
    started_at: float | None
    waiting: int


def under_way(connection: Connection) -> list[Sending]:
    """All that are being sent or paused, those to operators with them, the most urgent first."""
    sql = (
        "SELECT id, kind, state, exercise, priority, operator, recipients, started_at,"
        f" (SELECT count(*) FROM deliveries d WHERE {_QUEUED}) AS waiting FROM broadcasts b"
        " WHERE state IN ('sending', 'paused') ORDER BY priority, id"
    )
    return [Sending(**{**row._mapping, "exercise": bool(row.exercise)}) for row in connection.execute(text(sql))]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A broadcast that waits for a second person; `writers`: whoever had a hand in it."""

    id: int
    kind: str
    exercise: bool
    operator: str
    writers: tuple[str, ...]
    recipients: int
    version: int
    submitted_at: float | None


def submitted(connection: Connection) -> list[Submitted]:
    """Everything that waits for a second person, oldest first."""
    sql = (
        "SELECT id, kind, exercise, operator, editors, recipients, version, submitted_at FROM broadcasts"
        " WHERE state = 'submitted' ORDER BY id"
    )
    return [
        Submitted(
            row.id, row.kind, bool(row.exercise), row.operator,
            tuple(dict.fromkeys((row.operator, *json.loads(row.editors)))), row.recipients, row.version,
            row.submitted_at,
        )
        for row in connection.execute(text(sql))
    ]  # fmt: skip

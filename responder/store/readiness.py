"""The districts' half-year reports, and what a situation report counts. Nothing here decides."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from responder.store.tables import NOT_UNDERSTOOD, UNKNOWN, AuditRow

_COLUMNS = "district, period, deadline, signed_by, signed_at, note"


@dataclass(frozen=True, slots=True)
class Report:
    """A district's report for a half-year. `deadline`: ISO 8601 date, "" for the usual; `signed_at` in seconds."""

    district: str
    period: str
    deadline: str = ""
    signed_by: str = ""
    signed_at: float | None = None
    note: str = ""


def read_report(connection: Connection, district: str, period: str) -> Report:
    """The report; an empty one where nothing has been said yet."""
    sql = text(f"SELECT {_COLUMNS} FROM reports WHERE district = :district AND period = :period")
    row = connection.execute(sql, {"district": district, "period": period}).first()
    return Report(**row._mapping) if row else Report(district, period)


def read_reports(connection: Connection, period: str) -> dict[str, Report]:
    """District to report, where anything has been said."""
    rows = connection.execute(text(f"SELECT {_COLUMNS} FROM reports WHERE period = :period"), {"period": period})
    return {row.district: Report(**row._mapping) for row in rows}


def save_report(connection: Connection, report: Report) -> None:
    """Insert or replace it."""
    sql = text(
        f"INSERT INTO reports ({_COLUMNS}) VALUES (:district, :period, :deadline, :signed_by, :signed_at, :note)"
        " ON CONFLICT (district, period) DO UPDATE SET deadline = :deadline, signed_by = :signed_by,"
        " signed_at = :signed_at, note = :note"
    )
    values = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    connection.execute(sql, values)


def lines(connection: Connection, subject: str, most: int = 50) -> list[AuditRow]:
    """The newest lines of the audit log about `subject`, newest first."""
    columns = AuditRow.__table__.columns  # type: ignore[attr-defined]
    found = select(*columns).where(columns.subject == subject).order_by(columns.id.desc()).limit(most)
    return [AuditRow(**row._mapping) for row in connection.execute(found)]


def signed_state(connection: Connection, subject: str) -> Mapping[str, Any] | None:
    """What the state was when the report `subject` was last signed; None if it never was."""
    sql = text("SELECT after FROM audit WHERE subject = :subject AND action = 'sign' ORDER BY id DESC LIMIT 1")
    row = connection.execute(sql, {"subject": subject}).first()
    return json.loads(row.after).get("state") if row else None


@dataclass(frozen=True, slots=True)
class Sent:
    """A broadcast as a situation report names it. Times in seconds since 1970."""

    id: int
    kind: str
    state: str
    exercise: bool
    recipients: int
    reached: int
    failed: int
    started_at: float


def sent_since(connection: Connection, since: float) -> list[Sent]:
    """What has been sent to many since then, oldest first; answers that residents asked for are left out."""
    sql = text(
        "SELECT b.id, b.kind, b.state, b.exercise, b.recipients, b.started_at,"
        " sum(CASE WHEN d.state IN ('accepted', 'sent', 'delivered') THEN 1 ELSE 0 END) AS reached,"
        " sum(CASE WHEN d.state = 'failed' THEN 1 ELSE 0 END) AS failed"
        " FROM broadcasts b LEFT JOIN deliveries d ON d.broadcast_id = b.id"
        " WHERE b.started_at >= :since AND b.kind <> 'system' GROUP BY b.id ORDER BY b.started_at, b.id"
    )
    return [
        Sent(r.id, r.kind, r.state, bool(r.exercise), r.recipients, r.reached, r.failed, r.started_at)
        for r in connection.execute(sql, {"since": since})
    ]


def unknown_deliveries(connection: Connection) -> int:
    """Deliveries of which nobody knows whether they arrived."""
    return int(connection.execute(text(f"SELECT count(*) FROM deliveries WHERE {UNKNOWN}")).scalar_one())


def not_understood(connection: Connection, since: float) -> int:
    """Turns since then that nobody could make anything of."""
    sql = text(f"SELECT count(*) FROM turns WHERE at >= :since AND {NOT_UNDERSTOOD}")
    return int(connection.execute(sql, {"since": since}).scalar_one())

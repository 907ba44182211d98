"""Named reads of the audit log, newest first. Nothing here decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.engine import Connection

from responder.store.tables import AuditRow, PointRow

_ROW: Any = AuditRow.__table__.columns  # type: ignore[attr-defined]
_POINT_ID: Any = PointRow.__table__.columns.id  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: by a part of who and of the subject, by the action, from `since` and before `until` (UTC)."""

    who: str = ""
    subject: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None


def lines(connection: Connection, wanted: Wanted, before: int | None, most: int) -> list[AuditRow]:
    """The newest `most` lines, or those before the line `before`, newest first."""
    found = select(*_ROW).where(*_conditions(wanted))
    if before is not None:
        found = found.where(_ROW.id < before)
    rows = connection.execute(found.order_by(_ROW.id.desc()).limit(most))
    return [AuditRow(**row._mapping) for row in rows]


def actions(connection: Connection) -> list[str]:
    """Everything that was ever done, by name."""
    return list(connection.execute(text(_ACTIONS)).scalars())


# From each name to the next by the index: there are few, and lines without end.
_ACTIONS = (
    "WITH RECURSIVE names (name) AS (SELECT min(action) FROM audit UNION ALL SELECT (SELECT min(a.action) FROM audit a"
    " WHERE a.action > names.name) FROM names WHERE names.name IS NOT NULL)"
    " SELECT name FROM names WHERE name IS NOT NULL ORDER BY name"
)


def changed_since(connection: Connection, since: datetime, most: int) -> list[AuditRow]:
    """What was done to points (in truth) and broadcasts after `since`: the newest `most` lines, oldest first."""
    ours = or_(_ROW.subject.in_(select(_POINT_ID)), _ROW.subject.startswith("broadcast:"))
    rows = connection.execute(select(*_ROW).where(_ROW.at > since, ours).order_by(_ROW.id.desc()).limit(most))
    return [AuditRow(**row._mapping) for row in rows][::-1]


def _conditions(wanted: Wanted) -> Sequence[Any]:
    found = []
    if wanted.who:
        found.append(_ROW.who.icontains(wanted.who, autoescape=True))
    if wanted.subject:
        found.append(_ROW.subject.icontains(wanted.subject, autoescape=True))
    if wanted.action:
        found.append(_ROW.action == wanted.action)
    if wanted.since:
        found.append(_ROW.at >= wanted.since)
    if wanted.until:
        found.append(_ROW.at < wanted.until)
    return found

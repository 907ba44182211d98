"""Reading the audit log: what was changed, by whom, and never a resident's number."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from responder.core.access import Operator, Permission, require
from responder.core.changes import PHONE, Changed, changed
from responder.core.words import hidden_numbers, printable
from responder.store import journal as store
from responder.store.engine import Database
from responder.store.journal import Wanted
from responder.store.tables import AuditRow

BATCH = 500  # lines read at once while all are written out
_OF_POINTS = ("note", "played")  # as store.watching writes them
_TURNS = re.compile("[\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # would break or turn what is written out


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log; `changes`: the fields that differ."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    decision: str
    decided_by: str
    told_at: datetime | None
    changes: tuple[Changed, ...]


def read(database: Database, operator: Operator, wanted: Wanted, before: int | None, most: int) -> list[Line]:
    """The newest `most` lines, or those before the line `before`, newest first. Raises Forbidden or StoreAway."""
    require(operator, Permission.AUDIT)
    with database.read() as connection:
        return [_line(row) for row in store.lines(connection, wanted, before, most)]


def read_all(database: Database, operator: Operator, wanted: Wanted) -> Iterator[Line]:
    """Every line there is now, newest first, a batch at a time. Raises Forbidden or StoreAway."""
    require(operator, Permission.AUDIT)
    return _all(database, wanted)


def actions(database: Database, operator: Operator) -> list[str]:
    """Everything that was ever done, by name. Raises Forbidden or StoreAway."""
    require(operator, Permission.AUDIT)
    with database.read() as connection:
        return store.actions(connection)


def to_json(line: Line) -> str:
    """A line as one JSON object, without line breaks."""
    row = {
        "id": line.id, "at": line.at.isoformat(), "who": line.who, "action": line.action, "subject": line.subject,
        "decision": line.decision, "decided_by": line.decided_by,
        "told_at": line.told_at.isoformat() if line.told_at else None,
        "changes": {one.field: {"before": one.before, "after": one.after} for one in line.changes},
    }  # fmt: skip
    return _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(json.dumps(row, ensure_ascii=False)))


def _all(database: Database, wanted: Wanted) -> Iterator[Line]:
    before: int | None = None
    while True:
        with database.read() as connection:  # one a batch: a slow reader must not hold the database
            rows = store.lines(connection, wanted, before, BATCH)
        yield from map(_line, rows)
        if len(rows) < BATCH:
            return
        before = rows[-1].id


def _line(row: AuditRow) -> Line:
    kind, colon, _ = row.subject.partition(":")
    public = frozenset({PHONE}) if not colon or kind in _OF_POINTS else frozenset()
    return Line(
        row.id or 0,
        row.at,
        _plain(row.who),
        _plain(row.action),
        _plain(row.subject),
        _plain(row.decision),
        _plain(row.decided_by),
        row.told_at.astimezone(UTC) if row.told_at else None,
        changed(row.before, row.after, public),
    )


def _plain(text: str) -> str:
    """`text` without telephone numbers and control characters."""
    return hidden_numbers(printable(text))

"""Named reads and writes for the shift log. Nothing here decides. Times in seconds since 1970, UTC."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

NOTE, ON, OFF = "note", "on", "off"


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the log: a note, or somebody who went on or off duty."""

    id: int
    at: float
    who: str
    kind: str
    text: str


_NOTES = "SELECT id, at, who, kind, text FROM notes"


def add(connection: Connection, who: str, kind: str, said: str, now: float) -> int:
    """Add a line; its id."""
    sql = text("INSERT INTO notes (at, who, kind, text) VALUES (:at, :who, :kind, :text) RETURNING id")
    return int(connection.execute(sql, {"at": now, "who": who, "kind": kind, "text": said}).scalar_one())


def page(connection: Connection, before: int | None, most: int) -> list[Note]:
    """The newest `most` lines, or those before the line `before`, newest first."""
    sql = f"{_NOTES} WHERE id < :before ORDER BY id DESC LIMIT :most"
    values = {"before": before if before is not None else 2**62, "most": most}
    return [Note(**row._mapping) for row in connection.execute(text(sql), values)]


def on_duty(connection: Connection) -> list[Note]:
    """When everybody who is on duty went on, longest first."""
    sql = (
        f"{_NOTES} n WHERE n.kind = 'on' AND n.id = (SELECT max(m.id) FROM notes m WHERE m.who = n.who"
        " AND m.kind IN ('on', 'off')) ORDER BY n.at, n.id"
    )
    return [Note(**row._mapping) for row in connection.execute(text(sql))]


def last_off(connection: Connection, who: str) -> float | None:
    """When somebody last went off duty."""
    sql = text("SELECT max(at) FROM notes WHERE who = :who AND kind = 'off'")
    found = connection.execute(sql, {"who": who}).scalar()
    return None if found is None else float(found)

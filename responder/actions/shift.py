"""The shift log: who is on duty, what one shift tells the next, and what changed while somebody was off."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from responder.core.access import Operator, Permission, require
from responder.core.broadcast import State
from responder.core.changes import Changed, changed
from responder.core.problem import Problem
from responder.core.words import printable
from responder.store import journal
from responder.store import notes as store
from responder.store.broadcasts import add_line, read_under_way
from responder.store.engine import Database
from responder.store.notes import NOTE, OFF, ON, Note
from responder.store.tables import AuditRow

LONGEST = 2000  # characters of a note
TIRED = timedelta(hours=12)
FIRST_TIME = timedelta(hours=24)  # what somebody hears of who was never off duty
LINES = 1000  # of the audit log that are looked at for a new shift


class BadNote(Problem):
    """A note that nobody could read."""


@dataclass(frozen=True, slots=True)
class OnDuty:
    """Somebody on duty since a time (UTC); `long`: for so long that somebody should relieve them."""

    who: str
    since: datetime
    long: bool


@dataclass(frozen=True, slots=True)
class News:
    """What became of one point or broadcast (`subject`, as in the audit log) in some time: what it is called, the
    fields that differ in the end, in how many steps, who took the last one and when (UTC).
    """

    subject: str
    name: str
    changes: tuple[Changed, ...]
    steps: int
    who: str
    at: datetime


def duty(database: Database, operator: Operator, now: datetime) -> list[OnDuty]:
    """Everybody on duty, longest first. Raises Forbidden or StoreAway."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        found = [(note.who, datetime.fromtimestamp(note.at, UTC)) for note in store.on_duty(connection)]
    return [OnDuty(who, since, now - since > TIRED) for who, since in found]


def notes(database: Database, operator: Operator, before: int | None, most: int) -> list[Note]:
    """The newest `most` lines of the log, or those before the line `before`. Raises Forbidden or StoreAway."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return store.page(connection, before, most)


def go(database: Database, operator: Operator, on: bool, now: datetime) -> bool:
    """Go on or off duty; False if they were already. Raises Forbidden or StoreAway."""
    require(operator, Permission.NOTE)
    with database.write() as connection:
        if on == any(note.who == operator.name for note in store.on_duty(connection)):
            return False
        store.add(connection, operator.name, ON if on else OFF, "", now.timestamp())
        subject = f"shift:{operator.name}"
        add_line(connection, now, operator.name, "on duty" if on else "off duty", subject, "", "")
    return True


def write(database: Database, operator: Operator, said: str, now: datetime) -> int:
    """Leave a note for the next shift; its id. Raises BadNote, Forbidden or StoreAway."""
    require(operator, Permission.NOTE)
    said = printable(said).replace("\r\n", "\n").strip()
    if not said:
        raise BadNote("the note is empty; write what the next shift must know")
    if len(said) > LONGEST:
        raise BadNote("the note has {length} characters, at most {most}; shorten it", length=len(said), most=LONGEST)
    with database.write() as connection:
        id = store.add(connection, operator.name, NOTE, said, now.timestamp())
        add_line(connection, now, operator.name, "note", f"shift:{operator.name}", "", json.dumps({"note": id}))
    return id


def since(database: Database, operator: Operator, now: datetime) -> tuple[datetime, bool]:
    """(when they last went off duty, True), or (a day ago, False) for who never did. Raises Forbidden or StoreAway."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        off = store.last_off(connection, operator.name)
    return (now - FIRST_TIME, False) if off is None else (datetime.fromtimestamp(off, UTC), True)


def news(database: Database, operator: Operator, start: datetime) -> list[News]:
    """What became of points and broadcasts after `start`, what changed last first. Raises Forbidden or StoreAway."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        rows = journal.changed_since(connection, start, LINES)
        going = {f"broadcast:{one.id}" for one in read_under_way(connection, (State.SENDING,))}
    found: dict[str, list[AuditRow]] = {}
    for row in rows:
        found.setdefault(row.subject, []).append(row)
    made = [_news(subject, lines, subject in going) for subject, lines in found.items()]
    return sorted(made, key=lambda one: one.at, reverse=True)


def _news(subject: str, lines: Sequence[AuditRow], going: bool) -> News:
    """`going`: a broadcast that is being sent; that one is done is nobody's deed, and no line says it."""
    last = lines[-1]
    changes = changed(lines[0].before, last.after)
    if not going:
        changes = tuple(
            replace(one, after=State.DONE) if (one.field, one.after) == ("state", State.SENDING) else one
            for one in changes
        )
    name = next((str(_field(line.after, "name")) for line in reversed(lines) if _field(line.after, "name")), "")
    return News(subject, name, changes, len(lines), last.who, last.at)


def _field(data: str, name: str) -> object:
    found = json.loads(data) if data else {}
    return found.get(name, "") if isinstance(found, dict) else ""

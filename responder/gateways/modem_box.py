"""What the modem received: texts put together from their parts, and their answers put beside them.

A text has its name by what it says, who sent it and when the network took it, not by its row: the network may bring it
twice, and somebody may make another database. Its answer goes into the outbox, and its rows are done with, in one
transaction; before that nothing has happened, and it is read again.
"""
# ruff: noqa: S608 - statements are put together from constants of ours; values are always bound

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from responder.core import udh
from responder.core.udh import Header
from responder.core.wording import Channel
from responder.gateways import smsd
from responder.gateways.smsd import Smsd
from responder.ports import MODEM, Inbound

MOST_WAITING = 6  # texts in the daemon's outbox, above which a question waits: its answer is then made when it can go
PART_WAIT = 60.0  # seconds for the rest of a long text, after those for which the daemon has waited already
OLD = 86_400.0  # seconds after which nobody waits for an answer any more
REPLY_VALID = 3_600  # seconds
REPLY = 10  # priority
MOST_READ = 5_000
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # digits would be masked in the log
_APART = 600.0  # seconds by the network's clock between parts of one text, at most: phones use a reference again
_JUMP = 5.0  # seconds by which a row may be dated ahead


@dataclass(frozen=True, slots=True)
class Letter:
    """What came in: its rows, and if there is something to answer that, else `why` not. `age` in seconds, by the clock
    of the machine or of the network, whichever makes it younger: one of them may have been wrong.
    """

    rows: tuple[int, ...]
    age: float
    inbound: Inbound | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    at: str
    sender: str
    coding: str
    text: str
    decoded: str
    header: Header
    age: float
    since: float | None  # seconds since the network took it, by its clock; None if it gave no time

    def is_near(self, other: "_Row") -> bool:
        """Whether both may be parts of one text, by when the network took them."""
        return self.apart(other) <= _APART

    def apart(self, other: "_Row") -> float:
        """Seconds between the times at which the network took them, 0 where that is not known."""
        return abs(self.since - other.since) if self.since is not None and other.since is not None else 0.0

    def is_same(self, other: "_Row") -> bool:
        """Whether it is that one, brought again."""
        return (self.header, self.at, self.coding, self.text) == (other.header, other.at, other.coding, other.text)


_Of = tuple[str, str, int]  # sender, reference and number of parts


class ModemBox:
    """The inbox of a daemon. `keyed`: a hash that nobody can turn back; `rate`: segments a second that may go out."""

    def __init__(self, database: Smsd, keyed: Callable[[str], bytes], rate: float) -> None:
        self._database, self._keyed, self._rate = database, keyed, rate

    def pending(self) -> list[Letter]:
        """What is to be dealt with, in the order in which it came. Raises Away."""
        with self._database.read() as connection:
            rows = _unread(connection, self._database.phone)
            parts = {(row.sender, row.header.reference, row.header.parts) for row in rows if row.header.reference}
            answered = _answered(connection, self._database.phone, parts) if parts else {}
        if any(row.age < -_JUMP for row in rows):
            with self._database.write() as connection:
                _put_right(connection)
        return [letter for group in _grouped(rows) if (letter := self._letter(group, answered))]

    def has_room(self) -> bool:
        """Whether an answer may be put into the outbox now, and not only STOPP's. Raises Away."""
        phone = self._database.phone
        with self._database.read() as connection:
            return smsd.waiting(connection, phone) < MOST_WAITING and smsd.left(connection, phone, self._rate) > 0

    def close(self, letter: Letter, reply: str = "") -> None:
        """The letter is dealt with, and answered by `reply`, "" for nothing. Raises Away: then neither."""
        with self._database.write() as connection:
            if letter.inbound and reply:
                name = smsd.reply_name(letter.inbound.id)
                if not smsd.is_known(connection, name):
                    number, phone = letter.inbound.sender, self._database.phone
                    smsd.put(connection, phone, number, reply, name, REPLY_VALID, REPLY)
            done = [(row,) for row in letter.rows]
            connection.executemany("UPDATE inbox SET Processed = 'true' WHERE ID = ?", done)

    def _letter(self, group: Sequence[_Row], answered: dict[_Of, list[_Row]]) -> Letter | None:
        """What a text and its parts are; None if more of it may come."""
        first, ids, waited = group[0], tuple(row.id for row in group), min(row.age for row in group)
        age = min([waited, *(row.since for row in group if row.since is not None)])
        if not first.header.told or first.coding == "8bit":
            return Letter(ids, age, why="it is for no person")
        told = {row.header.part: row for row in reversed(group)}
        before = answered.get((first.sender, first.header.reference, first.header.parts), [])
        if any(row.is_same(known) for row in group for known in before):
            return Letter(ids, age, why="it was answered before")
        if len(told) < first.header.parts:
            near = {known.header.part for known in before if first.is_near(known)}
            if near and near.isdisjoint(told):
                return Letter(ids, age, why="its text was answered without it")
            if waited < PART_WAIT:
                return None
        parts = [told[part] for part in sorted(told)]
        text = _words(parts)
        proof = "|".join((min(part.at for part in parts), first.sender, first.header.reference, text))
        if any(part.since is None for part in parts):
            proof += f"|{first.id}"
        id = f"modem-{self._keyed(proof).hex().translate(_LETTERS)}"
        return Letter(ids, age, Inbound(id, Channel.TEXT, first.sender, text, gateway=MODEM))


_ROW = (
    "SELECT ID, ReceivingDateTime, SenderNumber, Coding, Text, TextDecoded, UDH,"
    " (julianday('now') - julianday(UpdatedInDB)) * 86400, CASE WHEN ReceivingDateTime > '2000-01-01'"
    " THEN (julianday('now') - julianday(ReceivingDateTime)) * 86400 END FROM inbox"
    " WHERE :phone IN ('', RecipientID)"
)


def _unread(connection: sqlite3.Connection, phone: str) -> list[_Row]:
    sql = f"{_ROW} AND Processed = 'false' ORDER BY ID LIMIT {MOST_READ}"
    return [_row(*row) for row in connection.execute(sql, {"phone": phone})]


def _answered(connection: sqlite3.Connection, phone: str, texts: Iterable[_Of]) -> dict[_Of, list[_Row]]:
    """The parts of long texts like these that were dealt with."""
    found: dict[_Of, list[_Row]] = {of: [] for of in texts}
    sql = f"{_ROW} AND Processed = 'true' AND SenderNumber = :sender AND UDH <> ''"
    for sender in {sender for sender, *_ in found}:
        for row in (_row(*values) for values in connection.execute(sql, {"phone": phone, "sender": sender})):
            of = row.sender, row.header.reference, row.header.parts
            if of in found:
                found[of].append(row)
    return found


def _row(
    id: int, at: object, sender: str, coding: str, text: str, decoded: str, header: str, age: float, since: float | None
) -> _Row:
    return _Row(id, str(at), sender, coding, text, decoded, udh.read(header), age, since)


def _put_right(connection: sqlite3.Connection) -> None:
    """What a clock that was ahead has dated came now: else nobody would wait for its end."""
    ahead = f"UpdatedInDB > datetime('now', '+{_JUMP:.0f} seconds')"
    connection.execute(f"UPDATE inbox SET UpdatedInDB = datetime('now') WHERE Processed = 'false' AND {ahead}")


def _grouped(rows: Iterable[_Row]) -> list[list[_Row]]:
    """The rows of each text. A part goes to that which was taken nearest to it, and lacks it or has the same; if there
    is none, it begins another with the same reference.
    """
    groups: list[list[_Row]] = []
    known: dict[_Of, list[list[_Row]]] = {}
    for row in rows:
        like = known.setdefault((row.sender, row.header.reference, row.header.parts), [])
        found = [group for group in like if _fits(row, group)] if row.header.reference else []
        if found:
            min(found, key=lambda group: row.apart(group[0])).append(row)
        else:
            groups.append([row])
            like.append(groups[-1])
    return groups


def _fits(row: _Row, group: Sequence[_Row]) -> bool:
    same = [other for other in group if other.header.part == row.header.part]
    return all(row.is_same(other) for other in same) and row.is_near(group[0])


def _words(parts: Sequence[_Row]) -> str:
    """What parts say; where one in between is missing, a gap."""
    runs = groupby(enumerate(parts), lambda pair: pair[1].header.part - pair[0])
    return " ".join(_together([row for _, row in run]) for _, run in runs)


def _together(parts: Sequence[_Row]) -> str:
    try:  # as one, since a phone may have split an emoji
        return smsd.words([row.text for row in parts])
    except ValueError:
        return "".join(row.decoded for row in parts)

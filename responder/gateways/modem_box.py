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

PART_WAIT = 60.0  # seconds for the rest of a long text, after those for which the daemon has waited already
OLD = 86_400.0  # seconds after which nobody waits for an answer any more
REPLY_VALID = 3_600  # seconds
REPLY = 10  # priority
MOST_READ = 5_000
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # digits would be masked in the log
_LATE = "-1 hour"  # for so long a part is known as that of a text that was answered without it


@dataclass(frozen=True, slots=True)
class Letter:
    """What came in: its rows, and if there is something to answer that, else `why` not. `age` in seconds."""

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


class ModemBox:
    """The inbox of a daemon. `keyed`: a hash that nobody can turn back."""

    def __init__(self, database: Smsd, keyed: Callable[[str], bytes]) -> None:
        self._database, self._keyed = database, keyed

    def pending(self) -> list[Letter]:
        """What is to be dealt with, in the order in which it came. Raises Away."""
        with self._database.read() as connection:
            rows = _unread(connection, self._database.phone)
            answered = _answered_parts(connection) if any(row.header.reference for row in rows) else {}
        return [letter for group in _grouped(rows) if (letter := self._letter(group, answered))]

    def room(self) -> int:
        """How many texts wait in the outbox. Raises Away."""
        with self._database.read() as connection:
            return smsd.waiting(connection)

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

    def _letter(self, group: Sequence[_Row], answered: dict[tuple[str, str, int], set[int]]) -> Letter | None:
        """What a text and its parts are; None if more of it may come."""
        first, ids, age = group[0], tuple(row.id for row in group), min(row.age for row in group)
        if not first.header.told or first.coding == "8bit":
            return Letter(ids, age, why="it is for no person")
        told = {row.header.part: row for row in reversed(group)}
        if len(told) < first.header.parts:
            before = answered.get((first.sender, first.header.reference, first.header.parts), set())
            if before and before.isdisjoint(told):
                return Letter(ids, age, why="its text was answered without it")
            if age < PART_WAIT:
                return None
        parts = [told[part] for part in sorted(told)]
        text = _words(parts)
        proof = "|".join((first.at, first.sender, first.header.reference, text))
        if first.at < "2000":  # the network gave it no time
            proof += f"|{first.id}"
        id = f"modem-{self._keyed(proof).hex().translate(_LETTERS)}"
        return Letter(ids, age, Inbound(id, Channel.TEXT, first.sender, text, gateway=MODEM))


def _unread(connection: sqlite3.Connection, phone: str) -> list[_Row]:
    sql = (
        "SELECT ID, ReceivingDateTime, SenderNumber, Coding, Text, TextDecoded, UDH,"
        " (julianday('now') - julianday(UpdatedInDB)) * 86400 FROM inbox"
        f" WHERE Processed = 'false' AND ? IN ('', RecipientID) ORDER BY ID LIMIT {MOST_READ}"
    )
    return [
        _Row(id, str(at), sender, coding, text, decoded, udh.read(header), age)
        for id, at, sender, coding, text, decoded, header, age in connection.execute(sql, (phone,))
    ]


def _answered_parts(connection: sqlite3.Connection) -> dict[tuple[str, str, int], set[int]]:
    """The parts that were dealt with lately, of each long text."""
    sql = f"SELECT SenderNumber, UDH FROM inbox WHERE Processed = 'true' AND UpdatedInDB > datetime('now', '{_LATE}')"
    found: dict[tuple[str, str, int], set[int]] = {}
    for sender, digits in connection.execute(sql):
        header = udh.read(digits)
        if header.reference:
            found.setdefault((sender, header.reference, header.parts), set()).add(header.part)
    return found


def _grouped(rows: Iterable[_Row]) -> list[list[_Row]]:
    """The rows of each text; a part that comes a second time begins another text with the same reference."""
    groups: dict[tuple[object, ...], list[_Row]] = {}
    seen: dict[tuple[object, ...], int] = {}
    for row in rows:
        key: tuple[object, ...] = (row.id,)
        if row.header.reference:
            of = (row.sender, row.header.reference, row.header.parts)
            again = (*of, row.header.part)
            seen[again] = seen.get(again, 0) + 1
            key = (*of, seen[again])
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _words(parts: Sequence[_Row]) -> str:
    """What parts say; where one in between is missing, a gap."""
    runs = groupby(enumerate(parts), lambda pair: pair[1].header.part - pair[0])
    return " ".join(_together([row for _, row in run]) for _, run in runs)


def _together(parts: Sequence[_Row]) -> str:
    try:  # as one, since a phone may have split an emoji
        return smsd.words([row.text for row in parts])
    except ValueError:
        return "".join(row.decoded for row in parts)

"""The SQL database of Gammu SMSD, in an SQLite file: where its texts lie, coming in and going out.

Source: the daemon's own schema and statements (1.42, schema 17). It writes times by the clock on its wall, but a row's
defaults and triggers are in UTC: only those are compared with the time here. It takes a text from the outbox by setting
SendingTimeOut, which at first is AT_ONCE: as long as that stands there it has not begun. It retries a statement each
second while the file is locked, so whoever writes here must be short. The file is opened anew each time: somebody may
have made another.

Each function is a part of the caller's transaction.
"""
# ruff: noqa: S608 - statements are put together from constants of ours; values are always bound

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from responder.core import udh
from responder.core.segments import cut, is_gsm

SCHEMA = 17
PATIENCE = 2.0  # seconds to wait for a lock
AT_ONCE = "2000-01-01 00:00:00"
ALIVE = 150.0  # seconds: the daemon tells how its phone is every 60 unless it is told otherwise, or is busy sending
OURS = "trygghetssvar"
SENT = ("SendingOK", "SendingOKNoReport", "DeliveryPending", "DeliveryUnknown", "DeliveryOK")
FAILED = ("SendingError", "Error", "DeliveryFailed")
WITHDRAWN, EXPIRED = 1001, 1002  # our own in StatusError, where networks have 0 to 255
_AGAIN = "-1 hour"  # for so long a delivery is known again
_TICK, _MOST_TICKS = 300, 143  # a relative validity counts from 0 in steps of five minutes, here at most 12 hours
_UNBEGUN = f"SendingTimeOut = '{AT_ONCE}' AND Retries = 0"
_OURS = "(:phone = '' OR coalesce(o.SenderID, '') IN ('', :phone))"  # what stands in the outbox `o` for our phone
_WAITS = f"o.Retries = 0 AND o.SendingDateTime <= datetime('now', '+1 day') AND {_OURS}"
WINDOW, LEAST = 60, 6  # seconds over which a rate is kept, or so long that so many segments fit


class Away(RuntimeError):
    """The database is missing, locked, full, or none that we know: nothing was written."""


@dataclass(frozen=True, slots=True)
class Phone:
    """The modem as the daemon last told of it, `age` seconds ago. `started`: the daemon, on its wall."""

    id: str
    age: float
    network: str
    signal: int
    sends: bool
    receives: bool
    started: str

    @property
    def alive(self) -> bool:
        """Whether the daemon still tells."""
        return -5.0 <= self.age <= ALIVE

    @property
    def connected(self) -> bool:
        """Whether it is in a network."""
        return self.network not in ("", "ERROR")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text in the outbox that the daemon has not begun to send. `overdue`: it is worth nothing any more."""

    id: int
    creator: str
    overdue: bool


class Smsd:
    """The database at `path`. `phone`: the PhoneID of the daemon whose texts are ours; "" for all."""

    def __init__(self, path: Path, phone: str = "", patience: float = PATIENCE) -> None:
        self.path, self.phone, self._patience = path, phone, patience

    def file(self) -> tuple[int, int]:
        """Which file it is: another after somebody has replaced it. Raises Away."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise Away(f"SMSD's database {self.path}: {error}") from error
        return found.st_dev, found.st_ino

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from. Raises Away."""
        with self._opened() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write; what is done with it is done at its end, or not at all. Raises Away."""
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        address = f"{self.path.resolve().as_uri()}?mode=rw"  # never makes one
        try:
            opened = sqlite3.connect(address, uri=True, timeout=self._patience, isolation_level=None)
            with closing(opened) as connection:  # what is not committed is rolled back
                connection.execute("PRAGMA secure_delete = ON")
                connection.text_factory = _readable
                _check(connection)
                yield connection
        except sqlite3.Error as error:
            raise Away(f"SMSD's database {self.path}: {error}") from error


def _readable(content: bytes) -> str:
    """What stands there; half an emoji, which is no UTF-8, must not keep all else from being read."""
    return content.decode("utf-8", "replace")


def _check(connection: sqlite3.Connection) -> None:
    """Raises Away where it is not the schema that we know."""
    row = connection.execute("SELECT max(Version) FROM gammu").fetchone()
    if row[0] != SCHEMA:
        raise Away(f"SMSD's database has schema {row[0]}, and we know {SCHEMA} (Gammu 1.38.5 to 1.42)")


def phone(connection: sqlite3.Connection, id: str) -> Phone | None:
    """The phone of that name, or the one that was last heard of."""
    sql = (
        "SELECT ID, (julianday('now') - julianday(UpdatedInDB)) * 86400, coalesce(NetCode, ''), Signal, Send = 'yes',"
        " Receive = 'yes', InsertIntoDB FROM phones WHERE ? IN ('', ID) ORDER BY UpdatedInDB DESC LIMIT 1"
    )
    row = connection.execute(sql, (id,)).fetchone()
    return Phone(row[0], row[1], row[2].strip(), row[3], bool(row[4]), bool(row[5]), row[6]) if row else None


def waiting(connection: sqlite3.Connection, phone: str) -> int:
    """How many texts stand in the outbox for that phone, and wait neither for a second try nor for a time."""
    return int(connection.execute(f"SELECT count(*) FROM outbox o WHERE {_WAITS}", {"phone": phone}).fetchone()[0])


def left(connection: sqlite3.Connection, phone: str, rate: float) -> float:
    """How many segments that phone may still be given, at `rate` a second: what it has sent lately and what waits,
    replies and messages together, must not be more than its card is good for.
    """
    window = max(WINDOW, ceil(LEAST / rate))
    ends = "datetime('now', 'localtime', :ago) AND datetime('now', 'localtime', '+5 seconds')"
    sql = (
        f"SELECT (SELECT count(*) FROM outbox o WHERE {_WAITS})"
        f" + (SELECT count(*) FROM outbox o JOIN outbox_multipart m ON m.ID = o.ID WHERE {_WAITS})"
        " + (SELECT count(*) FROM sentitems s WHERE s.UpdatedInDB >= datetime('now', :ago)"
        f" AND s.SendingDateTime BETWEEN {ends} AND s.StatusError < {WITHDRAWN} AND :phone IN ('', s.SenderID))"
    )
    spent = connection.execute(sql, {"phone": phone, "ago": f"-{window} seconds"}).fetchone()[0]
    return rate * window - float(spent)


def put(
    connection: sqlite3.Connection, phone: str, number: str, body: str, creator: str, valid: int, priority: int
) -> None:
    """Have `body` sent to `number` within `valid` seconds; a higher `priority` goes first."""
    next_id = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'outbox'"
    id = int(connection.execute(next_id).fetchone()[0])
    coding = "Default_No_Compression" if is_gsm(body) else "Unicode_No_Compression"
    parts = cut(body)
    headers = udh.written(id, len(parts))
    connection.execute(
        "INSERT INTO outbox (ID, SendingDateTime, SendingTimeOut, DestinationNumber, Coding, Text, TextDecoded, UDH,"
        " MultiPart, RelativeValidity, SenderID, DeliveryReport, CreatorID, Priority)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'yes', ?, ?)",
        (
            id, AT_ONCE, AT_ONCE, number, coding, digits(parts[0]), parts[0], headers[0],
            "true" if len(parts) > 1 else "false", _ticks(valid), phone or None, creator, priority,
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO outbox_multipart (ID, SequencePosition, Coding, Text, TextDecoded, UDH) VALUES (?, ?, ?, ?, ?, ?)",
        [(id, n, coding, digits(parts[n - 1]), parts[n - 1], headers[n - 1]) for n in range(2, len(parts) + 1)],
    )


def is_known(connection: sqlite3.Connection, creator: str) -> bool:
    """Whether something was put there by that name."""
    sql = (
        "SELECT 1 FROM outbox WHERE CreatorID = :creator"
        " UNION ALL SELECT 1 FROM sentitems WHERE CreatorID = :creator LIMIT 1"
    )
    return connection.execute(sql, {"creator": creator}).fetchone() is not None


def attempt_for(connection: sqlite3.Connection, number: str, delivery: int, attempt: int) -> str:
    """By which name a delivery stands there already, lately and not failed, or by this attempt; "" if it does not."""
    values = {"number": number, "any": delivery_name(delivery, "*"), "this": delivery_name(delivery, attempt)}
    lately = f"InsertIntoDB >= datetime('now', '{_AGAIN}')"
    sql = (
        "SELECT CreatorID FROM outbox WHERE DestinationNumber = :number AND CreatorID GLOB :any"
        f" AND {lately} UNION ALL SELECT CreatorID FROM sentitems WHERE DestinationNumber = :number AND"
        f" CreatorID GLOB :any AND {lately} AND (CreatorID = :this OR Status NOT IN {FAILED}) LIMIT 1"
    )
    row = connection.execute(sql, values).fetchone()
    return str(row[0]) if row else ""


def unbegun(connection: sqlite3.Connection, phone: str) -> list[Waiting]:
    """What is ours in the outbox for that phone, and has not been begun."""
    age = "(julianday('now') - julianday(InsertIntoDB)) * 86400"
    late = f"RelativeValidity BETWEEN 0 AND {_MOST_TICKS} AND {age} > (RelativeValidity + 1) * {_TICK}"
    sql = (
        f"SELECT ID, CreatorID, {late} FROM outbox o WHERE {_UNBEGUN} AND CreatorID GLOB '{OURS}:*' AND {_OURS}"
        " ORDER BY ID"
    )
    return [Waiting(row[0], row[1], bool(row[2])) for row in connection.execute(sql, {"phone": phone})]


def withdraw(connection: sqlite3.Connection, id: int, why: int) -> bool:
    """Take a text back that has not been begun, and leave it among those that were not sent; whether there was time."""
    took = connection.execute(
        "INSERT INTO sentitems (ID, SequencePosition, Status, StatusError, InsertIntoDB, SendingDateTime, Text,"
        " DestinationNumber, Coding, UDH, TextDecoded, SenderID, RelativeValidity, CreatorID)"
        " SELECT ID, 1, 'Error', ?, InsertIntoDB, datetime('now', 'localtime'), coalesce(Text, ''), DestinationNumber,"
        " Coding, coalesce(UDH, ''), TextDecoded, coalesce(SenderID, ''), RelativeValidity, CreatorID"
        f" FROM outbox WHERE ID = ? AND {_UNBEGUN}",
        (why, id),
    ).rowcount
    if took:
        drop(connection, id)
    return took > 0


def drop(connection: sqlite3.Connection, id: int) -> None:
    """Take a text out of the outbox, all its parts."""
    for table in ("outbox", "outbox_multipart"):
        connection.execute(f"DELETE FROM {table} WHERE ID = ?", (id,))


def delivery_name(delivery: int, attempt: int | str) -> str:
    """The name that an attempt of a delivery goes by."""
    return f"{OURS}:delivery:{delivery}:{attempt}"


def delivery_of(creator: str) -> tuple[int, int] | None:
    """(delivery, attempt) of a name, None if it is of nothing like that."""
    ours, _, rest = creator.partition(":delivery:")
    delivery, _, attempt = rest.partition(":")
    return (int(delivery), int(attempt)) if ours == OURS and delivery.isdecimal() and attempt.isdecimal() else None


def reply_name(inbound: str) -> str:
    """The name that the answer to something goes by."""
    return f"{OURS}:reply:{inbound}"


def now(connection: sqlite3.Connection) -> float:
    """The time by which the rows are dated, in seconds since 1970."""
    return float(connection.execute("SELECT (julianday('now') - 2440587.5) * 86400.0").fetchone()[0])


def digits(text: str) -> str:
    """A text as SMSD keeps it: UTF-16 in hexadecimal digits."""
    return text.encode("utf-16-be", "surrogatepass").hex().upper()


def words(texts: Sequence[str]) -> str:
    """The text that parts in hexadecimal digits are together. Raises ValueError."""
    return bytes.fromhex("".join(texts)).decode("utf-16-be", "replace")


def _ticks(seconds: int) -> int:
    return max(0, min(seconds // _TICK - 1, _MOST_TICKS))

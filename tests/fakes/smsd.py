"""A daemon in the place of Gammu SMSD: the tables that it has, and its statements in its order, each a transaction.

The tables are written down anew from what the daemon reads and writes; where its package is installed a test holds them
to be the same.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from responder.core import udh
from responder.core.segments import cut, is_gsm
from responder.gateways.smsd import digits

PACKAGE = Path("/usr/share/doc/gammu-smsd/examples/sqlite.sql")
IMEI = "999999999999999"
_TIMES = "UpdatedInDB NUMERIC NOT NULL DEFAULT (datetime('now'))"
_INSERTED = "InsertIntoDB NUMERIC NOT NULL DEFAULT (datetime('now'))"
_SENDING = "SendingDateTime NUMERIC NOT NULL DEFAULT (datetime('now'))"
_CODING = "Coding TEXT NOT NULL DEFAULT 'Default_No_Compression'"
_OUTCOME = "Status TEXT NOT NULL DEFAULT 'Reserved', StatusCode INTEGER NOT NULL DEFAULT '-1'"
_NUMBER = "DestinationNumber TEXT NOT NULL DEFAULT ''"
_DECODED = "TextDecoded TEXT NOT NULL DEFAULT ''"
_CODINGS = (
    "CHECK (Coding IN ('Default_No_Compression','Unicode_No_Compression','8bit','Default_Compression',"
    "'Unicode_Compression'))"
)
_STATUS = (
    "'SendingOK','SendingOKNoReport','SendingError','DeliveryOK','DeliveryFailed','DeliveryPending',"
    "'DeliveryUnknown','Error'"
)
SCHEMA = f"""
CREATE TABLE gammu (Version INTEGER NOT NULL DEFAULT '0' PRIMARY KEY);
INSERT INTO gammu (Version) VALUES (17);
CREATE TABLE inbox ({_TIMES}, ReceivingDateTime NUMERIC NOT NULL DEFAULT (datetime('now')), Text TEXT NOT NULL,
  SenderNumber TEXT NOT NULL DEFAULT '', {_CODING}, UDH TEXT NOT NULL, SMSCNumber TEXT NOT NULL DEFAULT '',
  Class INTEGER NOT NULL DEFAULT '-1', {_DECODED}, ID INTEGER PRIMARY KEY AUTOINCREMENT, RecipientID TEXT NOT NULL,
  Processed TEXT NOT NULL DEFAULT 'false', Status INTEGER NOT NULL DEFAULT '-1', {_CODINGS});
CREATE TABLE outbox ({_TIMES}, {_INSERTED}, {_SENDING}, SendBefore time NOT NULL DEFAULT '23:59:59',
  SendAfter time NOT NULL DEFAULT '00:00:00', Text TEXT, {_NUMBER}, {_CODING}, UDH TEXT, Class INTEGER DEFAULT '-1',
  {_DECODED}, ID INTEGER PRIMARY KEY AUTOINCREMENT, MultiPart TEXT NOT NULL DEFAULT 'false',
  RelativeValidity INTEGER DEFAULT '-1', SenderID TEXT, SendingTimeOut NUMERIC NOT NULL DEFAULT (datetime('now')),
  DeliveryReport TEXT DEFAULT 'default', CreatorID TEXT NOT NULL, Retries INTEGER DEFAULT '0',
  Priority INTEGER DEFAULT '0', {_OUTCOME}, {_CODINGS}, CHECK (DeliveryReport IN ('default','yes','no')),
  CHECK (Status IN ({_STATUS},'Reserved')));
CREATE TABLE outbox_multipart (Text TEXT, {_CODING}, UDH TEXT, Class INTEGER DEFAULT '-1',
  TextDecoded TEXT DEFAULT NULL, ID INTEGER, SequencePosition INTEGER NOT NULL DEFAULT '1', {_OUTCOME}, {_CODINGS},
  CHECK (Status IN ({_STATUS},'Reserved')), PRIMARY KEY (ID, SequencePosition));
CREATE TABLE phones (ID TEXT NOT NULL, {_TIMES}, {_INSERTED}, TimeOut NUMERIC NOT NULL DEFAULT (datetime('now')),
  Send TEXT NOT NULL DEFAULT 'no', Receive TEXT NOT NULL DEFAULT 'no', IMEI TEXT PRIMARY KEY NOT NULL,
  IMSI TEXT NOT NULL, NetCode TEXT DEFAULT 'ERROR', NetName TEXT DEFAULT 'ERROR', Client TEXT NOT NULL,
  Battery INTEGER NOT NULL DEFAULT -1, Signal INTEGER NOT NULL DEFAULT -1, Sent INTEGER NOT NULL DEFAULT 0,
  Received INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sentitems ({_TIMES}, {_INSERTED}, {_SENDING}, DeliveryDateTime NUMERIC NULL, Text TEXT NOT NULL, {_NUMBER},
  {_CODING}, UDH TEXT NOT NULL, SMSCNumber TEXT NOT NULL DEFAULT '', Class INTEGER NOT NULL DEFAULT '-1', {_DECODED},
  ID INTEGER, SenderID TEXT NOT NULL, SequencePosition INTEGER NOT NULL DEFAULT '1',
  Status TEXT NOT NULL DEFAULT 'SendingOK', StatusError INTEGER NOT NULL DEFAULT '-1',
  TPMR INTEGER NOT NULL DEFAULT '-1', RelativeValidity INTEGER NOT NULL DEFAULT '-1', CreatorID TEXT NOT NULL,
  StatusCode INTEGER NOT NULL DEFAULT '-1', CHECK (Status IN ({_STATUS})), {_CODINGS},
  PRIMARY KEY (ID, SequencePosition));
""" + "".join(
    f"CREATE TRIGGER update_{table}_time UPDATE ON {table}"
    f" BEGIN UPDATE {table} SET UpdatedInDB = datetime('now') WHERE {key} = old.{key}; END;"
    for table, key in (("inbox", "ID"), ("outbox", "ID"), ("phones", "IMEI"), ("sentitems", "ID"))
)


class Died(Exception):
    """The daemon was killed."""


@dataclass
class Daemon:
    """One that sends a text when it is asked to, and has a phone that takes it. `air`: (number, text) that went out,
    part by part, and `texts` those that went out whole. `before`: called before each of its steps, by its name, to kill it there.
    """

    path: Path
    phone: str = "kit"
    air: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    refuse: int = 0  # the network's cause for refusing what is sent

    def make(self) -> "Daemon":
        """A new database, and the daemon started."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(SCHEMA)
        return self.start()

    def start(self) -> "Daemon":
        """It has found its phone."""
        with self.opened() as db:
            db.execute("DELETE FROM phones")
            db.execute(
                "INSERT INTO phones (IMEI, IMSI, ID, NetCode, NetName, Send, Receive, InsertIntoDB, TimeOut, Client,"
                " Battery, Signal) VALUES (?, '1', ?, '240 01', 'Net', 'yes', 'yes', datetime('now', 'localtime'),"
                " datetime('now', '+10 seconds', 'localtime'), 'Gammu 1.42.0', -1, 60)",
                (IMEI, self.phone),
            )
        return self

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Its connection: each statement is a transaction."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=2)) as db:
            yield db

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """What is in its database."""
        with self.opened() as db:
            return db.execute(sql, values).fetchall()

    def set(self, sql: str, *values: object) -> None:
        """Change what is in its database."""
        with self.opened() as db:
            db.execute(sql, values)

    def receive(self, sender: str, text: str, at: str = "", leave_out: tuple[int, ...] = (), **columns: object) -> int:
        """A text comes in, in its parts; how many those are."""
        parts = cut(text)
        headers = udh.written(random.randrange(256), len(parts))
        usual = {
            "ReceivingDateTime": at or self.now(), "SenderNumber": sender, "RecipientID": self.phone,
            "Coding": "Default_No_Compression" if is_gsm(text) else "Unicode_No_Compression",
        }  # fmt: skip
        for n, (part, header) in enumerate(zip(parts, headers, strict=True), 1):
            if n not in leave_out:
                told = text if n == 1 else ""  # all of it in its first part
                self.insert(**{**usual, "Text": digits(part), "TextDecoded": told, "UDH": header, **columns})
        return len(parts)

    def insert(self, **columns: object) -> None:
        """A row of the inbox."""
        names = ", ".join(columns)
        self.set(f"INSERT INTO inbox ({names}) VALUES ({', '.join('?' * len(columns))})", *columns.values())

    def now(self) -> str:
        """The time on its wall."""
        return str(self.rows("SELECT datetime('now', 'localtime')")[0][0])

    def send(self) -> str:
        """Send what is next in the outbox; its creator, "" if there is nothing."""
        with self.opened() as db:
            found = db.execute(
                "SELECT ID, InsertIntoDB FROM outbox WHERE SendingDateTime < datetime('now', 'localtime')"
                " AND SendingTimeOut < datetime('now', 'localtime') AND (SenderID IS NULL OR SenderID IN ('', ?))"
                " ORDER BY Priority DESC, InsertIntoDB ASC LIMIT 1",
                (self.phone,),
            ).fetchone()
            if not found:
                return ""
            id, inserted = found
            self.before("take")
            taken = db.execute(
                "UPDATE outbox SET SendingTimeOut = datetime('now', '+60 seconds', 'localtime') WHERE ID = ?"
                " AND SendingTimeOut < datetime('now', 'localtime')",
                (id,),
            ).rowcount
            if not taken:
                return ""
            one = "Coding, Text, TextDecoded, UDH"
            rest = f"SELECT {one} FROM outbox_multipart WHERE ID = ? ORDER BY SequencePosition"
            parts = [*db.execute(f"SELECT {one} FROM outbox WHERE ID = ?", (id,)), *db.execute(rest, (id,))]
            row = "SELECT DestinationNumber, CreatorID, RelativeValidity FROM outbox WHERE ID = ?"
            number, creator, valid = db.execute(row, (id,)).fetchone()
            for n, (coding, text, decoded, header) in enumerate(parts, 1):
                self.before(f"send {n}")
                if not self.refuse:
                    self.air.append((number, decoded))
                self.before(f"note {n}")
                db.execute(
                    "INSERT INTO sentitems (CreatorID, ID, SequencePosition, Status, SendingDateTime, SMSCNumber, TPMR,"
                    " SenderID, Text, DestinationNumber, Coding, UDH, TextDecoded, InsertIntoDB, RelativeValidity,"
                    " StatusCode) VALUES (?, ?, ?, ?, datetime('now', 'localtime'), '', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        creator, id, n, "SendingError" if self.refuse else "SendingOK", self.phone, text, number,
                        coding, header, decoded, inserted, valid, self.refuse or -1,
                    ),
                )  # fmt: skip
            if not self.refuse:
                self.texts.append((number, "".join(str(part[2]) for part in parts)))
            self.before("clear")
            for table in ("outbox", "outbox_multipart"):
                db.execute(f"DELETE FROM {table} WHERE ID = ?", (id,))
        return str(creator)

    def send_all(self) -> list[str]:
        """Send everything there is; the creators."""
        sent = []
        while creator := self.send():
            sent.append(creator)
        return sent

    def report(self, status: str, said: int = -1, part: int = 0) -> None:
        """The network reports of all that was sent, or of one part of each."""
        self.set(
            "UPDATE sentitems SET Status = ?, StatusError = ? WHERE ? IN (0, SequencePosition)", status, said, part
        )

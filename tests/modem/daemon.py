"""The real gammu-smsd on a dummy phone, in a folder of its own."""

import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.fakes.smsd import PACKAGE

INSTALLED = all(map(shutil.which, ("gammu", "gammu-smsd"))) and PACKAGE.exists()
_PHONE = "[gammu]\nmodel = dummy\nconnection = none\ndevice = {}\n"
_DAEMON = """
[smsd]
service = sql
driver = sqlite3
dbdir = {folder}/
database = smsd.db
phoneid = kit
logfile = {folder}/log
debuglevel = 1
deliveryreport = log
commtimeout = 1
receivefrequency = 1
statusfrequency = 1
loopsleep = 1
maxretries = 0
retrytimeout = 1
multiparttimeout = 4
backendretries = 30
checksecurity = 0
"""
INBOX = "sms/3"
_TRANSMITTED = re.compile(r"Transmitted (\d+) \((?:total|part): (\d+)\) to (\+?\w+)")


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until it is so. Raises TimeoutError."""
    end = monotonic() + seconds
    while not true():
        if monotonic() > end:
            raise TimeoutError("in vain")
        sleep(0.1)


@dataclass
class Real:
    """The daemon of a folder."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """Its database."""
        return self.folder / "smsd.db"

    def make(self) -> "Real":
        """Its database, phone and configuration."""
        with closing(sqlite3.connect(self.path)) as db:
            db.executescript(PACKAGE.read_text(encoding="utf-8"))
        (self.folder / "phone" / INBOX).mkdir(parents=True)
        phone = _PHONE.format(self.folder / "phone")
        (self.folder / "smsdrc").write_text(phone + _DAEMON.format(folder=self.folder))
        return self

    def start(self) -> "Real":
        """Start it, and wait until it has found its phone."""
        begun = self.rows("SELECT max(InsertIntoDB) FROM phones")
        sleep(1)  # it notes its start by the second
        with (self.folder / "out").open("ab") as out:
            command = ["gammu-smsd", "-c", str(self.folder / "smsdrc")]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        until(lambda: self.rows("SELECT max(InsertIntoDB) FROM phones WHERE NetCode <> ''") not in (begun, [(None,)]))
        return self

    def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """What is in its database."""
        with closing(sqlite3.connect(self.path, timeout=10)) as db:
            return db.execute(sql, values).fetchall()

    def receive(self, number: str, text: str, *how: str) -> None:
        """A text lies in the phone, as the network brought it."""
        stage = self.folder / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        (self.folder / "rc").write_text(_PHONE.format(stage))
        command = ["gammu", "-c", str(self.folder / "rc"), "savesms", "TEXT", "-folder", "3", "-unread"]
        command += ["-sender", number, "-autolen", "400", *how, "-text", text]
        subprocess.run(command, check=True, capture_output=True)
        inbox = self.folder / "phone" / INBOX
        for part in sorted((stage / INBOX).iterdir(), key=lambda path: int(path.name)):
            part.write_text(part.read_text(encoding="latin-1").replace("PDU = Submit", "PDU = Deliver"), "latin-1")
            taken = [int(path.name) for path in inbox.iterdir()]
            part.rename(inbox / str(max(taken, default=0) + 1))

    def sent(self) -> list[tuple[str, str]]:
        """(number, text) that went out, parts put together."""
        found: dict[object, tuple[str, str]] = {}
        sql = "SELECT ID, DestinationNumber, TextDecoded FROM sentitems WHERE Status <> 'Error' ORDER BY ID, SequencePosition"
        for id, number, text in self.rows(sql):
            found[id] = str(number), found.get(id, ("", ""))[1] + str(text)
        return list(found.values())

    def transmitted(self) -> list[tuple[str, str, str]]:
        """(message, part, number) that the daemon says it handed to the phone, each time."""
        log = self.folder / "log"
        return _TRANSMITTED.findall(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []

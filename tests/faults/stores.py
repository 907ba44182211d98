"""The two databases, and what can happen to each: away, read-only, full, slow."""

import ctypes
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.proxy import Proxy
from tests.postgres import Server, server

NAME = "responder"
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
SQLITE_DISK, POSTGRESQL_DISK = "64m", "320m"


class CannotBreak(Exception):
    """This machine does not let us do it; says why."""


class Disk:
    """A small disk of our own, which nobody else sees, and which is gone with the last process that uses it."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder, self._filler = folder, folder / "filler"
        folder.mkdir()
        if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) != 0:
            raise CannotBreak("mounting needs root")
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "faults", str(folder))

    def fill(self) -> None:
        """Leave not a byte."""
        with self._filler.open("ab", buffering=0) as out, suppress(OSError):
            while True:
                out.write(bytes(1 << 16))
        with self._filler.open("ab", buffering=0) as out, suppress(OSError):
            while True:
                out.write(bytes(512))

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        with suppress(CannotBreak):
            _run("umount", "-l", str(self.folder))


class SQLite:
    """A file in WAL mode. `small`: on a small disk."""

    name = "sqlite"

    def __init__(self, folder: Path, small: bool, through: bool) -> None:
        self.disk = Disk(folder / "disk", SQLITE_DISK) if small else None
        home = self.disk.folder if self.disk else folder
        self.path = home / "responder.db"
        self.url = self.address = f"sqlite:///{self.path}"

    def rows(self, question: str, values: Sequence[object] = ()) -> list[Any]:
        """Rows of the database; `?` for values."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            return connection.execute(question, values).fetchall()

    def away(self, seconds: float, nth: int) -> None:
        """Another process holds the file locked, as a backup or a repair does: nobody can write (WAL: but read)."""
        with _holding(self.path, seconds):
            time.sleep(seconds)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Another process writes for 1 s out of every 1.2."""
        with _holding(self.path, 1.0, again=0.2):
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """The file and its log are immutable: a write fails through connections that are open, too, as when the kernel
        takes a disk read-only after an error. (Nobody can do that by hand while a file is open for writing.)
        """
        files = [str(self.path), f"{self.path}-wal"]
        try:
            _run("chattr", "+i", *files)
            yield
        finally:
            _run("chattr", "-i", *files)

    def check(self) -> list[str]:
        """What is wrong with the file itself."""
        return [row[0] for row in self.rows("PRAGMA integrity_check") if row[0] != "ok"]

    def keep_up(self) -> None:
        """Nothing runs here that could be down."""

    def close(self) -> None:
        """Let go of the disk."""
        if self.disk:
            self.disk.close()


class PostgreSQL:
    """A server of our own. `through`: the service reaches it through a proxy that can be slow."""

    name = "postgresql"

    def __init__(self, folder: Path, small: bool, through: bool) -> None:
        self._open = ExitStack()
        self.disk = Disk(folder / "disk", POSTGRESQL_DISK) if small else None
        home = self.disk.folder if self.disk else folder
        options = {"max_wal_size": "64MB", "min_wal_size": "32MB"} if small else {}
        self.server: Server = self._open.enter_context(server(home, **options))
        self.url = self.address = self.server.url(NAME)
        self.proxy: Proxy | None = None
        if through:
            self.proxy = self._open.enter_context(Proxy(self.server.port))
            self.address = f"postgresql+psycopg://postgres@127.0.0.1:{self.proxy.port}/{NAME}"
        self.restarts = 0

    def rows(self, question: str, values: Sequence[object] = ()) -> list[Any]:
        """Rows of the database; `?` for values."""
        with psycopg.connect(self.server.dsn(NAME), autocommit=True, connect_timeout=5) as connection:
            return connection.execute(question.replace("%", "%%").replace("?", "%s"), list(values)).fetchall()

    def away(self, seconds: float, nth: int) -> None:
        """The server is stopped, in turns fast and as in a crash, and started again."""
        self.server.stop(signal.SIGQUIT if nth % 2 else signal.SIGINT)
        time.sleep(seconds)
        self.server.start()

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Every message from a client arrives 1 s late."""
        assert self.proxy is not None
        self.proxy.delay = 1.0
        try:
            yield
        finally:
            self.proxy.delay = 0.0

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """As on a standby, or where an operator has said so: no transaction may write, and everybody connects anew."""
        self._default("on")
        try:
            yield
        finally:
            self._default("off")

    def check(self) -> list[str]:
        """What is wrong with the server."""
        return []

    def keep_up(self) -> None:
        """Start the server if it is down, as systemd does."""
        if self.server.process is not None and self.server.process.poll() is not None:
            self.server.process = None
        if self.server.process is None:
            self.restarts += 1
            with suppress(RuntimeError):
                self.server.start()

    def close(self) -> None:
        """End the server and let go of the disk."""
        self._open.close()
        if self.disk:
            self.disk.close()

    def _default(self, value: str) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [NAME],
            )


Store = SQLite | PostgreSQL
STORES: dict[str, type[SQLite] | type[PostgreSQL]] = {"sqlite": SQLite, "postgresql": PostgreSQL}

_HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held, again = float(sys.argv[2]), float(sys.argv[3])
while True:
    connection.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    time.sleep(held)
    connection.execute("ROLLBACK")
    if not again:
        break
    time.sleep(again)
"""


@contextmanager
def _holding(path: Path, seconds: float, again: float = 0.0) -> Iterator[None]:
    command = [sys.executable, "-c", _HOLD, str(path), str(seconds), str(again)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def loosen(folder: Path) -> None:
    """Make what lies under `folder` deletable, whatever was done to it."""
    for path in folder.rglob("responder.db*"):
        with suppress(CannotBreak):
            _run("chattr", "-i", str(path))
    shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotBreak(f"there is no {command[0]}") from error
    except subprocess.CalledProcessError as error:
        raise CannotBreak(f"{' '.join(command)}: {error.stderr.strip()} (as user {os.getuid()})") from error

"""Which database the tests run on: SQLite, or with TEST_DATABASE=postgresql a server that the tests start.

A test has a path for its database in both cases; on PostgreSQL the path only names it.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Connection

from tests.postgres import Server, name_of, server

POSTGRESQL = os.environ.get("TEST_DATABASE", "sqlite") == "postgresql"
_open = ExitStack()


@cache
def running() -> Server:
    """The server of this process, started when it is first needed; `stop` ends it."""
    return _open.enter_context(server())


def stop() -> None:
    """End the server, if there is one."""
    _open.close()
    running.cache_clear()


def url(path: Path) -> str:
    """DATABASE_URL of the database at `path`, which exists from then on."""
    return running().url(name_of(path.resolve())) if POSTGRESQL else f"sqlite:///{path}"


def copy(of: Path, to: Path) -> None:
    """Make the database `to` what `of` is, unless it exists."""
    if POSTGRESQL:
        running().url(name_of(to.resolve()), name_of(of.resolve()))
        to.touch()
    elif not to.exists():
        shutil.copyfile(of, to)


def settle(folder: Path, of: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` a place that commands run in with the default settings, on a copy of `of` or on nothing."""
    monkeypatch.chdir(folder)
    path = folder / "var" / "responder.db"
    if of or POSTGRESQL:
        path.parent.mkdir()
    if of:
        copy(of, path)
    if POSTGRESQL:
        monkeypatch.setenv("DATABASE_URL", url(path))


def drop(path: Path) -> None:
    """Remove the database at `path`, whoever uses it."""
    if POSTGRESQL:
        running().drop(name_of(path.resolve()))


def take_away(path: Path) -> None:
    """The database cannot be used any more: the file is no database, the server has none of that name."""
    if POSTGRESQL:
        running().drop(name_of(path.resolve()))
        return
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"this is no database" * 100)


def stored(path: Path) -> bytes:
    """All that lies in the database, as bytes to be searched."""
    if not POSTGRESQL:
        return path.read_bytes()
    with peek(path) as looking:
        values = [v for table in looking.tables() for row in looking.execute(f"SELECT * FROM {table}") for v in row]
    return b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def plan(connection: Connection, statement: str, values: object) -> tuple[set[str], str]:
    """(what a statement reads from end to end, its whole plan): tables by their names or aliases."""
    if not POSTGRESQL:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()  # type: ignore[call-overload]
        text = "\n".join(str(row[3]) for row in rows)
        return set(re.findall(r"^SCAN (\w+)$", text, re.MULTILINE)), text
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the tables are empty: else all are read
    rows = connection.exec_driver_sql(f"EXPLAIN {statement}", values).all()  # type: ignore[call-overload]
    text = "\n".join(str(row[0]) for row in rows)
    return set(re.findall(r"Seq Scan on (\w+)", text)), text


class Peek:
    """A bare connection of a test's own, in autocommit. Questions have `?` for their values, as in SQLite."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, question: str, values: Sequence[object] = ()) -> Any:
        """Run it; the cursor."""
        if POSTGRESQL:
            question = re.sub(r"\?", "%s", question.replace("%", "%%")) if values else question
        return self._connection.execute(question, list(values) or (None if POSTGRESQL else ()))

    def writes(self) -> Any:
        """A mark that moves whenever anybody else writes to the database."""
        question = "SELECT pg_snapshot_xmax(pg_current_snapshot())" if POSTGRESQL else "PRAGMA data_version"
        return self._connection.execute(question).fetchone()[0]

    def tables(self) -> list[str]:
        """The names of all tables."""
        question = (
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            if POSTGRESQL
            else "SELECT name FROM sqlite_master WHERE type = 'table'"
        )
        return [name for (name,) in self.execute(question)]


@contextmanager
def peek(path: Path) -> Iterator[Peek]:
    """Look into the database at `path`, or change it, behind the service's back."""
    if POSTGRESQL:
        with psycopg.connect(running().dsn(name_of(path.resolve())), autocommit=True) as connection:
            yield Peek(connection)
    else:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
            yield Peek(connection)

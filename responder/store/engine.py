"""The database: SQLite in WAL mode, one hot connection a process, statements prepared once. No other engine is tried.

Threads queue at a lock of ours, since SQLite's own wait backs off by whole milliseconds. A transaction of several
statements begins with BEGIN IMMEDIATE: one that starts as a reader and turns writer fails under load.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 5
_OLD = re.compile("no such (table|column)|has no column named")


class StoreAway(RuntimeError):
    """The database cannot be reached or cannot be written just now."""


class NotUpgraded(StoreAway):
    """The database lacks what this version keeps there: `responder init` has not run on it."""


class Prepared:
    """A statement with :named parameters, compiled once for an engine and run on a bare driver cursor."""

    def __init__(self, engine: Engine, sql: str) -> None:
        compiled = text(sql).compile(dialect=engine.dialect)
        self.sql = str(compiled)
        self.names: list[str] | None = list(compiled.positiontup or ()) if compiled.positional else None

    def run(self, connection: Any, values: Mapping[str, Any]) -> Any:
        """The cursor, after running on the driver's `connection`."""
        return connection.execute(self.sql, [values[name] for name in self.names] if self.names is not None else values)


class _Own:
    """A bare connection for one thread at a time: its cache stays warm where a reader's own would be emptied by every
    write (measured: a fifth of the whole reply). A connection that failed is not used again: StoreAway.
    """

    def __init__(self, connect: Callable[[], Any], failures: tuple[type[Exception], ...]) -> None:
        self._connect, self._failures = connect, failures
        self._lock = threading.Lock()
        self._connection: Any = None

    def __enter__(self) -> Any:
        self._lock.acquire()
        try:
            if self._connection is None:
                self._connection = self._connect()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, self._failures):
                raise _away(error) from error
            raise
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        failed = isinstance(error, self._failures)
        if failed:
            _close(self._connection)
            self._connection = None
        self._lock.release()
        if failed:
            raise _away(error) from error

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            _close(self._connection)
            self._connection = None


class Database:
    """An engine, and one bare connection for what every turn reads and writes."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        if self.sqlite:
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        else:
            options = {"connect_timeout": BUSY_SECONDS}
        pool: dict[str, Any] = {"poolclass": NullPool} if self.sqlite else {"pool_pre_ping": True}
        self.engine = create_engine(parsed, connect_args=options, **pool)
        if self.sqlite:
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        errors = (self.engine.dialect.loaded_dbapi.Error, DBAPIError)
        self._own = _Own(self._bare, errors)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A durable transaction on an SQLAlchemy connection. Raises StoreAway."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise _away(error.orig) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent read on an SQLAlchemy connection. Raises StoreAway."""
        try:
            with self.engine.connect().execution_options(reading=True) as connection:
                yield connection
        except DBAPIError as error:
            raise _away(error.orig) from error

    def fetch(self, statement: Prepared, values: Mapping[str, Any]) -> list[Any]:
        """All rows of a read on this process's own connection. Raises StoreAway."""
        with self._own as connection:
            return statement.run(connection, values).fetchall()  # type: ignore[no-any-return]

    def insert(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """How many rows one INSERT added, as a transaction of its own: one call, so that no thread of ours is waited
        for while the file is locked. Raises StoreAway.
        """
        with self._own as connection:
            return statement.run(connection, values).rowcount  # type: ignore[no-any-return]

    def transact(self, work: Callable[[Any], None], durable: bool) -> None:
        """Do `work` with this process's own connection in a transaction; what it raises undoes it.

        `durable`: it survives a power cut (SQLite: synchronous=FULL). Raises StoreAway.
        """
        full = self.sqlite and durable
        with self._own as connection:
            if full:
                connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE" if self.sqlite else "BEGIN")
            try:
                work(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            if full:
                connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Close every connection; the next use opens them again."""
        self._own.close()
        self.engine.dispose()

    def _bare(self) -> Any:
        connection = self.engine.raw_connection()
        bare: Any = connection.driver_connection
        connection.detach()  # it is ours from here on
        if self.sqlite:
            for pragma in ("synchronous=NORMAL", "cache_size=-32768", "mmap_size=268435456"):
                bare.execute(f"PRAGMA {pragma}")
        else:
            bare.autocommit = True
        return bare


def _away(error: BaseException | None) -> StoreAway:
    """What the driver said; and what to do, where it misses a table."""
    said = str(error)
    if _OLD.search(said):
        return NotUpgraded(f"{said}; run `responder init`, which makes or upgrades the database")
    return StoreAway(said)


def _close(connection: Any) -> None:
    if connection is not None:
        with suppress(Exception):  # it is broken already
            connection.close()


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    # A checkpoint syncs two files; 8,000 pages (32 MB) between them keeps it out of most people's wait.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=8000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if options.get("reading") else "BEGIN IMMEDIATE")

"""The database: SQLite in WAL mode, or PostgreSQL by psycopg 3; hot connections of our own, statements prepared once.

SQLite lets one write at a time. A transaction of several statements begins with BEGIN IMMEDIATE there: one that starts
as a reader and turns writer fails under load. Threads queue for the one hot connection, since SQLite's own wait backs
off by whole milliseconds.

On PostgreSQL what operators, pushes and senders do is one after the other too, by an advisory lock: what one of them
has read stays true until it commits. Residents' turns, receipts and counts wait for nobody (`alone=False`); their
statements guard themselves: unique keys, and conditions that are looked at again once a row is free.
"""

import re
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from responder import metrics
from responder.settings import SettingsError

BUSY_SECONDS = 5  # that one waits for a lock, or for the server to take a connection
LOCKED_MS, HURRIED_MS = 1000, 50  # that a turn waits for SQLite's lock; and if the one before waited in vain
HOT = 8  # bare connections of a process to PostgreSQL: one for each resident that web/gate.py lets work at a time
POOL = 4  # others, for operators, jobs and receipts; as many again twice over while they are in use
_OLD = re.compile(r"no such (table|column)|has no column named|(relation|column) \S+ .*does not exist")
_PASSING = re.compile(r"database is locked|connection|starting up|shutting down")
_AGAIN = ("40001", "40P01")  # PostgreSQL undid it for another's sake (a deadlock): do it again
_IN_A_MOMENT = (*_AGAIN, "55P03", "57014")  # or somebody else was waited for in vain
_POSTGRESQL = {
    "connect_timeout": BUSY_SECONDS,
    "application_name": "responder",
    # a server that is gone without a word is noticed
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
    # what we ask is short: compiling it (jit) takes longer, up to 0.2 s a query on tables that were not analysed yet
    "options": "-c lock_timeout=60s -c idle_in_transaction_session_timeout=60s -c statement_timeout=300s -c jit=off",
}  # fmt: skip
# As SQLite's synchronous=NORMAL: a crash of the server may lose the last half second of what promises nothing.
_POSTGRESQL_HOT = "SET synchronous_commit=off; SET statement_timeout='5s'; SET lock_timeout='5s'"
_DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite"} | dict.fromkeys(
    ("postgresql", "postgres", "postgresql+psycopg"), "postgresql+psycopg"
)
NO_ADDRESS = "DATABASE_URL is no address of a database: sqlite:///... or postgresql+psycopg://..."
_ALONE = 1  # the number of the advisory lock
Result = TypeVar("Result")
Work = Callable[[Any], Callable[[], None] | None]  # runs statements on a connection; then what they came to is checked


class StoreAway(RuntimeError):
    """The database cannot be reached or cannot be written just now."""


class NotUpgraded(StoreAway):
    """The database lacks what this version keeps there: `responder init` has not run on it."""


class Passing(StoreAway):
    """As while a file is locked or a server restarts: a few seconds may be enough."""


class ConnectionLost(Passing):
    """The server closed the connection, or undid what it carried: it may be done again."""


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
    """Bare connections, each for one thread at a time. On SQLite there is one: its cache stays warm where a reader's
    own would be emptied by every write (measured: a fifth of the whole reply). One that failed is not used again,
    unless PostgreSQL only undid what it carried: opening another takes longer than that, when the server is slow.
    """

    def __init__(self, connect: Callable[[], Any], failures: tuple[type[Exception], ...], most: int) -> None:
        self._connect, self._failures = connect, failures
        self._free: LifoQueue[Any] = LifoQueue()  # the one that was used last is the warmest
        self._most = most
        for _ in range(most):
            self._free.put(None)

    def open(self) -> None:
        """Open those that are not open. Raises StoreAway."""
        with ExitStack() as together:
            for _ in range(self._most):
                together.enter_context(self.one())

    @contextmanager
    def one(self) -> Iterator[Any]:
        """A connection. Raises StoreAway."""
        try:
            connection, fresh = self._free.get(timeout=BUSY_SECONDS), False
        except Empty:
            raise Passing("every connection is in use") from None
        try:
            if connection is None:
                connection, fresh = self._connect(), True
            yield connection
        except self._failures as error:
            undone, broken = _is_undone(error), _is_broken(connection) and not fresh
            if not _is_as_before(connection, error):
                _close(connection)
                connection = None
            if broken:
                self.close()  # if one is gone, the others are
            raise (ConnectionLost(str(error)) if undone or broken else _away(error)) from error
        finally:
            self._free.put(connection)

    def close(self) -> None:
        """Close the connections that are not in use; the next use opens others."""
        idle = []
        with suppress(Empty):
            while True:
                idle.append(self._free.get_nowait())
        for connection in idle:
            _close(connection)
            self._free.put(None)


class Database:
    """An engine, and bare connections for what every turn reads and writes. `pooled`: connections to PostgreSQL are
    kept for the next transaction, as a service wants it that closes them in the end; a command opens and closes them.
    """

    def __init__(self, url: str, pooled: bool = False) -> None:
        parsed = address(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = dict(_POSTGRESQL)
        pool: dict[str, Any] = {"poolclass": NullPool}
        if self.sqlite:
            if parsed.database and parsed.database != ":memory:":
                _make_private(Path(parsed.database))
            options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        elif pooled:
            pool = {"pool_pre_ping": True, "pool_size": POOL, "max_overflow": 2 * POOL, "pool_timeout": 10}
        self.engine = create_engine(parsed, connect_args=options, hide_parameters=True, **pool)
        if self.sqlite:
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        errors = (self.engine.dialect.loaded_dbapi.Error, DBAPIError)
        self._own = _Own(self._bare, errors, 1 if self.sqlite else HOT)
        self._hurries = False  # the last write found SQLite's file locked: nobody else waits long until one succeeds
        weakref.finalize(self, _let_go, self._own, self.engine)  # a command need not close what it opened
        self._reading: dict[str, Any] = {"reading": True} if self.sqlite else {"isolation_level": "REPEATABLE READ"}

    @contextmanager
    def write(self, alone: bool = True) -> Iterator[Connection]:
        """A durable transaction on an SQLAlchemy connection; on SQLite it is always `alone`. Raises StoreAway."""
        try:
            with self.engine.begin() as connection:
                if alone and not self.sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ALONE})")
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise _away(getattr(error, "orig", error)) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent read on an SQLAlchemy connection. Raises StoreAway."""
        try:
            with self.engine.connect().execution_options(**self._reading) as connection:
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise _away(getattr(error, "orig", error)) from error

    def fetch(self, statement: Prepared, values: Mapping[str, Any]) -> list[Any]:
        """All rows of a read on this process's own connection. Raises StoreAway."""
        return self._twice(lambda connection: statement.run(connection, values).fetchall())

    def insert(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """How many rows one INSERT added, as a transaction of its own: one call, so that no thread of ours is waited
        for while the file is locked. Raises StoreAway.
        """
        return int(self._written(lambda connection: statement.run(connection, values).rowcount))

    def transact(self, work: Work, durable: bool) -> None:
        """Do `work` with this process's own connection in a transaction; what it raises undoes it. It may be done
        twice, if the server undid it or went away meanwhile: an INSERT in it has to notice that it was committed.

        Its statements go to PostgreSQL one behind the other without waiting for what each comes to, so that a server
        far away costs two waits. Who has to know what they came to returns a check, which is made before the commit.

        `durable`: it survives a power cut (synchronous=FULL, synchronous_commit=on). Raises StoreAway.
        """
        in_one = self._on_sqlite if self.sqlite else _on_postgresql
        self._written(lambda connection: in_one(connection, work, durable))

    def _on_sqlite(self, connection: Any, work: Work, durable: bool) -> None:
        if durable:
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if check := work(connection):
                check()
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        if durable:
            connection.execute("PRAGMA synchronous=NORMAL")

    def _written(self, use: Callable[[Any], Result]) -> Result:
        """What `use`, which writes, makes of a connection."""

        def written(connection: Any) -> Result:
            result = use(connection)
            if self._hurries:  # the lock is free again
                self._hurries = False
                connection.execute(f"PRAGMA busy_timeout={LOCKED_MS}")
            return result

        return self._twice(written)

    def _twice(self, use: Callable[[Any], Result]) -> Result:
        """What `use` makes of a connection; with another one if the server had closed that one, or undid the work."""
        try:
            with self._own.one() as connection:
                return use(connection)
        except ConnectionLost:
            with self._own.one() as connection:
                return use(connection)
        except Passing:
            self._hurries = self.sqlite
            raise

    def warm(self) -> None:
        """Open this process's own connections, which a turn would else wait for: with a server far away, for longer
        than for its answer. Raises StoreAway.
        """
        self._own.open()

    def close(self) -> None:
        """Close every connection; the next use opens them again."""
        _let_go(self._own, self.engine)

    def _bare(self) -> Any:
        connection = self.engine.raw_connection()
        bare: Any = connection.driver_connection
        connection.detach()  # it is ours from here on
        if self.sqlite:
            wait = HURRIED_MS if self._hurries else LOCKED_MS
            for pragma in ("synchronous=NORMAL", "cache_size=-32768", "mmap_size=268435456", f"busy_timeout={wait}"):
                bare.execute(f"PRAGMA {pragma}")
        else:
            bare.autocommit = True
            bare.execute(_POSTGRESQL_HOT)
        return bare


def _let_go(own: _Own, engine: Engine) -> None:
    own.close()
    engine.dispose()


def _away(error: BaseException | None) -> StoreAway:
    """What the driver said; and what to do, where it misses a table."""
    said = str(error)
    is_old = bool(_OLD.search(said))
    metrics.database_error("old" if is_old else "away")
    if is_old:
        return NotUpgraded(f"{said}; run `responder init`, which makes or upgrades the database")
    if getattr(error, "sqlstate", None) in _IN_A_MOMENT or (_PASSING.search(said) and "does not exist" not in said):
        return Passing(said)
    return StoreAway(said)


def _is_undone(error: BaseException) -> bool:
    """Whether PostgreSQL undid the transaction for another's sake; SQLite never does."""
    return getattr(error, "sqlstate", None) in _AGAIN


def _is_as_before(connection: Any, error: BaseException) -> bool:
    """Whether there is a connection, which carries nothing any more and can be used again; on SQLite never."""
    if connection is None or getattr(error, "sqlstate", None) not in _IN_A_MOMENT:
        return False
    return bool(connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE)


def _is_broken(connection: Any) -> bool:
    """Whether PostgreSQL closed the connection; SQLite never does."""
    return connection is not None and bool(getattr(connection, "broken", False))


def address(url: str) -> URL:
    """DATABASE_URL, with the driver that we have where it names none. Raises SettingsError, without its password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(NO_ADDRESS) from None  # what it says of a port may be a part of a password
    if parsed.drivername not in _DRIVERS:
        raise SettingsError(NO_ADDRESS)
    return parsed.set(drivername=_DRIVERS[parsed.drivername])


def _make_private(path: Path) -> None:
    """Numbers lie there, if sealed: nobody else may read the file, nor what SQLite puts beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # where it cannot be made, SQLite says so; where it is another's, the doctor does
        path.touch(mode=0o600)
        for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if one.is_file():  # a folder that is named by mistake may be everybody's, as /tmp is
                one.chmod(one.stat().st_mode & 0o770)


def _on_postgresql(connection: Any, work: Work, durable: bool) -> None:
    with connection.pipeline() as pipeline, connection.transaction():
        if durable:
            connection.execute("SET LOCAL synchronous_commit=on")
        check = work(connection)
        pipeline.sync()
        if check:
            check()


def _close(connection: Any) -> None:
    if connection is not None:
        with suppress(Exception):  # it is broken already
            connection.close()


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    _use_wal(connection)
    # A checkpoint syncs two files; 8,000 pages (32 MB) between them keeps it out of most people's wait.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=8000"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Of several that open a new file, SQLite lets one make it a WAL and refuses the others without any wait."""
    end = monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
        sleep(0.02)


def _begin_immediate(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if options.get("reading") else "BEGIN IMMEDIATE")

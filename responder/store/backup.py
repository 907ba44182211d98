"""Backups of the whole database, made while the service works: a copy of the file from SQLite, a dump from PostgreSQL.

A backup is written to a hidden name beside its own, checked and synced, and only then called by its name: what has the
name is whole. It holds what the database holds: numbers and texts are sealed in it, and the keys are not in it.
"""

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from responder.store import dump, migrations
from responder.store.dump import BackupError
from responder.store.engine import Database, StoreAway

SQLITE = b"SQLite format 3\0"  # the first bytes of its files
OURS = ("alembic_version", "meta", "points", "turns")  # tables that every revision has
PARTIAL = ".partial"
STALE = 86_400.0  # seconds after which a hidden file was left behind by a backup that was killed
BUSY = 10.0  # seconds that one waits for a lock
_SHOWN = 3  # of the faults that a check finds
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class Made:
    """A backup: its file, bytes, rows by table, the seconds it took, and older ones that were removed for it."""

    file: Path
    size: int
    rows: Mapping[str, int]
    seconds: float
    removed: tuple[Path, ...] = ()


def back_up(database: Database, file: Path, force: bool = False) -> Made:
    """Make the backup `file`; `force`: in the place of one that is there. Raises BackupError, StoreAway or OSError."""
    begun = monotonic()
    if file.is_dir():
        raise BackupError(f"{file} is a folder: name a file in it, or `--folder {file}`")
    if file.exists() and not file.is_file():
        raise BackupError(f"{file} is no file: a backup would take its place")
    if file.exists() and not force:
        raise BackupError(f"{file} is there already: choose another name, or --force")
    with hidden_beside(file) as partial:
        rows = _of_sqlite(database, partial) if database.sqlite else _of_postgresql(database, partial)
        put_in_place(partial, file, force)
    return Made(file, file.stat().st_size, rows, monotonic() - begun)


def name_at(now: datetime) -> str:
    """What the backup of `now` (UTC) is called in a folder of them."""
    return f"responder-{now:%Y%m%dT%H%M%SZ}.backup"


def thin_out(folder: Path, keep: int, now: datetime) -> tuple[Path, ...]:
    """Remove the oldest backups of a folder beyond `keep`, and what killed ones left; the backups that were removed."""
    made = sorted(folder.glob("responder-????????T??????Z.backup"))
    gone = tuple(made[: max(0, len(made) - keep)])
    for path in gone:
        path.unlink(missing_ok=True)
    for path in folder.glob(f".responder-*{PARTIAL}*"):
        with suppress(OSError):
            if now.timestamp() - path.stat().st_mtime > STALE:
                path.unlink()
    return gone


@contextmanager
def hidden_beside(file: Path) -> Iterator[Path]:
    """An empty file of its owner's alone beside `file`; it is gone in the end if nobody has put it in place."""
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}{PARTIAL}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield partial
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                partial.with_name(partial.name + suffix).unlink()


def put_in_place(partial: Path, file: Path, force: bool) -> None:
    """Sync `partial` and call it `file`, in one step; never over another one without `force`."""
    sync(partial)
    if force:
        partial.replace(file)
    else:
        link(partial, file)
        partial.unlink(missing_ok=True)
    sync(file.parent)


def link(path: Path, name: Path) -> None:
    """Give a file a second name that nothing has. Where there are no links, its only one. Raises BackupError."""
    try:
        os.link(path, name)
    except FileExistsError as error:
        raise BackupError(f"{name} is there already: choose another name, or --force") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if name.exists():
            raise BackupError(f"{name} is there already: choose another name, or --force") from error
        path.rename(name)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def copy_sqlite(source: Path, to: Path) -> None:
    """Copy a database as it is at one moment, while others read and write it, to a file that needs no other beside it.

    In one step: SQLite then reads one snapshot, and nobody waits. Raises BackupError.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY)) as live,
            closing(sqlite3.connect(to, timeout=BUSY, isolation_level=None)) as copy,
        ):
            live.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupError(f"{source}: {error}") from error


def check_sqlite(file: Path) -> str:
    """The revision of a database file that is whole and ours. Raises BackupError with what is wrong."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY)) as copy:
            said = [str(row[0]) for row in copy.execute(f"PRAGMA integrity_check({_SHOWN})")]
            tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if said != ["ok"]:
                raise BackupError(f"{file.name} is damaged: {'; '.join(said)}")
            if not tables.issuperset(OURS):
                raise BackupError(f"{file.name} is a database, but none of ours: it lacks {_lacking(tables)}")
            row = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{file.name} is damaged: {error}") from error
    return str(row[0]) if row else ""


def check_revision(revision: str, file: Path) -> None:
    """Refuse the backup `file` if a newer version made it. Raises BackupError."""
    if revision not in migrations.known():
        raise BackupError(
            f"{file} is of revision {revision or 'none'}, and this version knows {', '.join(migrations.known())}: a"
            " newer version made it, install that one"
        )


def rows_of_sqlite(file: Path) -> dict[str, int]:
    """Rows by table of a database file."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY)) as copy:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        tables = [row[0] for row in copy.execute(names)]
        return {name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


def file_of(database: Database) -> Path:
    """The file of an SQLite database. Raises BackupError for one in memory."""
    name = database.engine.url.database
    if not name or name == ":memory:":
        raise BackupError("a database in memory has no backup")
    return Path(name)


def _of_sqlite(database: Database, partial: Path) -> dict[str, int]:
    source = file_of(database)
    if not source.exists() or not source.stat().st_size:
        raise BackupError(f"there is no database at {source}: nothing to back up")
    try:
        copy_sqlite(source, partial)
        check_sqlite(partial)
    except BackupError as error:
        said = str(error).replace(partial.name, str(source))
        raise BackupError(f"the database itself cannot be backed up: {said}") from error
    return rows_of_sqlite(partial)


def _of_postgresql(database: Database, partial: Path) -> dict[str, int]:
    """The dump and the counts are of one snapshot, which a transaction of ours holds."""
    try:
        with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
            tables = sorted(inspect(connection).get_table_names())
            if not set(tables).issuperset(OURS):
                raise BackupError(f"the database is none of ours: it lacks {_lacking(set(tables))}; `responder init`")
            rows = {
                name: int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()) for name in tables
            }
            dump.dump(database.engine, dump.server_version(connection), partial, str(snapshot))
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error
    dump.check(partial)
    return rows


def _lacking(tables: set[str]) -> str:
    return ", ".join(name for name in OURS if name not in tables)

"""Whether a database is fit to be worked on: written to, whole, with room on its disk, and closed to strangers."""

import shutil
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text

from responder.store.engine import Database

FAULTS_TOLD = 3
LOW_DISK = 500_000_000  # bytes; below this a crisis may fill what is left


class _TakenBack(Exception):
    """Ends a transaction that must leave nothing."""


def try_write(database: Database) -> None:
    """Write, and take it back. Raises StoreAway where a real write would."""
    with suppress(_TakenBack), database.write() as connection:
        connection.execute(text("UPDATE meta SET value = value"))
        raise _TakenBack


def faults(database: Database) -> list[str]:
    """What SQLite finds broken in its file; nothing of another engine, which looks after itself. Raises StoreAway."""
    if not database.sqlite:
        return []
    with database.read() as connection:
        said = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA quick_check({FAULTS_TOLD})")]
    return [] if said == ["ok"] else said


def server_time(database: Database) -> float | None:
    """Seconds since 1970 by the clock of the database's own server; None where it is a file. Raises StoreAway."""
    if database.sqlite:
        return None
    with database.read() as connection:
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def files(database: Database) -> list[Path]:
    """The files that it lies in, those there are; none of a server's."""
    name = database.engine.url.database
    if not database.sqlite or not name or name == ":memory:":
        return []
    return [path for path in (Path(name + suffix) for suffix in ("", "-wal", "-shm")) if path.exists()]


def free_bytes(path: Path) -> int:
    """Room left on the disk of `path`. Raises OSError."""
    return shutil.disk_usage(path).free

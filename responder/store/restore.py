"""Put a backup in the place of the database: all of it or nothing, whenever one is killed.

It is made ready beside: loaded, upgraded, held back (`restored`), checked. Then one step changes the two: a rename of
SQLite's file while nobody can read it; two renames of databases in one transaction of PostgreSQL. What there was stays
under another name. Where the role may not create databases, one transaction empties the tables and fills them.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

from responder.store import backup, dump, migrations, postgres_restore
from responder.store.backup import SQLITE
from responder.store.dump import BackupError
from responder.store.engine import Database, address
from responder.store.postgres_restore import Ready
from responder.store.restored import HELD, Held, hold
from responder.store.schedule import LEASE

_SHARED_LOCK = (510, 0x40000002)  # length and start of what whoever has SQLite's file open has locked


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the name of what there was before ("": nothing), the revision of the backup, what was held
    back, and the seconds it took.
    """

    kept: str
    revision: str
    held: Held
    seconds: float


def restore(url: str, file: Path, now: datetime, who: str, force: bool = False) -> Restored:
    """Make the database of `url` what the backup `file` holds. `force`: though somebody uses it.

    Raises SettingsError, BackupError, StoreAway or OSError; the database is as it was then.
    """
    begun = monotonic()
    at = address(url)
    is_sqlite = at.get_backend_name() == "sqlite"
    _look_at(file, is_sqlite)
    if is_sqlite:
        ready, kept = _restore_sqlite(Path(at.database or ""), file, now, who, force)
    else:
        with closing(Database(url)) as database:
            ready, kept = postgres_restore.restore(database, file, now, who, force)
    return Restored(kept, ready.revision, ready.held, monotonic() - begun)


def _look_at(file: Path, is_sqlite: bool) -> None:
    """Refuse what is no backup, or one of the other engine. Raises BackupError."""
    with file.open("rb") as opened:
        first = opened.read(len(SQLITE))
    if first != SQLITE and not first.startswith(dump.MAGIC):
        raise BackupError(f"{file} is no backup: neither a database of SQLite nor a dump of PostgreSQL")
    if (first == SQLITE) is not is_sqlite:
        engines = ("SQLite", "PostgreSQL") if first == SQLITE else ("PostgreSQL", "SQLite")
        raise BackupError(
            f"{file} is a backup of {engines[0]}, and DATABASE_URL is {engines[1]}: restore it with a DATABASE_URL of"
            f" {engines[0]}, then `responder move`"
        )


def _restore_sqlite(target: Path, file: Path, now: datetime, who: str, force: bool) -> tuple[Ready, str]:
    if not target.name or target.name == ":memory:":
        raise BackupError("a database in memory cannot be restored")
    if target.exists() and target.samefile(file):
        raise BackupError(f"{file} is the database itself, not a backup of it")
    beside = file.with_name(f"{file.name}-wal")
    if beside.exists() and beside.stat().st_size:
        raise BackupError(f"{file} is a database in use, not a backup: {beside.name} stands beside it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(target.parent), _old(target, now, force) as alone, backup.hidden_beside(target) as partial:
        _clean_up(target, partial)
        shutil.copyfile(file, partial)
        _give(partial, target if target.exists() else target.parent)
        ready = _made_ready(partial, file, now, who)
        kept = target.with_name(f"{target.name}.before-restore-{now:%Y%m%dT%H%M%SZ}")
        has_old = target.exists() and target.stat().st_size > 0
        if not alone:  # others go on with the file that they have open: it is filled, as one transaction
            backup.copy_sqlite(target, kept)
            kept.chmod(0o600)
            backup.sync(kept)
            _fill(target, partial)
        else:
            if has_old:
                _keep(target, kept)
            partial.replace(target)
            backup.sync(target.parent)
    return ready, str(kept) if has_old else ""


def _made_ready(partial: Path, file: Path, now: datetime, who: str) -> Ready:
    """The copy, upgraded and held back, as one whole and synced file. Raises BackupError."""
    try:
        revision = backup.check_sqlite(partial)
    except BackupError as error:
        raise BackupError(str(error).replace(partial.name, str(file))) from error
    backup.check_revision(revision, file)
    with closing(Database(f"sqlite:///{partial.absolute()}")) as database:
        migrations.upgrade(database.engine)
        with database.write() as connection:
            held = hold(connection, now, who)
    with closing(sqlite3.connect(partial)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")  # what stood beside it is in it
    backup.check_sqlite(partial)
    backup.sync(partial)
    return Ready(revision, held)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(f"another restore is under way in {folder}") from error
    finally:
        os.close(number)


@contextmanager
def _old(target: Path, now: datetime, force: bool) -> Iterator[bool]:
    """Whether nobody has the database open, and then nobody can until the end; what stood beside its file is in it.

    Raises BackupError if somebody uses it, or led the jobs a moment ago, and it is not forced.
    """
    if not target.exists() or not target.stat().st_size:
        yield True
        return
    with closing(sqlite3.connect(target, timeout=2.0, isolation_level=None)) as old:
        try:
            if not force and (leads := _leads(old, now)):
                raise BackupError(leads)
            old.execute("PRAGMA journal_mode=DELETE")  # refused while anybody else has it open
            old.execute("BEGIN EXCLUSIVE")
            alone = True
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) and _is_unlocked(target):
                alone = True
            elif force:
                alone = False
            else:
                raise BackupError(
                    "somebody uses the database: stop the service and the jobs first, or --force"
                ) from error
        except sqlite3.DatabaseError as error:  # damaged: that is why it is restored
            if not _is_unlocked(target):
                raise BackupError("somebody uses the database, which is damaged: stop the service first") from error
            alone = True
        yield alone


def _leads(old: sqlite3.Connection, now: datetime) -> str:
    """Who leads the jobs, and what to do about it; "" if nobody does."""
    with suppress(sqlite3.Error):
        sql = "SELECT owner, until FROM leases WHERE name = ? AND until > ? AND owner <> ?"
        if row := old.execute(sql, [LEASE, now.timestamp(), HELD]).fetchone():
            return postgres_restore.in_charge(row[0], row[1] - now.timestamp())
    return ""


def _is_unlocked(path: Path) -> bool:
    """Whether no other process has the file open as a database, be it one or not."""
    with path.open("rb+") as opened:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SHARED_LOCK)
        except OSError:
            return False
        return True


def _keep(target: Path, kept: Path) -> None:
    """What there is gets another name too; what stands beside a damaged file goes along: SQLite would read it into the
    new one.
    """
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            target.with_name(target.name + suffix).rename(kept.with_name(kept.name + suffix))
    try:
        os.link(target, kept)
    except OSError:  # where there are no links
        shutil.copy2(target, kept)
        backup.sync(kept)
    backup.sync(kept.parent)


def _fill(target: Path, partial: Path) -> None:
    """The content of one database into another, as one transaction of SQLite."""
    try:
        with closing(sqlite3.connect(partial)) as new, closing(sqlite3.connect(target, timeout=30.0)) as old:
            old.execute("PRAGMA synchronous=FULL")
            new.backup(old, pages=-1)
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be filled: {error}; stop the service first") from error


def _clean_up(target: Path, mine: Path) -> None:
    """Remove what a killed restore left."""
    for path in target.parent.glob(f".{target.name}.*{backup.PARTIAL}*"):
        if not path.name.startswith(mine.name):
            with suppress(OSError):
                path.unlink()


def _give(partial: Path, to_owner_of: Path) -> None:
    """As root, let the file belong to whom the service runs as."""
    if os.geteuid() == 0:
        owner = to_owner_of.stat()
        os.chown(partial, owner.st_uid, owner.st_gid)

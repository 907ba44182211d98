"""Restoring a dump into PostgreSQL: a new database that takes the old one's name, or one transaction within it."""

import re
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from responder.store import backup, dump, migrations
from responder.store.dump import BackupError
from responder.store.engine import Database, StoreAway
from responder.store.restored import HELD, Held, hold
from responder.store.schedule import LEASE, leader

_LONGEST = 63 - len("_before_restore_20261126T032900Z")  # bytes of a name that leave room for what we add
_LOOKS, _LOOK_AGAIN = 15, 0.2  # times, and seconds between
_TRIES = 50  # to rename while others come back as soon as they are thrown out


@dataclass(frozen=True, slots=True)
class Ready:
    """A backup that was made ready: its revision, and what was held back."""

    revision: str
    held: Held


def restore(database: Database, file: Path, now: datetime, who: str, force: bool) -> tuple[Ready, str]:
    """(what was made ready, the name of what there was). Raises BackupError or StoreAway."""
    dump.check(file)
    revision = _revision(file)
    backup.check_revision(revision, file)
    name = str(database.engine.url.database)
    try:
        with _server(database.engine) as server, _one_at_a_time(server, name):
            exists = _exists(server, name)
            if exists and not force:
                _refuse_if_used(server, database, name, now)
            if not _may_create(server, name if exists else ""):
                if not exists:
                    raise BackupError(f"there is no database {name}, and {database.engine.url.username} may not create"
                                      " one: have it created, empty")  # fmt: skip
                return _within(database, file, revision, now, who)
            return _beside(database.engine, server, file, revision, now, who, force)
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error


def in_charge(owner: str, left: float) -> str:
    """Why one does not restore while `owner` leads the jobs, for `left` seconds at least."""
    return f"the jobs process {owner} leads: stop it first, or wait {max(1, round(left))} s if it is dead, or --force"


def _beside(
    engine: Engine, server: Connection, file: Path, revision: str, now: datetime, who: str, force: bool
) -> tuple[Ready, str]:
    """Into a database of its own, which then takes the name."""
    name = str(engine.url.database)
    stamp, short = f"{now:%Y%m%dT%H%M%SZ}", name.encode()[:_LONGEST].decode(errors="ignore")
    new, kept = f"{short}_restore_{stamp}", f"{short}_before_restore_{stamp}"
    for left in _left_behind(server, short):
        server.exec_driver_sql(f"DROP DATABASE {_quoted(left)}")
    has_old = _exists(server, name)
    server.exec_driver_sql(f"CREATE DATABASE {_quoted(new)} TEMPLATE template0{_as_old(server, name)}")
    try:
        dump.load(engine, dump.server_version(server), file, new)
        with closing(Database(_at(engine.url, new).render_as_string(hide_password=False))) as database:
            migrations.upgrade(database.engine)
            with database.write() as connection:
                held = hold(connection, now, who)
            with database.engine.connect() as connection:
                connection.exec_driver_sql("SET statement_timeout = 0")
                connection.exec_driver_sql("ANALYZE")
                connection.commit()
        _swap(server, name, new, kept if has_old else "", force)
    except BaseException:
        server.exec_driver_sql(f"DROP DATABASE IF EXISTS {_quoted(new)} WITH (FORCE)")
        raise
    return Ready(revision, held), kept if has_old else ""


def _swap(server: Connection, name: str, new: str, kept: str, force: bool) -> None:
    """Both names change in one transaction. `kept`: what the old one is called then, "" if there is none."""
    steps = [f"ALTER DATABASE {_quoted(new)} RENAME TO {_quoted(name)}"]
    if kept:
        steps.insert(0, f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(kept)}")
    bare: Any = server.connection.driver_connection
    for tried in range(_TRIES):
        if force:
            server.execute(text(_THROW_OUT), {"name": name})
        try:
            with bare.transaction():
                for step in steps:
                    bare.execute(step)
            return
        except bare_error(server) as error:
            if getattr(error, "sqlstate", "") != "55006" or not force or tried == _TRIES - 1:  # in use
                raise BackupError(f"the databases cannot be renamed: {error}".strip()) from error
            sleep(0.1)


def bare_error(server: Connection) -> type[Exception]:
    """What the driver raises."""
    error: type[Exception] = server.dialect.loaded_dbapi.Error
    return error


def _within(database: Database, file: Path, revision: str, now: datetime, who: str) -> tuple[Ready, str]:
    """Into the same database: its tables are dropped, made as they were at `revision`, filled, upgraded and held back
    in one transaction. What there was is dumped beside `file` first.
    """
    kept = ""
    if inspect(database.engine).has_table("alembic_version"):
        name = f"{database.engine.url.database}.before-restore-{now:%Y%m%dT%H%M%SZ}"
        kept = str(backup.back_up(database, file.with_name(name)).file)
    with database.write() as connection, dump.lines(file, "--data-only") as data:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        is_newer = migrations.is_newer(MigrationContext.configure(connection).get_current_revision())
        for table in inspect(connection).get_table_names():
            if table in _TABLES or is_newer:  # what that version has made would be in the way of its next upgrade
                connection.exec_driver_sql(f'DROP TABLE "{table}" CASCADE')
        migrations.upgrade_within(connection, revision)
        _fill(connection, data)
        migrations.upgrade_within(connection)
        held = hold(connection, now, who)
    return Ready(revision, held), kept


def _fill(connection: Connection, lines: Iterator[str]) -> None:
    """Run a script of data: COPY with its lines, and the sequences. What the migrations had put there goes first."""
    bare: Any = connection.connection.driver_connection
    for line in lines:
        if table := _COPY.match(line):
            bare.execute(f"DELETE FROM {table[1]}")
            with bare.cursor().copy(line.rstrip(";")) as copy:
                for row in lines:
                    if row == "\\.":
                        break
                    copy.write(f"{row}\n")
        elif line.startswith("SELECT pg_catalog.setval("):
            bare.execute(line)


def _revision(file: Path) -> str:
    """The revision that a dump is of. Raises BackupError if it is none of ours."""
    listed = dump.run(dump.tool("pg_restore"), ("--list", str(file)))
    lacking = [name for name in backup.OURS if not re.search(rf"TABLE DATA \S+ {name} ", listed)]
    if lacking:
        raise BackupError(f"{file} is a dump, but none of ours: it lacks {', '.join(lacking)}")
    found = re.search(r"^COPY .*\n(\S+)$", dump.script(file, "--data-only", "--table=alembic_version"), re.MULTILINE)
    return found[1] if found else "none"


@contextmanager
def _server(engine: Engine) -> Iterator[Connection]:
    """A connection to another database of the server, that commits each statement. Raises StoreAway."""
    for name in ("postgres", "template1"):
        made = create_engine(_at(engine.url, name), poolclass=NullPool, isolation_level="AUTOCOMMIT",
                             connect_args={"connect_timeout": 10, "application_name": "responder restore"},
                             hide_parameters=True)  # fmt: skip
        try:
            connection = made.connect()
        except DBAPIError as error:
            refused = error
            continue
        with connection:
            yield connection
        return
    raise StoreAway(str(refused.orig))


@contextmanager
def _one_at_a_time(server: Connection, name: str) -> Iterator[None]:
    key = zlib.crc32(f"responder restore {name}".encode())
    if not server.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
        raise BackupError(f"another restore of {name} is under way")
    yield


def _exists(server: Connection, name: str) -> bool:
    return bool(server.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar())


def _may_create(server: Connection, name: str) -> bool:
    """Whether we may create databases, and rename the one called `name`."""
    sql = (
        "SELECT r.rolsuper OR (r.rolcreatedb AND NOT EXISTS (SELECT 1 FROM pg_database d WHERE d.datname = :name"
        " AND NOT pg_has_role(current_user, d.datdba, 'USAGE'))) FROM pg_roles r WHERE r.rolname = current_user"
    )
    return bool(server.execute(text(sql), {"name": name}).scalar())


def _refuse_if_used(server: Connection, database: Database, name: str, now: datetime) -> None:
    """Raises BackupError if somebody is connected, or leads the jobs."""
    with database.engine.connect() as connection:
        leads = leader(connection, LEASE) if inspect(connection).has_table("leases") else None
    if leads and leads[0] != HELD and leads[1] > now.timestamp():
        raise BackupError(in_charge(leads[0], leads[1] - now.timestamp()))
    for _ in range(_LOOKS):  # whoever has just gone is still there for a moment
        others = server.execute(text(_CONNECTED), {"name": name}).scalar_one()
        if not others:
            break
        sleep(_LOOK_AGAIN)
    else:
        raise BackupError(
            f"{others} connection{'s' if others > 1 else ''} to {name}: stop the service and the jobs first, or --force"
        )


def _as_old(server: Connection, name: str) -> str:
    """The clauses by which a new database sorts and spells as the old one does."""
    sql = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = :name"
    row = server.execute(text(sql), {"name": name}).one_or_none()
    if row is None:
        return " ENCODING 'UTF8'"
    encoding, collate, ctype = (str(value).replace("'", "''") for value in row)
    return f" ENCODING '{encoding}' LC_COLLATE '{collate}' LC_CTYPE '{ctype}'"


def _left_behind(server: Connection, short: str) -> list[str]:
    """Databases that restores were killed with."""
    found = re.compile(rf"{re.escape(short)}_restore_\d{{8}}T\d{{6}}Z")
    names = server.execute(text("SELECT datname FROM pg_database")).scalars()
    return [name for name in names if found.fullmatch(name)]


def _at(url: URL, name: str) -> URL:
    return url.set(database=name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_TABLES = {*SQLModel.metadata.tables, "alembic_version"}
_COPY = re.compile(r"COPY (\S+) \(.*\) FROM stdin;$")
_CONNECTED = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
    " AND coalesce(backend_type, 'client backend') = 'client backend'"
)
_THROW_OUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"

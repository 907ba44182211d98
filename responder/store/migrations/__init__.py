"""Alembic's scripts, and `upgrade`, which runs them without a configuration file.

Each run is one transaction on both engines, tables and rows alike: one that is killed leaves what there was. It begins
with a lock, so that of two at once one waits and then finds it done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from responder.store.engine import BUSY_SECONDS, StoreAway

WAIT = 3600  # seconds that one waits for another that upgrades
_LOCK = 3  # of PostgreSQL's advisory locks; engine.Lock has the others


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database of `engine` to `revision`; creates it where there is none. Raises StoreAway."""
    try:
        with engine.connect() as connection, _alone(connection):
            at = MigrationContext.configure(connection).get_current_revision()
            if is_newer(at):
                raise StoreAway(unlike(at))
            upgrade_within(connection, revision)
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error


def upgrade_within(connection: Connection, revision: str = "head") -> None:
    """Bring a database to `revision` as a part of the caller's transaction."""
    command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database of `engine` back to `revision` ("base": empty)."""
    with engine.connect() as connection, _alone(connection):
        command.downgrade(_config(connection), revision)


def revisions(engine: Engine) -> tuple[str | None, str | None]:
    """(where the database is, the newest there is). Raises StoreAway."""
    try:
        with engine.connect() as connection:
            at = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error
    return at, known()[0]


def behind(engine: Engine) -> bool:
    """Whether the database has yet to be made or upgraded for this version; one of a later version is not behind.
    Raises StoreAway.
    """
    at, head = revisions(engine)
    return at != head and not is_newer(at)


def is_newer(at: str | None) -> bool:
    """Whether a database at this revision was made by a version that knows more than this one."""
    return at is not None and at not in known()


def unlike(at: str | None) -> str:
    """What to do about a database at a revision that is not the newest which this version knows."""
    if not is_newer(at):
        return f"the database is at revision {at or 'none'}, not {known()[0]}: run `responder init`"
    return (
        f"the database is at revision {at}, which this version does not know (it ends at {known()[0]}): a newer one has"
        " upgraded it; install that one, or see RUNBOOK.md, `Upgrade, and go back`"
    )


@cache
def known() -> tuple[str, ...]:
    """The revisions that this version knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions())


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """A transaction that waits for any other that upgrades, and keeps it waiting."""
    if connection.dialect.name == "sqlite":  # BEGIN IMMEDIATE, as every transaction of ours; it waits for longer
        bare: Any = connection.connection.driver_connection
        bare.execute(f"PRAGMA busy_timeout={WAIT * 1000}")
        try:
            with connection.begin():
                yield
        finally:
            bare.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        return
    with connection.begin():
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{WAIT}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")  # a table that is in use must not block all
        yield


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config

"""Alembic's scripts, and `upgrade`, which runs them without a configuration file."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from responder.store.engine import StoreAway


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database of `engine` to `revision`; creates it where there is none."""
    with engine.connect() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database of `engine` back to `revision` ("base": empty)."""
    with engine.connect() as connection:
        command.downgrade(_config(connection), revision)


def revisions(engine: Engine) -> tuple[str | None, str | None]:
    """(where the database is, the newest there is). Raises StoreAway."""
    try:
        with engine.connect() as connection:
            at = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error
    return at, _known()[0]


def behind(engine: Engine) -> bool:
    """Whether the database has yet to be made or upgraded for this version; one of a later version is not behind.
    Raises StoreAway.
    """
    at, head = revisions(engine)
    return at != head and (at is None or at in _known())


@cache
def _known() -> tuple[str, ...]:
    """The revisions that this version knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions())


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config

"""Alembic's scripts, and `upgrade`, which runs them without a configuration file."""

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
    return at, ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config

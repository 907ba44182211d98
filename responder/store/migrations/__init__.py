"""Alembic's scripts, and `upgrade`, which runs them without a configuration file."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from responder.store.engine import BUSY_SECONDS


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database of `engine` to `revision`; creates it where there is none."""
    with engine.connect() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database of `engine` back to `revision` ("base": empty)."""
    with engine.connect() as connection:
        command.downgrade(_config(connection), revision)


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    config.attributes["lock_timeout"] = BUSY_SECONDS
    return config

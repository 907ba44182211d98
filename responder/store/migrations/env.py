"""Alembic runs this; the connection, and its transaction, come from `upgrade`."""

from alembic import context
from sqlmodel import SQLModel

from responder.store import tables  # noqa: F401 - fills the metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

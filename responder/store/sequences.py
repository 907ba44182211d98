"""The highest id that each table has given out, also of rows that are gone: no id may come again with another meaning.

Each function is a part of the caller's transaction.
"""

from collections.abc import Mapping

from sqlalchemy import Integer, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from responder.store import tables  # noqa: F401 - fills the metadata

NUMBERED = tuple(
    table.name
    for table in SQLModel.metadata.sorted_tables
    if "id" in table.columns and isinstance(table.columns["id"].type, Integer)
)
NEVER_TWICE = ("subscriptions", "broadcasts", "deliveries")  # a receipt may speak of a row that is gone


def read_sequences(connection: Connection) -> dict[str, int]:
    """Table to the highest id that was given out."""
    highest = {
        name: int(connection.execute(text(f"SELECT coalesce(max(id), 0) FROM {name}")).scalar_one())
        for name in NUMBERED
    }
    if connection.dialect.name == "sqlite":
        counted = {row[0]: int(row[1]) for row in connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
    else:
        counted = {name: _last_value(connection, name) for name in NUMBERED}
    return {name: max(highest[name], counted.get(name, 0)) for name in NUMBERED}


def set_sequences(connection: Connection, highest: Mapping[str, int]) -> None:
    """The next id of each table is the one after `highest`. On SQLite a table that gives an id again once the newest
    row is gone keeps no count.
    """
    for name, last in highest.items():
        values = {"name": name, "last": last}
        if connection.dialect.name != "sqlite":
            sql = "SELECT setval(pg_get_serial_sequence(:name, 'id'), greatest(:last, 1), :last > 0)"
            connection.execute(text(sql), values)
        elif name in NEVER_TWICE:
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values)


def _last_value(connection: Connection, name: str) -> int:
    sequence = connection.execute(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": name}).scalar()
    if not sequence:
        return 0
    row = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
    return int(row[0]) if row[1] else 0

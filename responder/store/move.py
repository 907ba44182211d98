"""Copy a whole database to another, of the other engine too: table by table, with the same ids, as one transaction."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, delete, insert, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from responder.store import migrations, tables  # noqa: F401 - fills the metadata
from responder.store.dump import BackupError
from responder.store.engine import Database, StoreAway
from responder.store.restored import HELD
from responder.store.schedule import LEASE, leader
from responder.store.sequences import read_sequences, set_sequences

BATCH = 2_000  # rows
_BITS = 2**128


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows by table, and the seconds it took."""

    rows: Mapping[str, int]
    seconds: float


def move(source: Database, target: Database, now: float, told: Callable[[str, int], None] | None = None) -> Moved:
    """Copy everything from `source` into the empty `target`, and compare both. `told`: of each table that is copied.

    The source is read as it is at one moment; what is written to it meanwhile or later is not in the copy, so that it
    is refused while a process leads the jobs. Raises BackupError or StoreAway; the target is as empty as it was then.
    """
    begun = monotonic()
    at, head = migrations.revisions(source.engine)
    if at != head:
        raise BackupError(migrations.unlike(at))
    _refuse_if_filled(target)
    with source.read() as old, target.write() as new:
        if (leads := leader(old, LEASE)) and leads[0] != HELD and leads[1] > now:
            raise BackupError(f"the jobs process {leads[0]} leads: stop the service and the jobs first")
        if not target.sqlite:
            new.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        if not source.sqlite:
            old.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        migrations.upgrade_within(new)
        rows = {table.name: _copied(old, new, table, told) for table in SQLModel.metadata.sorted_tables}
        set_sequences(new, read_sequences(old))
        _compare(old, new)
    return Moved(rows, monotonic() - begun)


def fingerprint(connection: Connection, table: Table) -> tuple[int, int]:
    """(rows, a sum of the digests of all rows): the same on every engine, in whatever order rows are read."""
    count = total = 0
    for rows in batches(connection, table):
        count += len(rows)
        for row in rows:
            said = repr([_plain(value) for value in row.values()]).encode()
            total += int.from_bytes(blake2b(said, digest_size=16).digest(), "big")
    return count, total % _BITS


def _plain(value: object) -> object:
    """A time as text: engines say UTC in different ways."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _copied(old: Connection, new: Connection, table: Table, told: Callable[[str, int], None] | None) -> int:
    new.execute(delete(table))  # what the migrations have put there
    count = 0
    try:
        for rows in batches(old, table):
            new.execute(insert(table), rows)
            count += len(rows)
    except (DBAPIError, ValueError) as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        raise BackupError(f"table {table.name}, after {count} rows: {said}") from error
    if told:
        told(table.name, count)
    return count


def batches(
    connection: Connection, table: Table, where: ColumnElement[bool] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """All rows, or those of `where`, as Python has them; with a server's cursor: they need not fit into memory."""
    sealed = [column.name for column in table.columns if isinstance(column.type, LargeBinary)]
    wanted = select(table) if where is None else select(table).where(where)
    found = connection.execute(wanted, execution_options={"yield_per": BATCH})
    for some in found.mappings().partitions(BATCH):
        rows = [dict(row) for row in some]
        for row in rows:
            row.update({name: row[name].encode() for name in sealed if isinstance(row[name], str)})  # SQLite took it
        yield rows


def _compare(old: Connection, new: Connection) -> None:
    for table in SQLModel.metadata.sorted_tables:
        if fingerprint(old, table) != fingerprint(new, table):
            raise BackupError(f"table {table.name} is not the same in both: nothing was moved")


def _refuse_if_filled(target: Database) -> None:
    try:
        names = inspect(target.engine).get_table_names()
    except DBAPIError as error:
        raise StoreAway(str(error.orig)) from error
    if names:
        some = ", ".join(sorted(names)[:3])
        raise BackupError(f"the database to move to is not empty: it has {len(names)} tables ({some} ...)")

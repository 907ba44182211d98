"""`python -m tests.restore.rehearse [--rows 100000]`: fill a database, back it up while somebody writes, destroy it,
restore it, and compare every row of every table with what stood at the moment of the backup, on both engines.

What a restore changes on purpose is worked out here by itself, and asserted as exactly as the rest. Exit 1 if anything
differs.
"""

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import insert, text
from sqlmodel import SQLModel

from responder.store import migrations
from responder.store.backup import back_up
from responder.store.engine import Database
from responder.store.restore import Restored, restore
from responder.store.sequences import read_sequences
from tests.postgres import server
from tests.restore.world import NOW, World, contents, fill

LATER = NOW + timedelta(hours=2)  # when it is restored
WHO = "shell:rehearsal"
WHY = "restored from a backup: it may have been sent since"
HELD = "nobody (held since the restore, until `responder release`)"
Contents = dict[str, set[tuple[Any, ...]]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """What a rehearsal measured: rows, bytes, seconds; `between`: writes while the backup was made."""

    rows: int
    size: int
    backup: float
    restore: float
    between: int


class Writer:
    """Somebody who writes all the time: each commit, number n, adds one turn and one line to the audit log and sets a
    counter to n. So whatever has the counter at n must have those n turns and lines, and no other.
    """

    def __init__(self, url: str) -> None:
        self._database, self._stop, self.written = Database(url), threading.Event(), 0
        self._thread = threading.Thread(target=self._write)

    @staticmethod
    def rows(n: int) -> tuple[Row, Row]:
        """The turn and the line of the commit `n`."""
        world = World(1, seed=1_000_000 + n)
        turn, line = world._turns(1), world._audit(1)
        return {**turn, "id": f"written-{n}"}, {**line, "id": 10_000_000 + n}

    def _write(self) -> None:
        tables = SQLModel.metadata.tables
        while not self._stop.is_set():
            turn, line = self.rows(self.written + 1)
            with self._database.write() as connection:
                connection.execute(insert(tables["turns"]), [turn])
                connection.execute(insert(tables["audit"]), [line])
                connection.execute(text("UPDATE meta SET value = value + 1 WHERE key = 'places'"))
            self.written += 1

    def __enter__(self) -> "Writer":
        self._thread.start()
        while self.written < 5:
            assert self._thread.is_alive(), "nothing is written"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._database.close()


def rehearse(url: str, folder: Path, destroy: Callable[[], None], rows: int) -> Figures:
    """All of it on the empty database of `url`; `destroy` makes that nothing is left. Raises AssertionError."""
    with closing(Database(url)) as database:
        migrations.upgrade(database.engine)
        with database.write() as connection:
            fill(connection, rows)
        with database.read() as connection:
            before, ids = contents(connection), read_sequences(connection)
        file = folder / "rehearsal.backup"
        with Writer(url) as writer:
            first = writer.written
            made = back_up(database, file)
            last = writer.written
        assert last > first, "nobody could write while the backup was made"
    destroy()
    begun = monotonic()
    done = restore(url, file, LATER, WHO)
    seconds = monotonic() - begun
    with closing(Database(url)) as database, database.read() as connection:
        after, ids_after = contents(connection), read_sequences(connection)
    written = _counter(after) - 1_000_000 - _counter(before)
    assert first <= written <= last, f"{written} commits are in the backup, and {first} to {last} were made"
    compare(expected(with_written(before, written), done), after)
    for table in ("subscriptions", "broadcasts", "deliveries"):
        assert ids_after[table] == ids[table] + 10_000_000, f"{table}: the next id"
    assert sum(made.rows.values()) == sum(map(len, with_written(before, written).values())) + 1  # alembic's own
    return Figures(sum(made.rows.values()), made.size, made.seconds, seconds, last - first)


def with_written(before: Contents, written: int) -> Contents:
    """`before` and what the first `written` commits of a writer add to it."""
    found = {table: as_dicts(table, rows) for table, rows in before.items()}
    pairs = [Writer.rows(n) for n in range(1, written + 1)]
    found["turns"] += [turn for turn, _ in pairs]
    found["audit"] += [line for _, line in pairs]
    for row in found["meta"]:
        row["value"] += written * (row["key"] == "places")
    return {table: as_tuples(table, rows) for table, rows in found.items()}


def expected(backup: Contents, done: Restored) -> Contents:
    """What a database must be after it was restored from `backup` at LATER."""
    found = {table: as_dicts(table, rows) for table, rows in backup.items()}
    stamp = LATER.timestamp()
    stages = {row["id"]: (row["kind"], row["state"]) for row in found["broadcasts"]}
    left = {row["broadcast_id"] for row in found["deliveries"] if row["state"] in ("queued", "sending")}
    for row in found["meta"]:
        row["value"] += 1_000_000
    for row in found["deliveries"]:
        kind, stage = stages[row["broadcast_id"]]
        if row["state"] == "sending" or (row["state"] == "queued" and (kind == "system" or stage == "done")):
            row |= {"state": "unknown", "lease_until": 0.0}
    for row in found["broadcasts"]:
        if row["kind"] != "system" and row["state"] == "sending" and row["id"] in left:
            row["state"] = "paused"
            assert row["id"] in done.held.paused
        if row["state"] == "approved" and row["send_at"] is not None:
            row["send_at"] = None
            assert row["id"] in done.held.unscheduled
    for row in found["due"]:
        if row["job"].startswith("send:") and int(row["job"][5:]) in done.held.unscheduled:
            row["done_at"] = stamp
    for row in found["sessions"]:
        row["ended_at"] = row["ended_at"] or stamp
    for row in found["operators"]:
        if row["invite_hash"]:
            row |= {"invite_hash": "", "invite_until": 0.0}
    found["leases"] = [row for row in found["leases"] if row["name"] != "jobs"]
    found["leases"].append({"name": "jobs", "owner": HELD, "until": 253_402_300_799.0})
    return {table: as_tuples(table, rows) for table, rows in found.items()}


def compare(wanted: Contents, found: Contents) -> None:
    """Every row of every table; the log has one line more for each broadcast that was held, and one for the restore."""
    assert set(wanted) == set(found)
    more = as_dicts("audit", found["audit"] - wanted["audit"])
    said = sorted((row["action"], row["subject"], row["who"], row["decision"]) for row in more)
    assert said == [
        ("not sent", "broadcast:3", WHO, WHY),
        ("pause", "broadcast:4", WHO, WHY),
        ("restore", "database:restore", WHO, WHY),
    ], f"lines of the log: {said}"
    assert all(row["at"] == LATER for row in more)
    told = json.loads(next(row["after"] for row in more if row["action"] == "restore"))
    assert (told["paused"], told["unscheduled"], told["waiting"]) == ([4], [3], [2])
    found = {**found, "audit": found["audit"] - as_tuples("audit", more)}
    for table, rows in wanted.items():
        lost, extra = rows - found[table], found[table] - rows
        assert not lost and not extra, (
            f"{table}: {len(lost)} rows are lost, {len(extra)} are new: {min(lost | extra, key=str)}"
        )


def as_dicts(table: str, rows: set[tuple[Any, ...]]) -> list[Row]:
    """Rows with their columns' names."""
    names = SQLModel.metadata.tables[table].columns.keys()
    return [dict(zip(names, row, strict=True)) for row in rows]


def as_tuples(table: str, rows: list[Row]) -> set[tuple[Any, ...]]:
    """Rows as `contents` has them."""
    names = SQLModel.metadata.tables[table].columns.keys()
    return {tuple(row[name] for name in names) for row in rows}


def _counter(found: Contents) -> int:
    return int(next(row["value"] for row in as_dicts("meta", found["meta"]) if row["key"] == "places"))


@contextmanager
def on_sqlite() -> Iterator[tuple[str, Path, Callable[[], None]]]:
    """(DATABASE_URL, a folder, what destroys the database)."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        folder = Path(name)
        path = folder / "var" / "responder.db"

        def destroy() -> None:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

        yield f"sqlite:///{path}", folder, destroy


@contextmanager
def on_postgresql() -> Iterator[tuple[str, Path, Callable[[], None]]]:
    """(DATABASE_URL, a folder, what destroys the database)."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name, server(durable=True) as running:
        yield running.url("responder"), Path(name), lambda: running.drop("responder")


def main() -> int:
    """Rehearse on both; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    failed = False
    for engine, place in (("SQLite", on_sqlite), ("PostgreSQL", on_postgresql)):
        begun = monotonic()
        try:
            with place() as (url, folder, destroy):
                done = rehearse(url, folder, destroy, rows)
        except AssertionError as error:
            print(f"{engine}: DIFFERENT: {error}")
            failed = True
            continue
        print(
            f"{engine}: {done.rows} rows, backup {done.size / 1e6:.1f} MB in {done.backup:.1f} s ({done.between} commits"
            f" of others meanwhile), restore {done.restore:.1f} s, every row the same; {monotonic() - begun:.0f} s in all",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

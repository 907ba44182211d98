"""Migrations with rows in place: what must be kept is kept on the way up, down and up again, by one process at a time."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlmodel import SQLModel

from responder.store import migrations
from responder.store.engine import Database, StoreAway
from tests import engines
from tests.restore.rehearse import Contents
from tests.restore.world import contents, fill

REVISIONS = tuple(reversed(migrations.known()))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database that does not exist yet."""
    made = Database(engines.url(tmp_path / "m.db"))
    yield made
    made.close()
    engines.drop(tmp_path / "m.db")


def filled(database: Database, revision: str, rows: int = 500) -> Contents:
    """Its rows, at a revision, with some in every table that there is then."""
    migrations.upgrade(database.engine, revision)
    with database.write() as connection:
        fill(connection, rows)
    return rows_of(database)


def rows_of(database: Database) -> Contents:
    """All rows of all tables."""
    with database.read() as connection:
        return contents(connection)


def columns_of(database: Database) -> dict[str, list[str]]:
    """The columns that the database has of each table, in the order of `contents`."""
    with database.read() as connection:
        looking = inspect(connection)
        there = {name: {one["name"] for one in looking.get_columns(name)} for name in looking.get_table_names()}
    tables = SQLModel.metadata.sorted_tables
    return {t.name: [c.name for c in t.columns if c.name in there[t.name]] for t in tables if t.name in there}


def only(found: Contents, columns: dict[str, list[str]], keep: dict[str, list[str]]) -> Contents:
    """Of `found`, with `columns`, the tables and columns in `keep`."""
    picked: Contents = {}
    for table, names in keep.items():
        places = [columns[table].index(name) for name in names]
        picked[table] = {tuple(row[place] for place in places) for row in found[table]}
    return picked


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_stands_at_any_revision_is_kept_on_the_way_up(database: Database, revision: str) -> None:
    before = filled(database, revision)
    had = columns_of(database)
    assert all(before.values())
    migrations.upgrade(database.engine)
    assert migrations.revisions(database.engine)[0] == REVISIONS[-1]
    assert only(rows_of(database), columns_of(database), had) == before


def test_step_by_step_down_and_up_again_keeps_what_the_lower_revision_has(database: Database) -> None:
    before, had = filled(database, "head"), columns_of(database)
    for revision in reversed(REVISIONS[:-1]):
        migrations.downgrade(database.engine, revision)
        there = columns_of(database)
        assert rows_of(database) == only(before, had, there), f"down to {revision}"
    for revision in REVISIONS[1:]:
        migrations.upgrade(database.engine, revision)
        kept = columns_of(database)
        assert only(rows_of(database), kept, there) == only(before, had, there), f"up to {revision}"
    assert columns_of(database) == had
    with database.write() as connection:
        fill(connection, 200, seed=2)


def test_a_new_column_has_a_value_that_the_service_reads(database: Database) -> None:
    filled(database, REVISIONS[0])
    migrations.upgrade(database.engine)
    assert only(rows_of(database), columns_of(database), {"turns": ["said", "said_at", "way"]}) == {
        "turns": {("", 0.0, "")}
    }
    migrations.downgrade(database.engine, "0002")
    with database.write() as connection:
        fill(connection, 200)
    migrations.upgrade(database.engine)
    operators = only(rows_of(database), columns_of(database), {"operators": ["totp_sealed", "recovery", "language"]})
    assert operators == {"operators": {(b"", "[]", "sv")}}


@pytest.mark.parametrize("revision", [None, "0001", "0002"])
def test_of_two_processes_that_upgrade_at_once_one_does_it_and_the_other_finds_it_done(
    database: Database, tmp_path: Path, revision: str | None
) -> None:
    if revision:
        filled(database, revision)
    database.close()
    code = (
        "import sys, time; from responder.store import migrations; from responder.store.engine import Database\n"
        "d = Database(sys.argv[1]); print('ready', flush=True); sys.stdin.readline(); migrations.upgrade(d.engine)"
    )
    command = [sys.executable, "-c", code, engines.url(tmp_path / "m.db")]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        for _ in range(3)
    ]
    for process in running:
        assert process.stdout and process.stdout.readline() == b"ready\n"
    with ThreadPoolExecutor() as pool:
        said = [ended[1] for ended in pool.map(lambda process: process.communicate(b"\n", timeout=60), running)]
    assert [process.returncode for process in running] == [0, 0, 0], b"\n".join(said).decode()
    at, head = migrations.revisions(database.engine)
    assert at == head


def test_one_waits_for_longer_than_a_statement_may(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that came first takes its time, more than any time-out of a connection allows."""
    migrations.upgrade(database.engine, "0001")
    with ThreadPoolExecutor(1) as pool:
        with database.engine.connect() as connection, migrations._alone(connection):
            second = pool.submit(migrations.upgrade, database.engine)
            time.sleep(6 if not engines.POSTGRESQL else 11)  # BUSY_SECONDS, and lock_timeout
            assert not second.done()
            migrations.upgrade_within(connection)
        second.result(timeout=30)
    assert migrations.revisions(database.engine)[0] == REVISIONS[-1]


@pytest.mark.parametrize("revision", ["0001", "0002"])
@pytest.mark.parametrize("killed_at", ["create_index", "create_table", "bulk_insert", "end"])
def test_killed_in_the_middle_the_old_revision_is_whole(
    database: Database, tmp_path: Path, revision: str, killed_at: str
) -> None:
    before = filled(database, revision)
    columns = columns_of(database)
    database.close()
    code = (
        "import os, signal, sys; from alembic import op; from alembic.runtime.migration import MigrationContext\n"
        "from responder.store import migrations; from responder.store.engine import Database\n"
        "def die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
        "run = migrations.upgrade_within\n"
        "if sys.argv[2] == 'end': migrations.upgrade_within = lambda *a: (run(*a), die())\n"
        "else:\n"
        "    kept = getattr(op, sys.argv[2])\n"
        "    setattr(op, sys.argv[2], lambda *a, **k: (kept(*a, **k), die()))\n"
        "migrations.upgrade(Database(sys.argv[1]).engine)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, engines.url(tmp_path / "m.db"), killed_at], cwd=ROOT, check=False
    )
    was_killed = killed_at != "bulk_insert" or revision == "0001"  # 0003 puts no rows in
    assert (done.returncode == -signal.SIGKILL) is was_killed
    if was_killed:
        assert columns_of(database) == columns
        assert rows_of(database) == before
        assert migrations.revisions(database.engine)[0] == revision
    migrations.upgrade(database.engine)
    assert migrations.revisions(database.engine)[0] == REVISIONS[-1]


def test_a_downgrade_that_is_killed_leaves_the_new_revision_whole(database: Database, tmp_path: Path) -> None:
    before = filled(database, "head")
    database.close()
    code = (
        "import os, signal, sys; from alembic import op\n"
        "from responder.store import migrations; from responder.store.engine import Database\n"
        "op.drop_column = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "migrations.downgrade(Database(sys.argv[1]).engine, '0001')"
    )
    done = subprocess.run([sys.executable, "-c", code, engines.url(tmp_path / "m.db")], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert rows_of(database) == before
    assert migrations.revisions(database.engine)[0] == REVISIONS[-1]


def test_an_upgrade_keeps_nobodys_time_outs(database: Database) -> None:
    """What it lets itself wait for is forgotten with its transaction."""
    migrations.upgrade(database.engine)
    question = "SHOW statement_timeout" if engines.POSTGRESQL else "PRAGMA busy_timeout"
    with (
        closing(Database(database.engine.url.render_as_string(hide_password=False))) as fresh,
        fresh.read() as connection,
    ):
        usual = connection.exec_driver_sql(question).scalar()
    with database.read() as connection:
        assert connection.exec_driver_sql(question).scalar() == usual


def test_the_environment_of_alembic_commits_nothing_by_itself(database: Database) -> None:
    """A restore upgrades within a transaction of its own, and may yet take it back."""
    with database.engine.connect() as connection, connection.begin() as transaction:
        migrations.upgrade_within(connection)
        transaction.rollback()
    assert migrations.revisions(database.engine)[0] is None


def test_a_database_of_a_newer_version_is_left_alone_and_told_as_that(database: Database) -> None:
    before = filled(database, "head")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreAway, match=r"9999, which this version does not know.*a newer one has upgraded it"):
        migrations.upgrade(database.engine)
    assert rows_of(database) == before and migrations.revisions(database.engine)[0] == "9999"
    assert "responder init" not in migrations.unlike("9999")


def test_a_database_that_cannot_be_reached_is_told_as_that(database: Database, tmp_path: Path) -> None:
    migrations.upgrade(database.engine)
    database.close()
    engines.take_away(tmp_path / "m.db")
    with pytest.raises(StoreAway, match="not a database|does not exist"):
        migrations.upgrade(database.engine)

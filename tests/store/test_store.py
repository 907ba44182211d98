"""Migrations up and down, and the vault."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlmodel import SQLModel

from responder.core.places import PlaceKind
from responder.store import migrations, tables
from responder.store.engine import Database
from responder.store.queries import save_places
from responder.store.vault import Vault, masked
from tests import engines
from tests.conftest import Running, a_place


def test_migrations_go_up_down_and_up_again_and_match_the_tables(tmp_path: Path) -> None:
    database = Database(engines.url(tmp_path / "m.db"))
    migrations.upgrade(database.engine)
    migrations.upgrade(database.engine)
    made = inspect(database.engine)
    for table in SQLModel.metadata.sorted_tables:
        assert {column["name"] for column in made.get_columns(table.name)} == set(table.columns.keys())
        indexes = [index for index in made.get_indexes(table.name) if "duplicates_constraint" not in index]
        assert {index["name"]: index["column_names"] for index in indexes} == {
            index.name: index.columns.keys() for index in table.indexes
        }
    migrations.downgrade(database.engine, "base")
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    migrations.upgrade(database.engine)
    at, head = migrations.revisions(database.engine)
    assert at == head == "0005"


@pytest.mark.only_sqlite
def test_of_two_that_open_a_new_file_at_once_the_second_waits_for_the_first(tmp_path: Path) -> None:
    """SQLite lets nobody wait who wants to make it a WAL while another writes to it: it refuses at once."""
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as first:
        first.execute("BEGIN IMMEDIATE")
        first.execute("CREATE TABLE made (x)")
        with pytest.raises(sqlite3.OperationalError, match="locked"), closing(sqlite3.connect(path)) as refused:
            refused.execute("PRAGMA journal_mode=WAL")
        later = threading.Timer(0.3, first.execute, ["COMMIT"])
        later.start()
        with Database(f"sqlite:///{path}").engine.connect() as second:
            assert second.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert second.exec_driver_sql("SELECT count(*) FROM made").scalar() == 0
        later.join()


def test_a_naive_time_is_refused_at_the_door() -> None:
    import datetime

    with pytest.raises(ValueError, match="naive"):
        tables.UtcDateTime().process_bind_param(datetime.datetime(2026, 1, 1), None)  # type: ignore[arg-type]


def test_what_is_sealed_opens_with_any_key_of_the_list_and_no_other() -> None:
    old, new, other = Vault(("a",), ("l",)), Vault(("b", "a"), ("m", "l")), Vault(("c",), ("l",))
    sealed = old.seal("+46701234567")
    assert b"467" not in sealed
    assert new.open(sealed) == "+46701234567"
    assert old.seal("x") != old.seal("x")
    with pytest.raises(ValueError, match="NUMBER_KEY"):
        other.open(sealed)
    with pytest.raises(ValueError, match="NUMBER_KEY"):
        old.open(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_a_number_is_found_again_by_each_lookup_key() -> None:
    new = Vault(("a",), ("m", "l")).hashes("+46701234567")
    assert new[1:] == Vault(("a",), ("l",)).hashes("+46701234567")
    assert new[0] == Vault(("a",), ("m",)).newest("+46701234567")


@pytest.mark.parametrize(
    ("number", "shown"), [("+46701234567", "+4670*****67"), ("71000", "***"), ("", "***"), ("anonymous", "anony**us")]
)
def test_a_number_in_a_log_is_masked(number: str, shown: str) -> None:
    assert masked(number) == shown


def test_places_are_kept_in_memory_until_they_change(service: Running) -> None:
    snapshot = service.app.extensions["responder"].snapshot
    with service.database.read() as connection:
        assert snapshot.places(connection) is snapshot.view.gazetteer
    with service.database.write() as connection:
        save_places(connection, [a_place("Nyby", kind=PlaceKind.STADSDEL)], set())
        assert "Nyby" in snapshot.places(connection).by_code
    with service.database.read() as connection:
        assert "Nyby" in snapshot.places(connection).by_code

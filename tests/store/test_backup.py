"""Backups, restoring them, and moving to the other engine: nothing lost, nothing half, nothing sent again by itself."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from responder.store import backup, dump, migrations, move
from responder.store.backup import BackupError, back_up, name_at, thin_out
from responder.store.engine import Database, StoreAway
from responder.store.restore import restore
from responder.store.restored import is_held, release
from responder.store.schedule import LEASE, join, lead
from tests import engines
from tests.conftest import Clock, Running
from tests.postgres import name_of
from tests.restore.rehearse import LATER, WHO, Contents, rehearse
from tests.restore.world import NOW, contents, fill

ROWS = 1000


class Place:
    """A folder with a database in it, or on the server."""

    def __init__(self, folder: Path, postgresql: bool = engines.POSTGRESQL) -> None:
        self.folder, self.path, self.postgresql = folder, folder / "responder.db", postgresql
        self.name = name_of(self.path.resolve())
        self.url = engines.running().url(self.name) if postgresql else f"sqlite:///{self.path}"

    def filled(self, rows: int = ROWS, seed: int = 1) -> "Place":
        """With rows in every table."""
        with closing(Database(self.url)) as database:
            migrations.upgrade(database.engine)
            with database.write() as connection:
                fill(connection, rows, seed)
        return self

    def backed_up(self, name: str = "a.backup") -> Path:
        """A backup of it."""
        with closing(Database(self.url)) as database:
            return back_up(database, self.folder / name).file

    def destroy(self) -> None:
        """Nothing is left of it."""
        if self.postgresql:
            engines.running().drop(self.name)
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def contents(self) -> Contents:
        """All rows of all tables."""
        with closing(Database(self.url)) as database, database.read() as connection:
            return contents(connection)

    def said(self, question: str) -> list[tuple[object, ...]]:
        """What the database answers."""
        with closing(Database(self.url)) as database, database.read() as connection:
            return [tuple(row) for row in connection.execute(text(question))]

    def do(self, statement: str) -> None:
        """Change something."""
        with closing(Database(self.url)) as database, database.write() as connection:
            connection.execute(text(statement))

    def others(self) -> list[str]:
        """What else than the database and backups lies beside it: hidden files, or databases of the server."""
        if self.postgresql:
            with psycopg.connect(engines.running().dsn()) as connection:
                names = [row[0] for row in connection.execute("SELECT datname FROM pg_database")]
            return [name for name in names if self.name in name and "_restore_" in name]
        return [path.name for path in self.folder.iterdir() if path.name not in ("responder.db", "a.backup")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty one, on the engine that the tests run on."""
    yield from _a_place(tmp_path, engines.POSTGRESQL)


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[Place]:
    """One of SQLite's in any case."""
    yield from _a_place(tmp_path, False)


@pytest.fixture
def on_server(tmp_path: Path) -> Iterator[Place]:
    """One of PostgreSQL's in any case."""
    yield from _a_place(tmp_path, True)


def _a_place(folder: Path, postgresql: bool) -> Iterator[Place]:
    made = Place(folder, postgresql)
    yield made
    made.destroy()
    for name in made.others() if postgresql else ():
        engines.running().drop(name)


class TestBackup:
    def test_what_is_destroyed_comes_back_row_by_row_though_somebody_wrote_meanwhile(self, place: Place) -> None:
        done = rehearse(place.url, place.folder, place.destroy, ROWS)
        assert done.rows > ROWS and done.size > 0 and done.between > 0

    def test_it_is_its_owners_alone_and_nothing_else_is_left(self, place: Place) -> None:
        file = place.filled().backed_up()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in place.folder.iterdir() if "partial" in path.name] == []

    def test_it_says_how_many_rows_of_each_table_it_holds(self, place: Place) -> None:
        place.filled()
        with closing(Database(place.url)) as database:
            made = back_up(database, place.folder / "a.backup")
        there = {name: len(rows) for name, rows in place.contents().items()}
        assert made.rows == {**there, "alembic_version": 1}
        assert made.size == made.file.stat().st_size

    def test_one_that_is_there_is_overwritten_by_force_only(self, place: Place) -> None:
        file = place.filled().backed_up()
        before = file.read_bytes()
        with closing(Database(place.url)) as database:
            with pytest.raises(BackupError, match="there already"):
                back_up(database, file)
            assert file.read_bytes() == before
            place.do("UPDATE meta SET value = value + 1")
            back_up(database, file, force=True)
        assert file.read_bytes() != before

    def test_what_is_no_file_is_never_replaced(self, place: Place) -> None:
        """Root's `--force` would put a backup where a device was."""
        pipe = place.filled(50).folder / "pipe"
        os.mkfifo(pipe)
        with closing(Database(place.url)) as database, pytest.raises(BackupError, match="is no file"):
            back_up(database, pipe, force=True)
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_one_that_came_there_meanwhile_is_not_overwritten_either(self, tmp_path: Path) -> None:
        new, file = tmp_path / "new", tmp_path / "file"
        new.write_text("new")
        file.write_text("old")
        with pytest.raises(BackupError, match="there already"):
            backup.put_in_place(new, file, force=False)
        assert file.read_text() == "old"

    def test_one_that_fails_leaves_no_file(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.filled()

        def fails(*_: object) -> None:
            raise BackupError("no")

        monkeypatch.setattr(dump, "check", fails)
        monkeypatch.setattr(backup, "check_sqlite", fails)
        with closing(Database(place.url)) as database, pytest.raises(BackupError):
            back_up(database, place.folder / "a.backup")
        assert [path.name for path in place.folder.iterdir() if "backup" in path.name] == []

    @pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.4])
    def test_one_that_is_killed_never_has_the_name_of_a_whole_one(self, place: Place, after: float) -> None:
        file = place.filled(5000).folder / "a.backup"
        code = (
            "import sys; from pathlib import Path; from responder.store.backup import back_up;"
            "from responder.store.engine import Database; d = Database(sys.argv[1]); print('begins', flush=True);"
            "back_up(d, Path(sys.argv[2]))"
        )
        killed_after(after, code, place.url, str(file))
        if file.exists():
            place.destroy()
            restore(place.url, file, LATER, WHO)

    def test_of_a_folder_the_newest_are_kept(self, tmp_path: Path) -> None:
        clock = Clock()
        for _ in range(5):
            (tmp_path / name_at(clock())).touch()
            clock.pass_time(hours=1)
        (tmp_path / "before-upgrade.backup").touch()
        names = sorted(path.name for path in tmp_path.glob("responder-*"))
        assert [path.name for path in thin_out(tmp_path, 2, clock())] == names[:3]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["before-upgrade.backup", *names[3:]]

    def test_what_killed_ones_left_goes_after_a_day(self, tmp_path: Path) -> None:
        old, young = (tmp_path / f".responder-20261101T000000Z.backup.{n}.partial" for n in "ab")
        old.touch()
        young.touch()
        os.utime(old, (NOW.timestamp() - 90_000,) * 2)
        os.utime(young, (NOW.timestamp() - 60,) * 2)
        thin_out(tmp_path, 1, NOW)
        assert [path.name for path in tmp_path.iterdir()] == [young.name]

    def test_a_database_that_is_none_of_ours_is_not_backed_up(self, place: Place) -> None:
        with closing(Database(place.url)) as database, pytest.raises(BackupError, match="no database|none of ours"):
            back_up(database, place.folder / "a.backup")

    def test_a_damaged_database_is_told_and_not_backed_up(self, sqlite_place: Place) -> None:
        sqlite_place.filled()
        damage(sqlite_place.path)
        with closing(Database(sqlite_place.url)) as database, pytest.raises(BackupError, match="cannot be backed up"):
            back_up(database, sqlite_place.folder / "a.backup")


class TestTools:
    def test_the_password_is_on_no_command_line(self) -> None:
        with closing(Database("postgresql://anna:s3cret@db.example:5433/svar?sslmode=require")) as database:
            told = dump.environment(database.engine.url, database.engine)
        wanted = {"PGPASSWORD": "s3cret", "PGUSER": "anna", "PGHOST": "db.example", "PGPORT": "5433",
                  "PGDATABASE": "svar", "PGSSLMODE": "require"}  # fmt: skip
        assert wanted.items() <= told.items()

    def test_no_tool_is_run_with_it_either(self, on_server: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        on_server.filled(100)
        with psycopg.connect(engines.running().dsn(), autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres PASSWORD 's3cret'")
        run, words = subprocess.run, list[str]()

        def watched(command: list[str], **options: object) -> object:
            words.extend(command)
            return run(command, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(subprocess, "run", watched)
        url = make_url(on_server.url).set(password="s3cret").render_as_string(hide_password=False)
        with closing(Database(url)) as database:
            file = back_up(database, on_server.folder / "a.backup").file
        restore(url, file, LATER, WHO)
        assert any("pg_dump" in word for word in words) and any("pg_restore" in word for word in words)
        assert not [word for word in words if "s3cret" in word]

    def test_without_pg_dump_it_says_what_to_install(self, on_server: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        on_server.filled(100)
        monkeypatch.setattr(dump, "_candidates", lambda name: [])
        with (
            closing(Database(on_server.url)) as database,
            pytest.raises(BackupError, match="pg_dump is missing: install"),
        ):
            back_up(database, on_server.folder / "a.backup")

    def test_an_older_pg_dump_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = {"/12/pg_dump": 12, "/15/pg_dump": 15, "/17/pg_dump": 17}
        monkeypatch.setattr(dump, "_candidates", lambda name: list(versions))
        monkeypatch.setattr(dump, "_version", versions.get)
        assert [dump.tool("pg_dump", server) for server in (11, 15, 16)] == [
            "/12/pg_dump",
            "/15/pg_dump",
            "/17/pg_dump",
        ]
        with pytest.raises(BackupError, match="version 17, older than the server's 18: install postgresql-client-18"):
            dump.tool("pg_dump", 18)

    def test_one_that_hangs_is_ended(self) -> None:
        with pytest.raises(BackupError, match="sleep took longer than 0 s"):
            dump.run("/bin/sleep", ["5"], within=0.2)

    def test_a_server_that_is_away_is_told_as_that(self, tmp_path: Path) -> None:
        with closing(Database("postgresql://x@127.0.0.1:1/x")) as database, pytest.raises(StoreAway):
            back_up(database, tmp_path / "a.backup")


class TestRestore:
    def test_what_there_was_is_kept_under_another_name(self, place: Place) -> None:
        file = place.filled().backed_up()
        place.do("INSERT INTO suppressions (number_hash, at, reason) VALUES ('x', 1, 'stop since')")
        lost = place.contents()
        done = restore(place.url, file, LATER, WHO)
        assert "before" in done.kept and "20261124T152000Z" in done.kept
        url = f"sqlite:///{done.kept}"
        if engines.POSTGRESQL:
            url = make_url(place.url).set(database=done.kept).render_as_string(hide_password=False)
        with closing(Database(url)) as kept, kept.read() as connection:
            assert contents(connection) == lost
        assert ("stop since",) not in place.said("SELECT reason FROM suppressions")

    def test_nothing_leads_until_somebody_releases_it(self, place: Place) -> None:
        restore(place.url, place.filled().backed_up(), LATER, WHO)
        with closing(Database(place.url)) as database, database.write() as connection:
            assert is_held(connection)
            assert not lead(connection, LEASE, "host-9", LATER.timestamp() + 1e9, 10)
            assert join(connection, "host-9", LATER.timestamp(), 10) == 0, "nor does anybody send"
            assert release(connection, LATER, "anna")
            assert lead(connection, LEASE, "host-9", LATER.timestamp() + 1, 10)
            assert join(connection, "host-9", LATER.timestamp() + 1, 10) == 1
            assert not release(connection, LATER, "anna")
        assert place.said("SELECT who FROM audit WHERE action = 'release'") == [("anna",)]

    def test_no_id_that_a_late_receipt_may_speak_of_is_given_again(self, place: Place) -> None:
        file = place.filled().backed_up()
        add = "INSERT INTO broadcasts (kind, state, priority, created_at) VALUES ('message', 'draft', 1, 1)"
        place.do(add)
        given = place.said("SELECT max(id) FROM broadcasts")[0][0]
        restore(place.url, file, LATER, WHO)
        place.do(add)
        assert place.said("SELECT max(id) FROM broadcasts")[0][0] > given  # type: ignore[operator]

    def test_a_second_one_is_not_refused_for_what_the_first_holds(self, place: Place) -> None:
        file = place.filled().backed_up()
        restore(place.url, file, LATER, WHO)
        restore(place.url, file, LATER.replace(second=1), WHO)

    def test_it_is_refused_while_a_process_leads(self, place: Place) -> None:
        file = place.filled().backed_up()
        place.do(f"UPDATE leases SET until = {LATER.timestamp() + 8} WHERE name = 'jobs'")
        before = place.contents()
        with pytest.raises(BackupError, match="host-1 leads: stop it first, or wait 8 s"):
            restore(place.url, file, LATER, WHO)
        assert place.contents() == before

    def test_it_is_refused_while_somebody_is_connected(self, place: Place) -> None:
        file = place.filled().backed_up()
        before = place.contents()
        with somebody(place.url), pytest.raises(BackupError, match="stop the service"):
            restore(place.url, file, LATER, WHO)
        assert place.contents() == before
        restore(place.url, file, LATER, WHO)

    def test_by_force_whoever_is_connected_goes_on_with_what_was_restored(self, place: Place) -> None:
        file = place.filled().backed_up()
        place.do("INSERT INTO meta (key, value) VALUES ('since', 1)")
        with somebody(place.url) as ask:
            assert ask("SELECT count(*) FROM meta WHERE key = 'since'") == "1"
            done = restore(place.url, file, LATER, WHO, force=True)
            assert ask("SELECT count(*) FROM meta WHERE key = 'since'") == "0"
            assert ask("UPDATE meta SET value = 7 WHERE key = 'points'") == "done"
        assert done.kept
        assert ("points", 7) in place.said("SELECT key, value FROM meta")

    def test_a_backup_of_an_older_revision_is_upgraded(self, place: Place) -> None:
        with closing(Database(place.url)) as database:
            migrations.upgrade(database.engine, "0002")
            with database.write() as connection:
                fill(connection, 200)
        file = place.backed_up()
        assert restore(place.url, file, LATER, WHO).revision == "0002"
        with closing(Database(place.url)) as database:
            at, head = migrations.revisions(database.engine)
        assert at == head

    def test_a_backup_of_a_newer_version_is_refused(self, place: Place) -> None:
        place.filled(100).do("UPDATE alembic_version SET version_num = '9999'")
        file = place.backed_up()
        place.do(f"UPDATE alembic_version SET version_num = '{migrations.known()[0]}'")
        before = place.contents()
        with pytest.raises(BackupError, match="of revision 9999, .*a newer version made it"):
            restore(place.url, file, LATER, WHO)
        assert place.contents() == before

    @pytest.mark.parametrize("how", ["text", "cut", "empty", "other engine", "not ours"])
    def test_what_is_no_backup_of_ours_is_refused_and_nothing_changed(self, place: Place, how: str) -> None:
        file = place.filled(2000).backed_up()
        whole = file.read_bytes()
        magic = b"SQLite format 3\0" if engines.POSTGRESQL else b"PGDMP"
        bad = {"text": b"id,name\n", "cut": whole[: len(whole) * 2 // 3], "empty": b"", "other engine": magic + whole}
        if how == "not ours":
            another(place, file)
        else:
            file.write_bytes(bad[how])
        before = place.contents()
        with pytest.raises(BackupError) as refused:
            restore(place.url, file, LATER, WHO)
        said = {"other engine": "responder move", "not ours": "none of ours", "text": "is no backup"}
        assert said.get(how, "") in str(refused.value)
        assert place.contents() == before
        assert [name for name in place.others() if "before" in name] == []

    @pytest.mark.parametrize("seed", range(6))
    def test_killed_at_any_moment_the_old_or_the_new_is_there(self, place: Place, seed: int) -> None:
        file = place.filled(seed=7).backed_up()
        place.do("INSERT INTO meta (key, value) VALUES ('since', 1)")
        old = place.contents()
        code = (
            "import sys; from pathlib import Path; from tests.restore.rehearse import LATER, WHO;"
            "from responder.store.restore import restore; print('begins', flush=True);"
            "restore(sys.argv[1], Path(sys.argv[2]), LATER, WHO)"
        )
        longest = 3.0 if engines.POSTGRESQL else 1.0
        killed_after(random.Random(seed).uniform(0, longest), code, place.url, str(file))
        found = place.contents() if not engines.POSTGRESQL or exists(place.url) else {}
        if found != old:
            assert ("restore", WHO) in place.said("SELECT action, who FROM audit")
            assert ("since", 1) not in place.said("SELECT key, value FROM meta")
            assert len(found["turns"]) == len(old["turns"])
        restore(place.url, file, LATER.replace(second=2), WHO)  # and another one is not in its way
        left = [name for name in place.others() if "before" not in name]
        assert left == []

    @pytest.mark.parametrize("how", ["damaged", "no database", "cut"])
    def test_a_damaged_file_is_restored_over_and_kept_with_its_log(self, sqlite_place: Place, how: str) -> None:
        file = sqlite_place.filled().backed_up()
        if how == "damaged":
            damage(sqlite_place.path)
        elif how == "cut":
            sqlite_place.path.write_bytes(sqlite_place.path.read_bytes()[:9000])
        else:
            sqlite_place.path.write_bytes(b"this is no database" * 1000)
        log = sqlite_place.path.with_name("responder.db-wal")
        log.write_bytes(b"what a crash left" * 100)
        done = restore(sqlite_place.url, file, LATER, WHO)
        assert Path(done.kept).exists() and not log.exists()
        assert len(sqlite_place.contents()["turns"]) == 300

    def test_a_file_with_a_log_beside_it_is_a_database_in_use_and_no_backup(self, sqlite_place: Place) -> None:
        sqlite_place.filled(100)
        copy = sqlite_place.folder / "copied.db"
        copy.write_bytes(sqlite_place.path.read_bytes())
        copy.with_name("copied.db-wal").write_bytes(b"x")
        with pytest.raises(BackupError, match="in use, not a backup: copied.db-wal"):
            restore(sqlite_place.url, copy, LATER, WHO)
        with pytest.raises(BackupError, match="is the database itself"):
            restore(sqlite_place.url, sqlite_place.path, LATER, WHO)

    def test_where_the_role_may_not_create_databases_one_transaction_fills_the_same_one(self, on_server: Place) -> None:
        with _a_role_that_may_not_create(on_server) as name:
            file = on_server.filled().backed_up()
            backed_up = on_server.contents()
            on_server.do("INSERT INTO meta (key, value) VALUES ('since', 1)")
            done = restore(on_server.url, file, LATER, WHO)
            assert Path(done.kept).name == f"{name}.before-restore-20261124T152000Z"
            found = on_server.contents()
            for table in set(found) - {
                "audit",
                "broadcasts",
                "deliveries",
                "due",
                "leases",
                "meta",
                "operators",
                "sessions",
            }:
                assert found[table] == backed_up[table], table
            assert len(found["deliveries"]) == len(backed_up["deliveries"]) and ("since", 1) not in found["meta"]
            assert ("restore",) in on_server.said("SELECT action FROM audit")
            on_server.do("INSERT INTO notes (at, who, kind) VALUES (1, 'anna', 'note')")

    def test_there_too_nothing_of_a_newer_version_is_left_in_the_way_of_its_next_upgrade(
        self, on_server: Place
    ) -> None:
        with _a_role_that_may_not_create(on_server):
            file = on_server.filled().backed_up()
            on_server.do("CREATE TABLE of_others (id integer)")
            restore(on_server.url, file, LATER, WHO)
            assert on_server.said("SELECT count(*) FROM of_others") == [(0,)]
            on_server.do("CREATE TABLE future (id integer)")
            on_server.do("UPDATE alembic_version SET version_num = '9999'")
            done = restore(on_server.url, file, LATER + timedelta(minutes=1), WHO)
            assert on_server.said("SELECT to_regclass('future')") == [(None,)]
            assert on_server.said("SELECT version_num FROM alembic_version") == [(migrations.known()[0],)]
            assert " future " in dump.run(dump.tool("pg_restore"), ("--list", done.kept))


@contextmanager
def _a_role_that_may_not_create(place: Place) -> Iterator[str]:
    """The name of the database, which belongs to a role that may create no other."""
    name, role = str(make_url(place.url).database), f"r{os.getpid()}"
    with psycopg.connect(engines.running().dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')
    place.url = make_url(place.url).set(username=role).render_as_string(hide_password=False)
    try:
        yield name
    finally:
        engines.running().drop(place.name)
        with psycopg.connect(engines.running().dsn(), autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}")


class TestHold:
    def test_after_a_restore_the_jobs_send_nothing_and_after_the_release_only_what_somebody_decides(
        self, service: Running
    ) -> None:
        """What was asked for by phone before the backup is unknown, and a paused broadcast waits."""
        with service.database.write() as connection:
            fill(connection, 300)
        file = service.path.with_name("a.backup")
        back_up(service.database, file)
        service.database.close()
        restore(engines.url(service.path), file, service.clock(), WHO)
        waiting = (
            "SELECT DISTINCT b.state FROM deliveries d JOIN broadcasts b ON b.id = d.broadcast_id"
            " WHERE d.state IN ('queued', 'sending')"
        )
        with service.database.write() as connection:
            release(connection, service.clock(), "anna")
            states = set(connection.execute(text(waiting)).scalars())
        assert "paused" in states and not states & {"sending", "done"}
        deliverer = service.app.extensions["responder"].deliverer("host-1")
        assert [deliverer.take_up(channel, 100) for channel in ("text", "call")] == [[], []]


class TestMove:
    def test_everything_arrives_with_its_ids_and_the_next_ones(self, place: Place) -> None:
        place.filled()
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            told: list[str] = []
            moved = move.move(source, target, NOW.timestamp(), lambda table, count: told.append(table))
            with target.read() as connection:
                assert contents(connection) == place.contents()
            assert moved.rows == {name: len(rows) for name, rows in place.contents().items()}
            assert set(told) == set(SQLModel.metadata.tables)
            add = "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, state, created_at) VALUES (2, 'x', :b, :b, 'text', 'sv', 'failed', 1) RETURNING id"
            note = "INSERT INTO notes (at, who, kind) VALUES (1, 'anna', 'note') RETURNING id"
            for database in (source, target):
                with database.write() as connection:
                    delivered = connection.execute(text(add), {"b": b"x"}).scalar_one()
                    noted = connection.execute(text(note)).scalar_one()
                    assert (delivered, noted) == (1361, 25), "ids of rows that are gone are not given again"

    def test_it_comes_back_the_same(self, place: Place) -> None:
        place.filled()
        (place.folder / "back").mkdir()
        back = Place(place.folder / "back")
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            move.move(source, target, NOW.timestamp())
            with closing(Database(back.url)) as again:
                move.move(target, again, NOW.timestamp())
        assert back.contents() == place.contents()
        back.destroy()

    def test_only_into_an_empty_database(self, place: Place) -> None:
        place.filled(100)
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            migrations.upgrade(target.engine)
            with pytest.raises(BackupError, match="not empty"):
                move.move(source, target, NOW.timestamp())

    def test_not_while_a_process_leads(self, place: Place) -> None:
        place.filled(100).do(f"UPDATE leases SET until = {NOW.timestamp() + 8} WHERE name = 'jobs'")
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            with pytest.raises(BackupError, match="host-1 leads"):
                move.move(source, target, NOW.timestamp())
            move.move(source, target, NOW.timestamp() + 9)

    def test_not_from_an_older_revision(self, place: Place) -> None:
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            migrations.upgrade(source.engine, "0002")
            with pytest.raises(BackupError, match=f"at revision 0002, not {migrations.known()[0]}"):
                move.move(source, target, NOW.timestamp())

    def test_where_the_two_differ_in_the_end_the_other_one_stays_empty(self, place: Place) -> None:
        place.filled(100)
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(move, "_compare", lambda old, new: (_ for _ in ()).throw(BackupError("not the same")))
                with pytest.raises(BackupError, match="not the same"):
                    move.move(source, target, NOW.timestamp())
            move.move(source, target, NOW.timestamp())  # it is as empty as before

    def test_a_sealed_column_that_an_earlier_version_left_as_text_arrives(self, sqlite_place: Place) -> None:
        sqlite_place.filled(100).do("UPDATE operators SET totp_sealed = ''")
        with other(sqlite_place) as to, closing(Database(sqlite_place.url)) as source, closing(Database(to)) as target:
            move.move(source, target, NOW.timestamp())
            with target.read() as connection:
                assert set(connection.execute(text("SELECT totp_sealed FROM operators")).scalars()) == {b""}

    def test_a_row_that_differs_is_seen(self, place: Place) -> None:
        place.filled(100)
        with other(place) as to, closing(Database(place.url)) as source, closing(Database(to)) as target:
            move.move(source, target, NOW.timestamp())
            turns = SQLModel.metadata.tables["turns"]
            with source.read() as old, target.write() as new:
                assert move.fingerprint(old, turns) == move.fingerprint(new, turns)
                new.execute(text("UPDATE turns SET said_at = said_at + 0.5 WHERE said <> ''"))
                assert move.fingerprint(old, turns) != move.fingerprint(new, turns)


@contextmanager
def other(place: Place) -> Iterator[str]:
    """DATABASE_URL of an empty database of the other engine."""
    if place.postgresql:
        yield f"sqlite:///{place.folder / 'other.db'}"
        return
    running = engines.running()
    name = f"other{os.getpid()}"
    yield running.url(name)
    running.drop(name)


@contextmanager
def somebody(url: str) -> Iterator[object]:
    """Another process that is connected, and answers what it is asked."""
    code = (
        "import sys; from responder.store.engine import Database, Prepared; from sqlalchemy import text\n"
        "d = Database(sys.argv[1], pooled=True)\n"
        "d.fetch(Prepared(d.engine, 'SELECT count(*) FROM meta'), {})\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    with d.write() as c:\n"
        "        found = c.execute(text(line))\n"
        "        answer = found.scalar() if found.returns_rows else 'done'\n"
        "    print(answer, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"

        def ask(question: str) -> str:
            assert process.stdin and process.stdout
            process.stdin.write(f"{question}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()


def killed_after(seconds: float, code: str, *words: str) -> None:
    """Run `code` in a process, and kill it `seconds` after it has said that it begins."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == b"begins\n"
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def exists(url: str) -> bool:
    """Whether the server has the database."""
    with psycopg.connect(engines.running().dsn()) as connection:
        name = make_url(url).database
        return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone())


def damage(path: Path) -> None:
    """Spoil pages in the middle of a file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with path.open("r+b") as opened:
        for page in range(20, 60):
            opened.seek(page * 4096)
            opened.write(b"\xff" * 4096)


def another(place: Place, file: Path) -> None:
    """Make `file` a database, or a dump, that is none of ours."""
    file.unlink()
    if not place.postgresql:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE recipes (id INTEGER)")
        return
    running = engines.running()
    url = running.url(f"recipes{os.getpid()}")
    with closing(Database(url)) as database:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE recipes (id INTEGER)"))
        with database.read() as connection:
            server = dump.server_version(connection)
            snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            dump.dump(database.engine, server, file, str(snapshot))
    running.drop(f"recipes{os.getpid()}")

"""`responder backup`, `restore`, `release` and `move`, as somebody types them at night."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from responder.cli import main
from responder.settings import load_settings
from responder.store.engine import Database
from tests import engines
from tests.restore.world import contents, fill

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `responder ...` in a folder of its own, on a database with rows in every table."""
    engines.settle(tmp_path, prepared, monkeypatch)
    with closing(Database(load_settings().database_url)) as database, database.write() as connection:
        fill(connection, 200)

    def running(*words: str, fails: bool = False) -> Result:
        result = CliRunner().invoke(main, list(words))
        assert (result.exit_code != 0) is fails, result.output
        return result

    yield running
    engines.drop(tmp_path / "var" / "responder.db")


def do(statement: str) -> None:
    """Change something in the database."""
    with closing(Database(load_settings().database_url)) as database, database.write() as connection:
        connection.execute(text(statement))


def test_a_backup_says_what_is_in_it_and_what_is_not(run: Run, tmp_path: Path) -> None:
    lines = run("backup", "a.backup").output.splitlines()
    assert "deliveries\t72" in lines and "turns\t60" in lines
    assert lines[-2].startswith("a.backup: ") and lines[-2].endswith(" s") and " bytes, " in lines[-2]
    assert lines[-1] == (
        "numbers and texts are sealed in it; NUMBER_KEY and LOOKUP_KEY are not in it: keep .env too, and elsewhere"
    )
    assert (tmp_path / "a.backup").stat().st_size == int(lines[-2].split()[1])


def test_it_is_not_overwritten_without_force(run: Run) -> None:
    run("backup", "a.backup")
    assert "choose another name, or --force" in run("backup", "a.backup", fails=True).output
    run("backup", "a.backup", "--force")


def test_the_timer_keeps_so_many_of_a_folder(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 6):
        (folder / f"responder-2026010{day}T000000Z.backup").touch()
    said = run("backup", "--folder", "backups", "--keep", "3").output.splitlines()
    kept = sorted(path.name for path in folder.iterdir())
    assert kept[:2] == ["responder-20260104T000000Z.backup", "responder-20260105T000000Z.backup"] and len(kept) == 3
    assert said[-1] == "removed: " + ", ".join(f"responder-2026010{day}T000000Z.backup" for day in (1, 2, 3))


@pytest.mark.parametrize("words", [[], ["a.backup", "--folder", "b"], ["a.backup", "--keep", "3"]])
def test_what_makes_no_sense_is_refused(run: Run, words: list[str]) -> None:
    assert "name a FILE, or a --folder" in run("backup", *words, fails=True).output


def test_a_restore_says_what_to_do_before_anything_is_sent(run: Run) -> None:
    run("backup", "a.backup")
    do("DELETE FROM points")
    said = run("restore", "a.backup").output
    for line in (
        "NOTHING IS PUSHED OR SENT until `responder release`",
        "- broadcast 4 was going out and is paused; some or all have had it since: `responder broadcast show 4`",
        "- broadcast 3 had a time and has none any more",
        "- broadcast 2 waits for somebody",
        "`responder deliveries --state unknown`",
        "- the exercise Övning 24 goes on in it",
        "- the invitation of operator8 is void: `responder operator invite operator8`",
        "- STOPPs and subscriptions since are lost",
        "what there was is kept as ",
    ):
        assert line in said
    with closing(Database(load_settings().database_url)) as database, database.read() as connection:
        assert len(contents(connection)["points"]) == 24
    assert "broadcast 4: paused" in run("broadcast", "list").output
    assert "held since the restore" in run("doctor", "--offline", fails=True).output


def test_the_jobs_go_on_when_somebody_says_so(run: Run) -> None:
    run("backup", "a.backup")
    run("restore", "a.backup")
    assert run("release").output == "the jobs push and send again\n"
    assert run("release").output == "nothing was held back\n"
    with closing(Database(load_settings().database_url)) as database, database.read() as connection:
        log = connection.execute(text("SELECT action, subject FROM audit ORDER BY id DESC LIMIT 1")).one()
    assert tuple(log) == ("release", "database:restore")


def test_what_is_no_backup_is_refused_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a backup")
    said = run("restore", "notes.txt", fails=True).output
    assert said == "Error: notes.txt is no backup: neither a database of SQLite nor a dump of PostgreSQL\n"


def test_a_backup_of_the_other_engine_says_how_to_get_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.backup").write_bytes(b"SQLite format 3\0" if engines.POSTGRESQL else b"PGDMP")
    assert "then `responder move`" in run("restore", "other.backup", fails=True).output


def test_moving_says_what_comes_next_and_takes_the_address_from_a_variable_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MOVE_TO", to)
    said = run("move").output
    assert (
        "deliveries\t72" in said and "counts and checksums are the same" in said and "put it into DATABASE_URL" in said
    )
    assert "not empty" in run("move", "--to", to, fails=True).output
    with closing(Database(to)) as moved, moved.read() as connection:
        there = contents(connection)
    with closing(Database(load_settings().database_url)) as database, database.read() as connection:
        assert contents(connection) == there


@pytest.mark.parametrize("to", ["nonsense", "sqlite:///var/responder.db"])
def test_an_address_that_is_none_or_its_own_is_refused(run: Run, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if to != "nonsense":
        to = load_settings().database_url
    assert "not an address" in (said := run("move", "--to", to, fails=True).output) or "the database itself" in said

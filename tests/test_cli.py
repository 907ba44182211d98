"""The command line, as somebody types it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from responder.cli import main
from responder.core.access import Operator, Role
from responder.core.points import POINT_FIELDS
from responder.settings import load_settings
from responder.store import migrations
from responder.store.accounts import add_operator
from responder.store.engine import Database
from responder.web.simulator import CREATOR
from tests import engines


@pytest.fixture
def run(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Runs `responder ...` in a folder of its own, on a database with places."""
    engines.settle(tmp_path, prepared, monkeypatch)

    def running(*words: str, input: str = "", fails: bool = False) -> Result:
        result = CliRunner().invoke(main, list(words), input=input)
        assert (result.exit_code != 0) is fails, result.output
        return result

    return running  # type: ignore[return-value]


def test_init_on_nothing_makes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.settle(tmp_path, None, monkeypatch)
    first = CliRunner().invoke(main, ["init", "--demo", "--stockholm"])
    assert first.output.splitlines() == [
        "places: 4312 new, 0 changed, 0 unchanged",
        "demo points: 25 new, 0 changed, 0 unchanged",
        "designated points: 25 new, 0 changed, 0 unchanged",
    ]
    again = CliRunner().invoke(main, ["init", "--stockholm"])
    assert again.output.splitlines() == [
        "places: 0 new, 0 changed, 4312 unchanged",
        "designated points: 0 new, 0 changed, 25 unchanged",
    ]


def test_before_init_a_command_says_that_init_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.settle(tmp_path, None, monkeypatch)
    for words in (["points"], ["ask", "12347"], ["operator", "add", "anna", "--role", "admin"]):
        said = CliRunner().invoke(main, words)
        assert said.exit_code == 1 and "run `responder init`" in said.output


def test_a_database_of_a_newer_version_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.settle(tmp_path, None, monkeypatch)
    database = Database(load_settings().database_url)
    migrations.upgrade(database.engine)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for words in (["init"], ["doctor", "--offline"], ["move", "--to", f"sqlite:///{tmp_path / 'other.db'}"]):
        said = CliRunner().invoke(main, words)
        assert said.exit_code == 1 and "a newer one has upgraded it; install that one" in said.output, words
        assert "run `responder init`" not in said.output


@pytest.mark.parametrize(
    "url", ["", "responder.db", "mysql://u:secret@x/y", "postgresql+psycopg2://u@x/y", "postgresql://u:a@b:secret@x/y"]
)
def test_an_address_that_is_none_of_a_database_is_named_by_every_command(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    (tmp_path / "a.backup").write_bytes(b"SQLite format 3\0")
    for words in (["init"], ["points"], ["ask", "12347"], ["jobs"], ["backup", "b"], ["restore", "a.backup"],
                  ["move", "--to", "sqlite:///x.db"], ["doctor", "--offline"]):  # fmt: skip
        said = run(*words, fails=True).output
        assert "DATABASE_URL is no address of a database" in said and "secret" not in said, words


@pytest.mark.parametrize(
    "words",
    [
        ["broadcast", "show", "9" * 23],
        ["delivery", "resolve", "9" * 23, "sent"],
        ["broadcast", "list", "--most", "9" * 23],
    ],
)
def test_a_number_that_no_database_holds_is_refused_in_a_sentence(run: Callable[..., Result], words: list[str]) -> None:
    assert run(*words, fails=True).output.startswith("Error: ")


def test_what_another_terminal_made_of_a_letter_is_refused_in_a_sentence(run: Callable[..., Result]) -> None:
    said = run("point", "confirm", b"f\xe5rsta".decode(errors="surrogateescape"), fails=True).output
    assert said == "Error: what was typed is not UTF-8: set the terminal to that\n"


def test_whoever_stops_reading_is_not_told_of_it() -> None:
    code = "from responder.cli import main; main(['flows', 'draw'])"
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert said.stderr == ""


def test_ask_shows_the_exact_reply_with_its_price(run: object) -> None:
    run("init", "--demo")  # type: ignore[operator]
    swedish = run("ask", "12347").output  # type: ignore[operator]
    assert swedish.startswith("Trygghetspunkt ÖPPEN nu:\nDEMO Exempelhallen")
    assert "-- 2 segments, GSM-7" in swedish
    assert run("ask", "12347", "--lang", "en").output.startswith("Safety point")  # type: ignore[operator]
    assert run("ask", "12347", "--from", "Kommunen").output == "(no reply)\n"  # type: ignore[operator]
    assert "no wording file for 'xx'" in run("ask", "hej", "--lang", "xx", fails=True).output  # type: ignore[operator]


def test_demo_points_are_in_all_eleven_areas_and_some_are_open(run: object) -> None:
    run("init", "--demo")  # type: ignore[operator]
    rows = run("export", "points").output.splitlines()  # type: ignore[operator]
    district = POINT_FIELDS.index("district")
    assert rows[0] == ",".join(POINT_FIELDS)
    assert len({row.split(",")[district] for row in rows[1:]}) == 11
    assert run("points").output.count("\topen\topen\t") >= 11  # type: ignore[operator]


def test_a_point_is_set_and_told(run: object) -> None:
    run("init", "--demo")  # type: ignore[operator]
    said = run("point", "set", "demo-farsta", "--status", "closed", "--by", "Anna", "--decision", "Beslut 7").output  # type: ignore[operator]
    assert said == "demo-farsta (DEMO Exempelhallen): closed, told as closed\n"
    assert "Exempelhallen" not in run("ask", "12347").output  # type: ignore[operator]
    assert "no point has the id" in run("point", "set", "x", "--status", "open", fails=True).output  # type: ignore[operator]


def test_an_import_names_what_is_wrong_and_a_dry_run_changes_nothing(run: object, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("id,name,lat,lon,status\na,Hallen,59.24,18.09,open\n", encoding="utf-8")
    bad.write_text("id,name,lat,lon,status\na,Hallen,59.24,18.09,opne\n", encoding="utf-8")
    assert "1 new" in run("import", "points", str(good), "--dry-run").output  # type: ignore[operator]
    assert "no points" in run("points").output  # type: ignore[operator]
    assert "line 2, column status: 'opne'" in run("import", "points", str(bad), fails=True).output  # type: ignore[operator]
    run("import", "points", str(good))  # type: ignore[operator]
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,name,lat,lon,status\na,Häll,59,18,open".encode("latin-1"))
    assert "line 2: not UTF-8" in run("import", "points", str(latin), fails=True).output  # type: ignore[operator]


def test_what_is_exported_imports_without_a_change(run: object, tmp_path: Path) -> None:
    run("init", "--demo")  # type: ignore[operator]
    path = tmp_path / "out.csv"
    path.write_text(run("export", "points").output, encoding="utf-8")  # type: ignore[operator]
    assert run("import", "points", str(path)).output == "points: 0 new, 0 changed, 25 unchanged\n"  # type: ignore[operator]


def test_talk_is_a_phone_over_the_same_webhooks(run: object) -> None:
    run("init", "--demo")  # type: ignore[operator]
    assert "< DEMO Exempelhallen" in run("talk", input="12347\nMER\n").output  # type: ignore[operator]
    voice = run("talk", "--voice", input="\n\n\n").output  # type: ignore[operator]
    assert voice.count("Vi hörde inget.") == 2
    assert "(the call has ended)" in voice
    both = run("talk", input="12347\n/call\n/hang up\nJA\n").output  # type: ignore[operator]
    assert "< Klart. Du får sms" in both.partition("(the call has ended)")[2]


def test_flows_are_checked_and_drawn(run: object) -> None:
    assert "in order" in run("flows", "check").output  # type: ignore[operator]
    assert run("flows", "draw").output.startswith("flowchart TD")  # type: ignore[operator]


def test_the_doctor_finds_an_unconfirmed_open_point(run: object, tmp_path: Path) -> None:
    assert "BAD" not in run("doctor").output  # type: ignore[operator]
    path = tmp_path / "p.csv"
    path.write_text("id,name,lat,lon,status\na,Hallen,59.24,18.09,open\n", encoding="utf-8")
    run("import", "points", str(path))  # type: ignore[operator]
    assert "BAD point a is open but nobody has confirmed it ever" in run("doctor", fails=True).output  # type: ignore[operator]


def test_the_doctor_finds_accounts_of_the_demo_in_a_real_service(
    run: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(engines.url(tmp_path / "var" / "responder.db"))
    with database.write() as connection:
        add_operator(connection, Operator("anna", Role.ADMIN, created_by=CREATOR), "", b"", 0.0)
    assert "accounts" not in run("doctor").output  # type: ignore[operator]
    monkeypatch.setenv("GATEWAY", "twilio")
    said = "BAD accounts that `responder demo` made: anna; disable them"
    assert said in run("doctor", fails=True).output  # type: ignore[operator]


def test_a_real_gateway_refuses_demo_points(run: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY", "twilio")
    assert "refuses demo points" in run("init", "--demo", fails=True).output  # type: ignore[operator]


def test_without_a_database_the_commands_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["points"])
    assert (result.exit_code, "no such table" in result.output) == (1, True)
    assert "run `responder init`" in CliRunner().invoke(main, ["doctor"]).output


def test_the_demo_answers_over_http_and_ends_without_a_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from responder.cli import main; main()", "demo", "--port", "0"]
    done = subprocess.run(
        command, cwd=tmp_path, input="13333\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "DEMO Exempelhallen, Testgatan 36" in done.stdout
    assert "> 13333" in done.stdout
    assert "< För att höra igen, tryck 1." in done.stdout

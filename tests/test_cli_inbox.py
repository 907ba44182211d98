"""The inbox, learnt names, the shift log and the audit log on the command line, as somebody types it."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from responder.actions import load, staff
from responder.app import create_app
from responder.core.access import Operator, Role, shell
from responder.settings import load_settings
from responder.store.engine import Database
from responder.wiring import utc_now
from tests import engines
from tests.conftest import URL
from tests.test_cli_broadcasts import Run
from tests.test_cli_broadcasts import run as run

ANNA = "+46701740601"


@pytest.fixture
def database(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database with places, where the commands look for it."""
    monkeypatch.delenv("RESPONDER_TOKEN", raising=False)
    monkeypatch.setenv("FLOWS_DIR", str(Path(load.__file__).parents[2] / "flows"))
    monkeypatch.setenv("PUBLIC_URL", URL)
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    engines.settle(tmp_path, prepared, monkeypatch)
    found = Database(engines.url(Path("var/responder.db")))
    yield found
    found.close()


def token_of(database: Database, role: Role) -> str:
    vault = create_app(load_settings()).extensions["responder"].vault
    boss = Operator("boss", Role.ADMIN, signed_in=True)
    staff.add(database, vault, shell("root"), "boss", Role.ADMIN, utc_now())
    return staff.add(database, vault, boss, "anna", role, utc_now())


def wrote(text: str) -> None:
    from responder.web.handset import Handset, in_process

    settings = load_settings()
    app = create_app(settings)
    Handset(in_process(app.test_client()), settings.public_url, settings.twilio_auth_token, ANNA).text(text)


def test_what_was_not_understood_is_listed_without_numbers_and_learnt_from(run: Run) -> None:
    wrote("mordor")
    listed = run("inbox")
    assert "mordor" in listed and "1 different messages of 1" in listed and ANNA not in listed
    assert "which one?" in run("alias", "add", "mordor", "Farsta", fails=True)
    assert "'mordor' means Hökarängen" in run("alias", "add", "mordor", "Hökarängen")
    assert "mordor\tstadsdel:hokarangen:stockholm\tby shell:root" in run("alias", "list")
    assert "no place was given the name" in run("alias", "remove", "gondor", fails=True)
    run("alias", "remove", "mordor")
    assert "no names were learnt" in run("alias", "list")


def test_a_command_is_no_place_on_the_command_line_either(run: Run) -> None:
    assert "command that residents write" in run("alias", "add", "stopp", "Hökarängen", fails=True)


def test_notes_are_left_and_read(run: Run) -> None:
    run("shift", "on")
    assert "already on duty" in run("shift", "on")
    run("shift", "note", "Elverket krånglar.")
    listed = run("shift", "list")
    assert "on duty: shell:root since" in listed and "shell:root\tElverket krånglar." in listed
    run("shift", "off")
    assert "on duty: " not in run("shift", "list")
    assert "empty" in run("shift", "note", " ", fails=True)


def test_the_audit_log_is_read_by_approvers_and_nobody_else(run: Run, database: Database) -> None:
    run("shift", "note", "Elverket krånglar.")
    assert "may not read the audit log" in run("audit", fails=True)
    token = token_of(database, Role.APPROVER)
    assert "shell:root\tnote\tshift:shell:root\tnote:  -> 1" in run("audit", token=token)
    assert "shell:root" not in run("audit", "--who", "boss", token=token)
    rows = [json.loads(row) for row in run("audit", "--json", "--action", "note", token=token).splitlines()]
    local = datetime.fromisoformat(rows[0]["at"]).astimezone(ZoneInfo("Europe/Stockholm"))
    assert f"\t{local:%Y-%m-%d %H:%M:%S}\t" in run("audit", "--action", "note", token=token)
    assert [row["changes"] for row in rows] == [{"note": {"before": None, "after": 1}}]
    assert run("audit", "--since", "2999-01-01", token=token) == ""

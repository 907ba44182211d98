"""Who runs the service, as somebody types it: the first admin, tokens and invitations."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from responder.cli import main
from responder.store.engine import Database
from tests import engines

INVITED = re.compile(r"^http://127\.0\.0\.1:8000/console/invitation/([\w-]{32})$", re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database without accounts."""
    monkeypatch.delenv("RESPONDER_TOKEN", raising=False)
    engines.settle(tmp_path, prepared, monkeypatch)
    return tmp_path


def said(*words: str, fails: bool = False) -> str:
    result = CliRunner().invoke(main, ["operator", *words])
    assert (result.exit_code != 0) is fails, result.output
    return result.output


def token(output: str) -> str:
    found = re.search(r"^RESPONDER_TOKEN=(\S+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def test_the_first_admin_gets_a_token_and_an_address_to_choose_a_password_at(here: Path) -> None:
    shown = said("add", "Anna", "--role", "admin")
    assert token(shown)
    assert len(INVITED.findall(shown)) == 1
    with Database(engines.url(Path("var/responder.db"))).read() as connection:
        rows = connection.exec_driver_sql("SELECT name, role, substr(created_by, 1, 6) FROM operators").all()
    assert [tuple(row) for row in rows] == [("anna", "admin", "shell:")]


def test_a_shell_adds_and_invites_nobody_else(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = token(said("add", "anna", "--role", "admin"))
    assert INVITED.search(said("invite", "anna"))  # the first, before it has a password
    assert "sign in first (put your token in RESPONDER_TOKEN)" in said("add", "bo", "--role", "viewer", fails=True)
    monkeypatch.setenv("RESPONDER_TOKEN", mine)
    assert INVITED.search(said("add", "bo", "--role", "viewer"))
    monkeypatch.delenv("RESPONDER_TOKEN")
    for command in (("invite", "anna"), ("invite", "bo"), ("token", "anna"), ("token", "bo")):
        assert "sign in first" in said(*command, fails=True)


def test_a_new_token_is_made_for_oneself_and_ends_the_old_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = token(said("add", "anna", "--role", "admin"))
    monkeypatch.setenv("RESPONDER_TOKEN", old)
    new = token(said("token", "anna"))
    assert "no account has this token" in said("list", fails=True)
    monkeypatch.setenv("RESPONDER_TOKEN", new)
    assert "anna\tadmin\tactive" in said("list")
    assert "no account is called 'carl'" in said("token", "carl", fails=True)
    assert "No account is called carl" in said("invite", "carl", fails=True)


def test_a_reporter_is_given_districts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONDER_TOKEN", token(said("add", "anna", "--role", "admin")))
    assert "a reporter needs at least one district" in said("add", "bo", "--role", "reporter", fails=True)
    said("add", "bo", "--role", "viewer")
    assert "a reporter needs at least one district" in said("role", "bo", "reporter", fails=True)
    said("role", "bo", "reporter", "--district", "Farsta", "--district", "Bromma")
    assert "bo\treporter\tactive\tFarsta, Bromma\tby anna" in said("list")
    said("add", "cilla", "--role", "admin")
    assert "nobody changes their own role" in said("role", "anna", "viewer", fails=True)


def test_a_phone_is_given_changed_and_removed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = token(said("add", "anna", "--role", "admin"))
    assert "sign in first" in said("phone", "anna", "+46700000101", fails=True)
    monkeypatch.setenv("RESPONDER_TOKEN", mine)
    assert said("list").endswith("\t-\n")
    assert said("phone", "anna", "+46 70-000 01 01") == "anna: +4670*****01\n"
    assert said("list").endswith("\t+4670*****01\n")
    assert said("phone", "anna", "+46700000102") == "anna: +4670*****02\n"
    assert said("phone", "anna", "--remove") == "anna: no phone\n" and said("list").endswith("\t-\n")
    assert "is not in international form" in said("phone", "anna", "0700000101", fails=True)
    assert "no account is called 'carl'" in said("phone", "carl", "+46700000101", fails=True)


@pytest.mark.parametrize("words", [(), ("+46700000102", "--remove"), ("",), ("", "--remove")])
def test_a_phone_is_never_removed_by_what_was_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RESPONDER_TOKEN", token(said("add", "anna", "--role", "admin", "--phone", "+46700000101")))
    fails = words != ("", "--remove")
    said("phone", "anna", *words, fails=fails)
    assert said("list").endswith("\t+4670*****01\n" if fails else "\t-\n")

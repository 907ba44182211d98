"""`responder hosts`, `responder operator codes`, and the numbers of points in `responder points`."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from responder.actions import load
from responder.cli import main
from responder.settings import load_settings
from responder.store.engine import Database
from tests import engines
from tests.conftest import NOW, ZONE
from tests.test_cli_operators import token


@pytest.fixture
def here(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of demo points."""
    monkeypatch.delenv("RESPONDER_TOKEN", raising=False)
    engines.settle(tmp_path, prepared, monkeypatch)
    load.load_demo(Database(load_settings().database_url), ZONE, NOW, real=False)
    return tmp_path


def said(*words: str, fails: bool = False) -> str:
    result = CliRunner().invoke(main, list(words))
    assert (result.exit_code != 0) is fails, result.output
    return result.output


def test_hosts_are_added_listed_and_removed(here: Path) -> None:
    assert "no hosts" in said("hosts", "list")
    assert "host 1: Kerstin is asked about demo-farsta, every 4 h" in said(
        "hosts", "add", "demo-farsta", "Kerstin", "+46 70 000 02 01"
    )
    listed = said("hosts", "list")
    assert "1\tdemo-farsta\tKerstin\t+4670*****01\tasked never\tby shell:" in listed
    assert "cannot be texted" in said("hosts", "add", "demo-farsta", "Eva", "08123", fails=True)
    assert "asked no more" in said("hosts", "remove", "1")
    assert "there is no host 1" in said("hosts", "remove", "1", fails=True)


def test_codes_are_printed_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONDER_TOKEN", token(said("operator", "add", "anna", "--role", "admin")))
    printed = said("operator", "codes", "anna")
    codes = [line for line in printed.splitlines() if line.replace(" ", "").isdecimal()]
    assert len(set(codes)) == 20 and all(len(code) == 9 for code in codes) and "shown once" in printed
    monkeypatch.delenv("RESPONDER_TOKEN")
    assert "may not manage operators" in said("operator", "codes", "anna", fails=True)


def test_the_list_of_points_has_their_numbers(here: Path) -> None:
    lines = said("points").splitlines()
    assert {line.rpartition("\t")[2] for line in lines} == {f"no {n}" for n in range(1, len(lines) + 1)}

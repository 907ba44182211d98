"""Broadcasts and operators on the command line, as somebody types it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from responder.cli import main
from responder.store.engine import Database
from responder.store.vault import Vault
from tests import engines

Run = Callable[..., str]


@pytest.fixture
def database(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database with places, where the commands look for it."""
    monkeypatch.delenv("RESPONDER_TOKEN", raising=False)
    monkeypatch.setenv("APPROVE_ABOVE", "2")
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    engines.settle(tmp_path, prepared, monkeypatch)
    found = Database(engines.url(Path("var/responder.db")))
    yield found
    found.close()


@pytest.fixture
def run(database: Database) -> Run:
    """Runs `responder ...` as somebody with a token, or with a bare shell; what it printed."""

    def running(*words: str, token: str = "", fails: bool = False) -> str:
        result = CliRunner().invoke(main, list(words), env={"RESPONDER_TOKEN": token} if token else {})
        assert (result.exit_code != 0) is fails, result.output
        return result.output

    return running


@pytest.fixture
def subscribers(database: Database) -> None:
    """Three in Farsta: two hear by text, one of them in English, and one by phone."""
    vault = Vault(("change-me",), ("change-me",))
    with database.write() as connection:
        for n, (channel, language) in enumerate((("text", "sv"), ("text", "en"), ("call", "sv"))):
            number = f"+4670000000{n}"
            row = {"hash": vault.newest(number), "sealed": vault.seal(number), "channel": channel, "language": language}
            connection.execute(
                text(
                    "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, state, created_at)"
                    " VALUES (:hash, :sealed, :channel, :language, '12347', 'active', 0)"
                ),
                row,
            )


def added(run: Run, name: str, role: str, token: str = "") -> str:
    """The token of a new account."""
    return run("operator", "add", name, "--role", role, token=token).splitlines()[0].removeprefix("RESPONDER_TOKEN=")


TEXTS = ("--text", "sv=Vatten finns vid torget.", "--text", "en=Water at the square – come.")


@pytest.mark.usefixtures("subscribers")
def test_from_a_draft_to_what_is_sent(run: Run) -> None:
    """A communicator drafts and submits, another account approves, and the shell's own approval is refused."""
    anna = added(run, "anna", "admin")
    bo, carl = added(run, "bo", "communicator", anna), added(run, "carl", "approver", anna)
    said = run("broadcast", "draft", "--to", "district:Farsta", *TEXTS, token=bo).splitlines()
    assert said[:5] == [
        "broadcast 2: draft, version 1, free",
        "to: district:Farsta",
        "written by: bo",
        "language  text in  encoding  segments  dear characters  texts  calls  SEK",
        "sv        sv       GSM-7     1         -                1      1      1.80",
    ]
    assert said[5] == "en        en       GSM-7     1         -                1      0      0.60"
    assert said[6].startswith("recipients: 3, price: 2.40 SEK, done: 20")
    assert said[7:] == [
        "--- sv ---",
        "Vatten finns vid torget. /Stockholms stad",
        "--- en ---",
        "Water at the square - come. /City of Stockholm",
    ]
    submitted = run("broadcast", "submit", "2", token=bo)
    assert submitted.startswith("broadcast 2: submitted, version 1, free\n")
    assert "next: `responder broadcast approve 2 --version 1`, by somebody who did not write it" in submitted
    refused = run("broadcast", "approve", "2", "--version", "1", fails=True)
    assert (
        refused == "Error: shell:root may not approve a broadcast: sign in first (put your token in RESPONDER_TOKEN)\n"
    )
    assert "bo (communicator) may not" in run("broadcast", "approve", "2", "--version", "1", token=bo, fails=True)
    assert "version 9 was read" in run("broadcast", "approve", "2", "--version", "9", token=carl, fails=True)
    assert "approved, version 1" in run("broadcast", "approve", "2", "--version", "1", token=carl)
    assert run("broadcast", "send", "2", token=bo).splitlines()[-1] == "recipients: 3"
    shown = run("broadcast", "show", "2")
    assert "approved by: carl (version 1)" in shown
    assert "deliveries: 3 queued" in shown
    assert "paused" in run("broadcast", "pause", "2") and "sending" in run("broadcast", "resume", "2")
    assert "recipients: 0" in run("broadcast", "correct", "2")
    assert "broadcast 2: stopped, version 1, free\tto district:Farsta\t3 recipients" in run("broadcast", "list")
    assert "cannot edit a broadcast that is stopped" in run("broadcast", "edit", "2", *TEXTS, fails=True)


@pytest.mark.usefixtures("subscribers")
def test_the_bare_shell_says_why_it_cannot_wait_and_everybody_reads_it(run: Run) -> None:
    run("broadcast", "draft", "--to", "everyone", *TEXTS)
    assert "too short" in run("broadcast", "submit", "2", "--danger-to-life", "brand", fails=True)
    assert "next: `responder broadcast send 2`" in run(
        "broadcast", "submit", "2", "--danger-to-life", "Gasläcka i Farsta"
    )
    assert "DANGER TO LIFE, so nobody else approved it: Gasläcka i Farsta" in run("broadcast", "show", "2")
    assert "DANGER TO LIFE: Gasläcka i Farsta" in run("broadcast", "list")


@pytest.mark.usefixtures("subscribers")
def test_a_time_is_on_the_local_clock(run: Run) -> None:
    run("broadcast", "draft", "--to", "everyone", *TEXTS)
    run("broadcast", "submit", "2", "--danger-to-life", "Gasläcka i Farsta")
    assert "does not exist" in run("broadcast", "send", "2", "--at", "2032-03-28T02:30", fails=True)
    assert "begins 2032-03-28 03:30:00" in run("broadcast", "send", "2", "--at", "2032-03-28T03:30")
    assert "begins: 2032-03-28 03:30:00" in run("broadcast", "show", "2")


def test_what_is_wrong_with_a_draft_is_said_in_one_line(run: Run) -> None:
    draft = ("broadcast", "draft")
    assert "Error: nobody is named; choose everyone" in run(*draft, *TEXTS, fails=True)
    assert "(--to takes everyone, district:NAME, area:NAME" in run(*draft, "--to", "hej", *TEXTS, fails=True)
    assert "Error: no district is called 'Nowhere'" in run(*draft, "--to", "district:Nowhere", *TEXTS, fails=True)
    assert "'hej': not LANGUAGE=TEXT" in run(*draft, "--to", "everyone", "--text", "hej", fails=True)
    assert "'sv=b': twice" in run(*draft, "--to", "everyone", "--text", "sv=a", "--text", "sv=b", fails=True)
    assert "Error: no text" in run(*draft, "--to", "everyone", fails=True)
    assert run("broadcast", "list") == "no broadcasts; `responder broadcast draft` begins one\n"
    assert "no broadcast 7" in run("broadcast", "show", "7", fails=True)
    assert "no account has this token" in run("broadcast", "list", token="nonsense", fails=True)


def test_a_text_comes_from_a_file_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sv.txt").write_text("Hej\nalla 😀\n", encoding="utf-8")
    said = run("broadcast", "draft", "--to", "everyone", "--text", "sv=@sv.txt")
    assert "sv        sv       UCS-2     1         😀" in said
    assert said.endswith("--- sv ---\nHej\nalla 😀 /Stockholms stad\n")
    assert "No such file" in run("broadcast", "edit", "2", "--text", "sv=@nowhere.txt", fails=True)


def test_what_is_prewritten_needs_no_text(run: Run) -> None:
    assert "/Stockholms stad" in run("broadcast", "draft", "--to", "everyone", "--template", "all_clear")
    said = run("broadcast", "draft", "--to", "everyone", "--exercise")
    assert said.startswith("broadcast 3: draft, version 1, exercise, EXERCISE\nto: everyone (only who enrolled")


@pytest.mark.usefixtures("subscribers")
def test_unknown_deliveries_are_listed_masked_and_resolved(run: Run, database: Database) -> None:
    run("broadcast", "draft", "--to", "everyone", *TEXTS)
    run("broadcast", "submit", "2", "--danger-to-life", "Gasläcka i Farsta")
    run("broadcast", "send", "2")
    assert run("deliveries", "--state", "unknown") == "no deliveries are unknown\n"
    with database.write() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'unknown' WHERE id < 3"))
    listed = run("deliveries", "--state", "unknown", "--broadcast", "2")
    assert len(listed.splitlines()) == 3 and listed.count("+4670*****0") == 2 and "+46700000000" not in listed
    assert "`responder delivery resolve 1 sent` or `resend`" in run("broadcast", "show", "2")
    assert run("delivery", "resolve", "1", "sent") == "delivery 1: sent\n"
    assert run("delivery", "resolve", "2", "resend") == "delivery 2: will be sent again\n"
    assert "delivery 1 is accepted, not unknown" in run("delivery", "resolve", "1", "sent", fails=True)
    assert "deliveries: 1 accepted, 2 queued" in run("broadcast", "show", "2")


def test_operators_are_added_listed_given_roles_and_disabled(run: Run) -> None:
    assert "no accounts" in run("operator", "list")
    assert "the first account must be an admin" in run("operator", "add", "bo", "--role", "viewer", fails=True)
    anna = added(run, "anna", "admin")
    assert "shell:root may not manage operators" in run("operator", "add", "bo", "--role", "viewer", fails=True)
    run("operator", "add", "bo", "--role", "reporter", "--district", "Farsta", "--phone", "+46701234567", token=anna)
    assert run("operator", "list").splitlines() == [
        "anna\tadmin\tactive\tall districts\tby shell:root\t-",
        "bo\treporter\tactive\tFarsta\tby anna\t+4670*****67",
    ]
    assert run("operator", "role", "bo", "approver", token=anna) == "bo: approver\n"
    assert "anna is the last admin" in run("operator", "disable", "anna", token=anna, fails=True)
    assert run("operator", "disable", "bo", token=anna) == "bo: disabled\n"
    assert "bo\tapprover\tdisabled" in run("operator", "list")

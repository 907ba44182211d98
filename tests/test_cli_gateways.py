"""Gateways on the command line: how they do, what waits, and who may be used."""

import pytest

from responder.store import gateways as store
from responder.store.engine import Database
from responder.store.gateways import Found
from responder.wiring import utc_now
from tests.test_cli_broadcasts import Run, added
from tests.test_cli_broadcasts import database as database
from tests.test_cli_broadcasts import run as run
from tests.test_cli_broadcasts import subscribers as subscribers


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three gateways, of which the modem is slow."""
    for name, value in {
        "GATEWAY": "recorder,46elks,modem", "SEND_RATE": "10", "ELKS_SEND_RATE": "2", "MODEM_RATE": "0.2", "APPROVE_ABOVE": "9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def found(database: Database, **states: str) -> None:
    """A process finds gateways so."""
    now = utc_now().timestamp()
    with database.write() as connection:
        store.report(
            connection, [Found(name, "one", state, 0.25, 0.3, now - 60, now) for name, state in states.items()]
        )


def test_each_is_shown_with_how_it_does_and_who_is_used(run: Run, database: Database) -> None:
    found(database, **{"twilio": "down", "46elks": "up", "modem": "up"})
    shown = run("gateways", "show").splitlines()
    assert shown[0].startswith("twilio\tdown\t10 segments/s\ttoday: 0 messages")
    assert shown[1].startswith("  one: down, 25% failed lately, 0.30 s, last took one 20")
    assert shown[2].startswith("46elks\tup, used\t2 segments/s")
    assert shown[-1] == "nothing waits"


def test_what_nobody_has_looked_at_lately_is_said_to_be_so(run: Run) -> None:
    assert run("gateways", "show").startswith("twilio\tnot looked at lately, used\t")


def test_a_word_of_an_operator_is_shown_with_a_name_until_it_is_taken_back(run: Run) -> None:
    anna = added(run, "anna", "admin")
    assert (
        run("gateways", "use", "modem", token=anna)
        == "everything goes by modem alone until `responder gateways auto`\n"
    )
    shown = run("gateways", "show")
    assert "modem\tnot looked at lately, used\tALONE by anna since 20" in shown
    run("gateways", "off", "twilio", token=anna)
    assert "twilio\tnot looked at lately\tOFF by anna since 20" in run("gateways", "show")
    run("gateways", "auto", token=anna)
    assert "by anna" not in run("gateways", "show")


def test_who_may_not_send_says_nothing_and_what_there_is_none_of_is_refused(run: Run) -> None:
    viewer = added(run, "vera", "viewer", added(run, "anna", "admin"))
    assert "vera (viewer) may not send" in run("gateways", "off", "twilio", token=viewer, fails=True)
    assert "there is no gateway pigeon; there are twilio, 46elks, modem" in run("gateways", "use", "pigeon", fails=True)


@pytest.mark.usefixtures("subscribers")
def test_with_the_modem_alone_what_waits_has_a_time_and_so_has_each_broadcast(run: Run, database: Database) -> None:
    found(database, **{"twilio": "down", "46elks": "down", "modem": "up"})
    run("broadcast", "draft", "--to", "everyone", "--text", "sv=Hej", "--fallback", "sv")
    run("broadcast", "submit", "2", "--danger-to-life", "Gasläcka i Farsta")
    run("broadcast", "send", "2")
    shown = run("gateways", "show").splitlines()
    assert shown[-1].startswith("waits: 2 texts, rest; gone at about 20")
    assert shown[-1].endswith("by modem")
    told = run("broadcast", "show", "2").splitlines()[-1]
    assert told.startswith("gone at about 20") and told.endswith("by modem at 0.2 segments a second")


def test_where_none_works_it_is_said_that_nothing_is_sent(run: Run, database: Database) -> None:
    found(database, **{"twilio": "down", "46elks": "down", "modem": "down"})
    assert "no gateway works that may be used: nothing is sent" in run("gateways", "show")

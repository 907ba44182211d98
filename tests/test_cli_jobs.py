"""The jobs process and what an operator sees of it, as somebody types it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from responder.cli import main
from responder.store.engine import Database
from responder.wiring import utc_now
from tests import engines

COMMAND = [sys.executable, "-c", "from responder.cli import main; main()"]


@pytest.fixture
def here(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of places and demo points."""
    engines.settle(tmp_path, prepared, monkeypatch)
    said("init", "--demo")
    return tmp_path


def said(*words: str, fails: bool = False) -> str:
    result = CliRunner().invoke(main, list(words))
    assert (result.exit_code != 0) is fails, result.output
    return result.output


def subscribe() -> None:
    """Somebody subscribes."""
    assert "Klart" in CliRunner().invoke(main, ["talk"], input="START 12347\n").output


def test_jobs_lead_until_they_are_told_to_end(here: Path) -> None:
    jobs = subprocess.Popen([*COMMAND, "jobs"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert jobs.stdout is not None
        assert jobs.stdout.readline().rstrip().endswith(", leads")
        assert " leads; 0 subscriptions" in said("doctor")
    finally:
        jobs.send_signal(signal.SIGTERM)
        jobs.communicate(timeout=20)
    assert jobs.returncode == 0
    with Database(engines.url(Path("var/responder.db"))).read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM leases WHERE name = 'jobs'").scalar() == 0


def test_subscriptions_are_counted_and_numbers_never_shown(here: Path) -> None:
    assert said("subscriptions").startswith("0 subscriptions of 0 numbers")
    subscribe()
    shown = said("subscriptions")
    assert shown.splitlines() == [
        "12347\t\tactive\tsv\ttext\t1",
        "1 subscriptions of 1 numbers; 0 numbers have said STOPP",
    ]
    assert "+467" not in shown


def test_the_doctor_misses_a_jobs_process_where_somebody_subscribes(here: Path) -> None:
    subscribe()
    assert "BAD jobs: no jobs process leads: run `responder jobs`; 1 subscriptions" in said("doctor", fails=True)


def test_the_doctor_names_what_waits_for_a_person(here: Path) -> None:
    database = Database(engines.url(Path("var/responder.db")))
    now = utc_now().timestamp()
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, state, created_at)"
                f" VALUES (1, 'address', :nobody, :nobody, 'text', 'unknown', {now})"
            ),
            {"nobody": b"\0"},
        )
        connection.exec_driver_sql(
            f"INSERT INTO broadcasts (kind, state, priority, created_at) VALUES ('status', 'submitted', 3, {now})"
        )
        connection.exec_driver_sql(
            f"INSERT INTO usage (scope, span, cost) VALUES ('spend', {int(now // 86400)}, 50000)"
        )
    shown = said("doctor", fails=True)
    assert "BAD 1 messages may or may not have been sent" in shown
    assert "ok  1 broadcasts wait for a second person" in shown
    assert "BAD spent today: 50000.00 of 50000.00 SEK" in shown


def test_an_operators_name_stands_in_the_audit_log(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = said("operator", "add", "chef", "--role", "admin").split("=")[1].split()[0]
    monkeypatch.setenv("RESPONDER_TOKEN", token)
    said(
        "point", "set", "demo-farsta", "--status", "full", "--by", "Krisledningen", "--decision", "KL 7", "--seen", "1"
    )
    assert "changed meanwhile by chef" in said(
        "point", "set", "demo-farsta", "--status", "open", "--seen", "1", fails=True
    )
    with Database(engines.url(Path("var/responder.db"))).read() as connection:
        row = connection.exec_driver_sql("SELECT who, decision, decided_by FROM audit ORDER BY id DESC LIMIT 1").one()
    assert tuple(row) == ("chef", "KL 7", "Krisledningen")


def test_a_phone_on_the_recorder_gateway_is_never_at_a_real_provider(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_API_URL", "https://api.example")
    assert "TWILIO_API_URL must be on this machine" in said("jobs", fails=True)

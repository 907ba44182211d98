"""What breaking things has shown, each in the smallest form: locks, restarts, and clocks that are set."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from responder.actions import answer, publish
from responder.actions.deliver import PUSH_AGAIN
from responder.core.access import shell
from responder.core.points import Status
from responder.jobs import LEASE_SECONDS, Jobs
from responder.store import outbox, pushes
from responder.store.engine import Database, Passing
from responder.store.queries import Turns
from responder.store.schedule import LEASE, lead
from tests import engines
from tests.conftest import NOW, ZONE, Running, a_point, prepare, run

HOUR = timedelta(hours=1)
on_sqlite = pytest.mark.only_sqlite  # on PostgreSQL a turn waits for nobody
on_postgresql = pytest.mark.only_postgresql  # SQLite has no server


@pytest.fixture
def service(tmp_path: Path) -> Running:
    """A service with an open point that has answered once."""
    running = run(prepare(tmp_path / "responder.db"), number_per_minute=1000)
    running.put(a_point())
    assert "ÖPPEN" in running.phone.text("12347")
    return running


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else writes."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


@contextmanager
def after(seconds: float, what: object) -> Iterator[None]:
    """`what` is called in so many seconds, and has been at the end of the block."""
    later = threading.Timer(seconds, what)  # type: ignore[arg-type]
    later.start()
    yield
    later.join()


@on_sqlite
def test_while_the_file_is_locked_one_waits_and_all_others_hear_at_once_what_was_known(service: Running) -> None:
    with locked(service.path):
        began = time.monotonic()
        assert "Uppgifter från kl 14.20" in service.another_phone("+46700000011").text("12347")
        waited = time.monotonic()
        for n in range(12, 17):
            assert "Uppgifter från kl 14.20" in service.another_phone(f"+467000000{n}").text("12347")
        assert time.monotonic() - waited < waited - began, "five together are told sooner than the one who waited"
    assert "Uppgifter" not in service.another_phone("+46700000017").text("12347")


@on_sqlite
def test_stopp_waits_for_a_lock_longer_than_a_question_does(service: Running) -> None:
    with locked(service.path) as other, after(3, lambda: other.execute("ROLLBACK")):
        assert service.phone.text("STOPP").startswith("Klart. Vi har raderat")


def test_a_stopp_that_takes_long_to_fail_is_told_so_while_the_provider_listens(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a lock, on a connection that had to be opened: one try of 9 s is waited for, two would be silence."""
    seconds = [0.0]

    def fails(*_: object) -> None:
        seconds.append(seconds[-1] + 9)
        raise Passing("canceling statement due to statement timeout")

    monkeypatch.setattr(Turns, "promise", fails)
    monkeypatch.setattr(answer, "monotonic", lambda: seconds[-1])
    monkeypatch.setattr(answer, "sleep", lambda _: None)
    assert "Vi kan inte svara" in service.phone.text("STOPP")
    assert seconds[-1] == 9


@on_postgresql
def test_stopp_waits_for_a_server_that_restarts_and_a_question_hears_what_was_known(service: Running) -> None:
    server = engines.running()
    server.stop()
    try:
        assert "Uppgifter från kl 14.20" in service.another_phone("+46700000011").text("12347")
    finally:
        with after(1, server.start):
            assert service.phone.text("STOPP").startswith("Klart. Vi har raderat")
    assert "Uppgifter" not in service.another_phone("+46700000012").text("12347")


def test_a_lease_of_a_clock_that_was_ahead_keeps_nobody_from_leading(service: Running) -> None:
    with service.database.write() as connection:
        assert lead(connection, LEASE, "dead", (NOW + HOUR).timestamp(), LEASE_SECONDS)
    with service.database.write() as connection:
        assert lead(connection, LEASE, "alive", NOW.timestamp(), LEASE_SECONDS)
        assert not lead(connection, LEASE, "another", NOW.timestamp() - 20, LEASE_SECONDS), "a clock that lags a little"


def test_a_process_whose_clock_goes_back_leads_no_longer_than_its_lease_and_at_once_anew(service: Running) -> None:
    jobs = Jobs(service.app.extensions["responder"], "one")
    jobs.lead()
    assert (jobs.leads(), jobs.part()) == (True, 1.0)
    service.clock.now -= HOUR
    assert (jobs.part(), jobs.leads()) == (0.0, False)
    jobs.lead()
    assert (jobs.leads(), jobs.part()) == (True, 1.0)


def test_a_change_that_is_dated_in_the_future_is_not_still_changing(service: Running) -> None:
    closed = publish.Change(Status.CLOSED)
    publish.set_point(service.database, "p1", closed, shell("test"), zone=ZONE, now=NOW + HOUR)
    with service.database.read() as connection:
        assert pushes.changes_since(connection, NOW.timestamp() - 60, NOW.timestamp()) == {}
        later = (NOW + HOUR).timestamp()
        assert set(pushes.changes_since(connection, later - 60, later)) == {"p1"}


def test_what_waits_for_a_time_that_a_wrong_clock_named_goes_on_when_it_is_right(service: Running) -> None:
    now, far = NOW.timestamp(), (NOW + HOUR).timestamp()
    _deliveries(service.database, [("queued", far, 0.0), ("queued", now + 600, 0.0), ("sending", 0.0, far)])
    with service.database.write() as connection:
        outbox.clock_went_back(connection, now, 75.0)
    with engines.peek(service.path) as looking:
        rows = looking.execute("SELECT not_before, lease_until FROM deliveries ORDER BY id").fetchall()
    assert [tuple(row) for row in rows] == [(now, 0.0), (now + 600, 0.0), (0.0, now + 75)]


def test_nothing_is_looked_up_for_the_time_of_a_lease_after_the_clock_was_set(service: Running) -> None:
    deliverer = service.app.extensions["responder"].deliverer("one")
    assert deliverer._is_steady()
    service.clock.now += HOUR
    assert not deliverer._is_steady()
    assert not deliverer._is_steady()
    deliverer._steady_from -= deliverer._limits.lease
    assert deliverer._is_steady()


def test_what_was_taken_for_told_and_was_not_is_looked_at_by_a_push_within_half_a_minute(service: Running) -> None:
    _deliveries(service.database, [("sending", 0.0, 0.0)], "status")
    deliverer = service.app.extensions["responder"].deliverer("one")
    with service.database.write() as connection:
        item = outbox.delivery(connection, 1)
        assert item is not None
        connection.execute(text("DELETE FROM due"))
        deliverer._put_back(connection, item, NOW.timestamp())
    with engines.peek(service.path) as looking:
        (due,) = looking.execute("SELECT job, at FROM due").fetchall()
    assert due[0] == "push"
    assert 0 < due[1] - NOW.timestamp() <= PUSH_AGAIN


def _deliveries(database: Database, rows: list[tuple[str, float, float]], kind: str = "operator") -> None:
    with database.write() as connection:
        for state, not_before, lease_until in rows:
            connection.execute(
                text(
                    "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, serial,"
                    " state, body, not_before, lease_until, created_at) VALUES (1, :kind, :hash, :hash, 'text',"
                    " 'sv', :serial, :state, 'x', :at, :until, 0)"
                ),
                {
                    "kind": kind, "hash": b"h", "serial": f"{state} {not_before}", "state": state, "at": not_before,
                    "until": lease_until,
                },
            )  # fmt: skip

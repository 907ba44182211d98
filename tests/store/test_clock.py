"""Nothing waits for a clock that was wrong: what lies further ahead than anything is put off goes on, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from responder.actions.deliver import ALIKE_WAIT, PUSH_AGAIN
from responder.actions.deliver.values import HALT, ODD_TRIES, ODD_WAIT
from responder.core.delivery import CALL_AGAIN, CALL_TRIES, LOOKS, TEXT_AGAIN, TEXT_TRIES
from responder.jobs import Jobs
from responder.store import outbox
from responder.store.engine import Database
from tests import engines
from tests.conftest import NOW, Running, a_point, prepare, run

STAMP, LEASE = NOW.timestamp(), 75.0
AHEAD = outbox.AHEAD


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    running = run(prepare(tmp_path / "responder.db"))
    running.put(a_point())
    yield running
    running.database.close()


def deliver(database: Database, **columns: object) -> int:
    """A delivery as it stands in the table; its id."""
    row = {"state": "queued", "not_before": 0.0, "lease_until": 0.0, "attempt": 0, "created_at": STAMP - 60, **columns}
    with database.write() as connection:
        serial = connection.execute(text("SELECT count(*) FROM deliveries")).scalar_one()
        return int(
            connection.execute(
                text(
                    "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, serial,"
                    " state, body, not_before, lease_until, attempt, created_at) VALUES (1, 'operator', :hash, :hash,"
                    " 'text', 'sv', :serial, :state, 'x', :not_before, :lease_until, :attempt, :created_at) RETURNING id"
                ),
                {**row, "hash": b"h", "serial": str(serial)},
            ).scalar_one()
        )


def columns(running: Running, id: int) -> tuple[float, float, float]:
    """(not_before, lease_until, created_at)."""
    with engines.peek(running.path) as looking:
        found = looking.execute("SELECT not_before, lease_until, created_at FROM deliveries WHERE id = ?", (id,))
        row = found.fetchone()
    return float(row[0]), float(row[1]), float(row[2])


def put_right(database: Database) -> int:
    with database.write() as connection:
        return outbox.clock_went_back(connection, STAMP, LEASE)


WAITS = [  # (tries behind it, seconds): all that anything is put off for
    (0, ALIKE_WAIT),
    (0, PUSH_AGAIN),
    (0, HALT),
    *((attempt, ODD_WAIT) for attempt in range(1, ODD_TRIES)),
    *((attempt, CALL_AGAIN) for attempt in range(1, CALL_TRIES)),
    *((attempt, TEXT_AGAIN * attempt) for attempt in range(1, TEXT_TRIES)),
]


@pytest.mark.parametrize(("attempt", "seconds"), WAITS)
def test_what_is_put_off_for_a_reason_stays_so(service: Running, attempt: int, seconds: float) -> None:
    at = STAMP + seconds + AHEAD / 2  # by a process whose clock is a little ahead
    id = deliver(service.database, attempt=attempt, not_before=at)
    assert put_right(service.database) == 0
    assert columns(service, id)[0] == at


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1000), (1, 2000), (2, 4000), (0, 900 * 86_400)])
def test_what_waits_for_longer_than_anything_is_put_off_goes_on_now(
    service: Running, attempt: int, seconds: float
) -> None:
    id = deliver(service.database, attempt=attempt, not_before=STAMP + seconds)
    assert put_right(service.database) == 1
    assert columns(service, id)[0] == STAMP


def test_what_is_looked_up_for_the_last_time_is_looked_up_then(service: Running) -> None:
    late = STAMP + (LOOKS - 1) * (LEASE - 15) + LEASE
    usual, wrong = (deliver(service.database, state="sending", attempt=1, lease_until=at) for at in (late, late + 3600))
    assert put_right(service.database) == 1
    assert (columns(service, usual)[1], columns(service, wrong)[1]) == (late, STAMP + LEASE)


def test_what_was_made_by_a_clock_that_was_ahead_was_made_now(service: Running) -> None:
    usual, wrong = (deliver(service.database, created_at=STAMP + seconds) for seconds in (AHEAD / 2, 3600))
    assert put_right(service.database) == 1
    assert (columns(service, usual)[2], columns(service, wrong)[2]) == (STAMP + AHEAD / 2, STAMP)


def test_a_process_that_begins_after_the_clock_went_back_lets_go_on_what_was_put_off_until_then(
    service: Running,
) -> None:
    far = STAMP + 86_400
    waits = deliver(service.database, not_before=far, created_at=far)
    sends = deliver(service.database, state="sending", attempt=1, lease_until=far)
    jobs = Jobs(service.app.extensions["responder"], "one")
    jobs.lead()
    jobs.tick()
    assert columns(service, waits) == (STAMP, 0.0, STAMP)
    assert STAMP < columns(service, sends)[1] <= STAMP + 600


def test_and_does_so_once_not_with_each_tick(service: Running) -> None:
    jobs = Jobs(service.app.extensions["responder"], "one")
    jobs.lead()
    jobs.tick()
    id = deliver(service.database, not_before=STAMP + 86_400)
    jobs.tick()
    assert columns(service, id)[0] == STAMP + 86_400


def test_and_goes_by_indexes_to_what_it_looks_for(service: Running) -> None:
    asked: list[tuple[str, object]] = []

    def note_down(_: object, __: object, statement: str, values: object, *___: object) -> None:
        asked.append((statement, values))

    engine = service.database.engine
    with service.database.write() as connection:
        event.listen(engine, "before_cursor_execute", note_down)
        outbox.clock_went_back(connection, STAMP, LEASE)
        event.remove(engine, "before_cursor_execute", note_down)
        plans = [engines.plan(connection, statement, values) for statement, values in asked]
    for (scanned, whole), index in zip(plans, ("next", "in_hand", "created"), strict=True):
        assert f"deliveries_{index}" in whole and "deliveries" not in scanned, whole

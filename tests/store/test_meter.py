"""Caps that several processes keep together, within a second."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from responder.store.engine import StoreAway
from responder.store.meter import Cap, Meter
from tests.conftest import NOW, Running

ANNA, BO = b"anna" * 4, b"bobo" * 4


@pytest.fixture
def meters(start: Callable[..., Running]) -> tuple[Meter, Meter]:
    """Two processes on one database: 4 a number, 6 a range, 10 a day."""
    one, two = start(), start()
    return Meter(one.database, 4, 6, 10.0), Meter(two.database, 4, 6, 10.0)


def test_two_processes_count_together(meters: tuple[Meter, Meter]) -> None:
    one, two = meters
    now, caps = NOW, []
    for number in range(6):
        now += timedelta(seconds=2)
        caps.append(meters[number % 2].add(ANNA, "+4670174", 0.5, now))
    assert caps[:4] == [None] * 4
    now += timedelta(seconds=2)
    assert Cap.NUMBER_BEFORE in {one.add(ANNA, "+4670174", 0.5, now), two.add(ANNA, "+4670174", 0.5, now), *caps[4:]}


def test_a_number_is_told_once_that_its_share_is_used_up(meters: tuple[Meter, Meter]) -> None:
    caps = [meters[0].add(ANNA, str(number), 0.0, NOW) for number in range(7)]
    assert caps == [None] * 4 + [Cap.NUMBER] + [Cap.NUMBER_BEFORE] * 2


def test_hidden_callers_share_a_range_and_no_number(meters: tuple[Meter, Meter]) -> None:
    assert [meters[0].add(None, "-", 0.0, NOW) for _ in range(7)] == [None] * 6 + [Cap.PREFIX]


def test_what_does_not_go_is_not_charged_and_a_new_day_begins_anew(meters: tuple[Meter, Meter]) -> None:
    meter = meters[0]
    assert [meter.add(BO, str(n), 3.0, NOW) for n in range(5)] == [None, None, None, Cap.SPEND, Cap.SPEND]
    assert meter.add(ANNA, "x", 1.0, NOW) is None
    assert meter.add(BO, "y", 3.0, NOW + timedelta(days=1)) is None


def test_with_the_database_away_each_process_keeps_its_own_counts(start: Callable[..., Running]) -> None:
    running = start()
    meter = Meter(running.database, 2, 100, 100.0)
    running.database.close()
    running.path.write_bytes(b"no database" * 100)
    for suffix in ("-wal", "-shm"):
        running.path.with_name(running.path.name + suffix).unlink(missing_ok=True)
    caps = [meter.add(ANNA, "p", 1.0, NOW + timedelta(seconds=2 * n)) for n in range(4)]
    assert caps == [None, None, Cap.NUMBER, Cap.NUMBER_BEFORE]


def test_many_numbers_are_added_a_few_at_a_time_without_waiting_for_the_second(meters: tuple[Meter, Meter]) -> None:
    one, two = meters
    for number in range(40):
        one.add(number.to_bytes(16, "big"), str(number), 0.2, NOW)
    assert two.add(ANNA, "p", 2.0, NOW) is None  # it sees the first 31 at least, 6.2 of 10
    assert two.add(ANNA, "p", 2.5, NOW) is Cap.SPEND


def test_while_the_database_is_away_not_every_reply_waits_for_it(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, tried = start(), []

    def away(*_: object) -> None:
        tried.append(1)
        raise StoreAway

    meter = Meter(running.database, 1000, 1000, 1000.0)
    monkeypatch.setattr(running.database, "fetch", away)
    for number in range(200):
        meter.add(number.to_bytes(16, "big"), "p", 1.0, NOW)
    assert len(tried) == 1
    monkeypatch.undo()
    later = NOW + timedelta(seconds=2)
    assert meter.add(ANNA, "p", 1.0, later) is None
    other = Meter(running.database, 1000, 1000, 1000.0)
    other.add(BO, "q", 1.0, later)  # learns what the first has added: 201
    assert other.add(BO, "q", 798.5, later) is Cap.SPEND

"""What is due is done once: every quarter of an hour of eleven years, whatever the clock on the wall does, what was given
a time, and one leader at a time.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from responder.actions.announce import Announcer
from responder.core.access import Operator, Role
from responder.core.estimate import sending_time
from responder.core.flow import Flow
from responder.jobs import LEASE, LEASE_SECONDS, RENEW_EVERY
from responder.settings import Settings
from responder.store import migrations
from responder.store.engine import Database
from responder.store.schedule import SLOT, SLOT_SECONDS, done, due, lead, leader, missing_slots, resign
from tests import engines
from tests.actions.test_announce import Desk
from tests.conftest import NOW, ZONE

STOCKHOLM = ZoneInfo(ZONE)
FIRST, LAST = datetime(2025, 1, 1), datetime(2036, 1, 1)  # on the clock on the wall
QUARTER = timedelta(seconds=SLOT_SECONDS)
ANNA = Operator("anna", Role.APPROVER, signed_in=True)
ROOT = Path(__file__).resolve().parents[2]
FOLLOWED_WITHIN = 15.0  # seconds after a leader's death


def utc(local: datetime, fold: int = 0) -> float:
    """Seconds since 1970 at a time on the clock on the wall."""
    return local.replace(tzinfo=STOCKHOLM, fold=fold).timestamp()


def quarters(first: datetime, last: datetime) -> list[float]:
    """Every quarter of an hour that the clock on the wall shows: those that do not exist left out, those that come
    twice twice.
    """
    shown, local = set[float](), first
    while local < last:
        for at in {utc(local), utc(local, fold=1)}:
            if datetime.fromtimestamp(at, STOCKHOLM).replace(tzinfo=None) == local:
                shown.add(at)
        local += QUARTER
    return sorted(shown)


def changes(first: datetime, last: datetime) -> list[datetime]:
    """The days on which the clock is changed."""
    days = [first + timedelta(days=n) for n in range((last - first).days)]
    return [day for day in days if utc(day + timedelta(days=1)) - utc(day) != 86_400]


class Ticker:
    """What `responder.jobs` does with the quarters, in one of several processes, and what each of them was told to do."""

    def __init__(self, database: Database, fired: list[float]) -> None:
        self.database, self.fired = database, fired

    def tick(self, now: float, killed: bool = False) -> None:
        """One tick at `now`; `killed` between its two transactions."""
        with self.database.write() as connection:
            slots = missing_slots(connection, now)
        if not slots or killed:
            return
        with self.database.write() as connection:
            slots_due = [(job, at) for job, at in due(connection, now) if job == SLOT]
            assert done(connection, slots_due, now) == len(slots_due)
        self.fired += [at for _, at in slots_due]


@pytest.fixture
def path() -> Iterator[Path]:
    """An empty database, in memory where that has a folder: thousands of durable commits to a disk take minutes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        made = Path(folder) / "schedule.db"
        database = Database(engines.url(made))
        migrations.upgrade(database.engine)
        database.close()
        yield made
        engines.drop(made)


@pytest.fixture
def in_memory(path: Path) -> Iterator[Database]:
    """An empty database for many ticks; SQLite's in memory, on one connection."""
    made = Database(engines.url(path) if engines.POSTGRESQL else "sqlite://", pooled=True)
    if not engines.POSTGRESQL:
        made.engine = create_engine("sqlite://", poolclass=StaticPool)
        migrations.upgrade(made.engine)
    yield made
    made.close()


class TestQuarters:
    @pytest.mark.slow
    def test_each_of_eleven_years_fires_once_whatever_the_ticks_do(self, path: Path) -> None:
        """Late by minutes or hours, twice, in two processes, killed in the middle, started anew."""
        expected, draw, fired = quarters(FIRST, LAST), random.Random(1), list[float]()
        databases = [Database(engines.url(path)) for _ in range(2)]
        now = expected[0]
        while now < expected[-1] + SLOT_SECONDS:
            ticker = Ticker(draw.choice(databases), fired)
            ticker.tick(now, killed=draw.random() < 0.05)
            if draw.random() < 0.2:
                Ticker(draw.choice(databases), fired).tick(now)  # again, or the other process at the same moment
            if draw.random() < 0.02:
                databases[draw.randrange(2)].close()  # started anew
            now += draw.choice((1.0, 900.0, 4_000.0, draw.uniform(0, 100_000), draw.uniform(0, 500_000)))
        Ticker(databases[0], fired).tick(now + SLOT_SECONDS)
        assert [at for at in fired if at <= expected[-1]] == expected
        assert len(fired) == len(set(fired))
        for database in databases:
            database.close()

    @pytest.mark.slow
    def test_the_changes_of_the_clock_second_by_second(self, in_memory: Database) -> None:
        """The week around each of 22 changes in minutes, and the hour in which it happens in seconds."""
        days, draw = changes(FIRST, LAST), random.Random(2)
        assert len(days) == 22
        for day in days:
            fired: list[float] = []
            with in_memory.write() as connection:
                connection.execute(text("DELETE FROM due"))
            first, last = day - timedelta(days=3), day + timedelta(days=4)
            change = utc(day + timedelta(hours=4)) // 86_400 * 86_400 + 3_600  # always at 01.00 UTC
            now, tickers = utc(first), [Ticker(in_memory, fired), Ticker(in_memory, fired)]
            while now < utc(last):
                draw.choice(tickers).tick(now)
                now += draw.uniform(0.5, 2) if abs(now - change) < 1_800 else draw.uniform(1, 900)
            assert fired == quarters(first, last)

    def test_two_processes_that_tick_at_the_same_moment_do_it_once(self, path: Path) -> None:
        """Not one after the other: each moment is ticked by four threads at once, over the night of a change."""
        expected = quarters(datetime(2026, 10, 24, 22), datetime(2026, 10, 25, 6))
        fired: list[float] = []
        tickers = [Ticker(Database(engines.url(path)), fired) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            for now in expected:
                list(pool.map(lambda ticker, at=now: ticker.tick(at), tickers))
        assert sorted(fired) == expected
        for ticker in tickers:
            ticker.database.close()

    def test_the_first_start_makes_no_quarters_of_the_past_due(self, in_memory: Database) -> None:
        fired: list[float] = []
        Ticker(in_memory, fired).tick(NOW.timestamp() + 1)
        assert fired == [NOW.timestamp() // SLOT_SECONDS * SLOT_SECONDS]


class TestScheduledSends:
    """A broadcast with a time on the clock on the wall starts once, by whoever ticks first after that."""

    @pytest.mark.parametrize(
        ("now", "clock", "at"),
        [
            (NOW, "20:00", "2026-11-24T19:00+00:00"),
            (NOW, "2027-03-28T03:00", "2027-03-28T01:00+00:00"),  # the first moment of summer time
            (NOW, "2027-10-31T02:30+02:00", "2027-10-31T00:30+00:00"),  # comes twice: the first one
            (NOW, "2027-10-31T02:30+01:00", "2027-10-31T01:30+00:00"),
        ],
    )
    def test_it_fires_once(
        self, tmp_path: Path, prepared: Path, flow: Flow, now: datetime, clock: str, at: str
    ) -> None:
        path = tmp_path / "send.db"
        engines.copy(prepared, path)
        settings = Settings(_env_file=None)  # type: ignore[call-arg]
        desks = [Desk(Announcer(Database(engines.url(path)), settings, flow.languages), now) for _ in range(2)]
        desks[0].subscribe("1")
        planned = sending_time(clock, ZONE, now)
        assert planned == datetime.fromisoformat(at)
        announcer = desks[0].announcer
        made = announcer.send(ANNA, desks[0].submit("everyone").id, now, planned)
        starts = []
        for seconds in (-3600, -1, 0, 0, 1, 3600, 86_400):
            for desk in desks:
                starts += start_scheduled(desk, planned + timedelta(seconds=seconds))
        assert starts == [(made.id, planned)]
        assert desks[0].heard(made) == ["1"]
        for desk in desks:
            desk.announcer.database.close()


def start_scheduled(desk: Desk, now: datetime) -> list[tuple[int, datetime]]:
    """What the jobs process does with what was given a time: (id, now) of what it started."""
    database, stamp, started = desk.announcer.database, now.timestamp(), []
    with database.read() as connection:
        jobs = [(job, at) for job, at in due(connection, stamp) if job.startswith("send:")]
    for job, at in jobs:
        with database.write() as connection:
            id = int(job.removeprefix("send:"))
            if done(connection, [(job, at)], stamp) and desk.announcer.start_due(connection, id, now):
                started.append((id, now))
    return started


class TestLeading:
    def test_at_most_one_of_four_leads_whatever_they_do(self, in_memory: Database) -> None:
        """Each believes its own lease, as `Jobs` does; some freeze for a while, some resign, some never come back."""
        draw, now, until = random.Random(3), NOW.timestamp(), dict.fromkeys("abcd", 0.0)
        for _ in range(5_000):
            now += draw.choice((0.1, 1.0, float(RENEW_EVERY), LEASE_SECONDS + 1))
            owner = draw.choice("abcd")
            with in_memory.write() as connection:
                if draw.random() < 0.05:
                    resign(connection, LEASE, owner)
                    until[owner] = 0.0
                else:
                    leads = lead(connection, LEASE, owner, now, LEASE_SECONDS)
                    until[owner] = now + LEASE_SECONDS if leads else 0.0
            leading = [name for name, end in until.items() if now < end]
            assert len(leading) <= 1
            with in_memory.read() as connection:
                held = leader(connection, LEASE)
            assert not leading or held == (leading[0], until[leading[0]])

    def test_another_leads_soon_after_a_kill(self, in_memory: Database) -> None:
        for wait in range(RENEW_EVERY + 1):
            now = NOW.timestamp() + 1000 * wait
            with in_memory.write() as connection:
                assert lead(connection, LEASE, f"first-{wait}", now, LEASE_SECONDS)
                tries = [now + wait + RENEW_EVERY * n for n in range(10)]  # the second's rhythm is not the first's
                second = next(at for at in tries if lead(connection, LEASE, "second", at, LEASE_SECONDS))
                resign(connection, LEASE, "second")
            assert second - now < FOLLOWED_WITHIN


@pytest.mark.slow
def test_of_four_processes_another_leads_within_15_seconds_of_a_kill(tmp_path: Path, prepared: Path) -> None:
    """Real processes: `responder jobs`, four times on one database."""
    path = tmp_path / "jobs.db"
    engines.copy(prepared, path)
    chosen = {"DATABASE_URL": engines.url(path), "GATEWAY": "recorder", "TWILIO_API_URL": ""}
    command = [sys.executable, "-c", "from responder.cli import main; main()", "jobs"]
    processes = [
        subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **chosen}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        owners = {}
        for process in processes:
            assert process.stdout
            owners[process.stdout.readline().split(",")[0].removeprefix("jobs: ")] = process
        assert len(owners) == 4, owners
        first = holder(path)
        os.kill(owners[first].pid, signal.SIGKILL)
        killed = time.monotonic()
        while (second := holder(path)) == first and time.monotonic() < killed + 2 * FOLLOWED_WITHIN:
            time.sleep(0.1)
        took = time.monotonic() - killed
        assert second in owners and second != first and took < FOLLOWED_WITHIN, f"another leads after {took:.1f} s"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate(timeout=20)


def holder(path: Path) -> str:
    """Who holds the lease."""
    with engines.peek(path) as looking:
        ((owner,),) = looking.execute("SELECT owner FROM leases WHERE name = ?", [LEASE]).fetchall()
        return str(owner)

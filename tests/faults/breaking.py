"""What is done to a running service, each by its name: how it is set up, and the breaking itself."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psycopg

from responder.store.engine import StoreAway
from tests.crash.processes import wait_for
from tests.fakes.twilio import FakeTwilio
from tests.faults.processes import Jobs, jobs
from tests.faults.stores import Store
from tests.faults.world import World

HOUR, DAY = 3600.0, 86_400.0
SENDS_WITHIN = 60.0  # seconds after which a message must go out again, whatever the clock did
UNDER_WAY = 2.5  # seconds that a request may have been under way
WORK = 20  # deliveries that shall wait before a sender is frozen


@dataclass
class Bed:
    """What a row breaks: the store, the provider, the processes, the clock."""

    store: Store
    fake: FakeTwilio
    world: World
    environment: dict[str, str]
    folder: Path
    clock: Path | None
    dice: random.Random
    quick: bool
    senders: list[Jobs] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _started: int = 0

    def start_jobs(self, many: int) -> None:
        """So many processes shall run the jobs."""
        self.senders = [one for one in self.senders if one.alive]
        while len(self.senders) < many:
            self._started += 1
            log = self.folder / f"jobs-{self._started}.log"
            self.senders.append(jobs(self.environment, log, self.clock is not None))

    def pick(self, quick: float, full: float) -> float:
        """How long, or how often."""
        return quick if self.quick else full


def restarts(bed: Bed) -> None:
    """The database is away again and again, in the middle of broadcasts."""
    longest = (1.5 if bed.quick else 3.0) if bed.store.name == "postgresql" else (6.0 if bed.quick else 8.0)
    for nth in range(int(bed.pick(5, 20))):
        bed.store.away(bed.dice.uniform(0.5, longest), nth)
        time.sleep(bed.dice.uniform(0.3, 2.0))


def read_only(bed: Bed) -> None:
    """Nothing can be written."""
    with bed.store.read_only():
        time.sleep(bed.pick(7, 20))


def disk_full(bed: Bed) -> None:
    """Not a byte is left."""
    disk = bed.store.disk
    assert disk is not None
    end = time.monotonic() + bed.pick(9, 20)
    try:
        while time.monotonic() < end:
            disk.fill()
            bed.store.keep_up()
            time.sleep(0.2)
    finally:
        disk.free()
    bed.store.keep_up()
    if restarted := getattr(bed.store, "restarts", 0):
        bed.notes.append(f"the server went down and was started {restarted} times")


def slow(bed: Bed) -> None:
    """A second for each query, or each write."""
    with bed.store.slow():
        time.sleep(bed.pick(15, 40))


def clock_jumps(bed: Bed) -> None:
    """An hour forward, an hour back, a day back."""
    assert bed.clock is not None
    for name, offset in (("+1 h", HOUR), ("-1 h", 0.0), ("-1 day", -DAY)):
        _write(bed.clock, str(offset))
        began = time.monotonic()
        sends = wait_for(
            lambda since=began: any(at > since + UNDER_WAY for at, _ in bed.fake.posts[-3:]), SENDS_WITHIN, 0.2
        )
        time.sleep(bed.pick(8, 30))
        posts = [began, *(at for at, _ in bed.fake.posts if at > began), time.monotonic()]
        silence = max(later - earlier for earlier, later in pairwise(posts))
        bed.notes.append(f"{name}: no message for {silence:.1f} s at most")
        if not sends:
            bed.broken.append(f"{name}: nothing is sent for {SENDS_WITHIN:.0f} s")


def provider_away(bed: Bed) -> None:
    """The provider fails, hangs, and refuses connections."""
    for outage in ("500", "hang", "refuse"):
        bed.fake.outage = outage  # type: ignore[assignment]
        time.sleep(bed.pick(40, 600) / 3)
    bed.fake.outage = None


def frozen_leader(bed: Bed) -> None:
    """Whoever leads is stopped in the middle of sending, and goes on long after another took over."""
    for _ in range(int(bed.pick(1, 3))):
        wait_for(lambda: bed.world.waiting() > WORK and _leading(bed) is not None, 30)
        leading = _leading(bed)
        if leading is None:
            bed.broken.append("nobody leads")
            return
        time.sleep(bed.dice.uniform(0, 0.3))
        leading.tell(signal.SIGSTOP)
        began = time.monotonic()
        try:
            if wait_for(lambda was=leading.owner: bed.world.leader() not in ("", was), 30):
                bed.notes.append(f"another leads after {time.monotonic() - began:.1f} s")
            else:
                bed.broken.append("nobody took over")
            time.sleep(max(0.0, bed.pick(16, 40) - (time.monotonic() - began)))
        finally:
            leading.tell(signal.SIGCONT)
        time.sleep(2)


def schedulers(bed: Bed) -> None:
    """Four processes run the jobs, and are killed at random; some broadcasts are sent at a set time."""
    end, kills = time.monotonic() + bed.pick(18, 60), 0
    for seconds in (3.0, 6.0, 9.0):
        with suppress(StoreAway):
            bed.world.announce(seconds)
    while time.monotonic() < end:
        time.sleep(bed.dice.uniform(0.3, 2.5))
        bed.dice.choice(bed.senders).kill()
        kills += 1
        bed.start_jobs(4)
    bed.notes.append(f"{kills} killed")


@dataclass(frozen=True, slots=True)
class Fault:
    """A row: what is done, with how many processes that run the jobs, and what it needs."""

    title: str
    does: Callable[[Bed], None]
    senders: int = 1
    small_disk: bool = False
    proxy: bool = False
    clock: bool = False
    noise: bool = False  # the provider loses an answer now and then, as it does


FAULTS = {
    "restarts": Fault("database away, again and again", restarts),
    "read-only": Fault("database read-only", read_only),
    "full": Fault("disk full", disk_full, small_disk=True),
    "slow": Fault("1 s a query", slow, proxy=True),
    "clock": Fault("clock +1 h, -1 h, -1 day", clock_jumps, clock=True, noise=True),
    "provider": Fault("provider away", provider_away),
    "frozen": Fault("leader frozen", frozen_leader, senders=2, noise=True),
    "schedulers": Fault("four schedulers, killed", schedulers, senders=4, noise=True),
}


def _leading(bed: Bed) -> Jobs | None:
    with suppress(psycopg.Error, OSError):
        name = bed.world.leader()
        return next((one for one in bed.senders if name and one.owner == name), None)
    return None


def _write(file: Path, what: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(what)
    fresh.replace(file)

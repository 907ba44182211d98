"""kill -9 at any moment: does anybody lose a message, or get one twice?

    python -m tests.crash.harness [--kills 200] [--settle long|short] [--senders 1] [--seconds 900] [--sabotage]

Real processes on one SQLite file: gunicorn with two workers for the receipts, and `responder jobs`, whose leader is
killed 0.05 to 2.5 s after it leads, over and over, while points change and broadcasts go out. The provider is a fake
over HTTP that loses answers, fails, stalls, and posts its receipts late, twice, too early or never. In the end what it
took is compared with what everybody should have had. `--settle short` asks the provider sooner than its list is up to
date, which can double; `--sabotage` sends again without asking, and must be found out.
"""

import argparse
import bisect
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from responder.actions import publish
from responder.core.access import shell
from responder.core.places import PlaceKind
from responder.core.points import Status
from responder.core.told import at
from responder.settings import Settings
from responder.store.engine import Database, StoreAway
from responder.store.queries import save_points
from responder.wiring import Service, utc_now, wire
from tests.bench.reply import free_port
from tests.conftest import TOKEN, ZONE, a_point, prepare
from tests.crash.processes import Jobs, Web, wait_for
from tests.crash.verdict import Follower, Row, Verdict, judge
from tests.fakes.twilio import FakeTwilio, Faults

ACCOUNT = "AC" + "1" * 32
AREAS = {"Farsta": ((59.2400, 18.0900), (59.2600, 18.1200)), "Bromma": ((59.3430, 17.9440), (59.3250, 17.9700))}
POSTCODES = 12  # of each area
REFUSED, UNDELIVERABLE = 2, 4  # numbers that the provider does not take, or takes in vain
BACKLOG = 150  # deliveries that shall wait at any time
CHANGES = 0.06  # chance of a change while so many wait: news overtakes what was written
SETTLE_SECONDS = 240.0
FIRST_POST = 0.2  # seconds after a kill in which what the dead process wrote may still arrive
SHOWN = 10

FAULTS = Faults(
    latency=0.04,
    lose=0.05,
    drop=0.01,
    too_many=0.002,
    retry_after=0.2,
    error_before=0.01,
    error_after=0.01,
    stall_before=0.004,
    stall_after=0.004,
    stall_seconds=4.0,
    receipt_delay=(0.05, 5.0),
    receipt_double=0.1,
    receipt_shuffle=True,
    receipt_early=0.05,
    receipt_lost=0.4,
)


@dataclass(frozen=True)
class Timing:
    """How long the provider's list lags (seconds, from and to), and what the service makes of it."""

    list_delay: tuple[float, float]
    reconcile: float
    api_timeout: float
    start_within: float


TIMINGS = {
    "long": Timing((0.2, 1.0), reconcile=3.0, api_timeout=2.0, start_within=5.0),
    "short": Timing((0.5, 3.0), reconcile=0.3, api_timeout=0.7, start_within=0.5),
}


@dataclass
class World:
    """The service as this process sees it, on the database that the others share."""

    path: Path
    settings: Settings
    numbers: list[str]
    service: Service = field(init=False)
    written: list[str] = field(default_factory=list)
    changes: int = 0
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        prepare(self.path)
        database = Database(f"sqlite:///{self.path}")
        with database.write() as connection:
            save_points(connection, [p for area in AREAS for p in _points(area)], {}, utc_now())
        database.close()
        self.service = wire(self.settings)
        self._subscribe()

    def _subscribe(self) -> None:
        """Everybody follows a place, and knows its answer."""
        vault, now = self.service.vault, utc_now()
        view = self.service.snapshot.read(now)
        standing = at(view.board, now)
        here = [
            [p for p in view.gazetteer.by_code.values() if p.district == area and p.kind is PlaceKind.POSTCODE]
            for area in AREAS
        ]
        places = [place for group in here for place in group[:POSTCODES]]
        rows = [
            (vault.newest(number), vault.seal(number), place.code, standing.key(place, ""), now.timestamp())
            for number, place in zip(self.numbers, places * (len(self.numbers) // len(places) + 1), strict=False)
        ]
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executemany(
                "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state,"
                " exercise, told, said, said_at, created_at) VALUES (?, ?, 'text', 'sv', ?, '', 'active', 0, ?, '', 0,"
                " ?)",
                rows,
            )
            connection.execute("DELETE FROM due WHERE job = 'push'")
            connection.commit()

    def rows(self, question: str) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of the database."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            return connection.execute(question).fetchall()

    def waiting(self) -> int:
        """How many deliveries are not over."""
        return int(self.rows("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')")[0][0])

    def leader(self) -> str:
        """Who leads just now."""
        now = utc_now().timestamp()
        return next((owner for owner, until in self.rows("SELECT owner, until FROM leases") if until > now), "")

    def announce(self) -> None:
        """A broadcast to everybody, unlike any other."""
        announcer = self.service.announcer
        operator, body = shell("crash"), f"Utskick {next(self._serial)}: det här är ett prov."
        draft = announcer.draft(operator, ["everyone"], utc_now(), {"sv": body}, "sv")
        announcer.submit(operator, draft.id, utc_now())
        announcer.send(operator, draft.id, utc_now())
        self.written.append(draft.texts["sv"])

    def change(self, dice: random.Random) -> None:
        """Another point opens in an area, until a time that no other had; the one before closes."""
        area = dice.choice(list(AREAS))
        opened, closed = dice.sample([point.id for point in _points(area)], 2)
        minutes = 180 + next(self._serial) % 1100
        until = (utc_now().timestamp() + minutes * 60) // 60 * 60
        closes = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(until))
        for id, how in ((opened, publish.Change(Status.OPEN, closes=closes)), (closed, publish.Change(Status.CLOSED))):
            publish.set_point(self.service.database, id, how, shell("crash"), zone=ZONE, now=utc_now())
        self.changes += 1

    def deliveries(self) -> list[Row]:
        """Every delivery."""
        open_, numbers = self.service.vault.open, dict[bytes, str]()
        for sealed, hashed in self.rows("SELECT number_sealed, number_hash FROM subscriptions"):
            numbers[hashed] = open_(sealed)
        return [
            Row(id, kind, state, numbers[hashed], *more)
            for id, kind, state, hashed, *more in self.rows(
                "SELECT id, kind, state, number_hash, subscription_id, told, body, provider_id, created_at, error"
                " FROM deliveries"
            )
        ]

    def followers(self) -> list[Follower]:
        """Every subscription, with the present answer."""
        now = utc_now()
        view = self.service.snapshot.read_if_changed(now)
        standing, places = at(view.board, now), view.gazetteer.by_code
        return [
            Follower(id, self.service.vault.open(sealed), told, standing.key(places[place], ""))
            for id, sealed, told, place in self.rows("SELECT id, number_sealed, told, place FROM subscriptions")
        ]


class Feeder(threading.Thread):
    """Makes work for as long as there is too little."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="feeder", daemon=True)
        self._world, self._dice, self._ending = world, random.Random(seed), threading.Event()
        self.failures = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """Until it is told to end."""
        while not self._ending.wait(self._dice.uniform(0.1, 0.6)):
            try:
                if self._world.waiting() < BACKLOG:
                    self._world.announce()
                elif self._dice.random() < CHANGES:
                    self._world.change(self._dice)
            except (StoreAway, sqlite3.OperationalError):
                self.failures += 1
            except Exception as error:
                self.error = error
                return

    def end(self) -> None:
        """No more work. Raises what ended it before."""
        self._ending.set()
        self.join()
        if self.error:
            raise self.error


@dataclass
class Killer:
    """Keeps some processes running the jobs, and kills them. `killed`: when, and whether there was work."""

    world: World
    environment: dict[str, str]
    folder: Path
    senders: int
    dice: random.Random
    running: list[Jobs] = field(default_factory=list)
    killed: list[tuple[float, bool]] = field(default_factory=list)
    standby_kills: int = 0
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def fill_up(self) -> None:
        """As many as there shall be."""
        self.running = [one for one in self.running if one.alive]
        while len(self.running) < self.senders:
            log = self.folder / f"jobs-{next(self._serial)}.log"
            self.running.append(Jobs(["tests.crash.runner"], self.environment, log))

    def leading(self) -> Jobs | None:
        """The one that leads; what has ended by itself is started again."""
        self.fill_up()
        name = self.world.leader()
        return next((one for one in self.running if name and one.owner == name), None)

    def kill_next(self) -> bool:
        """Wait until one leads, and for a moment that nobody foresees, and kill it. Whether one led."""
        if not wait_for(lambda: self.leading() is not None, 60):
            return False
        time.sleep(self.dice.uniform(0.05, 0.6) if self.dice.random() < 0.6 else self.dice.uniform(0.3, 2.5))
        victim = self.leading() or self.running[0]
        if self.senders > 1 and self.dice.random() < 0.15:
            victim = self.dice.choice(self.running)
        busy, led = self.world.waiting() > 0, victim is self.leading()
        victim.kill()
        if led:
            self.killed.append((time.monotonic(), busy))
        else:
            self.standby_kills += 1
        self.fill_up()
        return True

    @property
    def kills(self) -> int:
        """How many were killed."""
        return len(self.killed) + self.standby_kills

    def end(self) -> None:
        """Ask all to end."""
        for one in self.running:
            one.end()


def _points(area: str) -> list:  # type: ignore[type-arg]
    now = utc_now()
    return [
        a_point(f"{area.lower()}-{letter}", lat=lat, lon=lon, district=area, city=area, confirmed_at=now, status=status)
        for letter, (lat, lon), status in zip("ab", AREAS[area], (Status.OPEN, Status.CLOSED), strict=True)
    ]


def environment_of(path: Path, port: int, fake: FakeTwilio, timing: Timing) -> dict[str, str]:
    """The settings of every process."""
    return {
        "DATABASE_URL": f"sqlite:///{path}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GATEWAY": "recorder",
        "TWILIO_API_URL": fake.url,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_FROM": "+46770000000",
        "SEND_RATE": "400",
        "SEND_CONCURRENCY": "32",
        "API_TIMEOUT": str(timing.api_timeout),
        "RECONCILE_SECONDS": str(timing.reconcile),
        "PUSH_SETTLE_SECONDS": "1",
        "SPEND_PER_DAY": "1e12",
        "NUMBER_PER_DAY": "1000000000",
        "APPROVE_ABOVE": "1000000000",
    }


def settled(world: World) -> bool:
    """Whether everything has gone out, for a while."""
    quiet_since = 0.0
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        pushes = world.rows("SELECT count(*) FROM due WHERE job = 'push' AND done_at IS NULL AND at < strftime('%s')")
        if world.waiting() or pushes[0][0]:
            quiet_since = 0.0
        else:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since > 4:
                return True
        time.sleep(0.3)
    return False


def resumed(killed: list[tuple[float, bool]], posts: list[float]) -> list[float]:
    """Seconds from each kill to the next POST, where there was work and the successor lived to begin it."""
    posts, out = sorted(posts), []
    for n, (at_, busy) in enumerate(killed):
        found = bisect.bisect(posts, at_ + FIRST_POST)
        following = killed[n + 1][0] if n + 1 < len(killed) else float("inf")
        if busy and found < len(posts) and posts[found] < following:
            out.append(posts[found] - at_)
    return out


def report(
    verdict: Verdict, killer: Killer, web: Web, world: World, fake: FakeTwilio, took: float, quiet: bool
) -> None:
    """Print the table."""
    again = resumed(killer.killed, [at_ for at_, _ in fake.posts])
    cuts = statistics.quantiles(again, n=20) if len(again) > 1 else [0.0] * 19
    answers = Counter(receipt.answer for receipt in fake.receipts)
    lines = {
        "kills": f"{len(killer.killed)} leaders, {killer.standby_kills} standing by, {web.kills} web, in {took:.0f} s",
        "work": f"{len(world.written)} broadcasts, {world.changes} changes, to {len(world.numbers)} numbers",
        "deliveries": f"{sum(verdict.states.values())}: {dict(verdict.states.most_common())}",
        "accepted": f"{len(fake.accepted)} of {len(fake.posts)} POSTs",
        "LOST": str(len(verdict.lost)),
        "DOUBLED": str(len(verdict.doubled)),
        "unknown": str(verdict.states["unknown"]),
        "odd": str(len(verdict.odd)),
        "faults": json.dumps(dict(fake.given.most_common())),
        "receipts": f"{sum(answers.values())}: {dict(answers)}",
        "resumed after": f"median {statistics.median(again) if again else 0:.2f} s, p95 {cuts[18]:.2f},"
        f" max {max(again, default=0):.2f} ({len(again)} kills)",
        "longest delivery": f"{verdict.longest:.1f} s",
        "settled": "yes" if quiet else f"NO: {world.waiting()} deliveries are not over",
    }
    for name, line in lines.items():
        print(f"{name:18}{line}")
    for name, found in (("LOST", verdict.lost), ("DOUBLED", verdict.doubled), ("odd", verdict.odd)):
        for line in found[:SHOWN]:
            print(f"{name}: {line}")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.harness", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--settle", choices=sorted(TIMINGS), default="long")
    parser.add_argument("--senders", type=int, default=1, help="processes that run the jobs; one leads")
    parser.add_argument("--seconds", type=float, default=900, help="kill for no longer than this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--numbers", type=int, default=240)
    parser.add_argument("--lease", type=float, default=1.0, help="of the leader; 0: as long as in real life")
    parser.add_argument("--sabotage", action="store_true", help="send again without asking: must double")
    parser.add_argument("--keep", type=Path, help="copy the database and the logs there")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> tuple[Verdict, bool]:
    """Kill, let settle, compare, report; the verdict, and whether it settled."""
    timing, dice, port = TIMINGS[options.settle], random.Random(options.seed), free_port()
    numbers = [f"+46701{n:06d}" for n in range(100, 100 + options.numbers)]
    refused = numbers[:REFUSED]
    faults = Faults(**{**vars(FAULTS), "list_delay": timing.list_delay})
    with FakeTwilio(ACCOUNT, TOKEN, faults=faults, seed=options.seed) as fake:
        for number in refused:
            fake.refuse(number, 21612)
        for number in numbers[REFUSED : REFUSED + UNDELIVERABLE]:
            fake.undeliverable(number, 30005)
        path = folder / "responder.db"
        environment = environment_of(path, port, fake, timing)
        os.environ.update(environment)
        world = World(path, Settings(_env_file=None), numbers)  # type: ignore[call-arg]
        knobs = {"CRASH_START_WITHIN": str(timing.start_within), "CRASH_LEASE": str(options.lease)}
        knobs["CRASH_SABOTAGE"] = str(int(options.sabotage))
        web = Web(port, environment, folder / "web.log", dice)
        killer = Killer(world, {**environment, **knobs}, folder, options.senders, dice)
        feeder = Feeder(world, options.seed)
        began = time.monotonic()
        try:
            wait_for(web.answers, 30)
            killer.fill_up()
            feeder.start()
            while killer.kills < options.kills and not feeder.error and time.monotonic() - began < options.seconds:
                if not killer.kill_next():
                    print("nobody leads", file=sys.stderr)
                    break
                if dice.random() < 0.1:
                    web.kill_one()
            took = time.monotonic() - began
            feeder.end()
            quiet = settled(world)
            fake.wait_idle(60)
            verdict = judge(world.deliveries(), fake.accepted, world.written, numbers, refused, world.followers())
        finally:
            killer.end()
            web.end()
            if options.keep:
                shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        report(verdict, killer, web, world, fake, took, quiet)
    return verdict, quiet


def main() -> None:
    """Exit with 1 if anybody was lost or got something twice; for a short settle only if anybody was lost."""
    options = arguments()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started is ended too
    with tempfile.TemporaryDirectory() as folder:
        verdict, quiet = run(options, Path(folder))
    failed = verdict.lost or not quiet or (verdict.doubled and options.settle == "long")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

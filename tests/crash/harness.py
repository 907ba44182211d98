"""kill -9 at any moment: does anybody lose a message, or get one twice, or get one after STOPP?

    python -m tests.crash.harness [--engine sqlite|postgresql] [--senders 4] [--kills 200] [--restarts 4]
        [--settle long|short] [--seconds 900] [--sabotage resend|rate|locks]

Real processes on one database: gunicorn with two workers for receipts and residents, and `--senders` times `responder
jobs`, which all send. One of them, whichever, is killed after some dozens of messages, over and over, while points
change, broadcasts go out and residents say STOPP. Now and then one is frozen for longer than its leases and let go on,
and on PostgreSQL the server is restarted, as in a crash or as by an administrator. The provider is a fake over HTTP
that loses answers, fails, stalls, and posts its receipts late, twice, too early or never. In the end what it took is
compared with what everybody should have had, and when, with STOPP and with SEND_RATE. `--settle short` asks the
provider sooner than its list is up to date, which can double. `--sabotage` breaks the service on purpose, and must be
found out: it sends again without asking, shares no rate, or locks nothing.
"""

import argparse
import bisect
import json
import logging
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from sqlalchemy import text

from responder.actions import load, publish
from responder.core.access import shell
from responder.core.points import Status
from responder.core.told import at
from responder.settings import Settings
from responder.store.engine import Database, StoreAway
from responder.store.queries import save_points
from responder.web.handset import Handset, LineError, over_http
from responder.wiring import Service, utc_now, wire
from tests.bench.reply import free_port
from tests.conftest import TOKEN, ZONE, a_point
from tests.crash.processes import Jobs, Nursery, Web, wait_for
from tests.crash.runner import SABOTAGE
from tests.crash.verdict import OVER, SPAN, Follower, Row, Verdict, after_stopp, delivery_of, judge, judge_posts
from tests.fakes.followers import follow
from tests.fakes.twilio import FakeTwilio, Faults
from tests.postgres import Server, server

ACCOUNT = "AC" + "1" * 32
AREAS = {"Farsta": ((59.2400, 18.0900), (59.2600, 18.1200)), "Bromma": ((59.3430, 17.9440), (59.3250, 17.9700))}
POSTCODES = 12  # of each area
REFUSED, UNDELIVERABLE = 2, 4  # numbers that the provider does not take, or takes in vain
BACKLOG = 150  # deliveries that shall wait at any time
CHANGES = 0.06  # chance of a change while so many wait: news overtakes what was written
SETTLE_SECONDS = 240.0
FIRST_POST = 0.2  # seconds after a kill in which what the dead process wrote may still arrive
SHOWN = 10
STOPPS_EVERY = (2.0, 6.0)  # seconds
MOST_LEAVE = 0.4  # of all numbers
KILLS_PER_FREEZE = 12
SENT_BETWEEN, WAITS_FOR_WORK = 40, 4.0  # POSTs between two kills, at most, and seconds for which they are waited for
AWAY_SECONDS = 60.0  # for which a restarted server is waited for
Found = TypeVar("Found")

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

    settings: Settings
    numbers: list[str]
    service: Service = field(init=False)
    written: list[str] = field(default_factory=list)
    changes: int = 0
    stopped: dict[str, float] = field(default_factory=dict)  # number to when its STOPP was confirmed
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        database = Database(self.settings.database_url)
        load.prepare(database)
        with database.write() as connection:
            save_points(connection, [p for area in AREAS for p in _points(area)], {}, utc_now())
        self.service = wire(self.settings)
        follow(self.service, self.numbers, AREAS, POSTCODES, utc_now())

    def rows(self, question: str) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of the database. Waits for a server that is being restarted."""

        def read() -> list[tuple]:  # type: ignore[type-arg]
            with self.service.database.read() as connection:
                return [tuple(row) for row in connection.execute(text(question))]

        return _once_there(read)

    def waiting(self) -> int:
        """How many deliveries are not over."""
        return int(self.rows("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')")[0][0])

    def leader(self) -> str:
        """Who leads just now."""
        now = utc_now().timestamp()
        held = self.rows("SELECT owner, until FROM leases WHERE name = 'jobs'")
        return next((owner for owner, until in held if until > now), "")

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
        numbers = {self.service.vault.newest(number): number for number in self.numbers}
        return [
            Row(id, kind, state, numbers[bytes(hashed)], *more)
            for id, kind, state, hashed, *more in self.rows(
                "SELECT id, kind, state, number_hash, subscription_id, told, body, provider_id, created_at, error,"
                " claimed_at FROM deliveries"
            )
        ]

    def followers(self) -> list[Follower]:
        """Every subscription, with the present answer."""
        now = utc_now()
        view = _once_there(lambda: self.service.snapshot.read_if_changed(now))
        standing, places = at(view.board, now), view.gazetteer.by_code
        return [
            Follower(id, self.service.vault.open(sealed), told, standing.key(places[place], ""))
            for id, sealed, told, place in self.rows("SELECT id, number_sealed, told, place FROM subscriptions")
        ]

    def write_down(self, folder: Path, fake: FakeTwilio) -> None:
        """All deliveries, and all that the provider took, for whoever looks for the reason."""
        for name, rows in {
            "deliveries": self.rows("SELECT * FROM deliveries ORDER BY id"),
            "broadcasts": self.rows("SELECT * FROM broadcasts ORDER BY id"),
            "audit": self.rows("SELECT * FROM audit ORDER BY id"),
            "accepted": [(delivery_of(one), *vars(one).values()) for one in fake.accepted],
        }.items():
            (folder / f"{name}.txt").write_text("\n".join(map(repr, rows)), encoding="utf-8")

    def kept(self) -> list[str]:
        """Numbers that said STOPP and are still there."""
        hashes = {self.service.vault.newest(number): number for number in self.stopped}
        there = self.rows(
            "SELECT number_hash, 'deliveries' FROM deliveries WHERE length(number_sealed) > 0"
            " UNION SELECT number_hash, 'subscriptions' FROM subscriptions"
        )
        return [f"{hashes[bytes(h)]} said STOPP and is in {table}" for h, table in there if bytes(h) in hashes]


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
            except StoreAway:
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


class Leavers(threading.Thread):
    """Residents who say STOPP, one after the other, each until it is confirmed. `tried`: whoever said it at all."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="leavers", daemon=True)
        self._world, self._dice, self._ending = world, random.Random(seed), threading.Event()
        chosen = world.numbers[REFUSED + UNDELIVERABLE :]
        self._who = self._dice.sample(chosen, int(MOST_LEAVE * len(chosen)))
        self.tried: set[str] = set()

    def run(self) -> None:
        """Until it is told to end, or few are left."""
        while self._who and not self._ending.wait(self._dice.uniform(*STOPPS_EVERY)):
            if self._leave(self._who[-1]):
                self._world.stopped[self._who.pop()] = time.monotonic()

    def _leave(self, number: str) -> bool:
        """Whether the service says that the number is deleted; else it is tried again, as people do."""
        url = self._world.settings.public_url
        self.tried.add(number)
        try:
            return "raderat" in Handset(over_http(url), url, TOKEN, number).text("STOPP")
        except LineError:
            return False

    def end(self) -> None:
        """Nobody leaves any more."""
        self._ending.set()
        self.join()


@dataclass
class Killer:
    """Keeps some processes running the jobs, and kills them. `killed`: when, and whether there was work."""

    world: World
    nursery: Nursery
    fake: FakeTwilio
    folder: Path
    senders: int
    dice: random.Random
    frozen_seconds: float  # longer than any lease
    running: list[Jobs] = field(default_factory=list)
    killed: list[tuple[float, bool]] = field(default_factory=list)
    leaders: int = 0  # of those killed
    frozen: int = 0
    restarts: int = 0
    _frozen: tuple[Jobs, float] | None = None  # and until when
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def fill_up(self) -> None:
        """As many as there shall be; who was frozen long enough goes on."""
        if self._frozen and time.monotonic() > self._frozen[1]:
            self._frozen[0].thaw()
            self._frozen = None
        self.running = [one for one in self.running if one.alive]
        while len(self.running) < self.senders:
            log = self.folder / f"jobs-{next(self._serial)}.log"
            self.running.append(self.nursery.jobs(log))

    def sending(self) -> list[Jobs]:
        """Those that are up; what has ended by itself is started again. Alone, it has to lead first."""
        self.fill_up()
        up = [one for one in self.running if one.owner and not (self._frozen and one is self._frozen[0])]
        if self.senders > 1:
            return up
        leader = self.world.leader()
        return [one for one in up if one.owner == leader]

    def kill_next(self) -> bool:
        """Wait until some send, and for a moment that nobody foresees, and kill one. Whether any was up."""
        if not wait_for(lambda: bool(self.sending()), 60):
            return False
        enough = len(self.fake.posts) + self.dice.randint(1, SENT_BETWEEN)
        wait_for(lambda: len(self.fake.posts) >= enough, WAITS_FOR_WORK)
        time.sleep(self.dice.uniform(0.05, 0.6) if self.dice.random() < 0.6 else self.dice.uniform(0.3, 2.5))
        victim = self.dice.choice(self.sending() or self.running)
        busy, led = self.world.waiting() > 0, victim.owner == self.world.leader()
        victim.kill()
        self.killed.append((time.monotonic(), busy))
        self.leaders += led
        self.fill_up()
        if self.senders > 1 and len(self.killed) >= KILLS_PER_FREEZE * self.frozen + KILLS_PER_FREEZE // 2:
            self._freeze()
        return True

    def _freeze(self) -> None:
        up = self.sending()
        if up and not self._frozen:
            one = self.dice.choice(up)
            one.freeze()
            self._frozen = one, time.monotonic() + self.frozen_seconds
            self.frozen += 1

    def wait_thawed(self) -> None:
        """Until nobody is frozen any more."""
        while self._frozen:
            time.sleep(0.2)
            self.fill_up()

    def restart(self, database: Server) -> None:
        """The server, as in a crash or as by somebody who means it."""
        database.restart(self.dice.choice((signal.SIGQUIT, signal.SIGINT)))
        self.restarts += 1

    @property
    def kills(self) -> int:
        """How many were killed."""
        return len(self.killed)

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


def _once_there(question: Callable[[], Found]) -> Found:
    """The answer, once the database is there. Raises StoreAway if it does not come back."""
    end = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return question()
        except StoreAway:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def database_in(folder: Path, engine: str) -> Iterator[tuple[str, Server | None]]:
    """DATABASE_URL of an empty database, and its server if it has one."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'responder.db'}", None
        return
    with server() as running:
        yield running.url("crash"), running


def environment_of(url: str, folder: Path, port: int, fake: FakeTwilio, timing: Timing, rate: float) -> dict[str, str]:
    """The settings of every process."""
    return {
        "DATABASE_URL": url,
        "METRICS_DIR": str(folder / "metrics"),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GATEWAY": "recorder",
        "TWILIO_API_URL": fake.url,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_FROM": "+46770000000",
        "SEND_RATE": str(rate),
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
        now = utc_now().timestamp()
        pushes = world.rows(f"SELECT count(*) FROM due WHERE job = 'push' AND done_at IS NULL AND at < {now}")
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
    after = after_stopp(fake.posts, world.stopped)
    lines = {
        "kills": f"{killer.kills} of {killer.senders} senders ({killer.leaders} led), {web.kills} web, in {took:.0f} s",
        "beside": f"{killer.frozen} frozen for {killer.frozen_seconds:.0f} s, {killer.restarts} restarts of the server",
        "work": f"{len(world.written)} broadcasts, {world.changes} changes, to {len(world.numbers)} numbers",
        "deliveries": f"{sum(verdict.states.values())}: {dict(verdict.states.most_common())}",
        "accepted": f"{len(fake.accepted)} of {len(fake.posts)} POSTs",
        **{name: str(len(found)) for name, found in verdict.faults.items()},
        "said STOPP": f"{len(world.stopped)}; {len(after)} POSTs that were on their way, the last {max(after, default=0):.2f}"
        " s after it",
        "rate": f"{verdict.fastest:.0f} POSTs/s in the busiest {SPAN:.0f} s; SEND_RATE is {world.settings.send_rate:.0f}, at most"
        f" {OVER * world.settings.send_rate:.0f}",
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
    for name, found in {**verdict.faults, "odd": verdict.odd}.items():
        for line in found[:SHOWN]:
            print(f"{name}: {line}")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.harness", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--settle", choices=sorted(TIMINGS), default="long")
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--senders", type=int, default=1, help="processes that send")
    parser.add_argument("--restarts", type=int, default=4, help="of the PostgreSQL server")
    parser.add_argument("--rate", type=float, default=100, help="SEND_RATE, of all senders together")
    parser.add_argument("--seconds", type=float, default=900, help="kill for no longer than this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--numbers", type=int, default=240)
    parser.add_argument("--lease", type=float, default=2.0, help="of a process; 0: as long as in real life")
    parser.add_argument("--sabotage", nargs="?", choices=sorted(SABOTAGE), const="resend", default="")
    parser.add_argument("--keep", type=Path, help="copy the database and the logs there")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> tuple[Verdict, bool]:
    """Kill, let settle, compare, report; the verdict, and whether it settled."""
    timing, dice, port = TIMINGS[options.settle], random.Random(options.seed), free_port()
    numbers = [f"+46701{n:06d}" for n in range(100, 100 + options.numbers)]
    refused = numbers[:REFUSED]
    faults = Faults(**{**vars(FAULTS), "list_delay": timing.list_delay})
    with ExitStack() as stack:
        fake = stack.enter_context(FakeTwilio(ACCOUNT, TOKEN, faults=faults, seed=options.seed))
        for number in refused:
            fake.refuse(number, 21612)
        for number in numbers[REFUSED : REFUSED + UNDELIVERABLE]:
            fake.undeliverable(number, 30005)
        url, database = stack.enter_context(database_in(folder, options.engine))
        environment = environment_of(url, folder, port, fake, timing, options.rate)
        os.environ.update(environment)
        world = World(Settings(_env_file=None), numbers)  # type: ignore[call-arg]
        stack.callback(world.service.database.close)
        knobs = {"CRASH_START_WITHIN": str(timing.start_within), "CRASH_LEASE": str(options.lease)}
        knobs["CRASH_SABOTAGE"] = options.sabotage
        web = Web(port, environment, folder / "web.log", dice)
        lease = timing.start_within + timing.api_timeout + timing.reconcile
        nursery = Nursery({**environment, **knobs})
        killer = Killer(world, nursery, fake, folder, options.senders, dice, lease + 3)
        feeder, leavers = Feeder(world, options.seed), Leavers(world, options.seed)
        began = time.monotonic()
        try:
            wait_for(web.answers, 30)
            killer.fill_up()
            feeder.start()
            leavers.start()
            while killer.kills < options.kills and not feeder.error and time.monotonic() - began < options.seconds:
                if not killer.kill_next():
                    print("nobody sends", file=sys.stderr)
                    break
                if dice.random() < 0.1:
                    web.kill_one()
                if database and killer.kills * (options.restarts + 1) // (options.kills + 1) > killer.restarts:
                    killer.restart(database)
            took = time.monotonic() - began
            leavers.end()
            feeder.end()
            killer.wait_thawed()
            quiet = settled(world)
            fake.wait_idle(60)
            followers, left = world.followers(), leavers.tried
            verdict = judge(world.deliveries(), fake.accepted, world.written, numbers, refused, followers, left)
            judge_posts(verdict, fake.posts, world.stopped, options.rate)
            verdict.odd += world.kept()
            report(verdict, killer, web, world, fake, took, quiet)
            if options.keep:
                world.write_down(folder, fake)
        finally:
            killer.end()
            nursery.end()
            web.end()
            if options.keep:
                shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    return verdict, quiet


def main() -> None:
    """Exit with 1 if anything was found that must not be; for a short settle somebody may have got something twice."""
    options = arguments()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started is ended too
    with tempfile.TemporaryDirectory() as folder:
        verdict, quiet = run(options, Path(folder))
    allowed = ("DOUBLED",) if options.settle == "short" else ()
    failed = any(found for name, found in verdict.faults.items() if name not in allowed)
    sys.exit(1 if failed or not quiet else 0)


if __name__ == "__main__":
    main()

"""How long it takes to find out whose answer has changed, and to queue what they hear.

    python -m tests.bench.push [--engine sqlite|postgresql] [--subscribers 100000] [--places 3000] [--points 100]
        [--sample 2000] [--send 0] [--statements]

Everybody is told the present answer; then the point closes that is the first for most of them. Timed are the parts of
`push` itself: reading and comparing (before its write transaction) and queueing (the transaction). Meanwhile an operator
saves and a resident says STOPP over and over: how long the slowest of them waited. Beside it, in the same run, the same
comparison done for one subscriber after another; for a sample, and said to be extrapolated. `--send`: so many of the
messages are sent to a fake provider by one process, and the time for all is extrapolated. PostgreSQL is a server of its
own with its usual settings, on the same disk.
"""

import argparse
import asyncio
import random
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from responder.actions import load, publish
from responder.actions.push import Pushed, push_due
from responder.core.access import shell
from responder.core.places import Place
from responder.core.points import Point, Status
from responder.core.told import Now, at, key_of, opener
from responder.settings import Settings
from responder.store.engine import Database, StoreAway
from responder.store.people import People
from responder.store.queries import read_points, save_points
from responder.store.snapshot import View
from responder.store.vault import Vault
from responder.wiring import Service, utc_now, wire
from tests.bench.databases import ENGINES, backends, database
from tests.bench.databases import Place as Bed
from tests.bench.sending import AT_ONCE, SENDER, provider
from tests.conftest import Clock
from tests.fakes.twilio import ACCOUNT, TOKEN

ZONE = "Europe/Stockholm"
CLOSER = 8  # times as many subscribers where the closing point is the first
SEALED = b"\0" * 40  # as long as a sealed number
AT_A_TIME = 20_000  # rows of an INSERT


def megabytes() -> float:
    """The most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def settled(service: Service, chosen: random.Random, points: int) -> list[Place]:
    """The demo points and `points` in all, each near a place; the places, in random order."""
    now = service.clock()
    load.load_demo(service.database, ZONE, now, real=False)
    view = service.snapshot.read_if_changed(now)
    places = [place for place in view.gazetteer.places if place.municipality and not place.is_box]
    chosen.shuffle(places)
    with service.database.write() as connection:
        known = [point for point, _ in read_points(connection)]
        made = [_point(known[0], place, n) for n, place in enumerate(places[: points - len(known)])]
        save_points(connection, made, {}, now)
        connection.execute(text("DELETE FROM due"))
    return places


def _point(like: Point, place: Place, number: int) -> Point:
    return replace(
        like, id=f"bench-{number}", name=f"Hallen {number}", lat=place.lat + 0.001, lon=place.lon, postcode="",
        city=place.name, district=place.district, municipality=place.municipality, status=Status.OPEN, opens=None,
        closes=None, hours="", hidden=False,
    )  # fmt: skip


def subscribe(
    connection: Connection,
    now: Now,
    places: list[Place],
    subscribers: int,
    draw: random.Random,
    vault: Vault | None = None,
) -> str:
    """`subscribers` in `places`, all told the present answer; the point that is the first for most of them. As in a
    disturbance, they live closer around that point. With a `vault` they have numbers that can be sent to.
    """
    told = {place.code: now.key(place, "") for place in places}
    first = Counter(opener(key) for key in told.values() if key.startswith("open ")).most_common(1)[0][0]
    weights = [CLOSER if opener(told[place.code]) == first else 1 for place in places]
    chosen = draw.choices(places, weights, k=subscribers)
    sql = text(
        "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state, exercise,"
        " told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', 'sv', :place, '', 'active', :no, :told,"
        " '', 0, 0)"
    )
    for start in range(0, subscribers, AT_A_TIME):
        rows = [
            {**_number(n, vault), "place": place.code, "told": told[place.code], "no": False}
            for n, place in enumerate(chosen[start : start + AT_A_TIME], start)
        ]
        connection.execute(sql, rows)
    return first


def _number(number: int, vault: Vault | None) -> dict[str, bytes]:
    if vault is None:
        return {"hash": number.to_bytes(16, "big"), "sealed": SEALED}
    return {"hash": vault.newest(f"+467{number:08d}"), "sealed": vault.seal(f"+467{number:08d}")}


def set_up(url: str, now: datetime, subscribers: int, places: int, points: int, sent_to: bool) -> str:
    """Fill the database; the point that is to close. In a process of its own: its memory is not counted."""
    load.prepare(Database(url))
    service, draw = service_on(url, Clock(now)), random.Random(1)
    chosen = settled(service, draw, points)[:places]
    board = service.snapshot.read_if_changed(now).board
    with service.database.write() as connection:
        vault = service.vault if sent_to else None
        closing = subscribe(connection, at(board, now), chosen, subscribers, draw, vault)
    with service.database.write() as connection:  # as autovacuum does within minutes
        connection.execute(text("ANALYZE"))
    service.database.close()
    return closing


def wired(path: Path, clock: Clock) -> Service:
    """The service on the SQLite file at `path`."""
    return service_on(f"sqlite:///{path}", clock)


def service_on(url: str, clock: Clock, provider: str = "") -> Service:
    """The service on the database `url`; whatever a push reaches, it need not wait for a second person."""
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=url,
        approve_above=10**9,
        twilio_api_url=provider,
        twilio_account_sid=ACCOUNT,
        twilio_auth_token=TOKEN,
        twilio_from=SENDER,
        send_rate=1e6,
        send_concurrency=AT_ONCE,
        number_per_day=10**9,
        spend_per_day=1e12,
    )
    return wire(settings, clock)


class Others(threading.Thread):
    """Somebody else who writes over and over meanwhile. `longest`: seconds that one write took; `failed`: how many."""

    def __init__(self, url: str, alone: bool) -> None:
        super().__init__(daemon=True)
        self._database, self._alone, self._ending = Database(url, pooled=True), alone, threading.Event()
        self._people = People(self._database)
        self.longest, self.failed = 0.0, 0

    def run(self) -> None:
        """Until it is told to end."""
        serial = 0
        while not self._ending.wait(0.05):
            began, serial = time.perf_counter(), serial + 1
            try:
                if self._alone:
                    with self._database.write() as connection:
                        connection.execute(text("UPDATE meta SET value = value WHERE key = 'points'"))
                else:
                    self._people.do(self._people.stop([f"nobody {serial}".encode()], 0.0))
            except StoreAway:
                self.failed += 1
            self.longest = max(self.longest, time.perf_counter() - began)

    def end(self) -> str:
        """What it waited, in words."""
        self._ending.set()
        self.join()
        self._database.close()
        return f"{self.longest:.2f} s" + (f", {self.failed} failed" if self.failed else "")


@dataclass
class Statements:
    """How long each statement of a database takes: `seconds`, with its beginning."""

    database: Database
    seconds: list[tuple[float, str]] = field(default_factory=list)
    _began: float = 0.0

    def __post_init__(self) -> None:
        event.listen(self.database.engine, "before_cursor_execute", self._begin)
        event.listen(self.database.engine, "after_cursor_execute", self._end)

    def _begin(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def _end(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.seconds.append((time.perf_counter() - self._began, " ".join(statement.split())[:100]))


@contextmanager
def timed_writes(database: Database, seconds: list[float]) -> Iterator[None]:
    """Note how long each write transaction of `database` takes."""
    write = database.write

    @contextmanager
    def timed(alone: bool = True) -> Iterator[Connection]:
        began = time.perf_counter()
        with write(alone) as connection:
            yield connection
        seconds.append(time.perf_counter() - began)

    with patch.object(database, "write", timed):
        yield


def one_by_one(database: Database, now: Now, view: View, sample: int) -> tuple[float, int]:
    """(seconds, how many have changed) for `sample` subscribers, one after the other, nothing remembered."""
    sql = "SELECT place, service, told FROM subscriptions ORDER BY number_hash LIMIT :sample"
    began, changed = time.perf_counter(), 0
    with database.read() as connection:
        for place, service, told in connection.execute(text(sql), {"sample": sample}):
            answer = now.neutral.answer(view.gazetteer.by_code[place], service)
            now.neutral._answers.clear()
            changed += key_of(answer) != told
    return time.perf_counter() - began, changed


def measured(service: Service, clock: Clock, closing: str) -> tuple[Pushed, float, float]:
    """(what was pushed, seconds to find it, seconds to queue it) after the point `closing` has closed."""
    publish.set_point(service.database, closing, publish.Change(Status.CLOSED), shell("bench"), ZONE, clock.now)
    clock.now += timedelta(seconds=service.settings.push_settle_seconds + 1)
    writes: list[float] = []
    began = time.perf_counter()
    with timed_writes(service.database, writes):
        view = service.snapshot.read_if_changed(clock.now)
        pushed = push_due(service.database, view, service.rules, clock.now)
    whole = time.perf_counter() - began
    assert pushed is not None and len(writes) == 1
    return pushed, whole - writes[0], writes[0]


async def sent(service: Service, share: int) -> float:
    """Seconds for the first `share` messages, by one process at full rate."""
    deliverer, began, count = service.deliverer("bench"), time.perf_counter(), 0
    while count < share:
        count += deliverer.start_some()
        await asyncio.sleep(0.005)
    await deliverer.drain()
    await deliverer.close()
    return time.perf_counter() - began


def tell(options: argparse.Namespace, bed: Bed, closing: str, clock: Clock, address: str) -> None:
    """Push, and print the figures."""
    service = service_on(bed.url, clock, address)
    service.snapshot.read_if_changed(clock.now)
    statements, memory = Statements(service.database), megabytes()
    others = {"an operator's save": Others(bed.url, alone=True), "a resident's STOPP": Others(bed.url, alone=False)}
    for other in others.values():
        other.start()
    with backends(bed) as most:
        pushed, finding, queueing = measured(service, clock, closing)
    waits = {name: other.end() for name, other in others.items()}
    queued = pushed.closed_doors + pushed.changed
    print(
        f"{options.engine}: {options.subscribers} subscribers in {options.places} places, {options.points} points;"
        f" {closing} closes"
    )
    print(f"finding whose answer changed  {finding:8.3f} s")
    print(f"queueing {queued:8} messages  {queueing:8.3f} s")
    print(f"longest wait meanwhile: {', '.join(f'{name} {wait}' for name, wait in waits.items())}")
    print(f"most memory  {memory:.0f} MB before, {megabytes():.0f} MB after", end="")
    print(f"; a process of the server {most[0]:.0f} MB" if bed.server else "")
    if options.statements:
        for seconds, statement in sorted(statements.seconds, reverse=True)[:12]:
            print(f"{seconds:8.3f} s  {statement}")
    if options.send:
        share = min(options.send, queued)
        seconds = asyncio.run(sent(service, share))
        print(
            f"sending {share} of {queued}: {seconds:.1f} s, {share / seconds:.0f} messages/s; extrapolated to all:"
            f" {queued * seconds / share:.0f} s"
        )
    view = service.snapshot.read_if_changed(clock.now)
    sample = min(options.sample, options.subscribers)
    seconds, changed = one_by_one(service.database, at(view.board, clock.now), view, sample)
    print(
        f"one by one: {sample} subscribers {seconds:.2f} s, {changed} changed;"
        f" extrapolated to {options.subscribers}: {seconds * options.subscribers / sample:.1f} s"
    )
    service.database.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.push", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--places", type=int, default=3_000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--sample", type=int, default=2_000, help="subscribers that are compared one by one")
    parser.add_argument("--send", type=int, default=0, help="messages that are sent too")
    parser.add_argument("--statements", action="store_true", help="show the slowest statements")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bed = stack.enter_context(database(options.engine, folder))
        address = stack.enter_context(provider(0.05)) if options.send else ""
        clock = Clock(utc_now())
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:
            figures = (options.subscribers, options.places, options.points, options.send > 0)
            closing = apart.submit(set_up, bed.url, clock.now, *figures).result()
        tell(options, bed, closing, clock, address)


if __name__ == "__main__":
    main()

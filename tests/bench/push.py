"""How long it takes to find out whose answer has changed, and to queue what they hear.

    python -m tests.bench.push [--subscribers 100000] [--places 3000] [--points 100] [--service sqlite] [--sample 2000]

Everybody is told the present answer; then the point closes that is the first for most of them. Timed are the parts of
`push` itself: reading and comparing (before its write transaction) and queueing (the transaction). Beside it, in the
same run, the same comparison done for one subscriber after another; for a sample, and said to be extrapolated.
"""

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.actions import load, publish
from responder.actions.push import Pushed, push_due
from responder.core.access import shell
from responder.core.places import Place
from responder.core.points import Point, Status
from responder.core.told import Now, at, key_of, opener
from responder.settings import Settings
from responder.store.engine import Database
from responder.store.queries import read_points, save_points
from responder.store.snapshot import View
from responder.wiring import Service, utc_now, wire
from tests.conftest import Clock

ZONE = "Europe/Stockholm"
CLOSER = 8  # times as many subscribers where the closing point is the first
SEALED = b"\0" * 40  # as long as a sealed number


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


def subscribe(connection: Connection, now: Now, places: list[Place], subscribers: int, draw: random.Random) -> str:
    """`subscribers` in `places`, all told the present answer; the point that is the first for most of them. As in a
    disturbance, they live closer around that point.
    """
    told = {place.code: now.key(place, "") for place in places}
    first = Counter(opener(key) for key in told.values() if key.startswith("open ")).most_common(1)[0][0]
    weights = [CLOSER if opener(told[place.code]) == first else 1 for place in places]
    rows = [
        {"hash": n.to_bytes(16, "big"), "sealed": SEALED, "place": place.code, "told": told[place.code]}
        for n, place in enumerate(draw.choices(places, weights, k=subscribers))
    ]
    connection.execute(
        text(
            "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state, exercise,"
            " told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', 'sv', :place, '', 'active', 0, :told,"
            " '', 0, 0)"
        ),
        rows,
    )
    return first


def set_up(path: Path, now: datetime, subscribers: int, places: int, points: int) -> str:
    """Fill the database at `path`; the point that is to close. In a process of its own: its memory is not counted."""
    load.prepare(Database(f"sqlite:///{path}"))
    service, draw = wired(path, Clock(now)), random.Random(1)
    chosen = settled(service, draw, points)[:places]
    board = service.snapshot.read_if_changed(now).board
    with service.database.write() as connection:
        return subscribe(connection, at(board, now), chosen, subscribers, draw)


def wired(path: Path, clock: Clock) -> Service:
    """The service on the database at `path`; whatever a push reaches, it need not wait for a second person."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{path}", approve_above=10**9)  # type: ignore[call-arg]
    return wire(settings, clock)


@contextmanager
def timed_writes(database: Database, seconds: list[float]) -> Iterator[None]:
    """Note how long each write transaction of `database` takes."""
    write = database.write

    @contextmanager
    def timed() -> Iterator[Connection]:
        began = time.perf_counter()
        with write() as connection:
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


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.push", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--places", type=int, default=3_000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--service", choices=["sqlite"], default="sqlite", help="which database")
    parser.add_argument("--sample", type=int, default=2_000, help="subscribers that are compared one by one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, clock = Path(folder) / "bench.db", Clock(utc_now())
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:
            figures = (options.subscribers, options.places, options.points)
            closing = apart.submit(set_up, path, clock.now, *figures).result()
        service = wired(path, clock)
        service.snapshot.read_if_changed(clock.now)
        memory = megabytes()
        pushed, finding, queueing = measured(service, clock, closing)
        print(
            f"{options.subscribers} subscribers in {options.places} places, {options.points} points; {closing} closes"
        )
        print(f"finding whose answer changed  {finding:8.3f} s")
        print(f"queueing {pushed.closed_doors + pushed.changed:8} messages  {queueing:8.3f} s")
        print(f"most memory  {memory:.0f} MB before, {megabytes():.0f} MB after")
        view = service.snapshot.read_if_changed(clock.now)
        sample = min(options.sample, options.subscribers)
        seconds, changed = one_by_one(service.database, at(view.board, clock.now), view, sample)
        print(
            f"one by one: {sample} subscribers {seconds:.2f} s, {changed} changed;"
            f" extrapolated to {options.subscribers}: {seconds * options.subscribers / sample:.1f} s"
        )
        service.database.close()


if __name__ == "__main__":
    main()

"""What a worker costs by how many points and places there are, and reads by how much a crisis has left.

    python -m tests.bench.scale --what reply [--points 100 10000] [--places 4000 20000] [--requests 1500] [--changes 15]
    python -m tests.bench.scale --what reads [--engine sqlite|postgresql] [--rows 1000000] [--rounds 5]

reads: see tests.bench.reads; --rows is how many subscriptions, deliveries and turns there are, a tenth as many lines in
the audit log, and 10,000 points.

reply: whole replies in one process, without a server around it, to places drawn by Zipf's law. `known` is a question
that was asked before of this view, `new` one that was not; `after a change` is the first reply after an operator has
changed one point, and `after a moment` the first after a point has closed or opened by the clock; `start` is reading
everything. Times are milliseconds of the processor, so that it does not matter much who else uses the machine. Memory
is the whole process with its libraries, ready to answer. Points beyond the demo ones lie near places all over the
county; places beyond the bundled ones are made up.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from flask import Flask

from responder.actions import load, publish
from responder.app import create_app
from responder.core.access import shell
from responder.core.points import Status
from responder.store.engine import Database
from responder.store.queries import read_places, read_points, save_places, save_points
from responder.wiring import Service, utc_now
from tests.bench import reads
from tests.bench.profile import asked_of, environs, settings
from tests.bench.push import ZONE, megabytes, settled, wired
from tests.conftest import Clock

AGED = 600  # minutes over which the points were confirmed
COLUMNS = ("start", "known", "p99", "new", "p99", "after a change", "most", "after a moment", "most", "MB")


def fill(path: Path, points: int, places: int) -> None:
    """A database at `path` with so many points and places. In a process of its own: its memory is not counted."""
    load.prepare(Database(f"sqlite:///{path}"))
    clock, draw = Clock(utc_now()), random.Random(1)
    service = wired(path, clock)
    with service.database.write() as connection:
        known = read_places(connection, learnt=False)
        more = [
            replace(
                place, code=f"made-{n}", name=f"{place.name} {_letters(n)}", lat=place.lat + draw.uniform(-0.02, 0.02),
                lon=place.lon + draw.uniform(-0.04, 0.04), aliases=(),
            )
            for n, place in enumerate(draw.choices([p for p in known if not p.is_area], k=max(0, places - len(known))))
        ]  # fmt: skip
        save_places(connection, more, set())
    settled(service, draw, 100)
    with service.database.write() as connection:
        like = [point for point, _ in read_points(connection) if point.id.startswith("bench-")]
        copies = [
            replace(
                point, id=f"more-{n}", name=f"{point.name} {_letters(n)}", lat=point.lat + draw.uniform(-0.1, 0.1),
                lon=point.lon + draw.uniform(-0.2, 0.2),
                confirmed_at=clock.now - timedelta(minutes=draw.uniform(0, AGED)),
                services=tuple(draw.sample(("water", "warmth", "phone_charging", "food"), k=2)),
                hours=draw.choice(("", "", "Mo-Su 08:00-20:00", "Mo-Fr 07:30-21:00; Sa-Su 10:00-18:00")),
            )
            for n, point in enumerate(draw.choices(like, k=max(0, points - 100)))
        ]  # fmt: skip
        save_points(connection, copies, {}, clock.now)
    service.database.close()


def _letters(number: int) -> str:
    """A made-up word for each number."""
    out = ""
    while number or len(out) < 4:
        number, rest = divmod(number, 20)
        out += "bdfghklmnprstvbdfghk"[rest] + "aeiou"[rest % 5]
    return out


def measured(path: Path, requests: int, changes: int) -> list[float]:
    """The COLUMNS, times in ms."""
    clock = Clock(utc_now())
    began = time.process_time()
    app = create_app(settings(path), clock)
    start = (time.process_time() - began) * 1000
    service: Service = app.extensions["responder"]
    draw = random.Random(2)
    view = service.snapshot.read_if_changed(clock.now)
    asked = [place.name for place in view.gazetteer.places]
    draw.shuffle(asked)
    first = [_ms(app, e) for e in environs(requests, 1, asked[:requests], crisis=False, each_once=True)]
    again = [_ms(app, e) for e in environs(requests, 2, asked[:requests], crisis=True)]
    memory = megabytes()
    ids = draw.sample([point.id for point in view.board.points], k=min(changes, len(view.board.points)))

    def change(number: int) -> None:
        status = Status.FULL if number % 2 else Status.CLOSED
        publish.set_point(service.database, ids[number], publish.Change(status), shell("bench"), ZONE, clock.now)

    def pass_a_moment(_: int) -> None:
        until = service.snapshot.read_if_changed(clock.now).board.good_until
        clock.now = max(until or clock.now, clock.now)

    changed, passed = (_after(app, what, len(ids), asked) for what in (change, pass_a_moment))
    service.database.close()
    cuts = [statistics.quantiles(times, n=100)[98] for times in (again, first)]
    return [
        start, statistics.median(again), cuts[0], statistics.median(first), cuts[1], statistics.median(changed),
        max(changed), statistics.median(passed), max(passed), memory,
    ]  # fmt: skip


def _after(app: Flask, what: Callable[[int], None], times: int, asked: list[str]) -> list[float]:
    """Milliseconds of the first reply after `what`, each of `times` times."""
    out = []
    for number in range(times):
        what(number)
        (environ,) = environs(1, 1000 + number + id(what) % 10_000, asked, crisis=True)
        out.append(_ms(app, environ))
    return out


def _ms(app: Flask, environ: dict[str, Any]) -> float:
    return asked_of(app, environ, time.thread_time_ns) / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--what", choices=["reply", "reads"], default="reply")
    parser.add_argument("--points", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--places", type=int, nargs="+", default=[4_000, 20_000])
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--changes", type=int, default=15)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.what == "reads":
        reads.show(options.engine, options.rows, options.rounds)
        return
    print(f"{'points':>7}{'places':>8}" + "".join(f"{column:>{max(8, len(column) + 2)}}" for column in COLUMNS))
    for points in options.points:
        for places in options.places:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "bench.db"
                for work, *rest in ((fill, points, places), (measured, options.requests, options.changes)):
                    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
                        figures = apart.submit(work, path, *rest).result()
            cells = (f"{value:{max(8, len(column) + 2)}.1f}" for column, value in zip(COLUMNS, figures, strict=True))
            print(f"{points:7}{places:8}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()

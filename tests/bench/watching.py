"""What it costs to be watched: a reply's share, and a look at a database with a million deliveries behind it.

    python -m tests.bench.watching [--deliveries 1000000]

A reply's share is what logs and counts add to it, timed alone with the sinks that production has: lines of JSON to a
file, counts in files that are shared. A look is what a scrape of /metrics and a /readyz read, in the same process.
"""

import argparse
import io
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from responder import logs, metrics
from responder.actions import load
from responder.app import create_app
from responder.settings import Settings
from responder.store.engine import Database
from responder.store.gauges import read_gauges
from responder.web.monitor import Monitor
from responder.web.trace import Trace
from responder.wiring import utc_now

ROUNDS = 20_000


def each(do: Callable[[], object], rounds: int) -> tuple[float, float]:
    """(median, 99th percentile) of a call, in seconds."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        do()
        took.append(time.perf_counter() - start)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def settled(database: Database, count: int) -> None:
    """Deliveries that are over, of ten broadcasts, and a thousand that wait in an eleventh."""
    row = (
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
        " serial, state, target, told, told_before, said, said_before, attempt, not_before, lease_until, owner,"
        " claimed_at, looked, body, segments, provider_id, error, created_at) VALUES (:b, 'message', :hash, :hash,"
        " 'text', 'sv', '', '', '', :state, '', '', '', '', '', 1, 0, 0, '', 0, 0, '', 1, '', 0, 0)"
    )
    broadcast = (
        "INSERT INTO broadcasts (id, kind, template, exercise, state, version, priority, audience, texts, fallback,"
        " operator, editors, approved_by, approved_version, reason, recipients, created_at) VALUES (:id, 'message', '',"
        " false, :state, 1, 3, '', '{}', 'sv', '', '[]', '', 1, '', 0, 0)"
    )
    with database.write() as connection:
        for id in range(100, 111):
            connection.execute(text(broadcast), {"id": id, "state": "done" if id < 110 else "sending"})
        for start in range(0, count, 50_000):
            numbers = range(start, min(start + 50_000, count))
            rows = [{"b": 100 + n % 10, "hash": n.to_bytes(16), "state": "delivered"} for n in numbers]
            connection.execute(text(row), rows)
        waiting = [{"b": 110, "hash": n.to_bytes(16), "state": "queued"} for n in range(1000)]
        connection.execute(text(row), waiting)


def a_reply() -> None:
    """All that a text which is answered counts."""
    metrics.gate("text", "let in")
    metrics.inbound("text", "answered", "answered")
    metrics.recognition("text", True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        metrics.join(Path(folder), metrics.begin(Path(folder)))
        log = (Path(folder) / "log").open("w")
        handler = logging.StreamHandler(log)
        handler.setFormatter(logs.Line("json", ("a-secret-of-the-settings",)))
        logging.getLogger().handlers[:] = [handler]
        logging.getLogger().setLevel(logging.INFO)

        def inner(environ: dict, start_response: Callable) -> list[bytes]:  # type: ignore[type-arg]
            environ["responder.route"] = "/twilio/sms"
            start_response("200 OK", [])
            return [b""]

        traced, environ = (
            Trace(inner),
            {"PATH_INFO": "/twilio/sms", "REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO()},
        )
        for name, do in {
            "its counts": a_reply,
            "its name, its record, its time": lambda: traced(dict(environ), lambda *_: None),
        }.items():
            middle, high = each(do, ROUNDS)
            print(f"a reply: {name:34}{middle * 1e6:8.1f} us   p99 {high * 1e6:8.1f} us")
        settings = Settings(_env_file=None, database_url=os.environ.get("DATABASE_URL", f"sqlite:///{folder}/w.db"))  # type: ignore[call-arg]
        database = Database(settings.database_url)
        load.prepare(database)
        load.load_demo(database, settings.timezone, utc_now(), real=False)
        settled(database, options.deliveries)
        service = create_app(settings).extensions["responder"]
        monitor = Monitor(service)
        monitor.page()

        def read() -> None:
            with database.read() as connection:
                read_gauges(connection, utc_now().timestamp())

        for name, look in {"the database alone": read, "/metrics": monitor.page, "/readyz": monitor.findings}.items():
            middle, high = each(look, 200)
            print(f"{options.deliveries} deliveries: {name:25}{middle * 1e3:8.1f} ms   p99 {high * 1e3:8.1f} ms")
        database.close()


if __name__ == "__main__":
    main()

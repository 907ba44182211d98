"""Requests a second of the whole text reply, beside bare Flask and Flask with Twilio's own library.

    python -m tests.bench.reply [--engine sqlite postgresql] [--workers 2] [--rounds 5] [--requests 2000]

All run behind gunicorn gthread, workers of 8 threads, under 16 connections that stay open; the rounds are interleaved,
because machines swing. Every request is signed, has its own MessageSid and comes from one of 5,000 numbers. What is
asked is drawn from all bundled postcodes and names, in two ways: `crisis`, where places are asked about by Zipf's law
as in a disturbance that strikes some districts, and `spread`, where every place is as likely. With several engines or
numbers of workers (`--workers 1,2,4`) there is a table for each; the references always run in the same rounds.
"""

import argparse
import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator

from responder.actions import load
from responder.core.placesfile import read_places_file
from responder.store.engine import Database
from responder.wiring import utc_now
from tests.bench.databases import ENGINES, database

TOKEN = "bench-token-that-is-long-enough-to-be-real"
CONNECTIONS = 16
SERVERS = {"flask": "tests.bench.references:bare", "library": "tests.bench.references:library", "reply": "wsgi:app"}
RUNS = {"flask": "flask", "library": "library", "crisis": "reply", "spread": "reply"}
LABELS = {"flask": "(a) Flask", "library": "(b) with library", "crisis": "reply, crisis", "spread": "reply, spread"}
UNCAPPED = {"NUMBER_PER_DAY": "1000000", "PREFIX_PER_HOUR": "1000000", "SPEND_PER_DAY": "1e12"}  # or silence is timed
ANSWERED = 0.99  # of all: the fourth identical reply to a number within ten minutes is not sent
ROOT = Path(__file__).resolve().parents[2]


def requests_for(
    port: int, count: int, seed: int, questions: list[str], crisis: bool = False, each_once: bool = False
) -> list[bytes]:
    """Whole HTTP requests, ready to be written to a socket."""
    url, validator, draw = f"http://127.0.0.1:{port}", RequestValidator(TOKEN), random.Random(seed)
    weights = [1 / rank for rank in range(1, len(questions) + 1)] if crisis else None
    bodies = questions[:count] if each_once else draw.choices(questions, weights, k=count)
    out = []
    for number in range(count):
        form = {
            "MessageSid": f"SM{seed:016x}{number:016x}",
            "AccountSid": "AC" + "0" * 32,
            "From": f"+4670{draw.randrange(5000):07d}",
            "To": "+46101234567",
            "Body": bodies[number],
            "NumMedia": "0",
        }
        body = urlencode(form).encode()
        head = (
            f"POST /twilio/sms HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"X-Twilio-Signature: {validator.compute_signature(url + '/twilio/sms', form)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        out.append(head.encode() + body)
    return out


async def fire(port: int, requests: list[bytes]) -> tuple[float, list[float]]:
    """(seconds for all, seconds of each) over `CONNECTIONS` open connections. Raises on any answer but 200, and where
    a service that tells something in its first answer tells nothing in too many.
    """
    waiting = iter(requests)
    took: list[float] = []
    told: list[bool] = []
    streams = []
    for _ in range(CONNECTIONS):
        streams.append(await asyncio.open_connection("127.0.0.1", port))
        await asyncio.sleep(0.01)  # whichever worker is idle takes it: a burst would go to one

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in waiting:
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            told.append(b"<Message>" in await reader.readexactly(int(length.split(b":")[1])))
            took.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(connection(*stream) for stream in streams))
    whole = time.perf_counter() - start
    if told[0] and sum(told) < ANSWERED * len(told):
        raise RuntimeError(f"{len(told) - sum(told)} of {len(told)} were not answered")
    return whole, took


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(target: str, port: int, url: str, folder: Path, workers: int) -> subprocess.Popen[bytes]:
    """gunicorn serving `target` on the database `url`, once it answers; it counts in `folder`."""
    settings = {
        "DATABASE_URL": url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_AUTH_TOKEN": TOKEN,
        "GATEWAY": "recorder",
        "METRICS_DIR": str(folder / f"metrics-{port}"),
        **UNCAPPED,
    }
    command = [sys.executable, "-m", "gunicorn", target, "-c", str(ROOT / "gunicorn.conf.py"), "--log-level", "error"]
    command += ["-k", "gthread", "-w", str(workers), "--threads", "8", "-b", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        time.sleep(0.05)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
    raise RuntimeError(f"{target} does not answer")


def questions() -> list[str]:
    """What people text: every bundled postcode and name, some inside a sentence."""
    places = [
        place
        for name in ("postcodes.csv", "places.csv")
        for place in read_places_file((load.DATA / name).read_text(encoding="utf-8"))
    ]
    return [*(place.name for place in places), *(f"var kan jag ladda mobilen i {place.name}?" for place in places)]


Figures = dict[
    str, tuple[list[float], list[float]]
]  # of RUNS: requests a second of each round, seconds of each request


def measured(url: str, folder: Path, workers: int, rounds: int, count: int, asked: list[str]) -> Figures:
    """All RUNS, in turns, with so many workers each."""
    load.prepare(db := Database(url))
    load.load_demo(db, "Europe/Stockholm", utc_now(), real=False)
    db.close()
    figures: Figures = {name: ([], []) for name in RUNS}
    ports = {name: free_port() for name in SERVERS}
    servers = [start(target, ports[name], url, folder, workers) for name, target in SERVERS.items()]
    try:
        for number in range(rounds + 1):
            for seed, (name, served) in enumerate(RUNS.items(), start=number * len(RUNS)):
                batch = requests_for(ports[served], count if number else 300, seed, asked, crisis=name == "crisis")
                seconds, took = asyncio.run(fire(ports[served], batch))
                if number:  # the first round warms up
                    figures[name][0].append(len(batch) / seconds)
                    figures[name][1].extend(took)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(30)
    return figures


def table(title: str, figures: Figures) -> None:
    """Print it."""
    print(f"{title:24}{'requests/s':>12}{'of (a)':>8}{'of (b)':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for name, label in LABELS.items():
        rates, times = figures[name]
        beside = (zip(rates, figures[other][0], strict=True) for other in ("flask", "library"))
        parts = [statistics.median(ours / theirs for ours, theirs in pairs) for pairs in beside]
        cuts = statistics.quantiles(times, n=100)
        rate = statistics.median(rates)
        print(
            f"{label:24}{rate:12.0f}{parts[0]:8.2f}{parts[1]:8.2f}{cuts[49] * 1000:8.1f}{cuts[98] * 1000:8.1f}",
            flush=True,
        )


def main() -> None:
    """Print a table for each engine and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=["sqlite"])
    parser.add_argument("--workers", default="2", help="numbers of workers, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    asked = questions()
    random.Random(1).shuffle(asked)
    for engine in options.engine:
        for workers in map(int, options.workers.split(",")):
            folder = Path(tempfile.mkdtemp())
            try:
                with database(engine, folder) as bed:
                    figures = measured(bed.url, folder, workers, options.rounds, options.requests, asked)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            table(f"{engine}, {workers} worker{'s' * (workers > 1)}", figures)


if __name__ == "__main__":
    main()

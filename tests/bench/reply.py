"""Requests a second of the whole text reply on SQLite, beside bare Flask and Flask with Twilio's own library.

    python -m tests.bench.reply [--rounds 5] [--requests 2000]

All three run behind gunicorn gthread, 2 workers of 8 threads, under 16 connections that stay open; the rounds are
interleaved, because machines swing. Every request is signed, has its own MessageSid and comes from one of 5,000
numbers. What is asked is drawn from all bundled postcodes and names, in two ways: `crisis`, where places are asked
about by Zipf's law as in a disturbance that strikes some districts, and `spread`, where every place is as likely.
"""

import argparse
import asyncio
import os
import random
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

TOKEN = "bench-token-that-is-long-enough-to-be-real"
CONNECTIONS = 16
SERVERS = {"flask": "tests.bench.references:bare", "library": "tests.bench.references:library", "reply": "wsgi:app"}
RUNS = {"flask": "flask", "library": "library", "crisis": "reply", "spread": "reply"}
LABELS = {"flask": "(a) Flask", "library": "(b) with library", "crisis": "reply, crisis", "spread": "reply, spread"}
ROOT = Path(__file__).resolve().parents[2]


def requests_for(port: int, count: int, seed: int, questions: list[str], crisis: bool = False) -> list[bytes]:
    """Whole HTTP requests, ready to be written to a socket."""
    url, validator, draw = f"http://127.0.0.1:{port}", RequestValidator(TOKEN), random.Random(seed)
    weights = [1 / rank for rank in range(1, len(questions) + 1)] if crisis else None
    bodies = draw.choices(questions, weights, k=count)
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
    """(seconds for all, seconds of each) over `CONNECTIONS` open connections. Raises on any answer but 200."""
    waiting = iter(requests)
    took: list[float] = []
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
            await reader.readexactly(int(length.split(b":")[1]))
            took.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(connection(*stream) for stream in streams))
    return time.perf_counter() - start, took


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(target: str, port: int, database: Path) -> subprocess.Popen[bytes]:
    """gunicorn serving `target`, once it answers."""
    settings = {
        "DATABASE_URL": f"sqlite:///{database}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_AUTH_TOKEN": TOKEN,
        "GATEWAY": "recorder",
    }
    command = [sys.executable, "-m", "gunicorn", target, "-c", str(ROOT / "gunicorn.conf.py"), "--log-level", "error"]
    command += ["-k", "gthread", "-w", "2", "--threads", "8", "-b", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    for _ in range(200):
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    asked = questions()
    random.Random(1).shuffle(asked)
    rates: dict[str, list[float]] = {name: [] for name in RUNS}
    times: dict[str, list[float]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        database = Database(f"sqlite:///{path}")
        load.prepare(database)
        load.load_demo(database, "Europe/Stockholm", utc_now(), real=False)
        ports = {name: free_port() for name in SERVERS}
        servers = [start(target, ports[name], path) for name, target in SERVERS.items()]
        try:
            for number in range(options.rounds + 1):
                for seed, (name, server) in enumerate(RUNS.items(), start=number * len(RUNS)):
                    port, count = ports[server], options.requests if number else 300
                    batch = requests_for(port, count, seed, asked, crisis=name == "crisis")
                    seconds, took = asyncio.run(fire(port, batch))
                    if number:  # the first round warms up
                        rates[name].append(len(batch) / seconds)
                        times[name] += took
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(10)
    print(f"{'':18}{'requests/s':>12}{'of (a)':>8}{'of (b)':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for name, label in LABELS.items():
        beside = (zip(rates[name], rates[other], strict=True) for other in ("flask", "library"))
        parts = [statistics.median(ours / theirs for ours, theirs in pairs) for pairs in beside]
        cuts = statistics.quantiles(times[name], n=100)
        rate = statistics.median(rates[name])
        print(f"{label:18}{rate:12.0f}{parts[0]:8.2f}{parts[1]:8.2f}{cuts[49] * 1000:8.1f}{cuts[98] * 1000:8.1f}")


if __name__ == "__main__":
    main()

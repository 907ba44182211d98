"""What the gate costs a text that it lets in: the whole reply with it, beside the whole reply without.

    python -m tests.bench.gate [--rounds 5] [--requests 2000]

Both behind gunicorn's own threaded worker, 2 of 8 threads; a third time the gate as in production, with a worker class
and threads of gunicorn.conf.py. The rounds are interleaved; what counts is the ratio of each round.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from responder.actions import load
from responder.store.engine import Database
from responder.wiring import utc_now
from tests.bench import reply

THREADED = ("-k", "gthread", "--threads", "8")
SERVERS = {
    "without": ("tests.bench.ungated:app", THREADED),
    "with the gate": ("wsgi:app", THREADED),
    "as in production": ("wsgi:app", ()),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    asked = reply.questions()
    random.Random(1).shuffle(asked)
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    times: dict[str, list[float]] = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        database = Database(f"sqlite:///{path}")
        load.prepare(database)
        load.load_demo(database, "Europe/Stockholm", utc_now(), real=False)
        ports = {name: reply.free_port() for name in SERVERS}
        servers = [_start(*SERVERS[name], ports[name], path) for name in SERVERS]
        try:
            for number in range(options.rounds + 1):
                for seed, name in enumerate(SERVERS, start=number * len(SERVERS)):
                    batch = reply.requests_for(ports[name], options.requests if number else 300, seed, asked, True)
                    seconds, took = asyncio.run(reply.fire(ports[name], batch))
                    if number:  # the first round warms up
                        rates[name].append(len(batch) / seconds)
                        times[name] += took
        finally:
            for server in servers:
                server.terminate()
                server.wait(20)
    print(f"{'':18}{'requests/s':>12}{'of without':>12}{'p50 ms':>8}{'p99 ms':>8}")
    for name in SERVERS:
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates[name], rates["without"], strict=True))
        cuts = statistics.quantiles(times[name], n=100)
        rate = statistics.median(rates[name])
        print(f"{name:18}{rate:12.0f}{ratio:12.2f}{cuts[49] * 1000:8.1f}{cuts[98] * 1000:8.1f}")


def _start(target: str, options: tuple[str, ...], port: int, database: Path) -> subprocess.Popen[bytes]:
    settings = {
        "DATABASE_URL": f"sqlite:///{database}", "PUBLIC_URL": f"http://127.0.0.1:{port}", "GATEWAY": "recorder",
        "TWILIO_AUTH_TOKEN": reply.TOKEN, "NUMBER_PER_MINUTE": "1000000", **reply.UNCAPPED,
    }  # fmt: skip
    command = [sys.executable, "-m", "gunicorn", target, "-c", str(reply.ROOT / "gunicorn.conf.py")]
    command += [*options, "--log-level", "error", "-b", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, cwd=reply.ROOT, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    for _ in range(200):
        time.sleep(0.1)
        with reply.socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
    raise RuntimeError(f"{target} does not answer")


if __name__ == "__main__":
    main()

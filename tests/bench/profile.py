"""Where the microseconds of one reply go: each part's own time, in one process, without a server around it.

    python -m tests.bench.profile [--requests 4000] [--spread]

The questions are those of tests/bench/reply.py, `crisis` unless told otherwise. Every part is a function on the way from
the WSGI call to the document; what it calls and is a part itself counts there. Shown is what a request spends in each
part: mean and share, and the median of the requests that pass it. It is the time of the processor, so that it does not
matter much who else uses the machine; waiting for the disk is not in it. The clocks cost something themselves, so the
same requests run once without them, and beside them the two references of tests/bench/reply.py.
"""

import argparse
import io
import logging
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flask import Flask, Response
from flask.ctx import RequestContext
from werkzeug.test import EnvironBuilder

from responder import metrics
from responder.actions import answer as action
from responder.actions import load
from responder.actions.answer import Answerer
from responder.app import create_app
from responder.core.answer import Board
from responder.core.memory import Memory
from responder.core.places import Gazetteer
from responder.core.telling import Teller
from responder.gateways.twilio import TwilioGateway
from responder.settings import Settings
from responder.store.engine import Database
from responder.store.meter import Meter
from responder.store.queries import Turns
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault
from responder.web import hooks, signed
from responder.web.gate import Gate
from responder.web.line import Line
from responder.web.trace import Trace
from responder.wiring import utc_now
from tests.bench.reply import TOKEN, questions, requests_for

PORT = 8000
PARTS: tuple[tuple[str, Any, str], ...] = (
    ("the gate", Gate, "__call__"),
    ("the gate", Line, "enter"),
    ("the gate", Line, "leave"),
    ("name and record of the request", Trace, "__call__"),
    ("log", logging.Logger, "_log"),
    ("metrics", metrics, "gate"),
    ("metrics", metrics, "inbound"),
    ("metrics", metrics, "recognition"),
    ("metrics", metrics, "replied"),
    ("Flask: the rest", Flask, "__call__"),
    ("Flask: request context", RequestContext, "__init__"),
    ("Flask: request context", RequestContext, "push"),
    ("Flask: request context", RequestContext, "pop"),
    ("Flask: before and after each request", Flask, "preprocess_request"),
    ("Flask: before and after each request", Flask, "process_response"),
    ("Flask: dispatch", Flask, "dispatch_request"),
    ("WSGI headers of the response", Response, "__call__"),
    ("form of the body", signed, "parse_qs"),
    ("signature", TwilioGateway, "genuine"),
    ("inbound of the form", TwilioGateway, "read_text"),
    ("response object", hooks, "_xml"),
    ("hashing numbers", Vault, "hashes"),
    ("hashing numbers", Vault, "newest"),
    ("sealing", Vault, "seal"),
    ("opening what is sealed", Vault, "open"),
    ("phone numbers", action.numbers, "can_be_answered"),
    ("phone numbers", action.numbers, "prefix"),
    ("database: the read", Turns, "open"),
    ("database: the INSERT", Turns, "close"),
    ("view of places and points", Snapshot, "fresh"),
    ("memory of the conversation", action, "unpacked"),
    ("memory of the conversation", action, "packed"),
    ("memory of the conversation", Memory, "at"),
    ("memory of the conversation", Memory, "after"),
    ("memory of the conversation", Memory, "is_one_too_many"),
    ("conversation: step", action, "step"),
    ("service that is asked for", Answerer, "_service"),
    ("number words", action, "spoken_digits"),
    ("recognising the place", Gazetteer, "recognise"),
    ("nearest points", Board, "answer"),
    ("telling: compose, fit, segments", Teller, "text"),
    ("segments of the reply", action, "cost"),
    ("meter", Meter, "add"),
    ("TwiML", TwilioGateway, "text_reply"),
    ("cleaning the body", action, "clean"),
    ("the action itself", Answerer, "respond"),
)


class Clocks:
    """Own time of each part, request by request, in nanoseconds."""

    def __init__(self) -> None:
        self.now: dict[str, int] = defaultdict(int)
        self._inner = [0]

    def timed(self, label: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, with its own time added to `label`."""
        inner, now, clock = self._inner, self.now, time.thread_time_ns

        def around(*args: Any, **values: Any) -> Any:
            inner.append(0)
            began = clock()
            try:
                return call(*args, **values)
            finally:
                took = clock() - began
                now[label] += took - inner.pop()
                inner[-1] += took

        return around

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this is open, every part is timed."""
        with ExitStack() as stack:
            for label, owner, name in PARTS:
                stack.enter_context(patch.object(owner, name, self.timed(label, getattr(owner, name))))
            yield


def environs(count: int, seed: int, asked: list[str], crisis: bool, each_once: bool = False) -> list[dict[str, Any]]:
    """WSGI environments as gunicorn makes them, signed."""
    made = []
    for raw in requests_for(PORT, count, seed, asked, crisis, each_once):
        head, _, body = raw.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        builder = EnvironBuilder(
            "/twilio/sms", f"http://127.0.0.1:{PORT}", method="POST", headers=headers, input_stream=io.BytesIO(body)
        )
        made.append({**builder.get_environ(), "RAW_URI": "/twilio/sms", "CONTENT_LENGTH": str(len(body))})
    return made


def asked_of(app: Flask, environ: dict[str, Any], clock: Callable[[], int] = time.perf_counter_ns) -> int:
    """Nanoseconds of one request, by `clock`. Raises on any answer but 200."""
    said: list[str] = []
    began = clock()
    body: Iterable[bytes] = app(environ, lambda status, headers, info=None: said.append(status))  # type: ignore[misc]
    b"".join(body)
    took = clock() - began
    if not said[0].startswith("200"):
        raise RuntimeError(said[0])
    return took


def settings(path: Path) -> Settings:
    """Those of a service on the database at `path` that refuses nobody for having asked too much."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite:///{path}",
        public_url=f"http://127.0.0.1:{PORT}",
        twilio_auth_token=TOKEN,
        gateway="recorder",
        number_per_day=10**6,
        prefix_per_hour=10**6,
        spend_per_day=1e12,
    )


@contextmanager
def service() -> Iterator[Flask]:
    """The app on a new SQLite database with the bundled places and the demo points."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        database = Database(f"sqlite:///{path}")
        load.prepare(database)
        load.load_demo(database, "Europe/Stockholm", utc_now(), real=False)
        database.close()
        app = create_app(settings(path))
        yield app
        app.extensions["responder"].database.close()


def references() -> dict[str, Flask]:
    """Flask alone, and with the library; they read their settings when they are imported."""
    os.environ.update(TWILIO_AUTH_TOKEN=TOKEN, PUBLIC_URL=f"http://127.0.0.1:{PORT}")
    from tests.bench.references import bare, library

    return {"Flask alone": bare, "Flask with library": library}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--spread", action="store_true", help="every place is as likely")
    options = parser.parse_args()
    asked = questions()
    random.Random(1).shuffle(asked)
    count, crisis = options.requests, not options.spread
    rows: dict[str, list[int]] = defaultdict(list)
    with service() as app:
        apps = {**references(), "the reply": app}
        times: dict[str, list[int]] = {name: [] for name in apps}
        for seed in range(5):  # interleaved: machines swing; the first round warms up
            for name, one in apps.items():
                batch = environs(count // 4, seed * 10 + len(name), asked, crisis)
                took = [asked_of(one, environ, time.thread_time_ns) for environ in batch]
                times[name] += took if seed else []
        clocks = Clocks()
        with clocks.running():
            for environ in environs(count, 99, asked, crisis):
                clocks.now.clear()
                asked_of(app, environ)
                for label, took in clocks.now.items():
                    rows[label].append(took)
    whole = sum(sum(took) for took in rows.values())
    print(f"{'part':36}{'mean µs':>9}{'share':>8}{'median µs':>11}{'passes':>8}")
    for label in sorted(rows, key=lambda label: -sum(rows[label])):
        mine = rows[label]
        print(
            f"{label:36}{sum(mine) / count / 1000:9.1f}{sum(mine) / whole:8.1%}"
            f"{statistics.median(mine) / 1000:11.1f}{len(mine) / count:8.0%}"
        )
    print(f"{'together, with the clocks':36}{whole / count / 1000:9.1f}")
    print()
    print(f"{'without the clocks':36}{'mean µs':>9}{'median µs':>19}{'p99 µs':>8}")
    for name, took in times.items():
        p99 = statistics.quantiles(took, n=100)[98]
        print(f"{name:36}{statistics.mean(took) / 1000:9.1f}{statistics.median(took) / 1000:19.1f}{p99 / 1000:8.0f}")


if __name__ == "__main__":
    main()

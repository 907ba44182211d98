"""What calls cost that are played from files: an answer that nobody had before, one that is there, and 200 fetched at once.

    python -m tests.bench.audio [--callers 200]

Callers key random postcodes among demo points; fixed sentences and what is said of the points were rendered ahead, as
`responder audio render` does. Then two gunicorn processes serve those answers to all callers at the same moment.
"""

import argparse
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from responder.actions import load
from responder.core.flow import Flow
from responder.core.repertoire import fixed, of_points
from responder.core.reply import Voiceover, answer_speech
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.gateways.recordings import Recordings, recordings
from responder.settings import Settings
from responder.store.engine import Database
from responder.wiring import Service, utc_now, wire

SEATS = 4  # residents at work in one process, see web/gate.py


def timed(do: Callable[[tuple[Spoken, ...]], object], asked: Iterable[tuple[Spoken, ...]], at_once: int) -> list[float]:
    """Seconds for each of `asked`, so many at a time."""

    def one(sentences: tuple[Spoken, ...]) -> float:
        start = time.perf_counter()
        do(sentences)
        return time.perf_counter() - start

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, asked))


def told(what: str, took: list[float], whole: float) -> None:
    """One line of the result."""
    last = statistics.quantiles(took, n=100)[98]
    print(
        f"{what}: median {1000 * statistics.median(took):.1f} ms, 99th percentile {1000 * last:.1f} ms,"
        f" longest {1000 * max(took):.1f} ms; {len(took)} in {whole:.1f} s"
    )


def answers(service: Service, flow: Flow, count: int) -> list[tuple[Spoken, ...]]:
    """What callers at `count` random postcodes hear."""
    now = utc_now()
    view = service.snapshot.read(now)
    over = Voiceover(service.manner, now, keys_only=True)
    places = [place for place in view.gazetteer.places if place.code.isdecimal() and place.municipality == "Stockholm"]
    wording = flow.languages["sv"]
    menu = [
        wording.say("option", Channel.VOICE, key=choice.key, label=wording.say(f"choice.{choice.id}", Channel.VOICE))
        for choice in flow.nodes["answered"].choices
        if choice.on in ("", Channel.VOICE)
    ]
    out = []
    for place in random.Random(46).sample(places, count):
        parts = answer_speech(view.board.answer(place), wording, over)
        out.append(tuple(Spoken(text, "sv") for text in (*(part.text for part in parts), *menu)))
    return out


def ahead(service: Service, flow: Flow, made: Recordings) -> None:
    """As `responder audio render`."""
    view = service.snapshot.read(utc_now())
    over = Voiceover(service.manner, utc_now(), keys_only=True)
    for sentence in (*fixed(flow, service.manner), *of_points(flow, view.board, view.gazetteer, over)):
        made.render(sentence)


def fetched(addresses: list[str], port: int) -> None:
    """All at the same moment, each on a connection of its own."""
    together = threading.Barrier(len(addresses))
    results: list[tuple[int, float, int]] = []

    def fetch(address: str) -> None:
        together.wait()
        start = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            line.request("GET", "/audio/" + address.rpartition("/")[2])
            response = line.getresponse()
            results.append((response.status, 0.0, len(response.read())))
            results[-1] = (response.status, time.perf_counter() - start, results[-1][2])
        finally:
            line.close()

    begun = time.perf_counter()
    threads = [threading.Thread(target=fetch, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = [seconds for _, seconds, _ in results]
    told(f"fetched at once {dict(Counter(status for status, _, _ in results))}", took, time.perf_counter() - begun)
    print(f"  {sum(size for _, _, size in results) / 1e6:.1f} MB")


def served(addresses: list[str], environ: dict[str, str], port: int) -> None:
    """`fetched` from the service as it is run."""
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "-b", f"127.0.0.1:{port}", "--log-level", "error"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **environ, "WORKERS": "2"})
    try:
        for _ in range(200):
            try:
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                line.request("GET", "/healthz")
                if line.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        for _ in range(3):
            fetched(addresses, port)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--port", type=int, default=8846)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environ = {"DATABASE_URL": f"sqlite:///{folder}/responder.db", "GATEWAY": "recorder", "LOG_FORMAT": "text"}
        settings = Settings(_env_file=None, database_url=environ["DATABASE_URL"], gateway="recorder")  # type: ignore[call-arg]
        database = Database(settings.database_url)
        load.prepare(database)
        load.load_demo(database, settings.timezone, utc_now(), settings.real)
        service = wire(settings)
        flow = service.flow.keys_only
        made = recordings(settings, flow, utc_now)
        ahead(service, flow, made)
        asked = answers(service, flow, 2 * chosen.callers)
        alone, crowd = asked[: chosen.callers], asked[chosen.callers :]
        for what, batch, at_once in (
            ("one at a time, new", alone, 1),
            ("one at a time, there", alone, 1),
            (f"{SEATS} at a time, new", crowd, SEATS),
            (f"{SEATS} at a time, there", crowd, SEATS),
        ):
            begun = time.perf_counter()
            told(what, timed(made.address, batch, at_once), time.perf_counter() - begun)
        files, size = made.size
        print(f"{files} files, {size / 1e6:.1f} MB in {Path(settings.audio_folder).name}/")
        served([made.address(sentences) for sentences in crowd], environ, chosen.port)
        database.close()


if __name__ == "__main__":
    main()

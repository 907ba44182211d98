"""What the overview of the console weighs and how long it takes, with many points and broadcasts under way.

    python -m tests.bench.overview [--points 500] [--broadcasts 50] [--subscribers 200] [--rounds 30]

Every broadcast is being sent and has a delivery for each subscriber, half of them gone. Beside it, in the same run and in
turn with it, a page of the same app that reads nothing but the session: the accessibility statement. Server: a request
in this process, without the network. Browser: chromium, another context for each round, so that nothing is cached.
"""

import argparse
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flask.testing import FlaskClient
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import text

from responder.actions import load, signin, staff
from responder.app import create_app
from responder.core.access import Operator, Role
from responder.core.told import at
from responder.demo import free_port, served
from responder.settings import Settings
from responder.store import accounts
from responder.store.engine import Database
from responder.wiring import Service
from tests.bench.push import settled, subscribe
from tests.browser.bed import ARGUMENTS, CHROMIUM, MISSING

PAGES = {"overview": "/console/overview", "reference": "/console/accessibility"}
COLUMNS = ("DOMContentLoaded", "load", "bytes", "requests")
TIMES = """() => {
  const page = performance.getEntriesByType('navigation')[0];
  const all = [page, ...performance.getEntriesByType('resource')];
  return [page.domContentLoadedEventEnd, page.loadEventEnd, all.reduce((sum, e) => sum + e.transferSize, 0), all.length];
}"""


def fill(service: Service, points: int, broadcasts: int, subscribers: int) -> None:
    """Points, subscribers, and broadcasts of which half is gone."""
    draw, now = random.Random(1), service.clock()
    places = settled(service, draw, points)[:300]
    board = service.snapshot.read_if_changed(now).board
    with service.database.write() as connection:
        subscribe(connection, at(board, now), places, subscribers, draw)
    writer, announcer = Operator("bench", Role.APPROVER, signed_in=True), service.announcer
    for number in range(broadcasts):
        made = announcer.draft(writer, ["everyone"], now, {"sv": f"Utskick {number}: vatten vid torget."}, "sv")
        announcer.submit(writer, made.id, now)
        announcer.send(writer, made.id, now)
    with service.database.write() as connection:
        gone = "UPDATE deliveries SET state = 'accepted', claimed_at = :now WHERE id % 2 = 0"
        connection.execute(text(gone), {"now": now.timestamp()})


def session(service: Service) -> str:
    """The token of somebody who is signed in, for the cookie."""
    token, now = secrets.token_urlsafe(), service.clock()
    maker = Operator("bench", Role.ADMIN, signed_in=True)
    staff.add(service.database, service.vault, maker, "vera", Role.ADMIN, now)
    with service.database.write() as connection:
        accounts.set_credentials(connection, "vera", totp_sealed=service.vault.seal(signin.new_secret()))
        accounts.add_session(connection, signin.hashed(token), "vera", now.timestamp(), "127.0.0.1", "bench")
    return token


def milliseconds(client: FlaskClient, address: str) -> float:
    """How long one request takes."""
    began = time.perf_counter()
    answer = client.get(address)
    answer.get_data()
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, (address, answer.status_code, answer.location)
    return took


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of the tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def looked_at(browser: Browser, url: str, cookie: tuple[str, str], address: str) -> list[float]:
    """The COLUMNS of one load with an empty cache, times in ms."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": cookie[0], "value": cookie[1], "url": url}])
    page = context.new_page()
    page.goto(url + address, wait_until="load")
    assert page.url == url + address, page.url
    page.wait_for_timeout(50)  # until the end of the load event is noted
    found: list[float] = page.evaluate(TIMES)
    context.close()
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--broadcasts", type=int, default=50)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    if not CHROMIUM.exists():
        sys.exit(MISSING)
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{Path(folder) / 'bench.db'}"
        load.prepare(Database(address))
        settings = Settings(_env_file=None, database_url=address, public_url=url, approve_above=10**9)  # type: ignore[call-arg]
        app = create_app(settings)
        service: Service = app.extensions["responder"]
        fill(service, options.points, options.broadcasts, options.subscribers)
        client, token = app.test_client(), session(service)
        with client.session_transaction() as kept:
            kept["id"] = token
        cookie = (str(app.config["SESSION_COOKIE_NAME"]), client.get_cookie(app.config["SESSION_COOKIE_NAME"]).value)  # type: ignore[union-attr]
        server: dict[str, list[float]] = {name: [] for name in PAGES}
        loads: dict[str, list[list[float]]] = {name: [] for name in PAGES}
        with closing(service.database):
            for number in range(options.rounds + 3):
                for name, page in PAGES.items():
                    took = milliseconds(client, page)
                    if number >= 3:  # the first ones read templates
                        server[name].append(took)
            with served(app, "127.0.0.1", port), chromium() as browser:
                for number in range(options.rounds + 1):
                    for name, page in PAGES.items():
                        figures = looked_at(browser, url, cookie, page)
                        if number:
                            loads[name].append(figures)
    report(options, server, loads)


def report(options: argparse.Namespace, server: dict[str, list[float]], loads: dict[str, list[list[float]]]) -> None:
    """A line a page."""
    deliveries = options.broadcasts * options.subscribers
    print(
        f"{options.points} points, {options.broadcasts} broadcasts being sent, {deliveries} deliveries; {options.rounds} rounds"
    )
    print(
        f"{'':12}{'server p50':>12}{'p95 ms':>9}"
        + "".join(f"{name:>18}{'p95' if n < 2 else '':>7}" for n, name in enumerate(COLUMNS))
    )
    for name in PAGES:
        line = f"{name:12}{statistics.median(server[name]):12.1f}{p95(server[name]):9.1f}"
        for n in range(len(COLUMNS)):
            column = [row[n] for row in loads[name]]
            line += f"{statistics.median(column):18.0f}" + (f"{p95(column):7.0f}" if n < 2 else " " * 7)
        print(line)
    beside = [ours / theirs for ours, theirs in zip(server["overview"], server["reference"], strict=True)]
    print(f"overview / reference on the server: {statistics.median(beside):.1f}")


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    main()

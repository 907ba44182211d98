"""Messages a second from the outbox to the provider, beside the bare asynchronous client of the provider's library.

    python -m tests.bench.sending [--engine sqlite|postgresql] [--messages 5000] [--rounds 3] [--latency 0.1] [--profile]

Both send to a fake provider in a process of its own that answers after `latency`, with 256 requests at once and no
limit of ours. Ours is the whole loop of the jobs process: taken up from the database, rendered, looked at once more,
sent, and stored. The bare client has its bodies ready and writes nothing down. The rounds are interleaved, because
machines swing.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector, encode_basic_auth
from sqlalchemy import text
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from responder.actions import load
from responder.core.access import Operator, Role
from responder.settings import Settings
from responder.store import outbox
from responder.store.engine import Database
from responder.wiring import Service, utc_now, wire
from tests.bench.databases import ENGINES, database
from tests.fakes.twilio import ACCOUNT, TOKEN

AT_ONCE = 256
TARGET = 0.7
SENDER = "+46770000000"
BODY = "Hallen i Farsta är öppen till kl 20. Vatten, värme och laddning. Sprid det vidare. /Stockholms stad"
ANNA = Operator("anna", Role.APPROVER, signed_in=True)
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def provider(latency: float) -> Iterator[str]:
    """The address of a fake provider in a process of its own."""
    command = [sys.executable, "-m", "tests.fakes.twilio", "--latency", f"{latency}", "--no-receipts"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def prepared(where: str, url: str, messages: int) -> Service:
    """A service on the empty database `where` with as many subscribers as `messages`."""
    load.prepare(Database(where))
    service = wire(
        Settings(
            _env_file=None,  # type: ignore[call-arg]
            database_url=where,
            twilio_api_url=url,
            twilio_account_sid=ACCOUNT,
            twilio_auth_token=TOKEN,
            twilio_from=SENDER,
            send_rate=1e6,
            send_concurrency=AT_ONCE,
            approve_above=10**9,
            number_per_day=10**9,
            spend_per_day=1e12,
        )
    )
    rows = [
        {"hash": service.vault.newest(number), "sealed": service.vault.seal(number), "no": False}
        for number in numbers(messages)
    ]
    with service.database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state,"
                " exercise, told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', 'sv', '12347', '',"
                " 'active', :no, '', '', 0, 0)"
            ),
            rows,
        )
    return service


def numbers(count: int) -> list[str]:
    """Mobile numbers."""
    return [f"+4670{number:07d}" for number in range(count)]


async def ours(service: Service, broadcast: int) -> float:
    """Seconds until nothing of the broadcast is left to send, by the loop that the jobs process runs."""
    deliverer, stopping = service.deliverer("bench"), asyncio.Event()
    began = time.perf_counter()
    loop = asyncio.create_task(deliverer.run(lambda: 1.0, stopping))
    try:
        while _left(service.database, broadcast):
            await asyncio.sleep(0.05)
        took = time.perf_counter() - began
    finally:
        stopping.set()
        await loop
        await deliverer.close()
    return took


def _left(database: Database, broadcast: int) -> bool:
    sql = "SELECT 1 FROM deliveries WHERE broadcast_id = :id AND channel = 'text' AND state IN ('queued', 'sending')"
    with database.read() as connection:
        return connection.execute(text(f"{sql} LIMIT 1"), {"id": broadcast}).first() is not None


class BareHttp(AsyncTwilioHttpClient):  # type: ignore[misc]
    """The library's client with a pool of `AT_ONCE`, and the provider's address."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=False)
        self.session = ClientSession(connector=TCPConnector(limit=AT_ONCE), timeout=ClientTimeout(total=10))
        self._url, self._key = url, encode_basic_auth(ACCOUNT, TOKEN)

    async def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        """As the library's."""
        options.pop("auth")
        options["headers"] = {**options["headers"], "Authorization": self._key}
        return await super().request(method, url.replace("https://api.twilio.com", self._url), *args, **options)


async def bare(url: str, messages: int) -> float:
    """Seconds for `messages` by the library alone."""
    http = BareHttp(url)
    client, room = Client(ACCOUNT, TOKEN, http_client=http), asyncio.Semaphore(AT_ONCE)

    async def send(number: str, id: int) -> None:
        async with room:
            callback = f"http://127.0.0.1:8000/twilio/receipts/{id}?attempt=1"
            await client.messages.create_async(
                to=number, body=BODY, from_=SENDER, status_callback=callback, validity_period=36_000
            )

    began = time.perf_counter()
    await asyncio.gather(*(send(number, id) for id, number in enumerate(numbers(messages))))
    took = time.perf_counter() - began
    await http.close()
    return took


def queue(service: Service) -> int:
    """A broadcast to everybody, being sent; its id. Earlier ones are done, as the jobs process says every second."""
    announcer, now = service.announcer, utc_now()
    with service.database.write() as connection:
        outbox.finish(connection, now.timestamp())
    drafted = announcer.draft(ANNA, ["everyone"], now, {"sv": BODY}, "sv")
    announcer.submit(ANNA, drafted.id, now)
    return announcer.send(ANNA, drafted.id, now).id


def profiled(service: Service) -> None:
    """Print where the time of one round goes: of ours, by the time that is spent in a function itself."""
    profile = cProfile.Profile()
    broadcast = queue(service)
    profile.runcall(asyncio.run, ours(service, broadcast))
    stats = pstats.Stats(profile)
    whole = sum(own for _, _, own, _, _ in stats.stats.values())  # type: ignore[attr-defined]
    print(f"{whole:.1f} s under the profiler, most of it in the library; of ours, and of the database:")
    rows = [
        (own, total, calls, f"{Path(file).name}:{line} {name}")
        for (file, line, name), (_, calls, own, total, _) in stats.stats.items()  # type: ignore[attr-defined]
        if "/responder/" in file or "sqlite3" in name or "/psycopg" in file
    ]
    for own, total, calls, name in sorted(rows, reverse=True)[:15]:
        print(f"{own:8.3f} s itself {total:8.3f} s in all {calls:8} calls  {name}")


def main() -> None:
    """Print a line for each round, and the median."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sending", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--profile", action="store_true", help="show where the time goes, in one more round")
    options = parser.parse_args()
    shares = []
    with (
        tempfile.TemporaryDirectory() as folder,
        provider(options.latency) as url,
        database(options.engine, Path(folder)) as bed,
    ):
        service = prepared(bed.url, url, options.messages)
        asyncio.run(bare(url, min(500, options.messages)))  # warms up
        for number in range(1, options.rounds + 1):
            us = options.messages / asyncio.run(ours(service, queue(service)))
            them = options.messages / asyncio.run(bare(url, options.messages))
            shares.append(us / them)
            print(f"round {number}: {us:6.0f} messages/s ours, {them:6.0f} bare, ratio {us / them:.2f}", flush=True)
        print(f"{options.engine}: median ratio {statistics.median(shares):.2f}, target {TARGET}")
        with service.database.read() as connection:
            states = connection.execute(text("SELECT state, count(*) FROM deliveries GROUP BY state")).all()
        assert [tuple(row) for row in states] == [("accepted", options.messages * options.rounds)], states
        if options.profile:
            profiled(service)
        service.database.close()


if __name__ == "__main__":
    main()

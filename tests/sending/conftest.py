"""A service whose messages go to a fake provider and come back as receipts, all in this process."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest

from responder.actions import publish
from responder.actions.push import Pushed, push, push_due
from responder.core.access import shell
from responder.core.points import Point, Status
from responder.store import outbox
from responder.wiring import Service
from tests import engines
from tests.conftest import TOKEN, ZONE, Running, a_point
from tests.fakes.twilio import FakeTwilio

MOBILE, OTHER, LANDLINE = "+46701740605", "+46701740606", "+4684650040"
FAST = {"push_settle_seconds": 60, "send_rate": 1000, "call_rate": 1000, "reconcile_seconds": 30}
ACCOUNT = "AC" + "1" * 32


@dataclass
class Line:
    """A running service, the provider behind it, and what can be done with both."""

    running: Running
    fake: FakeTwilio
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.running.app.extensions["responder"]

    def text(self, number: str, body: str) -> str:
        """Somebody texts; the reply."""
        return self.running.another_phone(number).text(body)

    def texts(self, number: str) -> list[str]:
        """What arrived at a phone from the provider."""
        return [text.body for text in self.fake.phone(number).texts]

    def calls(self, number: str) -> list[str]:
        """What was spoken in each call to a phone."""
        return [" ".join(call.spoken) for call in self.fake.phone(number).calls]

    def set(self, id: str, status: Status, **fields: str) -> Point:
        """An operator changes a point."""
        change = publish.Change(status, **fields)
        _, after = publish.set_point(self.running.database, id, change, shell("anna"), ZONE, self.running.clock.now)
        return after

    def push(self, settle: bool = True) -> Pushed | None:
        """Let the change settle, and find out who is to hear."""
        if settle:
            self.running.clock.pass_time(seconds=self.service.settings.push_settle_seconds + 1)
        now = self.running.clock.now
        return push_due(self.service.database, self.service.snapshot.read_if_changed(now), self.service.rules, now)

    def push_now(self) -> Pushed:
        """Find out who is to hear, whatever is due."""
        now = self.running.clock.now
        return push(self.service.database, self.service.snapshot.read_if_changed(now), self.service.rules, now)

    def send(self, owner: str = "test", until_idle: bool = True) -> int:
        """Send all that may go, and let the receipts come in; how many were begun."""

        async def sending() -> int:
            deliverer, begun = self.service.deliverer(owner), 0
            while started := deliverer.start_some():
                begun += started
                await deliverer.drain()
                for pace in deliverer._ways.paces.values():
                    pace.tokens = 1000
            await deliverer.drain()
            await deliverer.close()
            return begun

        begun = asyncio.run(sending())
        if until_idle:
            self.fake.wait_idle()
        return begun

    def hurry(self, seconds: float) -> None:
        """The provider has only so long to answer, from the next deliverer on."""
        settings = self.service.settings.model_copy(update={"api_timeout": seconds})
        self.service = replace(self.service, settings=settings)

    def finish(self) -> int:
        """What has nothing left to send is done; how many."""
        with self.service.database.write() as connection:
            return outbox.finish(connection, self.running.clock.now.timestamp())

    def reconcile(self, owner: str = "test") -> int:
        """Ask the provider about what is unclear; how many were looked at."""

        async def looking() -> int:
            deliverer = self.service.deliverer(owner)
            looked = await deliverer.reconcile()
            await deliverer.close()
            return looked

        return asyncio.run(looking())

    def rows(self, question: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of the database."""
        with engines.peek(self.running.path) as looking:
            return looking.execute(question, values).fetchall()  # type: ignore[no-any-return]

    def states(self) -> dict[str, int]:
        """How many deliveries are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM deliveries GROUP BY state"))


@pytest.fixture
def connect(start: Callable[..., Running]) -> Iterator[Callable[..., Line]]:
    """Starts a service with a provider behind it; settings may be given."""
    fakes: list[FakeTwilio] = []

    def connecting(**chosen: object) -> Line:
        lines: list[Line] = []

        def back(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
            target = urlsplit(url)
            path = f"{target.path}?{target.query}" if target.query else target.path
            response = lines[0].running.app.test_client().post(path, data=form, headers=headers)
            return response.status_code, response.get_data(as_text=True)

        fake = FakeTwilio(ACCOUNT, TOKEN, callback=back)
        fake.__enter__()
        fakes.append(fake)
        running = start(
            **{
                **FAST,
                "twilio_account_sid": ACCOUNT,
                "twilio_from": "+46770000000",
                "twilio_api_url": fake.url,
                **chosen,
            }
        )
        lines.append(Line(running, fake))
        return lines[0]

    yield connecting
    for fake in fakes:
        fake.__exit__(None, None, None)


@pytest.fixture
def line(connect: Callable[..., Line]) -> Line:
    """Two points near 12347, `near` and `far`, and a provider."""
    line = connect()
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    return line

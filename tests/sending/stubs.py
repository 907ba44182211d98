"""Three gateways in this process whose every answer a test chooses, behind a service that may send by each."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from responder.actions.deliver import Deliverer
from responder.core.points import Status
from responder.ports import ELKS, MODEM, TWILIO, NotSent, Sent, Unclear
from tests.conftest import Clock, Running
from tests.sending.conftest import Line

ALL = (TWILIO, ELKS, MODEM)
TAKEN, LOST, NEVER, AWAY, BARRED, OPTED_OUT, ODD = "taken", "lost", "never", "away", "barred", "opted out", "odd"
TOO_FAST, RESTS = "too fast", "rests"
_REFUSALS = {AWAY: (0, 0), BARRED: (401, 20003), OPTED_OUT: (400, 21610), ODD: (400, 21703), TOO_FAST: (429, 20429)}
_REFUSALS |= {RESTS: (429, 20429, 600)}


@dataclass
class Stub:
    """Implements ports.Sender. `ends`: how the next POSTs end, and when they are used up all others, `usual`. `list_away`:
    its list does not answer; `hidden`: it lists nothing.
    """

    name: str
    clock: Clock
    calls: bool = True
    usual: str = TAKEN
    list_away: bool = False
    hidden: bool = False
    ends: deque[str] = field(default_factory=deque)
    posts: list[tuple[str, str, str]] = field(default_factory=list)  # number, body, receipts
    taken: list[Sent] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # numbers
    _to: list[str] = field(default_factory=list)

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender."""
        return await self._post(number, body, receipts)

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender."""
        return await self._post(number, document, receipts, "")

    async def _post(self, number: str, body: str, receipts: str, shown: str | None = None) -> str:
        await asyncio.sleep(0)
        self.posts.append((number, body, receipts))
        end = self.ends.popleft() if self.ends else self.usual
        if end in _REFUSALS:
            raise NotSent(end, *_REFUSALS[end])
        if end == NEVER:
            raise Unclear(end)
        self.taken.append(Sent(f"{self.name}-{len(self.taken)}", body if shown is None else shown, self.clock.now))
        self._to.append(number)
        if end == LOST:
            raise Unclear(end)
        return self.taken[-1].id

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender."""
        self.asked.append(number)
        if self.list_away:
            raise NotSent("the list is away")
        both = zip(self._to, self.taken, strict=True)
        return [] if self.hidden else [sent for to, sent in both if to == number and sent.created >= since]

    async def close(self) -> None:
        """See ports.Sender."""

    @property
    def deliveries(self) -> list[int]:
        """Which delivery each POST was for."""
        return [int(urlsplit(receipts).path.rpartition("/")[2]) for _, _, receipts in self.posts]

    @property
    def attempts(self) -> list[int]:
        """Which attempt each POST was."""
        return [int(parse_qs(urlsplit(receipts).query)["attempt"][0]) for _, _, receipts in self.posts]


class Office(Line):
    """A running service with the stubs behind it."""

    fake = None  # type: ignore[assignment] - there is no provider over HTTP

    def __init__(self, running: Running, stubs: dict[str, Stub]) -> None:
        self.running, self.stubs = running, stubs
        self.service = running.app.extensions["responder"]

    def __getitem__(self, name: str) -> Stub:
        return self.stubs[name]

    def process(self, owner: str = "one") -> "Process":
        """A process that sends; its monotonic time is ours."""
        return Process(self, self.service.deliverer(owner))

    def open(self, *numbers: str, place: str = "12347") -> None:
        """These subscribe."""
        for number in numbers:
            assert self.text(number, f"START {place}").startswith("Klart")

    def close_door(self, settle: bool = True) -> None:
        """A closed door is queued for every subscriber."""
        self.set("near", Status.CLOSED)
        self.push(settle)


class Process:
    """One sending process, which does something when it is told to."""

    def __init__(self, office: Office, deliverer: Deliverer) -> None:
        self.office, self.deliverer = office, deliverer

    def work(self, rounds: int = 1, every: float = 0.1, ask: bool = True) -> int:
        """Look around, ask those that are down, take up, send and store, `every` so many seconds; how many were sent."""
        return asyncio.run(self._work(rounds, every, ask))

    async def _work(self, rounds: int, every: float, ask: bool) -> int:
        begun = 0
        for _ in range(rounds):
            self.deliverer._looked_at = self.deliverer._reported_at = float("-inf")
            begun += self.deliverer.start_some()
            await self.deliverer.drain()
            if ask:
                self.deliverer.ask_about()
                await asyncio.gather(*self.deliverer._asking)
            self.deliverer.report()
            self.office.running.clock.now += timedelta(seconds=every)
        return begun

    def find_out(self, again: bool = False) -> int:
        """Ask what became of what is unclear; `again`: and once more, as where a list without a witness was not
        believed at first. How many were asked about first.
        """
        asked = asyncio.run(self.deliverer.reconcile())
        if again:
            self.office.running.clock.now += timedelta(seconds=self.deliverer._limits.reconcile)
            asyncio.run(self.deliverer.reconcile())
        return asked

    def state(self, name: str) -> str:
        """How it finds a gateway."""
        return self.deliverer._ways.health[name].state.value

"""Thousands of random histories of residents, operators, two sending processes and three providers: nothing is sent after a
committed STOPP or after the committed stop of a broadcast, nothing twice, and no delivery moves backwards.

    python -m tests.sending.machine [--runs 2000] [--steps 50] [--seed 1] [--sabotage]

The providers are in this process: a POST begins in one step, and its answer comes in a later one or never. Each lists what
it took, and nothing of the others', after a lag that our own patience covers. The service, and its database, are made once for all runs.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from responder.actions import publish
from responder.actions.announce import Outcome
from responder.actions.deliver import Deliverer, Ready
from responder.actions.deliver.finding import FindingOut
from responder.actions.deliver.ways import Ways
from responder.actions.push import push_due
from responder.core.access import Operator, Role
from responder.core.broadcast import BroadcastError
from responder.core.delivery import RANK, State
from responder.core.points import Status
from responder.core.wording import Channel
from responder.ports import ELKS, MODEM, TWILIO, Inbound, NotSent, Receipt, Sent, Unclear
from responder.settings import Settings
from responder.store import outbox
from responder.store.queries import read_points, save_points
from responder.wiring import Service, wire
from tests import engines
from tests.conftest import NOW, ZONE, Clock, a_point, prepare

NUMBERS = tuple(f"+4670174060{n}" for n in range(4))
PLACES = {"12347": "12347", "FARSTA": "area:farsta:stockholm"}  # as texted: the code
STOPS = (("stopp.", ""), ("Stop!", ""), ("AVSLUTA", ""), ("STOPP nu tack", ""), ("STOP", "STOP"))  # text, OptOutType
STARTS = (("START 12347", ""), ("start farsta", ""), ("START 12347", ""), ("START", ""), ("START", "START"))
POINTS = ("near", "far")
CHANGES = (Status.OPEN, Status.CLOSED, Status.FULL, Status.MOVED)
SPANS = (0, 1, 1, 2, 4, 6, 31, 46, 46, 61, 400, 1801, 4000)  # seconds
RECONCILE = 30
ANNA = Operator("anna", Role.APPROVER, signed_in=True)
OVER = (State.SUPPRESSED, State.SUPERSEDED, State.STOPPED)
FATES = (("delivered", 0), ("undelivered", 30003), ("undelivered", 30005), ("failed", 21610))
REFUSALS = {"429": (429, 20429), "opted out": (400, 21610), "no such number": (400, 21211)}
ENDS = (*["taken"] * 5, *["answer lost"] * 2, "request lost", *REFUSALS)
GATEWAYS = (TWILIO, ELKS, MODEM)
TABLES = ("subscriptions", "suppressions", "deliveries", "turns", "due", "usage", "audit")
VERBS = (
    "take up",
    "take up",
    "begin",
    "begin",
    "respond",
    "send",
    "send",
    "write",
    "write",
    "STOPP",
    "START",
    "START",
    "stop",
)
some = st.integers(0, 11)  # which one of several, counted round
# What happens beside every step. Not rules of their own alone: in a history without them nothing would ever be sent.
acts = st.lists(st.tuples(st.sampled_from(VERBS), some, st.sampled_from(ENDS)), max_size=3)
Acts = list[tuple[str, int, str]]


@dataclass
class Tally:
    """What all runs came to."""

    runs: int = 0
    steps: int = 0
    posts: int = 0
    stopps: int = 0
    stops: int = 0
    held_back: int = 0  # by the last look
    violations: int = 0


@dataclass
class Post:
    """One POST: what it asked for, how it ends, and what the provider says of it since."""

    gateway: str
    delivery: int
    attempt: int
    number: str
    body: str
    end: str
    at: datetime
    answer: "asyncio.Future[str]"
    fate: tuple[str, int] | None = None  # once the provider has told

    @property
    def taken(self) -> bool:
        """Whether the provider has it, and has not said that the phone did not get it."""
        return self.end in ("taken", "answer lost") and (self.fate is None or self.fate[0] == "delivered")


@dataclass
class Provider:
    """Implements ports.Sender for both processes. `posts`: of all providers; `end` is how the next one here ends; `lag`
    (seconds) is that of its list.
    """

    name: str
    clock: Clock
    posts: list[Post]
    end: str = "taken"
    lag: int = 0
    away: bool = False
    calls = True

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender: begins here, ends when the machine says so."""
        target = urlsplit(receipts)
        delivery, attempt = int(target.path.rpartition("/")[2]), int(parse_qs(target.query)["attempt"][0])
        answer = asyncio.get_running_loop().create_future()
        self.posts.append(Post(self.name, delivery, attempt, number, body, self.end, self.clock.now, answer))
        return await answer

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender."""
        return await self.text(number, document, receipts, 0)

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender."""
        if self.away:
            raise Unclear("the list is away")
        shown = self.clock.now - timedelta(seconds=self.lag)
        return [
            Sent(f"SM{place}", post.body, post.at)
            for place, post in enumerate(self.posts)
            if post.gateway == self.name
            and post.number == number
            and post.end in ("taken", "answer lost")
            and since <= post.at <= shown
        ]

    async def close(self) -> None:
        """See ports.Sender."""


@dataclass
class Process:
    """One sending process, with what it has taken up and what it has under way."""

    deliverer: Deliverer
    taken_up: list[Ready] = field(default_factory=list)
    under_way: list[tuple[Post, "asyncio.Task[None]"]] = field(default_factory=list)


class World:
    """The service that all runs share, and a connection of its own to look at the database."""

    def __init__(self) -> None:
        memory, self.open = Path("/dev/shm"), ExitStack()
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        path = prepare(Path(self.folder.name) / "machine.db")
        self.look = self.open.enter_context(engines.peek(path))
        kept = ", ".join(f"'{code}'" for code in PLACES.values())
        self.look.execute(f"DELETE FROM places WHERE code NOT IN ({kept})")
        chosen = {
            "database_url": engines.url(path), "reconcile_seconds": RECONCILE, "approve_above": 1000,
            "number_per_day": 10**9, "prefix_per_hour": 10**9, "spend_per_day": 1e12,
        }  # fmt: skip
        self.clock, self.loop = Clock(), asyncio.new_event_loop()
        self.service: Service = wire(Settings(_env_file=None, **chosen), self.clock)  # type: ignore[call-arg,arg-type]
        for name in GATEWAYS:
            self.service.gateways[name] = self.service.gateways[TWILIO]  # type: ignore[index]
        self.announcer = self.service.announcer
        self.tally = Tally()

    def clear(self) -> None:
        """As on the first day: two open points, nobody known."""
        self.clock.now = NOW
        with self.service.database.write() as connection:
            for table in TABLES:
                connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(text("DELETE FROM broadcasts WHERE id > 1"))
            known = {point.id: version for point, version in read_points(connection)}
            save_points(connection, [a_point("near"), a_point("far", lat=59.26)], known, NOW)
            connection.execute(text("DELETE FROM due"))

    def rows(self, question: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of the database."""
        return self.look.execute(question, values).fetchall()


@cache
def world() -> World:
    """The one of this process."""
    return World()


class Sending(RuleBasedStateMachine):
    """One history."""

    def __init__(self) -> None:
        super().__init__()
        self.world = world()
        self.world.clear()
        self.clock, self.service, self.tally = self.world.clock, self.world.service, self.world.tally
        self.posts: list[Post] = []
        self.providers = {name: Provider(name, self.clock, self.posts) for name in GATEWAYS}
        self.owners = 0
        self.processes = [self._process(), self._process()]
        self.texted = self.written = 0
        self.said_stop: set[str] = set()
        self.left: set[tuple[str, str]] = set()  # (number, code of a place) that ended by STOPP and a place
        self.stopped: set[int] = set()  # broadcasts
        self.states: dict[int, str] = {}
        self.again: set[int] = set()  # deliveries that this step may queue again
        self.violations: list[str] = []
        self.tally.runs += 1

    def _process(self) -> Process:
        self.owners += 1
        deliverer = self.service.deliverer(f"process-{self.owners}")
        limits = replace(deliverer._limits, send_rates=dict.fromkeys(GATEWAYS, 10.0))
        deliverer._ways = Ways(self.providers, self.service.gateways, limits)
        return Process(deliverer)

    def _text(self, number: str, body: str, handled: str = "") -> None:
        self.texted += 1
        self.service.answerer.respond(Inbound(f"SM-in-{self.texted}", Channel.TEXT, number, body, handled=handled))
        for _, place in self.left & {(number, code) for code in PLACES.values()}:
            if self.world.rows(
                "SELECT 1 FROM subscriptions WHERE number_hash = ? AND place = ?", self._hash(number), place
            ):
                self.left.discard((number, place))

    def _hash(self, number: str) -> bytes:
        return self.service.vault.newest(number)

    # --- residents ---------------------------------------------------------------------------------------------------

    @initialize(places=st.lists(st.sampled_from(sorted(PLACES)), min_size=4, max_size=4), then=acts)
    def four_subscribe(self, places: list[str], then: Acts) -> None:
        """Somebody is there to hear."""
        for number, place in zip(NUMBERS, places, strict=True):
            self._text(number, f"START {place}")
        self._then(then)

    @rule(number=st.sampled_from(NUMBERS), place=st.sampled_from(sorted(PLACES)), yes=st.booleans(), then=acts)
    def ask(self, number: str, place: str, yes: bool, then: Acts) -> None:
        """Ask about a place, and perhaps subscribe: not after STOPP."""
        self._text(number, place)
        if yes:
            self._text(number, "JA")
        self._then(then)

    @rule(number=st.sampled_from(NUMBERS), form=st.sampled_from(STARTS), then=acts)
    def start(self, number: str, form: tuple[str, str], then: Acts) -> None:
        """START, with a place or without."""
        self._start(number, form)
        self._then(then)

    def _start(self, number: str, form: tuple[str, str]) -> None:
        self._text(number, *form)
        self.said_stop.discard(number)

    @rule(number=st.sampled_from(NUMBERS), form=st.sampled_from(STOPS), then=acts)
    def stopp(self, number: str, form: tuple[str, str], then: Acts) -> None:
        """STOPP, in one of its forms."""
        self._stopp(number, form)
        self._then(then)

    def _stopp(self, number: str, form: tuple[str, str]) -> None:
        self._text(number, *form)
        self.said_stop.add(number)
        self.tally.stopps += 1

    @rule(number=st.sampled_from(NUMBERS), place=st.sampled_from(sorted(PLACES)), then=acts)
    def stopp_one(self, number: str, place: str, then: Acts) -> None:
        """STOPP for one place only."""
        self._text(number, f"STOPP {place}")
        self.left.add((number, PLACES[place]))
        self._then(then)

    # --- operators -----------------------------------------------------------------------------------------------

    @rule(id=st.sampled_from(POINTS), status=st.sampled_from(CHANGES), settled=st.booleans(), then=acts)
    def change(self, id: str, status: Status, settled: bool, then: Acts) -> None:
        """Change a point, and perhaps let that settle and push it."""
        moved = "Farsta torg 1" if status is Status.MOVED else ""
        change = publish.Change(status, moved_to=moved)
        publish.set_point(self.service.database, id, change, ANNA, ZONE, self.clock.now)
        if settled:
            self.clock.pass_time(seconds=61)
            self._tick()
        self._then(then)

    @rule(then=acts)
    def tick(self, then: Acts) -> None:
        """What the jobs process does every second, but for the sending."""
        self._tick()
        self._then(then)

    def _tick(self) -> None:
        now, database = self.clock.now, self.service.database
        push_due(database, self.service.snapshot.read_if_changed(now), self.service.rules, now)
        with database.write() as connection:
            outbox.finish(connection, now.timestamp())

    def _announce(self) -> None:
        self.written += 1
        announcer, now = self.world.announcer, self.clock.now
        with suppress(BroadcastError):
            drafted = announcer.draft(ANNA, ["everyone"], now, {"sv": f"Meddelande {self.written}"}, "sv")
            announcer.submit(ANNA, drafted.id, now)
            announcer.send(ANNA, drafted.id, now)

    @rule(which=some, step=st.sampled_from(("pause", "resume", "stop", "stop", "correct")), then=acts)
    def decide(self, which: int, step: str, then: Acts) -> None:
        """Pause, resume, stop or correct a broadcast, be it written or pushed."""
        self._decide(which, step)
        self._then(then)

    def _decide(self, which: int, step: str) -> None:
        if ids := self.world.rows(
            "SELECT id FROM broadcasts WHERE id > 1 AND state IN ('sending', 'paused') ORDER BY id"
        ):
            (id,) = ids[which % len(ids)]
            with suppress(BroadcastError):
                getattr(self.world.announcer, step)(ANNA, id, self.clock.now)
                if step in ("stop", "correct"):
                    self.stopped.add(id)
                    self.tally.stops += 1

    @rule(then=acts)
    def resolve(self, then: Acts) -> None:
        """An operator looks up, rightly, what nobody knew."""
        for (id,) in self.world.rows("SELECT id FROM deliveries WHERE state = 'unknown' ORDER BY id LIMIT 1"):
            taken = any(post.taken for post in self.posts if post.delivery == id)
            with suppress(BroadcastError):
                self.world.announcer.resolve(ANNA, id, Outcome.SENT if taken else Outcome.RESEND, self.clock.now)
        self._then(then)

    # --- two processes that send ---------------------------------------------------------------------------------

    @rule(then=acts)
    def work(self, then: Acts) -> None:
        """Nothing else."""
        self._then(then)

    def _then(self, then: Acts) -> None:
        self._look()
        for verb, which, end in then:
            self._act(verb, which, end)
            self._look()

    def _act(self, verb: str, which: int, end: str) -> None:
        match verb:
            case "take up":  # to be sent later, or never
                self._take_up(self.processes[which % 2], 1 + which // 2, GATEWAYS[which % 3])
            case "begin" if taken_up := [(p, ready) for p in self.processes for ready in p.taken_up]:
                self._begin(*taken_up[which % len(taken_up)], end)
            case "respond" if under_way := [(p, one) for p in self.processes for one in p.under_way]:
                process, one = under_way[which % len(under_way)]
                self._respond(process, *one)
                if which % 2:
                    process.deliverer.flush()
            case "send":
                self._send(self.processes[which % 2], end, GATEWAYS[which % 3])
            case "write":
                self._announce()
            case "STOPP":
                self._stopp(NUMBERS[which % 4], STOPS[which % len(STOPS)])
            case "START":
                self._start(NUMBERS[which % 4], STARTS[which % 3])
            case "stop":
                self._decide(which, "stop")

    def _take_up(self, process: Process, most: int, gateway: str) -> None:
        process.taken_up += process.deliverer.take_up("text", most, outbox.Lane(gateway, True, GATEWAYS))

    def _send(self, process: Process, end: str, gateway: str) -> None:
        """All that it has taken up, and more: none of it late."""
        self._take_up(process, 2, gateway)
        for ready in list(process.taken_up):
            self._begin(process, ready, end)
        for under_way in list(process.under_way):
            self._respond(process, *under_way)
        process.deliverer.flush()

    def _begin(self, process: Process, ready: Ready, end: str) -> None:
        process.taken_up.remove(ready)
        self.providers[ready.item.gateway].end = end
        before = len(self.posts)
        task = self.world.loop.create_task(process.deliverer._post(ready))
        self._turn_loop()
        if len(self.posts) == before:
            assert task.done(), "neither sent nor let go"
            self.tally.held_back += 1
            return
        self.tally.posts += 1
        process.under_way.append((self.posts[-1], task))
        self._judge(ready, self.posts[-1])

    def _respond(self, process: Process, post: Post, task: "asyncio.Task[None]") -> None:
        process.under_way.remove((post, task))
        if post.end == "taken":
            post.answer.set_result(f"SM{self.posts.index(post)}")
        elif refused := REFUSALS.get(post.end):
            post.answer.set_exception(NotSent(post.end, *refused))
        else:
            post.answer.set_exception(Unclear(post.end))
        self.world.loop.run_until_complete(task)
        if post.end == "opted out":
            self.said_stop.add(post.number)

    @rule(who=st.integers(0, 1), then=acts)
    def crash(self, who: int, then: Acts) -> None:
        """kill -9: what it has taken up, under way or not yet stored is gone; another starts."""
        for _, task in self.processes[who].under_way:
            task.cancel()
        self._turn_loop()
        self.processes[who] = self._process()
        self._then(then)

    @rule(who=st.integers(0, 1), then=acts)
    def reconcile(self, who: int, then: Acts) -> None:
        """Look up what is unclear."""
        self.world.loop.run_until_complete(self.processes[who].deliverer.reconcile())
        self._then(then)

    @rule(seconds=st.sampled_from(SPANS), then=acts)
    def pass_time(self, seconds: int, then: Acts) -> None:
        """A process that has something under way meanwhile was frozen."""
        self.clock.pass_time(seconds=seconds)
        self._then(then)

    # --- the provider ------------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(GATEWAYS),
        lag=st.sampled_from((0, 10, RECONCILE)),
        away=st.sampled_from((False, False, True)),
        then=acts,
    )
    def list_changes(self, name: str, lag: int, away: bool, then: Acts) -> None:
        """The list of one lags behind, or does not answer."""
        self.providers[name].lag, self.providers[name].away = lag, away
        self._then(then)

    @precondition(lambda self: any(post.end in ("taken", "answer lost") for post in self.posts))
    @rule(which=some, final=st.booleans(), fate=st.sampled_from(FATES), then=acts)
    def receipt(self, which: int, final: bool, fate: tuple[str, int], then: Acts) -> None:
        """A receipt, whether our own record is written yet or not, perhaps not for the first time."""
        posts = [post for post in self.posts if post.end in ("taken", "answer lost")]
        post = posts[which % len(posts)]
        status, code = ("sent", 0)
        if final:
            post.fate = post.fate or fate
            status, code = post.fate
        self.again.add(post.delivery)
        receipt = Receipt(f"SM{self.posts.index(post)}", status, code, post.attempt)
        self.service.receiver.receipt(post.delivery, receipt, self.clock.now)
        if self.world.rows(
            "SELECT 1 FROM suppressions WHERE number_hash = ? AND reason = '21610'", self._hash(post.number)
        ):
            self.said_stop.add(post.number)
        self._then(then)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_sent_that_must_not_be(self) -> None:
        """Also: who said STOPP is on the list of those who did."""
        self.tally.steps += 1
        stopped = {row[0] for row in self.world.rows("SELECT number_hash FROM suppressions")}
        assert {self._hash(number) for number in self.said_stop} <= stopped, "a STOPP was lost"
        self.tally.violations += len(self.violations)
        assert not self.violations, self.violations

    @invariant()
    def nothing_waits_in_what_is_done(self) -> None:
        """Nobody would ever send it, and it would keep newer answers from the same subscriber."""
        waiting = "SELECT d.id FROM deliveries d JOIN broadcasts b ON b.id = d.broadcast_id"
        left = self.world.rows(f"{waiting} WHERE d.state = 'queued' AND b.state = 'done'")
        assert not left, f"deliveries {left} wait in a broadcast that is done"

    def teardown(self) -> None:
        """Leave nothing pending in the loop that all runs share."""
        for process in self.processes:
            for _, task in process.under_way:
                task.cancel()
        self._turn_loop()

    def _look(self) -> None:
        """Whether a delivery has moved backwards: only a receipt that says the phone was off queues one again."""
        rows = dict(self.world.rows("SELECT id, state FROM deliveries"))
        for id, was in self.states.items():
            now = rows.get(id, was)
            assert _may_follow(State(was), State(now), id in self.again), f"delivery {id}: {was}, then {now}"
        self.states = rows
        self.again.clear()

    def _judge(self, ready: Ready, post: Post) -> None:
        item = ready.item
        if post.number in self.said_stop:
            self.violations.append(f"delivery {item.id} to a number that had said STOPP")
        if item.broadcast_id in self.stopped:
            self.violations.append(f"delivery {item.id} of broadcast {item.broadcast_id}, which was stopped")
        if item.kind == "status" and (post.number, item.place) in self.left:
            self.violations.append(f"delivery {item.id} about {item.place}, which had ended by STOPP")
        earlier = [p for p in self.posts[:-1] if p.delivery == item.id and p.taken]
        if earlier and post.taken and not self._belongs_to_another(earlier[0]):
            self.violations.append(f"delivery {item.id} sent again")

    def _belongs_to_another(self, post: Post) -> bool:
        """Whether the provider's list gave `post` to another delivery of the same text to the same number."""
        sid = f"SM{self.posts.index(post)}"
        return bool(self.world.rows("SELECT 1 FROM deliveries WHERE provider_id = ? AND id <> ?", sid, post.delivery))

    def _turn_loop(self) -> None:
        for _ in range(3):
            self.world.loop.run_until_complete(asyncio.sleep(0))


def _may_follow(was: State, now: State, again: bool) -> bool:
    if was in (State.DELIVERED, State.FAILED):
        return now is was
    if was in OVER:
        return now is was or now in RANK
    if was in RANK:
        return RANK.get(now, 0) >= RANK[was] or (again and now is State.QUEUED)
    return True


def explore(runs: int, steps: int, number: int | None = None, sabotage: str = "", shrink: bool = False) -> Tally:
    """Play `runs` histories of `steps` steps, the same ones every time unless a seed is given. Raises AssertionError.

    `sabotage`: "look", without the last look before a POST; "ask", where what is unclear is asked of another gateway
    than that of its attempt.
    """
    world().tally = Tally()
    machine = seed(number)(_named(Sending)) if number is not None else Sending
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=number is None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    log = logging.getLogger("responder")
    broken = {
        "look": patch.object(Deliverer, "_may_start", lambda *_: True),
        "ask": patch.object(FindingOut, "_gateway_of", lambda _, item: GATEWAYS[GATEWAYS.index(item.gateway) - 1]),
    }
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with broken[sabotage] if sabotage else nullcontext():
            run_state_machine_as_test(machine, settings=chosen)
    finally:
        log.setLevel(level)
    return world().tally


def _named(machine: type[Sending]) -> type[Sending]:
    return type("Sending", (machine,), {})


def main() -> None:
    """Print what the runs came to; exit 1 if something was sent that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.sending.machine", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", nargs="?", const="look", default="", choices=("look", "ask"))
    parser.add_argument("--shrink", action="store_true", help="look for the shortest history that fails")
    options = parser.parse_args()
    began, fault = time.perf_counter(), ""
    try:
        explore(options.runs, options.steps, options.seed, options.sabotage, options.shrink)
    except AssertionError as error:
        fault = "\n".join([str(error), *getattr(error, "__notes__", [])])
    tally = world().tally
    print(
        f"seed {options.seed}: {tally.runs} runs, {tally.steps} steps, {tally.posts} POSTs, {tally.held_back} held back by"
        f" the last look, {tally.stopps} STOPPs, {tally.stops} broadcasts stopped, {tally.violations} violations,"
        f" {time.perf_counter() - began:.0f} s"
    )
    if fault:
        print(fault)
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Sending what was taken up, and the loop of a process that sends."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import monotonic

from sqlalchemy.engine import Connection

from responder import logs, metrics
from responder.actions.deliver import values
from responder.actions.deliver.finding import FindingOut
from responder.actions.deliver.looking import LOOK_EVERY, LookingAround
from responder.actions.deliver.rendering import Renderer
from responder.actions.deliver.taking import TakingUp
from responder.actions.deliver.values import BATCH, CHANNELS, FLUSH_EVERY, HALT, ODD_TRIES, ODD_WAIT, Limits, Ready
from responder.actions.deliver.ways import Ways
from responder.core.broadcast import State as Stage
from responder.core.delivery import OPTED_OUT, Answer, State, is_alarm, refusal
from responder.core.health import Outcome
from responder.core.message import Messages
from responder.core.reply import Manner
from responder.ports import WRITE_BY, Clock, Gateway, NotSent, Sender, Unclear
from responder.store import outbox
from responder.store.engine import Database, StoreAway
from responder.store.outbox import Item
from responder.store.people import People
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault, masked

log = logging.getLogger("responder.deliver")

GRACE = 0.25  # of the time after which a request is late


class Deliverer(TakingUp, FindingOut, LookingAround):
    """Sends for one process, which `owner` names, by `senders` and `through` their gateways: name to each, the
    preferred first.
    """

    def __init__(
        self,
        database: Database,
        snapshot: Snapshot,
        messages: Messages,
        manner: Manner,
        through: Mapping[str, Gateway],
        senders: Mapping[str, Sender],
        vault: Vault,
        people: People,
        clock: Clock,
        limits: Limits,
        owner: str,
    ) -> None:
        renderer, ways = Renderer(messages, manner), Ways(senders, through, limits)
        super().__init__(database, snapshot, renderer, ways, vault, people, clock, limits, owner)
        self._check = outbox.check(database.engine)
        self._under_way: set[asyncio.Task[None]] = set()
        self._late: set[tuple[int, int]] = set()  # (delivery, attempt) that have been heard of as late
        self._finding: asyncio.Task[None] | None = None

    async def run(self, part: Callable[[str], float], stopping: asyncio.Event) -> None:
        """Send our `part` of each gateway's rates (0: nothing just now) until `stopping` is set; what is under way is
        waited for then.
        """
        looked = 0.0
        while not stopping.is_set():
            busy = False
            parts = {name: part(name) for name in self._ways.senders}
            for (name, _), pace in self._ways.paces.items():
                pace.part = parts[name]
            if any(parts.values()):
                try:
                    busy = self.start_some() > 0
                    self.ask_about()
                    if monotonic() - looked > LOOK_EVERY:
                        looked = monotonic()
                        self.report()
                        if self._is_steady() and (self._finding is None or self._finding.done()):
                            self._finding = asyncio.get_running_loop().create_task(self._find_out())
                except StoreAway as error:
                    log.error("database away, nothing is sent: %s", error)
                except Exception:
                    log.exception("sending goes on after an error")
                    await asyncio.sleep(1.0)
            self.flush(FLUSH_EVERY)
            await asyncio.sleep(0.01 if busy or self._under_way else 0.1)
        await self.drain()

    async def _find_out(self) -> None:
        """Beside the sending: one that does not answer must not keep what others take."""
        try:
            await self.reconcile()
        except StoreAway as error:
            log.error("database away, what is unclear is looked up later: %s", error)
        except Exception:
            log.exception("what is unclear is looked up later")

    async def close(self) -> None:
        """Let go of the senders' connections."""
        for task in self._asking:
            task.cancel()
        for sender in self._ways.senders.values():
            await sender.close()

    async def drain(self) -> None:
        """Wait for every request under way, and store what became of it."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self.flush()  # whoever ends us may not wait for what is being looked up
        if self._finding is not None:
            await self._finding
            self.flush()

    def start_some(self) -> int:
        """Take up what may go now and begin to send it; how many. Raises StoreAway."""
        self._look_around()
        started = 0
        for channel in CHANNELS:
            for lane, room in self._ways.lanes(channel, monotonic(), self._clock().timestamp()):
                for ready in self.take_up(channel, min(room, BATCH), lane):
                    self._begin(ready)
                    started += 1
        return started

    def _begin(self, ready: Ready) -> None:
        name = ready.item.gateway
        self._ways.begin(name, monotonic())
        task = asyncio.get_running_loop().create_task(self._post(ready))
        self._under_way.add(task)
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, task: "asyncio.Task[None]") -> None:
        self._ways.under_way[name] -= 1
        self._under_way.discard(task)
        if not self._under_way:
            self._late.clear()

    async def _post(self, ready: Ready) -> None:
        item, name, began = ready.item, ready.item.gateway, monotonic()
        logs.push(delivery=item.id, broadcast=item.broadcast_id, gateway=name, owner=self._owner)  # for this task
        try:
            document = await self._document(ready)
            WRITE_BY.set(monotonic() + self._limits.api_timeout)
            if document is None or not self._may_start(ready):
                return
            began = monotonic()
            sender, receipts = self._ways.senders[name], self._ways.gateways[name].receipts(item.id, item.attempt)
            send = (
                sender.text(ready.number, item.body, receipts, ready.message.valid)
                if item.channel == "text"
                else sender.call(ready.number, document, receipts)
            )
            with self._watched(item, began):
                async with asyncio.timeout(self._limits.api_timeout):  # unlike wait_for, it begins at once
                    sid = await send
            self._accepted.append((item, sid))
            self._hear(name, began, True)
            metrics.delivery(item.channel, "accepted")
        except NotSent as error:
            self._refused(ready, error, began)
        except (Unclear, TimeoutError) as error:
            self._unclear(ready, began)
            log.warning("delivery %d: unclear, to be looked up: %s", item.id, str(error) or "timed out")
        except StoreAway as error:
            log.error("delivery %d: database away before it was sent: %s", item.id, error)
        except Exception:
            self._unclear(ready, began)
            log.exception("delivery %d: unclear, to be looked up", item.id)

    async def _document(self, ready: Ready) -> str | None:
        """The document of a call, which only the gateway that calls can read; "" of a text; None if there can be none,
        so that it has failed. In a thread, and after all is committed: it may have to be recorded first.
        """
        item, message = ready.item, ready.message
        if item.channel == "text":
            return ""
        through = self._ways.gateways[item.gateway]
        said = message.spoken, message.again, message.after, through.keys(item.id)
        try:
            return await asyncio.to_thread(through.call_document, *said)
        except Exception:
            log.exception("delivery %d cannot be spoken", item.id)
            with self._db.write(alone=False) as connection:
                self._fail(connection, item, self._clock().timestamp(), 0, Answer.ODD)
            return None

    @contextmanager
    def _watched(self, item: Item, began: float) -> Iterator[None]:
        """A request that has no answer after a while counts as failed before it ends. It is looked at twice: where we
        ourselves stood still, its answer is there and was not read yet.
        """
        loop, patience = asyncio.get_running_loop(), self._ways.patience(item.gateway)
        timers: list[asyncio.TimerHandle] = []

        def late() -> None:
            self._late.add((item.id, item.attempt))
            self._ways.hear(item.gateway, Outcome.LATE, began, monotonic())

        timers.append(loop.call_later(patience, lambda: timers.append(loop.call_later(GRACE * patience, late))))
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    def _hear(self, name: str, began: float, good: bool) -> None:
        self._ways.hear(name, Outcome.GOOD if good else Outcome.FAILED, began, monotonic())

    def _unclear(self, ready: Ready, began: float) -> None:
        metrics.delivery(ready.item.channel, "unclear")
        name, attempt = ready.item.gateway, (ready.item.id, ready.item.attempt)
        if attempt in self._late:
            self._ways.give_up(name, began)
        else:
            self._hear(name, began, False)

    def _may_start(self, ready: Ready) -> bool:
        """The last look before a POST: still ours, not stopped, not overtaken, the number has not said STOPP, no
        exercise has begun or ended between, and operators have not taken the gateway away.
        """
        item = ready.item
        rows = self._db.fetch(self._check, {"id": item.id})
        if not rows:
            return False
        state, owner, stage, version, stopp, fits, barred = rows[0]
        if state != State.SENDING or owner != self._owner or stopp:
            return False
        late = self._clock().timestamp() > item.claimed_at + values.START_WITHIN
        overtaken = bool(item.kind not in ("message", "operator", outbox.BY_HAND, "agree") and version != ready.version)
        if stage == Stage.SENDING and fits and not late and not overtaken and not barred:
            return True
        with self._db.write(alone=False) as connection:
            self._put_back(connection, item, self._clock().timestamp())
        return False

    def _refused(self, ready: Ready, error: NotSent, began: float) -> None:
        """The provider surely did not take it: again, later, or never."""
        item, now, name = ready.item, self._clock().timestamp(), ready.item.gateway
        answer = refusal(error.status, error.code) if error.status else Answer.SLOW
        metrics.delivery(item.channel, f"refused {answer}", error.code or error.status)
        if answer in (Answer.HALT, Answer.ODD) or not error.status:  # an odd one may be the account's fault, too
            outcome = Outcome.BARRED if answer is Answer.HALT else Outcome.FAILED
            self._ways.hear(name, outcome, began, monotonic())
        elif answer is Answer.SLOW:
            self._ways.too_fast(name, began, monotonic())
        if is_alarm(error.code) or answer is Answer.HALT:
            log.error("an operator must act: %s answers %s", name, error)
        if answer is Answer.ODD and item.attempt < ODD_TRIES:
            log.error("delivery %d: refused for a reason we do not know: %s", item.id, error)
            with self._db.write(alone=False) as connection:
                self._put_back(connection, item, now + ODD_WAIT, tried=True)
        elif answer in (Answer.FOR_GOOD, Answer.ODD):
            log.warning("delivery %d to %s: refused for good, %d", item.id, masked(ready.number), error.code)
            with self._db.write(alone=False) as connection:
                self._fail(connection, item, now, error.code or error.status, answer)
            if error.code == OPTED_OUT:
                self._people.do(self._people.stop(self._vault.hashes(ready.number), now, str(OPTED_OUT)))
        else:
            self._ways.slow_down(name, monotonic(), HALT if answer is Answer.HALT else error.wait)
            with self._db.write(alone=False) as connection:
                self._put_back(connection, item, now)

    def _fail(self, connection: Connection, item: Item, now: float, code: int, answer: Answer) -> None:
        outbox.settle(connection, [item], State.FAILED, now, code)
        if answer is Answer.ODD:
            outbox.untell(connection, item)

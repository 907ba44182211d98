"""Send what is queued: nothing lost, nothing doubled, nothing after STOPP or stop.

A delivery is taken up under a committed lease, rendered then, looked at once more right before its POST, sent outside
any transaction, and its outcome stored. Creating a message has no idempotency at the provider. So a request with an
unclear end, or one that a killed process left behind, is not repeated: once its lease has run out (longer than the
request and the provider's list can take) the provider is asked whether it has the message. Only when its list shows
other messages of about that age, and not this one, is it sent again; what stays unclear waits for an operator.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import loads
from time import monotonic
from typing import Any

from sqlalchemy.engine import Connection, Row

from responder import logs, metrics
from responder.core.answer import Board
from responder.core.broadcast import State as Stage
from responder.core.delivery import LOOKS, OPTED_OUT, Answer, State, is_alarm, refusal
from responder.core.message import Message, Messages
from responder.core.pace import Pace
from responder.core.places import Place
from responder.core.reply import Manner, Voiceover
from responder.core.segments import cost
from responder.core.told import Now, at, merged, said_of, without
from responder.ports import Clock, Gateway, NotSent, Sender, Sent, Unclear
from responder.store import outbox
from responder.store.engine import Database, StoreAway
from responder.store.meter import SPEND, number_scope
from responder.store.outbox import Item, Taken
from responder.store.people import People
from responder.store.schedule import DAY, PUSH, add_due, add_usage, usage, usages
from responder.store.snapshot import Snapshot, View
from responder.store.vault import Vault, masked

log = logging.getLogger("responder.deliver")

BATCH = 100
START_WITHIN = 5.0  # seconds after it was taken up in which a POST may begin
FLUSH_EVERY = 0.2  # seconds; what a kill takes with it has to be looked up
SKEW = timedelta(hours=2)  # between the provider's clock and ours; what it has from before is known as another's
JUMP = 5.0  # seconds by which the wall clock departs from monotonic time when it is set
HALT = 30.0  # seconds for which nothing is sent where the account is refused
ALIKE_WAIT = 5.0
ODD_TRIES, ODD_WAIT = 3, 600.0  # for a refusal that we do not know
PUSH_AGAIN = 30.0  # seconds: after what was taken for told was not, one looks again, together
WITNESSES = 3
AROUND = 600.0  # seconds before an unclear request from which its witnesses may be
NOTHING = (0, 0.0)
CAPPED = 1  # our own error code: the number had its share of the day
CHANNELS = ("text", "call")


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates (segments and calls a second), requests at once, time-outs in seconds, and the day's caps."""

    send_rate: float
    call_rate: float
    concurrency: int
    api_timeout: float
    reconcile: float
    price_segment: float
    price_call: float
    spend_per_day: float
    number_per_day: int

    @property
    def lease(self) -> float:
        """Seconds after which a POST has surely ended and the provider lists what it took."""
        return START_WITHIN + self.api_timeout + self.reconcile


@dataclass(frozen=True, slots=True)
class Ready:
    """A delivery that is taken up: the row as it stands in the table, and what is needed to send it."""

    item: Item
    number: str
    valid: int
    version: int  # of the points, when it was rendered


class Deliverer:
    """Sends for one process; `owner` names it. Not thread-safe: it lives in one event loop."""

    def __init__(
        self,
        database: Database,
        snapshot: Snapshot,
        messages: Messages,
        manner: Manner,
        gateway: Gateway,
        sender: Sender,
        vault: Vault,
        people: People,
        clock: Clock,
        limits: Limits,
        owner: str,
    ) -> None:
        self._db, self._snapshot, self._messages, self._manner = database, snapshot, messages, manner
        self._gateway, self._sender, self._vault, self._people = gateway, sender, vault, people
        self._clock, self._limits, self._owner = clock, limits, owner
        self._check, self._waiting = outbox.check(database.engine), outbox.waiting(database.engine)
        self._pace = {"text": Pace(limits.send_rate), "call": Pace(limits.call_rate)}
        self._under_way: set[asyncio.Task[None]] = set()
        self._accepted: list[tuple[Item, str]] = []
        self._begun: set[int] = set()
        self._flushed = 0.0
        self._ahead: float | None = None  # the clock, of monotonic time
        self._steady_from = 0.0
        self._spent_out = False
        self._standing: Now | None = None
        self._remembered: dict[tuple[object, ...], Message] = {}
        self._remembered_of: tuple[Board | None, datetime | None] = (None, None)

    async def run(self, part: Callable[[], float], stopping: asyncio.Event) -> None:
        """Send our `part` of the rates (0: nothing just now) until `stopping` is set; what is under way is waited for
        then.
        """
        looked = 0.0
        while not stopping.is_set():
            busy = False
            if ours := part():
                for pace in self._pace.values():
                    pace.part = ours
                try:
                    busy = self.start_some() > 0
                    if monotonic() - looked > 1.0:
                        looked = monotonic()
                        if self._is_steady():
                            await self.reconcile()
                except StoreAway as error:
                    log.error("database away, nothing is sent: %s", error)
                except Exception:
                    log.exception("sending goes on after an error")
                    await asyncio.sleep(1.0)
            self.flush(FLUSH_EVERY)
            await asyncio.sleep(0.01 if busy or self._under_way else 0.1)
        await self.drain()

    def _is_steady(self) -> bool:
        """Whether the clock has not been set for the time of a lease: else what still is under way looks as if it were
        long over.
        """
        since, self._ahead = self._ahead, self._clock().timestamp() - monotonic()
        if since is not None and abs(self._ahead - since) > JUMP:
            log.error("the clock was set by %.0f s", self._ahead - since)
            self._steady_from = monotonic() + self._limits.lease
        return monotonic() >= self._steady_from

    async def close(self) -> None:
        """Let go of the sender's connections."""
        await self._sender.close()

    async def drain(self) -> None:
        """Wait for every request under way, and store what became of it."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self.flush()

    def start_some(self) -> int:
        """Take up what may go now and begin to send it; how many. Raises StoreAway."""
        started = 0
        for channel in CHANNELS:
            free = self._limits.concurrency - len(self._under_way)
            if self._under_way and free < self._limits.concurrency // 8:
                break  # a commit for a handful costs as much as for many
            room = min(free, BATCH, self._pace[channel].room(monotonic()))
            for ready in self.take_up(channel, room) if room > 0 else ():
                task = asyncio.get_running_loop().create_task(self._post(ready))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                started += 1
        return started

    # --- taking up -----------------------------------------------------------------------------------------------

    def take_up(self, channel: str, most: int) -> list[Ready]:
        """At most `most` deliveries, rendered and committed as being sent, the most urgent first. Raises StoreAway."""
        now = self._clock()
        stamp = now.timestamp()
        if not self._db.fetch(self._waiting, {"channel": channel, "now": stamp}):
            return []
        view = self._snapshot.read_if_changed(now)
        standing = self._standing = at(view.board, now, self._standing)
        found: list[tuple[Taken, str, int]] = []
        with self._db.write() as connection:
            if outbox.points_version(connection) != view.points_version:
                return []  # others had their turn first, and a point has changed: what we know is old
            self._store(connection, stamp)
            if usage(connection, SPEND, int(stamp // DAY))[1] >= self._limits.spend_per_day:
                if not self._spent_out:
                    log.error("SPEND_PER_DAY is spent: nothing more is sent today")
                self._spent_out = True
                return []  # what is stored above is committed; it is stored again, to the same effect
            self._spent_out = False
            for broadcast in outbox.sending(connection):
                items = outbox.queued(connection, broadcast.id, channel, stamp, most - len(found))
                found += self._rendered(connection, items, broadcast, view, standing, [one for one, _, _ in found])
                if len(found) >= most:
                    break
            taken = [one for one, _, _ in found]
            items = outbox.take(connection, taken, self._owner, stamp, stamp + self._limits.lease)
            self._charge(connection, taken, stamp)
        self._stored()
        self._pace[channel].spend(sum(max(1, one.segments) for one in taken))
        return [
            Ready(item, number, valid, view.points_version)
            for item, (_, number, valid) in zip(items, found, strict=True)
        ]

    def _rendered(
        self,
        connection: Connection,
        items: list[Item],
        broadcast: Row[Any],
        view: View,
        now: Now,
        already: list[Taken],
    ) -> list[tuple[Taken, str, int]]:
        """What is to be sent of `items`: row, number, and for how many seconds it is worth anything. The rest ends, or
        waits: what could not be told apart at the provider from something that is being sent to the same number, or is
        `already` taken up with it.
        """
        if not items:
            return []
        numbers = {item.id: number for item in items if (number := self._number(item.number_sealed))}
        hashes = {
            id: self._vault.hashes(number) for id, number in numbers.items()
        }  # by old keys too: STOPP may be older
        stopped = outbox.suppressed(connection, {h for known in hashes.values() for h in known})
        had = usages(connection, (number_scope(known[0]) for known in hashes.values()), int(now.at.timestamp() // DAY))
        known = outbox.known_answers(connection, {item.subscription_id for item in items if item.subscription_id})
        known |= {t.item.subscription_id: (t.told, t.said) for t in already if t.told and t.item.subscription_id}
        spoken = outbox.spoken_of(connection, {item.id for item in items if item.kind == "status" and item.said_before})
        named: dict[int, set[str]] = {}  # by what is taken up here, by subscription
        for one in already:
            named.setdefault(one.item.subscription_id or 0, set()).update(_names(one))
        alike = outbox.in_hand(connection, {item.number_hash for item in items})
        alike |= {_looks(one.item, one.body) for one in already}
        wait: list[int] = []
        gone: list[int] = []  # queued by a transaction that did not see their STOPP yet
        texts = loads(broadcast.texts) if broadcast.kind == "message" else {}
        found: list[tuple[Taken, str, int]] = []
        ends: dict[State, list[Item]] = {State.SUPPRESSED: [], State.SUPERSEDED: [], State.FAILED: []}
        for item in items:
            if item.id not in numbers:
                ends[State.FAILED if item.number_sealed else State.SUPPRESSED].append(item)
                continue
            if not stopped.isdisjoint(hashes[item.id]):
                ends[State.SUPPRESSED].append(item)
                gone.append(item.id)
                continue
            if had.get(number_scope(hashes[item.id][0]), NOTHING)[0] >= self._limits.number_per_day:
                ends[State.FAILED].append(item)
                continue
            before = known.get(item.subscription_id or 0, (item.told_before, ""))
            said_before = item.said_before
            if item.kind == "status":
                said_before = without(
                    said_before, spoken.get(item.id, set()) | named.get(item.subscription_id or 0, set())
                )
            before = (before[0], merged(before[1], said_before))
            if item.kind == "status" and item.subscription_id not in known:
                ends[State.SUPPRESSED].append(item)
                continue
            try:
                message = self._message(item, before, texts, broadcast.fallback, view, now)
            except Exception:  # one that cannot be told must not keep all others waiting
                log.exception("delivery %d cannot be put into words", item.id)
                ends[State.FAILED].append(item)
                continue
            if message is None:
                ends[State.SUPERSEDED].append(item)
                place = view.gazetteer.by_code.get(item.place)
                if place and item.kind in ("status", outbox.FOLLOW_UP):  # what opened again may still close after all
                    outbox.keep_watching(connection, item, now.key(place, item.service), before[1])
                continue
            body = message.text or self._spoken(message, item)
            if _looks(item, body) in alike:
                wait.append(item.id)
                continue
            alike.add(_looks(item, body))
            taken = Taken(item, body, message.segments, message.told, *before, message.said)
            if item.subscription_id and message.told:
                known[item.subscription_id] = (message.told, message.said)
                named.setdefault(item.subscription_id, set()).update(_names(taken))
            found.append((taken, numbers[item.id], message.valid))
        outbox.postpone(connection, wait, now.at.timestamp() + ALIKE_WAIT)
        outbox.withdraw(connection, gone)
        for state, ended in ends.items():
            outbox.settle(connection, ended, state, now.at.timestamp(), CAPPED if state is State.FAILED else 0)
            for item in ended:
                metrics.delivery(item.channel, state)
        return found

    def _message(
        self, item: Item, before: tuple[str, str], texts: dict[str, str], fallback: str, view: View, now: Now
    ) -> Message | None:
        """What the delivery says now; None if it is what they know already."""
        over, call = Voiceover(self._manner, now.at), item.channel == "call"
        if item.kind == "message":
            return self._messages.written(texts, fallback, over, item.language, call)
        if item.kind in ("operator", outbox.BY_HAND):
            return Message(item.body)
        place = view.gazetteer.by_code.get(item.place)
        if place is None:
            return None
        if item.kind == "agree":
            return self._messages.agree(place, over, item.language, call)
        if item.kind == "address":
            return self._messages.address(place, item.service, now, over, item.language)
        told, said = before
        broken = bool(said) and now.any_broken(said)
        changed = item.kind == "status" and now.key(place, item.service) != told
        if not broken and (not changed or said == said_of(now.real.answer(place, item.service))):
            return None
        return self._changed(place, item.service, said or told, now, item.language, call)

    def _changed(self, place: Place, service: str, known: str, now: Now, language: str, call: bool) -> Message:
        """The news for a place; neighbours are told the same, so it is made once a minute."""
        board, minute = self._remembered_of
        if board is not now.real or minute != now.at.replace(second=0, microsecond=0):
            self._remembered_of, self._remembered = (now.real, now.at.replace(second=0, microsecond=0)), {}
        key = (place, service, known, language, call)
        if key not in self._remembered:
            over = Voiceover(self._manner, now.at)
            self._remembered[key] = self._messages.changed(place, service, known, now, over, language, call)
        return self._remembered[key]

    def _number(self, sealed: bytes) -> str:
        """The number, or "" if it was deleted, or its key is gone."""
        try:
            return self._vault.open(sealed) if sealed else ""
        except ValueError as error:
            log.error("a number cannot be read: %s", error)
            return ""

    def _spoken(self, message: Message, item: Item) -> str:
        return self._gateway.call_document(message.spoken, message.again, message.after, f"/twilio/called/{item.id}")

    def _charge(self, connection: Connection, taken: list[Taken], stamp: float) -> None:
        day, limits = int(stamp // DAY), self._limits
        price = sum(t.segments * limits.price_segment if t.item.channel == "text" else limits.price_call for t in taken)
        used: dict[tuple[str, int], tuple[int, float]] = {}
        for one in taken:
            scope = (number_scope(one.item.number_hash), day)
            used[scope] = (used.get(scope, (0, 0.0))[0] + 1, 0.0)
        if taken:
            add_usage(connection, {**used, (SPEND, day): (len(taken), price)})

    # --- sending -------------------------------------------------------------------------------------------------

    async def _post(self, ready: Ready) -> None:
        item = ready.item
        receipts = f"/twilio/receipts/{item.id}?attempt={item.attempt}"
        logs.push(delivery=item.id, broadcast=item.broadcast_id, owner=self._owner)  # for this task
        try:
            if not self._may_start(ready):
                return
            send = (
                self._sender.text(ready.number, item.body, receipts, ready.valid)
                if item.channel == "text"
                else self._sender.call(ready.number, item.body, receipts)
            )
            async with asyncio.timeout(self._limits.api_timeout):  # unlike wait_for, it begins at once
                sid = await send
            self._accepted.append((item, sid))
            metrics.delivery(item.channel, "accepted")
        except NotSent as error:
            self._refused(ready, error)
        except (Unclear, TimeoutError) as error:
            metrics.delivery(item.channel, "unclear")
            log.warning("delivery %d: unclear, to be looked up: %s", item.id, str(error) or "timed out")
        except StoreAway as error:
            log.error("delivery %d: database away before it was sent: %s", item.id, error)
        except Exception:
            metrics.delivery(item.channel, "unclear")
            log.exception("delivery %d: unclear, to be looked up", item.id)

    def _may_start(self, ready: Ready) -> bool:
        """The last look before a POST: still ours, not stopped, not overtaken, the number has not said STOPP, and no
        exercise has begun or ended between.
        """
        item = ready.item
        rows = self._db.fetch(self._check, {"id": item.id})
        if not rows:
            return False
        state, owner, stage, version, stopp, fits = rows[0]
        if state != State.SENDING or owner != self._owner or stopp:
            return False
        late = self._clock().timestamp() > item.claimed_at + START_WITHIN
        overtaken = bool(item.kind not in ("message", "operator", outbox.BY_HAND, "agree") and version != ready.version)
        if stage == Stage.SENDING and fits and not late and not overtaken:
            return True
        with self._db.write(alone=False) as connection:
            self._put_back(connection, item, self._clock().timestamp())
        return False

    def _refused(self, ready: Ready, error: NotSent) -> None:
        """The provider surely did not take it: again, later, or never."""
        item, now = ready.item, self._clock().timestamp()
        answer = refusal(error.status, error.code) if error.status else Answer.SLOW
        metrics.delivery(item.channel, f"refused {answer}", error.code or error.status)
        if is_alarm(error.code) or answer is Answer.HALT:
            log.error("an operator must act: the provider answers %s", error)
        if answer is Answer.ODD and item.attempt < ODD_TRIES:
            log.error("delivery %d: refused for a reason we do not know: %s", item.id, error)
            with self._db.write(alone=False) as connection:
                self._put_back(connection, item, now + ODD_WAIT, tried=True)
            return
        if answer in (Answer.FOR_GOOD, Answer.ODD):
            log.warning("delivery %d to %s: refused for good, %d", item.id, masked(ready.number), error.code)
            with self._db.write(alone=False) as connection:
                outbox.settle(connection, [item], State.FAILED, now, error.code or error.status)
                if answer is Answer.ODD:
                    outbox.untell(connection, item)
            if error.code == OPTED_OUT:
                self._people.do(self._people.stop(self._vault.hashes(ready.number), now, str(OPTED_OUT)))
            return
        wait = HALT if answer is Answer.HALT else error.wait
        for pace in self._pace.values():
            pace.slow_down(monotonic(), wait)
        with self._db.write(alone=False) as connection:
            self._put_back(connection, item, now)

    def _put_back(self, connection: Connection, item: Item, not_before: float, tried: bool = False) -> None:
        """Queue again what was not sent, which has not cost anything then."""
        if outbox.put_back(connection, [item], not_before, tried):
            if item.kind == "status":  # a push that runs just now takes them for told
                add_due(connection, PUSH, [(self._clock().timestamp() // PUSH_AGAIN + 1) * PUSH_AGAIN])
            day = int(item.claimed_at // DAY)
            scope = number_scope(self._vault.newest(self._number(item.number_sealed)))
            add_usage(connection, {(scope, day): (-1, 0.0), (SPEND, day): (-1, -self._price(item))})

    def _price(self, item: Item) -> float:
        limits = self._limits
        return limits.price_segment * cost(item.body).segments if item.channel == "text" else limits.price_call

    def flush(self, every: float = 0.0) -> None:
        """Store what the provider took, unless that was done less than `every` seconds ago."""
        if not self._accepted or monotonic() - self._flushed < every:
            return
        try:
            with self._db.write(alone=False) as connection:
                self._store(connection, self._clock().timestamp())
            self._stored()
        except StoreAway as error:  # they stay under their lease, and are looked up if this goes on
            log.error("database away, %d outcomes kept: %s", len(self._accepted), error)

    def _store(self, connection: Connection, stamp: float) -> None:
        outbox.accept(connection, self._accepted, stamp)
        outbox.begun(connection, {item.broadcast_id for item, _ in self._accepted} - self._begun, stamp)

    def _stored(self) -> None:
        self._begun |= {item.broadcast_id for item, _ in self._accepted}
        self._accepted, self._flushed = [], monotonic()

    # --- finding out -----------------------------------------------------------------------------------------------

    async def reconcile(self) -> int:
        """Find out what became of deliveries whose lease has run out; how many were looked at. Raises StoreAway."""
        now = self._clock()
        stamp = now.timestamp()
        self.flush()
        with self._db.write() as connection:
            items = outbox.expired(connection, self._owner, stamp, stamp + self._limits.lease, self._limits.concurrency)
        if items:
            oldest: dict[str, float] = {}
            for item in items:
                oldest[item.channel] = min(item.claimed_at, oldest.get(item.channel, item.claimed_at))
            complete = {channel: await self._list_is_complete(channel, at, now) for channel, at in oldest.items()}
            await asyncio.gather(*(self._look_up(item, complete[item.channel]) for item in items))
        return len(items)

    async def _look_up(self, item: Item, complete: bool) -> None:
        logs.push(delivery=item.id, broadcast=item.broadcast_id, owner=self._owner)  # for this task
        since = datetime.fromtimestamp(item.claimed_at, UTC) - SKEW
        number = self._number(item.number_sealed)
        found = await self._listed(number, item.channel, since) if complete and number else None
        stamp = self._clock().timestamp()
        with self._db.write(alone=False) as connection:
            if found is not None:
                known = outbox.provider_ids(connection, self._vault.hashes(number))
                sid = next((s.id for s in found if s.id not in known and s.body in ("", item.body)), "")
                if sid:
                    outbox.accept(connection, [(item, sid)], stamp)
                    metrics.delivery(item.channel, "accepted")
                    log.info("delivery %d: the provider has it", item.id)
                else:
                    self._put_back(connection, item, stamp, tried=True)
                    metrics.delivery(item.channel, "again")
                    log.info("delivery %d: the provider does not have it, it is sent again", item.id)
            elif item.looked + 1 >= LOOKS:
                outbox.unknown(connection, item)
                metrics.delivery(item.channel, State.UNKNOWN)
                log.error("delivery %d: unclear whether it was sent, an operator must decide", item.id)
            else:
                outbox.ask_later(connection, item, stamp + self._limits.reconcile * (item.looked + 1))

    async def _list_is_complete(self, channel: str, oldest: float, now: datetime) -> bool:
        """Whether the provider's list shows the newest of what it took from about `oldest` until as long ago as we are
        willing to wait: a list that lags behind would make us send again what it has.
        """
        with self._db.read() as connection:
            rows = outbox.witnesses(
                connection, channel, oldest - AROUND, now.timestamp() - self._limits.reconcile, WITNESSES
            )
        since = datetime.fromtimestamp(oldest - AROUND, UTC) - SKEW
        readable = [(row, number) for row in rows if (number := self._number(row.number_sealed))]
        lists = await asyncio.gather(*(self._listed(number, channel, since) for _, number in readable))
        seen = [
            found is not None and any(sent.id == row.provider_id for sent in found)
            for (row, _), found in zip(readable, lists, strict=True)
        ]
        if not all(seen):
            log.warning("the provider's list of %ss lags behind or is away; nothing unclear is sent again", channel)
        return all(seen)

    async def _listed(self, number: str, channel: str, since: datetime) -> list[Sent] | None:
        """What the provider lists for a number; None if it does not answer."""
        try:
            return await asyncio.wait_for(self._sender.find(number, channel == "call", since), self._limits.api_timeout)
        except (NotSent, Unclear, TimeoutError) as error:
            log.warning("the provider's list is away: %s", str(error) or "timed out")
            return None


def _names(one: Taken) -> set[str]:
    """The points that a message speaks of."""
    return outbox.points_in(one.told_before, one.said_before, one.said)


def _looks(item: Item, body: str) -> tuple[bytes, str, str]:
    """What the provider would list it as: two calls to a number look the same."""
    return item.number_hash, item.channel, body if item.channel == "text" else ""

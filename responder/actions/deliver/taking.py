"""Taking up: what may go now, rendered, and committed as being sent by one gateway."""

import logging
from json import loads
from typing import Any

from sqlalchemy.engine import Connection, Row

from responder import metrics
from responder.actions.deliver.base import Base
from responder.actions.deliver.values import ALIKE_WAIT, CAPPED, Ready
from responder.core.delivery import State
from responder.core.message import Message
from responder.core.told import Now, at, merged, without
from responder.store import gateways, outbox
from responder.store.engine import Prepared
from responder.store.meter import SPEND, number_scope
from responder.store.outbox import Item, Lane, Taken
from responder.store.schedule import DAY, add_usage, usage, usages
from responder.store.snapshot import View

log = logging.getLogger("responder.deliver")

NOTHING = (0, 0.0)
Found = tuple[Taken, str, Message]  # what is taken up, the number, and what it says


class TakingUp(Base):
    """The part that claims."""

    _waiting: dict[str, Prepared] | None = None

    def take_up(self, channel: str, most: int, lane: Lane | None = None) -> list[Ready]:
        """At most `most` deliveries of a lane (else of the first gateway's), rendered and committed as being sent, the
        most urgent first. Raises StoreAway.
        """
        lane = lane or Lane(next(iter(self._ways.senders)))
        now = self._clock()
        stamp = now.timestamp()
        if not self._waits(channel, stamp, lane):
            return []
        view = self._snapshot.read_if_changed(now)
        standing = self._standing = at(view.board, now, self._standing)
        found: list[Found] = []
        with self._db.write() as connection:
            if outbox.points_version(connection) != view.points_version:
                return []  # others had their turn first, and a point has changed: what we know is old
            self._store(connection, stamp)
            if self._is_held_back(connection, channel, stamp, lane):
                return []  # what is stored above is committed; it is stored again, to the same effect
            for broadcast in outbox.sending(connection, lane):
                items = outbox.queued(connection, broadcast.id, channel, stamp, most - len(found), lane)
                found += self._rendered(connection, items, broadcast, view, standing, lane.gateway, found)
                if len(found) >= most:
                    break
            taken = [one for one, _, _ in found]
            items = outbox.take(connection, taken, self._owner, stamp, stamp + self._limits.lease)
            self._charge(connection, taken, stamp)
        self._stored()
        self._ways.paces[lane.gateway, channel].spend(sum(max(1, one.segments) for one in taken))
        return [
            Ready(item, number, message, view.points_version)
            for item, (_, number, message) in zip(items, found, strict=True)
        ]

    def _waits(self, channel: str, stamp: float, lane: Lane) -> bool:
        known = self._waiting = self._waiting or {}
        shape = lane.takes + lane.suits
        if shape not in known:
            known[shape] = outbox.waiting(self._db.engine, lane)
        return bool(self._db.fetch(known[shape], {"channel": channel, "now": stamp, **lane.values}))

    def _is_held_back(self, connection: Connection, channel: str, stamp: float, lane: Lane) -> bool:
        """Whether the day's money is spent, or operators have taken the gateway away."""
        if not self._ways.takes(lane.gateway, channel, gateways.modes(connection)):
            return True
        spent = usage(connection, SPEND, int(stamp // DAY))[1] >= self._limits.spend_per_day
        if spent and not self._spent_out:
            log.error("SPEND_PER_DAY is spent: nothing more is sent today")
        self._spent_out = spent
        return spent

    def _rendered(
        self,
        connection: Connection,
        items: list[Item],
        broadcast: Row[Any],
        view: View,
        now: Now,
        gateway: str,
        before: list[Found],
    ) -> list[Found]:
        """What is to be sent of `items`. The rest ends, or waits: what could not be told apart at the provider from
        something that is being sent to the same number, or was taken up just `before`.
        """
        if not items:
            return []
        already = [one for one, _, _ in before]
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
        found: list[Found] = []
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
            if item.kind == "status" and item.subscription_id not in known:
                ends[State.SUPPRESSED].append(item)
                continue
            heard = spoken.get(item.id, set()) | named.get(item.subscription_id or 0, set())
            told = _known_before(item, known, heard)
            try:
                message = self._renderer.message(item, told, texts, broadcast.fallback, view, now)
            except Exception:  # one that cannot be told must not keep all others waiting
                log.exception("delivery %d cannot be put into words", item.id)
                ends[State.FAILED].append(item)
                continue
            if message is None:
                ends[State.SUPERSEDED].append(item)
                place = view.gazetteer.by_code.get(item.place)
                if place and item.kind in ("status", outbox.FOLLOW_UP):  # what opened again may still close after all
                    outbox.keep_watching(connection, item, now.key(place, item.service), told[1])
                continue
            if _looks(item, message.body) in alike:
                wait.append(item.id)
                continue
            alike.add(_looks(item, message.body))
            taken = Taken(item, gateway, message.body, message.segments, message.told, *told, message.said)
            if item.subscription_id and message.told:
                known[item.subscription_id] = (message.told, message.said)
                named.setdefault(item.subscription_id, set()).update(_names(taken))
            found.append((taken, numbers[item.id], message))
        outbox.postpone(connection, wait, now.at.timestamp() + ALIKE_WAIT)
        outbox.withdraw(connection, gone)
        for state, ended in ends.items():
            outbox.settle(connection, ended, state, now.at.timestamp(), CAPPED if state is State.FAILED else 0)
            for item in ended:
                metrics.delivery(item.channel, state)
        return found

    def _charge(self, connection: Connection, taken: list[Taken], stamp: float) -> None:
        if not taken:
            return
        day, limits = int(stamp // DAY), self._limits
        price = sum(t.segments * limits.price_segment if t.item.channel == "text" else limits.price_call for t in taken)
        used: dict[tuple[str, int], tuple[int, float]] = {}
        for one in taken:
            scope = (number_scope(one.item.number_hash), day)
            used[scope] = (used.get(scope, NOTHING)[0] + 1, 0.0)
        for name in (SPEND, gateways.scope(taken[0].gateway)):
            used[name, day] = (len(taken), price)
        add_usage(connection, used)


def _known_before(item: Item, known: dict[int, tuple[str, str]], heard: set[str]) -> tuple[str, str]:
    """(told, said) of whoever gets it, without the doors that they have `heard` of since it was queued."""
    told, said = known.get(item.subscription_id or 0, (item.told_before, ""))
    also = without(item.said_before, heard) if item.kind == "status" else item.said_before
    return told, merged(said, also)


def _names(one: Taken) -> set[str]:
    """The points that a message speaks of."""
    return outbox.points_in(one.told_before, one.said_before, one.said)


def _looks(item: Item, body: str) -> tuple[bytes, str, str]:
    """What the provider would list it as: two calls to a number look the same."""
    return item.number_hash, item.channel, body if item.channel == "text" else ""

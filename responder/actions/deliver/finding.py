"""Finding out what became of deliveries with an unclear end: from the gateway of the attempt, and from no other."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from time import monotonic

from responder import logs, metrics
from responder.actions.deliver.base import Base
from responder.core.delivery import LOOKS, State
from responder.ports import NotSent, Sent, Unclear
from responder.store import outbox
from responder.store.outbox import Item

log = logging.getLogger("responder.deliver")

SKEW = timedelta(hours=2)  # between the provider's clock and ours; what it has from before is known as another's
JUMP = 5.0  # seconds by which the wall clock departs from monotonic time when it is set
WITNESSES = 3
AROUND = 600.0  # seconds before an unclear request from which its witnesses may be
NEARER = timedelta(minutes=10)  # witnesses are not found first, where the clocks are too far apart for what is unclear


class FindingOut(Base):
    """The part that asks."""

    _ahead: float | None = None  # the clock, of monotonic time
    _steady_from = 0.0

    def _is_steady(self) -> bool:
        """Whether the clock has not been set for the time of a lease: else what still is under way looks as if it were
        long over.
        """
        since, self._ahead = self._ahead, self._clock().timestamp() - monotonic()
        if since is not None and abs(self._ahead - since) > JUMP:
            log.error("the clock was set by %.0f s", self._ahead - since)
            self._steady_from = monotonic() + self._limits.lease
        return monotonic() >= self._steady_from

    async def reconcile(self) -> int:
        """Find out what became of deliveries whose lease has run out; how many were looked at. Raises StoreAway."""
        now = self._clock()
        stamp, limits = now.timestamp(), self._limits
        self.flush()
        with self._db.write() as connection:
            items = outbox.expired(
                connection, self._owner, stamp, stamp + limits.lease, limits.concurrency, list(self._ways.senders),
                left=stamp - LOOKS * limits.lease,
            )  # fmt: skip
        if items:
            oldest: dict[tuple[str, str], float] = {}
            for item in items:
                lot = self._gateway_of(item), item.channel
                oldest[lot] = min(item.claimed_at, oldest.get(lot, item.claimed_at))
            lists = await asyncio.gather(*(self._list_is_complete(*lot, at, now) for lot, at in oldest.items()))
            complete = dict(zip(oldest, lists, strict=True))
            await asyncio.gather(
                *(self._look_up(item, complete[self._gateway_of(item), item.channel]) for item in items)
            )
        return len(items)

    def _gateway_of(self, item: Item) -> str:
        return item.gateway or next(iter(self._ways.senders))

    async def _look_up(self, item: Item, complete: bool | None) -> None:
        logs.push(delivery=item.id, broadcast=item.broadcast_id, owner=self._owner)  # for this task
        since = _back_from(item.claimed_at)
        number = self._number(item.number_sealed)
        wanted = number and complete is not False
        # without a witness a list is believed once it says the same a while later, where another could send it too
        sure = complete or item.missed > 0 or len(self._ways.senders) == 1
        found = await self._listed(self._gateway_of(item), number, item.channel, since) if wanted else None
        stamp = self._clock().timestamp()
        with self._db.write(alone=False) as connection:
            if found is not None:
                known = outbox.provider_ids(connection, self._vault.hashes(number))
                sid = next((s.id for s in found if s.id not in known and s.body in ("", item.body)), "")
                if sid:
                    outbox.accept(connection, [(item, sid)], stamp)
                    metrics.delivery(item.channel, "accepted")
                    log.info("delivery %d: the provider has it", item.id)
                elif not sure:
                    outbox.ask_later(connection, item, stamp + self._limits.reconcile, missed=True)
                else:
                    self._put_back(connection, item, stamp, tried=True)
                    metrics.delivery(item.channel, "again")
                    log.info("delivery %d: the provider does not have it, it is sent again", item.id)
            elif item.looked + 1 >= LOOKS or self._gateway_of(item) not in self._ways.senders:  # nobody can ask it
                outbox.unknown(connection, item)
                metrics.delivery(item.channel, State.UNKNOWN)
                log.error("delivery %d: unclear whether it was sent, an operator must decide", item.id)
            else:
                outbox.ask_later(connection, item, stamp + self._limits.reconcile * (item.looked + 1))

    async def _list_is_complete(self, gateway: str, channel: str, oldest: float, now: datetime) -> bool | None:
        """Whether a gateway's list shows the newest of what it took from about `oldest` until as long ago as we are
        willing to wait: a list that lags behind would make us send again what it has. None if there is no witness.
        """
        with self._db.read() as connection:
            rows = outbox.witnesses(
                connection, gateway, channel, oldest - AROUND, now.timestamp() - self._limits.reconcile, WITNESSES
            )
        readable = [(row, number) for row in rows if (number := self._number(row.number_sealed))]
        lists = await asyncio.gather(
            *(self._listed(gateway, number, channel, _back_from(row.claimed_at) + NEARER) for row, number in readable)
        )
        seen = [
            found is not None and any(sent.id == row.provider_id for sent in found)
            for (row, _), found in zip(readable, lists, strict=True)
        ]
        if not all(seen):
            log.warning("%s: its list of %ss lags behind or is away; nothing unclear is sent again", gateway, channel)
        return all(seen) if seen else None

    async def _listed(self, gateway: str, number: str, channel: str, since: datetime) -> list[Sent] | None:
        """What a gateway lists for a number; None if it does not answer, or is none that we can ask."""
        sender = self._ways.senders.get(gateway)
        if sender is None:
            return None
        try:
            return await asyncio.wait_for(sender.find(number, channel == "call", since), self._limits.api_timeout)
        except (NotSent, Unclear, TimeoutError) as error:
            log.warning("%s: its list is away: %s", gateway, str(error) or "timed out")
            return None


def _back_from(claimed_at: float) -> datetime:
    """The time of the provider's clock from which a request of ours may be listed."""
    return datetime.fromtimestamp(claimed_at, UTC) - SKEW

"""What all parts of sending share: who we are, what the provider took and is not stored yet, and putting back."""

import logging
from time import monotonic

from sqlalchemy.engine import Connection

from responder.actions.deliver.rendering import Renderer
from responder.actions.deliver.values import PUSH_AGAIN, Limits
from responder.actions.deliver.ways import Ways
from responder.core.segments import cost
from responder.core.told import Now
from responder.ports import Clock
from responder.store import gateways, outbox
from responder.store.engine import Database, StoreAway
from responder.store.meter import SPEND, number_scope
from responder.store.outbox import Item
from responder.store.people import People
from responder.store.schedule import DAY, PUSH, Usage, add_due, add_usage
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault

log = logging.getLogger("responder.deliver")


class Base:
    """For one process; `owner` names it. Not thread-safe: it lives in one event loop."""

    def __init__(
        self,
        database: Database,
        snapshot: Snapshot,
        renderer: Renderer,
        ways: Ways,
        vault: Vault,
        people: People,
        clock: Clock,
        limits: Limits,
        owner: str,
    ) -> None:
        self._db, self._snapshot, self._renderer, self._ways = database, snapshot, renderer, ways
        self._vault, self._people = vault, people
        self._clock, self._limits, self._owner = clock, limits, owner
        self._accepted: list[tuple[Item, str]] = []
        self._begun: set[int] = set()
        self._flushed = 0.0
        self._spent_out = False
        self._standing: Now | None = None

    def _number(self, sealed: bytes) -> str:
        """The number, or "" if it was deleted, or its key is gone."""
        try:
            return self._vault.open(sealed) if sealed else ""
        except ValueError as error:
            log.error("a number cannot be read: %s", error)
            return ""

    def _put_back(self, connection: Connection, item: Item, not_before: float, tried: bool = False) -> None:
        """Queue again what was not sent, which has not cost anything then."""
        if outbox.put_back(connection, [item], not_before, tried):
            if item.kind == "status":  # a push that runs just now takes them for told
                add_due(connection, PUSH, [(self._clock().timestamp() // PUSH_AGAIN + 1) * PUSH_AGAIN])
            day, price = int(item.claimed_at // DAY), self._price(item)
            scope = number_scope(self._vault.newest(self._number(item.number_sealed)))
            back: Usage = {(scope, day): (-1, 0.0), (SPEND, day): (-1, -price)}
            if item.gateway:
                back = {**back, (gateways.scope(item.gateway), day): (-1, -price)}
            add_usage(connection, back)

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

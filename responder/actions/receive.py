"""What comes back about a delivery: receipts, in any order and number, and the key that was pressed on a call."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from responder import logs, metrics
from responder.core.delivery import OPTED_OUT, RANK, State, after_receipt, is_alarm
from responder.core.message import Messages
from responder.ports import Gateway, Receipt
from responder.store import outbox
from responder.store.engine import Database, Passing
from responder.store.people import People
from responder.store.vault import Vault

log = logging.getLogger("responder.receive")

STOP_KEY, AGREE_KEY = "9", "1"
_ATTEMPTS = 5


class Receiver:
    """Takes in receipts and keys."""

    def __init__(
        self, database: Database, people: People, vault: Vault, messages: Messages, gateways: Mapping[str, Gateway]
    ) -> None:
        self._db, self._people, self._vault = database, people, vault
        self._messages, self._gateways = messages, gateways

    def receipt(self, delivery: int, receipt: Receipt, now: datetime) -> State | None:
        """Move a delivery on; its state then, or None if there is no such delivery. Raises StoreAway."""
        stamp = now.timestamp()
        with logs.bound(delivery=delivery):
            return self._receipt(delivery, receipt, stamp)

    def _receipt(self, delivery: int, receipt: Receipt, stamp: float) -> State | None:
        moved = False
        for _ in range(_ATTEMPTS):
            with self._db.read() as connection:
                item = outbox.delivery(connection, delivery)
            if item is None:
                log.warning("a receipt for the delivery %d, which is not known (any more)", delivery)
                return None
            was = State(item.state)
            if was is State.QUEUED and receipt.id == item.provider_id:
                return was  # of the attempt that is about to be repeated, out of order
            state, again = after_receipt(was, item.attempt, receipt.status, receipt.code, receipt.attempt, receipt.call)
            if (
                item.provider_id
                and receipt.id != item.provider_id
                and RANK.get(was, 0)
                and receipt.attempt == item.attempt
            ):
                log.error("delivery %d: two messages, %s and %s", delivery, item.provider_id, receipt.id)
            if state is was and not (item.provider_id == "" and receipt.attempt == item.attempt):
                return was
            with suppress(Passing), self._db.write(alone=False) as connection:  # the provider does not try again
                moved = outbox.set_state(connection, item, state, stamp, receipt.code, receipt.id, stamp + again)
                if moved and again:
                    outbox.untell(connection, item)
                    outbox.reopen(connection, item.broadcast_id)
                if moved and was is State.QUEUED:
                    outbox.retell(connection, item)  # it was taken for not sent
                if moved and RANK.get(state, 0):
                    outbox.begun(connection, [item.broadcast_id], stamp)
            if moved:
                metrics.delivery(item.channel, state, receipt.code)
                self._act_on(item, receipt.code, stamp)
                return state
        log.error("delivery %d: a receipt could not be stored", delivery)
        return None

    def _act_on(self, item: outbox.Item, code: int, stamp: float) -> None:
        if is_alarm(code):
            log.error("an operator must act: delivery %d failed with %d", item.id, code)
        if code == OPTED_OUT and item.number_sealed:
            hashes = self._vault.hashes(self._vault.open(item.number_sealed))
            self._people.do(self._people.stop(hashes, stamp, str(OPTED_OUT)))

    def key(self, gateway: str, delivery: int, digits: str, now: datetime) -> str:
        """The document that answers a key pressed on a call of ours: 9 ends everything, 1 agrees. Raises StoreAway."""
        with self._db.read() as connection:
            item = outbox.delivery(connection, delivery)
        said = "push.bye"
        if item and item.number_sealed and digits == STOP_KEY:
            hashes = self._vault.hashes(self._vault.open(item.number_sealed))
            self._people.do(self._people.stop(hashes, now.timestamp()))
            said = "push.stopped"
        elif item and item.number_sealed and digits == AGREE_KEY and item.kind == "agree":
            hashes = self._vault.hashes(self._vault.open(item.number_sealed))
            self._people.do([*self._people.lift(hashes), *self._people.agree(hashes)])
            said = "push.agreed"
        spoken = self._messages.sentence(said, item.language if item else "")
        return self._gateways[gateway].call_document(spoken, (), (), "")

"""Texts go out by the modem: one transaction in SMSD's database each.

That may be asked again as often as one likes: a delivery that stands there already is not put there twice, and after an
error nothing was. The daemon gets few at a time, so that a STOPP and newer news overtake what waits.
"""

import asyncio
import re
from datetime import UTC, datetime
from time import monotonic

from responder.gateways import smsd
from responder.gateways.smsd import Away, Smsd
from responder.ports import NotSent, Sent

MOST_WAITING = 3  # texts in the daemon's outbox; answers to residents (modem_box) may fill it further
TOO_MANY = 20429
LOOK_AGAIN = 15.0  # seconds
DELIVERY = 0  # priority
_RECEIPTS = re.compile(r"/(\d+)\?attempt=(\d+)$")


class ModemSender:
    """The modem of a daemon; `rate` in segments a second is what it can do; `timeout` in seconds is a request's."""

    calls = False

    def __init__(self, database: Smsd, rate: float, timeout: float) -> None:
        self._database, self.rate, self._timeout = database, rate, timeout

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender. Never Unclear; the time-out is none of the caller's: see `_put`."""
        return await asyncio.to_thread(self._put, number, body, receipts, valid, monotonic() + self._timeout / 2)

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender. Raises NotSent always."""
        raise NotSent("a modem makes no calls", 400)

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender. Raises NotSent where the daemon or its network is away."""
        return [] if call else await asyncio.to_thread(self._found, number, since)

    def waiting(self) -> int:
        """How many texts the daemon has yet to send. Raises NotSent."""
        try:
            with self._database.read() as connection:
                return smsd.waiting(connection, self._database.phone)
        except Away as error:
            raise NotSent(str(error)) from error

    async def close(self) -> None:
        """See ports.Sender: nothing is kept open."""

    def _put(self, number: str, body: str, receipts: str, valid: int, until: float) -> str:
        named = _RECEIPTS.search(receipts)
        if named is None:
            raise NotSent(f"no delivery in {receipts}", 400)
        delivery, attempt = int(named[1]), int(named[2])
        name, id = smsd.delivery_name(delivery, attempt), self._database.phone
        try:
            with self._database.write() as connection:
                if known := smsd.attempt_for(connection, number, delivery, attempt):
                    return known
                self._must_be_there(smsd.phone(connection, id))
                if smsd.waiting(connection, id) >= MOST_WAITING or smsd.left(connection, id, self.rate) <= 0:
                    raise NotSent("the modem has enough to do", 429, TOO_MANY, 1 / self.rate)
                smsd.put(connection, id, number, body, name, valid, DELIVERY)
                if monotonic() > until:  # who asked waits no more, and may ask for it to be sent again
                    raise NotSent("it took too long")
        except Away as error:
            raise NotSent(str(error)) from error
        return name

    def _must_be_there(self, phone: smsd.Phone | None) -> None:
        """Raises NotSent unless somebody sends what is put into the outbox."""
        if phone is None or not phone.alive:
            raise NotSent("gammu-smsd is not running", wait=LOOK_AGAIN)
        if not phone.connected:
            raise NotSent("the modem is in no network", wait=LOOK_AGAIN)
        if not phone.sends:
            raise NotSent("gammu-smsd is set not to send", wait=LOOK_AGAIN)

    def _found(self, number: str, since: datetime) -> list[Sent]:
        sql = (
            "SELECT CreatorID, InsertIntoDB, Text, 1 FROM outbox WHERE DestinationNumber = :number"
            " UNION ALL SELECT o.CreatorID, o.InsertIntoDB, m.Text, m.SequencePosition FROM outbox o"
            " JOIN outbox_multipart m ON m.ID = o.ID WHERE o.DestinationNumber = :number"
            " UNION ALL SELECT CreatorID, InsertIntoDB, Text, SequencePosition FROM sentitems"
            " WHERE DestinationNumber = :number ORDER BY 2, 1, 4"
        )
        try:
            with self._database.read() as connection:
                self._must_be_there(smsd.phone(connection, self._database.phone))
                rows = connection.execute(sql, {"number": number}).fetchall()
        except Away as error:
            raise NotSent(str(error)) from error
        parts: dict[tuple[str, str], list[str]] = {}
        for creator, at, text, _ in rows:
            if smsd.delivery_of(creator):
                parts.setdefault((creator, at), []).append(text or "")
        found = [Sent(name, smsd.words(texts), _utc(at)) for (name, at), texts in parts.items()]
        return [sent for sent in found if sent.created >= since]


def _utc(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)

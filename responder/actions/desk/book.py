"""The rows of turns at the desk: each reply is stored with what it tells of, and given again if it is asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from responder.core import numbers
from responder.core.memory import SAME_REPLIES, SAME_WITHIN
from responder.core.segments import cost
from responder.core.wording import Channel
from responder.core.words import clean
from responder.ports import DESK, Gateway, Inbound, Outbound
from responder.store import desk
from responder.store.meter import Cap, Meter
from responder.store.queries import Clash, Closing
from responder.store.vault import Vault

OUTCOME = "order"  # of a turn at the desk: no node of the residents' flow
SILENCED = "silenced"  # of one that was answered with nothing


@dataclass(frozen=True)
class Book:
    """Writes turns down."""

    vault: Vault
    gateways: Mapping[str, Gateway]
    meter: Meter
    price: float  # of a segment

    def keys(self, inbound: Inbound) -> Sequence[bytes]:
        """By these the turns of this phone, or of this call, at the desk are found, newest first."""
        return self.vault.hashes(f"{DESK}{inbound.call or inbound.sender}")

    def wishes(self, inbound: Inbound) -> Sequence[bytes]:
        """By these what is wished by this phone, or in this call, is found, newest first."""
        return self.vault.hashes(f"wish:{inbound.call or inbound.sender}")

    def again(self, connection: Connection, inbound: Inbound) -> str:
        """The document that answered this very text or turn before; "" if none did."""
        sealed = desk.reply_of(connection, inbound.id)
        return self.vault.open(sealed) if sealed else ""

    def render(self, inbound: Inbound, outbound: Outbound) -> str:
        """The document of the gateway it came by."""
        through = self.gateways[inbound.gateway]
        return through.text_reply(outbound) if inbound.channel is Channel.TEXT else through.voice_reply(outbound)

    def write(
        self, connection: Connection, inbound: Inbound, outbound: Outbound, now: datetime, body: str, state: str = ""
    ) -> str:
        """The document, saved with the turn. `body`: what may be kept of what came in. Raises Clash."""
        document, keys = self.render(inbound, outbound), self.keys(inbound)
        turn = Closing(
            id=inbound.id,
            channel=inbound.channel,
            key=keys[0],
            number=desk.last_turn(connection, keys)[0] + 1,
            state_sealed=self.vault.seal(state) if state else b"",
            reply_sealed=self.vault.seal(document),
            outcome=OUTCOME if outbound.text or outbound.spoken else SILENCED,
            at=now.timestamp(),
            gateway=inbound.gateway,
            sender_hash=self.vault.newest(inbound.sender),
            sender_sealed=self.vault.seal(inbound.sender),
            body_sealed=self.vault.seal(clean(body)),
        )
        if not desk.add_turn(connection, turn):
            raise Clash
        return document

    def unproved(self, connection: Connection, inbound: Inbound, text: str, now: datetime, capped: bool) -> Outbound:
        """The reply to what anybody may have sent in this number's name: nothing once it is capped, and the same words
        no oftener than a resident gets them.
        """
        stamp, outbound = now.timestamp(), Outbound(text=text)
        since = stamp - SAME_WITHIN
        lately = desk.replies_lately(connection, self.keys(inbound), OUTCOME, since, stamp)
        same = [one for one in lately if self._opened(one) == self.render(inbound, outbound)]
        return Outbound() if capped or len(same) >= SAME_REPLIES else outbound

    def _opened(self, sealed: bytes) -> str:
        try:
            return self.vault.open(sealed)
        except ValueError:  # its key is gone
            return ""

    def charge(self, inbound: Inbound, text: str, now: datetime) -> Cap | None:
        """Count what a reply costs; the cap that it passes. An order that was proved is answered all the same.

        Never within a transaction that writes: the counts are written by a connection of their own.
        """
        if not text or not inbound.sender.startswith("+"):
            return None
        price = self.price * cost(text).segments
        return self.meter.add(self.vault.newest(inbound.sender), numbers.prefix(inbound.sender), price, now)

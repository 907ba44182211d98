"""The rows of turns at the desk: each reply is stored with what it tells of, and given again if it is asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from responder.core import numbers
from responder.core.segments import cost
from responder.core.wording import Channel
from responder.core.words import clean
from responder.ports import DESK, Gateway, Inbound, Outbound
from responder.store import desk
from responder.store.meter import Cap, Meter
from responder.store.queries import Clash, Closing
from responder.store.vault import Vault

OUTCOME = "order"  # of a turn at the desk: no node of the residents' flow


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
            outcome=OUTCOME,
            at=now.timestamp(),
            gateway=inbound.gateway,
            sender_hash=self.vault.newest(inbound.sender),
            sender_sealed=self.vault.seal(inbound.sender),
            body_sealed=self.vault.seal(clean(body)),
        )
        if not desk.add_turn(connection, turn):
            raise Clash
        return document

    def charge(self, inbound: Inbound, text: str, now: datetime) -> Cap | None:
        """Count what a reply costs; the cap that it passes. An order that was proved is answered all the same."""
        if not text or not inbound.sender.startswith("+"):
            return None
        price = self.price * cost(text).segments
        return self.meter.add(self.vault.newest(inbound.sender), numbers.prefix(inbound.sender), price, now)

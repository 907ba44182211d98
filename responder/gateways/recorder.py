"""The same ports with nobody at the other end: requests are signed and read as Twilio's, and nothing leaves."""

import logging
import secrets
from datetime import datetime

from responder.gateways.twilio import TwilioGateway
from responder.ports import Sent
from responder.store.vault import masked

log = logging.getLogger("responder.recorder")


class RecorderGateway(TwilioGateway):
    """For the demo and the tests: it may tell demo points, and keeps no secret that matters."""

    real = False


class RecorderSender:
    """Logs what would be sent."""

    calls = True

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender."""
        log.info("text to %s, %d characters", masked(number), len(body))
        return f"RE{secrets.token_hex(16)}"

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender."""
        log.info("call to %s", masked(number))
        return f"RE{secrets.token_hex(16)}"

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender: nothing was ever sent."""
        return []

    async def close(self) -> None:
        """See ports.Sender."""

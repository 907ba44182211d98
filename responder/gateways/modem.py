"""A modem has no requests to prove or to read: its texts are read by the modem box. Its document is the bare text.

Nobody can call it, or be called by it: what would be said is not.
"""

from collections.abc import Mapping

from responder.core.telling import Spoken
from responder.ports import Inbound, Outbound, Receipt

_NO_REQUESTS = "a modem makes no requests"


class ModemGateway:
    """See ports.Gateway."""

    text_type = voice_type = "text/plain; charset=utf-8"
    speech = False

    def __init__(self, real: bool) -> None:
        self.real = real

    def genuine(self, target: str, form: Mapping[str, list[str]], proof: str | None) -> bool:
        """Never: whoever asks by the net is not the modem."""
        return False

    def read_text(self, form: Mapping[str, str]) -> Inbound:
        """See ports.Gateway. Raises ValueError always."""
        raise ValueError(_NO_REQUESTS)

    def read_call(self, form: Mapping[str, str], turn: int) -> Inbound:
        """See ports.Gateway. Raises ValueError always."""
        raise ValueError(_NO_REQUESTS)

    def read_receipt(self, form: Mapping[str, str], attempt: int) -> Receipt:
        """See ports.Gateway. Raises ValueError always."""
        raise ValueError(_NO_REQUESTS)

    def receipts(self, delivery: int, attempt: int) -> str:
        """The name that ModemSender gives the attempt."""
        return f"/modem/receipts/{delivery}?attempt={attempt}"

    def keys(self, delivery: int) -> str:
        """Nowhere: there are no calls."""
        return ""

    def text_reply(self, reply: Outbound) -> str:
        """The text itself, "" for none."""
        return reply.text

    def voice_reply(self, reply: Outbound) -> str:
        """Nothing."""
        return ""

    def hold(self, reply: Outbound, turn: int) -> str:
        """Nothing."""
        return ""

    def call_document(
        self, spoken: tuple[Spoken, ...], again: tuple[Spoken, ...], after: tuple[Spoken, ...], keys: str
    ) -> str:
        """Nothing."""
        return ""

"""What this service needs from outside: a clock, and a gateway to the telephone network."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from responder.core.telling import Spoken
from responder.core.wording import Channel

DESK = "desk:"  # before a number: the key of what it has said as an operator or a host
TWILIO, ELKS, MODEM = "twilio", "46elks", "modem"  # names of gateways
LOCAL = (MODEM,)  # those at one machine: only a process there can send by them

# Monotonic seconds until which the request of this task may be written. Whoever makes sure that it may be made says so
# before, so that a process that is frozen at any moment after that writes nothing when it goes on.
WRITE_BY: ContextVar[float] = ContextVar("write_by", default=float("inf"))


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Now, aware, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Inbound:
    """Something that came in. `id` is the same in every redelivery; `sender` is E.164, a short code, a name or ""."""

    id: str
    channel: Channel
    sender: str
    text: str = ""
    keyed: bool = False
    silent: bool = False  # the caller said and keyed nothing
    begins: bool = False  # a new call
    call: str = ""  # the provider's id of the call
    turn: int = 0  # how many turns of the call came before
    sure: float = 1.0  # 0 to 1, of speech
    gateway: str = TWILIO  # by whom it came in, and its answer goes back
    handled: str = ""  # "STOP", "START" or "HELP" where the provider has answered already (its own opt-out)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider reports: its `id` of a message or call, the `status`, an error `code` (0: none), and of which of
    our attempts it speaks.
    """

    id: str
    status: str
    code: int = 0
    attempt: int = 0
    call: bool = False


@dataclass(frozen=True, slots=True)
class Outbound:
    """What goes back: `text` for a text ("" for nothing), `spoken` for a call. `digits`: how many keys to wait for,
    `finish`: the key that ends them before.
    """

    text: str = ""
    spoken: tuple[Spoken, ...] = ()
    language: str = ""
    digits: int = 5
    ends: bool = False
    turn: int = 0  # number of the turn that the caller's next input begins
    finish: str = "*"


class NotSent(RuntimeError):
    """The provider surely did not take the message. `code`, `status`: its error code and HTTP status, 0 for none;
    `wait`: seconds for which it asks us to pause.
    """

    def __init__(self, reason: str, status: int = 0, code: int = 0, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.code, self.wait = status, code, wait


class Unclear(RuntimeError):
    """The provider may have taken the message, or not: it must be looked up before anything is sent again."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as the provider lists it. `body` is "" for a call."""

    id: str
    body: str
    created: datetime


class Sender(Protocol):
    """Sends one text or call at a time. `receipts`: the path and query that the provider reports to."""

    calls: bool  # whether it can call

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """Send a text that loses its meaning in `valid` seconds; the provider's id. Raises NotSent, Unclear."""
        ...

    async def call(self, number: str, document: str, receipts: str) -> str:
        """Call and play `document`; the provider's id. Raises NotSent, Unclear."""
        ...

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """What the provider lists as sent to `number` since then. Raises NotSent, Unclear."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Gateway(Protocol):
    """A provider: proves its requests, reads them, and is told what to answer."""

    real: bool  # whether real residents are at the other end: then no demo point may be told
    text_type: str  # the content type of its documents for a text ...
    voice_type: str  # ... and for a turn of a call
    speech: bool  # whether callers can answer by speaking; else by keys alone

    def genuine(self, target: str, form: Mapping[str, list[str]], proof: str | None) -> bool:
        """Whether the provider itself sent `form` to `target` (raw path and query). `proof`: its signature, or where
        it signs nothing the address that the request came from.
        """
        ...

    def read_text(self, form: Mapping[str, str]) -> Inbound:
        """A text that came in. Raises ValueError on a form without an id."""
        ...

    def read_call(self, form: Mapping[str, str], turn: int) -> Inbound:
        """One turn of a call. Raises ValueError on a form without an id."""
        ...

    def read_receipt(self, form: Mapping[str, str], attempt: int) -> Receipt:
        """What became of a message of ours. Raises ValueError on a form without an id or a status."""
        ...

    def receipts(self, delivery: int, attempt: int) -> str:
        """The path and query for the Sender to have reports of an attempt posted to; holds no secret."""
        ...

    def keys(self, delivery: int) -> str:
        """The path for `call_document` to have a key posted to; holds no secret."""
        ...

    def text_reply(self, reply: Outbound) -> str:
        """The provider's document for a text."""
        ...

    def voice_reply(self, reply: Outbound) -> str:
        """The provider's document for a turn of a call."""
        ...

    def hold(self, reply: Outbound, turn: int) -> str:
        """The document that says `reply` and a little later has the call post to its turn `turn` again."""
        ...

    def call_document(
        self, spoken: tuple[Spoken, ...], again: tuple[Spoken, ...], after: tuple[Spoken, ...], keys: str
    ) -> str:
        """The document of a call of ours: `spoken`, where there is `again` that and `spoken` once more, then `after`
        while one key is waited for and posted to `keys`; without `keys` it ends.
        """
        ...

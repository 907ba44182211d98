"""What this service needs from outside: a clock, and a gateway to the telephone network."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from responder.core.telling import Spoken
from responder.core.wording import Channel


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
    handled: bool = False  # the provider has answered already (its own opt-out)


@dataclass(frozen=True, slots=True)
class Outbound:
    """What goes back: `text` for a text ("" for nothing), `spoken` for a call. `digits`: how many keys to wait for."""

    text: str = ""
    spoken: tuple[Spoken, ...] = ()
    language: str = ""
    digits: int = 5
    ends: bool = False
    turn: int = 0  # number of the turn that the caller's next input begins


class Gateway(Protocol):
    """A provider: proves its requests, reads them, and is told what to answer."""

    real: bool  # whether real residents are at the other end: then no demo point may be told

    def genuine(self, target: str, form: Mapping[str, list[str]], signature: str | None) -> bool:
        """Whether the provider itself sent `form` to `target` (raw path and query)."""
        ...

    def read_text(self, form: Mapping[str, str]) -> Inbound:
        """A text that came in. Raises ValueError on a form without an id."""
        ...

    def read_call(self, form: Mapping[str, str], turn: int) -> Inbound:
        """One turn of a call. Raises ValueError on a form without an id."""
        ...

    def text_reply(self, reply: Outbound) -> str:
        """The provider's document for a text."""
        ...

    def voice_reply(self, reply: Outbound) -> str:
        """The provider's document for a turn of a call."""
        ...

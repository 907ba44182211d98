"""What a fake provider is told to do, and what it saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

Range = tuple[float, float]  # seconds, from and to

BEFORE = ("drop", "too_many", "error_before", "stall_before")  # nothing is accepted
AFTER = ("lose", "error_after", "stall_after")  # accepted, though the caller is not told


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how slow things are. One POST has at most one of `BEFORE` and `AFTER`."""

    latency: float = 0.0  # of every POST: half before it is accepted, half after
    lose: float = 0.0  # accepted, then the connection closes without an answer
    drop: float = 0.0  # the connection closes, nothing accepted
    too_many: float = 0.0  # 429 with Retry-After
    retry_after: float = 1.0
    error_before: float = 0.0  # 500, nothing accepted
    error_after: float = 0.0  # 500, accepted
    stall_before: float = 0.0  # 500 after `stall_seconds`, nothing accepted
    stall_after: float = 0.0  # accepted, 201 after `stall_seconds`
    stall_seconds: float = 30.0
    list_delay: float | Range = 0.0  # until a list shows what was accepted
    receipts: bool = True
    receipt_delay: Range = (0.0, 0.0)  # before every change of status
    receipt_double: float = 0.0
    receipt_shuffle: bool = False  # all receipts of a message at its end, in any order
    receipt_early: float = 0.0  # the first receipt is posted before the POST is answered
    receipt_lost: float = 0.0
    receipt_retries: tuple[float, ...] = (0.5, 2.0)  # pauses before trying a receipt again
    per_second: float = 0.0  # POSTs in any second before 429; 0 for no limit

    def __post_init__(self) -> None:
        if sum(getattr(self, name) for name in BEFORE + AFTER) > 1 + 1e-9:
            raise ValueError("the probabilities of what happens to a POST add up to more than 1")

    @cached_property
    def scale(self) -> tuple[tuple[str, float], ...]:
        """The faults of a POST that can happen, each with the number in 0-1 that it ends at."""
        ends, sofar = [], 0.0
        for name in BEFORE + AFTER:
            if chance := getattr(self, name):
                sofar += chance
                ends.append((name, sofar))
        return tuple(ends)

    def fault(self, number: float) -> str:
        """The fault that `number` (0-1) falls on, or ""."""
        return next((name for name, end in self.scale if number < end), "")


@dataclass(frozen=True)
class Accepted:
    """A message or call that the provider took on. `body`: the text; of a call its TwiML or the address of it."""

    sid: str
    to: str
    body: str
    created: datetime
    callback: str


@dataclass(frozen=True)
class Receipt:
    """A receipt that was posted. `answer`: the HTTP status of the last try, 0 when nobody answered."""

    sid: str
    status: str
    url: str
    answer: int
    tries: int


@dataclass(frozen=True)
class Received:
    """A text that reached a phone."""

    body: str
    at: datetime
    sid: str


@dataclass(frozen=True)
class Taken:
    """A call that a phone got: what was heard, the keys pressed at each question, and how it ended."""

    spoken: tuple[str, ...]
    pressed: tuple[str, ...]
    status: str


@dataclass(frozen=True)
class Answers:
    """Takes the call. `keys`: pressed at the first question, or a sequence for successive ones."""

    keys: str | Sequence[str] = ""

    @property
    def turns(self) -> tuple[str, ...]:
        """The keys for each question."""
        return tuple(filter(None, (self.keys,))) if isinstance(self.keys, str) else tuple(self.keys)


@dataclass(frozen=True)
class Busy:
    """Is talking to somebody else."""


@dataclass(frozen=True)
class NoAnswer:
    """Rings in vain."""


@dataclass(frozen=True)
class Fails:
    """Cannot be reached by a call at all."""


Behaviour = Answers | Busy | NoAnswer | Fails


@dataclass
class Phone:
    """Somebody's phone. `behaves`: at every call, or a sequence for successive calls, whose last one stays."""

    number: str
    behaves: Behaviour | Sequence[Behaviour] = Answers()
    texts: list[Received] = field(default_factory=list)
    calls: list[Taken] = field(default_factory=list)
    rung: int = 0

    def ring(self) -> Behaviour:
        """What the phone does at its next call."""
        self.rung += 1
        if isinstance(self.behaves, Sequence):
            return self.behaves[min(self.rung, len(self.behaves)) - 1]
        return self.behaves

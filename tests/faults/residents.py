"""Residents with their phones: they ask, follow, say STOPP and call, whatever happens, and note what they heard."""

import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from xml.etree.ElementTree import ParseError
from zoneinfo import ZoneInfo

from responder.web.handset import Handset, LineError, over_http
from responder.wiring import utc_now
from tests.conftest import TOKEN, ZONE

PATIENCE = 15.0  # seconds, as long as the provider waits
ASK_EVERY, JOIN_EVERY, STOP_EVERY, CALL_EVERY = 0.2, 1.4, 1.7, 2.3
AGAIN = 1.5  # seconds after which somebody for whom it was not done tries again; longer each time
SAME = 3  # identical replies that a number gets within ten minutes
_FOLLOWS, _STOPPED = "Klart. Du får sms", "Klart. Vi har raderat"
_MEMORY = re.compile(r"Uppgift(?:er från kl|erna är från klockan) (\d{1,2})\.(\d\d)")
_OPEN = re.compile(r"(?:ÖPPEN nu:\n|öppna trygghetspunkt är: )(Hallen \w+ \w)")
_NOT_NOW = ("Vi kan inte svara", "Många frågar just nu", "Många skriver just nu", "Många ringer just nu")


class Heard(StrEnum):
    """What kind of answer it was."""

    FULL = "full"
    MEMORY = "from memory"
    UNAVAILABLE = "unavailable"
    LATE = "late"
    ERROR = "errors"
    SILENCED = "silenced"  # the same reply again and again: the fourth within ten minutes is not sent


@dataclass(slots=True)
class Answer:
    """What somebody asked and heard; times in seconds since 1970, by the clock of this machine."""

    asked: str
    heard: Heard
    text: str
    sent: float
    came: float

    @property
    def open_point(self) -> str:
        """The name of the point that it says is open, or ""."""
        found = _OPEN.search(self.text)
        return found[1] if found else ""

    def as_of(self) -> float | None:
        """From when it says it is (seconds since 1970), or None if it is from now."""
        found = _MEMORY.search(self.text)
        if not found:
            return None
        zone = ZoneInfo(ZONE)
        then = datetime.fromtimestamp(self.came, zone).replace(hour=int(found[1]), minute=int(found[2]), second=0)
        return then.timestamp() - (86_400 if then.timestamp() > self.came + 60 else 0)


@dataclass
class Ledger:
    """What was promised to residents: who follows (number, since when), who said STOPP (number, since when)."""

    answers: list[Answer] = field(default_factory=list)
    follows: dict[str, tuple[str, float]] = field(default_factory=dict)  # number to place and time
    stopped: dict[str, float] = field(default_factory=dict)
    stop_tries: Counter[int] = field(default_factory=Counter)
    asked_to_follow: set[str] = field(default_factory=set)
    heard: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # number to its replies
    lock: threading.Lock = field(default_factory=threading.Lock)

    def kinds(self, since: float = 0.0, until: float = float("inf")) -> Counter[Heard]:
        """How many answers of which kind, to what was sent between two times."""
        return Counter(answer.heard for answer in list(self.answers) if since <= answer.sent <= until)


class Residents(threading.Thread):
    """Phones in a pool of threads, so that one that waits keeps no other from asking."""

    def __init__(self, port: int, codes: Sequence[str], stoppers: Sequence[str], seed: int) -> None:
        super().__init__(name="residents", daemon=True)
        self._base = f"http://127.0.0.1:{port}"
        self._codes, self._stoppers, self._dice = codes, list(stoppers), random.Random(seed)
        self._pool, self._over = ThreadPoolExecutor(128), threading.Event()
        self._serial = count(100_000)
        self.ledger = Ledger()

    def run(self) -> None:
        """Ask until the end."""
        works: list[tuple[float, Callable[[], None]]] = [
            (ASK_EVERY, self._ask), (JOIN_EVERY, self._join), (STOP_EVERY, self._stop), (CALL_EVERY, self._call),
        ]  # fmt: skip
        due = [time.monotonic() + every for every, _ in works]
        while not self._over.wait(0.02):
            for n, (every, work) in enumerate(works):
                if time.monotonic() >= due[n]:
                    due[n] += every
                    self._pool.submit(work)

    def end(self) -> None:
        """Nobody asks any more; whoever waits is waited for."""
        self._over.set()
        self.join()
        self._pool.shutdown(wait=True)

    def _phone(self, number: str = "") -> Handset:
        return Handset(over_http(self._base), self._base, TOKEN, number or f"+46730{next(self._serial):06d}")

    def _code(self) -> str:
        return self._dice.choice(self._codes)

    def _ask(self) -> None:
        code = self._code()
        self._text(self._phone(), code)

    def _join(self) -> None:
        """START and a postcode, or a question and JA; tries again if it was not done."""
        phone, code = self._phone(), self._code()
        with self.ledger.lock:
            self.ledger.asked_to_follow.add(phone.number)
        for tries in range(1, 60):
            if self._dice.random() < 0.3:
                self._text(phone, code)
                answer = self._text(phone, "JA")
            else:
                answer = self._text(phone, f"START {code}")
            if answer.text.startswith(_FOLLOWS):
                with self.ledger.lock:
                    self.ledger.follows[phone.number] = (code, answer.came)
                return
            if self._over.wait(AGAIN * tries):
                return

    def _stop(self) -> None:
        """STOPP until it is done."""
        with self.ledger.lock:
            if not self._stoppers:
                return
            number = self._stoppers.pop()
        for tries in range(1, 60):
            answer = self._text(self._phone(number), "STOPP")
            if answer.text.startswith(_STOPPED):
                with self.ledger.lock:
                    self.ledger.stopped[number] = answer.came
                    self.ledger.stop_tries[tries] += 1
                return
            if self._over.wait(AGAIN * tries):
                return

    def _call(self) -> None:
        """A call, and the keys of a postcode."""
        phone, code = self._phone(), self._code()
        self._noted("ring", lambda: " ".join(phone.call()))
        if phone.action:
            self._noted(f"ring {code}", lambda: " ".join(phone.keys(code)))

    def _text(self, phone: Handset, body: str) -> Answer:
        answer = self._noted(body, lambda: phone.text(body))
        with self.ledger.lock:
            said = self.ledger.heard[phone.number]
            said[answer.text] += 1
            if answer.heard is Heard.ERROR and max((n for text, n in said.items() if text), default=0) >= SAME:
                answer.heard = Heard.SILENCED
        return answer

    def _noted(self, asked: str, ask: Callable[[], str]) -> Answer:
        sent = utc_now().timestamp()
        try:
            text, error = ask(), ""
        except (LineError, ParseError, ValueError) as wrong:
            text, error = "", str(wrong)
        came = utc_now().timestamp()
        answer = Answer(asked, _kind(text, came - sent), text or error, sent, came)
        with self.ledger.lock:
            self.ledger.answers.append(answer)
        return answer


def _kind(text: str, took: float) -> Heard:
    if took > PATIENCE:
        return Heard.LATE
    if not text:
        return Heard.ERROR
    if any(words in text for words in _NOT_NOW):
        return Heard.UNAVAILABLE
    return Heard.MEMORY if _MEMORY.search(text) else Heard.FULL

"""What two providers were asked, moment by moment: who is used, since when, and for how long nobody was."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.twilio import FakeTwilio

SPAN, MOST = 3.0, 0.7  # a gateway is the one that is used when it gets this much of all POSTs of so many seconds
LEAST = 5  # POSTs in that span


@dataclass
class Transcript:
    """Lines with the seconds since the beginning, printed as they come."""

    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, text: str, at: float | None = None) -> None:
        """One line, of now or of a moment before."""
        self.lines.append(f"{(at or time.monotonic()) - self.began:7.1f} s  {text}")
        print(self.lines[-1], flush=True)


class Watch(threading.Thread):
    """Notes which of the providers gets nearly all of what is sent."""

    def __init__(self, providers: dict[str, FakeTwilio], transcript: Transcript) -> None:
        super().__init__(name="watch", daemon=True)
        self._providers, self._transcript = providers, transcript
        self._ending = threading.Event()
        self.used = ""
        self.switches: list[tuple[float, str]] = []

    def run(self) -> None:
        """Until it is told to end."""
        while not self._ending.wait(0.1):
            now = time.monotonic()
            used = self._used(now)
            if used and used != self.used:
                self.switches.append((now, used))
                if self.used:
                    self._transcript.say(f"{used} gets what is sent")
                self.used = used

    def _used(self, now: float) -> str:
        counts = {name: sum(at > now - SPAN for at, _ in one.posts[-200:]) for name, one in self._providers.items()}
        total = sum(counts.values())
        return next((name for name, n in counts.items() if total >= LEAST and n >= MOST * total), "")

    def end(self) -> None:
        """Watch no more."""
        self._ending.set()
        self.join()


def first_after(provider: FakeTwilio, moment: float) -> float | None:
    """When a provider had its first POST after a moment."""
    return next((at for at, _ in provider.posts if at >= moment), None)


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True

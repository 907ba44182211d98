"""How fast we may send: a token bucket that goes into debt, and slows down for everybody when the provider says so."""

from dataclasses import dataclass

SLOWEST = 0.05  # of the full rate
RECOVERY = 0.1  # of the full rate, gained back in a second
DEFAULT_PAUSE = 1.0  # seconds, where the provider asks us to slow down and does not say for how long


@dataclass
class Pace:
    """`rate` units a second; `now` is any steady clock in seconds."""

    rate: float
    tokens: float = 0.0
    share: float = 1.0  # of the rate, after the provider has asked us to slow down
    part: float = 1.0  # of the rate that is ours, where several send
    at: float = 0.0
    paused_until: float = 0.0

    def room(self, now: float) -> int:
        """How many units may start now. At most a second's worth is saved up."""
        passed = max(0.0, now - self.at) if self.at else 1.0
        self.at = now
        self.share = min(1.0, self.share + RECOVERY * passed)
        speed = self.rate * self.share * self.part
        self.tokens = min(max(1.0, speed), self.tokens + passed * speed)
        if now < self.paused_until:
            return 0
        return int(self.tokens) if self.tokens >= 1 else 0

    def spend(self, units: float) -> None:
        """`units` have been used; what was not there is waited for afterwards."""
        self.tokens -= units

    def slow_down(self, now: float, seconds: float = 0.0) -> None:
        """Pause for as long as the provider asks, then go on at half the speed."""
        self.paused_until = max(self.paused_until, now + (seconds or DEFAULT_PAUSE))
        self.share = max(SLOWEST, self.share / 2)

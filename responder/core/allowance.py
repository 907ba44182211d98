"""How much one number may ask for in a while, kept in memory: a flood from it must not cost a row each."""

import threading

REMEMBERED = 20_000  # numbers; about 3 MB


class Allowance:
    """`burst` at once, and one more every `every` seconds. Thread-safe.

    Kept for each number is only the second at which it will have its whole burst again, under a hash of the number:
    that needs no more memory for a long one, and is forgotten first for whoever was quiet for longest.
    """

    def __init__(self, burst: int, every: float) -> None:
        self._every, self._span = every, burst * every
        self._lock = threading.Lock()
        self._whole_at: dict[int, float] = {}

    def take(self, number: str, now: float) -> bool:
        """Whether `number` may have one more at `now` (seconds on a clock that only goes forward)."""
        key = hash(number)
        with self._lock:
            whole_at = max(self._whole_at.pop(key, now), now)
            granted = whole_at + self._every <= now + self._span + 1e-6
            self._whole_at[key] = whole_at + self._every if granted else whole_at
            if len(self._whole_at) > REMEMBERED:
                del self._whole_at[next(iter(self._whole_at))]
        return granted

    def give_back(self, number: str) -> None:
        """What `number` took last was of no use to it."""
        key = hash(number)
        with self._lock:
            if key in self._whole_at:
                self._whole_at[key] -= self._every

    def __len__(self) -> int:
        return len(self._whole_at)

"""Counts what replies cost a number, a range of numbers and the day, so that nobody can pump traffic through us.

Each process counts in memory and adds its counts to the common ones once a second, so a reply waits for no second
write. A cap may be passed by what came in within that second; a kill forgets a second. Caps are no promises.
"""

import logging
import threading
from datetime import datetime
from enum import StrEnum

from responder.store.engine import Database, StoreAway
from responder.store.schedule import DAY, HOUR, add_usage, usage

log = logging.getLogger("responder.meter")

EVERY = 1.0  # seconds between two visits to the common counts
SPEND = "spend"
_REMEMBERED = 50_000


class Cap(StrEnum):
    """A cap that is reached."""

    NUMBER = "number"  # just now: the one reply that says so may go
    NUMBER_BEFORE = "number_before"
    PREFIX = "prefix"
    SPEND = "spend"


def number_scope(number_hash: bytes) -> str:
    """The scope in which one number is counted, by the day."""
    return f"n:{number_hash.hex()}"


class Meter:
    """One process's view of the counts. Thread-safe."""

    def __init__(self, database: Database, per_number: int, per_prefix: int, spend: float) -> None:
        self._db = database
        self._per_number, self._per_prefix, self._spend = per_number, per_prefix, spend
        self._lock = threading.Lock()
        self._fresh: dict[tuple[str, int], tuple[int, float]] = {}
        self._known: dict[tuple[str, int], tuple[int, float]] = {}
        self._visited = 0.0

    def add(self, number_hash: bytes, prefix: str, cost: float, now: datetime) -> Cap | None:
        """Count a reply that costs `cost`; the cap that it passes, if any: then it must not go."""
        stamp = now.timestamp()
        day, hour = int(stamp // DAY), int(stamp // HOUR)
        number, range_, spend = (number_scope(number_hash), day), (f"p:{prefix}", hour), (SPEND, day)
        with self._lock:
            cap = None
            if self._total(spend)[1] + cost > self._spend:
                cap = Cap.SPEND
            elif self._total(range_)[0] >= self._per_prefix:
                cap = Cap.PREFIX
            elif self._total(number)[0] >= self._per_number:
                cap = Cap.NUMBER_BEFORE if self._total(number)[0] > self._per_number else Cap.NUMBER
            charged = cost if cap in (None, Cap.NUMBER) else 0.0
            for key, price in ((number, 0.0), (range_, 0.0), (spend, charged)):
                count, total = self._fresh.get(key, (0, 0.0))
                self._fresh[key] = (count + 1, total + price)
            if stamp - self._visited >= EVERY or stamp < self._visited:
                self._visited = stamp
                self._exchange()
        return cap

    def _total(self, key: tuple[str, int]) -> tuple[int, float]:
        known, fresh = self._known.get(key, (0, 0.0)), self._fresh.get(key, (0, 0.0))
        return known[0] + fresh[0], known[1] + fresh[1]

    def _exchange(self) -> None:
        try:
            with self._db.write() as connection:
                add_usage(connection, self._fresh)
                now = {key: usage(connection, *key) for key in self._fresh}
        except StoreAway as error:
            log.error("counts are kept in memory: %s", error)
            return
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        self._known.update(now)
        self._fresh.clear()

"""Counts what replies cost a number, a range of numbers and the day, so that nobody can pump traffic through us.

Each process counts in memory and adds its counts to the common ones once a second, so a reply waits for no second
write. A cap may be passed by what came in within that second; a kill forgets a second. Caps are no promises.
"""

import logging
import threading
from datetime import datetime
from enum import StrEnum

from responder.store.engine import Database, StoreAway
from responder.store.schedule import DAY, HOUR, add_usage, usages

log = logging.getLogger("responder.meter")

EVERY = 1.0  # seconds between two visits to the common counts
SPEND = "spend"
_REMEMBERED = 50_000


class Cap(StrEnum):
    """A cap that is reached."""

    NUMBER = "number"  # by this reply: it may go if it says so
    NUMBER_BEFORE = "number_before"
    PREFIX = "prefix"
    SPEND = "spend"


def number_scope(number_hash: bytes) -> str:
    """The scope in which one number is counted, by the day."""
    return f"n:{number_hash.hex()}"


Key = tuple[str, int]  # scope, span
Counts = dict[Key, tuple[int, float]]  # to count and cost


class Meter:
    """One process's view of the counts. Thread-safe; nobody waits for the database but the one who visits it."""

    def __init__(self, database: Database, per_number: int, per_prefix: int, spend: float) -> None:
        self._db = database
        self._per_number, self._per_prefix, self._spend = per_number, per_prefix, spend
        self._lock = threading.Lock()
        self._known: Counts = {}  # as the common counts were, and ...
        self._fresh: Counts = {}  # ... what came since, ...
        self._leaving: Counts = {}  # ... or is just being added
        self._visited = 0.0

    def add(self, number_hash: bytes | None, prefix: str, cost: float, now: datetime) -> Cap | None:
        """Count a reply that costs `cost`; the cap that it passes, if any: then it must not go.

        `number_hash` is None where many share a sender that is no number.
        """
        stamp = now.timestamp()
        day, hour = int(stamp // DAY), int(stamp // HOUR)
        with self._lock:
            cap = self._cap(number_hash, prefix, cost, day, hour)
            charged = cost if cap in (None, Cap.NUMBER) else 0.0
            used: Counts = {(f"p:{prefix}", hour): (1, 0.0), (SPEND, day): (1, charged)}
            if number_hash is not None:
                used[number_scope(number_hash), day] = (1, 0.0)
            _merge(self._fresh, used)
            visits = not self._leaving and (stamp - self._visited >= EVERY or stamp < self._visited)
            if visits:
                self._visited = stamp
                self._leaving, self._fresh = self._fresh, {}
        if visits:
            self._exchange()
        return cap

    def _cap(self, number_hash: bytes | None, prefix: str, cost: float, day: int, hour: int) -> Cap | None:
        if self._total((SPEND, day))[1] + cost > self._spend:
            return Cap.SPEND
        if self._total((f"p:{prefix}", hour))[0] >= self._per_prefix:
            return Cap.PREFIX
        count = self._total((number_scope(number_hash), day))[0] if number_hash is not None else 0
        if count >= self._per_number:
            return Cap.NUMBER if count == self._per_number else Cap.NUMBER_BEFORE
        return None

    def _total(self, key: Key) -> tuple[int, float]:
        parts = [counts.get(key, (0, 0.0)) for counts in (self._known, self._fresh, self._leaving)]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    def _exchange(self) -> None:
        """Add what is leaving to the common counts, and learn what those are."""
        now: Counts = {}
        try:
            with self._db.write() as connection:
                add_usage(connection, self._leaving)
                for span in {span for _, span in self._leaving}:
                    scopes = [scope for scope, own in self._leaving if own == span]
                    now |= {(scope, span): counts for scope, counts in usages(connection, scopes, span).items()}
        except StoreAway as error:
            log.error("counts are kept in memory: %s", error)
        with self._lock:
            if not now:
                _merge(self._fresh, self._leaving)
            if len(self._known) > _REMEMBERED:
                self._known = {key: counts for key, counts in self._known.items() if key[0] == SPEND}
            self._known |= now
            self._leaving = {}


def _merge(into: Counts, more: Counts) -> None:
    for key, (count, cost) in more.items():
        had = into.get(key, (0, 0.0))
        into[key] = (had[0] + count, had[1] + cost)

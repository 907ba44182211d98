"""Counts what replies cost a number, a range of numbers and the day, so that nobody can pump traffic through us.

Each process counts in memory and adds its counts to the common ones once a second, and a few dozen at a time, so that
hardly a reply waits for a second write and none for a long one. A cap may be passed by what came in within that second;
a kill forgets a second. Caps are no promises.
"""

import logging
import threading
from datetime import datetime
from enum import StrEnum

from responder.store.engine import Database, Prepared, StoreAway
from responder.store.schedule import ADD_USAGE, DAY, HOUR

log = logging.getLogger("responder.meter")

EVERY = 1.0  # seconds between two visits to the common counts, at most
SPEND = "spend"
_REMEMBERED = 50_000
_AT_ONCE = 64  # counts in a statement, and after so many there is a visit


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
        self._away = False  # so that not every reply waits for a database that is
        self._statements: dict[int, Prepared] = {}  # by how many counts they take

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
            due = stamp - self._visited >= EVERY or stamp < self._visited
            visits = not self._leaving and (due or (len(self._fresh) >= _AT_ONCE and not self._away))
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
        left = sorted(self._leaving.items())
        try:
            while left:
                now |= self._added(left[-_AT_ONCE:])
                del left[-_AT_ONCE:]
        except StoreAway as error:
            log.error("counts are kept in memory: %s", error)
        with self._lock:
            self._away = bool(left)
            _merge(self._fresh, dict(left))
            if len(self._known) > _REMEMBERED:
                self._known = {key: counts for key, counts in self._known.items() if key[0] == SPEND}
            self._known |= now
            self._leaving = {}

    def _added(self, rows: list[tuple[Key, tuple[int, float]]]) -> Counts:
        """What the common counts are once `rows` are added: one statement that promises nothing to a power cut."""
        statement = self._statements.get(len(rows))
        if statement is None:
            many = ", ".join(f"(:scope{n}, :span{n}, :count{n}, :cost{n})" for n in range(len(rows)))
            statement = self._statements[len(rows)] = Prepared(self._db.engine, _ADD.format(rows=many))
        values: dict[str, object] = {}
        for n, ((scope, span), (count, cost)) in enumerate(rows):
            values |= {f"scope{n}": scope, f"span{n}": span, f"count{n}": count, f"cost{n}": cost}
        found = self._db.fetch(statement, values)
        return {(scope, span): (int(count), float(cost)) for scope, span, count, cost in found}


_ADD = f"{ADD_USAGE} RETURNING scope, span, count, cost"


def _merge(into: Counts, more: Counts) -> None:
    for key, (count, cost) in more.items():
        had = into.get(key, (0, 0.0))
        into[key] = (had[0] + count, had[1] + cost)

"""A door with a few seats behind it and a line before it: who may wait, how long, and who goes first."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: `rank` (lower goes first), how many may wait before it no longer joins the line (`room`), and
    how long it waits (`patience`, seconds).
    """

    name: str
    rank: int
    room: int
    patience: float


class _Ticket:
    """A place in the line. `turn` is released when it is let in."""

    __slots__ = ("admitted", "turn")

    def __init__(self) -> None:
        self.admitted = False
        self.turn = threading.Lock()
        self.turn.acquire()


class Line:
    """Lets `seats` requests work at a time; the next is whoever came first of the lowest rank. `kept` seats more are
    for rank 0 alone, which takes those first, so that neither waits for the other while all is slow. Thread-safe.
    """

    def __init__(self, seats: int, kept: int = 0) -> None:
        self._lock = threading.Lock()
        self._seats, self._all = seats, seats + kept
        self._first = self._others = 0  # at work: of rank 0, and of any other
        self._waiting: dict[int, deque[_Ticket]] = {}

    @property
    def at_work(self) -> int:
        """How many have a seat."""
        return self._first + self._others

    @property
    def waiting(self) -> int:
        """How many stand in the line."""
        return sum(map(len, self._waiting.copy().values()))

    def enter(self, kind: Kind) -> bool:
        """Whether there is a seat for it, at once or within its patience. Whoever was let in must `leave`."""
        with self._lock:
            if self._sit(kind.rank):
                return True
            if sum(map(len, self._waiting.values())) >= kind.room:
                return False
            ticket = _Ticket()
            self._waiting.setdefault(kind.rank, deque()).append(ticket)
        ticket.turn.acquire(timeout=kind.patience)
        with self._lock:
            if not ticket.admitted:
                self._waiting[kind.rank].remove(ticket)
            return ticket.admitted

    def leave(self, kind: Kind) -> None:
        """Hand the seat of one of this kind to the next in the line."""
        with self._lock:
            if kind.rank:
                self._others -= 1
            else:
                self._first -= 1
            for rank in sorted(self._waiting):
                if self._waiting[rank] and self._sit(rank):
                    ticket = self._waiting[rank].popleft()
                    ticket.admitted = True
                    ticket.turn.release()
                    return

    def _sit(self, rank: int) -> bool:
        """Take a seat, if there is one for that rank."""
        if self.at_work >= self._all or (rank and self._others >= self._seats):
            return False
        if rank:
            self._others += 1
        else:
            self._first += 1
        return True


class Arrivals:
    """Lets few threads at a time deal with what has just come in: `urgent` and `others` of them, so that neither waits
    behind the other. Thread-safe; a thread that has not arrived here may say that it is `through` all the same.
    """

    def __init__(self, urgent: int, others: int) -> None:
        self._lines = {True: Line(urgent), False: Line(others)}
        self._mine = threading.local()

    @contextmanager
    def arriving(self, urgent: bool) -> Iterator[None]:
        """While a thread deals with a request, or until it says that it is `through`."""
        line = self._lines[urgent]
        self._mine.line = line if line.enter(_ANYBODY) else None
        try:
            yield
        finally:
            self.through()

    def through(self) -> None:
        """From here on this thread waits in another line, or has a seat: the next may arrive."""
        line: Line | None = getattr(self._mine, "line", None)
        if line is not None:
            self._mine.line = None
            line.leave(_ANYBODY)


_ANYBODY = Kind("arrival", rank=0, room=100_000, patience=30)  # as many as there are threads; none waits for so long
ARRIVALS = Arrivals(urgent=2, others=4)

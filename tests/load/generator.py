"""Requests by the clock: each is sent when it is due, whether those before it have been answered or not.

One thread, one epoll, whole requests made ahead. A request that finds no connection free waits for one where `patient`,
and is else turned away as a proxy with a limit does; both are told apart from the generator's own lateness.
"""

import errno
import multiprocessing
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

GIVE_UP = 15.0  # seconds that the provider waits for an answer


@dataclass(frozen=True, slots=True)
class Shot:
    """A whole HTTP request that is due `at` seconds after the start."""

    at: float
    request: bytes
    id: str = ""
    kind: str = "text"
    number: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of a shot. `status`: of HTTP, 0 for no answer, -1 if no connection was free. Seconds from the start."""

    sent: float = 0.0
    done: float = 0.0
    status: int = 0
    document: str = ""


@dataclass(slots=True)
class _Line:
    """A connection, and what is under way on it."""

    socket: socket.socket
    shot: int = -1
    waits_to_send: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    used: int = 0


def fire(port: int, shots: Sequence[Shot], start: float, connections: int, patient: bool) -> list[Outcome]:
    """What became of each of `shots`, in order of `at`; `start`: on the monotonic clock."""
    return _Generator(port, shots, start, connections, patient).run()


class _Generator:
    def __init__(self, port: int, shots: Sequence[Shot], start: float, connections: int, patient: bool) -> None:
        self._port, self._shots, self._start = port, shots, start
        self._most, self._patient = connections, patient
        self._poll = select.epoll()
        self._lines: dict[int, _Line] = {}
        self._idle: list[_Line] = []
        self._busy: dict[int, _Line] = {}  # by shot, in the order sent
        self._outcomes = [Outcome() for _ in shots]
        self._same: dict[bytes, str] = {}

    def run(self) -> list[Outcome]:
        """Fire everything."""
        waiting: deque[int] = deque()
        following, count = 0, len(self._shots)
        while following < count or waiting or self._busy:
            now = time.monotonic() - self._start
            while following < count and self._shots[following].at <= now:
                waiting.append(following)
                following += 1
            while waiting and (self._idle or len(self._lines) < self._most):
                self._send(waiting.popleft())
            if not self._patient:
                for shot in waiting:
                    self._outcomes[shot].status = -1
                waiting.clear()
            self._expire(now)
            pause = self._shots[following].at - now if following < count else 0.05
            for fd, happened in self._poll.poll(max(0.0, min(pause, 0.05))):
                line = self._lines.get(fd)
                if line is None:
                    continue
                if happened & select.EPOLLOUT and line.waits_to_send:
                    self._write(line)
                elif happened & ~select.EPOLLOUT:
                    self._read(line)
        for line in list(self._lines.values()):
            self._close(line)
        return self._outcomes

    def _send(self, shot: int) -> None:
        if self._idle:
            line = self._idle.pop()
        else:
            made = socket.socket()
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect_ex(("127.0.0.1", self._port))
            line = self._lines[made.fileno()] = _Line(made)
            self._poll.register(made.fileno(), select.EPOLLIN)
        line.shot = shot
        line.used += 1
        self._busy[shot] = line
        self._outcomes[shot].sent = time.monotonic() - self._start
        self._write(line)

    def _write(self, line: _Line) -> None:
        try:
            line.socket.send(self._shots[line.shot].request)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS):
                if not line.waits_to_send:
                    line.waits_to_send = True
                    self._poll.modify(line.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            self._lost(line)
            return
        if line.waits_to_send:
            line.waits_to_send = False
            self._poll.modify(line.socket.fileno(), select.EPOLLIN)

    def _read(self, line: _Line) -> None:
        try:
            data = line.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(line)
            return
        line.buffer += data
        end = line.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(line.buffer[:end]).lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 : (head.find(b"\r", place) + 1 or len(head) + 1) - 1]) if place >= 0 else 0
        if len(line.buffer) < end + 4 + length:
            return
        document = bytes(line.buffer[end + 4 : end + 4 + length])
        outcome = self._outcomes[line.shot]
        outcome.done, outcome.status = time.monotonic() - self._start, int(head[9:12])
        outcome.document = self._same.setdefault(document, document.decode("utf-8", "replace"))
        del self._busy[line.shot]
        line.shot, line.buffer = -1, bytearray()
        if b"connection: close" in head:
            self._close(line)
        else:
            self._idle.append(line)

    def _lost(self, line: _Line) -> None:
        """The server closed it: where it was an open connection that it no longer wanted, another is tried."""
        shot, again = line.shot, line.used > 1 and not line.buffer
        self._close(line)
        if shot < 0:
            return
        del self._busy[shot]
        if again:
            self._send(shot)
        else:
            self._outcomes[shot].done = time.monotonic() - self._start

    def _expire(self, now: float) -> None:
        while self._busy:
            shot, line = next(iter(self._busy.items()))
            if now - self._outcomes[shot].sent < GIVE_UP:
                return
            self._outcomes[shot].done = now
            del self._busy[shot]
            self._close(line)

    def _close(self, line: _Line) -> None:
        if line in self._idle:
            self._idle.remove(line)
        del self._lines[line.socket.fileno()]
        line.socket.close()


class Firing:
    """`fire` in a process of its own."""

    def __init__(self, port: int, shots: Sequence[Shot], start: float, connections: int, patient: bool) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe(duplex=False)
        self.shots = shots
        arguments = (theirs, port, shots, start, connections, patient)
        self._process = context.Process(target=_fire_into, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def outcomes(self) -> list[Outcome]:
        """What became of them, once all are done."""
        rows = self._ours.recv()
        self._process.join()
        return [Outcome(*row) for row in rows]


def _fire_into(
    pipe: "Connection", port: int, shots: Sequence[Shot], start: float, connections: int, patient: bool
) -> None:
    outcomes = fire(port, shots, start, connections, patient)
    pipe.send([(o.sent, o.done, o.status, o.document) for o in outcomes])
    pipe.close()

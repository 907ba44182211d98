"""gunicorn's threaded worker, with limits that it lacks.

It starts a thread for each request that comes in, and all that can run share one interpreter: with hundreds of them,
whoever is at work waits for hundreds of others at each of its own steps, STOPP too. So few deal with what has just come
in at a time (`ARRIVALS`), until the gate lets it in, has it wait, or answers it; what looks urgent does not wait there
behind what does not.

And it reads a request for as long as a client takes to send it, at whatever seat it has by then. Here a thread first
takes in the whole request, within `ARRIVES_WITHIN`, and only then does it arrive; else the connection is closed. How
long a request is must stand in its head. A client that takes no answer is let go after `TAKES_WITHIN`.
"""

import re
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.util import close_graceful  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    _DEFER,
    DEFAULT_WORKER_DATA_TIMEOUT,
    ThreadWorker,
)

from responder.web.line import ARRIVALS

AT_A_TIME = 16  # connections
LINGER = 0.5  # seconds for which a client may still take what was sent
ARRIVES_WITHIN = TAKES_WITHIN = 10.0  # seconds
LONGEST_HEAD = 64 * 1024  # bytes; gunicorn takes no more
LONGEST_BODY = 256 * 1024  # bytes, of an operator's form
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")


class Refused(Exception):
    """A request that nobody of ours sends."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class Worker(ThreadWorker):  # type: ignore[misc]
    """The class that gunicorn.conf.py names."""

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """See ThreadWorker. All threads are there before the flood: in it, each new one would keep the loop waiting.
        Raises RuntimeError where the system allows fewer.
        """
        pool = ThreadPoolExecutor(self.cfg.threads)
        together = threading.Barrier(self.cfg.threads)
        try:
            for _ in range(self.cfg.threads):
                pool.submit(together.wait)
        except RuntimeError:
            together.abort()  # else those that are there would keep the process from ending
            raise
        return pool

    def accept(self, listener: Any) -> None:
        """See ThreadWorker, which takes one connection in each round of its loop, however long that is."""
        for _ in range(AT_A_TIME):
            before = self.nr_conns
            super().accept(listener)
            if self.nr_conns == before or self.nr_conns >= self.worker_connections:
                return

    def handle(self, conn: Any) -> Any:
        """See ThreadWorker: one request of a connection, in a thread; whether the connection is kept."""
        if not conn.initialized and not conn.wait_for_data(DEFAULT_WORKER_DATA_TIMEOUT):
            return _DEFER
        result: Any = False
        if self.cfg.is_ssl:
            result = super().handle(conn)
        elif seen := _taken_in(conn):
            gate = getattr(self.wsgi, "extensions", {}).get("gate")  # another application has none
            with ARRIVALS.arriving(gate is not None and gate.urgent(seen)):
                result = super().handle(conn)
        if result is False:
            close(conn)
        return result


def close(conn: Any) -> None:
    """Close a connection from its thread. The loop would wait here for the client, 2 s for each that leaves it open,
    and meanwhile do nothing for all others; it finds nothing left to do.
    """
    with suppress(OSError):
        conn.sock.setblocking(True)
        close_graceful(conn.sock, timeout=LINGER)
    conn.close = lambda graceful=False: None


def _taken_in(conn: Any) -> bytes:
    """The next request of a connection, which gunicorn's parser then finds read ahead; empty if none comes."""
    conn.init()
    try:
        seen = arrived(conn.sock, conn.parser.unreader.take_buffered())
    except Refused as refused:
        line = f"HTTP/1.1 {refused.status.value} {refused.status.phrase}"
        with suppress(OSError):
            conn.sock.send(f"{line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        return b""
    conn.parser.unreader.unread(seen)
    with suppress(OSError):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(TAKES_WITHIN), 0))
    return seen


def arrived(connection: socket.socket, seen: bytes = b"", within: float = ARRIVES_WITHIN) -> bytes:
    """A whole request and what was sent right behind it, of which `seen` has come before; empty if they hung up, or it
    takes longer than `within` seconds. Raises Refused.
    """
    taken, deadline, readable = bytearray(seen), time.monotonic() + within, select.poll()
    connection.setblocking(False)
    readable.register(connection, select.POLLIN)
    while not is_whole(taken):
        left = deadline - time.monotonic()
        if left <= 0 or not readable.poll(left * 1000):
            return b""
        try:
            more = connection.recv(LONGEST_HEAD)
        except BlockingIOError:
            continue
        except ConnectionError:
            more = b""
        if not more:
            return b""
        taken += more
    return bytes(taken)


def is_whole(seen: bytes | bytearray) -> bool:
    """Whether `seen` holds a request. Raises Refused for one that is too long, or does not say how long it is."""
    if seen.startswith(b"\r"):  # an empty line, behind which gunicorn would wait for the request
        raise Refused(HTTPStatus.BAD_REQUEST)
    end = seen.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if end < 0:
        if len(seen) >= LONGEST_HEAD:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return False
    head = bytes(seen[: end + 2]).lower()
    if b"\r\ntransfer-encoding:" in head:
        raise Refused(HTTPStatus.LENGTH_REQUIRED)
    if b"\r\ncontent-length:" not in head:
        return True
    length = _LENGTH.search(head)
    if length is None:
        raise Refused(HTTPStatus.BAD_REQUEST)
    if int(length[1]) > LONGEST_BODY:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return len(seen) >= end + 4 + int(length[1])

"""gunicorn's threaded worker, with limits that it lacks.

It starts a thread for each request that comes in, and all that can run share one interpreter: with hundreds of them,
whoever is at work waits for hundreds of others at each of its own steps, STOPP too. So few deal with what has just come
in at a time (`ARRIVALS`), until the gate lets it in, has it wait, or answers it; what looks urgent does not wait there
behind what does not.

And it reads a request for as long as a client takes to send it. Here a request has to lie in the socket, whole or its
first 16 kB, before a thread reads it, and does so within `ARRIVES_WITHIN`; else the connection is closed. A proxy that
holds requests back until they are whole makes this cheap, and should stand in front.
"""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
ARRIVES_WITHIN = 10.0  # seconds
_LOOK = 16 * 1024  # bytes
_LOOK_AGAIN = 0.02  # seconds
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


class Worker(ThreadWorker):  # type: ignore[misc]
    """The class that gunicorn.conf.py names."""

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """See ThreadWorker. All threads are there before the flood: in it, each new one would keep the loop waiting."""
        pool = ThreadPoolExecutor(self.cfg.threads)
        together = threading.Barrier(self.cfg.threads)
        for _ in range(self.cfg.threads):
            pool.submit(together.wait)
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
        seen: bytes | None = b""
        if not self.cfg.is_ssl and not has_read_ahead(conn):
            seen = arrived(conn.sock)
        result: Any = False
        if seen is not None:
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


def has_read_ahead(conn: Any) -> bool:
    """Whether gunicorn has read more than the last request, so that the next need not lie in the socket."""
    return conn.parser is not None and bool(conn.parser.unreader.buf.getvalue())


def arrived(connection: socket.socket, within: float = ARRIVES_WITHIN) -> bytes | None:
    """What a client sent, once it lies there as a whole (see `whole`) or they hung up; None if that takes longer."""
    connection.setblocking(False)
    deadline = time.monotonic() + within
    while True:
        seen = b"\r\n"
        with suppress(BlockingIOError):  # nothing yet
            try:
                seen = connection.recv(_LOOK, socket.MSG_PEEK)
            except ConnectionError:
                seen = b""
        if not seen or whole(seen):
            return seen
        if time.monotonic() > deadline:
            return None
        time.sleep(_LOOK_AGAIN)


def whole(seen: bytes) -> bool:
    """Whether `seen` holds a request, or as much of one as is looked for."""
    end = seen.find(b"\r\n\r\n")
    if len(seen) >= _LOOK or end < 0:
        return len(seen) >= _LOOK
    length = _LENGTH.search(seen, 0, end + 2)
    return length is None or b"100-continue" in seen[:end].lower() or len(seen) >= min(end + 4 + int(length[1]), _LOOK)

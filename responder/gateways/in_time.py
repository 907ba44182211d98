"""A client for a provider's API that writes no request after its time is over."""

from contextvars import ContextVar
from time import monotonic
from typing import Any

from aiohttp import ClientRequest, ClientSession, ClientTimeout, TCPConnector

from responder.ports import WRITE_BY

_write_by: ContextVar[float] = ContextVar("write_by", default=float("inf"))  # monotonic seconds, of this request
_LONGEST_WAIT = 3600.0  # seconds


def session(pool: int, timeout: float) -> ClientSession:
    """Connections to one provider: at most `pool`, and `timeout` seconds for a request, all of it."""
    return ClientSession(
        connector=TCPConnector(limit=pool), timeout=ClientTimeout(total=timeout), request_class=_Request
    )


def begin(timeout: float) -> None:
    """From here on a request of this task must be written within `timeout` seconds, and before ports.WRITE_BY."""
    _write_by.set(min(monotonic() + timeout, WRITE_BY.get()))


def seconds(header: str) -> float:
    """What a Retry-After asks for, at most an hour; 0 where it cannot be read."""
    try:
        return max(0.0, min(float(header), _LONGEST_WAIT))
    except ValueError:
        return 0.0


class _Request(ClientRequest):
    """One that is not written when its time is over. The library writes the body (and with it the head) in a step of
    its own: a process that was frozen before that step would take it when it goes on, before any time-out is looked at,
    and others have sent the message again by then.
    """

    async def write_bytes(self, writer: Any, conn: Any, content_length: int | None = None) -> None:
        """As the library's; or closes the connection, so that the request ends as unclear and is looked up."""
        if monotonic() > _write_by.get():
            conn.close()
            return
        await super().write_bytes(writer, conn, content_length)

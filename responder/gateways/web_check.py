"""Asking over the network and saying plainly what came of it: what `responder doctor` looks through."""

import ssl
import time
from dataclasses import dataclass
from types import TracebackType

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    StreamReader,
)
from yarl import URL

from responder.core.finding import plain

TIMEOUT = 5.0  # seconds for one answer, all of it
_MOST = 256 * 1024  # bytes of an answer that are read


class NoAnswer(RuntimeError):
    """Nothing was answered: the message says why, as the end of a sentence that begins with the address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `took` is in seconds."""

    status: int
    body: str
    location: str
    date: str
    took: float


class Line:
    """Asks one thing after another, follows no redirect, and waits `timeout` seconds at most for each."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout

    async def __aenter__(self) -> "Line":
        self._session = ClientSession(timeout=ClientTimeout(total=self._timeout))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, method: str, address: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The answer, whatever its status. Raises NoAnswer."""
        started = time.monotonic()
        try:
            target = URL(address, encoded=True)  # it is sent as it is written: a signature is of that
            async with self._session.request(
                method, target, data=body, headers=headers, allow_redirects=False
            ) as response:
                took = time.monotonic() - started
                text = (await _read(response.content)).decode("utf-8", "replace")
                known = response.headers
                return Answer(response.status, text, known.get("Location", ""), known.get("Date", ""), took)
        except (ClientError, OSError, ValueError) as error:
            raise NoAnswer(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"does not answer within {self._timeout:g} s"
        if isinstance(error, ClientConnectorCertificateError):
            return f"has a certificate that is not trusted: {plain(_certificate(error.certificate_error))}"
        if isinstance(error, ClientConnectorDNSError):
            return "has a name that is not found (DNS)"
        if isinstance(error, ClientConnectorError):
            if isinstance(error.os_error, ssl.SSLError):
                return f"does not speak TLS as it should: {plain(str(error.os_error))}"
            return f"cannot be connected to: {plain(str(error.os_error.strerror or error.os_error))}"
        return f"breaks off without an answer ({type(error).__name__})"


async def _read(content: StreamReader) -> bytes:
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) > _MOST:
            break
    return bytes(read)


def _certificate(error: Exception) -> str:
    return str(getattr(error, "verify_message", "") or error)

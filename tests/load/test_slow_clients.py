"""Clients that send slowly, or never all of what they announce, on the server as it runs in production: they need no
signature for it, and must keep nobody waiting."""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from responder.web.worker import ARRIVES_WITHIN, is_whole
from tests import engines
from tests.load.bed import Bed, running

_ids = itertools.count(1)
EACH = 24  # connections; more than there are seats, or threads that deal with what arrives, in both workers
SOON = ARRIVES_WITHIN * 0.4  # seconds; who waits behind such a request would wait for all of it
CALL = b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\n"
TRICKS = {
    "says in no way how long it is": CALL + b"Transfer-Encoding: chunked\r\n\r\n",
    "ends before its first part": CALL + b"Transfer-Encoding: chunked\r\n\r\nff\r\n0\r\n\r\n",
    "holds most of it back": CALL + b"Content-Length: 30000\r\n\r\n" + b"x" * 17_000,
    "is never so long": CALL + b"Content-Length: 9999999999\r\n\r\n",
    "waits to be asked": CALL + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    "begins behind another": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /twilio/sms HTTP/1.1\r\nHost: x",
    "begins by an empty line": b"\r\n\r\n",
    "is a form of a page": b"POST /console/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nname=",
    "is a page's, of no length": b"POST /console/sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "takes no answer": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 4000,
}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """gunicorn with its two workers."""
    engine = "postgresql" if engines.POSTGRESQL else "sqlite"
    with running(tmp_path_factory.mktemp("slow"), engine) as bed:
        yield bed


@contextmanager
def held(bed: Bed, sent: bytes) -> Iterator[None]:
    """While many clients have sent this much and no more."""
    with ExitStack() as stack:
        for _ in range(EACH):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", bed.port), 5))
            client.setblocking(False)
            client.send(sent)
        time.sleep(0.3)
        yield


def asked(bed: Bed, request: bytes) -> tuple[bytes, float]:
    """The answer, and the seconds until it came."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", bed.port), 5) as client:
        client.settimeout(30)
        client.sendall(request)
        answer = b""
        while not is_whole(answer) and (more := client.recv(65536)):
            answer += more
    return answer, time.monotonic() - begun


@pytest.mark.parametrize("sent", TRICKS.values(), ids=TRICKS)
def test_nobody_waits_behind_a_request_that(bed: Bed, sent: bytes) -> None:
    id, number = f"CA{next(_ids)}", f"+4670000{next(_ids):04d}"
    with held(bed, sent):
        call = bed.request("/twilio/voice", {"CallSid": id, "From": number, "CallStatus": "ringing"})
        for request, expected in (
            (call, b"<Gather"), (bed.text(f"SM{id}", number, "STOPP"), b"raderat"),
            (bed.text(f"SM1{id}", number, "12347"), b"<Message>"),
            (b"GET /console/sign-in HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
            (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        ):  # fmt: skip
            answer, seconds = asked(bed, request)
            assert expected in answer and seconds < SOON


def test_a_request_of_no_length_is_told_so(bed: Bed) -> None:
    answer, seconds = asked(bed, TRICKS["says in no way how long it is"])
    assert answer.startswith(b"HTTP/1.1 411 ") and seconds < SOON


def test_a_whole_request_behind_another_in_one_packet_is_answered_too(bed: Bed) -> None:
    asks = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bed.port), 5) as client:
        client.settimeout(5)
        client.sendall(asks + asks + bed.text("SMpiped", "+46700000004", "12347"))
        seen = b""
        while b"</Response>" not in seen:
            seen += client.recv(65536)
    assert seen.count(b"200 OK") == 3 and b"<Message>" in seen

"""A thousand webhooks, calls and receipts that the provider never sent: each a genuine one with one thing changed.

What the provider signs is the public address with query, then name and value of each field in the order of the names,
with nothing between them. What leaves that unchanged (the order of fields, how they are percent-encoded) is the same
request and must be accepted; everything else is refused, and nothing in the database is another than before.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel
from werkzeug.test import TestResponse

from responder.store.tables import DeliveryRow
from tests.conftest import NOW, TOKEN, URL, Running, a_point

FORM_TYPE = "application/x-www-form-urlencoded"
SENDER = "+46700000001"


@dataclass(frozen=True)
class Request:
    """A request as bytes; `signature` is what its header says, None for no header."""

    path: str
    fields: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None  # instead of `fields`
    signature: str | None = ""
    method: str = "POST"
    type: str = FORM_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    environ: tuple[tuple[str, Any], ...] = ()

    @property
    def body(self) -> bytes:
        """What is sent."""
        return urlencode(self.fields).encode() if self.raw is None else self.raw

    def send(self, running: Running) -> TestResponse:
        """The answer to it."""
        path, _, query = self.path.partition("?")
        headers = [*self.headers, *([("X-Twilio-Signature", self.signature)] if self.signature is not None else [])]
        return running.app.test_client().open(
            path, method=self.method, query_string=query, data=self.body, content_type=self.type, headers=headers,
            environ_overrides={"RAW_URI": self.path, **dict(self.environ)},
        )  # fmt: skip


def signed_string(path: str, body: bytes, url: str = URL) -> str:
    """What the provider would sign for a body."""
    form = parse_qs(body.decode("ascii", "replace"), True)
    return url + path + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))


def sign(what: str, token: str = TOKEN, digest: str = "sha1") -> str:
    """The signature of a string."""
    return base64.b64encode(hmac.digest(token.encode(), what.encode("utf-8", "surrogateescape"), digest)).decode()


def genuine(path: str, **fields: str) -> Request:
    """A request of the provider's."""
    request = Request(path, tuple(fields.items()))
    return replace(request, signature=sign(signed_string(path, request.body)))


TEXT = genuine("/twilio/sms", MessageSid="SM0001", AccountSid="AC01", From=SENDER, To="71000", Body="START 12347")
CALL = genuine("/twilio/voice", CallSid="CA0001", AccountSid="AC01", From=SENDER, To="+46770000000")
KEYED = genuine("/twilio/voice/1", CallSid="CA0001", From=SENDER, Digits="12347", FinishedOnKey="")
RECEIPT = genuine("/twilio/receipts/1?attempt=1", MessageSid="SM9001", MessageStatus="sent", To=SENDER)
KEY = genuine("/twilio/called/1", CallSid="CA9001", Digits="1", From="+46770000000", To=SENDER)
ENDED = genuine("/twilio/voice/status", CallSid="CA7777", CallStatus="completed", From=SENDER)
ALL = (TEXT, CALL, KEYED, RECEIPT, KEY, ENDED)


def bytes_changed(request: Request) -> Iterator[Request]:
    """Each byte of the body as another, and each left out."""
    body = request.body
    for at, byte in enumerate(body):
        other = b"8" if byte != ord("8") else b"3"
        yield replace(request, raw=body[:at] + other + body[at + 1 :])
        yield replace(request, raw=body[:at] + body[at + 1 :])


def fields_changed(request: Request) -> Iterator[Request]:
    """A field left out, added, sent again, emptied, renamed, swapped; look-alikes and zeros."""
    for number, (name, value) in enumerate(request.fields):
        before, after = request.fields[:number], request.fields[number + 1 :]
        yield replace(request, fields=before + after)
        for other in (
            "",
            value + " ",
            value + "\x00",
            "\x00" + value,
            value + "\u200b",
            value + "é",
            value[::-1] + "x",
        ):
            yield replace(request, fields=(*before, (name, other), *after))
        for other in (value.translate({ord(c): 0xFF10 + int(c) for c in "0123456789"}), value.replace("S", "Ѕ")):
            yield replace(request, fields=(*before, (name, other), *after))
        for other in (name.lower(), name.upper(), name + " ", name.replace("o", "о"), name + "\x00", name + "[]"):
            yield replace(request, fields=(*before, (other, value), *after))
        yield replace(request, fields=(*request.fields, (name, value + "9")))
        yield replace(request, fields=((name, "9" + value), *request.fields))
    for extra in (("Body", "STOPP"), ("OptOutType", "STOP"), ("Digits", "9"), ("MessageStatus", "failed"), ("x", "")):
        yield replace(request, fields=(*request.fields, extra))
    yield replace(request, fields=())
    yield replace(request, fields=(*request.fields, *((f"f{n}", "x") for n in range(250))))
    yield replace(request, fields=(*request.fields, ("Pad", "x" * 300_000)))


def addresses_changed(request: Request) -> Iterator[Request]:
    """Another path, query, turn, delivery or attempt."""
    paths = {other.path for other in ALL} | {
        "/twilio/voice/2", "/twilio/voice/0", "/twilio/voice/01", "/twilio/voice/999999999999999999",
        "/twilio/receipts/2?attempt=1", "/twilio/receipts/1?attempt=2", "/twilio/receipts/1", "/twilio/receipts/1?attempt=01",
        "/twilio/receipts/1?attempt=1&attempt=2", "/twilio/receipts/1?attempt=%31", "/twilio/called/2", "/twilio/called/01",
        "/twilio/sms/", "/twilio/sms?", "/twilio/sms?x=1", "/twilio/sms#x", "/twilio//sms", "/twilio/%73ms", "/TWILIO/sms",
        "/twilio/./sms", "/twilio/voice/../sms", "/twilio/sms;x", "/twilio/sms%00",
    }  # fmt: skip
    for path in sorted(paths - {request.path}):
        yield replace(request, path=path)


def signatures_changed(request: Request) -> Iterator[Request]:
    """Another signature of the same request, or the same one written otherwise."""
    own, what = request.signature or "", signed_string(request.path, request.body)
    for other in (
        None, "", " ", "None", "null", "0", own[:-1], own + "=", own + "x", own + ",", own + " ", " " + own, "\t" + own,
        f"{own},{own}", f"{own}, {own}", f"x,{own}", f"{own};", own.lower(), own.upper(), own.swapcase(), own[::-1],
        own[:10] + " " + own[10:], own.rstrip("="), quote(own, safe=""), f"sha1={own}", f'"{own}"', own * 2,
        base64.b64decode(own).hex(), base64.b64encode(own.encode()).decode(), base64.b32encode(own.encode()).decode(),
        "=" * 28, "A" * 27 + "=", "x" * 100_000, own.replace("A", "А"), own + "\u00e9", own.encode().hex(),
    ):  # fmt: skip
        if other != own:
            yield replace(request, signature=other)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(own[26])
    for same_bytes in range(4):  # the last sign has two bits that say nothing
        if (last & ~3) | same_bytes != last:
            yield replace(request, signature=own[:26] + alphabet[(last & ~3) | same_bytes] + "=")
    for token in ("", " ", TOKEN + " ", TOKEN.upper(), "change-me", "another-token"):
        yield replace(request, signature=sign(what, token))
    for digest in ("sha256", "sha512", "md5"):
        yield replace(request, signature=sign(what, digest=digest))
    yield replace(request, signature=base64.b64encode(hashlib.sha1(what.encode()).digest()).decode())
    for url in ("http://svar.example", "https://SVAR.example", "https://svar.example.", "https://evil.example", "", "//svar.example",
                "https://user:p@svar.example", "https://svar.example/app", "https://svar.example:8443"):  # fmt: skip
        yield replace(request, signature=sign(signed_string(request.path, request.body, url)))
    yield replace(request, signature=sign(URL + request.path))
    yield replace(request, signature=sign(signed_string(request.path, request.body)[len(URL) :]))
    pairs = "".join(name + value for name, value in request.fields)
    if (unsorted := URL + request.path + pairs) != what:
        yield replace(request, signature=sign(unsorted))
    for other in ALL:
        if other.signature != own:
            yield replace(request, signature=other.signature)


def ways_changed(request: Request) -> Iterator[Request]:
    """Another method, another kind of body, or a body that is not where it was."""
    query = f"{request.path}{'&' if '?' in request.path else '?'}{request.body.decode()}"
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"):
        yield replace(request, method=method)
        yield replace(request, method=method, headers=(("X-HTTP-Method-Override", "POST"),))
    yield replace(request, method="GET", path=query, raw=b"", signature=sign(URL + query))
    yield replace(request, path=query, raw=b"")
    json = b'{"MessageSid": "SM0001", "From": "+46700000001", "Body": "STOPP"}'
    address = f"{request.path}{'&' if '?' in request.path else '?'}bodySHA256={hashlib.sha256(json).hexdigest()}"
    for kind in ("application/json", FORM_TYPE):
        yield replace(request, path=address, raw=json, type=kind, signature=sign(URL + address) + "x")
        yield replace(request, path=address, raw=request.body, type=kind, signature=sign(URL + address))
        yield replace(request, raw=json, type=kind)
    yield replace(request, raw=request.body.replace(b"&", b";"))
    yield replace(request, raw=request.body.replace(b"=", b":"))
    yield replace(request, raw=request.body.decode().encode("utf-16"))
    yield replace(request, raw=b"\xef\xbb\xbf" + request.body)
    yield replace(request, raw=request.body + b"\x00")
    yield replace(request, raw=request.body + b"&\xff=1")
    yield replace(request, raw=quote(request.body).encode())
    yield replace(request, environ=(("CONTENT_LENGTH", "5"),))
    yield replace(request, environ=(("CONTENT_LENGTH", "99999999999"),))
    yield replace(request, environ=(("CONTENT_LENGTH", "-1"),))


def the_same(request: Request) -> Iterator[Request]:
    """What the provider, or a proxy on the way, may make of the same request."""
    body = request.body
    yield request
    yield replace(request, fields=tuple(reversed(request.fields)))
    yield replace(request, fields=(*request.fields[1:], request.fields[0]))
    yield replace(request, raw=body.replace(b"%2B", b"%2b"))
    yield replace(
        request, raw="&".join(f"{n}={''.join(f'%{ord(c):02X}' for c in v)}" for n, v in request.fields).encode()
    )
    yield replace(request, raw=body.replace(b"+", b"%20"))
    yield replace(request, raw=b"&" + body + b"&&")
    yield replace(request, type="text/plain")
    yield replace(
        request, headers=(("Host", "evil.example"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http"))
    )
    yield replace(request, environ=(("wsgi.url_scheme", "http"),))
    yield replace(request, signature=sign(signed_string(request.path, body, f"{URL}:443")))  # the library's own way
    chunks = (("CONTENT_LENGTH", ""), ("wsgi.input", BytesIO(body)), ("wsgi.input_terminated", True))
    yield replace(request, environ=(*chunks, ("HTTP_TRANSFER_ENCODING", "chunked")))


CHANGES: tuple[Callable[[Request], Iterator[Request]], ...] = (
    bytes_changed, fields_changed, addresses_changed, signatures_changed, ways_changed,
)  # fmt: skip


def is_the_same(request: Request) -> bool:
    """Whether the provider's own rule cannot tell a request from the one that it signed: it does not see a question
    mark with nothing behind it, nor the port that is meant anyway.
    """
    path = request.path.removesuffix("?")
    valid = {sign(signed_string(path, request.body, url)) for url in (URL, f"{URL}:443")}
    return request.signature in valid and request.method == "POST" and not dict(request.environ).get("CONTENT_LENGTH")


@pytest.fixture
def service(start: Callable[..., Running]) -> Running:
    """A service that has had one of each genuine request, and a delivery to tell of."""
    running = start(number_per_minute=100_000)
    running.put(a_point())
    row = {
        "broadcast_id": 0, "kind": "agree", "number_hash": b"h", "number_sealed": b"", "channel": "text",
        "language": "sv", "state": "accepted", "attempt": 1, "provider_id": "SM9001", "created_at": NOW.timestamp(),
    }  # fmt: skip
    with running.database.write() as connection:
        connection.execute(DeliveryRow.__table__.insert(), [row, {**row, "number_hash": b"i", "provider_id": "SM9002"}])  # type: ignore[attr-defined]
    for request in ALL:
        assert request.send(running).status_code == 200, request.path
    return running


def dump(running: Running) -> dict[str, list[str]]:
    """Every row of every table but the bundled places."""
    with running.database.read() as connection:
        return {
            table.name: sorted(str(tuple(row)) for row in connection.execute(table.select()))
            for table in SQLModel.metadata.sorted_tables
            if table.name != "places"
        }


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_forged_is_refused_and_changes_nothing(service: Running, change: Callable[..., Any]) -> None:
    forged = [(request, one) for request in ALL for one in change(request) if not is_the_same(one)]
    before, accepted = dump(service), []
    for request, one in forged:
        status = one.send(service).status_code
        assert status < 500, (request.path, one)
        if status < 300:  # two slashes are sent on to the address with one, which is a forgery again
            accepted.append((status, one))
    assert accepted == []
    assert dump(service) == before
    for request in ALL:  # and what is genuine is still taken, once
        assert request.send(service).status_code == 200
    assert dump(service) == before


def test_they_are_more_than_a_thousand() -> None:
    assert sum(not is_the_same(one) for request in ALL for change in CHANGES for one in change(request)) > 1000


def test_what_the_signature_cannot_tell_apart_is_a_replay_at_most(service: Running) -> None:
    """Nothing stands between names and values, so that a border can be moved: known of this kind of signature. The id
    of a message that was answered then gives the same reply once more, and a field that is gone is missing.
    """
    moved = [one for request in ALL for change in CHANGES for one in change(request) if is_the_same(one)]
    body = b"MessageSid=SM0001&AccountSid=AC01&To=71000&Body=START+12347From%2B46700000001"  # without From, that is
    merged = replace(TEXT, raw=body)
    before = dump(service)
    for one in (*moved, merged):
        assert one.send(service).status_code in (200, 400), one
    assert is_the_same(merged)
    assert merged.send(service).data == TEXT.send(service).data
    assert dump(service) == before


@pytest.mark.parametrize("number", range(len(ALL)), ids=[request.path for request in ALL])
def test_the_same_request_in_another_dress_is_accepted_and_written_once(service: Running, number: int) -> None:
    before, reply = dump(service), ALL[number].send(service).data
    for one in the_same(ALL[number]):
        answer = one.send(service)
        assert (answer.status_code, answer.data) == (200, reply), one
    assert dump(service) == before


def test_a_signed_body_of_another_kind_is_accepted_by_its_address_alone_and_does_nothing(service: Running) -> None:
    """The provider signs JSON by the address, which has its SHA-256; we take none, so that an empty form is left."""
    before = dump(service)
    for request in (TEXT, CALL, RECEIPT):
        path = f"{request.path}{'&' if '?' in request.path else '?'}bodySHA256={'0' * 64}"
        for raw in (b"", b"&"):
            assert replace(request, path=path, raw=raw, signature=sign(URL + path)).send(service).status_code == 400
    assert dump(service) == before


def test_a_replay_gives_the_same_reply_and_one_row(service: Running) -> None:
    replies = {TEXT.send(service).data for _ in range(5)}
    with service.database.read() as connection:
        count = connection.execute(text("SELECT count(*) FROM turns WHERE id = 'SM0001'")).scalar_one()
    assert (len(replies), count) == (1, 1)


def state(running: Running, delivery: int) -> str:
    """Where a delivery stands."""
    with running.database.read() as connection:
        found = connection.execute(text("SELECT state FROM deliveries WHERE id = :id"), {"id": delivery}).scalar_one()
    return str(found)


def test_a_receipt_moves_its_own_delivery_and_no_other(service: Running) -> None:
    other = state(service, 2)
    genuine("/twilio/receipts/1?attempt=1", MessageSid="SM9001", MessageStatus="delivered").send(service)
    assert (state(service, 1), state(service, 2)) == ("delivered", other)


def test_a_late_receipt_never_moves_a_delivery_back(service: Running) -> None:
    genuine("/twilio/receipts/1?attempt=1", MessageSid="SM9001", MessageStatus="delivered").send(service)
    for status in ("queued", "sent", "failed", "undelivered"):
        genuine("/twilio/receipts/1?attempt=1", MessageSid="SM9001", MessageStatus=status, ErrorCode="30003").send(
            service
        )
    assert state(service, 1) == "delivered"


def test_the_failure_of_an_earlier_attempt_is_none_of_this_one(service: Running) -> None:
    for attempt in (0, 2, 7):
        path = f"/twilio/receipts/1?attempt={attempt}"
        genuine(path, MessageSid="SM9001", MessageStatus="failed", ErrorCode="30007").send(service)
    assert state(service, 1) == "sent"

"""Requests that look like 46elks': another address, another place that they come from, another shape. It signs nothing,
so what proves a request is a secret in its path and the address it comes from, both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from urllib.parse import urlencode

import pytest
from sqlmodel import SQLModel
from werkzeug.test import TestResponse

from responder.settings import Settings, SettingsError
from responder.store.tables import DeliveryRow
from responder.web.signed import source
from tests.conftest import NOW, Running, a_point
from tests.fakes.elks import NUMBER, SECRET, SETTINGS

THEIRS = "176.10.154.199"
SENDER = "+46700000001"
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """A request as it arrives. `below`: what stands behind the secret."""

    below: str
    fields: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None  # instead of `fields`
    root: str = f"/46elks/{SECRET}"
    peer: str | None = THEIRS
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    type: str = FORM_TYPE

    def send(self, running: Running) -> TestResponse:
        """The answer to it."""
        target = f"{self.root}/{self.below}"
        path, _, query = target.partition("?")
        body = urlencode(self.fields).encode() if self.raw is None else self.raw
        return running.app.test_client().open(
            path, method=self.method, query_string=query, data=body, content_type=self.type, headers=self.headers,
            environ_overrides={"RAW_URI": target, "REMOTE_ADDR": self.peer},
        )  # fmt: skip


def made(below: str, **fields: str) -> Request:
    """A request of theirs."""
    return Request(below, tuple({"from": SENDER, "to": NUMBER, **fields}.items()))


TEXT = made("text", id="s1", message="START 12347", direction="incoming", created="2026-11-24T13:20:00.000000")
CALL = made("voice", callid="c1", direction="incoming")
KEYED = made("voice/1", callid="c1", result="12347")
ENDED = made("ended", id="c1", state="success")
RECEIPT = made("receipts/1?attempt=1", id="s9", status="delivered")
KEY = made("called/1", callid="c9", result="9")
ALL = (TEXT, CALL, KEYED, ENDED, RECEIPT, KEY)

ELSEWHERE = (
    "127.0.0.1", "10.0.0.1", "0.0.0.0", "176.10.154.198", "176.10.154.200", "85.24.146.131", "185.39.146.0", "::1",
    "2001:9b0:2:902::198", "2001:9b0:2:902:1::199", "::ffff:176.10.154.198", "", "unix:", "localhost", "176.10.154",
    "176.10.154.199 ", "176.10.154.199:443", "[2001:9b0:2:902::199]", "１76.10.154.199", "176.010.154.199",
    "0xb00a9ac7", "2953484999", None,
)  # fmt: skip


def other_secrets() -> Iterator[str]:
    """What is almost the secret."""
    for at in range(len(SECRET)):
        yield SECRET[:at] + SECRET[at + 1 :]
        yield SECRET[:at] + ("x" if SECRET[at] != "x" else "y") + SECRET[at + 1 :]
        yield SECRET[:at] + f"%{ord(SECRET[at]):02x}" + SECRET[at + 1 :]
        yield SECRET[:at] + SECRET[at].swapcase() + SECRET[at + 1 :] if SECRET[at].isalpha() else SECRET + str(at)
    yield from ("", "x", SECRET * 2, SECRET.upper(), SECRET[::-1], f"{SECRET} ", f" {SECRET}", f"{SECRET}%00")
    yield from (f"{SECRET}%2f", f"..%2f{SECRET}", f"{SECRET};x", f"{SECRET}%20", "å" * 30, "%ff%fe", "x" * 3000, "text")


def altered() -> Iterator[Request]:
    """Each genuine request with one thing changed that makes it no longer theirs."""
    for request in ALL:
        for secret in other_secrets():
            yield replace(request, root=f"/46elks/{secret}")
        for peer in ELSEWHERE:
            yield replace(request, peer=peer)
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "X-Client-IP", "Via"):
            yield replace(request, peer="203.0.113.9", headers=((header, THEIRS),))
        for root in ("/46ELKS", "/46elks", f"//46elks/{SECRET}", f"/46elks//{SECRET}", f"/twilio/{SECRET}", "/twilio"):
            yield replace(request, root=root)
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
            yield replace(request, method=method)


@pytest.fixture
def running(start: Callable[..., Running], tmp_path: object) -> Running:
    """A service that 46elks may call from its documented addresses, with one delivery under way."""
    default = Settings.model_fields["elks_addresses"].default
    more = {"elks_addresses": default, "audio_dir": f"{tmp_path}/audio", "number_per_minute": 100_000}
    running = start(**{**SETTINGS, **more})
    running.put(a_point())
    row = {
        "broadcast_id": 0, "kind": "agree", "number_hash": b"h", "number_sealed": b"", "channel": "text",
        "language": "sv", "state": "accepted", "attempt": 1, "provider_id": "s9", "created_at": NOW.timestamp(),
    }  # fmt: skip
    with running.database.write() as connection:
        connection.execute(DeliveryRow.__table__.insert(), [row])  # type: ignore[attr-defined]
    return running


def stored(running: Running) -> dict[str, list[object]]:
    """All rows of all tables that a request could change."""
    with running.database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in SQLModel.metadata.sorted_tables
            if table.name not in ("places", "usages")
        }


def test_a_thousand_requests_that_are_not_theirs_are_refused_and_change_nothing(running: Running) -> None:
    before, tried = stored(running), 0
    for request in altered():
        answer = request.send(running)
        assert answer.status_code in (308, 403, 404, 405) or request.method == "OPTIONS", (request, answer.status_code)
        assert SECRET not in answer.text or SECRET in request.root, request
        tried += 1
    assert tried >= 1000
    assert stored(running) == before


def test_what_is_theirs_is_taken(running: Running) -> None:
    for request in ALL:
        assert request.send(running).status_code == 200, request
    for peer in ("85.24.146.132", "185.39.146.243", "2001:9b0:2:902::199", "::ffff:176.10.154.199"):
        assert replace(TEXT, peer=peer).send(running).status_code == 200


def test_a_refusal_looks_like_any_page_that_is_not_there(running: Running) -> None:
    wrong = replace(TEXT, peer="203.0.113.9").send(running)
    other = running.app.test_client().get("/46elks/anything/at/all")
    assert wrong.status_code == other.status_code == 404 and wrong.text == other.text == "404 Not Found\n"


def test_where_46elks_is_no_gateway_there_is_no_such_page(service: Running) -> None:
    answers = {request.send(service).status_code for request in ALL}
    assert answers == {404}


@pytest.mark.parametrize("request_", ALL, ids=lambda r: r.below)
def test_what_they_send_without_a_field_is_answered_so_that_it_does_not_come_again(
    running: Running, request_: Request
) -> None:
    for number in range(len(request_.fields)):
        rest = request_.fields[:number] + request_.fields[number + 1 :]
        assert replace(request_, fields=rest).send(running).status_code == 200
    assert replace(request_, fields=()).send(running).status_code == 200
    assert replace(request_, raw=b"", type="application/json").send(running).status_code == 200


@pytest.mark.parametrize("request_", ALL, ids=lambda r: r.below)
@pytest.mark.parametrize(
    "body",
    [
        b"id=s1&callid=c1&from=%2B46700000001&message=%00%ff%fe%ed%a0%80&result=%ed%a0%80&status=%00",
        b"id=%00&callid=%00&from=%2B46700000001&message=x", b"id=s1&callid=c1&from=%ed%a0%80&message=%ed%bf%bf",
        b"id=" + b"s" * 65 + b"&callid=" + b"c" * 65, "id=å&callid=å".encode(), b"id=s 1&callid=c+1",
        b"\xff\xfe\x00\x00", b"id=s1&id=s2&callid=c1&callid=c2&message=a&message=b&from=a&from=b", b"%", b"&&&=&=",
        b"id=s1&callid=c1&message=" + b"%F0%9F%98%80" * 2000, b'{"id": "s1"}', b"id[]=s1&callid[]=c1",
    ],
)  # fmt: skip
def test_whatever_bytes_they_send_nobody_meets_an_error(running: Running, request_: Request, body: bytes) -> None:
    assert replace(request_, raw=body).send(running).status_code == 200


def test_a_body_that_no_provider_sends_is_not_read(running: Running) -> None:
    assert replace(TEXT, raw=b"message=" + b"x" * 300_000).send(running).status_code == 413
    assert replace(TEXT, raw=b"&".join(b"f%d=1" % n for n in range(300))).send(running).status_code == 404


class TestBehindAProxy:
    """The peer is our proxy; whom it speaks for stands in a header."""

    @pytest.fixture
    def behind(self, start: Callable[..., Running], tmp_path: object) -> Callable[[str, int], Running]:
        """Starts a service that goes by a header and this many proxies."""

        def starting(header: str, hops: int) -> Running:
            more = {"elks_addresses": THEIRS, "elks_address_header": header, "proxy_hops": hops}
            return start(**{**SETTINGS, **more, "audio_dir": f"{tmp_path}/audio"})

        return starting

    @pytest.mark.parametrize(
        ("hops", "header", "status"),
        [
            (1, THEIRS, 200), (1, f"1.2.3.4, {THEIRS}", 200), (1, f"{THEIRS}, 1.2.3.4", 404), (1, "", 404),
            (2, f"{THEIRS}, 10.0.0.1", 200), (2, f"9.9.9.9,{THEIRS} ,10.0.0.1", 200), (2, THEIRS, 404),
            (2, f"{THEIRS}, {THEIRS}, 10.0.0.1", 200), (2, f"{THEIRS}, 1.2.3.4, 10.0.0.1", 404), (1, ",", 404),
        ],
    )  # fmt: skip
    def test_the_address_is_what_our_own_proxy_saw(
        self, behind: Callable[[str, int], Running], hops: int, header: str, status: int
    ) -> None:
        request = replace(TEXT, peer="127.0.0.1", headers=(("X-Forwarded-For", header),))
        assert request.send(behind("X-Forwarded-For", hops)).status_code == status

    def test_another_header_holds_one_address(self, behind: Callable[[str, int], Running]) -> None:
        running = behind("X-Real-Ip", 1)
        for value, status in ((THEIRS, 200), (f"1.2.3.4, {THEIRS}", 404), (f"{THEIRS}, {THEIRS}", 404)):
            request = replace(TEXT, peer="127.0.0.1", headers=(("X-Real-IP", value),))
            assert request.send(running).status_code == status
        assert replace(TEXT, peer=THEIRS).send(running).status_code == 404  # past our proxy

    def test_a_header_without_a_proxy_does_not_start(self) -> None:
        settings = Settings(_env_file=None, **{**SETTINGS, "elks_address_header": "X-Forwarded-For"})  # type: ignore[call-arg, arg-type]
        with pytest.raises(SettingsError, match="ELKS_ADDRESS_HEADER needs PROXY_HOPS"):
            settings.check()


def test_without_a_header_whoever_is_connected_counts() -> None:
    environ = {"REMOTE_ADDR": "1.2.3.4", "HTTP_X_FORWARDED_FOR": THEIRS, "wsgi.input": BytesIO()}
    assert source("", 0)(environ) == "1.2.3.4"  # type: ignore[arg-type]

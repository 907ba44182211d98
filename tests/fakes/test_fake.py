"""The fake provider, as the real library and a real receiver of receipts meet it."""

import asyncio
import gc
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from yarl import URL

from tests.fakes.twilio import Answers, Busy, Fails, FakeTwilio, Faults, NoAnswer
from tests.fakes.twiml import SORRY

ACCOUNT, TOKEN = "AC" + "7" * 32, "a-token-only-the-tests-know"
TO, FROM = "+46701740605", "+46770000000"
SOON = Faults(receipt_retries=(0.02, 0.02))

retry_after: ContextVar[str] = ContextVar("retry_after", default="")


class Redirected(AsyncTwilioHttpClient):
    """The library's client, sent to another address; it keeps the Retry-After that the library drops.

    It signs in by a header of its own, because aiohttp warns of the parameter that the library uses.
    """

    def __init__(self, base: str) -> None:
        super().__init__(timeout=5)
        self._base = URL(base)

    async def request(self, method: str, url: str, **options: Any) -> Response:
        base = self._base
        target = URL(url, encoded=True).with_scheme(base.scheme).with_host(base.host or "").with_port(base.port)
        if auth := options.pop("auth", None):
            options["headers"]["Authorization"] = aiohttp.encode_basic_auth(*auth)
        response = await super().request(method, str(target), **options)
        retry_after.set(response.headers.get("Retry-After", ""))
        return response


def talk(fake: FakeTwilio, work: Callable[[Client], Awaitable[Any]], token: str = TOKEN) -> Any:
    """What `work` gives with a client of the library."""

    async def run() -> Any:
        async with Redirected(fake.url) as http_client:
            return await work(Client(ACCOUNT, token, http_client=http_client))

    return asyncio.run(run())


def send(fake: FakeTwilio, body: str = "Hej", to: str = TO, callback: str | None = None, **fields: object) -> Any:
    """One message through the library."""
    told = {"status_callback": callback} if callback else {}
    return talk(fake, lambda client: client.messages.create_async(to=to, from_=FROM, body=body, **told, **fields))


def ring(fake: FakeTwilio, to: str = TO, **fields: object) -> Any:
    """One call through the library."""
    return talk(fake, lambda client: client.calls.create_async(to=to, from_=FROM, **fields))


@dataclass
class Service:
    """What receives receipts. `answers`: statuses of the first requests, then 200; `documents`: TwiML by path."""

    answers: list[int] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    url: str = ""

    def take(self, target: str, body: str, signature: str) -> tuple[int, str]:
        """The answer to one request."""
        self.requests.append((target, dict(parse_qsl(body, keep_blank_values=True)), signature))
        status = self.answers.pop(0) if self.answers else 200
        return status, self.documents.get(target.partition("?")[0], "")

    @property
    def statuses(self) -> list[str]:
        """The statuses told, in order."""
        return [form.get("MessageStatus") or form["CallStatus"] for _, form, _ in self.requests]

    def genuine(self) -> bool:
        """Whether every request was signed."""
        validator = RequestValidator(TOKEN)
        return all(validator.validate(self.url + target, form, signed) for target, form, signed in self.requests)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service over HTTP."""
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, document = service.take(self.path, body, self.headers["X-Twilio-Signature"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(document.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_port}"
        yield service
        server.shutdown()
        thread.join()


@contextmanager
def fake_with(faults: Faults = SOON, **options: Any) -> Iterator[FakeTwilio]:
    """A fake of the tests' account."""
    with FakeTwilio(ACCOUNT, TOKEN, faults=faults, **options) as fake:
        yield fake


def one(fault: str) -> Faults:
    """That fault alone, always; a stall is short."""
    certain: dict[str, Any] = {fault: 1}
    return Faults(**certain, stall_seconds=0.1)


def test_a_message_is_created_fetched_and_delivered() -> None:
    lines: list[str] = []
    with fake_with(Faults(receipt_delay=(0.05, 0.05)), on_event=lines.append) as fake:
        started = time.monotonic()
        message = send(fake, "Räksmörgås", validity_period=3600)
        assert (message.sid[:2], len(message.sid), message.status) == ("SM", 34, "queued")
        assert (message.to, message.from_, message.body) == (TO, FROM, "Räksmörgås")
        assert (message.date_sent, message.error_code, message.num_segments) == (None, None, "1")
        assert message.date_created.tzinfo is not None and message.date_created.microsecond == 0
        fake.wait_idle()
        later = talk(fake, lambda client: client.messages(message.sid).fetch_async())
        assert (later.status, later.date_sent is not None) == ("delivered", True)
        assert [(text.body, text.sid) for text in fake.phone(TO).texts] == [("Räksmörgås", message.sid)]
        assert lines == [f"{TO} receives: Räksmörgås"]
        (accepted,) = fake.accepted
        assert (accepted.sid, accepted.to, accepted.body, accepted.callback) == (message.sid, TO, "Räksmörgås", "")
        assert accepted.created.replace(microsecond=0) == message.date_created
        ((at, to),) = fake.posts
        assert started <= at <= time.monotonic() and to == TO


def test_a_list_is_newest_first_and_comes_in_pages() -> None:
    async def work(client: Client) -> tuple[list[str], ...]:
        for number in range(7):
            to = TO if number != 3 else "+46700000009"
            await client.messages.create_async(to=to, messaging_service_sid="MG1", body=f"nr {number}")
        every = await client.messages.list_async(to=TO, page_size=2)
        some = await client.messages.list_async(to=TO, limit=3)
        stream = await client.messages.stream_async(page_size=3)
        unsent = await client.messages.list_async(date_sent_after=datetime(2020, 1, 1, tzinfo=UTC))
        return *([row.body for row in rows] for rows in (every, some, unsent)), [row.body async for row in stream]

    with fake_with(Faults(receipt_delay=(5, 5))) as fake:
        every, some, unsent, stream = talk(fake, work)
    assert every == ["nr 6", "nr 5", "nr 4", "nr 2", "nr 1", "nr 0"]
    assert (some, unsent, len(stream)) == (every[:3], [], 7)


def test_a_list_shows_a_message_only_after_a_while() -> None:
    async def work(client: Client) -> tuple[int, int, str]:
        message = await client.messages.create_async(to=TO, from_=FROM, body="Hej")
        at_once = await client.messages.list_async(to=TO)
        fetched = await client.messages(message.sid).fetch_async()
        await asyncio.sleep(0.25)
        return len(at_once), len(await client.messages.list_async(to=TO)), fetched.body

    with fake_with(Faults(list_delay=(0.1, 0.2))) as fake:
        assert talk(fake, work) == (0, 1, "Hej")


@pytest.mark.parametrize(
    ("to", "body", "code"),
    [("071-1", "Hej", 21211), (TO, "", 21602), (TO, "x" * 1601, 21617), ("+461010101", "Hej", 21614)],
)
def test_what_is_refused(to: str, body: str, code: int) -> None:
    with fake_with() as fake:
        fake.refuse("+461010101", 21614)
        with pytest.raises(TwilioRestException) as caught:
            send(fake, body, to)
        assert (caught.value.status, caught.value.code, fake.accepted) == (400, code, ())


def test_one_who_opted_out_a_wrong_token_and_an_unknown_sid() -> None:
    with fake_with() as fake:
        fake.opted_out.add(TO)
        with pytest.raises(TwilioRestException) as caught:
            send(fake)
        assert (caught.value.code, "unsubscribed" in caught.value.msg) == (21610, True)
        with pytest.raises(TwilioRestException) as caught:
            talk(fake, lambda client: client.messages("SM1").fetch_async(), token="wrong")
        assert (caught.value.status, caught.value.code) == (401, 20003)
        with pytest.raises(TwilioRestException) as caught:
            talk(fake, lambda client: client.messages("SM1").fetch_async())
        assert (caught.value.status, caught.value.code) == (404, 20404)


def test_a_list_that_fails_raises_another_exception_than_a_post() -> None:
    with fake_with() as fake:
        fake.outage = "500"
        with pytest.raises(TwilioException) as caught:
            talk(fake, lambda client: client.messages.list_async(to=TO))
        assert not isinstance(caught.value, TwilioRestException)
        assert caught.value.args[1].status_code == 500


def test_retry_after_reaches_only_the_http_client() -> None:
    async def work(client: Client) -> tuple[TwilioRestException, str]:
        with pytest.raises(TwilioRestException) as caught:
            await client.messages.create_async(to=TO, from_=FROM, body="Hej")
        return caught.value, retry_after.get()

    with fake_with(Faults(too_many=1, retry_after=7)) as fake:
        error, header = talk(fake, work)
        assert (error.status, error.code, header) == (429, 20429, "7")
        assert not hasattr(error, "headers")
        assert (fake.accepted, fake.given) == ((), {"too_many": 1})


def test_a_limit_per_second() -> None:
    async def work(client: Client) -> list[object]:
        posts = [client.messages.create_async(to=TO, from_=FROM, body=str(number)) for number in range(5)]
        return [getattr(result, "code", 0) for result in await asyncio.gather(*posts, return_exceptions=True)]

    with fake_with(Faults(per_second=3)) as fake:
        assert sorted(talk(fake, work)) == [0, 0, 0, 20429, 20429]
        assert (len(fake.accepted), len(fake.posts)) == (3, 5)


@pytest.mark.parametrize(("fault", "accepted"), [("lose", 1), ("drop", 0)])
def test_no_answer_comes(fault: str, accepted: int) -> None:
    with fake_with(one(fault)) as fake:
        with pytest.raises(aiohttp.ClientError):
            send(fake)
        fake.wait_idle()
        assert len(fake.accepted) == len(fake.phone(TO).texts) == accepted


@pytest.mark.parametrize(("fault", "accepted"), [("error_before", 0), ("error_after", 1), ("stall_before", 0)])
def test_an_error_comes(fault: str, accepted: int) -> None:
    with fake_with(one(fault)) as fake:
        with pytest.raises(TwilioRestException) as caught:
            send(fake)
        assert (caught.value.status, len(fake.accepted), fake.given) == (500, accepted, {fault: 1})


def test_a_stall_outlasts_the_caller_though_the_message_is_accepted() -> None:
    async def work(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.messages.create_async(to=TO, from_=FROM, body="Hej"), 0.1)

    with fake_with(Faults(stall_after=1)) as fake:
        talk(fake, work)
        assert len(fake.accepted) == 1


def test_faults_fall_by_their_probabilities_and_the_same_again() -> None:
    async def work(client: Client) -> list[int]:
        codes = []
        for _ in range(60):
            try:
                await client.messages.create_async(to=TO, from_=FROM, body="Hej")
                codes.append(201)
            except TwilioRestException as error:
                codes.append(error.status)
        return codes

    runs = []
    for _ in range(2):
        with fake_with(Faults(too_many=0.3, error_before=0.3)) as fake:
            runs.append(talk(fake, work))
    assert runs[0] == runs[1]
    assert all(8 <= runs[0].count(status) <= 32 for status in (201, 429, 500))
    with pytest.raises(ValueError, match="more than 1"):
        Faults(lose=0.6, drop=0.6)


def test_outages() -> None:
    async def work(client: Client) -> list[object]:
        seen: list[object] = []
        for outage in ("500", "refuse", "hang", None):
            await asyncio.to_thread(setattr, fake, "outage", outage)
            try:
                await asyncio.wait_for(client.messages.create_async(to=TO, from_=FROM, body="Hej"), 0.2)
                seen.append("sent")
            except (TwilioRestException, aiohttp.ClientError, TimeoutError) as error:
                seen.append(getattr(error, "status", type(error)))
        return seen

    with fake_with() as fake:
        address = fake.url
        assert talk(fake, work) == [500, aiohttp.ClientConnectorError, TimeoutError, "sent"]
        assert (fake.url, len(fake.accepted)) == (address, 1)


def test_receipts_are_signed_and_keep_the_address(service: Service) -> None:
    with fake_with() as fake:
        target = "/twilio/status/4711?delivery=a%2Fb&n=%C3%A5"
        message = send(fake, callback=service.url + target)
        fake.wait_idle()
        assert service.statuses == ["sent", "delivered"] and service.genuine()
        assert {t for t, _, _ in service.requests} == {target}
        form = service.requests[-1][1]
        assert (form["MessageSid"], form["SmsSid"], form["To"], form["From"]) == (message.sid, message.sid, TO, FROM)
        assert (form["AccountSid"], form["ApiVersion"], "ErrorCode" in form) == (ACCOUNT, "2010-04-01", False)
        assert [(receipt.status, receipt.answer) for receipt in fake.receipts] == [("sent", 200), ("delivered", 200)]


@pytest.mark.parametrize(("end", "statuses"), [("undelivered", ["sent", "undelivered"]), ("failed", ["failed"])])
def test_an_undeliverable_text(service: Service, end: str, statuses: list[str]) -> None:
    with fake_with() as fake:
        fake.undeliverable(TO, 30005, end)
        message = send(fake, callback=service.url)
        fake.wait_idle()
        assert service.statuses == statuses
        assert (service.requests[-1][1]["ErrorCode"], fake.phone(TO).texts) == ("30005", [])
        later = talk(fake, lambda client: client.messages(message.sid).fetch_async())
        assert (later.status, later.error_code) == (end, 30005)


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        (Faults(receipt_double=1), ["sent", "sent", "delivered", "delivered"]),
        (Faults(receipt_lost=1), []),
        (Faults(receipts=False), []),
    ],
)
def test_receipts_doubled_lost_and_off(service: Service, faults: Faults, statuses: list[str]) -> None:
    with fake_with(faults) as fake:
        send(fake, callback=service.url + "/r")
        fake.wait_idle()
        assert service.statuses == statuses and service.genuine()
        assert len(fake.phone(TO).texts) == 1


def test_receipts_in_any_order(service: Service) -> None:
    with fake_with(Faults(receipt_shuffle=True)) as fake:
        for number in range(8):
            send(fake, str(number), callback=f"{service.url}/{number}")
        fake.wait_idle()
        orders = {
            tuple(form["MessageStatus"] for target, form, _ in service.requests if target == f"/{number}")
            for number in range(8)
        }
        assert orders == {("sent", "delivered"), ("delivered", "sent")}


def test_a_receipt_before_the_answer() -> None:
    order: list[str] = []

    def callback(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        assert RequestValidator(TOKEN).validate(url, form, headers["X-Twilio-Signature"])
        order.append(form["MessageStatus"])
        return 204, ""

    with fake_with(Faults(receipt_early=1, receipt_delay=(0.1, 0.1)), callback=callback) as fake:
        message = send(fake, callback="https://svar.example/status")
        order.append("answer")
        assert message.status == "queued"
        fake.wait_idle()
    assert order == ["sent", "answer", "delivered"]


def test_a_receipt_is_tried_again(service: Service) -> None:
    service.answers = [503, 500]
    with fake_with() as fake:
        send(fake, callback=service.url)
        fake.wait_idle()
        assert service.statuses == ["sent", "sent", "sent", "delivered"]
        assert [receipt.tries for receipt in fake.receipts] == [3, 1]
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            send(fake, callback=f"http://127.0.0.1:{unused.getsockname()[1]}")
            fake.wait_idle()
        assert [(receipt.answer, receipt.tries) for receipt in fake.receipts[2:]] == [(0, 3)] * 2
        assert fake.given["receipt_given_up"] == 2


MENU = (
    '<Response><Gather input="dtmf speech" action="/answer/1" numDigits="1" finishOnKey="*"><Say>Är du\n trygg?</Say>'
    "<Play>https://svar.example/a.mp3</Play></Gather><Say>Vi hörde inget.</Say><Hangup/><Say>aldrig</Say></Response>"
)


def test_a_call_that_is_answered_with_a_key(service: Service) -> None:
    lines: list[str] = []
    service.documents = {
        "/voice": MENU,
        "/answer/1": '<Response><Say>Tack.</Say><Redirect method="POST">bye</Redirect></Response>',
        "/answer/bye": "<Response><Say>Hej då.</Say></Response>",
    }
    with fake_with(on_event=lines.append) as fake:
        fake.phone(TO).behaves = Answers(keys="1")
        events = ["initiated", "ringing", "answered", "completed"]
        call = ring(
            fake, url=service.url + "/voice", status_callback=service.url + "/s?d=1", status_callback_event=events
        )
        assert (call.sid[:2], call.status, call.to) == ("CA", "queued", TO)
        fake.wait_idle()
        (taken,) = fake.phone(TO).calls
        assert taken.spoken == ("Är du trygg?", "[https://svar.example/a.mp3]", "Tack.", "Hej då.")
        assert (taken.pressed, taken.status) == (("1",), "completed")
        receipts = [form for target, form, _ in service.requests if target == "/s?d=1"]
        assert [form["CallStatus"] for form in receipts] == ["initiated", "ringing", "in-progress", "completed"]
        assert ("CallDuration" in receipts[2], receipts[3]["CallDuration"]) == (False, "1")
        digits = [form.get("Digits") for target, form, _ in service.requests if target == "/answer/1"]
        assert digits == ["1"] and service.genuine()
        rows = talk(fake, lambda client: client.calls.list_async(to=TO, limit=5))
        assert [(row.sid, row.status, row.duration) for row in rows] == [(call.sid, "completed", "1")]
        assert [accepted.body for accepted in fake.accepted_calls] == [service.url + "/voice"]
    heard = "Är du trygg? [https://svar.example/a.mp3] Tack. Hej då."
    assert lines == [f"{TO} is called, hears: {heard} (presses 1)"]


def test_a_call_in_silence_and_one_with_an_inline_document(service: Service) -> None:
    service.documents = {"/again": "<Response><Say>Hallå?</Say></Response>"}
    empty = '<Response><Gather action="/again" actionOnEmptyResult="true"><Say>Svara.</Say></Gather></Response>'
    with fake_with() as fake:
        ring(fake, twiml=MENU, status_callback=service.url + "/s")
        fake.wait_idle()
        ring(fake, twiml=empty, status_callback=service.url + "/s")
        fake.wait_idle()
        first, second = fake.phone(TO).calls
        assert first.spoken == ("Är du trygg?", "[https://svar.example/a.mp3]", "Vi hörde inget.")
        assert second.spoken == ("Svara.", "Hallå?")
        assert [(target, form.get("Digits")) for target, form, _ in service.requests] == [
            ("/s", None),
            ("/again", ""),
            ("/s", None),
        ]


def test_calls_that_nobody_takes(service: Service) -> None:
    with fake_with() as fake:
        fake.phone(TO).behaves = [Busy(), NoAnswer(), Fails(), Answers()]
        for _ in range(5):
            ring(fake, twiml="<Response><Say>Hej</Say></Response>", status_callback=service.url)
            fake.wait_idle()
        expected = ["busy", "no-answer", "failed", "completed", "completed"]
        assert [taken.status for taken in fake.phone(TO).calls] == service.statuses == expected
        fake.refuse(TO, 13224, calls=True)
        with pytest.raises(TwilioRestException) as caught:
            ring(fake, twiml="<Response/>")
        assert caught.value.code == 13224


@pytest.mark.parametrize("document", ["<Response>", "<html/>", f"<Response><Say>{'x' * 64_001}</Say></Response>"])
def test_a_call_with_a_document_that_is_none(document: str) -> None:
    def callback(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        return 200, document

    with fake_with(callback=callback) as fake:
        ring(fake, url="https://svar.example/voice")
        fake.wait_idle()
        assert fake.phone(TO).calls[0].spoken == (SORRY,)


def test_a_failure_of_the_test_s_own_hook_is_not_lost() -> None:
    def callback(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        raise KeyError(url)

    with pytest.raises(KeyError), fake_with(callback=callback) as fake:
        send(fake, callback="https://svar.example/status")
        fake.wait_idle()


def test_who_connects_while_it_stops_listening_is_hung_up_on() -> None:
    """A connection that it left open would fail whichever test runs when the collector finds it."""
    with ExitStack() as held:

        def knock() -> None:  # the round after this one accepts, and the one after that closes
            held.enter_context(socket.create_connection(("127.0.0.1", fake._port), 5))
            fake._loop.call_soon(lambda: setattr(fake, "outage", "refuse"))

        with fake_with() as fake:
            fake._loop.call_soon_threadsafe(knock)
            deadline = time.monotonic() + 5
            while fake._site is not None and time.monotonic() < deadline:
                time.sleep(0.002)
        gc.collect()


def test_as_a_process() -> None:
    async def work(url: str) -> float:
        async with Redirected(url) as http_client:
            client = Client(ACCOUNT, TOKEN, http_client=http_client)
            started = time.monotonic()
            await client.messages.create_async(to=TO, from_=FROM, body="Hej")
            return time.monotonic() - started

    command = [sys.executable, "-m", "tests.fakes.twilio", "--account", ACCOUNT, "--latency", "0.1", "--events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            assert asyncio.run(work(process.stdout.readline().strip())) >= 0.1
            assert process.stdout.readline() == f"{TO} receives: Hej\n"
        finally:
            process.terminate()
        assert process.wait(5) == 0


def test_ctrl_c_ends_the_demo_without_a_traceback() -> None:
    child = "import signal, time; signal.signal(2, lambda *_: exit(0)); print('up', flush=True); time.sleep(60)"
    code = f"from tests.fakes import demo; demo.COMMAND = [demo.sys.executable, '-c', {child!r}]; exit(demo.main())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        assert started.stdout and started.stdout.readline() == "up\n"
        os.killpg(started.pid, signal.SIGINT)
        assert started.communicate(timeout=30)[1] == "" and started.returncode == 0

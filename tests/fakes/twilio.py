"""A fake of Twilio's REST API over real HTTP: it keeps state, posts signed receipts, calls phones, and fails on demand.

In a test: `with FakeTwilio(account=..., token=...) as fake: fake.url`. As a process: `python -m tests.fakes.twilio`.
"""

import argparse
import asyncio
import base64
import gc
import json
import random
import re
import secrets
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from twilio.request_validator import RequestValidator
from yarl import URL

from responder.wiring import utc_now
from tests.fakes.office import Office
from tests.fakes.records import API, Book, Call, Message
from tests.fakes.twiml import LineFault, Listener
from tests.fakes.values import (
    BEFORE,
    Accepted,
    Answers,
    Behaviour,
    Busy,
    Fails,
    Faults,
    NoAnswer,
    Phone,
    Range,
    Receipt,
    Received,
    Taken,
)

__all__ = [
    "Accepted",
    "Answers",
    "Behaviour",
    "Busy",
    "Fails",
    "FakeTwilio",
    "Faults",
    "NoAnswer",
    "Phone",
    "Receipt",
    "Received",
    "Taken",
]

ACCOUNT = "AC" + "0" * 32
TOKEN = "a-token-only-the-tests-know"
Outage = Literal["500", "hang", "refuse"] | None
Callback = Callable[[str, dict[str, str], dict[str, str]], tuple[int, str]]

_WORDS = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    21201: "No 'To' number is specified",
    21205: "Url is not valid",
    21211: "The 'To' number is not a valid phone number.",
    21213: "Caller phone number is required",
    21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21610: "Attempt to send to unsubscribed recipient",
    21612: "The 'To' phone number is not currently reachable via SMS",
    21614: "'To' number is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit",
}
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST = 1600
_AWAY = (OSError, ClientError, TimeoutError)
_ENDS = {Answers: "completed", Busy: "busy", NoAnswer: "no-answer", Fails: "failed"}
_EVENTS = {"initiated": "initiated", "ringing": "ringing", "in-progress": "answered"}
_CREATED = CIMultiDict({"Content-Type": "application/json"})


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, code: int, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, {n.replace("_", "-"): v for n, v in headers.items()}


class _Cut(Exception):
    """The connection closes without an answer."""


class FakeTwilio:
    """One account at a fake Twilio, in a thread of its own.

    `callback` takes receipts and requests of calls instead of HTTP, one at a time, in another thread than the
    caller's. `on_event` is told lines for a transcript, in the fake's thread. `faults` and `outage` may be set at
    any time; so may what stands in `office`: the account, its numbers and messaging services.
    """

    def __init__(
        self,
        account: str = ACCOUNT,
        token: str = TOKEN,
        *,
        faults: Faults | None = None,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        callback: Callback | None = None,
        on_event: Callable[[str], None] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.account, self.token = account, token
        self.faults = faults or Faults()
        self.opted_out: set[str] = set()
        self.office = Office(account)
        self._host, self._port = host, port
        self._callback, self._on_event, self._clock = callback, on_event, clock
        self._dice, self._random = random.Random(seed), random.Random(seed)  # of POSTs; of all else
        self._basic = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()
        self._validator = RequestValidator(token)
        self._messages, self._calls = Book("messages", "SM"), Book("calls", "CA")
        self._root = f"/{API}/Accounts/{account}"
        self._books = {f"{self._root}/Messages": self._messages, f"{self._root}/Calls": self._calls}
        self._takers: dict[str, Callable[[dict[str, str], list[tuple[str, str]]], Message | Call]] = {
            f"{self._root}/Messages.json": self._take_message,
            f"{self._root}/Calls.json": self._take_call,
        }
        self._phones: dict[str, Phone] = {}
        self._refused: dict[tuple[str, bool], int] = {}
        self._fates: dict[str, tuple[int, str]] = {}
        self._accepted: list[Accepted] = []
        self._accepted_calls: list[Accepted] = []
        self._posts: list[tuple[float, str]] = []
        self._receipts: list[Receipt] = []
        self._given: Counter[str] = Counter()
        self._recent: deque[float] = deque()
        self._errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._outage: Outage = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._one_at_a_time = ThreadPoolExecutor(max_workers=1)

    # Starting and stopping

    def __enter__(self) -> "FakeTwilio":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="fake-twilio", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._errors:
            raise self._errors[0]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._one_at_a_time.shutdown()
        if self._errors and kind is None:
            raise self._errors[0]

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping, self._lifted = asyncio.Event(), asyncio.Event()
        self._server = web.Server(self._serve, access_log=None)
        self._site: asyncio.Server | None = None
        self._switching = asyncio.Lock()
        timeout = ClientTimeout(total=None, sock_connect=5, sock_read=15)
        connector = TCPConnector(limit=50, keepalive_timeout=1)
        async with ClientSession(connector=connector, timeout=timeout) as self._session:
            try:
                await self._listen()
            except OSError as error:
                self._errors.append(error)
                return
            finally:
                self._ready.set()
            await self._stopping.wait()
            await self._close()

    async def _listen(self) -> None:
        if self._site is None:
            self._site = await self._loop.create_server(self._server, self._host, self._port, backlog=2048)
            self._port = self._site.sockets[0].getsockname()[1]

    async def _hush(self) -> None:
        """Stop listening and break every connection. What was accepted just now is a connection three rounds later only,
        and Python 3.11 would leave it open for ever if the listening socket were closed before.
        """
        if self._site is not None:
            self._loop.remove_reader(self._site.sockets[0].fileno())
            for _ in range(3):
                await asyncio.sleep(0)
            self._site.close()
            self._site = None
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _close(self) -> None:
        async with self._switching:
            await self._hush()
        self._lifted.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.shutdown(0.01)

    # What a test tells it and asks it

    @property
    def url(self) -> str:
        """Its address: what TWILIO_API_URL is set to."""
        return f"http://{self._host}:{self._port}"

    @property
    def outage(self) -> Outage:
        """Whether the whole API answers 500, hangs (then cuts), or refuses connections."""
        return self._outage

    @outage.setter
    def outage(self, outage: Outage) -> None:
        if threading.current_thread() is self._thread:
            self._spawn(self._switch(outage))
        elif self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._switch(outage), self._loop).result(10)
        else:
            raise RuntimeError("an outage needs a fake that runs")

    def phone(self, number: str) -> Phone:
        """The phone with that number; it answers calls and presses nothing until its `behaves` is set."""
        return self._phones.setdefault(number, Phone(number))

    def refuse(self, number: str, code: int, *, calls: bool = False) -> None:
        """Answer every POST of a message (or `calls`) to `number` with HTTP 400 and `code`."""
        self._refused[number, calls] = code

    def undeliverable(self, number: str, code: int, status: str = "undelivered") -> None:
        """Accept texts to `number`, and end them as `status` (or "failed") with `code`."""
        self._fates[number] = (code, status)

    @property
    def accepted(self) -> tuple[Accepted, ...]:
        """Every message taken on, in order."""
        return tuple(self._accepted)

    @property
    def accepted_calls(self) -> tuple[Accepted, ...]:
        """Every call taken on, in order."""
        return tuple(self._accepted_calls)

    @property
    def posts(self) -> tuple[tuple[float, str], ...]:
        """When (monotonic seconds) each POST of a message or call arrived, and its To."""
        return tuple(self._posts)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """Every receipt posted, in order of their answers; one that was posted twice is here twice."""
        return tuple(self._receipts)

    @property
    def given(self) -> Counter[str]:
        """How many of each fault were given."""
        return Counter(dict(self._given))

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until every accepted message has ended, every call is over, and every receipt is posted."""
        end = time.monotonic() + timeout
        while self._pending:
            if time.monotonic() > end:
                raise TimeoutError(f"{self._pending} receipts, messages or calls are pending after {timeout} s")
            time.sleep(0.002)

    async def _switch(self, outage: Outage) -> None:
        async with self._switching:
            self._outage = outage
            if outage == "hang":
                self._lifted.clear()
            else:
                self._lifted.set()
            if outage == "refuse":
                await self._hush()
            else:
                await self._listen()

    # Requests

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        started = time.monotonic()
        path, _, query = request.raw_path.partition("?")
        try:
            if request.method == "POST":
                return await self._post(request, path, started)
            return await self._get(request, path, query)
        except Refused as refused:
            return self._error(refused)
        except _Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _gate(self, request: web.BaseRequest) -> None:
        """An outage, or a caller who is not the account."""
        if self._outage is not None:
            self._given["outage"] += 1
            if self._outage == "500":
                raise Refused(500, 20500)
            await self._lifted.wait()
            raise _Cut
        if request.headers.get("Authorization") != self._basic:
            raise Refused(401, 20003)

    async def _get(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        if path == "/fake":
            return _json(self._state())
        await self._gate(request)
        if request.method == "GET" and (row := self.office.answer(path, dict(parse_qsl(query)))) is not None:
            return _json(row)
        kind, _, sid = path.removesuffix(".json").partition(f"{self._root}/")[2].partition("/")
        book = self._books.get(f"{self._root}/{kind}")
        if request.method != "GET" or book is None or not path.endswith(".json"):
            raise Refused(404, 20404)
        if not sid:
            try:
                return _json(book.page(path, dict(parse_qsl(query)), time.monotonic()))
            except ValueError as error:
                raise Refused(400, 20001) from error
        if sid not in book.by_sid:
            raise Refused(404, 20404)
        return _json(book.by_sid[sid].shown())

    def _state(self) -> dict[str, object]:
        times = [at for at, _ in self._posts]
        return {
            "accepted": len(self._accepted),
            "accepted_calls": len(self._accepted_calls),
            "posts": len(times),
            "seconds": max(times) - min(times) if times else 0.0,
            "pending": self._pending,
            "given": dict(self._given),
        }

    async def _post(self, request: web.BaseRequest, path: str, started: float) -> web.Response:
        pairs = parse_qsl((await request.read()).decode(), keep_blank_values=True)
        form = dict(pairs)
        take = self._takers.get(path)
        if take is not None:
            self._posts.append((started, form.get("To", "")))
        await self._gate(request)
        if take is None:
            raise Refused(404, 20404)
        faults = self.faults
        fault = self._draw(faults, started)
        if faults.latency:
            await asyncio.sleep(faults.latency / 2)
        if fault in BEFORE:
            await self._fail_before(fault, faults)
        record = take(form, pairs)
        answer = self._answer(record)
        if self._happens(faults.receipt_early, "receipt_early"):
            await self._early(record)
        if fault:
            self._proceed(record)
            await self._fail_after(fault, faults)
        if faults.latency:
            await asyncio.sleep(faults.latency / 2)
        if not fault:
            self._proceed(record)
        return answer

    def _answer(self, record: Message | Call) -> web.Response:
        """What a POST that was taken on is answered."""
        return web.Response(body=json.dumps(record.shown()).encode(), status=201, headers=_CREATED)

    def _error(self, refused: Refused) -> web.Response:
        code = refused.code
        body = {
            "code": code,
            "message": _WORDS.get(code, f"Error {code}"),
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": refused.status,
        }
        headers = {"Content-Type": "application/json", **refused.headers}
        return web.Response(body=json.dumps(body).encode(), status=refused.status, headers=headers)

    def _is_enough(self, answer: int) -> bool:
        """Whether the answer to a receipt ends it."""
        return 0 < answer < 500

    def _draw(self, faults: Faults, now: float) -> str:
        """The fault of this POST, or "". Raises Refused when there are too many in a second."""
        if faults.per_second:
            while self._recent and self._recent[0] <= now - 1:
                self._recent.popleft()
            if len(self._recent) >= faults.per_second:
                self._given["per_second"] += 1
                raise _too_many(faults)
            self._recent.append(now)
        fault = faults.fault(self._dice.random()) if faults.scale else ""
        if fault:
            self._given[fault] += 1
        return fault

    async def _fail_before(self, fault: str, faults: Faults) -> None:
        if fault == "drop":
            raise _Cut
        if fault == "too_many":
            raise _too_many(faults)
        if fault == "stall_before":
            await asyncio.sleep(faults.stall_seconds)
        raise Refused(500, 20500)

    async def _fail_after(self, fault: str, faults: Faults) -> None:
        if fault == "lose":
            raise _Cut
        if fault == "error_after":
            raise Refused(500, 20500)
        await asyncio.sleep(faults.stall_seconds)

    def _take_message(self, form: dict[str, str], pairs: list[tuple[str, str]]) -> Message:
        to, body, service = form.get("To", ""), form.get("Body", ""), form.get("MessagingServiceSid")
        if not _NUMBER.fullmatch(to):
            raise Refused(400, 21211)
        if not body:
            raise Refused(400, 21602)
        if len(body) > _LONGEST:
            raise Refused(400, 21617)
        if not form.get("From") and not service:
            raise Refused(400, 21603)
        if to in self.opted_out or (to, False) in self._refused:
            raise Refused(400, self._refused.get((to, False), 21610))
        fate, end = self._fates.get(to, (None, "delivered"))
        now, callback = self._clock(), form.get("StatusCallback", "")
        message = Message(
            account=self.account,
            sid=self._messages.next_sid(),
            number=len(self._messages),
            to=to,
            sender=form.get("From", ""),
            callback=callback,
            created=now,
            visible=self._visible(),
            updated=now,
            steps=["failed"] if end == "failed" else ["sent", end],
            body=body,
            service=service,
            fate=fate,
        )
        self._messages.add(message)
        self._accepted.append(Accepted(message.sid, to, body, now, callback))
        self._pending += 1
        return message

    def _take_call(self, form: dict[str, str], pairs: list[tuple[str, str]]) -> Call:
        to, url, twiml = form.get("To", ""), form.get("Url", ""), form.get("Twiml", "")
        if not to:
            raise Refused(400, 21201)
        if not _NUMBER.fullmatch(to):
            raise Refused(400, 21211)
        if not form.get("From"):
            raise Refused(400, 21213)
        if not url and not twiml:
            raise Refused(400, 21205)
        if (to, True) in self._refused:
            raise Refused(400, self._refused[to, True])
        events = frozenset(event for name, value in pairs if name == "StatusCallbackEvent" for event in value.split())
        now, callback = self._clock(), form.get("StatusCallback", "")
        call = Call(
            account=self.account,
            sid=self._calls.next_sid(),
            number=len(self._calls),
            to=to,
            sender=form["From"],
            callback=callback,
            created=now,
            visible=self._visible(),
            updated=now,
            steps=["initiated", "ringing"],
            url=url,
            method=form.get("Method", "POST").upper(),
            twiml=twiml,
            events=events or frozenset({"completed"}),
            callback_method=form.get("StatusCallbackMethod", "POST").upper(),
        )
        self._calls.add(call)
        self._accepted_calls.append(Accepted(call.sid, to, twiml or url, now, callback))
        self._pending += 1
        return call

    def _visible(self) -> float:
        delay = self.faults.list_delay
        return time.monotonic() + (self._random.uniform(*delay) if isinstance(delay, tuple) else delay)

    # What happens to a message or a call

    async def _early(self, record: Message | Call) -> None:
        self._step(record, now=True)
        if record.posting is not None:
            await asyncio.wait([record.posting])

    def _proceed(self, record: Message | Call) -> None:
        """Let an accepted record live on; it is pending since it was accepted."""
        if isinstance(record, Call):
            self._spawn(self._ring(record))
            self._pending -= 1
        elif record.steps:
            self._loop.call_later(self._pause(), self._walk, record)
        else:
            self._pending -= 1

    def _walk(self, message: Message) -> None:
        self._step(message)
        self._proceed(message)

    def _step(self, record: Message | Call, now: bool = False) -> None:
        """The next status, and its receipt. `now`: even if receipts are held back."""
        self._move(record, record.steps.pop(0))
        self._tell(record, flush=now or (not record.steps and isinstance(record, Message)))

    def _move(self, record: Message | Call, status: str) -> None:
        record.status, record.updated = status, self._clock()
        if status in ("sent", "in-progress"):
            record.began = record.updated
        if isinstance(record, Call):
            return
        if status == "delivered":
            self.phone(record.to).texts.append(Received(record.body, record.updated, record.sid))
            self._event(f"{record.to} receives: {record.body}")
        elif status in ("undelivered", "failed"):
            record.error = record.fate

    async def _ring(self, call: Call) -> None:
        while call.steps:
            await asyncio.sleep(self._pause())
            self._step(call)
        await asyncio.sleep(self._pause())
        phone = self.phone(call.to)
        behaviour = phone.ring()
        end = _ENDS[type(behaviour)]
        spoken: tuple[str, ...] = ()
        pressed: tuple[str, ...] = ()
        if isinstance(behaviour, Answers):
            self._move(call, "in-progress")
            self._tell(call)
            spoken, pressed = await self._talk(call, behaviour)
            await asyncio.sleep(self._pause())
        self._move(call, end)
        call.ended = call.updated
        phone.calls.append(Taken(spoken, pressed, end))
        self._event(_told(call.to, phone.calls[-1]))
        self._tell(call, flush=True)

    async def _talk(self, call: Call, behaviour: Answers) -> tuple[tuple[str, ...], tuple[str, ...]]:
        async def fetch(method: str, url: str, more: dict[str, str]) -> str:
            for last in (False, True):
                try:
                    status, body = await self._send(method, url, call.form() | more)
                except _AWAY as error:
                    if last:
                        raise LineFault(str(error)) from error
                    continue
                if status == 200:
                    return body
                break
            raise LineFault(f"HTTP {status}")

        listener = Listener(fetch, behaviour.turns)
        await listener.follow(call.twiml, call.url or call.callback, call.method)
        return tuple(listener.spoken), tuple(listener.pressed)

    # Receipts

    def _tell(self, record: Message | Call, flush: bool = False) -> None:
        """Post a receipt for the present status, and those held back; or hold it back."""
        faults = self.faults
        if not record.callback or not faults.receipts:
            return
        if isinstance(record, Call) and _EVENTS.get(record.status, "completed") not in record.events:
            return
        form = record.receipt()
        if not self._happens(faults.receipt_lost, "receipt_lost"):
            record.held += [form] * (2 if self._happens(faults.receipt_double, "receipt_double") else 1)
        if faults.receipt_shuffle and not flush:
            return
        batch, record.held = record.held, []
        if faults.receipt_shuffle:
            before = list(batch)
            self._random.shuffle(batch)
            self._given["receipt_shuffle"] += batch != before
        if batch:
            record.posting = self._spawn(self._notify(record, batch, record.posting))

    async def _notify(
        self, record: Message | Call, batch: list[dict[str, str]], earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        method = record.callback_method if isinstance(record, Call) else "POST"
        for form in batch:
            answer, tries = await self._insist(method, record.callback, form)
            self._receipts.append(Receipt(record.sid, record.status_in(form), record.callback, answer, tries))
        if record.posting is asyncio.current_task():
            record.posting = None

    async def _insist(self, method: str, url: str, form: dict[str, str]) -> tuple[int, int]:
        """Post a receipt, again after a failure: the last answer, 0 for none, and how many tries it took."""
        answer, pauses = 0, (0.0, *self.faults.receipt_retries)
        for tries, pause in enumerate(pauses, 1):
            if pause:
                await asyncio.sleep(pause)
                self._given["receipt_retried"] += 1
            try:
                answer, _ = await self._send(method, url, form)
            except _AWAY:
                answer = 0
            if self._is_enough(answer):
                return answer, tries
        self._given["receipt_given_up"] += 1
        return answer, len(pauses)

    async def _send(self, method: str, url: str, form: dict[str, str]) -> tuple[int, str]:
        """A signed request to the service."""
        if method == "GET":
            url, form = f"{url}{'&' if '?' in url else '?'}{urlencode(form)}", {}
        headers = {
            "X-Twilio-Signature": self._validator.compute_signature(url, form),
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
            "User-Agent": "TwilioProxy/1.1",
        }
        if self._callback is not None:
            return await self._loop.run_in_executor(self._one_at_a_time, self._callback, url, form, headers)
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        data = urlencode(form).encode() if method == "POST" else None
        target = URL(url, encoded=True)
        async with self._session.request(method, target, data=data, headers=headers, allow_redirects=False) as response:
            return response.status, await response.text()

    # Small things

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        self._pending += 1
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pending -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)

    def _pause(self) -> float:
        low, high = self.faults.receipt_delay
        return self._random.uniform(low, high) if high else 0.0

    def _happens(self, chance: float, name: str) -> bool:
        happens = chance > 0 and self._random.random() < chance
        if happens:
            self._given[name] += 1
        return happens

    def _event(self, line: str) -> None:
        if self._on_event is not None:
            self._on_event(line)


def _told(number: str, call: Taken) -> str:
    if call.status != "completed":
        return f"{number} is called: {call.status}"
    line = f"{number} is called, hears: {' '.join(call.spoken)}"
    return f"{line} (presses {', '.join(call.pressed)})" if call.pressed else line


def _too_many(faults: Faults) -> Refused:
    return Refused(429, 20429, Retry_After=f"{faults.retry_after:g}")


def _json(value: object) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), headers=_CREATED)


def _arguments() -> argparse.ArgumentParser:
    """The process's options: one for every field of Faults beside its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.twilio", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--account", default=ACCOUNT)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", action="store_true", help="print what phones receive and hear")
    for field in fields(Faults):
        name = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=field.default)
        elif field.name == "receipt_retries":
            parser.add_argument(name, type=float, nargs="*", default=field.default)
        elif field.type in (Range, float | Range):
            parser.add_argument(name, type=float, nargs=2, default=field.default, metavar=("LOW", "HIGH"))
        else:
            parser.add_argument(name, type=float, default=field.default)
    return parser


def main() -> None:
    """Run until SIGTERM or SIGINT; the address is the first line printed."""
    options = vars(_arguments().parse_args())
    faults = {field.name: options.pop(field.name) for field in fields(Faults)}
    told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in faults.items()}
    on_event = (lambda line: print(line, flush=True)) if options.pop("events") else None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    with FakeTwilio(**options, faults=Faults(**told), on_event=on_event) as fake:
        print(fake.url, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()

"""A fake of 46elks over real HTTP: its API, its receipts, and phones that text and call us.

In a test: `with FakeElks() as fake: fake.url`. It shares its state machine, faults and outages with the fake of Twilio.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from yarl import URL

from tests.fakes.elks_line import ElksListener, LineFault, read
from tests.fakes.elks_records import ElksBook, ElksCall, ElksMessage, stamp
from tests.fakes.records import Call, Message
from tests.fakes.twilio import FakeTwilio, Refused
from tests.fakes.values import Accepted, Answers, Received, Taken

USERNAME, PASSWORD = "u" + "5" * 32, "a-password-only-the-tests-know"
NUMBER = "+46766860000"
SECRET = "a-path-that-nobody-but-the-tests-and-46elks-knows"
SETTINGS = {  # of a service that this fake may call, beside Twilio
    "gateway": "recorder,46elks", "elks_username": USERNAME, "elks_password": PASSWORD, "elks_from": NUMBER,
    "elks_path": SECRET, "elks_addresses": "127.0.0.1",
}  # fmt: skip
TRIES = 5  # of a request of ours at least, over hours; here as fast as receipts
_WORDS = {20003: "API access requires Basic HTTP authentication", 20404: "Not found", 20500: "Internal error"}
CREDITS, UNKNOWN = 1, 2  # refusals
_LINES = {CREDITS: (403, "Not enough credits"), UNKNOWN: (400, "Invalid to number")}
Result = TypeVar("Result")
Sound = Callable[[str], tuple[int, str, bytes]]


class FakeElks(FakeTwilio):
    """One account. `sms_url`, `voice_start`: what its number NUMBER is told; `sound`: fetches audio instead of HTTP;
    `words`: what is heard at an address; `source`: written into X-Forwarded-For of all it posts.
    """

    def __init__(self, username: str = USERNAME, password: str = PASSWORD, **more: Any) -> None:
        self._sound: Sound | None = more.pop("sound", None)
        self._words: Callable[[str], str] = more.pop("words", str)
        self.source: str = more.pop("source", "")
        super().__init__(username, password, **more)
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._texts, self._all_calls = ElksBook("data", "s"), ElksBook("data", "c")
        self._takers = {"/a1/sms": self._take_text, "/a1/calls": self._take_ring}
        self.sms_url = self.voice_start = ""
        self.balance = 2_500_000
        self.currency = "SEK"
        self.fewer_than: dict[str, str] = {}  # fields of the number that are another than `sms_url` and `voice_start`
        self.active = "yes"
        self.broken: list[str] = []  # why calls ended that should not have

    # What happens at phones

    def text(self, number: str, body: str, id: str = "") -> str:
        """Somebody texts our number; the reply, "" for none. `id`: of a text that is delivered once more."""
        return self._run(self._texted(number, body, id))

    def ring_us(self, number: str, *keys: str, id: str = "") -> Taken:
        """Somebody calls our number and presses `keys` at successive questions."""
        return self._run(self._called(number, keys, id))

    def refuse(self, number: str, code: int, *, calls: bool = False) -> None:
        """Answer every POST to `number` with the line of `code`: CREDITS or UNKNOWN, else HTTP 400."""
        super().refuse(number, code, calls=calls)

    def _run(self, work: Coroutine[object, object, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _texted(self, number: str, body: str, id: str) -> str:
        came = self._message(number, NUMBER, body, "incoming", id)
        form = came.shown() | {"created": stamp(came.created)}
        told = {name: str(form[name]) for name in ("direction", "id", "from", "to", "created", "message")}
        answer = ""
        for pause in (0.0, *self.faults.receipt_retries):
            await asyncio.sleep(pause)
            status, answer = await self._send("POST", self.sms_url, told)
            if 200 <= status <= 204:
                break
        else:
            raise LineFault(f"HTTP {status}: {answer[:60]}")
        if answer:
            reply = self._message(NUMBER, number, answer, "outgoing-reply")
            self.phone(number).texts.append(Received(answer, reply.created, reply.sid))
        return answer

    def _message(self, sender: str, to: str, body: str, direction: str, id: str = "") -> ElksMessage:
        now = self._clock()
        message = ElksMessage(
            self.account, id or self._texts.next_sid(), len(self._texts), to, sender, "", now, time.monotonic(), now, [],
            body=body, direction=direction,
        )  # fmt: skip
        if not id or id not in self._texts.by_sid:
            self._texts.add(message)
        return message

    async def _called(self, number: str, keys: tuple[str, ...], id: str) -> Taken:
        now = self._clock()
        call = ElksCall(
            self.account, id or self._all_calls.next_sid(), len(self._all_calls), NUMBER, number, "", now, 0.0, now, [],
            direction="incoming",
        )  # fmt: skip
        self._all_calls.add(call)
        call.began = now
        listener = self._listener(call, keys)
        try:
            await listener.follow(self.voice_start)
        except LineFault as fault:
            self.broken.append(str(fault))
        call.status, call.ended = "completed", self._clock()
        if listener.whenhangup:
            await self._send("POST", listener.whenhangup, call.receipt())
        return Taken(tuple(listener.spoken), tuple(listener.pressed), call.state)

    def _listener(self, call: ElksCall, keys: tuple[str, ...]) -> ElksListener:
        async def ask(address: str, more: dict[str, str]) -> str:
            created = {} if more else {"created": stamp(call.created)}
            status, answer = await self._send("POST", address, call.form() | created | more)
            if not 200 <= status <= 204:
                raise LineFault(f"HTTP {status}")
            return answer

        return ElksListener(ask, self._fetched, self._words, keys)

    async def _fetched(self, address: str) -> tuple[int, str, bytes]:
        if self._sound is not None:
            return await self._loop.run_in_executor(self._one_at_a_time, self._sound, address)
        async with self._session.get(URL(address, encoded=True)) as response:
            return response.status, response.content_type, await response.read()

    # The API

    async def _get(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        if path == "/fake":
            return await super()._get(request, path, query)
        await self._gate(request)
        asked, now = dict(parse_qsl(query)), time.monotonic()
        if path == "/a1/sms":
            return _json(self._texts.listed(asked, now, filtered=True))
        if path == "/a1/calls":
            return _json(self._all_calls.listed(asked, now, filtered=False))
        if path == "/a1/me":
            return _json({"id": self.account, "currency": self.currency, "balance": self.balance, "displayname": "T"})
        if path == "/a1/numbers":
            number = {
                "id": "n" + "1" * 32, "number": NUMBER, "active": self.active, "capabilities": ["sms", "voice"],
                "sms_url": self.sms_url, "voice_start": self.voice_start, **self.fewer_than,
            }  # fmt: skip
            return _json({"data": [number]})
        raise Refused(404, 20404)

    def _take_text(self, form: dict[str, str], pairs: list[tuple[str, str]]) -> Message:
        self._check(form, "message", calls=False)
        to, body, callback = form["to"], form["message"], form.get("whendelivered", "")
        end = "failed" if to in self._fates else "delivered"
        now = self._clock()
        message = ElksMessage(
            self.account, self._texts.next_sid(), len(self._texts), to, form["from"], callback, now, self._visible(),
            now, ["sent", end], body=body,
        )  # fmt: skip
        self._texts.add(message)
        self._accepted.append(Accepted(message.sid, to, body, now, callback))
        self._pending += 1
        return message

    def _take_ring(self, form: dict[str, str], pairs: list[tuple[str, str]]) -> Call:
        self._check(form, "voice_start", calls=True)
        to, start, callback = form["to"], form["voice_start"], form.get("whenhangup", "")
        now = self._clock()
        call = ElksCall(
            self.account, self._all_calls.next_sid(), len(self._all_calls), to, form["from"], callback, now,
            self._visible(), now, ["initiated", "ringing"], twiml=start,
        )  # fmt: skip
        self._all_calls.add(call)
        self._accepted_calls.append(Accepted(call.sid, to, start, now, callback))
        self._pending += 1
        return call

    def _check(self, form: dict[str, str], what: str, calls: bool) -> None:
        if not form.get("from") or not form.get(what):
            raise Refused(400, 0)
        if not form.get("to", "").startswith("+"):
            raise Refused(400, UNKNOWN)
        if (form["to"], calls) in self._refused:
            code = self._refused[form["to"], calls]
            raise Refused(_LINES.get(code, (400, ""))[0], code)

    def _answer(self, record: Message | Call) -> web.Response:
        return _json(record.shown())

    def _error(self, refused: Refused) -> web.Response:
        _, line = _LINES.get(refused.code, (0, ""))
        said = line or _WORDS.get(refused.code, f"Error {refused.code}")
        return web.Response(text=said, status=refused.status, headers=refused.headers)

    # What it posts

    def _is_enough(self, answer: int) -> bool:
        return 200 <= answer <= 204

    async def _talk(self, call: Call, behaviour: Answers) -> tuple[tuple[str, ...], tuple[str, ...]]:
        assert isinstance(call, ElksCall)
        listener = self._listener(call, behaviour.turns)
        try:
            await listener.follow(read(call.twiml) if call.twiml.startswith("{") else call.twiml)
        except LineFault as fault:
            self.broken.append(str(fault))
        return tuple(listener.spoken), tuple(listener.pressed)

    async def _send(self, method: str, url: str, form: dict[str, str]) -> tuple[int, str]:
        """A request to the service, with nothing that proves who sends it."""
        headers = {"User-Agent": "46elks/0.2", **({"X-Forwarded-For": self.source} if self.source else {})}
        if self._callback is not None:
            return await self._loop.run_in_executor(self._one_at_a_time, self._callback, url, form, headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        data, target = urlencode(form).encode(), URL(url, encoded=True)
        async with self._session.post(target, data=data, headers=headers, allow_redirects=False) as response:
            return response.status, await response.text()


def _json(value: object) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), content_type="application/json")

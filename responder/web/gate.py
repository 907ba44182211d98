"""The gate before the application: in a flood it lets in what can be answered in time, and tells the others so at once.

A server of threads takes in more than it can answer, and everybody then waits for longer than anybody waits. Here few
work at a time (`Line`), few wait, and a line has an order: STOPP, then calls under way, new calls and texts. Who
does not get in is answered by one short sentence that promises nothing and is not recorded, so that the same message
delivered again may still be answered. Before any of that stands the signature: what is forged never has a place.

One number that floods is stopped by an allowance in memory, at no row each: what is over it gets an empty answer.
Calls have none, since a whole school may call from one number. Operators' pages, receipts and what a load balancer
asks have small lines of their own, so that they neither crowd out residents nor wait behind them.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from responder import metrics
from responder.core.dialogue import may_stop
from responder.core.wording import Channel
from responder.ports import TWILIO, Inbound, Outbound
from responder.web.allowance import Allowance
from responder.web.line import ARRIVALS, Kind, Line
from responder.web.signed import FORM, Form, TooLarge, first, read_body, signed_form
from responder.wiring import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("responder.gate")

# In one process. gunicorn.conf.py gives more threads than can be at work or wait here: what is left turns others away.
SEATS, RECEIPT_SEATS, PAGE_SEATS, PROBE_SEATS, AUDIO_SEATS = 4, 2, 6, 16, 4
STOP = Kind("stop", rank=0, room=288, patience=10)  # the provider waits 15 s: late is better than not done
UNDER_WAY = Kind("call under way", rank=1, room=256, patience=8)
CALL = Kind("call", rank=2, room=208, patience=8)  # it still rings
TEXT = Kind("text", rank=3, room=128, patience=1.5)
RECEIPT = Kind("receipt", rank=0, room=160, patience=10)  # nobody waits for it, and it does not come again
PAGE = Kind("page", rank=0, room=12, patience=5)
PROBE = Kind("probe", rank=0, room=16, patience=2)  # many may ask while one look at the database takes long
AUDIO = Kind("audio", rank=0, room=96, patience=5)  # a provider fetches it for a caller who listens already

STOPS, STOPS_EVERY = 5, 20.0  # STOPP from one number: at once, and one more every so many seconds
SHORTS, SHORTS_EVERY = 3, 200.0  # short answers to one number: as many as identical replies in ten minutes
SAY_EVERY = 10.0  # seconds between two lines in the log about the same

_EXACT = {"/twilio/sms": TEXT, "/twilio/voice": CALL, "/twilio/voice/status": RECEIPT}
_BELOW = {"/twilio/voice": UNDER_WAY, "/twilio/called": STOP, "/twilio/receipts": RECEIPT}  # a key may be STOPP
_BODY = re.compile(rb"(?<=[\n&])Body=([^&]*)")
_NAMED = re.compile(rb"^https?://[^/]*")
_PROBES = ("/readyz", "/metrics")
_PLAIN, _XML = "text/plain; charset=utf-8", "text/xml; charset=utf-8"
_TRY_AGAIN = (
    "Just nu är det för många här. Inget har ändrats. Försök igen om några sekunder.\n"
    "There are too many here just now. Nothing was changed. Try again in a few seconds.\n"
).encode()


@dataclass(frozen=True, slots=True)
class Figures:
    """What went through the gate of this process: (kind, outcome) -> how many since it started; line -> how many now.

    Outcomes: `let in`, `short` (answered by the short sentence), `nothing` (over an allowance), `turned away` (503),
    `forged`, `too large`.
    """

    outcomes: dict[tuple[str, str], int]
    waiting: dict[str, int]
    at_work: dict[str, int]


class Gate:
    """The WSGI application `app` of `service`, with its doors. `clock`: seconds that only go forward."""

    def __init__(self, app: "WSGIApplication", service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._service, self._clock = app, service, clock
        self._residents, self._receipts = Line(SEATS), Line(RECEIPT_SEATS)
        self._pages, self._probes, self._audio = Line(PAGE_SEATS), Line(PROBE_SEATS), Line(AUDIO_SEATS)
        a_minute = service.settings.number_per_minute
        self._texts, self._stops = Allowance(a_minute, 60 / a_minute), Allowance(STOPS, STOPS_EVERY)
        self._shorts = Allowance(SHORTS, SHORTS_EVERY)
        self._nothing = service.gateways[TWILIO].text_reply(Outbound())
        self._lock = threading.Lock()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request, or have the application answer it."""
        kind = _kind(environ)
        if kind is None:
            ARRIVALS.through()
            return self._app(environ, start_response)
        if kind in (PAGE, PROBE, AUDIO):
            return self._open(environ, start_response, kind)
        try:
            body = read_body(environ)
        except TooLarge:
            return self._refuse(start_response, kind, "too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        form = signed_form(self._service.gateways[TWILIO], environ, body)
        if form is None:
            return self._refuse(start_response, kind, "forged", HTTPStatus.FORBIDDEN)
        environ[FORM] = form
        if kind is RECEIPT:
            return self._open(environ, start_response, kind)
        return self._resident(environ, start_response, kind, form)

    def urgent(self, seen: bytes) -> bool:
        """Whether a request that begins so should be looked at before others: it may be STOPP, a call or a probe. It is
        not yet known to be genuine.
        """
        method, _, rest = seen[:300].partition(b" ")
        path = _NAMED.sub(b"", rest.partition(b" ")[0]).partition(b"?")[0].decode("latin-1")
        kind = _kind({"REQUEST_METHOD": method.decode("latin-1"), "PATH_INFO": path})
        if kind is TEXT:
            text = _BODY.search(seen)
            return text is not None and may_stop(self._service.flow, unquote_plus(text[1].decode("latin-1")))
        return kind not in (PAGE, RECEIPT)

    def figures(self) -> Figures:
        """What there is to measure, as of now."""
        lines = {
            "residents": self._residents, "receipts": self._receipts, "pages": self._pages, "probes": self._probes,
            "audio": self._audio,
        }  # fmt: skip
        with self._lock:
            outcomes = dict(self._outcomes)
        return Figures(
            outcomes,
            {name: line.waiting for name, line in lines.items()},
            {name: line.at_work for name, line in lines.items()},
        )

    def _resident(
        self, environ: "WSGIEnvironment", start_response: "StartResponse", kind: Kind, form: Form
    ) -> Iterable[bytes]:
        inbound = self._read(environ, kind, form)
        if inbound is not None and inbound.channel is Channel.TEXT:
            if inbound.handled == "STOP" or may_stop(self._service.flow, inbound.text):
                kind = STOP
            allowance = self._stops if kind is STOP else self._texts
            if not allowance.take(inbound.sender, self._clock()):
                return self._reply(start_response, kind, "nothing", self._nothing)
        if self._enter(self._residents, kind):
            return self._let_in(environ, start_response, kind, self._residents)
        if kind is STOP and inbound is not None:
            self._stops.give_back(inbound.sender)  # it was not done: it may come again at once
        if kind is STOP and inbound is None:  # a key on a call of ours
            return self._reply(start_response, kind, "short", self._service.answerer.unavailable(Channel.VOICE, TWILIO))
        if inbound is None:  # nothing that a view could read
            return self._reply(start_response, kind, "nothing", self._nothing)
        if inbound.channel is Channel.TEXT and not self._shorts.take(inbound.sender, self._clock()):
            return self._reply(start_response, kind, "nothing", self._nothing)
        sentence = {STOP: "say.busy_stop", UNDER_WAY: "say.busy_hold"}.get(kind, "say.busy")
        return self._reply(start_response, kind, "short", self._service.answerer.busy(inbound, sentence))

    def _read(self, environ: "WSGIEnvironment", kind: Kind, form: Form) -> Inbound | None:
        """What came in, as far as it can be read without a view."""
        gateway, fields = self._service.gateways[TWILIO], first(form)
        try:
            if kind is TEXT:
                return gateway.read_text(fields)
            turn = 0 if kind is CALL else int(environ["PATH_INFO"].rpartition("/")[2])
            return gateway.read_call(fields, turn) if kind in (CALL, UNDER_WAY) else None
        except ValueError:
            return None

    def _open(self, environ: "WSGIEnvironment", start_response: "StartResponse", kind: Kind) -> Iterable[bytes]:
        line = {RECEIPT: self._receipts, PAGE: self._pages, PROBE: self._probes, AUDIO: self._audio}[kind]
        if self._enter(line, kind):
            return self._let_in(environ, start_response, kind, line)
        self._count(kind, "turned away")
        return _respond(start_response, HTTPStatus.SERVICE_UNAVAILABLE, _TRY_AGAIN, _PLAIN, ("Retry-After", "5"))

    def _enter(self, line: Line, kind: Kind) -> bool:
        ARRIVALS.through()
        return line.enter(kind)

    def _let_in(
        self, environ: "WSGIEnvironment", start_response: "StartResponse", kind: Kind, line: Line
    ) -> Iterable[bytes]:
        try:
            self._count(kind, "let in")
            return self._app(environ, start_response)
        finally:
            line.leave()

    def _refuse(self, start_response: "StartResponse", kind: Kind, outcome: str, status: HTTPStatus) -> Iterable[bytes]:
        self._count(kind, outcome)
        said = "the signature is missing or wrong" if status is HTTPStatus.FORBIDDEN else f"{status} {status.phrase}"
        return _respond(start_response, status, f"{said}\n".encode(), _PLAIN)

    def _reply(self, start_response: "StartResponse", kind: Kind, outcome: str, document: str) -> Iterable[bytes]:
        self._count(kind, outcome)
        return _respond(start_response, HTTPStatus.OK, document.encode("utf-8", "replace"), _XML)

    def _count(self, kind: Kind, outcome: str) -> None:
        """Count it; what was not let in is logged too, the first at once and others together."""
        key = kind.name, outcome
        metrics.gate(kind.name, outcome)
        with self._lock:
            self._outcomes[key] += 1
            if outcome == "let in":
                return
            total, now = self._outcomes[key], self._clock()
            said_at, said = self._said.get(key, (-SAY_EVERY, 0))
            if now - said_at < SAY_EVERY:
                return
            self._said[key] = now, total
        log.warning("%s: %s, %d more (%d since the start)", kind.name, outcome, total - said, total)


def _kind(environ: "WSGIEnvironment") -> Kind | None:
    """What is asked for; None for what costs nothing and must always be answered."""
    path = str(environ.get("PATH_INFO", ""))
    if path.startswith("/twilio/") and environ.get("REQUEST_METHOD") == "POST":
        above, _, last = path.rpartition("/")
        found = _EXACT.get(path) or (_BELOW.get(above) if last.isascii() and last.isdecimal() else None)
        if found:
            return found
    if path == "/healthz":
        return None
    if path.startswith("/audio/"):
        return AUDIO
    return PROBE if path in _PROBES else PAGE


def _respond(
    start_response: "StartResponse", status: HTTPStatus, body: bytes, content_type: str, *more: tuple[str, str]
) -> Iterable[bytes]:
    ARRIVALS.through()  # a client may be slow to take it
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *more]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]

"""The gate before the application: in a flood it lets in what can be answered in time, and tells the others so at once.

A server of threads takes in more than it can answer, and everybody then waits for longer than anybody waits. Here few
work at a time (`Line`), few wait, and a line has an order: STOPP, which has seats of its own, then calls under way, new
calls and texts. Who does not get in is answered by one short sentence that promises nothing and is not recorded, so
that the same message delivered again may still be answered. Before any of that stands the provider's proof, a signature
or a secret address: what is forged never has a place.

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
from responder.ports import Gateway, Inbound, Outbound
from responder.web.allowance import Allowance
from responder.web.asked import AUDIO, CALL, PAGE, PROBE, RECEIPT, STOP, TEXT, UNDER_WAY, Asked, asked
from responder.web.line import ARRIVALS, Kind, Line
from responder.web.signed import FORGED, FORM, Form, TooLarge, first, proofs, read_body, signed_form
from responder.wiring import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("responder.gate")

# In one process. gunicorn.conf.py gives more threads than can be at work or wait here: what is left turns others away.
SEATS, RECEIPT_SEATS, PAGE_SEATS, PROBE_SEATS, AUDIO_SEATS = 4, 2, 6, 16, 4
STOP_SEATS = 4  # more, for STOPP alone: while the database is slow, all the others are taken for seconds
STOPS, STOPS_EVERY = 5, 20.0  # STOPP from one number: at once, and one more every so many seconds
SHORTS, SHORTS_EVERY = 3, 200.0  # short answers to one number: as many as identical replies in ten minutes
SAY_EVERY = 10.0  # seconds between two lines in the log about the same

_BODY = re.compile(rb"(?<=[\n&])(?:Body|message)=([^&]*)")
_NAMED = re.compile(rb"^https?://[^/]*")
_PLAIN = "text/plain; charset=utf-8"
_TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"413 Request Entity Too Large\n")
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
        self._residents, self._receipts = Line(SEATS, kept=STOP_SEATS), Line(RECEIPT_SEATS)
        self._pages, self._probes, self._audio = Line(PAGE_SEATS), Line(PROBE_SEATS), Line(AUDIO_SEATS)
        a_minute = service.settings.number_per_minute
        self._texts, self._stops = Allowance(a_minute, 60 / a_minute), Allowance(STOPS, STOPS_EVERY)
        self._shorts = Allowance(SHORTS, SHORTS_EVERY)
        self._gateways, self._proofs = service.gateways, proofs(service.settings)
        self._lock = threading.Lock()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request, or have the application answer it."""
        what = asked(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        if what is None:
            ARRIVALS.through()
            return self._app(environ, start_response)
        kind, gateway = what.kind, self._gateways.get(what.gateway)
        if gateway is None:  # anybody may ask, or it is of a provider that we do not have
            return self._open(environ, start_response, PAGE if what.gateway else kind)
        try:
            body = read_body(environ)
        except TooLarge:
            return self._refuse(start_response, kind, "too large", *_TOO_LARGE)
        form = signed_form(gateway, environ, body, self._proofs[what.gateway])
        if form is None:
            return self._refuse(start_response, kind, "forged", *FORGED[what.gateway])
        environ[FORM] = form
        if kind is RECEIPT:
            return self._open(environ, start_response, kind)
        return self._resident(environ, start_response, what, form)

    def urgent(self, seen: bytes) -> bool:
        """Whether a request that begins so should be looked at before others: it may be STOPP, a call or a probe. It is
        not yet known to be genuine.
        """
        method, _, rest = seen[:300].partition(b" ")
        path = _NAMED.sub(b"", rest.partition(b" ")[0]).partition(b"?")[0].decode("latin-1")
        what = asked(method.decode("latin-1"), path)
        kind = what.kind if what else None
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
        self, environ: "WSGIEnvironment", start_response: "StartResponse", what: Asked, form: Form
    ) -> Iterable[bytes]:
        kind, gateway = what.kind, self._gateways[what.gateway]
        inbound = self._read(environ, kind, gateway, form)
        if inbound is not None and inbound.channel is Channel.TEXT:
            if inbound.handled == "STOP" or may_stop(self._service.flow, inbound.text):
                kind = STOP
            allowance = self._stops if kind is STOP else self._texts
            if not allowance.take(inbound.sender, self._clock()):
                return self._reply(start_response, kind, what, "")
        if self._enter(self._residents, kind):
            return self._let_in(environ, start_response, kind, self._residents)
        return self._reply(start_response, kind, what, self._sentence(kind, what, inbound))

    def _sentence(self, kind: Kind, what: Asked, inbound: Inbound | None) -> str:
        """The document for who does not get in; "" for nothing."""
        if inbound is None:  # a key on a call of ours, or nothing that a view could read
            return self._service.answerer.unavailable(Channel.VOICE, what.gateway) if kind is STOP else ""
        if kind is STOP:
            self._stops.give_back(inbound.sender)  # it was not done: it may come again at once
        if inbound.channel is Channel.TEXT and not self._shorts.take(inbound.sender, self._clock()):
            return ""
        sentence = {STOP: "say.busy_stop", UNDER_WAY: "say.busy_hold"}.get(kind, "say.busy")
        return self._service.answerer.busy(inbound, sentence)

    def _read(self, environ: "WSGIEnvironment", kind: Kind, gateway: Gateway, form: Form) -> Inbound | None:
        """What came in, as far as it can be read without a view."""
        fields = first(form)
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
            line.leave(kind)

    def _refuse(
        self, start_response: "StartResponse", kind: Kind, outcome: str, status: HTTPStatus, said: bytes
    ) -> Iterable[bytes]:
        self._count(kind, outcome)
        return _respond(start_response, status, said, _PLAIN)

    def _reply(self, start_response: "StartResponse", kind: Kind, what: Asked, document: str) -> Iterable[bytes]:
        """The `document`, or "" for the provider's that asks for nothing."""
        gateway = self._gateways[what.gateway]
        self._count(kind, "short" if document else "nothing")
        body = (document or gateway.text_reply(Outbound())).encode("utf-8", "replace")
        return _respond(
            start_response, HTTPStatus.OK, body, gateway.text_type if what.kind is TEXT else gateway.voice_type
        )

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


def _respond(
    start_response: "StartResponse", status: HTTPStatus, body: bytes, content_type: str, *more: tuple[str, str]
) -> Iterable[bytes]:
    ARRIVALS.through()  # a client may be slow to take it
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *more]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]

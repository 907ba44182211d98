"""A name for each request: in every record that it causes, and in the answer. One record says what became of it."""

import logging
import re
import secrets
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from responder import logs, metrics
from responder.core.wording import Channel

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("responder.request")

NAMES = ("HTTP_I_TWILIO_IDEMPOTENCY_TOKEN", "HTTP_X_REQUEST_ID")  # what the provider, or a proxy, calls it
ROUTE = "responder.route"  # where the application leaves which view it was: an address may hold a secret, this cannot
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RANDOM = re.compile(r"(?=.*[a-f])[0-9a-f]{32}")  # as nginx makes them: longer than a number, which it may look like
_SLOW = 1.0  # seconds
_UNTOLD = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds


class Trace:
    """The WSGI application `inner` with a name for each request. It stands before everything else, the gate too."""

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, and tell how long that took. What the gate answered by itself is counted there and not told here: in
        a flood there is no room for a line each.
        """
        name, begun, status = _name(environ), perf_counter(), ["500"]

        def started(line: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            status[0] = line[:3]
            return start_response(line, [*headers, ("X-Request-Id", name)], *error)

        token = logs.push(request=name)
        try:
            return self._inner(environ, started)
        finally:
            took = perf_counter() - begun
            channel, route = _channel(str(environ.get("PATH_INFO", ""))), environ.get(ROUTE)
            if channel and status[0] == "200":
                metrics.replied(channel, took)
            usual = channel and status[0] == "200" and took < _SLOW  # counted, and its row says more than a line could
            if route and route not in _UNTOLD and not usual:
                said = {"method": _method(environ), "route": route, "status": int(status[0])}
                log.info("request", extra={"fields": {**said, "ms": round(took * 1000)}})
            logs.pop(token)


def install(app: Flask) -> None:
    """Have `app` say which view it is."""

    @app.before_request
    def said() -> None:
        request.environ[ROUTE] = request.url_rule.rule if request.url_rule else "none"

    app.wsgi_app = Trace(app.wsgi_app)  # type: ignore[method-assign]


def _method(environ: "WSGIEnvironment") -> str:
    method = str(environ.get("REQUEST_METHOD", ""))
    return method if method in ("GET", "HEAD", "POST", "OPTIONS") else "other"


def _name(environ: "WSGIEnvironment") -> str:
    for header in NAMES:
        said = environ.get(header, "")
        if said and _SANE.fullmatch(said) and (_RANDOM.fullmatch(said) or logs.masked(said) == said):
            return str(said)
    return secrets.token_hex(8)


def _channel(path: str) -> str:
    if path == "/twilio/sms":
        return Channel.TEXT.value
    if path.startswith("/46elks/"):
        below = path.split("/", 4)[3:]  # behind the secret
        return Channel.TEXT.value if below == ["text"] else Channel.VOICE.value if below[:1] == ["voice"] else ""
    spoken = path.startswith("/twilio/voice") and path != "/twilio/voice/status"
    return Channel.VOICE.value if spoken else ""

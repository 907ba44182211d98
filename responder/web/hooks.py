"""The provider's webhooks, and what a load balancer asks. No rules: check, parse, hand over, render."""

import logging
from collections.abc import Callable
from functools import wraps
from urllib.parse import parse_qs

from flask import Blueprint, Response, abort, request, send_from_directory

from responder.core.wording import Channel
from responder.gateways.twilio import EMPTY
from responder.ports import Inbound
from responder.store.engine import NotUpgraded, StoreAway
from responder.store.migrations import behind
from responder.store.queries import versions
from responder.web.access import Access, access
from responder.wiring import Service

log = logging.getLogger("responder.web")

SIGNATURE = "X-Twilio-Signature"
MAX_FIELDS = 200
Form = dict[str, list[str]]


def blueprint(service: Service) -> Blueprint:
    """The routes of `service`."""
    hooks = Blueprint("hooks", __name__)
    provider = _provider(service)

    def answered(read: Callable[[dict[str, str]], Inbound], form: Form, channel: Channel) -> Response:
        try:
            inbound = read(_first(form))
        except ValueError as error:
            log.warning("a signed request that cannot be read: %s", error)
            return _xml(EMPTY, 400)
        try:
            return _xml(service.answerer.respond(inbound))
        except Exception:  # whatever it is, somebody waits for an answer
            log.exception("%s could not be answered", inbound.id)
            return _xml(service.answerer.unavailable(channel))

    @hooks.post("/twilio/sms")
    @access(Access.PROVIDER)
    @provider
    def text(form: Form) -> Response:
        return answered(service.gateway.read_text, form, Channel.TEXT)

    @hooks.post("/twilio/voice", defaults={"turn": 0})
    @hooks.post("/twilio/voice/<int:turn>")
    @access(Access.PROVIDER)
    @provider
    def voice(form: Form, turn: int) -> Response:
        return answered(lambda fields: service.gateway.read_call(fields, turn), form, Channel.VOICE)

    @hooks.post("/twilio/voice/status")
    @access(Access.PROVIDER)
    @provider
    def call_status(form: Form) -> Response:
        call, status = form.get("CallSid", [""])[0], form.get("CallStatus", [""])[0]
        log.info("call %.40s is %.20s", call, status)
        if status in ("completed", "busy", "failed", "no-answer", "canceled"):
            try:
                service.answerer.ended(call)
            except StoreAway as error:
                log.error("database away, call %.40s stays until it is purged: %s", call, error)
        return _xml(EMPTY)

    @hooks.post("/twilio/receipts/<int:delivery>")
    @access(Access.PROVIDER)
    @provider
    def receipt(form: Form, delivery: int) -> Response:
        try:
            service.receiver.receipt(delivery, service.gateway.read_receipt(_first(form), _attempt()), service.clock())
        except ValueError as error:
            log.warning("a signed receipt that cannot be read: %s", error)
            return _xml(EMPTY, 400)
        except StoreAway as error:  # the provider does not try again; the list tells in the end
            log.error("database away, a receipt for %d is lost: %s", delivery, error)
            return _xml(EMPTY, 503)
        return _xml(EMPTY)

    @hooks.post("/twilio/called/<int:delivery>")
    @access(Access.PROVIDER)
    @provider
    def called(form: Form, delivery: int) -> Response:
        try:
            return _xml(service.receiver.key(delivery, _first(form).get("Digits", ""), service.clock()))
        except StoreAway as error:
            log.error("database away, a key on the call %d is lost: %s", delivery, error)
            return _xml(service.answerer.unavailable(Channel.VOICE))

    @hooks.get("/healthz")
    @access(Access.PUBLIC)
    def healthy() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @hooks.get("/readyz")
    @access(Access.PUBLIC)
    def ready() -> Response:
        try:
            with service.database.read() as connection:
                versions(connection)
            old = behind(service.database.engine)
        except NotUpgraded:
            old = True
        except StoreAway:
            return Response("database away\n", 503, mimetype="text/plain")
        if old:
            return Response("database not upgraded: run `responder init`\n", 503, mimetype="text/plain")
        return Response("ready\n", mimetype="text/plain")

    @hooks.get("/audio/<path:name>")
    @access(Access.PUBLIC)
    def audio(name: str) -> Response:
        if not name.endswith((".mp3", ".wav")):
            abort(404)
        return send_from_directory(service.settings.flows_dir.resolve() / "audio", name, max_age=3600)

    return hooks


def _provider(service: Service) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Lets a request through to the view, as its form, only with the provider's signature."""

    def guard(view: Callable[..., Response]) -> Callable[..., Response]:
        @wraps(view)
        def guarded(**values: int) -> Response:
            target, body = _raw_target(), request.get_data(cache=False)
            for errors in ("surrogateescape", "replace"):
                try:
                    form = parse_qs(body.decode("ascii", "replace"), True, errors=errors, max_num_fields=MAX_FIELDS)
                except ValueError:
                    break
                if service.gateway.genuine(target, form, request.headers.get(SIGNATURE)):
                    return view(form, **values)
                if b"%" not in body:
                    break
            log.warning("refused %s: the signature is missing or wrong", request.path)
            return Response("the signature is missing or wrong\n", 403, mimetype="text/plain")

        return guarded

    return guard


def _first(form: Form) -> dict[str, str]:
    return {name: values[0] for name, values in form.items()}


def _attempt() -> int:
    return request.args.get("attempt", 0, type=int)


def _raw_target() -> str:
    """Path and query exactly as they were sent: decoding them would break the signature."""
    raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path.rstrip("?"))
    return "/" + raw.split("://", 1)[1].partition("/")[2] if "://" in raw.split("?")[0] else raw


def _xml(document: str, status: int = 200) -> Response:
    return Response(document.encode("utf-8", "replace"), status, content_type="text/xml; charset=utf-8")

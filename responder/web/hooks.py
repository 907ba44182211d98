"""The provider's webhooks, and what a load balancer asks. No rules: check, parse, hand over, render."""

import logging
from collections.abc import Callable
from functools import wraps
from hmac import compare_digest

from flask import Blueprint, Response, abort, jsonify, request, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST

from responder import metrics
from responder.core.wording import Channel
from responder.gateways.twilio import EMPTY
from responder.ports import TWILIO, Inbound
from responder.store.engine import StoreAway
from responder.web import monitor as monitoring
from responder.web.access import Access, access
from responder.web.signed import FORM, Form, first
from responder.wiring import Service

log = logging.getLogger("responder.web")


def blueprint(service: Service) -> Blueprint:
    """The routes of `service`."""
    hooks = Blueprint("hooks", __name__)
    monitor = monitoring.Monitor(service)
    gateway = service.gateways[TWILIO]

    def answered(read: Callable[[dict[str, str]], Inbound], form: Form, channel: Channel) -> Response:
        try:
            inbound = read(first(form))
        except ValueError as error:
            log.warning("a signed request that cannot be read: %s", error)
            return _xml(EMPTY, 400)
        try:
            return _xml(service.answerer.respond(inbound))
        except Exception:  # whatever it is, somebody waits for an answer
            log.exception("%s could not be answered", inbound.id)
            metrics.inbound(channel, "unavailable")
            return _xml(service.answerer.unavailable(channel, TWILIO))

    @hooks.post("/twilio/sms")
    @access(Access.PROVIDER)
    @_provider
    def text(form: Form) -> Response:
        return answered(gateway.read_text, form, Channel.TEXT)

    @hooks.post("/twilio/voice", defaults={"turn": 0})
    @hooks.post("/twilio/voice/<int:turn>")
    @access(Access.PROVIDER)
    @_provider
    def voice(form: Form, turn: int) -> Response:
        return answered(lambda fields: gateway.read_call(fields, turn), form, Channel.VOICE)

    @hooks.post("/twilio/voice/status")
    @access(Access.PROVIDER)
    @_provider
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
    @_provider
    def receipt(form: Form, delivery: int) -> Response:
        try:
            service.receiver.receipt(delivery, gateway.read_receipt(first(form), _attempt()), service.clock())
        except ValueError as error:
            log.warning("a signed receipt that cannot be read: %s", error)
            return _xml(EMPTY, 400)
        except StoreAway as error:  # the provider does not try again; the list tells in the end
            log.error("database away, a receipt for %d is lost: %s", delivery, error)
            return _xml(EMPTY, 503)
        return _xml(EMPTY)

    @hooks.post("/twilio/called/<int:delivery>")
    @access(Access.PROVIDER)
    @_provider
    def called(form: Form, delivery: int) -> Response:
        try:
            return _xml(service.receiver.key(TWILIO, delivery, first(form).get("Digits", ""), service.clock()))
        except StoreAway as error:
            log.error("database away, a key on the call %d is lost: %s", delivery, error)
            return _xml(service.answerer.unavailable(Channel.VOICE, TWILIO))

    @hooks.get("/healthz")
    @access(Access.PUBLIC)
    def healthy() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @hooks.get("/readyz")
    @access(Access.PUBLIC)
    def ready() -> Response:
        """See web/monitor.py; `?strict`: also a warning is 503."""
        found = monitor.findings()
        is_ready = monitoring.ready(found, "strict" in request.args)
        if request.accept_mimetypes.best_match(["text/plain", "application/json"]) == "application/json":
            response = jsonify(monitoring.as_json(found, is_ready))
        else:
            response = Response(monitoring.told(found, is_ready), mimetype="text/plain")
        response.status_code = 200 if is_ready else 503
        return response

    @hooks.get("/metrics")
    @access(Access.MONITOR)
    def measured() -> Response:
        token = service.settings.metrics_token
        if not token:
            abort(404)
        if not compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
            return Response("METRICS_TOKEN\n", 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain")
        return Response(monitor.page(), content_type=CONTENT_TYPE_LATEST)

    @hooks.get("/audio/<path:name>")
    @access(Access.PUBLIC)
    def audio(name: str) -> Response:
        if not name.endswith((".mp3", ".wav")):
            abort(404)
        return send_from_directory(service.settings.flows_dir.resolve() / "audio", name, max_age=3600)

    return hooks


def _provider(view: Callable[..., Response]) -> Callable[..., Response]:
    """Lets a request through to the view, as its form, only where the gate has found the provider's signature."""

    @wraps(view)
    def guarded(**values: int) -> Response:
        form = request.environ.get(FORM)
        return view(form, **values) if form is not None else Response("no signed form\n", 403, mimetype="text/plain")

    return guarded


def _attempt() -> int:
    return request.args.get("attempt", 0, type=int)


def _xml(document: str, status: int = 200) -> Response:
    return Response(document.encode("utf-8", "replace"), status, content_type="text/xml; charset=utf-8")

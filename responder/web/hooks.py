"""The providers' webhooks, and what a load balancer asks. No rules: check, parse, hand over, render."""

import logging
from hmac import compare_digest
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, request, send_from_directory
from prometheus_client import CONTENT_TYPE_LATEST

from responder.gateways.recordings import NAMED
from responder.ports import ELKS, TWILIO
from responder.web import elks
from responder.web import monitor as monitoring
from responder.web.access import Access, access
from responder.web.provider import Provider, genuine
from responder.web.signed import Form
from responder.wiring import Service

log = logging.getLogger("responder.web")

YEAR = 365 * 86_400  # seconds
ENDS = ("completed", "busy", "failed", "no-answer", "canceled")


def blueprint(service: Service) -> Blueprint:
    """The routes of `service`."""
    hooks = Blueprint("hooks", __name__)
    monitor = monitoring.Monitor(service)
    if TWILIO in service.gateways:
        _twilio(hooks, Provider(service, TWILIO, unreadable=400))
    if ELKS in service.gateways:
        elks.add(hooks, service)

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
        made = NAMED.fullmatch(name.removesuffix(".wav")) is not None
        folder = service.settings.audio_folder if made else service.settings.flows_dir / "audio"
        found = _sound(folder.resolve(), name, YEAR if made else 3600)
        found.cache_control.immutable = made  # its name is a hash of all that makes it
        return found

    return hooks


def _twilio(hooks: Blueprint, provider: Provider) -> None:
    @hooks.post("/twilio/sms")
    @access(Access.PROVIDER)
    @genuine
    def text(form: Form) -> Response:
        return provider.text(form)

    @hooks.post("/twilio/voice", defaults={"turn": 0})
    @hooks.post("/twilio/voice/<int:turn>")
    @access(Access.PROVIDER)
    @genuine
    def voice(form: Form, turn: int) -> Response:
        return provider.voice(form, turn)

    @hooks.post("/twilio/voice/status")
    @access(Access.PROVIDER)
    @genuine
    def call_status(form: Form) -> Response:
        call, status = form.get("CallSid", [""])[0], form.get("CallStatus", [""])[0]
        log.info("call %.40s is %.20s", call, status)
        return provider.ended(call) if status in ENDS else provider.nothing()

    @hooks.post("/twilio/receipts/<int:delivery>")
    @access(Access.PROVIDER)
    @genuine
    def receipt(form: Form, delivery: int) -> Response:
        return provider.receipt(form, delivery)

    @hooks.post("/twilio/called/<int:delivery>")
    @access(Access.PROVIDER)
    @genuine
    def called(form: Form, delivery: int) -> Response:
        return provider.key(form, delivery)


def _sound(folder: Path, name: str, max_age: int) -> Response:
    """The file, if it lies in `folder` and no link leads out of there."""
    try:
        inside = (folder / name).resolve(strict=True).is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # not there, no name of a file, links in a ring
        inside = False
    return send_from_directory(folder, name, max_age=max_age) if inside else abort(404)

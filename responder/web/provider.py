"""What the webhooks of all providers do alike. No rules: parse, hand over, render."""

import logging
from collections.abc import Callable
from functools import wraps

from flask import Response, request

from responder import metrics
from responder.core.wording import Channel
from responder.ports import Inbound, Outbound
from responder.store.engine import StoreAway
from responder.web.signed import FORM, Form, first
from responder.wiring import Service

log = logging.getLogger("responder.web")


class Provider:
    """The webhooks of the gateway `name`. `unreadable`: the status that answers what can never be read."""

    def __init__(self, service: Service, name: str, unreadable: int) -> None:
        self._service, self._name, self._unreadable = service, name, unreadable
        self._gateway = service.gateways[name]

    def text(self, form: Form) -> Response:
        """A text came in."""
        return self._answered(self._gateway.read_text, form, Channel.TEXT)

    def voice(self, form: Form, turn: int) -> Response:
        """A turn of a call."""
        return self._answered(lambda fields: self._gateway.read_call(fields, turn), form, Channel.VOICE)

    def ended(self, call: str) -> Response:
        """A call is over."""
        try:
            self._service.answerer.ended(call)
        except StoreAway as error:
            log.error("database away, call %.40s stays until it is purged: %s", call, error)
        return self.nothing()

    def receipt(self, form: Form, delivery: int) -> Response:
        """What became of a message or a call of ours."""
        attempt = request.args.get("attempt", 0, type=int)
        try:
            receipt = self._gateway.read_receipt(first(form), attempt)
            self._service.receiver.receipt(delivery, receipt, self._service.clock())
        except ValueError as error:
            log.warning("a genuine receipt that cannot be read: %s", error)
            return self.nothing(self._unreadable)
        except StoreAway as error:  # who tries again is told later; else the list tells in the end
            log.error("database away, a receipt for %d is lost: %s", delivery, error)
            return self.nothing(503)
        return self.nothing()

    def key(self, form: Form, delivery: int) -> Response:
        """A key was pressed in a call of ours."""
        try:
            digits = self._gateway.read_call(first(form), 1).text
        except ValueError:
            digits = ""
        try:
            return self._document(self._service.receiver.key(self._name, delivery, digits, self._service.clock()))
        except StoreAway as error:
            log.error("database away, a key on the call %d is lost: %s", delivery, error)
            return self._document(self._service.answerer.unavailable(Channel.VOICE, self._name))

    def nothing(self, status: int = 200) -> Response:
        """An answer that asks for nothing to be done."""
        return self._document(self._gateway.text_reply(Outbound()), Channel.TEXT, status)

    def _answered(self, read: Callable[[dict[str, str]], Inbound], form: Form, channel: Channel) -> Response:
        try:
            inbound = read(first(form))
        except ValueError as error:
            log.warning("a genuine request that cannot be read: %s", error)
            return self.nothing(self._unreadable)
        try:
            return self._document(self._service.respond(inbound), channel)
        except Exception:  # whatever it is, somebody waits for an answer
            log.exception("%s could not be answered", inbound.id)
            metrics.inbound(channel, "unavailable")
            return self._document(self._service.answerer.unavailable(channel, self._name), channel)

    def _document(self, document: str, channel: Channel = Channel.VOICE, status: int = 200) -> Response:
        kind = self._gateway.text_type if channel is Channel.TEXT else self._gateway.voice_type
        return Response(document.encode("utf-8", "replace"), status, content_type=kind)


def genuine(view: Callable[..., Response]) -> Callable[..., Response]:
    """Lets a request through to the view, as its form, only where the gate has found that the provider sent it."""

    @wraps(view)
    def guarded(**values: int) -> Response:
        form = request.environ.get(FORM)
        return view(form, **values) if form is not None else Response("no signed form\n", 403, mimetype="text/plain")

    return guarded

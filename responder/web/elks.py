"""46elks' webhooks. Their address holds a secret, which the gate has compared by the time a view is reached."""

from typing import Any

from flask import Blueprint, Response

from responder.gateways.elks_paths import CALLED, ENDED, RECEIPTS, ROOT, TEXT, VOICE
from responder.ports import ELKS
from responder.web.access import Access, access
from responder.web.provider import Provider, genuine
from responder.web.signed import Form
from responder.wiring import Service

_SECRET = f"{ROOT}/<secret>"


def add(hooks: Blueprint, service: Service) -> None:
    """The routes. What can never be read is answered as if it had been: else it comes again for hours."""
    provider = Provider(service, ELKS, unreadable=200)

    @hooks.url_value_preprocessor
    def forget(_: str | None, values: dict[str, Any] | None) -> None:
        if values:
            values.pop("secret", None)

    @hooks.post(f"{_SECRET}/{TEXT}", endpoint="elks_text")
    @access(Access.PROVIDER)
    @genuine
    def text(form: Form) -> Response:
        return provider.text(form)

    @hooks.post(f"{_SECRET}/{VOICE}", endpoint="elks_voice", defaults={"turn": 0})
    @hooks.post(f"{_SECRET}/{VOICE}/<int:turn>", endpoint="elks_voice")
    @access(Access.PROVIDER)
    @genuine
    def voice(form: Form, turn: int) -> Response:
        return provider.voice(form, turn)

    @hooks.post(f"{_SECRET}/{ENDED}", endpoint="elks_ended")
    @access(Access.PROVIDER)
    @genuine
    def ended(form: Form) -> Response:
        call = form.get("callid") or form.get("id") or [""]
        return provider.ended(call[0])

    @hooks.post(f"{_SECRET}/{RECEIPTS}/<int:delivery>", endpoint="elks_receipt")
    @access(Access.PROVIDER)
    @genuine
    def receipt(form: Form, delivery: int) -> Response:
        return provider.receipt(form, delivery)

    @hooks.post(f"{_SECRET}/{CALLED}/<int:delivery>", endpoint="elks_called")
    @access(Access.PROVIDER)
    @genuine
    def called(form: Form, delivery: int) -> Response:
        return provider.key(form, delivery)

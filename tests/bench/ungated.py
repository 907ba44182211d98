"""The service as it was without its gate: the signature is checked, and everything goes straight to the application."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from responder.app import create_app
from responder.ports import TWILIO
from responder.web.signed import FORM, read_body, signed_form

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

app = create_app()
_gateway, _gate = app.extensions["responder"].gateways[TWILIO], app.extensions["gate"]


def _straight(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    form = signed_form(_gateway, environ, read_body(environ))
    if form is not None:
        environ[FORM] = form
    inner: Iterable[bytes] = _gate._app(environ, start_response)
    return inner


app.wsgi_app._inner = _straight  # type: ignore[attr-defined]

"""A provider's request as it came in: its form, once the signature was found to be the provider's."""

from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from responder.ports import Gateway

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

FORM = "responder.form"  # where the gate leaves a form for the views; no header of a request can be called that
MAX_BODY = 32 * 1024  # bytes; a text with every field the provider knows is under 20 kB
MAX_FIELDS = 200
Form = dict[str, list[str]]


class TooLarge(ValueError):
    """A body that no provider sends."""


def read_body(environ: "WSGIEnvironment") -> bytes:
    """The whole body, which can be read again after this. Raises TooLarge, having read at most MAX_BODY."""
    given, stream = str(environ.get("CONTENT_LENGTH") or ""), environ["wsgi.input"]
    if given.isdecimal():
        if len(given) > 9 or int(given) > MAX_BODY:
            raise TooLarge
        body = stream.read(int(given))
    else:
        body = stream.read(MAX_BODY + 1) if environ.get("wsgi.input_terminated") else b""
        if len(body) > MAX_BODY:
            raise TooLarge
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
    return bytes(body)


def signed_form(gateway: Gateway, environ: "WSGIEnvironment", body: bytes) -> Form | None:
    """The form in `body`, or None without the provider's signature of it."""
    target, signature = raw_target(environ), environ.get("HTTP_X_TWILIO_SIGNATURE")
    for errors in ("surrogateescape", "replace"):
        try:
            form = parse_qs(body.decode("ascii", "replace"), True, errors=errors, max_num_fields=MAX_FIELDS)
        except ValueError:
            return None
        if gateway.genuine(target, form, signature):
            return form
        if b"%" not in body:
            return None
    return None


def first(form: Form) -> dict[str, str]:
    """The first value of each field."""
    return {name: values[0] for name, values in form.items()}


def raw_target(environ: "WSGIEnvironment") -> str:
    """Path and query exactly as they were sent: decoding them would break the signature."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or _rebuilt(environ))
    return "/" + raw.split("://", 1)[1].partition("/")[2] if "://" in raw.split("?")[0] else raw


def _rebuilt(environ: "WSGIEnvironment") -> str:
    """From a server that does not keep what was sent."""
    path = quote(str(environ.get("PATH_INFO") or "/").encode("latin-1", "replace"))
    query = environ.get("QUERY_STRING")
    return f"{path}?{query}" if query else path

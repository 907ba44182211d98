"""A provider's request as it came in: its form, once it was found to be the provider's."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from responder.ports import ELKS, TWILIO, Gateway
from responder.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

FORM = "responder.form"  # where the gate leaves a form for the views; no header of a request can be called that
MAX_BODY = 32 * 1024  # bytes; a text with every field the provider knows is under 20 kB
MAX_FIELDS = 200
Form = dict[str, list[str]]
Proof = Callable[["WSGIEnvironment"], str | None]
# Who gives no proof is told so where they may be the provider, set up wrongly; where an address is the secret, nothing.
FORGED: Mapping[str, tuple[HTTPStatus, bytes]] = {
    TWILIO: (HTTPStatus.FORBIDDEN, b"the signature is missing or wrong\n"),
    ELKS: (HTTPStatus.NOT_FOUND, b"404 Not Found\n"),
}


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


def signature(environ: "WSGIEnvironment") -> str | None:
    """What Twilio signs a request with."""
    found: str | None = environ.get("HTTP_X_TWILIO_SIGNATURE")
    return found


def source(header: str, hops: int) -> Proof:
    """Tells the address that a request came from: what the outermost of our `hops` proxies wrote into `header`, or
    without one whoever is connected.
    """
    if not header:
        return lambda environ: environ.get("REMOTE_ADDR")
    name = f"HTTP_{header.upper().replace('-', '_')}"

    def told(environ: "WSGIEnvironment") -> str | None:
        listed = [part.strip() for part in str(environ.get(name, "")).split(",")]
        if name == "HTTP_X_FORWARDED_FOR":
            return listed[-hops] if len(listed) >= hops > 0 else None
        return listed[0] if len(listed) == 1 else None

    return told


def proofs(settings: Settings) -> dict[str, Proof]:
    """What each provider proves a request by."""
    return {TWILIO: signature, ELKS: source(settings.elks_address_header, settings.proxy_hops)}


def signed_form(gateway: Gateway, environ: "WSGIEnvironment", body: bytes, proof: Proof = signature) -> Form | None:
    """The form in `body`, or None where `proof` does not show that the provider sent it."""
    target, shown = raw_target(environ), proof(environ)
    for errors in ("surrogateescape", "replace"):
        try:
            form = parse_qs(body.decode("ascii", "replace"), True, errors=errors, max_num_fields=MAX_FIELDS)
        except ValueError:
            return None
        if gateway.genuine(target, form, shown):
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

"""Calling our own webhooks from outside, as the provider does: is it us who answer, and do signatures hold?

What is posted is the report of a call that is nobody's, with a status that means nothing: it is judged like any other
request of the provider, answered, and leaves nothing behind.
"""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote_plus

from twilio.request_validator import RequestValidator

from responder.core.finding import Finding, plain, shown
from responder.gateways.twilio import EMPTY
from responder.gateways.web_check import Answer, Line, NoAnswer

HEALTH, STATUS = "/healthz", "/twilio/voice/status"
ALIVE = "ok"
REFUSED = "signature"  # a word of what we say ourselves when a signature is wrong
ODD = "?omr%C3%A5de=%C3%A5%2B+a//b&tom=&a=%7e"
_MANNER = "application/x-www-form-urlencoded; charset=UTF-8"
_CALL = {"CallSid": "CA-doctor", "CallStatus": "doctor"}
_ODD_CALL = {**_CALL, "Note": "räksmörgås + 1 & 2 // %C3%A5"}
_WAYS = "`deploy/nginx.conf` and `deploy/Caddyfile` show how"
Form = Mapping[str, str]


async def look_from_outside(line: Line, public_url: str, token: str) -> AsyncIterator[Finding]:
    """What somebody finds who calls PUBLIC_URL, the provider's signature in hand ("": no provider signs). No more once
    nobody answers.
    """
    where = f"PUBLIC_URL ({shown(public_url)})"
    try:
        alive = await line.ask("GET", public_url + HEALTH)
    except NoAnswer as why:
        yield Finding(False, f"{where} {why}")
        return
    fault = _health(alive)
    yield Finding(not fault, f"{where} {fault or 'answers'}")
    if fault or not token:
        return
    try:
        async for finding in _signatures(line, public_url, token):
            yield finding
    except NoAnswer as why:
        yield Finding(False, f"{where} answers at {HEALTH}, but {STATUS} {why}")


async def _signatures(line: Line, public_url: str, token: str) -> AsyncIterator[Finding]:
    address = public_url + STATUS
    bare = await line.ask("POST", address, _encoded(_CALL), {"Content-Type": _MANNER})
    if bare.status == 200:
        yield Finding(False, f"{shown(address)} takes requests without a signature: what answers there is not ours")
        return
    plainly = await _signed(line, address, _CALL, token)
    if fault := _unheard(plainly):
        yield Finding(False, f"{shown(address)} {fault}")
        return
    if plainly.status == 403:
        yield Finding(False, _wrong_throughout(plainly))
        return
    oddly = await _signed(line, address + ODD, _ODD_CALL, token)
    if oddly.status == 200 and oddly.body == EMPTY:
        yield Finding(True, "signatures hold through what stands before the service, odd characters too; our service")
        return
    yield Finding(
        False,
        "signatures do not hold through your proxy: a plain request passes, one with an encoded character, + or // is "
        f"answered {oddly.status}; it must pass path, query and body on unchanged and undecoded: {_WAYS}",
    )


async def _signed(line: Line, address: str, form: Form, token: str) -> Answer:
    signature = RequestValidator(token).compute_signature(address, dict(form))
    return await line.ask("POST", address, _encoded(form), {"Content-Type": _MANNER, "X-Twilio-Signature": signature})


def _encoded(form: Form) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in form.items()).encode()


def _health(answer: Answer) -> str:
    """What is wrong with an answer to HEALTH, or ""."""
    if answer.status == 200 and answer.body.strip() == ALIVE:
        return ""
    if answer.status == 200:
        return f"is answered by something else than this service: `{plain(answer.body)[:60]}`"
    return _unheard(answer) or f"is answered {answer.status} by something else than this service"


def _unheard(answer: Answer) -> str:
    """Why a request did not get to us, or "" if it did."""
    status = answer.status
    if 300 <= status < 400:
        return (
            f"redirects ({status}) to {shown(answer.location)}: a redirected webhook loses its fields; set PUBLIC_URL"
            " to the address that answers itself, here and at the provider"
        )
    if status in (502, 504):
        return f"is answered {status} by a proxy that does not reach our service: is it running, and at that address?"
    if status == 503:
        return "is answered 503: the service, or a proxy before it, has too much to do or is stopped"
    if status == 404:
        return "is not found (404): the proxy changes the path, or another service answers"
    if status == 200 and answer.body != EMPTY and answer.body.strip() != ALIVE:
        return f"is answered by something else than this service: `{plain(answer.body)[:60]}`"
    if status in (200, 403):
        return ""
    return f"is answered {status}, where 200 is expected"


def _wrong_throughout(answer: Answer) -> str:
    if REFUSED not in answer.body:
        return (
            f"{STATUS} is refused (403) before it gets to the service: a firewall or proxy forbids what the provider"
            " posts; let POST to /twilio/ through"
        )
    return (
        "signatures do not hold through your proxy: the service refuses a request signed with TWILIO_AUTH_TOKEN for"
        " PUBLIC_URL. Either it still runs with another of the two (restart it), or the proxy changes the path: it must"
        f" pass path, query and body on unchanged: {_WAYS}"
    )

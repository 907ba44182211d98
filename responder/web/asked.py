"""What a request asks for, by its method and address alone: which kind it is, and of which provider it would be."""

from collections.abc import Mapping
from dataclasses import dataclass

from responder.gateways import elks_paths
from responder.ports import ELKS, TWILIO
from responder.web.line import Kind

STOP = Kind("stop", rank=0, room=288, patience=10)  # the provider waits 15 s: late is better than not done
UNDER_WAY = Kind("call under way", rank=1, room=256, patience=8)
CALL = Kind("call", rank=2, room=208, patience=8)  # it still rings
TEXT = Kind("text", rank=3, room=128, patience=1.5)
RECEIPT = Kind("receipt", rank=0, room=160, patience=10)  # nobody waits for it, and it does not come again
PAGE = Kind("page", rank=0, room=12, patience=5)
PROBE = Kind("probe", rank=0, room=16, patience=2)  # many may ask while one look at the database takes long
AUDIO = Kind("audio", rank=0, room=200, patience=5)  # a provider fetches it for a caller who listens already


@dataclass(frozen=True, slots=True)
class Asked:
    """`gateway`: the provider that a request of this kind must be of, "" for what anybody may ask."""

    kind: Kind
    gateway: str = ""


ANYBODY = Asked(PAGE)
_PROBE, _AUDIO = Asked(PROBE), Asked(AUDIO)
_AT_TWILIO, _AT_ELKS = "/twilio/", f"{elks_paths.ROOT}/"
_TWILIO = {
    "/twilio/sms": Asked(TEXT, TWILIO),
    "/twilio/voice": Asked(CALL, TWILIO),
    "/twilio/voice/status": Asked(RECEIPT, TWILIO),
}
_BELOW_TWILIO = {  # a number
    "/twilio/voice": Asked(UNDER_WAY, TWILIO),
    "/twilio/called": Asked(STOP, TWILIO),  # a key may be STOPP
    "/twilio/receipts": Asked(RECEIPT, TWILIO),
}
_ELKS = {  # behind the secret
    elks_paths.TEXT: Asked(TEXT, ELKS),
    elks_paths.VOICE: Asked(CALL, ELKS),
    elks_paths.ENDED: Asked(RECEIPT, ELKS),
}
_BELOW_ELKS = {
    elks_paths.VOICE: Asked(UNDER_WAY, ELKS),
    elks_paths.CALLED: Asked(STOP, ELKS),
    elks_paths.RECEIPTS: Asked(RECEIPT, ELKS),
}
_PROBES = ("/readyz", "/metrics")


def asked(method: str, path: str) -> Asked | None:
    """What is asked for; None for what costs nothing and must always be answered."""
    found = None
    if method == "POST":
        if path.startswith(_AT_TWILIO):
            found = _TWILIO.get(path) or _numbered(_BELOW_TWILIO, path)
        elif path.startswith(_AT_ELKS):
            below = path[len(_AT_ELKS) :].partition("/")[2]
            found = _ELKS.get(below) or _numbered(_BELOW_ELKS, below)
        if found:
            return found
    if path == "/healthz":
        return None
    if path.startswith("/audio/"):
        return _AUDIO
    return _PROBE if path in _PROBES else ANYBODY


def _numbered(below: Mapping[str, Asked], path: str) -> Asked | None:
    above, _, last = path.rpartition("/")
    return below.get(above) if last.isascii() and last.isdecimal() else None

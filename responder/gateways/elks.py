"""46elks: its form fields, the reply to a text as plain text, and a call as JSON actions.

Sources: 46elks' documentation of receiving texts and calls, delivery reports, and the actions ivr, play and hangup. It
signs nothing: what proves a request is a secret in the address and where it comes from. It neither speaks nor
understands speech: all that is said in one turn is one audio file, and callers answer by keys. Where we answer anything
but 200 to 204 it tries again for hours. The body of an answer may be an action as well, which is JSON.
"""

import hmac
import json
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol

from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.core.words import printable
from responder.gateways.elks_paths import CALLED, ENDED, RECEIPTS, ROOT, VOICE, Paths
from responder.gateways.forms import an_id
from responder.ports import ELKS, Inbound, Outbound, Receipt

KEYS_TIMEOUT, PER_KEY = 8, 1  # seconds before a caller is asked again: for all of the input, so longer for a longer one
_LONGEST_TIMEOUT = 30
HOLD = 5  # seconds that a caller who cannot be answered waits
_POSTCODE_LENGTH = 5
_CALLS = {"success": "completed", "busy": "busy", "failed": "no-answer"}  # `failed` is also what nobody answers
Action = dict[str, Any]


class Recordings(Protocol):
    """Speech as files."""

    def address(self, sentences: tuple[Spoken, ...]) -> str:
        """The public address of one audio file that says all `sentences`; "" if they are nothing."""
        ...

    def prepare(self, sentences: tuple[Spoken, ...]) -> None:
        """Make what is missing of them, which may take a while."""
        ...


class ElksGateway:
    """One account at 46elks, which reaches us by `paths` from `networks`."""

    real = True
    speech = False
    text_type, voice_type = "text/plain; charset=utf-8", "application/json"

    def __init__(
        self, paths: Paths, secret: str, networks: tuple[IPv4Network | IPv6Network, ...], recordings: Recordings
    ) -> None:
        self._paths, self._secret, self._networks, self._recordings = paths, secret.encode(), networks, recordings

    def genuine(self, target: str, form: Mapping[str, list[str]], proof: str | None) -> bool:
        """Whether the address has the secret in it, and the request comes from one of theirs (`proof`)."""
        knows = hmac.compare_digest(self._paths.secret_in(target).encode("utf-8", "replace"), self._secret)
        return self._is_theirs(proof or "") and knows

    def read_text(self, form: Mapping[str, str]) -> Inbound:
        """See ports.Gateway."""
        return Inbound(
            id=an_id(form, "id"),
            channel=Channel.TEXT,
            sender=form.get("from", ""),
            text=form.get("message", ""),
            gateway=ELKS,
        )

    def read_call(self, form: Mapping[str, str], turn: int) -> Inbound:
        """See ports.Gateway. A turn's id is the call's with the turn's number, so that a retry is known again. `result`
        holds the keys, or a word for why there are none; a caller who presses star wants another language.
        """
        call, result = an_id(form, "callid", "id"), form.get("result", "").rstrip("#")
        keys = result if result and not result.strip("0123456789*") and turn else ""
        if keys.endswith("*") and len(keys) != _POSTCODE_LENGTH:
            keys = "*"
        return Inbound(
            id=f"{call}/{turn}",
            channel=Channel.VOICE,
            sender=form.get("from", ""),
            text=keys,
            keyed=bool(keys),
            silent=turn > 0 and not keys,
            begins=turn == 0,
            call=call,
            turn=turn,
            gateway=ELKS,
        )

    def read_receipt(self, form: Mapping[str, str], attempt: int) -> Receipt:
        """See ports.Gateway. Of a text it is told `status`, of a call its `state`."""
        state = form.get("state", "")
        status = _CALLS.get(state, state) if state else form.get("status", "")
        if not status:
            raise ValueError("a receipt without a status")
        return Receipt(an_id(form, "callid", "id") if state else an_id(form, "id"), status, 0, attempt, bool(state))

    def receipts(self, delivery: int, attempt: int) -> str:
        """See ports.Gateway."""
        return f"{ROOT}/{RECEIPTS}/{delivery}?attempt={attempt}"

    def keys(self, delivery: int) -> str:
        """See ports.Gateway."""
        return f"{ROOT}/{CALLED}/{delivery}"

    def text_reply(self, reply: Outbound) -> str:
        """The text itself. What a resident wrote may stand first in it: it must not be taken for an action."""
        text = printable(reply.text)
        return f"({text[1:]}" if text.startswith(("{", "[")) else text

    def voice_reply(self, reply: Outbound) -> str:
        """A question that posts what is keyed to the next turn, silence included; or the last words."""
        if reply.ends:
            return _written(self._played(reply.spoken))
        return _written(
            self._asked(reply.spoken, reply.digits, _patience(reply.digits), f"{ROOT}/{VOICE}/{reply.turn}")
        )

    def hold(self, reply: Outbound, turn: int) -> str:
        """See ports.Gateway. There is no pause: it waits for keys, and those are heard."""
        return _written(self._asked(reply.spoken, reply.digits, HOLD, f"{ROOT}/{VOICE}/{turn}"))

    def call_document(
        self, spoken: tuple[Spoken, ...], again: tuple[Spoken, ...], after: tuple[Spoken, ...], keys: str
    ) -> str:
        """See ports.Gateway. What has to be recorded for it is, which takes a while; less where it answers a key, since
        somebody waits.
        """
        said = spoken + again + spoken if again else spoken
        if not keys:
            return _written(self._played(said + after))
        self._recordings.prepare(spoken + again + after)
        address = self._recordings.address(after)
        asked: Action = {
            "ivr": address,
            "digits": 1,
            "timeout": _patience(1),
            "repeat": 1,
            "next": self._paths.address(keys),
        }
        return _written({**self._played(said), "next": asked} if said else asked)

    def _asked(self, spoken: tuple[Spoken, ...], digits: int, timeout: int, to: str) -> Action:
        return {
            "ivr": self._recordings.address(spoken),
            "digits": digits,
            "timeout": timeout,
            "repeat": 1,
            "next": self._paths.address(to),
            "whenhangup": self._paths.address(f"{ROOT}/{ENDED}"),
        }

    def _played(self, spoken: tuple[Spoken, ...]) -> Action:
        address = self._recordings.address(spoken)
        return {"play": address, "skippable": False} if address else {"hangup": "reject"}

    def _is_theirs(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._networks)


def _patience(digits: int) -> int:
    return min(KEYS_TIMEOUT + PER_KEY * digits, _LONGEST_TIMEOUT)


def _written(action: Action) -> str:
    return json.dumps(action, separators=(",", ":"))

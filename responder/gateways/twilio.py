"""Twilio: its signature, its form fields, its TwiML.

Sources: Twilio's webhook security and TwiML documentation. The signature is HMAC-SHA1 over the public URL and
the form fields in order; Gather is dtmf-only, 5 s and en-US unless told otherwise, and knows one finishOnKey; Say takes
4,096 characters.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from twilio.request_validator import RequestValidator

from responder.core.flow import Flow
from responder.core.telling import Spoken
from responder.core.wording import Channel, Wording
from responder.core.words import printable
from responder.gateways.forms import an_id
from responder.ports import Inbound, Outbound, Receipt

EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
VOICE_PATH = "/twilio/voice"
KEYS_TIMEOUT = 6  # seconds of silence before a caller is asked again
HOLD = 5  # seconds that a caller who cannot be answered waits
_SAY_LIMIT = 4000
_CALL_LIMIT = 4000
_HINTS_LIMIT = 500  # hints a Gather may hold
_POSTCODE_LENGTH = 5


class TwilioGateway:
    """One Twilio account. `hints`: tells the names to expect in speech."""

    real = speech = True
    text_type = voice_type = "text/xml; charset=utf-8"

    def __init__(self, public_url: str, auth_token: str, flow: Flow, hints: Callable[[], tuple[str, ...]]) -> None:
        self._public_url = public_url
        self._key = auth_token.encode()
        self._validator = RequestValidator(auth_token)
        self._flow = flow
        self._hints = hints

    def genuine(self, target: str, form: Mapping[str, list[str]], proof: str | None) -> bool:
        """As the library judges; the common case (no field twice) first by the bare HMAC, at a sixth of its cost."""
        if not proof:
            return False
        url = self._public_url + target
        try:
            if all(len(values) == 1 for values in form.values()):
                signed = url + "".join(name + form[name][0] for name in sorted(form))
                digest = base64.b64encode(hmac.digest(self._key, signed.encode("utf-8", "surrogateescape"), "sha1"))
                if hmac.compare_digest(digest, proof.encode()):
                    return True
            return bool(self._validator.validate(url, _Multi(form), proof))
        except (UnicodeError, ValueError, TypeError):
            return False

    def read_text(self, form: Mapping[str, str]) -> Inbound:
        """See ports.Gateway."""
        handled = form.get("OptOutType", "").upper()
        return Inbound(
            id=an_id(form, "MessageSid"),
            channel=Channel.TEXT,
            sender=form.get("From", ""),
            text=form.get("Body", ""),
            handled=handled if handled in ("STOP", "HELP", "START") else "",
        )

    def read_call(self, form: Mapping[str, str], turn: int) -> Inbound:
        """See ports.Gateway. A turn's id is the call's with the turn's number, so that a retry is known again."""
        call = an_id(form, "CallSid")
        digits, speech = form.get("Digits", "").rstrip("#"), form.get("SpeechResult", "")
        if form.get("FinishedOnKey") == "*" and len(digits) != _POSTCODE_LENGTH:
            digits = "*"
        return Inbound(
            id=f"{call}/{turn}",
            channel=Channel.VOICE,
            sender=form.get("From", ""),
            text=digits or speech,
            keyed=bool(digits),
            silent=turn > 0 and not digits and not speech,
            begins=turn == 0,
            call=call,
            turn=turn,
            sure=_confidence(form) if speech and not digits else 1.0,
        )

    def read_receipt(self, form: Mapping[str, str], attempt: int) -> Receipt:
        """See ports.Gateway."""
        call = "CallSid" in form
        status = form.get("CallStatus" if call else "MessageStatus", "")
        if not status:
            raise ValueError("a receipt without a status")
        code = form.get("ErrorCode", "")
        named = an_id(form, "CallSid" if call else "MessageSid")
        return Receipt(named, status, int(code) if code.isdecimal() else 0, attempt, call)

    def receipts(self, delivery: int, attempt: int) -> str:
        """See ports.Gateway."""
        return f"/twilio/receipts/{delivery}?attempt={attempt}"

    def keys(self, delivery: int) -> str:
        """See ports.Gateway."""
        return f"/twilio/called/{delivery}"

    def text_reply(self, reply: Outbound) -> str:
        """One Message, or an empty Response."""
        if not reply.text:
            return EMPTY
        body = escape(printable(reply.text))
        return f'<?xml version="1.0" encoding="UTF-8"?><Response><Message>{body}</Message></Response>'

    def voice_reply(self, reply: Outbound) -> str:
        """Sentences inside a Gather that posts to the next turn, silence included; or sentences and a Hangup."""
        spoken = "".join(self._spoken(sentence) for sentence in reply.spoken)
        if reply.ends:
            inner = f"{spoken}<Hangup/>"
        else:
            wording = self._flow.languages[reply.language]
            hints = ",".join(self._hints()[:_HINTS_LIMIT])
            action = f"{VOICE_PATH}/{reply.turn}"
            speech = f' language={quoteattr(wording.locale)} hints={quoteattr(hints)} speechTimeout="auto"'
            inner = (
                f'<Gather input="{"dtmf speech" if wording.speech else "dtmf"}" action="{action}" method="POST"'
                f' numDigits="{reply.digits}" finishOnKey="{reply.finish}" timeout="{KEYS_TIMEOUT}"'
                ' actionOnEmptyResult="true"'
                f"{speech if wording.speech else ''}>{spoken}</Gather>"
            )
        return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inner}</Response>'

    def hold(self, reply: Outbound, turn: int) -> str:
        """See ports.Gateway. Redirect asks for the turn again without what was keyed or said."""
        spoken = "".join(self._spoken(sentence) for sentence in reply.spoken)
        again = f'<Pause length="{HOLD}"/><Redirect method="POST">{VOICE_PATH}/{turn}</Redirect>'
        return f'<?xml version="1.0" encoding="UTF-8"?><Response>{spoken}{again}</Response>'

    def call_document(
        self, spoken: tuple[Spoken, ...], again: tuple[Spoken, ...], after: tuple[Spoken, ...], keys: str
    ) -> str:
        """See ports.Gateway. Twilio takes 4,000 characters: neighbouring sentences share a Say, and what is too long to
        be told twice is told once.
        """
        whole = self._call(spoken + again + spoken if again else spoken, after, keys)
        return whole if len(whole) <= _CALL_LIMIT else self._call(spoken, after, keys)

    def _call(self, spoken: tuple[Spoken, ...], after: tuple[Spoken, ...], keys: str) -> str:
        said, asked = self._together(spoken), self._together(after)
        if keys:
            asked = (
                f'<Gather input="dtmf" action={quoteattr(self._public_url + keys)} method="POST" numDigits="1"'
                f' timeout="{KEYS_TIMEOUT}">{asked}</Gather>'
            )
        return f'<?xml version="1.0" encoding="UTF-8"?><Response><Pause length="1"/>{said}{asked}<Hangup/></Response>'

    def _together(self, sentences: tuple[Spoken, ...]) -> str:
        out = ""
        for language, group in groupby(sentences, lambda s: "" if s.clip else s.language):
            rows = list(group)
            if not language:
                out += "".join(self._spoken(row) for row in rows)
                continue
            text = '<break time="1s"/>'.join(escape(printable(row.text)[:_SAY_LIMIT]) for row in rows)
            voice = self._voice(self._flow.languages[language])
            out += f'<Say{voice}><prosody rate="slow">{text}</prosody></Say>'
        return out

    def _spoken(self, sentence: Spoken) -> str:
        wording = self._flow.languages[sentence.language]
        out = f"<Play>{escape(self._address(sentence.clip))}</Play>" if sentence.clip else ""
        text = escape(printable(sentence.text)[:_SAY_LIMIT])
        if text and (wording.voice_name or not sentence.clip):
            out += f'<Say{self._voice(wording)}><prosody rate="slow">{text}</prosody></Say><Pause length="1"/>'
        return out

    def _voice(self, wording: Wording) -> str:
        """The language's own voice; where the provider has none, that of the language we start in."""
        speaker = wording if wording.voice_name else self._flow.languages[self._flow.default_language]
        return f" voice={quoteattr(speaker.voice_name)} language={quoteattr(speaker.locale)}"

    def _address(self, clip: str) -> str:
        return clip if clip.startswith("https://") else f"{self._public_url}/audio/{clip}"


class _Multi(dict[str, str]):
    """A form in the shape that the library's validator reads repeated fields from."""

    def __init__(self, form: Mapping[str, list[str]]) -> None:
        super().__init__({name: values[0] for name, values in form.items() if values})
        self._lists = form

    def getlist(self, name: str) -> list[str]:
        """All values of a field."""
        return self._lists[name]


def _confidence(form: Mapping[str, str]) -> float:
    try:
        return float(form.get("Confidence", "1"))
    except ValueError:
        return 0.0

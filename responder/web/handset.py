"""A phone for the demo, the terminal and the tests: it signs requests as the provider does and reads the TwiML."""

import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from twilio.request_validator import RequestValidator
from werkzeug.test import Client

TIMEOUT = 15  # seconds, as long as the provider waits
Post = Callable[[str, dict[str, str], dict[str, str]], tuple[int, str]]


class LineError(RuntimeError):
    """The service did not answer as a provider would need it."""


def over_http(base: str) -> Post:
    """Requests to a running service at `base`."""

    def post(path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(base + path, data, headers)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            raise LineError(f"{base}{path}: {error}") from error

    return post


def in_process(client: Client) -> Post:
    """Requests to an application in this process."""

    def post(path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        response = client.post(path, data=form, headers=headers)
        return response.status_code, response.get_data(as_text=True)

    return post


@dataclass
class Handset:
    """A phone with a number. `public_url` and `token` are what the service checks signatures with."""

    post: Post
    public_url: str
    token: str
    number: str = "+46700000001"
    action: str = ""  # where the next input of a call goes; "" when there is none
    digits: int = 0  # how many keys the service waits for
    _call: str = field(default="", repr=False)

    def text(self, body: str, sid: str = "") -> str:
        """Send a text; the reply, or "" for none. Raises LineError."""
        form = {"MessageSid": sid or f"SM{secrets.token_hex(16)}", "From": self.number, "To": "71000", "Body": body}
        root = self._send("/twilio/sms", form)
        return "\n".join(message.text or "" for message in root.iter("Message"))

    def call(self) -> list[str]:
        """Call; the sentences that are spoken. Raises LineError."""
        self._call = f"CA{secrets.token_hex(16)}"
        return self._turn("/twilio/voice", {})

    def pick_up(self, action: str) -> None:
        """Take a call from the service, whose keys go to `action`."""
        self._call, self.action = f"CA{secrets.token_hex(16)}", action

    def keys(self, digits: str) -> list[str]:
        """Press keys; `*` ends the input as on a real phone."""
        star = digits.endswith("*")
        return self._turn(self.action, {"Digits": digits.rstrip("*"), "FinishedOnKey": "*" if star else ""})

    def speak(self, text: str, confidence: float = 0.9) -> list[str]:
        """Say something, as the provider's speech recognition hands it on."""
        return self._turn(self.action, {"SpeechResult": text, "Confidence": str(confidence)})

    def silence(self) -> list[str]:
        """Say and press nothing until the time is out."""
        return self._turn(self.action, {"Digits": ""})

    def hang_up(self) -> None:
        """End the call."""
        self._send("/twilio/voice/status", {"CallSid": self._call, "CallStatus": "completed", "From": self.number})
        self.action = ""

    def _turn(self, path: str, fields: dict[str, str]) -> list[str]:
        root = self._send(path, {"CallSid": self._call, "From": self.number, "To": "+46770000000", **fields})
        gather = root.find("Gather")
        self.action = gather.attrib["action"] if gather is not None else ""
        self.digits = int(gather.attrib["numDigits"]) if gather is not None else 0
        return [_heard(element) for element in root.iter() if element.tag in ("Say", "Play")]

    def _send(self, path: str, form: dict[str, str]) -> ElementTree.Element:
        signature = RequestValidator(self.token).compute_signature(self.public_url + path, form)
        status, body = self.post(path, form, {"X-Twilio-Signature": signature})
        if status != 200:
            raise LineError(f"{path}: HTTP {status}: {body.strip()}")
        return ElementTree.fromstring(body)  # noqa: S314 - our own service's document


def _heard(element: ElementTree.Element) -> str:
    words = re.sub(r"\s+", " ", "".join(element.itertext())).strip()
    return f"[{words}]" if element.tag == "Play" else words

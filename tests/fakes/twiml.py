"""Somebody who takes a call: hears what the documents say and presses keys where they ask for some."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin
from xml.etree import ElementTree

SORRY = "We are sorry, an application error has occurred. Goodbye."
_SIZE = 64_000  # bytes of a document before the provider drops the call
_DOCUMENTS = 50  # then the listener has had enough

Fetch = Callable[[str, str, dict[str, str]], Awaitable[str]]  # method, address, further fields; raises LineFault


class LineFault(Exception):
    """A document could not be had."""


@dataclass(frozen=True)
class _Turn:
    action: str
    method: str
    fields: dict[str, str]


@dataclass
class Listener:
    """One answered call. `keys`: what to press at successive questions."""

    fetch: Fetch
    keys: Sequence[str]
    spoken: list[str] = field(default_factory=list)
    pressed: list[str] = field(default_factory=list)

    async def follow(self, document: str, url: str, method: str) -> None:
        """Hear `document`, or what is at `url`, and all that follows; actions are relative to `url`."""
        try:
            document = document or await self.fetch(method, url, {})
            for _ in range(_DOCUMENTS):
                turn = self._hear(_parsed(document))
                if turn is None:
                    return
                url = urljoin(url, turn.action)
                document = await self.fetch(turn.method, url, turn.fields)
        except LineFault:
            self.spoken.append(SORRY)

    def _hear(self, root: ElementTree.Element) -> _Turn | None:
        for verb in root:
            if verb.tag in ("Say", "Play"):
                self.spoken.append(_heard(verb))
            elif verb.tag == "Gather":
                self.spoken.extend(_heard(inner) for inner in verb if inner.tag in ("Say", "Play"))
                if (turn := self._press(verb)) is not None:
                    return turn
            elif verb.tag == "Redirect":
                return _Turn((verb.text or "").strip(), verb.get("method", "POST").upper(), {})
            elif verb.tag in ("Hangup", "Reject"):
                return None
        return None

    def _press(self, gather: ElementTree.Element) -> _Turn | None:
        action, method = gather.get("action", ""), gather.get("method", "POST").upper()
        if len(self.pressed) < len(self.keys) and "dtmf" in gather.get("input", "dtmf"):
            keys = self.keys[len(self.pressed)]
            self.pressed.append(keys)
            return _Turn(action, method, _digits(keys, gather))
        if gather.get("actionOnEmptyResult") == "true":
            return _Turn(action, method, {"Digits": ""})
        return None


def _digits(keys: str, gather: ElementTree.Element) -> dict[str, str]:
    """The fields of an input: it ends at the finishing key, or when enough keys are pressed."""
    last = gather.get("finishOnKey", "#")
    count = int(gather.get("numDigits", "0")) or len(keys)
    digits = re.split(f"[{re.escape(last)}]", keys)[0][:count] if last else keys[:count]
    ended = keys[len(digits)] if len(digits) < min(count, len(keys)) else ""
    return {"Digits": digits, "FinishedOnKey": ended}


def _parsed(document: str) -> ElementTree.Element:
    if len(document.encode()) > _SIZE:
        raise LineFault("the document is too long")
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise LineFault(str(error)) from error
    if root.tag != "Response":
        raise LineFault(f"the document is a {root.tag}")
    return root


def _heard(element: ElementTree.Element) -> str:
    for pause in element.iter("break"):
        pause.text = " "
    words = re.sub(r"\s+", " ", "".join(element.itertext())).strip()
    return f"[{words}]" if element.tag == "Play" else words

"""Somebody on the phone at 46elks: hears the audio files that actions name and presses keys where they ask for some."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_ACTIONS = 50  # then the listener has had enough
_MAGIC = (b"RIFF", b"ID3", b"OggS", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")

Ask = Callable[[str, dict[str, str]], Awaitable[str]]  # POSTs; address, further fields; raises LineFault
Fetch = Callable[[str], Awaitable[tuple[int, str, bytes]]]  # GETs; status, content type, body


class LineFault(Exception):
    """What we were told to do cannot be done: the call ends."""


@dataclass
class ElksListener:
    """One answered call. `keys`: what to press at successive questions; `#` ends an input before it is full."""

    ask: Ask
    fetch: Fetch
    words: Callable[[str], str]  # what is heard at an address
    keys: Sequence[str]
    spoken: list[str] = field(default_factory=list)
    pressed: list[str] = field(default_factory=list)
    whenhangup: str = ""

    async def follow(self, action: object) -> None:
        """Do `action`, an action or the address of one, and all that follows. Raises LineFault."""
        for _ in range(_ACTIONS):
            if isinstance(action, str):
                action = read(await self.ask(action, {}))
            if not isinstance(action, dict):
                raise LineFault(f"no action: {action!r}")
            self.whenhangup = str(action.get("whenhangup", self.whenhangup))
            if "hangup" in action:
                return
            told = await self._done(action)
            following = action.get("next")
            if following is None:
                return
            action = read(await self.ask(following, told)) if isinstance(following, str) else following
        raise LineFault("no end")

    async def _done(self, action: dict[str, Any]) -> dict[str, str]:
        """The fields of what comes of one action."""
        if "play" in action:
            await self._hear(action["play"])
            return {"result": "ok"}
        if "ivr" not in action:
            raise LineFault(f"an action that is not known: {sorted(action)}")
        digits, timeout, repeat = (
            action.get(name, usual) for name, usual in (("digits", 1), ("timeout", 10), ("repeat", 3))
        )
        if not 1 <= timeout <= 30:
            raise LineFault(f"a timeout of {timeout}")
        await self._hear(action["ivr"])
        if len(self.pressed) < len(self.keys):
            keys = self.keys[len(self.pressed)]
            self.pressed.append(keys)
            if keys:
                return {"result": keys.partition("#")[0][:digits]}
        for _ in range(1, repeat):
            await self._hear(action["ivr"])
        return {"result": "failed", "why": "timeout"}

    async def _hear(self, address: object) -> None:
        if not isinstance(address, str) or not address.startswith(("http://", "https://")):
            raise LineFault(f"no address of a sound: {address!r}")
        status, kind, sound = await self.fetch(address)
        if status != 200 or not kind.startswith(("audio/", "application/ogg")) or not sound.startswith(_MAGIC):
            raise LineFault(f"{address} is no sound: HTTP {status}, {kind}")
        self.spoken.append(self.words(address))


def read(document: str) -> object:
    """An answer as an action. Raises LineFault."""
    try:
        found = json.loads(document)
    except ValueError as error:
        raise LineFault(f"no action: {document[:60]!r}") from error
    if not isinstance(found, dict):
        raise LineFault(f"no action: {document[:60]!r}")
    return found

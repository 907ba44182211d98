"""Own recordings of one language, as a manifest names them, and how a sentence is put together of them.

`CODE.toml` in a folder, beside or above the files that it names (WAV):

    [clips]                                   # by the key of a sentence in flows/wording
    "say.welcome" = "sv/welcome.wav"
    "state.open_until" = ["sv/until.wav"]     # with {placeholders}: a file for each stretch of words between them

    [said]                                    # by what is said: what fills the placeholders, or any words
    "klockan 22" = "sv/clock-22.wav"
    "Hallen, Testgatan 36" = "sv/hallen.wav"

Both come to the same: words, and the file that says them. Case and punctuation do not matter; numbers stand as
core.aloud writes them ("klockan 14.20" is said as klockan, 14, 20).
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from responder.core.aloud import aloud
from responder.core.wording import Channel, Wording
from responder.gateways import pcm

Words = tuple[str, ...]

_WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+(?::\w+)?")
_BETWEEN = re.compile(r"\{\w+\}")
# What it costs to put a sentence together: a recording, another voice that begins, each word of the other voice. A
# single recorded word is not worth a change of voice.
_RECORDING, _OTHER, _OTHER_WORD = 2, 3, 2


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, and a hash of what is in it."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What is recorded in one language: words to the file that says them. `faults`: what could not be used, and why."""

    language: str
    files: Mapping[Words, Recording]
    faults: tuple[str, ...] = ()

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.files), default=0)

    def cover(self, text: str) -> list[Recording | str]:
        """`text` as recordings and, where there are none, as the text that another voice must say."""
        said = aloud(text, self.language)
        found = list(_WORD.finditer(said))
        steps = self._steps(tuple(match[0].casefold() for match in found))
        return [
            recording or said[found[start].start() : found[stop].start() if stop < len(found) else len(said)].strip()
            for start, stop, recording in steps
        ]

    def has(self, text: str) -> bool:
        """Whether recordings alone say all of `text`."""
        return all(isinstance(part, Recording) for part in self.cover(text))

    def unheard(self) -> list[str]:
        """The files that are no sound, or in which nothing is heard, and why."""
        faults = []
        for path in sorted({recording.path for recording in self.files.values()}):
            try:
                if pcm.silent(pcm.read(path.read_bytes())):
                    faults.append(f"{path.name}: nothing is heard in it")
            except (pcm.NoSound, OSError) as error:
                faults.append(f"{path.name}: {error}")
        return faults

    def _steps(self, words: Words) -> list[tuple[int, int, Recording | None]]:
        """The cheapest way through `words`: (first word, the one after the last, recording or None)."""
        ways: list[list[_Way]] = [[_Way(0)]]  # after so many words: the best that ends in a recording, and in none
        for stop in range(1, len(words) + 1):
            recorded, other = _best(self._recorded(words, stop, ways)), _best(_others(stop, ways))
            ways.append([way for way in (other, recorded) if way])
        way: _Way | None = _best(iter(ways[-1]))
        steps = []
        while way and way.before:
            steps.append((way.start, way.stop, way.recording))
            way = way.before
        return steps[::-1]

    def _recorded(self, words: Words, stop: int, ways: "list[list[_Way]]") -> "Iterator[_Way]":
        for start in range(max(0, stop - self._longest), stop):
            recording = self.files.get(words[start:stop])
            if recording:
                for before in ways[start]:
                    yield _Way(before.cost + _RECORDING, start, stop, recording, before)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to say the first `stop` words; its last step begins at `start`."""

    cost: int
    start: int = 0
    stop: int = 0
    recording: Recording | None = None
    before: "_Way | None" = None


def _best(ways: "Iterator[_Way]") -> "_Way | None":
    return min(ways, key=lambda way: way.cost, default=None)


def _others(stop: int, ways: "list[list[_Way]]") -> "Iterator[_Way]":
    for before in ways[stop - 1]:
        if before.before and before.recording is None:  # the other voice goes on
            yield _Way(before.cost + _OTHER_WORD, before.start, stop, None, before.before)
        else:
            yield _Way(before.cost + _OTHER + _OTHER_WORD, stop - 1, stop, None, before)


def load_manifest(folder: Path, wording: Wording) -> Manifest:
    """The recordings that `folder` has in the language of `wording`; none where it has no manifest for it."""
    path = folder / f"{wording.code}.toml"
    files: dict[Words, Recording] = {}
    faults: list[str] = []
    if path.is_file():
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            for words, file in (*_clips(data, wording, faults), *_said(data, wording, faults)):
                _add(files, words, folder, file, faults)
        except (OSError, ValueError, AttributeError) as error:
            faults.append(str(error))
    return Manifest(wording.code, files, tuple(f"{path.name}: {fault}" for fault in faults))


def stretches(template: str, language: str) -> list[str]:
    """The words of a sentence between its placeholders, as they are said."""
    parts = (aloud(part, language) for part in _BETWEEN.split(template))
    return [part for part in parts if part]


def _words(text: str, language: str) -> Words:
    return tuple(match[0].casefold() for match in _WORD.finditer(aloud(text, language)))


def _clips(data: dict[str, Any], wording: Wording, faults: list[str]) -> Iterator[tuple[Words, str]]:
    for key, value in data.get("clips", {}).items():
        if key not in wording.text and key not in wording.voice:
            faults.append(f"[clips] {key}: there is no such sentence")
            continue
        parts = stretches(wording.template(key, Channel.VOICE), wording.code)
        named = value if isinstance(value, list) else [value]
        if len(parts) != len(named):
            faults.append(
                f"[clips] {key}: {len(named)} files, and {len(parts)} stretches of words: {' | '.join(parts)}"
            )
            continue
        yield from ((_words(part, wording.code), str(file)) for part, file in zip(parts, named, strict=True))


def _said(data: dict[str, Any], wording: Wording, faults: list[str]) -> Iterator[tuple[Words, str]]:
    for text, file in data.get("said", {}).items():
        words = _words(text, wording.code)
        if words:
            yield words, str(file)
        else:
            faults.append(f"[said] {text!r}: nothing is said")


def _add(files: dict[Words, Recording], words: Words, folder: Path, name: str, faults: list[str]) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        faults.append(f"{name}: not in this folder")
    elif path.suffix.lower() != ".wav":
        faults.append(f"{name}: not WAV; other files cannot be put together")
    elif not path.is_file():
        faults.append(f"{name}: there is no such file")
    else:
        files[words] = Recording(path, hashlib.sha256(path.read_bytes()).hexdigest())

"""Speech as files, for a provider that plays audio and speaks nothing itself.

A sentence is put together of own recordings (manifest.py); what they lack is spoken by espeak-ng; what nobody can
speak is left out, and the caller is told to send a text. An answer is its sentences, one after the other, in one file.
Names of files are keyed hashes of all that makes the sound, so a file never changes, is found again by every process,
and nobody finds out by trying what others were told.
"""

import hmac
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from responder.core.aloud import aloud
from responder.core.flow import Flow
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.gateways import pcm
from responder.gateways.espeak import SPEED, Espeak, Mute
from responder.gateways.manifest import Manifest, Recording, load_manifest
from responder.gateways.shelf import Shelf
from responder.ports import Clock
from responder.settings import Settings, SettingsError

log = logging.getLogger("responder.recordings")

RENDERER = 1  # of how files are made: another one makes all anew
BUDGET = 2.0  # seconds that what is missing may take while a caller waits
AHEAD = 20.0  # seconds for a sentence, or all of a call of ours, while nobody waits
PAUSE = 0.4  # seconds between sentences
PLEA = "say.not_spoken"
_AT_WORST = ("say.unavailable", "say.busy", "say.busy_hold")
NAMED = re.compile(r"[0-9a-f]{40}")  # a file of ours, without its ending: 160 bits
AGAIN = 60.0  # seconds before a sentence that could not be made is tried again while somebody waits
_REMEMBERED = 4096  # answers, and as many sentences
_FAILED = (Mute, pcm.NoSound, OSError, TimeoutError)
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Aloud:
    """Words for the synthesiser."""

    text: str
    voice: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sentence is spoken, and the name of its file; no pieces: nobody can speak it."""

    name: str
    pieces: tuple[Recording | Aloud, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A sentence that was rendered ahead: whether it is there, had to be made, and how long it is in seconds."""

    there: bool
    made: bool = False
    seconds: float = 0.0


class Recordings:
    """Files on `shelf`, under `public_url`/audio. `manifests`: language -> own recordings; `clips`: where the clips of
    flows/audio lie. Thread-safe.
    """

    def __init__(
        self, flow: Flow, public_url: str, key: bytes, shelf: Shelf, manifests: Mapping[str, Manifest],
        espeak: Espeak, clips: Path, budget: float = BUDGET,
    ) -> None:  # fmt: skip
        self._flow, self._key, self._shelf, self._espeak = flow, key, shelf, espeak
        self._url, self._clips, self._budget = f"{public_url}/audio", clips, budget
        self.manifests = manifests
        self.plan = lru_cache(_REMEMBERED)(self._planned)
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        self._answers: dict[tuple[Spoken, ...], str] = {}  # those of which nothing had to be left out
        self._in_vain: dict[str, float] = {}  # name of a sentence -> monotonic time from which it may be tried again

    def address(self, sentences: tuple[Spoken, ...]) -> str:
        """The address of one file that says all `sentences`; "" if they are nothing. What cannot be said, or not be
        made in time, is left out, and where the first such sentence stood the caller is told to send a text.
        """
        known = self._answers.get(sentences)
        if known and self._shelf.has(known):
            return self._address(known)
        until = time.monotonic() + self._budget
        wanted = [sentence for sentence in sentences if sentence.text or sentence.clip]
        if not wanted:
            return ""
        names = [self._made(sentence, until) for sentence in wanted]
        said = names
        if not all(names):
            gap = names.index("")
            said = [*names[:gap], self._plea(wanted[0].language), *filter(None, names[gap:])]
        try:
            answer = self._joined(said, until)
        except _FAILED as error:
            log.error("an answer of %d sentences could not be put together: %s", len(said), error)
            return self._address(self._plea(wanted[0].language))
        if all(names):
            _keep(self._answers, sentences, answer)
        return self._address(answer)

    def prepare(self, sentences: tuple[Spoken, ...]) -> None:
        """Make them while nobody waits for it, so that `address` leaves out only what nobody can speak."""
        until = time.monotonic() + AHEAD
        for sentence in sentences:
            if sentence.text or sentence.clip:
                self._in_vain.pop(self.plan(sentence).name, None)
                self._made(sentence, until)

    def render(self, sentence: Spoken) -> Rendered:
        """Make it now, with time. Raises nothing: what cannot be made is not there."""
        plan = self.plan(sentence)
        before = bool(plan.pieces) and self._shelf.has(plan.name)
        self._in_vain.pop(plan.name, None)
        if not self._made(sentence, time.monotonic() + AHEAD):
            return Rendered(False)
        return Rendered(True, not before, pcm.seconds(pcm.read(self._shelf.get(plan.name))))

    def check(self) -> None:
        """Raise SettingsError unless at least the sentence that asks for a text can be spoken, in the first language,
        and kept. It is made, as are all that are said when nothing else can be, so that they are there at that moment.
        """
        faults = [fault for manifest in self.manifests.values() for fault in manifest.faults]
        if faults:
            raise SettingsError("RECORDINGS_DIR: " + "; ".join(faults))
        sentence = self._fixed(PLEA, self._flow.default_language)
        plan = self.plan(sentence)
        if not plan.pieces:
            raise SettingsError(
                f"calls cannot be answered: nobody can speak {PLEA} ({sentence.language}). Install espeak-ng, or name "
                "a recording of it in a manifest in RECORDINGS_DIR"
            )
        try:
            self._make(plan, time.monotonic() + AHEAD)
        except _FAILED as error:
            raise SettingsError(f"calls cannot be answered: AUDIO_DIR, RECORDINGS_DIR or espeak-ng: {error}") from error
        for code in self._flow.languages:
            for key in (PLEA, *_AT_WORST):
                self.render(self._fixed(key, code))

    def _planned(self, sentence: Spoken) -> Plan:
        language = sentence.language
        voice = self.voice(language)
        text = aloud(sentence.text, language)
        pieces = self._of_recordings(sentence, voice)
        if not pieces and voice and text:
            pieces = (Aloud(text, voice),)
        known = [
            [piece.digest] if isinstance(piece, Recording) else [piece.voice, piece.text, self._espeak.version, SPEED]
            for piece in pieces
        ]
        return Plan(self._name(["sentence", language, *known]), pieces)

    def _of_recordings(self, sentence: Spoken, voice: str) -> tuple[Recording | Aloud, ...]:
        """Own recordings with the voice between them; nothing if they do not help or there is no voice for the rest."""
        manifest = self.manifests.get(sentence.language)
        parts = manifest.cover(sentence.text) if manifest else []
        if parts and all(isinstance(part, Recording) for part in parts):
            return tuple(part for part in parts if isinstance(part, Recording))
        clip = (self._clips / sentence.clip).resolve() if sentence.clip.endswith(".wav") else None
        if clip and clip.is_relative_to(self._clips.resolve()) and clip.is_file():
            return (Recording(clip, sha256(clip.read_bytes()).hexdigest()),)
        if not voice or not any(isinstance(part, Recording) for part in parts):
            return ()
        return tuple(Aloud(part, voice) if isinstance(part, str) else part for part in parts)

    @property
    def size(self) -> tuple[int, int]:
        """How many files there are, and their bytes."""
        return self._shelf.size()

    def voice(self, language: str) -> str:
        """The language's own voice; where there is none, that of the language we start in."""
        languages = self._flow.languages
        first = languages[self._flow.default_language]
        return self._espeak.voice(languages.get(language, first).locale) or self._espeak.voice(first.locale)

    def _made(self, sentence: Spoken, until: float) -> str:
        """The name of the file that says `sentence`, which is there; "" if it could not be made."""
        plan = self.plan(sentence)
        if not plan.pieces:
            log.warning("nobody can speak a sentence in %s: no recording, no voice", sentence.language)
            return ""
        if self._in_vain.get(plan.name, 0.0) > time.monotonic() and not self._shelf.has(plan.name):
            return ""
        had_time = time.monotonic() < until
        try:
            self._make(plan, until)
        except _FAILED as error:
            log.warning("a sentence in %s was left out: %s", sentence.language, error)
            if had_time:
                _keep(self._in_vain, plan.name, time.monotonic() + AGAIN)
            return ""
        return plan.name

    def _make(self, plan: Plan, until: float) -> None:
        """Raises what is in _FAILED."""
        self._once(plan.name, until, lambda: pcm.join(self._piece(piece, until) for piece in plan.pieces))

    def _piece(self, piece: Recording | Aloud, until: float) -> pcm.Samples:
        if isinstance(piece, Recording):
            return pcm.read(piece.path.read_bytes())
        return self._espeak.say(piece.text, piece.voice, until - time.monotonic())

    def _joined(self, names: list[str], until: float) -> str:
        """The name of the file that says what the files `names` say. Raises what is in _FAILED."""
        if len(names) == 1:
            return names[0]
        name = self._name(["answer", PAUSE, *names])
        self._once(name, until + 1, lambda: pcm.join((pcm.read(self._shelf.get(one)) for one in names), PAUSE))
        return name

    def _once(self, name: str, until: float, make: Callable[[], pcm.Samples]) -> None:
        """The file `name` is there, made by `make` if need be: by one thread, and the others wait for it."""
        if self._shelf.has(name):
            return
        with self._lock:
            future = self._under_way.get(name)
            mine = future is None
            if future is None:
                future = self._under_way[name] = Future()
        if not mine:
            future.result(max(0.0, until - time.monotonic()))
            return
        try:
            if not self._shelf.has(name):  # another thread may have been done just now
                self._shelf.put(name, pcm.write(make()))
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._under_way[name]

    def _fixed(self, key: str, language: str) -> Spoken:
        code = language if language in self._flow.languages else self._flow.default_language
        wording = self._flow.languages[code]
        return Spoken(wording.template(key, Channel.VOICE), code, wording.clips.get(key, ""))

    def _plea(self, language: str) -> str:
        """The name of the file that asks for a text, in `language` if that can be made, else in the one we start in."""
        for code in (language, self._flow.default_language):
            name = self._made(self._fixed(PLEA, code), time.monotonic() + self._budget)
            if name:
                return name
        return self.plan(self._fixed(PLEA, self._flow.default_language)).name  # made when we started

    def _name(self, what: list[object]) -> str:
        return hmac.digest(self._key, json.dumps([RENDERER, what]).encode(), "sha256").hex()[:40]

    def _address(self, name: str) -> str:
        return f"{self._url}/{name}.wav"


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value


def recordings(settings: Settings, flow: Flow, clock: Clock) -> Recordings:
    """The recordings that `settings` name: own ones in RECORDINGS_DIR, espeak-ng on PATH, files in AUDIO_DIR."""
    own = Path(settings.recordings_dir) if settings.recordings_dir else None
    manifests = {code: load_manifest(own, wording) for code, wording in flow.languages.items()} if own else {}
    shelf = Shelf(settings.audio_folder, settings.audio_max_mb * 1_000_000, clock)
    key = hmac.digest(settings.secret_key.encode(), b"names of recordings", "sha256")
    return Recordings(
        flow, settings.public_url, key, shelf, manifests, Espeak(), settings.flows_dir.resolve() / "audio"
    )

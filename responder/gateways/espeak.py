"""espeak-ng, a synthesiser that needs no network: a process a sentence, its text on standard input, never a shell."""

import shutil
import subprocess
import threading
import time
from functools import cached_property

from responder.gateways import pcm

SPEED = 145  # words a minute: for people who note down an address
AT_ONCE = 2  # processes that speak at a time, of one of ours
_ASK = 5.0  # seconds for what it is and which voices it has


class Mute(RuntimeError):
    """Nothing was spoken: the program is missing, failed or was too slow."""


class Espeak:
    """The program `name` on PATH, or at that path; where there is none it has no voices. Thread-safe."""

    def __init__(self, name: str = "espeak-ng") -> None:
        self._path = shutil.which(name)
        self._seats = threading.BoundedSemaphore(AT_ONCE)

    @cached_property
    def version(self) -> str:
        """What it says that it is, without where it lies; "" where there is none."""
        return self._asked("--version").partition("Data at")[0].strip()

    @cached_property
    def voices(self) -> frozenset[str]:
        """Its languages, in small letters ("sv", "en-gb", "fi")."""
        rows = [line.split() for line in self._asked("--voices").splitlines()[1:]]
        return frozenset(row[1].lower() for row in rows if len(row) > 1)

    def voice(self, locale: str) -> str:
        """The voice for a BCP 47 `locale` ("sv-SE"), or ""."""
        name = locale.lower()
        known = (name, name.partition("-")[0], {"zh": "cmn", "no": "nb", "en": "en-gb"}.get(name.partition("-")[0], ""))
        return next((voice for voice in known if voice in self.voices), "")

    def say(self, text: str, voice: str, timeout: float) -> pcm.Samples:
        """`text` (one line, see core.aloud) spoken within `timeout` seconds. Raises Mute."""
        if self._path is None or voice not in self.voices:
            raise Mute(f"there is no voice {voice!r}")
        until = time.monotonic() + timeout
        if timeout <= 0 or not self._seats.acquire(timeout=timeout):
            raise Mute("there was no time")
        try:
            options = ["-v", voice, "-s", str(SPEED), "-b", "1", "-z", "--stdin", "--stdout"]
            sound = pcm.read(self._run(options, text, max(0.01, until - time.monotonic())))
            if pcm.silent(sound):
                raise Mute("it said nothing")
            return sound
        except pcm.NoSound as error:
            raise Mute(str(error)) from error
        finally:
            self._seats.release()

    def _asked(self, option: str) -> str:
        try:
            return self._run([option], "", _ASK).decode("utf-8", "replace") if self._path else ""
        except Mute:
            return ""

    def _run(self, options: list[str], text: str, timeout: float) -> bytes:
        """Its standard output; a process that is too slow is killed. Raises Mute."""
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, and its options are ours
                [self._path or "", *options],
                input=text.encode("utf-8", "ignore"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Mute(f"{type(error).__name__} after at most {timeout:.1f} s") from error
        if done.returncode:
            raise Mute(f"it ended with {done.returncode}")
        return done.stdout

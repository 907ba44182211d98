"""A folder of sound files that stays below a size. Several processes, and servers that share the folder, may use it."""

import logging
import os
import secrets
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from responder.ports import Clock

log = logging.getLogger("responder.recordings")

KEEP = timedelta(hours=1)  # what was handed out since then stays: a call may be about to fetch it
SWEEP_EVERY = 32  # files put
_DOWN_TO = 0.9  # of the size
_PART = ".part"


class Shelf:
    """The files `NAME.wav` of `folder`, together at most `most` bytes. A file's time is when it was handed out last."""

    def __init__(self, folder: Path, most: int, clock: Clock) -> None:
        self.folder, self._most, self._clock = folder, most, clock
        self._lock = threading.Lock()
        self._put = 0

    def has(self, name: str) -> bool:
        """Whether it is there; if so it is handed out now."""
        now = self._clock().timestamp()
        try:
            os.utime(self._path(name), (now, now))
        except PermissionError:  # made by another user: it is there, though we cannot say when it was handed out
            return self._path(name).is_file()
        except FileNotFoundError:
            return False
        return True

    def get(self, name: str) -> bytes:
        """What is in it. Raises OSError."""
        return self._path(name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """All of it is there, or nothing, whenever we die. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{name}.{secrets.token_hex(8)}{_PART}"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave the name and no sound, for good
            now = self._clock().timestamp()
            os.utime(part, (now, now))
            part.replace(self._path(name))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        with self._lock:
            due = self._put % SWEEP_EVERY == 0
            self._put += 1
        if due:
            self.sweep()

    def sweep(self) -> int:
        """Delete what was handed out longest ago, until there is room; how many files went."""
        horizon = (self._clock() - KEEP).timestamp()
        total, old = self._listed(horizon)
        gone = 0
        if total > self._most:
            for _, size, path in sorted(old):
                if total <= self._most * _DOWN_TO:
                    break
                with suppress(OSError):
                    if path.stat().st_mtime < horizon:  # not handed out by another process meanwhile
                        path.unlink()
                        total, gone = total - size, gone + 1
        if total > self._most:
            log.warning("AUDIO_MAX_MB: %d MB of recordings were handed out within an hour", total // 1_000_000)
        return gone

    def size(self) -> tuple[int, int]:
        """How many files, and their bytes."""
        sizes = [path.stat().st_size for path in self.folder.glob("*.wav")]
        return len(sizes), sum(sizes)

    def _listed(self, horizon: float) -> tuple[int, list[tuple[float, int, Path]]]:
        """(bytes of all, those last handed out before `horizon`); what a dead process left half is deleted."""
        total, old = 0, []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                with suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    if about.st_mtime < horizon and entry.name.endswith(_PART):
                        Path(entry.path).unlink()
                    elif entry.name.endswith(".wav"):
                        total += about.st_size
                        if about.st_mtime < horizon:
                            old.append((about.st_mtime, about.st_size, Path(entry.path)))
        return total, old

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.wav"

"""Sound as telephones take it: 8 kHz, mono, 16 bits, in WAV files."""

import io
import wave
from collections.abc import Iterable
from math import gcd

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RATE = 8000
MOST_BYTES = 50_000_000  # of a WAV file that is read
_FAST = 256  # a size that has it as a factor has no large prime factor, which an FFT is slow with
QUIET = 300  # of 32,767: who stays below it is not heard


class NoSound(ValueError):
    """A file that is no WAV of a kind we can read."""


def read(data: bytes) -> Samples:
    """The sound of a WAV file: PCM of 8 to 32 bits, any usual rate and channels. Raises NoSound.

    A length in its head that is larger than the file (as a stream has it) is no matter.
    """
    if len(data) > MOST_BYTES:
        raise NoSound(f"over {MOST_BYTES // 1_000_000} MB")
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise NoSound(f"no WAV file with plain PCM ({error})") from error
    if (rate, channels, width) == (RATE, 1, 2):  # as we write them
        return np.frombuffer(raw[: len(raw) & ~1], "<i2").astype(np.int16)
    if not 4000 <= rate <= 192_000:
        raise NoSound(f"{rate} samples a second")
    sound = _levels(raw[: len(raw) - len(raw) % (width * channels)], width).reshape(-1, channels).mean(axis=1)
    return np.clip(np.rint(_resampled(sound, rate)), -32768, 32767).astype(np.int16)


def _levels(raw: bytes, width: int) -> NDArray[np.float64]:
    """Samples of `width` bytes on the scale of 16 bits."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) * 256
    if width == 2:
        return np.frombuffer(raw, "<i2").astype(np.float64)
    rows = np.frombuffer(raw, np.uint8).reshape(-1, width)
    high = np.zeros((len(rows), 4), np.uint8)
    high[:, 4 - width :] = rows
    return high.view("<i4").reshape(-1).astype(np.float64) / 65536


def _resampled(sound: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """By its spectrum, so that nothing above 4 kHz folds back."""
    if rate == RATE or not sound.size:
        return sound
    step = rate // gcd(rate, RATE)
    padded = np.pad(sound, (0, -(sound.size + step) % (step * _FAST) + step))
    count = padded.size // step * (RATE // gcd(rate, RATE))
    out = np.fft.irfft(np.fft.rfft(padded)[: count // 2 + 1], count) * (count / padded.size)
    return np.asarray(out[: round(sound.size * RATE / rate)], np.float64)


def write(sound: Samples) -> bytes:
    """A WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.astype("<i2").tobytes())
    return out.getvalue()


def join(sounds: Iterable[Samples], pause: float = 0.0) -> Samples:
    """One after the other with `pause` seconds of silence between them."""
    gap = np.zeros(round(pause * RATE), np.int16)
    parts = [part for sound in sounds for part in (gap, sound)][1:]
    return np.concatenate(parts) if parts else gap[:0]


def seconds(sound: Samples) -> float:
    """How long it is."""
    return sound.size / RATE


def silent(sound: Samples) -> bool:
    """Whether nothing is heard in it."""
    return not sound.size or int(np.abs(sound.astype(np.int32)).max()) < QUIET

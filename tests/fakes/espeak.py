"""Stands in for espeak-ng where that is not installed: it has voices, and hums for as long as a sentence takes.

As a program: what `espeak-ng --voices`, `--version` and `--stdin --stdout` are asked for by the service.
"""

import io
import math
import os
import shutil
import struct
import sys
import wave
from pathlib import Path

VOICES = ("sv", "en-gb", "fi", "ar", "uk", "pl", "es", "fa", "am", "ku")
RATE = 22_050  # samples a second, as the real one
A_CHARACTER = 0.06  # seconds


def stand_in(folder: Path) -> None:
    """Have the service find this in `folder`, unless the real one is there."""
    if shutil.which("espeak-ng"):
        return
    program = folder / "espeak-ng"
    program.write_text(f"#!{sys.executable}\nimport runpy\nrunpy.run_path({__file__!r}, run_name='__main__')\n")
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def main(options: list[str]) -> None:
    """Do what is asked."""
    if "--version" in options:
        print("eSpeak NG text-to-speech: a stand-in of the tests  Data at: nowhere")
    elif "--voices" in options:
        print("Pty Language Age/Gender VoiceName File Other Languages")
        print("\n".join(f" 5  {code}  --/M  {code}  {code}" for code in VOICES))
    else:
        sys.stdout.buffer.write(_hum(sys.stdin.buffer.read().decode()))


def _hum(text: str) -> bytes:
    samples = int(RATE * A_CHARACTER * max(1, len(text.strip())))
    one = [int(8000 * math.sin(2 * math.pi * n / 100)) for n in range(100)]
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack("<100h", *one) * (samples // 100 + 1))
    return sound.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])

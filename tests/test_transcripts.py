"""Whole conversations as text files, played against the service through its webhooks.

`> ` is what a resident texts; `< ` what comes back. `call`, `keys 12347`, `says farsta` and `silence` are a call.
`+ 3 hours` lets time pass, `set ID status` changes a point, `points demo|stockholm|none` comes first, and 14.20 on
24 November 2026 is when it begins. `python -m tests.test_transcripts` writes the answers anew: read them before you
commit them.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from responder.actions import load, publish
from responder.core.access import shell
from responder.core.points import Status
from tests.conftest import NOW, ZONE, Running, prepare, run

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("*.txt"))


def played(running: Running, lines: list[str]) -> Iterator[str]:
    """The transcript with the answers that the service gives now."""
    for line in lines:
        command, _, rest = line.partition(" ")
        if command == "<":
            continue
        yield line
        match command:
            case "points":
                fill(running, rest)
            case ">":
                yield from answers(running.phone.text(rest).splitlines() or ["(nothing)"])
            case "call":
                yield from answers(running.phone.call())
            case "keys":
                yield from answers(running.phone.keys(rest))
            case "says":
                yield from answers(running.phone.speak(rest))
            case "mumbles":
                yield from answers(running.phone.speak(rest, confidence=0.2))
            case "silence":
                yield from answers(running.phone.silence())
            case "+":
                number, unit = rest.split()
                running.clock.pass_time(**{unit: float(number)})
            case "set":
                id, status = rest.split()
                change = publish.Change(Status(status))
                publish.set_point(running.database, id, change, shell("test"), ZONE, running.clock.now)
            case "" | "#":
                pass
            case _:
                raise ValueError(f"what is {line!r}?")
        if line.startswith(("call", "keys", "says", "mumbles", "silence")) and not running.phone.action:
            yield "< (hangs up)"


def answers(lines: list[str]) -> Iterator[str]:
    yield from (f"< {line}" for line in lines)


def fill(running: Running, which: str) -> None:
    if which == "demo":
        load.load_demo(running.database, ZONE, NOW, real=False)
    elif which == "stockholm":
        load.load_stockholm(running.database, ZONE, NOW)


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_transcript(path: Path, start: Callable[..., Running]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert list(played(start(), lines)) == lines


def write() -> None:
    """Write what is answered now into every file."""
    with tempfile.TemporaryDirectory() as folder:
        made = prepare(Path(folder) / "prepared.db").read_bytes()
        for path in FILES:
            database = Path(folder) / f"{path.stem}.db"
            database.write_bytes(made)
            lines = path.read_text(encoding="utf-8").splitlines()
            path.write_text("\n".join(played(run(database), lines)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()

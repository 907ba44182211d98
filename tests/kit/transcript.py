"""`python -m tests.kit.transcript`: the server is cut off, a laptop does its work, and what happened comes back.

Every command is run as somebody types it, in processes of their own, on SQLite. Exit 1 if anything ends otherwise than
it should.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import text

from responder.actions import load
from responder.core.points import Status
from responder.store.engine import Database
from responder.store.queries import save_points
from responder.store.vault import masked
from responder.wiring import utc_now
from tests.conftest import Clock, a_point
from tests.kit.world import ANNA, BO, CILLA, DAVID, EVA, PASSPHRASE, Side

RESPONDER = [sys.executable, "-c", "from responder.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[2]
NAMES = {ANNA: "Anna", BO: "Bo", CILLA: "Cilla", DAVID: "David", EVA: "Eva"}


class Place:
    """A computer with a folder; `who` stands before what happens on it."""

    def __init__(self, who: str, folder: Path, ahead: float = 0.0) -> None:
        self.who, self.folder = who, folder
        clock = Clock(utc_now())
        clock.pass_time(seconds=ahead)
        self.side = Side(f"sqlite:///{folder / 'responder.db'}", clock)

    def says(self, number: str, body: str) -> None:
        """Somebody texts it."""
        reply = self.side.text(number, body) or "(no reply)"
        print(f"[{self.who}] {NAMES[number]}: {body}\n    -> {reply}")

    def sets(self, id: str, status: Status) -> None:
        """Somebody changes a point on it."""
        self.side.set(id, status)
        print(f"[{self.who}] the point {id} is {status}")

    def tells(self) -> list[str]:
        """It pushes what has settled, and sends; whom."""
        print(f"[{self.who}] {self.side.push()}")
        sent = self.side.send()
        for number, body in sent:
            print(f"    {NAMES[number]} ({masked(number)}) gets: {body}")
        return [NAMES[number] for number, _ in sent]

    def types(self, *words: str, code: int = 0) -> str:
        """Somebody types a command on it; what it prints."""
        print(f"[{self.who}] $ responder {' '.join(words)}")
        return run(self.folder, *words, code=code)


def run(folder: Path, *words: str, code: int = 0) -> str:
    """Run the command in `folder`. Raises AssertionError if it ends otherwise than with `code`."""
    known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    done = subprocess.run(
        [*RESPONDER, *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**known, "PYTHONPATH": str(ROOT), "KIT_PASSPHRASE": PASSPHRASE, "USER": "anna"},
    )  # fmt: skip
    for line in (done.stdout + done.stderr).splitlines():
        print(f"    {line}")
    assert done.returncode == code, f"exit {done.returncode}"
    return done.stdout


def a_server(folder: Path) -> Place:
    """A server with four points."""
    folder.mkdir()
    (folder / ".env").write_text("DATABASE_URL=sqlite:///responder.db\n")
    database = Database(f"sqlite:///{folder / 'responder.db'}")
    load.prepare(database)
    now = utc_now()
    with database.write() as connection:
        points = [
            a_point("near", confirmed_at=now), a_point("far", lat=59.26, confirmed_at=now),
            a_point("north", lat=59.33, district="Norrmalm", confirmed_at=now),
        ]  # fmt: skip
        save_points(connection, points, {}, now)
        connection.execute(text("DELETE FROM due"))
    database.close()
    return Place("server", folder)


def play(folder: Path) -> None:
    """All of it. Raises AssertionError."""
    server = a_server(folder / "server")
    for number in (ANNA, BO, CILLA):
        server.says(number, "12347")
        server.says(number, "JA")
    server.types("kit", "make", str(folder / "a.kit"))
    server.types("kit", "show", str(folder / "a.kit"))
    print("--- the network of the city is cut: the kit is opened on a laptop ---")
    run(folder, "kit", "open", str(folder / "a.kit"), str(folder / "laptop"))
    laptop = Place("laptop", folder / "laptop", ahead=5)
    laptop.types("release")
    laptop.says(DAVID, "12347")
    laptop.says(DAVID, "JA")
    laptop.sets("near", Status.CLOSED)
    assert sorted(laptop.tells()) == ["Anna", "Bo", "Cilla", "David"]
    laptop.says(BO, "STOPP")
    laptop.sets("far", Status.FULL)
    laptop.side.push()
    print("--- meanwhile, whoever reaches the server still works on it ---")
    server.says(EVA, "STOPP")
    server.says(EVA, "START")
    server.says(EVA, "12347")
    server.says(EVA, "JA")
    server.says(CILLA, "STOPP")
    server.sets("far", Status.CLOSED)
    server.sets("north", Status.FULL)
    laptop.side.clock.pass_time(minutes=10)
    laptop.says(CILLA, "12347")
    laptop.says(CILLA, "JA")
    print("--- the network is back ---")
    laptop.types("kit", "return", str(folder / "home.kit"))
    server.types("merge", str(folder / "home.kit"), code=3)
    server.types("merge", str(folder / "home.kit"), "--apply", code=3)
    assert "nothing to do" in server.types("merge", str(folder / "home.kit"), "--apply")
    server.side.clock.now = max(laptop.side.clock.now, utc_now())
    heard = server.tells()
    print(f"heard after the merge: {', '.join(sorted(heard))}")
    check(server.side, heard)


def check(server: Side, heard: list[str]) -> None:
    """Who must hear has heard, and nobody else. Raises AssertionError."""
    stopped = [NAMES[number] for number in NAMES if server.said_stop(number)]
    assert stopped == ["Bo", "Cilla"], f"STOPP: {stopped}"
    assert server.point("near").status is Status.CLOSED and server.point("far").status is Status.CLOSED
    assert "Eva" in heard and not {"Bo", "Cilla"} & set(heard), heard
    assert len(heard) == len(set(heard)), heard


def main() -> int:
    """1 if anything ends otherwise than it should."""
    with tempfile.TemporaryDirectory(prefix="kit-") as name:
        try:
            play(Path(name))
        except AssertionError as error:
            print(f"DIFFERENT: {error}")
            return 1
    print("as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())

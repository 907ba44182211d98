"""Several processes on one database: a message delivered fifty times at once, and a process killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import engines
from tests.conftest import TOKEN, URL, prepare

HAMMER = """
import sys
from responder.settings import Settings
from responder.app import create_app
from responder.web.handset import Handset, in_process
from concurrent.futures import ThreadPoolExecutor
database, url, token, sid, count, mode = sys.argv[1:]
known = {"database_url": database, "public_url": url, "twilio_auth_token": token}
app = create_app(Settings(_env_file=None, number_per_minute=1_000_000, **known))
phone = Handset(in_process(app.test_client()), url, token, "+46700000001")
print("up", flush=True)
sys.stdin.readline()
if mode == "same":
    with ThreadPoolExecutor(13) as pool:
        replies = list(pool.map(lambda _: phone.text("12347", sid), range(int(count))))
    print("\\n".join(map(repr, replies)))
else:
    for number in range(int(count)):
        phone.text("12347 " + "x" * number, f"{sid}{number}")
        print(f"{sid}{number}", flush=True)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with the bundled places."""
    return prepare(tmp_path / "responder.db")


def hammer(database: Path, sid: str, count: int, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HAMMER, engines.url(database), URL, TOKEN, sid, str(count), mode]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def rows(database: Path, question: str) -> list[tuple[object, ...]]:
    with engines.peek(database) as looking:
        return looking.execute(question).fetchall()  # type: ignore[no-any-return]


def test_fifty_deliveries_at_once_in_four_processes_are_one_message(database: Path) -> None:
    counts = (13, 13, 12, 12)
    processes = [hammer(database, "SM-same", count, "same") for count in counts]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "up\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    replies = [line for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    assert len(replies) == 50
    assert len(set(replies)) == 1
    assert rows(database, "SELECT count(*), max(number) FROM turns") == [(1, 1)]


def test_what_was_answered_before_a_kill_is_recorded_and_nothing_is_half_done(database: Path) -> None:
    process = hammer(database, "SM", 100_000, "many")
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "up\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    answered = [process.stdout.readline().strip() for _ in range(50)]
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    with process:  # not communicate(): it would pass over what readline() has read ahead
        answered += process.stdout.read().split()
    recorded = {row[0] for row in rows(database, "SELECT id FROM turns")}
    assert set(answered) <= recorded
    assert len(recorded) <= len(answered) + 1
    assert engines.POSTGRESQL or rows(database, "PRAGMA integrity_check") == [("ok",)]
    numbers = [row[0] for row in rows(database, "SELECT number FROM turns ORDER BY number")]
    assert numbers == list(range(1, len(recorded) + 1))

"""The processes that are killed: gunicorn with its workers, and those that run the jobs."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.reply import ROOT

_OWNER = re.compile(rb"^jobs: (\S+), ", re.MULTILINE)


class Process:
    """A subprocess that writes to a file of its own. `environment` comes on top of ours."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def kill(self) -> None:
        """kill -9."""
        self._child.kill()
        self._child.wait()

    def end(self, seconds: float = 20.0) -> None:
        """Ask it to end, and make it."""
        self._child.terminate()
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


class Jobs(Process):
    """One `responder jobs`."""

    _owner = ""

    @property
    def owner(self) -> str:
        """The name that it leads under; "" until it is up."""
        if not self._owner and (found := _OWNER.search(self.log.read_bytes())):
            self._owner = found[1].decode()
        return self._owner


class Web:
    """gunicorn with two workers. It is started again when it is killed."""

    def __init__(self, port: int, environment: Mapping[str, str], log: Path, dice: random.Random) -> None:
        self._port, self._environment, self._log, self._dice = port, environment, log, dice
        self.kills = 0
        self._master = self._started()

    def _started(self) -> Process:
        command = ["gunicorn", "wsgi:app", "-c", str(ROOT / "gunicorn.conf.py"), "-k", "gthread", "-w", "2"]
        command += ["--threads", "8", "-b", f"127.0.0.1:{self._port}", "--log-level", "error"]
        return Process(command, self._environment, self._log)

    def kill_one(self) -> None:
        """A worker, which the master replaces, or all of it, which is started again."""
        workers = children(self._master.pid)
        if workers and self._dice.random() < 0.7:
            _kill(self._dice.choice(workers))
        else:
            self._master.kill()
            for pid in workers:
                _kill(pid)
            self._master = self._started()
        self.kills += 1

    def answers(self) -> bool:
        """Whether somebody listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def end(self) -> None:
        """Ask it to end."""
        self._master.end()


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Whether `condition` became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

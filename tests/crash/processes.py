"""The processes that are killed: gunicorn with its workers, and those that run the jobs."""

import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
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


class Nursery:
    """Where `responder jobs` come from: one process has imported everything and forks, because the imports take a second
    or two of a processor each time.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.runner"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def jobs(self, log: Path) -> "Jobs":
        """Another process, that writes to `log`."""
        assert self._mother.stdin and self._mother.stdout
        log.touch()
        self._mother.stdin.write(f"{log}\n")
        self._mother.stdin.flush()
        return Jobs(os.pidfd_open(int(self._mother.stdout.readline())), log)

    def end(self) -> None:
        """No more."""
        assert self._mother.stdin
        self._mother.stdin.close()
        self._mother.wait(10)


class Jobs:
    """One `responder jobs`, by a file descriptor of the process."""

    def __init__(self, process: int, log: Path) -> None:
        self._process, self.log = process, log
        self._owner = ""

    @property
    def owner(self) -> str:
        """The name that it sends under; "" until it is up."""
        if not self._owner and (found := _OWNER.search(self.log.read_bytes())):
            self._owner = found[1].decode()
        return self._owner

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return not self._ends(0)

    def kill(self) -> None:
        """kill -9."""
        self._send(signal.SIGKILL)
        self._ends(10)

    def freeze(self) -> None:
        """Let it stand still, as a machine that swaps or a virtual one that is moved."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        self._send(signal.SIGCONT)

    def end(self, seconds: float = 20.0) -> None:
        """Ask it to end, and make it."""
        self.thaw()
        self._send(signal.SIGTERM)
        if not self._ends(seconds):
            self.kill()

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, number)

    def _ends(self, seconds: float) -> bool:
        return bool(select.select([self._process], [], [], seconds)[0])


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

"""The service's processes, as on a server: gunicorn with two workers, and `responder jobs`. They end with the harness."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.bench.reply import ROOT

_OWNER = re.compile(rb"^jobs: (\S+), ", re.MULTILINE)


def tied(command: list[str]) -> list[str]:
    """`command` so that it is asked to end when the thread that starts it is gone."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command


class Process:
    """A Python process that writes to a file of its own. `environment` comes on top of ours."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                tied([sys.executable, *arguments]), cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self._child.kill()
        self._child.wait()

    def end(self, seconds: float = 15.0) -> None:
        """Ask it to end, and make it and what it started."""
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


class Jobs(Process):
    """One `responder jobs`."""

    _owner = ""

    @property
    def owner(self) -> str:
        """The name that it leads under; "" until it is up."""
        if not self._owner and (found := _OWNER.search(self.log.read_bytes())):
            self._owner = found[1].decode()
        return self._owner


def web(port: int, environment: Mapping[str, str], log: Path, shifted: bool) -> Process:
    """gunicorn as it ships; `shifted`: on the clock of the harness."""
    app = "tests.faults.entry:app()" if shifted else "wsgi:app"
    settings = {"BIND": f"127.0.0.1:{port}", "WORKERS": "2", **environment}
    command = ["-m", "gunicorn", app, "-c", str(ROOT / "gunicorn.conf.py"), "--log-level", "warning"]
    return Process([*command, "--no-control-socket"], settings, log)


def jobs(environment: Mapping[str, str], log: Path, shifted: bool) -> Jobs:
    """`responder jobs`; `shifted`: on the clock of the harness."""
    plain = ["-c", "from responder.cli import main; main(['jobs'])"]
    return Jobs(["-m", "tests.faults.entry"] if shifted else plain, environment, log)

"""A server in a process of its own, which can be killed in the middle and started again on the same database.

python -m tests.browser.apart FOLDER PORT
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from responder.actions import load
from responder.demo import demo_staff, free_port, served
from responder.store.engine import Database
from responder.web.handset import in_process
from tests.browser.bed import PASSWORD, Bed, app_at


@dataclass
class Apart:
    """The process, and what the tests need of its database."""

    folder: Path
    port: int
    bed: Bed
    process: "subprocess.Popen[str] | None" = field(default=None)

    def start(self) -> None:
        """Until it answers."""
        command = [sys.executable, "-m", __name__, str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "up\n"

    def kill(self) -> None:
        """As a power cut would."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None


@contextmanager
def apart(folder: Path) -> Iterator[Apart]:
    """A server with demo points in `folder`, in a process of its own."""
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    load.prepare(Database(f"sqlite:///{folder / 'browser.db'}"))
    app = app_at(folder, url)
    service = app.extensions["responder"]
    load.load_demo(service.database, service.settings.timezone, service.clock(), real=False)
    demo_staff(service, PASSWORD)
    one = Apart(folder, port, Bed(url, service, in_process(app.test_client())))
    one.start()
    try:
        yield one
    finally:
        one.kill()
        service.database.close()


def main(folder: str, port: str) -> None:
    """Serve until somebody ends it."""
    with served(app_at(Path(folder), f"http://127.0.0.1:{port}"), "127.0.0.1", int(port)):
        print("up", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

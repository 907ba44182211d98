"""`responder jobs`, followed sooner than in real life or broken on purpose: one for each line, which names its log.

CRASH_LEASE=1 CRASH_START_WITHIN=5 CRASH_SABOTAGE= python -m tests.crash.runner
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from responder import jobs
from responder.actions import deliver
from responder.actions.deliver import values
from responder.cli import main
from responder.store import outbox
from responder.store.engine import Database
from responder.store.outbox import Item

RENEWALS = 3  # in the time of a lease


async def _resend(self: deliver.Deliverer, item: Item, complete: bool) -> None:
    """What must not be done: send again what a dead process left behind, without asking the provider."""
    with self._db.write() as connection:
        outbox.put_back(connection, [item], self._clock().timestamp(), tried=True)


def _ask_nobody() -> None:
    deliver.Deliverer._look_up = _resend  # type: ignore[method-assign]


def _send_elsewhere() -> None:
    """Send by another gateway what this one may have taken."""
    unclear = deliver.Deliverer._unclear

    def again(self: deliver.Deliverer, ready: deliver.Ready, began: float) -> None:
        unclear(self, ready, began)
        with self._db.write() as connection:
            outbox.put_back(connection, [ready.item], self._clock().timestamp(), tried=True)

    deliver.Deliverer._unclear = again  # type: ignore[method-assign]


def _share_no_rate() -> None:
    """Each sends as if it were alone."""
    jobs.Jobs.part = lambda self: 1.0  # type: ignore[method-assign]


def _lock_nothing() -> None:
    """Take up what another may be taking up."""
    write = Database.write

    @contextmanager
    def unlocked(self: Database, alone: bool = True) -> Iterator[Connection]:
        with write(self, alone=False) as connection:
            yield connection

    Database.write = unlocked  # type: ignore[method-assign]
    outbox._claimed = lambda connection: ""


SABOTAGE = {"resend": _ask_nobody, "elsewhere": _send_elsewhere, "rate": _share_no_rate, "locks": _lock_nothing}


def prepare() -> None:
    """Take the constants from the environment."""
    if lease := float(os.environ.get("CRASH_LEASE", 0)):
        jobs.LEASE_SECONDS = lease
        jobs.RENEW_EVERY = lease / RENEWALS  # type: ignore[assignment]
    values.START_WITHIN = float(os.environ.get("CRASH_START_WITHIN", values.START_WITHIN))
    if fault := os.environ.get("CRASH_SABOTAGE", ""):
        SABOTAGE[fault]()


def bear(log: str) -> int:
    """Fork one; its process id."""
    if pid := os.fork():
        return pid
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    main(["jobs"])
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    prepare()
    while line := sys.stdin.readline():
        print(bear(line.strip()), flush=True)

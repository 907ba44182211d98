"""The service on a clock that can be moved while it runs: FAULTS_CLOCK names a file that holds seconds to add.

`gunicorn tests.faults.entry:app()` and `python -m tests.faults.entry` (`responder jobs`). Whatever reads the wall clock
sees it move: the service by its one clock, APScheduler by its `datetime`. What counts by monotonic time does not.
"""

import os
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers
from apscheduler.triggers import interval
from flask import Flask

from responder import wiring
from responder.app import create_app
from responder.cli import main, service


class Moved:
    """Now, moved by what stands in a file (nothing: not at all)."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @property
    def offset(self) -> timedelta:
        """How far it is moved."""
        return timedelta(seconds=float(self._file.read_text() or 0)) if self._file else timedelta(0)

    def __call__(self) -> datetime:
        """Now, in UTC."""
        return wiring.utc_now() + self.offset


clock = Moved(Path(os.environ["FAULTS_CLOCK"]) if os.environ.get("FAULTS_CLOCK") else None)


class _Datetime(datetime):
    """What APScheduler reads the time from."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Now, moved."""
        return clock().astimezone(tz)


def app() -> Flask:
    """The web service."""
    return create_app(clock=clock)


def run_jobs() -> None:
    """`responder jobs`."""
    for module in (schedulers, executors, interval):
        module.datetime = _Datetime
    service.wire = partial(wiring.wire, clock=clock)
    main(["jobs"])


if __name__ == "__main__":
    run_jobs()

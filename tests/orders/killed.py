"""One text to a service in a process of its own, which is killed where it is told to:
`python -m tests.orders.killed DATABASE_URL SECONDS NUMBER SID BODY before|after|never`.

`before`: when the row of the turn is written and nothing is committed; `after`: when all is, and nobody was answered.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from responder.actions.desk import book
from responder.core.wording import Channel
from responder.ports import Inbound
from responder.settings import Settings
from responder.wiring import wire


def die() -> NoReturn:
    """As a power cut: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def main(url: str, seconds: str, number: str, sid: str, body: str, where: str) -> None:
    """Answer it, unless killed."""
    now = datetime.fromtimestamp(float(seconds), UTC)
    flows = Path(__file__).resolve().parents[2] / "flows"
    settings = Settings(_env_file=None, database_url=url, flows_dir=flows)  # type: ignore[call-arg]
    service = wire(settings, lambda: now)
    genuine: Any = book.desk.add_turn

    def add_turn(*values: Any) -> bool:
        done = bool(genuine(*values))
        if where == "before":
            die()
        return done

    book.desk.add_turn = add_turn
    document = service.respond(Inbound(sid, Channel.TEXT, number, body))
    if where == "after":
        die()
    sys.stdout.write(document)


if __name__ == "__main__":
    main(*sys.argv[1:])

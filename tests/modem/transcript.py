"""`python -m tests.modem.transcript`: residents text a dummy phone, the real daemon and the service answer; what was said.

There is no net in it: two processes, two SQLite files and a folder that is the phone.
"""

import logging
import sys
import tempfile
from pathlib import Path
from time import sleep

from responder import modem as modems
from responder.core.segments import cost
from responder.modem import Modem
from tests.conftest import NOW, a_point, prepare, run
from tests.modem.daemon import INSTALLED, Real, until
from tests.modem.test_real import ANNA, BERTIL, RUSSIAN, SWEDISH

SAID = (
    (ANNA, "12347"),
    (ANNA, "JA"),
    (BERTIL, SWEDISH),
    (BERTIL, RUSSIAN),
    ("Kommunen", "Vinn en resa"),
    (ANNA, "STOPP"),
)


def main() -> None:
    """Print it."""
    if not INSTALLED:
        sys.exit("gammu, gammu-smsd and libdbd-sqlite3 are not installed (apt-get install)")
    modems.LOOK_EVERY = 0.1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        daemon = Real(folder).make().start()
        with_modem = {"gateway": "recorder,modem", "modem_database": str(daemon.path), "modem_rate": 100}
        running = run(prepare(folder / "responder.db"), **with_modem)
        running.put(a_point(confirmed_at=NOW))
        logging.getLogger().handlers.clear()
        try:
            with Modem(running.app.extensions["responder"]):
                for number, text in SAID:
                    converse(daemon, number, text)
                print("--- gammu-smsd is killed (kill -9), somebody texts, and it is started again")
                daemon.kill()
                daemon.receive(BERTIL, "FARSTA")
                daemon.start()
                converse(daemon, BERTIL, "")
        finally:
            daemon.end()
        print(f"--- {len(daemon.transmitted())} segments sent, each once: {len(set(daemon.transmitted()))} different")


def converse(daemon: Real, number: str, text: str) -> None:
    """Somebody texts, and reads what comes back."""
    before = len(daemon.sent())
    if text:
        daemon.receive(number, text, *(["-unicode"] if cost(text).encoding == "UCS-2" else []))
        print(f"{number}: {text}")
    try:
        until(lambda: len(daemon.sent()) > before and not daemon.rows("SELECT 1 FROM outbox"), 8)
    except TimeoutError:
        print("    (nothing comes back)")
    sleep(0.5)
    for to, words in daemon.sent()[before:]:
        price = cost(words)
        print(f"    -> {to} ({price.encoding}, {price.segments} segments): {words}")


if __name__ == "__main__":
    main()

"""kill -9 at random while a process answers texts and sends by the modem: nothing lost, nothing doubled.

`python -m tests.modem.kills --texts 1000`. The daemon is the one of tests/fakes; it lives in this process, what is killed
in one of its own. Each resident texts once from a number of their own, so that no cap is met, and each delivery is sent
by attempts that are asked for again until one has come back.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

from responder import modem as modems
from responder.gateways.modem import ModemGateway
from responder.gateways.modem_sender import ModemSender
from responder.gateways.smsd import Smsd
from responder.modem import Modem
from responder.ports import NotSent
from responder.settings import Settings
from responder.store import outbox
from responder.wiring import wire
from tests.conftest import NOW, a_point, prepare, run
from tests.fakes.smsd import Daemon

LIFE = 0.25  # seconds that a process lives at most, once it has begun


def settings_of(folder: Path) -> dict[str, str]:
    """Of a service with the modem of `folder`."""
    return {"gateway": "recorder,modem", "modem_database": str(folder / "smsd.db"), "modem_rate": "1000"}


def child(folder: Path, deliveries: int) -> None:
    """Answer and send until killed."""
    modems.LOOK_EVERY = 0.005
    modems.SAY_EVERY = 1e9
    url = f"sqlite:///{folder / 'responder.db'}"
    service = wire(Settings(_env_file=None, database_url=url, **settings_of(folder)))  # type: ignore[call-arg,arg-type]
    done = folder / "done"
    with Modem(service):
        (folder / f"begun-{os.getpid()}").touch()
        sender, gateway = ModemSender(Smsd(folder / "smsd.db"), 1000, 10), ModemGateway(real=False)
        at = int(done.read_text() or 0) if done.exists() else 0
        while True:
            if at >= deliveries:
                sleep(0.01)
                continue
            try:
                attempt = 1 + random.randrange(2)
                asyncio.run(sender.text(f"+467080{at:05d}", f"Nytt {at}", gateway.receipts(at + 1, attempt), 3600))
            except NotSent:
                sleep(0.005)
                continue
            at += 1
            os.pwrite(os.open(done, os.O_WRONLY | os.O_CREAT), str(at).encode(), 0)


def main() -> None:
    """Run it, and print what came of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--texts", type=int, default=1000)
    asked.add_argument("--kills", type=int, default=200)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--most", type=float, default=1200, help="seconds")
    chosen = asked.parse_args()
    random.seed(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        daemon = Daemon(folder / "smsd.db").make()
        running = run(prepare(folder / "responder.db"), **settings_of(folder))
        running.put(a_point())
        with running.database.write() as connection:
            row = {"hash": b"x" * 16, "sealed": b"x", "language": "sv", "body": "Nytt", "now": NOW.timestamp()}
            for n in range(chosen.texts):
                outbox.tell_operator(connection, {**row, "serial": f"{n}"})
        running.database.close()
        pid = os.fork()  # nothing here has threads: a child would inherit their locks
        if not pid:
            be_the_network(daemon, chosen.texts)
        kills, begun = 0, monotonic()
        while not finished(folder) and monotonic() - begun < chosen.most:
            kills += one_life(folder, chosen.texts, kills < chosen.kills, begun + chosen.most)
        sleep(1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counts = Counter((folder / "texts").read_text().split())
        expected = [f"+467017{n:05d}" for n in range(chosen.texts)] + [f"+467080{n:05d}" for n in range(chosen.texts)]
        lost, doubled = sum(counts[n] == 0 for n in expected), sum(counts[n] > 1 for n in expected)
        print(
            f"{chosen.texts} texts and {chosen.texts} deliveries, {kills} kills in {monotonic() - begun:.0f} s:"
            f" {lost} lost, {doubled} doubled"
        )
    sys.exit(bool(lost or doubled))


def be_the_network(daemon: Daemon, texts: int) -> None:
    """Bring texts in and send what goes out, and write down to whom."""
    texted = told = 0
    with (daemon.path.parent / "texts").open("w") as file:
        while True:
            if texted < texts and daemon.rows("SELECT count(*) < 20 FROM inbox WHERE Processed = 'false'")[0][0]:
                daemon.receive(f"+467017{texted:05d}", random.choice(("12347", "STOPP", "FARSTA", "hej")))
                texted += 1
            daemon.send()
            daemon.set("UPDATE phones SET Battery = 1")
            file.writelines(f"{number}\n" for number, _ in daemon.texts[told:])
            file.flush()
            told = len(daemon.texts)
            if told >= 2 * texts:
                (daemon.path.parent / "finished").touch()


def finished(folder: Path) -> bool:
    """Whether as many went out as should."""
    return (folder / "finished").exists()


def one_life(folder: Path, deliveries: int, short: bool, until: float) -> int:
    """A process begins and is killed, at random if its life is to be `short`; how many kills that was."""
    pid = os.fork()
    if not pid:
        child(folder, deliveries)
    while not (folder / f"begun-{pid}").exists():
        sleep(0.002)
    if short:
        sleep(random.uniform(0, LIFE))
    while not short and not finished(folder) and monotonic() < until:
        sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return int(short)


if __name__ == "__main__":
    main()

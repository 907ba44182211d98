"""A running service with a modem: residents at its other end, and the daemon beside it."""

from dataclasses import dataclass
from typing import Any

from responder.core import udh
from responder.gateways import smsd
from responder.modem import Modem
from responder.store import outbox
from responder.wiring import Service
from tests import engines
from tests.conftest import NOW, Running
from tests.fakes.smsd import Daemon

ANNA, BERTIL = "+46701740605", "+46701740606"
AT = "2026-11-24 14:20:00"
FREE: dict[str, Any] = {"modem_rate": 1000}  # segments a second: no test but those of the pace wait for it


@dataclass
class Kit:
    """A running service and the daemon beside it."""

    running: Running
    daemon: Daemon

    @property
    def service(self) -> Service:
        """What the service consists of."""
        found: Service = self.running.app.extensions["responder"]
        return found

    @property
    def modem(self) -> Modem:
        """A process that looks after the modem, as if just started."""
        return Modem(self.service)

    def ask(self, number: str, text: str, at: str = "") -> list[str]:
        """Somebody texts; what comes back to them."""
        self.daemon.receive(number, text, at)
        before = len(self.daemon.texts)
        self.modem.step()
        self.daemon.send_all()
        return [words for to, words in self.daemon.texts[before:] if to == number]

    def turns(self) -> int:
        """How many turns are recorded."""
        with engines.peek(self.running.path) as looking:
            count: int = looking.execute("SELECT count(*) FROM turns").fetchone()[0]
        return count

    def queued(self, number: str, body: str = "Nytt från staden") -> int:
        """A delivery to a number, as it is while the modem has it; its id."""
        vault = self.service.vault
        row = {
            "hash": vault.newest(number), "sealed": vault.seal(number), "language": "sv", "serial": body, "body": body,
            "now": NOW.timestamp(),
        }  # fmt: skip
        with self.running.database.write() as connection:
            outbox.tell_operator(connection, row)
        with engines.peek(self.running.path) as looking:
            id: int = looking.execute("SELECT max(id) FROM deliveries").fetchone()[0]
            looking.execute(
                "UPDATE deliveries SET state = 'accepted', attempt = 1, gateway = 'modem', provider_id = ? WHERE id = ?",
                (smsd.delivery_name(id, 1), id),
            )
        with smsd.Smsd(self.daemon.path).write() as connection:
            smsd.put(connection, "", number, body, smsd.delivery_name(id, 1), 3600, 0)
        return id

    def state(self, id: int) -> str:
        """Where a delivery stands; "" if it is forgotten."""
        with engines.peek(self.running.path) as looking:
            row = looking.execute("SELECT state FROM deliveries WHERE id = ?", (id,)).fetchone()
        return str(row[0]) if row else ""

    def part(self, n: int, of: int, text: str, at: str = AT, sender: str = ANNA, reference: int = 7) -> None:
        """A part of a long text comes in."""
        self.daemon.insert(
            SenderNumber=sender, RecipientID="kit", UDH=udh.written(reference, of)[n - 1], Text=smsd.digits(text),
            ReceivingDateTime=at,
        )  # fmt: skip

    def pass_time(self, seconds: int, table: str = "inbox", which: str = "TRUE") -> None:
        """What stands in a table has stood there for so long, or is dated ahead."""
        name = f"update_{table}_time"
        with self.daemon.opened() as db:
            trigger = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            db.execute(f"DROP TRIGGER {name}")
            db.execute(
                f"UPDATE {table} SET UpdatedInDB = datetime(UpdatedInDB, ?) WHERE {which}", (f"{-seconds:+d} seconds",)
            )
            db.execute(trigger)

    def texts(self, modem: Modem | None = None) -> list[str]:
        """What the modem finds to answer in its inbox."""
        return [letter.inbound.text for letter in (modem or self.modem)._box.pending() if letter.inbound]

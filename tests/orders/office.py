"""Operators with phones and codes, and hosts, for the tests of what is ordered by phone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pyotp
from sqlalchemy import text

from responder.actions import hosts, staff
from responder.core.access import Operator, Role
from responder.core.numbers import countries
from responder.core.points import Point
from responder.store import accounts, desk
from responder.store.queries import audit_log, read_point
from responder.web.handset import Handset
from responder.wiring import Service
from tests.conftest import Running

ANNA, BO, CILLA = "+46700000101", "+46700000102", "+46700000103"
HOST, RESIDENT = "+46700000201", "+46700000301"
SECRET = "JBSWY3DPEHPK3PXP"  # and its last letter differs by account
ROOT = Operator("root", Role.ADMIN, signed_in=True)


@dataclass
class Office:
    """A running service with operators: `phones` by their names."""

    running: Running
    phones: dict[str, Handset] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    paper: dict[str, list[str]] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        service: Service = self.running.app.extensions["responder"]
        return service

    def operator(
        self,
        name: str,
        number: str,
        role: Role = Role.COMMUNICATOR,
        districts: Sequence[str] = (),
        language: str = "sv",
    ) -> Handset:
        """An account with a phone and an authenticator."""
        running, vault = self.running, self.service.vault
        with running.database.write() as connection:
            account = Operator(name, role, tuple(districts), created_by="root")
            assert accounts.add_operator(
                connection, account, "", vault.seal(number), running.clock().timestamp(), vault.newest(number)
            )
            secret = pyotp.random_base32()
            accounts.set_credentials(connection, name, totp_sealed=vault.seal(secret), language=language)
        self.secrets[name], self.phones[name] = secret, running.another_phone(number)
        self.service.desk.look()
        return self.phones[name]

    def print_codes(self, name: str) -> list[str]:
        """Printed codes of the account."""
        found = staff.print_codes(self.running.database, self.service.vault, ROOT, name, self.running.clock())
        self.paper[name] = found
        return found

    def code(self, name: str) -> str:
        """A code of the authenticator that nobody has used: half a minute passes."""
        self.running.clock.pass_time(seconds=30)
        return pyotp.TOTP(self.secrets[name]).at(self.running.clock())

    def order(self, name: str, said: str, sid: str = "") -> str:
        """The answer to an order with a good code."""
        return self.phones[name].text(f"{said} {self.code(name)}", sid)

    def host(self, point: str = "p1", number: str = HOST, name: str = "Kerstin") -> int:
        """A host of a point."""
        running = self.running
        allowed = countries(self.service.settings.subscribe_countries)
        id = hosts.add(running.database, self.service.vault, ROOT, point, name, number, allowed, running.clock())
        self.service.desk.look()
        return id

    def ask(self) -> int:
        """Ask the hosts who are due; how many."""
        return self.service.asking.ask(self.running.clock())

    def point(self, id: str = "p1") -> Point:
        """As it really is."""
        with self.running.database.read() as connection:
            found = read_point(connection, id)
        assert found
        return found[0]

    def log(self, subject: str = "p1") -> list[tuple[str, str, str]]:
        """(who, action, decision) of the lines of a subject."""
        with self.running.database.read() as connection:
            return [(row.who, row.action, row.decision) for row in audit_log(connection, subject)]

    def number_of(self, id: str) -> int:
        """The short number of a point."""
        with self.running.database.read() as connection:
            return desk.point_numbers(connection)[id]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        with self.running.database.read() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def told(self, number: str) -> list[str]:
        """What waits to be sent to an operator's or a host's number, oldest first."""
        hashes = self.service.vault.newest(number)
        with self.running.database.read() as connection:
            sql = text("SELECT body FROM deliveries WHERE number_hash = :hash AND kind = 'operator' ORDER BY id")
            return list(connection.execute(sql, {"hash": hashes}).scalars())

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.running.clock.now += timedelta(**span)

"""A server and a laptop that was made from it, both in this process, on clocks that stand.

The server is on the engine that the tests run on; a laptop is on SQLite whatever that is.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import insert, text
from sqlmodel import SQLModel

from responder.actions import kit as kits
from responder.actions import publish
from responder.actions.push import Pushed, push_due
from responder.app import create_app
from responder.core.access import shell
from responder.core.points import Point, Status
from responder.settings import Settings
from responder.store import merge as merging
from responder.store.merge import Merged, Terms
from responder.store.queries import read_points, save_points
from responder.store.restored import release
from responder.store.schedule import DAY
from responder.store.vault import masked
from responder.web.handset import Handset, in_process
from responder.wiring import Service
from tests import engines
from tests.conftest import TOKEN, URL, ZONE, Clock, a_point

PASSPHRASE = "fem ovanliga ord om en lykta"
ANNA, BO, CILLA, DAVID, EVA = (f"+4670174060{n}" for n in range(1, 6))
WHO = "shell:anna"
CHOSEN = {"public_url": URL, "twilio_auth_token": TOKEN, "push_settle_seconds": 60, "send_rate": 1000}


def points() -> list[Point]:
    """One open near 12347, others further away."""
    return [
        a_point("near"), a_point("far", lat=59.26), a_point("north", lat=59.33, district="Norrmalm"),
        a_point("south", lat=59.20, status=Status.CLOSED),
    ]  # fmt: skip


@dataclass
class Side:
    """One of the two, with phones."""

    url: str
    clock: Clock
    service: Service = field(init=False)
    phone: Handset = field(init=False)

    def __post_init__(self) -> None:
        values = Settings(_env_file=None, **{**CHOSEN, "database_url": self.url})  # type: ignore[call-arg,arg-type]
        app = create_app(values, self.clock)
        self.service = app.extensions["responder"]
        self.phone = Handset(in_process(app.test_client()), values.public_url, values.twilio_auth_token, ANNA)

    def text(self, number: str, body: str) -> str:
        """Somebody texts; the reply."""
        self.clock.pass_time(seconds=1)
        return replace(self.phone, number=number).text(body)

    def set(self, id: str, status: Status, who: str = "anna", **fields: str) -> None:
        """An operator changes a point."""
        self.clock.pass_time(seconds=1)
        change = publish.Change(status, **fields)
        publish.set_point(self.service.database, id, change, shell(who), ZONE, self.clock.now)

    def point(self, id: str) -> Point:
        """A point as it stands."""
        with self.service.database.read() as connection:
            return next(point for point, _ in read_points(connection) if point.id == id)

    def push(self) -> Pushed | None:
        """Let changes settle, and find out who is to hear."""
        self.clock.pass_time(seconds=61)
        now = self.clock.now
        return push_due(self.service.database, self.service.snapshot.read_if_changed(now), self.service.rules, now)

    def send(self) -> list[tuple[str, str]]:
        """Send all that may go; (number, text) of each message."""
        before = {row[0] for row in self.rows("SELECT id FROM deliveries WHERE attempt > 0")}

        async def sending() -> None:
            deliverer = self.service.deliverer("test")
            while deliverer.start_some():
                await deliverer.drain()
                for pace in deliverer._ways.paces.values():
                    pace.tokens = 1000
            await deliverer.drain()
            await deliverer.close()

        asyncio.run(sending())
        rows = self.rows("SELECT id, number_sealed, body FROM deliveries WHERE attempt > 0 ORDER BY id")
        return [(self.service.vault.open(bytes(sealed)), body) for id, sealed, body in rows if id not in before]

    def rows(self, question: str, **values: object) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of the database."""
        with self.service.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(question), values)]

    def do(self, statement: str, **values: object) -> None:
        """Change something behind its back."""
        with self.service.database.write() as connection:
            connection.execute(text(statement), values)

    def add(self, table: str, **row: object) -> None:
        """Insert a row; what is left out is as usual."""
        with self.service.database.write() as connection:
            connection.execute(insert(SQLModel.metadata.tables[table]).values(**row))

    def release(self) -> None:
        """Let it push and send."""
        with self.service.database.write() as connection:
            assert release(connection, self.clock.now, WHO)

    def hash(self, number: str) -> bytes:
        """What a number is found by."""
        return self.service.vault.newest(number)

    def follows(self, number: str) -> list[tuple[str, str]]:
        """(place, state) that a number follows."""
        question = "SELECT place, state FROM subscriptions WHERE number_hash = :hash ORDER BY place"
        return self.rows(question, hash=self.hash(number))

    def said_stop(self, number: str) -> bool:
        """Whether it is sent nothing."""
        return bool(self.rows("SELECT 1 FROM suppressions WHERE number_hash = :hash", hash=self.hash(number)))

    def close(self) -> None:
        """Let the database go."""
        self.service.database.close()


@dataclass
class Pair:
    """The server, and what is done with kits of it in `folder`."""

    server: Side
    folder: Path
    laptops: list[Side] = field(default_factory=list)
    known_points: dict[str, tuple[str, str]] = field(default_factory=dict)  # for who compares: when the kit was made
    known_stops: dict[str, float] = field(default_factory=dict)

    def make(self, name: str = "a.kit") -> Path:
        """A kit."""
        service, file = self.server.service, self.folder / name
        self.server.clock.pass_time(seconds=1)
        kits.make(service.database, service.settings, service.vault, WHO, self.server.clock.now, file, PASSPHRASE)
        return file

    def open(self, file: Path, name: str = "laptop") -> Side:
        """A laptop that runs on the kit."""
        clock = Clock(self.server.clock.now)
        clock.pass_time(seconds=1)
        opened = kits.open_kit(file, self.folder / name, PASSPHRASE, clock.now)
        self.laptops.append(Side(f"sqlite:///{opened.folder / 'responder.db'}", clock))
        return self.laptops[-1]

    def laptop(self, released: bool = True) -> Side:
        """A laptop that was made from the server as it is."""
        side = self.open(self.make(f"{len(self.laptops)}.kit"), f"laptop-{len(self.laptops)}")
        if released:
            side.release()
        return side

    def packed(self, laptop: Side, name: str = "home.kit") -> Path:
        """What the laptop packs."""
        file = self.folder / name
        file.unlink(missing_ok=True)
        kits.pack_return(laptop.service.database, WHO, laptop.clock.now, file, PASSPHRASE)
        return file

    def merge(self, laptop: Side | Path, apply: bool = True) -> Merged:
        """Bring it back. The server's clock is not before the laptop's then."""
        file = laptop
        if isinstance(laptop, Side):
            file = self.packed(laptop)
            self.server.clock.now = max(self.server.clock.now, laptop.clock.now)
        assert isinstance(file, Path)
        service = self.server.service
        terms = Terms(
            WHO, self.server.clock.now, service.vault.fingerprint, lambda s: masked(service.vault.open(bytes(s))), ZONE,
            7 * DAY,
        )  # fmt: skip
        return merging.merge(service.database, file, lambda: PASSPHRASE, terms, apply)


@contextmanager
def a_pair(folder: Path, prepared: Path) -> Iterator[Pair]:
    """A server with four points in `folder`."""
    path = folder / "responder.db"
    engines.copy(prepared, path)
    server = Side(engines.url(path), Clock())
    with server.service.database.write() as connection:
        save_points(connection, points(), {}, server.clock.now)
        connection.execute(text("DELETE FROM due"))
    pair = Pair(server, folder)
    try:
        yield pair
    finally:
        for side in (server, *pair.laptops):
            side.close()
        engines.drop(path)

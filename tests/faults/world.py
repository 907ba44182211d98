"""The service as the harness sees it: who follows what, an operator who works on, and what stands in the database."""

import json
import os
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from responder.actions import load, publish
from responder.actions.deliver import PUSH_AGAIN
from responder.core.access import shell
from responder.core.points import Point, Status
from responder.core.told import at
from responder.settings import Settings
from responder.store.engine import Database, StoreAway
from responder.store.queries import save_points
from responder.store.schedule import LEASE
from responder.wiring import Service, utc_now, wire
from tests.conftest import TOKEN, ZONE, a_point
from tests.crash.verdict import Follower, Row
from tests.fakes.followers import follow
from tests.fakes.twilio import FakeTwilio
from tests.faults.entry import Moved
from tests.faults.stores import Store

ACCOUNT = "AC" + "1" * 32
AREAS = {"Farsta": ((59.2400, 18.0900), (59.2600, 18.1200)), "Bromma": ((59.3430, 17.9440), (59.3250, 17.9700))}
POSTCODES = 12  # of each area
BACKLOG = 80  # deliveries that shall wait
CHANGE_EVERY = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator said of a point. `sure`: it returned without an error. Times by the clock of this machine."""

    name: str
    status: Status
    mark: str  # that the audit log shows
    began: float
    ended: float
    sure: bool


def environment_of(store: Store, port: int, fake: FakeTwilio, clock: Path | None, reconcile: float) -> dict[str, str]:
    """The settings of every process."""
    return {
        "DATABASE_URL": store.address,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GATEWAY": "recorder",
        "TWILIO_API_URL": fake.url,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_FROM": "+46770000000",
        "SEND_RATE": "120",
        "SEND_CONCURRENCY": "32",
        "API_TIMEOUT": "2",
        "RECONCILE_SECONDS": str(reconcile),
        "PUSH_SETTLE_SECONDS": "1",
        "FOLLOW_UP_HOURS": "0",
        "SPEND_PER_DAY": "1e12",
        "NUMBER_PER_DAY": "1000000000",
        "PREFIX_PER_HOUR": "1000000000",
        "APPROVE_ABOVE": "1000000000",
        "FAULTS_CLOCK": str(clock or ""),
    }


@dataclass
class World:
    """The service in this process, on the database that the others use."""

    store: Store
    numbers: list[str]
    clock: Moved
    service: Service = field(init=False)
    codes: list[str] = field(default_factory=list)
    written: list[tuple[str, float, float]] = field(default_factory=list)  # body, when begun, when promised
    changes: list[Change] = field(default_factory=list)
    _first_until: float = 0.0
    _open: dict[str, str] = field(default_factory=lambda: dict.fromkeys(AREAS, "a"))
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        self._first_until = (self.clock().timestamp() // 60 + 300) * 60
        database = Database(self.store.url)
        load.prepare(database)
        with database.write() as connection:
            save_points(connection, [p for area in AREAS for p in _points(area, self.clock())], {}, self.clock())
        database.close()
        self.service = wire(Settings(_env_file=None), self.clock)  # type: ignore[call-arg]
        self.codes = follow(self.service, self.numbers, AREAS, POSTCODES, self.clock())

    def waiting(self) -> int:
        """How many deliveries are not over."""
        return int(self.store.rows("SELECT count(*) FROM deliveries WHERE state IN ('queued', 'sending')")[0][0])

    def pushes_due(self) -> int:
        """How many pushes are due and not done, or will be within `PUSH_AGAIN`."""
        question = "SELECT count(*) FROM due WHERE job = 'push' AND done_at IS NULL AND at < ?"
        return int(self.store.rows(question, [self.clock().timestamp() + PUSH_AGAIN + 2])[0][0])

    def announce(self, in_seconds: float = 0.0) -> str:
        """A broadcast to everybody, unlike any other, now or later; its text. Raises StoreAway."""
        announcer, now, began = self.service.announcer, self.clock, utc_now().timestamp()
        operator, body = shell("faults"), f"Utskick {next(self._serial)}: det här är ett prov."
        draft = announcer.draft(operator, ["everyone"], now(), {"sv": body}, "sv")
        announcer.submit(operator, draft.id, now())
        announcer.send(operator, draft.id, now(), now() + timedelta(seconds=in_seconds) if in_seconds else None)
        self.written.append((draft.texts["sv"], began, utc_now().timestamp()))
        return draft.texts["sv"]

    def change(self, dice: random.Random) -> None:
        """Another point opens in an area, until a time that no other had; then the one before closes. Raises StoreAway
        if the database did not do it, or did not say so.
        """
        area = dice.choice(list(AREAS))
        closed, opened = ("a", "b") if self._open[area] == "a" else ("b", "a")
        until = self._first_until + next(self._serial) * 60
        closes = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(until))
        mark = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(until))
        self._set(area, opened, publish.Change(Status.OPEN, closes=closes), mark)
        self._open[area] = opened
        self._set(area, closed, publish.Change(Status.CLOSED), "")

    def _set(self, area: str, letter: str, how: publish.Change, mark: str) -> None:
        began, sure = utc_now().timestamp(), False
        try:
            publish.set_point(
                self.service.database, _id(area, letter), how, shell("faults"), zone=ZONE, now=self.clock()
            )
            sure = True
        finally:
            status = Status(how.status) if how.status else Status.OPEN
            self.changes.append(Change(_name(area, letter), status, mark, began, utc_now().timestamp(), sure))

    def may_be_open(self, name: str, since: float, until: float) -> bool:
        """Whether a point may have been open at some time between two."""
        states = {Status.OPEN if name.endswith(" a") else Status.CLOSED}
        for change in [one for one in list(self.changes) if one.name == name and one.began <= until]:
            if change.ended < since and change.sure:
                states = {change.status}
            else:
                states.add(change.status)
        return Status.OPEN in states

    def points(self) -> list[tuple[str, str]]:
        """(name, status) of every point."""
        found = [json.loads(row[0]) for row in self.store.rows("SELECT data FROM points")]
        return [(point["name"], point["status"]) for point in found]

    def leader(self) -> str:
        """Who leads just now."""
        rows = self.store.rows(
            "SELECT owner FROM leases WHERE name = ? AND until > ?", [LEASE, self.clock().timestamp()]
        )
        return str(rows[0][0]) if rows else ""

    def audited(self) -> set[str]:
        """The closing times, to the minute in UTC, that the audit log shows."""
        found = set()
        for (after,) in self.store.rows("SELECT after FROM audit WHERE after <> ''"):
            with suppress(ValueError, TypeError):
                closes = json.loads(after).get("closes")
                moment = datetime.fromisoformat(closes).timestamp()
                found.add(time.strftime("%Y-%m-%dT%H:%M", time.gmtime(moment)))
        return found

    def deliveries(self, numbers: Mapping[bytes, str]) -> list[Row]:
        """Every delivery."""
        return [
            Row(id, kind, state, numbers.get(bytes(hashed), "?"), *more)
            for id, kind, state, hashed, *more in self.store.rows(
                "SELECT id, kind, state, number_hash, subscription_id, told, body, provider_id, created_at, error,"
                " claimed_at"
                " FROM deliveries"
            )
        ]

    def followers(self) -> list[Follower]:
        """Every active subscription, with the present answer."""
        now = self.clock()
        view = self.service.snapshot.read_if_changed(now)
        standing, places = at(view.board, now), view.gazetteer.by_code
        return [
            Follower(id, self.service.vault.open(bytes(sealed)), told, standing.key(places[place], ""))
            for id, sealed, told, place in self.store.rows(
                "SELECT id, number_sealed, told, place FROM subscriptions WHERE state = 'active'"
            )
        ]


class Operator(threading.Thread):
    """Sends broadcasts whenever little waits, and changes points now and then; tries again when it does not go."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="operator", daemon=True)
        self._world, self._dice, self._over = world, random.Random(seed), threading.Event()
        self.refused = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """Until it is told to end."""
        changed = 0.0
        while not self._over.wait(0.3):
            try:
                if time.monotonic() - changed > CHANGE_EVERY:
                    changed = time.monotonic()
                    self._world.change(self._dice)
                elif self._world.waiting() < BACKLOG:
                    self._world.announce()
            except StoreAway:
                self.refused += 1
            except Exception as error:
                if type(error).__module__.partition(".")[0] in ("psycopg", "sqlite3"):  # our own look at the queue
                    continue
                self.error = error
                return

    def end(self) -> None:
        """No more work. Raises what ended it before."""
        self._over.set()
        self.join()
        if self.error:
            raise self.error


def _points(area: str, now: datetime) -> list[Point]:
    return [
        a_point(
            _id(area, letter), name=_name(area, letter), lat=lat, lon=lon, district=area, city=area, confirmed_at=now,
            status=status,
        )
        for letter, (lat, lon), status in zip("ab", AREAS[area], (Status.OPEN, Status.CLOSED), strict=True)
    ]  # fmt: skip


def _id(area: str, letter: str) -> str:
    return f"{area.lower()}-{letter}"


def _name(area: str, letter: str) -> str:
    return f"Hallen {area} {letter}"


def install(environment: Mapping[str, str]) -> None:
    """Make the settings those of this process too."""
    os.environ.update(environment)

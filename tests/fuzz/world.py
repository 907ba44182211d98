"""A small world for one process: the service on a database of its own, some points, a clock, and a database that may
be away. What the cases are judged by stands here too: the points as they really are.
"""

import base64
import hmac
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from responder.actions import load
from responder.app import create_app
from responder.core.places import Place
from responder.core.points import Point, Status, YesNo
from responder.gateways.twilio import VOICE_PATH
from responder.ports import TWILIO
from responder.settings import Settings
from responder.store.engine import Database, StoreAway
from responder.store.meter import Meter
from responder.store.queries import read_places, save_points, versions
from responder.wiring import Service
from tests.conftest import TOKEN, URL
from tests.fuzz.cases import STARTS, Case, Change, services

KEPT = ("meta", "places", "alembic_version", "points")  # tables that an episode does not begin without
NAMES = ("Provhus {n}", "Provhus {n} med ett mycket långt namn på en skola", "Provhus {n} & <co>", "Provhus {n} Łódź")
HOURS = ("", "", "", "Mo-Su 08:00-20:00", "24/7", "Mo-Fr 20:00-04:00", "off")


class TooSlow(Exception):
    """A case took so long that something hangs."""


@dataclass(frozen=True)
class Reply:
    """What came back: HTTP status, the document, seconds of CPU and of waiting, and what was logged as an error."""

    status: int
    document: str
    seconds: float
    waited: float
    errors: tuple[str, ...]


class Listener(logging.Handler):
    """Keeps errors that are logged; warnings and below are what hostile requests are for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with the kind of exception if there is one."""
        cause = f" ({record.exc_info[1]!r})" if record.exc_info else ""
        self.heard.append(record.getMessage() + cause)


@dataclass
class World:
    """See the module. `points` are as they are now, by the number in name and address; `known` as they were in each
    version.
    """

    service: Service
    wsgi: Any
    places: list[Place]
    tables: list[str]
    clock: "FuzzClock"
    listener: Listener
    points: dict[str, Point] = field(default_factory=dict)
    known: dict[int, dict[str, Point]] = field(default_factory=dict)
    episodes: int = 0  # no id of a point is given twice: processes know it with its version
    away: bool = False
    went_back: bool = False  # whether the clock did, in this episode

    @property
    def truth(self) -> dict[str, Point]:
        """The points that a reply may be made of: as they are, or as they were when they were last seen."""
        view = self.service.snapshot.view
        return self.known.get(view.points_version, {}) if self.away and view else self.points

    def begin(self, draw: random.Random) -> None:
        """A new episode: nothing is remembered, and there are other points."""
        self.away = self.went_back = False
        self.clock.now = draw.choice(STARTS)
        database = self.service.database
        with database.write() as connection:
            for table in (*self.tables, "points"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
            connection.exec_driver_sql("UPDATE meta SET value = value + 1 WHERE key = 'points'")
        self.points, self.known = {}, {}
        self.episodes += 1
        few = draw.choice((0, 1, 4, 16, 16))
        self._put({str(serial): self._point(draw, serial) for serial in range(100, 100 + few)})
        self.service.snapshot.read_if_changed(self.clock.now)
        low = draw.random() < 0.1
        caps = (draw.choice((1, 5)), 12, 20.0) if low else (10**6, 10**6, 1e12)
        self.service.answerer._meter = Meter(database, *caps)

    def happen(self, change: Change) -> None:
        """Let a change happen."""
        if change.away is not None:
            self.away = change.away
        self.clock.now += timedelta(seconds=change.seconds)
        self.went_back |= change.seconds < 0
        if change.point >= 0 and self.points and not self.away:
            serial, point = list(self.points.items())[change.point % len(self.points)]
            times = {
                name: self.clock.now + timedelta(seconds=value) if value is not None else None
                for name, value in (
                    ("opens", change.opens),
                    ("closes", change.closes),
                    ("confirmed_at", change.confirmed),
                )
            }
            self._put({serial: replace(point, status=Status(change.status), **times)})  # type: ignore[arg-type]

    def is_known(self, id: str) -> bool:
        """Whether the turn `id` stands in the database."""
        with self.service.database.read() as connection:
            return connection.execute(text("SELECT 1 FROM turns WHERE id = :id"), {"id": id}).first() is not None

    def answer(self, case: Case) -> Reply:
        """The case as a signed webhook, through the whole application or from the gateway on."""
        self.listener.heard = []
        form = case.form
        signature = sign(case.path, form)
        begun, began = time.thread_time(), time.perf_counter()
        status, document = (self._over_wsgi if case.web else self._direct)(case, form, signature)
        spent, waited = time.thread_time() - begun, time.perf_counter() - began
        return Reply(status, document, spent, waited, tuple(self.listener.heard))

    def _direct(self, case: Case, form: dict[str, list[str]], signature: str) -> tuple[int, str]:
        gateway, answerer = self.service.gateways[TWILIO], self.service.answerer
        if not gateway.genuine(case.path, form, signature):
            return 403, ""
        fields = {name: values[0] for name, values in form.items()}
        if case.path.endswith("/status"):
            try:
                answerer.ended(fields.get("CallSid", ""))
            except StoreAway:
                return 200, "<Response/>"
            return 200, "<Response/>"
        try:
            if case.path.startswith("/twilio/sms"):
                inbound = gateway.read_text(fields)
            else:
                inbound = gateway.read_call(fields, int(case.path.removeprefix(VOICE_PATH).lstrip("/") or 0))
        except ValueError:
            return 400, "<Response/>"
        return 200, answerer.respond(inbound)

    def _over_wsgi(self, case: Case, _form: dict[str, list[str]], signature: str) -> tuple[int, str]:
        path, _, query = case.path.partition("?")
        answer = self.wsgi.post(
            path, query_string=query, data=case.body, headers={"X-Twilio-Signature": signature},
            content_type="application/x-www-form-urlencoded", environ_overrides={"RAW_URI": case.path},
        )  # fmt: skip
        return answer.status_code, answer.get_data().decode()

    def _put(self, points: dict[str, Point]) -> None:
        database = self.service.database
        with database.write() as connection:
            at = {row.id: row.version for row in connection.execute(text("SELECT id, version FROM points"))}
            save_points(connection, list(points.values()), at, self.clock.now)
        self.points = {**self.points, **points}
        with database.read() as connection:
            self.known[versions(connection)[0]] = self.points

    def _point(self, draw: random.Random, serial: int) -> Point:
        near = draw.choice(self.places)
        now = self.clock.now
        status = draw.choice(("open",) * 8 + ("full", "on_call", "closed", "moved", "planned", "candidate", "rejected"))
        return Point(
            id=f"p{serial}-{self.episodes}",
            name=draw.choice(NAMES).format(n=serial),
            lat=near.lat + draw.uniform(-0.02, 0.02),
            lon=near.lon + draw.uniform(-0.02, 0.02),
            status=Status(status),
            address=draw.choice((f"Provstigen {serial}", f"Provstigen {serial}, ingång från gården i norr")),
            city=draw.choice(("", near.district)),
            district=draw.choice(("", near.district)),
            municipality=draw.choice(("", near.municipality)),
            coordinate_accuracy=draw.choice((5, 50, 400, 3000)),
            services=services(draw),
            opens=draw.choice((None, None, now - timedelta(hours=1), now + timedelta(hours=1))),
            closes=draw.choice((None, None, now + timedelta(minutes=20), now + timedelta(hours=9))),
            hours=draw.choice(HOURS),
            phone=draw.choice(("08-508 00 000", "+46 70 123")),
            moved_to=draw.choice(("Nya skolan", "Nya skolan, Långa gatan 1 {x} <y>")),
            step_free=draw.choice(list(YesNo)),
            pets=draw.choice(list(YesNo)),
            overnight=draw.choice(list(YesNo)),
            note=draw.choice(("", "Ring på klockan. {name} %s <b>")),
            hidden=draw.random() < 0.15,
            confirmed_at=draw.choice((None, now, now, now - timedelta(hours=11), now - timedelta(hours=13))),
        )


class FuzzClock:
    """A clock that stands until somebody moves it."""

    def __init__(self) -> None:
        self.now: datetime = STARTS[0]

    def __call__(self) -> datetime:
        """The time it was set to."""
        return self.now


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world with its database in `folder`."""
    url = f"sqlite:///{folder / 'fuzz.db'}"
    load.prepare(Database(url))
    clock, listener = FuzzClock(), Listener()
    chosen = Settings(  # type: ignore[call-arg]
        _env_file=None,
        database_url=url,
        public_url=URL,
        twilio_auth_token=TOKEN,
        gateway="recorder",
        number_per_minute=10**6,
    )
    app = create_app(chosen, clock)
    log = logging.getLogger("responder")
    before = log.handlers, log.propagate
    log.handlers, log.propagate = [listener], False
    service: Service = app.extensions["responder"]
    with service.database.read() as connection:
        places, tables = read_places(connection), _tables(connection)
    made = World(service, app.test_client(), places, tables, clock, listener)
    for name in ("write", "read", "fetch", "insert", "transact"):
        setattr(service.database, name, _unless_away(made, getattr(service.database, name)))
    try:
        yield made
    finally:
        log.handlers, log.propagate = before
        service.database.close()


def _unless_away(made: World, work: Callable[..., Any]) -> Callable[..., Any]:
    def tried(*args: Any, **more: Any) -> Any:
        if made.away:
            raise StoreAway("away, in a test")
        return work(*args, **more)

    return tried


def _tables(connection: Any) -> list[str]:
    rows = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"))
    return [row[0] for row in rows if row[0] not in KEPT]


def sign(path: str, form: dict[str, list[str]]) -> str:
    """The provider's signature: a value sent twice counts once, a field's values in order."""
    signed = URL + path + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    digest = hmac.digest(TOKEN.encode(), signed.encode("utf-8", "surrogateescape"), "sha1")
    return base64.b64encode(digest).decode()

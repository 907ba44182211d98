"""What most tests stand on: Stockholm's places, the real flow, and a service with a phone on a clock that stands."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import settings
from sqlalchemy.engine import Connection

from responder import wiring
from responder.actions import load
from responder.app import create_app
from responder.core.flow import Flow
from responder.core.places import Gazetteer, Place, PlaceKind, gazetteer
from responder.core.placesfile import read_places_file
from responder.core.points import Point, Status
from responder.flowfiles import load as load_flow
from responder.settings import Settings
from responder.store import snapshot
from responder.store.engine import Database
from responder.store.queries import read_gazetteer, read_points, save_points, versions
from responder.web.handset import Handset, in_process
from tests import engines
from tests.fakes.espeak import stand_in

# `make test` tries the same examples every time; `make test ARGS=--hypothesis-profile=search` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("same")

FLOWS = Path(__file__).resolve().parents[1] / "flows"
ZONE = "Europe/Stockholm"
NOW = datetime(2026, 11, 24, 13, 20, tzinfo=UTC)  # 14.20 in Stockholm, a Tuesday
STALE = timedelta(hours=12)
TOKEN = "a-token-only-the-tests-know"
URL = "https://svar.example"
AS_BUNDLED = 1_000_000  # the version of the places in `prepared`, and in a copy of it as long as nobody changes them


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is of the other engine alone is not chosen: it runs with the tests on that one."""
    other = "only_sqlite" if engines.POSTGRESQL else "only_postgresql"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


def a_point(id: str = "p1", **fields: object) -> Point:
    """An open point in Farsta, confirmed at 14.20."""
    usual = Point(
        id, f"Hallen {id}", 59.2400, 18.0900, Status.OPEN, address="Testgatan 36", city="Farsta", district="Farsta",
        municipality="Stockholm", services=("information", "phone_charging", "water", "warmth"), confirmed_at=NOW,
    )  # fmt: skip
    return replace(usual, **fields)  # type: ignore[arg-type]


def a_place(name: str = "12347", **fields: object) -> Place:
    """Somebody at the postcode 12347."""
    usual = Place(
        name, name, PlaceKind.POSTCODE, 59.2425, 18.0846, 100, "Farsta", "Stockholm", near="Farsta", method="address"
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def places() -> list[Place]:
    """Every bundled place."""
    names = ("postcodes.csv", "places.csv")
    return [p for name in names for p in read_places_file((load.DATA / name).read_text(encoding="utf-8"))]


@pytest.fixture(scope="session")
def stockholm(places: list[Place]) -> Gazetteer:
    """The bundled gazetteer."""
    return gazetteer(places, load.not_places())


@pytest.fixture(scope="session")
def flow() -> Flow:
    """The flow that ships."""
    return load_flow(FLOWS)


@pytest.fixture(scope="session", autouse=True)
def voices(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Somebody can speak, whether or not espeak-ng is installed."""
    stand_in(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="session", autouse=True)
def read_once(flow: Flow) -> Iterator[None]:
    """The flow that ships is read and checked once, and the bundled places are indexed once, not by every service that
    a test starts.
    """
    bundled: dict[tuple[str, ...], Gazetteer] = {}

    def places_of(connection: Connection, not_places: Iterable[str] = ()) -> Gazetteer:
        if versions(connection)[1] != AS_BUNDLED:
            return read_gazetteer(connection, not_places)
        key = tuple(not_places)
        if key not in bundled:
            bundled[key] = read_gazetteer(connection, key)
        return bundled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "load", lambda folder: flow if Path(folder) == FLOWS else load_flow(folder))
        patch.setattr(snapshot, "read_gazetteer", places_of)
        yield


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        """The time it was set to."""
        return self.now

    def pass_time(self, **span: float) -> None:
        """Let some time go by."""
        self.now += timedelta(**span)


@dataclass
class Running:
    """A service in this process, with a phone."""

    app: Flask
    database: Database
    clock: Clock
    phone: Handset
    path: Path

    def put(self, *points: Point) -> None:
        """Replace the points by these."""
        with self.database.write() as connection:
            known = {point.id: version for point, version in read_points(connection)}
            save_points(connection, points, known, self.clock.now)

    def another_phone(self, number: str) -> Handset:
        """A phone with another number."""
        return replace(self.phone, number=number)


def prepare(path: Path) -> Path:
    """A database with the places and no points, at `path`."""
    database = Database(engines.url(path))
    load.prepare(database)
    database.close()
    return path


def run(path: Path, **chosen: object) -> Running:
    """A service on the database at `path`; settings may be given."""
    usual = {"database_url": engines.url(path), "public_url": URL, "twilio_auth_token": TOKEN}
    values = Settings(_env_file=None, **{**usual, **chosen})  # type: ignore[call-arg,arg-type]
    clock = Clock()
    app = create_app(values, clock)
    phone = Handset(in_process(app.test_client()), values.public_url, values.twilio_auth_token, "+46700000001")
    return Running(app, app.extensions["responder"].database, clock, phone, path)


@pytest.fixture(scope="session", autouse=True)
def server_ends() -> Iterator[None]:
    """The PostgreSQL server, if the tests run on one, ends with them."""
    yield
    engines.stop()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the places and no points, made once."""
    path = prepare(tmp_path_factory.mktemp("prepared") / "prepared.db")
    with engines.peek(path) as looking:
        looking.execute("UPDATE meta SET value = ? WHERE key = 'places'", (AS_BUNDLED,))
    return path


@pytest.fixture
def start(tmp_path: Path, prepared: Path) -> Iterator[Callable[..., Running]]:
    """Starts a service on a database of its own; settings may be given."""
    opened: list[Running] = []

    def starting(**chosen: object) -> Running:
        path = tmp_path / "responder.db"
        engines.copy(prepared, path)
        opened.append(run(path, **chosen))
        return opened[-1]

    yield starting
    for running in opened:
        running.database.close()
    if opened:
        engines.drop(opened[0].path)


@pytest.fixture
def service(start: Callable[..., Running]) -> Running:
    """A service without points."""
    return start()


@pytest.fixture(autouse=True)
def quiet_root() -> Iterator[None]:
    """create_app sets the root logger up; no test shall leave it otherwise."""
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before

"""Bring a database up and fill it: bundled places, demo or designated points, files of others. All or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.engine import Connection

from responder.core.exercise import ExerciseGoesOn
from responder.core.placesfile import read_places_file
from responder.core.points import ACTIVATED, PROPOSED, Point
from responder.core.pointsfile import checked, read_points_file
from responder.core.rows import TableError
from responder.store import migrations
from responder.store.engine import Database
from responder.store.exercises import current
from responder.store.queries import add_audit, number_points, read_places, read_points, save_places, save_points

DATA = Path(__file__).resolve().parent.parent / "data"
DEMO_OPEN_FOR = timedelta(hours=8)
MAX_BYTES = 50_000_000


class DemoRefused(ValueError):
    """Fictional points must never be told to real residents."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"GATEWAY=twilio refuses demo points: {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many rows were new, changed and the same."""

    new: int
    changed: int
    same: int

    def __str__(self) -> str:
        return f"{self.new} new, {self.changed} changed, {self.same} unchanged"


def read_file(path: Path) -> str:
    """The text of `path`. Raises TableError if it is too big or not UTF-8."""
    if path.stat().st_size > MAX_BYTES:
        raise TableError([f"{path.name}: over {MAX_BYTES // 1_000_000} MB"])
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TableError([f"line {line}: not UTF-8 (save the file as UTF-8)"]) from error


def not_places() -> tuple[str, ...]:
    """The bundled words that are never a misspelt place."""
    lines = (DATA / "not_places.txt").read_text(encoding="utf-8").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def prepare(database: Database) -> Loaded:
    """Create or upgrade the database, and add the bundled places that it lacks: an import of others' stays."""
    migrations.upgrade(database.engine)
    texts = [(DATA / name).read_text(encoding="utf-8") for name in ("postcodes.csv", "places.csv")]
    places = [place for text in texts for place in read_places_file(text)]
    with database.write() as connection:
        known = {place.code for place in read_places(connection)}
        missing = [place for place in places if place.code not in known]
        save_places(connection, missing, set())
        number_points(connection, [point.id for point, _ in read_points(connection) if point.status not in PROPOSED])
    return Loaded(len(missing), 0, len(places) - len(missing))


def load_points(database: Database, text: str, zone: str, now: datetime, real: bool, dry_run: bool = False) -> Loaded:
    """Take in a points file. Raises TableError, DemoRefused, ExerciseGoesOn."""
    return _save(database, read_points_file(text, zone, now), now, real, dry_run)


def load_demo(database: Database, zone: str, now: datetime, real: bool) -> Loaded:
    """The fictional points, confirmed now; those without regular hours close in eight hours. Raises DemoRefused."""
    points = read_points_file((DATA / "points_demo.csv").read_text(encoding="utf-8"), zone, now)
    closes = (now + DEMO_OPEN_FOR).replace(minute=0, second=0, microsecond=0)
    confirmed = [replace(point, confirmed_at=now) for point in points]
    until = [replace(p, closes=closes) if p.status in ACTIVATED and not p.hours else p for p in confirmed]
    return _save(database, until, now, real)


def load_stockholm(database: Database, zone: str, now: datetime) -> Loaded:
    """The county's designated points, planned and unconfirmed."""
    return load_points(database, (DATA / "points_stockholm.csv").read_text(encoding="utf-8"), zone, now, real=False)


def load_places(database: Database, text: str) -> Loaded:
    """Take in a places file; it replaces places of the same code. Raises TableError."""
    places = read_places_file(text)
    with database.write() as connection:
        known = {place.code: place for place in read_places(connection, learnt=False)}
        changed = [place for place in places if known.get(place.code) != place]
        save_places(connection, changed, set(known))
    new = sum(place.code not in known for place in changed)
    return Loaded(new, len(changed) - new, len(places) - len(changed))


def _save(database: Database, points: list[Point], now: datetime, real: bool, dry_run: bool = False) -> Loaded:
    demo = [point.id for point in points if point.demo]
    if real and demo:
        raise DemoRefused(demo)
    with database.write() as connection:
        stored = {point.id: (point, version) for point, version in read_points(connection)}
        known = {id: point for id, (point, _) in stored.items()}
        changed = checked(points, known)
        _not_in_exercise(connection, changed)
        new = sum(point.id not in stored for point in changed)
        if not dry_run:
            save_points(connection, changed, {id: version for id, (_, version) in stored.items()}, now)
            for point in changed:
                add_audit(connection, now, "import", "import", known.get(point.id), point)
    return Loaded(new, len(changed) - new, len(points) - len(changed))


def _not_in_exercise(connection: Connection, points: Sequence[Point]) -> None:
    """While an exercise goes on, no file activates a real point: pushes of it would have to wait."""
    going = current(connection)
    active = [point.id for point in points if point.status in ACTIVATED and not point.demo]
    if going and active:
        raise ExerciseGoesOn(
            "the exercise {name} goes on, and the file activates points ({points}); end the exercise first",
            name=going.name,
            points=active[:5],
        )

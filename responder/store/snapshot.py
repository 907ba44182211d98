"""Places and points in memory, read anew when their counters move; what is left when the database is away."""

import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from responder.core.answer import Board, board
from responder.core.places import Gazetteer, Place
from responder.core.points import Point
from responder.store.engine import Database, Prepared
from responder.store.queries import Stored, read_changed, read_gazetteer, versions


@dataclass(frozen=True)
class View:
    """One consistent reading: the gazetteer, the board, and when it was read."""

    gazetteer: Gazetteer
    board: Board
    points_version: int
    places_version: int
    read_at: datetime
    refused: tuple[Point, ...] = ()  # fictional points where they may not be told


class Snapshot:
    """The newest view this process has. Thread-safe."""

    def __init__(
        self, database: Database, zone: str, stale_after: timedelta, not_places: tuple[str, ...], demo: bool
    ) -> None:
        self._db, self._demo = database, demo  # demo: whether fictional points may be told
        self._zone, self._stale_after, self._not_places = zone, stale_after, not_places
        self._counters = Prepared(database.engine, "SELECT key, value FROM meta")
        self._lock = threading.Lock()
        self._stored: dict[str, Stored] = {}  # what the view was made of ...
        self._homes: dict[str, tuple[Point, Point]] = {}  # ... and what was filled in where a file had left it out
        self.view: View | None = None

    def fresh(self, points_version: int, places_version: int, now: datetime) -> View:
        """A view no older than the counters say, its board good at `now`. Raises StoreAway."""
        view = self.view
        if view is None or view.points_version != points_version or view.places_version != places_version:
            view = self._read(points_version, places_version, now)
        return self.at(view, now)

    def at(self, view: View, now: datetime) -> View:
        """`view` with its board good at `now`."""
        current = view.board.at(now)
        if current is view.board:
            return view
        moved_on = replace(view, board=current)
        with self._lock:
            if self.view is view:
                self.view = moved_on
        return moved_on

    def read_if_changed(self, now: datetime) -> View:
        """A view of what the database holds now, its board good at `now`. Raises StoreAway."""
        counters = dict(self._db.fetch(self._counters, {}))
        return self.fresh(counters["points"], counters["places"], now)

    def places(self, connection: Connection) -> Gazetteer:
        """The places as `connection` sees them; from memory if they have not changed since."""
        view = self.view
        if view and view.places_version == versions(connection)[1]:
            return view.gazetteer
        return read_gazetteer(connection, self._not_places)

    def read(self, now: datetime) -> View:
        """Read now, whatever the counters say. Raises StoreAway."""
        return self._read(-1, -1, now)

    def _read(self, points_version: int, places_version: int, now: datetime) -> View:
        with self._lock:
            view = self.view
            if view and view.points_version == points_version and view.places_version == places_version:
                return view  # another thread was faster
            with self._db.read() as connection:
                points_version, places_version = versions(connection)
                self._stored = read_changed(connection, self._stored)
                same = view and view.places_version == places_version
                known = view.gazetteer if view and same else read_gazetteer(connection, self._not_places)
            if not same:
                self._homes = {}
            points = [stored.point for stored in self._stored.values()]
            refused = () if self._demo else tuple(point for point in points if point.demo)
            told = [self._at_home(point, known) for point in points if not (refused and point.demo)]
            made = board(told, now, self._zone, self._stale_after, view.board if view else None)
            self.view = View(known, made, points_version, places_version, now, refused)
            return self.view

    def _at_home(self, point: Point, known: Gazetteer) -> Point:
        """A points file need not say where a point lies in words; who is told of it depends on that, so it is filled
        in, once: the same point gives the same object.
        """
        if point.municipality and (point.municipality not in known.divided or point.district in known.districts):
            return point
        before, filled = self._homes.get(point.id, (None, point))
        if before is not point:
            filled = _filled(point, known.home(point.lat, point.lon, point.postcode))
            self._homes[point.id] = point, filled
        return filled


def _filled(point: Point, home: Place | None) -> Point:
    if home is None or (point.municipality and home.municipality != point.municipality):
        return point
    return replace(point, municipality=home.municipality, district=home.district or point.district)

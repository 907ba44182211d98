"""The exercise that goes on, and what the points are in it. Nothing here decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.points import Point
from responder.store.queries import Clash, point_from_json, point_to_json

VERSIONS = 100_000  # from ID * VERSIONS on versions count in the exercise ID: none of them is one of a real point


@dataclass(frozen=True, slots=True)
class Exercise:
    """One exercise; times in seconds since 1970."""

    id: int
    name: str
    begun_by: str
    begun_at: float
    ended_by: str = ""
    ended_at: float | None = None


_EXERCISES = "SELECT id, name, begun_by, begun_at, ended_by, ended_at FROM exercises"


def current(connection: Connection) -> Exercise | None:
    """The one that goes on, if any."""
    row = connection.execute(text(f"{_EXERCISES} WHERE current = 1")).first()
    return Exercise(**row._mapping) if row else None


def past(connection: Connection, most: int) -> list[Exercise]:
    """The newest that have ended."""
    sql = text(f"{_EXERCISES} WHERE current IS NULL ORDER BY id DESC LIMIT :most")
    return [Exercise(**row._mapping) for row in connection.execute(sql, {"most": most})]


def begin(connection: Connection, name: str, who: str, now: float) -> bool:
    """Begin one; False if one goes on."""
    sql = text(
        "INSERT INTO exercises (name, begun_by, begun_at, ended_by, current) VALUES (:name, :who, :now, '', 1)"
        " ON CONFLICT DO NOTHING"
    )
    return connection.execute(sql, {"name": name, "who": who, "now": now}).rowcount > 0


def end(connection: Connection, id: int, who: str, now: float) -> bool:
    """End it, and forget what the points were in it; False if it is over."""
    sql = text("UPDATE exercises SET current = NULL, ended_by = :who, ended_at = :now WHERE id = :id AND current = 1")
    ended = connection.execute(sql, {"id": id, "who": who, "now": now}).rowcount > 0
    if ended:
        connection.execute(text("DELETE FROM played_points"))
    return ended


def played(connection: Connection) -> dict[str, tuple[Point, int]]:
    """(point, version) of those that the exercise has changed, by id; versions go on from those that it began with."""
    rows = connection.execute(text("SELECT id, data, version FROM played_points"))
    return {row.id: (point_from_json(row.data), row.version) for row in rows}


def played_point(connection: Connection, id: str) -> tuple[Point, int] | None:
    """The same of the point `id` alone; None if the exercise has not changed it."""
    row = connection.execute(text("SELECT data, version FROM played_points WHERE id = :id"), {"id": id}).first()
    return (point_from_json(row.data), row.version) if row else None


def save_played(connection: Connection, points: Sequence[Point], known: dict[str, int]) -> None:
    """What `points` are in the exercise; `known` has the version that operators see of each. Raises Clash."""
    sql: Any = text(
        "INSERT INTO played_points (id, version, data) VALUES (:id, :version, :data) ON CONFLICT (id) DO UPDATE SET"
        " version = :version, data = :data WHERE played_points.version = :version - 1"
    )
    for point in points:
        values = {"id": point.id, "version": known[point.id] + 1, "data": point_to_json(point)}
        if connection.execute(sql, values).rowcount == 0:
            raise Clash

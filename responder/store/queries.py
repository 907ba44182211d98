"""Named reads and writes. Everything here is one transaction; nothing decides anything."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.engine import Connection

from responder.core.places import Place, PlaceKind
from responder.core.points import Point, Status, YesNo
from responder.store.engine import Database, Prepared
from responder.store.tables import AuditRow, MetaRow, PlaceRow, PointRow


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A conversation as it lies in the database."""

    version: int
    state: str
    recent: str
    touched_at: float


@dataclass(frozen=True, slots=True)
class Opening:
    """What a turn starts from: counters, the reply if this id was answered before, and the session."""

    points_version: int
    places_version: int
    reply: str | None
    session: StoredSession | None


@dataclass(frozen=True, slots=True)
class Closing:
    """What a turn leaves behind: the inbound row and the session. Times in seconds since 1970."""

    id: str
    channel: str
    number_hash: bytes
    number_sealed: bytes
    body_sealed: bytes
    reply: str
    outcome: str
    at: float
    session_key: bytes
    session: StoredSession | None


class Clash(Exception):
    """Another turn of the same conversation was saved meanwhile: start again."""


class Duplicate(Exception):
    """This id was answered meanwhile."""


class Turns:
    """The hot path: one read and one write a turn, prepared once."""

    def __init__(self, database: Database) -> None:
        self._db = database
        engine = database.engine
        self._open = Prepared(
            engine,
            "SELECT a.value, b.value, i.reply, s.version, s.state, s.recent, s.touched_at FROM meta a"
            " JOIN meta b ON b.key = 'places' LEFT JOIN inbound i ON i.id = :id"
            " LEFT JOIN sessions s ON s.key = :key WHERE a.key = 'points'",
        )
        self._inbound = Prepared(
            engine,
            "INSERT INTO inbound (id, channel, number_hash, number_sealed, body_sealed, reply, outcome, at) VALUES"
            " (:id, :channel, :number_hash, :number_sealed, :body_sealed, :reply, :outcome, :at)"
            " ON CONFLICT (id) DO NOTHING",
        )
        self._session = Prepared(
            engine,
            "INSERT INTO sessions (key, version, state, recent, touched_at) VALUES"
            " (:key, :version, :state, :recent, :touched_at)"
            " ON CONFLICT (key) DO UPDATE SET version = excluded.version, state = excluded.state,"
            " recent = excluded.recent, touched_at = excluded.touched_at"
            " WHERE sessions.version = excluded.version - 1",
        )
        self._end = Prepared(engine, "DELETE FROM sessions WHERE key = :key")
        self._unname = Prepared(
            engine,
            "UPDATE inbound SET number_hash = :empty, number_sealed = :empty, body_sealed = :empty"
            " WHERE number_hash = :hash",
        )
        self._purge = [
            Prepared(engine, "DELETE FROM inbound WHERE at < :before"),
            Prepared(engine, "DELETE FROM sessions WHERE touched_at < :before"),
        ]

    def open(self, id: str, key: bytes) -> Opening:
        """Read what the turn `id` of the conversation `key` starts from. Raises StoreAway."""
        rows = self._db.fetch(self._open, {"id": id, "key": key})
        if not rows:
            return Opening(0, 0, None, None)
        points, places, reply, version, *session = rows[0]
        return Opening(points, places, reply, None if version is None else StoredSession(version, *session))

    def close(self, turn: Closing) -> None:
        """Save a turn; what it promises nobody may be lost with the power. Raises Duplicate, Clash or StoreAway."""
        with self._db.hot_write(durable=False) as connection:
            self._record(connection, turn)
            session = turn.session
            if session is None:
                self._end.run(connection, {"key": turn.session_key})
                return
            saved = self._session.run(
                connection,
                {
                    "key": turn.session_key,
                    "version": session.version,
                    "state": session.state,
                    "recent": session.recent,
                    "touched_at": session.touched_at,
                },
            )
            if saved.rowcount == 0:
                raise Clash

    def forget(self, turn: Closing, hashes: Iterable[bytes], keys: Iterable[bytes]) -> None:
        """Save a turn without its number and text, and take number and texts of `hashes` off all earlier ones."""
        with self._db.hot_write(durable=True) as connection:
            self._record(connection, replace(turn, number_hash=b"", number_sealed=b"", body_sealed=b""))
            for key in keys:
                self._end.run(connection, {"key": key})
            for number_hash in hashes:
                self._unname.run(connection, {"empty": b"", "hash": number_hash})

    def end(self, key: bytes) -> None:
        """Delete the conversation `key`. Raises StoreAway."""
        with self._db.hot_write(durable=False) as connection:
            self._end.run(connection, {"key": key})

    def purge(self, before: float) -> None:
        """Delete messages and sessions older than `before` (seconds since 1970). Raises StoreAway."""
        with self._db.hot_write(durable=False) as connection:
            for statement in self._purge:
                statement.run(connection, {"before": before})

    def _record(self, connection: Any, turn: Closing) -> None:
        values = {
            "id": turn.id,
            "channel": turn.channel,
            "number_hash": turn.number_hash,
            "number_sealed": turn.number_sealed,
            "body_sealed": turn.body_sealed,
            "reply": turn.reply,
            "outcome": turn.outcome,
            "at": turn.at,
        }
        if self._inbound.run(connection, values).rowcount == 0:
            raise Duplicate


def point_to_json(point: Point) -> str:
    """A point as JSON with sorted keys, so that equal points are equal texts."""
    data = asdict(point)
    for name in ("opens", "closes", "confirmed_at"):
        data[name] = data[name].isoformat() if data[name] else None
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def point_from_json(data: str) -> Point:
    """The point that `point_to_json` wrote."""
    fields = json.loads(data)
    for name in ("opens", "closes", "confirmed_at"):
        fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
    for name in ("step_free", "pets", "overnight", "backup_power"):
        fields[name] = YesNo(fields[name])
    return Point(**{**fields, "status": Status(fields["status"]), "services": tuple(fields["services"])})


def read_points(connection: Connection) -> list[tuple[Point, int]]:
    """(point, version) of every point, by id."""
    rows = connection.execute(select(PointRow.data, PointRow.version).order_by(PointRow.id))  # type: ignore[call-overload]
    return [(point_from_json(data), version) for data, version in rows]


def save_points(connection: Connection, points: Sequence[Point], known: dict[str, int], now: datetime) -> None:
    """Insert or replace `points`; `known` has the version of those that exist. Tells the workers."""
    for point in points:
        row = {"data": point_to_json(point), "changed_at": now}
        if point.id in known:
            changed = update(PointRow).where(PointRow.id == point.id, PointRow.version == known[point.id])  # type: ignore[arg-type]
            done = connection.execute(changed.values(version=known[point.id] + 1, **row))
            if done.rowcount == 0:
                raise Clash
        else:
            connection.execute(insert(PointRow).values(id=point.id, version=1, **row))
    if points:
        _bump(connection, "points")


def read_places(connection: Connection) -> list[Place]:
    """Every place, by code."""
    return [
        Place(
            code=row.code, name=row.name, kind=PlaceKind(row.kind), lat=row.lat, lon=row.lon, accuracy=row.accuracy,
            district=row.district, municipality=row.municipality,
            aliases=tuple(filter(None, row.aliases.split("|"))), near=row.near, method=row.method,
        )
        for row in connection.execute(select(*PlaceRow.__table__.columns).order_by(text("code")))  # type: ignore[attr-defined]
    ]  # fmt: skip


def save_places(connection: Connection, places: Sequence[Place], known: set[str]) -> None:
    """Insert `places`, replacing those whose code is in `known`. Tells the workers."""
    old = [place.code for place in places if place.code in known]
    for start in range(0, len(old), 500):
        connection.execute(delete(PlaceRow).where(PlaceRow.code.in_(old[start : start + 500])))  # type: ignore[attr-defined]
    rows = [{**asdict(place), "kind": place.kind.value, "aliases": "|".join(place.aliases)} for place in places]
    if rows:
        connection.execute(insert(PlaceRow), rows)
        _bump(connection, "places")


def add_audit(
    connection: Connection, at: datetime, who: str, action: str, before: Point | None, after: Point, decision: str = ""
) -> None:
    """Add a line to the audit log: `who` did `action` to a point, by whose `decision`."""
    row = {"at": at, "who": who, "action": action, "subject": after.id, "decision": decision}
    old = point_to_json(before) if before else ""
    connection.execute(insert(AuditRow).values(**row, before=old, after=point_to_json(after)))


def audit_log(connection: Connection, subject: str) -> list[AuditRow]:
    """What was done to the point `subject`, oldest first."""
    columns = AuditRow.__table__.columns  # type: ignore[attr-defined]
    rows = connection.execute(select(*columns).where(columns.subject == subject).order_by(columns.id))
    return [AuditRow(**row._mapping) for row in rows]


def versions(connection: Connection) -> tuple[int, int]:
    """The counters of points and places; (0, 0) before `responder init`."""
    found = {row.key: row.value for row in connection.execute(select(MetaRow.key, MetaRow.value))}  # type: ignore[call-overload]
    return found.get("points", 0), found.get("places", 0)


def counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    tables = {"points": PointRow, "places": PlaceRow, "audit": AuditRow}
    return {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one() for name, table in tables.items()
    }


def _bump(connection: Connection, key: str) -> None:
    connection.execute(update(MetaRow).where(MetaRow.key == key).values(value=MetaRow.value + 1))  # type: ignore[arg-type]

"""Named reads and writes. Everything here is one transaction; nothing decides anything."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.engine import Connection

from responder.core.places import Gazetteer, Place, PlaceKind, gazetteer
from responder.core.points import PROPOSED, Point, Status, YesNo
from responder.core.told import moments
from responder.store.engine import Database, Prepared
from responder.store.people import Write
from responder.store.schedule import PUSH, add_due
from responder.store.tables import AuditRow, MetaRow, PlaceRow, PointRow, many


@dataclass(frozen=True, slots=True)
class Opening:
    """What a turn starts from: counters, the reply if this id was answered before, and the conversation's last turn.

    `number` is 0 and `state_sealed` empty where there is none; `at` is in seconds since 1970.
    """

    points_version: int
    places_version: int
    reply_sealed: bytes | None
    number: int = 0
    state_sealed: bytes = b""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Closing:
    """What a turn leaves behind: a row of `turns`. `at` in seconds since 1970."""

    id: str
    channel: str
    key: bytes
    number: int
    state_sealed: bytes
    reply_sealed: bytes
    outcome: str
    at: float
    sender_hash: bytes
    sender_sealed: bytes
    body_sealed: bytes
    gateway: str
    way: str = ""
    language: str = ""
    place: str = ""
    service: str = ""
    said: str = ""
    said_at: float = 0.0


class Clash(Exception):
    """Another turn of the same conversation, or this one delivered twice, was saved meanwhile: start again."""


class Turns:
    """The hot path: one read and one write a turn, prepared once."""

    def __init__(self, database: Database) -> None:
        self._db = database
        engine = database.engine
        self._open = Prepared(
            engine,
            "SELECT a.value, b.value, i.reply_sealed, t.number, t.state_sealed, t.at FROM meta a"
            " JOIN meta b ON b.key = 'places' LEFT JOIN turns i ON i.id = :id LEFT JOIN turns t ON t.key = :key"
            " AND t.number = (SELECT max(number) FROM turns WHERE key = :key) WHERE a.key = 'points'",
        )
        names = list(Closing.__dataclass_fields__)
        self._insert = Prepared(
            engine,
            f"INSERT INTO turns ({', '.join(names)}) VALUES (:{', :'.join(names)}) ON CONFLICT DO NOTHING",
        )
        self._forget = Prepared(
            engine, "DELETE FROM turns WHERE key = :hash OR (sender_hash = :hash AND channel = 'voice')"
        )
        self._end = Prepared(engine, "UPDATE turns SET state_sealed = :empty WHERE key = :key")
        self._purge = Prepared(engine, "DELETE FROM turns WHERE at < :before")

    def open(self, id: str, keys: Sequence[bytes]) -> Opening:
        """Read what the turn `id` starts from, of the conversation that has one of `keys`. Raises StoreAway."""
        opening = Opening(0, 0, None)
        for key in keys:
            rows = self._db.fetch(self._open, {"id": id, "key": key})
            if rows:
                points, places, reply, number, state, at = rows[0]
                opening = Opening(points, places, reply, number or 0, state or b"", at or 0.0)
            if opening.reply_sealed is not None or opening.state_sealed:
                break
        return opening

    def close(self, turn: Closing) -> None:
        """Save a turn that promises nobody anything: a power cut may lose it. Raises Clash or StoreAway."""
        if self._db.insert(self._insert, _values(turn)) == 0:
            raise Clash

    def promise(self, turn: Closing, writes: Sequence[Write], forgotten: Iterable[bytes] = ()) -> None:
        """Save a turn with the `writes` that it promises, in a transaction that outlives a power cut; earlier turns of
        the numbers `forgotten` (hashes) are deleted. Raises Clash or StoreAway.
        """

        def work(connection: Any) -> Callable[[], None]:
            done = [(write.statement.run(connection, write.values), write.must) for write in writes]
            for number_hash in forgotten:
                self._forget.run(connection, {"hash": number_hash})
            done.append((self._insert.run(connection, _values(turn)), True))

            def check() -> None:
                if any(must and cursor.rowcount == 0 for cursor, must in done):
                    raise Clash

            return check

        self._db.transact(work, durable=True)

    def end(self, keys: Iterable[bytes]) -> None:
        """Forget where the conversation stood that has one of `keys`. Raises StoreAway."""

        def work(connection: Any) -> None:
            for key in keys:
                self._end.run(connection, {"key": key, "empty": b""})

        self._db.transact(work, durable=False)

    def purge(self, before: float) -> None:
        """Delete turns older than `before` (seconds since 1970). Raises StoreAway."""

        def work(connection: Any) -> None:
            self._purge.run(connection, {"before": before})

        self._db.transact(work, durable=False)


def _values(turn: Closing) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in Closing.__dataclass_fields__}


def point_to_json(point: Point) -> str:
    """A point as JSON with sorted keys, so that equal points are equal texts."""
    data = asdict(point)
    for name in ("opens", "closes", "confirmed_at"):
        data[name] = data[name].isoformat() if data[name] else None
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def point_from_json(data: str) -> Point:
    """The point that `point_to_json` wrote."""
    row = json.loads(data)
    for name in ("opens", "closes", "confirmed_at"):
        row[name] = datetime.fromisoformat(row[name]) if row[name] else None
    for name in ("step_free", "pets", "overnight", "backup_power"):
        row[name] = YesNo(row[name])
    return Point(**{**row, "status": Status(row["status"]), "services": tuple(row["services"])})


def read_points(connection: Connection) -> list[tuple[Point, int]]:
    """(point, version) of every point, by id."""
    rows = connection.execute(select(PointRow.data, PointRow.version).order_by(PointRow.id))  # type: ignore[call-overload]
    return [(point_from_json(data), version) for data, version in rows]


def read_point(connection: Connection, id: str) -> tuple[Point, int] | None:
    """(point, version) of the point `id`; None if there is none."""
    row = connection.execute(text("SELECT data, version FROM points WHERE id = :id"), {"id": id}).first()
    return (point_from_json(row.data), row.version) if row else None


class Stored(NamedTuple):
    """A point as it stands in the database; `version` and `changed_at` are others whenever the point is."""

    point: Point
    version: int
    changed_at: Any


def read_changed(connection: Connection, known: Mapping[str, Stored]) -> dict[str, Stored]:
    """Every point by id: those in `known` that have not changed as they are, the others read."""
    found: dict[str, Stored] = {}
    changed = []
    for id, version, changed_at in connection.execute(text("SELECT id, version, changed_at FROM points")):
        stored = known.get(id)
        if stored and stored.version == version and stored.changed_at == changed_at:
            found[id] = stored
        else:
            changed.append(id)
    few = len(changed) <= _FEW
    sql = text("SELECT id, data, version, changed_at FROM points" + " WHERE id IN :ids" * few)
    rows = connection.execute(sql.bindparams(many("ids", str)), {"ids": changed}) if few else connection.execute(sql)
    for id, data, version, changed_at in rows:
        found[id] = Stored(point_from_json(data), version, changed_at)
    return found


_FEW = 200  # points that are asked for by their ids


def save_points(connection: Connection, points: Sequence[Point], known: dict[str, int], now: datetime) -> None:
    """Insert or replace `points`; `known` has the version of those that exist. Tells the workers, and makes the pushes
    due that the changes may call for.
    """
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
        number_points(connection, [point.id for point in points if point.status not in PROPOSED])
        _bump(connection, "points")
        add_due(connection, PUSH, {moment.timestamp() for point in points for moment in moments(point, now)})


def number_points(connection: Connection, ids: Sequence[str]) -> None:
    """Give the points `ids` the short numbers that they are known by on a phone: each once, and none a second time."""
    sql = text(
        "INSERT INTO point_numbers (number, point) SELECT (SELECT coalesce(max(number), 0) + 1 FROM point_numbers),"
        " CAST(:point AS VARCHAR) WHERE NOT EXISTS (SELECT 1 FROM point_numbers WHERE point = CAST(:point AS VARCHAR))"
    )
    known = set(connection.execute(text("SELECT point FROM point_numbers")).scalars())
    if missing := [{"point": id} for id in ids if id not in known]:
        connection.execute(sql, missing)


def read_places(connection: Connection, learnt: bool = True) -> list[Place]:
    """Every place, by code; with `learnt`, also by the words that operators have learnt from residents."""
    words = _learnt(connection) if learnt else {}
    kinds = {kind.value: kind for kind in PlaceKind}
    return [
        Place(
            code, name, kinds[kind], lat, lon, accuracy, district, municipality,
            (*aliases.split("|"), *words.get(code, ())) if aliases else tuple(words.get(code, ())), near, method,
        )
        for code, name, kind, lat, lon, accuracy, district, municipality, aliases, near, method in connection.execute(
            text(_PLACES)
        )
    ]  # fmt: skip


_PLACES = (
    "SELECT code, name, kind, lat, lon, accuracy, district, municipality, aliases, near, method FROM places"
    " ORDER BY code"
)


def _learnt(connection: Connection) -> dict[str, list[str]]:
    """The aliases in use of each place, oldest first."""
    found: dict[str, list[str]] = {}
    for place, alias in connection.execute(
        text("SELECT place, alias FROM aliases WHERE removed_at IS NULL ORDER BY id")
    ):
        found.setdefault(place, []).append(alias)
    return found


def read_gazetteer(connection: Connection, not_places: Iterable[str] = ()) -> Gazetteer:
    """The places, ready to be recognised."""
    return gazetteer(read_places(connection), not_places)


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
    connection: Connection,
    at: datetime,
    who: str,
    action: str,
    before: Point | None,
    after: Point,
    decision: str = "",
    decided_by: str = "",
) -> None:
    """Add a line to the audit log: `who` did `action` to a point, by which `decision` of whom."""
    row = {"at": at, "who": who, "action": action, "subject": after.id, "decision": decision, "decided_by": decided_by}
    old = point_to_json(before) if before else ""
    connection.execute(insert(AuditRow).values(**row, before=old, after=point_to_json(after)))


def audit_log(connection: Connection, subject: str) -> list[AuditRow]:
    """What was done to the point `subject`, oldest first."""
    columns = AuditRow.__table__.columns  # type: ignore[attr-defined]
    rows = connection.execute(select(*columns).where(columns.subject == subject).order_by(columns.id))
    return [AuditRow(**row._mapping) for row in rows]


def purge_turns(connection: Connection, before: float, most: int) -> int:
    """Delete at most `most` turns older than `before` (seconds since 1970); how many."""
    sql = text("DELETE FROM turns WHERE id IN (SELECT id FROM turns WHERE at < :before LIMIT :most)")
    return connection.execute(sql, {"before": before, "most": most}).rowcount


def subscription_counts(connection: Connection) -> tuple[list[tuple[Any, ...]], int, int]:
    """((place, service, state, language, channel, how many), ...), numbers that follow any, numbers that said STOPP."""
    sql = (
        "SELECT place, service, state, language, channel, count(*) FROM subscriptions"
        " GROUP BY place, service, state, language, channel ORDER BY place, service, state, language, channel"
    )
    rows = [tuple(row) for row in connection.execute(text(sql))]
    numbers = connection.execute(text("SELECT count(DISTINCT number_hash) FROM subscriptions")).scalar_one()
    stopped = connection.execute(text("SELECT count(*) FROM suppressions")).scalar_one()
    return rows, int(numbers), int(stopped)


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


def places_changed(connection: Connection) -> None:
    """Tell the workers that places are called otherwise."""
    _bump(connection, "places")


def _bump(connection: Connection, key: str) -> None:
    connection.execute(update(MetaRow).where(MetaRow.key == key).values(value=MetaRow.value + 1))  # type: ignore[arg-type]

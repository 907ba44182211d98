"""Named reads and writes for what was not understood, and the words that places are called by since. Nothing decides.

Times in seconds since 1970, UTC.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.store.outbox import BY_HAND
from responder.store.queries import places_changed
from responder.store.tables import NOT_UNDERSTOOD


@dataclass(frozen=True, slots=True)
class Missed:
    """A turn that nothing could be made of."""

    id: str
    channel: str
    at: float
    sender_sealed: bytes
    body_sealed: bytes
    state_sealed: bytes


@dataclass(frozen=True, slots=True)
class Alias:
    """A word that residents use for the place with the code `place`."""

    id: int
    alias: str
    place: str
    added_by: str
    added_at: float


_MISSED = ", ".join(Missed.__dataclass_fields__)
_ALIASES = f"SELECT {', '.join(Alias.__dataclass_fields__)} FROM aliases WHERE removed_at IS NULL"


def missed(connection: Connection, since: float, most: int) -> list[Missed]:
    """The newest `most` of them, newest first; not those of who said STOPP."""
    sql = text(
        f"SELECT {_MISSED} FROM turns WHERE at >= :since AND {NOT_UNDERSTOOD} AND length(body_sealed) > 0"
        " ORDER BY at DESC, id LIMIT :most"
    )
    rows = connection.execute(sql, {"since": since, "most": most})
    return [Missed(**row._mapping) for row in rows]


def missed_turn(connection: Connection, id: str) -> bytes | None:
    """The sealed number of one of them; None if there is no such turn."""
    sql = text(f"SELECT sender_sealed FROM turns WHERE id = :id AND {NOT_UNDERSTOOD}")
    return connection.execute(sql, {"id": id}).scalar()


def handled(connection: Connection) -> dict[bytes, tuple[float, str]]:
    """(until when, by whom) what was not understood has been dealt with, by the hash of the words."""
    return {row.words_hash: (row.at, row.who) for row in connection.execute(text("SELECT * FROM handled"))}


def set_handled(connection: Connection, words_hash: bytes, who: str, at: float) -> None:
    """These words have been dealt with, as far as they came until `at`."""
    sql = (
        "INSERT INTO handled (words_hash, who, at) VALUES (:hash, :who, :at) ON CONFLICT (words_hash) DO UPDATE SET"
        " who = :who, at = :at"
    )
    connection.execute(text(sql), {"hash": words_hash, "who": who, "at": at})


def purge_handled(connection: Connection, before: float) -> None:
    """Forget what was dealt with `before`: nothing that came in such words is kept any more either."""
    connection.execute(text("DELETE FROM handled WHERE at < :before"), {"before": before})


def answered(connection: Connection) -> dict[str, float]:
    """When each turn was answered by hand, by its id."""
    sql = text(
        "SELECT turn_id, max(created_at) FROM deliveries WHERE broadcast_id = 1 AND kind = :kind GROUP BY turn_id"
    )
    return {row[0]: row[1] for row in connection.execute(sql, {"kind": BY_HAND})}


def is_sent(connection: Connection, serial: str) -> bool:
    """Whether anybody was answered by hand under this `serial`."""
    sql = text("SELECT 1 FROM deliveries WHERE broadcast_id = 1 AND kind = :kind AND serial = :serial LIMIT 1")
    return connection.execute(sql, {"kind": BY_HAND, "serial": serial}).first() is not None


def aliases(connection: Connection) -> list[Alias]:
    """Those in use, newest first."""
    return [Alias(**row._mapping) for row in connection.execute(text(f"{_ALIASES} ORDER BY id DESC"))]


def add_alias(connection: Connection, alias: str, place: str, who: str, now: float) -> int:
    """From now on residents mean `place` by `alias`, in every process; its id."""
    sql = text(
        "INSERT INTO aliases (alias, place, added_by, added_at, removed_by) VALUES (:alias, :place, :who, :now, '')"
        " RETURNING id"
    )
    id = connection.execute(sql, {"alias": alias, "place": place, "who": who, "now": now}).scalar_one()
    places_changed(connection)
    return int(id)


def remove_alias(connection: Connection, id: int, who: str, now: float) -> Alias | None:
    """The alias that is in use no longer, in any process; None if there was none."""
    row = connection.execute(text(f"{_ALIASES} AND id = :id"), {"id": id}).first()
    if row is None:
        return None
    sql = text("UPDATE aliases SET removed_by = :who, removed_at = :now WHERE id = :id")
    connection.execute(sql, {"id": id, "who": who, "now": now})
    places_changed(connection)
    return Alias(**row._mapping)

"""Named reads and writes for what operators and hosts do by phone. Each is a part of the caller's transaction.

Times are seconds since 1970, UTC. Nothing here decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection

from responder.store.queries import Closing
from responder.store.tables import AuditRow, many

_AUDIT: Any = AuditRow.__table__.columns  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator has asked for and not yet confirmed. `command`: JSON."""

    key: bytes
    operator: str
    command: str
    created_at: float
    until: float


@dataclass(frozen=True, slots=True)
class Host:
    """Somebody at a point who is asked whether it is open."""

    id: int
    point: str
    name: str
    number_hash: bytes
    number_sealed: bytes
    created_by: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a host. `version`: of the point when it was asked; `answer`: "" until there is one."""

    id: int
    host: int
    code: str
    version: int
    asked_at: float
    until: float
    tries: int
    answer: str


def phones(connection: Connection) -> set[bytes]:
    """The hashes of all phones of operators who may come in and of hosts who are asked."""
    sql = (
        "SELECT phone_hash FROM operators WHERE disabled_at IS NULL AND length(phone_hash) > 0"
        " UNION SELECT number_hash FROM hosts WHERE removed_at IS NULL"
    )
    return {bytes(row[0]) for row in connection.execute(text(sql))}


def names_of_phone(connection: Connection, hashes: Iterable[bytes]) -> list[str]:
    """Who of the accounts that are not disabled has this phone, by name."""
    sql = text("SELECT name FROM operators WHERE phone_hash IN :hashes AND disabled_at IS NULL ORDER BY name")
    rows = connection.execute(sql.bindparams(many("hashes", bytes)), {"hashes": list(hashes)})
    return list(rows.scalars())


def phones_without_hash(connection: Connection) -> list[tuple[str, bytes]]:
    """(name, sealed phone) of accounts whose phone cannot be told by who texts."""
    sql = "SELECT name, phone_sealed FROM operators WHERE length(phone_sealed) > 0 AND length(phone_hash) = 0"
    return [(row[0], bytes(row[1])) for row in connection.execute(text(sql))]


def set_phone_hash(connection: Connection, name: str, phone_hash: bytes) -> None:
    """By this hash the account's phone is known again."""
    sql = text("UPDATE operators SET phone_hash = :hash WHERE name = :name")
    connection.execute(sql, {"hash": phone_hash, "name": name})


def paper_codes(connection: Connection, name: str) -> str:
    """The account's printed codes that are left, as JSON."""
    sql = text("SELECT paper_codes FROM operators WHERE name = :name")
    return str(connection.execute(sql, {"name": name}).scalar() or "[]")


def set_paper_codes(connection: Connection, name: str, codes: str, was: str | None = None) -> bool:
    """Put other codes in place of those that `was` (JSON; None: whatever they are); False if they are others by now."""
    sql = "UPDATE operators SET paper_codes = :codes WHERE name = :name" + " AND paper_codes = :was" * (was is not None)
    return connection.execute(text(sql), {"codes": codes, "name": name, "was": was}).rowcount > 0


def lines_since(connection: Connection, subject: str, actions: Sequence[str], since: datetime) -> int:
    """How many lines of the audit log, later than that, tell of one of `actions` on `subject`."""
    lines = select(func.count()).where(_AUDIT.subject == subject, _AUDIT.action.in_(actions), _AUDIT.at > since)
    return int(connection.execute(lines).scalar_one())


# --- turns ------------------------------------------------------------------------------------------------------------


def reply_of(connection: Connection, id: str) -> bytes | None:
    """The sealed reply of the turn `id`, if it was answered before."""
    found = connection.execute(text("SELECT reply_sealed FROM turns WHERE id = :id"), {"id": id}).scalar()
    return bytes(found) if found is not None else None


def last_turn(connection: Connection, keys: Sequence[bytes]) -> tuple[int, bytes, float]:
    """(number, sealed state, when) of the newest turn of the conversation that has one of `keys`; (0, b"", 0.0).

    The newest is the one with the highest number, whatever a clock said that was set back since.
    """
    sql = text("SELECT number, state_sealed, at FROM turns WHERE key IN :keys ORDER BY number DESC LIMIT 1")
    row = connection.execute(sql.bindparams(many("keys", bytes)), {"keys": list(keys)}).first()
    return (row[0], bytes(row[1]), row[2]) if row else (0, b"", 0.0)


def replies_lately(
    connection: Connection, keys: Sequence[bytes], outcome: str, since: float, now: float
) -> list[bytes]:
    """The sealed replies of a conversation since then, of turns with this outcome, at most the newest forty."""
    sql = text(
        "SELECT reply_sealed FROM turns WHERE key IN :keys AND outcome = :outcome AND at > :since AND at <= :now"
        " ORDER BY number DESC LIMIT 40"
    ).bindparams(many("keys", bytes))
    values = {"keys": list(keys), "outcome": outcome, "since": since, "now": now}
    return [bytes(row) for row in connection.execute(sql, values).scalars()]


_TURN = tuple(Closing.__dataclass_fields__)


def add_turn(connection: Connection, turn: Closing) -> bool:
    """Save a turn with its reply; False if its id, or its number in the conversation, was saved meanwhile."""
    sql = f"INSERT INTO turns ({', '.join(_TURN)}) VALUES (:{', :'.join(_TURN)}) ON CONFLICT DO NOTHING"
    return connection.execute(text(sql), {name: getattr(turn, name) for name in _TURN}).rowcount > 0


# --- wishes -----------------------------------------------------------------------------------------------------------


def wish(connection: Connection, keys: Sequence[bytes]) -> Wish | None:
    """The newest wish of a phone or call, which has one of `keys`."""
    sql = text(
        "SELECT key, operator, command, created_at, until FROM wishes WHERE key IN :keys"
        " ORDER BY created_at DESC LIMIT 1"
    )
    row = connection.execute(sql.bindparams(many("keys", bytes)), {"keys": list(keys)}).first()
    return Wish(bytes(row[0]), *row[1:]) if row else None


def set_wish(connection: Connection, new: Wish) -> None:
    """The phone wishes this now, and nothing of before."""
    sql = text(
        "INSERT INTO wishes (key, operator, command, created_at, until) VALUES (:key, :operator, :command, :at, :until)"
        " ON CONFLICT (key) DO UPDATE SET operator = excluded.operator, command = excluded.command,"
        " created_at = excluded.created_at, until = excluded.until"
    )
    values = {"key": new.key, "operator": new.operator, "command": new.command, "at": new.created_at}
    connection.execute(sql, {**values, "until": new.until})


def drop_wishes(connection: Connection, keys: Sequence[bytes]) -> int:
    """Nothing is wished any more; how many were."""
    sql = text("DELETE FROM wishes WHERE key IN :keys").bindparams(many("keys", bytes))
    return connection.execute(sql, {"keys": list(keys)}).rowcount


def drop_wishes_of(connection: Connection, operator: str) -> int:
    """This account wishes nothing any more, from whatever phone or call; how much it did."""
    return connection.execute(text("DELETE FROM wishes WHERE operator = :name"), {"name": operator}).rowcount


def purge_wishes(connection: Connection, before: float, questions_before: float) -> None:
    """Forget wishes that ran out before `before`, and questions that did before `questions_before`."""
    connection.execute(text("DELETE FROM wishes WHERE until < :before"), {"before": before})
    connection.execute(text("DELETE FROM questions WHERE until < :before"), {"before": questions_before})


# --- numbers of points ------------------------------------------------------------------------------------------------


def point_of(connection: Connection, number: int) -> str | None:
    """The id of the point that has this number."""
    return connection.execute(text("SELECT point FROM point_numbers WHERE number = :n"), {"n": number}).scalar()


def point_numbers(connection: Connection) -> dict[str, int]:
    """Id to number of every point that has one."""
    rows: Iterable[Any] = connection.execute(text("SELECT point, number FROM point_numbers"))
    return {row[0]: row[1] for row in rows}


# --- hosts ------------------------------------------------------------------------------------------------------------

_HOST = ", ".join(Host.__dataclass_fields__)
_QUESTION = ", ".join(Question.__dataclass_fields__)


def add_host(connection: Connection, point: str, name: str, number: Mapping[str, bytes], who: str, now: float) -> int:
    """A host; its id. `number`: hash and sealed."""
    sql = text(
        "INSERT INTO hosts (point, name, number_hash, number_sealed, created_by, created_at) VALUES (:point, :name,"
        " :hash, :sealed, :who, :now) RETURNING id"
    )
    values = {"point": point, "name": name, "who": who, "now": now, **number}
    return int(connection.execute(sql, values).scalar_one())


def hosts(connection: Connection) -> list[Host]:
    """All who are asked, by point and id."""
    rows = connection.execute(text(f"SELECT {_HOST} FROM hosts WHERE removed_at IS NULL ORDER BY point, id"))
    return [_host(row) for row in rows]


def hosts_of_phone(connection: Connection, hashes: Iterable[bytes]) -> list[Host]:
    """Those who have this number, oldest first."""
    sql = text(f"SELECT {_HOST} FROM hosts WHERE number_hash IN :hashes AND removed_at IS NULL ORDER BY id")
    return [_host(row) for row in connection.execute(sql.bindparams(many("hashes", bytes)), {"hashes": list(hashes)})]


def remove_host(connection: Connection, id: int, now: float) -> bool:
    """Nobody is asked there any more, and their number is forgotten; False if that was so."""
    sql = text(
        "UPDATE hosts SET removed_at = :now, number_sealed = :nothing, number_hash = :nothing"
        " WHERE id = :id AND removed_at IS NULL"
    )
    return connection.execute(sql, {"id": id, "now": now, "nothing": b""}).rowcount > 0


def rehash_host(connection: Connection, id: int, number_hash: bytes, number_sealed: bytes) -> None:
    """Put a host's number under other keys."""
    sql = text("UPDATE hosts SET number_hash = :hash, number_sealed = :sealed WHERE id = :id")
    connection.execute(sql, {"id": id, "hash": number_hash, "sealed": number_sealed})


def add_question(connection: Connection, host: int, code: str, version: int, now: float, until: float) -> int:
    """A question; its id."""
    sql = text(
        "INSERT INTO questions (host, code, version, asked_at, until, tries, answer) VALUES (:host, :code, :version,"
        " :now, :until, 0, '') RETURNING id"
    )
    values = {"host": host, "code": code, "version": version, "now": now, "until": until}
    return int(connection.execute(sql, values).scalar_one())


def questions_of(connection: Connection, hosts: Iterable[int]) -> list[Question]:
    """Every question to these hosts, newest first."""
    sql = text(f"SELECT {_QUESTION} FROM questions WHERE host IN :hosts ORDER BY id DESC")
    return [Question(*row) for row in connection.execute(sql.bindparams(many("hosts", int)), {"hosts": list(hosts)})]


def last_asked(connection: Connection) -> dict[int, float]:
    """Host to when they were asked last."""
    rows: Iterable[Any] = connection.execute(text("SELECT host, max(asked_at) FROM questions GROUP BY host"))
    return {row[0]: row[1] for row in rows}


def count_try(connection: Connection, ids: Iterable[int]) -> None:
    """Somebody tried to answer these questions."""
    sql = text("UPDATE questions SET tries = tries + 1 WHERE id IN :ids").bindparams(many("ids", int))
    connection.execute(sql, {"ids": list(ids)})


def answer_question(connection: Connection, id: int, answer: str, now: float, was: str = "") -> bool:
    """The question is answered; False if its answer was another than `was` before."""
    sql = text("UPDATE questions SET answer = :answer, answered_at = :now WHERE id = :id AND answer = :was")
    return connection.execute(sql, {"id": id, "answer": answer, "now": now, "was": was}).rowcount > 0


def _host(row: Any) -> Host:
    id, point, name, number_hash, number_sealed, created_by, created_at = row
    return Host(id, point, name, bytes(number_hash), bytes(number_sealed), created_by, created_at)

"""Named reads and writes for broadcasts and whom they reach. Nothing here decides."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.engine import Connection

from responder.core.access import SHELL
from responder.core.broadcast import Audience, Broadcast, State, subject
from responder.core.delivery import REACHED
from responder.store import outbox
from responder.store.meter import SPEND
from responder.store.queries import Clash
from responder.store.schedule import usage
from responder.store.tables import UNKNOWN, AuditRow, many

_STORED = (
    "kind", "template", "exercise", "state", "version", "priority", "audience", "texts", "fallback", "operator",
    "editors", "approved_by", "approved_version", "reason", "corrects", "recipients", "created_at", "submitted_at",
    "send_at", "started_at", "finished_at",
)  # fmt: skip
_COLUMNS = ", ".join(("id", *_STORED))
_INSERT = f"INSERT INTO broadcasts ({', '.join(_STORED)}) VALUES ({', '.join(f':{n}' for n in _STORED)}) RETURNING id"
_UPDATE = (
    f"UPDATE broadcasts SET {', '.join(f'{n} = :{n}' for n in _STORED if n != 'started_at')},"
    " started_at = coalesce(started_at, :started_at)"
    " WHERE id = :id AND state = :was_state AND version = :was_version"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Whom to reach: everyone, subscribers of the places `codes`, people of `points` who were told at `since` or later;
    or those whom the broadcast `corrects` reached. All empty: nobody.
    """

    everyone: bool = False
    codes: frozenset[str] = frozenset()
    points: tuple[str, ...] = ()
    since: float = 0.0
    corrects: int | None = None
    exercise: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One text or call as operators look at it."""

    id: int
    broadcast_id: int
    kind: str
    number_sealed: bytes
    channel: str
    language: str
    state: str
    attempt: int
    error: int
    created_at: float
    claimed_at: float


_DELIVERY = ", ".join(Delivery.__dataclass_fields__)


def add_broadcast(connection: Connection, broadcast: Broadcast) -> int:
    """Insert it; its new id. `broadcast.id` is not looked at."""
    return int(connection.execute(text(_INSERT), _values(broadcast)).scalar_one())


def save_broadcast(connection: Connection, was: Broadcast, new: Broadcast) -> None:
    """Replace `was` by `new`. Raises Clash if its state or version is no longer that of `was`."""
    values = {**_values(new), "id": was.id, "was_state": was.state.value, "was_version": was.version}
    if connection.execute(text(_UPDATE), values).rowcount == 0:
        raise Clash


def change_broadcast(
    connection: Connection, who: str, action: str, was: Broadcast, new: Broadcast, now: datetime, decision: str = ""
) -> Broadcast:
    """`new`, which replaces `was`, with its line in the audit log. Raises Clash as `save_broadcast`."""
    save_broadcast(connection, was, new)
    before, after = broadcast_to_json(was), broadcast_to_json(new)
    add_line(connection, now, who, str(action), subject(was.id), before, after, decision)
    return new


def read_broadcast(connection: Connection, id: int) -> Broadcast | None:
    """The broadcast `id`, or None."""
    row = connection.execute(text(f"SELECT {_COLUMNS} FROM broadcasts WHERE id = :id"), {"id": id}).first()
    return _broadcast(row._mapping) if row else None


def read_broadcasts(connection: Connection, most: int, state: str = "") -> list[Broadcast]:
    """The newest `most` that people can do something about, newest first; in one state, or in any."""
    sql = (
        f"SELECT {_COLUMNS} FROM broadcasts WHERE kind <> 'system'{' AND state = :state' if state else ''}"
        " ORDER BY id DESC LIMIT :most"
    )
    return [_broadcast(row._mapping) for row in connection.execute(text(sql), {"most": most, "state": state})]


def read_under_way(connection: Connection, states: Sequence[State]) -> list[Broadcast]:
    """Those in one of `states`, oldest first."""
    sql = text(f"SELECT {_COLUMNS} FROM broadcasts WHERE kind <> 'system' AND state IN :states ORDER BY id")
    values = {"states": [state.value for state in states]}
    rows = connection.execute(sql.bindparams(many("states", str)), values)
    return [_broadcast(row._mapping) for row in rows]


def read_retriable(connection: Connection) -> list[Broadcast]:
    """Those of exercises that are done, but of which a delivery may yet come back and be tried again."""
    sql = (
        f"SELECT {_COLUMNS} FROM broadcasts b WHERE exercise AND state = 'done' AND EXISTS (SELECT 1 FROM deliveries d"
        " WHERE d.broadcast_id = b.id AND d.channel IN ('text', 'call')"
        " AND d.state IN ('queued', 'sending', 'accepted', 'sent', 'unknown'))"
        f"{' FOR UPDATE OF b' if connection.dialect.name == 'postgresql' else ''}"
    )
    return [_broadcast(row._mapping) for row in connection.execute(text(sql))]


def corrections(connection: Connection) -> dict[int, int]:
    """Broadcast to the one that corrects it, the newest."""
    rows = connection.execute(
        text("SELECT corrects, max(id) FROM broadcasts WHERE corrects IS NOT NULL GROUP BY corrects")
    )
    return {row[0]: row[1] for row in rows}


def last_begun_of(connection: Connection, operator: str) -> int | None:
    """The newest broadcast that `operator` wrote at and of which something has gone out, no correction."""
    sql = (
        "SELECT id, editors, operator FROM broadcasts WHERE kind = 'message' AND corrects IS NULL"
        " AND state IN ('sending', 'paused', 'done', 'stopped') AND started_at IS NOT NULL ORDER BY id DESC LIMIT 100"
    )
    rows = connection.execute(text(sql))
    return next((row[0] for row in rows if operator in (row[2], *json.loads(row[1]))), None)


def made_of(connection: Connection, id: int) -> dict[tuple[str, str], int]:
    """(language, channel) to how many deliveries the broadcast `id` has."""
    sql = "SELECT language, channel, count(*) FROM deliveries WHERE broadcast_id = :id GROUP BY language, channel"
    return {(row[0], row[1]): row[2] for row in connection.execute(text(sql), {"id": id})}


def targets(connection: Connection, id: int) -> dict[str, int]:
    """Key (core.told) of the answer that deliveries of a push were made for, to how many they are."""
    sql = "SELECT target, count(*) FROM deliveries WHERE broadcast_id = :id GROUP BY target"
    return {row[0]: row[1] for row in connection.execute(text(sql), {"id": id})}


def progress_of(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many deliveries of each of `ids` are in each state. Grouped as the index is: no sorting, no table."""
    sql = text(
        "SELECT broadcast_id, state, count(*) FROM deliveries WHERE broadcast_id IN :ids"
        " GROUP BY broadcast_id, channel, state"
    )
    found: dict[int, dict[str, int]] = {id: {} for id in ids}
    for row in connection.execute(sql.bindparams(many("ids", int)), {"ids": list(ids)}):
        found[row[0]][row[1]] = found[row[0]].get(row[1], 0) + row[2]
    return found


def moved_since(connection: Connection, id: int, since: float) -> int:
    """How many deliveries of a broadcast were taken up after `since` and have left us, or are over. By the time: those
    of a minute are few, those of a broadcast many (the plus keeps SQLite from that index).
    """
    sql = (
        "SELECT count(*) FROM deliveries WHERE claimed_at > :since AND claimed_at > 0 AND +broadcast_id = :id"
        " AND state IN ('accepted', 'sent', 'delivered', 'failed')"
    )
    return int(connection.execute(text(sql), {"id": id, "since": since}).scalar_one())


def counts(connection: Connection, selection: Selection) -> dict[tuple[str, str], int]:
    """(language, channel) to how many numbers `queue` would take from `selection`."""
    people, values = _people(connection, selection)
    sql = (
        "SELECT language, channel, count(*) FROM (SELECT language, channel,"
        f" row_number() OVER (PARTITION BY number_hash ORDER BY {_BEFORE}) AS place_in_line FROM ({people}) AS people)"
        " AS numbers WHERE place_in_line = 1 GROUP BY language, channel"
    )
    return {(row[0], row[1]): row[2] for row in connection.execute(text(sql), values)}


def queue(connection: Connection, id: int, selection: Selection, now: float) -> int:
    """Make the deliveries of the broadcast `id`, one a number; how many there are.

    Inserted in the order of numbers, which is also that of the unique index: twice as fast as any other.
    """
    people, values = _people(connection, selection)
    sql = (
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
        " serial, subscription_id, turn_id, state, created_at) SELECT :broadcast, 'message', number_hash,"
        " number_sealed, channel, language, '', '', '', subscription_id, turn_id, 'queued', :now"
        f" FROM ({people}) AS people WHERE 1 = 1 ORDER BY number_hash, {_BEFORE} ON CONFLICT DO NOTHING"
    )
    return connection.execute(text(sql), {**values, "broadcast": id, "now": now}).rowcount


def recent_recipients(connection: Connection, operator: str, since: float, other_than: int) -> int:
    """How many the broadcasts of `operator` submitted or started at `since` or later have, pushes of changed answers
    included, corrections and what was taken back not.
    """
    sql = (
        "SELECT coalesce(sum(recipients), 0) FROM broadcasts WHERE operator IN (:account, :shell) AND id <> :other"
        " AND ((kind = 'message' AND template <> 'correction') OR (kind = 'status' AND priority = 3))"
        " AND state NOT IN ('draft', 'returned', 'rejected') AND (started_at >= :since OR submitted_at >= :since)"
    )
    account = operator.removeprefix(SHELL)  # the same person, signed in or not
    values = {"account": account, "shell": f"{SHELL}{account}", "since": since, "other": other_than}
    return int(connection.execute(text(sql), values).scalar_one())


def progress(connection: Connection, id: int) -> dict[str, int]:
    """How many deliveries of the broadcast `id` are in each state."""
    return dict(sorted(progress_of(connection, [id])[id].items()))


def read_deliveries(connection: Connection, state: str, broadcast: int | None, most: int) -> list[Delivery]:
    """The first `most` deliveries in `state`, of one broadcast or of all."""
    unknown = state == "unknown"  # these are looked for while somebody waits; the pluses keep SQLite to their index
    plus = "+" if unknown else ""
    sql = (
        f"SELECT {_DELIVERY} FROM deliveries WHERE {UNKNOWN if unknown else 'state = :state'}"
        f"{f' AND {plus}broadcast_id = :broadcast' if broadcast is not None else ''} ORDER BY {plus}id LIMIT :most"
    )
    rows = connection.execute(text(sql), {"state": state, "broadcast": broadcast, "most": most})
    return [Delivery(**row._mapping) for row in rows]


def read_delivery(connection: Connection, id: int) -> Delivery | None:
    """The delivery `id`, or None."""
    row = connection.execute(text(f"SELECT {_DELIVERY} FROM deliveries WHERE id = :id"), {"id": id}).first()
    return Delivery(**row._mapping) if row else None


def settle_unknown(connection: Connection, id: int) -> None:
    """The unknown delivery `id` was sent. Raises Clash if it is unknown no longer."""
    sql = "UPDATE deliveries SET state = 'accepted', lease_until = 0, owner = '' WHERE id = :id AND state = 'unknown'"
    if connection.execute(text(sql), {"id": id}).rowcount == 0:
        raise Clash


def queue_unknown(connection: Connection, id: int) -> None:
    """The unknown delivery `id` was not sent: it waits again, and whoever it is for knows what they knew before.

    Raises Clash if it is unknown no longer.
    """
    item = outbox.delivery(connection, id)
    if item is None or item.state != "unknown":
        raise Clash
    outbox.put_back(connection, [item], not_before=0.0, tried=True)


def set_due(connection: Connection, job: str, at: float) -> None:
    """`job` shall be done at `at`, also if it was done at that time before."""
    sql = "INSERT INTO due (job, at) VALUES (:job, :at) ON CONFLICT (job, at) DO UPDATE SET done_at = NULL"
    connection.execute(text(sql), {"job": job, "at": at})


def drop_due(connection: Connection, job: str, now: float) -> None:
    """`job` need not be done any more."""
    connection.execute(
        text("UPDATE due SET done_at = :now WHERE job = :job AND done_at IS NULL"), {"job": job, "now": now}
    )


def spent(connection: Connection, day: int) -> float:
    """What was spent on `day` (days since 1970)."""
    return usage(connection, SPEND, day)[1]


def point_ids(connection: Connection) -> frozenset[str]:
    """The ids of all points."""
    return frozenset(connection.execute(text("SELECT id FROM points")).scalars())


def add_line(
    connection: Connection,
    at: datetime,
    who: str,
    action: str,
    subject: str,
    before: str,
    after: str,
    decision: str = "",
) -> None:
    """Add a line to the audit log: `who` did `action` to `subject`; `before` and `after` are JSON."""
    row = {"at": at, "who": who, "action": action, "subject": subject, "decision": decision}
    connection.execute(insert(AuditRow).values(**row, before=before, after=after))


def broadcast_to_json(broadcast: Broadcast) -> str:
    """A broadcast for the audit log."""
    row = asdict(broadcast) | {"audience": broadcast.audience.tokens()}
    return json.dumps(row, ensure_ascii=False, sort_keys=True)


def _values(broadcast: Broadcast) -> dict[str, Any]:
    values = {name: getattr(broadcast, name) for name in _STORED}
    return values | {
        "state": broadcast.state.value,
        "audience": "" if broadcast.audience.empty else broadcast.audience.to_json(),
        "texts": json.dumps(dict(broadcast.texts), ensure_ascii=False),
        "editors": json.dumps(broadcast.editors, ensure_ascii=False),
        "priority": int(broadcast.priority),
    }


def _broadcast(row: Any) -> Broadcast:
    parsed = {
        "exercise": bool(row["exercise"]),
        "state": State(row["state"]),
        "audience": Audience.from_json(row["audience"]),
        "texts": json.loads(row["texts"]),
        "editors": tuple(json.loads(row["editors"])),
    }
    return Broadcast(**{**row, **parsed})


_BEFORE = "source, line, turn_id"  # which of several rows of one number is taken


def _people(connection: Connection, selection: Selection) -> tuple[str, dict[str, Any]]:
    """A SELECT of everybody in `selection`, some of them more than once, and its parameters."""
    if selection.corrects is not None:
        return _reached(selection.corrects)
    _fill(connection, selection.codes)
    values: dict[str, Any] = {"since": selection.since}
    values |= {f"told{n}": f"% {_like(point)} % %" for n, point in enumerate(selection.points)}
    values |= {f"said{n}": f"%;{_like(point)} %" for n, point in enumerate(selection.points)}
    subscribed = (
        "SELECT s.number_hash, s.number_sealed, s.channel, s.language, s.id AS subscription_id, NULL AS turn_id,"
        " 0 AS source, 1.0 * s.id AS line FROM subscriptions s WHERE s.state = 'active'"
        f" AND {_wanted(selection)}{' AND s.exercise' if selection.exercise else ''}"
        f" AND {_NOT_SUPPRESSED.format('s.number_hash')}"
    )
    if not selection.points or selection.exercise:
        return subscribed, values
    said = " OR ".join(f"t.said LIKE :said{n} ESCAPE '!'" for n in range(len(selection.points)))
    heard = " OR ".join(f"d.said_before LIKE :said{n} ESCAPE '!'" for n in range(len(selection.points)))
    asked = (
        "SELECT t.sender_hash, t.sender_sealed, t.way, t.language, NULL, t.id, 1, -t.said_at FROM turns t"
        f" WHERE t.said_at >= :since AND t.way <> '' AND ({said} OR t.id IN (SELECT d.turn_id FROM deliveries d"
        f" WHERE d.kind = 'follow_up' AND d.created_at >= :since AND ({heard})))"
        f" AND {_NOT_SUPPRESSED.format('t.sender_hash')}"
    )
    return f"{subscribed} UNION ALL {asked}", values


_NOT_SUPPRESSED = "NOT EXISTS (SELECT 1 FROM suppressions x WHERE x.number_hash = {})"


def _wanted(selection: Selection) -> str:
    """The condition on a subscription `s`; false where nothing is selected."""
    if selection.everyone:
        return "1 = 1"
    ways = ["s.place IN (SELECT code FROM wanted_places)"] if selection.codes else []
    for n in range(len(selection.points)):
        ways.append(f"s.told LIKE :told{n} ESCAPE '!'")
        ways.append(f"(s.said_at >= :since AND s.said LIKE :said{n} ESCAPE '!')")
        ways.append(  # or heard lately that it has closed
            "EXISTS (SELECT 1 FROM deliveries d WHERE d.subscription_id = s.id AND d.created_at >= :since"
            f" AND (d.told_before LIKE :told{n} ESCAPE '!' OR d.said_before LIKE :said{n} ESCAPE '!'))"
        )
    return f"({' OR '.join(ways)})" if ways else "1 = 0"


def _reached(id: int) -> tuple[str, dict[str, Any]]:
    states = ", ".join(f"'{state}'" for state in REACHED)
    return (
        "SELECT d.number_hash, d.number_sealed, d.channel, d.language, d.subscription_id, d.turn_id, 0 AS source,"
        f" 1.0 * d.id AS line FROM deliveries d WHERE d.broadcast_id = :corrects AND d.state IN ({states})"
        f" AND d.number_sealed <> :nothing AND {_NOT_SUPPRESSED.format('d.number_hash')}",
        {"corrects": id, "nothing": b""},
    )


def _fill(connection: Connection, codes: Sequence[str] | frozenset[str]) -> None:
    """The codes in a temporary table of this connection: an IN list of thousands is too long for some engines."""
    connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS wanted_places (code TEXT PRIMARY KEY)"))
    connection.execute(text("DELETE FROM wanted_places"))
    if codes:
        connection.execute(
            text("INSERT INTO wanted_places (code) VALUES (:code)"), [{"code": c} for c in sorted(codes)]
        )


def _like(value: str) -> str:
    return value.replace("!", "!!").replace("%", "!%").replace("_", "!_")

"""Who hears from us: subscriptions, those who said STOPP, and what residents asked for by phone.

Writes come as (statement, values) to be run in the transaction of the turn that promises them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.store.engine import Database, Prepared

SYSTEM = 1  # the broadcast that carries what residents ask for by phone, and what operators must hear
STOP_REASON = "stop"

# A caller may be somebody else: what a key asked for changes nothing of what a text agreed to.
_KNOWS = "excluded.state = 'active' AND excluded.told <> ''"
# PostgreSQL takes a value that stands in two places for two types, unless it is told.
_PLACE, _SERVICE = "CAST(:place AS VARCHAR)", "CAST(:service AS VARCHAR)"
# A number by each LOOKUP_KEY. No subquery: a row that was waited for is compared with all of them again.
_HASHES = "(:h0, :h1, :h2, :h3)"


class Write(NamedTuple):
    """A statement to run in somebody else's transaction. `must`: it has to change a row, else the turn starts again."""

    statement: Prepared
    values: Mapping[str, Any]
    must: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """A place that somebody follows. `pending`: it waits for their word."""

    place: str
    service: str
    pending: bool
    exercise: bool


@dataclass(frozen=True, slots=True)
class Person:
    """What is kept of a number: the places it follows, whether it said STOPP, what it asked for since yesterday."""

    follows: tuple[Followed, ...] = ()
    said_stop: bool = False
    requests: int = 0


class People:
    """Statements about one number, which is given as its keyed hashes, newest first."""

    def __init__(self, database: Database) -> None:
        self._db = database

        def prepared(sql: str) -> Prepared:
            return Prepared(database.engine, sql.replace("(:hashes)", _HASHES))

        self._of = prepared(
            "SELECT (SELECT count(*) FROM suppressions WHERE number_hash IN (:hashes)),"
            " (SELECT count(*) FROM deliveries WHERE number_hash IN (:hashes) AND broadcast_id = 1"
            " AND kind IN ('agree', 'address') AND created_at > :since),"
            " place, service, state, exercise FROM (SELECT 1 AS one) AS always"
            " LEFT JOIN subscriptions ON number_hash IN (:hashes) ORDER BY id"
        )
        self._subscribe = prepared(
            "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state, exercise,"
            " told, said, said_at, created_at) SELECT :number_hash, :number_sealed, :channel, :language,"
            f" {_PLACE}, {_SERVICE}, :state, :no, :told, :said, :at, :at WHERE (SELECT count(*) FROM subscriptions"
            f" WHERE number_hash IN (:hashes) AND NOT (place = {_PLACE} AND service = {_SERVICE})) < :most"
            " ON CONFLICT (number_hash, place, service) DO UPDATE SET"
            " state = CASE WHEN excluded.state = 'active' THEN 'active' ELSE subscriptions.state END,"
            " language = CASE WHEN excluded.state = 'active' THEN excluded.language ELSE subscriptions.language END,"
            f" told = CASE WHEN {_KNOWS} THEN excluded.told ELSE subscriptions.told END,"
            f" said = CASE WHEN {_KNOWS} THEN excluded.said ELSE subscriptions.said END,"
            f" said_at = CASE WHEN {_KNOWS} THEN excluded.said_at ELSE subscriptions.said_at END"
        )
        self._agree = prepared("UPDATE subscriptions SET state = 'active' WHERE number_hash IN (:hashes)")
        self._unsubscribe = prepared("DELETE FROM subscriptions WHERE number_hash IN (:hashes) AND place = :place")
        self._withdraw_place = prepared(
            "UPDATE deliveries SET state = 'suppressed' WHERE number_hash IN (:hashes) AND place = :place"
            " AND kind = 'status' AND state IN ('queued', 'sending', 'unknown')"
        )
        self._unsay_place = prepared("UPDATE turns SET said = '' WHERE sender_hash IN (:hashes) AND place = :place")
        self._decline = prepared("DELETE FROM subscriptions WHERE number_hash IN (:hashes) AND state = 'pending'")
        self._enrol = prepared("UPDATE subscriptions SET exercise = :yes WHERE number_hash IN (:hashes)")
        self._lift = prepared("DELETE FROM suppressions WHERE number_hash IN (:hashes)")
        self._suppress = prepared(
            "INSERT INTO suppressions (number_hash, at, reason) VALUES (:number_hash, :at, :reason)"
            " ON CONFLICT DO NOTHING"
        )
        self._leave = prepared("DELETE FROM subscriptions WHERE number_hash IN (:hashes)")
        self._unsay = prepared(
            "UPDATE turns SET said = '', sender_sealed = :nothing, body_sealed = :nothing"
            " WHERE sender_hash IN (:hashes)"
        )
        self._withdraw = prepared(
            "UPDATE deliveries SET number_sealed = :nothing, body = '', state = 'suppressed'"
            " WHERE number_hash IN (:hashes) AND state IN ('sending', 'unknown')"
        )
        self._hold = prepared("UPDATE deliveries SET owner = owner WHERE number_hash IN (:hashes)")
        self._forget = prepared(
            "DELETE FROM deliveries WHERE number_hash IN (:hashes) AND state NOT IN ('sending', 'unknown')"
            " AND length(number_sealed) > 0"
        )
        self._request = prepared(
            "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
            " serial, via, state, not_before, created_at) VALUES (1, :kind, :number_hash, :number_sealed, :channel,"
            " :language, :place, :service, :serial, :via, 'queued', :at, :at) ON CONFLICT DO NOTHING"
        )

    def of(self, hashes: Sequence[bytes], since: float) -> Person:
        """What is kept of the number, and how many messages it asked for by phone after `since`. Raises StoreAway."""
        rows = self._db.fetch(self._of, {**_by(hashes), "since": since})
        follows = tuple(
            Followed(place, service, state == "pending", bool(exercise))
            for _, _, place, service, state, exercise in rows
            if place is not None
        )
        stopped, requests, *_ = rows[0]
        return Person(follows, stopped > 0, requests)

    def subscribe(self, hashes: Sequence[bytes], most: int, **row: Any) -> list[Write]:
        """Follow a place, unless the number follows `most` others. `row`: number_sealed, channel, language, place,
        service, state, told, said, at.
        """
        values = {**row, **_by(hashes), "number_hash": hashes[0], "most": most, "no": False}
        return [Write(self._subscribe, values, must=True)]

    def agree(self, hashes: Sequence[bytes]) -> list[Write]:
        """What waited for the number's word is agreed to."""
        return [Write(self._agree, _by(hashes))]

    def unsubscribe(self, hashes: Sequence[bytes], place: str) -> list[Write]:
        """Follow `place` no more, and hear nothing of it that is on its way."""
        done = (self._withdraw_place, self._unsubscribe, self._unsay_place)
        return [Write(s, {**_by(hashes), "place": place}) for s in done]

    def decline(self, hashes: Sequence[bytes]) -> list[Write]:
        """What waited for the number's word is not agreed to."""
        return [Write(self._decline, _by(hashes))]

    def enrol(self, hashes: Sequence[bytes]) -> list[Write]:
        """Get exercises too."""
        return [Write(self._enrol, {**_by(hashes), "yes": True})]

    def lift(self, hashes: Sequence[bytes]) -> list[Write]:
        """Take back STOPP."""
        return [Write(self._lift, _by(hashes))]

    def stop(self, hashes: Sequence[bytes], at: float, reason: str = STOP_REASON) -> list[Write]:
        """Delete the number everywhere but as a hash on the list of those who are sent nothing, by each key."""
        by = _by(hashes)
        # What is being taken up or settled just now is waited for by the first and seen by the others. Deliveries come
        # before subscriptions, as where they are sent, so that nobody waits for one who waits for them.
        steps = (self._hold, self._forget, self._withdraw, self._leave, self._unsay)
        gone = [Write(step, {**by, "nothing": b""}) for step in steps]
        kept = [Write(self._suppress, {"number_hash": h, "at": at, "reason": reason}) for h in hashes]
        return [*gone, *kept]

    def request(self, kind: str, hashes: Sequence[bytes], **row: Any) -> list[Write]:
        """Send what the number asked for. `row`: number_sealed, channel, language, place, service, serial, via, at."""
        return [Write(self._request, {**row, "kind": kind, "number_hash": hashes[0]})]

    def do(self, writes: Iterable[Write]) -> None:
        """Run `writes` as a durable transaction of their own. Raises StoreAway."""

        def work(connection: Any) -> None:
            for write in writes:
                write.statement.run(connection, write.values)

        self._db.transact(work, durable=True)


def keys_in_use(connection: Connection) -> str:
    """The fingerprint of the keys that all subscriptions are hashed and sealed by, "" if that is not known."""
    return _mark(connection, "keys")


def keys_in_vain(connection: Connection) -> str:
    """The ring of keys of which none opened some of what was to be put under the newest; "" if all was."""
    return _mark(connection, "keys in vain")


def set_keys_in_use(connection: Connection, fingerprint: str, now: float, in_vain: str = "") -> None:
    """All subscriptions are under these keys, but for what none of the ring `in_vain` opens."""
    sql = text(
        "INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :now) ON CONFLICT (name) DO UPDATE SET"
        " owner = excluded.owner, until = excluded.until"
    )
    connection.execute(sql, {"name": "keys", "owner": fingerprint, "now": now})
    connection.execute(sql, {"name": "keys in vain", "owner": in_vain, "now": now})


def _mark(connection: Connection, name: str) -> str:
    return str(connection.execute(text("SELECT owner FROM leases WHERE name = :name"), {"name": name}).scalar() or "")


def numbers_after(connection: Connection, id: int, most: int) -> list[tuple[int, bytes]]:
    """(id, sealed number) of the subscriptions that follow `id`."""
    sql = text("SELECT id, number_sealed FROM subscriptions WHERE id > :id ORDER BY id LIMIT :most")
    return [(row[0], row[1]) for row in connection.execute(sql, {"id": id, "most": most})]


def rehash(connection: Connection, id: int, number_hash: bytes, number_sealed: bytes) -> None:
    """Put a subscription under other keys; if the number follows the same place under these already, that one stays,
    unless it waits for a word that this one has.
    """
    values = {"id": id, "hash": number_hash, "sealed": number_sealed}
    weaker = (
        "DELETE FROM subscriptions WHERE number_hash = :hash AND id <> :id AND state = 'pending' AND EXISTS (SELECT 1"
        " FROM subscriptions t WHERE t.id = :id AND t.state = 'active' AND t.place = subscriptions.place"
        " AND t.service = subscriptions.service)"
    )
    connection.execute(text(weaker), values)
    twin = (
        "DELETE FROM subscriptions WHERE id = :id AND EXISTS (SELECT 1 FROM subscriptions t WHERE t.number_hash = :hash"
        " AND t.id <> :id AND t.place = subscriptions.place AND t.service = subscriptions.service)"
    )
    connection.execute(text(twin), values)
    sql = "UPDATE subscriptions SET number_hash = :hash, number_sealed = :sealed WHERE id = :id"
    connection.execute(text(sql), values)


def turns_followed_up(connection: Connection) -> list[tuple[str, bytes]]:
    """(id, sealed number) of the turns whose sender may have to hear of a closed door."""
    sql = "SELECT id, sender_sealed FROM turns WHERE said <> '' AND length(sender_sealed) > 0"
    return [(row[0], row[1]) for row in connection.execute(text(sql))]


def rehash_turn(connection: Connection, id: str, number_hash: bytes, number_sealed: bytes) -> None:
    """Put the sender of a turn under other keys."""
    sql = text("UPDATE turns SET sender_hash = :hash, sender_sealed = :sealed WHERE id = :id")
    connection.execute(sql, {"id": id, "hash": number_hash, "sealed": number_sealed})


def rehash_operator(connection: Connection, name: str, phone_hash: bytes, phone_sealed: bytes) -> None:
    """Put an operator's phone under other keys."""
    sql = text("UPDATE operators SET phone_hash = :hash, phone_sealed = :sealed WHERE name = :name")
    connection.execute(sql, {"name": name, "hash": phone_hash, "sealed": phone_sealed})


def _by(hashes: Sequence[bytes]) -> dict[str, Any]:
    if len(hashes) > 4:
        raise ValueError("LOOKUP_KEY: at most four keys at once")
    return {f"h{n}": hashes[min(n, len(hashes) - 1)] for n in range(4)}

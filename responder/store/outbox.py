"""The outbox: taking deliveries up under a lease, and storing what became of them.

Each function is a part of the caller's transaction. Times are seconds since 1970, UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection, Row

from responder.core.broadcast import Priority
from responder.core.broadcast import State as Stage
from responder.core.delivery import LOOKS, TEXT_AGAIN, State
from responder.core.told import as_said, entries, without
from responder.store.engine import Prepared
from responder.store.schedule import AHEAD
from responder.store.tables import many, utc_param

BY_HAND = "by_hand"  # what an operator answers to a text that was not understood
FOLLOW_UP = "follow_up"  # to somebody who asked, of a point that has closed since

_COLUMNS = (
    "id, broadcast_id, kind, number_hash, number_sealed, channel, language, place, service, subscription_id, turn_id,"
    " state, told, told_before, said, said_before, attempt, owner, claimed_at, looked, missed, body, provider_id,"
    " gateway, via"
)


@dataclass(frozen=True, slots=True)
class Item:
    """A row of `deliveries`, as far as sending needs it."""

    id: int
    broadcast_id: int
    kind: str
    number_hash: bytes
    number_sealed: bytes
    channel: str
    language: str
    place: str
    service: str
    subscription_id: int | None
    turn_id: str | None
    state: str
    told: str
    told_before: str
    said: str
    said_before: str
    attempt: int
    owner: str
    claimed_at: float
    looked: int
    missed: int
    body: str
    provider_id: str
    gateway: str
    via: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What a gateway takes: its own, and if it is the `main` one what is bound to none, or to one that is not among the
    `working`, of that closed doors at once and the rest if it was made before `waited`; and closed doors made before
    `soon`, whose way works but has not come to them. `calmest`: it is being tried, and takes what can best wait,
    nothing as urgent as a closed door.
    """

    gateway: str
    main: bool = True
    working: tuple[str, ...] = ()
    waited: float = 0.0
    soon: float = 0.0
    calmest: bool = False

    @property
    def takes(self) -> str:
        """A condition on deliveries `d`."""
        if not self.main:  # said so that the small index of what is bound is used
            return "d.via = :gateway AND d.via <> '' AND d.state = 'queued'"
        return (
            "(d.via = '' OR d.via = :gateway OR (d.via NOT IN (:way0, :way1, :way2, :way3)"
            f" AND (d.kind = '{FOLLOW_UP}' OR d.created_at <= :waited))"
            f" OR (d.kind = '{FOLLOW_UP}' AND d.created_at <= :soon))"
        )

    @property
    def suits(self) -> str:
        """A condition on broadcasts `b`."""
        return f"b.priority > {int(Priority.CLOSED_DOOR)}" if self.calmest else "TRUE"

    @property
    def values(self) -> dict[str, Any]:
        """What `takes` names."""
        ways = {f"way{n}": (self.working[n : n + 1] or (self.gateway,))[0] for n in range(_MOST_WAYS)}
        own = {"gateway": self.gateway}
        return {**own, "waited": self.waited, "soon": self.soon, **ways} if self.main else own


_MOST_WAYS = 4


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery taken up: what is sent and through whom, and what is noted down of it."""

    item: Item
    gateway: str
    body: str
    segments: int
    told: str = ""
    told_before: str = ""
    said_before: str = ""
    said: str = ""

    def in_table(self, owner: str, now: float) -> Item:
        """The row as `take` leaves it."""
        return replace(
            self.item, state="sending", owner=owner, claimed_at=now, looked=0, missed=0, attempt=self.item.attempt + 1,
            body=self.body, told=self.told, told_before=self.told_before, said=self.said, provider_id="",
            said_before=self.said_before, gateway=self.gateway,
        )  # fmt: skip


# Nothing real leaves while an exercise goes on, nothing of an exercise outside one; what residents asked for always.
_FITS = "(b.kind = 'system' OR b.exercise = EXISTS (SELECT 1 FROM exercises WHERE current = 1))"


def sending(connection: Connection, lane: Lane | None = None) -> list[Row[Any]]:
    """(id, priority, kind, texts, fallback) of the broadcasts whose deliveries go out now (in a lane), the most urgent
    first; the other way round for a gateway that is being tried.
    """
    order = "priority DESC, id DESC" if lane and lane.calmest else "priority, id"
    sql = (
        "SELECT id, priority, kind, texts, fallback FROM broadcasts b WHERE state = 'sending'"
        f" AND {_FITS} AND {lane.suits if lane else 'TRUE'} ORDER BY {order}"
    )
    return list(connection.execute(text(sql)))


def queued(connection: Connection, broadcast_id: int, channel: str, now: float, limit: int, lane: Lane) -> list[Item]:
    """At most `limit` deliveries of a broadcast that may go in a lane now, ours until the transaction ends."""
    sql = (
        f"SELECT {_COLUMNS} FROM deliveries d WHERE broadcast_id = :broadcast AND channel = :channel"
        f" AND state = 'queued' AND not_before <= :now AND {lane.takes} ORDER BY not_before, id LIMIT :limit"
        f"{_claimed(connection)}"
    )
    values = {"broadcast": broadcast_id, "channel": channel, "now": now, "limit": limit, **lane.values}
    return [Item(*row) for row in connection.execute(text(sql), values)]


def _claimed(connection: Connection) -> str:
    """On PostgreSQL a row that somebody else is changing (a STOPP) is left for the next time; on SQLite nobody can."""
    return " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""


def _held(connection: Connection) -> str:
    """Rows that are read to be changed stay as they are read, on PostgreSQL too; in one order."""
    return " ORDER BY id FOR UPDATE" if connection.dialect.name == "postgresql" else ""


def points_version(connection: Connection) -> int:
    """The version of the points, which nobody changes while we write alone."""
    return int(connection.execute(text("SELECT value FROM meta WHERE key = 'points'")).scalar_one())


def suppressed(connection: Connection, hashes: Iterable[bytes]) -> set[bytes]:
    """Those of `hashes` whose number said STOPP."""
    sql = text("SELECT number_hash FROM suppressions WHERE number_hash IN :hashes")
    return set(connection.execute(sql.bindparams(many("hashes", bytes)), {"hashes": list(hashes)}).scalars())


def withdraw(connection: Connection, ids: Iterable[int]) -> None:
    """Keep neither number nor text of deliveries that are not sent because of a STOPP."""
    sql = text("UPDATE deliveries SET number_sealed = :nothing, body = '' WHERE id IN :ids")
    if wanted := list(ids):
        connection.execute(sql.bindparams(many("ids", int)), {"ids": wanted, "nothing": b""})


def known_answers(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(told, said) of the active subscriptions `ids`."""
    held = _held(connection)
    sql = text(f"SELECT id, told, said FROM subscriptions WHERE id IN :ids AND state = 'active'{held}")
    rows = connection.execute(sql.bindparams(many("ids", int)), {"ids": list(ids)})
    return {row.id: (row.told, row.said) for row in rows}


def take(connection: Connection, taken: Sequence[Taken], owner: str, now: float, lease_until: float) -> list[Item]:
    """Mark as being sent, under a lease, and note what each is told; the rows as they are then."""
    if not taken:
        return []
    rows = [
        {
            "id": t.item.id, "owner": owner, "now": now, "until": lease_until, "body": t.body, "segments": t.segments,
            "told": t.told, "told_before": t.told_before, "said": t.said, "said_before": t.said_before,
            "gateway": t.gateway,
        }
        for t in taken
    ]  # fmt: skip
    connection.execute(
        text(
            "UPDATE deliveries SET state = 'sending', owner = :owner, claimed_at = :now, lease_until = :until,"
            " looked = 0, missed = 0, attempt = attempt + 1, body = :body, segments = :segments, told = :told,"
            " told_before = :told_before, said = :said, said_before = :said_before, provider_id = '',"
            " gateway = :gateway WHERE id = :id"
        ),
        rows,
    )
    note_told(connection, taken, now)
    return [one.in_table(owner, now) for one in taken]


def note_told(connection: Connection, taken: Iterable[Taken], now: float) -> None:
    """What the deliveries say is from now on what their subscriptions and turns were told."""
    subscribed = [
        {"id": t.item.subscription_id, "told": t.told, "said": t.said, "now": now}
        for t in taken
        if t.item.subscription_id and t.told
    ]
    asked = [{"id": t.item.turn_id, "said": t.said, "now": now} for t in taken if t.item.kind == FOLLOW_UP]
    if subscribed:
        sql = "UPDATE subscriptions SET told = :told, said = :said, said_at = :now WHERE id = :id"
        connection.execute(text(sql), subscribed)
    if asked:
        connection.execute(text("UPDATE turns SET said = :said, said_at = :now WHERE id = :id"), asked)


def keep_watching(connection: Connection, item: Item, told: str, said: str) -> None:
    """They need not hear now, since they know what `told` tells; of the points in `said` they must hear later."""
    if item.kind == FOLLOW_UP:
        sql = text("UPDATE turns SET said = :said WHERE id = :id")
        connection.execute(sql, {"said": said, "id": item.turn_id})
    else:
        sql = text("UPDATE subscriptions SET told = :told, said = :said WHERE id = :id")
        connection.execute(sql, {"told": told, "said": said, "id": item.subscription_id})


def put_back(connection: Connection, items: Sequence[Item], not_before: float, tried: bool = False) -> int:
    """Queue again what was surely not sent; what it would have told was not told. `tried`: the attempt counts.

    How many. A row that somebody else has moved on meanwhile is left as it is.
    """
    sql = text(
        "UPDATE deliveries SET state = 'queued', not_before = :at, owner = '', lease_until = 0,"
        " attempt = attempt - :back WHERE id = :id AND state IN ('sending', 'unknown') AND attempt = :attempt"
    )
    back = 0
    for item in items:
        row = {"id": item.id, "at": not_before, "back": 0 if tried else 1, "attempt": item.attempt}
        if connection.execute(sql, row).rowcount:
            untell(connection, item)
            reopen(connection, item.broadcast_id)
            back += 1
    return back


def untell(connection: Connection, item: Item) -> None:
    """Undo what `note_told` noted for a delivery that turned out not to have been sent. Where something was told since,
    only those closed doors are still to be told that no later message has named.
    """
    values = {
        "said": item.said, "told": item.told, "before": item.told_before, "said_before": item.said_before,
        "at": item.claimed_at, "id": item.subscription_id, "delivery": item.id,
    }  # fmt: skip
    if item.kind == FOLLOW_UP:
        sql = "UPDATE turns SET said = '' WHERE id = :id AND said = :said AND said_at = :at"
        connection.execute(text(sql), {**values, "id": item.turn_id})
    elif item.subscription_id and item.told:
        sql = (
            "UPDATE subscriptions SET told = :before, said = :said_before"
            " WHERE id = :id AND told = :told AND said_at = :at"
        )
        if not connection.execute(text(sql), values).rowcount:
            values["more"] = _unnamed(connection, item)
            connection.execute(text("UPDATE subscriptions SET said = said || :more WHERE id = :id"), values)
        # the subscription has it all again: another message may name those doors before this one does
        connection.execute(text("UPDATE deliveries SET said_before = '' WHERE id = :delivery"), values)


def _unnamed(connection: Connection, item: Item) -> str:
    """The points that `item` would have said are closed, without those that a later message spoke of."""
    later = text(
        "SELECT told_before, said_before, said FROM deliveries WHERE number_hash = :hash AND subscription_id = :id"
        " AND id <> :delivery AND claimed_at > :at"
        " AND state IN ('sending', 'accepted', 'sent', 'delivered', 'unknown', 'failed')"
    )
    values = {"hash": item.number_hash, "id": item.subscription_id, "delivery": item.id, "at": item.claimed_at}
    spoken_of = {entry.point for row in connection.execute(later, values) for one in row for entry in entries(one)}
    return without(item.said_before or as_said(item.told_before), spoken_of)


def spoken_of(connection: Connection, ids: Iterable[int]) -> dict[int, set[str]]:
    """Delivery to the points that another message to its subscription has spoken of since it was queued: one that was
    put back after it was, or that waited in another broadcast. What failed has told nobody anything.
    """
    sql = text(
        "SELECT d.id, o.told_before, o.said_before, o.said FROM deliveries d JOIN deliveries o ON o.number_hash ="
        " d.number_hash AND o.subscription_id = d.subscription_id AND o.id <> d.id AND o.claimed_at > d.created_at"
        " AND o.state IN ('sending', 'accepted', 'sent', 'delivered', 'unknown') WHERE d.id IN :ids"
    )
    found: dict[int, set[str]] = {}
    if wanted := list(ids):
        for id, *said in connection.execute(sql.bindparams(many("ids", int)), {"ids": wanted}):
            found.setdefault(id, set()).update(points_in(*said))
    return found


def points_in(*said: str) -> set[str]:
    """The points that any of `said` names."""
    return {entry.point for one in said for entry in entries(one)}


def retell(connection: Connection, item: Item) -> None:
    """It was sent after all: note again what `untell` undid, if nothing was told since."""
    values = {"said": item.said, "told": item.told, "before": item.told_before, "at": item.claimed_at}
    if item.subscription_id and item.told:
        sql = "UPDATE subscriptions SET told = :told, said = :said WHERE id = :id AND told = :before AND said_at = :at"
        connection.execute(text(sql), {**values, "id": item.subscription_id})
    if item.kind == FOLLOW_UP:
        sql = "UPDATE turns SET said = :said WHERE id = :id AND said = '' AND said_at = :at"
        connection.execute(text(sql), {**values, "id": item.turn_id})


def accept(connection: Connection, sent: Sequence[tuple[Item, str]], now: float) -> None:
    """The provider took these, and calls them so. A receipt may have said more already; it is not undone."""
    rows = [{"id": item.id, "attempt": item.attempt, "sid": sid, "now": now} for item, sid in sent]
    if not rows:
        return
    now_in = text(f"SELECT id, state, provider_id FROM deliveries WHERE id IN :ids{_held(connection)}")
    found = connection.execute(now_in.bindparams(many("ids", int)), {"ids": [item.id for item, _ in sent]})
    again = {row.id: row.provider_id for row in found if row.state == State.QUEUED}
    for item, sid in sent:
        if again.get(item.id, sid) != sid:  # taken for not sent meanwhile; with our id, it has failed already
            retell(connection, item)
    connection.execute(
        text(
            "UPDATE deliveries SET provider_id = :sid, state = 'accepted', lease_until = 0 WHERE id = :id"
            " AND attempt = :attempt AND (state IN ('sending', 'unknown', 'suppressed', 'superseded', 'stopped')"
            " OR (state = 'queued' AND provider_id <> :sid))"
        ),
        rows,
    )
    connection.execute(text("UPDATE deliveries SET provider_id = :sid WHERE id = :id AND provider_id = ''"), rows)


def settle(connection: Connection, items: Iterable[Item], state: State, now: float, error: int = 0) -> None:
    """End deliveries as `state`, with an error code, if they are not over and nobody has tried again since."""
    rows = [
        {"id": item.id, "attempt": item.attempt, "state": state.value, "now": now, "error": error} for item in items
    ]
    if rows:
        connection.execute(
            text(
                "UPDATE deliveries SET state = :state, settled_at = :now, error = :error, lease_until = 0"
                " WHERE id = :id AND attempt = :attempt AND state IN ('queued', 'sending', 'unknown')"
            ),
            rows,
        )


def expired(
    connection: Connection, owner: str, now: float, until: float, limit: int, gateways: Sequence[str], left: float
) -> list[Item]:
    """Take over deliveries whose lease has run out, until `until`, to find out what became of them: of `gateways`,
    which alone we can ask, and any whose lease ran out before `left`, as nobody who could ask seems to be there.
    """
    sql = text(
        f"SELECT {_COLUMNS} FROM deliveries WHERE state = 'sending' AND lease_until <= :now"
        f" AND (gateway IN :gateways OR gateway = '' OR lease_until <= :left) LIMIT :limit{_claimed(connection)}"
    ).bindparams(many("gateways", str))
    values = {"now": now, "limit": limit, "gateways": list(gateways), "left": left}
    items = [Item(*row) for row in connection.execute(sql, values)]
    rows = [{"id": item.id, "owner": owner, "until": until} for item in items]
    if rows:
        connection.execute(
            text("UPDATE deliveries SET owner = :owner, lease_until = :until, looked = looked + 1 WHERE id = :id"), rows
        )
    return items


def clock_went_back(connection: Connection, now: float, lease: float) -> int:
    """What waits for a time that lies further ahead than anything is put off, by a clock that was wrong, goes on now;
    what was being sent, once a lease is over from now on; what was made ahead of now was made now. How many rows.

    That is AT_FIRST for what has not been tried, TEXT_AGAIN for each try of what has, LOOKS leases for what is looked
    up. It finds nothing where no clock was wrong, by index, so that it may be asked whenever a process begins.
    """
    values = {"now": now, "lease": now + lease, "looks": now + LOOKS * lease + AHEAD, "ahead": now + AHEAD}
    values |= {"first": now + AT_FIRST, "again": TEXT_AGAIN}
    wait = (
        "UPDATE deliveries SET not_before = :now WHERE state = 'queued' AND channel IN ('text', 'call')"
        " AND broadcast_id IN (SELECT id FROM broadcasts) AND not_before > :first"
        " AND (attempt = 0 OR not_before > :ahead + :again * attempt)"
    )
    sending = (
        "UPDATE deliveries SET lease_until = :lease WHERE state IN ('sending', 'unknown') AND state = 'sending'"
        " AND lease_until > :looks"
    )
    made = "UPDATE deliveries SET created_at = :now WHERE created_at > :ahead"
    return sum(connection.execute(text(sql), values).rowcount for sql in (wait, sending, made))


AT_FIRST = 900.0  # seconds for which what was not tried yet is put off at most


def unknown(connection: Connection, item: Item) -> None:
    """Leave it to an operator what is to become of a delivery."""
    sql = text(f"UPDATE deliveries SET state = 'unknown', lease_until = 0 WHERE {_STILL_LOOKED_AT}")
    connection.execute(sql, {"id": item.id, "attempt": item.attempt})


def ask_later(connection: Connection, item: Item, at: float, missed: bool = False) -> None:
    """Ask the provider again at `at` what became of a delivery; `missed`: its list was read and did not show it."""
    sql = text(f"UPDATE deliveries SET lease_until = :at, missed = missed + :missed WHERE {_STILL_LOOKED_AT}")
    connection.execute(sql, {"id": item.id, "attempt": item.attempt, "at": at, "missed": int(missed)})


_STILL_LOOKED_AT = "id = :id AND state = 'sending' AND attempt = :attempt"


def in_hand(connection: Connection, hashes: Iterable[bytes]) -> set[tuple[bytes, str, str]]:
    """(number hash, channel, body) of what is being sent to these numbers; the body of a call is ""."""
    sql = text("SELECT number_hash, channel, body FROM deliveries WHERE number_hash IN :hashes AND state = 'sending'")
    rows = connection.execute(sql.bindparams(many("hashes", bytes)), {"hashes": list(hashes)})
    return {(row[0], row[1], row[2] if row[1] == "text" else "") for row in rows}


def postpone(connection: Connection, ids: Iterable[int], not_before: float) -> None:
    """Let these wait a little longer."""
    rows = [{"id": id, "at": not_before} for id in ids]
    if rows:
        connection.execute(text("UPDATE deliveries SET not_before = :at WHERE id = :id AND state = 'queued'"), rows)


def witnesses(
    connection: Connection, gateway: str, channel: str, since: float, before: float, limit: int
) -> list[Row[Any]]:
    """(number_sealed, provider_id, claimed_at) of the newest deliveries of `channel` that a gateway took between two
    times.
    """
    sql = (
        "SELECT number_sealed, provider_id, claimed_at FROM deliveries WHERE state IN ('accepted', 'sent', 'delivered')"
        " AND channel = :channel AND gateway = :gateway AND provider_id <> '' AND +created_at > :created"
        " AND claimed_at > :since AND claimed_at > 0 AND claimed_at < :before AND length(number_sealed) > 0"
        " ORDER BY claimed_at DESC LIMIT :limit"
    )
    values: dict[str, Any] = {"gateway": gateway, "channel": channel, "since": since, "before": before}
    values |= {"limit": limit, "created": since - 86_400}
    return list(connection.execute(text(sql), values))


def provider_ids(connection: Connection, hashes: Iterable[bytes]) -> set[str]:
    """The provider's ids of what was sent to a number, by each of its hashes."""
    sql = text("SELECT provider_id FROM deliveries WHERE number_hash IN :hashes AND provider_id <> ''")
    rows = connection.execute(sql.bindparams(many("hashes", bytes)), {"hashes": list(hashes)})
    return set(rows.scalars())


def delivery(connection: Connection, id: int) -> Item | None:
    """One delivery."""
    sql = f"SELECT {_COLUMNS} FROM deliveries WHERE id = :id"
    row = connection.execute(text(sql), {"id": id}).one_or_none()
    return Item(*row) if row else None


def set_state(
    connection: Connection, item: Item, state: State, now: float, error: int, provider_id: str, not_before: float
) -> bool:
    """Move a delivery on from the state it was read in; whether it was still in that. What waits on waits as long."""
    sql = text(
        "UPDATE deliveries SET state = :state, error = :error, provider_id = :sid, lease_until = 0,"
        " not_before = coalesce(:at, not_before),"
        " settled_at = :settled WHERE id = :id AND state = :was AND attempt = :attempt"
    )
    over = state in (State.DELIVERED, State.FAILED)
    values = {
        "state": state.value, "error": error, "sid": provider_id or item.provider_id, "id": item.id,
        "at": None if state == item.state else not_before, "settled": now if over else None, "was": item.state,
        "attempt": item.attempt,
    }  # fmt: skip
    return connection.execute(sql, values).rowcount > 0


def begun(connection: Connection, broadcasts: Iterable[int], now: float) -> None:
    """The first message of these broadcasts has gone out: from now on residents know."""
    for id in sorted(broadcasts):
        values = {"id": id, "now": now}
        connection.execute(
            text("UPDATE broadcasts SET started_at = :now WHERE id = :id AND started_at IS NULL"), values
        )
        run = connection.execute(text("SELECT run FROM broadcasts WHERE id = :id"), values).scalar()
        if run is not None:
            sql = text("UPDATE audit SET told_at = :at WHERE run = :run AND told_at IS NULL")
            connection.execute(sql.bindparams(utc_param(now)), {"run": run})


def reopen(connection: Connection, id: int) -> None:
    """A delivery of this broadcast waits again: if it was done, it is not. One that was stopped stays so."""
    sql = text("UPDATE broadcasts SET state = :sending, finished_at = NULL WHERE id = :id AND state = :done")
    connection.execute(sql, {"id": id, "sending": Stage.SENDING.value, "done": Stage.DONE.value})


def finish(connection: Connection, now: float) -> int:
    """Broadcasts with nothing left to send are done, and those that were stopped are emptied; how many are done."""
    left = (
        "SELECT 1 FROM deliveries d WHERE d.broadcast_id = broadcasts.id AND d.channel IN ('text', 'call')"
        " AND d.state IN ('queued', 'sending')"
    )
    values = {"now": now, "system": "system", "sending": Stage.SENDING.value, "done": Stage.DONE.value}
    ended = connection.execute(
        text(
            "UPDATE broadcasts SET state = :done, finished_at = :now WHERE kind <> :system AND (state = :sending"
            " OR (kind = 'status' AND state IN ('submitted', 'approved')))"
            f" AND NOT EXISTS ({left})"
        ),
        values,
    ).rowcount
    connection.execute(  # a receipt may have queued something again while this could not be seen
        text(
            "UPDATE broadcasts SET state = :sending, finished_at = NULL WHERE state = :done AND finished_at > :since"
            " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.broadcast_id = broadcasts.id"
            " AND d.channel IN ('text', 'call') AND d.state = 'queued')"
        ),
        {**values, "since": now - 86_400},
    )
    empty_stopped(connection, now)
    return ended


def empty_stopped(connection: Connection, now: float) -> None:
    """What waits in broadcasts that were stopped is stopped too."""
    connection.execute(
        text(
            "UPDATE deliveries SET state = 'stopped', settled_at = :now WHERE state = 'queued'"
            " AND channel IN ('text', 'call')"
            " AND broadcast_id IN (SELECT id FROM broadcasts WHERE state IN ('stopped', 'rejected'))"
        ),
        {"now": now},
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """How much there is to do, by machine and by people."""

    subscriptions: int
    queued: int
    unknown: int
    submitted: int


def workload(connection: Connection) -> Workload:
    """How much there is to do now."""
    sql = (
        "SELECT (SELECT count(*) FROM subscriptions), (SELECT count(*) FROM deliveries WHERE state = 'queued'),"
        " (SELECT count(*) FROM deliveries WHERE state = 'unknown'),"
        " (SELECT count(*) FROM broadcasts WHERE state = 'submitted')"
    )
    return Workload(*connection.execute(text(sql)).one())


def is_quiet(connection: Connection, now: float, receipts: bool) -> bool:
    """Whether nothing is due, queued or being sent; with `receipts`, whether the provider has said the last of each."""
    due = text("SELECT 1 FROM due WHERE done_at IS NULL AND job <> 'slot' AND at <= :now LIMIT 1")
    states = ("queued", "sending", *(("accepted", "sent") if receipts else ()))
    moving = text(f"SELECT 1 FROM deliveries WHERE state IN {states} LIMIT 1")
    return not connection.execute(due, {"now": now}).first() and not connection.execute(moving).first()


def waiting(engine: Engine, lane: Lane) -> Prepared:
    """Whether anything of a `:channel` may go `:now` in a lane, whose values come beside: a row if so."""
    return Prepared(
        engine,
        f"SELECT 1 FROM broadcasts b JOIN deliveries d ON d.broadcast_id = b.id WHERE b.state = 'sending' AND {_FITS}"
        f" AND d.channel = :channel AND d.state = 'queued' AND d.not_before <= :now AND {lane.takes}"
        f" AND {lane.suits} LIMIT 1",
    )


def check(engine: Engine) -> Prepared:
    """The last look before a POST: the delivery's state and owner, its broadcast's state, the points' version, whether
    the number said STOPP, whether the broadcast may leave now, as an exercise or not as one, and whether operators have
    taken its gateway away.
    """
    return Prepared(
        engine,
        "SELECT d.state, d.owner, b.state, m.value, EXISTS (SELECT 1 FROM suppressions s WHERE s.number_hash ="
        f" d.number_hash), {_FITS}, EXISTS (SELECT 1 FROM gateways g WHERE (g.mode = 'off' AND g.name = d.gateway)"
        " OR (g.mode = 'only' AND g.name <> d.gateway)) FROM deliveries d JOIN broadcasts b ON b.id = d.broadcast_id"
        " JOIN meta m ON m.key = 'points' WHERE d.id = :id",
    )


def tell_operator(connection: Connection, row: dict[str, Any]) -> int:
    """Queue a text to an operator: hash, sealed, body, language, now, and a `serial` of which each number gets one."""
    sql = (
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, serial, state,"
        " body, created_at) VALUES (1, 'operator', :hash, :sealed, 'text', :language, :serial, 'queued', :body, :now)"
        " ON CONFLICT DO NOTHING"
    )
    return connection.execute(text(sql), row).rowcount


def answer_by_hand(connection: Connection, row: dict[str, Any]) -> int:
    """Queue an operator's answer to a turn, to go back the way it came: hash, sealed, body, language, turn, now, and a
    `serial` of which each number gets one.
    """
    sql = (
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, serial, turn_id,"
        f" state, body, created_at, via) VALUES (1, :kind, :hash, :sealed, 'text', :language, :serial, {_TURN},"
        f" 'queued', :body, :now, coalesce((SELECT gateway FROM turns WHERE id = {_TURN}), '')) ON CONFLICT DO NOTHING"
    )
    return connection.execute(text(sql), {**row, "kind": BY_HAND}).rowcount


_TURN = "CAST(:turn AS VARCHAR)"  # in two places: else PostgreSQL takes it for two types


def purge_deliveries(connection: Connection, before: float, most: int) -> int:
    """Delete at most `most` deliveries that are over and older than `before`; how many."""
    sql = text(
        "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE created_at < :before"
        " AND state NOT IN ('queued', 'sending', 'unknown') LIMIT :most)"
    )
    return connection.execute(sql, {"before": before, "most": most}).rowcount


def purge(connection: Connection, before: float, unanswered: float) -> None:
    """Delete finished pushes older than `before` that have no deliveries left, wishes to subscribe that nobody has
    agreed to since `unanswered`, and what was queued for a number while its STOPP was being committed.
    """
    values = {"before": before, "unanswered": unanswered}
    connection.execute(
        text(
            "DELETE FROM broadcasts WHERE kind = 'status' AND created_at < :before"
            " AND state IN ('done', 'stopped', 'rejected')"
            " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.broadcast_id = broadcasts.id)"
        ),
        values,
    )
    connection.execute(text("DELETE FROM subscriptions WHERE state = 'pending' AND created_at < :unanswered"), values)
    connection.execute(
        text(
            "DELETE FROM deliveries WHERE length(number_sealed) > 0 AND state NOT IN ('sending', 'unknown')"
            " AND number_hash IN (SELECT number_hash FROM suppressions)"
        )
    )
    connection.execute(text("DELETE FROM subscriptions WHERE number_hash IN (SELECT number_hash FROM suppressions)"))

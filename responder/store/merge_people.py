"""Residents, in a merge: who said STOPP, who follows what and what they know."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from sqlalchemy import delete, insert, text
from sqlalchemy.engine import Connection

from responder.core.merging import ACTIVE, Known, agreed, known_after
from responder.core.told import entries, merged, without
from responder.store.kits import KitError
from responder.store.merging import SOME, Merging, Row, found, suppressed, table
from responder.store.people import STOP_REASON, People

Spoken = Mapping[str, Mapping[bytes, set[str]]]  # "here" and "there" to what `spoken_of` found on that side
_NOT_KEPT = "a number that is not kept"
_REACHED = ("sending", "accepted", "sent", "delivered", "unknown")


def merge_stops(m: Merging, people: People) -> None:
    """STOPP holds, whoever heard it. What both sides knew, a START on either lifts."""
    here, there = suppressed(m.here), suppressed(m.there)
    known = {bytes.fromhex(one): at for one, at in m.seen.get("stopped", m.theirs.base["stopped"]).items()}
    again_here, again_there = _stopped_again(m, m.here), _stopped_again(m, m.there)
    for one in sorted(there):
        if one in here or (known.get(one) == there[one] and one not in again_there):
            continue
        _list_if_newer_word_here(m, one, there[one], known)
        stop(m.here, people, one, there[one])
        m.taken["suppressions"] += 1
    for one in sorted(set(known) - set(there)):
        if one not in here:
            continue
        if here[one] == known[one] and one not in again_here:
            m.here.execute(delete(table("suppressions")).where(table("suppressions").c.number_hash == one))
            m.taken["suppressions lifted"] += 1
        else:
            m.conflict("suppressions", _number(m, one), "STOPP, which holds until they say START again", "START")
    m.next_seen["stopped"] = {one.hex(): at for one, at in there.items()}


def _stopped_again(m: Merging, side: Connection) -> set[bytes]:
    """Who has said STOPP since both sides knew of each other. The list keeps when they said it first."""
    sql = text("SELECT DISTINCT key FROM turns WHERE at > :since AND outcome = 'stopped'")
    since = m.since if side is m.here else m.since_there
    return {bytes(row[0]) for row in side.execute(sql, {"since": since})}


def stop(connection: Connection, people: People, number_hash: bytes, at: float) -> None:
    """What a STOPP does, here: nothing waits for the number, nothing is kept of it."""
    bare: Any = connection.connection.driver_connection
    for write in people.stop([number_hash], at, STOP_REASON):
        write.statement.run(bare, write.values)
    connection.execute(
        text("DELETE FROM turns WHERE key = :hash OR (sender_hash = :hash AND channel = 'voice')"),
        {"hash": number_hash},
    )


def _list_if_newer_word_here(m: Merging, one: bytes, at: float, known: dict[bytes, float]) -> None:
    """Whoever said START or JA here, and STOPP there, hears nothing until they say START again."""
    if one in known or _agreed_since(m.here, one, at):
        number = _number(m, one)
        m.conflict("suppressions", number, "START or JA", "STOPP, which holds here too until they say START again")


def _agreed_since(side: Connection, one: bytes, at: float) -> bool:
    """Whether a number has said JA, or follows something new, after `at`."""
    return side.execute(text(_AGREED), {"hash": one, "at": at}).first() is not None


_AGREED = (
    "SELECT 1 FROM subscriptions WHERE number_hash = :hash AND created_at > :at AND state = 'active'"
    " UNION ALL SELECT 1 FROM turns WHERE key = :hash AND at > :at AND outcome IN ('subscribed', 'agreed')"
)
_ENDED = "SELECT 1 FROM turns WHERE key = :hash AND at > :at AND outcome IN ('unsubscribed', 'declined', 'stopped')"


def _ended_by_word(side: Connection, one: bytes, at: float) -> bool:
    """Whether a number has ended something, or declined it, after `at`."""
    return side.execute(text(_ENDED), {"hash": one, "at": at}).first() is not None


def _number(m: Merging, one: bytes) -> str:
    for side in (m.here, m.there):
        for name, column, sealed in (
            ("subscriptions", "number_hash", "number_sealed"), ("turns", "sender_hash", "sender_sealed"),
        ):  # fmt: skip
            sql = text(f"SELECT {sealed} FROM {name} WHERE {column} = :hash AND length({sealed}) > 0 LIMIT 1")
            if row := side.execute(sql, {"hash": one}).first():
                return m.mask(bytes(row[0]))
    return _NOT_KEPT


@dataclass
class _Met:
    """What is known while subscriptions are gone through: who said STOPP here, who of them is listed, for which a
    message waits here, which the laptop has told something by a clock that was behind; ids there to ids here, all ids
    there, and ids here of those that the laptop has too.
    """

    stopped: dict[bytes, float]
    listed: set[bytes]
    waiting: set[int]
    told_there: set[int]
    ids: dict[int, int] = field(default_factory=dict)
    there: set[int] = field(default_factory=set)
    matched: set[int] = field(default_factory=set)


def merge_subscriptions(m: Merging) -> dict[int, int]:
    """New ones come in, ended ones end, and the later message counts. Id there to id here, of those that are here."""
    listed = {bytes.fromhex(one) for one in m.seen.get("listed", ())}
    waiting = set(m.here.execute(text(_WAITING)).scalars())
    met = _Met(suppressed(m.here), listed, waiting, _told_by_a_clock_behind(m))
    for some in m.rows("subscriptions"):
        met.there |= {row["id"] for row in some}
        here = {_same(row): row for row in found(m.here, "subscriptions", "number_hash", _hashes(some))}
        _let_in(m, met, [row for row in some if _is_new(m, met, row, here)])
        _tell(m, met, [(here[_same(row)], row) for row in some if row["id"] in met.ids and _same(row) in here])
    _end_what_ended_there(m, met.there | met.matched)
    m.next_seen["listed"] = sorted(one.hex() for one in met.listed)
    return met.ids


def _is_new(m: Merging, met: _Met, row: Row, here: Mapping[tuple[bytes, str, str], Row]) -> bool:
    """Whether one comes in. One that is here is noted; one that ended here stays ended."""
    if row["number_hash"] in met.stopped:
        met.listed |= _list_if_agreed(m, row, met.stopped, met.listed)
        return False
    if known := here.get(_same(row)):
        met.ids[row["id"]] = known["id"]
        met.matched.add(known["id"])
        return False
    both_knew = (m.is_known or m.seen) and m.both_knew("subscriptions", row["id"])
    return not both_knew or _comes_back(m, row)


def _let_in(m: Merging, met: _Met, rows: Sequence[Row]) -> None:
    own = [row for row in rows if _is_of_the_kit(m, row)]
    if others := found(m.here, "subscriptions", "id", [row["id"] for row in own]):
        raise KitError(f"subscription {others[0]['id']} is another one here: another laptop gave its id out")
    if own:
        m.here.execute(insert(table("subscriptions")), own)
    came = {row["id"]: row["id"] for row in own}
    came |= {row["id"]: _come_in(m, row) for row in rows if row["id"] not in came}
    met.ids |= came
    met.matched |= set(came.values())
    m.taken["subscriptions"] += len(came)


def _tell(m: Merging, met: _Met, pairs: Sequence[tuple[Row, Row]]) -> None:
    """What those that both sides have become here, (here, there) each."""
    hashes = sorted({here["number_hash"] for here, _ in pairs})
    spoken = {
        "here": spoken_of(m.here, hashes, m.since),
        "there": spoken_of(m.there, hashes, m.since_there),
    }

    def decided(some: Sequence[tuple[Row, Row]]) -> list[tuple[Row, Row, Row]]:
        return [(*pair, after) for pair in some if (after := _meet(m, *pair, met.told_there, spoken))]

    changed = decided(pairs)
    if m.here.dialect.name == "postgresql":  # somebody may have said JA since it was read
        changed = decided(_held(m, [(here, there) for here, there, _ in changed]))
    for here, _, after in changed:
        if here["id"] in met.waiting and _known(here) != _known(after):
            after["said"] = merged(after["said"], _superseded(m, here, spoken["there"]))
    if changed:
        m.here.execute(text(_BECOMES), [after for _, _, after in changed])
        m.taken["subscriptions that were told something"] += len(changed)


def _held(m: Merging, changed: Sequence[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """`changed` anew, of rows here that nobody else changes before the merge is over."""
    columns, there = table("subscriptions"), {here["id"]: there for here, there in changed}
    held: list[tuple[Row, Row]] = []
    for start in range(0, len(changed), SOME):
        ids = [here["id"] for here, _ in changed[start : start + SOME]]
        rows = m.here.execute(columns.select().where(columns.c.id.in_(ids)).order_by(columns.c.id).with_for_update())
        held += [(dict(row), there[row["id"]]) for row in rows.mappings()]
    return held


def _list_if_agreed(m: Merging, row: Row, stopped: Mapping[bytes, float], listed: Collection[bytes]) -> set[bytes]:
    """STOPP was said here, and JA on the laptop after it: once a number."""
    one = row["number_hash"]
    if one in listed or not _agreed_since(m.there, one, stopped[one]):
        return set()
    m.conflict(
        "subscriptions", m.mask(row["number_sealed"]), "STOPP, which holds until they say START again",
        f"JA for {row['place']}",
    )  # fmt: skip
    return {one}


def _comes_back(m: Merging, row: Row) -> bool:
    """Whether one that ended here goes on, since they said JA on the laptop, and nothing here: their time to answer had
    run out. Where they said both, it stays ended and is listed.
    """
    one = row["number_hash"]
    if row["state"] != ACTIVE or not _agreed_since(m.there, one, m.since_there):
        return False
    if not _ended_by_word(m.here, one, m.theirs.made_at):
        return True
    m.conflict("subscriptions", m.mask(row["number_sealed"]), f"ended for {row['place']}", f"JA for {row['place']}")
    return False


def _same(row: Row) -> tuple[bytes, str, str]:
    return row["number_hash"], row["place"], row["service"]


def _hashes(rows: Iterable[Row]) -> list[bytes]:
    return sorted({row["number_hash"] for row in rows})


def _is_of_the_kit(m: Merging, row: Row) -> bool:
    return bool(row["id"] > m.theirs.base["first"]["subscriptions"])


def _come_in(m: Merging, row: Row) -> int:
    """One that was lost here comes back under another id, which is returned."""
    columns = table("subscriptions")
    values = {name: value for name, value in row.items() if name != "id"}
    return int(m.here.execute(insert(columns).values(**values).returning(columns.c.id)).scalar_one())


def _meet(m: Merging, here: Row, there: Row, told_there: Collection[int], spoken: Spoken) -> Row | None:
    """What a subscription that both sides have becomes here; None if it stays as it is. `told_there`: those that the
    laptop has sent something, whatever its clock said.
    """
    old, new = _known(here), _known(there)
    if new.said_at <= m.since and there["id"] in told_there:
        new = replace(new, said_at=m.since + 1)
    if new.said_at <= m.since:
        after = old
    else:
        later = spoken["here" if old.said_at >= new.said_at else "there"]
        after = known_after(old, new, m.since, later.get(here["number_hash"], set()))
    row = {name: here[name] for name in _KEPT} | {"exercise": here["exercise"] or there["exercise"]}
    if here["id"] == there["id"] or not m.both_knew("subscriptions", there["id"]):
        row["state"] = agreed(here["state"], there["state"])
    if after != old:
        row |= dict(zip(("told", "said", "said_at"), astuple(after), strict=True))
    if new.said_at > max(m.since, old.said_at):
        row["language"] = there["language"]
    return row if any(here[name] != value for name, value in row.items()) else None


_KEPT = ("id", "state", "exercise", "told", "said", "said_at", "language")
_BECOMES = (
    "UPDATE subscriptions SET state = :state, exercise = :exercise, told = :told, said = :said, said_at = :said_at,"
    " language = :language WHERE id = :id"
)
_WAITING = "SELECT DISTINCT subscription_id FROM deliveries WHERE state = 'queued' AND kind = 'status'"


def _told_by_a_clock_behind(m: Merging) -> set[int]:
    """Subscriptions that the laptop has told something at a time before the two parted, if its clock said so."""
    sql = text(
        "SELECT subscription_id FROM deliveries WHERE id > :mark AND claimed_at > 0 AND claimed_at <= :since"
        f" AND told <> '' AND state IN {_REACHED}"
    )
    mark = max(m.theirs.base["first"]["deliveries"], m.seen.get("marks", {}).get("deliveries", 0))
    return set(m.there.execute(sql, {"mark": mark, "since": m.since}).scalars())


def _known(row: Row) -> Known:
    return Known(row["told"], row["said"], row["said_at"])


def spoken_of(side: Connection, hashes: Sequence[bytes], since: float) -> dict[bytes, set[str]]:
    """Number to the points that messages to it have spoken of since; those of which there are none are left out."""
    columns = table("deliveries").c
    told = (columns.claimed_at > since) & columns.state.in_(_REACHED)
    points: dict[bytes, set[str]] = {}
    for row in found(side, "deliveries", "number_hash", hashes, told):
        named = {entry.point for name in _SPEAKS for entry in entries(row[name])}
        points.setdefault(row["number_hash"], set()).update(named)
    return points


_SPEAKS = ("told_before", "said_before", "said")


def _superseded(m: Merging, here: Row, spoken: Mapping[bytes, set[str]]) -> str:
    """A message that waits here was made of what they knew before: the next push makes another, if there is one to
    make. What it would have said of doors that the laptop has not spoken of is still to be followed up.
    """
    columns = table("deliveries").c
    waiting = found(
        m.here, "deliveries", "number_hash", [here["number_hash"]],
        (columns.subscription_id == here["id"]) & (columns.state == "queued") & (columns.kind == "status"),
    )  # fmt: skip
    if not waiting:
        return ""
    supersede(m, waiting)
    points = spoken.get(here["number_hash"], set())
    return "".join(without(row["said_before"], points) for row in waiting)


def supersede(m: Merging, rows: Sequence[Row]) -> None:
    """These wait here no more: the laptop has told it."""
    columns = table("deliveries")
    m.here.execute(
        columns.update().where(columns.c.id.in_([row["id"] for row in rows]), columns.c.state == "queued").values(
            state="superseded", settled_at=m.stamp
        )
    )  # fmt: skip
    m.taken["messages that waited here, of what the laptop has told"] += len(rows)


def _end_what_ended_there(m: Merging, alive: set[int]) -> None:
    rows = m.here.execute(text("SELECT id FROM subscriptions")).scalars()
    ended = [id for id in rows if id not in alive and m.both_knew("subscriptions", id)]
    for row in found(m.here, "subscriptions", "id", ended):
        if not m.is_known and not _ended_by_word(m.there, row["number_hash"], m.since_there):
            continue  # it may be of a later time than what this kit was made from
        if row["said_at"] > m.since and _agreed_since(m.here, row["number_hash"], m.since):
            what = f"JA for {row['place']}, which ends here too until they say JA again"
            m.conflict("subscriptions", m.mask(row["number_sealed"]), what, f"ended for {row['place']}")
        values = {"hash": row["number_hash"], "place": row["place"], "id": row["id"]}
        for sql in _END:
            m.here.execute(text(sql), values)
        m.taken["subscriptions ended there"] += 1


_END = (  # as when somebody says so here (People.unsubscribe)
    "UPDATE deliveries SET state = 'suppressed' WHERE number_hash = :hash AND place = :place AND kind = 'status'"
    " AND state IN ('queued', 'sending', 'unknown')",
    "DELETE FROM subscriptions WHERE id = :id",
    "UPDATE turns SET said = '' WHERE sender_hash = :hash AND place = :place",
)

"""Residents, in a merge: who said STOPP, who follows what and what they know, what they asked and must hear of."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from sqlalchemy import delete, insert, text
from sqlalchemy.engine import Connection

from responder.core.merging import Known, agreed, known_after
from responder.core.told import entries, merged, without
from responder.store.merging import Merging, Row, found, suppressed, table
from responder.store.people import STOP_REASON, People
from responder.store.schedule import DAY

_NOT_KEPT = "a number that is not kept"
_REACHED = ("sending", "accepted", "sent", "delivered", "unknown")


def merge_stops(m: Merging, people: People) -> None:
    """STOPP holds, whoever heard it. What both sides knew, a START on either lifts."""
    here, there = suppressed(m.here), suppressed(m.there)
    known = {bytes.fromhex(one): at for one, at in m.seen.get("stopped", m.theirs.base["stopped"]).items()}
    for one in sorted(there):
        if known.get(one) == there[one] or one in here:
            continue
        _list_if_newer_word_here(m, one, there[one], known)
        stop(m.here, people, one, there[one])
        m.taken["suppressions"] += 1
    for one in sorted(set(known) - set(there)):
        if one not in here:
            continue
        if here[one] == known[one]:
            m.here.execute(delete(table("suppressions")).where(table("suppressions").c.number_hash == one))
            m.taken["suppressions lifted"] += 1
        else:
            m.conflict("suppressions", _number(m, one), "STOPP, which holds until they say START again", "START")
    m.next_seen["stopped"] = {one.hex(): at for one, at in there.items()}


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


def _number(m: Merging, one: bytes) -> str:
    for side in (m.here, m.there):
        for name, column, sealed in (
            ("subscriptions", "number_hash", "number_sealed"), ("turns", "sender_hash", "sender_sealed"),
        ):  # fmt: skip
            sql = text(f"SELECT {sealed} FROM {name} WHERE {column} = :hash AND length({sealed}) > 0 LIMIT 1")
            if row := side.execute(sql, {"hash": one}).first():
                return m.mask(bytes(row[0]))
    return _NOT_KEPT


def merge_subscriptions(m: Merging) -> dict[int, int]:
    """New ones come in, ended ones end, and the later message counts. Id there to id here, of those that are here."""
    stopped, ids, matched = suppressed(m.here), {}, set()
    there_ids: set[int] = set()
    waiting = set(m.here.execute(text(_WAITING)).scalars())
    listed = {bytes.fromhex(one) for one in m.seen.get("listed", ())}
    for some in m.rows("subscriptions"):
        there_ids |= {row["id"] for row in some}
        here = {_same(row): row for row in found(m.here, "subscriptions", "number_hash", _hashes(some))}
        changed: list[Row] = []
        fresh: list[Row] = []
        for row in some:
            if row["number_hash"] in stopped:
                listed |= _list_if_agreed(m, row, stopped, listed)
            elif known := here.get(_same(row)):
                ids[row["id"]] = known["id"]
                matched.add(known["id"])
                if after := _meet(m, known, row, waiting):
                    changed.append(after)
            elif (m.is_known or m.seen) and m.both_knew("subscriptions", row["id"]):
                continue  # it ended here, and stays ended
            else:
                fresh.append(row)
        for row in fresh:
            ids[row["id"]] = row["id"] if _is_of_the_kit(m, row) else _come_in(m, row)
            matched.add(ids[row["id"]])
        if own := [row for row in fresh if _is_of_the_kit(m, row)]:
            m.here.execute(insert(table("subscriptions")), own)
        m.taken["subscriptions"] += len(fresh)
        if changed:
            m.here.execute(text(_BECOMES), changed)
            m.taken["subscriptions that were told something"] += len(changed)
    _end_what_ended_there(m, there_ids | matched)
    m.next_seen["listed"] = sorted(one.hex() for one in listed)
    return ids


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


def _meet(m: Merging, here: Row, there: Row, waiting: Collection[int]) -> Row | None:
    """What a subscription that both sides have becomes here; None if it stays as it is. `waiting`: those for which a
    message waits here.
    """
    old, new = _known(here), _known(there)
    if new.said_at <= m.since:
        after = old
    else:
        later = m.here if old.said_at >= new.said_at else m.there
        spoken = _spoken_of(later, here["number_hash"], m.since) if old.said_at > m.since else set()
        after = known_after(old, new, m.since, spoken)
    row = {name: here[name] for name in _KEPT} | {"exercise": here["exercise"] or there["exercise"]}
    if here["id"] == there["id"] or not m.both_knew("subscriptions", there["id"]):
        row["state"] = agreed(here["state"], there["state"])
    if after != old:
        row |= dict(zip(("told", "said", "said_at"), astuple(after), strict=True))
        row["said"] = merged(after.said, _superseded(m, here, there) if here["id"] in waiting else "")
    if new.said_at > max(m.since, old.said_at):
        row["language"] = there["language"]
    return row if any(here[name] != value for name, value in row.items()) else None


_KEPT = ("id", "state", "exercise", "told", "said", "said_at", "language")
_BECOMES = (
    "UPDATE subscriptions SET state = :state, exercise = :exercise, told = :told, said = :said, said_at = :said_at,"
    " language = :language WHERE id = :id"
)
_WAITING = "SELECT DISTINCT subscription_id FROM deliveries WHERE state = 'queued' AND kind = 'status'"


def _known(row: Row) -> Known:
    return Known(row["told"], row["said"], row["said_at"])


def _spoken_of(side: Connection, number_hash: bytes, since: float) -> set[str]:
    """The points that messages to a number have spoken of since."""
    columns = table("deliveries").c
    told = (columns.claimed_at > since) & columns.state.in_(_REACHED)
    rows = found(side, "deliveries", "number_hash", [number_hash], told)
    return {
        entry.point for row in rows for name in ("told_before", "said_before", "said") for entry in entries(row[name])
    }


def _superseded(m: Merging, here: Row, there: Row) -> str:
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
    _supersede(m, waiting)
    spoken = _spoken_of(m.there, there["number_hash"], m.since)
    return "".join(without(row["said_before"], spoken) for row in waiting)


def _supersede(m: Merging, rows: Sequence[Row]) -> None:
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


def merge_turns(m: Merging, retained: float) -> None:
    """New ones since `retained`, behind or before those here; what the laptop told whoever asked is told."""
    stopped = suppressed(m.here)
    for some in m.rows("turns", "at > :since", since=max(m.since, retained)):
        known = {row["id"] for row in found(m.here, "turns", "id", [row["id"] for row in some])}
        fresh = [
            row for row in some
            if row["id"] not in known and row["key"] not in stopped and row["sender_hash"] not in stopped
        ]  # fmt: skip
        _numbered(m, fresh)
        if fresh:
            m.here.execute(insert(table("turns")), fresh)
            m.taken["turns"] += len(fresh)
    _take_as_told(m)


def _numbered(m: Merging, rows: Sequence[Row]) -> None:
    """Give each the number that its conversation has room for: after those here, or before, if the newest is here."""
    keys = sorted({row["key"] for row in rows})
    here: dict[bytes, list[Row]] = {}
    for row in found(m.here, "turns", "key", keys):
        here.setdefault(row["key"], []).append(row)
    there: dict[bytes, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["number"]):
        there.setdefault(row["key"], []).append(row)
    for key, new in there.items():
        old = here.get(key, [])
        if not old:
            continue
        numbers = [row["number"] for row in old]
        is_later = new[-1]["at"] >= max(row["at"] for row in old)
        first = max(numbers) + 1 if is_later else min(0, *numbers, 0) - len(new)
        for n, row in enumerate(new):
            row["number"] = first + n


def _take_as_told(m: Merging) -> None:
    """Whoever asked before the kit was made, and heard from the laptop that the door is closed, hears it once."""
    columns = table("turns").c
    sql = "SELECT id FROM turns WHERE said <> '' AND said_at > :day"
    asked = [row[0] for row in m.here.execute(text(sql), {"day": m.stamp - DAY})]
    there = {row["id"]: row for row in found(m.there, "turns", "id", asked)}
    for row in found(m.here, "turns", "id", sorted(there)):
        new = there[row["id"]]
        was_told = not new["said"] or new["said_at"] > m.since
        if was_told and row["said_at"] <= m.since and new["said"] != row["said"]:
            values = {"said": new["said"], "said_at": new["said_at"]}
            m.here.execute(table("turns").update().where(columns.id == row["id"]).values(**values))
            m.taken["turns whose sender was told something"] += 1
    _drop_follow_ups(m)


def _drop_follow_ups(m: Merging) -> None:
    """A message to somebody who asked, which waits here and says nothing that the laptop has not said."""
    columns = table("deliveries").c
    waiting = found(m.here, "deliveries", "state", ["queued"], columns.kind == "follow_up")
    if told := [row for row in waiting if _points(row) and _points(row) <= _told_there(m, row)]:
        _supersede(m, told)


def _told_there(m: Merging, row: Row) -> set[str]:
    return _spoken_of(m.there, row["number_hash"], m.theirs.made_at)


def _points(row: Row) -> set[str]:
    return {entry.point for entry in entries(row["said_before"])}

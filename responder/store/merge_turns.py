"""What residents asked, in a merge, and what whoever only asked must hear of."""

from collections.abc import Sequence

from sqlalchemy import insert, text

from responder.core.told import entries
from responder.store.merge_people import spoken_of, supersede
from responder.store.merging import Merging, Row, found, suppressed, table
from responder.store.schedule import DAY


def merge_turns(m: Merging, retained: float) -> None:
    """New ones since `retained`, behind or before those here; what the laptop told whoever asked is told."""
    stopped = suppressed(m.here)
    for some in m.rows("turns", "at > :since", since=max(m.since_there, retained)):
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
        supersede(m, told)


def _told_there(m: Merging, row: Row) -> set[str]:
    one = row["number_hash"]
    return spoken_of(m.there, [one], min(m.theirs.made_at, m.since_there)).get(one, set())


def _points(row: Row) -> set[str]:
    return {entry.point for entry in entries(row["said_before"])}

"""What was sent, done and noted on the laptop, in a merge: it comes here as history, and is never sent again."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from responder.core.broadcast import State as Stage
from responder.core.broadcast import job
from responder.core.delivery import State
from responder.core.merging import Verdict, judged
from responder.store.broadcasts import add_line, broadcast_to_json, drop_due, read_broadcast
from responder.store.kits import KitError, stages
from responder.store.merging import Merging, Row, found, suppressed, table

_OVER = (Stage.DONE, Stage.STOPPED, Stage.REJECTED)
_IN_HAND = (State.QUEUED, State.SENDING, State.UNKNOWN)


def merge_broadcasts(m: Merging) -> None:
    """New ones, and what changed there alone. Nothing of them goes out from here unless somebody says so."""
    met = m.seen.get("broadcasts", m.theirs.base["broadcasts"])
    here, there = stages(m.here), stages(m.there)
    seen: dict[str, list[str]] = {}
    for some in m.rows("broadcasts", "kind <> 'system'"):
        for row in some:
            id = str(row["id"])
            before_here, before_there = met.get(id, ("", ""))
            if id in here and id not in met:
                raise KitError(f"broadcast {id} is another one here: another laptop gave its id out")
            verdict = judged(before_here, here.get(id, ""), before_there, there[id])
            if verdict is Verdict.TAKE:
                here[id] = _take(m, row, exists=id in here)
            elif verdict is Verdict.CONFLICT:
                m.conflict("broadcasts", f"broadcast {id}", here[id].split(":")[0], there[id].split(":")[0])
            seen[id] = [here.get(id, "") if verdict is Verdict.TAKE else before_here, there[id]]
    m.next_seen["broadcasts"] = seen


def _take(m: Merging, row: Row, exists: bool) -> str:
    """Write it here, at rest; its state and version."""
    columns = table("broadcasts")
    values = {**row, "state": _at_rest(row), "send_at": None}
    if row["kind"] == "status" and row["state"] not in _OVER:
        values["finished_at"] = m.stamp
    before = ""
    if exists:
        was = read_broadcast(m.here, row["id"])
        before = broadcast_to_json(was) if was else ""
        drop_due(m.here, job(row["id"]), m.stamp)  # it had a time here, and the laptop sent it or stopped it
        m.here.execute(columns.update().where(columns.c.id == row["id"]).values(**values))
    else:
        m.here.execute(columns.insert().values(**values))
    _say_what_waits(m, row, values["state"])
    m.taken["broadcasts"] += 1
    now_is = read_broadcast(m.here, row["id"])
    if now_is and row["kind"] == "message":
        add_line(m.here, m.now, m.who, "merge", f"broadcast:{row['id']}", before, broadcast_to_json(now_is))
    return f"{values['state']}:{row['version']}"


def _at_rest(row: Row) -> str:
    if row["kind"] == "status":
        return row["state"] if row["state"] in _OVER else Stage.STOPPED.value
    return Stage.PAUSED.value if row["state"] == Stage.SENDING else str(row["state"])


def _say_what_waits(m: Merging, row: Row, state: str) -> None:
    if state == Stage.PAUSED:
        look = f"`responder broadcast show {row['id']}`"
        m.notices.append(f"broadcast {row['id']} was going out from the laptop, and is paused: {look}")
    elif row["kind"] == "message" and state in (Stage.SUBMITTED, Stage.APPROVED):
        m.notices.append(f"broadcast {row['id']} is {state}, and waits for somebody")


def merge_deliveries(m: Merging, subscriptions: Mapping[int, int]) -> None:
    """New ones as history, and what has become of those that were unknown when they came."""
    stopped, kinds = suppressed(m.here), {row[0]: row[1] for row in m.there.execute(text(_KINDS))}
    unknown: list[int] = []
    for some in m.rows("deliveries", "id > :first", first=m.theirs.base["first"]["deliveries"]):
        known = {row["id"]: row for row in found(m.here, "deliveries", "id", [row["id"] for row in some])}
        fresh = []
        for row in some:
            if row["id"] in known:
                _move_on(m, known[row["id"]], row)
            elif row["id"] > m.seen.get("marks", {}).get("deliveries", 0) and row["number_hash"] not in stopped:
                fresh.append(_as_history(m, row, kinds.get(row["broadcast_id"], ""), subscriptions))
        _add(m, fresh)
        unknown += [row["id"] for row in fresh if row["state"] == State.UNKNOWN]
    if unknown:
        m.notices.append(
            f"{len(unknown)} messages may have been sent by the laptop, from {unknown[0]}: `responder deliveries"
            " --state unknown`, then `responder delivery resolve ID sent` or `resend`"
        )


_KINDS = "SELECT id, kind FROM broadcasts"


def _as_history(m: Merging, row: Row, kind: str, subscriptions: Mapping[int, int]) -> Row:
    state, settled_at = _state_here(row, kind), row["settled_at"]
    if state in (State.SUPERSEDED, State.STOPPED) and settled_at is None:
        settled_at = m.stamp
    return {
        **row, "state": state, "settled_at": settled_at, "owner": "", "lease_until": 0.0,
        "subscription_id": subscriptions.get(row["subscription_id"] or 0),
    }  # fmt: skip


def _state_here(row: Row, kind: str) -> str:
    """What was in hand there is unknown here. What a push had queued, a push from here tells, if it is still news; what
    waits in a broadcast waits there for whoever resumes it.
    """
    if row["state"] == State.QUEUED and kind == "status":
        return State.SUPERSEDED.value
    if row["state"] == State.QUEUED and kind == "message":
        return State.QUEUED.value
    return State.UNKNOWN.value if row["state"] in _IN_HAND else str(row["state"])


def _add(m: Merging, rows: Sequence[Row]) -> None:
    """Insert them; whoever got the same broadcast from both sides has one row, that of here."""
    if not rows:
        return
    dialect: Any = sqlite if m.here.dialect.name == "sqlite" else postgresql
    sql = dialect.insert(table("deliveries")).on_conflict_do_nothing()
    before = _count(m)
    m.here.execute(sql, list(rows))
    added = _count(m) - before
    m.taken["deliveries"] += added
    m.taken["deliveries that both sides made"] += len(rows) - added


def _count(m: Merging) -> int:
    return int(m.here.execute(text("SELECT count(*) FROM deliveries WHERE id > :first"),
                              {"first": m.theirs.base["first"]["deliveries"]}).scalar_one())  # fmt: skip


def _move_on(m: Merging, here: Row, there: Row) -> None:
    """The laptop knows by now what has become of it, and nobody has decided here."""
    if here["broadcast_id"] != there["broadcast_id"] or here["created_at"] != there["created_at"]:
        raise KitError(f"the id {here['id']} is that of another delivery here: another laptop gave it out")
    if here["state"] not in (State.UNKNOWN, State.QUEUED) or there["state"] in (*_IN_HAND, here["state"]):
        return
    moved = ("state", "attempt", "claimed_at", "body", "segments", "provider_id", "gateway", "error", "settled_at",
             "told", "told_before", "said", "said_before", "number_sealed")  # fmt: skip
    columns = table("deliveries")
    m.here.execute(columns.update().where(columns.c.id == here["id"]).values({name: there[name] for name in moved}))
    m.taken["deliveries of which more is known"] += 1


def merge_log(m: Merging) -> set[str]:
    """Each line of the audit log and of the shift log, as it was written there. The points that lines are about."""
    points: set[str] = set()
    for name in ("audit", "notes"):
        for some in m.rows(name, "id > :mark ORDER BY id", mark=m.mark(name)):
            rows = [{key: value for key, value in row.items() if key != "id"} for row in some]
            if name == "audit":
                points |= {row["subject"] for row in rows if ":" not in row["subject"]}
                for row in rows:  # the line of the merge stands for those that no push has taken in there
                    if ":" not in row["subject"] and row["run"] is None:
                        row["run"] = m.stamp
            m.here.execute(table(name).insert(), rows)
            m.taken["lines of the audit log" if name == "audit" else "lines of the shift log"] += len(rows)
    return points

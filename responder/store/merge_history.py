"""What was sent, done and noted on the laptop, in a merge: it comes here as history, and is never sent again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from responder.core.broadcast import State as Stage
from responder.core.broadcast import job
from responder.core.delivery import RANK, REACHED, State
from responder.core.merging import Verdict, judged
from responder.store.broadcasts import add_line, broadcast_to_json, drop_due, read_broadcast
from responder.store.kits import KitError, stages
from responder.store.merging import Merging, Row, found, suppressed, table

_OVER = (Stage.DONE, Stage.STOPPED, Stage.REJECTED)
_IN_HAND = (State.QUEUED, State.SENDING, State.UNKNOWN)


def merge_broadcasts(m: Merging) -> set[int]:
    """New ones, and what changed there alone. Nothing of them goes out from here unless somebody says so. Those that
    stay as they are here, since both sides changed them.
    """
    met = m.met_broadcasts
    here, there = stages(m.here), stages(m.there)
    seen: dict[str, list[str]] = {}
    stay: set[int] = set()
    for some in m.rows("broadcasts", "kind <> 'system'"):
        for row in some:
            id = str(row["id"])
            before_here, before_there = met.get(id, ("", ""))
            if id in here and id not in met:
                raise KitError(f"broadcast {id} is another one here: another laptop gave its id out")
            verdict = judged(before_here, here.get(id, ""), before_there, there[id])
            if verdict is Verdict.TAKE:
                here[id] = _take(m, row, exists=id in here)
            elif here.get(id, "") != before_here:
                stay.add(row["id"])
            if verdict is Verdict.CONFLICT:
                m.conflict("broadcasts", f"broadcast {id}", _stage(here.get(id, "")), _stage(there[id]))
            seen[id] = [here.get(id, "") if verdict is Verdict.TAKE else before_here, there[id]]
    m.next_seen["broadcasts"] = seen
    return stay


def _stage(at: str) -> str:
    return at.split(":")[0] or "not there"


def pause_what_is_left(m: Merging) -> None:
    """What the laptop calls done, and of which messages wait here that it never had: somebody decides."""
    for id, (here, _) in m.next_seen["broadcasts"].items():
        if here.split(":")[0] != Stage.DONE or here == m.met_broadcasts.get(id, ("", ""))[0]:
            continue
        left = int(m.here.execute(text(_LEFT), {"id": int(id)}).scalar_one())
        was = read_broadcast(m.here, int(id))
        if not left or was is None or not was.written:
            continue
        paused = replace(was, state=Stage.PAUSED)
        m.here.execute(text(_PAUSE), {"id": was.id})
        before, after = broadcast_to_json(was), broadcast_to_json(paused)
        add_line(m.here, m.now, m.who, "merge", f"broadcast:{id}", before, after)
        m.next_seen["broadcasts"][id][0] = f"{Stage.PAUSED}:{was.version}"
        m.notices.append(
            f"broadcast {id} is done on the laptop, but {left} messages of it wait here, which the laptop did not have:"
            f" it is paused, `responder broadcast show {id}`"
        )


_LEFT = "SELECT count(*) FROM deliveries WHERE broadcast_id = :id AND channel IN ('text', 'call') AND state = 'queued'"
_PAUSE = "UPDATE broadcasts SET state = 'paused', finished_at = NULL WHERE id = :id"


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


def merge_deliveries(m: Merging, subscriptions: Mapping[int, int], stay: Collection[int]) -> None:
    """New ones as history, and what has become of those that were unknown or under way when they came. `stay`: the
    broadcasts that stay as they are here.
    """
    stopped, kinds = suppressed(m.here), {row[0]: row[1] for row in m.there.execute(text(_KINDS))}
    unknown: list[int] = []
    at_the_modem = left = 0
    for some in m.rows("deliveries", "id > :first", first=m.theirs.base["first"]["deliveries"]):
        known = {row["id"]: row for row in found(m.here, "deliveries", "id", [row["id"] for row in some])}
        twins = _twins(m, [row for row in some if row["id"] not in known])
        fresh = []
        for row in some:
            is_new = row["id"] > m.seen.get("marks", {}).get("deliveries", 0)
            if row["id"] in known:
                _move_on(m, known[row["id"]], row)
            elif twin := twins.get(_same(row)):
                m.taken["deliveries that both sides made"] += is_new
                if _sent_there(m, twin, row, kinds.get(row["broadcast_id"], "")) == State.UNKNOWN:
                    unknown.append(twin["id"])
            elif is_new and row["number_hash"] not in stopped:
                fresh.append(_as_history(m, row, kinds.get(row["broadcast_id"], ""), subscriptions, stay))
        if fresh:
            m.here.execute(table("deliveries").insert(), fresh)
            m.taken["deliveries"] += len(fresh)
        unknown += [row["id"] for row in fresh if row["state"] == State.UNKNOWN]
        left += sum(row["state"] == State.STOPPED and row["broadcast_id"] in stay for row in fresh)
        at_the_modem += sum(row["state"] == State.ACCEPTED and row["gateway"] == "modem" for row in fresh)
    _say_what_is_left(m, unknown, left, at_the_modem)


def _say_what_is_left(m: Merging, unknown: Sequence[int], left: int, at_the_modem: int) -> None:
    if unknown:
        m.notices.append(
            f"{len(unknown)} messages may have been sent by the laptop, from {unknown[0]}: `responder deliveries"
            " --state unknown`, then `responder delivery resolve ID sent` or `resend`"
        )
    if left:
        m.notices.append(
            f"{left} messages waited on the laptop for people whom the same broadcast did not reach here: they are not"
            " sent, `responder deliveries --state stopped`"
        )
    if at_the_modem:
        m.notices.append(
            f"{at_the_modem} messages had been given to the laptop's modem, which had not said that they went: if the"
            " laptop can still send, let it finish, pack it again and merge that too"
        )


def _same(row: Row) -> tuple[Any, ...]:
    """What no two deliveries have in common."""
    return tuple(row[name] for name in ("number_hash", "broadcast_id", "place", "service", "serial"))


def _twins(m: Merging, rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Those here by which the server tells somebody what one of `rows` told, of broadcasts that both sides know."""
    both = [row for row in rows if row["broadcast_id"] <= m.theirs.base["first"]["broadcasts"]]
    columns = table("deliveries").c
    about = columns.broadcast_id.in_({row["broadcast_id"] for row in both})
    hashes = sorted({row["number_hash"] for row in both})
    return {_same(row): row for row in found(m.here, "deliveries", "number_hash", hashes, about)}


def _sent_there(m: Merging, here: Row, there: Row, kind: str) -> str:
    """What waits here and has gone out there, or may have, is not sent again. The state it has here then."""
    state = _state_here(there, kind)
    if here["state"] != State.QUEUED or state not in REACHED:
        return str(here["state"])
    _become(m, here, {**there, "state": state})
    m.taken["messages that waited here, and the laptop has sent"] += 1
    return state


_KINDS = "SELECT id, kind FROM broadcasts"


def _as_history(m: Merging, row: Row, kind: str, subscriptions: Mapping[int, int], stay: Collection[int]) -> Row:
    state, settled_at = _state_here(row, kind), row["settled_at"]
    if state == State.QUEUED and row["broadcast_id"] in stay:  # else it would go out with what is sent here
        state = State.STOPPED.value
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


def _move_on(m: Merging, here: Row, there: Row) -> None:
    """The laptop knows by now what has become of it, and nobody has decided here."""
    if here["broadcast_id"] != there["broadcast_id"] or here["created_at"] != there["created_at"]:
        raise KitError(f"the id {here['id']} is that of another delivery here: another laptop gave it out")
    if there["state"] in (*_IN_HAND, here["state"]) or not (_waits_for_it(here) or _goes_on(here, there)):
        return
    _become(m, here, there)
    m.taken["deliveries of which more is known"] += 1


def _waits_for_it(here: Row) -> bool:
    return here["state"] in (State.UNKNOWN, State.QUEUED)


def _goes_on(here: Row, there: Row) -> bool:
    """Whether the same attempt was on its way when it came."""
    attempt = ("attempt", "gateway", "provider_id")
    is_same = all(here[name] == there[name] for name in attempt)
    return is_same and RANK.get(State(there["state"]), 0) > RANK.get(State(here["state"]), 9)


def _become(m: Merging, here: Row, there: Row) -> None:
    moved = ("state", "attempt", "claimed_at", "body", "segments", "provider_id", "gateway", "error", "settled_at",
             "told", "told_before", "said", "said_before", "number_sealed")  # fmt: skip
    columns = table("deliveries")
    m.here.execute(
        columns.update()
        .where(columns.c.id == here["id"], columns.c.state == here["state"])
        .values({name: there[name] for name in moved})
    )


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

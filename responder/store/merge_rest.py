"""Words, hosts, accounts and reports, in a merge."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from responder.store.kits import codes, standings
from responder.store.merging import Merging, Row, suppressed, table
from responder.store.queries import places_changed

_MADE, _ROLE, _DISABLED = "made there", "another role or other districts there", "disabled there"


def merge_aliases(m: Merging) -> None:
    """New words, and those taken away there. A word that stands for another place here is for somebody to decide."""
    columns = table("aliases")
    here = _all(m, "aliases")
    by_key = {(row["alias"], row["place"], row["added_at"]): row for row in here}
    in_use = {row["alias"]: row["place"] for row in here if row["removed_at"] is None}
    for there in _there(m, "aliases"):
        known = by_key.get((there["alias"], there["place"], there["added_at"]))
        if known and known["removed_at"] is None and there["removed_at"] is not None:
            gone = {name: there[name] for name in ("removed_by", "removed_at")}
            m.here.execute(columns.update().where(columns.c.id == known["id"]).values(**gone))
            m.taken["aliases"] += 1
        elif not known and there["id"] > m.mark("aliases"):
            place = str(in_use.get(there["alias"], there["place"]))
            if there["removed_at"] is None and place != there["place"]:
                m.conflict("aliases", f"the word {there['alias']!r}", place, there["place"])
            elif there["removed_at"] is not None or there["alias"] not in in_use:
                m.here.execute(columns.insert().values(**_without_id(there)))
                m.taken["aliases"] += 1
    if m.taken["aliases"]:
        places_changed(m.here)


def merge_handled(m: Merging) -> None:
    """Words that somebody has dealt with there."""
    here = {row["words_hash"] for row in _all(m, "handled")}
    new = [row for row in _there(m, "handled") if row["words_hash"] not in here and row["at"] > m.since]
    if new:
        m.here.execute(table("handled").insert(), new)
        m.taken["handled"] += len(new)


def merge_hosts(m: Merging) -> None:
    """New hosts, those taken away, and what hosts were asked and said: it is over, nobody waits for them here."""
    columns, stopped = table("hosts"), suppressed(m.here)
    here = {_host(row): row for row in _all(m, "hosts")}
    ids: dict[int, int] = {}
    for there in _there(m, "hosts"):
        known = here.get(_host(there))
        if known:
            ids[there["id"]] = known["id"]
            if known["removed_at"] is None and there["removed_at"] is not None:
                gone = {"removed_at": there["removed_at"]}
                m.here.execute(columns.update().where(columns.c.id == known["id"]).values(**gone))
                m.taken["hosts"] += 1
        elif there["id"] > m.mark("hosts") and there["number_hash"] not in stopped:
            made = m.here.execute(columns.insert().values(**_without_id(there)).returning(columns.c.id))
            ids[there["id"]] = int(made.scalar_one())
            m.taken["hosts"] += 1
    _merge_questions(m, ids)


def _host(row: Row) -> tuple[Any, ...]:
    return row["point"], bytes(row["number_hash"]), row["created_at"]


def _merge_questions(m: Merging, hosts: Mapping[int, int]) -> None:
    columns = table("questions")
    here = {(row["host"], row["asked_at"], row["code"]): row for row in _all(m, "questions")}
    for there in _there(m, "questions"):
        host = hosts.get(there["host"])
        known = here.get((host, there["asked_at"], there["code"]))
        if known and there["answer"] and not known["answer"]:
            said = {name: there[name] for name in ("answer", "answered_at", "tries")}
            m.here.execute(columns.update().where(columns.c.id == known["id"]).values(**said))
            m.taken["questions"] += 1
        elif host and not known and there["id"] > m.mark("questions"):
            over = {"host": host, "until": min(there["until"], m.stamp)}
            m.here.execute(columns.insert().values(**{**_without_id(there), **over}))
            m.taken["questions"] += 1


def merge_operators(m: Merging) -> None:
    """A code that was used there opens nothing here. What was changed of accounts there, an admin does here."""
    here, there = standings(m.here), standings(m.there)
    before = m.seen.get("operators", m.theirs.base["operators"])
    for name, now_there in sorted(there.items()):
        if now_there in (before.get(name), here.get(name)):
            continue
        was, is_here = before.get(name), here.get(name)
        what = _MADE if not was else _DISABLED if now_there[2] != was[2] else _ROLE
        m.conflict("operators", f"{name}, {what}", _account(is_here), _account(now_there))
    _use_codes(m)
    m.next_seen["operators"] = there


def _account(standing: list[str] | None) -> str:
    if standing is None:
        return "no account"
    role, districts, disabled = standing
    where = ", ".join(json.loads(districts)) or "all districts"
    return f"{role}, {where}{', disabled' if disabled else ''}"


def _use_codes(m: Merging) -> None:
    columns, left = table("operators"), codes(m.there)
    steps = {row[0]: row[1] for row in m.there.execute(text("SELECT name, totp_step FROM operators"))}
    issued = m.theirs.base["codes"]
    for row in _all(m, "operators"):
        used = set(issued.get(row["name"], ())) - set(left.get(row["name"], ()))
        values: Row = {"totp_step": max(row["totp_step"], steps.get(row["name"], 0))}
        for name in ("recovery", "paper_codes"):
            values[name] = json.dumps([one for one in json.loads(row[name]) if one not in used])
        if values["totp_step"] != row["totp_step"] or any(
            json.loads(values[name]) != json.loads(row[name]) for name in ("recovery", "paper_codes")
        ):
            m.here.execute(columns.update().where(columns.c.name == row["name"]).values(**values))
            m.taken["operators whose codes were used"] += 1


def merge_reports(m: Merging) -> None:
    """Reports that are not here; one that is signed there and different here is for somebody to decide."""
    columns = table("reports")
    here = {(row["district"], row["period"]): row for row in _all(m, "reports")}
    for there in _there(m, "reports"):
        known = here.get((there["district"], there["period"]))
        if known is None:
            m.here.execute(columns.insert().values(**there))
            m.taken["reports"] += 1
        elif known != there and (there["signed_at"] or 0.0) > m.since:
            what = f"report of {there['district']} for {there['period']}"
            m.conflict("reports", what, known["signed_by"] or "not signed", f"signed by {there['signed_by']}")


def _all(m: Merging, name: str) -> list[Row]:
    return [dict(row) for row in m.here.execute(table(name).select()).mappings()]


def _there(m: Merging, name: str) -> list[Row]:
    return [row for some in m.rows(name) for row in some]


def _without_id(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "id"}

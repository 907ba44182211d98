"""A database with something in every table, as months of service leave it: the same rows for the same seed."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import column, delete, insert, inspect, select, text
from sqlalchemy import table as lean
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from responder.store import tables  # noqa: F401 - fills the metadata
from responder.store.queries import point_to_json
from responder.store.sequences import NUMBERED, set_sequences
from tests.conftest import a_point

NOW = datetime(2026, 11, 24, 13, 20, tzinfo=UTC)
# What an engine, a dump or a copy could get wrong: quotes, tabs, line ends of all sorts, a backslash, an empty text.
HARD = ("", "Här är öppet", "'quoted' \"twice\"", "tab\tand\nline\r\nends", "C:\\.", "\\N", "\u2028\u0085\x0b",
        "🔥 Åäö €", "{\"sv\": \"x\"}", "%s :name ? $1")  # fmt: skip
SHARES = {
    "deliveries": 0.36, "turns": 0.30, "subscriptions": 0.20, "audit": 0.07, "usage": 0.03, "places": 0.01,
    "suppressions": 0.01, "due": 0.005, "notes": 0.005,
}  # fmt: skip
FEW = 24  # rows of every other table
STAGES = ("draft", "submitted", "approved", "sending", "paused", "done", "returned", "rejected", "stopped")
STATES = ("queued", "sending", "accepted", "sent", "delivered", "failed", "unknown", "suppressed", "superseded",
          "stopped")  # fmt: skip

Row = dict[str, Any]


class World:
    """Makes rows. `rows`: how many about, over all tables."""

    def __init__(self, rows: int, seed: int = 1) -> None:
        self._draw = random.Random(seed)
        self.counts = {name: max(FEW, int(rows * share)) for name, share in SHARES.items()}

    def count(self, table: str) -> int:
        """How many rows a table gets."""
        return self.counts.get(table, 9 if table == "broadcasts" else FEW)

    def fill(self, connection: Connection) -> None:
        """Put rows into every table that the database has, in those columns that it has."""
        looking = inspect(connection)
        there = set(looking.get_table_names())
        for table in SQLModel.metadata.sorted_tables:
            if table.name not in there:
                continue
            columns = {one["name"] for one in looking.get_columns(table.name)}
            there_now = lean(table.name, *(column(c.name, c.type) for c in table.columns if c.name in columns))
            connection.execute(delete(table))
            rows = [{k: v for k, v in row.items() if k in columns} for row in self.rows(table.name)]
            for start in range(0, len(rows), 5000):
                connection.execute(insert(there_now), rows[start : start + 5000])

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table, as the newest revision has them."""
        make: Callable[[int], Row] = getattr(self, f"_{table}")
        return (make(n) for n in range(1, self.count(table) + 1))

    def _bytes(self, length: int = 32) -> bytes:
        return self._draw.randbytes(length)

    def _text(self) -> str:
        return self._draw.choice(HARD)

    def _at(self) -> datetime:
        return NOW - timedelta(seconds=self._draw.randrange(1, 600_000), microseconds=self._draw.randrange(1_000_000))

    def _stamp(self) -> float:
        return self._at().timestamp()

    def _meta(self, n: int) -> Row:
        return {"key": "points" if n == 1 else "places" if n == 2 else f"other-{n}", "value": 40 + n}

    def _points(self, n: int) -> Row:
        return {"id": f"p{n}", "version": n, "data": _point(n), "changed_at": self._at()}

    def _places(self, n: int) -> Row:
        return {
            "code": f"c{n}", "name": f"Plats {n}", "kind": "postcode", "lat": self._draw.uniform(55, 69),
            "lon": self._draw.uniform(11, 24), "accuracy": 100, "district": "Farsta", "municipality": "Stockholm",
            "aliases": self._text(), "near": "", "method": "address",
        }  # fmt: skip

    def _audit(self, n: int) -> Row:
        return {
            "id": n, "at": self._at(), "who": "anna", "action": "set", "subject": f"p{n % FEW}", "decision": self._text(),
            "decided_by": "KL", "before": self._text(), "after": self._text(),
            "run": self._stamp() if n % 3 else None, "told_at": self._at() if n % 2 else None,
        }  # fmt: skip

    def _turns(self, n: int) -> Row:
        return {
            "id": f"SM{n:032x}", "channel": "voice" if n % 7 == 0 else "sms", "key": self._bytes(), "number": 1 + n % 3,
            "state_sealed": self._bytes(60), "reply_sealed": self._bytes(120), "body_sealed": self._bytes(40),
            "outcome": self._draw.choice(("answer", "unknown", "no_such_code", "subscribed")), "at": self._stamp(),
            "gateway": self._gateway(n),
            "sender_hash": self._bytes(), "sender_sealed": self._bytes(40) if n % 5 else b"", "way": "text",
            "language": "sv", "place": f"c{n % 50}", "service": "", "said": ";p1 open 0" if n % 4 == 0 else "",
            "said_at": self._stamp() if n % 4 == 0 else 0.0,
        }  # fmt: skip

    def _subscriptions(self, n: int) -> Row:
        return {
            "id": n, "number_hash": self._bytes(), "number_sealed": self._bytes(40), "channel": "text",
            "language": "sv", "place": f"c{n % 50}", "service": "water" if n % 9 == 0 else "",
            "state": "pending" if n % 20 == 0 else "active", "exercise": n % 8 == 0, "told": f"open p{n % FEW} open 0",
            "said": "", "said_at": 0.0, "created_at": self._stamp(),
        }  # fmt: skip

    def _suppressions(self, n: int) -> Row:
        return {"number_hash": self._bytes(), "at": self._stamp(), "reason": "stop"}

    def _broadcasts(self, n: int) -> Row:
        """Number 1 is the system's; then one in each state, an approved one with a time."""
        state = "sending" if n == 1 else STAGES[n - 1]
        return {
            "id": n, "kind": "system" if n == 1 else "message" if n % 2 else "status", "template": "free",
            "exercise": False, "state": state, "version": n, "priority": n % 5,
            "audience": '{"districts": ["Farsta"]}', "texts": json.dumps({"sv": self._text()}, ensure_ascii=False), "fallback": "sv",
            "operator": "anna", "editors": '["anna", "bo"]', "approved_by": "bo", "approved_version": n, "reason": "",
            "corrects": None, "run": self._stamp() if n % 2 == 0 else None, "recipients": n * 10,
            "created_at": self._stamp(), "submitted_at": self._stamp(),
            "send_at": NOW.timestamp() + 600 if state == "approved" else None,
            "started_at": None, "finished_at": None,
        }  # fmt: skip

    def _deliveries(self, n: int) -> Row:
        state = STATES[n % len(STATES)]
        return {
            "id": n, "broadcast_id": 1 + self._draw.randrange(9), "kind": "status" if n % 2 else "message",
            "number_hash": self._bytes(), "number_sealed": self._bytes(40), "channel": "text", "language": "sv",
            "place": f"c{n % 50}", "service": "", "serial": str(n), "subscription_id": n if n % 2 else None,
            "turn_id": None, "state": state, "target": "", "told": "open p1 open 0", "told_before": "", "said": "",
            "said_before": "", "attempt": n % 3, "not_before": 0.0,
            "lease_until": self._stamp() if state == "sending" else 0.0, "owner": "host-1", "claimed_at": self._stamp(),
            "looked": 0, "missed": 0, "body": self._text(), "segments": 1, "provider_id": f"SM{n}" if n % 3 else "", "error": 0,
            "gateway": self._gateway(n) if n % 3 else "", "via": "modem" if n % 11 == 0 else "",
            "created_at": self._stamp(), "settled_at": self._stamp() if n % 4 else None,
        }  # fmt: skip

    def _operators(self, n: int) -> Row:
        return {
            "name": f"operator{n}", "role": "admin", "districts": '["Farsta"]', "token_hash": self._bytes().hex(),
            "phone_sealed": self._bytes(40), "created_by": "shell:root", "created_at": self._stamp(),
            "disabled_at": self._stamp() if n % 6 == 0 else None, "password_hash": f"$argon2id${n}",
            "totp_sealed": self._bytes(40), "totp_step": 59_000_000 + n, "recovery": "[]",
            "invite_hash": "an-invitation" if n % 8 == 0 else "", "invite_until": self._stamp(), "language": "sv",
            "phone_hash": self._bytes(16) if n % 2 else b"", "paper_codes": '["a-hash"]',
        }  # fmt: skip

    def _sessions(self, n: int) -> Row:
        times = {name: self._stamp() for name in ("created_at", "seen_at", "fresh_at")}
        return {
            "id_hash": self._bytes().hex(), "operator": f"operator{n}", **times, "address": "192.0.2.1",
            "agent": self._text(), "ended_at": self._stamp() if n % 2 else None,
        }  # fmt: skip

    def _failures(self, n: int) -> Row:
        return {"scope": f"a:operator{n}", "count": n, "last_at": self._stamp()}

    def _aliases(self, n: int) -> Row:
        return {
            "id": n, "alias": f"alias {n}", "place": "c1", "added_by": "anna", "added_at": self._stamp(),
            "removed_by": "bo" if n % 5 == 0 else "", "removed_at": self._stamp() if n % 5 == 0 else None,
        }  # fmt: skip

    def _handled(self, n: int) -> Row:
        return {"words_hash": self._bytes(), "who": "anna", "at": self._stamp()}

    def _notes(self, n: int) -> Row:
        return {"id": n, "at": self._stamp(), "who": "anna", "kind": "note", "text": self._text()}

    def _exercises(self, n: int) -> Row:
        last = n == FEW
        return {
            "id": n, "name": f"Övning {n}", "begun_by": "anna", "begun_at": self._stamp(),
            "ended_by": "" if last else "bo", "ended_at": None if last else self._stamp(),
            "current": 1 if last else None,
        }  # fmt: skip

    def _played_points(self, n: int) -> Row:
        return {"id": f"p{n}", "version": 100_000 + n, "data": _point(n)}

    def _reports(self, n: int) -> Row:
        return {
            "district": f"District {n}", "period": "2026-2", "deadline": "2026-12-31", "signed_by": "",
            "signed_at": None, "note": self._text(),
        }  # fmt: skip

    def _gateway(self, n: int) -> str:
        return ("twilio", "46elks", "modem")[n % 3]

    def _gateways(self, n: int) -> Row:
        return {"name": f"gateway-{n}", "mode": ("auto", "off", "only")[n % 3], "who": "anna", "at": self._stamp()}

    def _gateway_health(self, n: int) -> Row:
        return {
            "name": self._gateway(n), "owner": f"host-{n}", "state": "down" if n % 4 == 0 else "up", "failed": 1 / n,
            "latency": 0.1 * n, "last_success": self._stamp(), "at": self._stamp(),
        }  # fmt: skip

    def _point_numbers(self, n: int) -> Row:
        return {"number": n, "point": f"p{n}"}

    def _wishes(self, n: int) -> Row:
        return {
            "key": self._bytes(16), "operator": "anna", "command": json.dumps({"said": self._text()}),
            "created_at": self._stamp(), "until": self._stamp(),
        }  # fmt: skip

    def _hosts(self, n: int) -> Row:
        return {
            "id": n, "point": f"p{n}", "name": self._text(), "number_hash": self._bytes(16),
            "number_sealed": self._bytes(40), "created_by": "anna", "created_at": self._stamp(),
            "removed_at": self._stamp() if n % 5 == 0 else None,
        }  # fmt: skip

    def _questions(self, n: int) -> Row:
        return {
            "id": n, "host": n, "code": f"{n:02d}", "version": n, "asked_at": self._stamp(), "until": self._stamp(), "tries": n % 3,
            "answer": ("", "yes", "full", "no")[n % 4], "answered_at": self._stamp() if n % 4 else None,
        }  # fmt: skip

    def _kits(self, n: int) -> Row:
        return {
            "id": f"kit-{n}", "made_by": "anna", "made_at": self._stamp(), "base": json.dumps({"points": {"p1": n}}),
            "here": n == 1, "merged_at": self._stamp() if n % 2 else None,
        }  # fmt: skip

    def _due(self, n: int) -> Row:
        if n == 1:
            return {"job": "send:3", "at": NOW.timestamp() + 600, "done_at": None}
        at = NOW.timestamp() - 900.0 * n
        return {"job": "slot", "at": at, "done_at": at + 0.123456789}

    def _leases(self, n: int) -> Row:
        names = {1: ("keys", "a-fingerprint"), 2: ("jobs", "host-1")}
        name, owner = names.get(n, (f"other-{n}", "host-2"))
        return {"name": name, "owner": owner, "until": self._stamp()}

    def _usage(self, n: int) -> Row:
        return {"scope": f"n:{self._bytes(8).hex()}", "span": 20_000 + n % 7, "count": n, "cost": n * 0.1}


def _point(n: int) -> str:
    return point_to_json(a_point(f"p{n}", note=HARD[n % len(HARD)]))


def fill(connection: Connection, rows: int, seed: int = 1) -> None:
    """About `rows` rows over all tables; the sequences are past them, and past ids of rows that are gone."""
    World(rows, seed).fill(connection)
    there = inspect(connection).get_table_names()
    last = {
        name: int(connection.execute(text(f"SELECT max(id) FROM {name}")).scalar_one())
        for name in NUMBERED
        if name in there
    }
    if "deliveries" in last:
        last["deliveries"] += 1000
    set_sequences(connection, last)


def contents(connection: Connection) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table that the database has, as Python has them."""
    looking = inspect(connection)
    there = {name: {c["name"] for c in looking.get_columns(name)} for name in looking.get_table_names()}
    found: dict[str, set[tuple[Any, ...]]] = {}
    for table in SQLModel.metadata.sorted_tables:
        if table.name in there:
            columns = [one for one in table.columns if one.name in there[table.name]]
            rows = [tuple(row) for row in connection.execute(select(*columns))]
            found[table.name] = set(rows)
            assert len(found[table.name]) == len(rows), f"{table.name}: rows that are alike"
    return found

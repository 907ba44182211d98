"""The database of a kit: an SQLite file with what a laptop needs of the whole, as it was at one moment.

What is queued, being sent or unclear on the server stays the server's: it is not in the copy, so that the two never
send it both. Subscriptions keep what they were told: what differs from that, the laptop's own push finds. Nothing is
pushed or sent there until somebody has said that the points are right (`responder release`).
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from responder.core.broadcast import State
from responder.store import backup, migrations
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.kits import SUBJECT, Kit, add_kit, codes, stages, stopped
from responder.store.move import batches
from responder.store.restored import HELD
from responder.store.schedule import FOREVER, LEASE
from responder.store.sequences import read_sequences, set_sequences

DAY = 86_400.0
ALL, NONE = "1 = 1", "1 = 0"
# Which rows of each table go along. `:now`: seconds since 1970.
GOES: Mapping[str, str] = {
    "meta": ALL,
    "points": ALL,
    "places": ALL,
    "audit": ALL,
    "turns": "at > :now - 86400",  # where conversations stand, and who must hear of a closed door
    "subscriptions": ALL,
    "suppressions": ALL,
    "broadcasts": ALL,
    "deliveries": "created_at > :now - 86400 AND state NOT IN ('queued', 'sending', 'unknown')",
    "operators": ALL,  # what they sign in with stays good; see _without_ways_in
    "sessions": NONE,  # everybody signs in on the laptop
    "failures": NONE,
    "aliases": ALL,
    "handled": ALL,
    "notes": ALL,
    "exercises": ALL,  # one that goes on is over on the laptop
    "played_points": NONE,
    "reports": ALL,
    "gateways": NONE,  # the laptop has its own
    "gateway_health": NONE,
    "point_numbers": ALL,
    "wishes": NONE,
    "hosts": ALL,
    "questions": ALL,
    "kits": NONE,
    "due": "job = 'push' AND done_at IS NULL AND at > :now",  # doors that open or close at a time
    "leases": "name = 'keys'",
    "usage": NONE,  # the SIM has its own costs
}


@contextmanager
def still(database: Database) -> Iterator[Connection]:
    """Read the database as it is at one moment at which no subscription is half made: each id that was given out is in
    what is read, or never will be.
    """
    if database.sqlite:
        with database.read() as connection:
            yield connection
        return
    with database.read() as connection:
        with database.engine.begin() as lock:
            lock.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            lock.exec_driver_sql("LOCK TABLE subscriptions IN SHARE MODE")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql("SELECT value FROM meta LIMIT 1")  # from here on it sees this moment
        yield connection


def write_copy(old: Connection, kit: Kit, to: Path, now: Any) -> tuple[Kit, dict[str, int]]:
    """(the kit with what each side is to remember of it, rows by table) after the copy `to` was made, which is whole
    and synced then. `now`: a datetime. Raises BackupError.
    """
    database = Database(f"sqlite:///{to.absolute()}")
    try:
        with database.write() as new:
            new.exec_driver_sql("PRAGMA secure_delete = ON")
            migrations.upgrade_within(new)
            rows = _filled(old, new, now.timestamp())
            kit = _made_fit(new, kit, now)
    finally:
        database.close()
    as_one_file(to)
    return kit, rows


def as_one_file(path: Path) -> None:
    """What stands beside the file is in it from then on, and it is whole and synced. Raises BackupError."""
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
    backup.check_sqlite(path)
    backup.sync(path)


def _filled(old: Connection, new: Connection, stamp: float) -> dict[str, int]:
    rows = {}
    for table in SQLModel.metadata.sorted_tables:
        new.execute(delete(table))  # what the migrations have put there
        rows[table.name] = 0
        wanted = text(GOES[table.name])
        if ":now" in GOES[table.name]:
            wanted = wanted.bindparams(now=stamp)
        for some in batches(old, table, wanted):  # type: ignore[arg-type]
            new.execute(insert(table), some)
            rows[table.name] += len(some)
    return rows


def _made_fit(new: Connection, kit: Kit, now: Any) -> Kit:
    """The copy becomes the laptop's: nothing in it is under way, and it knows what it comes from."""
    stamp = now.timestamp()
    paused = [row.id for row in new.execute(text(_SENDING))]
    untimed = [row.id for row in new.execute(text(_WITH_A_TIME))]
    for sql in (_PAUSE, _NO_TIME, _NO_PUSH, _EXERCISE_OVER, _NO_INVITATIONS, _WITHOUT_WAYS_IN):
        new.execute(text(sql), {"now": stamp, "nothing": b""})
    after = stages(new)
    was = kit.base["broadcasts"]
    kit.base["broadcasts"] = {id: [here, after[id]] for id, (here, _) in was.items()}
    add_line(new, now, kit.made_by, "kit", f"{SUBJECT}{kit.id}", "", json.dumps({"paused": paused, "no time": untimed}))
    kit.base["marks"] = read_sequences(new)
    theirs = {**kit.base, "stopped": stopped(new), "codes": codes(new)}
    add_kit(new, Kit(kit.id, kit.made_by, kit.made_at, theirs, True, None))
    set_sequences(new, kit.base["first"])
    hold = text("INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :until)")
    new.execute(hold, {"name": LEASE, "owner": HELD, "until": FOREVER})
    return kit


_SENDING = f"SELECT id FROM broadcasts WHERE kind = 'message' AND state = '{State.SENDING}' ORDER BY id"
_WITH_A_TIME = (
    f"SELECT id FROM broadcasts WHERE kind = 'message' AND state = '{State.APPROVED}' AND send_at IS NOT NULL"
)
_PAUSE = f"UPDATE broadcasts SET state = '{State.PAUSED}' WHERE kind = 'message' AND state = '{State.SENDING}'"
_NO_TIME = f"UPDATE broadcasts SET send_at = NULL WHERE state = '{State.APPROVED}'"
# What a push has left on the server is the server's: the laptop's push makes its own.
_NO_PUSH = (
    f"UPDATE broadcasts SET state = '{State.STOPPED}', finished_at = :now WHERE kind = 'status'"
    f" AND state IN ('{State.SENDING}', '{State.PAUSED}', '{State.SUBMITTED}', '{State.APPROVED}')"
)
_EXERCISE_OVER = "UPDATE exercises SET current = NULL, ended_by = 'kit', ended_at = :now WHERE current = 1"
_NO_INVITATIONS = "UPDATE operators SET invite_hash = '', invite_until = 0"
_WITHOUT_WAYS_IN = (
    "UPDATE operators SET token_hash = '', password_hash = '', totp_sealed = :nothing, recovery = '[]',"
    " paper_codes = '[]', phone_sealed = :nothing, phone_hash = :nothing WHERE disabled_at IS NOT NULL"
)

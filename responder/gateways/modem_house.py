"""Keeping house in SMSD's database: what a dead daemon or a wrong clock left is put right, what is over is forgotten.

Each function is a part of the caller's transaction.
"""
# ruff: noqa: S608 - statements are put together from constants of ours; values are always bound

import sqlite3

from responder.gateways import smsd
from responder.gateways.smsd import AT_ONCE, OURS, SENT

JUMP = 5.0  # seconds by which a row may be ahead, or the clock depart from its course, before it counts as set
_AHEAD = f"+{JUMP:.0f} seconds"
_LONGEST, _AGAIN = "+15 minutes", "+60 seconds"  # the daemon keeps a text to itself for 10 minutes at most; for one
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS trygghetssvar_changed ON sentitems (UpdatedInDB)",
    "CREATE INDEX IF NOT EXISTS trygghetssvar_unread ON inbox (ID) WHERE Processed = 'false'",
)
_OF_PHONE = "(:phone = '' OR coalesce(SenderID, '') IN ('', :phone))"


def prepare(connection: sqlite3.Connection) -> None:
    """Have indexes for what is looked at twice a second; the daemon does not mind them."""
    for index in _INDEXES:
        connection.execute(index)


def torn(connection: sqlite3.Connection, phone: str) -> list[tuple[int, bool]]:
    """Texts that a daemon had sent, or parts of them, when it died, and had not cleared away: (id, whether all of it is
    sent). It is dead if another was started since (by a clock that was not ahead), or if it has been silent for long
    and the time is over for which it keeps a text to itself: the next one would take it as soon as it starts.
    """
    now = smsd.phone(connection, phone)
    if now is None:
        return []
    sql = (
        "SELECT o.ID, count(*) = (SELECT count(*) FROM outbox_multipart m WHERE m.ID = o.ID) + 1 FROM outbox o"
        f" JOIN sentitems s ON s.ID = o.ID WHERE o.SendingTimeOut <> '{AT_ONCE}' AND s.Status IN {SENT}"
        " AND :phone IN ('', s.SenderID) GROUP BY o.ID HAVING (max(s.SendingDateTime) < :started"
        f" AND :started <= datetime('now', 'localtime', '{_AHEAD}'))"
        " OR (:silent AND max(o.SendingTimeOut) < datetime('now', 'localtime'))"
    )
    values = {"started": now.started, "phone": phone, "silent": now.age > smsd.ALIVE}
    return [(row[0], bool(row[1])) for row in connection.execute(sql, values)]


def mend(connection: sqlite3.Connection, phone: str) -> int:
    """Put those right: the next daemon would send one again that was sent, or stumble over the parts that it finds
    noted down. How many.
    """
    left = torn(connection, phone)
    for one, whole in left:
        if whole:
            smsd.drop(connection, one)
        else:
            connection.execute("DELETE FROM sentitems WHERE ID = ?", (one,))
    return len(left)


def purge(connection: sqlite3.Connection, phone: str, sent: bool) -> None:
    """Forget what came in and was dealt with, and with `sent` what of ours was sent, a day after; what is dated ahead
    is taken for something of now.
    """
    done = "inbox", "Processed = 'true' AND :phone IN ('', RecipientID)"
    went = "sentitems", f"CreatorID GLOB '{OURS}:*' AND {_OF_PHONE}"
    for table, which in (done, went) if sent else (done,):
        now = f"UPDATE {table} SET UpdatedInDB = datetime('now') WHERE UpdatedInDB > datetime('now', '{_AHEAD}')"
        connection.execute(f"{now} AND {which}", {"phone": phone})
        old = f"DELETE FROM {table} WHERE UpdatedInDB < datetime('now', '-1 day')"
        connection.execute(f"{old} AND {which}", {"phone": phone})


def clock_was_set(connection: sqlite3.Connection, phone: str, seconds: float) -> None:
    """By so many: what waits in the outbox is no older, and no younger, than it was."""
    sql = (
        "UPDATE outbox SET InsertIntoDB = datetime(InsertIntoDB, :seconds)"
        f" WHERE SendingTimeOut = '{AT_ONCE}' AND CreatorID GLOB '{OURS}:*' AND {_OF_PHONE}"
    )
    connection.execute(sql, {"phone": phone, "seconds": f"{seconds:+.0f} seconds"})


def ahead(connection: sqlite3.Connection, phone: str) -> bool:
    """Whether something of ours in the outbox is dated by a clock that was ahead."""
    sql = f"SELECT 1 FROM outbox WHERE CreatorID GLOB '{OURS}:*' AND {_OF_PHONE} AND ({_NEW} OR {_KEPT}) LIMIT 1"
    return connection.execute(sql, {"phone": phone}).fetchone() is not None


def put_right(connection: sqlite3.Connection, phone: str) -> None:
    """What is dated so was put there now; what a daemon keeps to itself for that long it does for a minute."""
    ours = f"CreatorID GLOB '{OURS}:*' AND {_OF_PHONE}"
    values = {"phone": phone}
    connection.execute(f"UPDATE outbox SET InsertIntoDB = datetime('now') WHERE {ours} AND {_NEW}", values)
    again = f"UPDATE outbox SET SendingTimeOut = datetime('now', 'localtime', '{_AGAIN}') WHERE {ours} AND {_KEPT}"
    connection.execute(again, values)


_NEW = f"InsertIntoDB > datetime('now', '{_AHEAD}')"
_KEPT = f"SendingTimeOut > datetime('now', 'localtime', '{_LONGEST}')"

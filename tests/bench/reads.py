"""What the console, monitoring and a push read, with a crisis behind them: asked for by tests.bench.scale --what reads.

The rows are made by the database itself. A broadcast that half of the deliveries belong to is being sent, as many
others are over; turns are a day's, a tenth of them not understood; six lines of ten of the audit log are of points,
one of them of one and the same. Each
read is done some times and the quickest is shown, in milliseconds: that of the others tells who else uses the machine.
`CPU` is this process's own part of it, which on SQLite is all there is to do.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.actions import load, publish
from responder.actions.watch import point
from responder.core.access import shell
from responder.core.broadcast import State
from responder.core.points import Status
from responder.store import broadcasts, gauges, inbox, journal, pushes, watching
from responder.store.engine import Database
from responder.store.outbox import Lane, queued, witnesses
from responder.store.queries import read_points, save_points
from tests.bench.push import ZONE
from tests.postgres import server

NOW = 1_795_600_000.0  # seconds since 1970
BROADCASTS = 50  # the newest is being sent
SENDING = BROADCASTS + 1
BY_PHONE = 20_000  # deliveries that residents asked for by phone
RATE = 100  # deliveries a second that have been taken up
SETTLE = 60  # seconds of a change


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows there are of each."""

    subscriptions: int = 1_000_000
    deliveries: int = 1_000_000
    turns: int = 1_000_000
    lines: int = 100_000
    points: int = 10_000


@contextmanager
def database_on(engine: str, folder: Path) -> Iterator[Database]:
    """An empty one in `folder`, "sqlite" or "postgresql"."""
    if engine == "sqlite":
        database = Database(f"sqlite:///{folder / 'bench.db'}")
        yield database
        database.close()
        return
    with server() as running:
        database = Database(running.url("bench"), pooled=True)
        yield database
        database.close()


def fill(database: Database, size: Size) -> None:
    """Rows in all the tables that grow in a crisis."""
    load.prepare(database)
    _points(database, size.points)
    made = _Maker(database.sqlite)
    with database.write() as connection:
        connection.execute(text("DELETE FROM due"))
        for sql, values in made.statements(size):
            connection.execute(text(sql), values)
    if not database.sqlite:  # what its autovacuum does
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _points(database: Database, number: int) -> None:
    now, draw = datetime.fromtimestamp(NOW, UTC), random.Random(1)
    load.load_demo(database, ZONE, now, real=False)
    with database.write() as connection:
        like = [one for one, _ in read_points(connection)]
        more = [
            replace(one, id=f"point-{n}", name=f"Hallen {n}", lat=one.lat + draw.uniform(-0.1, 0.1))
            for n, one in enumerate(draw.choices(like, k=max(0, number - len(like))))
        ]
        save_points(connection, more, {}, now)


class _Maker:
    """Statements that make rows, for one engine or the other."""

    def __init__(self, sqlite: bool) -> None:
        self._sqlite = sqlite

    def _bytes(self, length: int, of: str) -> str:
        """That many bytes, other ones for each value `of`."""
        if self._sqlite:
            return f"randomblob({length})"
        return f"decode(repeat(md5('{length}' || {of}), {length // 16}), 'hex')"

    def _time(self, seconds: str) -> str:
        """A column of times."""
        if self._sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f', {seconds}, 'unixepoch') || '000'"
        return f"to_timestamp({seconds})"

    def statements(self, size: Size) -> list[tuple[str, dict[str, object]]]:
        """(statement, its values), in order."""
        numbers = "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
        hashed, sealed = self._bytes(16, "i"), self._bytes(48, "i")
        half = size.deliveries // 2
        gone = half * 3 // 5
        return [
            (
                "INSERT INTO broadcasts (kind, template, exercise, state, version, priority, audience, texts, fallback,"
                " operator, editors, approved_by, approved_version, reason, recipients, created_at, started_at)"
                f" {numbers} SELECT 'message', '', (1 = 0), CASE WHEN i = {BROADCASTS} THEN 'sending' ELSE 'done' END,"
                " 1, 3, '', '{}', 'sv', 'eva', '[]', '', 1, '', 0, :now - 3600, :now - 3600 FROM n",
                {"count": BROADCASTS, "now": NOW},
            ),
            (
                "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state,"
                f" exercise, told, said, said_at, created_at) {numbers} SELECT {hashed}, {sealed}, CASE i % 5 WHEN 0"
                " THEN 'call' ELSE 'text' END, CASE i % 9 WHEN 0 THEN 'en' ELSE 'sv' END, 'place-' || (i * 7919 %"
                " 3000), '', 'active', (1 = 0), 'open point-' || (i * 7919 % 3000 % 100) || ' open -', '', 0, :now FROM n",
                {"count": size.subscriptions, "now": NOW - 86_400},
            ),
            (  # of the one that is being sent: most are gone, in the order of their ids
                f"{self._deliveries()} SELECT {SENDING}, 'message', number_hash, number_sealed, channel, language, '',"
                f" '', '', CASE WHEN id > {gone} THEN 'queued' WHEN id > {gone} - 100 THEN 'sending' WHEN id % 1500 = 1"
                f" THEN 'unknown' WHEN id % 50 = 0 THEN 'failed' WHEN id > {gone} - 20000 THEN 'accepted' ELSE"
                f" 'delivered' END, CASE WHEN id > {gone} THEN 0 ELSE :now - 1.0 * ({gone} - id) / {RATE} END,"
                f" CASE WHEN id > {gone} THEN '' ELSE :body END, CASE WHEN id % 50 = 0 AND id <= {gone} THEN :now"
                f" - 1.0 * ({gone} - id) / {RATE} END, :now - 3600 FROM subscriptions WHERE id <= {half} ORDER BY id",
                {"now": NOW, "body": "Vatten finns vid torget. " * 6},
            ),
            (
                f"{self._deliveries()} SELECT 2 + id % {BROADCASTS - 1}, 'message', number_hash, number_sealed, channel,"
                " language, '', '', '', CASE id % 50 WHEN 0 THEN 'failed' ELSE 'delivered' END, :now + id * 0.01, :body,"
                f" :now + id * 0.01, :now FROM subscriptions WHERE id > {half} AND id <= :count ORDER BY id % 49, id",
                {"now": NOW - 20 * 86_400, "body": "Punkten har stängt. " * 6, "count": size.deliveries},
            ),
            (
                f"{self._deliveries()} SELECT 1, CASE i % 40 WHEN 0 THEN 'by_hand' ELSE 'confirmation' END, {hashed},"
                f" {sealed}, 'text', 'sv', '', '', '' || i, 'delivered', :now + i, 'Svar.', :now + i, :now + i FROM"
                f" ({numbers} SELECT i FROM n) numbers",
                {"now": NOW - 86_400, "count": BY_PHONE},
            ),
            (
                "INSERT INTO turns (id, channel, key, number, state_sealed, reply_sealed, outcome, at, sender_hash,"
                " sender_sealed, body_sealed, way, language, place, service, said, said_at)"
                f" {numbers} SELECT 'SM-' || i, 'text', {hashed}, 1, {self._bytes(160, 'i')}, {self._bytes(240, 'i')},"
                f" CASE i % 10 WHEN 0 THEN 'unknown' ELSE 'answered' END, :now + i * :step, {hashed}, {sealed}, {sealed},"
                " 'text', 'sv', '', '', CASE i % 3 WHEN 0 THEN ';point-' || (i % 90) || ' open -' ELSE '' END,"
                " :now + i * :step FROM n",
                {"now": NOW - 86_400, "step": 86_400 / size.turns, "count": size.turns},
            ),
            (
                "INSERT INTO audit (at, who, action, subject, decision, decided_by, before, after, run)"
                f" {numbers} SELECT {self._time(':start + i * :step')}, 'operator-' || (i % 20), CASE i % 10 WHEN 8 THEN"
                " 'send' WHEN 9 THEN 'resolve sent' ELSE 'set ' || CASE i % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'full'"
                " ELSE 'closed' END END,"
                " CASE i % 10 WHEN 6 THEN 'note:' WHEN 7 THEN 'played:' WHEN 8 THEN 'broadcast:' WHEN 9 THEN 'delivery:'"
                f" ELSE '' END || CASE WHEN i % 10 = 8 THEN '' || (2 + i % {BROADCASTS}) WHEN i % 10 = 9 THEN '' || i"
                " WHEN i % 10 = 0 THEN 'point-0' ELSE 'point-' || (i * 7919 % 100) END, '', '', :data, :data, CASE WHEN i % 10 < 6 AND i < :count - 100 THEN 1.0 * i END FROM n",
                {
                    "start": NOW - 14 * 86_400, "step": 14 * 86_400 / size.lines, "count": size.lines,
                    "data": '{"address": "Torget 1", "note": "' + "x" * 800 + '"}',
                },
            ),
        ]  # fmt: skip

    def _deliveries(self) -> str:
        return (
            "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
            " serial, state, claimed_at, body, settled_at, created_at)"
        )


def reads(size: Size) -> dict[str, Callable[[Connection], object]]:
    """What is read, by name."""
    since = datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)
    return {
        "moved_since": lambda c: broadcasts.moved_since(c, SENDING, NOW - 60),
        "progress": lambda c: broadcasts.progress(c, SENDING),
        "progress_of 50": lambda c: broadcasts.progress_of(c, range(2, SENDING + 1)),
        "made_of": lambda c: broadcasts.made_of(c, SENDING),
        "targets": lambda c: broadcasts.targets(c, SENDING),
        "read_deliveries unknown": lambda c: broadcasts.read_deliveries(c, "unknown", None, 100),
        "  of one broadcast": lambda c: broadcasts.read_deliveries(c, "unknown", SENDING, 20),
        "read_retriable": broadcasts.read_retriable,
        "read_under_way": lambda c: broadcasts.read_under_way(c, (State.SENDING, State.PAUSED)),
        "recent_recipients": lambda c: broadcasts.recent_recipients(c, "eva", NOW - 3600, 0),
        "queued bound": lambda c: queued(c, SENDING, "text", NOW, 10, Lane("modem", main=False)),
        "witnesses": lambda c: witnesses(c, "twilio", "text", NOW - 120, NOW - 60, 3),
        "pulse": lambda c: watching.pulse(c, NOW),
        "under_way": watching.under_way,
        "submitted": watching.submitted,
        "point_log": lambda c: watching.point_log(c, "point-0"),
        "point_log of another": lambda c: watching.point_log(c, "point-19"),
        "last_change": lambda c: watching.last_change(c, "point-0", False),
        "current_points": watching.current_points,
        "journal.lines": lambda c: journal.lines(c, journal.Wanted(), None, 101),
        "journal.lines of an action": lambda c: journal.lines(c, journal.Wanted(action="send"), None, 101),
        "journal.lines of two days": lambda c: journal.lines(
            c, journal.Wanted(since=since - timedelta(days=9), until=since - timedelta(days=7)), None, 101
        ),
        "journal.actions": journal.actions,
        "journal.changed_since": lambda c: journal.changed_since(c, since, 100),
        "changes_since": lambda c: pushes.changes_since(c, NOW - SETTLE, NOW),
        "is_untold": lambda c: pushes.is_untold(c, NOW),
        "last_changed_by": lambda c: pushes.last_changed_by(c, [f"point-{n}" for n in range(20)]),
        "answers_in_use": pushes.answers_in_use,
        "said_lately": lambda c: pushes.said_lately(c, NOW - 3 * 3600, NOW - 86_400),
        "missed": lambda c: inbox.missed(c, NOW - 86_400, 501),
        "answered": inbox.answered,
        "is_sent": lambda c: inbox.is_sent(c, "no such"),
        "read_gauges": lambda c: gauges.read_gauges(c, NOW),
    }


def writes() -> dict[str, Callable[[Connection], object]]:
    """What is written while everybody else waits, by name."""
    return {"taken_in": lambda c: pushes.taken_in(c, NOW, NOW - SETTLE)}


def quickest(rounds: int, do: Callable[[], object]) -> tuple[float, float]:
    """(ms, ms of this process's CPU) of the quickest of so many rounds."""
    took = []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        do()
        took.append(((time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000))
    return min(took)


def measured(database: Database, size: Size, rounds: int) -> Iterator[tuple[str, float, float]]:
    """(what, ms, ms of CPU) of each read, of each write, and of changing one point."""
    with database.engine.connect().execution_options(**database._reading) as connection:
        for name, read in reads(size).items():
            yield name, *quickest(rounds, partial(read, connection))
    for name, write in writes().items():
        yield name, *quickest(rounds, partial(_undone, database, write))
    now = datetime.fromtimestamp(NOW, UTC)
    yield "point", *quickest(rounds, lambda: point(database, "point-5", ZONE, timedelta(hours=1), now))
    yield (
        "set_point",
        *quickest(
            rounds,
            lambda: publish.set_point(database, "point-5", publish.Change(Status.FULL), shell("bench"), ZONE, now),
        ),
    )


def _undone(database: Database, write: Callable[[Connection], object]) -> None:
    with database.engine.connect() as connection, connection.begin() as transaction:
        write(connection)
        transaction.rollback()


def show(engine: str, rows: int, rounds: int) -> None:
    """Print the table."""
    size = Size(rows, rows, rows, rows // 10)
    with tempfile.TemporaryDirectory() as folder, database_on(engine, Path(folder)) as database:
        began = time.perf_counter()
        fill(database, size)
        print(f"{engine}, {rows} rows, made in {time.perf_counter() - began:.0f} s; quickest of {rounds}")
        print(f"{'':30}{'ms':>10}{'CPU':>10}")
        for name, took, used in measured(database, size, rounds):
            print(f"{name:30}{took:10.2f}{used:10.2f}", flush=True)

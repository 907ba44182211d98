"""`python -m tests.kit.rehearse [--rows 100000] [--postgresql]`: a kit of a database with rows in every table, opened,
changed on both sides, packed and merged; for each step the seconds, those of the processor, and the highest memory, in a process of its own.

The kit is sealed as in production. Exit 1 if a row that must come has not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from sqlalchemy import text

from responder.core.points import Status
from responder.store import migrations
from responder.store.engine import Database
from responder.store.kits import KitError
from responder.store.queries import point_to_json, read_points
from responder.wiring import utc_now
from tests.kit.world import PASSPHRASE
from tests.postgres import server
from tests.restore.world import NOW, fill

ROOT = Path(__file__).resolve().parents[2]
MEASURED = """
import json, resource, sys, time
from responder.cli import main
begun = time.monotonic()
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code or 0
used = resource.getrusage(resource.RUSAGE_SELF)
took = [code, time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]
print("MEASURED", json.dumps(took), file=sys.stderr)
"""


def step(name: str, folder: Path, url: str, *words: str) -> str:
    """Run `responder WORDS`, and print what it took; what it printed. Raises AssertionError."""
    known = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    env = {**known, "PYTHONPATH": str(ROOT), "KIT_PASSPHRASE": PASSPHRASE, "USER": "anna", "DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("MEASURED ")]
    assert told, done.stderr
    code, seconds, worked, peak = json.loads(told[-1].removeprefix("MEASURED "))
    assert code in (0, 3), done.stdout + done.stderr
    print(f"{name}: {seconds:.1f} s ({worked:.1f} s of the processor), {peak:.0f} MB at most (exit {code})", flush=True)
    return done.stdout


def prepared(database: Database, rows: int) -> None:
    """Fill it, as of now, with nothing that a merge refuses."""
    migrations.upgrade(database.engine)
    with database.write() as connection:
        fill(connection, rows)
        ago = (utc_now() - NOW - timedelta(hours=1)).total_seconds()
        for sql in (
            "DELETE FROM kits",
            "DELETE FROM leases WHERE name = 'keys'",
            "UPDATE exercises SET current = NULL, ended_at = 1",
        ):
            connection.execute(text(sql))
        for table, column in (("turns", "at"), ("deliveries", "created_at"), ("subscriptions", "created_at")):
            connection.execute(text(f"UPDATE {table} SET {column} = {column} + :ago"), {"ago": ago})


def lived(url: str, at: datetime, prefix: str, rows: int, points: tuple[str, ...]) -> None:
    """So many people ask and follow, and points change, on one side."""
    stamp = at.timestamp()
    with closing(Database(url)) as database, database.write() as connection:
        for n in range(rows):
            values = {
                "id": f"{prefix}{n}",
                "key": f"{prefix}{n}".encode(),
                "no": b"",
                "at": stamp + n / 1000,
                "f": False,
            }
            connection.execute(text(_TURN), values)
            connection.execute(text(_FOLLOW), values)
        connection.execute(text(_TOLD), {"at": stamp, "rest": len(prefix)})
        for point, version in read_points(connection):
            if point.id in points:
                status = Status.CLOSED if prefix == "here" else Status.FULL
                data = point_to_json(replace(point, status=status))
                values = {"data": data, "id": point.id, "version": version + 1}
                connection.execute(text("UPDATE points SET data = :data, version = :version WHERE id = :id"), values)


_TURN = (
    "INSERT INTO turns (id, channel, key, number, state_sealed, reply_sealed, outcome, at, sender_hash, sender_sealed,"
    " body_sealed, way, language, gateway, place, service, said, said_at) VALUES (:id, 'sms', :key, 1, :no, :no,"
    " 'answer', :at, :key, :no, :no, 'text', 'sv', 'modem', 'c1', '', '', 0)"
)
_FOLLOW = (
    "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state, exercise, told,"
    " said, said_at, created_at) VALUES (:key, :no, 'text', 'sv', 'c1', '', 'active', :f, '', '', :at, :at)"
)
_TOLD = "UPDATE subscriptions SET told = 'open p2 open 0', said_at = :at WHERE id % 3 = 0"


@contextmanager
def an_engine(folder: Path, postgresql: bool) -> Iterator[str]:
    """DATABASE_URL of an empty database."""
    if not postgresql:
        yield f"sqlite:///{folder / 'server.db'}"
        return
    with server(durable=True) as running:
        yield running.url("responder")


def rehearse(rows: int, postgresql: bool) -> None:
    """All of it. Raises AssertionError or KitError."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name, an_engine(Path(name), postgresql) as url:
        folder = Path(name)
        with closing(Database(url)) as database:
            prepared(database, rows)
        kit, home, more = folder / "a.kit", folder / "home.kit", rows // 20
        step("make", folder, url, "kit", "make", str(kit))
        print(f"  the kit has {kit.stat().st_size / 1e6:.1f} MB")
        step("show", folder, url, "kit", "show", str(kit))
        step("open", folder, url, "kit", "open", str(kit), str(folder / "laptop"))
        laptop = f"sqlite:///{folder / 'laptop' / 'responder.db'}"
        now = utc_now()
        lived(laptop, now + timedelta(minutes=5), "there", more, ("p1", "p3"))
        lived(url, now, "here", more, ("p2", "p3"))
        step("return", folder, laptop, "kit", "return", str(home))
        dry = step("merge, dry run", folder, url, "merge", str(home))
        done = step("merge --apply", folder, url, "merge", str(home), "--apply")
        again = step("merge --apply again", folder, url, "merge", str(home), "--apply")
        print("\n".join(f"  {line}" for line in done.splitlines()))
        assert dry.splitlines()[:-1] == done.splitlines()[:-1], "the dry run said something else"
        assert f"turns\t{more}" in done and f"subscriptions\t{more}" in done and "DECIDE points: p3" in done
        assert "nothing to do" in again


def main() -> int:
    """1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--postgresql", action="store_true")
    asked = parser.parse_args()
    begun = monotonic()
    try:
        rehearse(asked.rows, asked.postgresql)
    except (AssertionError, KitError) as error:
        print(f"DIFFERENT: {error}")
        return 1
    print(
        f"{monotonic() - begun:.0f} s in all; this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

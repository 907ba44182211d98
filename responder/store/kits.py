"""The table of kits, and what the two sides remember of how things stood: named reads and writes.

`base` is JSON. On both sides: slot; keys (fingerprint); points (id to [told, noted], digests); broadcasts (id to [here,
there]); operators; highest (table to the server's highest id); first (table to the id after which the laptop's begin);
marks (table to the highest id in the copy). On the laptop also stopped, codes, opened and returns (a word for each that
was packed, in order). Here, after a merge, also seen: how the laptop stood then.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.merging import NOTED
from responder.core.points import Point
from responder.store.queries import point_from_json, point_to_json
from responder.store.sequences import NEVER_TWICE, read_sequences

FIRST = 20_000_000  # ids from the server's highest to the first of a kit: beyond what two restores leave out
RANGE = 4_000_000  # ids that a kit may give out
SLOTS = 7  # kits that may be out at once with ids of their own: of a daily one, those of a week
HIGHEST_ID = 2**31 - 1  # of PostgreSQL's integer
KEPT = 90 * 86_400.0  # seconds for which a kit that never came back is remembered
SUBJECT = "kit:"  # before its id, in the audit log


class KitError(RuntimeError):
    """A kit, or a merge, that is refused: the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Kit:
    """A row of `kits`."""

    id: str
    made_by: str
    made_at: float
    base: dict[str, Any]
    here: bool
    merged_at: float | None


_COLUMNS = "id, made_by, made_at, base, here, merged_at"


def add_kit(connection: Connection, kit: Kit) -> None:
    """Insert it, and forget those that were made long ago and never came back."""
    sql = f"INSERT INTO kits ({_COLUMNS}) VALUES (:id, :made_by, :made_at, :base, :here, :merged_at)"
    connection.execute(text(sql), {**asdict(kit), "base": json.dumps(kit.base, ensure_ascii=False)})
    old = text("DELETE FROM kits WHERE made_at < :before AND merged_at IS NULL AND id <> :id AND here = :no")
    connection.execute(old, {"before": kit.made_at - KEPT, "id": kit.id, "no": False})


def read_kit(connection: Connection, id: str) -> Kit | None:
    """The kit `id`, or None."""
    return _kit(connection.execute(text(f"SELECT {_COLUMNS} FROM kits WHERE id = :id"), {"id": id}).first())


def this_kit(connection: Connection) -> Kit | None:
    """The kit that this database is the copy of; None on a server."""
    return _kit(connection.execute(text(f"SELECT {_COLUMNS} FROM kits WHERE here = :yes"), {"yes": True}).first())


def save_base(connection: Connection, kit: Kit, merged_at: float | None) -> None:
    """Note what is known of a kit now."""
    sql = text("UPDATE kits SET base = :base, merged_at = :merged WHERE id = :id")
    connection.execute(sql, {"base": json.dumps(kit.base, ensure_ascii=False), "merged": merged_at, "id": kit.id})


def count_return(connection: Connection) -> Kit | None:
    """On a laptop: its kit, with a new word that tells this return from the ones before it. None on a server."""
    kit = this_kit(connection)
    if kit:
        kit.base["returns"] = [*kit.base.get("returns", ()), secrets.token_hex(4)]
        save_base(connection, kit, None)
    return kit


def next_slot(connection: Connection) -> int:
    """The slot of the next kit: the one after the newest's."""
    found = connection.execute(text("SELECT base FROM kits ORDER BY made_at DESC, id DESC LIMIT 1")).scalar()
    return (int(json.loads(found)["slot"]) + 1) % SLOTS if found else 0


def digests(point: Point) -> list[str]:
    """[of what residents are told, of what operators note]: alike where the point is, whenever it was confirmed."""
    row = json.loads(point_to_json(point))
    row.pop("confirmed_at")
    noted = {name: row.pop(name) for name in NOTED}
    return [_digest(row), _digest(noted)]


def base_of(connection: Connection, slot: int, keys: str) -> dict[str, Any]:
    """How things stand on the server at the moment of `connection`. Raises KitError if there are no ids left."""
    highest = read_sequences(connection)
    first = {name: highest[name] + FIRST + slot * RANGE for name in NEVER_TWICE}
    if max(first.values()) + SLOTS * RANGE > HIGHEST_ID:
        raise KitError("ids are used up: ask who looks after the program")
    points = connection.execute(text("SELECT id, data FROM points"))
    return {
        "slot": slot, "keys": keys, "highest": highest, "first": first,
        "points": {row.id: digests(point_from_json(row.data)) for row in points},
        "broadcasts": {id: [stage, stage] for id, stage in stages(connection).items()},
        "operators": standings(connection),
    }  # fmt: skip


def stages(connection: Connection) -> dict[str, str]:
    """Id to state and version of every broadcast but the system's."""
    rows = connection.execute(text("SELECT id, state, version FROM broadcasts WHERE kind <> 'system'"))
    return {str(row.id): f"{row.state}:{row.version}" for row in rows}


def standings(connection: Connection) -> dict[str, list[str]]:
    """Account to [role, districts, "disabled" or ""]."""
    rows = connection.execute(text("SELECT name, role, districts, disabled_at FROM operators"))
    return {row.name: [row.role, row.districts, "" if row.disabled_at is None else "disabled"] for row in rows}


def stopped(connection: Connection) -> dict[str, float]:
    """Hash of each number that said STOPP (hexadecimal), to when."""
    rows = connection.execute(text("SELECT number_hash, at FROM suppressions"))
    return {bytes(row.number_hash).hex(): row.at for row in rows}


def codes(connection: Connection) -> dict[str, list[str]]:
    """Account to the hashes of its single-use codes that are left, those on paper with them."""
    rows = connection.execute(text("SELECT name, recovery, paper_codes FROM operators"))
    found = {row.name: [*json.loads(row.recovery), *json.loads(row.paper_codes)] for row in rows}
    return {name: left for name, left in found.items() if left}


def _digest(row: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=9).hexdigest()


def _kit(row: Any) -> Kit | None:
    if row is None:
        return None
    return Kit(row.id, row.made_by, row.made_at, json.loads(row.base), bool(row.here), row.merged_at)

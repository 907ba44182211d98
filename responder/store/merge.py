"""Bring what happened on a laptop back into the server's database: one transaction, once, and nothing overwritten.

`merge_rules.RULES` says table by table what comes back and what is a conflict. A merge can be done again: of the same
database nothing is left to do, of a later one what is new.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from responder.store import backup, exercises, migrations
from responder.store.backup import SQLITE
from responder.store.broadcasts import add_line
from responder.store.dump import BackupError
from responder.store.engine import Database, StoreAway
from responder.store.kit_pack import DATABASE, RETURN, private_folder, unpack
from responder.store.kits import (
    FIRST,
    RANGE,
    SLOTS,
    SUBJECT,
    Kit,
    KitError,
    add_kit,
    read_kit,
    save_base,
    this_kit,
)  # fmt: skip
from responder.store.merge_history import merge_broadcasts, merge_deliveries, merge_log, pause_what_is_left
from responder.store.merge_people import merge_stops, merge_subscriptions
from responder.store.merge_points import merge_numbers, merge_points
from responder.store.merge_rest import merge_aliases, merge_handled, merge_hosts, merge_operators, merge_reports
from responder.store.merge_turns import merge_turns
from responder.store.merging import CLOCKS_DIFFER, Conflict, Merging, newest
from responder.store.people import People, keys_in_use
from responder.store.schedule import PUSH, add_due
from responder.store.sealedfile import is_sealed
from responder.store.sequences import NEVER_TWICE, read_sequences, set_sequences


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did, or would do: what came back (of what, how many), what somebody has to decide, what else to look
    at. `is_known`: False where this database does not know of the kit, so that the laptop's own word was taken.
    """

    kit: str
    made_at: float
    is_known: bool
    again: bool
    taken: Mapping[str, int]
    conflicts: tuple[Conflict, ...]
    notices: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not self.conflicts and not any(self.taken.values())


@dataclass(frozen=True, slots=True)
class Terms:
    """How a merge goes: by whom and when, the fingerprint of the keys here, how a sealed number is shown to people, the
    time zone, and the seconds for which residents' words are kept.
    """

    who: str
    now: datetime
    keys: str
    mask: Callable[[bytes], str]
    zone: str
    retain: float


class _Undone(Exception):
    """Ends a transaction of which nothing shall be left."""


def merge(database: Database, file: Path, passphrase: Callable[[], str], terms: Terms, apply: bool) -> Merged:
    """Merge the laptop's database, or what it packed, into `database`; without `apply` nothing is changed, and it is
    said what would be. Raises KitError, SealError, BackupError, StoreAway or OSError; nothing was changed then.
    """
    if database.sqlite and backup.file_of(database).exists() and file.samefile(backup.file_of(database)):
        raise KitError(f"{file} is the database itself: name what came back from the laptop")
    with _readable(file, passphrase) as path, closing(Database(f"sqlite:///{path}")) as laptop:
        migrations.upgrade(laptop.engine)
        done: list[Merged] = []
        try:
            with laptop.read() as there, database.write() as here:
                if not database.sqlite:
                    here.exec_driver_sql("SET LOCAL statement_timeout = 0")
                done.append(_merge(here, there, People(database), terms, file))
                if not apply:
                    raise _Undone
                _let_ids_go_on(here, there)
        except _Undone:
            pass
        except StoreAway as error:
            if _TWICE.search(str(error)):
                raise KitError(
                    "somebody wrote here at the same moment what the merge was about to write, and nothing was changed:"
                    " do it again"
                ) from error
            raise
    return done[0]


_TWICE = re.compile("UNIQUE constraint|duplicate key")


def needs_passphrase(file: Path) -> bool:
    """Whether what came back is sealed. Raises OSError."""
    with file.open("rb") as opened:
        return is_sealed(opened.read(64))


@contextmanager
def _readable(file: Path, passphrase: Callable[[], str]) -> Iterator[Path]:
    """A private copy of the laptop's database, whole and of a revision that is known. Raises as `merge`."""
    with file.open("rb") as opened:
        first = opened.read(64)
    with private_folder("merge") as folder:
        path = folder / DATABASE
        if is_sealed(first):
            unpack(file, passphrase(), RETURN, folder)
        elif first.startswith(SQLITE):
            path.touch(mode=0o600)
            backup.copy_sqlite(file, path)
        else:
            raise KitError(f"{file} is neither what a laptop packed (`responder kit return`) nor its database")
        if not path.exists():
            raise KitError(f"{file} holds no database")
        try:
            revision = backup.check_sqlite(path)
        except BackupError as error:
            raise KitError(str(error).replace(DATABASE, str(file))) from error
        backup.check_revision(revision, file)
        yield path


def _merge(here: Connection, there: Connection, people: People, terms: Terms, file: Path) -> Merged:
    m = _begun(here, there, terms, file)
    merge_stops(m, people)
    ids = merge_subscriptions(m)
    merge_turns(m, terms.now.timestamp() - terms.retain)
    stay = merge_broadcasts(m)
    merge_deliveries(m, ids, stay)
    pause_what_is_left(m)
    merge_log(m)
    merge_numbers(m)  # before a new point gets one of its own
    merge_points(m, terms.zone)
    for step in (merge_aliases, merge_handled, merge_hosts, merge_operators, merge_reports):
        step(m)
    _look_at_the_clock(m)
    done = Merged(
        m.kit.id, m.kit.made_at, m.is_known, bool(m.seen), {k: n for k, n in sorted(m.taken.items()) if n},
        tuple(m.conflicts), tuple(m.notices),
    )  # fmt: skip
    if not done.nothing:
        _finish(m, done)
    return done


def _begun(here: Connection, there: Connection, terms: Terms, file: Path) -> Merging:
    """A merge that may be done. Raises KitError."""
    theirs = _laptops_kit(there, file)
    if this_kit(here):
        raise KitError("this is the laptop's own database: merge on the server")
    _refuse_other_keys(here, there, theirs, terms)
    if exercises.current(here):
        raise KitError("an exercise goes on here: end it first (`responder exercise end`)")
    known = read_kit(here, theirs.id)
    seen = known.base.get("seen", {}) if known else {}
    if seen:
        _refuse_another_laptop(theirs, seen)
        _refuse_what_is_older(there, theirs, seen, file)
    if known is None:
        known = replace(
            theirs, here=False, base={k: v for k, v in theirs.base.items() if k not in ("codes", "stopped")}
        )
        add_kit(here, known)
        is_known = False
    else:
        is_known = not known.base.get("unknown", False)
    known.base["unknown"] = not is_known
    return Merging(here, there, known, theirs, is_known, terms.now, terms.who, terms.mask, seen)


def _look_at_the_clock(m: Merging) -> None:
    """Say so if the laptop's clock was wrong: opening times of points may be wrong by as much."""
    last, first = newest(m.there), m.since_there
    if last > m.stamp + CLOCKS_DIFFER and last > m.seen.get("newest", 0.0):
        m.notices.append(f"the laptop's clock was ahead: something was done there at {_utc(last)} UTC. {_LOOK}")
    if m.is_behind and not m.seen:
        m.notices.append(f"the laptop's clock was behind: something was done there at {_utc(first)} UTC. {_LOOK}")


_LOOK = "Look at what came of points: opening times are wrong by as much, and a confirmation of the future is left out"


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _refuse_other_keys(here: Connection, there: Connection, theirs: Kit, terms: Terms) -> None:
    if theirs.base["keys"] != terms.keys:
        raise KitError(
            "the laptop's database has other keys than NUMBER_KEY and LOOKUP_KEY here: it is another service's, or the"
            " keys were changed since the kit was made (put those of then first, merge, and change them again)"
        )
    for side, where in ((here, "here"), (there, "on the laptop")):
        if keys_in_use(side) not in ("", terms.keys):
            raise KitError(
                f"numbers are still kept under other keys {where} than the first of NUMBER_KEY and LOOKUP_KEY: let"
                " `responder jobs` start there once, which changes that, and merge then"
            )


def _laptops_kit(there: Connection, file: Path) -> Kit:
    """The kit of the laptop. Raises KitError where there is none, or what it remembers cannot be read."""
    try:
        kit = this_kit(there)
        lacks = [name for name in _REMEMBERED if kit and name not in kit.base]
    except (TypeError, ValueError) as error:
        raise KitError(f"{file} is damaged: what the kit remembers cannot be read") from error
    if kit is None:
        raise KitError(f"{file} is no laptop's database: it knows of no kit that it was made from")
    if lacks or not all(set(NEVER_TWICE) <= set(kit.base[name]) for name in ("highest", "first", "marks")):
        raise KitError(f"{file} is damaged: the kit does not remember {', '.join(lacks) or 'its ids'}")
    return kit


_REMEMBERED = ("slot", "keys", "highest", "first", "marks", "points", "broadcasts", "operators", "stopped", "codes")


def _refuse_another_laptop(theirs: Kit, seen: Mapping[str, Any]) -> None:
    """Of two that one kit was opened on, or of two copies of one folder, only one comes back."""
    here, there = seen["returns"], theirs.base.get("returns", [])
    both = min(len(here), len(there))
    if seen["opened"] != theirs.base.get("opened", "") or here[:both] != there[:both]:
        raise KitError(
            f"the kit {theirs.id} was opened on two laptops, and the other one has been merged: their ids are the same."
            " Enter by hand what happened on this one (`responder audit`, `responder shift` there)"
        )


def _refuse_what_is_older(there: Connection, theirs: Kit, seen: Mapping[str, Any], file: Path) -> None:
    """It would take back what a later return has brought: a STOPP, a closed door, who follows what."""
    packed, returns = len(seen["returns"]), len(theirs.base.get("returns", []))
    last = read_sequences(there)
    is_behind = any(last[name] < seen["marks"][name] for name in NEVER_TWICE) or newest(there) < seen["newest"]
    if returns < packed or (returns == packed and is_behind):
        raise KitError(
            f"{file} is older than what has been merged of this laptop, and would take that back: merge the newest"
            " (`responder kit return` there makes one)"
        )


def _finish(m: Merging, done: Merged) -> None:
    """Remember how the laptop stood, have a push look at everybody, write down what was merged and what was not."""
    seen = m.next_seen | {"opened": m.theirs.base.get("opened", ""), "marks": read_sequences(m.there)}
    seen |= {"returns": m.theirs.base.get("returns", []), "newest": newest(m.there)}
    seen["until"] = max(m.since, seen["newest"])
    m.kit.base["seen"] = seen
    save_base(m.here, m.kit, m.stamp)
    add_due(m.here, PUSH, [m.stamp])
    said = {"taken": done.taken, "conflicts": [asdict(one) for one in done.conflicts]}
    add_line(m.here, m.now, m.who, "merge", f"{SUBJECT}{m.kit.id}", "", json.dumps(said, ensure_ascii=False))


def _let_ids_go_on(here: Connection, there: Connection) -> None:
    """The next ids here come after all that this kit, or one made beside it, may give out: another return brings more.
    On PostgreSQL this outlives the transaction, and does no harm.
    """
    theirs, highest = this_kit(there), read_sequences(here)
    assert theirs  # it was merged
    beyond = {name: theirs.base["highest"][name] + FIRST + SLOTS * RANGE for name in NEVER_TWICE}
    set_sequences(here, {name: max(last, highest[name]) for name, last in beyond.items()})

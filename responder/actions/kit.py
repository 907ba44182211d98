"""A kit: what one laptop with a modem needs to do the server's work while that is cut off, in one sealed file.

It holds residents' numbers and the keys that open them, so it is sealed with a passphrase and its owner's alone. It
holds no secret of a provider's, no session and no invitation. Operators sign in on the laptop with the password and the
second factor that they have, whoever was disabled with nothing.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy.engine import Connection
from zxcvbn import zxcvbn

from responder.core import paper
from responder.settings import ELKS_SECRETS, SECRETS, Settings
from responder.store import backup, migrations
from responder.store.backup import PARTIAL, STALE, check_revision, check_sqlite, copy_sqlite, hidden_beside, sync
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.kit_copy import as_one_file, still, write_copy
from responder.store.kit_lists import listed
from responder.store.kit_pack import DATABASE, ENV, KIT, RETURN, Part, pack, private_folder, read_manifest, unpack
from responder.store.kits import (
    SUBJECT,
    Kit,
    KitError,
    add_kit,
    base_of,
    count_return,
    next_slot,
    save_base,
    this_kit,
)  # fmt: skip
from responder.store.vault import Vault

STRENGTH = 3  # of 4, as zxcvbn judges
LONGEST = 72  # characters that are judged: it grows slow
SHORTEST = 12
PACKAGE = "trygghetssvar"
LOCAL = "http://127.0.0.1:8000"
ENDING = ".kit"
# Settings that are the server's own, and not the laptop's.
_OF_THE_SERVER = ("database_url", "public_url", "secret_key", "flows_dir", "gateway", "metrics_dir", "metrics_token",
                  "proxy_hops", "log_format", "security_contact", "audio_dir", "recordings_dir")  # fmt: skip
_PROVIDERS = ("twilio_", "elks_")
_SHEETS = (("Första timmen", "first_hour.txt"), ("Kommandon med sms", "by_text.txt"))
_DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True, slots=True)
class Made:
    """A kit or a return that was made: its id, file, bytes, rows by table, seconds; older kits that were removed."""

    id: str
    file: Path
    size: int
    rows: dict[str, int]
    seconds: float
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A kit that is ready to run in `folder`: what it says of itself, and what is paused in it."""

    folder: Path
    manifest: dict[str, Any]


def check_passphrase(passphrase: str) -> None:
    """Raise KitError for one that could be guessed: whoever finds the file has all the time in the world."""
    if len(passphrase) < SHORTEST:
        raise KitError(f"the passphrase is too short: at least {SHORTEST} characters. Five unrelated words are good")
    if zxcvbn(passphrase[:LONGEST], user_inputs=[PACKAGE])["score"] < STRENGTH:
        raise KitError("the passphrase is too easy to guess: five unrelated words are good")


def make(
    database: Database, settings: Settings, vault: Vault, who: str, now: datetime, file: Path, passphrase: str,
    force: bool = False,
) -> Made:  # fmt: skip
    """Make the kit `file` while the service works. Raises KitError, BackupError, StoreAway or OSError."""
    begun = monotonic()
    check_passphrase(passphrase)
    _refuse(file, force)
    _up_to_date(database)
    with _unsealed() as copy, hidden_beside(file) as sealed:
        with still(database) as old:
            if this_kit(old):
                raise KitError("this is a laptop's own database: `responder kit return` packs it")
            kit = Kit(_new_id(now), who, now.timestamp(), base_of(old, next_slot(old), vault.fingerprint), False, None)
            kit, rows = write_copy(old, kit, copy, now)
            printed = _paper(old, vault, settings, kit.id, now)
        manifest = {
            "id": kit.id, "made_by": who, "made_at": now.isoformat(), "rows": rows, "version": _version(),
            "revision": migrations.known()[0],
        }  # fmt: skip
        pack(sealed, passphrase, KIT, manifest, [(DATABASE, copy), *_parts(settings, printed)])
        with database.write() as connection:  # before the file has its name: whatever kit there is, is known here
            if next_slot(connection) != kit.base["slot"]:
                raise KitError("another kit was made at the same time, and would give out the same ids: make it again")
            add_kit(connection, kit)
            add_line(connection, now, who, "kit", f"{SUBJECT}{kit.id}", "", "")
        backup.put_in_place(sealed, file, force)
    return Made(kit.id, file, file.stat().st_size, rows, monotonic() - begun)


def name_at(now: datetime) -> str:
    """What the kit of `now` (UTC) is called in a folder of them."""
    return f"responder-{now:%Y%m%dT%H%M%SZ}{ENDING}"


def thin_out(folder: Path, keep: int, now: datetime) -> tuple[Path, ...]:
    """Remove the oldest kits of a folder beyond `keep`, and what killed ones left; the kits that were removed."""
    made = sorted(folder.glob(f"responder-????????T??????Z{ENDING}"))
    gone = tuple(made[: max(0, len(made) - keep)])
    for path in gone:
        path.unlink(missing_ok=True)
    for path in folder.glob(f".responder-*{PARTIAL}*"):
        if path.exists() and now.timestamp() - path.stat().st_mtime > STALE:
            path.unlink(missing_ok=True)
    return gone


def show(file: Path, passphrase: str) -> dict[str, Any]:
    """What a kit or a return says of itself, after all of it was found whole; nothing is written."""
    return read_manifest(file, passphrase)


def open_kit(file: Path, folder: Path, passphrase: str, now: datetime) -> Opened:
    """Make `folder`, ready to run in: the database, `.env`, flows and lists. It is there as a whole, or not at all.

    Raises KitError, SealError, BackupError or OSError.
    """
    if folder.exists():
        raise KitError(f"{folder} is there already: name a folder that is not")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _folder_beside(folder) as partial:
        manifest = unpack(file, passphrase, KIT, partial)
        made_at = datetime.fromisoformat(manifest["made_at"])
        if now < made_at:
            raise KitError(
                f"the clock of this computer says {now:%Y-%m-%d %H:%M} UTC, before the kit was made"
                f" ({made_at:%Y-%m-%d %H:%M} UTC): set it first"
            )
        check_revision(manifest["revision"], file)
        check_sqlite(partial / DATABASE)
        _begin_here(partial / DATABASE, now)
        (partial / ENV).rename(partial / ".env")
        sync(partial)
        partial.rename(folder)
        sync(folder.parent)
    return Opened(folder, manifest)


def pack_return(database: Database, who: str, now: datetime, file: Path, passphrase: str, force: bool = False) -> Made:
    """Pack the laptop's database, sealed, while the service works. Raises KitError, BackupError or OSError."""
    begun = monotonic()
    check_passphrase(passphrase)
    _refuse(file, force)
    with database.write() as connection:
        kit = count_return(connection)
    if kit is None:
        raise KitError("this database was not made by `responder kit open`: only such a one comes back")
    with _unsealed() as copy, hidden_beside(file) as sealed:
        copy_sqlite(backup.file_of(database), copy)
        revision, rows = check_sqlite(copy), backup.rows_of_sqlite(copy)
        manifest = {
            "id": kit.id, "made_by": who, "made_at": now.isoformat(), "rows": rows, "version": _version(),
            "revision": revision,
        }  # fmt: skip
        pack(sealed, passphrase, RETURN, manifest, [(DATABASE, copy)])
        backup.put_in_place(sealed, file, force)
    return Made(kit.id, file, file.stat().st_size, rows, monotonic() - begun)


@contextmanager
def _unsealed() -> Iterator[Path]:
    """A file for what is not sealed yet, on a disk of this computer: a kit may go to a stick that anybody reads."""
    with private_folder("kit") as folder:
        path = folder / DATABASE
        path.touch(mode=0o600)
        yield path


def _refuse(file: Path, force: bool) -> None:
    if file.is_dir():
        raise KitError(f"{file} is a folder: name a file in it")
    if file.exists() and not file.is_file():
        raise KitError(f"{file} is no file: it would be replaced")
    if file.exists() and not force:
        raise KitError(f"{file} is there already: choose another name, or --force")


def _up_to_date(database: Database) -> None:
    at, head = migrations.revisions(database.engine)
    if at != head:
        raise KitError(migrations.unlike(at))


def _new_id(now: datetime) -> str:
    return f"{now:%y%m%d}-{secrets.token_hex(3)}"


def _begin_here(path: Path, now: datetime) -> None:
    """From here on it is this laptop's: of two that one kit was opened on, only one comes back."""
    database = Database(f"sqlite:///{path.absolute()}")
    try:
        migrations.upgrade(database.engine)
        with database.write() as connection:
            kit = this_kit(connection)
            if kit is None:
                raise KitError("there is no kit in the database")
            kit.base["opened"] = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            save_base(connection, kit, None)
    finally:
        database.close()
    as_one_file(path)


@contextmanager
def _folder_beside(folder: Path) -> Iterator[Path]:
    """An empty folder of its owner's alone beside `folder`; it is gone in the end if nobody has put it in place."""
    for old in folder.parent.glob(f".{folder.name}.*{PARTIAL}"):  # of one that was killed: keys are in it
        shutil.rmtree(old, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PARTIAL}")
    partial.mkdir(mode=0o700)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _parts(settings: Settings, printed: paper.Paper) -> Iterator[Part]:
    yield ENV, env_of(settings).encode()
    yield "lists/lists.html", paper.as_html(printed).encode()
    yield "lists/lists.txt", paper.as_text(printed).encode()
    for path in sorted(settings.flows_dir.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(settings.flows_dir).parts):
            yield f"flows/{path.relative_to(settings.flows_dir).as_posix()}", path


def env_of(settings: Settings) -> str:
    """The laptop's `.env`: the server's settings without what is the server's alone, and without any secret but the
    keys that numbers are read with. Raises KitError for a value that no `.env` can hold.
    """
    lines = [
        f"# Of a kit. It needs {PACKAGE} {_version()} or newer. Numbers open with the keys here: keep it secret.",
        f"DATABASE_URL=sqlite:///{DATABASE}",
        f"PUBLIC_URL={LOCAL}",
        f"SECRET_KEY={secrets.token_urlsafe(32)}",
        "FLOWS_DIR=flows",
        f"GATEWAY={'modem' if settings.real else 'recorder,modem'}",
        "LOG_FORMAT=text",
        "# The modem: the SQLite file of gammu-smsd on this laptop (deploy/modem).",
        "MODEM_DATABASE=/var/lib/gammu-smsd/smsd.db",
    ]
    for name, value in settings.model_dump().items():
        if name in _OF_THE_SERVER or name == "modem_database" or name.startswith(_PROVIDERS):
            continue
        if name in (*SECRETS, *ELKS_SECRETS) and name not in ("number_key", "lookup_key"):
            continue
        if "${" in str(value):  # which no quoting hides
            raise KitError(f"{name.upper()} holds ${{, which an .env file takes for another variable: change it first")
        lines.append(f"{name.upper()}={_quoted(str(value))}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" if value else ""


def _paper(connection: Connection, vault: Vault, settings: Settings, id: str, now: datetime) -> paper.Paper:
    sheets = [(title, (_DATA / name).read_text(encoding="utf-8")) for title, name in _SHEETS]
    points, operators, hosts = listed(connection, vault)
    return paper.paper(id, now, settings.timezone, points, operators, hosts, sheets)


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "0"

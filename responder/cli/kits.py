"""`responder kit` and `responder merge`: a laptop that does the work while the server is cut off, and the way back."""

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from responder.actions import kit as kits
from responder.cli import _plainly
from responder.cli.operators import number, vault_of, who
from responder.core.access import Permission, require, shell
from responder.settings import Settings, load_settings
from responder.store import merge as merging
from responder.store.dump import BackupError
from responder.store.engine import Database
from responder.store.kits import KitError
from responder.store.merge import Merged, Terms
from responder.store.schedule import DAY
from responder.store.sealedfile import SealError
from responder.wiring import utc_now

PASSPHRASE = "KIT_PASSPHRASE"  # noqa: S105 - the name of a variable
CONFLICTS = 3  # the exit code when somebody has to decide something
_FILE = click.Path(dir_okay=False, path_type=Path)
_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _refusals(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a kit or a merge refuses is printed, not traced."""

    @wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (BackupError, KitError, SealError) as error:
            raise click.ClickException(str(error)) from error

    return told


def _passphrase(new: bool) -> str:
    """From KIT_PASSPHRASE, or typed; a new one twice."""
    given = os.environ.get(PASSPHRASE, "")
    return given or str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))


@click.group()
def kit() -> None:
    """One sealed file for one laptop with a modem. The passphrase is asked for, or stands in KIT_PASSPHRASE."""


@kit.command(name="make")
@click.argument("file", type=_FILE, required=False)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Name it by the time, in here.")
@click.option("--keep", type=click.IntRange(min=1), help="With --folder: remove the oldest beyond so many.")
@click.option("--force", is_flag=True, help="In the place of FILE, if that is there.")
@_plainly
@_refusals
def kit_make(file: Path | None, folder: Path | None, keep: int | None, force: bool) -> None:
    """Make FILE while the service works: the database, settings, lists to print. It holds numbers and the keys that
    open them: keep it and its passphrase apart.
    """
    if (file is None) is (folder is None) or (keep is not None and folder is None):
        raise click.UsageError("name a FILE, or a --folder (with --keep, if you like)")
    settings, passphrase = load_settings(), _passphrase(new=True)
    now = utc_now()  # what happens while somebody types is in the kit, and before it
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / kits.name_at(now)
    assert file is not None
    with closing(Database(settings.database_url)) as database:
        by = who(database)
        require(by, Permission.SEND)
        made = kits.make(database, settings, vault_of(settings), by.name, now, file, passphrase, force)
    removed = kits.thin_out(folder, keep, now) if folder and keep else ()
    _say(_made(made, f"kit {made.id}"))
    if removed:
        click.echo(f"removed: {', '.join(path.name for path in removed)}")


@kit.command(name="open")
@click.argument("file", type=_THERE)
@click.argument("folder", type=click.Path(path_type=Path))
@_plainly
@_refusals
def kit_open(file: Path, folder: Path) -> None:
    """On the laptop: make FOLDER, which must not be there, ready to run in."""
    opened = kits.open_kit(file, folder, _passphrase(new=False), utc_now())
    _say(_opened(opened))


@kit.command(name="show")
@click.argument("file", type=_THERE)
@_plainly
@_refusals
def kit_show(file: Path) -> None:
    """What FILE is: its id, when and by whom it was made, how many rows. Nothing is unpacked."""
    _say(_shown(kits.show(file, _passphrase(new=False))))


@kit.command(name="return")
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="In the place of FILE, if that is there.")
@_plainly
@_refusals
def kit_return(file: Path, force: bool) -> None:
    """On the laptop: pack its database into FILE, sealed, for `responder merge` on the server."""
    passphrase = _passphrase(new=True)
    with closing(Database(load_settings().database_url)) as database:
        made = kits.pack_return(database, shell(getpass.getuser()).name, utc_now(), file, passphrase, force)
    _say(_made(made, f"return of kit {made.id}"))
    click.echo("next, on the server: `responder merge FILE`, then `responder merge FILE --apply`; the laptop stays off")


@click.command()
@click.argument("file", type=_THERE)
@click.option("--apply", is_flag=True, help="Do it. Without: list what would be done, change nothing.")
@_plainly
@_refusals
def merge(file: Path, apply: bool) -> None:
    """On the server: bring back what happened on a laptop, from what it packed (or its database itself). Nothing is
    overwritten: what both sides changed stays as it is here, and is listed. Exit 3 if something is to be decided.
    """
    settings = load_settings()
    vault = vault_of(settings)
    with closing(Database(settings.database_url)) as database:
        by = who(database)
        require(by, Permission.SEND)
        typed = _passphrase(new=False) if merging.needs_passphrase(file) else ""
        terms = Terms(
            by.name, utc_now(), vault.fingerprint, lambda sealed: number(vault, sealed), settings.timezone,
            settings.retain_days * DAY,
        )  # fmt: skip
        done = merging.merge(database, file, lambda: typed, terms, apply)
    _say(_merged(done, settings, apply))
    if done.conflicts:
        sys.exit(CONFLICTS)


def _made(made: kits.Made, what: str) -> Iterator[str]:
    yield from (f"{name}\t{count}" for name, count in made.rows.items() if count)
    yield f"{made.file}: {what}, {made.size} bytes, {sum(made.rows.values())} rows, {made.seconds:.1f} s"
    yield "it is worth nothing without its passphrase: keep the two apart, and both where no fire takes both"


def _opened(opened: kits.Opened) -> Iterator[str]:
    said = opened.manifest
    yield f"kit {said['id']}, made {said['made_at'][:16]} UTC by {said['made_by']}, is ready in {opened.folder}"
    yield f"it needs {kits.PACKAGE} {said['version']} or newer"
    yield "NOTHING IS PUSHED OR SENT until `responder release`. Residents' questions are answered. Before that:"
    yield f"- cd {opened.folder}; the modem in .env; `responder doctor --offline`; print lists/lists.html"
    yield "- set the points to what they are now: `responder points`"
    yield "- broadcasts that were going out are paused, those with a time have none: the server may have sent them"
    yield "operators sign in with the password and the code that they have; nobody is signed in yet"


def _shown(said: dict[str, Any]) -> Iterator[str]:
    what = "kit" if said["kind"] == "kit" else "return of kit"
    yield f"{what} {said['id']}, made {said['made_at'][:16]} UTC by {said['made_by']}"
    yield f"{sum(said['rows'].values())} rows; revision {said['revision']}; {kits.PACKAGE} {said['version']}"
    yield from (f"{name}\t{count}" for name, count in said["rows"].items() if count)


def _merged(done: Merged, settings: Settings, apply: bool) -> Iterator[str]:
    made = datetime.fromtimestamp(done.made_at, UTC).astimezone(ZoneInfo(settings.timezone))
    yield f"kit {done.kit}, made {made:%Y-%m-%d %H:%M}{', merged before: only what is new since' if done.again else ''}"
    if not done.is_known:
        yield "this database does not know the kit (it comes from an older backup?): compared with what the laptop"
        yield "remembers of that time, so that what was lost here may look like a change: read the list"
    if done.nothing:
        yield "nothing to do"
        return
    for what, count in done.taken.items():
        yield f"{what}\t{count}"
    for said in done.notices:
        yield f"- {said}"
    for one in done.conflicts:
        yield f"DECIDE {one.table}: {one.what}"
        yield f"  here (stays): {one.here}"
        yield f"  laptop:       {one.there}"
    if apply:
        yield f"merged; {len(done.conflicts)} to decide; a push looks at everybody as soon as the points have settled"
    else:
        yield f"nothing was changed; {len(done.conflicts)} to decide; with --apply it is done, and these stay as here"


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)

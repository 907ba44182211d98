"""`responder backup`, `restore`, `release` and `move`: the whole database as one thing."""

import getpass
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from responder.cli import _plainly
from responder.cli.operators import who
from responder.core.access import Permission, require, shell
from responder.settings import Settings, SettingsError, load_settings
from responder.store.backup import Made, back_up, name_at, thin_out
from responder.store.dump import BackupError
from responder.store.engine import Database, address
from responder.store.move import move as moved_to
from responder.store.restore import Restored
from responder.store.restore import restore as put_back
from responder.store.restored import release as let_go
from responder.wiring import utc_now


def _refusals(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a backup, restore or move refuses is printed, not traced."""

    @wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except BackupError as error:
            raise click.ClickException(str(error)) from error

    return told


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Name it by the time, in here.")
@click.option("--keep", type=click.IntRange(min=1), help="With --folder: remove the oldest beyond so many.")
@click.option("--force", is_flag=True, help="In the place of FILE, if that is there.")
@_plainly
@_refusals
def backup(file: Path | None, folder: Path | None, keep: int | None, force: bool) -> None:
    """Copy the whole database to FILE while the service works. Numbers and texts are sealed in it; the keys that open
    them are not in it: keep `.env` too, and elsewhere.
    """
    if (file is None) is (folder is None) or (keep is not None and folder is None):
        raise click.UsageError("name a FILE, or a --folder (with --keep, if you like)")
    now = utc_now()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / name_at(now)
    assert file is not None
    with closing(Database(load_settings().database_url)) as database:
        made = back_up(database, file, force)
    _print(_made(made))
    removed = thin_out(folder, keep, now) if folder and keep else ()
    if removed:
        click.echo(f"removed: {', '.join(path.name for path in removed)}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Though somebody uses the database.")
@_plainly
@_refusals
def restore(file: Path, force: bool) -> None:
    """Make the database what the backup FILE holds. What there is now stays under another name.

    Nothing is pushed or sent afterwards until `responder release`, and what waited to be sent when the backup was made
    is never sent unless somebody decides that.
    """
    settings = load_settings()
    done = put_back(settings.database_url, file, utc_now(), shell(_user()).name, force)
    _print(_restored(done, settings))


@click.command()
@_plainly
def release() -> None:
    """After a restore: let the jobs push and send again. First set the points to what they are now."""
    with closing(Database(load_settings().database_url)) as database:
        operator = who(database)
        require(operator, Permission.SEND)
        with database.write() as connection:
            was_held = let_go(connection, utc_now(), operator.name)
    click.echo("the jobs push and send again" if was_held else "nothing was held back")


@click.command()
@click.option(
    "--to",
    required=True,
    envvar="MOVE_TO",
    help="DATABASE_URL of the other one, which must be empty; or in MOVE_TO,"
    " where no list of processes shows its password.",
)
@_plainly
@_refusals
def move(to: str) -> None:
    """Copy the whole database to another one, of the other engine if you like, and compare the two. Stop the service
    first: what happens afterwards is not in the copy.
    """
    settings = load_settings()
    own = address(settings.database_url)
    try:
        same = address(to) == own
    except SettingsError as error:
        raise click.BadParameter("not an address such as postgresql+psycopg://USER@HOST/NAME") from error
    if same:
        raise click.BadParameter("that is the database itself", param_hint="--to")
    with closing(Database(settings.database_url)) as source, closing(Database(to)) as target:
        done = moved_to(source, target, utc_now().timestamp(), _progress)
    click.echo(f"moved {sum(done.rows.values())} rows in {done.seconds:.1f} s; counts and checksums are the same")
    click.echo("next: put it into DATABASE_URL, `responder doctor`, start the service; keep the old one for a while")


def _made(made: Made) -> Iterator[str]:
    yield from (f"{name}\t{count}" for name, count in made.rows.items())
    yield f"{made.file}: {made.size} bytes, {sum(made.rows.values())} rows, {made.seconds:.1f} s"
    yield "numbers and texts are sealed in it; NUMBER_KEY and LOOKUP_KEY are not in it: keep .env too, and elsewhere"


def _restored(done: Restored, settings: Settings) -> Iterator[str]:
    held = done.held
    yield f"restored in {done.seconds:.1f} s, from revision {done.revision}; it knows what was until " + (
        _local(held.knows_until, settings) if held.knows_until else "(nothing has happened in it)"
    )
    if done.kept:
        yield f"what there was is kept as {done.kept}; remove it once it is not needed: numbers are in it"
    yield "NOTHING IS PUSHED OR SENT until `responder release`. Residents' questions are answered. Before that:"
    yield "- restart the web processes, and set the points to what they are now: `responder points`"
    for id in held.paused:
        yield f"- broadcast {id} was going out and is paused; some or all have had it since: `responder broadcast show"\
              f" {id}`, then `stop {id}` or, if it did not go, `resume {id}`"  # fmt: skip
    for id in held.unscheduled:
        yield f"- broadcast {id} had a time and has none any more: if it was not sent since, `broadcast send {id} --at`"
    for id in held.waiting:
        yield f"- broadcast {id} waits for somebody; it may have been sent since: `responder broadcast show {id}`"
    if held.unknown:
        yield f"- {held.unknown} messages may have been sent since: `responder deliveries --state unknown`, then"\
              " `responder delivery resolve ID sent` or `resend`"  # fmt: skip
    if held.exercise:
        yield f"- the exercise {held.exercise} goes on in it: `responder exercise end` if it is over"
    for name in held.invitations:
        yield f"- the invitation of {name} is void: `responder operator invite {name}`"
    yield "- STOPPs and subscriptions since are lost. With the provider's own opt-out list (Advanced Opt-Out) nobody"
    yield "  who said STOPP gets a text; calls go out all the same. Tell who answers for privacy"
    yield "- accounts are as they were: disable again who was disabled since (`responder operator list`), and have"
    yield f"  passwords set since set again. {held.sessions} sessions were ended: everybody signs in anew"
    yield "- after `responder release` whoever was told otherwise than the points say then hears it; who was told the"
    yield "  same since the backup hears it once more"


def _local(at: float, settings: Settings) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(settings.timezone)):%Y-%m-%d %H:%M:%S}"


def _progress(table: str, count: int) -> None:
    if count:
        click.echo(f"{table}\t{count}")


def _user() -> str:
    return getpass.getuser()


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)

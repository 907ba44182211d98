"""The command line. No rules: read what was typed, call an action, print what came back."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from responder import demo as phone
from responder import logs
from responder.actions import announce, load, publish, staff
from responder.app import create_app
from responder.core.access import NotSignedIn
from responder.core.broadcast import BadTarget, NoSuchBroadcast
from responder.core.flow import FlowError, mermaid
from responder.core.points import Status, standing
from responder.core.pointsfile import write_points_file
from responder.core.problem import Problem
from responder.core.rows import TableError
from responder.core.segments import cost
from responder.doctor import examine
from responder.flowfiles import load as load_flow
from responder.jobs import Jobs
from responder.settings import SettingsError, load_settings
from responder.store.desk import point_numbers
from responder.store.engine import Database, StoreAway
from responder.store.exercises import current
from responder.store.queries import read_points
from responder.store.watching import current_points
from responder.web.handset import Handset, LineError, in_process, over_http
from responder.web.simulator import PASSWORD
from responder.wiring import utc_now, wire

Command = Callable[..., Any]
_TOLD = (
    SettingsError, FlowError, TableError, StoreAway, LineError, load.DemoRefused, OSError, Problem,
)  # fmt: skip
_TYPED: dict[type[Problem], str] = {  # what helps only somebody who types
    NotSignedIn: "put your token in RESPONDER_TOKEN",
    staff.UnknownToken: "RESPONDER_TOKEN",
    staff.Disabled: "RESPONDER_TOKEN",
    staff.NoSuchAccount: "`responder operator list`",
    BadTarget: "--to takes everyone, district:NAME, area:NAME, postcode:12345 or point:ID",
    NoSuchBroadcast: "`responder broadcast list`",
    announce.TooDear: "SPEND_PER_DAY",
}


def _plainly(command: Command) -> Command:
    """Errors that tell the user what is wrong are printed, not traced."""

    @wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except BrokenPipeError:  # whoever reads has read enough: click ends quietly
            raise
        except OverflowError as error:  # SQLite's; PostgreSQL says the same in words of its own
            raise click.ClickException(f"a number is out of range: {error}") from error
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":  # what cannot be shown here is not what was typed
                raise
            raise click.ClickException("what was typed is not UTF-8: set the terminal to that") from error
        except _TOLD as error:
            hint = next((said for kind, said in _TYPED.items() if isinstance(error, kind)), "")
            raise click.ClickException(f"{error} ({hint})" if hint else str(error)) from error

    return told


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Trygghetssvar: answers a text or a call with the nearest open trygghetspunkt."""
    logs.install("text", level=logging.WARNING)


@main.command()
@click.option("--demo", is_flag=True, help="Add fictional points marked DEMO in all eleven areas, some open.")
@click.option("--stockholm", is_flag=True, help="Add the county's designated points, planned and unconfirmed.")
@_plainly
def init(demo: bool, stockholm: bool) -> None:
    """Create or upgrade the database and load the bundled places."""
    settings = load_settings()
    database = Database(settings.database_url)
    if demo and settings.real:
        raise load.DemoRefused(["--demo"])
    click.echo(f"places: {load.prepare(database)}")
    if demo:
        click.echo(f"demo points: {load.load_demo(database, settings.timezone, utc_now(), settings.real)}")
    if stockholm:
        click.echo(f"designated points: {load.load_stockholm(database, settings.timezone, utc_now())}")


@main.command()
@click.option("--port", default=8000, show_default=True)
@click.option("--serve", is_flag=True, help="Keep serving after the transcript.")
@_plainly
def demo(port: int, serve: bool) -> None:
    """Start the service with its jobs on SQLite with demo points, text it and call it, let people hear of a closed
    point, then hand over the phone. The database is made anew.
    """
    port = phone.free_port(port)
    url = f"http://127.0.0.1:{port}"
    for suffix in ("", "-wal", "-shm"):
        Path(f"var/demo.db{suffix}").unlink(missing_ok=True)
    settings = load_settings(
        gateway="recorder", database_url="sqlite:///var/demo.db", public_url=url, push_settle_seconds=1
    )
    database = Database(settings.database_url)
    load.prepare(database)
    load.load_demo(database, settings.timezone, utc_now(), settings.real)
    app = create_app(settings)
    logging.getLogger().setLevel(logging.WARNING)
    service = app.extensions["responder"]
    app.config[PASSWORD] = phone.a_password()
    phone.demo_staff(service, app.config[PASSWORD])
    with phone.served(app, "127.0.0.1", port), closing(service.database), Jobs(service):
        click.echo(f"Trygghetssvar answers at {url} (DEMO points, {settings.database_url})")
        handset = Handset(over_http(url), url, settings.twilio_auth_token, phone.ASKING)
        phone.transcript(handset, click.echo)
        phone.story(handset, service, click.echo)
        click.echo(f"--- look around ---\n{phone.invitation(url, app.config[PASSWORD])}")
        click.echo("--- your turn: text it, or /call it; Ctrl-D ends ---")
        handset.number = "+46700000002"
        phone.converse(handset, False, _typed(), click.echo)
        if serve:
            click.echo(f"Serving at {url}; Ctrl-C ends.\n{phone.invitation(url, app.config[PASSWORD])}")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()


@main.group(name="import")
def import_() -> None:
    """Take in a file: all of it, or nothing."""


@import_.command(name="points")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check and count, change nothing.")
@_plainly
def import_points(file: Path, dry_run: bool) -> None:
    """Points from CSV or GeoJSON."""
    settings = load_settings()
    database = Database(settings.database_url)
    text = load.read_file(file)
    done = load.load_points(database, text, settings.timezone, utc_now(), settings.real, dry_run)
    click.echo(f"points: {done}{' (dry run: nothing was changed)' if dry_run else ''}")


@import_.command(name="places")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_plainly
def import_places(file: Path) -> None:
    """Places from our own tables or GeoNames' postal format."""
    click.echo(f"places: {load.load_places(Database(load_settings().database_url), load.read_file(file))}")


@main.group()
def export() -> None:
    """Write out what the database holds."""


@export.command(name="points")
@_plainly
def export_points() -> None:
    """All points as CSV on standard output; `import points` reads it back."""
    with Database(load_settings().database_url).read() as connection:
        points = [point for point, _ in read_points(connection)]
    click.echo(write_points_file(points), nl=False)


@main.command()
@_plainly
def points() -> None:
    """List the points and what they are for a resident now; in an exercise, what they are in it."""
    settings = load_settings()
    now, zone = utc_now(), settings.timezone
    with Database(settings.database_url).read() as connection:
        going, rows, numbers = current(connection), current_points(connection), point_numbers(connection)
    if going:
        click.echo(f"the exercise {going.name} goes on: residents are told of what is real, and not of this", err=True)
    for point, version in rows:
        now_is = standing(point, now, zone, timedelta(hours=settings.stale_after))
        at = point.confirmed_at
        confirmed = f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" if at else "never"
        flags = " unconfirmed" if now_is.unconfirmed else ""
        number = f"no {numbers[point.id]}" if point.id in numbers else "-"
        state = f"{point.status}\t{now_is.kind}{flags}\tconfirmed {confirmed}"
        click.echo(f"{point.id}\t{state}\tv{version}\t{point.name}\t{number}")
    if not rows:
        click.echo("no points; `responder import points FILE` or `responder init --demo`")


@main.group()
def point() -> None:
    """One point."""


def _noted(command: Command) -> Command:
    """The options for what operators tell each other."""
    for option in (
        click.option("--supplies", help='Notes on supplies; "" removes them.'),
        click.option("--staffing", help='Notes on staff; "" removes them.'),
        click.option("--visitors", help='How many people are in it now; "" removes it.'),
        click.option("--capacity", help='How many people it holds; "" removes it.'),
    ):
        command = option(command)
    return command


@point.command(name="set")
@click.argument("id")
@click.option("--status", required=True, type=click.Choice([s.value for s in Status]))
@click.option("--opens", default="", help="ISO 8601 or HH:MM, the next such time. Left out: none.")
@click.option("--closes", default="", help="ISO 8601 or HH:MM, the next such time. Left out: none.")
@click.option("--hours", help='OSM opening_hours, such as "Mo-Su 08:00-20:00"; "" removes them.')
@click.option("--note", help='"" removes it.')
@click.option("--phone", help="For on_call.")
@click.option("--moved-to", help="For moved: the new name and address.")
@click.option("--service", "services", multiple=True, help="All that it offers, one each. Left out: as before.")
@_noted
@click.option("--by", default="", help="By whom it was decided. Who typed it is known from RESPONDER_TOKEN.")
@click.option("--decision", default="", help="The decision it rests on.")
@click.option(
    "--seen", type=int, help="The version you looked at (`responder points`): refused if it has changed since."
)
@_plainly
def point_set(
    id: str, status: str, services: tuple[str, ...], by: str, decision: str, seen: int | None, **fields: Any
) -> None:
    """Say what a point is now; this also confirms it. Whose answer changes hears of it once it has settled."""
    settings = load_settings()
    change = publish.Change(Status(status), services=services or None, **fields)
    database, now = Database(settings.database_url), utc_now()
    _, after = publish.set_point(database, id, change, who(database), settings.timezone, now, decision, by, seen)
    told = standing(after, now, settings.timezone, timedelta(hours=settings.stale_after))
    click.echo(f"{after.id} ({after.name}): {after.status}, told as {told.kind}")


@point.command(name="confirm")
@click.argument("id")
@click.option("--seen", type=int, help="The version you looked at: refused if it has changed since.")
@_plainly
def point_confirm(id: str, seen: int | None) -> None:
    """Say that a point is still open and nothing has changed."""
    settings = load_settings()
    database = Database(settings.database_url)
    _, after = publish.confirm(database, id, who(database), settings.timezone, utc_now(), seen)
    click.echo(f"{after.id} ({after.name}): {after.status}, confirmed")


@point.command(name="note")
@click.argument("id")
@_noted
@_plainly
def point_note(id: str, **fields: Any) -> None:
    """Note how full or well supplied a point is: residents never hear of it, and it confirms nothing."""
    settings = load_settings()
    database = Database(settings.database_url)
    _, after = publish.note(database, id, publish.Notes(**fields), who(database), settings.timezone, utc_now())
    click.echo(f"{after.id} ({after.name}): noted")


@main.command()
@click.argument("text")
@click.option("--from", "sender", default="", help="As this number (E.164), in its language and conversation.")
@click.option("--lang", default="", help="In this language.")
@_plainly
def ask(text: str, sender: str, lang: str) -> None:
    """The exact reply to TEXT with its segments and encoding; nothing is recorded."""
    service = wire(load_settings())
    if lang and lang not in service.flow.languages:
        raise click.ClickException(f"no wording file for {lang!r}; there is {', '.join(service.flow.languages)}")
    with closing(service.database):
        reply = service.answerer.preview(text, sender, lang)
    if not reply:
        click.echo("(no reply)")
        return
    price = cost(reply)
    click.echo(reply)
    click.echo(f"-- {price.segments} segments, {price.encoding}, {price.units} units")


@main.command()
@click.option("--voice", is_flag=True, help="Call instead of texting: keys, speech, an empty line is silence.")
@_plainly
def talk(voice: bool) -> None:
    """A phone in the terminal, over the same webhooks and flow."""
    settings = load_settings(gateway="recorder")
    app = create_app(settings)
    logging.getLogger().setLevel(logging.WARNING)
    handset = Handset(in_process(app.test_client()), settings.public_url, settings.twilio_auth_token)
    with closing(app.extensions["responder"].database):
        phone.converse(handset, voice, _typed(), click.echo)


@main.group()
def flows() -> None:
    """The conversation files."""


@flows.command(name="check")
@_plainly
def flows_check() -> None:
    """Refuse a flow or wording that does not hold together."""
    flow = load_flow(load_settings().flows_dir)
    click.echo(f"flows: {len(flow.nodes)} nodes, languages {', '.join(flow.languages)}: in order")


@flows.command(name="draw")
@_plainly
def flows_draw() -> None:
    """The conversation as a Mermaid chart."""
    click.echo(mermaid(load_flow(load_settings().flows_dir)))


@main.command()
@click.option("--offline", is_flag=True, help="Without PUBLIC_URL and the provider.")
@_plainly
def doctor(offline: bool) -> None:
    """Look for what would go wrong: settings, flows, database, points, and with GATEWAY=twilio also PUBLIC_URL,
    signatures, and what the provider has been told of us. Sends nothing. Exit 1 if something would go wrong.
    """
    settings = load_settings()
    sick = False
    for finding in examine(settings, utc_now, offline):
        sick |= not finding.well
        click.echo(f"{'ok ' if finding.well else 'BAD'} {finding.text}")
    if sick:
        sys.exit(1)


def _typed() -> Iterator[str]:
    """Lines of standard input; echoed where nobody sees them being typed."""
    for line in sys.stdin:
        if not sys.stdin.isatty():
            click.echo(f"> {line.rstrip()}")
        yield line


from responder.cli.audio import audio  # noqa: E402 - they need what is above
from responder.cli.backups import backup, move, release, restore  # noqa: E402
from responder.cli.broadcasts import broadcast, deliveries, delivery  # noqa: E402
from responder.cli.exercises import exercise  # noqa: E402
from responder.cli.gateways import gateways  # noqa: E402
from responder.cli.hosts import hosts  # noqa: E402
from responder.cli.inbox import alias, inbox  # noqa: E402
from responder.cli.journal import audit, shift  # noqa: E402
from responder.cli.kits import kit, merge  # noqa: E402
from responder.cli.operators import operator, who  # noqa: E402
from responder.cli.readiness import geojson, readiness  # noqa: E402
from responder.cli.service import jobs, subscriptions  # noqa: E402

for _command in (broadcast, deliveries, delivery, exercise, gateways, jobs, operator, subscriptions, readiness):
    main.add_command(_command)
for _command in (backup, kit, merge, move, release, restore):
    main.add_command(_command)
for _command in (alias, audit, inbox, shift):
    main.add_command(_command)
for _command in (audio, hosts):
    main.add_command(_command)
export.add_command(geojson)

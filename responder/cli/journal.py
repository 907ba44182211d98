"""`responder shift` and `responder audit`: what one shift tells the next, and who changed what."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import click

from responder.actions import journal
from responder.actions import shift as log
from responder.cli import _plainly
from responder.cli.operators import who
from responder.core.changes import as_text
from responder.core.words import printable
from responder.settings import load_settings
from responder.store.engine import Database
from responder.store.journal import Wanted
from responder.wiring import utc_now

DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def shift() -> None:
    """The shift log."""


@shift.command(name="note")
@click.argument("text")
@_plainly
def shift_note(text: str) -> None:
    """Leave a note for the next shift."""
    database = Database(load_settings().database_url)
    click.echo(f"note {log.write(database, who(database), text, utc_now())}")


@shift.command(name="list")
@click.option("--most", default=20, show_default=True)
@_plainly
def shift_list(most: int) -> None:
    """Who is on duty, and the newest notes."""
    settings = load_settings()
    database, now = Database(settings.database_url), utc_now()
    operator, zone = who(database), ZoneInfo(settings.timezone)
    for one in log.duty(database, operator, now):
        since = one.since.astimezone(zone)
        click.echo(f"on duty: {one.who} since {since:%Y-%m-%d %H:%M}{', more than 12 hours' if one.long else ''}")
    for note in log.notes(database, operator, None, most):
        at = datetime.fromtimestamp(note.at, UTC).astimezone(zone)
        said = printable(note.text) if note.kind == "note" else f"({note.kind} duty)"
        click.echo(f"{at:%Y-%m-%d %H:%M}\t{note.who}\t{said}")


@shift.command(name="on")
@_plainly
def shift_on() -> None:
    """Go on duty."""
    _go(True)


@shift.command(name="off")
@_plainly
def shift_off() -> None:
    """Go off duty."""
    _go(False)


def _go(on: bool) -> None:
    database = Database(load_settings().database_url)
    operator = who(database)
    new = log.go(database, operator, on, utc_now())
    click.echo(f"{operator.name} is {'' if new else 'already '}{'on' if on else 'off'} duty")


@click.command()
@click.option("--who", "by", default="", help="A part of the name.")
@click.option("--subject", default="", help="A part of it: a point's id, broadcast:12, operator:anna.")
@click.option("--action", default="", help="Exactly.")
@click.option("--since", type=DAY, help="From this day on, local time.")
@click.option("--until", type=DAY, help="To this day, local time.")
@click.option("--most", default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="All lines that fit, one JSON object a line.")
@_plainly
def audit(
    by: str, subject: str, action: str, since: datetime | None, until: datetime | None, most: int, as_json: bool
) -> None:
    """Who changed what, the newest first. Never a resident's number."""
    settings = load_settings()
    database = Database(settings.database_url)
    operator, zone = who(database), ZoneInfo(settings.timezone)
    begin = since.replace(tzinfo=zone).astimezone(UTC) if since else None
    end = (until.replace(tzinfo=zone) + timedelta(days=1)).astimezone(UTC) if until else None
    wanted = Wanted(by, subject, action, begin, end)
    if as_json:
        for line in journal.read_all(database, operator, wanted):
            click.echo(journal.to_json(line))
        return
    for line in journal.read(database, operator, wanted, None, most):
        changes = "; ".join(f"{one.field}: {as_text(one.before)} -> {as_text(one.after)}" for one in line.changes)
        at = f"{line.at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        row = (str(line.id), at, line.who, line.action, line.subject, changes)
        click.echo("\t".join(printable(cell).replace("\n", " ") for cell in row))

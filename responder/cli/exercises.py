"""`responder exercise`: a loud state in which nothing real is sent."""

import click

from responder.actions import exercise as action
from responder.cli import _plainly
from responder.cli.operators import who
from responder.settings import load_settings
from responder.store.engine import Database
from responder.store.exercises import Exercise
from responder.wiring import utc_now


@click.group()
def exercise() -> None:
    """Exercises: while one goes on, nothing real is sent."""


@exercise.command(name="begin")
@click.argument("name")
@_plainly
def exercise_begin(name: str) -> None:
    """Begin one. Refused while a real point is activated or a real broadcast under way."""
    database = Database(load_settings().database_url)
    begun = action.begin(database, who(database), name, utc_now())
    click.echo(f"EXERCISE {begun.name} goes on: nothing real is sent until `responder exercise end`")


@exercise.command(name="end")
@_plainly
def exercise_end() -> None:
    """End the one that goes on: what it sends is stopped, what it said of points is forgotten."""
    database = Database(load_settings().database_url)
    ended = action.end(database, who(database), utc_now())
    stopped = ", ".join(str(id) for id in ended.stopped) or "none"
    click.echo(f"exercise {ended.exercise.name} is over; broadcasts stopped: {stopped}")


@exercise.command(name="list")
@click.option("--most", default=20, show_default=True)
@_plainly
def exercise_list(most: int) -> None:
    """The one that goes on, and the newest past ones."""
    database = Database(load_settings().database_url)
    operator = who(database)
    going = action.current(database, operator)
    found = ([going] if going else []) + action.past(database, operator, most)
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo("no exercises; `responder exercise begin NAME` begins one")


def _line(one: Exercise) -> str:
    ended = f"ended by {one.ended_by}" if one.ended_at else "GOES ON"
    return f"{one.id}\t{one.name}\tbegun by {one.begun_by}\t{ended}"

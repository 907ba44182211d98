"""`responder gateways`: how the ways out do, and which may be used."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click

from responder.actions import steer
from responder.actions.steer import Standing, Way
from responder.cli import _plainly
from responder.cli.operators import who
from responder.core.broadcast import Priority
from responder.core.ways import Mode
from responder.settings import Settings, load_settings
from responder.store.engine import Database
from responder.wiring import rates, utc_now


@click.group()
def gateways() -> None:
    """Gateways: the preferred one is used, and the next while it is down. Here you say otherwise."""


@gateways.command(name="show")
@_plainly
def gateways_show() -> None:
    """How each does, what waits, and when that will have gone."""
    settings = load_settings()
    database = Database(settings.database_url)
    seen = steer.show(database, who(database), rates(settings), utc_now())
    for line in told(seen, settings):
        click.echo(line)


@gateways.command(name="use")
@click.argument("name")
@_plainly
def gateways_use(name: str) -> None:
    """Send by this one alone, whatever becomes of it, until `auto`."""
    _change(lambda settings, database: steer.use(database, who(database), settings.gateways, name, utc_now()))
    click.echo(f"everything goes by {name} alone until `responder gateways auto`")


@gateways.command(name="off")
@click.argument("name")
@_plainly
def gateways_off(name: str) -> None:
    """Send nothing by this one until `auto`. What it may have taken is still looked up there."""
    _change(lambda settings, database: steer.off(database, who(database), settings.gateways, name, utc_now()))
    click.echo(f"nothing goes by {name} until `responder gateways auto`")


@gateways.command(name="auto")
@_plainly
def gateways_auto() -> None:
    """Each by how it does: as if nobody had said anything."""
    _change(lambda settings, database: steer.auto(database, who(database), settings.gateways, utc_now()))
    click.echo("each gateway is used by how it does")


def told(seen: Standing, settings: Settings) -> Iterator[str]:
    """Lines about all of it."""
    for way in seen.ways:
        yield f"{way.name}\t{_state(way)}{_mode(way, settings)}\t{way.rate:g} segments/s\ttoday: {way.sent} messages,"\
            f" {way.cost:.2f} {settings.currency}"  # fmt: skip
        for one in way.found:
            yield (
                f"  {one.owner}: {one.state}, {one.failed:.0%} failed lately, {one.latency:.2f} s,"
                f" last took one {_at(one.last_success, settings)}"
            )
    if seen.main is None:
        yield "no gateway works that may be used: nothing is sent"
    for queue in seen.waiting:
        done = (utc_now().timestamp() + queue.seconds) if queue.seconds else 0.0
        name = Priority(queue.priority).name.lower().replace("_", " ")
        yield f"waits: {queue.texts} texts, {name}; gone at about {_at(done, settings)} by {_main(seen)}"
    if not seen.waiting and seen.main:
        yield "nothing waits"


def _main(seen: Standing) -> str:
    return seen.main.name if seen.main else "-"


def _state(way: Way) -> str:
    used = ", used" if way.main else ""
    return f"{way.state or 'not looked at lately'}{used}"


def _mode(way: Way, settings: Settings) -> str:
    if way.mode is Mode.AUTO:
        return ""
    said = "OFF" if way.mode is Mode.OFF else "ALONE"
    return f"\t{said} by {way.who} since {_at(way.since, settings)}"


def _at(seconds: float, settings: Settings) -> str:
    if not seconds:
        return "never"
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(settings.timezone)):%Y-%m-%d %H:%M:%S}"


def _change(change: Callable[[Settings, Database], None]) -> None:
    settings = load_settings()
    change(settings, Database(settings.database_url))

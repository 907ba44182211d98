"""`responder hosts`: who at a point is asked by text whether it is open."""

from zoneinfo import ZoneInfo

import click

from responder.actions import hosts as action
from responder.cli import _plainly
from responder.cli.operators import number, vault_of, who
from responder.core.numbers import countries
from responder.settings import load_settings
from responder.store.engine import Database
from responder.wiring import utc_now


@click.group()
def hosts() -> None:
    """Who at a point is asked by text whether it is open."""


@hosts.command(name="add")
@click.argument("point")
@click.argument("name")
@click.argument("phone")
@_plainly
def hosts_add(point: str, name: str, phone: str) -> None:
    """Ask NAME at PHONE, such as +46701234567, whether POINT (its id) is open, while it is said to be."""
    settings = load_settings()
    database, vault = Database(settings.database_url), vault_of(settings)
    allowed = countries(settings.subscribe_countries)
    id = action.add(database, vault, who(database), point, name, phone, allowed, utc_now())
    click.echo(f"host {id}: {name} is asked about {point}, every {settings.host_ask_hours:g} h without a word")


@hosts.command(name="list")
@_plainly
def hosts_list() -> None:
    """All hosts."""
    settings = load_settings()
    database, vault, zone = Database(settings.database_url), vault_of(settings), ZoneInfo(settings.timezone)
    found = action.listed(database, who(database))
    for one in found:
        asked = f"{one.asked_at.astimezone(zone):%Y-%m-%d %H:%M}" if one.asked_at else "never"
        phone = number(vault, one.host.number_sealed)
        click.echo(f"{one.host.id}\t{one.point.id}\t{one.host.name}\t{phone}\tasked {asked}\tby {one.host.created_by}")
    if not found:
        click.echo("no hosts; `responder hosts add POINT NAME +46...` adds one")


@hosts.command(name="remove")
@click.argument("id", type=int)
@_plainly
def hosts_remove(id: int) -> None:
    """Ask the host ID no more, and forget their number."""
    database = Database(load_settings().database_url)
    action.remove(database, who(database), id, utc_now())
    click.echo(f"host {id}: asked no more")

"""`responder inbox` and `responder alias`: what was not understood, and the names that were learnt from it."""

import click

from responder.actions.inbox import Inbox
from responder.cli import _plainly
from responder.cli.operators import who
from responder.core.access import Operator
from responder.core.problem import Problem
from responder.core.words import printable
from responder.settings import load_settings
from responder.wiring import utc_now, wire

LONGEST = 100  # characters of a text in a list


def _inbox() -> tuple[Inbox, Operator]:
    service = wire(load_settings())
    made = Inbox(service.database, service.vault, service.snapshot, service.settings, service.flow.languages)
    return made, who(service.database)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also what was dealt with.")
@click.option("--most", default=50, show_default=True)
@_plainly
def inbox(everything: bool, most: int) -> None:
    """What was not understood, by its words, the newest first. Never a number."""
    made, operator = _inbox()
    seen = made.read(operator, utc_now())
    groups = [group for group in seen.groups if everything or not group.handled_by]
    for group in groups[:most]:
        said = " ".join(printable(group.newest.text).split())[:LONGEST]
        by = f"\tdealt with by {group.handled_by}" if group.handled_by else ""
        click.echo(f"{len(group.asked)}\t{group.newest.at:%Y-%m-%d %H:%M}Z\t{group.languages[0][0] or '-'}\t{said}{by}")
    left = f", {len(groups) - most} not shown" if len(groups) > most else ""
    unreadable = f", {seen.unreadable} cannot be read" if seen.unreadable else ""
    click.echo(f"{len(groups)} different messages of {seen.looked_at}{unreadable}{left}")


@click.group()
def alias() -> None:
    """Words that residents use for a place."""


@alias.command(name="add")
@click.argument("word")
@click.argument("place")
@_plainly
def alias_add(word: str, place: str) -> None:
    """Residents mean PLACE (its name or code) by WORD. Every process knows it at once."""
    made, operator = _inbox()
    now = utc_now()
    places, sure = made.places(operator, place, now)
    if not sure:
        listed = "\n".join(f"  {p.code}\t{p.name} ({p.kind}, {p.district or p.municipality})" for p in places)
        raise click.ClickException(f"which one? Give its code:\n{listed}")
    meant = made.add_alias(operator, word, places[0].code, now)
    click.echo(f"'{word}' means {meant.name} ({meant.code})")


@alias.command(name="remove")
@click.argument("word")
@_plainly
def alias_remove(word: str) -> None:
    """WORD means nothing any more."""
    made, operator = _inbox()
    found = next((one for one in made.aliases(operator) if one.alias == word), None)
    if found is None:
        raise Problem("no place was given the name '{alias}'; look it up in the list", alias=word)
    made.remove_alias(operator, found.id, utc_now())
    click.echo(f"'{word}' means nothing any more")


@alias.command(name="list")
@_plainly
def alias_list() -> None:
    """All names that were learnt, the newest first."""
    made, operator = _inbox()
    found = made.aliases(operator)
    for one in found:
        click.echo(f"{one.alias}\t{one.place}\tby {one.added_by}")
    if not found:
        click.echo("no names were learnt")

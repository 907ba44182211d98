"""`responder broadcast`, `deliveries` and `delivery`: what operators write to an area, and what became of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from responder.actions import steer
from responder.actions.announce import Announcer, Outcome, Seen
from responder.actions.load import read_file
from responder.actions.track import Tracker
from responder.cli import _plainly
from responder.cli.operators import number, vault_of, who
from responder.core.access import Operator
from responder.core.broadcast import Broadcast, State, Template
from responder.core.delivery import State as DeliveryState
from responder.core.estimate import Estimate, sending_time
from responder.flowfiles import load as load_flow
from responder.settings import Settings, load_settings
from responder.store.engine import Database
from responder.wiring import rates, utc_now

_TO = click.option(
    "--to", multiple=True, help="everyone, district:Farsta, area:Hökarängen, postcode:12347, point:ID. Repeat it."
)
_TEXT = click.option("--text", "texts", multiple=True, help="sv=..., or sv=@FILE. One for each language.")
_FALLBACK = click.option("--fallback", default="", help="Language for recipients whose own has no text.")
_WHY = click.option("--why", default="", help="For whoever wrote it.")


@dataclass(frozen=True)
class _Desk:
    """What a command works with."""

    settings: Settings
    announcer: Announcer
    tracker: Tracker
    operator: Operator
    now: datetime


def _desk() -> _Desk:
    settings = load_settings()
    database = Database(settings.database_url)
    announcer = Announcer(database, settings, load_flow(settings.flows_dir).languages)
    return _Desk(settings, announcer, Tracker(database), who(database), utc_now())


@click.group()
def broadcast() -> None:
    """Write to an area: draft, submit, approve, send."""


@broadcast.command(name="draft")
@_TO
@_TEXT
@_FALLBACK
@click.option("--template", type=click.Choice([t.value for t in Template if t is not Template.CORRECTION]))
@click.option("--exercise", is_flag=True, help="Only for those who enrolled; begins and ends with ÖVNING.")
@_plainly
def broadcast_draft(to: tuple[str, ...], texts: tuple[str, ...], fallback: str, template: str, exercise: bool) -> None:
    """Begin one, and show what it would come to."""
    desk = _desk()
    kind = Template(template or Template.FREE)
    made = desk.announcer.draft(desk.operator, to, desk.now, _said(texts), fallback, kind, exercise)
    _show(desk, made.id)


@broadcast.command(name="edit")
@click.argument("id", type=int)
@_TO
@_TEXT
@_FALLBACK
@click.option("--version", type=int, help="The version you read: refused if somebody has edited it since.")
@_plainly
def broadcast_edit(id: int, to: tuple[str, ...], texts: tuple[str, ...], fallback: str, version: int | None) -> None:
    """Change it: a draft again, whoever had approved it."""
    desk = _desk()
    desk.announcer.edit(desk.operator, id, desk.now, version, to, _said(texts), fallback)
    _show(desk, id)


@broadcast.command(name="submit")
@click.argument("id", type=int)
@click.option("--danger-to-life", "danger", default="", help="Why it cannot wait for a second person.")
@_plainly
def broadcast_submit(id: int, danger: str) -> None:
    """Count and price it; it then waits for a second person, or may be sent. With danger to life, also one that waits
    already: a push of openings then goes at once.
    """
    desk = _desk()
    if danger and desk.announcer.show(desk.operator, id, desk.now).broadcast.state is State.SUBMITTED:
        click.echo(_headline(desk.announcer.hasten(desk.operator, id, danger, desk.now)))
        return
    made, priced = desk.announcer.submit(desk.operator, id, desk.now, danger)
    click.echo(_headline(made))
    _print(_estimated(priced, desk.settings))
    waiting = f"`responder broadcast approve {id} --version {made.version}`, by somebody who did not write it"
    click.echo(f"next: {waiting if made.state is State.SUBMITTED else f'`responder broadcast send {id}`'}")


@broadcast.command(name="approve")
@click.argument("id", type=int)
@click.option("--version", type=int, required=True, help="The version you read.")
@_plainly
def broadcast_approve(id: int, version: int) -> None:
    """Approve the version you read. Nobody approves what they wrote."""
    desk = _desk()
    click.echo(_headline(desk.announcer.approve(desk.operator, id, version, desk.now)))


@broadcast.command(name="return")
@click.argument("id", type=int)
@_WHY
@_plainly
def broadcast_return(id: int, why: str) -> None:
    """Send it back to be written better."""
    desk = _desk()
    click.echo(_headline(desk.announcer.return_(desk.operator, id, desk.now, why)))


@broadcast.command(name="reject")
@click.argument("id", type=int)
@_WHY
@_plainly
def broadcast_reject(id: int, why: str) -> None:
    """Refuse it for good."""
    desk = _desk()
    click.echo(_headline(desk.announcer.reject(desk.operator, id, desk.now, why)))


@broadcast.command(name="send")
@click.argument("id", type=int)
@click.option("--at", default="", help="ISO 8601, or HH:MM, the next such time. Left out: now.")
@_plainly
def broadcast_send(id: int, at: str) -> None:
    """Send what is approved."""
    desk = _desk()
    when = sending_time(at, desk.settings.timezone, desk.now) if at else None
    click.echo(_headline(sent := desk.announcer.send(desk.operator, id, desk.now, when)))
    if sent.send_at is not None and sent.state is State.APPROVED:
        click.echo(f"begins {_local(sent.send_at, desk.settings)}")
    else:
        click.echo(f"recipients: {sent.recipients}")


@broadcast.command(name="correct")
@click.argument("id", type=int)
@_TEXT
@_FALLBACK
@_plainly
def broadcast_correct(id: int, texts: tuple[str, ...], fallback: str) -> None:
    """Stop it, and tell those it reached that it was wrong. Without --text this goes out at once."""
    desk = _desk()
    made = desk.announcer.correct(desk.operator, id, desk.now, _said(texts), fallback)
    click.echo(_headline(made))
    click.echo(f"recipients: {made.recipients}")


def _plain_step(name: str, help: str, take: Callable[[Announcer], Callable[..., Broadcast]]) -> None:
    @broadcast.command(name=name, help=help)
    @click.argument("id", type=int)
    @_plainly
    def step(id: int) -> None:
        desk = _desk()
        click.echo(_headline(take(desk.announcer)(desk.operator, id, desk.now)))


_plain_step("pause", "Send nothing more for now.", lambda announcer: announcer.pause)
_plain_step("resume", "Go on sending.", lambda announcer: announcer.resume)
_plain_step("stop", "Send nothing more, ever.", lambda announcer: announcer.stop)


@broadcast.command(name="show")
@click.argument("id", type=int)
@_plainly
def broadcast_show(id: int) -> None:
    """One of them: texts, price, who had a hand in it, how far it is."""
    _show(_desk(), id)


@broadcast.command(name="list")
@click.option("--most", default=20, show_default=True)
@_plainly
def broadcast_list(most: int) -> None:
    """The newest."""
    desk = _desk()
    found = desk.tracker.newest(desk.operator, most)
    for one in found:
        danger = f"\tDANGER TO LIFE: {one.reason}" if one.reason else ""
        begun = f"\t{_local(one.started_at, desk.settings)}" if one.started_at else ""
        click.echo(f"{_headline(one)}\tto {_whom(one)}\t{one.recipients} recipients\tby {one.operator}{begun}{danger}")
    if not found:
        click.echo("no broadcasts; `responder broadcast draft` begins one")


@click.command()
@click.option("--state", required=True, type=click.Choice([state.value for state in DeliveryState]))
@click.option("--broadcast", "of", type=int, help="Only of this one.")
@click.option("--most", default=100, show_default=True)
@_plainly
def deliveries(state: str, of: int | None, most: int) -> None:
    """Texts and calls in a state, with masked numbers."""
    desk = _desk()
    vault = vault_of(desk.settings)
    rows = [
        (
            str(one.id), str(one.broadcast_id), one.kind, one.channel, one.language, number(vault, one.number_sealed),
            str(one.attempt), str(one.error or ""), _local(one.claimed_at or one.created_at, desk.settings),
        )
        for one in desk.tracker.deliveries(desk.operator, state, of, most)
    ]  # fmt: skip
    if not rows:
        click.echo(f"no deliveries are {state}")
        return
    _print(_table(("id", "broadcast", "kind", "by", "language", "number", "tries", "error", "at"), rows))


@click.group()
def delivery() -> None:
    """One text or call."""


@delivery.command(name="resolve")
@click.argument("id", type=int)
@click.argument("outcome", type=click.Choice([outcome.value for outcome in Outcome]))
@_plainly
def delivery_resolve(id: int, outcome: str) -> None:
    """Say what became of an unknown one: it was sent, or shall be sent again."""
    desk = _desk()
    desk.announcer.resolve(desk.operator, id, Outcome(outcome), desk.now)
    click.echo(f"delivery {id}: {'sent' if outcome == Outcome.SENT else 'will be sent again'}")


def _said(texts: Iterable[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    for given in texts:
        language, equals, text = given.partition("=")
        if not equals or language in said:
            problem = "twice" if equals else "not LANGUAGE=TEXT"
            raise click.BadParameter(f"{given!r}: {problem}", param_hint="--text")
        said[language] = read_file(Path(text[1:])) if text.startswith("@") else text
    return said


def _show(desk: _Desk, id: int) -> None:
    seen = desk.announcer.show(desk.operator, id, desk.now)
    _print(_described(seen, desk.settings))
    if seen.broadcast.state is State.SENDING:
        _print(_still_to_go(desk, seen.broadcast))


def _still_to_go(desk: _Desk, one: Broadcast) -> Iterator[str]:
    """When its last text goes, after all that goes before it, at the rate of the gateway that is used now."""
    standing = steer.show(desk.tracker.database, desk.operator, rates(desk.settings), desk.now)
    if standing.main is None:
        yield "no gateway works that may be used: nothing is sent; `responder gateways show`"
    for queue in standing.waiting:
        if standing.main and queue.priority == one.priority:
            done = _local(desk.now.timestamp() + queue.seconds, desk.settings)
            yield f"gone at about {done}, by {standing.main.name} at {standing.main.rate:g} segments a second"


def _described(seen: Seen, settings: Settings) -> Iterator[str]:
    one = seen.broadcast
    yield _headline(one)
    yield f"to: {_whom(one)}{' (only who enrolled for exercises)' if one.exercise else ''}"
    yield f"written by: {', '.join(one.writers)}"
    if one.reason:
        yield f"DANGER TO LIFE, so nobody else approved it: {one.reason}"
    elif one.approved_by:
        yield f"approved by: {one.approved_by} (version {one.approved_version})"
    times = (("submitted", one.submitted_at), ("begins", one.send_at), ("begun", one.started_at))
    for name, at in (*times, ("ended", one.finished_at)):
        if at and not (name == "begins" and one.started_at):
            yield f"{name}: {_local(at, settings)}"
    if seen.estimate:
        yield from _estimated(seen.estimate, settings)
    else:
        yield from (f"--- {language} ---\n{text}" for language, text in one.texts.items())
    if seen.lacking:
        yield f"NOT READY: {seen.lacking}"
    if seen.progress:
        yield f"deliveries: {', '.join(f'{count} {state}' for state, count in seen.progress.items())}"
    for lost in seen.unknown:
        yield f"unknown: delivery {lost.id}; `responder delivery resolve {lost.id} sent` or `resend`"


def _estimated(priced: Estimate, settings: Settings) -> Iterator[str]:
    header = ("language", "text in", "encoding", "segments", "dear characters", "texts", "calls", settings.currency)
    rows = [
        (
            line.language or "(unknown)", line.written_in, line.cost.encoding, str(line.cost.segments),
            " ".join(line.cost.culprits) or "-", str(line.by_text), str(line.by_call), f"{line.price:.2f}",
        )
        for line in priced.lines
    ]  # fmt: skip
    yield from _table(header, rows)
    done = _local(priced.finish.timestamp(), settings)
    yield f"recipients: {priced.recipients}, price: {priced.price:.2f} {settings.currency}, done: {done} if begun now"
    for language, text in {line.written_in: line.text for line in priced.lines}.items():
        yield f"--- {language} ---\n{text}"


def _headline(one: Broadcast) -> str:
    exercise = ", EXERCISE" if one.exercise else ""
    return f"broadcast {one.id}: {one.state}, version {one.version}, {one.template or one.kind}{exercise}"


def _whom(one: Broadcast) -> str:
    if one.corrects is not None:
        return f"those whom broadcast {one.corrects} reached"
    if not one.written:
        return "those whose answer changed"
    return ", ".join(one.audience.tokens()) or "nobody"


def _local(at: float, settings: Settings) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(settings.timezone)):%Y-%m-%d %H:%M:%S}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print(lines: Iterable[Any]) -> None:
    for line in lines:
        click.echo(line)

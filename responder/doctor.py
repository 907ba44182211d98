"""What would go wrong, found before a resident finds it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from responder.core.flow import FlowError
from responder.core.points import ACTIVATED, Point, standing
from responder.core.pointsfile import check_point
from responder.flowfiles import load
from responder.settings import DEFAULT_SECRET, SECRETS, Settings, SettingsError
from responder.store import migrations
from responder.store.accounts import read_accounts
from responder.store.engine import Database, StoreAway
from responder.store.meter import SPEND
from responder.store.outbox import workload
from responder.store.queries import counts, read_points
from responder.store.schedule import DAY, LEASE, leader, usage
from responder.web.simulator import CREATOR


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    well: bool
    text: str


def examine(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Everything that can be looked at without sending anything."""
    yield _settings(settings)
    try:
        flow = load(settings.flows_dir)
        yield Finding(True, f"flows in {settings.flows_dir}: {len(flow.nodes)} nodes, {', '.join(flow.languages)}")
    except FlowError as error:
        yield from (Finding(False, problem) for problem in error.problems)
    yield from _database(settings, now)


def _settings(settings: Settings) -> Finding:
    try:
        settings.check()
    except SettingsError as error:
        return Finding(False, str(error))
    if settings.real and settings.helpline_number == Settings.model_fields["helpline_number"].default:
        return Finding(False, "HELPLINE_NUMBER is at its default: nobody there knows an address that is not given out")
    if settings.real and not (settings.twilio_call_from or settings.twilio_from).startswith("+"):
        return Finding(False, "TWILIO_CALL_FROM is missing: landlines cannot be called from a short code or a name")
    if settings.real:
        return Finding(True, f"settings for GATEWAY=twilio, called at {settings.public_url}")
    default = [name.upper() for name in SECRETS if getattr(settings, name) in ("", DEFAULT_SECRET)]
    still = f"; GATEWAY=twilio would refuse the defaults of {', '.join(default)}" if default else ""
    return Finding(True, f"settings for GATEWAY=recorder: nothing leaves this machine{still}")


def _database(settings: Settings, now: datetime) -> Iterator[Finding]:
    database = Database(settings.database_url)
    try:
        at, head = migrations.revisions(database.engine)
        if at != head:
            yield Finding(False, f"database is at revision {at or 'none'}, not {head}: run `responder init`")
            return
        with database.read() as connection:
            rows = counts(connection)
            points = [point for point, _ in read_points(connection)]
            open_to = [one.operator for one in read_accounts(connection) if one.disabled_at is None]
    except StoreAway as error:
        yield Finding(False, f"database: {error}")
        return
    made = [operator.name for operator in open_to if operator.created_by == CREATOR]
    yield Finding(rows["places"] > 0, f"database at revision {head}, {rows['places']} places, {len(points)} points")
    if settings.real and made:
        yield Finding(False, f"accounts that `responder demo` made: {', '.join(made)}; disable them")
    yield from _points(points, settings, now)
    yield from _sending(database, settings, now)


def _sending(database: Database, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether anybody sends what is queued, and what waits for a person."""
    with database.read() as connection:
        leads = leader(connection, LEASE)
        work = workload(connection)
        spent = usage(connection, SPEND, int(now.timestamp() // DAY))[1]
    alive = leads is not None and leads[1] > now.timestamp()
    who = f"{leads[0]} leads" if leads and alive else "no jobs process leads: run `responder jobs`"
    idle = not work.subscriptions and not work.queued
    yield Finding(alive or idle, f"jobs: {who}; {work.subscriptions} subscriptions, {work.queued} messages queued")
    if work.unknown:
        yield Finding(
            False, f"{work.unknown} messages may or may not have been sent: `responder deliveries --state unknown`"
        )
    if work.submitted:
        yield Finding(True, f"{work.submitted} broadcasts wait for a second person: `responder broadcast list`")
    cap = settings.spend_per_day
    yield Finding(spent < cap, f"spent today: {spent:.2f} of {cap:.2f} {settings.currency}")


def _points(points: list[Point], settings: Settings, now: datetime) -> Iterator[Finding]:
    demo = [point.id for point in points if point.demo]
    if demo:
        yield Finding(not settings.real, f"{len(demo)} demo points, which GATEWAY=twilio refuses")
    after = timedelta(hours=settings.stale_after)
    for point in points:
        for fault in check_point(point, settings.timezone):
            yield Finding(False, f"point {point.id}, {fault}")
        if point.status in ACTIVATED and standing(point, now, settings.timezone, after).unconfirmed:
            since = f"since {point.confirmed_at:%Y-%m-%d %H:%M} UTC" if point.confirmed_at else "ever"
            yield Finding(False, f"point {point.id} is {point.status} but nobody has confirmed it {since}")

"""What would go wrong, found before a resident finds it."""

import asyncio
import re
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from responder.core.finding import Finding, plain, shown
from responder.core.flow import FlowError
from responder.core.points import ACTIVATED, Point, standing
from responder.core.pointsfile import check_point
from responder.flowfiles import load
from responder.gateways.elks_check import look_at_elks
from responder.gateways.modem_check import look_at_modem
from responder.gateways.self_check import look_from_outside
from responder.gateways.twilio_check import look_at_account, off_by
from responder.gateways.web_check import Line
from responder.ports import ELKS, TWILIO, Clock
from responder.settings import DEFAULT_SECRET, SECRETS, Settings, SettingsError, key_list
from responder.store import migrations, soundness
from responder.store.accounts import read_accounts
from responder.store.engine import Database, StoreAway
from responder.store.meter import SPEND
from responder.store.outbox import workload
from responder.store.people import keys_in_use, keys_in_vain
from responder.store.queries import counts, read_points
from responder.store.restored import HELD
from responder.store.schedule import DAY, LEASE, leader, usage
from responder.store.vault import Vault
from responder.web.simulator import CREATOR

AWAY, RESTORE = "The database is away", "Restore from a backup"  # chapters of RUNBOOK.md
HELD_BACK = "jobs: nothing is pushed or sent since a restore; set the points to what they are, `responder release`"
_PUT_BACK = "put it back, behind the newest: see RUNBOOK.md, `Rotate a key`"
DISK_FULL = f"make room, or residents will be answered from memory only: see RUNBOOK.md, `{AWAY}`"


def examine(settings: Settings, clock: Clock, offline: bool = False) -> Iterator[Finding]:
    """Everything that can be looked at without sending anything; `offline`: without the network too."""
    yield _settings(settings)
    yield from _contact(settings)
    try:
        flow = load(settings.flows_dir)
        yield Finding(True, f"flows in {settings.flows_dir}: {len(flow.nodes)} nodes, {', '.join(flow.languages)}")
    except FlowError as error:
        yield from (Finding(False, problem) for problem in error.problems)
    yield from _open_to_strangers([Path(".env")], settings)
    yield from _database(settings, clock)
    yield from look_at_modem(settings)
    yield from _network(settings, clock, offline)


def _network(settings: Settings, clock: Clock, offline: bool) -> Iterator[Finding]:
    if offline:
        yield Finding(True, "PUBLIC_URL, signatures, and the provider: not looked at (--offline)")
        return
    if not settings.real and not settings.twilio_api_url and not settings.elks_api_url:
        yield Finding(True, "PUBLIC_URL, signatures, and the provider: not looked at (GATEWAY=recorder)")
        return
    yield from _one_by_one(_outside(settings, clock))


async def _outside(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    async with Line() as line:
        twilio = TWILIO in settings.gateways and bool(settings.real or settings.twilio_api_url)
        token = settings.twilio_auth_token if twilio else ""
        async for finding in look_from_outside(line, settings.public_url, token):
            yield finding
        if twilio:
            async for finding in look_at_account(line, settings, clock):
                yield finding
        if ELKS in settings.gateways and (settings.real or settings.elks_api_url):
            async for finding in look_at_elks(line, settings):
                yield finding


def _one_by_one(findings: AsyncIterator[Finding]) -> Iterator[Finding]:
    """Each as soon as it is known: somebody waits at a terminal."""

    async def following() -> Finding | None:
        return await anext(findings, None)

    with asyncio.Runner() as runner:
        while finding := runner.run(following()):
            yield finding


def _contact(settings: Settings) -> Iterator[Finding]:
    if settings.security_contact:
        yield Finding(True, "SECURITY_CONTACT is told in /.well-known/security.txt")
    elif settings.real:
        yield Finding(False, "SECURITY_CONTACT is missing: whoever finds a hole in the service can tell nobody")


def _open_to_strangers(paths: list[Path], settings: Settings) -> Iterator[Finding]:
    """Files with secrets or numbers in them that any user of the machine may read or change."""
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o007:
            text = f"{path} is open to every user of this machine ({mode:04o}): `chmod o= {path}`"
            yield Finding(not settings.real, text)


def _settings(settings: Settings) -> Finding:
    try:
        settings.check()
    except SettingsError as error:
        return Finding(False, str(error))
    if settings.real and settings.helpline_number == Settings.model_fields["helpline_number"].default:
        return Finding(False, "HELPLINE_NUMBER is at its default: nobody there knows an address that is not given out")
    no_caller = not (settings.twilio_call_from or settings.twilio_from).startswith("+")
    if settings.real and TWILIO in settings.gateways and no_caller:
        return Finding(False, "TWILIO_CALL_FROM is missing: landlines cannot be called from a short code or a name")
    if settings.real:
        return Finding(True, f"settings for GATEWAY={settings.gateway}, called at {shown(settings.public_url)}")
    default = [name.upper() for name in SECRETS if getattr(settings, name) in ("", DEFAULT_SECRET)]
    still = f"; GATEWAY=twilio would refuse the defaults of {', '.join(default)}" if default else ""
    return Finding(True, f"settings for GATEWAY=recorder: nothing leaves this machine{still}")


def _database(settings: Settings, clock: Clock) -> Iterator[Finding]:
    try:
        opened = Database(settings.database_url)
    except SettingsError as error:
        yield Finding(False, str(error))
        return
    except OSError as error:
        yield Finding(False, f"the folder of the database cannot be made: {error}; whose is the one above it?")
        return
    with closing(opened) as database:
        yield from _in_database(database, settings, clock)


def _in_database(database: Database, settings: Settings, clock: Clock) -> Iterator[Finding]:
    now = clock()
    try:
        at, head = migrations.revisions(database.engine)
        if at != head:
            yield Finding(False, migrations.unlike(at))
            return
        yield from _soundness(database, clock)
        with database.read() as connection:
            rows = counts(connection)
            points = [point for point, _ in read_points(connection)]
            open_to = [one.operator for one in read_accounts(connection) if one.disabled_at is None]
    except StoreAway as error:
        yield Finding(False, f"database: {plain(str(error))}; see RUNBOOK.md, `{_chapter(error)}`")
        return
    yield from _open_to_strangers(soundness.files(database), settings)
    made = [operator.name for operator in open_to if operator.created_by == CREATOR]
    yield Finding(rows["places"] > 0, f"database at revision {head}, {rows['places']} places, {len(points)} points")
    if settings.real and made:
        yield Finding(False, f"accounts that `responder demo` made: {', '.join(made)}; disable them")
    yield from _keys(database, settings)
    yield from _points(points, settings, now)
    yield from _sending(database, settings, now)


def _chapter(error: StoreAway) -> str:
    return RESTORE if re.search("malformed|not a database", str(error)) else AWAY


def _soundness(database: Database, clock: Clock) -> Iterator[Finding]:
    """Whether it can be written to, is whole, has room, and keeps our time. Raises StoreAway."""
    try:
        soundness.try_write(database)
    except StoreAway as error:
        yield Finding(False, f"database cannot be written to: {plain(str(error))}; see RUNBOOK.md, `{_chapter(error)}`")
    broken = soundness.faults(database)
    for fault in broken:
        yield Finding(False, f"database is damaged: {plain(fault)}; see RUNBOOK.md, `{RESTORE}`")
    if database.sqlite and not broken:
        yield Finding(True, "database file is whole")
    for file in soundness.files(database)[:1]:
        free = soundness.free_bytes(file)
        room = free >= soundness.LOW_DISK
        yield Finding(room, f"disk of {file}: {free / 1e9:.1f} GB free{'' if room else f'; {DISK_FULL}'}")
    before = clock().timestamp()
    theirs = soundness.server_time(database)
    if theirs is not None:
        after = clock().timestamp()
        yield off_by((before + after) / 2 - theirs, (after - before) / 2, "the database server's")


def _keys(database: Database, settings: Settings) -> Iterator[Finding]:
    """Whether numbers can be read, and found: with another key nobody hears anything, and no STOPP is known."""
    try:
        vault = Vault(key_list(settings.number_key), key_list(settings.lookup_key))
    except SettingsError:  # it was told with the settings
        return
    with database.read() as connection:
        used, in_vain = keys_in_use(connection), keys_in_vain(connection)
    for name in vault.lacks(used) if used else ():
        yield Finding(False, f"{name}: numbers in the database are under a key that is none of it; {_PUT_BACK}")
    if in_vain == vault.ring:
        yield Finding(
            False,
            f"some numbers or second factors are under a key that is gone, the log of jobs names each; {_PUT_BACK}",
        )


def _sending(database: Database, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether anybody sends what is queued, and what waits for a person."""
    with database.read() as connection:
        leads = leader(connection, LEASE)
        work = workload(connection)
        spent = usage(connection, SPEND, int(now.timestamp() // DAY))[1]
    alive = leads is not None and leads[1] > now.timestamp()
    held = leads is not None and leads[0] == HELD
    if held:
        yield Finding(
            False, "jobs: nothing is pushed or sent since a restore; put the points right, `responder release`"
        )
    who = f"{leads[0]} leads" if leads and alive else "no jobs process leads: run `responder jobs`"
    idle = not settings.real and not work.subscriptions and not work.queued
    yield Finding(
        held or alive or idle, f"jobs: {who}; {work.subscriptions} subscriptions, {work.queued} messages queued"
    )
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

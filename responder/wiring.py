"""Where the objects meet, and the only place that reads the clock."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from responder.actions.answer import Answerer
from responder.actions.load import not_places
from responder.core.flow import Flow
from responder.core.reply import Manner
from responder.flowfiles import load
from responder.gateways.recorder import RecorderGateway
from responder.gateways.twilio import TwilioGateway
from responder.ports import Clock, Gateway
from responder.settings import Settings, SettingsError, key_list
from responder.store.engine import Database, StoreAway
from responder.store.queries import Turns
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault

log = logging.getLogger("responder")


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one clock


@dataclass(frozen=True)
class Service:
    """Everything a running service consists of."""

    settings: Settings
    clock: Clock
    flow: Flow
    database: Database
    snapshot: Snapshot
    gateway: Gateway
    answerer: Answerer


def wire(settings: Settings, clock: Clock = utc_now) -> Service:
    """The service, ready to answer. Raises SettingsError or FlowError; starts also while the database is away."""
    settings.check()
    flow = load(settings.flows_dir)
    database = Database(settings.database_url)
    stale_after = timedelta(hours=settings.stale_after)
    snapshot = Snapshot(database, settings.timezone, stale_after, not_places(), demo=not settings.real)

    def hints() -> tuple[str, ...]:
        return snapshot.view.gazetteer.spoken if snapshot.view else ()

    kind = TwilioGateway if settings.real else RecorderGateway
    gateway = kind(settings.public_url, settings.twilio_auth_token, flow, hints)
    manner = Manner(
        settings.sender_name, settings.helpline_number, settings.timezone, stale_after, settings.retain_days
    )
    vault = Vault(key_list(settings.number_key), key_list(settings.lookup_key))
    try:
        demo = [point.id for point in snapshot.read(clock()).refused]
    except StoreAway as error:
        log.error("starting without the database: %s", error)
        demo = []
    finally:
        database.engine.dispose()  # nothing open may be inherited by a forked worker
    if demo:
        raise SettingsError(f"GATEWAY=twilio does not start on demo points: {', '.join(demo[:5])}")
    answerer = Answerer(flow, manner, gateway, Turns(database), snapshot, vault, clock)
    return Service(settings, clock, flow, database, snapshot, gateway, answerer)

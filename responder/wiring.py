"""Where the objects meet, and the only place that reads the clock."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from responder.actions.announce import Announcer
from responder.actions.answer import Answerer, Reach
from responder.actions.deliver import Deliverer, Limits
from responder.actions.load import not_places
from responder.actions.push import Rules
from responder.actions.receive import Receiver
from responder.actions.track import Tracker
from responder.core.flow import Flow
from responder.core.message import Messages
from responder.core.numbers import countries
from responder.core.reply import Manner
from responder.flowfiles import load
from responder.gateways.recorder import RecorderGateway, RecorderSender
from responder.gateways.twilio import TwilioGateway
from responder.gateways.twilio_sender import TwilioSender
from responder.ports import TWILIO, Clock, Gateway, Sender
from responder.settings import Settings, SettingsError, key_list
from responder.store.engine import Database, StoreAway
from responder.store.meter import Meter
from responder.store.people import People
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
    gateways: Mapping[str, Gateway]
    answerer: Answerer
    receiver: Receiver
    vault: Vault
    people: People
    messages: Messages
    manner: Manner
    announcer: Announcer
    tracker: Tracker

    def deliverer(self, owner: str) -> Deliverer:
        """What sends, for one process that calls itself `owner`."""
        settings = self.settings
        limits = Limits(
            send_rate=settings.send_rate,
            call_rate=settings.call_rate,
            concurrency=settings.send_concurrency,
            api_timeout=settings.api_timeout,
            reconcile=settings.reconcile_seconds,
            price_segment=settings.price_segment,
            price_call=settings.price_call,
            spend_per_day=settings.spend_per_day,
            number_per_day=settings.number_per_day,
        )
        return Deliverer(
            self.database, self.snapshot, self.messages, self.manner, self.gateways[TWILIO], _sender(settings),
            self.vault, self.people, self.clock, limits, owner,
        )  # fmt: skip

    @property
    def rules(self) -> Rules:
        """How changes are pushed."""
        settings = self.settings
        return Rules(settings.push_settle_seconds, settings.follow_up_hours, settings.approve_above)


def _sender(settings: Settings) -> Sender:
    """Twilio's API, or a double of it at TWILIO_API_URL; else nobody."""
    if not settings.real and not settings.twilio_api_url:
        return RecorderSender()
    return TwilioSender(
        settings.twilio_account_sid,
        settings.twilio_auth_token,
        settings.twilio_api_url,
        settings.public_url,
        settings.twilio_from,
        settings.twilio_call_from or settings.twilio_from,
        settings.twilio_messaging_service_sid,
        settings.send_concurrency,
        settings.api_timeout,
    )


def wire(settings: Settings, clock: Clock = utc_now) -> Service:
    """The service, ready to answer. Raises SettingsError or FlowError; starts also while the database is away."""
    settings.check()
    flow = load(settings.flows_dir)
    database = Database(settings.database_url, pooled=True)
    stale_after = timedelta(hours=settings.stale_after)
    snapshot = Snapshot(database, settings.timezone, stale_after, not_places(), demo=not settings.real)

    def hints() -> tuple[str, ...]:
        return snapshot.view.gazetteer.spoken if snapshot.view else ()

    kind = TwilioGateway if settings.real else RecorderGateway
    gateways: dict[str, Gateway] = {
        TWILIO: kind(settings.public_url, settings.twilio_auth_token, flow, hints),
    }
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
        raise SettingsError(f"GATEWAY={settings.gateway} does not start on demo points: {', '.join(demo[:5])}")
    people = People(database)
    meter = Meter(database, settings.number_per_day, settings.prefix_per_hour, settings.spend_per_day)
    reach = Reach(
        countries(settings.reply_countries),
        countries(settings.subscribe_countries),
        settings.price_segment,
        settings.price_call,
    )
    answerer = Answerer(flow, manner, gateways, Turns(database), snapshot, vault, clock, people, meter, reach)
    messages = Messages(flow)
    receiver = Receiver(database, people, vault, messages, gateways)
    return Service(
        settings,
        clock,
        flow,
        database,
        snapshot,
        gateways,
        answerer,
        receiver,
        vault,
        people,
        messages,
        manner,
        Announcer(database, settings, flow.languages, snapshot.places),
        Tracker(database),
    )

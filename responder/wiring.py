"""Where the objects meet, and the only place that reads the clock."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from responder.actions.announce import Announcer
from responder.actions.answer import Answerer, Reach
from responder.actions.deliver import Deliverer, Limits
from responder.actions.desk import Desk
from responder.actions.hosts import Asking
from responder.actions.load import not_places
from responder.actions.publish import Counter, Foresight
from responder.actions.push import Rules
from responder.actions.receive import Receiver
from responder.actions.track import Tracker
from responder.core.flow import Flow
from responder.core.health import Rule
from responder.core.message import Messages
from responder.core.numbers import countries
from responder.core.reply import Manner
from responder.flowfiles import load, phrases
from responder.gateways.elks import ElksGateway
from responder.gateways.elks_paths import Paths
from responder.gateways.elks_sender import ElksSender
from responder.gateways.modem import ModemGateway
from responder.gateways.modem_sender import ModemSender
from responder.gateways.recorder import RecorderGateway, RecorderSender
from responder.gateways.recordings import recordings
from responder.gateways.smsd import Smsd
from responder.gateways.twilio import TwilioGateway
from responder.gateways.twilio_sender import TwilioSender
from responder.ports import ELKS, MODEM, TWILIO, Clock, Gateway, Inbound, Sender
from responder.settings import Settings, SettingsError, key_list
from responder.store.engine import Database, StoreAway
from responder.store.meter import Meter
from responder.store.people import People
from responder.store.queries import Turns
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault

log = logging.getLogger("responder")

PROBES = 12  # in the time for which a gateway stays down ...
SOONEST = 1.0  # ... and seconds between two, at least


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
    desk: Desk

    def respond(self, inbound: Inbound) -> str:
        """The provider's document that answers `inbound`, recorded before it is returned: the desk's, if it is an
        operator's or a host's, else a resident's.
        """
        return self.desk.respond(inbound) or self.answerer.respond(inbound)

    @property
    def asking(self) -> Asking:
        """What asks hosts."""
        every = timedelta(hours=self.settings.host_ask_hours)
        return Asking(self.database, self.vault, self.flow, self.manner, every)

    @property
    def senders(self) -> tuple[str, ...]:
        """The gateways that this process can send by, the preferred first."""
        return tuple(_senders(self.settings))

    def deliverer(self, owner: str) -> Deliverer:
        """What sends, for one process that calls itself `owner`."""
        settings = self.settings
        limits = Limits(
            send_rates=rates(settings),
            call_rate=settings.call_rate,
            concurrency=settings.send_concurrency,
            api_timeout=settings.api_timeout,
            reconcile=settings.reconcile_seconds,
            price_segment=settings.price_segment,
            price_call=settings.price_call,
            spend_per_day=settings.spend_per_day,
            number_per_day=settings.number_per_day,
            rule=Rule(hold=settings.gateway_hold, probe=max(SOONEST, settings.gateway_hold / PROBES)),
        )
        return Deliverer(
            self.database, self.snapshot, self.messages, self.manner, self.gateways, _senders(settings), self.vault,
            self.people, self.clock, limits, owner,
        )  # fmt: skip

    @property
    def rules(self) -> Rules:
        """How changes are pushed."""
        settings = self.settings
        return Rules(settings.push_settle_seconds, settings.follow_up_hours, settings.approve_above)


def rates(settings: Settings) -> dict[str, float]:
    """Gateway, the preferred first, to the segments a second that it may be given."""
    known = {TWILIO: settings.send_rate, ELKS: settings.elks_send_rate, MODEM: settings.modem_rate}
    return {name: known[name] for name in settings.gateways}


def _senders(settings: Settings) -> dict[str, Sender]:
    """Those of the gateways that this process can send by, the preferred first."""
    make: dict[str, Callable[[Settings], Sender]] = {TWILIO: _sender, ELKS: _elks_sender, MODEM: _modem_sender}
    return {name: make[name](settings) for name in settings.gateways}


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


def _modem_sender(settings: Settings) -> Sender:
    """The modem of this machine; else nobody."""
    if not settings.modem_database:
        nobody = RecorderSender()
        nobody.calls = False
        return nobody
    return ModemSender(smsd(settings), settings.modem_rate, settings.api_timeout)


def smsd(settings: Settings) -> Smsd:
    """What the daemon of MODEM_DATABASE keeps."""
    return Smsd(Path(settings.modem_database), settings.modem_phone_id)


def _elks_sender(settings: Settings) -> Sender:
    """46elks' API, or a double of it at ELKS_API_URL; else nobody."""
    if not settings.real and not settings.elks_api_url:
        return RecorderSender()
    return ElksSender(
        settings.elks_username,
        settings.elks_password,
        settings.elks_api_url,
        Paths(settings.public_url, settings.elks_path),
        settings.elks_from,
        settings.elks_call_from or settings.elks_from,
        settings.send_concurrency,
        settings.api_timeout,
    )


def _elks_gateway(settings: Settings, flow: Flow, clock: Clock) -> Gateway:
    """Raises SettingsError where nothing can be said in a call."""
    spoken = recordings(settings, flow.keys_only, clock)
    spoken.check()
    return ElksGateway(
        Paths(settings.public_url, settings.elks_path), settings.elks_path, settings.elks_networks, spoken
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
    gateways: dict[str, Gateway] = {}
    if TWILIO in settings.gateways:
        gateways[TWILIO] = kind(settings.public_url, settings.twilio_auth_token, flow, hints)
    if ELKS in settings.gateways:
        gateways[ELKS] = _elks_gateway(settings, flow, clock)
    if MODEM in settings.gateways:
        gateways[MODEM] = ModemGateway(settings.real)
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
    announcer = Announcer(database, settings, flow.languages, snapshot.places)
    counter = Counter(Foresight(database, messages, manner, settings), settings.timezone)
    asking = Asking(database, vault, flow, manner, timedelta(hours=settings.host_ask_hours))
    desk = Desk(
        flow, manner, gateways, database, snapshot, vault, clock, meter, settings.price_segment, counter, announcer,
        asking, phrases,
    )  # fmt: skip
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
        announcer,
        Tracker(database),
        desk,
    )

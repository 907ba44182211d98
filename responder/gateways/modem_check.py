"""Whether the modem could take a text in and send one: what the doctor asks of SMSD's database."""

from collections.abc import Iterator
from pathlib import Path

from responder.core.finding import Finding, plain
from responder.gateways import smsd
from responder.gateways.smsd import Away, Smsd
from responder.settings import Settings

WEAK = 15  # percent of signal
CROWDED = 50  # texts that came in and nobody has read
_READS = "is `responder jobs` running here?"


def look_at_modem(settings: Settings) -> Iterator[Finding]:
    """Nothing where there is no modem; no more than the first thing where its database cannot be read."""
    if not settings.modem_database:
        return
    database = Smsd(Path(settings.modem_database), settings.modem_phone_id)
    try:
        with database.read() as connection:
            phone = smsd.phone(connection, database.phone)
            unread = connection.execute(
                "SELECT count(*) FROM inbox WHERE Processed = 'false' AND ? IN ('', RecipientID)"
                " AND UpdatedInDB < datetime('now', '-5 minutes')", (database.phone,)
            ).fetchone()[0]  # fmt: skip
            failed = connection.execute(
                "SELECT count(*) FROM sentitems WHERE Status IN ('SendingError', 'Error') AND StatusError < 1000"
                " AND UpdatedInDB > datetime('now', '-1 hour')"
            ).fetchone()[0]
            waits = smsd.waiting(connection, database.phone)
        with database.write():
            pass  # it can be written to
    except Away as error:
        yield Finding(False, f"modem: {plain(str(error))}; see deploy/modem")
        return
    yield Finding(True, f"modem: {database.path}, schema {smsd.SCHEMA}, {waits} texts wait to be sent")
    yield from _phone(phone, database.phone)
    yield Finding(not unread, f"modem: {unread} texts have waited for 5 minutes{f'; {_READS}' if unread else ''}")
    yield Finding(not failed, f"modem: {failed} texts could not be sent in the last hour")


def _phone(phone: smsd.Phone | None, wanted: str) -> Iterator[Finding]:
    if phone is None:
        known = f" called {wanted}" if wanted else ""
        yield Finding(False, f"modem: no phone{known} has been seen: does gammu-smsd run, and find the modem?")
        return
    if not phone.alive:
        yield Finding(False, f"modem: gammu-smsd was last heard of {phone.age:.0f} s ago: does it run?")
        return
    yield Finding(True, f"modem: gammu-smsd runs, heard of {phone.age:.0f} s ago")
    network = f"in the network {phone.network}" if phone.connected else "in no network: SIM, PIN, antenna?"
    yield Finding(phone.connected, f"modem: {network}")
    strong = phone.signal < 0 or phone.signal >= WEAK  # below 0: not known
    yield Finding(strong, f"modem: signal {phone.signal} %" if phone.signal >= 0 else "modem: signal not known")
    both = phone.sends and phone.receives
    yield Finding(both, f"modem: gammu-smsd {'sends and receives' if both else 'is set not to send or not to receive'}")

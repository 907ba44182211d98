"""Every quarter of an hour: delete what is old, and tell operators of points that nobody has confirmed."""

import logging
from datetime import datetime

from responder.core.access import Role
from responder.core.message import Messages
from responder.core.points import ACTIVATED, Point
from responder.core.segments import to_gsm
from responder.settings import Settings
from responder.store import outbox, people
from responder.store.broadcasts import Account, read_accounts
from responder.store.engine import Database
from responder.store.queries import purge_turns
from responder.store.schedule import DAY, purge_schedule
from responder.store.snapshot import View
from responder.store.vault import Vault

log = logging.getLogger("responder.housekeep")

OPERATOR_LANGUAGE = "sv"
BATCH = 1000


def keep_house(
    database: Database, vault: Vault, messages: Messages, view: View, settings: Settings, now: datetime
) -> int:
    """How many operators are told of stale points. Raises StoreAway."""
    rekey(database, vault, now)
    before = now.timestamp() - settings.retain_days * DAY
    with database.write() as connection:
        gone = outbox.purge(connection, before, now.timestamp() - DAY)
        purge_turns(connection, before)
        purge_schedule(connection, before)
        accounts = read_accounts(connection)
        told = 0
        for point, since in _stale(view, now):
            body = to_gsm(messages.stale(point.name, since, now, settings.timezone, OPERATOR_LANGUAGE))
            for account in accounts:
                if _concerns(account, point):
                    number = vault.open(account.phone_sealed)
                    serial = f"stale:{point.id}:{since.timestamp() if since else 0}"
                    row = {
                        "hash": vault.newest(number), "sealed": vault.seal(number), "body": body, "serial": serial,
                        "language": OPERATOR_LANGUAGE, "now": now.timestamp(),
                    }  # fmt: skip
                    told += outbox.tell_operator(connection, row)
    if gone or told:
        log.info("deleted %d old deliveries, told %d operators of stale points", gone, told)
    return told


def rekey(database: Database, vault: Vault, now: datetime) -> int:
    """Hash and seal the numbers of all subscriptions by the newest keys, if they are not; how many.

    One number must have one hash, or it would get a broadcast twice.
    """
    with database.read() as connection:
        known = people.keys_in_use(connection)
    if known == vault.fingerprint:
        return 0
    done = last = 0
    while True:
        with database.write() as connection:
            rows = people.numbers_after(connection, last, BATCH)
            for id, sealed in rows:
                try:
                    number = vault.open(sealed)
                except ValueError as error:
                    log.error("subscription %d cannot be read: %s", id, error)
                    continue
                people.rehash(connection, id, vault.newest(number), vault.seal(number))
            if not rows:
                people.set_keys_in_use(connection, vault.fingerprint, now.timestamp())
                break
        done, last = done + len(rows), rows[-1][0]
    log.info("%d subscriptions are under the newest keys", done)
    return done


def _stale(view: View, now: datetime) -> list[tuple[Point, datetime | None]]:
    board = view.board.at(now)
    return [
        (point, point.confirmed_at)
        for point, standing in zip(board.points, board.standings, strict=True)
        if point.status in ACTIVATED and standing.unconfirmed
    ]


def _concerns(account: Account, point: Point) -> bool:
    """Whether somebody with a phone can do something about the point."""
    operator = account.operator
    if not account.phone_sealed or account.disabled_at is not None or operator.role is Role.VIEWER:
        return False
    return not operator.districts or point.district in operator.districts

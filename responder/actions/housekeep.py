"""Every quarter of an hour: delete what is old, and tell operators of points that nobody has confirmed."""

import logging
from datetime import datetime

from responder.core.access import Role
from responder.core.message import Messages
from responder.core.points import ACTIVATED, Point
from responder.core.segments import to_gsm
from responder.settings import Settings
from responder.store import accounts as staff
from responder.store import desk, inbox, outbox, people
from responder.store.accounts import Account, read_accounts
from responder.store.engine import Database
from responder.store.queries import purge_turns
from responder.store.schedule import DAY, purge_schedule
from responder.store.snapshot import View
from responder.store.vault import Vault

log = logging.getLogger("responder.housekeep")

OPERATOR_LANGUAGE = "sv"
BATCH = 1000
SESSIONS_KEPT = 30 * DAY  # seconds for which it is known from where somebody signed in
PURGED = 5000  # rows deleted in one transaction


def keep_house(
    database: Database, vault: Vault, messages: Messages, view: View, settings: Settings, now: datetime
) -> int:
    """How many operators are told of stale points. Raises StoreAway."""
    rekey(database, vault, now)
    before = now.timestamp() - settings.retain_days * DAY
    gone = 0
    for purge in (outbox.purge_deliveries, purge_turns):  # in batches: residents wait for each transaction
        while True:
            with database.write() as connection:
                some = purge(connection, before, PURGED)
            gone += some
            if some < PURGED:
                break
    with database.write() as connection:
        outbox.purge(connection, before, now.timestamp() - DAY)
        inbox.purge_handled(connection, before)
        desk.purge_wishes(connection, now.timestamp() - DAY, before)
        purge_schedule(connection, before)
        staff.purge_sign_ins(connection, now.timestamp() - SESSIONS_KEPT, now.timestamp() - DAY)
        accounts = read_accounts(connection)
        told = 0
        for point, since in _stale(view, now):
            body = to_gsm(messages.stale(point.name, since, now, settings.timezone, OPERATOR_LANGUAGE))
            for account in accounts:
                number = _opened(vault, account.phone_sealed, account.operator.name)
                if number and _concerns(account, point):
                    serial = f"stale:{point.id}:{since.timestamp() if since else 0}"
                    row = {
                        "hash": vault.newest(number), "sealed": vault.seal(number), "body": body, "serial": serial,
                        "language": OPERATOR_LANGUAGE, "now": now.timestamp(),
                    }  # fmt: skip
                    told += outbox.tell_operator(connection, row)
    if gone or told:
        log.info("deleted %d old rows, told %d operators of stale points", gone, told)
    return told


def rekey(database: Database, vault: Vault, now: datetime) -> int:
    """Hash and seal the numbers of subscriptions, operators and whoever may have to hear of a closed door, and second
    factors, by the newest keys, if they are not; how many subscriptions.

    One number must have one hash, or it would get a broadcast twice. What no key opens is tried again with other keys.
    """
    with database.read() as connection:
        known, in_vain = people.keys_in_use(connection), people.keys_in_vain(connection)
        unhashed = desk.phones_without_hash(connection)
    if unhashed:
        with database.write() as connection:
            for name, sealed in desk.phones_without_hash(connection):
                if number := _opened(vault, sealed, name):
                    desk.set_phone_hash(connection, name, vault.newest(number))
    if known == vault.fingerprint and in_vain in ("", vault.ring):
        return 0
    done = last = lost = 0

    def opened(sealed: bytes, whose: str) -> str:
        nonlocal lost
        found = _opened(vault, sealed, whose)
        lost += bool(sealed and not found)
        return found

    while True:
        with database.write() as connection:
            rows = people.numbers_after(connection, last, BATCH)
            for id, sealed in rows:
                if number := opened(sealed, f"subscription {id}"):
                    people.rehash(connection, id, vault.newest(number), vault.seal(number))
                    done += 1
            if not rows:
                break
        last = rows[-1][0]
    with database.write() as connection:
        for turn, sealed in people.turns_followed_up(connection):
            if number := opened(sealed, f"turn {turn}"):
                people.rehash_turn(connection, turn, vault.newest(number), vault.seal(number))
        for account in read_accounts(connection):
            if number := opened(account.phone_sealed, account.operator.name):
                people.rehash_operator(connection, account.operator.name, vault.newest(number), vault.seal(number))
        for host in desk.hosts(connection):
            if number := opened(host.number_sealed, f"host {host.id}"):
                desk.rehash_host(connection, host.id, vault.newest(number), vault.seal(number))
        for name, sealed in staff.second_factors(connection):
            if secret := opened(sealed, f"{name}, the second factor,"):
                staff.set_credentials(connection, name, totp_sealed=vault.seal(secret))
        people.set_keys_in_use(connection, vault.fingerprint, now.timestamp(), vault.ring if lost else "")
    log.info("%d subscriptions are under the newest keys", done)
    return done


def _opened(vault: Vault, sealed: bytes, whose: str) -> str:
    """What was sealed, or "" if there is nothing or its key is gone."""
    try:
        return vault.open(sealed) if sealed else ""
    except ValueError as error:
        log.error("what is sealed of %s cannot be read: %s", whose, error)
        return ""


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

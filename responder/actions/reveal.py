"""Seeing a resident's number: for a reason that is written down, and never the number with it."""

import json
from datetime import datetime

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.broadcast import MIN_REASON
from responder.core.problem import Problem
from responder.core.words import clean, hidden_numbers
from responder.store import broadcasts
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.inbox import missed_turn
from responder.store.vault import Vault


class ReasonTooShort(Problem):
    """Whoever reads the audit log must understand why."""


class NoNumber(Problem):
    """There is no such turn or delivery, or its number is gone."""


def of_turn(database: Database, vault: Vault, operator: Operator, turn: str, reason: str, now: datetime) -> str:
    """The number (E.164) of who wrote what was not understood. Raises ReasonTooShort, NoNumber or StoreAway."""
    reason = _checked(operator, reason)
    with database.write() as connection:
        number = _opened(vault, missed_turn(connection, turn))
        _written_down(connection, operator, f"turn:{turn}", reason, now)
    return number


def of_delivery(database: Database, vault: Vault, operator: Operator, id: int, reason: str, now: datetime) -> str:
    """The number (E.164) of an unknown delivery. Raises ReasonTooShort, NoNumber or StoreAway."""
    reason = _checked(operator, reason)
    with database.write() as connection:
        found = broadcasts.read_delivery(connection, id)
        number = _opened(vault, found.number_sealed if found and found.state == "unknown" else None)
        _written_down(connection, operator, f"delivery:{id}", reason, now)
    return number


def _checked(operator: Operator, reason: str) -> str:
    require(operator, Permission.REVEAL)
    reason = clean(reason)
    if len(reason) < MIN_REASON:
        raise ReasonTooShort("say why you need the number, in at least {least} characters", least=MIN_REASON)
    return hidden_numbers(reason)


def _opened(vault: Vault, sealed: bytes | None) -> str:
    if sealed is None:
        raise NoNumber("there is nothing here that you need a number for; it may have been dealt with")
    try:
        number = vault.open(sealed) if sealed else ""
    except ValueError:
        number = ""
    if not number:
        raise NoNumber("the number has been deleted, or its key is gone")
    return number


def _written_down(connection: Connection, operator: Operator, subject: str, reason: str, now: datetime) -> None:
    add_line(connection, now, operator.name, "reveal", subject, "", json.dumps({"reason": reason}, ensure_ascii=False))

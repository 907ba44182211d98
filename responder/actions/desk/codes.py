"""Whose phone it is, and whether a code is theirs: each is good once, and whoever guesses has to wait.

Patience is counted by phone, channel and kind of code. A forged sender can keep one of them waiting for as long as it
goes on, and never longer than `core.onetime` says; then the other kind of code, the other channel and the console are
still open, and a quarter of an hour later everything is.

A wrong code leaves a line in the audit log where it is a step of that patience, and a few in an hour at most: whoever
forges the number cannot fill it.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from responder.core.access import Operator
from responder.core.onetime import PAPER_DIGITS, is_step, step_of, still_counts, wait_after
from responder.core.wording import Channel
from responder.ports import Inbound
from responder.store import accounts, desk
from responder.store.accounts import Credentials
from responder.store.broadcasts import add_line
from responder.store.vault import Vault

log = logging.getLogger("responder.desk")

WRONG = {"p": "wrong printed code", "o": "wrong code"}  # in the audit log, by the kind of code
LINES_AN_HOUR = 6  # of these, of an operator
BY = {Channel.TEXT: "via sms", Channel.VOICE: "via telefon"}  # what the audit log says of how something was decided


@dataclass(frozen=True)
class Codes:
    """Judges codes of the accounts that have a phone."""

    vault: Vault

    def operator(self, connection: Connection, hashes: Sequence[bytes], name: str) -> Operator | None:
        """The account `name` as somebody who has proved to be it; None if it is disabled, or has another phone."""
        known = accounts.credentials(connection, name)
        if known is None or name not in desk.names_of_phone(connection, hashes):
            return None
        return _proved(known)

    def fits(self, connection: Connection, inbound: Inbound, code: str, now: float) -> Operator | None:
        """Whose code it would be, of those who have this phone; nothing is taken."""
        for known in self._known(connection, inbound):
            if self._paper(connection, known, code) or self._step(known, code, now) is not None:
                return _proved(known)
        return None

    def take(self, connection: Connection, inbound: Inbound, code: str, now: float) -> Operator | None:
        """Whose code it is, of those who have this phone now; it is used up then. None while there is a wait, and for a
        wrong one, which counts.

        The transaction writes alone: of many attempts at once each finds those before it.
        """
        kind, phone = "p" if len(code) == PAPER_DIGITS else "o", self.vault.newest(inbound.sender).hex()
        scope = f"{kind}:{inbound.channel[0]}{phone}"
        count, last = accounts.failures(connection, scope)
        count = still_counts(count, last, now)
        if wait_after(scope, count) > max(0.0, now - last):
            log.warning("a code for an order had to wait: %d failures", count)
            return None
        known = self._known(connection, inbound)
        for one in known:
            if self._used(connection, one, code, now):
                accounts.forget_failures(connection, scope)
                return _proved(one)
        accounts.set_failures(connection, scope, count + 1, now)
        log.warning("a wrong code for an order, number %d in a row", count + 1)
        if is_step(scope, count + 1):
            self._note(connection, known, BY[inbound.channel], WRONG[kind], count + 1, now)
        return None

    def _note(
        self, connection: Connection, known: Sequence[Credentials], how: str, action: str, count: int, now: float
    ) -> None:
        """A line for each account that has the phone; nobody has proved to be it."""
        at = datetime.fromtimestamp(now, UTC)
        for name in (one.operator.name for one in known):
            subject = f"operator:{name}"
            lately = desk.lines_since(connection, subject, list(WRONG.values()), at - timedelta(hours=1))
            if lately < LINES_AN_HOUR:
                after = json.dumps({"failures": count})
                add_line(connection, at, f"phone of {name}", action, subject, "", after, how)

    def _known(self, connection: Connection, inbound: Inbound) -> list[Credentials]:
        names = desk.names_of_phone(connection, self.vault.hashes(inbound.sender))
        found = (accounts.credentials(connection, name) for name in names)
        return [known for known in found if known]

    def _used(self, connection: Connection, known: Credentials, code: str, now: float) -> bool:
        name = known.operator.name
        if mark := self._paper(connection, known, code):
            was = desk.paper_codes(connection, name)
            return desk.set_paper_codes(connection, name, json.dumps([c for c in json.loads(was) if c != mark]), was)
        step = self._step(known, code, now)
        return step is not None and accounts.use_totp_step(connection, name, step)

    def _paper(self, connection: Connection, known: Credentials, code: str) -> str:
        """The stored mark of a printed code that is left; "" if it is none."""
        if len(code) != PAPER_DIGITS:
            return ""
        left = json.loads(desk.paper_codes(connection, known.operator.name))
        marks = (mark.hex() for mark in self.vault.hashes(f"code:{known.operator.name}:{code}"))
        return next((mark for mark in marks if mark in left), "")

    def _step(self, known: Credentials, code: str, now: float) -> int | None:
        if not known.totp_sealed:
            return None
        try:
            return step_of(self.vault.open(known.totp_sealed), code, now)
        except ValueError as error:  # printed codes still open
            log.error("the second factor of %s cannot be read: %s", known.operator.name, error)
            return None


def _proved(known: Credentials) -> Operator:
    one = known.operator
    return Operator(one.name, one.role, one.districts, one.created_by, signed_in=True)

"""Whose phone it is, and whether a code is theirs: each is good once, and whoever guesses has to wait.

Patience is counted by phone, channel and kind of code. A forged sender can keep one of them waiting for as long as it
goes on, and never longer than `core.onetime` says; then the other kind of code, the other channel and the console are
still open, and a quarter of an hour later everything is.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from responder.core.access import Operator
from responder.core.onetime import PAPER_DIGITS, step_of, still_counts, wait_after
from responder.store import accounts, desk
from responder.store.accounts import Credentials
from responder.store.vault import Vault

log = logging.getLogger("responder.desk")


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

    def fits(self, connection: Connection, names: Sequence[str], code: str, now: float) -> Operator | None:
        """Whose code it would be; nothing is taken."""
        for known in self._known(connection, names):
            if self._paper(connection, known, code) or self._step(known, code, now) is not None:
                return _proved(known)
        return None

    def take(
        self, connection: Connection, names: Sequence[str], phone: bytes, channel: str, code: str, now: float
    ) -> Operator | None:
        """Whose code it is, which is used up then; None while there is a wait, and for a wrong one, which counts.

        The transaction writes alone: of many attempts at once each finds those before it.
        """
        scope = f"{'p' if len(code) == PAPER_DIGITS else 'o'}:{channel[0]}{phone.hex()}"
        count, last = accounts.failures(connection, scope)
        count = still_counts(count, last, now)
        if last + wait_after(scope, count) > now and count:
            log.warning("a code for an order had to wait: %d failures", count)
            return None
        for known in self._known(connection, names):
            if self._used(connection, known, code, now):
                accounts.forget_failures(connection, scope)
                return _proved(known)
        accounts.set_failures(connection, scope, count + 1, now)
        log.warning("a wrong code for an order, number %d in a row", count + 1)
        return None

    def _known(self, connection: Connection, names: Sequence[str]) -> list[Credentials]:
        found = (accounts.credentials(connection, name) for name in names)
        return [known for known in found if known and known.disabled_at is None]

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

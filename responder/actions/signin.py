"""Sign operators in: passwords, one-time codes, sessions that can be ended, and patience with whoever guesses.

A session is a random token in a cookie; the database holds its SHA-256. Failed attempts are counted in the database, so
that every process knows; the wait grows and is forgotten again, nobody is locked out for good. Passwords are argon2id,
codes are TOTP (RFC 6238), each taken once. Argon2 takes long on purpose, so it runs outside of transactions; what it
was run on is read once more in the transaction that acts on it.

Whose patience an attempt costs (its scopes):

- from where the account has signed in lately: the account at that address, so that nobody elsewhere keeps it shut;
- from elsewhere: the account, for at most 30 seconds, and the address, for at most five minutes;
- by whoever is signed in already: their session, so that nobody else keeps them from stopping a broadcast.
"""

import hashlib
import json
import logging
import secrets
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.engine import Connection
from zxcvbn import zxcvbn

from responder.core.access import Operator, Permission, Role, handed_over, require, sends
from responder.core.onetime import bare, step_of, still_counts, wait_after
from responder.core.problem import Phrase, Problem
from responder.settings import Settings
from responder.store import accounts as store
from responder.store.broadcasts import add_line
from responder.store.desk import set_paper_codes
from responder.store.engine import Database, StoreAway
from responder.store.vault import Vault

log = logging.getLogger("responder.signin")

HASHER = PasswordHasher()
SHORTEST, LONGEST = 12, 128  # characters of a password
JUDGED = 72  # of which so many are looked at by zxcvbn, which grows slow
STRENGTH = 3  # of 4, as zxcvbn judges against what people commonly choose
RECOVERY_CODES = 10
INVITED_FOR = 72 * 3600  # seconds
SEEN_EVERY = 30  # seconds between two notes that a person is at work
ISSUER = "Trygghetssvar"


class SignInFailed(Problem):
    """Name, password or code is wrong: which of them is not told."""


class TooManyAttempts(Problem):
    """Somebody is guessing; `wait` in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(Phrase("Too many attempts. Wait {wait} seconds, then try again.", wait=wait))
        self.wait = wait


class BadPassword(Problem):
    """A password that is too easy to guess."""


class BadCode(Problem):
    """A code that is wrong, or has been used."""


class BadInvitation(Problem):
    """An invitation that nobody has, or that is too old."""


@dataclass(frozen=True)
class Door:
    """Who may come in."""

    database: Database
    vault: Vault
    settings: Settings

    def __post_init__(self) -> None:
        """What a name that nobody has is compared with is there before anybody asks, or the first would take longer."""
        _nobody(HASHER)

    def sign_in(self, name: str, password: str, code: str, address: str, agent: str, now: datetime) -> str:
        """The token of a new session. Raises SignInFailed, TooManyAttempts or StoreAway."""
        name, stamp = name.replace("\0", "").strip().lower()[:64], now.timestamp()
        wrong = SignInFailed("Name, password or code is wrong.")
        with self.database.read() as connection:
            known, scopes = store.credentials(connection, name), self._scopes(connection, name, address)
        self._count(scopes, stamp)
        if not _verified(known.password_hash if known else "", password) or known is None:
            raise wrong
        token = secrets.token_urlsafe(32)
        with self.database.write() as connection:
            known = _unchanged(connection, known)
            if known is None or not self._second(connection, known, code, stamp):
                raise wrong
            _forgive(connection, scopes)
            store.add_session(connection, hashed(token), name, stamp, address[:64], agent[:200])
            _line(connection, now, name, "sign in", json.dumps({"address": address[:64]}))
        self._renew_hash(known, password)
        return token

    def session(self, token: str, now: datetime, polling: bool = False) -> store.Session | None:
        """The session of `token`, unless it has ended, idled or grown too old. Polling does not keep it alive."""
        if not token:
            return None
        stamp = now.timestamp()
        with self.database.read() as connection:
            found = store.session(connection, hashed(token))
        if found is None or not self._lasts(found, stamp):
            return None
        if not polling and stamp - found.seen_at > SEEN_EVERY:
            try:
                with self.database.write(alone=False) as connection:
                    store.seen(connection, found.id_hash, stamp)
            except StoreAway as error:  # they can still look
                log.warning("that %s is at work was not noted: %s", found.operator.name, error)
        return found

    def is_fresh(self, session: store.Session, now: datetime) -> bool:
        """Whether they proved lately who they are."""
        return now.timestamp() - session.fresh_at <= self.settings.step_up_minutes * 60

    def needs_totp(self, session: store.Session) -> bool:
        """Whether they can send, and have no second factor yet."""
        return sends(session.operator.role) and not session.has_totp

    def prove(self, session: store.Session, secret: str, now: datetime) -> store.Session:
        """Once more, before something grave: by a code, or by the password where there is no second factor.

        The session as it is then. Raises SignInFailed, TooManyAttempts or StoreAway.
        """
        name, stamp = session.operator.name, now.timestamp()
        wrong = SignInFailed("That was not right. Try again.")
        scopes = (_session_scope(session),)
        self._count(scopes, stamp)
        with self.database.read() as connection:
            known = store.credentials(connection, name)
        if known is None or (not known.totp_sealed and not _verified(known.password_hash, secret)):
            raise wrong
        with self.database.write() as connection:
            known = _unchanged(connection, known)
            if known is None or not self._second(connection, known, secret, stamp):
                raise wrong
            _forgive(connection, scopes)
            store.freshen(connection, session.id_hash, stamp)
        return replace(session, fresh_at=stamp, seen_at=stamp)

    def sign_out(self, session: store.Session, now: datetime) -> None:
        """End this session."""
        with self.database.write() as connection:
            store.end_sessions(connection, session.operator.name, now.timestamp(), session.id_hash)
            _line(connection, now, session.operator.name, "sign out", "")

    def sessions(self, operator: Operator, now: datetime) -> list[store.Session]:
        """The sessions that `operator` has now."""
        with self.database.read() as connection:
            found = store.sessions(connection, operator.name)
        return [one for one in found if self._lasts(one, now.timestamp())]

    def end_sessions(self, operator: Operator, name: str, now: datetime, id_hash: str = "", keep: str = "") -> int:
        """End one or all sessions of `name`: one's own, or anybody's as an admin."""
        if name != operator.name:
            require(operator, Permission.OPERATORS)
        with self.database.write() as connection:
            ended = store.end_sessions(connection, name, now.timestamp(), id_hash, keep)
            _line(connection, now, operator.name, "end sessions", f'{{"ended": {ended}}}', name)
        return ended

    def invite(self, operator: Operator, name: str, now: datetime) -> str:
        """A token with which `name` chooses a password. Password, second factor, printed codes and sessions of before
        open nothing any more; a token for the command line is another matter (`staff.withdraw_token`).

        Whoever hands an invitation over could have used it: they count as who created the account. A shell invites
        the first account, until it has a password, and an admin where no admin can come in any more.
        """
        token = secrets.token_urlsafe(24)
        with self.database.write() as connection:
            accounts = {one.operator.name: one for one in store.read_accounts(connection)}
            known = accounts.get(name)
            if operator.signed_in or not _is_stranded(known, accounts.values()):
                require(operator, Permission.OPERATORS)
            if known is None or known.disabled_at is not None:
                raise BadInvitation("No account is called {name}.", name=name)
            by = known.operator.created_by
            if operator.name != name:
                by = handed_over(by, operator.name, known.has_token)
            store.set_credentials(
                connection, name, invite_hash=hashed(token), invite_until=now.timestamp() + INVITED_FOR,
                password_hash="", totp_sealed=b"", recovery=(), totp_step=0, created_by=by,
            )  # fmt: skip
            set_paper_codes(connection, name, "[]")
            store.end_sessions(connection, name, now.timestamp())
            _line(connection, now, operator.name, "invite", "", name)
        return token

    def invited(self, token: str, now: datetime) -> Operator:
        """Whose invitation it is. Raises BadInvitation."""
        with self.database.read() as connection:
            return self._invited(connection, token, now).operator

    def accept(self, token: str, password: str, now: datetime) -> Operator:
        """Choose a password by an invitation, which is then used up. Raises BadInvitation, BadPassword."""
        _checked(password, self.invited(token, now).name)
        chosen = HASHER.hash(_plain(password))
        with self.database.write() as connection:
            known = self._invited(connection, token, now)
            store.set_credentials(
                connection, known.operator.name, password_hash=chosen, invite_hash="", invite_until=0.0
            )
            _line(connection, now, known.operator.name, "choose password", "")
        return known.operator

    def change_password(self, session: store.Session, old: str, new: str, now: datetime) -> None:
        """Choose another password; all other sessions end. Raises SignInFailed, TooManyAttempts, BadPassword."""
        name, stamp = session.operator.name, now.timestamp()
        wrong = SignInFailed("The present password is wrong.")
        _checked(new, name)
        scopes = (_session_scope(session),)
        self._count(scopes, stamp)
        with self.database.read() as connection:
            known = store.credentials(connection, name)
        if known is None or not _verified(known.password_hash, old):
            raise wrong
        chosen = HASHER.hash(_plain(new))
        with self.database.write() as connection:
            if _unchanged(connection, known) is None:
                raise wrong
            _forgive(connection, scopes)
            store.set_credentials(connection, name, password_hash=chosen)
            store.end_sessions(connection, name, stamp, keep=session.id_hash)
            _line(connection, now, name, "change password", "")

    def totp_address(self, operator: Operator, secret: str) -> str:
        """What an authenticator reads as a QR code."""
        return pyotp.TOTP(secret).provisioning_uri(name=operator.name, issuer_name=ISSUER)

    def enrol(self, session: store.Session, secret: str, code: str, now: datetime) -> list[str]:
        """Take `secret` for codes from now on, shown by a first `code`; recovery codes, told this once.

        Raises BadCode. All other sessions end, and codes that were printed before are void.
        """
        step = step_of(secret, bare(code), now.timestamp())
        if step is None:
            raise BadCode("The code does not fit. Codes change every 30 seconds: take the one that is shown now.")
        name = session.operator.name
        with self.database.write() as connection:
            store.set_credentials(connection, name, totp_sealed=self.vault.seal(secret), totp_step=step)
            set_paper_codes(connection, name, "[]")
            store.end_sessions(connection, name, now.timestamp(), keep=session.id_hash)
            _line(connection, now, name, "enrol second factor", "")
            return _new_codes(connection, name)

    def new_recovery_codes(self, session: store.Session, now: datetime) -> list[str]:
        """Ten new ones, told this once; the old ones open nothing any more."""
        with self.database.write() as connection:
            _line(connection, now, session.operator.name, "new recovery codes", "")
            return _new_codes(connection, session.operator.name)

    def codes_left(self, operator: Operator) -> int:
        """How many recovery codes have not been used."""
        with self.database.read() as connection:
            known = store.credentials(connection, operator.name)
        return len(known.recovery) if known else 0

    def set_language(self, operator: Operator, language: str) -> None:
        """The language of the pages for this account."""
        with self.database.write() as connection:
            store.set_credentials(connection, operator.name, language=language)

    def _scopes(self, connection: Connection, name: str, address: str) -> tuple[str, ...]:
        """Keyed hashes: what somebody typed as a name may be their password."""
        place = _network(address)
        if any(_network(one) == place for one in store.addresses(connection, name)):
            return (self._scope("k", f"{name} {place}"),)
        return self._scope("a", name), self._scope("i", place)

    def _scope(self, letter: str, what: str) -> str:
        return f"{letter}:{self.vault.newest(what).hex()}"

    def _count(self, scopes: Sequence[str], now: float) -> None:
        """An attempt counts as failed until it has succeeded, so that many at once do not get by.

        Raises TooManyAttempts while there is a wait; whoever waits does not lengthen it, and keeps no writer waiting.
        """
        with self.database.read() as connection:
            _waited(connection, scopes, now)
        with self.database.write() as connection:
            for scope, count in _waited(connection, scopes, now).items():
                store.set_failures(connection, scope, count + 1, now)

    def _second(self, connection: Connection, known: store.Credentials, code: str, now: float) -> bool:
        """Whether `code` is a second factor of theirs, which it is once; none is asked of who has none."""
        if not known.totp_sealed:
            return True
        code = bare(code)
        step = step_of(self._secret(known), code, now)
        if step is not None:
            return store.use_totp_step(connection, known.operator.name, step)
        if not store.use_recovery_code(connection, known, hashed(code)):
            return False
        left = json.dumps({"left": len(known.recovery) - 1})
        add_line(
            connection, datetime.fromtimestamp(now, UTC), known.operator.name, "use recovery code",
            f"operator:{known.operator.name}", "", left,
        )  # fmt: skip
        return True

    def _secret(self, known: store.Credentials) -> str:
        try:
            return self.vault.open(known.totp_sealed)
        except ValueError as error:  # recovery codes still open
            log.error("the second factor of %s cannot be read: %s", known.operator.name, error)
            return ""

    def _renew_hash(self, known: store.Credentials, password: str) -> None:
        """Hash the password anew where that is done more slowly by now than when it was chosen."""
        if not HASHER.check_needs_rehash(known.password_hash):
            return
        hash = HASHER.hash(_plain(password))
        with self.database.write() as connection:
            if _unchanged(connection, known) is not None:
                store.set_credentials(connection, known.operator.name, password_hash=hash)

    def _invited(self, connection: Connection, token: str, now: datetime) -> store.Credentials:
        known = store.invited(connection, hashed(token))
        if known is None or known.invite_until < now.timestamp() or known.disabled_at is not None:
            raise BadInvitation("This invitation has been used or is too old. Ask an admin for a new one.")
        return known

    def _lasts(self, session: store.Session, now: float) -> bool:
        idle = now - session.seen_at <= self.settings.session_idle_minutes * 60
        return idle and now - session.created_at <= self.settings.session_hours * 3600


def _is_stranded(known: store.Account | None, accounts: Collection[store.Account]) -> bool:
    """Whether nobody but a shell can let `known` in: the first account of all, or an admin where none can come in."""
    if known is None:
        return not accounts
    first = len(accounts) == 1 and not known.has_password
    admins = [one for one in accounts if one.operator.role is Role.ADMIN]
    return first or (known in admins and not any(one.enters for one in admins))


def _waited(connection: Connection, scopes: Sequence[str], now: float) -> dict[str, int]:
    """How many failures each scope has. Raises TooManyAttempts while one of them waits."""
    counts = {}
    for scope in scopes:
        count, last = store.failures(connection, scope)
        counts[scope] = still_counts(count, last, now)
        wait = min(last, now) + wait_after(scope, counts[scope]) - now  # a clock that was set back keeps nobody out
        if wait > 0:
            raise TooManyAttempts(ceil(wait))
    return counts


def _forgive(connection: Connection, scopes: Sequence[str]) -> None:
    """An attempt has succeeded. An address only gets this one back: an account of one's own must not buy more tries
    at those of others.
    """
    for scope in scopes:
        count, last = store.failures(connection, scope)
        if scope.startswith("i:") and count > 1:
            store.set_failures(connection, scope, count - 1, last)
        else:
            store.forget_failures(connection, scope)


def _unchanged(connection: Connection, known: store.Credentials) -> store.Credentials | None:
    """The account as it is now; None if it is disabled, or has another password than the one that was looked at."""
    now = store.credentials(connection, known.operator.name)
    if now is None or now.disabled_at is not None or now.password_hash != known.password_hash:
        return None
    return now


def _session_scope(session: store.Session) -> str:
    return f"s:{session.id_hash}"


def _network(address: str) -> str:
    """One household or office: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        known = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or ip_network((known, 64), strict=False))
    return str(known)


def hashed(token: str) -> str:
    """SHA-256 of something random: what the database holds instead of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_secret() -> str:
    """A secret for an authenticator, in base32."""
    return pyotp.random_base32()


@cache
def _nobody(hasher: PasswordHasher) -> str:
    """What nobody's password is compared with: a name that nobody has takes as long as a wrong password."""
    return hasher.hash(secrets.token_urlsafe())


def _plain(password: str) -> str:
    """The same characters, whatever the keyboard made them of."""
    return unicodedata.normalize("NFKC", password)


def _verified(password_hash: str, password: str) -> bool:
    try:
        genuine = HASHER.verify(password_hash or _nobody(HASHER), _plain(password[: LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return genuine and bool(password_hash) and len(password) <= LONGEST


def _new_codes(connection: Connection, name: str) -> list[str]:
    codes = [f"{secrets.token_hex(4)}-{secrets.token_hex(4)}" for _ in range(RECOVERY_CODES)]
    store.set_credentials(connection, name, recovery=[hashed(code.replace("-", "")) for code in codes])
    return codes


def _checked(password: str, name: str) -> None:
    if len(password) < SHORTEST:
        raise BadPassword("Too short: at least {least} characters. A few words together are good.", least=SHORTEST)
    if len(password) > LONGEST:
        raise BadPassword("Too long: at most {most} characters.", most=LONGEST)
    if zxcvbn(password[:JUDGED], user_inputs=[name, ISSUER])["score"] < STRENGTH:
        raise BadPassword("Too easy to guess: it is, or is like, what many choose. A few unrelated words are good.")


def _line(connection: Connection, now: datetime, who: str, action: str, after: str, name: str = "") -> None:
    add_line(connection, now, who, action, f"operator:{name or who}", "", after)

"""Who runs the service: accounts, their roles and tokens. Only a hash of a token is kept."""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

import phonenumbers
from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, Role, handed_over, require
from responder.core.onetime import PAPER_DIGITS
from responder.core.problem import Problem
from responder.core.words import clean
from responder.store import accounts as store
from responder.store.broadcasts import add_line
from responder.store.desk import drop_wishes_of, set_paper_codes
from responder.store.engine import Database
from responder.store.vault import Vault, masked

PAPER_CODES = 20  # on a printed list
_NAME = re.compile(r"[a-z0-9åäö][a-z0-9åäö._@-]{0,39}")


class StaffError(Problem):
    """Something that an account may not be or become. Nothing was changed."""


class UnknownToken(StaffError):
    """A token that no account has."""


class Disabled(StaffError):
    """The token of an account that is disabled."""


class BadAccount(StaffError):
    """A name, number or role that an account cannot have."""


class BadName(BadAccount):
    """A name that an account cannot have, or that another has."""


class BadPhone(BadAccount):
    """What is no telephone number."""


class BadDistricts(BadAccount):
    """A reporter without a district could report nothing."""


class OwnRole(BadAccount):
    """Nobody makes themselves more, or less by mistake."""


class NoSuchAccount(BadAccount):
    """A name that no account has."""


class LastAdmin(StaffError):
    """Without an admin nobody could ever add one."""


def add(
    database: Database,
    vault: Vault,
    operator: Operator,
    name: str,
    role: Role,
    now: datetime,
    districts: Sequence[str] = (),
    phone: str = "",
    with_token: bool = True,
) -> str:
    """The command-line token of the new account, told this once; "" where it shall have none.

    A bare shell adds the first account, an admin, and no other.
    """
    name, phone = _checked_name(name), _checked_phone(phone)
    sealed, phone_hash = _hidden(vault, phone)
    token = secrets.token_urlsafe(32) if with_token else ""
    account = Operator(name, role, _checked_districts(role, districts), created_by=operator.name)
    with database.write() as connection:
        if store.read_accounts(connection):
            require(operator, Permission.OPERATORS)
        elif role is not Role.ADMIN:
            raise BadAccount("the first account must be an admin, not {role}", role=role)
        token_hash, stamp = _hash(token) if token else "", now.timestamp()
        if not store.add_operator(connection, account, token_hash, sealed, stamp, phone_hash):
            raise BadName("there is already an account '{name}'; choose another name", name=name)
        _line(connection, operator, "add", name, "", _json(role=role, districts=account.districts), now)
    return token


def accounts(database: Database, operator: Operator) -> list[store.Account]:
    """All accounts, by name."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return store.read_accounts(connection)


def account(database: Database, operator: Operator, name: str) -> store.Account:
    """The account `name`. Raises NoSuchAccount."""
    require(operator, Permission.OPERATORS)
    with database.read() as connection:
        return _account(connection, name)


def set_role(
    database: Database,
    operator: Operator,
    name: str,
    role: Role,
    now: datetime,
    districts: Sequence[str] | None = None,
) -> None:
    """Give an account another role or other districts (None: those it has); the last admin keeps theirs."""
    require(operator, Permission.OPERATORS)
    with database.write() as connection:
        was = _enabled(connection, name).operator
        held = _checked_districts(role, was.districts if districts is None else districts)
        if role is not Role.ADMIN:
            _not_the_last_admin(connection, name)
        if name == operator.name and role is not was.role:
            raise OwnRole("nobody changes their own role; ask another admin")
        store.set_role(connection, name, role, held)
        before = _json(role=was.role, districts=was.districts)
        _line(connection, operator, "role", name, before, _json(role=role, districts=held), now)


def set_phone(database: Database, vault: Vault, operator: Operator, name: str, phone: str, now: datetime) -> str:
    """Give an account another phone, "" for none; it, masked. From the one before nobody orders anything as them any
    more, and what they have ordered and not yet confirmed is void. Raises BadPhone, BadAccount or Forbidden.
    """
    require(operator, Permission.OPERATORS)
    phone = _checked_phone(phone)
    sealed, phone_hash = _hidden(vault, phone)
    with database.write() as connection:
        was = _enabled(connection, name).phone_sealed
        if not was and not phone:
            return ""
        store.set_credentials(connection, name, phone_sealed=sealed, phone_hash=phone_hash)
        drop_wishes_of(connection, name)
        before, after = masked_phone(vault, was), masked_phone(vault, sealed)
        _line(connection, operator, "change phone", name, _json(phone=before), _json(phone=after), now)
    return after


def masked_phone(vault: Vault, sealed: bytes) -> str:
    """A sealed phone as people may see it: "+4670*****05"; "" for none, "***" if its key is gone."""
    try:
        return masked(vault.open(sealed)) if sealed else ""
    except ValueError:
        return masked("")


def disable(database: Database, operator: Operator, name: str, now: datetime) -> None:
    """End an account; the last admin cannot be."""
    require(operator, Permission.OPERATORS)
    with database.write() as connection:
        was = _enabled(connection, name).operator
        _not_the_last_admin(connection, name)
        store.disable(connection, name, now.timestamp())
        _line(connection, operator, "disable", name, _json(role=was.role), _json(disabled=True), now)


def new_token(database: Database, operator: Operator, name: str, now: datetime) -> str:
    """Another token for the command line, one's own or anybody's as an admin; the one before opens nothing any more.

    Whoever makes one for somebody else could use it: they count as who created the account.
    """
    token = secrets.token_urlsafe(32)
    _set_token(database, operator, name, _hash(token), "token", now)
    return token


def withdraw_token(database: Database, operator: Operator, name: str, now: datetime) -> None:
    """The account has no token any more: nobody works as it on the command line. The last admin keeps a way in."""
    _set_token(database, operator, name, "", "withdraw token", now)


def print_codes(database: Database, vault: Vault, operator: Operator, name: str, now: datetime) -> list[str]:
    """Codes for orders by phone, each good once, told this once: one's own, or anybody's as an admin. Those of before
    are void.

    Whoever prints them for somebody else could use them: they count as who created the account.
    """
    if name != operator.name or not operator.signed_in:
        require(operator, Permission.OPERATORS)
    codes = [f"{secrets.randbelow(10**PAPER_DIGITS):0{PAPER_DIGITS}d}" for _ in range(PAPER_CODES)]
    with database.write() as connection:
        known, by = _enabled(connection, name), operator.name
        if by != name:
            still_opens = known.enters or known.invite_until > now.timestamp()
            store.set_credentials(connection, name, created_by=handed_over(known.operator.created_by, by, still_opens))
        set_paper_codes(connection, name, json.dumps([vault.newest(f"code:{name}:{c}").hex() for c in codes]))
        _line(connection, operator, "print codes", name, "", _json(codes=len(codes)), now)
    return codes


def signed_in(database: Database, token: str) -> Operator:
    """Whose `token` it is. Raises UnknownToken, Disabled or StoreAway."""
    with database.read() as connection:
        found = store.account_with(connection, _hash(token))
    if found is None:
        raise UnknownToken("no account has this token; check it, or ask an admin for another")
    if found.disabled_at is not None:
        raise Disabled("the account {name} is disabled; ask an admin", name=found.operator.name)
    account = found.operator
    return Operator(account.name, account.role, account.districts, account.created_by, signed_in=True)


def _checked_name(name: str) -> str:
    name = clean(name).lower()
    if not _NAME.fullmatch(name):
        raise BadName(
            "'{name}': a name is letters, digits and . _ - @, at most 40, and begins with a letter or digit", name=name
        )
    return name


def _checked_phone(phone: str) -> str:
    phone = phone.strip()
    if not phone:
        return ""
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        raise BadPhone(
            "phone '{phone}' is not in international form; write it like +46701234567", phone=phone
        ) from None
    if not phonenumbers.is_possible_number(number):
        raise BadPhone("phone '{phone}' cannot be a number; check its digits", phone=phone)
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _hidden(vault: Vault, phone: str) -> tuple[bytes, bytes]:
    """(sealed, keyed hash) of a phone; nothing of none."""
    return (vault.seal(phone), vault.newest(phone)) if phone else (b"", b"")


def _checked_districts(role: Role, districts: Sequence[str]) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(name for name in map(clean, districts) if name))
    if role is Role.REPORTER and not named:
        raise BadDistricts("a reporter needs at least one district; choose those whose points they report on")
    return named


def _set_token(database: Database, operator: Operator, name: str, token_hash: str, action: str, now: datetime) -> None:
    if name != operator.name or not operator.signed_in:
        require(operator, Permission.OPERATORS)
    with database.write() as connection:
        known, by = _enabled(connection, name), operator.name
        if not token_hash and not known.has_password:
            _not_the_last_admin(connection, name)
        values = {"token_hash": token_hash}
        if token_hash and by != name:
            still_opens = known.has_password or known.invite_until > now.timestamp()
            values["created_by"] = handed_over(known.operator.created_by, by, still_opens)
        store.set_credentials(connection, name, **values)
        _line(connection, operator, action, name, "", "", now)


def _account(connection: Connection, name: str) -> store.Account:
    found = store.read_account(connection, name)
    if found is None:
        raise NoSuchAccount("no account is called '{name}'; look it up in the list of accounts", name=name)
    return found


def _enabled(connection: Connection, name: str) -> store.Account:
    found = _account(connection, name)
    if found.disabled_at is not None:
        raise BadAccount("the account '{name}' is disabled already", name=name)
    return found


def _not_the_last_admin(connection: Connection, name: str) -> None:
    """Whoever was made an admin and has never come in does not count: their invitation may lapse."""
    admins = {
        account.operator.name
        for account in store.read_accounts(connection)
        if account.operator.role is Role.ADMIN and account.enters
    }
    if admins == {name}:
        raise LastAdmin("{name} is the last admin; make somebody else one first", name=name)


def _line(
    connection: Connection, operator: Operator, action: str, name: str, before: str, after: str, now: datetime
) -> None:
    add_line(connection, now, operator.name, action, f"operator:{name}", before, after)


def _json(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False)


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()

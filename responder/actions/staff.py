"""Who runs the service: accounts, their roles and tokens. Only a hash of a token is kept."""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

import phonenumbers
from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, Role, require
from responder.core.words import clean
from responder.store import broadcasts as store
from responder.store.engine import Database
from responder.store.vault import Vault

_NAME = re.compile(r"[a-z0-9åäö][a-z0-9åäö._@-]{0,39}")


class StaffError(ValueError):
    """Something that an account may not be or become. Nothing was changed."""


class UnknownToken(StaffError):
    """A token that no account has."""


class Disabled(StaffError):
    """The token of an account that is disabled."""


class BadAccount(StaffError):
    """A name, number or role that an account cannot have."""


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
) -> str:
    """The token of the new account, told this once. A bare shell adds the first account, an admin, and no other."""
    name = _checked_name(name)
    sealed = vault.seal(_checked_phone(phone)) if phone else b""
    token = secrets.token_urlsafe(32)
    account = Operator(name, role, tuple(dict.fromkeys(clean(d) for d in districts)), created_by=operator.name)
    with database.write() as connection:
        if store.read_accounts(connection):
            require(operator, Permission.OPERATORS)
        elif role is not Role.ADMIN:
            raise BadAccount(f"the first account must be an admin, not {role}")
        if not store.add_operator(connection, account, _hash(token), sealed, now.timestamp()):
            raise BadAccount(f"there is already an account {name!r}")
        _line(connection, operator, "add", name, "", _json(role=role, districts=account.districts), now)
    return token


def accounts(database: Database, operator: Operator) -> list[store.Account]:
    """All accounts, by name."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return store.read_accounts(connection)


def set_role(database: Database, operator: Operator, name: str, role: Role, now: datetime) -> None:
    """Give an account another role; the last admin keeps theirs."""
    require(operator, Permission.OPERATORS)
    with database.write() as connection:
        was = _enabled(connection, name)
        if role is not Role.ADMIN:
            _not_the_last_admin(connection, name)
        store.set_role(connection, name, role)
        _line(connection, operator, "role", name, _json(role=was.role), _json(role=role), now)


def disable(database: Database, operator: Operator, name: str, now: datetime) -> None:
    """End an account; the last admin cannot be."""
    require(operator, Permission.OPERATORS)
    with database.write() as connection:
        was = _enabled(connection, name)
        _not_the_last_admin(connection, name)
        store.disable(connection, name, now.timestamp())
        _line(connection, operator, "disable", name, _json(role=was.role), _json(disabled=True), now)


def signed_in(database: Database, token: str) -> Operator:
    """Whose `token` it is. Raises UnknownToken, Disabled or StoreAway."""
    with database.read() as connection:
        found = store.account_with(connection, _hash(token))
    if found is None:
        raise UnknownToken("RESPONDER_TOKEN: no account has this token")
    if found.disabled_at is not None:
        raise Disabled(f"RESPONDER_TOKEN: the account {found.operator.name} is disabled")
    account = found.operator
    return Operator(account.name, account.role, account.districts, account.created_by, signed_in=True)


def _checked_name(name: str) -> str:
    name = clean(name).lower()
    if not _NAME.fullmatch(name):
        raise BadAccount(
            f"{name!r}: a name is letters, digits and . _ - @, at most 40, and begins with a letter or digit"
        )
    return name


def _checked_phone(phone: str) -> str:
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        raise BadAccount(f"phone {phone!r}: not in international form, such as +46701234567") from None
    if not phonenumbers.is_possible_number(number):
        raise BadAccount(f"phone {phone!r}: no such number is possible")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _enabled(connection: Connection, name: str) -> Operator:
    for account in store.read_accounts(connection):
        if account.operator.name == name:
            if account.disabled_at is not None:
                raise BadAccount(f"the account {name!r} is disabled already")
            return account.operator
    raise BadAccount(f"no account is called {name!r}; `responder operator list` lists them")


def _not_the_last_admin(connection: Connection, name: str) -> None:
    admins = {
        account.operator.name
        for account in store.read_accounts(connection)
        if account.operator.role is Role.ADMIN and account.disabled_at is None
    }
    if admins == {name}:
        raise LastAdmin(f"{name} is the last admin; make somebody else one first")


def _line(
    connection: Connection, operator: Operator, action: str, name: str, before: str, after: str, now: datetime
) -> None:
    store.add_line(connection, now, operator.name, action, f"operator:{name}", before, after)


def _json(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False)


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()

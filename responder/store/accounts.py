"""Named reads and writes for operators' accounts and what they sign in with: credentials, sessions, failed attempts.
Nothing here decides.

Times in seconds since 1970.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.access import Operator, Role


@dataclass(frozen=True, slots=True)
class Account:
    """An operator's row; `operator` is not signed in by being read. `has_token`: for the command line; `seen_at`: when
    they last did something in a browser, 0 for not lately.
    """

    operator: Operator
    phone_sealed: bytes
    created_at: float
    disabled_at: float | None
    has_token: bool
    has_password: bool
    has_totp: bool
    invite_until: float
    seen_at: float

    @property
    def enters(self) -> bool:
        """Whether they have anything to come in with."""
        return self.disabled_at is None and (self.has_token or self.has_password)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves that somebody is `operator`; `recovery` holds the hashes of the codes that are left."""

    operator: Operator
    password_hash: str
    totp_sealed: bytes
    totp_step: int
    recovery: tuple[str, ...]
    invite_until: float
    language: str
    disabled_at: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that `operator` is signed in with. `has_totp`: whether they have a second factor."""

    id_hash: str
    operator: Operator
    created_at: float
    seen_at: float
    fresh_at: float
    address: str
    agent: str
    has_totp: bool
    language: str


_ACCOUNTS = (
    "SELECT name, role, districts, created_by, phone_sealed, created_at, disabled_at, token_hash <> '' AS has_token,"
    " password_hash <> '' AS has_password, length(totp_sealed) > 0 AS has_totp, invite_until,"
    " (SELECT coalesce(max(s.seen_at), 0) FROM sessions s WHERE s.operator = operators.name) AS seen_at FROM operators"
)


def add_operator(
    connection: Connection,
    operator: Operator,
    token_hash: str,
    phone_sealed: bytes,
    now: float,
    phone_hash: bytes = b"",
) -> bool:
    """Insert an account; False if the name is taken. `token_hash`: "" for none."""
    sql = (
        "INSERT INTO operators (name, role, districts, token_hash, phone_sealed, phone_hash, created_by, created_at)"
        " VALUES (:name, :role, :districts, :token_hash, :phone, :phone_hash, :created_by, :now)"
        " ON CONFLICT DO NOTHING"
    )
    values = {
        "name": operator.name, "role": operator.role.value, "created_by": operator.created_by,
        "districts": _listed(operator.districts), "token_hash": token_hash, "phone": phone_sealed, "now": now,
        "phone_hash": phone_hash,
    }  # fmt: skip
    return connection.execute(text(sql), values).rowcount > 0


def read_accounts(connection: Connection) -> list[Account]:
    """All accounts, by name."""
    return [_account(row) for row in connection.execute(text(f"{_ACCOUNTS} ORDER BY name"))]


def read_account(connection: Connection, name: str) -> Account | None:
    """The account `name`, or None."""
    row = connection.execute(text(f"{_ACCOUNTS} WHERE name = :name"), {"name": name}).first()
    return _account(row) if row else None


def creators(connection: Connection) -> dict[str, str]:
    """Account to who created it."""
    return {account.operator.name: account.operator.created_by for account in read_accounts(connection)}


def account_with(connection: Connection, token_hash: str) -> Account | None:
    """The account that has this token, or None; nobody has the hash ""."""
    sql = text(f"{_ACCOUNTS} WHERE token_hash = :hash AND token_hash <> ''")
    row = connection.execute(sql, {"hash": token_hash}).first()
    return _account(row) if row else None


def set_role(connection: Connection, name: str, role: Role, districts: Sequence[str]) -> None:
    """Give the account another role, and the districts that it is held for."""
    sql = text("UPDATE operators SET role = :role, districts = :districts WHERE name = :name")
    connection.execute(sql, {"name": name, "role": role.value, "districts": _listed(districts)})


def disable(connection: Connection, name: str, now: float) -> None:
    """Nothing that the account had opens anything any more."""
    sql = "UPDATE operators SET disabled_at = :now, invite_hash = '', invite_until = 0 WHERE name = :name"
    connection.execute(text(sql), {"name": name, "now": now})


_CREDENTIALS = (
    "SELECT name, role, districts, created_by, password_hash, totp_sealed, totp_step, recovery, invite_until, language,"
    " disabled_at FROM operators"
)


def credentials(connection: Connection, name: str) -> Credentials | None:
    """Those of the account `name`."""
    return _credentials(connection.execute(text(f"{_CREDENTIALS} WHERE name = :name"), {"name": name}).first())


def invited(connection: Connection, invite_hash: str) -> Credentials | None:
    """Those of the account that has this invitation."""
    sql = text(f"{_CREDENTIALS} WHERE invite_hash = :hash AND invite_hash <> ''")
    return _credentials(connection.execute(sql, {"hash": invite_hash}).first())


def set_credentials(connection: Connection, name: str, **values: Any) -> None:
    """Change columns of the account: password_hash, totp_sealed, totp_step, recovery, token_hash, invite_hash,
    invite_until, created_by, language, phone_sealed, phone_hash.
    """
    if "recovery" in values:
        values["recovery"] = json.dumps(list(values["recovery"]))
    changes = ", ".join(f"{column} = :{column}" for column in values)
    connection.execute(text(f"UPDATE operators SET {changes} WHERE name = :name"), {**values, "name": name})


def use_totp_step(connection: Connection, name: str, step: int) -> bool:
    """Take the time step `step`; False if it or a later one was taken."""
    sql = text("UPDATE operators SET totp_step = :step WHERE name = :name AND totp_step < :step")
    return connection.execute(sql, {"name": name, "step": step}).rowcount > 0


def use_recovery_code(connection: Connection, known: Credentials, code_hash: str) -> bool:
    """Take a recovery code out of those that are left; False if it is not there, or was taken at the same moment."""
    if code_hash not in known.recovery:
        return False
    sql = text("UPDATE operators SET recovery = :rest WHERE name = :name AND recovery = :was")
    rest = json.dumps([one for one in known.recovery if one != code_hash])
    values = {"rest": rest, "name": known.operator.name, "was": json.dumps(list(known.recovery))}
    return connection.execute(sql, values).rowcount > 0


def second_factors(connection: Connection) -> list[tuple[str, bytes]]:
    """(name, sealed secret) of every account that has one."""
    sql = text("SELECT name, totp_sealed FROM operators WHERE length(totp_sealed) > 0 ORDER BY name")
    return [(row[0], bytes(row[1])) for row in connection.execute(sql)]


_SESSIONS = (
    "SELECT s.id_hash, s.created_at, s.seen_at, s.fresh_at, s.address, s.agent, o.name, o.role, o.districts,"
    " o.created_by, o.language, length(o.totp_sealed) > 0 AS has_totp FROM sessions s"
    " JOIN operators o ON o.name = s.operator WHERE s.ended_at IS NULL AND o.disabled_at IS NULL"
)


def add_session(connection: Connection, id_hash: str, operator: str, now: float, address: str, agent: str) -> None:
    """Somebody has signed in."""
    sql = (
        "INSERT INTO sessions (id_hash, operator, created_at, seen_at, fresh_at, address, agent)"
        " VALUES (:id_hash, :operator, :now, :now, :now, :address, :agent)"
    )
    values = {"id_hash": id_hash, "operator": operator, "now": now, "address": address, "agent": agent}
    connection.execute(text(sql), values)


def session(connection: Connection, id_hash: str) -> Session | None:
    """The session, unless it has ended or its account is disabled."""
    row = connection.execute(text(f"{_SESSIONS} AND s.id_hash = :id_hash"), {"id_hash": id_hash}).first()
    return _session(row) if row else None


def sessions(connection: Connection, operator: str) -> list[Session]:
    """Those of `operator` that have not ended, newest first."""
    sql = text(f"{_SESSIONS} AND s.operator = :operator ORDER BY s.created_at DESC")
    return [_session(row) for row in connection.execute(sql, {"operator": operator})]


def addresses(connection: Connection, operator: str) -> frozenset[str]:
    """From where `operator` has signed in, as far back as sessions are kept."""
    sql = text("SELECT DISTINCT address FROM sessions WHERE operator = :operator")
    return frozenset(connection.execute(sql, {"operator": operator}).scalars())


def seen(connection: Connection, id_hash: str, now: float) -> None:
    """A person did something in this session."""
    connection.execute(
        text("UPDATE sessions SET seen_at = :now WHERE id_hash = :id_hash AND seen_at < :now"),
        {"id_hash": id_hash, "now": now},
    )


def freshen(connection: Connection, id_hash: str, now: float) -> None:
    """A person has proved once more who they are."""
    connection.execute(
        text("UPDATE sessions SET fresh_at = :now, seen_at = :now WHERE id_hash = :id_hash"),
        {"id_hash": id_hash, "now": now},
    )


def end_sessions(connection: Connection, operator: str, now: float, id_hash: str = "", keep: str = "") -> int:
    """End one session of `operator`, or all of them but `keep`; how many."""
    sql = (
        "UPDATE sessions SET ended_at = :now WHERE operator = :operator AND ended_at IS NULL AND id_hash <> :keep"
        " AND (:id_hash = '' OR id_hash = :id_hash)"
    )
    values = {"operator": operator, "now": now, "id_hash": id_hash, "keep": keep}
    return connection.execute(text(sql), values).rowcount


def failures(connection: Connection, scope: str) -> tuple[int, float]:
    """(how many, when the last) of a scope."""
    sql = text("SELECT count, last_at FROM failures WHERE scope = :scope")
    row = connection.execute(sql, {"scope": scope}).first()
    return (row[0], row[1]) if row else (0, 0.0)


def set_failures(connection: Connection, scope: str, count: int, last: float) -> None:
    """So many failures of a scope, the last one at `last`."""
    sql = (
        "INSERT INTO failures (scope, count, last_at) VALUES (:scope, :count, :last) ON CONFLICT (scope)"
        " DO UPDATE SET count = :count, last_at = :last"
    )
    connection.execute(text(sql), {"scope": scope, "count": count, "last": last})


def forget_failures(connection: Connection, scope: str) -> None:
    """None of a scope."""
    connection.execute(text("DELETE FROM failures WHERE scope = :scope"), {"scope": scope})


def purge_sign_ins(connection: Connection, sessions_before: float, failures_before: float) -> None:
    """Forget sessions and failures that are older."""
    connection.execute(text("DELETE FROM sessions WHERE created_at < :before"), {"before": sessions_before})
    connection.execute(text("DELETE FROM failures WHERE last_at < :before"), {"before": failures_before})


def _account(row: Any) -> Account:
    operator = Operator(row.name, Role(row.role), tuple(json.loads(row.districts)), row.created_by)
    return Account(
        operator, row.phone_sealed, row.created_at, row.disabled_at, bool(row.has_token), bool(row.has_password),
        bool(row.has_totp), row.invite_until, row.seen_at,
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)


def _credentials(row: Any) -> Credentials | None:
    if row is None:
        return None
    operator = Operator(row.name, Role(row.role), tuple(json.loads(row.districts)), row.created_by)
    recovery = tuple(json.loads(row.recovery))
    return Credentials(
        operator, row.password_hash, bytes(row.totp_sealed or b""), row.totp_step, recovery, row.invite_until,
        row.language, row.disabled_at,
    )  # fmt: skip


def _session(row: Any) -> Session:
    operator = Operator(row.name, Role(row.role), tuple(json.loads(row.districts)), row.created_by, signed_in=True)
    return Session(
        row.id_hash, operator, row.created_at, row.seen_at, row.fresh_at, row.address, row.agent, bool(row.has_totp),
        row.language,
    )  # fmt: skip

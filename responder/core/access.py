"""Who may do what: roles, and operators that hold one. Each role may also do what the one before it may."""

from dataclasses import dataclass
from enum import StrEnum

SHELL = "shell:"


class Role(StrEnum):
    """What somebody is trusted with."""

    VIEWER = "viewer"
    REPORTER = "reporter"
    COMMUNICATOR = "communicator"
    APPROVER = "approver"
    ADMIN = "admin"


class Permission(StrEnum):
    """What can be asked for."""

    VIEW = "look"
    POINT = "change a point"
    DRAFT = "write or submit a broadcast"
    SEND = "send, pause or stop a broadcast"
    APPROVE = "approve a broadcast"
    OPERATORS = "manage operators"


_ADDS = (
    (Role.VIEWER, {Permission.VIEW}),
    (Role.REPORTER, {Permission.POINT}),
    (Role.COMMUNICATOR, {Permission.DRAFT, Permission.SEND}),
    (Role.APPROVER, {Permission.APPROVE}),
    (Role.ADMIN, {Permission.OPERATORS}),
)
_MAY = {role: frozenset().union(*(added for _, added in _ADDS[: index + 1])) for index, (role, _) in enumerate(_ADDS)}
_SIGNED_IN = frozenset({Permission.APPROVE, Permission.OPERATORS})


class Forbidden(PermissionError):
    """Somebody asked for what their role does not allow."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who runs the service. `districts`: whose points they may change, all if empty."""

    name: str
    role: Role
    districts: tuple[str, ...] = ()
    created_by: str = ""
    signed_in: bool = False


def shell(user: str) -> Operator:
    """Whoever has a shell but no token: drafts, sends, stops and changes points, and never approves."""
    return Operator(f"{SHELL}{user}", Role.COMMUNICATOR)


def may(operator: Operator, permission: Permission, district: str = "") -> bool:
    """Whether `operator` may; for Permission.POINT, change a point that lies in `district`."""
    if permission in _SIGNED_IN and not operator.signed_in:
        return False
    if permission is Permission.POINT and operator.districts and district not in operator.districts:
        return False
    return permission in _MAY[operator.role]


def require(operator: Operator, permission: Permission, district: str = "") -> None:
    """Raise Forbidden unless `operator` may."""
    if may(operator, permission, district):
        return
    if permission in _SIGNED_IN and not operator.signed_in:
        raise Forbidden(f"{operator.name} may not {permission}: sign in with RESPONDER_TOKEN")
    where = f" in {district or 'no district'}" if permission in _MAY[operator.role] else ""
    raise Forbidden(f"{operator.name} ({operator.role}) may not {permission}{where}")

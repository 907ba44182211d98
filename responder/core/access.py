"""Who may do what: roles, and operators that hold one. Each role may also do what the one before it may."""

from dataclasses import dataclass
from enum import StrEnum

from responder.core.problem import Phrase, Problem

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
    PLAN = "propose a point"
    NOTE = "write in the shift log"
    DRAFT = "write or submit a broadcast"
    SEND = "send, pause or stop a broadcast"
    ANSWER = "answer what was not understood"
    REVEAL = "see a number"
    APPROVE = "approve a broadcast"
    DECIDE = "decide on a proposed point"
    EXERCISE = "begin an exercise"
    AUDIT = "read the audit log"
    OPERATORS = "manage operators"


_ADDS = (
    (Role.VIEWER, {Permission.VIEW}),
    (Role.REPORTER, {Permission.POINT, Permission.PLAN, Permission.NOTE}),
    (Role.COMMUNICATOR, {Permission.DRAFT, Permission.SEND, Permission.ANSWER, Permission.REVEAL}),
    (Role.APPROVER, {Permission.APPROVE, Permission.DECIDE, Permission.EXERCISE, Permission.AUDIT}),
    (Role.ADMIN, {Permission.OPERATORS}),
)
_MAY = {role: frozenset().union(*(added for _, added in _ADDS[: index + 1])) for index, (role, _) in enumerate(_ADDS)}
_SIGNED_IN = frozenset({Permission.APPROVE, Permission.DECIDE, Permission.REVEAL, Permission.OPERATORS})
_PLACED = frozenset({Permission.POINT, Permission.PLAN, Permission.DECIDE})  # held for districts


class Forbidden(Problem):
    """Somebody asked for what their role does not allow."""


class NotSignedIn(Forbidden):
    """Somebody asked for what nobody may who has not signed in."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who runs the service. `districts`: whose points they may change, all if empty. `created_by`: whoever
    could have come in as them, as `handed_over` lists them.
    """

    name: str
    role: Role
    districts: tuple[str, ...] = ()
    created_by: str = ""
    signed_in: bool = False


def shell(user: str) -> Operator:
    """Whoever has a shell but no token: drafts, sends, stops and changes points, and never approves."""
    return Operator(f"{SHELL}{user}", Role.COMMUNICATOR)


def handed_over(created_by: str, by: str, still_opens: bool) -> str:
    """Who counts as having created an account ("anna, bo") once `by` has handed over a way in: whoever handed over one
    could have used it, so those of before count too for as long as theirs `still_opens`.
    """
    return ", ".join(dict.fromkeys([*(created_by.split(", ") if still_opens else ()), by]))


def may(operator: Operator, permission: Permission, district: str = "") -> bool:
    """Whether `operator` may; for what is held for districts, with a point that lies in `district`. A reporter without
    a district has none.
    """
    if permission in _SIGNED_IN and not operator.signed_in:
        return False
    placed = operator.districts or operator.role is Role.REPORTER
    if permission in _PLACED and placed and district not in operator.districts:
        return False
    return permission in _MAY[operator.role]


def holds(role: Role, permission: Permission) -> bool:
    """Whether `role` has the permission at all, in whatever district."""
    return permission in _MAY[role]


def sends(role: Role) -> bool:
    """Whether `role` can set a message on its way, a changed point too, and so signs in with a second factor."""
    return holds(role, Permission.SEND) or holds(role, Permission.POINT)


def require(operator: Operator, permission: Permission, district: str = "") -> None:
    """Raise Forbidden unless `operator` may."""
    if may(operator, permission, district):
        return
    if permission in _SIGNED_IN and not operator.signed_in:
        raise NotSignedIn("{name} may not {permission}: sign in first", name=operator.name, permission=permission)
    who = Phrase("{name} ({role})", name=operator.name, role=operator.role)
    if permission not in _MAY[operator.role]:
        raise Forbidden("{who} may not {permission}; ask somebody who may", who=who, permission=permission)
    if not district:
        raise Forbidden(
            "{who} may not {permission} that has no district; ask somebody who may", who=who, permission=permission
        )
    raise Forbidden(
        "{who} may not {permission} in {district}; ask somebody who may",
        who=who,
        permission=permission,
        district=district,
    )

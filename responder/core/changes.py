"""What a line of the audit log changed: the fields of two JSON texts that differ, without telephone numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from responder.core.broadcast import Broadcast
from responder.core.points import POINT_FIELDS
from responder.core.words import hidden_numbers

PHONE = "phone"  # of a point: residents are told it
# What lines say was done, besides "set STATUS" and the steps of a broadcast; "exercise: " stands before what is played.
ACTIONS = (
    "import", "confirm", "note", "propose", "propose again", "edit proposal", "plan", "take back", "deadline", "sign",
    "draft", "schedule", "not sent", "resolve sent", "resolve resend", "alias", "alias removed", "answer", "dealt with",
    "reveal", "on duty", "off duty", "begin exercise", "end exercise", "add", "role", "disable", "token",
    "withdraw token", "invite", "choose password", "change password", "sign in", "sign out", "end sessions",
    "enrol second factor", "use recovery code", "new recovery codes", "print codes", "change phone",
    "wrong code", "wrong printed code", "add host", "remove host",
    "use gateway alone", "turn gateway off", "let gateways choose",
)  # fmt: skip
# The fields that lines hold, as pages name them; others stand as they are written.
FIELDS = (
    *POINT_FIELDS, *(f.name for f in fields(Broadcast)), "districts", "role", "disabled", "ended", "name", "begun_by",
    "district", "period", "deadline", "signed_by", "signed_at", "alias", "address",
    "codes", "point", "failures",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changed:
    """A field that was `before` and is `after`; None where it was not there."""

    field: str
    before: Any
    after: Any


def changed(before: str, after: str, public: frozenset[str] = frozenset()) -> tuple[Changed, ...]:
    """The fields that differ between two JSON objects ("" for none), by name; empty ones of something new are left out.

    `public`: the fields that may hold telephone numbers.
    """
    old, new = _fields(before), _fields(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    found = (
        Changed(name, *(value if name in public else _bare(value) for value in (old.get(name), new.get(name))))
        for name in names
    )
    return tuple(one for one in found if not (_is_empty(one.before) and _is_empty(one.after)))


def as_text(value: Any) -> str:
    """A value as one reads it: words as they are, a list with commas, anything else as JSON, "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _fields(data: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        found = data
    return found if isinstance(found, dict) else {"": found}


def _bare(value: Any) -> Any:
    """`value` without telephone numbers, however deep they stand in it."""
    match value:
        case str():
            return hidden_numbers(value)
        case list():
            return [_bare(item) for item in value]
        case dict():
            return {hidden_numbers(key): _bare(item) for key, item in value.items()}
    return value


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})

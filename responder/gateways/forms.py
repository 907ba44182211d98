"""What every provider's forms and answers have in common."""

import re
from collections.abc import Mapping

from responder.ports import Unclear

_ID = re.compile(r"[!-~]{1,64}")  # what any database and any log can hold


def an_id(form: Mapping[str, str], *names: str) -> str:
    """The provider's id under the first of `names` that is there. Raises ValueError without one."""
    value = next((form[name] for name in names if form.get(name)), "")
    if not _ID.fullmatch(value):
        raise ValueError(f"{names[0]} is missing, too long or no id")
    return value


def answered_id(value: object) -> str:
    """The id in a provider's answer. Raises Unclear where it is none: the message may have been taken."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Unclear("an answer without an id")
    return value

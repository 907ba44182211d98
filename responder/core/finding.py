"""What somebody who looked at a running service tells of it."""

import re
from dataclasses import dataclass

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    well: bool
    text: str


def shown(address: str) -> str:
    """An address fit to be printed: what may be a password in it (before the host, or after a question mark) is left
    out, and so is what no terminal should be sent.
    """
    bare, mark, _ = re.sub(r"#.*", "", address, flags=re.DOTALL).partition("?")
    return plain(re.sub(r"^([a-z+]+://)?[^/]*@", r"\1", bare, flags=re.IGNORECASE)) + ("?..." if mark else "")


def plain(text: str) -> str:
    """Somebody else's words on one short line of printable characters."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()[:_LONGEST]

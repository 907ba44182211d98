"""Logs: a line a record, as JSON or for people, with what was under way, and never a number or a secret.

What is logged is chosen with care where it is logged; `masked` is the net below that: whatever looks like a phone
number goes, in every text of a record, tracebacks too, and so do the secrets of the settings and what may be one in
an address.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime

Fields = Mapping[str, str | int]

# made or checked by us: there is no number in them
_OURS = frozenset({"time", "level", "logger", "request", "owner", "method"})
_QUIET = {
    "twilio": logging.ERROR,  # logs numbers and texts below that
    "sqlalchemy.engine": logging.WARNING,  # logs values below that
    "alembic": logging.WARNING,
    "apscheduler": logging.ERROR,  # a line a second below that
}
_HARMLESS = "|".join(
    (
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",  # a UUID
        r"\b[A-Z]{2}[0-9a-f]{32}\b",  # what the provider calls a message, a call, an account
        r"\b20\d\d-[01]\d-[0-3]\d(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:[.,]\d{1,6})?)?(?:[+-]\d\d:?\d\d)?)?",  # a time
        r"\b1\d{9}\.\d{1,9}\b",  # seconds since 1970
        r"\b(?:delivery|broadcast|called|receipts|receipt for|call) ?[ :/]\d{1,8}\b",  # a row of ours
    )
)
_NUMBER = r"\+?\d(?:(?:[ \u00a0–-]|\) ?|\(0\)){0,3}\d){6,}"
_DIGITS = re.compile(f"(?P<harmless>{_HARMLESS})|{_NUMBER}")
_ADDRESSES = tuple(  # (what must be there at all, what goes, what stays)
    (needle, re.compile(pattern), instead)
    for needle, pattern, instead in (
        ("?", r"(/[^\s?\"']*)\?[^\s\"']+", r"\1?***"),
        ("/46elks/", r"(/46elks/)[^\s\"'/<]+", r"\1***"),
        ("/invitation/", r"(/invitation/)[^\s\"'/<]+", r"\1***"),
        ("@", r"(://)[^\s/@]+@", r"\1***@"),
        ("earer ", r"([Bb]earer) [^\s\"']+", r"\1 ***"),
        ("asic ", r"([Bb]asic) [^\s\"']+", r"\1 ***"),
    )
)

_under_way: ContextVar[Fields] = ContextVar("under_way", default={})  # noqa: B039 - replaced, never changed


def push(**fields: str | int) -> Token[Fields]:
    """From here on, records of this thread or task have `fields`; `pop` takes them back."""
    return _under_way.set({**_under_way.get(), **fields})


def pop(token: Token[Fields]) -> None:
    """Take back what a `push` added."""
    _under_way.reset(token)


@contextmanager
def bound(**fields: str | int) -> Iterator[None]:
    """Records made within have `fields`."""
    token = push(**fields)
    try:
        yield
    finally:
        pop(token)


def masked(text: str) -> str:
    """`text` without what looks like a phone number (seven digits or more), save the last two digits."""
    return _DIGITS.sub(lambda found: found[0] if found["harmless"] else f"***{found[0][-2:]}", text)


class Line(logging.Formatter):
    """A record as one line: JSON, or for people (then a traceback follows on lines of its own)."""

    def __init__(self, style: str, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._json = style == "json"
        known = sorted((re.escape(secret) for secret in secrets), key=len, reverse=True)
        self._secrets = re.compile("|".join(known)) if known else None

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        entry: dict[str, str | int | float | None] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
            **_under_way.get(),
            **getattr(record, "fields", {}),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[0]:
            entry["exception"] = self.formatException(record.exc_info)
        safe = {
            name: self._safe(value) if isinstance(value, str) and name not in _OURS else value
            for name, value in entry.items()
        }
        return json.dumps(safe) if self._json else _readable(safe)

    def _safe(self, text: str) -> str:
        if self._secrets:
            text = self._secrets.sub("***", text)
        for needle, pattern, instead in _ADDRESSES:
            if needle in text:
                text = pattern.sub(instead, text)
        return masked(text)


def _event(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # logging itself would print the arguments, whatever they are
        return f"{record.msg} (with arguments that do not fit)"


def _readable(entry: Mapping[str, object]) -> str:
    first = [str(entry[name]) for name in ("time", "level", "logger", "event")]
    rest = [f"{name}={value}" for name, value in entry.items() if name not in ("time", "level", "logger", "event")]
    line = " ".join(first + [part for part in rest if not part.startswith("exception=")]).replace("\n", "\\n")
    return f"{line}\n{entry['exception']}" if "exception" in entry else line


def install(style: str, secrets: Iterable[str] = (), level: int = logging.INFO) -> None:
    """Everything that is logged goes to stderr as lines of `style` ("json" or "text"); a handler that somebody else
    has set up stays.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Line(style, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler, *(other for other in root.handlers if not isinstance(other.formatter, Line))]
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)

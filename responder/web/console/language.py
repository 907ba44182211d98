"""The languages of the console: gettext over the .po files, and times as people write them.

The source is English; translations/<code>/*.po hold the rest, a file a subject (in English only words for codes). They
are read as they are: nothing has to be compiled, and a test finds what is missing.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from flask import g, has_request_context

FOLDER = Path(__file__).parent / "translations"
SOURCE = "en"
LANGUAGES = {"sv": "Svenska", "en": "English"}  # the first is what who has chosen none gets
DEFAULT = next(iter(LANGUAGES))
PLAYED, SET = "exercise: ", "set "  # how actions on points begin


def catalogues(language: str) -> Iterator[Catalog]:
    """The catalogues of `language`, as they are written."""
    for path in sorted((FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            yield read_po(file, locale=language)


@cache
def messages(language: str) -> dict[str, str | tuple[str, ...]]:
    """English to `language`; forms of number are tuples, under their singular."""
    found: dict[str, str | tuple[str, ...]] = {}
    for catalogue in catalogues(language):
        for message in catalogue:
            if message.id and message.string:
                id = message.id if isinstance(message.id, str) else message.id[0]
                found[id] = message.string if isinstance(message.string, str) else tuple(message.string)
    return found


def current() -> str:
    """The language of whoever looks at the page."""
    return g.get("language", DEFAULT) if has_request_context() else DEFAULT


def gettext(text: str) -> str:
    """`text` in the language of the page."""
    found = messages(current()).get(text, text)
    return found if isinstance(found, str) else found[0]


def ngettext(one: str, many: str, number: int) -> str:
    """The form for `number`, in the language of the page; `{n}` is left for the caller."""
    found = messages(current()).get(one)
    forms = found if isinstance(found, tuple) else (found or one, found or many)
    return forms[0] if number == 1 else forms[-1]


def deed(action: str) -> str:
    """What a line of the audit log says was done."""
    if action.startswith(PLAYED):
        return gettext("exercise: {what}").format(what=deed(action.removeprefix(PLAYED)))
    if action.startswith(SET):
        return gettext("set to {status}").format(status=gettext(action.removeprefix(SET)))
    return gettext(action)


class Lazy:
    """A text that is looked up when the page is made, for what is written down before there is one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return gettext(self.text)


def lazy(text: str) -> str:
    """`text`, to be translated when it is shown."""
    return Lazy(text)  # type: ignore[return-value]  # forms take whatever can be shown


def clock(at: datetime | None, zone: str) -> str:
    """14.20, or 14:20 in English; "-" for None."""
    if at is None:
        return "-"
    return f"{at.astimezone(ZoneInfo(zone)):{'%H:%M' if current() == 'en' else '%H.%M'}}"


def moment(at: datetime | None, now: datetime, zone: str) -> str:
    """The time of day, with the date unless it is today; "-" for None."""
    if at is None:
        return "-"
    local = at.astimezone(ZoneInfo(zone))
    if local.date() == now.astimezone(ZoneInfo(zone)).date():
        return clock(at, zone)
    year = " y" if local.year != now.year else ""
    return f"{format_datetime(local, f'd MMM{year}', locale=current()).rstrip('.')} {clock(at, zone)}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, roughly: "3 min", "2 h", "4 d"."""
    if at is None:
        return gettext("never")
    seconds = max(0, int((now - at).total_seconds()))
    if seconds < 60:
        return gettext("{n} s ago").format(n=seconds)
    if seconds < 7200:
        return gettext("{n} min ago").format(n=seconds // 60)
    if seconds < 48 * 3600:
        return gettext("{n} h ago").format(n=seconds // 3600)
    return gettext("{n} d ago").format(n=seconds // 86_400)


def number(value: float, digits: int = 0) -> str:
    """12 345 or 12,345."""
    return format_decimal(round(value, digits), format=f"#,##0{'.' + '0' * digits if digits else ''}", locale=current())

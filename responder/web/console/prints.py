"""What is printed or read aloud: posters, lists, a script for the radio, and the situation report to paste."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
from babel.dates import format_date
from flask import Blueprint, abort, g, render_template, request
from markupsafe import Markup
from sqlalchemy.engine import Connection

from responder.core.access import Permission
from responder.core.points import ACTIVATED, PROPOSED, USABLE, Kind, Point, Standing, Status, standing
from responder.store.desk import point_numbers
from responder.store.notes import on_duty
from responder.store.readiness import not_understood, sent_since, unknown_deliveries
from responder.store.watching import current_points
from responder.web.access import access
from responder.web.console import services
from responder.web.console.desk import Desk
from responder.web.console.language import clock, current, gettext, lazy

DAY = timedelta(hours=24)
LISTED = ACTIVATED | {Status.PLANNED}
_SORTS = {"message": lazy("message"), "status": lazy("changed answers")}  # kinds of broadcasts
_NOWHERE = "-"  # the heading of points that lie in no district


@dataclass(frozen=True, slots=True)
class Told:
    """A point and what it is for a resident now."""

    point: Point
    now: Standing
    number: int | None = None  # by which it is named on a phone

    @property
    def usable(self) -> bool:
        """Whether somebody can go there, or could if it were not full."""
        return self.now.kind in USABLE


@dataclass(frozen=True, slots=True)
class District:
    """A district and its points as they are now."""

    name: str
    points: tuple[Told, ...]

    def of(self, *kinds: Kind) -> tuple[Told, ...]:
        """Those that are one of `kinds`."""
        return tuple(told for told in self.points if told.now.kind in kinds)

    @property
    def free(self) -> tuple[Told, ...]:
        """Those where somebody can go now."""
        return self.of(Kind.OPEN, Kind.CLOSES_SOON)

    def sum(self, what: str) -> tuple[int, int]:
        """(sum, of how many points it is known) of `what`, over the usable ones."""
        known = [getattr(told.point, what) for told in self.points if told.usable]
        said = [value for value in known if value is not None]
        return sum(said), len(said)

    @property
    def usable(self) -> int:
        """How many are open, full or by phone."""
        return sum(told.usable for told in self.points)


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    settings = desk.service.settings
    zone, stale_after = settings.timezone, timedelta(hours=settings.stale_after)

    def told(connection: Connection) -> list[Told]:
        numbers = point_numbers(connection)
        return [
            Told(p, standing(p, desk.now, zone, stale_after), numbers.get(p.id)) for p, _ in current_points(connection)
        ]

    def listed() -> list[Told]:
        with desk.service.database.read() as connection:
            return [one for one in told(connection) if one.point.status not in PROPOSED]

    def service(code: str) -> str:
        return services.told(desk, code)

    def page(template: str, **values: Any) -> str:
        day = format_date(desk.now.astimezone(ZoneInfo(zone)), "d MMMM", locale=current())
        more = {"service": service, "day": day, "until": until, "hours": hours, **_numbers(desk)}
        return render_template(template, **{**more, **values})

    def until(at: datetime | None) -> str:
        return _until(at, desk.now, zone)

    def chosen(found: Sequence[Told]) -> tuple[str, list[District]]:
        name = request.args.get("district", "")
        grouped = _districts(found)
        if name and name not in [district.name for district in grouped]:
            abort(404)
        return name, [district for district in grouped if not name or district.name == name]

    @console.get("/prints")
    @access(Permission.VIEW)
    def prints() -> str:
        found = [one for one in listed() if one.point.status in LISTED]
        return page("prints.html", districts=_districts(found))

    @console.get("/prints/poster/<id>")
    @access(Permission.VIEW)
    def poster(id: str) -> str | tuple[str, int]:
        one = next((one for one in listed() if one.point.id == id), None) or abort(404)
        if one.point.hidden:
            text = gettext("The address of this point is secret. It gets no poster.")
            return render_template("problem.html", text=text), 409
        both = {}
        for code in ("sv", "en"):
            with _spoken(code):
                made = page("_poster.html", point=one.point)
            both[code] = Markup(made)  # noqa: S704 - a template of ours, escaped when it was made
        fit = one.point.status in LISTED
        return page("poster.html", point=one.point, both=both, numbered=bool(_numbers(desk)["text_to"]), listed=fit)

    @console.get("/prints/list")
    @access(Permission.VIEW)
    def point_list() -> str:
        name, found = chosen([one for one in listed() if one.point.status in LISTED])
        return page("point_list.html", districts=found, name=name)

    @console.get("/prints/script")
    @access(Permission.VIEW)
    def script() -> str:
        name, found = chosen([one for one in listed() if one.usable])
        with _spoken("sv"):
            said = page("_script.html", districts=found)
        return page("script.html", said=_paragraphs(said), name=name)

    @console.get("/prints/situation")
    @access(Permission.VIEW)
    def situation() -> str:
        since = (desk.now - DAY).timestamp()
        with desk.service.database.read() as connection:
            found = [one for one in told(connection) if one.point.status not in PROPOSED]
            facts = {
                "sent": sent_since(connection, since),
                "unknown": unknown_deliveries(connection),
                "puzzles": not_understood(connection, since),
                "duty": on_duty(connection),
            }
        text = page("_situation.html", districts=_districts(found), kinds=Kind, sorts=_SORTS, **facts)
        return page("situation.html", said=_paragraphs(text))


def _districts(found: Iterable[Told]) -> list[District]:
    """By district, then by name."""
    grouped: dict[str, list[Told]] = {}
    for one in sorted(found, key=lambda one: (one.point.name, one.point.id)):
        grouped.setdefault(one.point.district or one.point.municipality or _NOWHERE, []).append(one)
    return [District(name, tuple(points)) for name, points in sorted(grouped.items())]


@contextmanager
def _spoken(code: str) -> Iterator[None]:
    """A part of a page in another language than the page."""
    before = g.language
    g.language = code
    try:
        yield
    finally:
        g.language = before


def _numbers(desk: Desk) -> dict[str, str]:
    """The numbers to text and to call, as people write them here; "" where there is none."""
    settings = desk.service.settings
    return {
        "text_to": _national(settings.twilio_from),
        "call_to": _national(settings.twilio_call_from or settings.twilio_from),
    }


def _national(number: str) -> str:
    if not number.startswith("+"):
        return number if number.isdecimal() else ""  # a short code, or a name that nobody can text
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    kind = phonenumbers.PhoneNumberFormat
    home = parsed.country_code == 46
    return str(phonenumbers.format_number(parsed, kind.NATIONAL if home else kind.INTERNATIONAL))


def _until(at: datetime | None, now: datetime, zone: str) -> str:
    """A time of day as it is said, with the day if it is not today: "kl 20", "kl 20.30", "kl 8 den 25 november"."""
    if at is None:
        return ""
    local = at.astimezone(ZoneInfo(zone))
    time = clock(at, zone)
    if current() == "sv" and local.minute == 0:
        time = str(local.hour)
    today: date = now.astimezone(ZoneInfo(zone)).date()
    if local.date() == today:
        return gettext("at {time}").format(time=time)
    day = format_date(local, "d MMMM", locale=current())
    return gettext("at {time} on {day}").format(time=time, day=day)


_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su", "PH")


def hours(text: str) -> str:
    """Opening hours in the OSM notation with the days in the language of the page."""
    names = gettext("Mon Tue Wed Thu Fri Sat Sun holidays").split()
    if len(names) != len(_DAYS):
        return text
    for code, name in zip(_DAYS, names, strict=True):
        text = _word(code).sub(name, text)
    return text


def _word(code: str) -> re.Pattern[str]:
    return re.compile(rf"\b{code}\b")


def _paragraphs(text: str) -> str:
    """Rendered text with single spaces in a line and at most one empty line in a row."""
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept)

"""The audit log: who changed what, looked through and written out."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, request, url_for

from responder.actions import journal
from responder.actions.journal import Line
from responder.core.access import Permission, Role
from responder.core.broadcast import State
from responder.core.changes import as_text
from responder.core.points import Status, YesNo
from responder.core.words import clean, inert, printable
from responder.store.journal import Wanted
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.language import gettext, moment

SHOWN = 50  # lines on a page
LONGEST = 300  # characters of a value on the page; all of it is in what is written out
COLUMNS = ("id", "at", "who", "action", "subject", "field", "before", "after", "decision", "decided_by", "told_at")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d:\d\d")
CODES = frozenset({*Status, *State, *Role, *YesNo})  # said in words
FILTERS = ("who", "subject", "action", "since", "until")


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    database, zone = desk.service.database, ZoneInfo(desk.service.settings.timezone)

    def wanted() -> tuple[Wanted, dict[str, str]]:
        """(what the address asks for, as it was typed)."""
        asked = {name: clean(request.args.get(name, ""))[:100] for name in FILTERS}
        since, until = (_day(asked[name], zone) for name in ("since", "until"))
        end = until + timedelta(days=1) if until else None
        utc = [at.astimezone(UTC) if at else None for at in (since, end)]
        return Wanted(asked["who"], asked["subject"], asked["action"], *utc), asked

    @console.get("/audit")
    @access(Permission.AUDIT)
    def audit() -> str:
        chosen, asked = wanted()
        before = request.args.get("before", "")
        older = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
        lines = journal.read(database, desk.operator, chosen, older, SHOWN + 1)
        used = {name: value for name, value in asked.items() if value}
        bad = [name for name in ("since", "until") if asked[name] and _day(asked[name], zone) is None]
        return render_template(
            "audit.html", lines=lines[:SHOWN], asked=asked, used=used, bad=bad, older=older,
            next=f"{url_for('console.audit')}?{urlencode({**used, 'before': lines[SHOWN - 1].id})}"
            if len(lines) > SHOWN else None,
            actions=journal.actions(database, desk.operator), text=partial(_shown, now=desk.now, zone=zone.key),
        )  # fmt: skip

    @console.get("/audit.csv")
    @access(Permission.AUDIT)
    def audit_csv() -> Response:
        lines = journal.read_all(database, desk.operator, wanted()[0])
        return _file(_as_csv(lines), "text/csv", "audit.csv", desk.now)

    @console.get("/audit.jsonl")
    @access(Permission.AUDIT)
    def audit_jsonl() -> Response:
        lines = journal.read_all(database, desk.operator, wanted()[0])
        return _file((f"{journal.to_json(line)}\n" for line in lines), "application/x-ndjson", "audit.jsonl", desk.now)


def _day(text: str, zone: ZoneInfo) -> datetime | None:
    """The beginning of a day in the local time zone; None for what is no date."""
    try:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=zone) if 1970 < day.year < 9999 else None
    except ValueError:
        return None


def _shown(value: object, field: str = "", *, now: datetime, zone: str) -> str:
    """The value of a `field` on the page; a time as people here write it."""
    if field.endswith("_at") and isinstance(value, float):  # broadcasts keep their times as seconds
        return moment(datetime.fromtimestamp(value, UTC), now, zone)
    text = printable(as_text(value))
    if text in CODES:
        return gettext(text)
    if _TIME.fullmatch(text):
        return moment(datetime.fromisoformat(text), now, zone)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _as_csv(lines: Iterator[Line]) -> Iterator[str]:
    """A row a changed field; a line that changed nothing has one without."""
    yield "\ufeff"  # spreadsheets take it for Latin-1 otherwise
    yield _row(COLUMNS)
    for line in lines:
        told = line.told_at.isoformat() if line.told_at else ""
        changes = [(one.field, as_text(one.before), as_text(one.after)) for one in line.changes] or [("", "", "")]
        for change in changes:
            head = (str(line.id), line.at.isoformat(), line.who, line.action, line.subject)
            yield _row((*head, *change, line.decision, line.decided_by, told))


def _row(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([inert(cell) for cell in cells])
    return out.getvalue()


def _file(parts: Iterator[str], kind: str, name: str, now: datetime) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{now:%Y%m%d}-{name}"'}
    return Response(parts, content_type=f"{kind}; charset=utf-8", headers=headers)

"""Change what a point is: one transaction with who did it, by whose decision, and what it was before."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from responder.core.access import Operator, Permission, require
from responder.core.points import ACTIVATED, Point, Status
from responder.core.pointsfile import LONGEST, check_point, moment
from responder.core.words import clean
from responder.store.engine import Database
from responder.store.queries import Clash, add_audit, audit_log, read_points, save_points
from responder.store.tables import AuditRow

_CLOCK = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")


class ChangeRefused(ValueError):
    """A change that would make a point misleading; the message says which field and why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator says of a point. Opens and closes always replace the old ones; None keeps the other fields."""

    status: Status
    opens: str = ""
    closes: str = ""
    hours: str | None = None
    note: str | None = None
    phone: str | None = None
    moved_to: str | None = None


def set_point(
    database: Database,
    id: str,
    change: Change,
    operator: Operator,
    zone: str,
    now: datetime,
    decision: str = "",
    decided_by: str = "",
    seen: int | None = None,
) -> tuple[Point, Point]:
    """(before, after) of the point `id`, confirmed by `operator` at `now`, by a `decision` of somebody.

    `seen`: the version that the operator looked at; if somebody has changed the point since, that is shown instead.
    The change, its audit line and the push it may call for are one transaction. Raises ChangeRefused, Forbidden or
    StoreAway.
    """
    with database.write() as connection:
        known = {point.id: (point, version) for point, version in read_points(connection)}
        if id not in known:
            raise ChangeRefused(f"no point has the id {id!r}; `responder points` lists them")
        before, version = known[id]
        require(operator, Permission.POINT, before.district)
        if seen is not None and seen != version:
            raise ChangeRefused(_overtaken(before, version, seen, audit_log(connection, id)[-1:], zone))
        after = _changed(before, change, zone, now)
        try:
            save_points(connection, [after], {id: version}, now)
        except Clash as error:
            raise ChangeRefused(f"{id} was changed by somebody else at the same moment; look and try again") from error
        add_audit(
            connection, now, operator.name, f"set {change.status}", before, after, clean(decision), clean(decided_by)
        )
    return before, after


def _overtaken(point: Point, version: int, seen: int, last: list[AuditRow], zone: str) -> str:
    """What the first of two did, for the second."""
    who = f"{last[0].who} at {last[0].at.astimezone(ZoneInfo(zone)):%H.%M}" if last else "somebody"
    times = "".join(
        f", {name} {moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
        for name, moment in (("opens", point.opens), ("closes", point.closes))
        if moment
    )
    return (
        f"{point.id} was changed meanwhile by {who}: it is {point.status}{times}. You saw version {seen}, it is now "
        f"version {version}; look at it and say again what it is to be"
    )


def next_time(text: str, after: datetime, zone: str) -> datetime:
    """ISO 8601, or HH:MM as the next such time on the clock of `zone` after `after`; in UTC. Raises ValueError."""
    clock = _CLOCK.fullmatch(text.strip())
    if not clock:
        return moment(text, zone)
    local = after.astimezone(ZoneInfo(zone))
    at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, fold=0)
    if at.astimezone(UTC) <= after:
        at += timedelta(days=1)
    return at.astimezone(UTC)


def _changed(before: Point, change: Change, zone: str, now: datetime) -> Point:
    try:
        opens = next_time(change.opens, now, zone) if change.opens else None
        closes = next_time(change.closes, max(now, opens or now), zone) if change.closes else None
    except ValueError as error:
        raise ChangeRefused(str(error)) from error
    given = {name: getattr(change, name) for name in ("hours", "note", "phone", "moved_to")}
    texts: dict[str, Any] = {name: clean(value) for name, value in given.items() if value is not None}
    after = replace(before, status=change.status, opens=opens, closes=closes, confirmed_at=now, **texts)
    faults = [f"{column}: {reason}" for column, reason in check_point(after, zone)]
    faults += [
        f"{name}: over {LONGEST[name]} characters" for name, value in texts.items() if len(value) > LONGEST[name]
    ]
    if closes and closes <= now and change.status in ACTIVATED:
        faults.append("closes: has passed")
    if (opens or closes) and change.status not in ACTIVATED:
        faults.append(
            f"opens, closes: mean nothing for a {change.status} point; with status open it is told as opening then"
        )
    if faults:
        raise ChangeRefused("; ".join(faults))
    return after

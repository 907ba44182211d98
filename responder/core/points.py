"""A trygghetspunkt, its services, and what it *is* for a resident at a given moment (the truth table).

`status` is what an operator decided; `Standing` is what that means now, with the announced times and the
regular hours of the door taken in. ARCHITECTURE.md shows the table; tests/core/test_points.py has a test a cell.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from opening_hours import OpeningHours

# Codes of a points file, in the order in which residents are told them. The only list of them.
SERVICES = (
    "information", "phone_charging", "first_aid", "water", "warmth", "food", "toilets", "overnight_if_severe",
    "electricity", "rest", "crisis_support", "hot_drinks", "food_heating", "kitchen", "shower", "beds", "shelter",
    "backup_power", "call_112", "contact_relatives", "defibrillator", "water_distribution", "lighting",
    "backup_power_planned",
)  # fmt: skip

CLOSES_SOON = timedelta(minutes=60)


class Status(StrEnum):
    """What an operator decided about a point."""

    CANDIDATE = "candidate"
    REJECTED = "rejected"
    PLANNED = "planned"
    OPEN = "open"
    FULL = "full"
    ON_CALL = "on_call"
    CLOSED = "closed"
    MOVED = "moved"


ACTIVATED = frozenset({Status.OPEN, Status.FULL, Status.ON_CALL})
PROPOSED = frozenset({Status.CANDIDATE, Status.REJECTED})  # residents never hear of these


class YesNo(StrEnum):
    """Yes, no, or nobody has said."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a points file. `lat`, `lon` in WGS84 degrees, `coordinate_accuracy` in metres, times in UTC.

    Residents are never told how many people the point holds and has in it now (`capacity`, `visitors`: None if nobody
    has said), nor `staffing`, `supplies` and `contact`: these are notes among operators.
    """

    id: str
    name: str
    lat: float
    lon: float
    status: Status
    address: str = ""
    postcode: str = ""
    city: str = ""
    district: str = ""
    municipality: str = ""
    coordinate_accuracy: int = 50
    services: tuple[str, ...] = ()
    opens: datetime | None = None
    closes: datetime | None = None
    hours: str = ""
    phone: str = ""
    moved_to: str = ""
    step_free: YesNo = YesNo.UNKNOWN
    pets: YesNo = YesNo.UNKNOWN
    overnight: YesNo = YesNo.UNKNOWN
    backup_power: YesNo = YesNo.UNKNOWN
    note: str = ""
    hidden: bool = False
    confirmed_at: datetime | None = None
    capacity: int | None = None
    visitors: int | None = None
    staffing: str = ""
    supplies: str = ""
    contact: str = ""

    @property
    def demo(self) -> bool:
        """Whether the point is fictional; such a point may never reach a real number."""
        return self.id.startswith("demo-") or "DEMO" in self.name


POINT_FIELDS = tuple(field.name for field in fields(Point))


class Kind(StrEnum):
    """What a point is for a resident now."""

    OPEN = "open"
    CLOSES_SOON = "closes_soon"
    BY_PHONE = "by_phone"
    FULL = "full"
    OPENS_AT = "opens_at"
    MOVED = "moved"
    CLOSED = "closed"
    PLANNED = "planned"
    UNTOLD = "untold"


USABLE = frozenset({Kind.OPEN, Kind.CLOSES_SOON, Kind.BY_PHONE, Kind.FULL})


@dataclass(frozen=True, slots=True)
class Standing:
    """What a point is now, and until when that holds.

    `until`: when the door closes next; `opens`: when it opens next; `changes_at`: the first moment at which this
    standing may no longer be true (None: only an operator can change it). All in UTC.
    """

    kind: Kind
    until: datetime | None = None
    opens: datetime | None = None
    call_first: bool = False
    unconfirmed: bool = False
    changes_at: datetime | None = None


@lru_cache(maxsize=4096)
def parsed_hours(expression: str, zone: str) -> OpeningHours:
    """OSM opening_hours with Swedish public holidays. Raises ValueError with the parser's reason."""
    try:
        return OpeningHours(expression, ZoneInfo(zone), "SE", None, False, False)
    except Exception as error:  # the library raises its own ParserError or SyntaxError, by version
        raise ValueError(f"opening hours {expression!r}: {error}") from error


def standing(point: Point, now: datetime, zone: str, stale_after: timedelta) -> Standing:
    """The truth table: what `point` is for a resident at `now` (aware)."""
    confirmed_until = point.confirmed_at + stale_after if point.confirmed_at else None
    unconfirmed = confirmed_until is None or confirmed_until <= now
    if point.status not in ACTIVATED:
        kind = Kind.UNTOLD if point.status in PROPOSED else Kind(point.status.value)
        return Standing(kind, unconfirmed=unconfirmed, changes_at=_first(now, confirmed_until))
    call_first = point.status is Status.ON_CALL
    closes = point.closes
    if closes and closes <= now:
        return Standing(Kind.CLOSED, unconfirmed=unconfirmed, changes_at=_first(now, confirmed_until))
    start = max(now, point.opens) if point.opens else now
    doors_open, change = _door(point, start, zone)
    if start > now or not doors_open:
        opens = start if doors_open else change
        if opens is None or (closes and opens >= closes):
            kind, opens = Kind.CLOSED, None
        else:
            kind = Kind.OPENS_AT
        until = min((t for t in (_door(point, opens, zone)[1], closes) if t), default=None) if opens else None
        changes = _first(now, confirmed_until, opens, closes)
        return Standing(kind, until, opens, call_first, unconfirmed, changes)
    until = min((t for t in (change, closes) if t), default=None)
    warn = until - CLOSES_SOON if until else None
    if call_first:
        kind = Kind.BY_PHONE
    elif point.status is Status.FULL:
        kind = Kind.FULL
    else:
        kind = Kind.CLOSES_SOON if warn and warn <= now else Kind.OPEN
    return Standing(kind, until, None, call_first, unconfirmed, _first(now, confirmed_until, until, warn))


def _door(point: Point, at: datetime, zone: str) -> tuple[bool, datetime | None]:
    """Whether the regular hours have the door open `at`, and when that changes next."""
    if not point.hours:
        return True, None
    hours = parsed_hours(point.hours, zone)
    local = at.astimezone(ZoneInfo(zone))
    is_open, moment = hours.is_open(local), local
    for _ in range(20):  # a change between "closed" and "unknown" is none for a door
        change = hours.next_change(moment)
        if change is None:
            return is_open, None
        if hours.is_open(change) != is_open:
            return is_open, change.astimezone(UTC)
        moment = change
    return is_open, None


def _first(now: datetime, *moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment and moment > now), default=None)

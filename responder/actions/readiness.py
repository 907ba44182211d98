"""Plan for the crisis: districts propose points, the coordinator decides, and each half-year somebody signs for it.

Every step is one transaction with its line in the audit log. While an exercise goes on the plan stands still: what is
seen then is not real, and a decision must be.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.coverage import District, districts
from responder.core.halfyear import HalfYear, half_year
from responder.core.nearest import Grid, unit_vector, unit_vectors
from responder.core.places import Place, PlaceKind
from responder.core.points import SERVICES, Point, Status, YesNo
from responder.core.pointsfile import LONGEST, check_point, people
from responder.core.problem import Fault, Phrase, Problem, listed
from responder.core.rows import five_digits
from responder.core.words import clean, fold, words
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.exercises import current
from responder.store.queries import Clash, add_audit, read_places, read_points, save_points
from responder.store.readiness import Report, read_report, save_report

MIN_REASON = 10  # characters
LONGEST_REASON = 500
MOST_ASTRAY = 5_000  # metres from the nearest postcode of its district; further is a slip of the pen
MOST_MARGIN = 5_000  # metres
_YES_NO = ("step_free", "pets", "overnight", "backup_power")
_TEXTS = ("name", "address", "city", "hours", "phone", "note", "contact")


class Unfit(Problem):
    """A proposal that cannot be taken; `faults` say which field and why. Nothing was changed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(listed(self.faults))


class NotNow(Problem):
    """A step that does not follow on what the point or the report is. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point as somebody wrote it down; numbers as they were typed."""

    name: str
    lat: str
    lon: str
    coordinate_accuracy: str = "50"
    address: str = ""
    postcode: str = ""
    city: str = ""
    services: tuple[str, ...] = ()
    hours: str = ""
    phone: str = ""
    capacity: str = ""
    contact: str = ""
    step_free: str = "unknown"
    pets: str = "unknown"
    overnight: str = "unknown"
    backup_power: str = "unknown"
    note: str = ""
    hidden: bool = False

    @classmethod
    def of(cls, point: Point) -> "Proposal":
        """What would have been written down for `point`."""
        values: dict[str, Any] = {f.name: getattr(point, f.name) for f in fields(cls)}
        numbers = {name: str(values[name]) for name in ("lat", "lon", "coordinate_accuracy")}
        capacity = "" if point.capacity is None else str(point.capacity)
        return cls(**{**values, **numbers, "capacity": capacity})


@dataclass(frozen=True, slots=True)
class Planner:
    """The steps. `real`: real residents are at the other end, so nothing may be called DEMO."""

    database: Database
    zone: str
    real: bool = False
    read: Callable[[Connection], list[Place]] = field(default=read_places)

    def propose(self, operator: Operator, district: str, proposal: Proposal, now: datetime) -> Point:
        """The new candidate. Raises Unfit, NotNow, Forbidden or StoreAway."""
        with self.database.write() as connection:
            require(operator, Permission.PLAN, district)
            _not_in_an_exercise(connection)
            places = self.read(connection)
            area = next((p for p in places if p.kind is PlaceKind.AREA and p.district == district), None)
            if area is None:
                raise NotNow("there is no district called '{name}'; choose one from the list", name=district)
            known = {point.id: version for point, version in read_points(connection)}
            blank = Point(
                _next_id(district, known), "", 0, 0, Status.CANDIDATE, district=district,
                municipality=area.municipality,
            )  # fmt: skip
            point = self._written(blank, proposal, places)
            save_points(connection, [point], known, now)
            add_audit(connection, now, operator.name, "propose", None, point)
        return point

    def edit(self, operator: Operator, id: str, proposal: Proposal, seen: int, now: datetime) -> Point:
        """The candidate `id`, of which the operator saw version `seen`, as it is now proposed."""
        with self.database.write() as connection:
            before, version = _found(connection, id)
            require(operator, Permission.PLAN, before.district)
            _not_in_an_exercise(connection)
            if before.status is not Status.CANDIDATE:
                raise NotNow(
                    "{id} is {status}: only a candidate can be changed here", id=before.id, status=before.status
                )
            _still_version(before, version, seen)
            after = self._written(before, proposal, self.read(connection))
            if after != before:
                _save(connection, before, after, version, operator, "edit proposal", now)
        return after

    def decide(self, operator: Operator, id: str, planned: bool, reason: str, seen: int, now: datetime) -> Point:
        """A candidate becomes planned, or rejected with a reason that whoever proposed it can read."""
        reason = _reason(reason, needed=not planned)
        status = Status.PLANNED if planned else Status.REJECTED
        action = "plan" if planned else "reject"
        return self._move(operator, Permission.DECIDE, id, Status.CANDIDATE, status, action, reason, seen, now)

    def take_back(self, operator: Operator, id: str, reason: str, seen: int, now: datetime) -> Point:
        """A planned point becomes a candidate again, which residents do not hear of."""
        reason = _reason(reason, needed=True)
        return self._move(
            operator, Permission.DECIDE, id, Status.PLANNED, Status.CANDIDATE, "take back", reason, seen, now
        )

    def propose_again(self, operator: Operator, id: str, seen: int, now: datetime) -> Point:
        """A rejected point becomes a candidate again."""
        return self._move(
            operator, Permission.PLAN, id, Status.REJECTED, Status.CANDIDATE, "propose again", "", seen, now
        )

    def set_deadline(
        self, operator: Operator, district: str, period: HalfYear, deadline: date, now: datetime
    ) -> Report:
        """Say when a district's report is due."""
        with self.database.write() as connection:
            before = self._report(connection, operator, district, period)
            if before.signed_at:
                raise NotNow("the report is signed; reopen it first")
            after = replace(before, deadline=deadline.isoformat())
            _keep(connection, operator, "deadline", before, after, now)
        return after

    def sign(self, operator: Operator, district: str, period: HalfYear, note: str, now: datetime) -> Report:
        """Sign the report as things stand: how they stand goes into the audit log beside the name."""
        note = _short(note)
        with self.database.write() as connection:
            before = self._report(connection, operator, district, period)
            if before.signed_at:
                raise NotNow("{name} has signed the report already", name=before.signed_by)
            if period > half_year(self._today(now)):
                raise NotNow("{period} has not begun; it cannot be signed", period=str(period))
            after = replace(before, signed_by=operator.name, signed_at=now.timestamp(), note=note)
            points = [point for point, _ in read_points(connection)]
            found = next(d for d in districts(self.read(connection), points) if d.name == district)
            _keep(connection, operator, "sign", before, after, now, state=summary(found))
        return after

    def reopen(self, operator: Operator, district: str, period: HalfYear, reason: str, now: datetime) -> Report:
        """Take the signature off the report."""
        reason = _reason(reason, needed=True)
        with self.database.write() as connection:
            before = self._report(connection, operator, district, period)
            if not before.signed_at:
                raise NotNow("nobody has signed the report; there is nothing to reopen")
            after = replace(before, signed_by="", signed_at=None, note="")
            _keep(connection, operator, "reopen", before, after, now, reason)
        return after

    def _move(
        self,
        operator: Operator,
        permission: Permission,
        id: str,
        start: Status,
        end: Status,
        action: str,
        reason: str,
        seen: int,
        now: datetime,
    ) -> Point:
        with self.database.write() as connection:
            before, version = _found(connection, id)
            require(operator, permission, before.district)
            _not_in_an_exercise(connection)
            if before.status is not start:
                raise NotNow(
                    "{id} is {status}, not {start}; look at it again", id=before.id, status=before.status, start=start
                )
            _still_version(before, version, seen)
            after = replace(before, status=end)
            decided_by = operator.name if permission is Permission.DECIDE else ""
            _save(connection, before, after, version, operator, action, now, reason, decided_by)
        return after

    def _report(self, connection: Connection, operator: Operator, district: str, period: HalfYear) -> Report:
        require(operator, Permission.DECIDE, district)
        _not_in_an_exercise(connection)
        if district not in {place.district for place in self.read(connection) if place.kind is PlaceKind.AREA}:
            raise NotNow("there is no district called '{name}'; choose one from the list", name=district)
        return read_report(connection, district, str(period))

    def _today(self, now: datetime) -> date:
        return now.astimezone(ZoneInfo(self.zone)).date()

    def _written(self, before: Point, proposal: Proposal, places: Iterable[Place]) -> Point:
        reader = _Reader(proposal)
        said: dict[str, Any] = {name: reader.text(name) for name in _TEXTS}
        said |= {name: reader.parsed(name, YesNo, YesNo.UNKNOWN) for name in _YES_NO}
        point = replace(
            before,
            **said,
            postcode=reader.parsed("postcode", _postcode, ""),
            lat=reader.number("lat", 55.0, 69.5),
            lon=reader.number("lon", 10.5, 24.5),
            coordinate_accuracy=round(reader.number("coordinate_accuracy", 1, MOST_MARGIN)),
            services=reader.services(),
            capacity=reader.parsed("capacity", people, None),
            hidden=proposal.hidden,
        )
        faults = [*reader.faults, *check_point(point, self.zone)]
        if self.real and point.demo:
            faults.append(Fault("name", Phrase("DEMO is for made-up points; this service is real")))
        if not any(fault.field in ("lat", "lon") for fault in faults):
            faults += _astray(point, places)
        if faults:
            raise Unfit(faults)
        return point


class _Reader:
    """The fields of a proposal, one by one; `faults` collects what is wrong."""

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self.faults: list[Fault] = []

    def text(self, name: str) -> str:
        value = clean(getattr(self._proposal, name))
        if name == "name" and not value:
            self.faults.append(Fault(name, Phrase("missing: residents are told the name")))
        if len(value) > LONGEST[name]:
            long = Phrase("{count} characters, at most {most}; shorten it", count=len(value), most=LONGEST[name])
            self.faults.append(Fault(name, long))
        return value

    def number(self, name: str, low: float, high: float) -> float:
        text = clean(getattr(self._proposal, name)).replace(",", ".")
        try:
            number = float(text)
        except ValueError:
            self.faults.append(Fault(name, Phrase("missing or no number; choose a place on the map, or write it")))
            return low
        if not low <= number <= high:
            self.faults.append(Fault(name, Phrase("must be from {low} to {high}", low=f"{low:g}", high=f"{high:g}")))
            return low
        return round(number, 6)

    def parsed(self, name: str, parse: Callable[[str], Any], default: Any) -> Any:
        text = clean(getattr(self._proposal, name))
        try:
            return parse(text) if text else default
        except Problem as problem:
            self.faults.append(Fault(name, problem.phrase))
        except ValueError:
            self.faults.append(Fault(name, Phrase("choose one from the list")))
        return default

    def services(self) -> tuple[str, ...]:
        if set(self._proposal.services) - set(SERVICES):
            self.faults.append(Fault("services", Phrase("choose one from the list")))
        return tuple(code for code in SERVICES if code in self._proposal.services)


def summary(district: District) -> dict[str, Any]:
    """How a district stands, for the log: counts and coverage."""
    counts = {status.value: sum(p.status is status for p in district.points) for status in Status}
    return {
        "points": {status: count for status, count in counts.items() if count},
        "counted": len(district.counted),
        "postcodes": district.coverage.postcodes,
        "median": district.coverage.median,
        "within": {str(w.radius): [w.near, w.uncertain] for w in district.coverage.within},
        "missing_services": list(district.missing_services),
        "lacking": {what: len(points) for what, points in district.lacking.items()},
        "open_matters": district.open_matters,
    }


def subject(district: str, period: HalfYear | str) -> str:
    """What the audit log calls a report."""
    return f"report:{district}:{period}"


def deadline(report: Report, period: HalfYear) -> date:
    """When the report is due."""
    return date.fromisoformat(report.deadline) if report.deadline else period.last_day


def read_date(text: str) -> date:
    """A date as YYYY-MM-DD. Raises Problem."""
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise Problem("'{date}' is no date; write it like 2026-12-31", date=text) from None
    if not 2020 <= day.year <= 2100:
        raise Problem("'{date}' is no date; write it like 2026-12-31", date=text)
    return day


def _postcode(text: str) -> str:
    try:
        return five_digits(text)
    except ValueError:
        raise Problem("'{postcode}' is not five digits", postcode=text) from None


def _astray(point: Point, places: Iterable[Place]) -> Iterator[Fault]:
    homes = [p for p in places if p.kind is PlaceKind.POSTCODE and p.district == point.district and not p.is_box]
    if not homes:
        return
    grid = Grid(unit_vectors([home.lat for home in homes], [home.lon for home in homes]))
    metres = float(grid.metres(unit_vector(point.lat, point.lon)).min())
    if metres > MOST_ASTRAY:
        away = Phrase(
            "{km} km from the nearest postcode of {district}; check it",
            km=f"{metres / 1000:.0f}",
            district=point.district,
        )
        yield Fault("lat", away)


def _next_id(district: str, known: Iterable[str]) -> str:
    """Such as farsta-3: the number after the highest there is."""
    stem = "-".join(words(fold(district)))
    numbers = [int(found[1]) for id in known if (found := re.fullmatch(rf"{re.escape(stem)}-([0-9]+)", id))]
    return f"{stem}-{max(numbers, default=0) + 1}"


def _found(connection: Connection, id: str) -> tuple[Point, int]:
    for point, version in read_points(connection):
        if point.id == id:
            return point, version
    raise NotNow("no point has the id '{id}'; look it up in the list of points", id=id)


def _still_version(point: Point, version: int, seen: int) -> None:
    if version != seen:
        raise NotNow("{id} was changed by somebody else meanwhile; look at it and try again", id=point.id)


def _not_in_an_exercise(connection: Connection) -> None:
    if current(connection):
        raise NotNow("an exercise goes on, and the plan is real; wait until the exercise has ended")


def _save(
    connection: Connection,
    before: Point,
    after: Point,
    version: int,
    operator: Operator,
    action: str,
    now: datetime,
    decision: str = "",
    decided_by: str = "",
) -> None:
    try:
        save_points(connection, [after], {after.id: version}, now)
    except Clash as error:
        raise NotNow("{id} was changed by somebody else meanwhile; look at it and try again", id=after.id) from error
    add_audit(connection, now, operator.name, action, before, after, decision, decided_by)


def _keep(
    connection: Connection,
    operator: Operator,
    action: str,
    before: Report,
    after: Report,
    now: datetime,
    reason: str = "",
    state: Mapping[str, Any] | None = None,
) -> None:
    save_report(connection, after)
    told = _told(after) | ({"state": state} if state is not None else {})
    about = subject(after.district, after.period)
    texts = [json.dumps(values, ensure_ascii=False, sort_keys=True) for values in (_told(before), told)]
    add_line(connection, now, operator.name, action, about, texts[0], texts[1], reason)


def _told(report: Report) -> dict[str, Any]:
    signed = datetime.fromtimestamp(report.signed_at, UTC).isoformat() if report.signed_at else ""
    return {"deadline": report.deadline, "signed_by": report.signed_by, "signed_at": signed, "note": report.note}


def _reason(reason: str, needed: bool) -> str:
    reason = _short(reason)
    if needed and len(reason) < MIN_REASON:
        raise Problem("say why in at least {least} characters", least=MIN_REASON)
    return reason


def _short(text: str) -> str:
    text = clean(text)
    if len(text) > LONGEST_REASON:
        raise Problem("{count} characters, at most {most}; shorten it", count=len(text), most=LONGEST_REASON)
    return text

"""The points file: CSV or GeoJSON to points, and points to CSV or GeoJSON. README.md describes the columns.

Every fault is named with line, column and reason, and one fault means that nothing is taken in.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pyproj import Transformer

from responder.core.nearest import Grid, unit_vector, unit_vectors
from responder.core.points import ACTIVATED, POINT_FIELDS, PROPOSED, SERVICES, Point, Status, YesNo, parsed_hours
from responder.core.problem import Fault, Phrase, Problem
from responder.core.rows import Row, TableError, csv_rows, five_digits
from responder.core.words import inert

NEEDED = ("id", "name", "lat", "lon", "status")
LIVE = ("status", "opens", "closes", "hours", "moved_to", "phone", "note")  # what operators change in a crisis
LONGEST = {
    "id": 64, "name": 60, "address": 60, "city": 40, "district": 40, "municipality": 40, "hours": 120, "phone": 20,
    "moved_to": 80, "note": 120, "staffing": 200, "supplies": 200, "contact": 200,
}  # fmt: skip
MOVES = 200  # metres by which a door's coordinate may be put right while it is open
MOST_PEOPLE = 100_000
CLOCK_SKEW = timedelta(minutes=10)
SWEREF = frozenset({3006, *range(3007, 3019)})  # EPSG: SWEREF 99 TM and its twelve local zones
_WGS84 = ("CRS84", "4326")
_ID = re.compile(r"[\w.\-]{1,64}")
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{1,18}[0-9]")
_GUARDED = re.compile(r"'+\s*[=+\-@|%＝＋－＠]")  # a cell that `_guarded` has put a ' before
_SWEDEN = {"lat": (55.0, 69.5), "lon": (10.5, 24.5)}


def read_points_file(text: str, zone: str, now: datetime) -> list[Point]:
    """The points of a CSV or GeoJSON text; local times are those of `zone`. Raises TableError."""
    json_text = text.lstrip("\ufeff \t\r\n").startswith("{")
    rows = list(_geojson_rows(text) if json_text else map(_unguarded, csv_rows(text, POINT_FIELDS, NEEDED)))
    points = [_point(row, zone, now) for row in rows]
    first_line: dict[str, str] = {}
    for row, point in zip(rows, points, strict=True):
        if point.id and point.id in first_line:
            row.fault("id", f"{point.id!r} is also in {first_line[point.id]}")
        first_line.setdefault(point.id, row.line)
    faults = [fault for row in rows for fault in row.faults]
    if not rows:
        faults = ["the file holds no points"]
    if faults:
        raise TableError(faults)
    return points


def reconciled(old: Point, new: Point) -> Point:
    """`new` over `old`. ValueError: it would undo what an operator confirmed later than the file, or move an open
    door.
    """
    if {old.status, new.status} <= ACTIVATED and _apart(old, new) > MOVES:
        raise ValueError(
            f"{new.id} is {old.status} and would move by {_apart(old, new):.0f} m without anybody hearing of it: "
            "give the new place an id of its own, and set the old one moved"
        )
    if old.confirmed_at is None or (new.confirmed_at and new.confirmed_at >= old.confirmed_at):
        return new
    undone = [name for name in LIVE if getattr(old, name) != getattr(new, name)]
    if undone:
        raise ValueError(
            f"{', '.join(undone)} of {new.id} would change, but it was confirmed at "
            f"{old.confirmed_at:%Y-%m-%d %H:%M} UTC; give a confirmed_at later than that"
        )
    return replace(new, confirmed_at=old.confirmed_at)


def _apart(one: Point, other: Point) -> float:
    """Metres between two points."""
    return float(Grid(unit_vectors([one.lat], [one.lon])).metres(unit_vector(other.lat, other.lon))[0])


def write_points_file(points: Iterable[Point]) -> str:
    """CSV that `read_points_file` reads back to the same points. Times in ISO 8601, UTC.

    What a spreadsheet would take for a formula, such as a phone number that begins with +, has a ' before it; that is
    taken off again when the file is read.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(POINT_FIELDS)
    for point in points:
        writer.writerow([_guarded(_cell(getattr(point, name))) for name in POINT_FIELDS])
    return out.getvalue()


def write_points_geojson(points: Iterable[Point]) -> str:
    """GeoJSON (RFC 7946, WGS84) that `read_points_file` reads back to the same points."""
    features = [
        {
            "type": "Feature",
            "id": point.id,
            "geometry": {"type": "Point", "coordinates": [point.lon, point.lat]},
            "properties": {
                name: _property(getattr(point, name)) for name in POINT_FIELDS if name not in ("lat", "lon")
            },
        }
        for point in points
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, indent=1) + "\n"


def for_public(points: Iterable[Point]) -> list[Point]:
    """What anybody may have of `points`: none that is only proposed, none that is hidden, since its coordinate gives
    its address away, and no notes among operators.
    """
    return [
        replace(point, visitors=None, staffing="", supplies="", contact="")
        for point in points
        if point.status not in PROPOSED and not point.hidden
    ]


def _guarded(cell: str) -> str:
    return f"'{cell}" if _GUARDED.match(cell) else inert(cell)


def _unguarded(row: Row) -> Row:
    row.values = {name: cell[1:] if _GUARDED.match(cell) else cell for name, cell in row.values.items()}
    return row


def _property(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else _cell(value) or None


def moment(text: str, zone: str) -> datetime:
    """ISO 8601 with an offset, or on the clock of `zone`, as UTC. Raises Problem."""
    try:
        if len(text) <= 10:
            raise ValueError
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter beyond the years 1 and 9999
        raise Problem("'{time}' is no time; write it like 2026-11-24T14:20", time=text) from None


def check_point(point: Point, zone: str) -> Iterator[Fault]:
    """Everything that makes `point` unfit to be told."""
    if point.status is Status.ON_CALL and not point.phone:
        yield Fault("phone", Phrase("missing: a point by phone call needs the number"))
    if point.status is Status.MOVED and not point.moved_to:
        yield Fault("moved_to", Phrase("missing: a moved point needs its new address"))
    if point.opens and point.closes and point.opens >= point.closes:
        yield Fault("closes", Phrase("is not later than opens; give a later time"))
    if point.phone and not _PHONE.fullmatch(point.phone):
        phrase = Phrase("'{phone}' is not a phone number; write digits, spaces and - only", phone=point.phone)
        yield Fault("phone", phrase)
    if point.hours:
        try:
            parsed_hours(point.hours, zone)
        except ValueError:
            # the parser's own reason is a drawing of its grammar
            phrase = Phrase(
                "'{hours}' cannot be read as opening hours; write them like Mo-Su 08:00-20:00", hours=point.hours
            )
            yield Fault("hours", phrase)


def _point(row: Row, zone: str, now: datetime) -> Point:
    when = lambda text: moment(text, zone)  # noqa: E731
    point = Point(
        id=row.parsed("id", _id, "") if row.text("id", LONGEST["id"], needed=True) else "",
        name=row.text("name", LONGEST["name"], needed=True),
        lat=row.number("lat", *_SWEDEN["lat"]),
        lon=row.number("lon", *_SWEDEN["lon"]),
        status=row.parsed("status", _status, Status.CANDIDATE) if row.text("status", needed=True) else Status.CANDIDATE,
        address=row.text("address", LONGEST["address"]),
        postcode=row.parsed("postcode", five_digits, ""),
        city=row.text("city", LONGEST["city"]),
        district=row.text("district", LONGEST["district"]),
        municipality=row.text("municipality", LONGEST["municipality"]),
        coordinate_accuracy=round(row.number("coordinate_accuracy", 0, 50_000, default=50)),
        services=row.parsed("services", _services, ()),
        opens=row.parsed("opens", when, None),
        closes=row.parsed("closes", when, None),
        hours=row.text("hours", LONGEST["hours"]),
        phone=row.text("phone", LONGEST["phone"]),
        moved_to=row.text("moved_to", LONGEST["moved_to"]),
        step_free=row.parsed("step_free", _yes_no, YesNo.UNKNOWN),
        pets=row.parsed("pets", _yes_no, YesNo.UNKNOWN),
        overnight=row.parsed("overnight", _yes_no, YesNo.UNKNOWN),
        backup_power=row.parsed("backup_power", _yes_no, YesNo.UNKNOWN),
        note=row.text("note", LONGEST["note"]),
        hidden=row.parsed("hidden", _hidden, False),
        confirmed_at=row.parsed("confirmed_at", when, None),
        capacity=row.parsed("capacity", people, None),
        visitors=row.parsed("visitors", people, None),
        staffing=row.text("staffing", LONGEST["staffing"]),
        supplies=row.text("supplies", LONGEST["supplies"]),
        contact=row.text("contact", LONGEST["contact"]),
    )
    if point.confirmed_at and point.confirmed_at > now + CLOCK_SKEW:
        row.fault("confirmed_at", f"{point.confirmed_at.isoformat()} has not been yet")
    for fault in check_point(point, zone):
        row.fault(fault.field, str(fault.phrase))
    return point


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"{text!r}: letters, digits, . _ and - only, at most 64")
    return text


def _status(text: str) -> Status:
    try:
        return Status(text.lower())
    except ValueError:
        raise ValueError(f"{text!r} is not one of {', '.join(Status)}") from None


def _services(text: str) -> tuple[str, ...]:
    said = [code.strip().lower() for code in text.split(";") if code.strip()]
    unknown = [code for code in said if code not in SERVICES]
    if unknown:
        raise ValueError(f"no such service: {', '.join(unknown)}; known are {', '.join(SERVICES)}")
    return tuple(code for code in SERVICES if code in said)


def _yes_no(text: str) -> YesNo:
    try:
        return YesNo(text.lower())
    except ValueError:
        raise ValueError(f"{text!r} is not yes, no or unknown") from None


def people(text: str) -> int:
    """How many people, as somebody wrote it. Raises Problem."""
    if not text.isdecimal() or len(text) > 20 or int(text) > MOST_PEOPLE:  # thousands of digits are no int either
        raise Problem(
            "'{number}' is no number of people; write digits only, at most {most}", number=text, most=MOST_PEOPLE
        )
    return int(text)


def _hidden(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError(f"{text!r} is not yes or no")
    return text.lower() == "yes"


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat()
        case tuple() | list():
            return ";".join(str(item) for item in value)
        case _:
            return str(value)


def _geojson_rows(text: str) -> Iterator[Row]:
    try:
        data = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise TableError([f"not JSON: {error}"]) from error
    if not isinstance(data, dict) or not isinstance(data.get("features"), list):
        raise TableError(["not a GeoJSON FeatureCollection: no list of features"])
    to_wgs84 = _transformer(data.get("crs"))
    for number, feature in enumerate(data["features"], start=1):
        yield _feature(f"feature {number}", feature, to_wgs84)


def _feature(line: str, feature: Any, to_wgs84: Transformer | None) -> Row:
    row = Row(line, {})
    try:
        properties, geometry = feature["properties"], feature["geometry"]
        row.values = {name: _cell(value) for name, value in properties.items() if name in POINT_FIELDS}
        if geometry["type"] != "Point":
            raise ValueError(f"a {geometry['type']}, not a Point")
        x, y = (float(number) for number in geometry["coordinates"][:2])
        lon, lat = to_wgs84.transform(x, y) if to_wgs84 else (x, y)
        row.values |= {"lat": f"{lat:.6f}", "lon": f"{lon:.6f}"}
        if not to_wgs84 and (abs(lat) > 90 or abs(lon) > 180):
            raise ValueError(f"{x:g}, {y:g} is not WGS84; declare the SWEREF 99 zone in crs")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        missing = isinstance(error, KeyError)
        row.fault("geometry", f"{error} is missing" if missing else str(error))
    return row


def _transformer(crs: Any) -> Transformer | None:
    """None for WGS84, which is also what is meant where nothing is declared."""
    if crs is None:
        return None
    try:
        name = str(crs["properties"]["name"])
    except (KeyError, TypeError):
        raise TableError(["crs: no properties.name"]) from None
    code = re.split(r":+", name)[-1]
    if code in _WGS84:
        return None
    if not code.isdecimal() or int(code) not in SWEREF:
        raise TableError([f"crs {name!r}: neither WGS84 nor SWEREF 99 (EPSG:3006 to EPSG:3018)"])
    return Transformer.from_crs(int(code), 4326, always_xy=True)


def checked(points: Sequence[Point], known: dict[str, Point]) -> list[Point]:
    """Those of `points` that change something against `known`, reconciled. Raises TableError."""
    out, faults = [], []
    for point in points:
        try:
            merged = reconciled(known[point.id], point) if point.id in known else point
        except ValueError as error:
            faults.append(str(error))
            continue
        if merged != known.get(point.id):
            out.append(merged)
    if faults:
        raise TableError(faults)
    return out

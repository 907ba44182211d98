"""Points and places files: all of a file or nothing, and every fault named."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from responder.actions import load
from responder.actions.publish import Change, ChangeRefused, Overtaken, next_time, set_point
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.places import PlaceKind
from responder.core.placesfile import read_places_file
from responder.core.points import SERVICES, Point, Status
from responder.core.pointsfile import read_points_file, reconciled, write_points_file
from responder.core.rows import TableError
from responder.store.queries import audit_log, read_points
from responder.store.schedule import PUSH, due
from tests.conftest import NOW, ZONE, Running, a_point

HEAD = "id,name,lat,lon,status"
ROW = "a,Hallen,59.24,18.09,open"


def read(text: str) -> list[Point]:
    return read_points_file(text, ZONE, NOW)


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(TableError) as refused:
        read(text)
    return refused.value.faults


def test_five_columns_are_enough() -> None:
    (point,) = read(f"{HEAD}\n{ROW}\n")
    assert (point.id, point.name, point.lat, point.lon, point.status) == ("a", "Hallen", 59.24, 18.09, Status.OPEN)


BAD = [
    ("status", "opne", "is not one of candidate, rejected, planned, open"), ("status", "", "missing"), ("lat", "", "missing"),
    ("lat", "femtionio", "is not a number"), ("lat", "18.09", "is not from 55"), ("lon", "nan", "is not from"),
    ("id", "", "missing"), ("id", "a b", "letters, digits"), ("name", "", "missing"), ("name", "x" * 61, "at most 60"),
    ("postcode", "1234", "is not five digits"), ("services", "water;sauna", "no such service: sauna"),
    ("opens", "i morgon", "is no time"), ("closes", "0001-01-01T00:00", "is no time"), ("confirmed_at", "2027-01-01T00:00", "has not been"),
    ("hours", "Mo-Fr 9-18", "cannot be read as opening hours"), ("phone", "ring mig", "is not a phone number"),
    ("step_free", "kanske", "is not yes, no or unknown"), ("hidden", "unknown", "is not yes or no"),
    ("coordinate_accuracy", "-5", "is not from 0"), ("note", "x" * 121, "at most 120"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "reason"), BAD, ids=[f"{c}={v[:12]}" for c, v, _ in BAD])
def test_a_bad_field_is_named_with_line_column_and_reason(column: str, value: str, reason: str) -> None:
    row = dict(zip(HEAD.split(","), ROW.split(","), strict=True)) | {"services": "water"} | {column: value}
    text = f"{','.join(row)}\nb,Andra,59.25,18.1,open\n" + ",".join(f'"{v}"' for v in row.values())
    assert any(f.startswith(f"line 3, column {column}: ") and reason in f for f in faults(text)), faults(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "column id: missing"), ("id,name\na,b", "column lat: missing"), (HEAD + "\n", "no points"),
        (f"{HEAD},colour\n{ROW},red", "column colour: no such column"), (f"{HEAD},id\n{ROW},b", "column id: twice"),
        (f"{HEAD}\n{ROW}\n{ROW}", "line 3, column id: 'a' is also in line 2"), (f"{HEAD}\n{ROW},extra", "line 2, column 6"),
        (f"{HEAD}\na,x,59,18,on_call", "phone: missing"), (f"{HEAD}\na,x,59,18,moved", "moved_to: missing"),
        (f"{HEAD},opens,closes\n{ROW},2026-11-24T20:00,2026-11-24T10:00", "column closes: is not later than opens"),
        ("{", "not JSON"), ('{"type": "Feature"}', "FeatureCollection"), ("[" * 10_000, "column id: missing"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_whole(text: str, fault: str) -> None:
    assert any(fault in said for said in faults(text)), faults(text)


def test_times_are_local_or_carry_an_offset() -> None:
    local, offset = read(f"{HEAD},opens\na,x,59,18,open,2026-11-24T08:00\nb,y,59,18,open,2026-11-24T08:00+00:00")
    assert local.opens == datetime(2026, 11, 24, 7, tzinfo=UTC)
    assert offset.opens == datetime(2026, 11, 24, 8, tzinfo=UTC)


def test_a_semicolon_file_with_a_byte_order_mark_is_read() -> None:
    assert read('\ufeffid;name;lat;lon;status;services\na;Hallen;59.24;18.09;open;"water;food"')[0].services == (
        "water",
        "food",
    )


def test_points_survive_the_round_trip() -> None:
    points = read_points_file((load.DATA / "points_demo.csv").read_text(encoding="utf-8"), ZONE, NOW)
    full = replace(points[0], opens=NOW, closes=NOW + timedelta(hours=3), confirmed_at=NOW, note='"citat", ; komma')
    assert read(write_points_file([full, *points[1:]])) == [full, *points[1:]]


def test_every_service_of_the_bundled_points_has_a_code() -> None:
    assert len(set(SERVICES)) == len(SERVICES)
    assert "backup_power_planned" in SERVICES


def geojson(x: float, y: float, crs: str = "") -> str:
    data: dict[str, object] = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [x, y]},
                "properties": {
                    "id": "a",
                    "name": "Hallen",
                    "status": "open",
                    "services": ["water"],
                    "hidden": True,
                    "OBJECTID": 7,
                },
            }
        ],
    }
    if crs:
        data["crs"] = {"type": "name", "properties": {"name": crs}}
    return json.dumps(data)


@pytest.mark.parametrize(
    ("x", "y", "crs"),
    [
        (18.0, 59.3, ""), (18.0, 59.3, "urn:ogc:def:crs:OGC:1.3:CRS84"), (18.0, 59.3, "EPSG:4326"),
        (150000, 6575764.58, "urn:ogc:def:crs:EPSG::3011"), (670836.85, 6577386.45, "EPSG:3006"),
    ],
)  # fmt: skip
def test_geojson_in_wgs84_or_a_declared_sweref_zone(x: float, y: float, crs: str) -> None:
    (point,) = read(geojson(x, y, crs))
    assert (point.lat, point.lon) == (pytest.approx(59.3, abs=3e-3), pytest.approx(18.0, abs=6e-3))
    assert (point.hidden, point.services) == (True, ("water",))


@pytest.mark.parametrize(
    ("x", "y", "crs", "fault"),
    [
        (150000, 6575764, "", "declare the SWEREF 99 zone"), (18, 59.3, "EPSG:3857", "neither WGS84 nor SWEREF"),
        (59.3, 18.0, "", "column lat"), (float("nan"), 59.3, "", "column lon"),
    ],
)  # fmt: skip
def test_other_coordinates_are_refused(x: float, y: float, crs: str, fault: str) -> None:
    assert any(fault in said for said in faults(geojson(x, y, crs)))


def test_an_import_may_not_undo_what_was_confirmed_later() -> None:
    confirmed = a_point(status=Status.CLOSED, confirmed_at=NOW)
    with pytest.raises(ValueError, match="was confirmed at 2026-11-24 13:20"):
        reconciled(confirmed, replace(confirmed, status=Status.OPEN, confirmed_at=None))
    newer = replace(confirmed, status=Status.OPEN, confirmed_at=NOW + timedelta(minutes=1))
    assert reconciled(confirmed, newer) == newer
    assert reconciled(confirmed, replace(confirmed, name="Ny", confirmed_at=None)).confirmed_at == NOW


def test_a_repeated_import_changes_nothing(service: Running) -> None:
    text = (load.DATA / "points_stockholm.csv").read_text(encoding="utf-8")
    first = load.load_points(service.database, text, ZONE, NOW, real=False)
    again = load.load_points(service.database, text, ZONE, NOW + timedelta(days=1), real=False)
    assert (str(first), str(again)) == ("25 new, 0 changed, 0 unchanged", "0 new, 0 changed, 25 unchanged")


def test_one_bad_row_and_nothing_is_imported(service: Running) -> None:
    with pytest.raises(TableError):
        load.load_points(service.database, f"{HEAD}\n{ROW}\nb,x,59,18,opne", ZONE, NOW, real=False)
    with service.database.read() as connection:
        assert read_points(connection) == []


def test_demo_points_are_refused_where_residents_are_real(service: Running) -> None:
    with pytest.raises(load.DemoRefused, match="demo-x"):
        load.load_points(service.database, f"{HEAD}\ndemo-x,Hallen,59.24,18.09,open", ZONE, NOW, real=True)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("22:00", NOW, "2026-11-24T21:00+00:00"), ("08:00", NOW, "2026-11-25T07:00+00:00"),
        ("14:20", NOW, "2026-11-25T13:20+00:00"), ("8.30", NOW, "2026-11-25T07:30+00:00"),
        ("2026-11-30T10:00", NOW, "2026-11-30T09:00+00:00"), ("2026-11-30T10:00Z", NOW, "2026-11-30T10:00+00:00"),
        ("03:00", datetime(2026, 10, 24, 22, tzinfo=UTC), "2026-10-25T02:00+00:00"),
    ],
)  # fmt: skip
def test_a_clock_time_is_the_next_such_time(text: str, after: datetime, expected: str) -> None:
    assert next_time(text, after, ZONE) == datetime.fromisoformat(expected)


def test_setting_a_point_confirms_it_replaces_its_times_and_is_audited(service: Running) -> None:
    service.put(a_point(closes=NOW + timedelta(hours=1), note="kvar"))
    later = NOW + timedelta(hours=2)
    change = Change(Status.OPEN, opens="", closes="22:00")
    _, after = set_point(service.database, "p1", change, shell("Anna"), ZONE, later, "Beslut 7", "KL")
    assert (after.opens, after.closes, after.confirmed_at, after.note) == (
        None,
        NOW.replace(hour=21, minute=0),
        later,
        "kvar",
    )
    _, bare = set_point(service.database, "p1", Change(Status.OPEN), shell("Anna"), ZONE, later)
    assert bare.closes is None
    with service.database.read() as connection:
        first, _ = audit_log(connection, "p1")
    assert (first.decided_by, first.run, first.told_at) == ("KL", None, None)
    assert (first.who, first.decision, first.action, first.at) == ("shell:Anna", "Beslut 7", "set open", later)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change(Status.ON_CALL), "phone: missing"), (Change(Status.MOVED), "moved_to: missing"),
        (Change(Status.OPEN, closes="2026-11-24T10:00"), "closes: has passed"), (Change(Status.OPEN, closes="kl 8"), "closes: 'kl 8' is no time; write it like 14:20"),
        (Change(Status.OPEN, hours="9-18"), "hours: '9-18' cannot be read"), (Change(Status.OPEN, note="x" * 121), "note: 121 characters, at most 120"),
        (Change(Status.CLOSED, opens="08:00"), "opens: means nothing"),
        (Change(Status.OPEN, opens="2026-11-25T10:00", closes="2026-11-25T09:00"), "closes: is not later"),
    ],
)  # fmt: skip
def test_a_change_that_would_mislead_is_refused_and_changes_nothing(
    service: Running, change: Change, reason: str
) -> None:
    service.put(a_point())
    with pytest.raises(ChangeRefused, match=reason):
        set_point(service.database, "p1", change, shell("Anna"), ZONE, NOW)
    with service.database.read() as connection:
        assert [point for point, _ in read_points(connection)] == [a_point()]


def test_everything_wrong_with_a_change_is_told_at_once_field_by_field(service: Running) -> None:
    service.put(a_point())
    with pytest.raises(ChangeRefused) as refused:
        set_point(service.database, "p1", Change(Status.MOVED, "kl 8", "20:00", phone="x"), shell("Anna"), ZONE, NOW)
    assert [fault.field for fault in refused.value.faults] == ["opens", "moved_to", "phone", "closes"]
    assert str(refused.value) == "; ".join(str(fault) for fault in refused.value.faults)
    assert refused.value.told(lambda text: {"moved_to": "flyttad till"}.get(text, text)).count("flyttad till: ") == 1


def test_an_open_door_is_not_moved_by_a_file_unheard(service: Running) -> None:
    service.put(a_point())
    row = "id,name,lat,lon,status,confirmed_at\np1,Hallen p1,59.2500,18.09,open,2026-11-24T14:20\n"
    with pytest.raises(TableError, match="p1 is open and would move by 1112 m"):
        load.load_points(service.database, row, ZONE, NOW, real=False)


def test_the_second_of_two_operators_is_shown_what_the_first_did(service: Running) -> None:
    service.put(a_point())
    set_point(service.database, "p1", Change(Status.FULL), shell("Anna"), ZONE, NOW, seen=1)
    with pytest.raises(
        Overtaken, match=r"changed meanwhile by shell:Anna at 14\.20: it is full\. You saw version 1"
    ) as refused:
        set_point(service.database, "p1", Change(Status.OPEN), shell("Bo"), ZONE, NOW, seen=1)
    found = refused.value
    assert (found.point.status, found.version, found.who, found.at) == (Status.FULL, 2, "shell:Anna", NOW)
    set_point(service.database, "p1", Change(Status.OPEN), shell("Bo"), ZONE, NOW, seen=2)


def test_a_reporter_changes_points_of_their_own_districts_alone(service: Running) -> None:
    service.put(a_point())
    hers, other = (Operator("eva", Role.REPORTER, (district,), signed_in=True) for district in ("Farsta", "Skarpnäck"))
    with pytest.raises(Forbidden, match=r"eva \(reporter\) may not change a point in Farsta"):
        set_point(service.database, "p1", Change(Status.FULL), other, ZONE, NOW)
    set_point(service.database, "p1", Change(Status.FULL), hers, ZONE, NOW)


def test_a_change_and_the_push_it_calls_for_are_one_transaction(service: Running) -> None:
    service.put(a_point())
    change = Change(Status.OPEN, opens="16:00", closes="19:00")
    set_point(service.database, "p1", change, shell("Anna"), ZONE, NOW)
    with service.database.read() as connection:
        moments = [at for job, at in due(connection, 2e9) if job == PUSH]
    assert moments == [(NOW + timedelta(hours=h, minutes=m)).timestamp() for h, m in ((0, 0), (1, 40), (4, 40))]


def test_a_point_that_is_not_there_cannot_be_set(service: Running) -> None:
    with pytest.raises(ChangeRefused, match="no point has the id 'x'"):
        set_point(service.database, "x", Change(Status.OPEN), shell("Anna"), ZONE, NOW)


GEONAMES = "SE\t211 45\tMalmö\tSkåne\tM\tMalmö\t1280\t\t\t55.6\t13.0\t4\nSE\t211 46\tMalmö\tSkåne\tM\tMalmö\t1280\t\t\t55.61\t13.0\t4\n"


def test_geonames_postal_format_is_read() -> None:
    first, _ = read_places_file(GEONAMES)
    assert {p.code for p in read_places_file(GEONAMES)} == {"21145", "21146"}
    assert (first.kind, first.municipality, first.near, first.is_coarse) == (PlaceKind.POSTCODE, "Malmö", "Malmö", True)


def test_imported_places_are_answered_and_stay_when_the_bundle_is_loaded_again(service: Running) -> None:
    assert "utanför" in service.phone.text("21145")
    assert str(load.load_places(service.database, GEONAMES)) == "2 new, 0 changed, 0 unchanged"
    assert "inga trygghetspunkter för Malmö" in service.phone.text("21145")
    load.load_places(service.database, "postcode,lat,lon\n12347,59.0,18.0")
    assert load.prepare(service.database).new == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("postcode,lat,lon\n1234,59,18", "line 2, column postcode: '1234' is not five digits"),
        ("postcode,lat,lon\n12347,x,18", "line 2, column lat"), ("name,kind,lat,lon\nX,planet,59,18", "column kind"),
        ("name,kind,lat,lon\nX,postcode,59,18", "column kind"), ("postcode,lat,lon\n", "no places"),
        ("postcode,lat,lon\n12347,59,18\n12347,59,18", "line 3, column postcode: 12347 is also in line 2"),
        ("SE\t1\tX\t\t\t\t\t\t\tnorr\t18\t4", "line 1, column latitude"),
    ],
)  # fmt: skip
def test_a_bad_places_file_is_refused_whole(text: str, fault: str) -> None:
    with pytest.raises(TableError) as refused:
        read_places_file(text)
    assert any(fault in said for said in refused.value.faults), refused.value.faults

"""The view of a process follows the database, and reads no more of it than has changed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from responder.core.points import Point, Status
from responder.store import queries
from responder.store.engine import Database
from responder.store.queries import places_changed, save_places, save_points
from responder.store.snapshot import Snapshot
from tests import engines
from tests.conftest import NOW, STALE, ZONE, a_place, a_point, prepare

FIRST, SECOND = a_point("first"), a_point("second")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One with the bundled places and two points."""
    opened = Database(engines.url(prepare(tmp_path / "snapshot.db")))
    with opened.write() as connection:
        save_points(connection, [FIRST, SECOND], {}, NOW)
    yield opened
    opened.close()


def snapshot(database: Database) -> Snapshot:
    return Snapshot(database, ZONE, STALE, (), demo=True)


def points(snapshot: Snapshot) -> dict[str, Point]:
    """As they are told after a look at the counters, by id, without the demo ones."""
    board = snapshot.read_if_changed(NOW).board
    return {point.id: point for point in board.points if point.id in ("first", "second", "third")}


def test_a_changed_point_is_read_and_the_others_are_not(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = snapshot(database)
    before = points(watched)
    read: list[str] = []
    parse = queries.point_from_json
    monkeypatch.setattr(queries, "point_from_json", lambda data: read.append(parse(data).id) or parse(data))
    with database.write() as connection:
        save_points(connection, [replace(FIRST, note="ny")], {"first": 1}, NOW)
    after = points(watched)
    assert read == ["first"]
    assert after["first"].note == "ny"
    assert after["second"] is before["second"]


def test_new_and_deleted_points_are_seen(database: Database) -> None:
    watched = snapshot(database)
    assert points(watched).keys() == {"first", "second"}
    with database.write() as connection:
        connection.execute(text("DELETE FROM points WHERE id = 'first'"))
        save_points(connection, [a_point("third")], {}, NOW)
    assert points(watched).keys() == {"second", "third"}


def test_a_point_of_a_database_that_was_put_back_is_read_though_its_version_is_known(database: Database) -> None:
    watched = snapshot(database)
    points(watched)
    with database.write() as connection:
        later = NOW + timedelta(seconds=1)
        save_points(connection, [replace(FIRST, note="i den ena")], {"first": 1}, later)
    assert points(watched)["first"].note == "i den ena"
    with database.write() as connection:  # the backup had version 1, and somebody has changed it since
        connection.execute(text("UPDATE points SET version = 1 WHERE id = 'first'"))
        save_points(connection, [replace(FIRST, note="i den andra")], {"first": 1}, later + timedelta(hours=1))
    assert points(watched)["first"].note == "i den andra"


def test_what_a_file_left_out_is_filled_in_once_and_anew_when_the_places_change(database: Database) -> None:
    watched = snapshot(database)
    with database.write() as connection:
        bare = replace(SECOND, municipality="", district="", lat=59.0, lon=17.0, postcode="99999")
        save_points(connection, [bare], {"second": 1}, NOW)
    filled = points(watched)["second"]
    assert filled.municipality
    with database.write() as connection:
        save_points(connection, [replace(FIRST, note="ny")], {"first": 1}, NOW)
    assert points(watched)["second"] is filled
    with database.write() as connection:
        save_places(connection, [a_place("99999", municipality="Ny kommun")], set())
        places_changed(connection)
    assert points(watched)["second"].municipality == "Ny kommun"


def test_a_change_reaches_an_answer_that_was_remembered(database: Database) -> None:
    watched, place = snapshot(database), a_place()
    before = watched.read_if_changed(NOW).board.answer(place)
    assert before is watched.read_if_changed(NOW).board.answer(place)
    told = before.offers[0].point
    with database.write() as connection:
        save_points(connection, [replace(told, status=Status.CLOSED)], {told.id: 1}, NOW)
    after = watched.read_if_changed(NOW).board.answer(place)
    assert told.id not in [offer.point.id for offer in after.offers]

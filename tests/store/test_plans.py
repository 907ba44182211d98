"""Whatever is read again and again, or while everybody else waits, goes by an index, however much a crisis leaves."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from responder.actions import exercise, publish, watch
from responder.core.access import Operator, Role
from responder.core.points import Point, Status
from responder.store import journal, pushes, queries, watching
from responder.store.engine import Database
from responder.store.tables import SubscriptionRow
from tests import engines
from tests.bench import reads
from tests.conftest import NOW, Running, a_point

ZONE = "Europe/Stockholm"
SIZE = reads.Size(subscriptions=2000, deliveries=3000, turns=2000, lines=2000, points=10)
GROWING = {"audit", "deliveries", "d", "turns", "subscriptions", "a"}
BY = {
    "moved_since": {"deliveries_claimed"},
    "progress": {"deliveries_next"},
    "progress_of 50": {"deliveries_next"},
    "read_deliveries unknown": {"deliveries_in_hand"},
    "  of one broadcast": {"deliveries_in_hand"},
    "queued bound": {"deliveries_bound"},
    "witnesses": {"deliveries_claimed"},
    "pulse": {"deliveries_next", "deliveries_failed", "deliveries_in_hand", "turns_at", "turns_missed"},
    "under_way": {"deliveries_next"},
    "point_log": {"audit_subject"},
    "journal.actions": {"audit_action"},
    "changes_since": {"audit_at"},
    "is_untold": {"audit_untaken"},
    "taken_in": {"audit_untaken"},
    "last_changed_by": {"audit_subject"},
    "answers_in_use": {"subscriptions_answer"},
    "read_gauges": {"deliveries_next", "deliveries_in_hand"},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database after a small crisis."""
    path = tmp_path_factory.mktemp("plans") / "plans.db"
    made = Database(engines.url(path))
    reads.fill(made, SIZE)
    with made.write() as connection:
        connection.execute(text("INSERT INTO due (job, at) VALUES ('push', 1)"))
    yield made
    made.close()
    engines.drop(path)


@pytest.mark.parametrize("name", BY)
def test_a_read_that_somebody_waits_for_goes_by_its_index(database: Database, name: str) -> None:
    asked: list[tuple[str, object]] = []

    def note_down(_: object, __: object, statement: str, values: object, *___: object) -> None:
        asked.append((statement, values))

    with database.engine.connect() as connection, connection.begin() as transaction:
        event.listen(database.engine, "before_cursor_execute", note_down)
        (reads.reads(SIZE) | reads.writes())[name](connection)
        event.remove(database.engine, "before_cursor_execute", note_down)
        plans = [engines.plan(connection, statement, values) for statement, values in asked]
        transaction.rollback()
    whole = "\n".join(plan for _, plan in plans)
    assert {table for scanned, _ in plans for table in scanned} & GROWING == set(), whole
    assert {index for index in BY[name] if index in whole} == BY[name], whole


def test_the_answers_in_use_are_read_from_the_index_alone() -> None:
    (index,) = [one for one in SubscriptionRow.__table__.indexes if one.name == "subscriptions_answer"]  # type: ignore[attr-defined]
    assert [column.name for column in index.columns] == ["place", "service", "told", "state"]


def test_changing_or_looking_at_one_point_reads_that_one(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(*(a_point(f"p{n}") for n in range(50)))
    read: list[str] = []
    parse = queries.point_from_json

    def parsed(data: str) -> Point:
        read.append(data)
        return parse(data)

    monkeypatch.setattr(queries, "point_from_json", parsed)
    eva = Operator("eva", Role.COMMUNICATOR, signed_in=True)
    publish.set_point(service.database, "p7", publish.Change(Status.FULL), eva, ZONE, NOW)
    assert len(read) == 1
    shown = watch.point(service.database, "p7", ZONE, timedelta(hours=1), NOW)
    assert shown is not None and shown.point.status is Status.FULL
    assert len(read) == 2


def test_one_point_is_what_it_is_among_all_in_truth_and_in_an_exercise(service: Running) -> None:
    eva = Operator("eva", Role.ADMIN, signed_in=True)

    def same() -> list[tuple[str, Status, int]]:
        with service.database.read() as connection:
            everything = watching.current_points(connection)
            assert [watching.current_point(connection, point.id) for point, _ in everything] == everything
            assert watching.current_point(connection, "no such") is None
        return [(point.id, point.status, version) for point, version in everything]

    service.put(*(a_point(id, status=Status.PLANNED) for id in "ab"))
    real = same()
    exercise.begin(service.database, eva, "Mörker", NOW)
    begun = same()
    assert begun != real
    publish.set_point(service.database, "b", publish.Change(Status.OPEN), eva, ZONE, NOW)
    assert same() == [begun[0], ("b", Status.OPEN, begun[1][2] + 1)]


def test_every_action_of_the_log_is_named_once_in_order(service: Running) -> None:
    with service.database.read() as connection:
        assert journal.actions(connection) == []
    with service.database.write() as connection:
        for action in ("set open", "confirm", "set open", "", "note", "confirm"):
            queries.add_audit(connection, NOW, "eva", action, None, a_point())
    with service.database.read() as connection:
        assert journal.actions(connection) == ["", "confirm", "note", "set open"]


def test_a_push_takes_in_changes_of_points_and_nothing_else(service: Running) -> None:
    with service.database.write() as connection:
        for id in ("a", "note:a", "broadcast:1"):
            queries.add_audit(connection, NOW, "eva", "set open", None, a_point(id))
        pushes.taken_in(connection, NOW.timestamp(), NOW.timestamp())
        found = connection.execute(text("SELECT subject, run FROM audit ORDER BY subject")).all()
    assert [tuple(row) for row in found] == [("a", NOW.timestamp()), ("broadcast:1", None), ("note:a", None)]

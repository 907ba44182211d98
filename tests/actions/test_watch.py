"""What whoever keeps watch is shown: counted right, the worst first, and nothing that others must decide."""

from datetime import timedelta

from sqlalchemy import event, text

from responder.actions import shift
from responder.actions.push import push
from responder.actions.watch import Watch, matching, points, watch
from responder.core.access import Operator, Role
from responder.core.points import Status
from responder.store import exercises
from responder.store.queries import point_to_json
from responder.store.schedule import LEASE, lead
from responder.store.watching import pulse, save_played_note
from tests import engines
from tests.conftest import NOW, STALE, ZONE, Running, a_point

ANNA, BO = (Operator(name, Role.APPROVER, signed_in=True) for name in ("anna", "bo"))
AT = NOW.timestamp()


def seen(running: Running, who: Operator = ANNA, later: timedelta = timedelta(0)) -> Watch:
    return watch(running.database, who, ZONE, STALE, NOW + later)


def do(running: Running, sql: str, **values: object) -> None:
    with running.database.write() as connection:
        connection.execute(text(sql), values)


def broadcast(running: Running, state: str, **fields: object) -> int:
    row = {
        "kind": "message", "template": "free", "exercise": False, "state": state, "version": 1, "priority": 4,
        "audience": "", "texts": "{}", "fallback": "", "operator": "anna", "editors": "[]", "approved_by": "",
        "approved_version": 0, "reason": "", "recipients": 10, "created_at": AT, **fields,
    }  # fmt: skip
    sql = f"INSERT INTO broadcasts ({', '.join(row)}) VALUES (:{', :'.join(row)}) RETURNING id"
    with running.database.write() as connection:
        return int(connection.execute(text(sql), row).scalar_one())


def delivery(running: Running, of: int, state: str, number: int, **fields: object) -> None:
    row = {
        "broadcast_id": of, "kind": "message", "number_hash": bytes([number]), "number_sealed": b"x", "channel": "text",
        "language": "sv", "place": "", "service": "", "serial": "", "state": state, "target": "", "told": "",
        "told_before": "", "said": "", "said_before": "", "attempt": 1, "not_before": 0, "lease_until": 0, "owner": "",
        "claimed_at": 0, "looked": 0, "body": "", "segments": 1, "provider_id": "", "error": 0, "created_at": AT,
        **fields,
    }  # fmt: skip
    do(running, f"INSERT INTO deliveries ({', '.join(row)}) VALUES (:{', :'.join(row)})", **row)


def test_a_service_that_has_done_nothing_yet_says_so(service: Running) -> None:
    found = seen(service)
    assert (found.jobs_run, found.queued, found.stuck, found.waiting) == (False, 0, False, 0)
    assert (found.pulse.leads_until, found.pulse.accepted_at, found.pulse.heard_at) == (0, 0, 0)
    assert found.points == found.districts == found.stale == found.sending == found.mine == ()


def test_the_jobs_run_for_as_long_as_their_lease(service: Running) -> None:
    with service.database.write() as connection:
        lead(connection, LEASE, "one", AT, 10)
    assert seen(service).jobs_run
    assert not seen(service, later=timedelta(seconds=10)).jobs_run


def test_districts_count_what_points_are_now(service: Running) -> None:
    soon = NOW + timedelta(minutes=30)
    service.put(
        a_point("a"), a_point("b", closes=soon), a_point("c", status=Status.FULL),
        a_point("d", status=Status.ON_CALL, phone="08-1234567"), a_point("e", closes=NOW - timedelta(hours=1)),
        a_point("f", district="Bromma", status=Status.PLANNED), a_point("g", district=""),
        a_point("h", status=Status.CANDIDATE), a_point("i", confirmed_at=NOW - STALE),
    )  # fmt: skip
    counted = [(d.name, d.open, d.full, d.on_call, d.closing_soon, d.stale, d.points) for d in seen(service).districts]
    assert counted == [("Bromma", 0, 0, 0, 0, 0, 1), ("Farsta", 3, 1, 1, 1, 1, 6), ("", 1, 0, 0, 0, 0, 1)]


def test_the_longest_unconfirmed_comes_first_and_what_is_closed_does_not_come(service: Running) -> None:
    ages = {"b": 13, "c": 20, "fresh": 1}
    service.put(
        *(a_point(id, confirmed_at=NOW - timedelta(hours=hours)) for id, hours in ages.items()),
        a_point("never", confirmed_at=None), a_point("shut", status=Status.CLOSED, confirmed_at=None),
        a_point("over", closes=NOW - timedelta(hours=1), confirmed_at=None),
    )  # fmt: skip
    assert [shown.point.id for shown in seen(service).stale] == ["never", "c", "b"]


def test_nobody_is_shown_as_theirs_what_they_may_not_approve(service: Running) -> None:
    annas = broadcast(service, "submitted")
    bos = broadcast(service, "submitted", operator="eva", editors='["bo"]')
    broadcast(service, "draft")
    assert [one.id for one in seen(service, ANNA).mine] == [bos]
    assert [one.id for one in seen(service, BO).mine] == [annas]
    reporter = Operator("ida", Role.REPORTER, ("Farsta",), signed_in=True)
    assert (seen(service, reporter).mine, seen(service, reporter).waiting) == ((), 2)


def test_what_is_sent_and_what_waits_is_counted(service: Running) -> None:
    going, paused = broadcast(service, "sending", recipients=4), broadcast(service, "paused")
    for number, state in enumerate(("queued", "queued", "delivered", "failed")):
        moment = AT - 60 * number
        delivery(service, going, state, number, created_at=AT - 700, claimed_at=moment, settled_at=moment)
    delivery(service, going, "failed", 8, settled_at=AT - 3601)
    delivery(service, paused, "queued", 9)  # it waits for people
    found = seen(service)
    assert [(one.id, one.state, one.waiting) for one in found.sending] == [(going, "sending", 2), (paused, "paused", 1)]
    assert (found.queued, found.pulse.oldest, found.stuck) == (2, AT - 700, True)
    assert (found.pulse.accepted_at, found.pulse.failed) == (AT - 120, 1)


def test_what_goes_to_operators_waits_in_the_queue_and_is_no_broadcast(service: Running) -> None:
    delivery(service, broadcast(service, "sending", kind="system"), "queued", 1)
    assert (seen(service).queued, seen(service).sending) == (1, ())


def test_only_texts_that_nobody_could_make_anything_of_count_as_not_understood(service: Running) -> None:
    service.put(a_point())
    for said in ("12347", "xyzzy", "99999", "41101", "hej", "HJÄLP"):
        service.phone.text(said)
    found = seen(service, later=timedelta(minutes=1)).pulse
    assert found.not_understood == 2  # xyzzy, and a postcode that there is not; another county is understood
    assert found.heard_at == AT
    assert seen(service, later=timedelta(hours=25)).pulse.not_understood == 0


def test_an_exercise_shows_its_own_points(service: Running) -> None:
    service.put(a_point())
    with service.database.write() as connection:
        exercises.begin(connection, "Stormen", "anna", AT)
        exercises.save_played(connection, [a_point(status=Status.CLOSED)], {"p1": 1})
    (shown,) = seen(service).points
    assert (shown.point.status, shown.version) == (Status.CLOSED, 2)
    with service.database.write() as connection:
        save_played_note(connection, a_point(status=Status.CLOSED, visitors=3), 2)
        stored = connection.execute(text("SELECT data FROM points")).scalar_one()
    assert seen(service).points[0].point.visitors == 3
    assert stored == point_to_json(a_point())


def test_points_are_found_by_any_of_their_words_with_or_without_dots_and_rings(service: Running) -> None:
    service.put(a_point("a", name="Älvsjö gård"), a_point("b", address="Storgatan 5"), a_point("c", district="Bromma"))
    found = points(service.database, ZONE, STALE, NOW)
    ids = lambda words, *districts: [shown.point.id for shown in matching(found, words, districts)]  # noqa: E731
    assert ids("alvsjo") == ids("GÅRD Älv") == ["a"]
    assert ids("storgatan 5 farsta") == ["b"]
    assert ids("bromma") == ["c"] == ids("", "Bromma")
    assert sorted(ids("")) == ["a", "b", "c"] and ids("nowhere") == []


def test_the_pulse_reads_through_no_table_of_a_crisis(service: Running) -> None:
    """It is asked for every few seconds, by everybody who has the page open."""
    asked: list[tuple[str, object]] = []

    def note_down(_: object, __: object, statement: str, values: object, *___: object) -> None:
        asked.append((statement, values))

    event.listen(service.database.engine, "before_cursor_execute", note_down)
    with service.database.read() as connection:
        pulse(connection, AT)
    event.remove(service.database.engine, "before_cursor_execute", note_down)
    with service.database.read() as connection:
        plans = [engines.plan(connection, statement, values) for statement, values in asked]
    assert {table for scanned, _ in plans for table in scanned} & {"turns", "deliveries", "d"} == set()
    for index in ("turns_missed", "turns_at", "deliveries_in_hand", "deliveries_next"):
        assert any(index in whole for _, whole in plans)


def test_a_note_of_the_shift_log_is_no_change_of_a_point(service: Running) -> None:
    service.put(a_point())
    wired, now = service.app.extensions["responder"], service.clock.now
    shift.write(service.database, Operator("eva", Role.COMMUNICATOR, signed_in=True), "Elverket krånglar.", now)
    service.clock.pass_time(minutes=10)
    push(service.database, wired.snapshot.read_if_changed(service.clock.now), wired.rules, service.clock.now)
    with service.database.read() as connection:
        assert connection.execute(text("SELECT action, run, told_at FROM audit")).all() == [("note", None, None)]

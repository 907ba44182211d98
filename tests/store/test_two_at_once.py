"""Two transactions at the same moment, where one of them does not wait for the other as a writer: a resident's turn, a
receipt, an outcome of sending, beside each other and beside what operators and the jobs do.

On SQLite every one of these pairs is one after the other, so these tests are for PostgreSQL.
"""

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.actions import exercise, publish, push
from responder.actions.housekeep import keep_house
from responder.core.access import Operator, Role, shell
from responder.core.points import Status
from responder.ports import Receipt
from responder.store import broadcasts, engine, outbox, people, pushes
from responder.store.engine import Database, Passing, StoreAway
from responder.store.queries import Turns, audit_log
from responder.wiring import Service
from tests import engines
from tests.conftest import ZONE, Running, a_point

pytestmark = pytest.mark.only_postgresql  # on SQLite no two transactions write at the same moment

NUMBER = "+46701740605"
STAMP = 1_795_000_000.0
BLOCKED = 0.4  # seconds for which what waits for a lock is seen to wait
OPEN, SHUT = "open p1 open 0", "none - - 0"
DOORS = ";p1 open 0"


class Beside(threading.Thread):
    """Something done in a thread beside what a test does."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._deed = deed
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._deed()
        except Exception as error:
            self.error = error

    def waits(self) -> bool:
        """Whether it does not get on by itself."""
        self.join(BLOCKED)
        return self.is_alive()

    def ended(self) -> None:
        """It has come to its end, and without an error."""
        self.join(20)
        assert not self.is_alive()
        if self.error:
            raise self.error


class Store:
    """A database with rows that a test puts there."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.service: Service = running.app.extensions["responder"]
        self.db = running.database
        self.hash = self.service.vault.newest(NUMBER)

    def run(self, sql: str, **values: object) -> Any:
        """One statement in a transaction of its own; its rows, if it has any."""
        with self.db.write() as connection:
            found = connection.execute(text(sql), values)
            return found.all() if found.returns_rows else None

    def broadcast(self, state: str = "sending", kind: str = "status", exercise: bool = False) -> int:
        """A broadcast; its id."""
        sql = (
            "INSERT INTO broadcasts (kind, template, exercise, state, version, priority, audience, texts, fallback,"
            " operator, editors, approved_by, approved_version, reason, recipients, created_at) VALUES (:kind, '',"
            " :exercise, :state, 1, 3, '', '{}', '', 'anna', '[]', '', 0, '', 1, :at) RETURNING id"
        )
        return int(self.run(sql, kind=kind, exercise=exercise, state=state, at=STAMP)[0][0])

    def subscription(self, place: str = "12347", told: str = OPEN, said: str = DOORS) -> int:
        """Somebody with NUMBER follows a place; its id."""
        sql = (
            "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state, exercise,"
            " told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', 'sv', :place, '', 'active', false,"
            " :told, :said, :at, :at) RETURNING id"
        )
        sealed = self.service.vault.seal(NUMBER)
        return int(self.run(sql, hash=self.hash, sealed=sealed, place=place, told=told, said=said, at=STAMP)[0][0])

    def delivery(self, broadcast: int, state: str, subscription: int | None = None, **more: Any) -> outbox.Item:
        """A text to NUMBER."""
        row = {
            "place": "12347", "told": "", "told_before": "", "said": "", "said_before": "", "attempt": 1, "kind":
            "status", "claimed_at": STAMP, "provider_id": "", "target": "", **more,
        }  # fmt: skip
        sql = (
            "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
            " serial, subscription_id, state, target, told, told_before, said, said_before, attempt, not_before,"
            " lease_until, owner, claimed_at, looked, body, segments, provider_id, error, created_at) VALUES"
            " (:broadcast, :kind, :hash, :sealed, 'text', 'sv', :place, '', '', :subscription, :state, :target, :told,"
            " :told_before, :said, :said_before, :attempt, 0, 0, '', :claimed_at, 0, 'Hej', 1, :provider_id, 0, :at)"
            " RETURNING id"
        )
        sealed = self.service.vault.seal(NUMBER)
        values = {"broadcast": broadcast, "hash": self.hash, "sealed": sealed, "subscription": subscription}
        id = self.run(sql, **values, state=state, at=STAMP, **row)[0][0]
        with self.db.read() as connection:
            found = outbox.delivery(connection, id)
        assert found
        return found

    def stop(self) -> None:
        """STOPP of NUMBER."""
        known: people.People = self.service.people
        known.do(known.stop(self.service.vault.hashes(NUMBER), STAMP))

    def tick(self) -> None:
        """What the leader does: every second, and every quarter of an hour."""
        with self.db.write() as connection:
            outbox.finish(connection, STAMP + 1)
        service, now = self.service, datetime.fromtimestamp(STAMP + 2, UTC)
        view = service.snapshot.read_if_changed(now)
        keep_house(self.db, service.vault, service.messages, view, service.settings, now)

    def sealed(self) -> int:
        """How many rows NUMBER can be read out of."""
        sql = (
            "SELECT (SELECT count(*) FROM deliveries WHERE length(number_sealed) > 0)"
            " + (SELECT count(*) FROM subscriptions) + (SELECT count(*) FROM turns WHERE length(sender_sealed) > 0)"
        )
        return int(self.run(sql)[0][0])


@pytest.fixture
def store(service: Running) -> Store:
    return Store(service)


# --- STOPP: nothing is left of the number ----------------------------------------------------------------------------


def test_stopp_while_a_broadcast_is_being_queued_leaves_the_number_nowhere(store: Store) -> None:
    """The rows that a broadcast to many is just inserting cannot be seen by a STOPP, and have its number."""
    store.subscription()
    made = store.broadcast("paused", "message")
    with store.db.write() as connection:
        assert broadcasts.queue(connection, made, broadcasts.Selection(everyone=True), STAMP) == 1
        store.stop()
    store.tick()
    assert store.sealed() == 0


def test_stopp_while_a_push_is_being_queued_leaves_the_number_nowhere(store: Store) -> None:
    store.subscription()
    made = store.broadcast("submitted")
    row = {"place": "12347", "service": "", "told": OPEN, "current": SHUT, "news": "changed", "operator": "anna"}
    with store.db.write() as connection:
        pushes.load_news(connection, [row], [])
        assert pushes.queue_changed(connection, made, "anna", STAMP) == 1
        store.stop()
    store.tick()
    assert store.sealed() == 0


def test_stopp_while_the_outcome_of_a_message_is_being_stored_leaves_the_number_nowhere(store: Store) -> None:
    item = store.delivery(store.broadcast(), "sending")
    with store.db.write(alone=False) as connection:
        outbox.accept(connection, [(item, "SM1")], STAMP)
        stopp = Beside(store.stop)
        stopp.waits()
    stopp.ended()
    assert store.sealed() == 0


def test_stopp_while_a_message_is_put_back_leaves_the_number_nowhere(store: Store) -> None:
    item = store.delivery(store.broadcast(), "sending")
    with store.db.write(alone=False) as connection:
        outbox.put_back(connection, [item], STAMP)
        stopp = Beside(store.stop)
        stopp.waits()
    stopp.ended()
    assert store.sealed() == 0


def test_stopp_while_a_message_is_taken_up_leaves_the_number_nowhere(store: Store) -> None:
    """It is waited for, and found being sent."""
    made = store.broadcast()
    store.delivery(made, "queued", store.subscription(), attempt=0)
    with store.db.write() as connection:
        items = outbox.queued(connection, made, "text", STAMP, 10, outbox.Lane("twilio"))
        outbox.take(connection, [outbox.Taken(items[0], "twilio", "Hej", 1, SHUT, OPEN, DOORS)], "a", STAMP, STAMP + 60)
        stopp = Beside(store.stop)
        assert stopp.waits()
    stopp.ended()
    assert store.sealed() == 0
    assert store.run("SELECT state, number_sealed FROM deliveries") == [("suppressed", b"")]


def test_stopp_while_the_keys_are_being_changed_leaves_the_number_nowhere(store: Store) -> None:
    """It waits for the row, and must find it under its new hash."""
    service = store.service
    old, new = b"o" * 16, b"n" * 16
    id = store.subscription()
    store.run("UPDATE subscriptions SET number_hash = :old", old=old)
    with store.db.write() as connection:
        people.rehash(connection, id, new, b"sealed anew")
        stopp = Beside(lambda: service.people.do(service.people.stop([new, old], STAMP)))
        stopp.waits()
    stopp.ended()
    assert store.run("SELECT count(*) FROM subscriptions") == [(0,)]


def test_who_follows_a_place_and_says_stopp_at_once_is_either_followed_up_or_forgotten(store: Store) -> None:
    """By text and by a key on a call of ours: never both on the list of who said STOPP and kept as a follower."""
    known, hashes = store.service.people, store.service.vault.hashes(NUMBER)
    row = {
        "number_sealed": store.service.vault.seal(NUMBER), "channel": "text", "language": "sv", "place": "12347",
        "service": "", "state": "active", "told": OPEN, "said": DOORS, "at": STAMP,
    }  # fmt: skip

    def follow(connection: Any) -> None:
        for write in [*known.subscribe(hashes, 5, **row), *known.lift(hashes)]:
            write.statement.run(connection, write.values)
        store.stop()

    store.db.transact(follow, durable=True)
    store.tick()
    (followed, stopped) = store.run("SELECT (SELECT count(*) FROM subscriptions), (SELECT count(*) FROM suppressions)")[
        0
    ]
    assert (followed, stopped) in [(0, 1), (1, 0)]


# --- nothing is told twice, and nothing not at all ------------------------------------------------------------------


def again(connection: Connection, item: outbox.Item) -> None:
    """As a receipt does that says `not now`: another attempt."""
    assert outbox.set_state(connection, item, outbox.State.QUEUED, STAMP, 30008, "SM1", STAMP + 60)
    outbox.untell(connection, item)
    outbox.reopen(connection, item.broadcast_id)


def test_what_is_to_be_tried_again_while_its_broadcast_is_being_ended_still_goes_out(store: Store) -> None:
    made = store.broadcast()
    item = store.delivery(made, "accepted", provider_id="SM1")
    with store.db.write() as connection:
        assert outbox.finish(connection, STAMP) == 1  # nothing is left ...

        def receipt() -> None:
            with store.db.write(alone=False) as other:
                again(other, item)

        beside = Beside(receipt)  # ... until this is committed
        beside.waits()
    beside.ended()
    store.tick()
    store.tick()
    assert store.run("SELECT state FROM broadcasts WHERE id = :id", id=made) == [("sending",)]


def test_a_broadcast_that_ends_while_something_is_to_be_tried_again_goes_on(store: Store) -> None:
    made = store.broadcast()
    item = store.delivery(made, "accepted", provider_id="SM1")
    with store.db.write(alone=False) as connection:
        again(connection, item)
        beside = Beside(store.tick)
        beside.waits()
    beside.ended()
    store.tick()
    assert store.run("SELECT state FROM broadcasts WHERE id = :id", id=made) == [("sending",)]


def test_a_broadcast_that_is_stopped_while_its_first_message_leaves_keeps_when_that_was(store: Store) -> None:
    made = store.broadcast()
    with store.db.write() as connection:
        was = broadcasts.read_broadcast(connection, made)
        assert was
        with store.db.write(alone=False) as other:
            outbox.begun(other, [made], STAMP)
        broadcasts.save_broadcast(connection, was, replace(was, state=broadcasts.State.PAUSED))
    assert store.run("SELECT state, started_at FROM broadcasts WHERE id = :id", id=made) == [("paused", STAMP)]


def test_what_a_message_said_is_noted_again_if_it_was_put_back_at_the_moment_it_left(store: Store) -> None:
    id = store.subscription(told=SHUT, said="")
    item = store.delivery(store.broadcast(), "sending", id, told=SHUT, told_before=OPEN, said_before=DOORS)
    with store.db.write(alone=False) as connection:
        assert outbox.put_back(connection, [item], STAMP, tried=True) == 1

        def accepted() -> None:
            with store.db.write(alone=False) as other:
                outbox.accept(other, [(item, "SM1")], STAMP)

        beside = Beside(accepted)
        beside.waits()
    beside.ended()
    assert store.run("SELECT state FROM deliveries") == [("accepted",)]
    assert store.run("SELECT told FROM subscriptions") == [(SHUT,)]


def test_a_door_that_a_message_would_have_named_is_not_forgotten_if_the_next_one_leaves_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first turns out not to have been sent while the second, to the same subscriber, is put into words."""
    store.running.put(a_point("p1"), a_point("p2", lat=59.26))
    id = store.subscription(told="open p2 open 0", said=";p2 open 0")
    made = store.broadcast()
    first = store.delivery(made, "sending", id, told="open p2 open 0", told_before=OPEN, said=";p2 open 0",
                           said_before=DOORS)  # fmt: skip
    store.delivery(store.broadcast(), "queued", id, attempt=0, target=SHUT)
    publish.set_point(store.db, "p1", publish.Change(Status.CLOSED), shell("anna"), ZONE, store.running.clock.now)
    publish.set_point(store.db, "p2", publish.Change(Status.CLOSED), shell("anna"), ZONE, store.running.clock.now)
    known_answers, beside = outbox.known_answers, list[Beside]()

    def refused() -> None:
        with store.db.write(alone=False) as other:
            outbox.put_back(other, [first], STAMP + 1e9)

    def read(*args: Any) -> Any:
        found = known_answers(*args)
        if not beside:
            beside.append(Beside(refused))
            beside[0].waits()
        return found

    monkeypatch.setattr(outbox, "known_answers", read)
    monkeypatch.setattr(outbox, "sending", lambda connection, *_: connection.execute(
        text("SELECT id, priority, kind, texts, fallback FROM broadcasts WHERE id = :id"), {"id": made + 1}).all()
    )  # fmt: skip
    ready = store.service.deliverer("a").take_up("text", 10)
    beside[0].ended()
    assert len(ready) == 1
    (said,) = store.run("SELECT said FROM subscriptions")[0]
    (left,) = store.run("SELECT said_before FROM deliveries WHERE id = :id", id=first.id)[0]
    named = [row[0] for row in store.run("SELECT said_before FROM deliveries WHERE state = 'sending'")]
    assert "p1" in said + left + "".join(named)


# --- nobody waits for one who waits for them -------------------------------------------------------------------------


def two_places(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number follows two places: the answer for one lapses, what waits for the other is overtaken."""
    store.subscription("12347")
    other = store.subscription("12348")
    store.delivery(store.broadcast(), "queued", other, place="12348", target=OPEN, attempt=0)
    row = {"service": "", "told": OPEN, "current": SHUT, "operator": "", "about": ""}
    rows = [{**row, "place": "12347", "news": "lapsed"}, {**row, "place": "12348", "news": "none"}]
    monkeypatch.setattr(push, "_news", lambda *_: rows)


def do_push(store: Store) -> None:
    now = store.running.clock.now
    push.push(store.db, store.service.snapshot.read_if_changed(now), store.service.rules, now)


def test_a_stopp_during_a_push_and_the_push_both_come_to_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    two_places(store, monkeypatch)
    begun: list[Beside] = []

    def then_stopp(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any) -> Any:
            result = do(*args)
            if not begun:
                begun.append(Beside(store.stop))
                begun[0].waits()
            return result

        return done

    monkeypatch.setattr(pushes, "lapse", then_stopp(pushes.lapse))
    monkeypatch.setattr(pushes, "supersede", then_stopp(pushes.supersede))
    do_push(store)
    begun[0].ended()


def test_a_push_during_a_stopp_and_the_stopp_both_come_to_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    two_places(store, monkeypatch)
    begun: list[Beside] = []

    def stop(connection: Any) -> None:
        for write in store.service.people.stop(store.service.vault.hashes(NUMBER), STAMP):
            if "DELETE FROM subscriptions" in write.statement.sql and not begun:
                begun.append(Beside(lambda: do_push(store)))
                begun[0].waits()
            write.statement.run(connection, write.values)

    store.db.transact(stop, durable=True)
    begun[0].ended()


def test_what_a_deadlock_undid_is_done_again_also_on_a_connection_that_was_just_opened(service: Running) -> None:
    database, tries = Database(engines.url(service.path)), list[int]()

    def work(connection: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            connection.execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")

    database.transact(work, durable=True)
    database.close()
    assert len(tries) == 2


def test_who_waits_in_vain_for_a_row_may_try_again_in_a_moment(store: Store) -> None:
    """STOPP and JA have the patience for it: a push that holds the row ends soon."""
    store.subscription()

    def work(connection: Any) -> None:
        connection.execute("SET LOCAL lock_timeout = '50ms'")
        connection.execute("UPDATE subscriptions SET said = said")

    with store.db.write() as connection:
        connection.execute(text("UPDATE subscriptions SET said = said"))
        with pytest.raises(Passing):
            store.db.transact(work, durable=True)


@pytest.mark.parametrize("state", ["55P03", "57014", "40P01"])
def test_a_connection_whose_work_was_undone_is_used_again(service: Running, state: str) -> None:
    """With a slow server it takes longer to open another than to do the work again."""
    database, backends = Database(engines.url(service.path)), list[int]()

    def work(connection: Any) -> None:
        backends.append(connection.info.backend_pid)
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'points'")
        if len(backends) == 1:
            connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")

    for _ in range(3):
        with suppress(Passing):
            database.transact(work, durable=True)
    database.close()
    assert len(backends) == 3 + (state == "40P01") and len(set(backends)) == 1


@pytest.mark.parametrize("error", [psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable])
def test_a_connection_that_is_undone_while_it_is_opened_is_a_database_that_is_away(
    service: Running, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def opens(_: Database) -> Any:
        raise error("canceling statement")

    monkeypatch.setattr(Database, "_bare", opens)
    database = Database(engines.url(service.path))
    with closing(database), pytest.raises(Passing):
        database.transact(lambda connection: None, durable=True)


def test_every_connection_is_open_once_they_are_warm(service: Running) -> None:
    database = Database(engines.url(service.path))
    database.warm()
    with engines.peek(service.path) as looking:
        seen = looking.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'responder'").fetchone()
    database.close()
    assert seen[0] >= engine.HOT


# --- a turn that was saved is answered ------------------------------------------------------------------------------


def test_a_turn_that_was_saved_is_answered_although_old_ones_could_not_be_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise StoreAway("canceling statement due to statement timeout")

    monkeypatch.setattr(Turns, "purge", fails)
    assert "raderat" in store.running.phone.text("STOPP")


# --- a COMMIT whose answer was lost ----------------------------------------------------------------------------------


@pytest.fixture
def answers_lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first COMMIT of a promise succeeds, and the connection is gone before that is known."""
    in_one, lost = engine._on_postgresql, list[int]()

    def losing(connection: Any, work: Callable[[Any], None], durable: bool) -> None:
        in_one(connection, work, durable)
        if durable and not lost:
            lost.append(1)
            connection.pgconn.finish()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(engine, "_on_postgresql", losing)
    return lost


@pytest.mark.parametrize(
    ("said", "heard", "kept"), [("START 12347", "Klart", (1, 0, 2)), ("STOPP", "raderat", (0, 1, 1))]
)
def test_what_was_committed_unknown_to_us_is_done_once_and_answered(
    store: Store, answers_lost: list[int], said: str, heard: str, kept: tuple[int, int, int]
) -> None:
    store.running.put(a_point())
    assert store.running.phone.text("12347")
    assert heard in store.running.phone.text(said)
    assert answers_lost
    rows = "(SELECT count(*) FROM subscriptions), (SELECT count(*) FROM suppressions), (SELECT count(*) FROM turns)"
    assert store.run(f"SELECT {rows}") == [kept]


# --- a receipt comes once --------------------------------------------------------------------------------------------


def test_a_receipt_that_a_deadlock_undid_is_stored_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider does not try again."""
    item = store.delivery(store.broadcast(), "accepted", provider_id="SM1")
    set_state, tries = outbox.set_state, list[int]()

    def undone(connection: Connection, *args: Any) -> bool:
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"))
        return set_state(connection, *args)

    monkeypatch.setattr(outbox, "set_state", undone)
    receipt = Receipt(id="SM1", status="delivered", code=0, attempt=1, call=False)
    assert store.service.receiver.receipt(item.id, receipt, store.running.clock.now) == "delivered"


def test_an_exercise_ends_although_something_of_it_is_to_be_tried_again_at_that_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Operator("anna", Role.ADMIN, signed_in=True)
    exercise.begin(store.db, admin, "Höstövning", store.running.clock.now)
    made = store.broadcast("done", "message", exercise=True)
    item = store.delivery(made, "accepted", provider_id="SM1")
    read_retriable, begun = broadcasts.read_retriable, list[Beside]()

    def receipt() -> None:
        with store.db.write(alone=False) as other:
            again(other, item)

    def read(connection: Connection) -> Any:
        found = read_retriable(connection)
        begun.append(Beside(receipt))
        begun[0].waits()
        return found

    monkeypatch.setattr(broadcasts, "read_retriable", read)
    exercise.end(store.db, admin, store.running.clock.now)
    begun[0].ended()
    store.tick()
    assert store.run("SELECT state FROM deliveries") == [("stopped",)]
    assert store.run("SELECT state FROM broadcasts WHERE id = :id", id=made) == [("stopped",)]


# --- what PostgreSQL takes otherwise ---------------------------------------------------------------------------------


def test_a_name_with_a_character_that_no_text_can_hold_is_a_wrong_name(service: Running) -> None:
    client = service.app.test_client()
    page = client.get("/console/sign-in")
    token = page.get_data(as_text=True).partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    form = {"name": "an\0na", "password": "wrong", "code": "", "csrf_token": token}
    assert client.post("/console/sign-in", data=form).status_code < 500


def test_times_are_utc_whatever_the_server_thinks_of_the_time_zone(service: Running) -> None:
    with engines.peek(service.path) as looking:
        looking.execute(f"ALTER DATABASE {engines.name_of(service.path.resolve())} SET timezone = 'Europe/Stockholm'")
    service.database.close()
    service.put(a_point())
    publish.set_point(service.database, "p1", publish.Change(Status.FULL), shell("anna"), ZONE, service.clock.now)
    with service.database.read() as connection:
        assert [line.at.utcoffset() for line in audit_log(connection, "p1")] == [timedelta(0)]

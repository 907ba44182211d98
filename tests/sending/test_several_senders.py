"""Several processes that send from one database: nothing twice, nothing after STOPP or a stop, and no faster than one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from responder import jobs
from responder.actions import deliver
from responder.actions.housekeep import keep_house
from responder.core.points import Status
from responder.gateways import in_time, twilio_sender
from responder.jobs import Jobs
from responder.ports import Unclear
from responder.store import outbox
from responder.store.engine import Work
from tests import engines
from tests.conftest import TOKEN
from tests.fakes.twilio import Faults
from tests.sending.conftest import ACCOUNT, MOBILE, OTHER, Line
from tests.sending.test_deliver import ANNA, LEASE, announce, closed, subscribe

HELD = 0.3  # seconds for which what waits for a transaction is seen to wait


class Beside(threading.Thread):
    """Something done in a thread beside what a test does."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._deed, self._result, self._error = deed, None, None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._deed()
        except Exception as error:
            self._error = error  # type: ignore[assignment]

    def waits(self) -> bool:
        """Whether it does not get on by itself."""
        self.join(HELD)
        return self.is_alive()

    def ended(self) -> Any:
        """What came of it."""
        self.join(20)
        assert not self.is_alive()
        if self._error:
            raise self._error
        return self._result


def during_a_claim(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any]) -> list[Beside]:
    """Begin `deed` when the next one to take something up has read and locked it, and has not written yet."""
    begun: list[Beside] = []
    take = outbox.take

    def held(*args: Any) -> Any:
        if not begun:
            begun.append(Beside(deed))
            begun[0].waits()
        return take(*args)

    monkeypatch.setattr(outbox, "take", held)
    return begun


@contextmanager
def stopp_not_yet_committed(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A STOPP of MOBILE that has deleted and not committed; what is yielded lets it commit."""
    deleted, go_on = threading.Event(), threading.Event()
    transact = line.service.database.transact

    def held(work: Work, durable: bool) -> None:
        def working(connection: Any) -> Callable[[], None] | None:
            check = work(connection)
            connection.execute("SELECT 1").fetchall()  # by then all before it has been done
            deleted.set()
            assert go_on.wait(10)
            return check

        transact(working if durable else work, durable)

    monkeypatch.setattr(line.service.database, "transact", held)
    stopp = Beside(lambda: line.text(MOBILE, "STOPP"))
    assert deleted.wait(10)

    def commit() -> None:
        go_on.set()
        assert "raderat" in stopp.ended()

    yield commit
    go_on.set()


def post(line: Line, deliverer: deliver.Deliverer, taken_up: list[deliver.Ready]) -> None:
    """Send what was taken up, and store what became of it."""

    async def posting() -> None:
        for ready in taken_up:
            await deliverer._post(ready)
        deliverer.flush()
        await deliverer.close()

    asyncio.run(posting())
    line.fake.wait_idle()


def queue_texts(line: Line, count: int, number: str = "", body: str = "Punkten är gammal.") -> None:
    """Texts to as many numbers, or all to one."""
    vault, now = line.service.vault, line.running.clock.now.timestamp()
    with line.service.database.write() as connection:
        for n in range(count):
            to = number or f"+46701{n:06d}"
            row = {"hash": vault.newest(to), "sealed": vault.seal(to), "body": body, "language": "sv", "now": now}
            outbox.tell_operator(connection, {**row, "serial": f"text {n}"})


def is_gone(line: Line, number: str = MOBILE) -> bool:
    """Whether nothing is kept of a number but that it said STOPP."""
    hashed = line.service.vault.newest(number)
    return line.rows(
        "SELECT (SELECT count(*) FROM subscriptions WHERE number_hash = ?), (SELECT count(*) FROM deliveries"
        " WHERE number_hash = ? AND length(number_sealed) > 0), (SELECT count(*) FROM suppressions WHERE number_hash = ?)",
        *([hashed] * 3),
    ) == [(0, 0, 1)]


# --- taking up --------------------------------------------------------------------------------------------------------


def test_what_one_takes_up_no_other_does(line: Line) -> None:
    queue_texts(line, 60)

    def taking(owner: str) -> list[int]:
        deliverer, taken = line.service.deliverer(owner), list[int]()
        while found := deliverer.take_up("text", 7):
            taken += [ready.item.id for ready in found]
        return taken

    senders = [Beside(lambda owner=owner: taking(owner)) for owner in ("a", "b", "c")]  # type: ignore[misc]
    taken = [id for sender in senders for id in sender.ended()]
    assert (len(taken), len(set(taken))) == (60, 60)
    assert line.rows("SELECT DISTINCT state, attempt FROM deliveries") == [("sending", 1)]


def test_who_comes_while_another_takes_up_waits_and_takes_the_rest(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_texts(line, 5)
    other = line.service.deliverer("b")
    beside = during_a_claim(monkeypatch, lambda: other.take_up("text", 10))
    first = line.service.deliverer("a").take_up("text", 3)
    second = beside[0].ended()
    assert (len(first), len(second)) == (3, 2)
    assert {one.item.id for one in first}.isdisjoint(one.item.id for one in second)


def test_what_looks_alike_to_a_number_is_in_hand_once(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_texts(line, 2, MOBILE)
    other = line.service.deliverer("b")
    beside = during_a_claim(monkeypatch, lambda: other.take_up("text", 1))
    mine = line.service.deliverer("a")
    ready = mine.take_up("text", 1)
    assert (len(ready), beside[0].ended()) == (1, [])
    assert sorted(line.states().items()) == [("queued", 1), ("sending", 1)]
    post(line, mine, ready)
    line.running.clock.pass_time(seconds=deliver.ALIKE_WAIT)
    assert (line.send("b"), len(line.texts(MOBILE))) == (1, 2)


def test_an_expired_lease_is_looked_into_by_one(line: Line) -> None:
    queue_texts(line, 20)
    line.service.deliverer("dead").take_up("text", 20)
    line.running.clock.pass_time(seconds=LEASE)
    looking = [Beside(lambda owner=owner: line.reconcile(owner)) for owner in ("a", "b")]  # type: ignore[misc]
    assert sum(one.ended() for one in looking) == 20
    assert line.rows("SELECT DISTINCT state, looked FROM deliveries") == [("queued", 1)]


def test_two_that_send_side_by_side_send_everything_once(connect: Callable[..., Line]) -> None:
    line = connect(api_timeout=60)
    line.fake.faults = Faults(receipts=False)
    queue_texts(line, 80)
    senders = [Beside(lambda owner=owner: line.send(owner, until_idle=False)) for owner in ("a", "b")]  # type: ignore[misc]
    assert sum(sender.ended() for sender in senders) == 80
    assert len({message.to for message in line.fake.accepted}) == len(line.fake.accepted) == 80


def test_who_waited_for_another_while_a_point_changed_takes_nothing_up_by_what_was_true_before(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(line)
    closed(line)
    deliverer, write = line.service.deliverer("a"), line.service.database.write

    @contextmanager
    def waited(alone: bool = True) -> Iterator[Any]:
        monkeypatch.setattr(line.service.database, "write", write)
        line.set("far", Status.FULL)
        with write(alone) as connection:
            yield connection

    monkeypatch.setattr(line.service.database, "write", waited)
    assert deliverer.take_up("text", 10) == []
    assert line.states() == {"queued": 1}
    post(line, deliverer, deliverer.take_up("text", 10))
    assert "FULL" in line.texts(MOBILE)[0]


# --- STOPP ------------------------------------------------------------------------------------------------------------


def test_stopp_while_a_message_is_taken_up_ends_with_nothing_sent(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe(line, MOBILE, OTHER)
    closed(line)
    beside = during_a_claim(monkeypatch, lambda: line.text(MOBILE, "STOPP"))
    deliverer = line.service.deliverer("a")
    ready = deliverer.take_up("text", 10)
    assert len(ready) == 2  # the row was ours when STOPP came
    assert "raderat" in beside[0].ended()
    post(line, deliverer, ready)
    assert [to for _, to in line.fake.posts] == [OTHER]
    assert is_gone(line)


def test_stopp_that_is_about_to_be_committed_is_not_overtaken(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    subscribe(line, MOBILE, OTHER)
    closed(line)
    deliverer = line.service.deliverer("a")
    with stopp_not_yet_committed(line, monkeypatch) as commit:
        taking = Beside(lambda: deliverer.take_up("text", 10))
        if engines.POSTGRESQL:  # others' messages do not wait for it
            assert len(taking.ended()) == 1
        else:
            assert taking.waits()
        commit()
        ready = taking.ended()
    post(line, deliverer, ready)
    assert [to for _, to in line.fake.posts] == [OTHER]
    assert is_gone(line)


def _queued_meanwhile(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """STOPP, while a broadcast to everybody has been queued and not committed yet."""
    subscribe(line, MOBILE, OTHER)
    begun: list[Beside] = []
    write = line.service.database.write

    @contextmanager
    def held(alone: bool = True) -> Iterator[Any]:
        with write(alone) as connection:
            yield connection
            queued = connection.exec_driver_sql("SELECT 1 FROM deliveries WHERE kind = 'message'").first()
            if queued and not begun:
                begun.append(Beside(lambda: line.text(MOBILE, "STOPP")))
                begun[0].waits()

    with monkeypatch.context() as patch:
        patch.setattr(line.service.database, "write", held)
        announce(line)
        assert "raderat" in begun[0].ended()


def test_stopp_while_a_broadcast_is_queued_ends_with_nothing_sent_and_the_number_gone(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    _queued_meanwhile(line, monkeypatch)
    line.send()
    assert [to for _, to in line.fake.posts] == [OTHER]
    assert is_gone(line)


def test_a_number_that_was_queued_during_its_stopp_is_gone_although_nobody_sends(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    _queued_meanwhile(line, monkeypatch)
    service, now = line.service, line.running.clock.now
    view = service.snapshot.read_if_changed(now)
    keep_house(service.database, service.vault, service.messages, view, service.settings, now)
    assert is_gone(line)
    assert line.states() == {"queued": 1}


# --- stops and pushes ---------------------------------------------------------------------------------------------------


def test_a_broadcast_that_is_stopped_while_it_is_taken_up_is_not_sent(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(line)
    id = announce(line)
    beside = during_a_claim(monkeypatch, lambda: line.service.announcer.stop(ANNA, id, line.running.clock.now))
    deliverer = line.service.deliverer("a")
    ready = deliverer.take_up("text", 10)
    beside[0].ended()
    post(line, deliverer, ready)
    line.finish()
    assert (len(ready), line.fake.posts, line.states()) == (1, (), {"stopped": 1})


def test_a_push_while_its_predecessor_is_taken_up_tells_the_newer_answer_once(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(line)
    closed(line)
    line.set("far", Status.FULL)
    line.running.clock.pass_time(seconds=61)
    deliverer = line.service.deliverer("a")
    beside = during_a_claim(monkeypatch, lambda: line.push(settle=False))
    ready = deliverer.take_up("text", 10)
    beside[0].ended()
    post(line, deliverer, ready)
    line.send()
    (told,) = line.texts(MOBILE)
    assert "FULL" in told
    assert line.push_now().closed_doors + line.push_now().changed == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_a_closed_door_is_told_once_though_an_older_message_is_put_back_beside_it(line: Line, at_once: bool) -> None:
    subscribe(line)
    line.set("near", Status.OPEN, closes="2026-11-24T18:00Z")
    line.push()
    line.service.deliverer("dead").take_up("text", 10)
    closed(line)  # and the older one, which is in doubt, is put back after that
    line.running.clock.pass_time(seconds=LEASE)
    assert line.reconcile() == 1
    assert line.states() == {"queued": 2}
    if not at_once:
        deliverer = line.service.deliverer("a")
        post(line, deliverer, deliverer.take_up("text", 1))
        line.running.clock.pass_time(seconds=1)
    line.send("b")
    (told,) = line.texts(MOBILE)
    assert "STÄNGD" in told


# --- rate, leases and frozen processes --------------------------------------------------------------------------------


def test_a_newcomer_gets_its_part_once_the_others_have_given_it_up(line: Line) -> None:
    first, second = Jobs(line.service, "first"), Jobs(line.service, "second")
    first.lead()
    assert first.part() == 1
    second.lead()
    assert (first.part(), second.part()) == (1, 0)
    line.running.clock.pass_time(seconds=jobs.RENEW_EVERY)
    first.lead()
    second.lead()
    assert (first.part(), second.part()) == (0.5, 0.5)


def test_what_a_dead_sender_would_have_sent_is_sent_by_the_others_after_its_lease(line: Line) -> None:
    first, second = Jobs(line.service, "first"), Jobs(line.service, "second")
    for _ in range(2):
        line.running.clock.pass_time(seconds=jobs.RENEW_EVERY)
        first.lead()
        second.lead()
    parts = []
    for _ in range(4):
        line.running.clock.pass_time(seconds=jobs.RENEW_EVERY)
        second.lead()
        parts.append(second.part())
    assert parts == [0.5, 0.5, 0.5, 1]
    assert (second.leads(), first.part()) == (True, 0)


def test_a_sender_that_was_frozen_begins_nothing_until_it_has_its_part_again(line: Line) -> None:
    first, second = Jobs(line.service, "first"), Jobs(line.service, "second")
    first.lead()
    line.running.clock.pass_time(seconds=jobs.LEASE_SECONDS)
    second.lead()
    assert (first.part(), second.part()) == (0, 1)
    first.lead()
    assert (first.part(), second.part()) == (0, 1)


def test_a_frozen_sender_sends_nothing_while_its_heir_sends(line: Line) -> None:
    queue_texts(line, 6)
    frozen = line.service.deliverer("frozen")
    ready = frozen.take_up("text", 6)
    line.running.clock.pass_time(seconds=LEASE)
    assert line.reconcile("heir") == 6
    heir = line.service.deliverer("heir")
    taken = heir.take_up("text", 3)
    post(line, frozen, ready)  # some are the heir's, some are queued
    assert line.fake.posts == ()
    post(line, heir, taken)
    assert (line.send("heir"), len(line.fake.accepted)) == (3, 6)


def test_all_together_are_no_faster_than_the_rate_when_some_join(
    connect: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 10
    line = connect(send_rate=rate)
    queue_texts(line, 400)
    clock, sent = line.running.clock, list[float]()
    begun = clock.now.timestamp()
    processes = [(Jobs(line.service, name), line.service.deliverer(name)) for name in ("a", "b", "c")]

    for step in range(150):  # tenths of a second; the second and third join after 4 and 6 s
        now = clock.now.timestamp()
        for place, (process, deliverer) in enumerate(processes):
            joins = (0, 40, 60)[place]
            if step >= joins and (step - joins) % (10 * jobs.RENEW_EVERY) == 0:
                process.lead()
            pace = deliverer._ways.paces["twilio", "text"]
            pace.part = process.part()
            if pace.part and (room := pace.room(now)):
                sent += [now - begun for _ in deliverer.take_up("text", room)]
        clock.pass_time(seconds=0.1)
    busiest = max(sum(at <= other < at + 10 for other in sent) for at in sent)
    assert 9 * rate <= busiest <= 11 * rate
    assert len(sent) > 14 * rate


def test_a_request_that_was_frozen_before_it_was_written_is_not_written_any_more(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the first byte others may have sent the message."""
    real = in_time.monotonic
    sender = twilio_sender.TwilioSender(ACCOUNT, TOKEN, line.fake.url, "http://svar", "+46770000000", "", "", 4, 2)

    async def waking() -> None:
        frozen = asyncio.create_task(sender.text(MOBILE, "Hej", "/r/1", 60))
        await asyncio.sleep(0)  # it has set out, and is connecting
        monkeypatch.setattr(in_time, "monotonic", lambda: real() + 15)
        with pytest.raises(Unclear):
            await frozen
        monkeypatch.setattr(in_time, "monotonic", real)
        await sender.text(OTHER, "Hej", "/r/2", 60)
        await sender.close()

    asyncio.run(waking())
    assert [to for _, to in line.fake.posts] == [OTHER]

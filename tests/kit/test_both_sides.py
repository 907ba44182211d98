"""What both sides did meanwhile: said STOPP again, sent the same broadcast, confirmed a door, were told by a wrong clock."""

import random
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from responder.core.points import Status
from responder.store import merge_people, outbox
from responder.store.merging import Merging, Row
from tests.kit.test_merge import follow
from tests.kit.world import ANNA, BO, CILLA, Pair, Side

STATES = (Status.OPEN, Status.FULL, Status.CLOSED)


def a_broadcast(side: Side, state: str) -> int:
    """A message that both sides know if a kit is made now; its id."""
    side.add(
        "broadcasts", kind="message", template="free", state=state, priority=4, operator="anna", created_at=1.0,
        texts='{"sv": "Kom"}', fallback="sv",
    )  # fmt: skip
    return int(side.rows("SELECT max(id) FROM broadcasts")[0][0])


def queued(side: Side, broadcast: int, number: str) -> None:
    """It waits to be sent to a number."""
    side.add(
        "deliveries", broadcast_id=broadcast, kind="message", number_hash=side.hash(number),
        number_sealed=side.service.vault.seal(number), channel="text", language="sv", state="queued",
        created_at=side.clock.now.timestamp(),
    )  # fmt: skip


def becomes(side: Side, broadcast: int, state: str) -> None:
    """Somebody, or a process, moves it on."""
    finished = side.clock.now.timestamp() if state == "done" else None
    side.do("UPDATE broadcasts SET state = :s, finished_at = :f WHERE id = :id", s=state, f=finished, id=broadcast)


def state_of(side: Side, broadcast: int) -> str:
    """Where it stands."""
    return str(side.rows("SELECT state FROM broadcasts WHERE id = :id", id=broadcast)[0][0])


# STOPP


def test_stopp_said_again_on_the_laptop_holds_though_they_said_start_here(pair: Pair) -> None:
    pair.server.text(ANNA, "STOPP")
    laptop = pair.laptop()
    pair.server.text(ANNA, "START")
    follow(pair.server, ANNA)
    laptop.clock.now = pair.server.clock.now
    laptop.text(ANNA, "STOPP")
    [listed] = pair.merge(laptop).conflicts
    assert (listed.table, listed.here) == ("suppressions", "START or JA")
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []


def test_start_on_the_laptop_does_not_lift_a_stopp_that_was_said_again_here(pair: Pair) -> None:
    pair.server.text(ANNA, "STOPP")
    laptop = pair.laptop()
    laptop.text(ANNA, "START")
    follow(laptop, ANNA)
    pair.server.clock.now = laptop.clock.now
    pair.server.text(ANNA, "STOPP")
    assert "START" in [one.there for one in pair.merge(laptop).conflicts]
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []


# Who follows what


def test_ja_on_the_laptop_counts_though_the_time_to_answer_had_run_out_here(pair: Pair) -> None:
    sealed = pair.server.service.vault.seal(ANNA)
    pair.server.add(
        "subscriptions", number_hash=pair.server.hash(ANNA), number_sealed=sealed, channel="text", language="sv",
        place="12347", state="pending", created_at=1.0,
    )  # fmt: skip
    laptop = pair.laptop()
    laptop.text(ANNA, "JA")
    pair.server.do("DELETE FROM subscriptions")  # as housekeeping does a day after
    assert not pair.merge(laptop).conflicts
    assert pair.server.follows(ANNA) == [("12347", "active")]
    assert pair.merge(laptop).nothing


def test_whoever_ended_it_on_one_side_and_said_ja_on_the_other_is_listed_once(pair: Pair) -> None:
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    for ends, agrees, number in ((laptop, pair.server, ANNA), (pair.server, laptop, BO)):
        ends.text(number, "STOPP 12347")
        agrees.clock.now = ends.clock.now
        follow(agrees, number)
    done = pair.merge(laptop)
    assert sorted((one.here, one.there) for one in done.conflicts) == [
        ("JA for 12347, which ends here too until they say JA again", "ended for 12347"),
        ("ended for 12347", "JA for 12347"),
    ]
    assert pair.server.follows(ANNA) == pair.server.follows(BO) == []


@pytest.mark.only_postgresql
def test_a_ja_that_is_said_while_the_merge_is_at_it_is_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = pair.server.service.vault.seal(ANNA)
    pair.server.add(
        "subscriptions", number_hash=pair.server.hash(ANNA), number_sealed=sealed, channel="text", language="sv",
        place="12347", state="pending", created_at=1.0,
    )  # fmt: skip
    laptop = pair.laptop()
    laptop.do("UPDATE subscriptions SET told = 'open far open 0', said_at = :at", at=laptop.clock.now.timestamp() + 9)
    real, said = merge_people._meet, []

    def meanwhile(m: Merging, here: Row, there: Row, *more: Any) -> Row | None:
        after = real(m, here, there, *more)
        if not said:
            said.append(pair.server.text(ANNA, "JA"))
        return after

    monkeypatch.setattr(merge_people, "_meet", meanwhile)
    pair.merge(laptop)
    assert pair.server.follows(ANNA) == [("12347", "active")]


# Broadcasts


def test_a_broadcast_that_both_sides_sent_reaches_nobody_twice(pair: Pair) -> None:
    id = a_broadcast(pair.server, "approved")
    laptop = pair.laptop()
    for side in (pair.server, laptop):
        queued(side, id, ANNA)
        becomes(side, id, "sending")
    queued(pair.server, id, BO)  # whom the laptop does not know
    assert [number for number, _ in laptop.send()] == [ANNA]
    becomes(laptop, id, "done")
    done = pair.merge(laptop)
    assert [one.table for one in done.conflicts] == ["broadcasts"]
    assert [number for number, _ in pair.server.send()] == [BO]
    assert pair.merge(laptop).nothing


def test_what_waited_on_both_sides_and_is_sent_there_after_the_first_return_is_not_sent_here(pair: Pair) -> None:
    id = a_broadcast(pair.server, "approved")
    laptop = pair.laptop()
    for side in (pair.server, laptop):
        queued(side, id, ANNA)
        becomes(side, id, "sending")
    pair.merge(laptop)
    assert [number for number, _ in laptop.send()] == [ANNA]
    pair.merge(laptop)
    assert pair.server.send() == []


def test_what_may_have_been_sent_there_is_for_somebody_to_decide(pair: Pair) -> None:
    id = a_broadcast(pair.server, "approved")
    laptop = pair.laptop()
    for side in (pair.server, laptop):
        queued(side, id, ANNA)
        becomes(side, id, "sending")
    laptop.do("UPDATE deliveries SET state = 'sending', attempt = 1")
    done = pair.merge(laptop)
    assert pair.server.rows("SELECT state FROM deliveries") == [("unknown",)]
    assert "1 messages may have been sent by the laptop" in done.notices[0]


def test_messages_that_only_the_server_has_are_not_lost_because_the_laptop_calls_it_done(pair: Pair) -> None:
    id = a_broadcast(pair.server, "sending")
    queued(pair.server, id, ANNA)
    laptop = pair.laptop()  # has it paused, and nothing of what waits
    becomes(laptop, id, "done")
    [said] = pair.merge(laptop).notices
    assert said.startswith(f"broadcast {id} is done on the laptop, but 1 messages of it wait here")
    assert state_of(pair.server, id) == "paused" and pair.server.send() == []
    assert pair.merge(laptop).nothing and state_of(pair.server, id) == "paused"
    becomes(pair.server, id, "sending")
    assert [number for number, _ in pair.server.send()] == [ANNA]


def test_one_that_was_stopped_on_the_laptop_is_stopped_here(pair: Pair) -> None:
    id = a_broadcast(pair.server, "sending")
    queued(pair.server, id, ANNA)
    laptop = pair.laptop()
    becomes(laptop, id, "stopped")
    assert pair.merge(laptop).notices == ()
    assert state_of(pair.server, id) == "stopped" and pair.server.send() == []


def test_what_waits_on_the_laptop_does_not_go_out_with_what_is_done_here(pair: Pair) -> None:
    id = a_broadcast(pair.server, "approved")
    laptop = pair.laptop()
    becomes(pair.server, id, "done")
    becomes(laptop, id, "sending")
    queued(laptop, id, BO)
    [said] = pair.merge(laptop).notices
    assert said.startswith("1 messages waited on the laptop for people whom the same broadcast did not reach here")
    with pair.server.service.database.write() as connection:
        outbox.finish(connection, pair.server.clock.now.timestamp())
    assert pair.server.send() == []


def test_a_later_return_says_what_became_of_what_was_on_its_way(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    laptop.push()
    assert len(laptop.send()) == 1
    laptop.do("UPDATE deliveries SET gateway = 'modem'")
    [said] = pair.merge(laptop).notices
    assert said.startswith("1 messages had been given to the laptop's modem")
    laptop.do("UPDATE deliveries SET state = 'failed', error = 30005")
    laptop.clock.pass_time(minutes=1)
    assert pair.merge(laptop).taken["deliveries of which more is known"] == 1
    assert pair.server.rows("SELECT state, error FROM deliveries") == [("failed", 30005)]


# Points


def test_a_door_that_was_said_to_be_closed_here_after_the_laptop_opened_it_stays_closed(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("south", Status.OPEN)
    pair.server.clock.now = laptop.clock.now
    pair.server.set("south", Status.CLOSED)  # as it was: nothing changes but when somebody last knew
    [listed] = pair.merge(laptop).conflicts
    assert (listed.what, listed.here, listed.there) == ("south (Hallen south)", "closed", "open")
    assert pair.server.point("south").status is Status.CLOSED
    assert pair.merge(laptop).nothing


def test_a_door_that_was_said_to_be_closed_here_before_the_laptop_opened_it_opens(pair: Pair) -> None:
    laptop = pair.laptop()
    pair.server.set("south", Status.CLOSED)
    laptop.clock.now = pair.server.clock.now
    laptop.set("south", Status.OPEN)
    assert not pair.merge(laptop).conflicts
    assert pair.server.point("south").status is Status.OPEN


# Clocks


def test_a_laptop_a_day_ahead_confirms_nothing_in_the_future_and_it_is_said(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.clock.pass_time(days=1)
    laptop.set("near", Status.OPEN)
    laptop.text(ANNA, "12347")
    file, was = pair.packed(laptop), pair.server.point("near").confirmed_at
    pair.server.clock.pass_time(minutes=5)
    [said] = pair.merge(file).notices
    assert said.startswith("the laptop's clock was ahead")
    assert pair.server.point("near").confirmed_at == was
    assert pair.merge(file).nothing


def test_what_a_laptop_a_day_behind_told_is_not_told_again_and_it_is_said(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.clock.pass_time(days=-1)
    laptop.set("near", Status.CLOSED)
    laptop.push()
    assert [number for number, _ in laptop.send()] == [ANNA]
    laptop.text(BO, "12347")
    laptop.text(CILLA, "STOPP")
    done = pair.merge(laptop)
    assert done.notices[0].startswith("the laptop's clock was behind") and done.taken["turns"] == 1
    assert pair.server.said_stop(CILLA)
    pair.server.push()
    assert pair.server.send() == []


# Whatever happens


def lives(side: Side, draw: random.Random, steps: int) -> set[str]:
    """Things happen on one side; whose last word was STOPP."""
    stopped: set[str] = set()
    for _ in range(steps):
        side.clock.pass_time(seconds=draw.randrange(1, 300))
        what, number = draw.randrange(8), draw.choice((ANNA, BO, CILLA))
        if what < 2:
            side.set(draw.choice(("near", "far", "north", "south")), draw.choice(STATES))
        elif what == 2:
            side.text(number, "12347")
            side.text(number, "JA")
        elif what < 5:
            if side.text(number, "STOPP"):  # the allowance of a number goes by the clock on the wall
                stopped.add(number)
        elif what == 5:
            if side.text(number, "START"):
                stopped.discard(number)
        elif what == 6:
            side.push()
        else:
            side.send()
    return stopped


def hears_once(side: Side, stopped: Collection[str]) -> None:
    """Nobody who said STOPP, nobody the same twice, and nothing is left to tell."""
    side.push()
    heard = side.send()
    assert not {number for number, _ in heard} & set(stopped)
    assert len(heard) == len({(number, body.split("\n")[1]) for number, body in heard}), "a door was told twice"
    side.push()
    assert side.send() == []


@pytest.mark.parametrize(
    "seed", [0, 1, 36, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 9, 31, 55, 57, 58, 59))]
)
def test_two_laptops_come_back_again_and_again_and_no_stopp_is_lost(pair: Pair, seed: int) -> None:
    draw = random.Random(seed)
    lives(pair.server, draw, 8)
    laptops = [pair.laptop(), pair.laptop()]
    returns = []
    for laptop in (*laptops, *laptops, *laptops):
        stopped = lives(laptop, draw, 5) | lives(pair.server, draw, 5)
        laptop.clock.now = pair.server.clock.now = max(laptop.clock.now, pair.server.clock.now) + timedelta(seconds=1)
        returns.append(pair.packed(laptop, f"{len(returns)}.kit"))
        pair.merge(returns[-1])
        assert all(pair.server.said_stop(number) for number in stopped)
        assert pair.merge(returns[-1]).nothing
        hears_once(pair.server, {number for number in (ANNA, BO, CILLA) if pair.server.said_stop(number)})

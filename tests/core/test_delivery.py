"""What may follow on what: receipts in any order, refusals by class, numbers that may be reached, and the pace."""

from itertools import permutations

import pytest

from responder.core.delivery import Answer, Became, State, after_receipt, is_alarm, refusal
from responder.core.numbers import Why, can_be_answered, countries, line, prefix
from responder.core.pace import Pace

ALL = countries("*")
NORDIC = countries("SE, no,DK")


@pytest.mark.parametrize("order", list(permutations(["queued", "sending", "sent", "delivered"])))
def test_texts_receipts_in_any_order_end_in_the_same_state(order: tuple[str, ...]) -> None:
    state = State.SENDING
    for status in order:
        state = after_receipt(state, 1, status, 0, 1, call=False).state
    assert state is State.DELIVERED


@pytest.mark.parametrize("order", list(permutations(["initiated", "ringing", "in-progress", "completed"])))
def test_calls_receipts_in_any_order_end_in_the_same_state(order: tuple[str, ...]) -> None:
    state = State.ACCEPTED
    for status in order:
        state = after_receipt(state, 1, status, 0, 1, call=True).state
    assert state is State.DELIVERED


RECEIPTS = [
    ("sending", "sent", 0, State.SENT),  # before our own outcome was stored
    ("delivered", "sent", 0, State.DELIVERED),  # late
    ("delivered", "undelivered", 30003, State.DELIVERED),
    ("failed", "delivered", 0, State.FAILED),
    ("accepted", "delivered", 0, State.DELIVERED),
    ("unknown", "sent", 0, State.SENT),  # that settles what an operator was asked about
    ("queued", "delivered", 0, State.DELIVERED),  # it had been sent after all: not again
    ("suppressed", "delivered", 0, State.DELIVERED),  # STOPP came too late for this one
    ("stopped", "sent", 0, State.SENT),
    ("accepted", "undelivered", 30005, State.FAILED),
    ("accepted", "failed", 0, State.FAILED),
    ("accepted", "no such status", 0, State.ACCEPTED),
]


@pytest.mark.parametrize(("state", "status", "code", "becomes"), RECEIPTS)
def test_a_receipt_never_moves_a_delivery_backwards(state: str, status: str, code: int, becomes: State) -> None:
    assert after_receipt(State(state), 1, status, code, 1, call=False) == Became(becomes)


def test_a_phone_that_is_off_is_tried_again_a_few_times() -> None:
    assert after_receipt(State.SENT, 1, "undelivered", 30003, 1, call=False) == Became(State.QUEUED, 1800.0)
    assert after_receipt(State.SENT, 2, "undelivered", 30008, 2, call=False) == Became(State.QUEUED, 3600.0)
    assert after_receipt(State.SENT, 3, "undelivered", 30003, 3, call=False) == Became(State.FAILED)


@pytest.mark.parametrize("status", ["busy", "no-answer"])
def test_a_busy_line_is_called_again_twice(status: str) -> None:
    assert after_receipt(State.ACCEPTED, 1, status, 0, 1, call=True) == Became(State.QUEUED, 300.0)
    assert after_receipt(State.ACCEPTED, 2, status, 0, 2, call=True) == Became(State.QUEUED, 300.0)
    assert after_receipt(State.ACCEPTED, 3, status, 0, 3, call=True) == Became(State.FAILED)


def test_what_an_earlier_attempt_came_to_does_not_end_the_present_one() -> None:
    for state in (State.QUEUED, State.SENDING, State.ACCEPTED):
        assert after_receipt(state, 2, "busy", 0, 1, call=True) == Became(state)
    assert after_receipt(State.QUEUED, 1, "busy", 0, 1, call=True) == Became(State.QUEUED)  # the same once more


REFUSALS = [
    (400, 21211, Answer.FOR_GOOD), (400, 21610, Answer.FOR_GOOD), (400, 21614, Answer.FOR_GOOD), (403, 21408, Answer.FOR_GOOD),
    (400, 0, Answer.ODD), (404, 20404, Answer.ODD), (400, 21606, Answer.HALT), (408, 0, Answer.UNCLEAR),
    (429, 20429, Answer.SLOW), (429, 0, Answer.SLOW), (400, 21611, Answer.SLOW),
    (401, 20003, Answer.HALT), (403, 0, Answer.HALT), (400, 30002, Answer.HALT),
    (500, 0, Answer.UNCLEAR), (503, 20503, Answer.UNCLEAR),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "means"), REFUSALS)
def test_what_a_refusal_means(status: int, code: int, means: Answer) -> None:
    assert refusal(status, code) is means


def test_some_codes_are_an_operators_to_act_on() -> None:
    assert [code for code in (20003, 21211, 21408, 30002, 30003) if is_alarm(code)] == [20003, 21408, 30002]


LINES = [
    ("+46701740605", "text", None), ("+4684650040", "call", None), ("+46104565600", "call", None), ("+46771793336", "", Why.PREMIUM),
    ("+46900123456", "", Why.PREMIUM), ("+4520123456", "text", None), ("+4590901234", "", Why.PREMIUM), ("+12025550123", "", Why.COUNTRY), ("+46123", "", Why.INVALID),
    ("anonymous", "", Why.INVALID), ("71000", "", Why.INVALID), ("Kommunen", "", Why.INVALID), ("", "", Why.INVALID),
    ("+870773111632", "", Why.PREMIUM), ("+881612345678", "", Why.PREMIUM),
]  # fmt: skip


@pytest.mark.parametrize(("number", "way", "why"), LINES)
def test_a_number_takes_texts_or_calls_or_is_refused_for_a_reason(number: str, way: str, why: Why | None) -> None:
    found = line(number, NORDIC)
    assert (found.way, found.why) == (way, why)


@pytest.mark.parametrize(
    ("sender", "answered"),
    [
        ("+46701740605", True), ("+4684650040", True), ("+12025550123", True), ("+46900123456", False), ("+881612345678", False),
        ("+870773111632", False), ("71000", False), ("Kommunen", False), ("+46" + "7" * 40, False),
    ],
)  # fmt: skip
def test_premium_and_satellite_numbers_are_never_answered(sender: str, answered: bool) -> None:
    assert can_be_answered(sender, ALL) is answered


def test_replies_can_be_kept_to_some_countries() -> None:
    assert not can_be_answered("+12025550123", NORDIC)
    assert can_be_answered("+46701740605", NORDIC)
    assert not can_be_answered("+46701740605", countries("NO"))


def test_numbers_are_counted_by_ranges_of_ten_thousand_at_home_and_by_country_abroad() -> None:
    assert (prefix("+46701740605"), prefix("+12025550123"), prefix("+99")) == ("+4670174", "+1", "+99")


def test_no_more_than_the_rate_is_sent_and_a_seconds_worth_is_saved_up() -> None:
    pace = Pace(10)
    sent, now = 0, 100.0
    while now < 110:
        room = pace.room(now)
        pace.spend(room)
        sent, now = sent + room, now + 0.05
    assert 95 <= sent <= 111
    pace.room(500)
    assert pace.room(500) == 10


def test_what_costs_more_than_there_was_is_waited_for() -> None:
    pace = Pace(1)
    assert pace.room(10) == 1
    pace.spend(3)
    assert [pace.room(now) for now in (11, 12, 12.9, 13.1)] == [0, 0, 0, 1]


def test_being_too_fast_pauses_everybody_and_halves_the_speed_for_a_while() -> None:
    pace = Pace(100)
    pace.room(10)
    pace.slow_down(10, 5)
    assert pace.room(14.9) == 0
    assert 0 < pace.room(15.1) <= 100
    assert pace.share > 0.5
    for _ in range(20):
        pace.slow_down(20)
    assert pace.share == 0.05

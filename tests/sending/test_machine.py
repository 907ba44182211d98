"""Random histories of STOPP, stops, crashes and lost answers, a short walk of what `machine` does at length."""

import pytest

from tests.sending.machine import explore


def test_nothing_is_sent_after_stopp_or_a_stop_and_nothing_twice() -> None:
    tally = explore(runs=40, steps=30)
    assert min(tally.posts, tally.stopps, tally.stops, tally.held_back) > 10, tally


def test_without_the_last_look_before_a_post_such_a_history_is_found() -> None:
    with pytest.raises(AssertionError, match="STOPP|stopped|sent again"):
        explore(runs=200, steps=30, sabotage="look")


def test_where_another_gateway_is_asked_than_that_of_the_attempt_such_a_history_is_found() -> None:
    with pytest.raises(AssertionError, match="sent again"):
        explore(runs=300, steps=40, number=4, sabotage="ask")

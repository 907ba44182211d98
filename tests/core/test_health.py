"""A gateway that fails is left within seconds, and comes back only once it has proved itself: whatever its outcomes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder.core.health import (
    MOST_HOLDS,
    Health,
    Outcome,
    Rule,
    State,
    asked,
    asking,
    given_up,
    heard,
    may_be_asked,
    may_be_tried,
    settled,
    tried,
)

RULE = Rule(hold=30.0)
GOOD, FAILED, BARRED = Outcome.GOOD, Outcome.FAILED, Outcome.BARRED


def after(*outcomes: Outcome, health: Health | None = None, start: float = 100.0, every: float = 0.1) -> Health:
    """A gateway after these, each of which began just before it ended."""
    found = health or Health()
    for n, outcome in enumerate(outcomes):
        at = start + n * every
        found = heard(found, outcome, at - 0.05, at, RULE)
    return found


def proved(health: Health, start: float) -> Health:
    """It answers, and takes as many messages as it must, at `start`."""
    health = asked(asking(health, start), True, start)
    for _ in range(RULE.tries):
        health = heard(tried(health, start), GOOD, start, start + 0.05, RULE)
    return health


def test_one_failure_is_none_and_two_make_it_suspect() -> None:
    assert after(FAILED).state is State.UP
    assert after(FAILED, FAILED).state is State.SUSPECT
    assert after(FAILED, FAILED, GOOD).state is State.UP


def test_it_is_down_after_four_failures_in_a_row() -> None:
    assert after(*[FAILED] * 3).works
    assert not after(*[FAILED] * 4).works


def test_it_is_down_when_more_than_half_fails_although_never_four_in_a_row() -> None:
    assert not after(*[GOOD, FAILED, FAILED, FAILED] * 5).works
    assert after(*[GOOD, FAILED] * 20).works
    assert after(*[GOOD, GOOD, FAILED] * 20).state is State.SUSPECT


def test_what_was_long_ago_does_not_count() -> None:
    old = after(FAILED, FAILED, FAILED, GOOD, FAILED, FAILED)
    assert after(FAILED, FAILED, health=after(GOOD, health=old, start=200), start=200.2).works


def test_a_refused_account_is_down_at_once() -> None:
    assert not after(GOOD, GOOD, BARRED).works


def test_what_began_before_it_went_down_neither_proves_nor_disproves_anything() -> None:
    down = after(*[FAILED] * 4)
    assert heard(down, GOOD, down.since - 5, down.since + 1, RULE) == down
    assert heard(down, FAILED, down.since - 5, down.since + 1, RULE) == down


def test_it_is_asked_now_and_then_and_given_nothing_until_it_answers() -> None:
    down = after(*[FAILED] * 4)
    assert not may_be_asked(down, down.since + RULE.probe - 0.1, RULE)
    at = down.since + RULE.probe
    assert may_be_asked(down, at, RULE)
    assert not may_be_tried(down, at, RULE, alone=True)
    down = asking(down, at)
    assert not may_be_asked(down, at + 0.1, RULE)
    assert not may_be_tried(asked(down, False, at + 1), at + 1, RULE, alone=True)
    assert may_be_tried(asked(down, True, at + 1), at + 1, RULE, alone=False)


def test_it_is_tried_by_one_message_at_a_time_and_rarely_while_another_works() -> None:
    down = after(*[FAILED] * 4)
    at = down.since + RULE.probe
    down = tried(asked(asking(down, at), True, at), at)
    assert not may_be_tried(down, at + RULE.probe - 0.1, RULE, alone=False)
    assert may_be_tried(down, at + RULE.probe, RULE, alone=False)
    assert may_be_tried(down, at + 0.2, RULE, alone=True)


def test_it_comes_back_after_its_time_and_enough_messages() -> None:
    down = after(*[FAILED] * 4)
    ready = proved(down, down.since + 10)
    assert not settled(ready, down.since + RULE.hold - 0.1, RULE, alone=False).works
    assert settled(ready, down.since + RULE.hold, RULE, alone=False).works
    assert not settled(asked(down, True, down.since + 10), down.since + RULE.hold, RULE, alone=False).works


def test_alone_it_comes_back_as_soon_as_it_has_proved_itself() -> None:
    down = after(*[FAILED] * 4)
    ready = proved(down, down.since + 10)
    assert settled(ready, down.since + 10.1, RULE, alone=True).works


def test_a_message_that_fails_begins_the_proof_anew() -> None:
    down = after(*[FAILED] * 4)
    ready = proved(down, down.since + 10)
    failed = heard(tried(ready, down.since + 11), FAILED, down.since + 11, down.since + 12, RULE)
    assert failed.taken == 0
    assert not settled(failed, down.since + 100, RULE, alone=True).works
    assert not may_be_tried(failed, down.since + 100, RULE, alone=True)  # it is asked first


def test_where_no_message_was_there_to_try_it_by_its_answers_count_in_the_end() -> None:
    down = after(*[FAILED] * 4)
    answering = asked(asking(down, down.since + 40), True, down.since + 40)
    assert not settled(answering, down.since + 40 + RULE.hold - 0.1, RULE, alone=False).works
    assert settled(answering, down.since + 40 + RULE.hold, RULE, alone=False).works


def test_who_goes_down_again_soon_stays_away_twice_as_long_but_not_for_ever() -> None:
    health, at, holds = after(*[FAILED] * 4), 100.3, []
    for _ in range(6):
        holds.append(health.holds)
        ready = proved(health, at + 1)
        assert not settled(ready, at + RULE.hold * health.holds - 1, RULE, alone=False).works
        back = settled(ready, at + RULE.hold * health.holds, RULE, alone=False)
        assert back.works
        at = back.since + 1
        health = after(*[FAILED] * 4, health=back, start=at)
        at = health.since
    assert holds == [1, 2, 4, 8, MOST_HOLDS, MOST_HOLDS]
    back = settled(proved(health, at + 1), at + RULE.hold * MOST_HOLDS, RULE, alone=False)
    assert after(*[FAILED] * 4, health=back, start=back.since + 1000).holds == 1


# What happens at each tenth of a second: how the provider does, for how many ticks.
spells = st.lists(
    st.tuples(st.sampled_from(("well", "failing", "flaky", "barred", "mute")), st.integers(1, 900)),
    min_size=1,
    max_size=12,
)


def play(story: list[tuple[str, int]], dice: list[bool], alone: bool = False) -> list[tuple[float, bool, str]]:
    """(when, whether it came back, how the provider did) of each switch, with ten messages a second."""
    health, now, switches, n = Health(), 1000.0, [], 0
    for how, ticks in story:
        for _ in range(ticks):
            now, n, was = now + 0.1, n + 1, health.works
            lucky = dice[n % len(dice)]
            fine = how == "well" or (how == "flaky" and lucky)
            if may_be_asked(health, now, RULE):
                health = asked(asking(health, now), fine or how == "mute", now)
            if health.works or may_be_tried(health, now, RULE, alone):
                outcome = GOOD if fine else BARRED if how == "barred" else FAILED
                health = heard(tried(health, now), outcome, now, now + 0.01, RULE)
            health = settled(health, now + 0.02, RULE, alone)
            if health.works is not was:
                switches.append((now, health.works, how))
    return switches


@settings(max_examples=300, deadline=None)
@given(spells, st.lists(st.booleans(), min_size=7, max_size=53))
def test_it_never_comes_back_sooner_than_its_time_and_the_two_directions_take_turns(
    story: list[tuple[str, int]], dice: list[bool]
) -> None:
    switches = play(story, dice)
    for (left, back, _), (then, again, _) in pairwise(switches):
        assert back is not again
        assert not again or then - left >= RULE.hold - 0.2
    for way in (True, False):  # so no more than one switch in each direction in any time of hold
        moments = [at for at, back, _ in switches if back is way]
        assert all(later - earlier >= RULE.hold - 0.2 for earlier, later in pairwise(moments))


@settings(max_examples=300, deadline=None)
@given(spells, st.lists(st.booleans(), min_size=7, max_size=53))
def test_switches_are_at_most_one_a_hold_on_the_whole_and_one_more_each_way_at_the_edges(
    story: list[tuple[str, int]], dice: list[bool]
) -> None:
    switches = play(story, dice)
    if switches:
        assert len(switches) <= 3 + (switches[-1][0] - switches[0][0]) / RULE.hold


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 600),
    st.sampled_from(("failing", "barred", "mute")),
    st.lists(st.booleans(), min_size=7, max_size=53),
)
def test_it_is_left_within_a_second_of_the_first_failure_at_ten_messages_a_second(
    well: int, how: str, dice: list[bool]
) -> None:
    """`mute`: it says that it is there and takes nothing."""
    (switch, *later) = play([("well", well), (how, 300)], dice)
    assert switch[1] is False
    assert switch[0] - (1000.0 + well * 0.1) <= 1.0
    assert not later, "it came back although it took nothing"


@settings(max_examples=200, deadline=None)
@given(st.integers(50, 600), st.lists(st.booleans(), min_size=7, max_size=53))
def test_it_is_back_within_its_time_and_a_few_probes_once_it_does_well(bad: int, dice: list[bool]) -> None:
    switches = play([("failing", bad), ("well", 1200)], dice)
    ended = 1000.0 + bad * 0.1
    assert [back for _, back, _ in switches] == [False, True]
    assert switches[1][0] <= max(switches[0][0] + RULE.hold, ended + (RULE.tries + 2) * RULE.probe) + 1


def test_one_that_was_only_slow_is_back_with_its_first_late_answer_and_gets_more_time() -> None:
    late = after(*[Outcome.LATE] * 4)
    assert not late.works
    slow = heard(late, GOOD, late.since - 3.8, late.since + 0.2, RULE)
    assert slow.works
    assert slow.slowest == pytest.approx(4.0)


def test_a_late_answer_says_nothing_for_one_that_failed_as_well() -> None:
    failing = after(Outcome.LATE, Outcome.LATE, FAILED, Outcome.LATE)
    assert not failing.works
    assert heard(failing, GOOD, failing.since - 3.8, failing.since + 0.2, RULE) == failing


def test_late_answers_bring_one_back_at_most_once_in_its_time() -> None:
    slow = after(*[Outcome.LATE] * 4)
    back = heard(slow, GOOD, slow.since - 1, slow.since + 1, RULE)
    again = after(*[Outcome.LATE] * 4, health=back, start=slow.since + 2)
    assert not again.works
    assert not heard(again, GOOD, again.since - 0.01, again.since + 1, RULE).works


def test_what_tries_one_that_is_down_may_be_late_and_counts_by_how_it_ends() -> None:
    down = after(*[FAILED] * 4)
    trial = tried(asked(asking(down, down.since + 5), True, down.since + 5), down.since + 6)
    late = heard(trial, Outcome.LATE, down.since + 6, down.since + 10, RULE)
    assert late == trial
    assert heard(late, GOOD, down.since + 6, down.since + 12, RULE).taken == 1
    assert given_up(late, down.since + 6).answers_since is None

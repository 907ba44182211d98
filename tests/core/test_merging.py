"""What becomes of something that two databases have had for a while."""

from dataclasses import replace
from datetime import timedelta

import pytest

from responder.core.merging import Known, Verdict, agreed, judged, known_after, settled
from responder.core.points import Status
from tests.conftest import NOW, a_point


@pytest.mark.parametrize(
    ("here", "there", "verdict"),
    [
        ("was", "was", "nothing"), ("new", "was", "nothing"), ("new", "new", "nothing"), ("was", "new", "take"),
        ("new", "other", "conflict"),
    ],
)  # fmt: skip
def test_what_changed_there_alone_is_taken_and_what_changed_on_both_sides_is_not(
    here: str, there: str, verdict: str
) -> None:
    assert judged("was", here, "was", there) == verdict


def test_what_was_before_may_be_known_in_two_forms() -> None:
    assert judged("sending", "sending", "paused", "paused") is Verdict.NOTHING
    assert judged("sending", "done", "paused", "paused") is Verdict.NOTHING
    assert judged("sending", "sending", "paused", "stopped") is Verdict.TAKE
    assert judged("sending", "done", "paused", "stopped") is Verdict.CONFLICT


def test_a_point_that_is_taken_keeps_the_notes_of_here() -> None:
    here, there = a_point(visitors=10), a_point(status=Status.FULL, visitors=90)
    after = settled(here, there, Verdict.TAKE, Verdict.NOTHING).point
    assert (after.status, after.visitors) == (Status.FULL, 10)
    assert settled(here, there, Verdict.CONFLICT, Verdict.TAKE).point == replace(here, visitors=90)


def test_the_later_confirmation_counts_only_where_both_say_the_same() -> None:
    here, there = a_point(), a_point(confirmed_at=NOW + timedelta(hours=1))
    assert settled(here, there, Verdict.NOTHING, Verdict.NOTHING).point.confirmed_at == there.confirmed_at
    assert settled(there, here, Verdict.NOTHING, Verdict.NOTHING).point.confirmed_at == there.confirmed_at
    other = replace(there, status=Status.FULL)
    assert settled(here, other, Verdict.CONFLICT, Verdict.NOTHING).point == here


OLD = Known("open a open 0", ";a open 0", 10.0)
NEW = Known("open b open 0", ";b open 0", 30.0)


def test_whoever_was_told_by_one_side_alone_knows_that() -> None:
    assert known_after(OLD, NEW, 20.0, ()) == NEW
    assert known_after(NEW, OLD, 20.0, ()) == NEW


def test_whoever_was_told_by_both_knows_the_later_and_still_hears_of_the_door_of_the_earlier() -> None:
    both = Known(NEW.told, ";b open 0;a open 0", 30.0)
    assert known_after(OLD, NEW, 5.0, ()) == known_after(NEW, OLD, 5.0, ()) == both
    assert known_after(OLD, NEW, 5.0, {"a"}) == NEW  # the later message said that it is closed


def test_a_word_that_was_given_on_one_side_is_given() -> None:
    assert agreed("pending", "active") == agreed("active", "pending") == "active"
    assert agreed("pending", "pending") == "pending"

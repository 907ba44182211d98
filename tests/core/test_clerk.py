"""What operators are told by phone keeps within three segments, and is cut at the end of a word."""

from dataclasses import replace
from datetime import timedelta

import pytest

from responder.core.clerk import CUT, Clerk
from responder.core.flow import Flow, problems
from responder.core.keypad import Menu, Step
from responder.core.points import Status, standing
from responder.core.segments import cost
from responder.core.wording import Channel
from tests.conftest import NOW, STALE, ZONE, a_point


@pytest.fixture
def clerk(flow: Flow) -> Clerk:
    """Swedish texts at 14.20."""
    return Clerk(flow.languages["sv"], Channel.TEXT, NOW, ZONE)


def test_a_long_quotation_is_cut_so_that_the_question_behind_it_stays(clerk: Clerk) -> None:
    for length in range(0, 900, 7):
        text = "ord och " * (length // 8)
        said = clerk.say("echo", point="7 Hallen", state="ÖPPEN", count="12", text=text)
        assert cost(said).segments <= 3 and said.endswith("NEJ: inget görs.")
        assert (CUT in said) is (cost(said.replace(CUT, text)).segments > 3 and text.strip() not in said)


def test_what_is_quoted_without_any_space_is_cut_too(clerk: Clerk) -> None:
    assert cost(clerk.say("refused", why="W" * 2000)).segments <= 3


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (a_point(), "ÖPPEN"), (a_point(closes=NOW + timedelta(hours=5)), "ÖPPEN till 19.20"),
        (a_point(opens=NOW + timedelta(hours=1)), "öppnar 15.20"), (a_point(status=Status.FULL), "FULL"),
        (a_point(status=Status.CLOSED), "STÄNGD"), (a_point(status=Status.ON_CALL), "öppen för den som ringer först"),
        (a_point(status=Status.PLANNED), "planerad"), (a_point(closes=NOW - timedelta(hours=1)), "STÄNGD"),
    ],
)  # fmt: skip
def test_a_state_is_what_residents_are_told(clerk: Clerk, point: object, said: str) -> None:
    assert clerk.state(standing(point, NOW, ZONE, STALE)) == said  # type: ignore[arg-type]


def test_a_sentence_of_the_desk_that_needs_too_much_is_refused(flow: Flow) -> None:
    swedish = flow.languages["sv"]
    long = replace(swedish, text={**swedish.text, "op.echo": swedish.text["op.echo"] + " mer" * 60})
    faults = problems(replace(flow, languages={**flow.languages, "sv": long}))
    assert any("[text] op.echo: 4 segments at worst" in fault for fault in faults)
    strange = replace(swedish, text={**swedish.text, "op.done": "{helpline}"})
    assert any("op.done: unknown placeholder" in p for p in problems(replace(flow, languages={"sv": strange})))


@pytest.mark.parametrize(
    ("step", "keys", "means"),
    [
        (Step.CODE, "482913", True), (Step.CODE, "48291312", True), (Step.CODE, "4829131", False),
        (Step.POINT, "7", True), (Step.POINT, "12347", False), (Step.WHAT, "4", True), (Step.WHAT, "5", False),
        (Step.SURE, "1", True), (Step.SURE, "3", False), (Step.CODE, "", False), (Step.POINT, "*", False),
        (Step.POINT, "٧", False),
    ],
)  # fmt: skip
def test_keys_mean_what_is_asked_for_or_nothing(step: Step, keys: str, means: bool) -> None:
    assert Menu(step).means(keys) is means


def test_two_wrong_codes_or_three_mistakes_in_a_row_end_a_call() -> None:
    assert Menu().after_wrong_code().step is Step.CODE
    assert Menu().after_wrong_code().after_wrong_code().step is Step.OVER
    assert Menu().mistaken().mistaken().step is Step.CODE
    assert Menu().mistaken().mistaken().mistaken().step is Step.OVER
    assert Menu().mistaken().mistaken().to(Step.POINT).mistaken().step is Step.POINT

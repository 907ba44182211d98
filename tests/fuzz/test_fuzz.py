"""A small run of the fuzz, and that it can find anything at all."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from responder.core.points import Status
from tests.conftest import a_point
from tests.fuzz.cases import EPISODE, writer
from tests.fuzz.checks import Judge
from tests.fuzz.run import play
from tests.fuzz.world import Reply, World, world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("fuzz")) as one:
        yield one


def test_a_thousand_cases_find_nothing(made: World) -> None:
    found = [
        (case, findings)
        for episode in range(20)
        for case, _, findings in play(made, 4711, episode, 10**9)
        if any(finding.rule != "time" for finding in findings)  # of which a busy machine says nothing
    ]
    assert found == []


def test_a_case_is_the_same_whenever_it_is_written(made: World) -> None:
    one, other = (writer(3, 5, made.places).cases(3, 5) for _ in range(2))
    assert one == other and [case.number for case in one] == list(range(5 * EPISODE, 6 * EPISODE))
    assert writer(4, 5, made.places).cases(4, 5) != one


def text(body: str) -> str:
    """A document as the service answers a text."""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response><Message>{body}</Message></Response>'


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        (text("a & b"), "xml"),
        (text("a\x0bb"), "xml"),
        ("<Other/>", "verbs"),
        ("<Response><Dial>+46</Dial></Response>", "verbs"),
        ("<Response><Message/><Message/></Response>", "verbs"),
        (text("x" * 70_000), "size"),
        (text("å" * 500), "budget"),
        (text("Vi känner inte {said}"), "blank"),
        (text("Trygghetspunkt ÖPPEN nu:\nProvhus {closed}, Provstigen {closed}\nÖppet."), "door"),
        (text("Trygghetspunkt ÖPPEN nu:\nProvhus {hidden}, Provstigen {hidden}\nÖppet."), "hidden"),
        (text("Trygghetspunkt ÖPPEN nu:\nProvhus {open}, Provstigen {open}\nFULLT."), "state"),
        (text("Trygghetspunkt ÖPPEN nu:\nProvhus 999\nÖppet."), "door"),
        (text("{long}"), "echo"),
    ],
)
def test_a_reply_that_breaks_a_rule_is_found(made: World, document: str, rule: str) -> None:
    made.begin(random.Random("nothing"))
    now = made.clock.now
    points = {
        "801": a_point("p801", status=Status.CLOSED, confirmed_at=now),
        "802": a_point("p802", hidden=True, confirmed_at=now),
        "803": a_point("p803", confirmed_at=now),
    }
    made.points = points
    case = next(case for case in writer(1, 1, made.places).cases(1, 1) if case.path == "/twilio/sms")
    case = replace(case, body=b"MessageSid=SM1&From=%2B46700000001&Body=" + b"en+lang+mening+" * 9, web=False)
    long = " ".join(["en lang mening"] * 4)
    for name, value in (("closed", "801"), ("hidden", "802"), ("open", "803"), ("long", long)):
        document = document.replace(f"{{{name}}}", value)
    judge = Judge(made.service.flow)
    found = {finding.rule for finding in judge.judge(case, Reply(200, document, 0, 0, ()), made, False)}
    assert rule in found
    good = Reply(200, text("Trygghetspunkt ÖPPEN nu:\nProvhus 803, Provstigen 803\nÖppet."), 0, 0, ())
    assert list(judge.judge(case, good, made, False)) == []


@pytest.mark.parametrize("errors", [("%s could not be answered",), ("something broke",)])
def test_an_error_in_the_log_is_a_finding(made: World, errors: tuple[str, ...]) -> None:
    case = next(case for case in writer(1, 1, made.places).cases(1, 1) if case.path == "/twilio/sms")
    found = Judge(made.service.flow).judge(case, Reply(200, text("Hej"), 0, 0, errors), made, False)
    assert "exception" in {finding.rule for finding in found}

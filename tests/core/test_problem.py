"""What is wrong, told in the language of whoever reads it."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from string import Formatter

import pytest

import responder.actions.announce
import responder.actions.publish
import responder.actions.staff  # noqa: F401 - so that all kinds of problem are known
from responder.core.problem import Fault, Phrase, Problem, listed


class Door(StrEnum):
    OPEN = "open"


SWEDISH = {
    "open": "öppen", "opens": "öppnar", "has passed": "har varit", "nobody": "ingen", "{b}, not {a}": "{a}, inte {b}",
    "{who} saw: {what}": "{who} såg: {what}",
}  # fmt: skip


def swedish(text: str) -> str:
    return SWEDISH.get(text, text)


@pytest.mark.parametrize(
    ("phrase", "english", "told"),
    [
        (Phrase("{b}, not {a}", a=1, b=2), "2, not 1", "1, inte 2"),
        (Phrase("{b}, not {a}", a=Door.OPEN, b=None), "None, not open", "öppen, inte None"),
        (Phrase("{b}, not {a}", a="open", b="x"), "x, not open", "open, inte x"),  # what somebody typed stays
        (
            Phrase("{who} saw: {what}", who=Phrase("nobody"), what=Problem("{b}, not {a}", a=Phrase("nobody"), b=1)),
            "nobody saw: 1, not nobody",
            "ingen såg: ingen, inte 1",
        ),
        (Phrase("{all}", all=(Door.OPEN, [Phrase("nobody"), 3], "{all}")), "open, nobody, 3, {all}", "öppen, ingen, 3, {all}"),
        (Phrase("{text}, {self}", text="{self} {0} }{", self="%s"), "{self} {0} }{, %s", "{self} {0} }{, %s"),
    ],
)  # fmt: skip
def test_a_phrase_is_told_with_all_that_stands_in_it(phrase: Phrase, english: str, told: str) -> None:
    assert (str(phrase), phrase.told(swedish)) == (english, told)
    assert (str(Problem(phrase)), Problem(phrase).told(swedish)) == (english, told)


def test_a_fault_names_its_field() -> None:
    passed, other = Fault("opens", Phrase("has passed")), Fault("note", Phrase("{b}, not {a}", a="{", b="}"))
    assert (str(passed), passed.told(swedish)) == ("opens: has passed", "öppnar: har varit")
    assert str(listed([passed, other])) == "opens: has passed; note: }, not {"
    assert listed([passed, other]).told(swedish) == "öppnar: har varit; note: {, inte }"


def kinds(kind: type[Problem] = Problem) -> Iterator[str]:
    yield kind.__name__
    for below in kind.__subclasses__():
        yield from kinds(below)


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source that makes a phrase or a problem."""
    for path in Path("responder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in {"Phrase", *kinds()}:
                yield f"{path}:{node.lineno}", node


def test_every_sentence_is_a_template_that_can_be_translated_and_has_its_values() -> None:
    found = 0
    for where, call in raised():
        first = call.args[0] if call.args else None
        assert not any(isinstance(argument, ast.JoinedStr) for argument in call.args), where
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            found += 1
            named = {name for _, name, *_ in Formatter().parse(first.value) if name is not None}
            assert named == {keyword.arg for keyword in call.keywords}, where
    assert found > 60

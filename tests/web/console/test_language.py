"""Nothing that an operator reads is missing in Swedish, and nothing is said in two ways."""

from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from string import Formatter

import pytest
from babel.messages.extract import extract_from_dir

import responder
from responder.core.access import Permission, Role
from responder.core.broadcast import State, Step, Template
from responder.core.changes import ACTIONS, FIELDS
from responder.core.delivery import State as DeliveryState
from responder.core.points import SERVICES, Kind, Status, YesNo
from responder.core.problem import Problem
from responder.web.console import language

ROOT = Path(responder.__file__).parent
ENUMS: tuple[type[StrEnum], ...] = (Role, Permission, State, Step, Template, DeliveryState, Kind, Status, YesNo)


def problems(of: type[Problem] = Problem) -> Iterator[str]:
    """The names of all classes of errors: a text in their constructor is one that people read."""
    for module in walk_packages(responder.__path__, "responder."):
        if not module.name.startswith("responder.store.migrations"):
            import_module(module.name)
    for kind in of.__subclasses__():
        yield kind.__name__
        yield from problems(kind)


def extracted() -> dict[str, str]:
    """Every text of the pages and the errors, with where it stands."""
    names = ("_", "gettext", "lazy", "Phrase", "Problem", *problems())
    keywords = {**dict.fromkeys(names), "ngettext": (1, 2)}
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2"), ("templates/**.html", "jinja2")]
    found: dict[str, str] = {}
    for file, line, said, _, _ in extract_from_dir(ROOT, methods, keywords=keywords):
        for text in (said,) if isinstance(said, str) else said:
            if text:
                found.setdefault(text, f"{file}:{line}")
    for kind in ENUMS:
        found |= {member.value: f"{kind.__module__}.{kind.__name__}" for member in kind}
    found |= dict.fromkeys(SERVICES, "responder.core.points.SERVICES")
    found |= dict.fromkeys(ACTIONS, "responder.core.changes.ACTIONS")
    found |= dict.fromkeys(FIELDS, "responder.core.changes.FIELDS")
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.fixture(scope="module")
def source() -> dict[str, str]:
    return extracted()


def test_every_text_of_the_console_is_there_in_swedish(source: dict[str, str]) -> None:
    known = language.messages("sv")
    many = {m.id[1] for c in language.catalogues("sv") for m in c if isinstance(m.id, (list, tuple))}
    missing = {text: where for text, where in source.items() if text not in known and text not in many}
    assert not missing, "\n" + "\n".join(f"{where}: {text!r}" for text, where in sorted(missing.items(), key=str))


def test_a_translation_has_the_placeholders_of_its_text() -> None:
    for catalogue in language.catalogues("sv"):
        for message in catalogue:
            ids = [message.id] if isinstance(message.id, str) else list(message.id)
            said = [message.string] if isinstance(message.string, str) else list(message.string)
            for text in said if ids[0] else ():
                assert text.strip(), ids
                assert placeholders(text) == placeholders(ids[0]) | placeholders(ids[-1]), (ids, text)
            assert "fuzzy" not in message.flags or not ids[0], ids


def test_one_text_is_said_one_way() -> None:
    said: dict[str, set[str]] = defaultdict(set)
    for catalogue in language.catalogues("sv"):
        for message in catalogue:
            if message.id:
                said[str(message.id)].add(str(message.string))
    assert not {text: ways for text, ways in said.items() if len(ways) > 1}


def test_no_translation_is_left_over_from_a_text_that_is_gone(source: dict[str, str]) -> None:
    ids = {m.id if isinstance(m.id, str) else m.id[0] for c in language.catalogues("sv") for m in c if m.id}
    assert not ids - source.keys()

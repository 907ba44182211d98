"""What is wrong, as a sentence that can be told in any language: a template, and the values that stand in it.

Templates are literals where they are raised, so that the tools of gettext find them; only a template is formatted, so
that braces in what somebody typed mean nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Translate = Callable[[str], str]  # a gettext: English to the language of whoever reads


@dataclass(frozen=True, slots=True, init=False)
class Phrase:
    """A sentence, or a part of one, with `{placeholders}` and what they stand for."""

    text: str
    values: Mapping[str, object]

    def __init__(self, text: str, /, **values: object) -> None:
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return self.told(str)

    def told(self, translate: Translate) -> str:
        """The sentence in the language of `translate`."""
        return translate(self.text).format(**{name: _told(value, translate) for name, value in self.values.items()})


class Problem(ValueError):
    """An error that whoever caused it can put right; its `phrase` says what is wrong and what to do."""

    def __init__(self, text: str | Phrase, /, **values: object) -> None:
        self.phrase = text if isinstance(text, Phrase) else Phrase(text, **values)
        super().__init__(str(self.phrase))

    def told(self, translate: Translate) -> str:
        """The sentence in the language of `translate`."""
        return self.phrase.told(translate)


class Meanwhile(Problem):
    """What somebody looked at has been changed by somebody else since."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a form or one column of a file."""

    field: str
    phrase: Phrase

    def __str__(self) -> str:
        return self.told(str)

    def told(self, translate: Translate) -> str:
        """As `field: reason` in the language of `translate`; beside the field itself `phrase` alone is enough."""
        return f"{translate(self.field)}: {self.phrase.told(translate)}"


def listed(faults: Sequence[Fault]) -> Phrase:
    """All `faults` as one phrase: "field: reason; field: reason"."""
    values = {f"fault{number}": fault for number, fault in enumerate(faults)}
    together = "; ".join(f"{{{name}}}" for name in values)
    return Phrase(together, **values)


def _told(value: object, translate: Translate) -> str:
    match value:
        case Phrase() | Problem() | Fault():
            return value.told(translate)
        case StrEnum():
            return translate(value.value)
        case tuple() | list():
            return ", ".join(_told(item, translate) for item in value)
    return str(value)

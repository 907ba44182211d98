"""Forms: what all of them have in common, and how an error finds its field."""

from collections.abc import Iterator, Sequence
from typing import Any

from flask_wtf import FlaskForm
from wtforms import Field
from wtforms.i18n import DummyTranslations, get_translations
from wtforms.validators import DataRequired

from responder.actions.publish import ChangeRefused
from responder.core.problem import Problem
from responder.web.console.language import SOURCE, current, gettext, lazy


class Form(FlaskForm):  # type: ignore[misc]
    """A form of the console; its token against forged requests comes with it."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """WTForms' settings."""

        def get_translations(self, form: Any) -> Any:
            """WTForms' own few messages, by WTForms' own catalogues."""
            return get_translations((current(),)) if current() != SOURCE else DummyTranslations()

    def blame(self, problem: Problem, field: str = "") -> None:
        """Put an error beside the field that it is about, or else above the form."""
        faults: Sequence[Any] = problem.faults if isinstance(problem, ChangeRefused) else ()
        for fault in faults:
            name = fault.field
            if name in self._fields:
                self._add(name, fault.phrase.told(gettext))
            else:
                self.form_errors.append(fault.told(gettext))
        if not faults and field in self._fields:
            self._add(field, problem.told(gettext))
        elif not faults:
            self.form_errors.append(problem.told(gettext))

    def wrong(self) -> Iterator[tuple[Field, str]]:
        """(field, error) of every field with one, for the summary above the form."""
        for field in self:
            for error in field.errors:
                yield field, str(error)

    def _add(self, name: str, error: str) -> None:
        self._fields[name].errors = [*self._fields[name].errors, error]


def needed(text: str = "") -> DataRequired:
    """The field must be filled in."""
    return DataRequired(text or lazy("Fill this in."))


class Press(Form):
    """A button and nothing else."""

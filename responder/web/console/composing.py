"""Writing a broadcast: its form, where an error belongs in it, and its texts counted as they will be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wtforms import BooleanField, HiddenField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]
from wtforms.widgets import CheckboxInput, ListWidget

from responder.actions.announce import Announcer
from responder.core.broadcast import BadTarget, Broadcast
from responder.core.estimate import BadText
from responder.core.problem import Problem
from responder.core.segments import Cost, cost, room
from responder.web.console.desk import Desk
from responder.web.console.forms import Form
from responder.web.console.language import gettext, lazy


@dataclass(frozen=True, slots=True)
class Count:
    """A text as it will be sent, what it costs, and how many characters are left in its last segment."""

    text: str = ""
    cost: Cost | None = None
    left: int = 0
    error: str = ""


def compose(desk: Desk) -> Any:
    """A form to write with: a text for each language."""
    languages = desk.service.flow.languages
    districts = sorted(desk.service.snapshot.read_if_changed(desk.now).gazetteer.districts)
    fields: dict[str, Any] = {
        "everyone": BooleanField(lazy("Everyone who subscribes, wherever they are")),
        "districts": SelectMultipleField(
            lazy("Districts"), choices=[SelectChoice(name, name) for name in districts], widget=ListWidget(),
            option_widget=CheckboxInput(), validate_choice=False,
        ),
        "areas": StringField(lazy("Areas"), description=lazy("With commas between, such as Hökarängen, Gubbängen.")),
        "postcodes": StringField(lazy("Postcodes"), description=lazy("With commas between, such as 12347, 12349.")),
        "points": StringField(
            lazy("People who were told of these points"), description=lazy("Ids of points, with commas between.")
        ),
        **{
            f"text_{code}": TextAreaField(wording.name, render_kw={"lang": code, "maxlength": 2000, "rows": 6})
            for code, wording in languages.items()
        },
        "fallback": SelectField(
            lazy("Language for those whose own has no text"), validate_choice=False,
            choices=[SelectChoice("", lazy("None")), *(SelectChoice(c, w.name) for c, w in languages.items())],
        ),
        "version": HiddenField(),
    }  # fmt: skip

    class Compose(Form):
        """Whom it is for and what it says."""

        def tokens(self) -> list[str]:
            """The targets, as the audience reads them."""
            kinds = (("area", self.areas), ("postcode", self.postcodes), ("point", self.points))
            typed = [f"{kind}:{part}" for kind, field in kinds for part in _parts(field.data)]
            chosen = [f"district:{name}" for name in self.districts.data or ()]
            return [*(["everyone"] if self.everyone.data else []), *chosen, *typed]

        def texts(self) -> dict[str, str]:
            """Language to text, of those that have one."""
            given = {code: self[f"text_{code}"].data or "" for code in languages}
            return {code: text for code, text in given.items() if text.strip()}

    for name, field in fields.items():
        setattr(Compose, name, field)
    return Compose()


def _parts(typed: str | None) -> list[str]:
    return [part.strip() for part in (typed or "").split(",") if part.strip()]


def fill(form: Any, one: Broadcast) -> None:
    """Put what `one` is into the form."""
    form.everyone.data = one.audience.everyone
    form.districts.data = list(one.audience.districts)
    for name in ("areas", "postcodes", "points"):
        form[name].data = ", ".join(getattr(one.audience, name))
    for code, text in one.texts.items():
        if f"text_{code}" in form:
            form[f"text_{code}"].data = text
    form.fallback.data, form.version.data = one.fallback, str(one.version)


def blame(form: Any, problem: Problem) -> None:
    """Put what is wrong beside what it is about."""
    if isinstance(problem, BadText):
        chosen = problem.language == form.fallback.data and problem.language not in form.texts()
        form.blame(Problem(problem.reason), "fallback" if chosen else f"text_{problem.language}")
    elif isinstance(problem, BadTarget):
        fields = {"postcode": "postcodes", "id": "points", "name": "areas"}
        form.blame(problem, next((f for value, f in fields.items() if value in problem.phrase.values), "everyone"))
    else:
        form.blame(problem)


def wrong(form: Form) -> bool:
    """Whether anything in it has to be put right."""
    return bool(form.errors or form.form_errors or list(form.wrong()))


def counts(announcer: Announcer, form: Any, exercise: bool) -> Mapping[str, Count]:
    """Every text of the form, counted."""
    return {code: count(announcer, text, code, exercise) for code, text in form.texts().items()}


def count(announcer: Announcer, text: str, language: str, exercise: bool) -> Count:
    """`text` counted as it will be sent."""
    if not text.strip():
        return Count()
    try:
        said = announcer.scribe.preview(text, language, exercise)
    except BadText as problem:
        return Count(error=problem.reason.told(gettext))
    return Count(said, cost(said), room(said))

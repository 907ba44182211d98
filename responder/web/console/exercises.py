"""Exercises: what goes on, beginning one, ending it, and those that are past."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import StringField

from responder.actions import exercise as action
from responder.core.access import Permission
from responder.core.exercise import LONGEST, ExerciseRefused
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.forms import Form
from responder.web.console.language import gettext, lazy

PAST = 50


class Begin(Form):
    """What it is called."""

    name = StringField(
        lazy("Name of the exercise"),
        description=lazy("Such as Power cut autumn 2026. Everybody sees it on every page."),
        render_kw={"maxlength": LONGEST, "autocomplete": "off"},
    )


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    database = desk.service.database

    @console.get("/exercises")
    @access(Permission.VIEW)
    def exercises() -> str:
        return page(Begin(formdata=None))

    @console.post("/exercises/begin")
    @access(Permission.EXERCISE)
    def exercise_begin() -> AnyResponse | tuple[str, int]:
        form = Begin()
        try:
            begun = action.begin(database, desk.operator, form.name.data or "", desk.now)
        except ExerciseRefused as problem:
            form.blame(problem, "name" if "least" in problem.phrase.values else "")
            return page(form), 422
        flash(gettext("The exercise {name} has begun. Nothing real can be sent until it ends.").format(name=begun.name))
        return redirect(url_for("console.exercises"), 303)

    @console.post("/exercises/end")
    @access(Permission.SEND)
    def exercise_end() -> AnyResponse:
        ended = action.end(database, desk.operator, desk.now, request.form.get("id", 0, type=int))
        said = gettext("The exercise {name} is over. Broadcasts stopped with it: {n}. Real ones can be sent again.")
        flash(said.format(name=ended.exercise.name, n=len(ended.stopped)))
        return redirect(url_for("console.exercises"), 303)

    def page(form: Begin) -> str:
        return render_template("exercises.html", form=form, past=action.past(database, desk.operator, PAST))

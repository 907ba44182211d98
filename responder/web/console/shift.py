"""The shift log: who is on duty, what changed meanwhile, and what one shift tells the next."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import TextAreaField

from responder.actions import shift as log
from responder.core.access import Permission
from responder.core.problem import Problem
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.forms import Form, needed
from responder.web.console.language import gettext, lazy

SHOWN = 30  # lines of the log on a page
CHANGES = 30  # things that changed meanwhile


class Note(Form):
    """What the next shift must know."""

    text = TextAreaField(
        lazy("Note for the next shift"),
        [needed()],
        description=lazy(
            "At most 2,000 characters. Everybody with an account can read it. No numbers or names of residents."
        ),
        render_kw={"rows": 5},
    )


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    database = desk.service.database

    def page(form: Note, status: int = 200) -> tuple[str, int]:
        before = request.args.get("before", "")
        older = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
        found = log.notes(database, desk.operator, older, SHOWN + 1)
        on = log.duty(database, desk.operator, desk.now)
        since, was_off = log.since(database, desk.operator, desk.now)
        news = log.news(database, desk.operator, since)
        text = render_template(
            "shift.html", form=form, notes=found[:SHOWN], more=found[SHOWN - 1].id if len(found) > SHOWN else None,
            older=older, duty=on, mine=any(one.who == desk.operator.name for one in on), since=since, was_off=was_off,
            news=news[:CHANGES], hidden=max(0, len(news) - CHANGES),
        )  # fmt: skip
        return text, status

    @console.get("/shift")
    @access(Permission.VIEW)
    def shift() -> tuple[str, int]:
        return page(Note(formdata=None))

    @console.post("/shift")
    @access(Permission.NOTE)
    def shift_note() -> tuple[str, int] | AnyResponse:
        form = Note()
        if not form.validate_on_submit():
            return page(form, 422)
        try:
            log.write(database, desk.operator, form.text.data or "", desk.now)
        except Problem as problem:
            form.blame(problem, "text")
            return page(form, 422)
        flash(gettext("The note is in the log."))
        return redirect(url_for("console.shift"), 303)

    @console.post("/shift/on")
    @access(Permission.NOTE)
    def shift_on() -> AnyResponse:
        log.go(database, desk.operator, True, desk.now)
        flash(gettext("You are on duty."))
        return redirect(url_for("console.shift"), 303)

    @console.post("/shift/off")
    @access(Permission.NOTE)
    def shift_off() -> AnyResponse:
        log.go(database, desk.operator, False, desk.now)
        flash(gettext("You are off duty."))
        return redirect(url_for("console.shift"), 303)

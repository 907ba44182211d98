"""What was not understood: learnt from, answered by hand, dealt with. And the numbers behind it, for a reason."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from math import isfinite

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import HiddenField, RadioField, StringField, TextAreaField

from responder.actions import reveal
from responder.actions.inbox import BadAlias, Group, Inbox, NoSuchGroup
from responder.core.access import Permission
from responder.core.places import Place, PlaceKind
from responder.core.problem import Problem
from responder.core.segments import cost
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.forms import Form, needed
from responder.web.console.language import gettext, lazy, ngettext

SHOWN = 50  # groups on a page, and senders of one


class Name(Form):
    """These words mean a place."""

    alias = StringField(lazy("Residents write"), [needed()], render_kw={"maxlength": 200, "autocomplete": "off"})
    place = StringField(
        lazy("and mean the place"),
        [needed()],
        description=lazy("Its name, such as Bagarmossen."),
        render_kw={"maxlength": 200, "autocomplete": "off"},
    )
    code = RadioField(lazy("Which one do you mean?"), choices=[], validate_choice=False)


class Answer(Form):
    """A text by hand. `serial` is another one each time the page is made, so that a double click sends once."""

    text = TextAreaField(lazy("Your answer"), [needed()], render_kw={"rows": 4, "maxlength": 1600})
    turn = HiddenField()
    serial = HiddenField()


class Reason(Form):
    """Why a number must be seen."""

    reason = StringField(
        lazy("Why do you need the number?"),
        [needed()],
        description=lazy("At least 10 characters. It is written in the audit log with your name; the number is not."),
        render_kw={"maxlength": 500, "autocomplete": "off"},
    )


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    service = desk.service
    inbox_of = Inbox(service.database, service.vault, service.snapshot, service.settings, service.flow.languages)

    def page(group: Group, status: int = 200, name: Name | None = None, answer: Answer | None = None) -> AnyResponse:
        """One group with its forms: those that failed, or new ones."""
        if name is None:
            name = Name(formdata=None, alias=group.words if len(group.words) <= 40 else "")
        if answer is None:
            turn = request.args.get("turn", "")
            answer = Answer(formdata=None, turn=turn if any(one.turn == turn for one in group.asked) else "")
        answer.serial.data = answer.serial.data or secrets.token_urlsafe(16)
        senders = inbox_of.senders(desk.operator, group)
        chosen = next((one for one in senders if one.asked.turn == answer.turn.data), None)
        done = {one.person for one in senders if one.answered_at}
        waiting = {one.person for one in senders if not one.why_not} - done
        text = render_template(
            "inbox_group.html", group=group, senders=senders[:SHOWN], hidden=max(0, len(senders) - SHOWN), name=name,
            answer=answer, chosen=chosen, waiting=len(waiting), tongue=_tongue(group, chosen),
        )  # fmt: skip
        return Response(text, status)

    def group_or_404(id: str) -> Group:
        try:
            return inbox_of.group(desk.operator, id, desk.now)
        except NoSuchGroup:
            abort(404)

    @console.get("/inbox")
    @access(Permission.ANSWER)
    def inbox() -> str:
        seen = inbox_of.read(desk.operator, desk.now)
        everything = request.args.get("all") == "1"
        groups = [group for group in seen.groups if everything or not group.handled_by]
        first = _whole(request.args.get("from"))
        return render_template(
            "inbox.html", groups=groups[first : first + SHOWN], seen=seen, everything=everything, first=first,
            total=len(groups), dealt_with=sum(bool(group.handled_by) for group in seen.groups), step=SHOWN,
        )  # fmt: skip

    @console.get("/inbox/<group>")
    @access(Permission.ANSWER)
    def inbox_group(group: str) -> AnyResponse:
        return page(group_or_404(group))

    @console.post("/inbox/<group>/alias")
    @access(Permission.ANSWER)
    def inbox_alias(group: str) -> AnyResponse:
        found, form = group_or_404(group), Name()
        form.code.choices = []
        if not form.validate_on_submit():
            return page(found, 422, name=form)
        alias, said, code = form.alias.data or "", form.place.data or "", form.code.data or ""
        try:
            places, sure = inbox_of.places(desk.operator, said, desk.now)
        except Problem as problem:
            form.blame(problem, "place")
            return page(found, 422, name=form)
        form.code.choices = [(place.code, _described(place)) for place in places]
        if not sure and code not in {place.code for place in places}:
            form.blame(Problem("choose one of the places below, and press the button again"), "code")
            return page(found, 422, name=form)
        try:
            place = inbox_of.add_alias(desk.operator, alias, places[0].code if sure else code, desk.now, found.id)
        except BadAlias as problem:
            form.blame(problem, "alias")
            return page(found, 422, name=form)
        flash(gettext("From now on '{alias}' means {place}.").format(alias=alias, place=_described(place)))
        return redirect(url_for("console.inbox"), 303)

    @console.post("/inbox/<group>/answer")
    @access(Permission.ANSWER)
    def inbox_answer(group: str) -> AnyResponse:
        found, form = group_or_404(group), Answer()
        if not form.validate_on_submit():
            return page(found, 422, answer=form)
        try:
            sent = inbox_of.answer(
                desk.operator, found, form.text.data or "", form.serial.data or "", desk.now, form.turn.data or ""
            )
        except Problem as problem:
            form.blame(problem, "text")
            return page(found, 422, answer=form)
        if sent:
            flash(ngettext("Your answer is on its way to {n} number.", "Your answer is on its way to {n} numbers.",
                           sent).format(n=sent))  # fmt: skip
        else:
            flash(gettext("That answer had been sent already. Nothing was sent twice."))
        return redirect(url_for("console.inbox_group", group=found.id), 303)

    @console.post("/inbox/<group>/handled")
    @access(Permission.ANSWER)
    def inbox_handled(group: str) -> AnyResponse:
        found = group_or_404(group)
        seen = found.newest.at.timestamp()
        with suppress(ValueError):
            typed = float(request.form.get("seen", ""))
            seen = typed if isfinite(typed) else seen
        inbox_of.set_handled(desk.operator, found.id, seen, desk.now)
        flash(gettext("Dealt with. It comes back if somebody writes it again."))
        return redirect(url_for("console.inbox"), 303)

    @console.post("/inbox/count")
    @access(Permission.ANSWER)
    def inbox_count() -> str:
        said, error, price, text = request.form.get("text", ""), "", None, ""
        try:
            text = inbox_of.signed(said, request.form.get("language", ""))
            price = cost(text)
        except Problem as problem:
            error = problem.told(gettext) if said.strip() else ""
        return render_template("_inbox_count.html", text=text, price=price, error=error)

    @console.get("/inbox/aliases")
    @access(Permission.ANSWER)
    def inbox_aliases() -> str:
        known = service.snapshot.read_if_changed(desk.now).gazetteer.by_code
        rows = [
            (alias, _described(known[alias.place]) if alias.place in known else alias.place)
            for alias in inbox_of.aliases(desk.operator)
        ]
        return render_template("aliases.html", rows=rows)

    @console.post("/inbox/aliases/<int:id>/remove")
    @access(Permission.ANSWER)
    def inbox_alias_remove(id: int) -> AnyResponse:
        gone = inbox_of.remove_alias(desk.operator, id, desk.now)
        flash(gettext("'{alias}' means no place any more.").format(alias=gone.alias))
        return redirect(url_for("console.inbox_aliases"), 303)

    @console.route("/inbox/turns/<path:turn>/reveal", methods=["GET", "POST"])
    @access(Permission.REVEAL, fresh=True)
    def reveal_turn(turn: str) -> AnyResponse:
        return revealed(url_for("console.inbox"), reveal.of_turn, turn)

    @console.route("/unknown/<int:id>/reveal", methods=["GET", "POST"])
    @access(Permission.REVEAL, fresh=True)
    def reveal_delivery(id: int) -> AnyResponse:
        return revealed(url_for("console.unknown"), reveal.of_delivery, id)

    def revealed(back: str, number_of: Callable[..., str], id: str | int) -> AnyResponse:
        form, number = Reason(), ""
        if form.validate_on_submit():
            why = form.reason.data or ""
            try:
                number = number_of(service.database, service.vault, desk.operator, id, why, desk.now)
            except (reveal.ReasonTooShort, reveal.NoNumber) as problem:
                form.blame(problem, "reason")
        status = 200 if number or request.method == "GET" else 422
        return Response(render_template("reveal.html", form=form, shown=number, back=back), status)


def _tongue(group: Group, chosen: object) -> str:
    asked = getattr(chosen, "asked", None)
    return str(asked.language) if asked else group.languages[0][0]


def _described(place: Place) -> str:
    """ "Farsta (stadsdel, Farsta, Stockholm)": what tells it from others of its name."""
    where = dict.fromkeys(part for part in (place.district, place.municipality) if part and part != place.name)
    return f"{place.name} ({', '.join([str(_KINDS[place.kind]), *where])})"


_KINDS = {
    PlaceKind.AREA: lazy("city district"),
    PlaceKind.STADSDEL: lazy("part of town"),
    PlaceKind.MUNICIPALITY: lazy("municipality"),
    PlaceKind.LOCALITY: lazy("town or village"),
    PlaceKind.STATION: lazy("station"),
    PlaceKind.SQUARE: lazy("square or centre"),
    PlaceKind.OTHER: lazy("other place"),
    PlaceKind.POSTCODE: lazy("postcode"),
}


def _whole(text: str | None) -> int:
    """A number from an address; 0 if it is none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else 0

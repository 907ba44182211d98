"""Broadcasts: the list, writing, the page of one with its steps and progress, and what is under way on every page."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, radians
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import StringField

from responder.actions.announce import EditedMeanwhile, ReasonMissing
from responder.core.access import Permission
from responder.core.broadcast import (
    TRANSITIONS,
    Audience,
    Broadcast,
    BroadcastError,
    IllegalStep,
    NoSuchBroadcast,
    State,
    Step,
    Template,
)
from responder.core.delivery import REACHED
from responder.core.delivery import State as DeliveryState
from responder.core.estimate import BadTime, sending_time
from responder.core.exercise import fits
from responder.core.places import Gazetteer, PlaceKind
from responder.core.problem import Phrase
from responder.core.segments import cost
from responder.store.engine import StoreAway
from responder.web.access import access
from responder.web.console.composing import blame, compose, count, counts, fill, wrong
from responder.web.console.desk import Desk
from responder.web.console.forms import Form
from responder.web.console.language import gettext, lazy, ngettext

MOST = 100  # in the list
SHOWN = 3  # under way, on every page
BEGINNING = 60  # characters of a text that tell which it is
KINDS = (Template.FREE, Template.ALL_CLEAR)  # what can be written when it is real; an exercise has a text of its own
CORRECTABLE = (State.SENDING, State.PAUSED, State.DONE, State.STOPPED)

Page = str | tuple[str, int] | AnyResponse


class Danger(Form):
    """Why it cannot wait for a second person."""

    danger = StringField(lazy("Why can it not wait for a second person?"))


class Later(Form):
    """When it is to be sent."""

    at = StringField(
        lazy("Time"), description=lazy("Such as 14.20, or 2026-11-24T14:20."), render_kw={"class": "short"}
    )


class Why(Form):
    """For whoever wrote it."""

    why = StringField(lazy("Why?"), description=lazy("For whoever wrote it."))


def gone_out(states: Mapping[str, int]) -> int:
    """Deliveries that have left us, whatever became of them. Those that a stop held back have not."""
    return sum(states.get(state, 0) for state in (*REACHED, DeliveryState.FAILED))


@dataclass(frozen=True, slots=True)
class Offer:
    """The steps that the state and the person's role allow now, and why others are not offered."""

    steps: frozenset[str]
    reasons: tuple[Phrase, ...]

    def __contains__(self, step: str) -> bool:
        return step in self.steps


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    _add_list(console, desk)
    _add_writing(console, desk)
    _add_one(console, desk)
    _add_steps(console, desk)


def _add_list(console: Blueprint, desk: Desk) -> None:
    tracker = desk.service.tracker

    def under_way() -> list[Any]:
        try:
            return tracker.under_way(desk.operator, SHOWN)
        except StoreAway:
            return []  # the page says so itself

    console.context_processor(lambda: {"under_way": under_way, "beginning": _beginning})

    @console.get("/broadcasts")
    @access(Permission.VIEW)
    def broadcasts() -> str:
        chosen = request.args.get("state", "")
        chosen = chosen if chosen in list(State) else ""
        found = tracker.newest(desk.operator, MOST, chosen)
        waiting = [] if chosen else tracker.newest(desk.operator, MOST, State.SUBMITTED)
        return render_template(
            "broadcasts.html", chosen=chosen, states=list(State), waiting=waiting,
            found=[one for one in found if chosen or one.state is not State.SUBMITTED],
            corrections=tracker.corrections(desk.operator), most=MOST,
        )  # fmt: skip

    @console.get("/broadcasts/under-way")
    @access(Permission.VIEW, polls=True)
    def broadcasts_under_way() -> str:
        return render_template("_under_way_part.html")


def _add_writing(console: Blueprint, desk: Desk) -> None:
    announcer = desk.service.announcer

    @console.route("/broadcasts/new", methods=["GET", "POST"])
    @access(Permission.DRAFT)
    def broadcast_new() -> Page:
        chosen = _template(request.values.get("template", ""))
        exercise = request.values.get("exercise", "1" if desk.exercise else "") == "1" or chosen is Template.EXERCISE
        if exercise and chosen is Template.FREE:
            chosen = Template.EXERCISE
        form = compose(desk)
        if request.method == "GET":
            for code, text in announcer.scribe.prewritten(chosen, exercise, desk.now).items():
                form[f"text_{code}"].data = text
            form.fallback.data = next(iter(desk.service.flow.languages))
        elif form.validate_on_submit() and "preview" not in request.form:
            try:
                made = announcer.draft(
                    desk.operator, form.tokens(), desk.now, form.texts(), form.fallback.data or "", chosen, exercise
                )
            except BroadcastError as problem:
                blame(form, problem)
            else:
                flash(gettext("Draft {id} is saved. Nothing has been sent.").format(id=made.id))
                return redirect(url_for("console.broadcast", id=made.id), 303)
        page = render_template(
            "broadcast_edit.html", form=form, one=None, theirs=None, chosen=chosen, exercise_text=exercise,
            kinds=KINDS, counts=counts(announcer, form, exercise), audience_fixed=False,
        )  # fmt: skip
        return page, 200 if request.method == "GET" or not wrong(form) else 422

    @console.route("/broadcasts/<int:id>/edit", methods=["GET", "POST"])
    @access(Permission.DRAFT)
    def broadcast_edit(id: int) -> Page:
        one = _read(desk, id)
        form, theirs = compose(desk), None
        if request.method == "GET":
            fill(form, one)
        elif form.validate_on_submit() and "preview" not in request.form:
            to = () if one.corrects is not None else form.tokens()
            read = request.form.get("version", 0, type=int)
            try:
                announcer.edit(
                    desk.operator, id, desk.now, read, to, form.texts(), form.fallback.data or "", whole=True
                )
            except EditedMeanwhile as problem:
                theirs = _read(desk, id)
                form.version.data = str(theirs.version)  # what is saved next is said with theirs in sight
                form.blame(problem)
            except BroadcastError as problem:
                blame(form, problem)
            else:
                flash(gettext("Draft {id} is saved. Nothing has been sent.").format(id=id))
                return redirect(url_for("console.broadcast", id=id), 303)
        page = render_template(
            "broadcast_edit.html", form=form, one=one, theirs=theirs, chosen=one.template, exercise_text=one.exercise,
            kinds=KINDS, counts=counts(announcer, form, one.exercise), audience_fixed=one.corrects is not None,
        )  # fmt: skip
        return page, 200 if request.method == "GET" or not wrong(form) else 422

    @console.post("/broadcasts/count")
    @access(Permission.DRAFT)
    def broadcast_count() -> str:
        values = request.form
        counted = count(announcer, values.get("text", ""), values.get("language", ""), values.get("exercise") == "1")
        return render_template("_count.html", count=counted)


def _add_one(console: Blueprint, desk: Desk) -> None:
    announcer = desk.service.announcer

    @console.get("/broadcasts/<int:id>")
    @access(Permission.VIEW)
    def broadcast(id: int) -> Page:
        return _page(desk, id)

    @console.get("/broadcasts/<int:id>/progress")
    @access(Permission.VIEW, polls=True)
    def broadcast_progress(id: int) -> str:
        try:
            one, pace = desk.service.tracker.progress(desk.operator, id, desk.now)
        except NoSuchBroadcast:
            abort(404)
        name = "_broadcast_summary.html" if request.args.get("summary") else "_broadcast_part.html"
        return render_template(name, one=one, pace=pace, gone=gone_out(pace.states))

    @console.route("/broadcasts/<int:id>/correct", methods=["GET", "POST"])
    @access(Permission.SEND)
    def broadcast_correct(id: int) -> Page:
        form, own = compose(desk), "own" in request.form
        if request.method == "POST":
            texts, fallback = (form.texts(), form.fallback.data or "") if own else (None, "")
            try:
                if own and not texts:
                    raise BroadcastError("no text; write one, or choose a template that has one")
                made = announcer.correct(desk.operator, id, desk.now, texts, fallback)
            except BroadcastError as problem:
                if not own or isinstance(problem, NoSuchBroadcast):
                    raise
                blame(form, problem)
            else:
                said = ngettext(
                    "Broadcast {id} is stopped. The correction {made} is being sent to {n} person.",
                    "Broadcast {id} is stopped. The correction {made} is being sent to {n} people.",
                    made.recipients,
                )
                if made.state is State.SUBMITTED:
                    said = gettext(
                        "Broadcast {id} is stopped. Your correction {made} waits: somebody else must approve it."
                    )
                flash(said.format(id=id, made=made.id, n=made.recipients))
                return redirect(url_for("console.broadcast", id=made.id), 303)
        else:
            form.fallback.data = next(iter(desk.service.flow.languages))
        try:
            one, texts, reached = announcer.correction(desk.operator, id, desk.now)
        except NoSuchBroadcast:
            abort(404)
        page = render_template(
            "broadcast_correct.html", languages_of=desk.service.flow.languages, one=one, texts=texts, reached=reached,
            costs_of={code: cost(text) for code, text in texts.items()}, form=form,
            counts=counts(announcer, form, one.exercise),
        )  # fmt: skip
        return page, 422 if own else 200


def _add_steps(console: Blueprint, desk: Desk) -> None:
    announcer = desk.service.announcer

    def done(id: int, said: str, **values: Any) -> AnyResponse:
        flash(said.format(id=id, **values))
        return redirect(url_for("console.broadcast", id=id), 303)

    def version() -> int:
        return request.form.get("version", 0, type=int)

    @console.post("/broadcasts/<int:id>/submit")
    @access(Permission.DRAFT)
    def broadcast_submit(id: int) -> Page:
        made, _ = announcer.submit(desk.operator, id, desk.now, version=version())
        if made.state is State.SUBMITTED:
            return done(id, gettext("Broadcast {id} now waits: somebody who has not written at it must approve it."))
        return done(id, gettext("Broadcast {id} reaches so few that nobody else need approve it. Now send it."))

    @console.post("/broadcasts/<int:id>/hasten")
    @access(Permission.SEND, fresh=True)
    def broadcast_hasten(id: int) -> Page:
        form = Danger()
        try:
            if _read(desk, id, missing_is_404=False).state is State.SUBMITTED:
                made = announcer.hasten(desk.operator, id, form.danger.data or "", desk.now, version())
            elif form.danger.data:
                made, _ = announcer.submit(desk.operator, id, desk.now, form.danger.data, version())
            else:
                raise ReasonMissing("danger to life: say why, so that others understand it")
        except ReasonMissing as problem:
            form.blame(problem, "danger")
            return _page(desk, id, danger=form)
        if made.state is State.SENDING:
            return done(id, gettext("Broadcast {id} is being sent."))
        return done(id, gettext("Broadcast {id} is approved for danger to life. Now send it."))

    @console.post("/broadcasts/<int:id>/approve")
    @access(Permission.APPROVE, fresh=True)
    def broadcast_approve(id: int) -> Page:
        made = announcer.approve(desk.operator, id, version(), desk.now)
        if made.state is State.SENDING:
            return done(id, gettext("Broadcast {id} is being sent."))
        return done(id, gettext("You have approved version {n} of broadcast {id}. It can be sent now."), n=version())

    @console.post("/broadcasts/<int:id>/return")
    @access(Permission.APPROVE)
    def broadcast_return(id: int) -> Page:
        announcer.return_(desk.operator, id, desk.now, request.form.get("why", ""))
        return done(id, gettext("Broadcast {id} is back with whoever wrote it."))

    @console.post("/broadcasts/<int:id>/reject")
    @access(Permission.APPROVE)
    def broadcast_reject(id: int) -> Page:
        announcer.reject(desk.operator, id, desk.now, request.form.get("why", ""))
        return done(id, gettext("Broadcast {id} is rejected. It will not be sent."))

    @console.post("/broadcasts/<int:id>/send")
    @access(Permission.SEND)
    def broadcast_send(id: int) -> Page:
        form = Later()
        try:
            typed = (form.at.data or "").strip()
            if "later" in request.form and not typed:
                raise BadTime("no time; write one, or send it now")
            at = sending_time(typed, desk.service.settings.timezone, desk.now) if "later" in request.form else None
            made = announcer.send(desk.operator, id, desk.now, at)
        except BadTime as problem:
            form.blame(problem, "at")
            return _page(desk, id, later=form)
        if made.state is State.SENDING:
            said = ngettext(
                "Broadcast {id} is being sent to {n} person.",
                "Broadcast {id} is being sent to {n} people.",
                made.recipients,
            )
            return done(id, said, n=made.recipients)
        return done(id, gettext("Broadcast {id} will be sent by itself at its time."))

    def simple(name: str, step: Callable[..., Broadcast], said: str) -> None:
        @access(Permission.SEND)
        def view(id: int) -> Page:
            step(desk.operator, id, desk.now)
            return done(id, str(said))

        console.add_url_rule(f"/broadcasts/<int:id>/{name}", f"broadcast_{name}", view, methods=["POST"])

    simple("pause", announcer.pause, lazy("Broadcast {id} is paused. Nothing more is sent until you resume it."))
    simple("resume", announcer.resume, lazy("Broadcast {id} goes on being sent."))

    @console.post("/broadcasts/<int:id>/stop")
    @access(Permission.SEND)
    def broadcast_stop(id: int) -> Page:
        try:
            announcer.stop(desk.operator, id, desk.now)
        except IllegalStep as problem:
            if problem.state is not State.STOPPED:  # somebody was faster: what was wanted is so
                raise
        _, pace = desk.service.tracker.progress(desk.operator, id, desk.now)
        gone = gone_out(pace.states)
        said = ngettext(
            "STOPPED. Of broadcast {id} nothing more is sent; {n} message had gone out.",
            "STOPPED. Of broadcast {id} nothing more is sent; {n} messages had gone out.",
            gone,
        )
        return done(id, said, n=gone)


def _page(desk: Desk, id: int, danger: Danger | None = None, later: Later | None = None) -> Page:
    announcer = desk.service.announcer
    try:
        seen = announcer.show(desk.operator, id, desk.now)
    except NoSuchBroadcast:
        abort(404)
    one = seen.broadcast
    begun = one.started_at is not None
    estimate = announcer.made(desk.operator, one, desk.now) if begun else seen.estimate
    _, pace = desk.service.tracker.progress(desk.operator, id, desk.now)
    history = [
        (line, json.loads(line.after or "{}").get("version"))
        for line in desk.service.tracker.history(desk.operator, id)
    ]
    page = render_template(
        "broadcast.html", one=one, seen=seen, estimate=estimate, pace=pace, history=history, gone=gone_out(pace.states),
        offer=_offer(desk, one), danger=danger or Danger(formdata=None), later=later or Later(formdata=None),
        why=Why(formdata=None), map=_map(one.audience, desk),
        tells=[] if one.written else desk.service.tracker.tells(desk.operator, id),
        corrected_by=desk.service.tracker.corrections(desk.operator).get(id), languages_of=desk.service.flow.languages,
        costs_of={code: cost(text) for code, text in one.texts.items()},
    )  # fmt: skip
    return page, 422 if danger or later else 200


def _offer(desk: Desk, one: Broadcast) -> Offer:
    """What this person can do with it now. The actions decide again; this only says what is worth a button."""
    steps, reasons = set(), []
    wanted = {
        Step.EDIT: Permission.DRAFT, Step.SUBMIT: Permission.DRAFT, Step.APPROVE: Permission.APPROVE,
        Step.RETURN: Permission.APPROVE, Step.REJECT: Permission.APPROVE, Step.SEND: Permission.SEND,
        Step.PAUSE: Permission.SEND, Step.RESUME: Permission.SEND, Step.STOP: Permission.SEND,
    }  # fmt: skip
    for step, permission in wanted.items():
        if (one.state, step) in TRANSITIONS and desk.may(permission):
            steps.add(str(step))
    if not one.written:
        steps -= {Step.EDIT, Step.RETURN}
    if one.state in (State.DRAFT, State.RETURNED, State.SUBMITTED) and desk.may(Permission.SEND):
        steps.add("hasten")
    if one.state in CORRECTABLE and desk.may(Permission.SEND) and (one.started_at or not one.written):
        steps.add("correct")
    if one.state is State.SUBMITTED:
        if not desk.may(Permission.APPROVE):
            reasons.append(Phrase("An approver who has not written at it must approve it."))
        elif why := desk.service.tracker.objection(desk.operator, one):
            steps.discard(Step.APPROVE)
            reasons.append(why)
    try:
        fits(one, desk.exercise.name if desk.exercise else "")
    except BroadcastError as problem:
        steps -= {Step.SUBMIT, Step.SEND, Step.RESUME, "hasten", "correct", *(() if one.written else (Step.APPROVE,))}
        if one.state not in (State.DONE, State.STOPPED, State.REJECTED):
            reasons.append(problem.phrase)
    return Offer(frozenset(steps), tuple(reasons))


def _template(name: str) -> Template:
    return Template(name) if name in (*KINDS, Template.EXERCISE) else Template.FREE


def _read(desk: Desk, id: int, missing_is_404: bool = True) -> Broadcast:
    try:
        return desk.service.tracker.read(desk.operator, id)
    except NoSuchBroadcast:
        if missing_is_404:
            abort(404)
        raise


def _beginning(one: Broadcast) -> str:
    """What a broadcast says, so far as one sees which it is."""
    text = one.texts.get(one.fallback) or next(iter(one.texts.values()), "")
    if not text:
        return gettext("Points that have opened or closed")
    return text if len(text) <= BEGINNING else f"{text[:BEGINNING].rstrip()}..."


def _map(audience: Audience, desk: Desk) -> Mapping[str, Any] | None:
    """Dots of the city's postcodes, of which some are covered; None where a map says nothing."""
    known: Gazetteer = desk.service.snapshot.read_if_changed(desk.now).gazetteer
    if audience.everyone or audience.empty:
        return None
    codes = audience.codes(known)
    dots = [
        (place.lon * cos(radians(59.3)), -place.lat, place.code in codes)
        for place in known.places
        if place.kind is PlaceKind.POSTCODE
        and not place.is_box
        and not place.is_coarse
        and (place.district or place.code in codes)
    ]
    if not any(covered for _, _, covered in dots):
        return None
    left, top = min(x for x, _, _ in dots), min(y for _, y, _ in dots)
    scale = 1000 / (max(x for x, _, _ in dots) - left or 1)
    placed = [(round((x - left) * scale) + 20, round((y - top) * scale) + 20, covered) for x, y, covered in dots]
    return {"dots": sorted(placed, key=lambda dot: dot[2]), "width": 1040, "height": max(y for _, y, _ in placed) + 20}

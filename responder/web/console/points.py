"""The points: what each is and tells residents, and how an operator changes that in two steps, say and read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import HiddenField, RadioField, SelectField, SelectMultipleField, StringField
from wtforms.widgets import CheckboxInput, ListWidget

from responder.actions import watch
from responder.actions.publish import (
    NOTES,
    Change,
    ChangeRefused,
    Foresight,
    Notes,
    Overtaken,
    confirm,
    next_time,
    note,
    set_point,
)
from responder.actions.watch import Shown
from responder.core.access import Permission
from responder.core.points import ACTIVATED, PROPOSED, SERVICES, Kind, Point, Status, YesNo
from responder.core.problem import Problem
from responder.store.queries import point_from_json
from responder.store.snapshot import View
from responder.store.tables import AuditRow
from responder.web.access import access
from responder.web.console import language
from responder.web.console.desk import Desk
from responder.web.console.forms import Form
from responder.web.console.language import gettext, lazy

# In the order of the buttons: what a point is most likely to become first.
STATUSES = (Status.OPEN, Status.FULL, Status.ON_CALL, Status.CLOSED, Status.MOVED, Status.PLANNED)
ANSWERS = ("step_free", "pets", "overnight", "backup_power")
FIELDS = {
    "status": lazy("Status"), "opens": lazy("Opens"), "closes": lazy("Closes"), "hours": lazy("Regular hours"),
    "phone": lazy("Phone"), "moved_to": lazy("Moved to"), "note": lazy("Note to residents"),
    "services": lazy("Services"), "step_free": lazy("Step-free"), "pets": lazy("Pets allowed"),
    "overnight": lazy("Open overnight"), "backup_power": lazy("Backup power"), "capacity": lazy("Room for"),
    "visitors": lazy("Visitors now"), "staffing": lazy("Staff"), "supplies": lazy("Supplies"),
    "name": lazy("Name"), "address": lazy("Address"), "postcode": lazy("Postcode"), "city": lazy("City"),
    "district": lazy("District"), "municipality": lazy("Municipality"), "lat": lazy("Latitude"),
    "lon": lazy("Longitude"), "coordinate_accuracy": lazy("Margin of the coordinate"), "hidden": lazy("Hidden address"),
    "contact": lazy("Contact"), "confirmed_at": lazy("Confirmed"),
}  # fmt: skip
CHANGED = (
    "status", "opens", "closes", "hours", "phone", "moved_to", "note", "services", "step_free", "pets", "overnight",
    "backup_power",
)  # fmt: skip
FACTS = (
    "address", "postcode", "city", "district", "hours", "phone", "moved_to", "note", "services", "step_free", "pets",
    "overnight", "backup_power", "contact",
)  # fmt: skip
DONE = {
    "import": lazy("taken in from a file"), "confirm": lazy("confirmed: nothing has changed"), "note": lazy("noted"),
    "propose": lazy("proposed"), "propose again": lazy("proposed again"), "plan": lazy("accepted as planned"),
    "reject": lazy("rejected"),
}  # fmt: skip


class ChangeForm(Form):
    """What a point is to be. `seen`: the version that was looked at."""

    status = RadioField(FIELDS["status"])
    opens = StringField(
        FIELDS["opens"], description=lazy("Only if it opens later: 14:20, or 2026-11-24T14:20. Empty: open now.")
    )
    closes = StringField(
        FIELDS["closes"], description=lazy("When this opening ends: 20:00, or 2026-11-24T20:00. Empty: no end is set.")
    )
    hours = StringField(
        FIELDS["hours"],
        description=lazy("The hours of the door, such as Mo-Su 08:00-20:00 or Mo-Fr 07:00-22:00; Sa-Su 10:00-18:00."),
    )
    phone = StringField(FIELDS["phone"], description=lazy("Needed if the point is on call."))
    moved_to = StringField(FIELDS["moved_to"], description=lazy("Name and address. Needed if the point has moved."))
    note = StringField(
        FIELDS["note"], description=lazy("A short sentence in the text, where it fits. Callers do not hear it.")
    )
    services = SelectMultipleField(
        FIELDS["services"], widget=ListWidget(prefix_label=False), option_widget=CheckboxInput(), validate_choice=False
    )
    step_free = SelectField(FIELDS["step_free"], validate_choice=False)
    pets = SelectField(FIELDS["pets"], validate_choice=False)
    overnight = SelectField(FIELDS["overnight"], validate_choice=False)
    backup_power = SelectField(FIELDS["backup_power"], validate_choice=False)
    decision = StringField(lazy("Decision"), description=lazy("What it rests on, such as a number. May be empty."))
    decided_by = StringField(lazy("Decided by"), description=lazy("Who decided, if it was not you. May be empty."))
    seen = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.status.choices = [(s.value, gettext(s.value)) for s in STATUSES]
        self.services.choices = [(code, gettext(code)) for code in SERVICES]
        for name in ANSWERS:
            self[name].choices = [(answer.value, answer_name(answer)) for answer in YesNo]

    @classmethod
    def of(cls, point: Point, version: int, now: datetime, zone: str, status: Status | None = None) -> "ChangeForm":
        """What `point` is now, but with another `status`, under which its times may mean nothing any more."""
        status = status or point.status
        keep = status in ACTIVATED and point.status in ACTIVATED
        data = {name: getattr(point, name) for name in ("hours", "phone", "moved_to", "note")}
        data |= {name: getattr(point, name).value for name in ANSWERS}
        times = {name: typed(getattr(point, name), now, zone) if keep else "" for name in ("opens", "closes")}
        return cls(
            formdata=None, status=status.value, services=list(point.services), seen=str(version), **data, **times
        )

    @property
    def version(self) -> int:
        """The version that was looked at; 0, which no point has, if the form does not say."""
        return version_of(self.seen.data)

    def change(self) -> Change:
        """What was filled in. Raises ChangeRefused."""
        if self.status.data not in [status.value for status in STATUSES]:
            raise ChangeRefused("choose what the point is to be")
        texts = {name: self[name].data or "" for name in ("opens", "closes", "hours", "note", "phone", "moved_to")}
        answers = {name: self[name].data or YesNo.UNKNOWN.value for name in ANSWERS}
        return Change(Status(self.status.data), services=tuple(self.services.data or ()), **texts, **answers)

    def carried(self) -> list[tuple[str, str]]:
        """(name, value) of all that the review shows and does not ask again."""
        single = [name for name in self._fields if name not in ("services", "csrf_token", "decision", "decided_by")]
        return [(name, self[name].data or "") for name in single] + [("services", s) for s in self.services.data or ()]


class NotesForm(Form):
    """What operators tell each other of a point. `was`: what stood in the form, as JSON, when it was made."""

    visitors = StringField(FIELDS["visitors"], render_kw={"inputmode": "numeric", "class": "short"})
    capacity = StringField(FIELDS["capacity"], render_kw={"inputmode": "numeric", "class": "short"})
    staffing = StringField(FIELDS["staffing"])
    supplies = StringField(FIELDS["supplies"])
    was = HiddenField()

    @classmethod
    def of(cls, point: Point) -> "NotesForm":
        """What is noted of `point`."""
        noted = {name: getattr(point, name) for name in NOTES}
        values = {name: "" if value is None else str(value) for name, value in noted.items()}
        return cls(formdata=None, **values, was=json.dumps(values, ensure_ascii=False))

    def notes(self) -> Notes:
        """What was filled in otherwise than it was: somebody else may have noted the rest anew meanwhile."""
        try:
            found = json.loads(self.was.data or "{}")
        except (ValueError, RecursionError):  # brackets within brackets
            found = {}
        was = found if isinstance(found, dict) else {}
        said = {name: self[name].data or "" for name in NOTES}
        return Notes(**{name: text for name, text in said.items() if text != was.get(name)})


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a point before and after, as people read it; `same` if it stays."""

    label: str
    before: str
    after: str
    same: bool


def answer_name(answer: YesNo) -> str:
    """Yes, no, or that nobody has said."""
    return gettext("not known") if answer is YesNo.UNKNOWN else gettext(answer.value)


def version_of(text: str | None) -> int:
    """The version that a form says was looked at; 0, which no point has, if it says none."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def typed(at: datetime | None, now: datetime, zone: str) -> str:
    """A time as an operator would write it, so that it is read back as the same; "" for none, or one that is over."""
    if at is None or at <= now:
        return ""
    local = at.astimezone(ZoneInfo(zone))
    written = (f"{local:%H:%M}", f"{local:%Y-%m-%dT%H:%M}", local.isoformat())
    return next((text for text in written if next_time(text, now, zone) == at), written[-1])


def readable(name: str, value: Any, now: datetime, zone: str) -> str:
    """The value of a point's field in words; "-" for none."""
    match value:
        case None | "" | ():
            return "-"
        case datetime():
            return language.moment(value, now, zone)
        case YesNo():
            return answer_name(value)
        case Status():
            return gettext(value.value)
        case bool():
            return gettext("yes") if value else gettext("no")
        case tuple():
            return ", ".join(gettext(code) for code in value)
    return str(value)


def differences(
    before: Point | None, after: Point, now: datetime, zone: str, names: Sequence[str] = tuple(FIELDS)
) -> list[Difference]:
    """The fields `names` of a point, before and after."""
    pairs = [(name, getattr(before, name) if before else None, getattr(after, name)) for name in names]
    return [
        Difference(str(FIELDS[name]), readable(name, old, now, zone), readable(name, new, now, zone), old == new)
        for name, old, new in pairs
    ]


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    service = desk.service
    database, zone = service.database, service.settings.timezone
    stale_after = service.manner.stale_after
    foresight = Foresight(database, service.messages, service.manner, service.settings)

    def shown(id: str) -> Shown:
        return watch.point(database, id, zone, stale_after, desk.now) or abort(404)

    def view() -> View:
        return service.snapshot.read_if_changed(desk.now)

    def page(found: Shown, notes: NotesForm | None = None) -> str:
        point = found.point
        told = {} if point.status in PROPOSED else foresight.answers(view(), point.id, desk.now)
        return render_template(
            "point.html",
            shown=found,
            told_now=told,
            statuses=STATUSES,
            changeable=point.status not in PROPOSED and desk.may(Permission.POINT, point.district),
            notes=notes or NotesForm.of(point),
            facts=differences(None, point, desk.now, zone, FACTS),
        )

    def form_page(found: Shown, form: ChangeForm, theirs: Overtaken | None = None, mine: Point | None = None) -> str:
        clash = differences(theirs.point, mine, desk.now, zone, CHANGED) if theirs and mine else []
        return render_template("point_change.html", shown=found, form=form, theirs=theirs, clash=clash)

    def again(id: str, form: ChangeForm, problem: Problem) -> tuple[str, int]:
        """The form once more, with what was typed; on what the point is by now, if somebody was faster."""
        found = shown(id)
        if not isinstance(problem, Overtaken):
            form.blame(problem)
            return form_page(found, form), 422
        try:
            mine = foresight.preview(view(), id, form.change(), desk.operator, desk.now).after
        except ChangeRefused as fault:
            form.blame(fault)
            mine = None
        form.seen.data = str(problem.version)
        return form_page(found, form, problem, mine), 409

    def saved_before(id: str, form: ChangeForm, problem: Problem) -> bool:
        """Whether this is the second click on a button whose first has saved just this."""
        if not isinstance(problem, Overtaken) or (problem.who, problem.version) != (
            desk.operator.name, form.version + 1,
        ):  # fmt: skip
            return False
        try:
            mine = foresight.preview(view(), id, form.change(), desk.operator, desk.now).after
        except ChangeRefused:
            return False
        return all(one.same for one in differences(problem.point, mine, desk.now, zone, CHANGED))

    @console.get("/points")
    @access(Permission.VIEW)
    def points() -> str:
        everything = watch.points(database, zone, stale_after, desk.now)
        words, district = request.args.get("q", ""), request.args.get("district", "")
        mine = desk.operator.districts if request.args.get("mine") else ()
        found = watch.matching(everything, words, (district,) if district else mine)
        by_district = [(name, list(rows)) for name, rows in groupby(found, key=lambda one: one.point.district)]
        districts = sorted({one.point.district for one in everything if one.point.district})
        return render_template(
            "points.html", groups=by_district, count=len(found), of=len(everything), districts=districts, words=words,
            district=district, mine=bool(mine),
        )  # fmt: skip

    @console.get("/points/<id>")
    @access(Permission.VIEW)
    def point(id: str) -> str:
        return page(shown(id))

    @console.get("/points/<id>/history")
    @access(Permission.VIEW)
    def point_history(id: str) -> str:
        found = shown(id)
        lines = [line(row, desk.now, zone) for row in watch.history(database, id)]
        return render_template("point_history.html", shown=found, lines=lines)

    @console.route("/points/<id>/change", methods=["GET", "POST"])
    @access(Permission.POINT)
    def point_change(id: str) -> str:
        found = shown(id)
        form = ChangeForm() if request.method == "POST" else ChangeForm.of(found.point, found.version, desk.now, zone)
        return form_page(found, form)

    @console.post("/points/<id>/review")
    @access(Permission.POINT)
    def point_review(id: str) -> str | tuple[str, int]:
        """Shows what the change would do; writes nothing."""
        found = shown(id)
        form = ChangeForm()
        wanted = request.form.get("become", "")
        if wanted in [status.value for status in STATUSES]:  # a button of the point's page: all else stays
            seen = form.version
            form = ChangeForm.of(found.point, seen or found.version, desk.now, zone, Status(wanted))
        try:
            told = foresight.preview(view(), id, form.change(), desk.operator, desk.now, form.version)
        except ChangeRefused as problem:
            return again(id, form, problem)
        rows = differences(told.before, told.after, desk.now, zone, CHANGED)
        return render_template("point_review.html", shown=found, form=form, preview=told, rows=rows)

    @console.post("/points/<id>/save")
    @access(Permission.POINT)
    def point_save(id: str) -> AnyResponse | tuple[str, int]:
        shown(id)
        form = ChangeForm()
        try:
            set_point(
                database, id, form.change(), desk.operator, zone, desk.now, form.decision.data or "",
                form.decided_by.data or "", form.version,
            )  # fmt: skip
        except ChangeRefused as problem:
            if not saved_before(id, form, problem):
                return again(id, form, problem)
        if desk.exercise:
            flash(gettext("Saved in the exercise. Residents hear nothing of it."))
        else:
            flash(gettext("Saved. Residents get the new answer from now on."))
        return redirect(url_for("console.point", id=id), 303)

    @console.post("/points/<id>/confirm")
    @access(Permission.POINT)
    def point_confirm(id: str) -> AnyResponse:
        """One tap: it is still what it was said to be."""
        found = shown(id)
        confirm(database, id, desk.operator, zone, desk.now, version_of(request.form.get("seen")))
        is_open = found.standing.kind in (Kind.OPEN, Kind.CLOSES_SOON)
        said = gettext("{name} is confirmed: still open.") if is_open else gettext("{name} is confirmed as it is.")
        flash(said.format(name=found.point.name))
        overview = request.form.get("back") == "overview"
        return redirect(url_for("console.overview") if overview else url_for("console.point", id=id), 303)

    @console.post("/points/<id>/notes")
    @access(Permission.POINT)
    def point_notes(id: str) -> AnyResponse | tuple[str, int]:
        found, form = shown(id), NotesForm()
        if not any(name in request.form for name in NOTES):
            form.blame(Problem("nothing was filled in"))
            return page(found, form), 422
        try:
            note(database, id, form.notes(), desk.operator, zone, desk.now)
        except ChangeRefused as problem:
            form.blame(problem)
            return page(found, form), 422
        flash(gettext("Noted. Residents are not told."))
        return redirect(url_for("console.point", id=id), 303)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a point's history. `exercise`: nobody but operators knew of it."""

    row: AuditRow
    done: str
    exercise: bool
    fields: tuple[Difference, ...]


def line(row: AuditRow, now: datetime, zone: str) -> Line:
    """What a line of the audit log says, in words."""
    after = point_from_json(row.after)
    before = point_from_json(row.before) if row.before else None
    action = row.action.removeprefix("exercise: ")
    status = action.removeprefix("set ")
    told = str(DONE.get(action, action))
    done = gettext("set to {status}").format(status=gettext(status)) if status != action else told
    changed = (one for one in differences(before, after, now, zone) if one.before != one.after)
    return Line(row, done, row.action.startswith("exercise: "), tuple(changed))

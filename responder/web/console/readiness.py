"""The districts' half-year report: proposals, decisions, coverage, what is missing, and who signed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import BooleanField, HiddenField, RadioField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]
from wtforms.widgets import CheckboxInput, ListWidget

from responder.actions.readiness import (
    LONGEST_REASON,
    Planner,
    Proposal,
    Unfit,
    deadline,
    read_date,
    subject,
    summary,
)
from responder.core.access import Forbidden, Permission, require
from responder.core.coverage import RADII, District, districts, total
from responder.core.halfyear import HalfYear, half_year, read_half_year
from responder.core.places import Match, Place
from responder.core.points import SERVICES, Point, YesNo
from responder.core.pointsfile import LONGEST, for_public, write_points_file, write_points_geojson
from responder.core.problem import Problem
from responder.store.queries import read_points
from responder.store.readiness import Report, lines, read_reports, signed_state
from responder.web.access import access
from responder.web.console import district_map, services
from responder.web.console.desk import Desk
from responder.web.console.district_map import MARGIN, SIZES, SPANS, Shown
from responder.web.console.forms import Form, Press
from responder.web.console.language import current, gettext, lazy

_ANSWERS = [SelectChoice(answer.value, lazy(answer.value)) for answer in (YesNo.YES, YesNo.NO, YesNo.UNKNOWN)]
_LACKS = {
    "address": lazy("An address for every point"),
    "hours": lazy("Opening hours for every point"),
    "backup_power": lazy("Backup power at every point"),
    "step_free": lazy("A step-free way into every point"),
    "capacity": lazy("How many people every point holds"),
}

_ACTIONS = (  # as the log calls them
    lazy("propose"), lazy("edit proposal"), lazy("plan"), lazy("take back"), lazy("propose again"), lazy("deadline"),
    lazy("sign"),
)  # fmt: skip


def _text(label: str, name: str = "", hint: str = "", **attributes: str) -> StringField:
    most = {"maxlength": str(LONGEST[name])} if name else {}
    return StringField(label, description=hint, render_kw={**most, **attributes})


class ProposalForm(Form):
    """A point that a district proposes. What may stand in it is for the action to say."""

    name = _text(lazy("Name of the point"), "name")
    address = _text(lazy("Street address"), "address")
    postcode = _text(lazy("Postcode"), hint=lazy("Five digits."), inputmode="numeric", autocomplete="off")
    city = _text(lazy("Post town"), "city")
    find = _text(
        lazy("Postcode, station or district to start from"),
        hint=lazy("It gives a first position. Then click on the map to put it right."),
    )
    lat = _text(lazy("Latitude"), hint=lazy("Such as 59.2417"), inputmode="decimal")
    lon = _text(lazy("Longitude"), hint=lazy("Such as 18.0942"), inputmode="decimal")
    coordinate_accuracy = _text(
        lazy("How exact the position is, in metres"),
        hint=lazy("50 if it is taken from the door or a proper map."),
        inputmode="numeric",
    )
    services = SelectMultipleField(
        lazy("What there is"), widget=ListWidget(prefix_label=False), option_widget=CheckboxInput(), choices=[],
        validate_choice=False,
    )  # fmt: skip
    capacity = _text(lazy("How many people it holds"), inputmode="numeric")
    contact = _text(lazy("Contact for the premises"), "contact", lazy("For operators only; residents never see it."))
    hours = _text(lazy("Opening hours of the door"), "hours", lazy("Such as Mo-Su 08:00-20:00. Empty: always."))
    phone = _text(lazy("Phone number of the point"), "phone", lazy("Residents may be told it."))
    step_free = RadioField(lazy("Step-free"), choices=_ANSWERS, default="unknown", validate_choice=False)
    pets = RadioField(lazy("Pets allowed"), choices=_ANSWERS, default="unknown", validate_choice=False)
    overnight = RadioField(lazy("One can stay overnight"), choices=_ANSWERS, default="unknown", validate_choice=False)
    backup_power = RadioField(lazy("Backup power"), choices=_ANSWERS, default="unknown", validate_choice=False)
    note = _text(lazy("Note to residents"), "note")
    hidden = BooleanField(lazy("Keep the address secret"), description=lazy("Residents are told to call instead."))
    near = HiddenField(default="0")
    at_lat = HiddenField()
    at_lon = HiddenField()
    seen = HiddenField()

    @property
    def proposal(self) -> Proposal:
        """What was filled in."""
        names = Proposal.__dataclass_fields__
        values = {name: self._fields[name].data for name in names}
        texts = {name: value or "" for name, value in values.items() if name not in ("services", "hidden")}
        return Proposal(**texts, services=tuple(self.services.data or ()), hidden=bool(self.hidden.data))

    @property
    def chosen(self) -> tuple[float, float] | None:
        """The position that is filled in, if it is one."""
        return _position(self.lat.data, self.lon.data)

    def choose(self, lat: float, lon: float, margin: int) -> None:
        """Fill in a position that is right to `margin` metres."""
        self.lat.data, self.lon.data = f"{lat:.5f}", f"{lon:.5f}"
        self.coordinate_accuracy.data = str(margin)


class ReasonForm(Form):
    """Why."""

    reason = TextAreaField(lazy("Why, in at least 10 characters"), render_kw={"maxlength": LONGEST_REASON})


class DecisionForm(Form):
    """On what a decision rests."""

    decision = StringField(lazy("Decision it rests on (may be empty)"), render_kw={"maxlength": LONGEST_REASON})


class SignForm(Form):
    """What whoever signs wants to say."""

    note = TextAreaField(lazy("Note to the report (may be empty)"), render_kw={"maxlength": LONGEST_REASON})


class DeadlineForm(Form):
    """When a report is due."""

    deadline = StringField(lazy("Report is due on"), render_kw={"type": "date"})


@dataclass(frozen=True, slots=True)
class Matter:
    """A line of the checklist: what should be so, whether it is, and what is missing."""

    text: str
    done: bool
    missing: str = ""
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Stand:
    """A district's report as a page shows it."""

    district: District
    report: Report
    due: date
    overdue: bool
    days: int

    @property
    def signed(self) -> bool:
        """Whether somebody signed."""
        return self.report.signed_at is not None


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    settings = desk.service.settings
    planner = Planner(desk.service.database, settings.timezone, settings.real)

    def places() -> tuple[Place, ...]:
        return desk.service.snapshot.read_if_changed(desk.now).gazetteer.places

    def points() -> list[Point]:
        with desk.service.database.read() as connection:
            return [point for point, _ in read_points(connection)]

    def today() -> date:
        return desk.now.astimezone(ZoneInfo(settings.timezone)).date()

    def period() -> HalfYear:
        written = request.args.get("period", "")
        return read_half_year(written) if written else half_year(today())

    def stands(chosen: HalfYear) -> list[Stand]:
        with desk.service.database.read() as connection:
            found = [point for point, _ in read_points(connection)]
            reports = read_reports(connection, str(chosen))
        return [
            _stand(district, reports.get(district.name, Report(district.name, str(chosen))), chosen, today())
            for district in districts(places(), found)
        ]

    def stand(district: str, chosen: HalfYear) -> Stand:
        return next((s for s in stands(chosen) if s.district.name == district), None) or abort(404)

    def page(template: str, **values: Any) -> str:
        return render_template(template, day=_day, percent=_percent, service=service, **values)

    def service(code: str) -> str:
        return services.told(desk, code)

    @console.get("/readiness")
    @access(Permission.VIEW)
    def readiness() -> str:
        chosen = period()
        found = stands(chosen)
        covered = total([s.district.coverage for s in found], places(), points())
        return page("readiness.html", stands=found, period=chosen, total=covered, radii=RADII, matters=matters)

    @console.get("/readiness/report")
    @access(Permission.VIEW)
    def readiness_report() -> str:
        chosen, name = period(), request.args.get("district", "")
        found = [stand(name, chosen)] if name else stands(chosen)
        with desk.service.database.read() as connection:
            states = {s.district.name: signed_state(connection, subject(s.district.name, chosen)) for s in found}
        return page(
            "report.html",
            stands=found,
            period=chosen,
            radii=RADII,
            matters=matters,
            states=states,
            name=name,
            today=today(),
        )

    def matters(district: District) -> list[Matter]:
        return _matters(district, service)

    def listed() -> list[Point]:
        name = request.args.get("district", "")
        return [point for point in points() if not name or point.district == name]

    def file(text: str, kind: str, ending: str, name: str) -> Response:
        answer = Response(text, mimetype=kind)
        answer.headers["Content-Disposition"] = f"attachment; filename={name}-{today().isoformat()}.{ending}"
        return answer

    @console.get("/readiness/public.csv")
    @access(Permission.VIEW)
    def public_csv() -> Response:
        return file("\ufeff" + write_points_file(for_public(listed())), "text/csv", "csv", "trygghetspunkter")

    @console.get("/readiness/public.geojson")
    @access(Permission.VIEW)
    def public_geojson() -> Response:
        text = write_points_geojson(for_public(listed()))
        return file(text, "application/geo+json", "geojson", "trygghetspunkter")

    @console.get("/readiness/points.csv")
    @access(Permission.PLAN)
    def points_csv() -> Response:
        return file("\ufeff" + write_points_file(listed()), "text/csv", "csv", "points")

    @console.get("/readiness/points.geojson")
    @access(Permission.PLAN)
    def points_geojson() -> Response:
        return file(write_points_geojson(listed()), "application/geo+json", "geojson", "points")

    def district_page(name: str, chosen: HalfYear, **forms: Form) -> str:
        found = stand(name, chosen)
        with desk.service.database.read() as connection:
            state = signed_state(connection, subject(name, chosen)) if found.signed else None
            history = lines(connection, subject(name, chosen))
        made = {"sign": SignForm(), "reopen": ReasonForm(), "deadline": DeadlineForm(data={"deadline": found.due})}
        return page(
            "district.html", stand=found, district=found.district, period=chosen, radii=RADII, state=state,
            changed=state is not None and dict(state) != summary(found.district), history=history, matters=matters,
            size=SIZES["large"], forms={**made, **forms},
        )  # fmt: skip

    @console.get("/readiness/district/<district>")
    @access(Permission.VIEW)
    def readiness_district(district: str) -> str:
        return district_page(district, period())

    def district_step(
        district: str, name: str, form: Form, field: str, step: Callable[[HalfYear], object], done: str
    ) -> AnyResponse | tuple[str, int]:
        chosen = period()
        if form.validate_on_submit():
            try:
                step(chosen)
            except Forbidden:
                raise
            except Problem as problem:
                form.blame(problem, field)
            else:
                flash(done)
                return redirect(url_for("console.readiness_district", district=district, period=str(chosen)), 303)
        return district_page(district, chosen, **{name: form}), 422

    @console.post("/readiness/district/<district>/deadline")
    @access(Permission.DECIDE)
    def readiness_deadline(district: str) -> AnyResponse | tuple[str, int]:
        form = DeadlineForm()

        def step(chosen: HalfYear) -> object:
            due = read_date(form.deadline.data or "")
            return planner.set_deadline(desk.operator, district, chosen, due, desk.now)

        return district_step(district, "deadline", form, "deadline", step, gettext("The deadline is set."))

    @console.post("/readiness/district/<district>/sign")
    @access(Permission.DECIDE, fresh=True)
    def readiness_sign(district: str) -> AnyResponse | tuple[str, int]:
        form = SignForm()
        return district_step(
            district, "sign", form, "note",
            lambda chosen: planner.sign(desk.operator, district, chosen, form.note.data or "", desk.now),
            gettext("The report is signed."),
        )  # fmt: skip

    @console.post("/readiness/district/<district>/reopen")
    @access(Permission.DECIDE)
    def readiness_reopen(district: str) -> AnyResponse | tuple[str, int]:
        form = ReasonForm()
        return district_step(
            district, "reopen", form, "reason",
            lambda chosen: planner.reopen(desk.operator, district, chosen, form.reason.data or "", desk.now),
            gettext("The report is open again."),
        )  # fmt: skip

    @console.get("/readiness/district/<district>/map.svg")
    @access(Permission.VIEW)
    def readiness_map(district: str) -> Response:
        size = request.args.get("size", "large")
        shown = _shown(district, request.args)
        known, found = places(), points()
        where = district_map.frame(shown, size if size in SIZES else "large", known, found) or abort(404)
        chosen = _position(request.args.get("lat"), request.args.get("lon"))
        return Response(district_map.drawn(where, district, known, found, chosen), mimetype="image/svg+xml")

    def mapped(form: ProposalForm, district: str) -> str | None:
        """What a click on the map or a button beside it did to the form; None if it was not one of these."""
        for size in SIZES:
            if f"{size}.x" in request.form:
                where = district_map.frame(_shown(district, request.form), size, places(), points()) or abort(404)
                x, y = (_pixels(request.form.get(f"{size}.{axis}", "")) for axis in "xy")
                if not x and not y:
                    return gettext("The map was not clicked on. Without a mouse, write the latitude and longitude.")
                form.choose(*where.position(x, y), MARGIN)
                return gettext("Chosen on the map: right to about {n} m, since the map has no streets.").format(
                    n=MARGIN
                )
        if "zoom" in request.form:
            form.near.data = request.form["zoom"] if request.form["zoom"] in map(str, range(len(SPANS))) else "0"
            if form.chosen:
                form.at_lat.data, form.at_lon.data = form.lat.data, form.lon.data
            return ""
        if "look_up" in request.form:
            return looked_up(form)
        return None

    def looked_up(form: ProposalForm) -> str:
        gazetteer = desk.service.snapshot.read_if_changed(desk.now).gazetteer
        found = gazetteer.recognise(form.find.data or "")
        if found.match not in (Match.FOUND, Match.UNSURE):
            problem = Problem("no such place is known, or several are; write a postcode")
            form.blame(problem, "find")
            return ""
        place = found.places[0]
        form.choose(place.lat, place.lon, place.accuracy)
        form.at_lat.data, form.at_lon.data = form.lat.data, form.lon.data
        form.near.data = form.near.data if form.near.data in ("1", "2") else "1"
        where = f"{place.name} ({place.near or place.district})" if place.near or place.district else place.name
        return gettext("{place} is known to about {n} m. Click on the map, or write a better position.").format(
            place=where, n=place.accuracy
        )

    def proposal_page(form: ProposalForm, district: str, said: str, point: Point | None) -> str:
        form.services.choices = [SelectChoice(code, service(code)) for code in SERVICES]
        form.near.data = form.near.data if form.near.data in ("0", "1", "2") else "0"
        view = {"near": form.near.data, "at_lat": form.at_lat.data or "", "at_lon": form.at_lon.data or ""}
        if form.chosen:
            view |= {"lat": str(form.chosen[0]), "lon": str(form.chosen[1])}
        return page("proposal.html", form=form, district=district, said=said, point=point, view=view, sizes=SIZES)

    def proposing(
        form: ProposalForm, district: str, point: Point | None, save: Callable[[], Point]
    ) -> str | AnyResponse | tuple[str, int]:
        """Show the form, do what was clicked on, or save."""
        said, status = "", 200
        if form.validate_on_submit():
            moved = mapped(form, district)
            if moved is None:
                try:
                    saved = save()
                except Unfit as problem:
                    for fault in problem.faults:
                        form.blame(Problem(fault.phrase), fault.field)
                    status = 422
                else:
                    flash(gettext("{name} is proposed as {id}.").format(name=saved.name, id=saved.id))
                    return redirect(url_for("console.readiness_point", id=saved.id), 303)
            else:
                said, status = moved, 422 if any(form.wrong()) else 200
        elif request.method == "POST":
            status = 422
        return proposal_page(form, district, said, point), status

    @console.route("/readiness/district/<district>/propose", methods=["GET", "POST"])
    @access(Permission.PLAN)
    def readiness_propose(district: str) -> str | AnyResponse | tuple[str, int]:
        stand(district, half_year(today()))
        require(desk.operator, Permission.PLAN, district)
        form = ProposalForm()
        return proposing(
            form, district, None, lambda: planner.propose(desk.operator, district, form.proposal, desk.now)
        )

    def known(id: str) -> tuple[Point, int]:
        with desk.service.database.read() as connection:
            found = {point.id: (point, version) for point, version in read_points(connection)}
        return found.get(id) or abort(404)

    @console.route("/readiness/point/<id>/edit", methods=["GET", "POST"])
    @access(Permission.PLAN)
    def readiness_edit(id: str) -> str | AnyResponse | tuple[str, int]:
        point, version = known(id)
        if request.method == "GET":
            values = {name: getattr(Proposal.of(point), name) for name in Proposal.__dataclass_fields__}
            return proposal_page(ProposalForm(data={**values, "seen": str(version)}), point.district, "", point)
        form = ProposalForm()
        return proposing(
            form, point.district, point,
            lambda: planner.edit(desk.operator, id, form.proposal, _version(form.seen.data), desk.now),
        )  # fmt: skip

    def point_page(id: str, **forms: Form) -> str:
        point, version = known(id)
        with desk.service.database.read() as connection:
            history = lines(connection, id, 20)
        made = {"plan": DecisionForm(), "reject": ReasonForm(), "back": ReasonForm()}
        return page("candidate.html", point=point, version=version, history=history, forms={**made, **forms})

    @console.get("/readiness/point/<id>")
    @access(Permission.VIEW)
    def readiness_point(id: str) -> str:
        return point_page(id)

    def point_step(
        id: str, name: str, form: Form, field: str, step: Callable[[int], Point], done: str
    ) -> AnyResponse | tuple[str, int]:
        known(id)
        if form.validate_on_submit():
            try:
                after = step(_version(request.form.get("seen")))
            except Forbidden:
                raise
            except Problem as problem:
                form.blame(problem, field)
            else:
                flash(done.format(name=after.name))
                return redirect(url_for("console.readiness_point", id=id), 303)
        return point_page(id, **{name: form}), 422

    @console.post("/readiness/point/<id>/plan")
    @access(Permission.DECIDE)
    def readiness_plan(id: str) -> AnyResponse | tuple[str, int]:
        form = DecisionForm()
        return point_step(
            id, "plan", form, "decision",
            lambda seen: planner.decide(desk.operator, id, True, form.decision.data or "", seen, desk.now),
            gettext("{name} is now planned."),
        )  # fmt: skip

    @console.post("/readiness/point/<id>/reject")
    @access(Permission.DECIDE)
    def readiness_reject(id: str) -> AnyResponse | tuple[str, int]:
        form = ReasonForm()
        return point_step(
            id, "reject", form, "reason",
            lambda seen: planner.decide(desk.operator, id, False, form.reason.data or "", seen, desk.now),
            gettext("{name} is rejected."),
        )  # fmt: skip

    @console.post("/readiness/point/<id>/back")
    @access(Permission.DECIDE)
    def readiness_back(id: str) -> AnyResponse | tuple[str, int]:
        form = ReasonForm()
        return point_step(
            id, "back", form, "reason",
            lambda seen: planner.take_back(desk.operator, id, form.reason.data or "", seen, desk.now),
            gettext("{name} is a candidate again."),
        )  # fmt: skip

    @console.post("/readiness/point/<id>/again")
    @access(Permission.PLAN)
    def readiness_again(id: str) -> AnyResponse | tuple[str, int]:
        return point_step(
            id, "again", Press(), "",
            lambda seen: planner.propose_again(desk.operator, id, seen, desk.now),
            gettext("{name} is a candidate again."),
        )  # fmt: skip


def _stand(district: District, report: Report, period: HalfYear, today: date) -> Stand:
    due = deadline(report, period)
    return Stand(district, report, due, report.signed_at is None and due < today, abs((due - today).days))


def _matters(district: District, service: Callable[[str], str]) -> list[Matter]:
    waiting = gettext("{n} to decide on").format(n=len(district.candidates))
    none = gettext("No point in the district")
    found = [
        Matter(gettext("A planned or open point"), bool(district.counted), none),
        Matter(gettext("A decision on every proposal"), not district.candidates, waiting, district.candidates),
    ]
    names = ", ".join(service(code) for code in district.missing_services)
    nowhere = gettext("Nowhere in the district: {services}").format(services=names)
    found.append(
        Matter(gettext("Information, phone charging and basic medical care"), not district.missing_services, nowhere)
    )
    for what, without in district.lacking.items():
        missing = gettext("{n} of {all} points without").format(n=len(without), all=len(district.counted))
        found.append(Matter(str(_LACKS[what]), not without, missing, without))
    return found


def _shown(district: str, values: Mapping[str, str]) -> Shown:
    near = values.get("near", "0")
    centre = _position(values.get("at_lat"), values.get("at_lon"))
    return Shown(district, int(near) if near in ("1", "2") else 0, centre)


def _position(lat: str | None, lon: str | None) -> tuple[float, float] | None:
    try:
        position = float((lat or "").replace(",", ".")), float((lon or "").replace(",", "."))
    except ValueError:
        return None
    return position if 55 <= position[0] <= 69.5 and 10.5 <= position[1] <= 24.5 else None


def _pixels(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def _version(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _day(day: date) -> str:
    """31 december 2026, in the language of the page."""
    return format_date(day, "d MMMM y", locale=current())


def _percent(share: float) -> str:
    """0.345 as 34 %, never rounded up to all or down to none."""
    whole = round(share * 100)
    whole = min(whole, 99) if share < 1 else whole
    whole = max(whole, 1) if share > 0 else whole
    return f"{whole} %" if current() == "sv" else f"{whole}%"

"""Hosts: who at a point is asked by text whether it is open; adding one, and removing one."""

from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import SelectField, StringField

from responder.actions import hosts as action
from responder.actions import watch
from responder.core.access import Permission
from responder.core.numbers import countries
from responder.store.vault import masked
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.forms import Form
from responder.web.console.language import gettext, lazy


class HostForm(Form):
    """Somebody to ask."""

    point = SelectField(lazy("Point"), validate_choice=False)
    name = StringField(lazy("Name"), render_kw={"maxlength": action.LONGEST_NAME, "autocomplete": "off"})
    number = StringField(
        lazy("Mobile number"),
        description=lazy("International form, such as +46701234567."),
        render_kw={"inputmode": "tel", "autocomplete": "off"},
    )


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    service = desk.service
    database, vault, settings = service.database, service.vault, service.settings

    def phone(sealed: bytes) -> str:
        try:
            return masked(vault.open(sealed))
        except ValueError:
            return "-"

    def page(form: HostForm) -> str:
        stale_after = timedelta(hours=settings.stale_after)
        known = watch.points(database, settings.timezone, stale_after, desk.now)
        mine = [one.point for one in known if desk.may(Permission.POINT, one.point.district)]
        form.point.choices = [(one.id, f"{one.name}, {one.district}" if one.district else one.name) for one in mine]
        found = action.listed(database, desk.operator)
        return render_template("hosts.html", form=form, hosts=found, phone=phone, changes={one.id for one in mine})

    @console.get("/hosts")
    @access(Permission.VIEW)
    def hosts() -> str:
        return page(HostForm(formdata=None))

    @console.post("/hosts/add")
    @access(Permission.POINT)
    def host_add() -> AnyResponse | tuple[str, int]:
        form, allowed = HostForm(), countries(settings.subscribe_countries)
        point, name, number = form.point.data or "", form.name.data or "", form.number.data or ""
        try:
            action.add(database, vault, desk.operator, point, name, number, allowed, desk.now)
        except action.BadHost as problem:
            form.blame(problem, "number" if "number" in problem.phrase.values else "")
            return page(form), 422
        flash(gettext("{name} is asked by text whether the point is open, while it is said to be.").format(name=name))
        return redirect(url_for("console.hosts"), 303)

    @console.post("/hosts/remove")
    @access(Permission.POINT)
    def host_remove() -> AnyResponse:
        action.remove(database, desk.operator, request.form.get("id", 0, type=int), desk.now)
        flash(gettext("Removed: no more questions go there, and the number is forgotten."))
        return redirect(url_for("console.hosts"), 303)

"""Who runs the service: accounts, their roles, and the invitations that let them in."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from flask import Blueprint, abort, flash, render_template, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse
from wtforms import BooleanField, Field, RadioField, SelectMultipleField, StringField, TelField
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]
from wtforms.validators import DataRequired, StopValidation
from wtforms.widgets import CheckboxInput, ListWidget

from responder.actions import staff
from responder.core.access import Permission, Role, require, sends
from responder.core.problem import Problem
from responder.store.accounts import Account
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.forms import Form, needed
from responder.web.console.language import gettext, lazy

MEANS = {
    Role.VIEWER: lazy("viewer: looks, and changes nothing"),
    Role.REPORTER: lazy("reporter: also changes the points of their districts and writes in the shift log"),
    Role.COMMUNICATOR: lazy("communicator: also writes and sends broadcasts, and answers what was not understood"),
    Role.APPROVER: lazy("approver: also approves broadcasts and points, and begins exercises"),
    Role.ADMIN: lazy("admin: also manages operators"),
}
_FIELDS: dict[type[Problem], str] = {
    staff.BadName: "name", staff.BadPhone: "phone", staff.BadDistricts: "districts", staff.OwnRole: "role",
    staff.LastAdmin: "role",
}  # fmt: skip


class Boxes(SelectMultipleField):  # type: ignore[misc,unused-ignore]
    """Several of several, as boxes."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


def _a_role(_form: Form, field: Field) -> None:
    if field.data not in set(Role):
        raise StopValidation(gettext("Choose a role."))


class Trust(Form):
    """A role, and the districts that it is held for."""

    role = RadioField(
        lazy("Role"),
        [_a_role],
        choices=[SelectChoice(role.value, means) for role, means in MEANS.items()],
        validate_choice=False,
        description=lazy("Each role may also do what the one before it may."),
    )
    districts = Boxes(
        lazy("Districts"),
        description=lazy("Whose points they may change. None chosen: all; a reporter needs at least one."),
    )

    def offer(self, districts: Iterable[str]) -> None:
        """The districts to choose among."""
        self.districts.choices = [SelectChoice(name) for name in sorted(districts)]


class NewOperator(Trust):
    """Somebody who is to come in."""

    name = StringField(
        lazy("Name"),
        [needed()],
        description=lazy("What they sign in with and what stands in the audit log, such as anna.berg."),
        render_kw={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "maxlength": 40},
    )
    phone = TelField(
        lazy("Mobile phone"),
        description=lazy("If they are to get a text when points have to be confirmed. Like +46701234567."),
        render_kw={"autocomplete": "off"},
    )


class NewPhone(Form):
    """Another phone."""

    phone = TelField(
        lazy("New mobile phone"),
        [needed()],
        description=lazy("International form, such as +46701234567."),
        render_kw={"autocomplete": "off"},
    )


class Disable(Form):
    """The end of an account."""

    sure = BooleanField(lazy("Yes, this account shall end"), [DataRequired(lazy("Tick the box if you mean it."))])


Form_ = TypeVar("Form_", bound=Trust)


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    database = desk.service.database

    @console.get("/operators")
    @access(Permission.OPERATORS)
    def operators() -> str:
        require(desk.operator, Permission.OPERATORS)
        found = staff.accounts(database, desk.operator)
        return render_template("operators.html", accounts=found, state=state_of(desk), sends=sends)

    @console.get("/operators/new")
    @access(Permission.OPERATORS)
    def new_operator() -> str:
        return render_template("operator_new.html", form=filled(NewOperator()))

    @console.post("/operators/new")
    @access(Permission.OPERATORS, fresh=True)
    def add_operator() -> str | tuple[str, int]:
        form = filled(NewOperator())
        if form.validate():
            role, named = Role(form.role.data), form.districts.data or []
            name = (form.name.data or "").strip().lower()
            try:
                staff.add(
                    database, desk.service.vault, desk.operator, name, role, desk.now, named, form.phone.data or "",
                    with_token=False,
                )  # fmt: skip
            except staff.StaffError as problem:
                blame(form, problem)
            else:
                return invited(name)
        return render_template("operator_new.html", form=form), 422

    @console.get("/operators/account/<name>")
    @access(Permission.OPERATORS)
    def operator(name: str) -> str:
        return shown(known(name))

    @console.post("/operators/account/<name>")
    @access(Permission.OPERATORS, fresh=True)
    def set_role(name: str) -> AnyResponse | tuple[str, int]:
        account = known(name)
        form = filled(Trust(), account)
        if form.validate():
            try:
                staff.set_role(database, desk.operator, name, Role(form.role.data), desk.now, form.districts.data or [])
            except staff.StaffError as problem:
                blame(form, problem)
            else:
                flash(gettext("Role and districts of {name} are saved.").format(name=name))
                return redirect(url_for("console.operator", name=name), 303)
        return shown(account, form), 422

    @console.post("/operators/account/<name>/phone")
    @access(Permission.OPERATORS, fresh=True)
    def set_phone(name: str) -> AnyResponse | tuple[str, int]:
        account, form = known(name), NewPhone()
        if form.validate():
            try:
                return phone_set(name, form.phone.data or "")
            except staff.BadPhone as problem:
                blame(form, problem)
        return shown(account, phone=form), 422

    @console.post("/operators/account/<name>/phone/remove")
    @access(Permission.OPERATORS, fresh=True)
    def remove_phone(name: str) -> AnyResponse:
        return phone_set(known(name).operator.name, "")

    @console.post("/operators/account/<name>/invite")
    @access(Permission.OPERATORS, fresh=True)
    def invite_operator(name: str) -> str:
        return invited(known(name).operator.name)

    @console.post("/operators/account/<name>/sessions")
    @access(Permission.OPERATORS, fresh=True)
    def end_sessions(name: str) -> AnyResponse:
        ended = desk.door.end_sessions(desk.operator, known(name).operator.name, desk.now)
        flash(gettext("{name} is signed out. Browsers: {n}.").format(name=name, n=ended))
        return redirect(url_for("console.operator", name=name), 303)

    @console.post("/operators/account/<name>/token")
    @access(Permission.OPERATORS, fresh=True)
    def withdraw_token(name: str) -> AnyResponse:
        staff.withdraw_token(database, desk.operator, known(name).operator.name, desk.now)
        flash(gettext("The command-line token of {name} opens nothing any more.").format(name=name))
        return redirect(url_for("console.operator", name=name), 303)

    @console.post("/operators/account/<name>/disable")
    @access(Permission.OPERATORS, fresh=True)
    def disable_operator(name: str) -> AnyResponse | tuple[str, int]:
        account, form = known(name), Disable()
        if form.validate():
            try:
                staff.disable(database, desk.operator, name, desk.now)
            except staff.StaffError as problem:
                form.blame(problem)
            else:
                flash(gettext("{name} is disabled. Nothing they had opens anything any more.").format(name=name))
                return redirect(url_for("console.operators"), 303)
        return shown(account, disable=form), 422

    def known(name: str) -> Account:
        try:
            return staff.account(database, desk.operator, name)
        except staff.NoSuchAccount:
            abort(404)

    def filled(form: Form_, account: Account | None = None) -> Form_:
        """With the districts to choose among, and those the account has, known or not."""
        gazetteer = desk.service.snapshot.read_if_changed(desk.now).gazetteer
        form.offer({*gazetteer.districts, *(account.operator.districts if account else ())})
        return form

    def phone_set(name: str, phone: str) -> AnyResponse:
        said = staff.set_phone(database, desk.service.vault, desk.operator, name, phone, desk.now)
        flash(
            gettext("{name} has the phone {phone} now. The one before orders nothing any more.").format(
                name=name, phone=said
            )
            if said
            else gettext("{name} has no phone now.").format(name=name)
        )
        return redirect(url_for("console.operator", name=name), 303)

    def as_held(account: Account) -> Trust:
        held = account.operator
        return filled(Trust(formdata=None, role=held.role.value, districts=list(held.districts)), account)

    def shown(
        account: Account, form: Trust | None = None, disable: Disable | None = None, phone: NewPhone | None = None
    ) -> str:
        return render_template(
            "operator.html",
            account=account,
            form=form or as_held(account),
            disable=disable or Disable(formdata=None),
            new_phone=phone or NewPhone(formdata=None),
            phone=staff.masked_phone(desk.service.vault, account.phone_sealed),
            state=state_of(desk)(account),
            own=account.operator.name == desk.operator.name,
        )

    def invited(name: str) -> str:
        """The page that shows the address of an invitation, once."""
        token = desk.door.invite(desk.operator, name, desk.now)
        return render_template("operator_invited.html", name=name, address=invitation_address(desk, token))


def blame(form: Form, problem: Problem) -> None:
    """An error beside the field that it is about."""
    form.blame(problem, next((field for kind, field in _FIELDS.items() if isinstance(problem, kind)), ""))


def invitation_address(desk: Desk, token: str) -> str:
    """What somebody opens to choose a password."""
    return f"{desk.service.settings.public_url}{url_for('console.invitation', token=token)}"


def state_of(desk: Desk) -> Callable[[Account], str]:
    """What became of an account, in words."""

    def said(account: Account) -> str:
        if account.disabled_at is not None:
            return gettext("disabled")
        if account.has_password:
            return gettext("active")
        if account.invite_until > desk.now.timestamp():
            return gettext("invited, has not come in yet")
        return gettext("command line only") if account.has_token else gettext("not invited")

    return said

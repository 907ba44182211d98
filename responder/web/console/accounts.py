"""Signing in and out, invitations, the second factor, and one's own account."""

from contextlib import suppress
from datetime import timedelta

import segno
from flask import Blueprint, flash, render_template, request, url_for
from flask import session as cookie
from markupsafe import Markup
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse
from wtforms import Field, PasswordField, StringField
from wtforms.validators import StopValidation

from responder.actions.signin import LONGEST, SHORTEST, BadCode, SignInFailed, TooManyAttempts, new_secret
from responder.core.problem import Problem
from responder.web.access import Access, access
from responder.web.console.desk import Desk, safe_next
from responder.web.console.forms import Form, needed
from responder.web.console.language import LANGUAGES, gettext, lazy
from responder.web.console.turnstile import Turnstile

PENDING = "pending"  # the secret that is being set up, sealed: a cookie is signed, but whoever has it can read it
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "Mac"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
_NEW = {"autocomplete": "new-password", "maxlength": LONGEST}


class SignIn(Form):
    """Who one is, and what proves it."""

    name = StringField(lazy("Name"), [needed()], render_kw={"autocomplete": "username", "autocapitalize": "none"})
    password = PasswordField(lazy("Password"), [needed()], render_kw={"autocomplete": "current-password"})
    code = StringField(
        lazy("Code from your app"),
        description=lazy("Six digits, or a recovery code. Leave it empty if you have no app yet."),
        render_kw={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"},
    )


def _alike(form: Form, field: Field) -> None:
    if field.data != form["password"].data:
        raise StopValidation(gettext("The two are not alike. Write the same one twice."))


class Choose(Form):
    """A new password, twice."""

    password = PasswordField(lazy("New password"), [needed()], render_kw=_NEW)
    again = PasswordField(
        lazy("The new password once more"),
        [needed(), _alike],
        render_kw=_NEW,
    )


class Change(Choose):
    """A new password instead of the present one."""

    old = PasswordField(lazy("Present password"), [needed()], render_kw={"autocomplete": "current-password"})


class FirstCode(Form):
    """What the app shows once it knows the secret."""

    code = StringField(
        lazy("The six digits that the app shows now"),
        [needed()],
        render_kw={"autocomplete": "one-time-code", "inputmode": "numeric", "class": "short"},
    )


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    turnstile = Turnstile()
    _add_door(console, desk, turnstile)
    _add_invitation(console, desk, turnstile)
    _add_second_factor(console, desk)
    _add_account(console, desk, turnstile)

    @console.get("/accessibility")
    @access(Access.PUBLIC)
    def accessibility() -> str:
        return render_template("accessibility.html")


def _add_door(console: Blueprint, desk: Desk, turnstile: Turnstile) -> None:
    @console.route("/sign-in", methods=["GET", "POST"])
    @access(Access.PUBLIC)
    def sign_in() -> str | AnyResponse | tuple[str, int]:
        if desk.signed_in:
            return redirect(safe_next(request.args.get("next")), 303)
        form = SignIn()
        if form.validate_on_submit():
            agent = request.user_agent.string
            try:
                with turnstile.turn():
                    token = desk.door.sign_in(
                        form.name.data or "", form.password.data or "", form.code.data or "", desk.address, agent,
                        desk.now,
                    )  # fmt: skip
            except (SignInFailed, TooManyAttempts) as problem:
                form.blame(problem)
            else:
                _leave()
                cookie["id"] = token
                return redirect(safe_next(request.args.get("next")), 303)
        return render_template("sign_in.html", form=form), _status()

    @console.post("/sign-out")
    @access(Access.SIGNED_IN)
    def sign_out() -> AnyResponse:
        desk.door.sign_out(desk.session, desk.now)
        _leave()
        flash(gettext("You are signed out."))
        return redirect(url_for("console.sign_in"), 303)

    @console.post("/language")
    @access(Access.PUBLIC)
    def choose_language() -> AnyResponse:
        chosen = request.form.get("language", "")
        if chosen in LANGUAGES:
            cookie["language"] = chosen
            if desk.signed_in:
                desk.door.set_language(desk.operator, chosen)
        return redirect(safe_next(request.form.get("next")), 303)

    @console.route("/prove", methods=["GET", "POST"])
    @access(Access.SIGNED_IN, fresh=True)
    def prove() -> AnyResponse:
        return redirect(safe_next(request.args.get("next")), 303)


def _add_invitation(console: Blueprint, desk: Desk, turnstile: Turnstile) -> None:
    @console.route("/invitation/<token>", methods=["GET", "POST"])
    @access(Access.PUBLIC)
    def invitation(token: str) -> str | AnyResponse | tuple[str, int]:
        invited = desk.door.invited(token, desk.now)
        form = Choose()
        if form.validate_on_submit():
            try:
                with turnstile.turn():
                    desk.door.accept(token, form.password.data or "", desk.now)
            except Problem as problem:
                form.blame(problem, "password")
            else:
                if desk.signed_in:  # somebody else, on this computer
                    desk.door.sign_out(desk.session, desk.now)
                _leave()
                flash(gettext("Your password is chosen. Sign in with it."))
                return redirect(url_for("console.sign_in"), 303)
        return render_template("invitation.html", form=form, name=invited.name, shortest=SHORTEST), _status()


def _add_second_factor(console: Blueprint, desk: Desk) -> None:
    @console.route("/second-factor", methods=["GET", "POST"])
    @access(Access.SIGNED_IN, fresh=True)
    def second_factor() -> str | AnyResponse | tuple[str, int]:
        secret, form = pending(), FirstCode()
        if not secret:
            secret = new_secret()
            cookie[PENDING] = desk.service.vault.seal(secret)
            if request.method == "POST":  # the page is an old one: its secret is gone
                return redirect(url_for("console.second_factor"), 303)
        if form.validate_on_submit():
            try:
                codes = desk.door.enrol(desk.session, secret, form.code.data or "", desk.now)
            except BadCode as problem:
                form.blame(problem, "code")
            else:
                cookie.pop(PENDING)
                return render_template("recovery_codes.html", codes=codes)
        address = desk.door.totp_address(desk.operator, secret)
        groups = [secret[n : n + 4] for n in range(0, len(secret), 4)]
        page = render_template("second_factor.html", form=form, qr=_qr(address), groups=groups, again=_has_totp(desk))
        return page, _status()

    def pending() -> str:
        sealed = cookie.get(PENDING)
        with suppress(ValueError):  # by a key that is gone
            return desk.service.vault.open(sealed) if isinstance(sealed, bytes) else ""
        return ""

    @console.post("/account/codes")
    @access(Access.SIGNED_IN, fresh=True)
    def new_codes() -> str | AnyResponse:
        if not _has_totp(desk):
            return redirect(url_for("console.second_factor"), 303)
        return render_template("recovery_codes.html", codes=desk.door.new_recovery_codes(desk.session, desk.now))


def _add_account(console: Blueprint, desk: Desk, turnstile: Turnstile) -> None:
    @console.get("/account")
    @access(Access.SIGNED_IN)
    def account() -> str:
        return shown(Change(formdata=None))

    @console.post("/account/password")
    @access(Access.SIGNED_IN)
    def change_password() -> AnyResponse | tuple[str, int]:
        form = Change()
        if form.validate_on_submit():
            try:
                with turnstile.turn():
                    desk.door.change_password(desk.session, form.old.data or "", form.password.data or "", desk.now)
            except (SignInFailed, TooManyAttempts) as problem:
                form.blame(problem, "old")
            except Problem as problem:
                form.blame(problem, "password")
            else:
                flash(gettext("Your password is changed. You are signed out everywhere else."))
                return redirect(url_for("console.account"), 303)
        return shown(form), 422

    @console.post("/account/sessions")
    @access(Access.SIGNED_IN)
    def end_session() -> AnyResponse:
        """One of one's own, or all but this one."""
        which = request.form.get("session", "")
        ended = desk.door.end_sessions(desk.operator, desk.operator.name, desk.now, which, desk.session.id_hash)
        flash(gettext("Signed out elsewhere: {n}.").format(n=ended))
        return redirect(url_for("console.account"), 303)

    def shown(form: Change) -> str:
        end = (desk.at(desk.session.created_at) or desk.now) + timedelta(hours=desk.service.settings.session_hours)
        return render_template(
            "account.html",
            form=form,
            session=desk.session,
            sessions=desk.door.sessions(desk.operator, desk.now),
            codes_left=desk.door.codes_left(desk.operator),
            end=end,
            browser=browser,
            shortest=SHORTEST,
        )


def browser(agent: str) -> str:
    """A browser in words: "Firefox, Windows"."""
    name = next((said for mark, said in _BROWSERS if mark in agent), "")
    system = next((said for mark, said in _SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (name, system))) or gettext("unknown browser")


def _qr(address: str) -> Markup:
    """`address` as a QR code, in an SVG without styles."""
    code = segno.make(address, error="m", micro=False)
    return Markup(code.svg_inline(scale=5, light="#fff", svgclass="qr"))  # noqa: S704 - only squares


def _has_totp(desk: Desk) -> bool:
    return desk.session.has_totp


def _status() -> int:
    return 200 if request.method in ("GET", "HEAD") else 422


def _leave() -> None:
    """Nothing of a session stays in the browser but the language."""
    language = cookie.get("language")
    cookie.clear()
    if language in LANGUAGES:
        cookie["language"] = language

"""The operator console: pages made on the server, that work without scripts and without any other host.

A file a subject; each adds its views to the blueprint. No rule lives here: pages ask the actions and tell what they
say.
"""

import hashlib
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, abort, g, redirect, render_template, request, send_from_directory, url_for
from flask_wtf import CSRFProtect
from flask_wtf.csrf import CSRFError
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from responder.actions.signin import Door
from responder.core.access import Forbidden, Permission
from responder.core.problem import Problem
from responder.core.words import inert as inert
from responder.store.engine import NotUpgraded, StoreAway
from responder.store.exercises import Exercise
from responder.store.vault import masked
from responder.web.access import Access, access
from responder.web.console import (
    accounts,
    audit,
    broadcasts,
    deliveries,
    exercises,
    hosts,
    inbox,
    language,
    operators,
    overview,
    points,
    prints,
    readiness,
    shift,
)
from responder.web.console.desk import Desk
from responder.web.console.forms import Press
from responder.wiring import Service

STATIC = Path(__file__).parent / "static"
PAGES = (
    overview, points, hosts, exercises, broadcasts, deliveries, inbox, shift, audit, readiness, prints, operators,
    accounts,
)  # fmt: skip
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
    )
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=(), payment=(), usb=()",
}


def install(app: Flask, service: Service) -> None:
    """The console of `service` in `app`."""
    app.config.update(
        SESSION_COOKIE_NAME="__Host-responder" if _https(service) else "responder",
        SESSION_COOKIE_SECURE=_https(service),
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_HTTPONLY=True,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        language.gettext, language.ngettext, newstyle=False
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    CSRFProtect(app).exempt(app.blueprints["hooks"])  # these have the provider's signature
    console = blueprint(service)
    app.register_blueprint(console)
    app.add_url_rule("/", "front", access(Access.PUBLIC)(lambda: redirect(url_for("console.front"))))
    app.register_error_handler(CSRFError, _stale_form)
    app.after_request(_with_headers)
    if _https(service):
        app.after_request(_only_https)


def blueprint(service: Service) -> Blueprint:
    """The routes of the console."""
    console = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")
    desk = Desk(service, Door(service.database, service.vault, service.settings))
    console.before_request(desk.guard)
    console.context_processor(partial(context, desk))
    console.errorhandler(Problem)(_told)
    console.errorhandler(StoreAway)(_away)
    console.errorhandler(HTTPException)(_failed)

    @console.get("/static/<path:name>")
    @access(Access.PUBLIC)
    def static(name: str) -> Response:
        return send_from_directory(STATIC, name, max_age=31_536_000)

    @console.get("/")
    @access(Access.SIGNED_IN)
    def front() -> AnyResponse:
        return redirect(url_for("console.overview"))

    @console.get("/<path:unknown>")
    @access(Access.SIGNED_IN)
    def nowhere(unknown: str) -> AnyResponse:
        abort(404)  # in a page of ours, which Flask would not show for an address that no view has

    for page in PAGES:
        page.add(console, desk)
    return console


def context(desk: Desk) -> dict[str, Any]:
    """What every template may use."""
    settings = desk.service.settings
    zone = settings.timezone
    return {
        "_": language.gettext,
        "language": g.get("language", language.DEFAULT),
        "languages": language.LANGUAGES,
        "operator": desk.operator if g.get("session") else None,
        "may": desk.may,
        "can": Permission,
        "demo": not settings.real,
        "settings": settings,
        "now": g.get("now") or desk.service.clock(),
        "at": desk.at,
        "clock": lambda at: language.clock(_time(desk, at), zone),
        "moment": lambda at: language.moment(_time(desk, at), g.now, zone),
        "ago": lambda at: language.ago(_time(desk, at), g.now),
        "number": language.number,
        "deed": language.deed,
        "masked": masked,
        "told": _said,
        "asset": _asset,
        "press": Press(formdata=None),  # also where what was sent cannot be read: its error gets a page too
        "exercise": _exercise(desk),
    }


def _exercise(desk: Desk) -> Exercise | None:
    """The exercise that goes on: on every page, whoever looks, and on errors as far as it is known."""
    try:
        return desk.exercise
    except StoreAway:
        return None


def _time(desk: Desk, at: datetime | float | None) -> datetime | None:
    return at if isinstance(at, datetime) else desk.at(at)


def _said(value: Any) -> str:
    """A phrase or a problem in the language of the page."""
    return str(value.told(language.gettext)) if hasattr(value, "told") else language.gettext(str(value))


def _asset(name: str) -> str:
    """The address of a static file, another one whenever its content is."""
    digest = _digests.get(name)
    if digest is None:
        digest = _digests[name] = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{url_for('console.static', name=name)}?{quote(digest)}"


_digests: dict[str, str] = {}


def _told(problem: Problem) -> tuple[str, int]:
    """An error that no form has caught, on a page of its own: nothing was changed."""
    status = 403 if isinstance(problem, Forbidden) else 409
    return render_template("problem.html", text=problem.told(language.gettext)), status


def _away(error: StoreAway) -> tuple[str, int]:
    text = language.gettext(
        "The database cannot be reached. Nothing was changed. Residents still get answers, from the latest facts."
    )
    if isinstance(error, NotUpgraded):
        text = language.gettext("The database is not ready for this version. Run `responder init` on the server.")
    return render_template("problem.html", text=text), 503


def _failed(error: HTTPException) -> tuple[str, int] | AnyResponse:
    if error.code is not None and error.code < 400:
        return error.get_response()
    text = str(_SAID.get(error.code or 500, _SAID[500]))
    return render_template("problem.html", text=text), error.code or 500


_SAID = {
    403: language.lazy("You may not do this. Ask an approver or an admin."),
    404: language.lazy("There is no such page."),
    405: language.lazy("This page takes no such request."),
    500: language.lazy("That did not work."),
}


def _stale_form(error: CSRFError) -> tuple[str, int]:
    """A form that is not from our page, or from before the session changed."""
    g.setdefault("now", None)
    text = language.gettext("This form is too old. Go back, load the page anew, and send it again.")
    return render_template("problem.html", text=text), 400


def _with_headers(response: Response) -> Response:
    if response.location:  # never to the host that a request claims to be for
        response.location = response.location.removeprefix(request.host_url.rstrip("/"))
    if request.blueprint == "hooks" and request.endpoint != "hooks.audio":  # no browser reads these
        response.headers["Cache-Control"], response.headers["X-Content-Type-Options"] = "no-store", "nosniff"
        return response
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "console.static" and response.status_code < 400:  # not the page that says it is missing
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    elif request.endpoint != "hooks.audio":
        response.headers["Cache-Control"] = "no-store"
    return response


def _only_https(response: Response) -> Response:
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _https(service: Service) -> bool:
    return service.settings.public_url.startswith("https://")

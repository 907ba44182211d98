"""What every page of the console has: who looks at it, when, in which language, and whether they may.

`guard` runs before every view. It reads the view's rule, the session of the cookie, and lets nobody in by default.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit

from flask import abort, current_app, flash, g, redirect, render_template, request, url_for
from flask import session as cookie
from werkzeug.wrappers import Response as AnyResponse

from responder.actions.signin import Door, SignInFailed, TooManyAttempts
from responder.core.access import Operator, Permission, holds, may
from responder.store.accounts import Session
from responder.store.exercises import Exercise, current
from responder.web.access import Access, Rule
from responder.web.console.language import DEFAULT, LANGUAGES, gettext
from responder.wiring import Service

OPEN = (Access.PUBLIC, Access.DEMO)
PROOF = "proof"  # the field of a form that carries a code along


@dataclass(frozen=True)
class Desk:
    """What the pages work with."""

    service: Service
    door: Door

    @property
    def now(self) -> datetime:
        """When this request began, in UTC."""
        return cast(datetime, g.now)

    @property
    def signed_in(self) -> bool:
        """Whether anybody is."""
        return g.get("session") is not None

    @property
    def operator(self) -> Operator:
        """Who is signed in."""
        return self.session.operator

    @property
    def session(self) -> Session:
        """Their session."""
        return cast(Session, g.session)

    @property
    def exercise(self) -> Exercise | None:
        """The exercise that goes on. Raises StoreAway."""
        if "exercise" not in g:
            with self.service.database.read() as connection:
                g.exercise = current(connection)
        return cast("Exercise | None", g.exercise)

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return request.remote_addr or "-"

    def may(self, permission: Permission, district: str | None = None) -> bool:
        """Whether who is signed in may, at all or in a district."""
        if not self.signed_in:
            return False
        if district is None:
            return holds(self.operator.role, permission)
        return may(self.operator, permission, district)

    def at(self, seconds: float | None) -> datetime | None:
        """A stored time as a datetime."""
        return datetime.fromtimestamp(seconds, UTC) if seconds else None

    def guard(self) -> AnyResponse | str | tuple[str, int] | None:
        """Nobody comes in who may not, nor an address with a NUL, which names nothing and no database stores."""
        g.now = self.service.clock()
        g.language = cookie.get("language", DEFAULT)
        g.session = None
        if "\0" in request.path or any("\0" in value for value in request.args.values()):
            abort(404)
        rule: Rule | None = getattr(current_app.view_functions.get(request.endpoint or ""), "access", None)
        if rule is None:
            abort(500, "a route without a rule")
        if request.endpoint == "console.static":
            return None
        g.session = found = self.door.session(cookie.get("id", ""), g.now, rule.polls)
        if found is not None:
            g.language = found.language if found.language in LANGUAGES else DEFAULT
        if rule.who in OPEN:
            return None
        if found is None:
            return self._sign_in_first(rule)
        if self.door.needs_totp(found) and rule.who is not Access.SIGNED_IN:
            return redirect(url_for("console.second_factor"))
        if not rule.admits(found.operator.role):
            abort(403)
        return self._prove_first(found) if rule.fresh and not self.door.is_fresh(found, g.now) else None

    def _sign_in_first(self, rule: Rule) -> AnyResponse | tuple[str, int]:
        if rule.polls:
            return "", 401
        if cookie.get("id") and "_flashes" not in cookie:  # they were signed in, and may not know that it has ended
            if request.method == "POST":
                flash(gettext("You have been signed out, and nothing was saved. Sign in and do it once more."))
            else:
                flash(gettext("You have been signed out. Sign in to go on."))
        back = request.full_path.rstrip("?") if request.method == "GET" else ""
        return redirect(url_for("console.sign_in", next=back or None))

    def _prove_first(self, session: Session) -> str | tuple[str, int] | None:
        """The page that asks for a code and then does what was asked for; None if the form brought one that fits."""
        error, status = "", 200
        if secret := request.form.get(PROOF, ""):
            try:
                g.session = self.door.prove(session, secret, g.now)
                return None
            except (SignInFailed, TooManyAttempts) as problem:
                error, status = problem.told(gettext), 422
        carried = [(n, v) for n, v in request.form.items(multi=True) if n not in (PROOF, "csrf_token")]
        page = render_template("prove.html", carried=carried, error=error, method=request.method, totp=session.has_totp)
        return page, status


def safe_next(target: str | None) -> str:
    """Where to go on to: a path of ours, never another host."""
    try:
        parts = urlsplit(target or "")
    except ValueError:  # half an address
        return url_for("console.overview")
    ours = target and target.isprintable() and target.startswith("/") and not target.startswith("//")
    own = ours and not parts.scheme and not parts.netloc and "\\" not in str(target)
    return target if own else url_for("console.overview")  # type: ignore[return-value]

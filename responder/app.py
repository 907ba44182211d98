"""create_app: Flask around the service, with plain error pages."""

import logging

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter

from responder import logs
from responder.ports import Clock
from responder.settings import Settings, load_settings
from responder.web import console, hooks, simulator, trace, wellknown
from responder.web.gate import Gate
from responder.web.worker import LONGEST_BODY
from responder.wiring import utc_now, wire

MAX_BODY = LONGEST_BODY  # bytes, of an operator's form; less of what a provider sends: web/signed.py


def create_app(settings: Settings | None = None, clock: Clock = utc_now) -> Flask:
    """The WSGI application. Raises SettingsError or FlowError: a service that would mislead does not start."""
    settings = settings or load_settings()
    if not logging.getLogger().handlers:  # whoever starts us may have set that up
        logs.install(settings.log_format, settings.secrets)
    service = wire(settings, clock)
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, SECRET_KEY=service.settings.secret_key)
    app.session_interface = _PageSessions()
    app.url_map.converters["int"] = _Id
    if hops := service.settings.proxy_hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    app.register_blueprint(hooks.blueprint(service))
    app.register_blueprint(wellknown.blueprint(service))
    console.install(app, service)
    if not service.settings.real:
        app.register_blueprint(simulator.blueprint(service))
    app.register_error_handler(HTTPException, _plain)
    app.extensions["responder"] = service
    gate = Gate(app.wsgi_app, service)
    app.wsgi_app, app.extensions["gate"] = gate, gate  # type: ignore[method-assign]
    trace.install(app)
    return app


class _PageSessions(SecureCookieSessionInterface):
    """Cookies are for people's pages; a provider's request has none, and is not looked at for one."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """None, which becomes an empty session nobody can write to, for providers."""
        return None if request.path.startswith(("/twilio/", "/46elks/")) else super().open_session(app, request)


class _Id(IntegerConverter):
    """A number in an address. The database holds none of more digits, so that there is no such page."""

    regex = r"[0-9]{1,18}"


def _plain(error: HTTPException) -> Response:
    return Response(f"{error.code} {error.name}\n", error.code or 500, mimetype="text/plain")

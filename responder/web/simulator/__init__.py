"""Phones in the browser, for the demo: they text and call the real webhooks with signed requests.

A real service does not have these routes (see `create_app`). Only numbers that are kept for films can be played, and
what is sent to them is read from the outbox: nothing of this goes out to anybody.
"""

import re
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyotp
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, render_template, request, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from responder.actions.signin import Door
from responder.core.onetime import STEP
from responder.core.segments import cost
from responder.core.telling import Spoken
from responder.ports import TWILIO
from responder.store import simulator as store
from responder.store.accounts import Credentials, credentials
from responder.store.engine import StoreAway
from responder.web.access import Access, access
from responder.web.console import context, language
from responder.web.console.desk import Desk
from responder.web.handset import Handset, LineError, Post, in_process
from responder.wiring import Service

HERE = Path(__file__).parent
CREATOR = "responder demo"  # who made the accounts whose codes are shown: no account can have such a name
PASSWORD = "DEMO_PASSWORD"  # noqa: S105 - the key of the configuration under which the demo leaves it
FIRST = ("+46701740610", "+46701740611", "+46846500410")
_MOBILES, _LANDLINES = "+4670174", "+46846500"
_TURN = re.compile(r"/twilio/voice/[0-9]{1,4}")
_CALL = re.compile(r"CA[0-9a-f]{32}")
_LONGEST, _MOST = 1600, 50  # characters of a text; deliveries that a phone shows


@dataclass
class _Tap:
    """Lets requests through to the app of this process, and keeps the last document that came back."""

    app: Flask
    document: str = field(default="")

    def __call__(self, path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        """See handset.Post. In a context of its own: this request must not show through in that one."""
        post: Post = in_process(self.app.test_client())
        status, self.document = Context().run(post, path, form, headers)
        return status, self.document


def blueprint(service: Service) -> Blueprint:
    """The routes of the simulator for `service`, which must not be a real one."""
    if service.settings.real:
        raise ValueError("the simulator is for the demo")
    simulator = Blueprint("simulator", __name__, url_prefix="/simulator", template_folder="templates")
    desk = Desk(service, Door(service.database, service.vault, service.settings))
    simulator.before_request(desk.guard)
    simulator.context_processor(partial(_context, desk))
    simulator.errorhandler(LineError)(_broken)
    simulator.errorhandler(StoreAway)(_away)

    @simulator.get("")
    @access(Access.DEMO)
    def phones() -> str:
        return render_template("simulator.html", first=FIRST, said=_said(), **_operators(service, desk.now))

    @simulator.get("/static/<path:name>")
    @access(Access.DEMO)
    def static(name: str) -> Response:
        return send_from_directory(HERE / "static", name)

    @simulator.get("/codes")
    @access(Access.DEMO, polls=True)
    def codes() -> str:
        return render_template("_codes.html", **_operators(service, desk.now))

    @simulator.post("/text")
    @access(Access.DEMO)
    def text() -> AnyResponse:
        handset, tap = _handset(service)
        body = request.form.get("text", "").strip()[:_LONGEST]
        if not body:
            abort(422)
        reply = handset.text(body)
        sent, got = cost(body).segments, cost(reply).segments if reply else 0
        return jsonify(
            reply=reply, document=tap.document, at=_clock(service, desk.now),
            sent=_segments(sent), segments=_segments(got),
        )  # fmt: skip

    @simulator.post("/call")
    @access(Access.DEMO)
    def call() -> AnyResponse:
        handset, tap = _handset(service)
        handset.call()
        return _spoken(handset, tap)

    @simulator.post("/turn")
    @access(Access.DEMO)
    def turn() -> AnyResponse:
        handset, tap = _handset(service, calling=True)
        handset.action = request.form.get("action", "")
        keys, words = request.form.get("keys", ""), request.form.get("speech", "").strip()[:_LONGEST]
        if not _TURN.fullmatch(handset.action) or not re.fullmatch("[0-9*#]{0,20}", keys):
            abort(422)
        if keys:
            handset.keys(keys)
        elif words:
            handset.speak(words)
        else:
            handset.silence()
        return _spoken(handset, tap)

    @simulator.post("/hang-up")
    @access(Access.DEMO)
    def hang_up() -> AnyResponse:
        handset, _ = _handset(service, calling=True)
        handset.hang_up()
        return jsonify(ended=True)

    @simulator.post("/answered/<int:id>")
    @access(Access.DEMO)
    def answered(id: int) -> AnyResponse:
        """A key on a call of ours."""
        handset, tap = _handset(service)
        keys = request.form.get("keys", "")
        if not re.fullmatch("[0-9*#]", keys) or id not in [one.id for one in _arrived(service, handset.number)]:
            abort(422)
        handset.pick_up(f"/twilio/called/{id}")
        handset.keys(keys)
        return _spoken(handset, tap)

    @simulator.get("/arrived")
    @access(Access.DEMO, polls=True)
    def arrived() -> AnyResponse:
        numbers = [number for number in request.args.getlist("number")[:20] if fictional(number)]
        return jsonify({n: [_shown(service, desk, one) for one in _arrived(service, n)] for n in numbers})

    return simulator


def _context(desk: Desk) -> dict[str, Any]:
    """What templates may use: the page is a resident's, so it has no menu even for who is signed in."""
    return {**context(desk), "operator": None}


def fictional(number: str) -> bool:
    """Whether a number (E.164) is of a range that the Swedish regulator keeps for films and books."""
    mobile, landline = number.removeprefix(_MOBILES), number.removeprefix(_LANDLINES)
    if mobile != number:
        return bool(re.fullmatch("0[0-9]{3}", mobile)) and 605 <= int(mobile) <= 699
    return landline != number and bool(re.fullmatch("4[0-9]{2}", landline))


def code_for(known: Credentials, secret: str, now: datetime) -> str:
    """A code that has not been used and will be taken now; "" while there is none, for half a minute at most."""
    step = max(int(now.timestamp()) // STEP, known.totp_step + 1)
    return pyotp.TOTP(secret).generate_otp(step) if step <= int(now.timestamp()) // STEP + 1 else ""


def _operators(service: Service, now: datetime) -> dict[str, Any]:
    """Who can sign in to the console of the demo, and how."""
    with service.database.read() as connection:
        names = store.created_by(connection, CREATOR)
        known = [one for name in names if (one := credentials(connection, name))]
    staff = []
    for one in known:
        secret = service.vault.open(one.totp_sealed) if one.totp_sealed else ""
        staff.append((one.operator, bool(secret), code_for(one, secret, now) if secret else ""))
    return {"staff": staff, "password": current_app.config.get(PASSWORD, "")}


def _handset(service: Service, calling: bool = False) -> tuple[Handset, _Tap]:
    """The phone that the form names, in the middle of the call that it names if it is `calling`."""
    number, call = request.form.get("number", ""), request.form.get("call", "")
    if not fictional(number) or (calling and not _CALL.fullmatch(call)):
        abort(422)
    tap = _Tap(current_app._get_current_object())  # type: ignore[attr-defined]
    settings = service.settings
    handset = Handset(tap, settings.public_url, settings.twilio_auth_token, number, _call=call)
    return handset, tap


def _spoken(handset: Handset, tap: _Tap) -> AnyResponse:
    return jsonify(
        call=handset._call, action=handset.action, digits=handset.digits, said=spoken(tap.document),
        document=tap.document,
    )  # fmt: skip


def spoken(document: str) -> list[dict[str, str]]:
    """What a TwiML document says: sentences with their language ("" for a recording)."""
    root = ElementTree.fromstring(document)  # noqa: S314 - our own service's document
    found = []
    for verb in root.iter():
        if verb.tag in ("Say", "Play"):
            for pause in verb.iter("break"):
                pause.text = " "
            words = re.sub(r"\s+", " ", "".join(verb.itertext())).strip()
            found.append({"text": words, "lang": verb.get("language", "")})
    return found


def _arrived(service: Service, number: str) -> list[store.Arrived]:
    with service.database.read() as connection:
        return store.arrived(connection, service.vault.hashes(number), _MOST)


def _shown(service: Service, desk: Desk, one: store.Arrived) -> dict[str, Any]:
    call = one.channel == "call"
    document = _document(service, one) if call else ""
    return {
        "id": one.id,
        "key": f"{one.id}/{one.attempt}",
        "call": call,
        "text": "" if call else one.body,
        "said": spoken(document) if call else [],
        "document": document,
        "segments": "" if call else _segments(one.segments),
        "at": _clock(service, desk.at(one.at) or desk.now),
    }


def _document(service: Service, one: store.Arrived) -> str:
    """What a call of ours says, as the provider would read it: all of it while a key is waited for."""
    gateway, language = service.gateways[TWILIO], one.language or service.flow.default_language
    return gateway.call_document((), (), (Spoken(one.body, language),), gateway.keys(one.id))


def _segments(number: int) -> str:
    return language.ngettext("{n} segment", "{n} segments", number).format(n=number)


def _clock(service: Service, at: datetime) -> str:
    return language.clock(at, service.settings.timezone)


def _said() -> dict[str, str]:
    """What the script puts on the page, in its language."""
    _: Callable[[str], str] = language.gettext
    return {
        "you": _("You"),
        "service": _("Service"),
        "none": _("No reply comes to that."),
        "calling": _("On a call. The voice says:"),
        "over": _("The call has ended."),
        "keys": _("Keys: {keys}"),
        "spoken": _("You say: {words}"),
        "silence": _("You say nothing."),
        "ringing": _("The service is calling this phone."),
        "answered": _("You answer. The voice says:"),
        "failed": _("That did not reach the service. Load the page anew and try again."),
        "phone": _("Phone {number}"),
        "full": _("There are no more phones."),
        "taken": _("Removed {number}."),
    }


def _broken(error: LineError) -> tuple[AnyResponse, int]:
    return jsonify(error=str(error)), 502


def _away(error: StoreAway) -> Response:
    return Response(f"{error}\n", 503, mimetype="text/plain")

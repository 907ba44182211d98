"""The demo: a real server on SQLite with fictional points, and a phone that texts and calls it."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from responder.actions import signin, staff
from responder.actions.publish import Change, set_point
from responder.core.access import Operator, Role, sends, shell
from responder.core.points import Status
from responder.store.accounts import set_credentials
from responder.store.outbox import is_quiet
from responder.web.handset import Handset
from responder.web.simulator import CREATOR
from responder.wiring import Service

CLOSING = "demo-farsta"  # the point that closes
ASKING, MOBILE, LANDLINE = "+46701740606", "+46701740605", "+46846500400"  # of the ranges that are kept for films
WRITTEN = "DEMO: Vattentank vid Farsta centrum till kl 20."
TEXTS = ("hej", "12347", "MER", "Bagarmosen", "var kan jag ladda mobilen i farsta?", "Where can I get water in Kista?")

STAFF: tuple[tuple[str, Role, tuple[str, ...]], ...] = (
    ("anna", Role.ADMIN, ()), ("berit", Role.APPROVER, ()), ("cia", Role.COMMUNICATOR, ()),
    ("dan", Role.REPORTER, ("Farsta",)), ("eva", Role.VIEWER, ()),
)  # fmt: skip
_WORDS = ("gran", "lykta", "kulle", "cykel", "regn", "bro", "fyr", "eld", "vante", "spade", "klocka", "stege")


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Say nothing: the transcript is the output."""


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else another."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port")


@contextmanager
def served(app: Flask, host: str, port: int) -> Iterator[None]:
    """`app` on a threaded server of this process. Raises OSError if the port is taken."""
    server = make_server(host, port, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def a_password() -> str:
    """Three words and a number, others for each demo."""
    return "-".join([*(secrets.choice(_WORDS) for _ in range(3)), str(secrets.randbelow(900) + 100)])


def demo_staff(service: Service, password: str) -> None:
    """An operator of each role with that password; who can send has an app too, whose code the simulator shows.

    Nobody of them made the account of another: they could not approve each other's broadcasts.
    """
    chosen, nobody = signin.HASHER.hash(password), Operator(CREATOR, Role.ADMIN, signed_in=True)
    for name, role, districts in STAFF:
        staff.add(service.database, service.vault, nobody, name, role, service.clock(), districts)
        sealed = service.vault.seal(signin.new_secret()) if sends(role) else b""
        with service.database.write() as connection:
            set_credentials(connection, name, password_hash=chosen, totp_sealed=sealed)


def invitation(url: str, password: str) -> str:
    """Where somebody can look around in a browser, and how they come in."""
    names = ", ".join(f"{name} ({role}{' in ' + districts[0] if districts else ''})" for name, role, districts in STAFF)
    return "\n".join(
        (
            f"Phones in the browser: {url}/simulator (shows the code that you are asked for when you sign in)",
            f"The console:           {url}/console/",
            f"Names:                 {names}",
            f"Password of all:       {password}",
        )
    )


def transcript(handset: Handset, show: Callable[[str], None]) -> None:
    """A handful of texts, then a call."""
    show("--- texts ---")
    for text in TEXTS:
        _text(handset, text, show)
    show("--- a call ---")
    _call(handset, ("12347", "2"), show)


def story(handset: Handset, service: Service, show: Callable[[str], None]) -> None:
    """Two people subscribe, a point closes, an operator writes, corrects it, and one of them says STOPP.

    What is sent goes to the provider: with `make demo` to a double of it, which prints what its phones receive.
    """
    handset, landline = replace(handset, number=MOBILE), replace(handset, number=LANDLINE)
    zone, operator = service.settings.timezone, shell("demo")
    announcer = service.announcer
    show("--- somebody subscribes by text ---")
    for text in ("12347", "JA", "MINA"):
        _text(handset, text, show)
    show("--- and somebody on a landline, by keys; caller ID can be forged, so they are called back ---")
    _call(landline, ("12347", "4"), show)
    _wait(service)
    show("--- an operator closes the point ---")
    change = Change(Status.CLOSED)
    set_point(service.database, CLOSING, change, operator, zone, service.clock(), "Beslut 7", "Krisledningen")
    _wait(service)
    show("--- an operator writes to a district ---")
    made = announcer.draft(operator, ["district:Farsta"], service.clock(), {"sv": WRITTEN}, "sv")
    announcer.submit(operator, made.id, service.clock())
    announcer.send(operator, made.id, service.clock())
    _wait(service)
    show("--- and was wrong: those it reached are told so ---")
    announcer.correct(operator, made.id, service.clock())
    _wait(service)
    show("--- STOPP ---")
    _text(handset, "STOPP", show)
    set_point(service.database, CLOSING, Change(Status.OPEN), operator, zone, service.clock())
    _wait(service)


def _wait(service: Service) -> None:
    """Until nothing is due or on its way, or for a minute."""
    for _ in range(600):
        time.sleep(0.1)
        with service.database.read() as connection:
            if is_quiet(connection, service.clock().timestamp(), bool(service.settings.twilio_api_url)):
                return


def _text(handset: Handset, text: str, show: Callable[[str], None]) -> None:
    show(f"> {text}")
    show(_indented(handset.text(text)))


def _call(handset: Handset, inputs: tuple[str, ...], show: Callable[[str], None]) -> None:
    _show_call(handset.call(), show)
    for keys in inputs:
        show(f"> keys {keys}")
        _show_call(handset.keys(keys), show)
    show("> hangs up")
    handset.hang_up()


def converse(handset: Handset, voice: bool, lines: Iterator[str], show: Callable[[str], None]) -> None:
    """A phone in the terminal: each line is a text, or on a call keys, speech, or silence when it is empty.

    `voice`: it only calls, once. Else it texts again after a call: what was asked for there may want a JA.
    """
    only_calls = voice
    if voice:
        _show_call(handset.call(), show)
    for raw in lines:
        line = raw.strip()
        if line in ("/call", "/ring") and not voice:
            voice = True
            _show_call(handset.call(), show)
        elif voice:
            if line == "/hang up":
                handset.hang_up()
            elif set(line) <= set("0123456789*#"):
                _show_call(handset.keys(line) if line else handset.silence(), show)
            else:
                _show_call(handset.speak(line), show)
            if not handset.action:
                show("(the call has ended)")
                if only_calls:
                    return
                voice = False
        elif line:
            show(_indented(handset.text(line)) or "(no reply)")


def _show_call(spoken: list[str], show: Callable[[str], None]) -> None:
    for line in spoken:
        show(f"< {line}")


def _indented(reply: str) -> str:
    return "\n".join(f"< {line}" for line in reply.splitlines())

"""The demo: a real server on SQLite with fictional points, and a phone that texts and calls it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from responder.web.handset import Handset

TEXTS = ("hej", "12347", "MER", "Bagarmosen", "var kan jag ladda mobilen i farsta?", "Where can I get water in Kista?")


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


def transcript(handset: Handset, show: Callable[[str], None]) -> None:
    """A handful of texts, then a call."""
    show("--- texts ---")
    for text in TEXTS:
        show(f"> {text}")
        show(_indented(handset.text(text)))
    show("--- a call ---")
    for line in handset.call():
        show(f"< {line}")
    for keys in ("12347", "2"):
        show(f"> keys {keys}")
        for line in handset.keys(keys):
            show(f"< {line}")
    show("> hangs up")
    handset.hang_up()


def converse(handset: Handset, voice: bool, lines: Iterator[str], show: Callable[[str], None]) -> None:
    """A phone in the terminal: each line is a text, or on a call keys, speech, or silence when it is empty."""
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
                return
        elif line:
            show(_indented(handset.text(line)) or "(no reply)")


def _show_call(spoken: list[str], show: Callable[[str], None]) -> None:
    for line in spoken:
        show(f"< {line}")


def _indented(reply: str) -> str:
    return "\n".join(f"< {line}" for line in reply.splitlines())

"""The service under load: a database with demo points, gunicorn as in production, requests signed as the provider's."""

import base64
import hmac
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import text

from responder.actions import load, signin, staff
from responder.app import create_app
from responder.core.access import Operator, Role
from responder.settings import Settings
from responder.store import accounts
from responder.wiring import Service
from tests.bench.reply import ROOT, UNCAPPED, free_port

TOKEN = "load-token-that-is-long-enough-to-be-real"


@dataclass
class Memory:
    """Resident memory of the workers, MB: the largest of them before, at the peak and after."""

    before: float
    peak: float
    after: float = 0.0


@dataclass
class Bed:
    """A running server with its database, and the same service in this process to know what it should say."""

    port: int
    app: Flask
    master: subprocess.Popen[bytes]
    peak: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def service(self) -> Service:
        """The service in this process."""
        return self.app.extensions["responder"]  # type: ignore[no-any-return]

    def request(self, path: str, form: dict[str, str]) -> bytes:
        """A signed POST."""
        url = f"http://127.0.0.1:{self.port}{path}"
        signed = url + "".join(name + form[name] for name in sorted(form))
        signature = base64.b64encode(hmac.digest(TOKEN.encode(), signed.encode(), "sha1")).decode()
        body = urlencode(form)
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nX-Twilio-Signature: {signature}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def text(self, id: str, number: str, body: str) -> bytes:
        """A text from `number`."""
        form = {"MessageSid": id, "AccountSid": "AC" + "0" * 32, "From": number, "To": "+46101234567", "Body": body}
        return self.request("/twilio/sms", {**form, "NumMedia": "0"})

    def page(self) -> bytes:
        """The overview, as an operator who is signed in asks for it."""
        token, service = secrets.token_urlsafe(), self.service
        with service.database.write() as connection:
            accounts.add_session(connection, signin.hashed(token), "eva", service.clock().timestamp(), "", "load")
        serializer = SecureCookieSessionInterface().get_signing_serializer(self.app)
        assert serializer is not None
        cookie = serializer.dumps({"id": token})
        return (
            f"GET /console/overview HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {self.app.config['SESSION_COOKIE_NAME']}={cookie}\r\n\r\n"
        ).encode()

    def workers(self) -> list[int]:
        """Process ids."""
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def resident(self) -> float:
        """MB of the largest worker."""
        sizes = [0.0]
        for pid in self.workers():
            with suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        return max(sizes)

    @contextmanager
    def watched(self) -> Iterator[Memory]:
        """Memory while something goes on."""
        self.peak = self.resident()
        memory = Memory(self.peak, self.peak)
        yield memory
        memory.peak, memory.after = self.peak, self.resident()

    def watch(self) -> None:
        """Look at the memory until it is over."""
        while not self._over.wait(0.2):
            self.peak = max(self.peak, self.resident())

    def end(self) -> None:
        """Stop the server."""
        self._over.set()
        self.master.send_signal(signal.SIGTERM)
        self.master.wait(60)
        self.service.database.close()


@contextmanager
def running(folder: Path, engine: str) -> Iterator[Bed]:
    """A server on a new database of `engine`, as gunicorn.conf.py has it."""
    with ExitStack() as stack:
        if engine == "postgresql":
            from tests.postgres import server

            url = stack.enter_context(server(durable=True)).url("load")
        else:
            url = f"sqlite:///{folder / 'load.db'}"
        port = free_port()
        environment = {
            "DATABASE_URL": url,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "BIND": f"127.0.0.1:{port}",
            "TWILIO_AUTH_TOKEN": TOKEN,
            "GATEWAY": "recorder",
            **{name: secrets.token_hex(24) for name in ("SECRET_KEY", "NUMBER_KEY", "LOOKUP_KEY")},
            **UNCAPPED,  # the caps on spending would answer a flood by nothing, and make it light
        }
        settings = Settings(
            _env_file=None, **{name.lower(): value for name, value in environment.items() if name != "BIND"}
        )  # type: ignore[call-arg,arg-type]
        app = create_app(settings)
        service: Service = app.extensions["responder"]
        load.prepare(service.database)
        load.load_demo(service.database, settings.timezone, service.clock(), real=False)
        boss = Operator("boss", Role.ADMIN, signed_in=True)
        for name, role in (("boss", Role.ADMIN), ("eva", Role.VIEWER)):
            staff.add(service.database, service.vault, boss, name, role, service.clock())
        log = stack.enter_context((folder / "server.log").open("wb"))
        command = [sys.executable, "-m", "gunicorn", "wsgi:app", "-c", str(ROOT / "gunicorn.conf.py")]
        master = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log)
        bed = Bed(port, app, master)
        try:
            _await(bed)
            threading.Thread(target=bed.watch, daemon=True).start()
            yield bed
        finally:
            bed.end()
            if os.environ.get("LOAD_LOG"):
                Path(os.environ["LOAD_LOG"]).write_bytes((folder / "server.log").read_bytes())


def _await(bed: Bed) -> None:
    from tests.load.generator import Shot, fire

    for _ in range(200):
        time.sleep(0.1)
        if bed.master.poll() is not None:
            break
        got = fire(bed.port, [Shot(0.0, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")], time.monotonic(), 1, True)
        if got[0].status == 200 and len(bed.workers()) > 1:
            return
    raise RuntimeError("the server does not answer")


def suppressed(service: Service) -> set[bytes]:
    """The hashes of the numbers that said STOPP."""
    with service.database.read() as connection:
        return {bytes(row[0]) for row in connection.execute(text("SELECT number_hash FROM suppressions"))}


def recorded(service: Service) -> dict[str, str]:
    """The reply of every turn, by its id."""
    with service.database.read() as connection:
        rows = connection.execute(text("SELECT id, reply_sealed FROM turns")).fetchall()
    return {row[0]: service.vault.open(bytes(row[1])) for row in rows}

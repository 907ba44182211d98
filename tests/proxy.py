"""Signatures through a real proxy: nginx, and Caddy where it is installed, with the files of deploy/ in which only
ports, names and certificates are replaced, before gunicorn and a fake of the provider.

python -m tests.proxy    (needs nginx: on Debian `apt-get install --no-install-recommends nginx-light`)
"""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from responder.actions import load
from responder.store.engine import Database
from tests.conftest import TOKEN
from tests.fakes.twilio import ACCOUNT, FakeTwilio
from tests.test_doctor import ELSEWHERE, NUMBER, self_signed

ROOT = Path(__file__).resolve().parents[1]
HOST = "localhost"
PATIENCE = 30  # seconds until a process must be up
FORM = "MessageSid=SM{n}&From=%2B46700000001&To=%2B46770000000&Body=12347"
ODD = (  # (target, fields added): all of them as somebody may really send them
    ("/twilio/sms", ""),
    ("/twilio/sms", "&Extra=%C3%A5%C3%A4%C3%B6"),
    ("/twilio/sms", "&Extra=a+b%2Bc%20d"),
    ("/twilio/sms", "&Extra=one&Extra=two&Extra=one"),
    ("/twilio/sms", "&Empty=&Extra=%F0%9F%98%80%26%3D"),
    ("/twilio/sms?omr%C3%A5de=%C3%A5", ""),
    ("/twilio/sms?omr%c3%a5de=%c3%a5", ""),
    ("/twilio/sms?a=1+2&b=%2B&a=%7e&c=~", ""),
    ("/twilio/sms?from=//here//&to=%2F%2F", ""),
    ("/twilio/sms?", ""),
    ("/twilio/sms?a&b=&&c", ""),
    ("/twilio/voice/status?x=%25C3%25A5", "&CallSid=CA1&CallStatus=ringing"),
    ("/twilio/receipts/999999999?attempt=1&x=%C3%A5", "&MessageStatus=sent"),
)
PATHS = ("//twilio/sms", "/twilio//sms", "/twilio/%73ms", "/twilio/./sms", "/x/../twilio/sms")


class Wrong(AssertionError):
    """Something that deploy/ promises does not hold."""


@dataclass(frozen=True)
class Ports:
    """Of the service, the proxy with TLS, and the proxy without."""

    service: int
    tls: int
    plain: int


def free_ports() -> Ports:
    """Three ports that nobody has."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return Ports(*(one.getsockname()[1] for one in sockets))


def nginx_file(ports: Ports, certificate: Path) -> str:
    """deploy/nginx.conf on ports of ours."""
    text = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "listen [::]" not in line]  # not every machine has it
    for before, after in (
        ("listen 80;", f"listen 127.0.0.1:{ports.plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{ports.tls} ssl"),
        ("server 127.0.0.1:8000", f"server 127.0.0.1:{ports.service}"),
        ("https://svar.example$", f"https://{HOST}:{ports.tls}$"),
        ("server_name svar.example", f"server_name {HOST}"),
        ("/etc/ssl/svar.example/fullchain.pem", str(certificate)),
        ("/etc/ssl/private/svar.example.pem", str(certificate)),
    ):
        assert any(before in line for line in lines), before
        lines = [line.replace(before, after) for line in lines]
    return "\n".join(lines)


def nginx_command(folder: Path, text: str) -> list[str]:
    """nginx in the foreground, all of whose files lie in `folder`."""
    (folder / "site.conf").write_text(text, encoding="utf-8")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "main.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "main.conf")]


def caddy_command(folder: Path, ports: Ports, certificate: Path) -> list[str]:
    """Caddy with deploy/Caddyfile on ports of ours."""
    text = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")
    for before, after in (
        ("\nsvar.example {\n", f"\nhttps://{HOST}:{ports.tls} {{\n\ttls {certificate} {certificate}\n"),
        ("reverse_proxy 127.0.0.1:8000", f"reverse_proxy 127.0.0.1:{ports.service}"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text, encoding="utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def running(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[None]:
    """A process that listens at `port`, until the end of the block."""
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=PATIENCE)
        process.kill()


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    process.kill()
    raise Wrong(f"nobody listens at {port}: {process.communicate()[1]}")


class Caller:
    """Sends what a provider would, byte for byte."""

    def __init__(self, ports: Ports, certificate: Path) -> None:
        self._ports, self._count = ports, 0
        self._context = ssl.create_default_context(cafile=str(certificate))

    def form(self, more: str = "") -> str:
        """A body like no other."""
        self._count += 1
        return FORM.format(n=self._count) + more

    def post(self, target: str, body: str, signed: str | None = None, direct: bool = False) -> tuple[int, str]:
        """(status, X-Request-Id) of `body` posted to `target`, signed for `signed` or the same; past the proxy if
        `direct`.
        """
        pairs: MultiDict[str, str] = MultiDict(parse_qsl(body, keep_blank_values=True))
        address = f"https://{HOST}:{self._ports.tls}{target if signed is None else signed}"
        signature = RequestValidator(TOKEN).compute_signature(address, pairs)
        line: http.client.HTTPConnection
        if direct:
            line = http.client.HTTPConnection("127.0.0.1", self._ports.service, timeout=PATIENCE)
        else:
            line = http.client.HTTPSConnection(HOST, self._ports.tls, timeout=PATIENCE, context=self._context)
        with closing(line):
            line.putrequest("POST", target)
            for name, value in (
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", str(len(body))),
                ("X-Twilio-Signature", signature),
            ):
                line.putheader(name, value)
            line.endheaders(body.encode())
            response = line.getresponse()
            response.read()
            return response.status, response.headers.get("X-Request-Id", "")


def look(caller: Caller) -> int:
    """How many requests came through as they should. Raises Wrong."""
    names = []
    for target, more in ODD:
        status, name = caller.post(target, caller.form(more))
        names.append(name)
        _hold(status == 200, f"POST {target} with {more or 'nothing odd'}: {status}")
    _hold(any(len(name) >= 32 for name in names), f"the service does not take up the proxy's names: {names}")
    for target, signed in (("/twilio/sms?a=%C3%A5", "/twilio/sms?a=å"), ("/twilio/sms?a=1", "/twilio/sms")):
        status, _ = caller.post(target, caller.form(), signed)
        _hold(status == 403, f"POST {target} signed for {signed}: {status}, not 403")
    for target in PATHS:
        through, past = (caller.post(target, caller.form(), direct=direct)[0] for direct in (False, True))
        _hold(through == past, f"POST {target}: {through} through the proxy, {past} past it")
    large = caller.post("/twilio/sms", caller.form("&Extra=" + "x" * 300_000))[0]
    _hold(large in (413, 502), f"300 kB: {large}, not 413")  # 502: Caddy before 2.7
    metrics = caller.post("/metrics", "")[0]
    _hold(metrics == 404, f"/metrics from outside: {metrics}, not 404")
    return len(ODD) + len(PATHS) + 4


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def the_doctor(env: dict[str, str]) -> str:
    """What `responder doctor` says."""
    code = "from responder.cli import main; main(['doctor'])"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def main() -> int:
    """0 if all holds."""
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        print(
            "tests.proxy: there is no nginx. On Debian or Ubuntu:\n  apt-get install --no-install-recommends nginx-light"
        )
        return 1
    with tempfile.TemporaryDirectory() as name, FakeTwilio(token=TOKEN) as fake:
        try:
            _all(Path(name), fake)
        except Wrong as wrong:
            print(f"tests.proxy: {wrong}")
            return 1
    return 0


def _all(folder: Path, fake: FakeTwilio) -> None:
    ports, certificate = free_ports(), self_signed(folder, HOST)
    url = f"https://{HOST}:{ports.tls}"
    fake.office.number(
        NUMBER, sms_url=f"{url}/twilio/sms", sms_fallback_url=ELSEWHERE, voice_url=f"{url}/twilio/voice",
        voice_fallback_url=ELSEWHERE, status_callback=f"{url}/twilio/voice/status",
    )  # fmt: skip
    env = {
        **os.environ, "PUBLIC_URL": url, "DATABASE_URL": f"sqlite:///{folder}/responder.db", "GATEWAY": "recorder",
        "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_API_URL": fake.url, "TWILIO_FROM": NUMBER,
        "PROXY_HOPS": "1", "BIND": f"127.0.0.1:{ports.service}", "WORKERS": "1", "SSL_CERT_FILE": str(certificate),
        "NUMBER_PER_MINUTE": "1000", "METRICS_DIR": str(folder / "metrics"),
    }  # fmt: skip
    load.prepare(Database(env["DATABASE_URL"]))
    web = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--log-level", "error", "wsgi:app"]
    site = nginx_file(ports, certificate)
    with running(web, ports.service, env):
        with running(nginx_command(folder, site), ports.tls):
            _well("nginx", ports, certificate, env)
            told = the_doctor({**env, "PUBLIC_URL": f"http://{HOST}:{ports.plain}"})
            _hold("redirects (308)" in told, f"the doctor does not mind a redirect: {told}")
        if shutil.which("caddy"):
            home = {**env, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
            with running(caddy_command(folder, ports, certificate), ports.tls, home):
                _well("caddy", ports, certificate, env)
        for what, change in BROKEN.items():
            broken = change(site)
            _hold(broken != site, f"nginx.conf cannot be broken by {what} any more")
            with running(nginx_command(folder, broken), ports.tls):
                told = the_doctor(env)
                _hold("BAD signatures do not hold" in told, f"the doctor does not notice {what}: {told}")
                print(f"nginx with {what}: the doctor says so")
    with running(nginx_command(folder, site), ports.tls):
        told = the_doctor(env)
        _hold("by a proxy that does not reach our service" in told, f"the service is stopped, and the doctor: {told}")
        print("nginx without the service: the doctor says so")


BROKEN: dict[str, Callable[[str], str]] = {
    "a query that is lost": lambda text: text.replace(
        "proxy_pass http://responder;", "proxy_pass http://responder$uri;"
    ),
    "a query that is added to": lambda text: text.replace(
        "proxy_pass http://responder;", 'set $args "$args&proxy=1"; proxy_pass http://responder;'
    ),
    "a field that is lost": lambda text: text.replace(
        "proxy_pass http://responder;", 'proxy_set_body "CallSid=CA-doctor"; proxy_pass http://responder;'
    ),
}


def _well(proxy: str, ports: Ports, certificate: Path, env: dict[str, str]) -> None:
    count = look(Caller(ports, certificate))
    told = the_doctor(env)
    _hold("BAD" not in told and "signatures hold" in told, f"{proxy}: the doctor says {told}")
    print(f"{proxy}: {count} requests as they should be; the doctor: signatures hold")


if __name__ == "__main__":
    sys.exit(main())

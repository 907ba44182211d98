"""`responder doctor`: each thing that is wrong outside has a sentence of its own, and what to do about it."""

import datetime
import http.client
import ipaddress
import re
import sqlite3
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert

from responder import doctor
from responder.actions import load
from responder.actions.housekeep import rekey
from responder.cli import main
from responder.core.finding import Finding, plain, shown
from responder.demo import free_port, served
from responder.gateways.twilio import EMPTY
from responder.gateways.web_check import Line
from responder.settings import Settings
from responder.store import soundness
from responder.store.engine import Database
from responder.store.restored import hold
from responder.store.tables import SubscriptionRow
from responder.store.vault import Vault
from responder.wiring import utc_now
from tests import engines
from tests.conftest import TOKEN, Running, run
from tests.fakes.office import Row
from tests.fakes.twilio import ACCOUNT, FakeTwilio
from tests.test_settings import REAL

NUMBER = "+46770000000"
ELSEWHERE = "https://static.example/sms.xml"
Answer = tuple[int, dict[str, str], str]
Behaves = Callable[[BaseHTTPRequestHandler, bytes], Answer | None]


@contextmanager
def a_server(behaves: Behaves, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on this machine that answers as `behaves` says (None: it says nothing and hangs up); its port."""

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if (answer := behaves(self, body)) is None:
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def always(status: int, text: str = "", **headers: str) -> Behaves:
    return lambda _handler, _body: (status, headers, text)


def healthy_but(status: int, text: str = "", **headers: str) -> Behaves:
    """A server that is well at /healthz and answers everything else otherwise."""
    return lambda handler, _: (200, {}, "ok\n") if handler.path == "/healthz" else (status, headers, text)


def passing(port: int, change: Callable[[str], str]) -> Behaves:
    """A proxy before the service at `port` that changes the target."""

    def forward(handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            kept = {n: v for n, v in handler.headers.items() if n.lower() != "host"}
            connection.putrequest(handler.command, change(handler.path).replace(" ", "%20"))
            for name, value in kept.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, {}, response.read().decode()

    return forward


@pytest.fixture
def fake() -> Iterator[FakeTwilio]:
    """A provider that knows the token of the tests."""
    with FakeTwilio(token=TOKEN) as fake:
        yield fake


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits five seconds."""
    monkeypatch.setattr(doctor, "Line", partial(Line, 0.3))


@pytest.fixture
def database(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with places, in the folder that commands are typed in."""
    monkeypatch.chdir(tmp_path)
    engines.copy(prepared, tmp_path / "responder.db")
    return tmp_path / "responder.db"


@pytest.fixture(scope="session")
def a_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An SQLite database with places, whatever the other tests run on."""
    path = tmp_path_factory.mktemp("file") / "responder.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        load.prepare(database)
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, a_file: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That database, where DATABASE_URL=sqlite:///responder.db finds it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "responder.db"
    path.write_bytes(a_file)
    path.chmod(0o600)
    return path


@pytest.fixture
def port(database: Path) -> Iterator[int]:
    """A service that runs at PUBLIC_URL http://127.0.0.1:port."""
    port = free_port(20000 + hash(database) % 20000)
    running = run(database, public_url=f"http://127.0.0.1:{port}", twilio_account_sid=ACCOUNT)
    with served(running.app, "127.0.0.1", port), closing(running.database):
        yield port


def found(
    fake: FakeTwilio | None, port: int | str, clock: Callable[[], datetime.datetime] = utc_now, **more: object
) -> list[Finding]:
    """What the doctor finds of PUBLIC_URL and the provider; `port` may be a whole address."""
    values = {
        "public_url": port if isinstance(port, str) else f"http://127.0.0.1:{port}",
        "database_url": engines.url(Path("responder.db")),
        "twilio_api_url": fake.url if fake else "http://127.0.0.1:9",
        "twilio_account_sid": ACCOUNT,
        "twilio_auth_token": TOKEN,
        "twilio_from": NUMBER,
        **more,
    }
    return list(doctor.examine(Settings(_env_file=None, **values), clock))  # type: ignore[call-arg,arg-type]


def bad(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if not finding.well]


def the_bad(findings: list[Finding]) -> str:
    """The only thing that is wrong."""
    (text,) = bad(findings)
    return text


def well_set(fake: FakeTwilio, url: str, number: str = NUMBER, **fields: object) -> Row:
    """A number at the provider as README.md says it should be set."""
    usual = {
        "sms_url": f"{url}/twilio/sms", "sms_fallback_url": ELSEWHERE, "voice_url": f"{url}/twilio/voice",
        "voice_fallback_url": ELSEWHERE, "status_callback": f"{url}/twilio/voice/status",
    }  # fmt: skip
    return fake.office.number(number, **{**usual, **fields})


# Where all is well


def test_where_all_is_well_nothing_is_bad_and_no_secret_or_number_is_told(fake: FakeTwilio, port: int) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")
    findings = found(fake, port)
    assert bad(findings) == []
    said = "\n".join(finding.text for finding in findings)
    for told in (
        "PUBLIC_URL (http://127.0.0.1:" + f"{port}) answers",
        "signatures hold through what stands before the service, odd characters too; our service",
        "clock: as the provider's",
        "the provider's account is active, the token valid",
        "balance: 250.00 USD",
        "number +4677*****00: the provider posts to PUBLIC_URL, and has a fallback elsewhere",
    ):
        assert told in said
    for secret in (TOKEN, ACCOUNT, NUMBER, "never to be shown"):
        assert secret not in said


def test_the_signed_self_test_leaves_nothing_behind(fake: FakeTwilio, port: int, database: Path) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")

    def dumped() -> dict[str, list[object]]:
        with engines.peek(database) as looking:
            return {table: looking.execute(f"SELECT * FROM {table}").fetchall() for table in looking.tables()}

    before = dumped()
    assert bad(found(fake, port)) == []
    assert dumped() == before


def test_offline_and_without_a_provider_the_network_is_left_alone_and_that_is_said(
    file: Path, fake: FakeTwilio
) -> None:
    settings = Settings(_env_file=None, database_url="sqlite:///responder.db", twilio_api_url=fake.url)  # type: ignore[call-arg]
    said = [finding.text for finding in doctor.examine(settings, utc_now, offline=True)]
    assert "PUBLIC_URL, signatures, and the provider: not looked at (--offline)" in said
    said = [f.text for f in doctor.examine(settings.model_copy(update={"twilio_api_url": ""}), utc_now)]
    assert "PUBLIC_URL, signatures, and the provider: not looked at (GATEWAY=recorder)" in said
    assert not fake.posts


def test_as_a_command_it_ends_with_1_when_something_is_bad(
    fake: FakeTwilio, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "PUBLIC_URL": f"http://127.0.0.1:{port}", "DATABASE_URL": engines.url(Path("responder.db")), "TWILIO_FROM": NUMBER,
        "TWILIO_API_URL": fake.url, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN,
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    row = well_set(fake, values["PUBLIC_URL"])
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0
    row["sms_url"] = ""
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "BAD number +4677*****00: texts" in result.output
    assert CliRunner().invoke(main, ["doctor", "--offline"]).exit_code == 0


# PUBLIC_URL


@pytest.mark.parametrize(
    ("behaves", "told"),
    [
        (always(301, Location="https://www.svar.example/healthz"), "redirects (301) to https://www.svar.example/"),
        (always(200, "<h1>It works!</h1>"), "is answered by something else than this service: `<h1>It works!</h1>`"),
        (always(403, "no"), "is answered 403 by something else than this service"),
        (always(404), "is not found (404)"),
        (always(500), "is answered 500, where 200 is expected"),
        (always(502), "by a proxy that does not reach our service"),
        (always(503), "has too much to do or is stopped"),
        (lambda *_: None, "breaks off without an answer"),
        (lambda *_: time.sleep(0.6), "does not answer within 0.3 s"),
        (healthy_but(308, Location="https://svar.example/x?token=secret"), "redirects (308) to https://svar.example/x?..."),
        (healthy_but(403, "Forbidden by firewall"), "is refused (403) before it gets to the service"),
        (healthy_but(200, EMPTY), "takes requests without a signature: what answers there is not ours"),
        (healthy_but(404), "the proxy changes the path, or another service answers"),
        (healthy_but(413), "is answered 413"),
    ],
)  # fmt: skip
def test_each_way_a_public_address_misbehaves_has_a_sentence(
    fake: FakeTwilio, database: Path, quick: None, behaves: Behaves, told: str
) -> None:
    with a_server(behaves) as port:
        well_set(fake, f"http://127.0.0.1:{port}")
        assert told in the_bad(found(fake, port))


def test_a_server_that_drips_does_not_hold_the_doctor_up(fake: FakeTwilio, database: Path, quick: None) -> None:
    def drip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(10):
            try:
                handler.wfile.write(b"o")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    with a_server(drip) as port:
        well_set(fake, f"http://127.0.0.1:{port}")
        assert "does not answer within 0.3 s" in the_bad(found(fake, port))


def test_a_name_that_is_not_found_and_a_port_where_nobody_listens(fake: FakeTwilio, database: Path) -> None:
    well_set(fake, "http://nowhere.invalid")
    assert "has a name that is not found (DNS)" in the_bad(found(fake, "http://nowhere.invalid"))
    fake.office.numbers.clear()
    well_set(fake, "http://127.0.0.1:9")
    assert "cannot be connected to: Connect" in the_bad(found(fake, "http://127.0.0.1:9"))


def test_a_certificate_that_nobody_trusts(fake: FakeTwilio, database: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with a_server(always(200, "ok\n"), context) as port:
        well_set(fake, f"https://127.0.0.1:{port}")
        assert "has a certificate that is not trusted: self" in the_bad(found(fake, f"https://127.0.0.1:{port}"))
    with a_server(always(200, "ok\n")) as port:
        fake.office.numbers.clear()
        well_set(fake, f"https://127.0.0.1:{port}")
        assert "does not speak TLS as it should" in the_bad(found(fake, f"https://127.0.0.1:{port}"))


def self_signed(folder: Path, host: str = "") -> Path:
    """A certificate (of 127.0.0.1 and `host`) with its key in one file, signed by nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names += [x509.DNSName(host)] if host else []
    now = utc_now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_proxy_that_decodes_the_target_breaks_signatures(
    fake: FakeTwilio, database: Path, start: Callable[..., Running]
) -> None:
    inner = free_port(41000)
    with a_server(passing(inner, lambda target: target.replace("%7e", "~"))) as port:
        url = f"http://127.0.0.1:{port}"
        well_set(fake, url)
        with served(start(public_url=url).app, "127.0.0.1", inner):
            told = the_bad(found(fake, port))
    assert "signatures do not hold through your proxy: a plain request passes" in told
    assert "deploy/nginx.conf" in told


def test_a_proxy_that_passes_everything_on_is_well(
    fake: FakeTwilio, database: Path, start: Callable[..., Running]
) -> None:
    """The proxy of the other tests is not itself what breaks a signature."""
    inner = free_port(42000)
    with a_server(passing(inner, lambda target: target)) as port:
        url = f"http://127.0.0.1:{port}"
        well_set(fake, url)
        with served(start(public_url=url).app, "127.0.0.1", inner):
            assert bad(found(fake, port)) == []


def test_a_service_that_runs_on_another_token_or_address_refuses_what_is_signed(
    fake: FakeTwilio, database: Path, start: Callable[..., Running]
) -> None:
    port = free_port(43000)
    url = f"http://127.0.0.1:{port}"
    well_set(fake, url)
    for other in ({"public_url": url, "twilio_auth_token": "the-old-token"}, {"public_url": "http://old.example"}):
        with served(start(**other).app, "127.0.0.1", port):
            assert "signatures do not hold through your proxy: the service refuses" in the_bad(found(fake, port))


# The provider


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sms_url": ""}, "texts: `A message comes in` is empty, should be {url}/twilio/sms; set it with: in Twilio's console: Phone Numbers"),
        ({"sms_url": "http://old.example/twilio/sms"}, "is http://old.example/twilio/sms, should be {url}/twilio/sms"),
        ({"sms_url": "https://u:pass@old.example/sms?key=abc"}, "is https://old.example/sms?..., should be"),
        ({"sms_method": "GET"}, "`A message comes in` is asked with GET, should be HTTP POST"),
        ({"voice_url": "{url}/twilio/voice/"}, "calls: `A call comes in` is {url}/twilio/voice/, should be {url}/twilio/voice;"),
        ({"voice_method": "GET"}, "`A call comes in` is asked with GET"),
        ({"status_callback": ""}, "`Call status changes` is empty, should be {url}/twilio/voice/status"),
        ({"sms_fallback_url": ""}, "texts: the fallback is empty"),
        ({"voice_fallback_url": None}, "calls: the fallback is empty"),
        ({"voice_fallback_url": "http://127.0.0.1/voice.xml"}, "is away when it is needed"),
    ],
)  # fmt: skip
def test_each_difference_at_the_provider_says_what_is_what_should_be_and_where(
    fake: FakeTwilio, port: int, fields: Row, told: str
) -> None:
    url = f"http://127.0.0.1:{port}"
    changed = {n: v.replace("{url}", url) if isinstance(v, str) else v for n, v in fields.items()}
    well_set(fake, url, **changed)
    text = the_bad(found(fake, port))
    assert text.startswith("number +4677*****00: ")
    assert told.replace("{url}", url) in text
    assert "set it with: in Twilio's console: " in text
    assert "pass" not in text and "abc" not in text


def test_an_application_or_a_trunk_overrides_what_a_number_says(fake: FakeTwilio, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    row = well_set(fake, url, sms_application_sid="AP1")
    assert "its texts go by sms application" in the_bad(found(fake, port))
    row.update(sms_application_sid="", trunk_sid="TK1")
    assert "its calls go by trunk" in the_bad(found(fake, port))


def test_a_number_that_is_not_the_accounts(fake: FakeTwilio, port: int) -> None:
    well_set(fake, f"http://127.0.0.1:{port}", number=NUMBER + "1")  # the provider's filter finds it too
    assert "number +4677*****00 does not belong to the provider's account" in the_bad(found(fake, port))


def test_a_short_code_is_texted_and_the_number_beside_it_called(fake: FakeTwilio, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    well_set(fake, url, sms_url="")  # nobody texts it
    code = fake.office.short_code("71000", sms_url=f"{url}/twilio/sms", sms_fallback_url=ELSEWHERE)
    chosen = {"twilio_from": "71000", "twilio_call_from": NUMBER}
    assert bad(found(fake, port, **chosen)) == []
    code["sms_url"] = "http://old.example"
    assert the_bad(found(fake, port, **chosen)).startswith("number 71000: texts: `A message comes in` is http://old")


def test_a_messaging_service_is_told_where_texts_go_and_its_numbers_where_calls_go(fake: FakeTwilio, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    service = fake.office.service(NUMBER, inbound_request_url=f"{url}/twilio/sms", fallback_url=ELSEWHERE)
    number = well_set(fake, url, sms_url="")
    chosen = {"twilio_from": "", "twilio_messaging_service_sid": service["sid"]}
    assert bad(found(fake, port, **chosen)) == []
    number["voice_url"] = ""
    assert the_bad(found(fake, port, **chosen)).startswith("number +4677*****00: calls: `A call comes in` is empty")
    number["voice_url"] = f"{url}/twilio/voice"
    service["inbound_request_url"] = None
    told = the_bad(found(fake, port, **chosen))
    assert told.startswith("messaging service: texts is empty, should be") and "Messaging, Services" in told
    service["use_inbound_webhook_on_number"] = True
    assert "number +4677*****00: texts: `A message comes in` is empty" in the_bad(found(fake, port, **chosen))
    chosen["twilio_messaging_service_sid"] = "MG0"
    assert "has no messaging service" in the_bad(found(fake, port, **chosen))


def test_a_name_as_sender_cannot_be_texted(fake: FakeTwilio, port: int) -> None:
    assert "residents cannot text it" in the_bad(found(fake, port, twilio_from="Kommunen"))


@pytest.mark.parametrize(
    ("office", "told"),
    [
        ({"status": "suspended"}, "the provider's account is suspended: nothing is sent or received"),
        ({"kind": "Trial"}, "is a trial: it sends to verified numbers only"),
        ({"balance": "3.10"}, "balance: 3.10 USD: nothing is sent once it is spent"),
    ],
)
def test_an_account_that_cannot_send_is_told(fake: FakeTwilio, port: int, office: dict[str, str], told: str) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")
    for name, value in office.items():
        setattr(fake.office, name, value)
    assert told in the_bad(found(fake, port))


def test_an_account_that_is_not_told_its_balance_is_not_bad(fake: FakeTwilio, port: int) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")
    fake.office.balance = None
    findings = found(fake, port)
    assert bad(findings) == []
    assert "balance: the provider does not tell it of this account" in [finding.text for finding in findings]


def test_a_token_that_is_no_longer_valid(fake: FakeTwilio, port: int) -> None:
    told = the_bad(found(fake, port, twilio_account_sid="AC" + "1" * 32))
    assert "the provider does not know TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN (401)" in told


@pytest.mark.parametrize(
    ("outage", "told"),
    [
        ("500", "is answered 500: it is in trouble itself"),
        ("hang", "does not answer within 0.3 s: nothing can be sent while that is so"),
        ("refuse", "cannot be connected to"),
    ],
)
def test_a_provider_in_trouble_is_told_apart_from_a_mistake_of_ours(
    fake: FakeTwilio, port: int, quick: None, outage: str, told: str
) -> None:
    fake.outage = outage  # type: ignore[assignment]
    assert told in the_bad(found(fake, port))


def test_a_server_in_between_that_answers_for_the_provider(port: int) -> None:
    with a_server(always(200, "<html>Log in to the guest network</html>")) as between:
        told = the_bad(found(None, port, twilio_api_url=f"http://127.0.0.1:{between}"))
    assert "answers with something that is not JSON" in told


# The clock


@pytest.mark.parametrize(("seconds", "way"), [(30, "ahead of"), (-30, "behind"), (4, "ahead of"), (-4, "behind")])
def test_a_clock_that_is_off_is_told_with_what_to_do(fake: FakeTwilio, port: int, seconds: int, way: str) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")
    off = datetime.timedelta(seconds=seconds)
    clocks = bad(found(fake, port, clock=lambda: utc_now() + off))
    servers = ["the database server's"] if engines.POSTGRESQL else []  # a file has no clock of its own
    assert all(whose in text for text, whose in zip(clocks, [*servers, "the provider's"], strict=True))
    said = clocks[-1]
    told = re.fullmatch(rf"clock: (\d+) s {way} the provider's; .*`timedatectl set-ntp true`.*", said)
    assert told and abs(int(told[1]) - abs(seconds)) <= 1  # a Date header has whole seconds


def test_a_second_more_or_less_is_no_fault(fake: FakeTwilio, port: int) -> None:
    well_set(fake, f"http://127.0.0.1:{port}")
    for seconds in (-1.2, 1.2):
        off = datetime.timedelta(seconds=seconds)
        assert bad(found(fake, port, clock=lambda off=off: utc_now() + off)) == []  # type: ignore[misc]


# The database and files


def at_home(**more: object) -> list[Finding]:
    """What the doctor finds without the network."""
    settings = Settings(_env_file=None, **{"database_url": "sqlite:///responder.db", **more})  # type: ignore[call-arg,arg-type]
    return list(doctor.examine(settings, utc_now, offline=True))


def test_a_write_is_really_tried_and_taken_back(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE written (at TEXT); CREATE TRIGGER spy AFTER UPDATE ON meta BEGIN"
            " INSERT INTO written VALUES ('now'); END;"
        )
        assert bad(at_home()) == []
        assert connection.execute("SELECT count(*) FROM written").fetchone() == (0,)
        connection.executescript(
            "DROP TRIGGER spy; CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN"
            " SELECT RAISE(ABORT, 'database or disk is full'); END;"
        )
    told = the_bad(at_home())
    assert told.startswith("database cannot be written to: database or disk is full; see RUNBOOK.md")


def test_a_database_that_may_only_be_read_is_told(file: Path) -> None:
    told = bad(at_home(database_url=f"sqlite:///file:{file}?mode=ro&uri=true"))
    assert any(text.startswith("database cannot be written to: attempt to write a readonly") for text in told)


@pytest.mark.parametrize(
    "address",
    ["responder.db", "mysql+pigeon://u:secret@svar.example/x", "://u:secret@x", "postgresql://u@svar.example:secret/x"],
)
def test_an_address_that_is_none_of_a_database_is_told_without_its_password(file: Path, address: str) -> None:
    told = the_bad(at_home(database_url=address))
    assert told.startswith("DATABASE_URL is no address of a database") and "secret" not in told


def test_keys_that_are_not_those_of_the_database_are_told(file: Path) -> None:
    """As after a restore with another `.env`: nobody would hear anything, and no STOPP would be known."""
    ours = {"number_key": "n" * 40, "lookup_key": "l" * 40}
    assert bad(at_home(**ours)) == []  # nobody knows yet
    vault = Vault((ours["number_key"],), (ours["lookup_key"],))
    with closing(Database(f"sqlite:///{file}")) as database:
        rekey(database, vault, utc_now())
        for changed in ({}, {"number_key": f"{'x' * 40},{'n' * 40}"}, {"lookup_key": f"{'x' * 40},{'l' * 40}"}):
            assert bad(at_home(**{**ours, **changed})) == []
        for name in ours:
            told = the_bad(at_home(**{**ours, name: "x" * 40}))
            assert told.startswith(
                f"{name.upper()}: numbers in the database are under a key that is none of it; put it"
            )
        with database.write() as connection:
            sealed = {"number_hash": b"h", "number_sealed": Vault(("lost",), ("l",)).seal("+46701234567")}
            row = {**sealed, "channel": "text", "language": "sv", "place": "x", "state": "active", "created_at": 0.0}
            connection.execute(insert(SubscriptionRow), row)
            connection.exec_driver_sql("DELETE FROM leases")
        rekey(database, vault, utc_now())
        assert "are under a key that is gone" in bad(at_home(**ours))[0]
        both = f"{ours['number_key']},lost"
        rekey(database, Vault((ours["number_key"], "lost"), (ours["lookup_key"],)), utc_now())
        assert [text for text in bad(at_home(**{**ours, "number_key": both})) if "key" in text] == []


def test_a_folder_that_cannot_be_made_is_told(file: Path) -> None:
    assert "cannot be made" in the_bad(at_home(database_url=f"sqlite:///{file}/below/responder.db"))


def test_a_damaged_file_is_told(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    whole = file.read_bytes()
    miscounted = bytearray(whole)
    miscounted[36:40] = b"\0\0\0\7"  # pages that are said to be free
    file.write_bytes(miscounted)
    assert re.match("database is damaged: .*; see RUNBOOK.md, `Restore from a backup`", bad(at_home())[0])
    overwritten = bytearray(whole)
    overwritten[(page - 1) * size : page * size] = b"\xff" * size
    for content in (bytes(overwritten), b"this is no database" * 1000):
        file.write_bytes(content)
        assert the_bad(at_home()).endswith("; see RUNBOOK.md, `Restore from a backup`")


def test_a_disk_that_is_nearly_full_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "free_bytes", lambda _: 400_000_000)
    assert "0.4 GB free; make room" in the_bad(at_home())
    assert soundness.files(Database("sqlite:///responder.db"))[0].name == "responder.db"


def test_files_with_secrets_that_anybody_may_read_are_told_in_a_real_service(file: Path) -> None:
    Path(".env").write_text("# empty\n")
    Path(".env").chmod(0o644)
    file.chmod(0o640)
    real = {**REAL, "helpline_number": "08-1", "security_contact": "mailto:it@svar.example"}
    jobs = "jobs: no jobs process leads"
    told = [text for text in bad(at_home(**real)) if jobs not in text]
    assert told == [".env is open to every user of this machine (0644): `chmod o= .env`"]
    Path(".env").chmod(0o600)
    file.chmod(0o604)
    assert [text for text in bad(at_home(**real)) if jobs not in text] == []
    assert file.stat().st_mode & 0o777 == 0o600, "whoever opens the database takes that away"
    assert bad(at_home()) == []  # only a real service has numbers of real people


def test_a_folder_that_is_named_for_the_database_stays_everybodys(tmp_path: Path) -> None:
    """As `sqlite:////tmp`, typed by root."""
    tmp_path.chmod(0o1777)
    with closing(Database(f"sqlite:///{tmp_path}")):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_real_service_without_a_contact_or_a_jobs_process_is_told(file: Path) -> None:
    told = bad(at_home(**REAL, helpline_number="08-1"))
    assert "SECURITY_CONTACT is missing: whoever finds a hole in the service can tell nobody" in told
    assert any(text.startswith("jobs: no jobs process leads") for text in told)


def test_what_a_restore_holds_back_is_told_until_somebody_lets_it_go(file: Path) -> None:
    with closing(Database("sqlite:///responder.db")) as database, database.write() as connection:
        hold(connection, utc_now(), "anna")
    assert the_bad(at_home()).startswith("jobs: nothing is pushed or sent since a restore")
    assert CliRunner().invoke(main, ["release"], env={"DATABASE_URL": "sqlite:///responder.db"}).exit_code == 0
    assert bad(at_home()) == []


# What is printed


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://svar.example/a", "https://svar.example/a"),
        ("https://user:pass@svar.example/a?key=1#x", "https://svar.example/a?..."),
        ("https://svar.example/\x1b[2Ja\nb", "https://svar.example/ [2Ja b"),
        ("/console/", "/console/"),
        ("user:pass@svar.example", "svar.example"),
        ("", ""),
    ],
)
def test_an_address_is_told_without_what_may_be_a_password(address: str, told: str) -> None:
    assert shown(address) == told


def test_somebody_elses_words_are_one_short_line() -> None:
    assert plain(" a\r\n\tb\x00 ") == "a b"
    assert len(plain("x" * 5000)) == 200

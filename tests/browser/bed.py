"""A real server with its jobs on a database of its own, people who work there, and one of everything to look at."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pyotp
from flask import Flask

from responder.actions import exercise, load, signin, staff
from responder.app import create_app
from responder.core import onetime
from responder.core.access import Operator, Role, sends
from responder.core.broadcast import State
from responder.core.exercise import UNDER_WAY
from responder.core.points import Status
from responder.demo import demo_staff, free_port, served
from responder.jobs import Jobs
from responder.settings import Settings
from responder.store import accounts
from responder.store.engine import Database
from responder.store.queries import read_points, save_points
from responder.web.handset import Handset, Post, in_process
from responder.web.simulator import PASSWORD as DEMO_PASSWORD
from responder.wiring import Service

TOKEN = "a-token-only-the-tests-know"
PASSWORD = "fyra gröna cyklar i regn"
NOBODY = Operator("tests", Role.ADMIN, signed_in=True)  # makes the accounts, and writes nothing
CIA = Operator("cia", Role.COMMUNICATOR, (), NOBODY.name, signed_in=True)  # of the demo's
BERIT = Operator("berit", Role.APPROVER, (), NOBODY.name, signed_in=True)
MOBILES = ("+46701740650", "+46701740651", "+46701740652")
LANDLINE = "+46846500450"


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `secret` is of their authenticator, "" if they have none."""

    name: str
    role: Role
    districts: tuple[str, ...] = ()
    secret: str = ""

    @property
    def operator(self) -> Operator:
        """As the actions know them."""
        return Operator(self.name, self.role, self.districts, NOBODY.name, signed_in=True)


@dataclass
class Bed:
    """A server that runs. `samples`: a kind of thing ("point", "broadcast", ...) to ids of it."""

    url: str
    service: Service
    post: Post = field(repr=False)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def person(self, role: Role, name: str = "", districts: tuple[str, ...] = (), language: str = "en") -> Person:
        """A new account; who can send has an authenticator. A code is taken once, so each test has its own people."""
        name = name or f"{role.value}-{secrets.token_hex(3)}"
        if role is Role.REPORTER and not districts:
            districts = ("Farsta",)
        service = self.service
        staff.add(service.database, service.vault, NOBODY, name, role, service.clock(), districts)
        secret = signin.new_secret() if sends(role) else ""
        with service.database.write() as connection:
            sealed = service.vault.seal(secret) if secret else b""
            accounts.set_credentials(
                connection, name, password_hash=signin.HASHER.hash(PASSWORD), totp_sealed=sealed, language=language
            )
        return Person(name, role, districts, secret)

    def handset(self, number: str) -> Handset:
        """A phone."""
        return Handset(self.post, self.url, TOKEN, number)

    def code(self, person: Person) -> str:
        """The code that their authenticator shows, the next one if it was used already."""
        with self.service.database.read() as connection:
            known = accounts.credentials(connection, person.name)
        assert known is not None
        step = max(int(self.service.clock().timestamp()) // onetime.STEP, known.totp_step + 1)
        return pyotp.TOTP(person.secret).generate_otp(step)

    def begin_exercise(self) -> None:
        """From now on an exercise goes on, with a broadcast of its own; whatever is real is ended first."""
        announcer, now = self.service.announcer, self.service.clock()
        for one in self.service.tracker.newest(BERIT, 100):
            if one.state in (State.SUBMITTED, State.APPROVED, *UNDER_WAY):
                announcer.stop(BERIT, one.id, now)
        for attempt in range(40):  # until what has changed is told
            try:
                exercise.begin(self.service.database, BERIT, "Höstövning", self.service.clock())
                break
            except exercise.ExerciseRefused:
                if attempt == 39:
                    raise
                time.sleep(0.5)
        announcer.draft(CIA, ["everyone"], now, {"sv": "Vatten vid torget."}, "sv", exercise=True)

    def grow_stale(self, person: Person) -> None:
        """Let it be an hour since they proved who they are."""
        with self.service.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE sessions SET fresh_at = fresh_at - 3600 WHERE operator = ?", (person.name,)
            )


@contextmanager
def running(folder: Path, filled: bool = False, **chosen: object) -> Iterator[Bed]:
    """A server with demo points in `folder`, and its jobs; `filled`: with one of everything."""
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    load.prepare(Database(f"sqlite:///{folder / 'browser.db'}"))
    app = app_at(folder, url, **chosen)
    service: Service = app.extensions["responder"]
    load.load_demo(service.database, service.settings.timezone, service.clock(), real=False)
    app.config[DEMO_PASSWORD] = PASSWORD
    demo_staff(service, PASSWORD)
    bed = Bed(url, service, in_process(app.test_client()))
    if filled:
        bed.samples = fill(bed)
    with served(app, "127.0.0.1", port), closing(service.database), Jobs(service):
        yield bed


def fill(bed: Bed) -> dict[str, list[str]]:
    """One of everything that the pages show. Before the jobs run: what is being sent stays so."""
    service, announcer = bed.service, bed.service.announcer
    now = service.clock()
    for number in MOBILES:
        for text in ("12347", "JA"):
            bed.handset(number).text(text)
    for text in ("vart ska vi ta vägen??", '=HYPERLINK("http://x")', "<script>alert(1)</script>"):
        bed.handset(MOBILES[0]).text(text)
    caller = bed.handset(LANDLINE)
    caller.call()
    caller.keys("12347")
    caller.keys("4")
    caller.hang_up()

    with service.database.write() as connection:
        known = read_points(connection)
        hall = replace(
            known[0][0], id="demo-proposed", name="DEMO Förslaget", status=Status.CANDIDATE, confirmed_at=None
        )
        points, versions = [point for point, _ in known], {point.id: version for point, version in known}
        save_points(connection, [*points, hall], versions, now)

    def draft(text: str = "Vattentank vid Farsta centrum till kl 20.") -> int:
        return announcer.draft(CIA, ["everyone"], now, {"sv": text}, "sv").id

    def submitted() -> int:
        id = draft()
        announcer.submit(CIA, id, now)
        return id

    def approved() -> int:
        id = submitted()
        announcer.approve(BERIT, id, announcer.show(BERIT, id, now).broadcast.version, now)
        return id

    def sending() -> int:
        id = approved()
        announcer.send(BERIT, id, now)
        with service.database.write() as connection:
            later = now.timestamp() + 86_400
            connection.exec_driver_sql("UPDATE deliveries SET not_before = ? WHERE broadcast_id = ?", (later, id))
        return id

    broadcasts = {"draft": draft(), "submitted": submitted(), "approved": approved(), "sending": sending()}
    for state, step in (("returned", announcer.return_), ("rejected", announcer.reject)):
        broadcasts[state] = submitted()
        step(BERIT, broadcasts[state], now, "För otydligt.")
    for state in ("paused", "stopped", "unknown"):
        broadcasts[state] = sending()
    announcer.pause(BERIT, broadcasts["paused"], now)
    announcer.stop(BERIT, broadcasts["stopped"], now)
    broadcasts["scheduled"] = approved()
    announcer.send(BERIT, broadcasts["scheduled"], now, now + timedelta(hours=5))
    broadcasts["done"] = approved()
    announcer.send(BERIT, broadcasts["done"], now)  # goes out once the jobs run
    with service.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE deliveries SET state = 'unknown', looked = 6, attempt = 1, claimed_at = ? WHERE broadcast_id = ?",
            (now.timestamp(), broadcasts["unknown"]),
        )
    invited = bed.person(Role.VIEWER, "inga")
    return {
        "point": ["demo-farsta", "demo-skarpnack-3", "demo-farsta-3"],
        "broadcast": [str(id) for id in broadcasts.values()],
        "proposed": [hall.id, "demo-farsta-3"],
        "operator": ["anna", "dan"],
        "token": [signin.Door(service.database, service.vault, service.settings).invite(NOBODY, invited.name, now)],
    }


def app_at(folder: Path, url: str, **chosen: object) -> Flask:
    """The application on the database in `folder`, as it is reached at `url`."""
    usual = {
        "database_url": f"sqlite:///{folder / 'browser.db'}", "public_url": url, "twilio_auth_token": TOKEN,
        "push_settle_seconds": 1,
    }  # fmt: skip
    return create_app(Settings(_env_file=None, **{**usual, **chosen}))  # type: ignore[call-arg,arg-type]


CHROMIUM = Path(shutil.which("chromium") or "/usr/bin/chromium")
MISSING = (
    f"There is no {CHROMIUM}: the tests in a browser need it. On Debian or Ubuntu: apt-get update && apt-get install"
    " --no-install-recommends chromium"
)
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip

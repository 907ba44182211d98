"""A console in this process, and browsers that somebody is signed in with."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

from responder.actions import signin, staff
from responder.actions.signin import Door
from responder.core.access import Operator, Role, sends
from responder.store import accounts
from responder.wiring import Service
from tests.conftest import Running

PASSWORD = "fyra gröna cyklar i regn"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # everybody's authenticator in the tests
BOSS = Operator("boss", Role.ADMIN, signed_in=True)


@dataclass
class Browser:
    """Somebody's browser. `name` is "" while nobody is signed in."""

    console: "Console"
    client: FlaskClient
    name: str = ""
    _token: str = field(default="", repr=False)

    def get(self, path: str, **more: Any) -> TestResponse:
        """Fetch a page."""
        return self.client.get(path, **more)

    def page(self, path: str) -> str:
        """The HTML of a page that must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.location)
        return answer.get_data(as_text=True)

    def post(self, path: str, follow: bool = False, **fields: Any) -> TestResponse:
        """Send a form, with its token against forged requests."""
        self._token = self._token or self._fetch_token()
        return self.client.post(path, data={"csrf_token": self._token, **fields}, follow_redirects=follow)

    def _fetch_token(self) -> str:
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.page("/console/accessibility"))
        assert found
        return found[1]


@dataclass
class Console:
    """A running service and its operators."""

    running: Running

    @property
    def service(self) -> Service:
        """What it is made of."""
        return self.running.app.extensions["responder"]

    @property
    def door(self) -> Door:
        """Who comes in."""
        return Door(self.service.database, self.service.vault, self.service.settings)

    def account(self, name: str, role: Role, districts: tuple[str, ...] = (), by: Operator = BOSS) -> None:
        """An account with PASSWORD, and SECRET if the role can send."""
        service, now = self.service, self.running.clock.now
        with service.database.read() as connection:
            known = accounts.credentials(connection, name)
        if known is None:
            if by is BOSS and name != "boss":
                self.account("boss", Role.ADMIN)
            staff.add(service.database, service.vault, by, name, role, now, districts)
        with service.database.write() as connection:
            accounts.set_credentials(connection, name, password_hash=signin.HASHER.hash(PASSWORD))
            if sends(role):
                accounts.set_credentials(connection, name, totp_sealed=service.vault.seal(SECRET))

    def guest(self) -> Browser:
        """A browser that nobody is signed in with."""
        return Browser(self, self.running.app.test_client())

    def browser(self, role: Role, name: str = "", districts: tuple[str, ...] = (), stale: bool = False) -> Browser:
        """Somebody of `role` who is signed in; `stale`: but has not proved lately who they are."""
        name = name or role.value
        if role is Role.REPORTER and not districts:
            districts = ("Farsta",)
        self.account(name, role, districts)
        browser, token = self.guest(), secrets.token_urlsafe()
        now = self.running.clock.now.timestamp()
        with self.service.database.write() as connection:
            accounts.add_session(connection, signin.hashed(token), name, now, "127.0.0.1", "test")
            if stale:
                accounts.freshen(connection, signin.hashed(token), now - 3600)
        with browser.client.session_transaction() as cookie:
            cookie["id"] = token
        browser.name = name
        return browser


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 is slow on purpose; here it need not be."""
    monkeypatch.setattr(signin, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Compiled(BytecodeCache):
    """Templates are compiled once, not by every application that a test starts."""

    kept: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """See BytecodeCache."""
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See BytecodeCache."""
        self.kept[bucket.key] = bucket.bytecode_to_string()


def nothing_hidden(app: Flask, context: dict[str, Any]) -> None:
    """What a page is given hides nothing that every template may use: a part of another page would find it instead."""
    for_all: dict[str, Any] = {}
    Flask.update_template_context(app, for_all)
    hidden = context.keys() & for_all.keys()
    assert not hidden, f"a page is given {sorted(hidden)}, which every template has already"
    context.update(for_all)


@pytest.fixture
def console(start: Callable[..., Running]) -> Iterator[Console]:
    """A console without points."""
    running = start()
    running.app.jinja_env.bytecode_cache = Compiled()
    running.app.update_template_context = partial(nothing_hidden, running.app)  # type: ignore[method-assign]
    yield Console(running)

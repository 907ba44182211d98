"""What SECURITY.md says of every page: its headers, errors that tell nothing, and whose address is believed."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from responder.actions.signin import Door
from responder.core.access import Role
from tests.conftest import Running
from tests.web.console.conftest import Browser, Console

PAGES = (
    "/console/sign-in",
    "/console/overview",
    "/console/account",
    "/console/nowhere",
    "/console/static/none.css",
    "/x",
)
SECRET_WORDS = "connection to db.internal with the-password failed"


@pytest.fixture
def anna(console: Console) -> Browser:
    return console.browser(Role.ADMIN)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_how_it_may_be_used(anna: Browser, path: str) -> None:
    answer = anna.get(path)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert (
        policy["default-src"] == "'none'" and policy["base-uri"] == "'none'" and policy["frame-ancestors"] == "'none'"
    )
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert int(answer.headers["Strict-Transport-Security"].partition("=")[2].partition(";")[0]) >= 31_536_000
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].lower().endswith("charset=utf-8")
    assert "Access-Control-Allow-Origin" not in answer.headers and "Server" not in answer.headers


@pytest.mark.parametrize("path", ["/console/overview", "/console/account", "/console/sign-in"])
def test_an_error_of_ours_tells_nothing_of_what_it_was(
    anna: Browser, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError(SECRET_WORDS)

    monkeypatch.setattr(Door, "session", breaks)
    with caplog.at_level(logging.ERROR):
        answer = anna.get(path)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 500 and answer.headers["Cache-Control"] == "no-store"
    for word in (SECRET_WORDS, "RuntimeError", "Traceback", "responder/", "werkzeug"):
        assert word not in page
    assert "the-password" in caplog.text  # whoever runs it finds it in the log


def attempts_from(running: Running, forwarded: str) -> list[str]:
    """The address that a failed attempt is counted for."""
    seen: list[str] = []
    door_in = Door.sign_in

    def looking(self: Door, name: str, password: str, code: str, address: str, *more: Any) -> Any:
        seen.append(address)
        return door_in(self, name, password, code, address, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Door, "sign_in", looking)
        guest = Console(running).guest()
        guest._token = guest._fetch_token()
        guest.client.post(
            "/console/sign-in", data={"csrf_token": guest._token, "name": "eva", "password": "wrong", "code": ""},
            headers={"X-Forwarded-For": forwarded}, environ_overrides={"REMOTE_ADDR": "192.0.2.9"},
        )  # fmt: skip
    return seen


def test_an_address_that_somebody_claims_is_not_believed(start: Callable[..., Running]) -> None:
    assert attempts_from(start(), "198.51.100.7") == ["192.0.2.9"]


def test_behind_a_proxy_its_word_alone_counts(start: Callable[..., Running]) -> None:
    assert attempts_from(start(proxy_hops=1), "203.0.113.5, 198.51.100.7") == ["198.51.100.7"]

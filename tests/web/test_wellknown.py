"""/.well-known/security.txt, as RFC 9116 wants it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from responder.settings import SettingsError, load_settings
from tests.conftest import URL, Running

PATH = "/.well-known/security.txt"
CONTACT = "mailto:it@svar.example"


def fields(running: Running) -> list[tuple[str, str]]:
    """(name, value) of each line."""
    answer = running.app.test_client().get(PATH)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; charset=utf-8"
    text = answer.get_data(as_text=True)
    assert text.endswith("\n")
    return [tuple(line.split(": ", 1)) for line in text.splitlines()]  # type: ignore[misc]


def test_it_tells_whom_to_tell_in_which_languages_and_where_it_stands(start: Callable[..., Running]) -> None:
    told = dict(fields(start(security_contact=CONTACT)))
    assert told.pop("Expires")
    assert told == {"Contact": CONTACT, "Preferred-Languages": "sv, en", "Canonical": URL + PATH}


@pytest.mark.parametrize("days", [0, 1, 100, 366, 5000])
def test_it_never_expires_while_it_is_served_and_never_later_than_in_a_year(
    start: Callable[..., Running], days: int
) -> None:
    running = start(security_contact="https://svar.example/tell-us")
    running.clock.pass_time(days=days)
    (expires,) = [value for name, value in fields(running) if name == "Expires"]
    at = datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert timedelta(days=30) < at - running.clock.now < timedelta(days=365)


def test_without_a_contact_there_is_no_such_page(service: Running) -> None:
    assert service.app.test_client().get(PATH).status_code == 404


@pytest.mark.parametrize(
    "value", ["it@svar.example", "http://svar.example", "mailto:", "mailto:a@b\nExpires: never", "https://"]
)
def test_a_contact_that_the_page_could_not_hold_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="SECURITY_CONTACT"):
        load_settings(security_contact=value)


@pytest.mark.parametrize(
    "value", ["", CONTACT, "mailto:a@b?subject=x", "https://svar.example", "https://svar.example/tell?x=1"]
)
def test_an_address_of_mail_or_of_a_page_is_taken(value: str) -> None:
    assert load_settings(security_contact=value).security_contact == value

"""What a service with 46elks must know before it starts, and what the doctor finds at 46elks."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from responder import doctor
from responder.core.finding import Finding
from responder.gateways.elks_check import look_at_elks
from responder.gateways.web_check import Line as Asking
from responder.settings import Settings, SettingsError, load_settings
from responder.wiring import utc_now
from tests import engines
from tests.conftest import URL, Running
from tests.fakes.elks import PASSWORD, SECRET, SETTINGS, USERNAME, FakeElks
from tests.gateways.conftest import KEYS

ALONE = {**SETTINGS, **KEYS, "gateway": "46elks", "public_url": URL}


def settings(**chosen: object) -> Settings:
    return load_settings(**{"_env_file": None, **ALONE, **chosen})


def fault(**chosen: object) -> str:
    """Why a service does not start on these settings."""
    with pytest.raises(SettingsError) as error:
        settings(**chosen).check()
    return str(error.value)


def test_46elks_alone_needs_nothing_of_twilio() -> None:
    settings().check()


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"elks_username": ""}, "ELKS_USERNAME is missing"), ({"elks_password": "change-me"}, "ELKS_PASSWORD is at its"),
        ({"elks_path": ""}, "ELKS_PATH is missing"), ({"elks_from": ""}, "ELKS_FROM is missing"),
        ({"elks_addresses": ""}, "ELKS_ADDRESSES is missing"), ({"elks_addresses": " , "}, "ELKS_ADDRESSES is missing"),
        ({"elks_address_header": "X-Real-IP"}, "ELKS_ADDRESS_HEADER needs PROXY_HOPS"),
        ({"gateway": "46elks,twilio"}, "TWILIO_AUTH_TOKEN is at its default"),
        ({"gateway": "recorder,46elks", "elks_path": ""}, "ELKS_PATH is missing"),
        ({"gateway": "recorder,46elks", "elks_api_url": "https://api.46elks.com"}, "ELKS_API_URL must be on this machine"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(chosen: dict[str, object], said: str) -> None:
    assert fault(**chosen).count(said) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("elks_path", "short"), ("elks_path", "x" * 31), ("elks_path", "x" * 40 + "/"), ("elks_path", "å" * 40),
        ("elks_from", "Stockholm"), ("elks_from", "0701740605"), ("elks_addresses", "46elks.com"),
        ("elks_addresses", "1.2.3.4,1.2.3"), ("elks_addresses", "10.0.0.1/8"), ("elks_address_header", "X Real"),
        ("elks_send_rate", "0"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(name: str, value: str) -> None:
    """A sender that is a name cannot be answered with STOPP; a path that is short can be guessed."""
    with pytest.raises(SettingsError, match=name.upper()):
        settings(**{name: value})


def test_secrets_of_46elks_are_known_to_the_logs() -> None:
    assert {USERNAME, PASSWORD, SECRET} <= set(settings().secrets)


@pytest.mark.parametrize(
    ("gateway", "names"),
    [("46elks", {"46elks"}), ("recorder,46elks", {"twilio", "46elks"}), ("recorder", {"twilio"})],
)
def test_a_service_has_the_gateways_that_are_named_and_no_others(
    start: Callable[..., Running], tmp_path: Path, gateway: str, names: set[str]
) -> None:
    running = start(**{**ALONE, "gateway": gateway, "audio_dir": str(tmp_path / "audio")})
    assert set(running.app.extensions["responder"].gateways) == names
    paths = {
        rule.rule.split("/")[1] for rule in running.app.url_map.iter_rules() if rule.methods == {"POST", "OPTIONS"}
    }
    assert paths & {"twilio", "46elks"} == names


@pytest.fixture
def fake() -> Iterator[FakeElks]:
    """46elks, told of us as it should be."""
    with FakeElks() as fake:
        fake.sms_url, fake.voice_start = f"{URL}/46elks/{SECRET}/text", f"{URL}/46elks/{SECRET}/voice"
        yield fake


def found(fake: FakeElks, **chosen: object) -> list[Finding]:
    """What is found at 46elks."""

    async def looking() -> list[Finding]:
        async with Asking(1.0) as line:
            return [finding async for finding in look_at_elks(line, settings(**{"elks_api_url": fake.url, **chosen}))]

    return asyncio.run(looking())


def test_where_all_is_well_nothing_is_bad_and_no_secret_is_told(fake: FakeElks) -> None:
    findings = found(fake)
    assert all(finding.well for finding in findings)
    said = "\n".join(finding.text for finding in findings)
    assert "46elks: 250.00 SEK left" in said and "posts to PUBLIC_URL, texts and calls" in said
    for secret in (SECRET, USERNAME, PASSWORD, "+46766860000"):
        assert secret not in said


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"sms_url": ""}, f"texts: sms_url is empty, should be {URL}/46elks/ELKS_PATH/text"),
        ({"sms_url": f"{URL}/46elks/{'y' * 40}/text"}, "texts: sms_url is "),
        ({"voice_start": "https://old.example/call"}, "calls: voice_start is https://old.example/call, should be"),
        ({"voice_start": f"{URL}/46elks/{SECRET}/voice?"}, "should be"),
        ({"active": "no"}, "is not an active number"), ({"balance": 500_000}, "50.00 SEK left: nothing is sent once"),
        ({"fewer_than": {"capabilities": ["sms"]}}, "takes no calls: it can sms"),
    ],
)  # fmt: skip
def test_what_is_wrong_there_has_a_sentence_of_its_own(fake: FakeElks, broken: dict[str, object], said: str) -> None:
    for name, value in broken.items():
        setattr(fake, name, value)
    (wrong,) = [finding.text for finding in found(fake) if not finding.well]
    assert said in wrong and SECRET not in wrong


def test_an_account_that_is_not_known_and_an_api_that_is_away_are_told(fake: FakeElks) -> None:
    (unknown,) = found(fake, elks_password="another")
    assert not unknown.well and "does not know ELKS_USERNAME with ELKS_PASSWORD (401)" in unknown.text
    fake.outage = "500"
    assert "is answered 500" in found(fake)[0].text
    fake.outage = None
    (away,) = found(fake, elks_api_url="http://127.0.0.1:9")
    assert "cannot be connected to" in away.text and "nothing can be sent through it" in away.text


def test_the_doctor_looks_at_46elks_where_it_is_a_gateway(fake: FakeElks, service: Running) -> None:
    values = {
        "gateway": "recorder,46elks", "elks_api_url": fake.url, "database_url": engines.url(service.path),
        "public_url": "http://127.0.0.1:9",
    }  # fmt: skip
    said = [finding.text for finding in doctor.examine(settings(**values), utc_now)]
    assert "46elks knows ELKS_USERNAME with ELKS_PASSWORD" in said and not [s for s in said if "signature" in s]


def test_behind_a_proxy_it_must_be_said_which_header_names_the_client() -> None:
    """Else every request comes from the proxy, and none of 46elks' is let in."""
    assert "ELKS_ADDRESS_HEADER is missing" in fault(proxy_hops=1)

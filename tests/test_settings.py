"""Settings: each explained in .env.example, and a real service that does not start on a default or missing secret."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from responder.settings import Settings, SettingsError, key_list, load_settings
from tests.conftest import Running, a_point

EXAMPLE = (Path(__file__).parents[1] / ".env.example").read_text(encoding="utf-8")
REAL = {
    "gateway": "twilio", "public_url": "https://svar.example", "secret_key": "s" * 40, "number_key": "n" * 40,
    "lookup_key": "l" * 40, "twilio_account_sid": "AC1", "twilio_auth_token": "t" * 32, "twilio_from": "+46770000000",
}  # fmt: skip


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg,arg-type]


def test_every_setting_stands_in_the_example_with_a_comment() -> None:
    named = re.findall(r"(?m)^([A-Z_]+)=", EXAMPLE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)
    before = ""
    for line in EXAMPLE.splitlines():
        if "=" in line and not line.startswith("#"):
            together = (
                "TWILIO_FROM",
                "TWILIO_ACCOUNT_SID",
                "PRICE_SEGMENT",
                "PRICE_CALL",
                "SESSION_IDLE_MINUTES",
            )  # one comment for several
            assert before.startswith("#") or before.split("=")[0] in together, line
        before = line


def test_what_stands_in_the_example_is_the_default() -> None:
    values = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", EXAMPLE))
    default = settings()
    for name in Settings.model_fields:
        if name != "flows_dir":
            assert str(getattr(default, name)).removesuffix(".0") == values[name.upper()], name
    assert default.flows_dir.name == values["FLOWS_DIR"]


def test_a_real_service_with_all_its_secrets_starts() -> None:
    settings(**REAL).check()


@pytest.mark.parametrize("name", ["secret_key", "number_key", "lookup_key", "twilio_account_sid", "twilio_auth_token"])
@pytest.mark.parametrize("value", ["", "change-me"])
def test_a_real_service_refuses_a_missing_or_default_secret_and_names_it(
    start: Callable[..., Running], name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        start(**{**REAL, name: value})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"number_key": "short"}, "NUMBER_KEY: key 1 is shorter than 32"),
        ({"lookup_key": f"{'l' * 40},short"}, "LOOKUP_KEY: key 2"),
        ({"number_key": f"{'n' * 40},change-me"}, "NUMBER_KEY: key 2"),
        ({"number_key": ","}, "NUMBER_KEY: one to 4 keys"),
        ({"lookup_key": ",".join(c * 40 for c in "abcde")}, "LOOKUP_KEY: one to 4 keys"),
        ({"twilio_from": ""}, "TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID"),
        ({"public_url": "http://svar.example"}, "PUBLIC_URL must begin with https"),
    ],
)
def test_a_real_service_refuses_weak_settings(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        settings(**{**REAL, **changed}).check()


def test_no_service_starts_without_a_key_or_on_more_than_a_number_is_looked_up_by() -> None:
    for changed in ({"number_key": ""}, {"lookup_key": " , "}, {"lookup_key": "a,b,c,d,e"}):
        with pytest.raises(SettingsError, match=next(iter(changed)).upper()):
            settings(**changed).check()
    with pytest.raises(SettingsError, match="at least one key"):
        key_list(",")
    settings(lookup_key="a,b,c,d").check()


def test_a_real_service_does_not_start_on_demo_points(start: Callable[..., Running]) -> None:
    start().put(a_point("demo-a", name="DEMO A"))
    with pytest.raises(SettingsError, match="demo-a"):
        start(**REAL)


@pytest.mark.parametrize(
    ("name", "value"),
    [("TIMEZONE", "Europe/Nowhere"), ("PUBLIC_URL", "svar.example"), ("GATEWAY", "pigeon"), ("STALE_AFTER", "0"),
     ("RETAIN_DAYS", "-1"), ("STALE_AFTER", "noon"), ("STALE_AFTER", "inf"), ("STALE_AFTER", "1e9"),
     ("HOST_ASK_HOURS", "inf"), ("REPLY_COUNTRIES", ""), ("REPLY_COUNTRIES", "SE;NO"), ("REPLY_COUNTRIES", "SE,UK"),
     ("SUBSCRIBE_COUNTRIES", "Sverige"), ("HELPLINE_NUMBER", ""), ("HELPLINE_NUMBER", "ring oss"),
     ("SENDER_NAME", " ")],
)  # fmt: skip
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_file_of_settings_that_is_not_utf_8_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("RETAIN_DAYS=7\nSENDER_NAME=Malmö stad\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env, line 2: not UTF-8"):
        load_settings()


def test_countries_may_be_written_small_and_with_spaces_and_nobody_need_be_able_to_subscribe() -> None:
    assert settings(reply_countries="se, no", subscribe_countries="").reply_countries == "se, no"

"""A modem in GATEWAY needs its database, and a database the modem in GATEWAY; what deploy/modem installs fits."""

import re
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from responder.gateways.modem_sender import ModemSender
from responder.gateways.recorder import RecorderSender
from responder.gateways.smsd import ALIVE
from responder.settings import Settings, SettingsError
from responder.wiring import _modem_sender
from tests.gateways.conftest import KEYS

DEPLOY = Path(__file__).parents[2] / "deploy" / "modem"
REAL = {**KEYS, "gateway": "modem", "public_url": "https://svar.example", "modem_database": "/var/lib/smsd.db"}


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg,arg-type]


def test_a_real_service_with_a_modem_alone_starts_and_without_its_database_does_not() -> None:
    settings(**REAL).check()
    with pytest.raises(SettingsError, match="MODEM_DATABASE is missing"):
        settings(**{**REAL, "modem_database": ""}).check()


@pytest.mark.parametrize("gateway", ["recorder", "twilio"])
def test_a_modem_that_nobody_reads_is_refused(gateway: str) -> None:
    with pytest.raises(SettingsError, match="modem is not in GATEWAY"):
        settings(**{**REAL, "gateway": gateway}).check()


@pytest.mark.parametrize("wrong", [{"modem_rate": 0}, {"modem_rate": -1}, {"modem_phone_id": "a b"}])
def test_a_rate_and_a_name_must_be_some(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="modem"):
        settings(**wrong)


def test_without_a_database_nothing_leaves_this_machine_by_a_modem_and_nobody_is_called_by_one() -> None:
    nobody = _modem_sender(settings(gateway="recorder,modem"))
    assert isinstance(nobody, RecorderSender) and not nobody.calls and RecorderSender().calls
    modem = _modem_sender(settings(**{**REAL, "modem_rate": 0.5}))
    assert isinstance(modem, ModemSender) and (modem.calls, modem.rate) == (False, 0.5)


@pytest.fixture
def daemon() -> Callable[[str], str]:
    read = ConfigParser(inline_comment_prefixes=None)
    read.read(DEPLOY / "gammu-smsdrc", encoding="utf-8")
    return lambda name: read["smsd"][name]


def test_the_daemon_is_set_up_as_the_service_needs_it(daemon: Callable[[str], str]) -> None:
    assert (daemon("service"), daemon("driver"), daemon("maxretries")) == ("sql", "sqlite3", "0")
    assert float(daemon("statusfrequency")) * 2 < ALIVE
    assert int(daemon("deliveryreportdelay")) >= 36_000
    guide = (DEPLOY / "README.md").read_text(encoding="utf-8")
    path = daemon("dbdir") + daemon("database")
    assert f"MODEM_DATABASE={path}" in guide and f"MODEM_PHONE_ID={daemon('phoneid')}" in guide


def test_what_the_guide_copies_exists_and_the_units_reach_the_same_folder() -> None:
    guide = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"deploy/modem/([\w.-]+)", guide):
        assert (DEPLOY / name).exists(), name
    assert "ReadWritePaths=/var/lib/gammu-smsd" in (DEPLOY / "responder-jobs.conf").read_text()
    assert "StateDirectory=gammu-smsd" in (DEPLOY / "gammu-smsd.conf").read_text()

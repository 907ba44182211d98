"""A record is one line, says what it belongs to, and holds no number and no secret."""

import io
import json
import logging
import sys
from typing import Any

import pytest

from responder import logs
from responder.settings import Settings

NUMBERS = [
    "+46701234567", "46701234567", "0701234567", "070-123 45 67", "070 123 45 67", "+46 70 123 45 67",
    "+46 (0)70-123 45 67", "0046701234567", "08-123 45 67", "+4684650040", "+15551234567", "070\u00a0123\u00a045\u00a067",
    "070–1234567", "%2B46701234567", "tel:+46701234567", "From=+46701234567", "nr0701234567", "'+46701234567',",
    "197001011234", "٠٧٠١٢٣٤٥٦٧",
]  # fmt: skip
HARMLESS = [
    "SM0123456789abcdef0123456789abcdef", "CA00000000000000000000000000000001", "AC11111111111111111111111111111111",
    "2026-11-24T13:20:00+00:00", "2026-11-24 13:20:00.123456", "2026-11-24", "1764125881.25",
    "550e8400-e29b-41d4-a716-446655440000", "00000000-0000-4000-8000-000000000001",
    "delivery 1234567: unclear", "broadcast:1234567", "/twilio/receipts/1234567", "a receipt for 1234567 is lost",
    "27.0.1", "0003", "12347", "123 47", "127.0.0.1:8791 (1408)", "+4670*****05", "port 8000", "1 000 000"[:5], "HTTP 429, 20429",
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_what_looks_like_a_number_is_masked_wherever_it_stands(number: str) -> None:
    for text in (
        number,
        f"a text from {number} came",
        f"{number}:{number}",
        f"2026-11-24 {number}",
        f"delivery {number}",
    ):
        said = logs.masked(text)
        digits = "".join(c for c in said.replace("2026-11-24", "") if c.isdigit())
        assert len(digits) <= 4 + 2 * said.count("***"), said
        assert "***" in said


@pytest.mark.parametrize("text", HARMLESS)
def test_what_helps_and_is_no_number_stays(text: str) -> None:
    assert logs.masked(text) == text
    assert logs.masked(f"{text} from +46701234567") == f"{text} from ***67"


def line(style: str = "json", secrets: tuple[str, ...] = (), *, level: int = logging.INFO, **record: Any) -> str:
    made = {
        "name": "responder.x",
        "level": level,
        "pathname": "x.py",
        "lineno": 1,
        "msg": "",
        "args": (),
        "exc_info": None,
    }
    fields = record.pop("fields", None)
    entry = logging.LogRecord(**{**made, **record})
    if fields:
        entry.fields = fields
    return logs.Line(style, secrets).format(entry)


def test_a_record_is_one_line_of_json_with_time_level_logger_event_and_process() -> None:
    said = line(msg="two\nlines %s", args=("and more",))
    assert "\n" not in said
    entry = json.loads(said)
    assert (entry["level"], entry["logger"], entry["event"]) == ("info", "responder.x", "two\nlines and more")
    assert entry["time"].endswith("+00:00")
    assert entry["process"] > 0


def test_a_record_says_what_was_under_way() -> None:
    with logs.bound(request="r-1", delivery=12345678):
        with logs.bound(owner="host-12345678"):
            inner = json.loads(line(msg="x"))
        outer = json.loads(line(msg="x", fields={"status": 200}))
    assert (inner["request"], inner["delivery"], inner["owner"]) == ("r-1", 12345678, "host-12345678")
    assert (outer["request"], outer["status"]) == ("r-1", 200)
    assert "owner" not in outer
    assert "request" not in json.loads(line(msg="x"))


def test_a_traceback_has_no_number_and_no_values_of_variables() -> None:
    def fails(number: str) -> None:
        kept = "what somebody wrote"  # a value that no traceback may show
        raise ValueError(f"cannot send to {number}, {len(kept)}")

    try:
        fails("+46701234567")
    except ValueError:
        said = json.loads(line(msg="it failed", exc_info=sys.exc_info()))
    assert "ValueError: cannot send to ***67" in said["exception"]
    assert "1234567" not in said["exception"]
    assert '"what somebody wrote"  #' not in said["exception"]


@pytest.mark.parametrize("style", ["json", "text"])
def test_secrets_of_the_settings_and_what_may_be_one_in_an_address_are_left_out(style: str) -> None:
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, secret_key="s3cret-key-of-forty-letters", number_key="first-key, second-key", metrics_token="m" * 20,
    )  # fmt: skip
    for secret in ("s3cret-key-of-forty-letters", "first-key", "second-key", "m" * 20):
        assert secret not in line(style, settings.secrets, msg=f"it is {secret}!")
    for text, kept in (
        ("GET /console/invitation/aBc-d_e?x=1 HTTP/1.1", "/console/invitation/***"),
        ("GET /simulator?token=abc&Body=hej HTTP/1.1", "/simulator?***"),
        ("postgresql+psycopg://user:aBc@db/x", "://***@db/x"),
        ("Authorization: Bearer abc.def", "Bearer ***"),
    ):
        said = line(style, msg=text)
        assert kept in said
        assert "abc" not in said.lower()
    assert "change-me" in line(style, settings.secrets, msg="TWILIO_AUTH_TOKEN is change-me")


def test_arguments_that_do_not_fit_are_not_printed() -> None:
    said = json.loads(line(msg="%d of %d", args=("Kalle Anka",)))
    assert said["event"] == "%d of %d (with arguments that do not fit)"


def test_for_people_it_is_one_line_too_and_a_traceback_follows() -> None:
    with logs.bound(request="r-1"):
        said = line("text", msg="two\nlines", level=logging.ERROR)
    assert "\n" not in said
    assert "error responder.x two\\nlines request=r-1" in said
    try:
        raise KeyError("x")
    except KeyError:
        said = line("text", msg="it failed", exc_info=sys.exc_info())
    first, *more = said.splitlines()
    assert "it failed" in first
    assert more[0].startswith("Traceback")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to stderr once logs are installed."""
    stream = io.StringIO()
    for name in (None, "twilio", "sqlalchemy.engine", "alembic", "apscheduler"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "level", logger.level)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        logs.install("json")
    return stream


@pytest.mark.parametrize(
    "name",
    [
        "gunicorn.error",
        "gunicorn.access",
        "werkzeug",
        "sqlalchemy.pool",
        "alembic",
        "apscheduler.scheduler",
        "aiohttp.client",
        "twilio.http_client",
    ],
)
def test_what_libraries_say_goes_the_same_way(name: str, heard: io.StringIO) -> None:
    logging.getLogger(name).error("%s called", "+46701234567")
    entry = json.loads(heard.getvalue())
    assert (entry["logger"], entry["event"]) == (name, "***67 called")


@pytest.mark.parametrize("name", ["twilio.http_client", "sqlalchemy.engine.Engine"])
def test_libraries_that_would_tell_numbers_or_values_are_kept_quiet(name: str, heard: io.StringIO) -> None:
    logging.getLogger(name).info("POST Body=hej&To=%s", "+46701234567")
    assert heard.getvalue() == ""


def test_installed_again_it_does_not_say_everything_twice(heard: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", heard)
    logs.install("text")
    logs.install("json")
    logging.getLogger("responder").info("once")
    assert heard.getvalue().count("once") == 1

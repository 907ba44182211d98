"""The whole service at work, from a text to a receipt and an operator who signs in: what its logs hold, and what not."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pyotp
import pytest

from responder import logs
from responder.core.access import Role
from responder.core.points import Status
from responder.jobs import Jobs
from responder.ports import Inbound
from tests.conftest import TOKEN, a_point
from tests.sending.conftest import LANDLINE, MOBILE, OTHER, Line
from tests.web.console.conftest import PASSWORD, SECRET, Console

KEYS = {"number_key": "nummernyckel-som-ingen-vet-1234", "lookup_key": "söknyckel-som-ingen-vet-åttiofem"}
SECRET_KEY = "kaknyckel-som-ingen-vet-åttiosex"
WORDS = ("Kalle Anka behöver insulin på Drakenbergsgatan", "vet inte var jag bor", "snälla hjälp mormor")


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Everything that is logged from here on, down to DEBUG, as it would stand in the log."""
    stream, handler, root = io.StringIO(), logging.StreamHandler(), logging.getLogger()
    handler.setStream(stream)
    monkeypatch.setattr(root, "level", logging.DEBUG)
    for name in ("twilio", "sqlalchemy.engine", "alembic", "apscheduler"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)
    logs.install("json", level=logging.DEBUG)
    secrets = (*KEYS.values(), SECRET_KEY, TOKEN)
    handler.setFormatter(logs.Line("json", secrets))
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)


def fail(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing can be answered, for a reason that names the number."""

    def fails(inbound: Inbound, _render: object) -> str:
        raise ValueError(f"nothing to say to {inbound.sender}")

    monkeypatch.setattr(line.service.answerer, "_recorded", fails)


def test_no_number_no_word_and_no_secret_is_in_any_record(
    connect: Callable[..., Line], records: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = connect(**KEYS, secret_key=SECRET_KEY)
    running, client = line.running, line.running.app.test_client()
    running.put(a_point("near"), a_point("far", lat=59.26))

    for words in (*WORDS, "12347", "JA", "MER", "english", "TEST"):
        line.text(MOBILE, words)
    line.text(OTHER, "START 12347")
    line.text("+19005551234", "12347")  # a premium number, which is not answered
    phone = running.another_phone(LANDLINE)
    phone.call(), phone.keys("12347"), phone.speak(WORDS[1])

    line.fake.refuse(OTHER, 21610)  # it has opted out at the provider
    line.set("near", Status.CLOSED)
    assert line.push()
    assert line.send() == 3
    with Jobs(line.service) as jobs:
        jobs.tick()
    line.text(MOBILE, "STOPP")

    for path in (f"/twilio/sms?From=%2B{MOBILE[1:]}", f"/twilio/{MOBILE}", f"/twilio/receipts/{MOBILE[1:]}"):
        client.post(path, data={"From": MOBILE, "Body": WORDS[0]}, headers={"X-Twilio-Signature": "falsk-signatur"})
    fail(line, monkeypatch)
    assert "P4 Stockholm" in line.text(MOBILE, WORDS[2])

    console = Console(running)
    console.account("eva", Role.ADMIN)
    browser = console.guest()
    code = pyotp.TOTP(SECRET).at(running.clock.now)
    for password in ("fel-lösenord-av-eva", PASSWORD):
        browser.post("/console/sign-in", name="eva", password=password, code=code)
        browser._token = ""
    browser.post("/console/operators/new", name="kalle", role="viewer", proof=code)
    for path in ("/console/invitation/inbjudan-som-ingen-vet", f"/console/{MOBILE}?token=inbjudan-som-ingen-vet"):
        browser.get(path)
    assert "eva" in browser.page("/console/account")
    cookie = next(iter(browser.client._cookies.values()))

    told = records()
    raw = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in told)
    assert len(told) > 20
    assert {"responder.request", "responder.jobs", "responder.push", "responder.deliver"} <= {e["logger"] for e in told}
    assert any("Traceback" in entry.get("exception", "") for entry in told)
    for number in (MOBILE, OTHER, LANDLINE, "+19005551234"):
        for written in (number, number[1:], "0" + number[3:], number[3:]):
            assert written not in raw
    for word in (*WORDS, "Drakenbergsgatan", "insulin", "mormor"):
        assert word not in raw

    secrets = (
        *KEYS.values(),
        SECRET_KEY,
        TOKEN,
        PASSWORD,
        SECRET,
        "fel-lösenord",
        "inbjudan",
        "falsk-signatur",
        cookie.value,
    )
    for secret in secrets:
        assert secret not in raw
    assert f'"{code}"' not in raw


def asked(line: Line, records: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The records of a page that somebody asked for: of an ordinary reply there is none, it is counted."""
    before = len(records())
    line.running.app.test_client().get("/console/accessibility", headers={"X-Request-Id": "from-the-proxy_1.2"})
    return records()[before:]


def test_a_request_is_called_by_one_name_in_every_record_and_in_the_answer(
    line: Line, records: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(line, monkeypatch)
    before = len(records())
    phone = line.running.another_phone(MOBILE)
    headers: dict[str, str] = {}

    def post(path: str, form: dict[str, str], more: dict[str, str]) -> tuple[int, str]:
        answer = line.running.app.test_client().post(
            path, data=form, headers={**more, "X-Request-Id": "from-the-proxy_1.2"}
        )
        headers.update(answer.headers)
        return answer.status_code, answer.get_data(as_text=True)

    phone.post = post
    assert "P4 Stockholm" in phone.text("12347", "SM1")
    assert headers["X-Request-Id"] == "from-the-proxy_1.2"
    of_it = [entry for entry in records()[before:] if entry["logger"].startswith("responder")]
    of_it += [entry for entry in asked(line, records) if entry["logger"].startswith("responder")]
    assert [entry["logger"] for entry in of_it] == ["responder.web", "responder.request"]
    assert {entry.get("request") for entry in of_it} == {"from-the-proxy_1.2"}


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("550e8400-e29b-41d4-a716-446655440000", True), ("a.b_c-1", True), ("x" * 64, True), ("x" * 65, False), ("", False),
        ("two words", False), ("<script>", False), ("å", False), ("+46701740605", False), ("0701740605", False),
        ("0a17406055550123f00d4670174060aa", True), ("46701740605", False), ("4" * 32, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", ["X-Request-Id", "I-Twilio-Idempotency-Token"])
def test_a_name_from_outside_is_taken_if_it_is_short_and_plain_and_no_number(
    line: Line, header: str, given: str, is_taken: bool
) -> None:
    client = line.running.app.test_client()
    names = {client.get("/healthz", headers={header: given}).headers["X-Request-Id"] for _ in range(2)}
    assert (names == {given}) == is_taken
    assert is_taken or len(names) == 2


def test_what_is_sent_is_logged_under_its_delivery_and_its_broadcast(
    line: Line, records: Callable[[], list[dict[str, Any]]]
) -> None:
    for number in (MOBILE, OTHER):
        line.text(number, "START 12347")
        line.fake.refuse(number, 21211)  # for good
    line.set("near", Status.CLOSED)
    line.push()
    before = len(records())
    line.send("host-1")
    said = [entry for entry in records()[before:] if "refused for good" in entry["event"]]
    assert len({entry["delivery"] for entry in said}) == 2
    assert {(entry["broadcast"], entry["owner"]) for entry in said} == {(2, "host-1")}


def test_each_tick_has_a_name_of_its_own(line: Line, records: Callable[[], list[dict[str, Any]]]) -> None:
    jobs = Jobs(line.service, "host-1")
    jobs.lead()
    for status in (Status.CLOSED, Status.OPEN):
        line.set("near", status)
        line.running.clock.pass_time(seconds=61)
        jobs.lead()
        jobs.tick()
    pushes = [entry for entry in records() if entry["logger"] == "responder.push"]
    assert len(pushes) > 1
    assert len({entry["request"] for entry in pushes}) == 2
    assert {entry["owner"] for entry in records() if entry["logger"] in ("responder.push", "responder.jobs")} == {
        "host-1"
    }

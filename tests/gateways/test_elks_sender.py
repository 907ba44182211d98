"""46elks' API, as our sender meets it: what is surely not sent, what may have been, and what its list proves."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from responder.core.delivery import Answer, is_alarm, refusal
from responder.gateways import in_time
from responder.gateways.elks_paths import Paths
from responder.gateways.elks_sender import ElksSender
from responder.ports import NotSent, Sent, Unclear
from responder.wiring import utc_now
from tests.conftest import URL
from tests.fakes.elks import CREDITS, NUMBER, PASSWORD, SECRET, UNKNOWN, USERNAME, FakeElks
from tests.fakes.values import Faults, NoAnswer
from tests.gateways import answers
from tests.gateways.answers import Work, outcome
from tests.sending.conftest import LANDLINE, MOBILE, OTHER

RECEIPTS = "/46elks/receipts/7?attempt=1"
HOUR = timedelta(hours=1)


@pytest.fixture
def fake() -> Iterator[FakeElks]:
    """46elks, whose receipts go nowhere."""
    with FakeElks(callback=lambda *_: (200, ""), faults=Faults(receipt_retries=())) as fake:
        yield fake


def sender_at(url: str, password: str = PASSWORD, timeout: float = 20.0) -> ElksSender:
    return ElksSender(USERNAME, password, url, Paths(URL, SECRET), NUMBER, NUMBER, 8, timeout)


def talk(url: str, work: Work, **more: Any) -> Any:
    """What `work` gives with a sender, or how it failed."""

    async def run() -> Any:
        return await outcome(sender_at(url, **more), work)

    return asyncio.run(run())


def text(fake: FakeElks, body: str = "Hej", number: str = MOBILE, **more: Any) -> Any:
    return talk(fake.url, lambda sender: sender.text(number, body, RECEIPTS, 3600), **more)


def find(fake: FakeElks, number: str = MOBILE, call: bool = False, since: timedelta = HOUR) -> Any:
    return talk(fake.url, lambda sender: sender.find(number, call, utc_now() - since))


def test_receipts_go_to_the_secret_address(fake: FakeElks) -> None:
    text(fake)
    assert fake.accepted[0].callback == f"{URL}/46elks/{SECRET}/receipts/7?attempt=1"


def test_a_call_begins_with_its_document(fake: FakeElks) -> None:
    document = json.dumps({"play": "https://a/x.wav"})
    fake.phone(LANDLINE).behaves = NoAnswer()
    id = talk(fake.url, lambda sender: sender.call(LANDLINE, document, RECEIPTS))
    (made,) = fake.accepted_calls
    assert (made.sid, made.callback) == (id, f"{URL}/46elks/{SECRET}/receipts/7?attempt=1")
    assert made.body == document


@pytest.mark.parametrize(
    ("code", "status", "answer", "alarm"),
    [(CREDITS, 403, Answer.HALT, True), (UNKNOWN, 400, Answer.FOR_GOOD, False), (99, 400, Answer.ODD, False)],
)
def test_a_refusal_is_sorted_by_what_it_says(
    fake: FakeElks, code: int, status: int, answer: Answer, alarm: bool
) -> None:
    fake.refuse(MOBILE, code)
    error = text(fake)
    assert isinstance(error, NotSent) and error.status == status
    assert (refusal(error.status, error.code), is_alarm(error.code)) == (answer, alarm)


def test_an_unknown_account_halts_everything(fake: FakeElks) -> None:
    error = text(fake, password="another")
    assert isinstance(error, NotSent) and refusal(error.status, error.code) is Answer.HALT


def test_too_fast_waits_for_as_long_as_it_asks(fake: FakeElks) -> None:
    fake.faults = Faults(too_many=1, retry_after=7)
    error = text(fake)
    assert isinstance(error, NotSent) and (error.wait, refusal(error.status, error.code)) == (7, Answer.SLOW)


@pytest.mark.parametrize("fault", ["drop", "lose", "error_before", "error_after", "stall_before", "stall_after"])
def test_what_ends_without_an_answer_is_unclear(fake: FakeElks, fault: str) -> None:
    fake.faults = replace(Faults(stall_seconds=1.5), **{fault: 1.0})  # type: ignore[arg-type]
    assert isinstance(text(fake, timeout=0.5), Unclear)


@pytest.mark.parametrize(("outage", "error"), [("500", Unclear), ("hang", Unclear), ("refuse", NotSent)])
def test_an_outage_says_whether_anything_was_sent(fake: FakeElks, outage: Any, error: type[Exception]) -> None:
    url = fake.url
    fake.outage = outage
    assert isinstance(talk(url, lambda sender: sender.text(MOBILE, "Hej", RECEIPTS, 60), timeout=0.5), error)
    assert isinstance(talk(url, lambda sender: sender.find(MOBILE, False, utc_now()), timeout=0.5), error)


def test_the_list_is_read_page_by_page_and_no_further_than_asked(fake: FakeElks) -> None:
    async def many(sender: ElksSender) -> list[Sent]:
        for n in range(230):
            await sender.text(MOBILE, f"Nummer {n}", RECEIPTS, 60)
        await sender.text(OTHER, "Hej", RECEIPTS, 60)
        return await sender.find(MOBILE, False, utc_now() - HOUR)

    found = talk(fake.url, many)
    assert [sent.body for sent in found] == [f"Nummer {n}" for n in reversed(range(230))]
    assert find(fake, since=-HOUR) == []


def test_calls_are_found_among_everybodys(fake: FakeElks) -> None:
    async def many(sender: ElksSender) -> list[Sent]:
        for n in range(120):
            await sender.call(f"+46850000{n:03d}", '{"hangup": "reject"}', RECEIPTS)
        return await sender.find("+46850000003", True, utc_now() - HOUR)

    (found,) = talk(fake.url, many)
    assert found.body == "" and found.created.tzinfo is not None


def test_neither_what_came_in_nor_what_we_replied_counts_as_sent(fake: FakeElks) -> None:
    fake.sms_url = f"{URL}/x"
    fake._callback = lambda *_: (200, "Samma text")
    assert fake.text(MOBILE, "Samma text") == "Samma text"
    assert find(fake) == []
    id = text(fake, "Samma text")
    assert [sent.id for sent in find(fake)] == [id]


def test_a_list_that_lags_behind_does_not_show_it_yet(fake: FakeElks) -> None:
    fake.faults = Faults(list_delay=0.3)
    text(fake)
    assert find(fake) == []
    time.sleep(0.35)
    assert len(find(fake)) == 1


ROW = {"id": "s1", "to": MOBILE, "direction": "outgoing", "message": "a\r\nb", "created": "2026-11-26T08:00:00.5"}
EARLY = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


def answered(status: int, body: str, work: Work) -> Any:
    return answers.answered(status, body, lambda url: sender_at(url, timeout=2.0), work)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"data": {}}',
        '{"data": [1]}',
        '{"data": [{}]}',
        '{"data": [{"created": "nu"}]}',
        "<html>",
    ],
)
def test_a_list_that_cannot_be_read_proves_nothing(body: str) -> None:
    assert isinstance(answered(200, body, lambda sender: sender.find(MOBILE, False, EARLY)), Unclear)


def test_a_list_without_end_proves_nothing() -> None:
    page = json.dumps({"data": [ROW], "next": "2026-11-26T08:00:00"})
    assert isinstance(answered(200, page, lambda sender: sender.find(MOBILE, False, EARLY)), Unclear)


def test_a_line_break_is_a_line_break_and_a_time_is_utc() -> None:
    page = json.dumps({"data": [ROW, {**ROW, "to": OTHER}, {**ROW, "created": "2026-11-26T06:59:59Z"}]})
    found = answered(200, page, lambda sender: sender.find(MOBILE, False, EARLY))
    assert found == [Sent("s1", "a\nb", datetime(2026, 11, 26, 8, 0, 0, 500_000, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("status", "body", "kind", "answer"),
    [
        (200, "{}", Unclear, None), (200, '{"id": ""}', Unclear, None), (200, "[]", Unclear, None),
        (200, '{"id": "a\\u0000b"}', Unclear, None), (200, '{"id": "\\ud800"}', Unclear, None),
        (200, '{"id": "c1", "state": "failed"}', NotSent, Answer.ODD), (302, "", Unclear, None),
        (408, "", Unclear, None), (500, "", Unclear, None), (503, "Not enough credits", Unclear, None),
        (402, "", NotSent, Answer.HALT), (403, "Invalid sender", NotSent, Answer.HALT),
        (400, "Your balance is too low", NotSent, Answer.HALT), (400, "Missing key from", NotSent, Answer.ODD),
        (400, "The 'to' number is not valid", NotSent, Answer.FOR_GOOD), (404, "Not found", NotSent, Answer.ODD),
        (400, "\udcff\x00".encode("utf-8", "surrogatepass").decode("latin-1"), NotSent, Answer.ODD),
    ],
)  # fmt: skip
def test_every_answer_is_sorted(status: int, body: str, kind: type[Exception], answer: Answer | None) -> None:
    error = answered(status, body, lambda sender: sender.text(MOBILE, "Hej", RECEIPTS, 60))
    assert isinstance(error, kind)
    if answer:
        assert isinstance(error, NotSent) and refusal(error.status, error.code) is answer


def test_a_request_is_not_written_once_its_time_is_over(fake: FakeElks, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that was frozen between the connection and the first byte."""
    times = iter([0.0, 99.0])
    monkeypatch.setattr(in_time, "monotonic", lambda: next(times))
    assert isinstance(text(fake), Unclear)
    assert fake.posts == ()

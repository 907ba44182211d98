"""Twilio's API, as our sender meets it: what its answers and its list prove, and what they do not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from responder.gateways.twilio_sender import LISTED, TwilioSender
from responder.ports import NotSent, Sent, Unclear
from tests.conftest import TOKEN, URL
from tests.gateways import answers
from tests.gateways.answers import Work
from tests.sending.conftest import ACCOUNT, MOBILE

ROW = {
    "sid": "SM1", "to": MOBILE, "body": "Hej", "direction": "outbound-api",
    "date_created": "Thu, 26 Nov 2026 08:00:00 +0000",
}  # fmt: skip
EARLY = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


def answered(status: int, body: str, work: Work) -> Any:
    def make(url: str) -> TwilioSender:
        return TwilioSender(ACCOUNT, TOKEN, url, URL, "+46770000000", "", "", 4, 2)

    return answers.answered(status, body, make, work)


def page(*rows: dict[str, Any]) -> str:
    return json.dumps({"messages": rows, "uri": "/x", "first_page_uri": "/x", "next_page_uri": None, "page": 0})


def find(body: str) -> Any:
    return answered(200, body, lambda sender: sender.find(MOBILE, False, EARLY))


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", '{"sid": null}', '{"sid": "a b"}', '{"sid": ""}'])
def test_an_answer_without_an_id_is_unclear(body: str) -> None:
    assert isinstance(answered(201, body, lambda sender: sender.text(MOBILE, "Hej", "/r", 60)), Unclear)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(302, Unclear), (400, NotSent), (401, NotSent), (404, NotSent), (408, Unclear), (429, NotSent), (500, Unclear)],
)
def test_every_answer_is_sorted(status: int, kind: type[Exception]) -> None:
    assert isinstance(answered(status, "{}", lambda sender: sender.text(MOBILE, "Hej", "/r", 60)), kind)


def test_a_message_is_found_as_it_was_written() -> None:
    assert find(page(ROW)) == [Sent("SM1", "Hej", datetime(2026, 11, 26, 8, 0, tzinfo=UTC))]


def test_what_we_replied_is_not_taken_for_something_that_was_sent() -> None:
    assert find(page({**ROW, "direction": "outbound-reply"})) == []


@pytest.mark.parametrize("body", ["", "[]", "null", "{}", page({**ROW, "date_created": None})])
def test_a_list_that_cannot_be_read_proves_nothing(body: str) -> None:
    assert isinstance(find(body), Unclear)


def test_a_list_that_is_longer_than_is_looked_through_proves_nothing() -> None:
    assert isinstance(find(page(*[ROW] * LISTED)), Unclear)
    old = {**ROW, "date_created": "Thu, 26 Nov 2026 06:59:59 +0000"}
    assert len(find(page(*[ROW] * (LISTED - 1), old))) == LISTED - 1

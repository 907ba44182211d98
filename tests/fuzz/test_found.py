"""What the fuzz once found: each stays found."""

import random
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from responder.core.flow import Flow
from responder.core.places import Gazetteer
from responder.core.points import YesNo
from responder.core.segments import cost
from responder.core.wording import spoken_digits
from responder.store.engine import StoreAway
from tests.conftest import NOW, Running, a_point
from tests.web.test_hooks import CALL, SMS, signed

CPU = 0.25  # seconds; what once hung took minutes


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU, the best of three."""
    took = []
    for _ in range(3):
        begun = time.thread_time()
        work()
        took.append(time.thread_time() - begun)
    return min(took)


@pytest.mark.parametrize("body", ["sextio" * 26 + "x", "femtiosextio" * 130 + "x", "en" * 800, "hundra" * 260])
def test_a_word_of_many_number_words_costs_nobody_else_their_answer(flow: Flow, body: str) -> None:
    """`sextio` is `sex` `tio` too: trying both ways, one text of 160 letters kept a thread for minutes."""
    numbers = flow.languages["sv"].numbers
    assert cpu(lambda: spoken_digits(body, numbers)) < CPU
    assert spoken_digits("etthundratjugotre fyrtiosju", numbers) == "12347"
    assert spoken_digits("sextiosju", numbers) == "67"


def test_a_text_of_unknown_words_alone_is_looked_through_in_little_time(stockholm: Gazetteer) -> None:
    draw = random.Random(1)
    body = " ".join("".join(draw.choices("abdefghiklmnoprstuvåäö", k=6)) for _ in range(230))
    stockholm.recognise(body)
    assert cpu(lambda: stockholm.recognise(body)) < 0.02


@pytest.mark.parametrize("body", ["JA", "MINA", "START 12347", "STOPP Farsta"])
def test_what_only_the_database_knows_is_not_answered_from_memory(
    service: Running, body: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service.put(a_point())
    service.phone.text("12347")

    def away(*_: object, **__: object) -> None:
        raise StoreAway("away")

    for name in ("fetch", "insert", "transact", "read", "write"):
        monkeypatch.setattr(service.database, name, away)
    reply = service.phone.text(body)
    assert "Vi kan inte svara om trygghetspunkter just nu" in reply
    assert "could not be answered" not in caplog.text


@pytest.mark.parametrize("id", ["SM\u00e5", "SM\x00", "SM 1", "SM\u200b1", "SM\n1", "\ufffd"])
def test_an_id_is_what_every_database_can_hold(service: Running, id: str) -> None:
    assert signed(service, "/twilio/sms", {**SMS, "MessageSid": id}).status_code == 400
    assert signed(service, "/twilio/voice", {**CALL, "CallSid": id}).status_code == 400


@pytest.mark.parametrize("body", ["START Medborgarplatsen vatten", "START Hässelby villastad vatten", "START 12347"])
def test_a_confirmation_and_the_answer_share_one_budget(service: Running, body: str) -> None:
    """Together they once made four segments, where no text may have more than three."""
    name, address = "Kulturhuset vid det långa torget", "Gamla landsvägen 123, ingång från gården i norr"
    services = ("information", "phone_charging", "first_aid", "warmth", "food", "toilets", "crisis_support")
    service.put(
        a_point(
            name=name, address=address, city="Hägersten-Älvsjö", services=services, step_free=YesNo.YES,
            pets=YesNo.NO, overnight=YesNo.YES, confirmed_at=NOW - timedelta(hours=13), closes=NOW + timedelta(days=2),
        )
    )  # fmt: skip
    reply = service.phone.text(body)
    assert cost(reply).segments <= 3, reply
    assert reply.startswith("Klart. Du får sms") and f"{name}, {address}" in reply and "Uppges öppen till" in reply

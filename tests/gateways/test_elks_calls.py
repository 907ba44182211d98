"""Calls through 46elks: audio files and keys, never speech."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from responder.core.flow import Flow
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.ports import ELKS, Outbound
from responder.web.trace import _channel
from tests.conftest import URL
from tests.fakes.elks import SECRET, FakeElks
from tests.fakes.values import Answers, Busy, NoAnswer
from tests.gateways.conftest import Tape
from tests.sending.conftest import LANDLINE, MOBILE, Line
from tests.sending.test_deliver import closed

ROOT = f"{URL}/46elks/{SECRET}"
ASKS_TO_SPEAK = re.compile(r"\b(säg (?!allt)|tala |say (?!everything|it)|speak )", re.IGNORECASE)


@pytest.fixture
def line(elks_line: Callable[..., Line]) -> Line:
    """A service behind 46elks alone."""
    return elks_line()


def phones(line: Line) -> FakeElks:
    assert isinstance(line.fake, FakeElks)
    return line.fake


def tape(line: Line) -> Tape:
    found: Tape = line.service.gateways[ELKS]._recordings  # type: ignore[attr-defined]
    return found


def test_a_caller_keys_a_postcode_and_hears_the_nearest_open_point(line: Line) -> None:
    heard = phones(line).ring_us(MOBILE, "12347")
    assert heard.spoken[0].startswith("Hej. Här svarar Stockholms stad om trygghetspunkter. Slå de fem siffrorna")
    assert "Hallen near" in heard.spoken[1] and phones(line).broken == []


def test_nobody_is_asked_to_speak(line: Line, flow: Flow) -> None:
    """Neither in any sentence that a call can hold, nor in a conversation that takes every wrong turn there is."""
    for wording in flow.keys_only.languages.values():
        assert not wording.speech
        for key in {*wording.text, *wording.voice}:
            said = wording.template(key, Channel.VOICE)
            assert not ASKS_TO_SPEAK.search(said), f"{wording.code} {key}: {said}"
    heard = phones(line).ring_us(MOBILE, "99999", "00000", "0#", "*#", "", "12", "98765", "1", "12347", "2", "1")
    assert len(heard.spoken) > 5 and not [said for said in heard.spoken if ASKS_TO_SPEAK.search(said)]


def test_where_there_is_speech_callers_are_asked_for_it_as_ever(flow: Flow) -> None:
    assert "Säg din stadsdel" in flow.languages["sv"].template("say.welcome", Channel.VOICE)


def test_a_recording_of_the_spoken_question_is_not_played_to_who_cannot_speak(flow: Flow) -> None:
    wording = flow.languages["sv"]
    clips = replace(wording, clips={"say.welcome": "w.wav", "danger": "d.wav"}).keys_only.clips
    assert clips == {"danger": "d.wav"}


def test_star_and_hash_change_the_language(line: Line) -> None:
    heard = phones(line).ring_us(MOBILE, "*#", "12347")
    assert heard.spoken[1].startswith("English. Key in the five digits")
    assert "nearest open safety point" in heard.spoken[2]


def test_silence_is_asked_again_and_ends_in_the_end(line: Line) -> None:
    heard = phones(line).ring_us(MOBILE)
    assert 2 < len(heard.spoken) < 8 and "Ta hand om dig" in heard.spoken[-1]
    assert phones(line).broken == []


def test_a_turn_that_is_asked_again_is_the_same_turn(line: Line) -> None:
    client = line.running.app.test_client()
    form = {"callid": "c1", "direction": "incoming", "from": MOBILE, "to": "+46766860000"}
    first = client.post(f"/46elks/{SECRET}/voice", data=form)
    assert first.content_type == "application/json"
    answers = [client.post(f"/46elks/{SECRET}/voice/1", data={**form, "result": "12347"}).json for _ in range(2)]
    assert answers[0] == answers[1] and first.json["next"] == f"{ROOT}/voice/1"
    assert line.rows("SELECT id, gateway FROM turns ORDER BY id") == [("c1/0", ELKS), ("c1/1", ELKS)]


def test_where_a_call_stood_is_forgotten_when_it_is_over(line: Line) -> None:
    phones(line).ring_us(MOBILE, "12347")
    assert line.rows("SELECT count(*) FROM turns WHERE length(state_sealed) > 0") == [(0,)]


def test_an_action_has_whole_addresses_and_one_file(line: Line) -> None:
    gateway = line.service.gateways[ELKS]
    said = (Spoken("Ett.", "sv"), Spoken("Two.", "en"))
    asked = json.loads(gateway.voice_reply(Outbound("", said, "sv", 5, False, 3)))
    assert tape(line).said[asked["ivr"]] == said
    assert {**asked, "ivr": ""} == {
        "ivr": "", "digits": 5, "timeout": 13, "repeat": 1, "next": f"{ROOT}/voice/3", "whenhangup": f"{ROOT}/ended"
    }  # fmt: skip
    assert json.loads(gateway.voice_reply(Outbound("", said, "sv", ends=True)))["play"] == asked["ivr"]
    assert json.loads(gateway.voice_reply(Outbound(ends=True))) == {"hangup": "reject"}


@pytest.mark.parametrize(
    ("result", "text", "keyed", "silent"),
    [
        ("12347", "12347", True, False), ("1", "1", True, False), ("0#", "0", True, False), ("*", "*", True, False),
        ("12*", "*", True, False), ("", "", False, True), ("failed", "", False, True), ("ok", "", False, True),
        ("１２３４７", "", False, True), ("12a", "", False, True), ("#", "", False, True),
    ],
)  # fmt: skip
def test_keys_are_keys_and_words_for_why_there_are_none_are_silence(
    line: Line, result: str, text: str, keyed: bool, silent: bool
) -> None:
    inbound = line.service.gateways[ELKS].read_call({"callid": "c1", "from": MOBILE, "result": result}, 2)
    assert (inbound.text, inbound.keyed, inbound.silent, inbound.begins) == (text, keyed, silent, False)


def test_who_calls_in_a_flood_is_told_to_hold_on_and_asked_again(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = line.running.app.extensions["gate"]
    monkeypatch.setattr(gate, "_enter", lambda *_: False)
    client = line.running.app.test_client()
    form = {"callid": "c1", "from": MOBILE}
    held = client.post(f"/46elks/{SECRET}/voice/3", data={**form, "result": "1"})
    assert (held.content_type, held.json["next"], held.json["timeout"]) == ("application/json", f"{ROOT}/voice/3", 5)
    assert "Vänta kvar" in tape(line).words(held.json["ivr"])
    assert "Många ringer" in tape(line).words(client.post(f"/46elks/{SECRET}/voice", data=form).json["play"])
    text = client.post(f"/46elks/{SECRET}/text", data={"id": "s1", "from": MOBILE, "message": "12347"})
    assert (text.status_code, text.content_type) == (200, "text/plain; charset=utf-8")
    assert text.text.startswith("Många frågar just nu")
    key = client.post(f"/46elks/{SECRET}/called/1", data={**form, "result": "9"})
    assert "kan inte svara" in tape(line).words(key.json["play"])
    late = client.post(f"/46elks/{SECRET}/receipts/1", data={"id": "s1", "status": "sent"})
    assert (late.status_code, late.headers["Retry-After"]) == (503, "5")  # it comes again


def follow_by_call(line: Line) -> None:
    """Somebody at a landline follows 12347: called back, and agreed by key 1."""
    heard = phones(line).ring_us(LANDLINE, "12347", "4")
    assert "Vi ringer upp dig" in heard.spoken[2]
    phones(line).phone(LANDLINE).behaves = [Answers("1"), Answers("9")]
    line.send()


def test_a_call_of_ours_plays_and_takes_a_key(line: Line) -> None:
    follow_by_call(line)
    (asked,) = phones(line).phone(LANDLINE).calls
    assert "Någon har ringt från ditt nummer" in " ".join(asked.spoken) and "Då ringer vi" in asked.spoken[-1]
    assert line.rows("SELECT DISTINCT gateway FROM deliveries") == [(ELKS,)]
    closed(line)
    line.send()
    told = phones(line).phone(LANDLINE).calls[1]
    assert "Något har ändrats" in told.spoken[0] and "raderat ditt nummer" in told.spoken[-1]
    assert line.rows("SELECT count(*) FROM subscriptions") == [(0,)] and phones(line).broken == []


def test_a_call_is_recorded_once_it_is_committed_as_being_sent(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording takes a while, for which nobody else could write."""
    phones(line).ring_us(LANDLINE, "12347", "4")
    phones(line).phone(LANDLINE).behaves = [Answers("1")]
    record, seen = tape(line).address, []

    def address(sentences: tuple[Spoken, ...]) -> str:
        seen.append((line.rows("SELECT state FROM deliveries"), threading.current_thread() is threading.main_thread()))
        return record(sentences)

    monkeypatch.setattr(tape(line), "address", address)
    line.send()
    assert seen[:2] == [([("sending",)], False)] * 2
    assert line.rows("SELECT state FROM subscriptions") == [("active",)]


def test_a_call_that_cannot_be_spoken_has_failed_and_nobody_is_called(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones(line).ring_us(LANDLINE, "12347", "4")
    monkeypatch.setattr(tape(line), "address", lambda _: 1 / 0)
    line.send()
    assert line.rows("SELECT state FROM deliveries") == [("failed",)]
    assert not phones(line).accepted_calls


def test_whoever_was_to_be_called_and_could_not_be_is_not_taken_for_told(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_by_call(line)
    before = line.rows("SELECT told FROM subscriptions")
    closed(line)
    monkeypatch.setattr(tape(line), "address", lambda _: 1 / 0)
    line.send()
    assert line.rows("SELECT told FROM subscriptions") == before


def test_what_is_stored_of_a_call_does_not_hold_the_secret(line: Line) -> None:
    follow_by_call(line)
    (words,) = [body for (body,) in line.rows("SELECT body FROM deliveries")]
    assert "Någon har ringt från ditt nummer" in words and SECRET not in words
    (made,) = phones(line).accepted_calls
    assert f"{ROOT}/called/" in made.body


@pytest.mark.parametrize("behaviour", [Busy(), NoAnswer()])
def test_who_does_not_take_a_call_is_called_again(line: Line, behaviour: Busy | NoAnswer) -> None:
    phones(line).ring_us(LANDLINE, "12347", "4")
    phones(line).phone(LANDLINE).behaves = [behaviour, Answers("1")]
    line.send()
    assert line.rows("SELECT state, attempt FROM deliveries") == [("queued", 1)]
    line.running.clock.pass_time(seconds=301)
    line.send()
    assert line.rows("SELECT state, attempt FROM deliveries") == [("delivered", 2)]


def test_a_reply_is_never_taken_for_an_action(line: Line) -> None:
    gateway = line.service.gateways[ELKS]
    assert gateway.text_reply(Outbound('{"forward": "+46701740605"}')) == '("forward": "+46701740605"}'
    assert gateway.text_reply(Outbound('["x"]'))[0] == "("
    assert (gateway.text_reply(Outbound()), gateway.text_type) == ("", "text/plain; charset=utf-8")


def test_many_calls_at_once_are_told_apart(line: Line) -> None:
    heard: dict[str, tuple[str, ...]] = {}

    def call(number: str, code: str) -> None:
        heard[number] = phones(line).ring_us(number, code).spoken

    threads = [threading.Thread(target=call, args=(f"+4670174060{n}", "12347")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 6 and all("Hallen near" in spoken[1] for spoken in heard.values())


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/46elks/x/text", "text"), ("/46elks/x/voice", "voice"), ("/46elks/x/voice/3", "voice"), ("/46elks/x/ended", ""),
        ("/46elks/x/receipts/1", ""), ("/46elks/text", ""), ("/46elks/", ""), ("/twilio/sms", "text"),
        ("/twilio/voice/2", "voice"), ("/twilio/voice/status", ""),
    ],
)  # fmt: skip
def test_a_reply_is_timed_by_its_channel_whoever_the_provider_is(path: str, channel: str) -> None:
    assert _channel(path) == channel

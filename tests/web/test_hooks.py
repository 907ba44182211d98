"""Webhooks that cannot be fooled or doubled."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from responder.actions import load
from responder.core.points import Status
from responder.store.migrations import upgrade
from responder.web.access import Access
from tests import engines
from tests.conftest import NOW, TOKEN, URL, Running, a_point, run

SMS = {"MessageSid": "SM1", "From": "+46700000001", "To": "71000", "Body": "12347"}
CALL = {"CallSid": "CA1", "From": "+46700000001", "To": "+46770000000"}


def signed(running: Running, path: str, form: dict[str, str], url: str = URL, **more: str) -> TestResponse:
    """A request as the provider sends it."""
    signature = RequestValidator(TOKEN).compute_signature(url + path, form)
    return running.app.test_client().post(path, data=form, headers={"X-Twilio-Signature": signature, **more})


def turns(running: Running) -> int:
    with engines.peek(running.path) as looking:
        count: int = looking.execute("SELECT count(*) FROM turns").fetchone()[0]
    return count


@pytest.mark.parametrize(
    "path",
    [
        "/twilio/sms",
        "/twilio/voice",
        "/twilio/voice/1",
        "/twilio/voice/status",
        "/twilio/receipts/1",
        "/twilio/called/1",
    ],
)
@pytest.mark.parametrize("signature", [None, "", "bm90IHRoZSBzaWduYXR1cmU=", "ö", "x" * 5000])
def test_without_the_providers_signature_nothing_is_answered_or_written(
    service: Running, path: str, signature: str | None
) -> None:
    headers = {} if signature is None else {"X-Twilio-Signature": signature}
    response = service.app.test_client().post(path, data={**SMS, **CALL}, headers=headers)
    assert (response.status_code, turns(service)) == (403, 0)


def test_a_changed_field_breaks_the_signature(service: Running) -> None:
    signature = RequestValidator(TOKEN).compute_signature(URL + "/twilio/sms", SMS)
    forged = {**SMS, "From": "+46700000002"}
    response = service.app.test_client().post("/twilio/sms", data=forged, headers={"X-Twilio-Signature": signature})
    assert (response.status_code, turns(service)) == (403, 0)


def test_the_signature_is_that_of_the_public_url_whatever_host_a_proxy_names(service: Running) -> None:
    assert signed(service, "/twilio/sms", SMS, Host="10.0.0.7").status_code == 200
    assert signed(service, "/twilio/sms", SMS, url="http://10.0.0.7").status_code == 403


def test_the_target_counts_as_it_was_sent(service: Running) -> None:
    """Behind a proxy that decodes %C3%A5 the signature would never fit."""
    assert signed(service, "/twilio/sms?omr%C3%A5de=%C3%A5", SMS).status_code == 200


def test_a_field_sent_twice_is_judged_as_the_library_judges(service: Running) -> None:
    form = {"MessageSid": "SM1", "From": "+46700000001", "Body": ["12347", "12833"]}
    signature = RequestValidator(TOKEN).compute_signature(URL + "/twilio/sms", _Many(form))
    response = service.app.test_client().post("/twilio/sms", data=form, headers={"X-Twilio-Signature": signature})
    assert response.status_code == 200


class _Many(dict):  # type: ignore[type-arg]
    def getlist(self, name: str) -> list[str]:
        value = self[name]
        return value if isinstance(value, list) else [value]


def test_a_redelivery_gets_the_same_reply_and_has_no_second_effect(service: Running) -> None:
    service.put(a_point())
    first = signed(service, "/twilio/sms", SMS).text
    service.put(a_point(status=Status.CLOSED))
    assert signed(service, "/twilio/sms", SMS).text == first
    assert turns(service) == 1


def test_a_retried_turn_of_a_call_is_said_again(service: Running) -> None:
    service.put(a_point())
    signed(service, "/twilio/voice", CALL)
    keyed = {**CALL, "Digits": "12347"}
    assert signed(service, "/twilio/voice/1", keyed).text == signed(service, "/twilio/voice/1", keyed).text
    assert turns(service) == 2


def test_a_replayed_request_changes_nothing(service: Running) -> None:
    """A replay is validly signed: the message id is the guard."""
    for _ in range(5):
        signed(service, "/twilio/sms", {**SMS, "Body": "english"})
    assert turns(service) == 1


HOSTILE = [
    "\x00\x0b\x0c", "\ufffe\uffff", "a" * 10_000, "12347" + "\x00" * 50, "\u202e74321", "{name} {0} {}", "%s %(x)s",
    "</Message></Response><Dial>+46", "]]>&amp;<!--", "Fаrstа", "ТЕSТ", "🆘" * 200, "\u0300" * 500,
    "'; DROP TABLE turns; --",
    "12347\r\n\r\n12833", "", " ", "\n", "0" * 5000, "٣" * 50, "①②③④⑤", "a\u0301" * 300,
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_gets_a_polite_answer_in_sound_xml(service: Running, body: str) -> None:
    service.put(a_point())
    response = signed(service, "/twilio/sms", {**SMS, "Body": body})
    assert response.status_code == 200
    root = ElementTree.fromstring(response.data)
    assert [child.tag for child in root] == ["Message"]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_speech_gets_a_polite_answer_in_sound_xml(service: Running, body: str) -> None:
    signed(service, "/twilio/voice", CALL)
    response = signed(service, "/twilio/voice/1", {**CALL, "SpeechResult": body, "Confidence": "x"})
    assert response.status_code == 200
    assert {child.tag for child in ElementTree.fromstring(response.data)} <= {"Gather", "Say", "Pause", "Hangup"}


@pytest.mark.parametrize("raw", [b"%FF%FE", b"%ED%A0%80", b"%C3", b"abc%80def"])
def test_invalid_utf8_is_answered_when_signed_and_refused_when_not(service: Running, raw: bytes) -> None:
    body = b"MessageSid=SM1&From=%2B46700000001&Body=" + raw
    form = {"MessageSid": "SM1", "From": "+46700000001"}
    text = unquote_to_bytes(raw).decode("utf-8", "replace")
    signature = RequestValidator(TOKEN).compute_signature(URL + "/twilio/sms", {**form, "Body": text})
    for given_signature, status in ((signature, 200), ("wrong", 403)):
        response = service.app.test_client().post(
            "/twilio/sms",
            data=body,
            content_type="application/x-www-form-urlencoded",
            headers={"X-Twilio-Signature": given_signature},
        )
        assert response.status_code == status


@pytest.mark.parametrize(
    "sender", ["anonymous", "Kommunen", "71000", "", "+", "+999", "unknown", "sip:a@b", "+46" + "7" * 40, "client:x"]
)
def test_a_sender_that_cannot_be_answered_gets_an_empty_response(service: Running, sender: str) -> None:
    service.put(a_point())
    response = signed(service, "/twilio/sms", {**SMS, "From": sender})
    assert (response.status_code, list(ElementTree.fromstring(response.data))) == (200, [])


def test_an_anonymous_caller_is_answered(service: Running) -> None:
    assert "<Gather" in signed(service, "/twilio/voice", {**CALL, "From": "anonymous"}).text


@pytest.mark.parametrize("kind", ["STOP", "HELP", "START"])
def test_what_the_provider_has_answered_is_not_answered_again(service: Running, kind: str) -> None:
    response = signed(service, "/twilio/sms", {**SMS, "Body": "STOP", "OptOutType": kind})
    assert list(ElementTree.fromstring(response.data)) == []


@pytest.mark.parametrize("form", [{"From": "+46700000001"}, {"MessageSid": "", "Body": "x"}, {"MessageSid": "S" * 65}])
def test_a_signed_request_without_a_proper_id_is_refused(service: Running, form: dict[str, str]) -> None:
    assert (signed(service, "/twilio/sms", form).status_code, turns(service)) == (400, 0)


def test_too_much_is_refused(service: Running) -> None:
    assert signed(service, "/twilio/sms", {**SMS, "Body": "x" * 300_000}).status_code == 413


def test_every_gather_waits_for_keys_and_speech_in_its_language(service: Running) -> None:
    gather = ElementTree.fromstring(signed(service, "/twilio/voice", CALL).data).find("Gather")
    assert gather is not None
    attributes = dict(gather.attrib)
    assert "Farsta" in attributes.pop("hints").split(",")
    assert attributes == {
        "input": "dtmf speech", "action": "/twilio/voice/1", "method": "POST", "numDigits": "5", "finishOnKey": "*",
        "timeout": "6", "actionOnEmptyResult": "true", "language": "sv-SE", "speechTimeout": "auto",
    }  # fmt: skip
    assert {child.tag for child in gather} <= {"Say", "Play", "Pause"}


def test_the_end_of_a_call_is_acknowledged_and_its_place_forgotten(service: Running) -> None:
    service.put(a_point())
    signed(service, "/twilio/voice", CALL)
    signed(service, "/twilio/voice/1", {**CALL, "Digits": "12347"})
    assert signed(service, "/twilio/voice/status", {**CALL, "CallStatus": "completed"}).status_code == 200
    with engines.peek(service.path) as looking:
        assert {row[0] for row in looking.execute("SELECT state_sealed FROM turns")} == {b""}


def test_any_worker_can_answer_any_turn(start: Callable[..., Running]) -> None:
    one, two = start(), start()
    one.put(a_point(), a_point("p2", lat=59.26))
    assert "Hallen p1" in one.phone.text("12347")
    assert "Hallen p2" in two.phone.text("MER")
    two.put(a_point(status=Status.CLOSED), a_point("p2", lat=59.26, status=Status.CLOSED))
    assert "Ingen trygghetspunkt" in one.phone.text("12347")


def test_a_point_whose_file_says_only_where_it_lies_is_told_as_one_of_its_district(service: Running) -> None:
    """Municipality and district are optional columns, but who is told of a point depends on them."""
    service.put(a_point(municipality="", district=""))
    assert service.phone.text("12347").startswith("Trygghetspunkt ÖPPEN nu:")
    assert service.phone.text("Farsta").startswith("Trygghetspunkter öppna i Farsta nu:")
    service.put(a_point(district="Farsta stadsdelsområde"))
    assert service.phone.text("Farsta").startswith("Trygghetspunkter öppna i Farsta nu:")


def test_a_change_is_told_at_once(service: Running) -> None:
    service.put(a_point(closes=NOW + timedelta(hours=2)))
    assert "Öppet till 16.20" in service.phone.text("12347")
    service.clock.pass_time(hours=1, minutes=30)
    assert "STÄNGER kl 16.20" in service.phone.text("12347")
    service.clock.pass_time(minutes=30)
    assert "Ingen trygghetspunkt" in service.phone.text("12347")


def test_with_the_database_away_the_last_view_answers_and_says_from_when(
    service: Running, caplog: pytest.LogCaptureFixture
) -> None:
    service.put(a_point())
    service.phone.text("12347")
    client = service.app.test_client()
    assert client.get("/readyz").status_code == 200
    service.clock.pass_time(minutes=10)
    away(service)
    assert "Uppgifter från kl 14.20" in service.phone.text("12347")
    assert "Uppgifterna är från klockan 14.20" in " ".join(service.phone.call() and service.phone.keys("12347"))
    assert "kan inte svara" in service.phone.text("STOPP")  # a promise that could not be kept
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 200)
    assert client.get("/readyz?strict").status_code == 503
    assert "database away" in caplog.text


def away(running: Running) -> None:
    """Take the database away."""
    running.database.close()
    engines.take_away(running.path)


def test_a_database_that_was_never_made_or_is_of_an_older_version_is_not_ready_and_every_page_says_what_to_do(
    tmp_path: Path,
) -> None:
    running = run(tmp_path / "empty.db")
    client = running.app.test_client()

    def told() -> list[tuple[int, bool]]:
        pages = [client.get(path) for path in ("/readyz", "/simulator", "/console/invitation/abc")]
        return [(page.status_code, "responder init" in page.get_data(as_text=True)) for page in pages]

    assert told() == [(503, True)] * 3
    upgrade(running.database.engine, "0002")
    assert (client.get("/healthz").status_code, told()[0]) == (200, (503, True))
    assert "P4 Stockholm" in running.phone.text("12347")
    load.prepare(running.database)
    assert client.get("/readyz").status_code == 200, "without a restart"
    assert "Vi har inga trygghetspunkter" in running.phone.text("12347")
    with running.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert client.get("/readyz").status_code == 200, "a later version has prepared it: ours still answers"


def test_with_no_view_at_all_the_answer_is_where_to_turn(start: Callable[..., Running]) -> None:
    running = start()
    running.app.extensions["responder"].snapshot.view = None
    away(running)
    assert "P4 Stockholm" in running.phone.text("12347")
    assert any("1 1 3, 1 3" in line for line in running.phone.call())


def test_numbers_are_masked_in_logs_and_sealed_at_rest(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service.put(a_point())
    phone = service.another_phone("+46701234567")
    phone.text("jag heter Kalle och bor på 12347")
    assert "Kalle Anka" in phone.text("Kalle Anka")  # said back, and so part of a stored reply
    assert "+46701234567" not in caplog.text
    service.database.close()
    raw = engines.stored(service.path)
    assert b"46701234567" not in raw
    assert b"Kalle" not in raw


def test_what_was_asked_is_deleted_after_retain_days(start: Callable[..., Running]) -> None:
    running = start(retain_days=2)
    running.phone.text("12347")
    running.clock.pass_time(days=3)
    running.another_phone("+46700000009").text("12347")
    assert turns(running) == 1


def test_stopp_deletes_texts_and_calls_of_that_number_alone(service: Running) -> None:
    other = service.another_phone("+46700000009")
    for phone in (service.phone, other):
        phone.text("12347")
        phone.call()
    service.phone.text("STOPP")
    assert turns(service) == 3  # the other's two, and that STOPP was answered


def test_keys_can_be_rotated(start: Callable[..., Running]) -> None:
    """The newest key seals and looks up; an older one still finds the conversation."""
    old = start(number_key="n" * 40, lookup_key="l" * 40)
    old.put(a_point(), a_point("p2", lat=59.26))
    old.phone.text("12347")
    new = start(number_key=f"{'N' * 40},{'n' * 40}", lookup_key=f"{'L' * 40}, {'l' * 40}")
    assert "Hallen p2" in new.phone.text("MER")


def test_a_key_dropped_too_early_costs_the_conversation_and_nothing_else(start: Callable[..., Running]) -> None:
    old, new = start(number_key="n" * 40), start(number_key="N" * 40)
    old.put(a_point())
    old.phone.text("12347", "SM-old")
    assert "Skicka postnummer" in new.phone.text("MER")
    assert "Hallen p1" in new.phone.text("12347", "SM-new")


def test_every_route_states_who_may_use_it(service: Running) -> None:
    rules = {
        rule.rule: service.app.view_functions[rule.endpoint].access.who  # type: ignore[attr-defined]
        for rule in service.app.url_map.iter_rules()
        if rule.endpoint.startswith("hooks.")
    }
    assert rules == {
        "/twilio/sms": Access.PROVIDER,
        "/twilio/voice": Access.PROVIDER,
        "/twilio/voice/<int:turn>": Access.PROVIDER,
        "/twilio/voice/status": Access.PROVIDER,
        "/twilio/receipts/<int:delivery>": Access.PROVIDER,
        "/twilio/called/<int:delivery>": Access.PROVIDER,
        "/healthz": Access.PUBLIC,
        "/readyz": Access.PUBLIC,
        "/metrics": Access.MONITOR,
        "/audio/<path:name>": Access.PUBLIC,
    }


@pytest.mark.parametrize(
    "path", ["/audio/../resident.toml", "/audio/%2e%2e/resident.toml", "/audio/x.toml", "/static/x"]
)
def test_nothing_but_recordings_is_served(service: Running, path: str) -> None:
    assert service.app.test_client().get(path).status_code == 404


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_webhooks_take_posts_alone(service: Running, method: str) -> None:
    assert getattr(service.app.test_client(), method)("/twilio/sms").status_code == 405


def test_real_residents_are_never_told_a_demo_point(start: Callable[..., Running]) -> None:
    """One that gets into the database while a real service runs is not told."""
    keys = {"secret_key": "s" * 40, "number_key": "n" * 40, "lookup_key": "l" * 40, "twilio_account_sid": "AC1"}
    real = start(gateway="twilio", twilio_from="+46770000000", **keys)
    real.put(a_point("demo-x", name="DEMO X"), a_point("real", lat=59.30, name="Riktig"))
    assert "Riktig" in real.phone.text("12347")
    assert "DEMO" not in real.phone.text("MER")


spoken = st.sampled_from(["farsta", "ja", "nej", "mer", "english", "stopp", "bla", "?"])
calls = st.lists(
    st.one_of(
        st.tuples(st.just("Digits"), st.text("0123456789*#", max_size=6)),
        st.tuples(
            st.just("SpeechResult"), st.sampled_from(["farsta", "ja", "nej", "mer", "english", "stopp", "bla", "?"])
        ),
        st.tuples(st.just("SpeechResult"), st.text(max_size=30)),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls)
def test_every_path_of_a_call_ends_in_valid_twiml(service: Running, inputs: list[tuple[str, str]]) -> None:
    phone = replace(service.phone)
    phone.call()
    for name, value in inputs:
        if not phone.action:
            break
        spoken = phone.keys(value) if name == "Digits" else phone.speak(value)
        assert spoken
    for _ in range(4):  # whatever was said, silence ends the call kindly
        if phone.action:
            spoken = phone.silence()
    assert not phone.action

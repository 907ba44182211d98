"""The phone simulator: phones in the browser that use the real webhooks, and that a real service does not have."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pyotp
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from responder.actions import staff
from responder.actions.publish import Change, set_point
from responder.actions.push import push_due
from responder.actions.signin import Door
from responder.app import create_app
from responder.core.access import Operator, Role, shell
from responder.core.points import Status
from responder.demo import demo_staff
from responder.settings import Settings
from responder.store import accounts, outbox
from responder.web.simulator import CREATOR, FIRST, blueprint, fictional, spoken
from responder.wiring import Service
from tests import engines
from tests.conftest import NOW, ZONE, Running, a_point
from tests.test_settings import REAL

MOBILE, LANDLINE = FIRST[0], FIRST[2]


class Simulator:
    """A browser on the page of the simulator."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.client: FlaskClient = running.app.test_client()
        found = re.search(r'data-token="([^"]+)"', self.page())
        assert found
        self.token = found[1]

    @property
    def service(self) -> Service:
        return self.running.app.extensions["responder"]

    def page(self) -> str:
        answer = self.client.get("/simulator")
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    def post(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(f"/simulator/{path}", data=fields, headers={"X-CSRFToken": self.token})

    def does(self, path: str, **fields: str) -> dict[str, Any]:
        answer = self.post(path, **fields)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()  # type: ignore[no-any-return]

    def arrived(self, *numbers: str) -> dict[str, Any]:
        return self.client.get("/simulator/arrived", query_string={"number": numbers}).get_json()  # type: ignore[no-any-return]

    def send_what_waits(self) -> None:
        """As the jobs do: take up, and let the provider have it."""
        deliverer = self.service.deliverer("test")
        now = self.service.clock().timestamp()
        for channel in ("text", "call"):
            ready = deliverer.take_up(channel, 50)
            with self.service.database.write() as connection:
                outbox.accept(connection, [(one.item, f"RE{one.item.id}") for one in ready], now)

    def close(self, point: str) -> None:
        service, now = self.service, self.service.clock()
        set_point(service.database, point, Change(Status.CLOSED), shell("test"), ZONE, now)
        self.running.clock.pass_time(seconds=service.settings.push_settle_seconds + 1)
        now = service.clock()
        push_due(service.database, service.snapshot.read_if_changed(now), service.rules, now)
        self.send_what_waits()


@pytest.fixture
def simulator(start: Callable[..., Running]) -> Iterator[Simulator]:
    running = start()
    running.put(a_point("p1", district="Farsta"))
    yield Simulator(running)


def test_a_real_service_has_no_simulator(tmp_path: Any, prepared: Any) -> None:
    path = tmp_path / "real.db"
    engines.copy(prepared, path)
    app = create_app(Settings(_env_file=None, **{**REAL, "database_url": engines.url(path)}))  # type: ignore[call-arg,arg-type]
    assert not [rule for rule in app.url_map.iter_rules() if "simulator" in str(rule) or "simulator" in rule.endpoint]
    for address in ("/simulator", "/simulator/codes", "/simulator/arrived", "/simulator/static/simulator.js"):
        assert app.test_client().get(address).status_code == 404
    with pytest.raises(ValueError):
        blueprint(app.extensions["responder"])


def test_a_text_goes_through_the_webhook_and_the_reply_comes_back_with_its_segments(simulator: Simulator) -> None:
    answer = simulator.does("text", number=MOBILE, text="12347")
    assert "Hallen p1" in answer["reply"] and answer["at"] == "14.20"
    assert answer["segments"] == "2 sms-delar" and answer["sent"] == "1 sms-del"
    assert answer["document"].startswith("<?xml") and "<Message>" in answer["document"]


def test_it_is_the_same_conversation_from_one_text_to_the_next(simulator: Simulator) -> None:
    simulator.does("text", number=MOBILE, text="12347")
    assert "12347" in simulator.does("text", number=MOBILE, text="JA")["reply"]
    nothing = simulator.does("text", number=FIRST[1], text="MINA")["reply"]
    assert "START 12347" in nothing and "START 12347" not in simulator.does("text", number=MOBILE, text="MINA")["reply"]


def test_a_call_is_led_by_keys_words_and_silence(simulator: Simulator) -> None:
    turn = simulator.does("call", number=MOBILE)
    assert turn["said"] and turn["digits"] and turn["said"][0]["lang"] == "sv-SE"
    call = {"number": MOBILE, "call": turn["call"]}
    silent = simulator.does("turn", **call, action=turn["action"])
    assert silent["said"] and silent["action"] != turn["action"]
    spoken_to = simulator.does("turn", **call, action=silent["action"], speech="Farsta")
    keyed = simulator.does("turn", **call, action=spoken_to["action"], keys="12347")
    assert "Hallen p1" in " ".join(one["text"] for one in keyed["said"])
    assert "<Gather" in keyed["document"]
    assert simulator.does("hang-up", **call) == {"ended": True}


def test_a_push_arrives_on_the_phone_that_subscribed_and_on_no_other(simulator: Simulator) -> None:
    for text in ("12347", "JA"):
        simulator.does("text", number=MOBILE, text=text)
    assert simulator.arrived(MOBILE) == {MOBILE: []}
    simulator.close("p1")
    seen = simulator.arrived(MOBILE, FIRST[1])
    assert len(seen[MOBILE]) == 1 and seen[FIRST[1]] == []
    assert "STÄNGD" in seen[MOBILE][0]["text"] and not seen[MOBILE][0]["call"] and seen[MOBILE][0]["segments"]


def test_what_waits_or_is_being_sent_has_not_arrived(simulator: Simulator) -> None:
    for text in ("12347", "JA"):
        simulator.does("text", number=MOBILE, text=text)
    simulator.close("p1")
    with simulator.service.database.write() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET state = 'sending'")
    assert simulator.arrived(MOBILE) == {MOBILE: []}


def test_a_call_of_ours_is_heard_and_answered_by_a_key(simulator: Simulator) -> None:
    turn = simulator.does("call", number=LANDLINE)
    call = {"number": LANDLINE, "call": turn["call"]}
    turn = simulator.does("turn", **call, action=turn["action"], keys="12347")
    simulator.does("turn", **call, action=turn["action"], keys="4")
    simulator.send_what_waits()
    (incoming,) = simulator.arrived(LANDLINE)[LANDLINE]
    assert incoming["call"] and "Stockholms stad" in incoming["said"][0]["text"] and "<Gather" in incoming["document"]
    answer = simulator.does(f"answered/{incoming['id']}", number=LANDLINE, keys="1")
    assert answer["said"] and not answer["action"]
    with simulator.service.database.read() as connection:
        assert connection.exec_driver_sql("SELECT state FROM subscriptions").scalars().all() == ["active"]


def test_nobody_presses_a_key_on_the_call_of_another(simulator: Simulator) -> None:
    turn = simulator.does("call", number=LANDLINE)
    turn = simulator.does("turn", number=LANDLINE, call=turn["call"], action=turn["action"], keys="12347")
    simulator.does("turn", number=LANDLINE, call=turn["call"], action=turn["action"], keys="4")
    simulator.send_what_waits()
    (incoming,) = simulator.arrived(LANDLINE)[LANDLINE]
    assert simulator.post(f"answered/{incoming['id']}", number=MOBILE, keys="9").status_code == 422


@pytest.mark.parametrize(
    "number",
    ["+46701234567", "+46701740604", "+46701740700", "+46846500500", "+4684650040", "0701740605", "", "+46701740605\n"],
)
def test_a_number_that_may_belong_to_somebody_is_not_played(simulator: Simulator, number: str) -> None:
    assert not fictional(number)
    assert simulator.post("text", number=number, text="12347").status_code == 422
    assert simulator.post("call", number=number).status_code == 422
    assert simulator.arrived(number) == {}


@pytest.mark.parametrize("number", [*FIRST, "+46701740605", "+46701740699", "+46846500400", "+46846500499"])
def test_the_numbers_of_films_are(number: str) -> None:
    assert fictional(number)


@pytest.mark.parametrize("action", ["", "/twilio/voice/1/../../called/1", "/console/", "https://other.example/", "//x"])
def test_a_turn_goes_nowhere_but_to_the_next_turn(simulator: Simulator, action: str) -> None:
    call = simulator.does("call", number=MOBILE)["call"]
    assert simulator.post("turn", number=MOBILE, call=call, action=action, keys="1").status_code == 422


def test_every_post_needs_the_token_of_the_page(simulator: Simulator) -> None:
    for path in ("text", "call", "turn", "hang-up", "answered/1"):
        assert simulator.client.post(f"/simulator/{path}", data={"number": MOBILE, "text": "12347"}).status_code == 400


def test_only_accounts_of_the_demo_have_their_codes_shown(simulator: Simulator) -> None:
    service, now = simulator.service, simulator.service.clock()
    assert "123456" not in simulator.page() and "<code>" not in simulator.page()
    demo_staff(service, "a password")
    staff.add(service.database, service.vault, Operator("anna", Role.ADMIN, signed_in=True), "real", Role.ADMIN, now)
    text = simulator.client.get("/simulator/codes").get_data(as_text=True)
    assert re.findall(r'<th scope="row">(\w+)', text) == ["anna", "berit", "cia", "dan", "eva"]
    assert len(re.findall(r"<code>\d{6}</code>", text)) == 4  # all but the viewer


def test_the_code_that_is_shown_opens_the_door_and_is_then_another(simulator: Simulator) -> None:
    service, now = simulator.service, simulator.service.clock()
    demo_staff(service, "a password")
    door = Door(service.database, service.vault, service.settings)
    used = []
    for _ in range(2):
        text = simulator.client.get("/simulator/codes").get_data(as_text=True)
        found = re.search(r">berit<.*?<code>(\d{6})</code>", text, re.DOTALL)
        assert found
        used.append(found[1])
        assert door.sign_in("berit", "a password", found[1], "127.0.0.1", "test", now)
    assert used[0] != used[1]
    third = simulator.client.get("/simulator/codes").get_data(as_text=True)
    assert not re.search(r">berit<[^\n]*\n[^\n]*\n[^\n]*<code>", third)
    with service.database.read() as connection:
        known = accounts.credentials(connection, "berit")
    assert known and used[0] == pyotp.TOTP(service.vault.open(known.totp_sealed)).at(NOW)


def test_nobody_of_the_demo_made_the_account_of_another(simulator: Simulator) -> None:
    """Or they could not approve what the other wrote."""
    demo_staff(simulator.service, "a password")
    with simulator.service.database.read() as connection:
        made_by = {accounts.credentials(connection, name).operator.created_by for name in ("anna", "berit", "cia")}  # type: ignore[union-attr]
    assert made_by == {CREATOR}


def test_what_is_said_keeps_its_language_and_a_recording_its_address() -> None:
    document = '<Response><Say language="sv-SE"><prosody>Hej.<break/>Du.</prosody></Say><Play>https://a/b.mp3</Play></Response>'
    assert spoken(document) == [{"text": "Hej. Du.", "lang": "sv-SE"}, {"text": "https://a/b.mp3", "lang": ""}]

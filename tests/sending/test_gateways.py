"""Several gateways behind the one port: nothing twice whatever fails where, the right way for each message, STOPP on all,
and operators who say otherwise.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from responder import wiring
from responder.actions import steer
from responder.actions.announce import Outcome
from responder.actions.deliver import finding, looking, sending, ways
from responder.core import ways as rule
from responder.core.delivery import LOOKS
from responder.core.points import Status
from responder.core.wording import Channel
from responder.ports import ELKS, MODEM, TWILIO, Inbound, Receipt
from responder.store import gateways as store
from responder.store import outbox
from tests.conftest import Clock, Running, a_point
from tests.fakes import elks
from tests.sending.conftest import FAST, LANDLINE, MOBILE, OTHER
from tests.sending.stubs import AWAY, BARRED, LOST, NEVER, ODD, OPTED_OUT, RESTS, TAKEN, TOO_FAST, Office, Stub
from tests.sending.test_deliver import ANNA, LEASE, announce
from tests.sending.test_several_senders import is_gone, queue_texts

RATES = {"send_rate": 1000, "elks_send_rate": 1000, "modem_rate": 1000, "call_rate": 1000}


@pytest.fixture
def office(start: Callable[..., Running], tmp_path, monkeypatch: pytest.MonkeyPatch) -> Office:  # type: ignore[no-untyped-def]
    """Two points near 12347, and all three gateways; the clock of the service is the steady one too."""
    chosen = {
        **FAST,
        **elks.SETTINGS,
        **RATES,
        "gateway": "recorder,46elks,modem",
        "audio_dir": str(tmp_path / "audio"),
    }
    running = start(**chosen)
    stubs = {name: Stub(name, running.clock, calls=name != MODEM) for name in (TWILIO, ELKS, MODEM)}
    monkeypatch.setattr(wiring, "_senders", lambda _settings: dict(stubs))
    for part in (sending, looking):
        monkeypatch.setattr(part, "monotonic", lambda: running.clock.now.timestamp())
    office = Office(running, stubs)
    running.put(a_point("near"), a_point("far", lat=59.26))
    return office


def sent(office: Office) -> dict[str, int]:
    """How many POSTs each gateway had."""
    return {name: len(stub.posts) for name, stub in office.stubs.items()}


def one_waits(office: Office, **column: str) -> int:
    """A text from an operator waits, the only delivery there is; its id."""
    queue_texts(office, 1, MOBILE)
    with office.service.database.write() as connection:
        for name, value in column.items():
            connection.execute(text(f"UPDATE deliveries SET {name} = :value"), {"value": value})
    ((id,),) = office.rows("SELECT id FROM deliveries")
    return int(id)


def break_down(office: Office, *names: str, process: object = None) -> None:
    """These fail until a process finds them down."""
    one = process or office.process()
    for name in names:
        office[name].usual, office[name].list_away = AWAY, True
    deliverer = one.deliverer  # type: ignore[attr-defined]
    for name in names:
        for _ in range(4):
            now = office.running.clock.now.timestamp()
            deliverer._ways.hear(name, sending.Outcome.FAILED, now, now)


# --- one way at a time --------------------------------------------------------------------------------------------------


def test_the_preferred_gateway_takes_all_while_it_works(office: Office) -> None:
    queue_texts(office, 30)
    assert office.process().work() == 30
    assert sent(office) == {TWILIO: 30, ELKS: 0, MODEM: 0}
    assert office.rows("SELECT DISTINCT gateway FROM deliveries") == [(TWILIO,)]


def test_receipts_are_asked_to_the_gateway_of_the_attempt(office: Office) -> None:
    process = office.process()
    break_down(office, TWILIO, process=process)
    one_waits(office)
    process.work()
    ((_, _, receipts),) = office[ELKS].posts
    assert receipts == office.service.gateways[ELKS].receipts(1, 1) != office.service.gateways[TWILIO].receipts(1, 1)


def test_the_next_takes_over_within_seconds_of_the_first_failure_and_nothing_is_lost(office: Office) -> None:
    queue_texts(office, 200)
    office[TWILIO].usual, office[TWILIO].list_away = AWAY, True
    process = office.process()
    assert process.state(TWILIO) == "up"
    process.work(60)
    assert (process.state(TWILIO), process.state(ELKS)) == ("down", "up")
    assert len(office[ELKS].taken) == 200
    assert len(set(office[ELKS].deliveries)) == 200


def test_a_refused_account_costs_one_message_a_moment_and_the_rest_goes_elsewhere(office: Office) -> None:
    queue_texts(office, 3)
    office[TWILIO].usual, office[TWILIO].list_away = BARRED, True
    process = office.process()
    process.work(3)
    assert process.state(TWILIO) == "down"
    assert office.states() == {"accepted": 3}
    assert len(office[ELKS].taken) == 3


def test_what_is_a_numbers_own_fault_says_nothing_about_the_gateway(office: Office) -> None:
    queue_texts(office, 20)
    office[TWILIO].usual = OPTED_OUT
    process = office.process()
    process.work(3)
    assert process.state(TWILIO) == "up"
    assert office[ELKS].posts == []


def test_one_that_refuses_everything_for_a_reason_that_nobody_knows_is_down_and_the_next_takes_over(
    office: Office,
) -> None:
    numbers = [f"+467017406{n:02d}" for n in range(8)]
    office.open(*numbers)
    office[TWILIO].usual = ODD
    office.close_door()
    one = office.process()
    one.work(rounds=5)
    office.running.clock.pass_time(seconds=601)
    one.work(rounds=5)
    assert (sorted(number for number, _, _ in office[ELKS].posts), office.states()) == (numbers, {"accepted": 8})


def test_one_that_finds_everything_too_fast_is_down_after_a_while_and_the_next_takes_over(office: Office) -> None:
    numbers = [f"+467017406{n:02d}" for n in range(8)]
    office.open(*numbers)
    office[TWILIO].usual = TOO_FAST
    office.close_door()
    process = office.process()
    process.work(rounds=15, every=1.0)
    assert (process.state(TWILIO), office[ELKS].posts) == ("up", [])
    process.work(rounds=15, every=1.0)
    assert sorted(number for number, _, _ in office[ELKS].posts) == numbers
    assert (process.state(TWILIO), office.states()) == ("down", {"accepted": 8})


def test_while_one_asks_for_a_long_pause_the_next_takes_over(office: Office) -> None:
    numbers = [f"+467017406{n:02d}" for n in range(8)]
    office.open(*numbers)
    office[TWILIO].ends.extend([RESTS] * 8)
    office.close_door()
    process = office.process()
    process.work(rounds=15, every=1.0)
    assert sorted(number for number, _, _ in office[ELKS].posts) == numbers
    office.running.clock.pass_time(seconds=600)
    queue_texts(office, 1)
    process.work()
    assert (len(office[TWILIO].taken), office.states()) == (1, {"accepted": 9})


def test_one_that_finds_some_too_fast_goes_on_at_its_pace(office: Office) -> None:
    queue_texts(office, 60)
    office[TWILIO].ends.extend([TOO_FAST, TOO_FAST, TOO_FAST, TAKEN] * 100)
    process = office.process()
    process.work(rounds=60, every=1.0)
    assert (process.state(TWILIO), office[ELKS].posts, office.states()) == ("up", [], {"accepted": 60})


def test_a_report_of_what_failed_at_once_does_not_bring_the_next_try_forward(office: Office) -> None:
    id = one_waits(office)
    office[TWILIO].ends.append(ODD)
    process = office.process()
    process.work()
    office.service.receiver.receipt(id, Receipt("SM1", "failed", 0, 1), office.running.clock.now)
    process.work(5)
    assert (office[TWILIO].attempts, office.states()) == ([1], {"queued": 1})
    office.running.clock.pass_time(seconds=600)
    process.work()
    assert (office[TWILIO].attempts, office.states()) == ([1, 2], {"accepted": 1})


def test_no_more_than_a_few_are_under_way_at_one_that_is_suspect(office: Office) -> None:
    queue_texts(office, 100)
    process = office.process()
    now = office.running.clock.now.timestamp()
    for _ in range(2):
        process.deliverer._ways.hear(TWILIO, sending.Outcome.FAILED, now, now)
    ((lane, room),) = [(one, n) for one, n in process.deliverer._ways.lanes("text", now, now) if one.main]
    assert (lane.gateway, room) == (TWILIO, ways.FEW)


def test_calls_go_only_by_those_that_can_call_and_in_their_words(office: Office) -> None:
    office.text(LANDLINE, "START 12347")
    office.running.clock.pass_time(seconds=1)
    with office.service.database.write() as connection:
        connection.execute(text("UPDATE subscriptions SET channel = 'call', state = 'active'"))
    office.close_door()
    process = office.process()
    break_down(office, TWILIO, ELKS, process=process)
    process.work(20)
    assert office[MODEM].posts == []
    office[ELKS].usual, office[ELKS].list_away = TAKEN, False
    process.work(200)
    assert len(office[ELKS].taken) == len(office.rows("SELECT id FROM deliveries"))
    for _, document, _ in office[ELKS].posts:
        assert document.startswith("{")  # its own form, not TwiML
    assert office[TWILIO].taken == []


# --- unclear at one, never at another -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [LOST, NEVER])
def test_what_is_unclear_at_one_is_sent_by_no_other_before_it_is_settled(office: Office, end: str) -> None:
    id = one_waits(office)
    office[TWILIO].ends.append(end)
    process = office.process()
    process.work()
    break_down(office, TWILIO, process=process)  # and its list does not answer either
    for _ in range(LOOKS - 1):
        office.running.clock.pass_time(seconds=LEASE * 4)
        process.find_out()
        process.work(3)
        assert office.rows("SELECT state, gateway FROM deliveries WHERE id = ?", id) == [("sending", TWILIO)]
    assert office[ELKS].posts == office[MODEM].posts == []
    assert MOBILE not in office[ELKS].asked + office[MODEM].asked
    office.running.clock.pass_time(seconds=LEASE * 10)
    process.find_out()
    process.work(3)
    assert office.states() == {"unknown": 1}
    assert office[ELKS].posts == office[MODEM].posts == []


def test_an_operator_may_have_it_sent_again_and_then_any_gateway_takes_it(office: Office) -> None:
    test_what_is_unclear_at_one_is_sent_by_no_other_before_it_is_settled(office, NEVER)
    office.service.announcer.resolve(ANNA, 1, Outcome.RESEND, office.running.clock.now)
    process = office.process()
    break_down(office, TWILIO, process=process)
    process.work(3)
    assert office.rows("SELECT state, gateway, attempt FROM deliveries") == [("accepted", ELKS, 2)]


def test_what_the_gateway_surely_does_not_have_is_sent_by_the_next(office: Office) -> None:
    one_waits(office)
    office[TWILIO].ends.append(NEVER)
    process = office.process()
    process.work()
    break_down(office, TWILIO, process=process)
    office[TWILIO].list_away = False
    office.running.clock.pass_time(seconds=LEASE)
    assert process.find_out(again=True) == 1
    process.work()
    assert sent(office) == {TWILIO: 1, ELKS: 1, MODEM: 0}
    assert (office[TWILIO].attempts, office[ELKS].attempts) == ([1], [2])


def test_a_list_that_was_away_is_no_first_of_two_looks_that_agree(office: Office) -> None:
    one_waits(office)
    office[TWILIO].ends.append(LOST)
    process = office.process()
    process.work()
    break_down(office, TWILIO, process=process)
    office[TWILIO].list_away = True
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()  # nothing is seen
    office[TWILIO].list_away, office[TWILIO].hidden = False, True
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()  # it lags behind, and nothing shows that it does
    office[TWILIO].hidden = False
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()
    process.work(3)
    assert sent(office) == {TWILIO: 1, ELKS: 0, MODEM: 0}
    assert office.states() == {"accepted": 1}


def test_what_the_gateway_has_after_all_is_sent_by_nobody(office: Office) -> None:
    one_waits(office)
    office[TWILIO].ends.append(LOST)
    process = office.process()
    process.work()
    break_down(office, TWILIO, process=process)
    office[TWILIO].list_away = False
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()
    process.work(3)
    assert sent(office) == {TWILIO: 1, ELKS: 0, MODEM: 0}
    assert office.states() == {"accepted": 1}


def test_witnesses_are_those_of_the_same_gateway(office: Office) -> None:
    """The other's messages are in its list and in no other: they would hold for ever, or prove nothing."""
    process = office.process()
    queue_texts(office, 3)
    break_down(office, TWILIO, process=process)
    process.work()  # three that 46elks took
    assert len(office[ELKS].taken) == 3
    office.running.clock.pass_time(seconds=LEASE)
    with office.service.database.write() as connection:
        row = {"hash": b"x", "sealed": office.service.vault.seal(OTHER), "body": "Hej", "language": "sv", "now": 0.0}
        outbox.tell_operator(connection, {**row, "serial": "late"})
    office[TWILIO].usual, office[TWILIO].list_away = NEVER, False
    fresh = office.process("two")
    fresh.work(ask=False)
    office.running.clock.pass_time(seconds=LEASE)
    fresh.find_out(again=True)
    assert office.rows("SELECT state FROM deliveries WHERE serial = 'late'") == [("queued",)]
    assert not set(office[TWILIO].asked) & {f"+46701{n:06d}" for n in range(3)}


def test_a_list_that_hides_what_the_gateway_took_keeps_what_is_unclear(office: Office) -> None:
    process = office.process()
    queue_texts(office, 1)
    process.work()  # the witness
    office.running.clock.pass_time(seconds=LEASE)
    queue_texts(office, 1, OTHER, "Något annat.")
    office[TWILIO].ends.append(LOST)
    office[TWILIO].hidden = True
    process.work(ask=False)
    break_down(office, TWILIO, process=process)
    office[TWILIO].list_away = False
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()
    process.work(3)
    assert office[ELKS].posts == []
    assert office.states() == {"accepted": 1, "sending": 1}


def test_where_our_clock_is_too_far_from_the_gateways_what_is_unclear_is_not_taken_for_lost(office: Office) -> None:
    """As where a machine takes its local time for UTC: what we ask for begins after it was sent."""
    office[TWILIO].clock = Clock(office.running.clock.now - finding.SKEW - timedelta(seconds=1))
    process = office.process()
    queue_texts(office, 1)
    process.work()  # the witness
    queue_texts(office, 1, MOBILE)
    office[TWILIO].ends.append(LOST)
    process.work()
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()
    process.work(3)
    assert (len(office[TWILIO].posts), office.states()) == (2, {"accepted": 1, "sending": 1})


def test_a_process_that_has_not_the_gateway_leaves_what_is_unclear_there_to_those_that_have(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = one_waits(office, via=MODEM)
    office[MODEM].ends.append(LOST)
    office.process().work()
    monkeypatch.setattr(wiring, "_senders", lambda _settings: {TWILIO: office[TWILIO]})
    afar = office.process("afar")
    office.running.clock.pass_time(seconds=LEASE)
    assert afar.find_out() == 0
    for _ in range(LOOKS + 1):  # and once nobody seems to be there who could ask
        office.running.clock.pass_time(seconds=LEASE * LOOKS * 2)
        afar.find_out()
    assert office.rows("SELECT id, state, gateway FROM deliveries") == [(id, "unknown", MODEM)]
    assert office[TWILIO].asked == []


def test_a_receipt_for_what_was_sent_again_elsewhere_is_of_an_earlier_attempt(office: Office) -> None:
    test_what_the_gateway_surely_does_not_have_is_sent_by_the_next(office)
    failed = Receipt("twilio-0", "failed", 30005, attempt=1)
    office.service.receiver.receipt(1, failed, office.running.clock.now)
    assert office.states() == {"accepted": 1}


# --- coming back --------------------------------------------------------------------------------------------------------


def test_one_that_is_down_is_asked_by_a_question_and_tried_by_what_can_best_wait(office: Office) -> None:
    process = office.process()
    break_down(office, TWILIO, process=process)
    office.open(MOBILE, OTHER)
    announce(office)
    office.close_door()
    process.work(60)
    assert set(office[TWILIO].asked) == {ways.NOBODY}
    assert office[TWILIO].posts == []
    office[TWILIO].usual, office[TWILIO].list_away = TAKEN, False
    queue_texts(office, 40)  # replies, in the broadcast that goes first
    process.deliverer._ways.modes = {}
    process.work(100)
    assert office[TWILIO].posts == []  # nothing that waits can wait
    announce(office, "Det här kan vänta.")
    process.work(200, every=0.01)
    assert {body for _, body, _ in office[TWILIO].posts} <= {
        "Det här kan vänta. /Stockholms stad",
        "Det här kan vänta.",
    }


def test_it_takes_all_again_once_it_has_proved_itself(office: Office) -> None:
    process = office.process()
    break_down(office, TWILIO, process=process)
    office.open(*(f"+467017406{n:02d}" for n in range(10, 30)))
    office[TWILIO].usual, office[TWILIO].list_away = TAKEN, False
    office.running.clock.pass_time(seconds=5)
    for n in range(15):
        announce(office, f"Utskick {n}.")
        process.work(60)
    assert process.state(TWILIO) == "up"
    before = len(office[ELKS].posts)
    queue_texts(office, 20)
    process.work()
    assert len(office[ELKS].posts) == before
    bodies = [(number, body) for stub in office.stubs.values() for number, body, _ in stub.posts]
    assert len(bodies) == len(set(bodies)) == 15 * 20 + 20


def test_the_only_gateway_that_there_is_gets_everything_whatever_becomes_of_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to swing to, and to send nothing would be worse."""
    monkeypatch.setattr(wiring, "_senders", lambda _settings: {TWILIO: office[TWILIO]})
    queue_texts(office, 30)
    process = office.process()
    break_down(office, TWILIO, process=process)
    assert process.state(TWILIO) == "up"
    office[TWILIO].usual, office[TWILIO].list_away = TAKEN, False
    process.work(60)
    assert office.states() == {"accepted": 30}


# --- back the way it came -----------------------------------------------------------------------------------------------


def ask_by(office: Office, gateway: str, number: str, body: str) -> None:
    """Somebody texts one of our numbers."""
    office.service.answerer.respond(
        Inbound(f"in-{gateway}-{number}-{body}", Channel.TEXT, number, body, gateway=gateway)
    )


def test_a_reply_goes_back_the_way_it_came_while_that_works(office: Office) -> None:
    one_waits(office, via=MODEM)
    office.process().work()
    assert sent(office) == {TWILIO: 0, ELKS: 0, MODEM: 1}


def test_a_reply_waits_for_its_way_a_while_and_then_takes_any(office: Office) -> None:
    one_waits(office, via=MODEM)
    process = office.process()
    break_down(office, MODEM, process=process)
    created = office.running.clock.now.timestamp()
    with office.service.database.write() as connection:
        connection.execute(text("UPDATE deliveries SET created_at = :now"), {"now": created})
    process.work(10, every=rule.WAIT / 10 - 0.1)
    assert sent(office) == {TWILIO: 0, ELKS: 0, MODEM: 0}
    process.work(3, every=2)
    assert sent(office) == {TWILIO: 1, ELKS: 0, MODEM: 0}


def test_a_reply_by_way_of_the_modem_does_not_wait_where_another_process_has_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_modem = office.process("with the modem")
    with_modem.work()  # tells that it works
    one_waits(office, via=MODEM)
    monkeypatch.setattr(wiring, "_senders", lambda _settings: {TWILIO: office[TWILIO]})
    afar = office.process("afar")
    with office.service.database.write() as connection:
        connection.execute(text("UPDATE deliveries SET created_at = 0"))
    assert afar.work(3) == 0
    assert with_modem.work() == 1
    assert sent(office) == {TWILIO: 0, ELKS: 0, MODEM: 1}


def test_a_closed_door_goes_back_the_way_it_came_and_never_waits_for_it(office: Office) -> None:
    ask_by(office, MODEM, MOBILE, "12347")
    ask_by(office, TWILIO, OTHER, "12347")
    office.close_door()
    assert office.rows("SELECT kind, via FROM deliveries ORDER BY via") == [("follow_up", MODEM), ("follow_up", TWILIO)]
    process = office.process()
    break_down(office, TWILIO, ELKS, process=process)
    process.work(3)
    assert sent(office) == {TWILIO: 0, ELKS: 0, MODEM: 2}


def test_a_closed_door_by_a_way_that_works_takes_it(office: Office) -> None:
    ask_by(office, MODEM, MOBILE, "12347")
    ask_by(office, TWILIO, OTHER, "12347")
    office.close_door()
    office.process().work()
    assert [number for number, _, _ in office[MODEM].posts] == [MOBILE]
    assert [number for number, _, _ in office[TWILIO].posts] == [OTHER]


def test_what_a_call_asked_for_and_what_an_operator_answers_remember_the_way(office: Office) -> None:
    service, now = office.service, office.running.clock.now
    service.people.do(
        service.people.request(
            "address", service.vault.hashes(MOBILE), number_sealed=service.vault.seal(MOBILE), channel="text",
            language="sv", place="12347", service="", serial="1", via=ELKS, at=now.timestamp(),
        )
    )  # fmt: skip
    ask_by(office, MODEM, OTHER, "xyzzy")
    ((turn,),) = office.rows("SELECT id FROM turns WHERE gateway = 'modem'")
    with service.database.write() as connection:
        row = {"hash": b"y", "sealed": service.vault.seal(OTHER), "body": "Svar", "language": "sv", "turn": turn}
        outbox.answer_by_hand(connection, {**row, "serial": "answer", "now": now.timestamp()})
    assert office.rows("SELECT kind, via FROM deliveries ORDER BY kind") == [("address", ELKS), ("by_hand", MODEM)]
    office.process().work()
    assert sent(office) == {TWILIO: 0, ELKS: 1, MODEM: 1}


# --- only the modem is left ---------------------------------------------------------------------------------------------


def test_with_the_modem_alone_replies_and_closed_doors_go_and_the_rest_waits_with_a_time(
    start: Callable[..., Running], office: Office
) -> None:
    process = office.process()
    break_down(office, TWILIO, ELKS, process=process)
    process.deliverer._ways.paces[MODEM, "text"].rate = 1.0
    office.open(*(f"+467017406{n:02d}" for n in range(10, 30)))
    announce(office)
    office.set("far", Status.CLOSED)
    office.close_door()
    queue_texts(office, 2)
    process.work(23, every=1.0)
    kinds = [kind for (kind,) in office.rows("SELECT kind FROM deliveries WHERE state = 'accepted'")]
    assert kinds.count("operator") == 2
    assert kinds.count("message") == 0
    assert office.rows("SELECT count(*) FROM deliveries WHERE kind = 'message' AND state = 'queued'") == [(20,)]
    with office.service.database.read() as connection:
        seen = steer.standing(connection, {TWILIO: 10, ELKS: 1.6, MODEM: 1.0}, office.running.clock.now)
    assert (seen.main and seen.main.name) == MODEM
    waiting = seen.waiting[-1]
    assert waiting.texts == 20
    assert waiting.seconds >= 20
    assert seen.finish is not None


# --- STOPP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", [TWILIO, ELKS, MODEM])
def test_stopp_by_any_way_holds_on_all(office: Office, gateway: str) -> None:
    office.open(MOBILE, OTHER)
    announce(office)
    ask_by(office, gateway, MOBILE, "STOPP")
    process = office.process()
    for down in ([], [TWILIO], [TWILIO, ELKS]):
        break_down(office, *down, process=process)
        announce(office, f"Hej {len(down)}.")
        process.work(3)
    assert [{number for number, _, _ in stub.posts} for stub in office.stubs.values()] == [{OTHER}] * 3
    assert is_gone(office)


def test_who_has_opted_out_at_one_provider_gets_nothing_by_another(office: Office) -> None:
    office.open(MOBILE)
    announce(office)
    office[TWILIO].usual = OPTED_OUT
    process = office.process()
    process.work()
    office.open(OTHER)
    assert office.rows("SELECT reason FROM suppressions") == [("21610",)]
    break_down(office, TWILIO, process=process)
    announce(office, "Mer.")
    queue_texts(office, 1, MOBILE, "Och ett svar.")
    process.work(3)
    assert [number for number, _, _ in office[ELKS].posts + office[MODEM].posts] == [OTHER]


def test_stopp_between_the_claim_and_the_post_holds_at_the_second_gateway_too(office: Office) -> None:
    office.open(MOBILE)
    announce(office)
    process = office.process()
    break_down(office, TWILIO, process=process)
    ready = process.deliverer.take_up("text", 5, outbox.Lane(ELKS))
    assert len(ready) == 1
    ask_by(office, MODEM, MOBILE, "STOPP")

    async def posting() -> None:
        await process.deliverer._post(ready[0])

    asyncio.run(posting())
    assert office[ELKS].posts == []


# --- what operators say -------------------------------------------------------------------------------------------------


def test_off_means_nothing_new_goes_there_and_what_is_unclear_is_still_asked_there(office: Office) -> None:
    one_waits(office)
    office[TWILIO].ends.append(LOST)
    process = office.process()
    process.work()
    steer.off(office.service.database, ANNA, [TWILIO, ELKS, MODEM], TWILIO, office.running.clock.now)
    queue_texts(office, 5)
    process.work()
    assert sent(office) == {TWILIO: 1, ELKS: 5, MODEM: 0}
    office.running.clock.pass_time(seconds=LEASE)
    process.find_out()
    assert MOBILE in office[TWILIO].asked
    assert office.states() == {"accepted": 6}


def test_off_between_the_claim_and_the_post_holds(office: Office) -> None:
    one_waits(office)
    process = office.process()
    ready = process.deliverer.take_up("text", 5)
    steer.off(office.service.database, ANNA, [TWILIO, ELKS, MODEM], TWILIO, office.running.clock.now)

    async def posting() -> None:
        await process.deliverer._post(ready[0])

    asyncio.run(posting())
    assert office[TWILIO].posts == []
    assert office.states() == {"queued": 1}
    process.work()
    assert sent(office) == {TWILIO: 0, ELKS: 1, MODEM: 0}


def test_use_means_it_alone_even_while_it_is_down(office: Office) -> None:
    names = [TWILIO, ELKS, MODEM]
    steer.use(office.service.database, ANNA, names, MODEM, office.running.clock.now)
    queue_texts(office, 5)
    process = office.process()
    process.work()
    assert sent(office) == {TWILIO: 0, ELKS: 0, MODEM: 5}
    break_down(office, MODEM, process=process)
    queue_texts(office, 10)  # five more
    process.work(30)
    assert sent(office)[TWILIO] == sent(office)[ELKS] == 0
    steer.auto(office.service.database, ANNA, names, office.running.clock.now)
    process.work()
    assert sent(office)[TWILIO] == 5


def test_use_means_it_alone_even_while_only_its_list_is_away(office: Office) -> None:
    process = office.process()
    break_down(office, TWILIO, process=process)
    office[TWILIO].usual = TAKEN  # and the list is still away
    steer.use(office.service.database, ANNA, [TWILIO, ELKS, MODEM], TWILIO, office.running.clock.now)
    queue_texts(office, 5)
    process.work(10)
    assert (process.state(TWILIO), sent(office)) == ("down", {TWILIO: 5, ELKS: 0, MODEM: 0})
    with office.service.database.read() as connection:
        seen = steer.standing(connection, {TWILIO: 10, ELKS: 1.6, MODEM: 0.2}, office.running.clock.now)
    assert seen.main is not None and (seen.main.name, seen.main.state) == (TWILIO, "down")


def test_each_word_of_an_operator_is_in_the_log_with_name_and_time(office: Office) -> None:
    names, database, now = [TWILIO, ELKS], office.service.database, office.running.clock.now
    steer.use(database, ANNA, names, ELKS, now)
    steer.off(database, ANNA, names, TWILIO, now)
    steer.auto(database, ANNA, names, now)
    lines = office.rows("SELECT who, action, subject FROM audit WHERE subject LIKE 'gateway:%' ORDER BY id")
    assert lines == [
        ("anna", "use gateway alone", "gateway:46elks"),
        ("anna", "turn gateway off", "gateway:twilio"),
        ("anna", "let gateways choose", "gateway:all"),
    ]
    with database.read() as connection:
        assert set(store.modes(connection).values()) == {"auto"}


def test_the_last_gateway_cannot_be_turned_off_and_unknown_ones_are_named(office: Office) -> None:
    names, database, now = [TWILIO, ELKS], office.service.database, office.running.clock.now
    steer.off(database, ANNA, names, TWILIO, now)
    with pytest.raises(steer.BadGateway, match="no gateway to send by"):
        steer.off(database, ANNA, names, ELKS, now)
    with pytest.raises(steer.BadGateway, match="there is no gateway pigeon; there are twilio, 46elks"):
        steer.use(database, ANNA, names, "pigeon", now)


# --- what is told of them -----------------------------------------------------------------------------------------------


def test_each_process_tells_how_it_finds_them(office: Office) -> None:
    process = office.process("one")
    break_down(office, TWILIO, process=process)
    process.work(2, ask=False)
    found = office.rows("SELECT name, owner, state FROM gateway_health ORDER BY name")
    assert found == [("46elks", "one", "up"), ("modem", "one", "up"), ("twilio", "one", "down")]
    with office.service.database.read() as connection:
        seen = steer.standing(connection, {TWILIO: 10, ELKS: 1.6, MODEM: 0.2}, office.running.clock.now)
    assert [(way.name, way.state, way.main) for way in seen.ways] == [
        (TWILIO, "down", False), (ELKS, "up", True), (MODEM, "up", False),
    ]  # fmt: skip
    assert not seen.plain


def test_a_gateway_that_no_process_has_is_not_the_one_that_is_left(office: Office) -> None:
    """The machine with the modem is away: what waits is not promised for a time."""
    one_waits(office)
    now, rates = office.running.clock.now, {TWILIO: 10, ELKS: 1.6, MODEM: 0.2}
    with office.service.database.write() as connection:
        assert steer.standing(connection, rates, now).finish is not None  # nobody has looked yet: as ever
        down = [store.Found(name, "one", "down", 1.0, 0.0, 0.0, now.timestamp()) for name in (TWILIO, ELKS)]
        store.report(connection, down)
        seen = steer.standing(connection, rates, now)
    assert (seen.main, seen.finish) == (None, None)


def test_what_each_sends_and_costs_today_is_counted_and_given_back_if_it_was_not_sent(office: Office) -> None:
    queue_texts(office, 4)
    office[TWILIO].ends.extend([AWAY])
    process = office.process()
    process.work(1)
    with office.service.database.read() as connection:
        used = store.used(connection, [TWILIO, ELKS], office.running.clock.now.timestamp())
    assert used[TWILIO][0] == 3
    assert used[TWILIO][1] == pytest.approx(3 * office.service.settings.price_segment)

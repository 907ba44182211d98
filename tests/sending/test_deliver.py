"""Sending under faults: what was taken is never sent again, what was not is, and nothing goes after STOPP or stop."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from twilio.request_validator import RequestValidator

from responder.actions import staff
from responder.actions.announce import Outcome
from responder.actions.deliver import Deliverer, Ready
from responder.actions.housekeep import keep_house, rekey
from responder.core.access import Operator, Role, shell
from responder.core.points import Status
from responder.gateways.twilio_sender import TwilioSender
from responder.ports import Receipt
from responder.store import outbox
from responder.store.vault import Vault
from tests.conftest import TOKEN, URL, a_point
from tests.fakes.twilio import Answers, Faults
from tests.sending.conftest import LANDLINE, MOBILE, OTHER, Line

ANNA = Operator("anna", Role.APPROVER, signed_in=True)
LEASE = 5 + 10 + 30 + 1  # seconds after which a delivery is looked up: START_WITHIN, API_TIMEOUT, RECONCILE_SECONDS


def subscribe(line: Line, *numbers: str) -> None:
    for number in numbers or (MOBILE,):
        assert line.text(number, "START 12347").startswith("Klart")


def closed(line: Line) -> None:
    """A closed door is queued for every subscriber."""
    line.set("near", Status.CLOSED)
    line.push()


def announce(line: Line, text: str = "Vatten finns vid Farsta centrum.") -> int:
    """A broadcast to everybody, being sent; its id."""
    announcer = line.service.announcer
    now = line.running.clock.now
    made = announcer.draft(ANNA, ["everyone"], now, {"sv": text}, "sv")
    announcer.submit(ANNA, made.id, now)
    announcer.send(ANNA, made.id, now)
    return made.id


def lease_out(line: Line) -> None:
    line.running.clock.pass_time(seconds=LEASE)


# --- faults of the provider ---------------------------------------------------------------------------------------------


def test_a_lost_response_is_looked_up_and_not_sent_again(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(lose=1, receipts=False)
    line.send()
    assert line.states() == {"sending": 1}
    line.fake.faults = Faults()
    lease_out(line)
    assert line.reconcile() == 1
    assert (line.states(), line.send(), len(line.fake.accepted)) == ({"accepted": 1}, 0, 1)


def test_whoever_was_frozen_between_the_last_look_and_the_request_writes_nothing(
    connect: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others take it for lost by then, and send it again."""
    line = connect(api_timeout=0.5)
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    subscribe(line)
    closed(line)
    look = Deliverer._may_start

    def frozen(deliverer: Deliverer, ready: Ready) -> bool:
        may = look(deliverer, ready)
        time.sleep(0.6)
        return may

    with monkeypatch.context() as patched:
        patched.setattr(Deliverer, "_may_start", frozen)
        line.send()
    assert (line.states(), len(line.fake.posts)) == ({"sending": 1}, 0)
    lease_out(line)
    assert (line.reconcile(), line.send(), len(line.fake.accepted)) == (1, 1, 1)


def test_an_error_although_it_was_taken_is_looked_up(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(error_after=1, receipts=False)
    line.send()
    line.fake.faults = Faults()
    lease_out(line)
    line.reconcile()
    assert (line.send(), len(line.fake.accepted)) == (0, 1)


def test_what_the_provider_does_not_have_is_sent_again_with_what_is_true_then(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(error_before=1)
    line.send()
    line.fake.faults = Faults()
    line.set("far", Status.CLOSED)
    lease_out(line)
    assert (line.reconcile(), line.send(), len(line.fake.accepted)) == (1, 1, 1)
    assert "Ingen trygghetspunkt är öppen" in line.texts(MOBILE)[0]


def test_a_stall_is_cut_off_by_our_time_out(connect: Callable[..., Line]) -> None:
    line = connect(api_timeout=0.3)
    line.running.put(a_point("near"))
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(stall_after=1, stall_seconds=2, receipts=False)
    line.send(until_idle=False)
    assert line.states() == {"sending": 1}
    line.fake.faults = Faults()
    lease_out(line)
    line.reconcile()
    assert line.states() == {"accepted": 1}


def test_too_fast_pauses_every_sender_and_loses_nothing(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(too_many=1, retry_after=7)

    async def sending() -> tuple[int, float]:
        deliverer = line.service.deliverer("a")
        deliverer.start_some()
        await deliverer.drain()
        again = deliverer.start_some()
        await deliverer.close()
        return again, deliverer._ways.paces["twilio", "call"].share

    again, share = asyncio.run(sending())
    assert (again, share) == (0, pytest.approx(0.5, abs=0.1))
    assert line.states() == {"queued": 1}
    line.fake.faults = Faults()
    assert (line.send(), line.rows("SELECT attempt FROM deliveries")) == (1, [(1,)])


def test_an_opted_out_number_is_suppressed_and_deleted(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.refuse(MOBILE, 21610)
    line.send()
    assert line.rows("SELECT reason FROM suppressions") == [("21610",)]
    assert line.rows("SELECT count(*) FROM subscriptions") == [(0,)]
    assert line.send() == 0


@pytest.mark.parametrize("code", [21211, 21612, 21614])
def test_a_permanent_refusal_is_final(line: Line, code: int) -> None:
    subscribe(line)
    closed(line)
    line.fake.refuse(MOBILE, code)
    line.send()
    assert line.rows("SELECT state, error FROM deliveries") == [("failed", code)]
    assert line.send() == 0


def test_a_refused_account_stops_all_sending_until_somebody_acts(
    connect: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    line = connect(twilio_account_sid="AC" + "9" * 32)
    line.running.put(a_point("near"))
    subscribe(line)
    closed(line)
    line.send()
    assert line.states() == {"queued": 1}
    assert "an operator must act" in caplog.text


def test_where_there_is_no_number_to_call_from_calls_wait_and_nothing_is_tried_in_vain(
    connect: Callable[..., Line],
) -> None:
    line = connect(twilio_from="", twilio_messaging_service_sid="MG" + "1" * 32)
    line.running.put(a_point("near"))
    phone = line.running.another_phone(LANDLINE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    subscribe(line)
    line.send()
    closed(line)
    line.send()
    assert line.rows("SELECT DISTINCT channel, state, attempt FROM deliveries ORDER BY channel") == [
        ("call", "queued", 0), ("text", "delivered", 1),
    ]  # fmt: skip


def test_a_provider_that_is_away_costs_nothing_but_time(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.outage = "refuse"
    line.send()
    assert line.states() == {"queued": 1}
    line.fake.outage = None
    assert line.send() == 1


def test_a_broadcast_that_was_done_goes_on_when_a_phone_was_off(line: Line) -> None:
    subscribe(line)
    announce(line)

    async def sending() -> None:
        deliverer = line.service.deliverer("a")
        deliverer.start_some()
        await deliverer.drain()
        await deliverer.close()

    line.fake.undeliverable(MOBILE, 30003)
    line.fake.faults = Faults(receipt_delay=(0.5, 0.5))
    asyncio.run(sending())
    assert line.finish() == 1
    line.fake.wait_idle()
    line.running.clock.pass_time(minutes=31)
    assert line.send() == 1


def test_a_phone_that_is_off_hears_later_what_is_true_then(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.undeliverable(MOBILE, 30003)
    line.send()
    assert line.states() == {"queued": 1}
    assert line.rows("SELECT told FROM subscriptions") == [("open near open 0",)]  # it was not told
    line.set("near", Status.OPEN)
    line.running.clock.pass_time(minutes=31)
    assert (line.send(), line.states()) == (0, {"superseded": 1})


# --- a process that dies -------------------------------------------------------------------------------------------------


def test_what_a_dead_process_had_taken_up_but_not_sent_is_sent_by_another(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.service.deliverer("dead").take_up("text", 10)
    assert line.send("heir") == 0
    lease_out(line)
    assert (line.reconcile("heir"), line.send("heir"), len(line.texts(MOBILE))) == (1, 1, 1)


def test_what_a_dead_process_had_sent_is_found_and_not_sent_again(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(receipts=False)

    async def dying() -> None:
        deliverer = line.service.deliverer("dead")
        deliverer.start_some()
        await asyncio.wait(deliverer._under_way)
        await deliverer.close()  # and what it was told is never stored

    asyncio.run(dying())
    assert line.states() == {"sending": 1}
    lease_out(line)
    assert (line.reconcile("heir"), line.send("heir"), len(line.fake.accepted)) == (1, 0, 1)


def test_a_process_that_was_frozen_sends_nothing_when_it_wakes(line: Line) -> None:
    subscribe(line)
    closed(line)

    async def waking() -> None:
        frozen, heir = line.service.deliverer("frozen"), line.service.deliverer("heir")
        (ready,) = frozen.take_up("text", 10)
        lease_out(line)
        await heir.reconcile()
        heir.start_some()
        await heir.drain()
        await frozen._post(ready)
        await frozen.close()
        await heir.close()

    asyncio.run(waking())
    assert len(line.fake.accepted) == 1


def test_a_list_that_lags_behind_makes_us_wait_and_then_ask_an_operator(line: Line) -> None:
    subscribe(line, MOBILE, OTHER)
    closed(line)
    line.fake.refuse(OTHER, 21612)
    line.fake.faults = Faults(list_delay=3600, receipts=False)
    line.send()  # MOBILE's is a witness: taken, and not listed
    subscribe(line, LANDLINE[:-1] + "1")
    announce(line)
    line.service.deliverer("dead").take_up("text", 1)
    for _ in range(8):
        line.running.clock.pass_time(minutes=10)
        line.reconcile()
    assert line.states()["unknown"] == 1
    announcer = line.service.announcer
    ((id,),) = line.rows("SELECT id FROM deliveries WHERE state = 'unknown'")
    announcer.resolve(ANNA, id, Outcome.RESEND, line.running.clock.now)
    assert line.send() > 0


def test_a_put_back_remembers_the_second_point(line: Line) -> None:
    line.running.put(a_point("near"), a_point("beside", lon=18.0901), a_point("far", lat=59.26))
    subscribe(line)
    line.set("beside", Status.CLOSED)
    line.push()
    line.fake.faults = Faults(too_many=1)
    line.send()
    line.fake.faults = Faults()
    assert line.send() == 1
    assert "Hallen beside" in line.texts(MOBILE)[0]


def test_two_deliveries_of_one_subscription_tell_it_once(line: Line) -> None:
    """One was left behind by a dead process, the other was made meanwhile; both are taken up together."""
    subscribe(line)
    closed(line)
    line.service.deliverer("dead").take_up("text", 10)
    line.set("near", Status.OPEN)
    line.push()
    line.set("near", Status.CLOSED)
    line.push()
    lease_out(line)
    line.reconcile()
    line.send()
    assert len(line.texts(MOBILE)) == 1


def test_what_was_not_sent_costs_nothing(line: Line) -> None:
    subscribe(line)
    line.running.clock.pass_time(seconds=2)
    line.text(OTHER, "hej")
    closed(line)
    before = line.rows("SELECT cost FROM usage WHERE scope = 'spend'")
    line.fake.outage = "refuse"
    for _ in range(5):
        line.send()
    after = line.rows("SELECT cost FROM usage WHERE scope = 'spend'")
    assert after[0][0] == pytest.approx(before[0][0])
    assert line.rows("SELECT max(count) FROM usage WHERE scope LIKE 'n:%'")[0][0] < 5


def test_a_refusal_nobody_knows_is_tried_a_few_times_and_then_untold(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.fake.refuse(MOBILE, 29999)
    for _ in range(3):
        assert line.send() == 1
        line.running.clock.pass_time(minutes=11)
    assert line.states() == {"failed": 1}
    assert line.rows("SELECT told FROM subscriptions") == [("open near open 0",)]


def test_one_row_that_cannot_be_read_keeps_nobody_else_waiting(line: Line) -> None:
    subscribe(line, MOBILE, OTHER)
    closed(line)
    with line.service.database.write() as connection:
        connection.execute(text("UPDATE deliveries SET number_sealed = :bad WHERE id = 1"), {"bad": b"\1\2"})
    assert (line.send(), line.states()) == (1, {"failed": 1, "delivered": 1})


def test_a_language_that_came_after_the_estimate_gets_the_language_we_start_in(line: Line) -> None:
    subscribe(line)
    announcer = line.service.announcer
    made = announcer.draft(ANNA, ["everyone"], line.running.clock.now, {"sv": "Vatten finns."})
    announcer.submit(ANNA, made.id, line.running.clock.now)
    line.text(OTHER, "english")
    line.text(OTHER, "START 12347")
    announcer.send(ANNA, made.id, line.running.clock.now)
    line.send()
    assert line.texts(OTHER) == ["Vatten finns. /Stockholms stad"]


def test_nothing_wrong_is_tried_again_after_its_correction(line: Line) -> None:
    subscribe(line)
    id = announce(line)
    line.fake.undeliverable(MOBILE, 30003)
    line.fake.faults = Faults(receipt_delay=(0.4, 0.4))

    async def sending() -> None:
        deliverer = line.service.deliverer("a")
        deliverer.start_some()
        await deliverer.drain()
        await deliverer.close()

    asyncio.run(sending())
    line.finish()
    announcer = line.service.announcer
    announcer.correct(ANNA, id, line.running.clock.now)
    line.fake.wait_idle()
    line.finish()
    line.running.clock.pass_time(minutes=31)
    line.send()
    assert [sent.body.split()[0] for sent in line.fake.accepted] == ["Vatten", "RÄTTELSE:"]


# --- STOPP and stop --------------------------------------------------------------------------------------------------


def test_stop_between_taking_up_and_the_post_is_obeyed(line: Line) -> None:
    subscribe(line)
    closed(line)

    async def late() -> None:
        deliverer = line.service.deliverer("a")
        (ready,) = deliverer.take_up("text", 10)
        line.text(MOBILE, "STOPP")
        await deliverer._post(ready)
        await deliverer.close()

    asyncio.run(late())
    assert (line.fake.posts, line.states()) == ((), {"suppressed": 1})


def test_a_broadcast_that_is_stopped_starts_no_further_post(line: Line) -> None:
    subscribe(line)
    id = announce(line)
    announcer = line.service.announcer

    async def late() -> None:
        deliverer = line.service.deliverer("a")
        (ready,) = deliverer.take_up("text", 10)
        announcer.stop(ANNA, id, line.running.clock.now)
        await deliverer._post(ready)
        await deliverer.close()

    asyncio.run(late())
    assert (line.fake.posts, line.send()) == ((), 0)


def test_a_change_between_taking_up_and_the_post_is_told_and_not_the_old_answer(line: Line) -> None:
    subscribe(line)
    closed(line)

    async def late() -> None:
        deliverer = line.service.deliverer("a")
        (ready,) = deliverer.take_up("text", 10)
        line.set("far", Status.FULL)
        await deliverer._post(ready)
        await deliverer.close()

    asyncio.run(late())
    assert line.fake.posts == ()
    assert line.send() == 1
    assert "FULL" in line.texts(MOBILE)[0]


def test_pause_and_resume(line: Line) -> None:
    subscribe(line)
    id = announce(line)
    announcer = line.service.announcer
    announcer.pause(ANNA, id, line.running.clock.now)
    assert line.send() == 0
    announcer.resume(ANNA, id, line.running.clock.now)
    assert line.send() == 1


# --- receipts ----------------------------------------------------------------------------------------------------------


def receipt(line: Line, delivery: int, status: str, sid: str = "SM1", token: str = TOKEN, attempt: int = 1) -> int:
    path = f"/twilio/receipts/{delivery}?attempt={attempt}"
    form = {"MessageSid": sid, "MessageStatus": status}
    signature = RequestValidator(token).compute_signature(URL + path, form)
    client = line.running.app.test_client()
    return client.post(path, data=form, headers={"X-Twilio-Signature": signature}).status_code


def test_receipts_late_twice_and_in_any_order(line: Line) -> None:
    subscribe(line, MOBILE, OTHER)
    closed(line)
    line.fake.faults = Faults(receipt_double=1, receipt_shuffle=True, receipt_early=1)
    line.send()
    assert line.states() == {"delivered": 2}


def test_a_forged_receipt_is_refused_and_writes_nothing(line: Line) -> None:
    subscribe(line)
    closed(line)
    before = line.rows("SELECT * FROM deliveries")
    assert receipt(line, 1, "delivered", token="another token") == 403
    assert line.rows("SELECT * FROM deliveries") == before


def test_a_receipt_for_what_is_not_known_is_acknowledged(line: Line) -> None:
    assert receipt(line, 4711, "delivered") == 200
    assert line.rows("SELECT count(*) FROM deliveries") == [(0,)]


def test_a_receipt_without_a_status_is_a_bad_request(line: Line) -> None:
    assert receipt(line, 1, "") == 400


def test_a_receipt_that_comes_before_our_own_commit_stands(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.service.deliverer("dead").take_up("text", 10)
    receipt(line, 1, "delivered", "SM-early")
    assert line.states() == {"delivered": 1}
    lease_out(line)
    assert (line.reconcile(), line.send()) == (0, 0)


def test_what_is_told_as_failed_before_our_own_commit_is_not_taken_for_told(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next try finds that its subscriber knows already, and nobody hears that the door is closed."""
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(receipts=False)
    post = TwilioSender.text

    async def fails_at_once(sender: TwilioSender, *told: Any) -> str:
        sid = await post(sender, *told)
        failed = Receipt(sid, "undelivered", 30003, 1)
        await asyncio.to_thread(line.service.receiver.receipt, 1, failed, line.running.clock.now)
        return sid

    with monkeypatch.context() as patched:
        patched.setattr(TwilioSender, "text", fails_at_once)
        line.send()
    assert line.states() == {"queued": 1}
    line.running.clock.pass_time(hours=1)
    assert (line.send(), len(line.texts(MOBILE)), line.states()) == (1, 2, {"accepted": 1})


@pytest.mark.parametrize("status", ["partially_delivered", "no such status"])
def test_a_receipt_that_says_what_nobody_knows_still_proves_that_it_was_sent(line: Line, status: str) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(lose=1, receipts=False)
    line.send()
    (taken,) = line.fake.accepted
    receipt(line, 1, status, taken.sid)
    line.fake.faults = Faults(receipts=False)
    lease_out(line)
    line.reconcile()
    assert (line.states(), line.send(), len(line.fake.accepted)) == ({"accepted": 1}, 0, 1)


def test_two_messages_for_one_delivery_are_an_alarm(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    subscribe(line)
    closed(line)
    line.fake.faults = Faults(receipts=False)
    line.send()
    receipt(line, 1, "delivered", "SM-another")
    assert "delivery 1: two messages" in caplog.text


def test_a_key_without_the_providers_signature_stops_nobody(line: Line) -> None:
    response = line.running.app.test_client().post("/twilio/called/1", data={"CallSid": "CA1", "Digits": "9"})
    assert response.status_code == 403


# --- caps ----------------------------------------------------------------------------------------------------------------


def test_the_days_spend_ends_all_sending(connect: Callable[..., Line], caplog: pytest.LogCaptureFixture) -> None:
    line = connect(spend_per_day=5.0, price_segment=1.0)
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    subscribe(line)
    closed(line)
    for _ in range(4):
        line.running.clock.pass_time(seconds=2)  # the counts of the processes are put together once a second
        line.text(OTHER, "12347")
    assert line.send() == 0
    assert "SPEND_PER_DAY is spent" in caplog.text
    assert line.text(OTHER, "12347") == ""
    line.text(MOBILE, "STOPP")  # is done all the same
    assert line.rows("SELECT count(*) FROM suppressions") == [(1,)]
    line.running.clock.pass_time(days=1)
    assert line.text(OTHER, "12347") != ""


def test_a_number_gets_its_share_of_the_day_and_is_told_once_when_it_is_used_up(connect: Callable[..., Line]) -> None:
    line = connect(number_per_day=4)
    line.running.put(a_point("near"))
    replies = []
    for number in range(7):
        line.running.clock.pass_time(minutes=6)
        replies.append(line.text(MOBILE, "12347" if number % 2 else "Farsta"))
    assert [reply[:16] for reply in replies[:4]] != ["Vi kan inte svar"] * 4
    assert replies[4].startswith("Vi kan inte svara ditt nummer fler gånger i dag")
    assert replies[5:] == ["", ""]
    assert line.text(OTHER, "12347") != ""


def test_a_range_of_numbers_cannot_pump_traffic(connect: Callable[..., Line]) -> None:
    line = connect(prefix_per_hour=5)
    line.running.put(a_point("near"))
    answered = [bool(line.text(f"+3725{number:06d}", "12347")) for number in range(10)]
    assert answered == [True] * 5 + [False] * 5
    assert line.text(MOBILE, "12347") != ""


def test_deliveries_count_towards_a_numbers_share(connect: Callable[..., Line]) -> None:
    line = connect(number_per_day=1)
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    subscribe(line)
    closed(line)
    line.running.clock.pass_time(seconds=2)
    line.text(OTHER, "hej")  # the counts are exchanged
    line.send()
    line.set("near", Status.OPEN)
    line.push()
    line.send()
    assert line.rows("SELECT state, error FROM deliveries ORDER BY id")[-1] == ("failed", 1)


# --- what goes first, and what is kept ------------------------------------------------------------------------------------


def test_corrections_go_first_then_closed_doors_then_status_then_the_rest(line: Line) -> None:
    subscribe(line, MOBILE)
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    subscribe(line, OTHER)
    first = announce(line, "Första meddelandet.")
    line.send()
    announce(line, "Andra meddelandet.")
    line.set("near", Status.OPEN)
    line.push()
    line.text("+46701740607", "Farsta")
    line.set("far", Status.CLOSED)
    line.push()
    announcer = line.service.announcer
    announcer.correct(ANNA, first, line.running.clock.now)
    seen = len(line.fake.accepted)
    line.send()
    bodies = [sent.body.split()[0] for sent in line.fake.accepted[seen:]]
    assert bodies == ["RÄTTELSE:"] * 2 + ["ÄNDRAT"] * 3 + ["Andra"] * 2


def test_a_broadcast_is_called_to_landlines_twice_over(line: Line) -> None:
    phone = line.running.another_phone(LANDLINE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    line.fake.phone(LANDLINE).behaves = [Answers("1"), Answers()]
    line.send()
    announce(line)
    line.send()
    assert line.calls(LANDLINE)[1].count("Vatten finns vid Farsta centrum.") == 2


def test_a_broadcast_is_done_when_nothing_is_left(line: Line) -> None:
    subscribe(line)
    id = announce(line)
    line.send()
    assert line.finish() == 1
    assert line.rows("SELECT state FROM broadcasts WHERE id = ?", id) == [("done",)]


def test_numbers_are_sealed_in_the_outbox_and_masked_in_logs(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="responder")
    subscribe(line)
    closed(line)
    line.fake.refuse(MOBILE, 21614)
    line.send()
    line.running.database.close()
    assert MOBILE not in caplog.text
    assert MOBILE[1:].encode() not in line.running.path.read_bytes()


def test_what_is_over_is_deleted_after_retain_days(line: Line) -> None:
    subscribe(line)
    closed(line)
    line.send()
    line.finish()
    phone = line.running.another_phone(OTHER)
    phone.call()
    phone.keys("12347")
    phone.keys("4")  # and never says JA
    line.running.clock.pass_time(days=8)
    now = line.running.clock.now
    view = line.service.snapshot.read_if_changed(now)
    keep_house(line.service.database, line.service.vault, line.service.messages, view, line.service.settings, now)
    assert line.rows("SELECT state FROM deliveries WHERE broadcast_id > 1") == []
    assert line.rows("SELECT count(*) FROM turns") == [(0,)]
    assert line.rows("SELECT count(*) FROM subscriptions") == [(1,)]
    assert line.rows("SELECT count(*) FROM broadcasts WHERE kind = 'status'") == [(0,)]


def test_keys_are_rotated_and_a_number_still_gets_one_of_each(connect: Callable[..., Line]) -> None:
    """Subscriptions go over to the newest keys; a STOPP from before the rotation is still obeyed."""
    line = connect(lookup_key="old" * 12, number_key="old" * 12)
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    subscribe(line, MOBILE, OTHER)
    line.text("+46701740607", "STOPP")
    keys = {"lookup_key": f"{'new' * 12},{'old' * 12}", "number_key": f"{'new' * 12},{'old' * 12}"}
    line = connect(**keys)
    subscribe(line, MOBILE)
    line.text(MOBILE, "START Farsta")
    line.text("+46701740607", "12347")
    now = line.running.clock.now
    assert rekey(line.service.database, line.service.vault, now) == 4
    assert rekey(line.service.database, line.service.vault, now) == 0
    assert line.rows("SELECT count(*), count(DISTINCT number_hash) FROM subscriptions") == [(3, 2)]
    announce(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    assert [len(line.texts(number)) for number in (MOBILE, OTHER, "+46701740607")] == [3, 2, 0]


def test_what_could_not_be_read_without_the_old_key_goes_over_once_that_is_put_back(
    connect: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    """Else the old key is dropped after RETAIN_DAYS, and everybody who follows a place with it."""
    line = connect(lookup_key="old" * 12, number_key="old" * 12)
    subscribe(line, MOBILE)
    now = line.running.clock.now
    line = connect(lookup_key="new" * 12, number_key="new" * 12)
    subscribe(line, OTHER)
    assert rekey(line.service.database, line.service.vault, now) == 1
    assert "cannot be read" in caplog.text
    caplog.clear()
    assert rekey(line.service.database, line.service.vault, now) == 0
    assert "cannot be read" not in caplog.text  # it is told once, not each quarter
    both = f"{'new' * 12},{'old' * 12}"
    line = connect(lookup_key=both, number_key=both)
    assert rekey(line.service.database, line.service.vault, now) == 2
    assert rekey(line.service.database, line.service.vault, now) == 0
    only = Vault(("new" * 12,), ("new" * 12,))
    assert {only.open(sealed) for (sealed,) in line.rows("SELECT number_sealed FROM subscriptions")} == {MOBILE, OTHER}


def test_a_subscription_is_not_lost_to_a_call_that_asked_for_it_again_before_the_keys_went_over(
    connect: Callable[..., Line],
) -> None:
    line = connect(lookup_key="old" * 12, number_key="old" * 12)
    subscribe(line, MOBILE)
    both = f"{'new' * 12},{'old' * 12}"
    line = connect(lookup_key=both, number_key=both)
    phone = line.running.another_phone(MOBILE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    assert sorted(line.rows("SELECT state FROM subscriptions")) == [("active",), ("pending",)]
    rekey(line.service.database, line.service.vault, line.running.clock.now)
    assert line.rows("SELECT state FROM subscriptions") == [("active",)]


def test_operators_of_a_stale_point_are_told_once(line: Line) -> None:
    database, vault = line.service.database, line.service.vault
    staff.add(database, vault, shell("x"), "chef", Role.ADMIN, line.running.clock.now)
    boss = Operator("chef", Role.ADMIN, signed_in=True)
    now = line.running.clock.now
    staff.add(database, vault, boss, "eva", Role.REPORTER, now, ["Farsta"], MOBILE)
    staff.add(database, vault, boss, "bo", Role.REPORTER, now, ["Skarpnäck"], OTHER)
    for _ in range(2):
        line.running.clock.pass_time(hours=13)
        now = line.running.clock.now
        view = line.service.snapshot.read_if_changed(now)
        keep_house(database, vault, line.service.messages, view, line.service.settings, now)
        line.send()
    assert [text.split(":")[0] for text in line.texts(MOBILE)] == ["Hallen far", "Hallen near"]
    assert line.texts(OTHER) == []


def test_the_clock_is_injected(line: Line) -> None:
    """Nothing above waited for the time that it let pass."""
    assert line.service.clock() == line.running.clock.now
    line.running.clock.pass_time(days=1)
    assert line.service.clock() - line.running.clock.now == timedelta(0)


def overtaken(line: Line) -> None:
    """A dead process leaves "near is closed" behind; meanwhile "far is closed" goes out."""
    line.running.put(a_point("near"), a_point("far", lat=59.26), a_point("third", lat=59.27))
    subscribe(line)
    closed(line)
    line.service.deliverer("dead").take_up("text", 10)


def test_a_closed_door_that_another_message_overtook_is_still_told(line: Line) -> None:
    overtaken(line)
    line.set("far", Status.CLOSED)
    line.push()
    line.send()
    lease_out(line)
    line.reconcile()
    line.send()
    told = " ".join(line.texts(MOBILE))
    assert (
        told.count("Hallen far, Testgatan 36, Farsta, är STÄNGD"),
        told.count("Hallen near, Testgatan 36, Farsta, är STÄNGD"),
    ) == (1, 1)


def test_one_that_a_later_message_named_is_not_told_again(line: Line) -> None:
    overtaken(line)
    line.set("near", Status.OPEN)
    line.push()
    line.send()
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    seen = len(line.texts(MOBILE))
    lease_out(line)
    line.reconcile()
    line.send()
    assert len(line.texts(MOBILE)) == seen


@pytest.mark.parametrize(("became", "named"), [("delivered", True), ("unknown", True), ("failed", False)])
def test_a_door_counts_as_named_unless_the_message_that_named_it_failed(line: Line, became: str, named: bool) -> None:
    """Two messages to one subscription: the second, which waits, need not name what the first has told."""
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    with line.service.database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, serial,"
                " subscription_id, state, said_before, told_before, claimed_at, created_at) SELECT broadcast_id, kind,"
                " number_hash, number_sealed, channel, language, place, 'first', subscription_id, :became, said_before,"
                " told_before, created_at + 1, created_at FROM deliveries WHERE kind = 'status'"
            ),
            {"became": became},
        )
        (waits,) = connection.execute(
            text("SELECT id FROM deliveries WHERE kind = 'status' AND state = 'queued'")
        ).one()
        spoken = outbox.spoken_of(connection, [waits])
    assert ("near" in spoken.get(waits, set())) is named


def test_what_is_put_back_is_not_named_again_once_another_message_has_named_it(line: Line) -> None:
    """The one left behind, and the one made meanwhile, know of the same closed door."""
    line.running.put(a_point("near"), a_point("far", lat=59.26), a_point("third", lat=59.27))
    subscribe(line)
    line.set("near", Status.OPEN, closes="19:00")
    line.push()
    line.service.deliverer("dead").take_up("text", 10)
    line.set("near", Status.CLOSED)
    line.push()
    lease_out(line)
    line.reconcile()
    line.send()
    assert len(line.texts(MOBILE)) == 1

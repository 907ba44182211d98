"""What comes to a modem that nobody would send on purpose: halves of emojis, parts that come again, late, or mixed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from responder.core.delivery import State
from responder.gateways import smsd
from responder.ports import Receipt
from tests.conftest import NOW, Running, a_point
from tests.fakes.smsd import Daemon
from tests.gateways.modem_kit import ANNA, BERTIL, FREE, Kit

LATER = "2026-11-24 14:20:01"


@pytest.fixture
def kit(start: Callable[..., Running], tmp_path: Path) -> Kit:
    daemon = Daemon(tmp_path / "smsd.db").make()
    running = start(gateway="recorder,modem", modem_database=str(daemon.path), **FREE)
    running.put(a_point(confirmed_at=NOW))
    return Kit(running, daemon)


def test_half_an_emoji_keeps_nobody_from_being_answered(kit: Kit) -> None:
    kit.daemon.insert(SenderNumber=ANNA, RecipientID="kit", UDH="", Text="003100320033003400370020D83D")
    kit.daemon.set("UPDATE inbox SET TextDecoded = CAST(X'313233343720EDA0BD' AS TEXT)")  # as the daemon writes it
    kit.daemon.receive(BERTIL, "STOPP")
    kit.modem.step()
    kit.daemon.send_all()
    assert {number for number, _ in kit.daemon.texts} == {ANNA, BERTIL} and "Hallen p1" in kit.daemon.texts[1][1]


def test_halves_of_an_emoji_around_a_part_that_is_missing_are_left_out(kit: Kit) -> None:
    for n, text in ((1, "00310032003300340037D83D"), (3, "DE420021")):
        kit.part(n, 3, "")
        kit.daemon.set("UPDATE inbox SET Text = ? WHERE Text = ''", text)
    kit.pass_time(90)
    assert kit.texts() == ["12347\ufffd \ufffd!"]


def test_a_daemon_that_was_killed_while_it_noted_a_long_text_down_and_reads_it_again_gets_one_answer(kit: Kit) -> None:
    for n, text in ((1, "12347 "), (1, "12347 "), (2, "tack")):
        kit.part(n, 2, text)
    modem = kit.modem
    modem.step()
    kit.pass_time(90)
    modem.step()
    kit.daemon.send_all()
    assert len(kit.daemon.texts) == kit.turns() == 1
    assert kit.daemon.rows("SELECT count(*) FROM inbox WHERE Processed = 'false'") == [(0,)]


@pytest.mark.parametrize("hours", [0, 5])
def test_a_part_that_the_network_brings_again_after_the_answer_is_no_text(kit: Kit, hours: int) -> None:
    modem = kit.modem
    kit.part(1, 2, "12347 ")
    kit.part(2, 2, "tack")
    modem.step()
    kit.pass_time(hours * 3600)
    kit.part(2, 2, "tack")
    kit.pass_time(90, which="Processed = 'false'")
    modem.step()
    kit.daemon.send_all()
    assert len(kit.daemon.texts) == kit.turns() == 1


def test_parts_in_another_order_have_the_name_of_the_same_text(kit: Kit) -> None:
    names = []
    for order in ((1, 2), (2, 1)):
        for n in order:
            kit.part(n, 2, ("12347 ", "tack")[n - 1], at=("2026-11-24 14:20:00", LATER)[n - 1])
        names += [letter.inbound.id for letter in kit.modem._box.pending() if letter.inbound]
        kit.daemon.set("DELETE FROM inbox")
    assert names[0] == names[1]


def test_a_reference_that_a_phone_uses_again_hours_later_does_not_mix_two_texts(kit: Kit) -> None:
    kit.part(1, 2, "12347 hej", at="2026-11-24 10:00:00")  # its end is lost
    kit.part(1, 2, "FARSTA ", at="2026-11-24 13:00:00")
    kit.part(2, 2, "vatten", at="2026-11-24 13:00:01")
    kit.pass_time(90)
    assert kit.texts() == ["12347 hej", "FARSTA vatten"]


def test_nor_does_one_that_it_uses_for_all_of_its_texts(kit: Kit) -> None:
    kit.part(1, 2, "12347 hej", at="2026-11-24 14:20:00")  # its end is lost
    kit.part(1, 2, "FARSTA ", at="2026-11-24 14:24:00")
    kit.part(2, 2, "vatten", at="2026-11-24 14:24:02")
    kit.pass_time(90)
    assert kit.texts() == ["12347 hej", "FARSTA vatten"]


def test_the_end_of_a_new_text_is_not_taken_for_that_of_one_that_was_answered_without_it(kit: Kit) -> None:
    modem = kit.modem
    kit.part(1, 2, "12347 ", at="2026-11-24 10:00:00")
    kit.pass_time(90)
    modem.step()
    kit.part(2, 2, "STA", at="2026-11-24 10:40:00")
    modem.step()
    kit.part(1, 2, "FAR", at="2026-11-24 10:40:00")
    assert kit.texts(modem) == ["FARSTA"]


def test_an_answer_that_cannot_be_put_there_keeps_nobody_waiting(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    put = smsd.put

    def fails_for_anna(connection: object, phone: str, number: str, *values: object) -> None:
        if number == ANNA:
            raise ValueError("odd")
        put(connection, phone, number, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(smsd, "put", fails_for_anna)
    for number in (ANNA, BERTIL):
        kit.daemon.receive(number, "12347")
    modem = kit.modem
    modem.step()
    kit.daemon.send_all()
    assert [number for number, _ in kit.daemon.texts] == [BERTIL] and modem._box.pending() == []


def test_a_report_that_cannot_be_told_keeps_no_other_from_being_told(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = kit.queued(ANNA), kit.queued(BERTIL)
    kit.daemon.send_all()
    receipt = kit.service.receiver.receipt

    def fails_for_the_first(delivery: int, told: Receipt, now: object) -> object:
        if delivery == first:
            raise ValueError("odd")
        return receipt(delivery, told, now)  # type: ignore[arg-type]

    monkeypatch.setattr(kit.service.receiver, "receipt", fails_for_the_first)
    kit.modem.step()
    assert kit.state(second) == State.SENT


def test_a_service_that_answers_our_answers_is_not_answered_for_long(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    modem, said, now = kit.modem, "12347", 1000.0
    monkeypatch.setattr("responder.modem.monotonic", lambda: now)
    for n in range(300):  # for an hour, each answer brings another text
        kit.daemon.receive(ANNA, f"{said} {n}")
        before = len(kit.daemon.texts)
        modem.step()
        kit.daemon.send_all()
        said = "".join(words for _, words in kit.daemon.texts[before:])[:100] or said
        now += 12
        kit.running.clock.pass_time(seconds=12)
    assert len(kit.daemon.texts) <= 18 + 2  # three of the same in ten minutes


def test_in_a_flood_of_one_number_others_have_their_turn(kit: Kit) -> None:
    for n in range(8):
        kit.daemon.receive(ANNA, f"1234{n}")
    kit.daemon.receive(BERTIL, "12347")
    kit.modem.step()
    assert (BERTIL,) in kit.daemon.rows("SELECT DestinationNumber FROM outbox ORDER BY ID LIMIT 2")

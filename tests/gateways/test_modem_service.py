"""A service whose residents are at the other end of a modem: answers, floods, STOPP, and what is killed on its way."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest

from responder import modem as modems
from responder.core.delivery import State
from responder.core.segments import cost, cut
from responder.gateways import modem_box, smsd
from responder.gateways.modem_box import MOST_WAITING
from responder.gateways.smsd import Away
from responder.modem import Modem
from responder.ports import Inbound
from tests import engines
from tests.conftest import NOW, Running, a_point
from tests.fakes.smsd import Daemon
from tests.gateways.modem_kit import ANNA, BERTIL, FREE, Kit


class Killed(BaseException):
    """The process was killed here."""


@pytest.fixture
def kit(start: Callable[..., Running], tmp_path: Path) -> Kit:
    daemon = Daemon(tmp_path / "smsd.db").make()
    running = start(gateway="recorder,modem", modem_database=str(daemon.path), **FREE)
    running.put(a_point(confirmed_at=NOW))
    return Kit(running, daemon)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_text_by_the_modem_is_answered_as_by_any_other_way(kit: Kit) -> None:
    there = kit.running.another_phone(BERTIL).text("12347")
    assert kit.ask(ANNA, "12347") == [there] and "Hallen p1" in there and kit.turns() == 2
    assert kit.modem.step() == modems.Steps() and kit.daemon.send_all() == []


def test_a_conversation_goes_on_and_a_long_answer_comes_in_parts(kit: Kit) -> None:
    kit.ask(ANNA, "12347")
    assert kit.ask(ANNA, "JA") and kit.ask(ANNA, "MER")
    goodbye = kit.ask(ANNA, "STOPP")
    assert cost(goodbye[0]).segments == 2 and [words for _, words in kit.daemon.air[-2:]] == cut(goodbye[0])
    assert "Hallen p1" in kit.ask(BERTIL, "Где пункт 12347 🙂")[0]


def test_who_has_no_number_is_never_answered(kit: Kit) -> None:
    for name in ("Kommunen", "71000", ""):
        assert kit.ask(name, "12347") == []
    assert kit.daemon.texts == [] and kit.daemon.rows("SELECT count(*) FROM inbox WHERE Processed = 'false'") == [(0,)]


def test_the_same_text_brought_twice_by_the_network_is_answered_once(kit: Kit) -> None:
    at = "2026-11-24 14:20:00"
    assert len(kit.ask(ANNA, "12347", at)) == 1 and kit.ask(ANNA, "12347", at) == [] and kit.turns() == 1


def test_another_database_of_the_daemons_does_not_repeat_what_was_said(kit: Kit) -> None:
    first = kit.ask(ANNA, "12347")
    kit.daemon.path.unlink()
    kit.daemon.make()
    assert kit.ask(BERTIL, "STOPP") != first and kit.turns() == 2


def test_while_the_database_is_away_answers_come_from_memory_once(kit: Kit) -> None:
    kit.ask(ANNA, "12347")
    kit.running.database.close()
    engines.take_away(kit.running.path)
    answers = kit.ask(BERTIL, "12347")
    assert len(answers) == 1 and "Hallen p1" in answers[0]
    assert kit.modem.step().answered == 0


def test_whatever_goes_wrong_somebody_is_answered_once(kit: Kit) -> None:
    def fails(_: Inbound) -> str:
        raise ArithmeticError

    kit.daemon.receive(ANNA, "12347")
    assert Modem(kit.service, fails).step().answered == 1
    kit.daemon.send_all()
    assert len(kit.daemon.texts) == 1 and kit.modem.step().answered == 0


def test_an_old_text_is_not_answered_any_more_but_stopp_is_done(kit: Kit) -> None:
    for text in ("12347", "STOPP"):
        kit.daemon.receive(ANNA, text, "2026-11-20 14:20:00")
    kit.daemon.set("DROP TRIGGER update_inbox_time")
    kit.daemon.set("UPDATE inbox SET UpdatedInDB = datetime('now', '-2 days')")
    assert kit.modem.step().answered == 1 and kit.turns() == 1
    with engines.peek(kit.running.path) as looking:
        assert looking.execute("SELECT count(*) FROM suppressions").fetchone()[0] == 1


# --- killed ----------------------------------------------------------------------------------------------------------


def _before(name: str) -> Callable[..., object]:
    def kills(*_: object, **__: object) -> object:
        raise Killed(name)

    return kills


def _after(do: Callable[..., object]) -> Callable[..., object]:
    def kills(*values: object, **named: object) -> object:
        do(*values, **named)
        raise Killed("after")

    return kills


KILLS: dict[str, Callable[[pytest.MonkeyPatch, Kit], None]] = {
    "before it is answered": lambda patch, kit: patch.setattr(kit.service.answerer, "respond", _before("respond")),
    "after it is answered": lambda patch, kit: patch.setattr(
        kit.service.answerer, "respond", _after(kit.service.answerer.respond)
    ),
    "before it is closed": lambda patch, kit: patch.setattr(modem_box.ModemBox, "close", _before("close")),
    "before the answer is put there": lambda patch, kit: patch.setattr(smsd, "put", _before("put")),
    "before the rows are marked": lambda patch, kit: patch.setattr(smsd, "put", _after(smsd.put)),
    "after it is closed": lambda patch, kit: patch.setattr(
        modem_box.ModemBox, "close", _after(modem_box.ModemBox.close)
    ),
    "before what should not go out is looked at": lambda patch, kit: patch.setattr(smsd, "unbegun", _before("unbegun")),
    "before what is reported is looked at": lambda patch, kit: patch.setattr(
        modems.Reports, "new", _before("new reports")
    ),
}


@pytest.mark.parametrize("where", KILLS)
@pytest.mark.parametrize("text", ["12347", "STOPP"])
def test_killed_anywhere_a_text_is_answered_once_and_recorded_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, where: str, text: str
) -> None:
    kit.daemon.receive(ANNA, text)
    for _ in range(2):
        with monkeypatch.context() as patch:
            KILLS[where](patch, kit)
            dying = kit.modem
            try:
                dying.step()
            except Killed:
                kit.running.clock.pass_time(minutes=1)  # the answer would be another by now
                kit.running.put(a_point(name="Huset"))
    for _ in range(3):
        kit.modem.step()
    kit.daemon.send_all()
    assert len(kit.daemon.texts) == 1 and kit.turns() == 1
    assert kit.daemon.rows("SELECT Processed FROM inbox") == [("true",)]


# --- a flood ---------------------------------------------------------------------------------------------------------


def test_a_flood_from_one_number_uses_neither_the_card_nor_the_database_nor_the_log_up(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(modems, "monotonic", lambda: 1000.0)  # all in one moment
    for n in range(200):
        kit.daemon.receive(ANNA, f"1234{n % 10} {n}")
    kit.daemon.receive(BERTIL, "12347")
    modem = kit.modem
    for _ in range(30):
        modem.step()
        waits = kit.daemon.rows("SELECT count(*) FROM outbox")[0][0]
        assert isinstance(waits, int) and waits <= MOST_WAITING
        kit.daemon.send()
    for _ in range(30):
        modem.step()
        kit.daemon.send()
    to = [number for number, _ in kit.daemon.texts]
    assert to.count(BERTIL) >= 1
    assert kit.turns() == kit.service.settings.number_per_minute + 1
    assert caplog.text.count("too many") == 1
    assert kit.daemon.rows("SELECT count(*) FROM inbox WHERE Processed = 'false'") == [(0,)]


def test_an_answer_is_made_when_there_is_room_to_send_it_and_is_true_then(kit: Kit) -> None:
    modem = kit.modem
    for n in range(MOST_WAITING):
        kit.daemon.receive(f"+4670174070{n}", "12347")
    kit.daemon.receive(ANNA, "12347")
    modem.step()
    assert kit.daemon.rows("SELECT count(*) FROM outbox") == [(MOST_WAITING,)]
    kit.running.put(a_point(name="Det nya huset"))
    kit.daemon.send_all()
    modem.step()
    kit.daemon.send_all()
    assert "Det nya huset" in "".join(words for number, words in kit.daemon.texts if number == ANNA)


def test_a_stopp_goes_before_a_flood_and_needs_no_room(kit: Kit) -> None:
    for n in range(60):
        kit.daemon.receive(f"+467017407{n:02d}", "12347")
    kit.daemon.receive(ANNA, "STOPP")
    kit.modem.step()
    waits = kit.daemon.rows("SELECT DestinationNumber FROM outbox ORDER BY ID")
    assert waits[0] == (ANNA,) and len(waits) == MOST_WAITING


# --- what goes out ---------------------------------------------------------------------------------------------------


def test_reports_move_a_delivery_on(kit: Kit) -> None:
    id = kit.queued(ANNA)
    kit.modem.step()
    assert kit.state(id) == State.ACCEPTED
    kit.daemon.send_all()
    kit.modem.step()
    assert kit.state(id) == State.SENT
    kit.daemon.report("DeliveryOK")
    kit.modem.step()
    kit.modem.step()
    assert kit.state(id) == State.DELIVERED


def test_a_report_waits_for_a_database_that_is_away(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    id = kit.queued(ANNA)
    kit.daemon.send_all()
    modem = kit.modem

    def away(*_: object) -> None:
        raise modems.StoreAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(kit.service.receiver, "receipt", away)
        assert modem.step().reported == 0
    assert modem.step().reported == 1 and modem.step().reported == 0 and kit.state(id) == State.SENT


def test_after_stopp_nothing_goes_out_that_the_daemon_has_not_begun(kit: Kit) -> None:
    kit.queued(ANNA)
    other = kit.queued(BERTIL)
    assert "Nytt från staden" not in "".join(kit.ask(ANNA, "STOPP"))
    assert [number for number, _ in kit.daemon.texts if _ == "Nytt från staden"] == [BERTIL]
    kit.modem.step()
    assert kit.state(other) == State.SENT


def test_it_is_taken_back_before_the_goodbye_is_put_there(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.queued(ANNA)
    close = modem_box.ModemBox.close

    def sends_first(*values: object) -> None:
        kit.daemon.send_all()
        close(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(modem_box.ModemBox, "close", sends_first)
    assert [words[:6] for words in kit.ask(ANNA, "STOPP")] == ["Klart."]


def test_what_is_stopped_elsewhere_is_taken_back_too(kit: Kit) -> None:
    gone = kit.queued(ANNA)
    kit.running.another_phone(ANNA).text("STOPP")
    stopped = kit.queued(BERTIL)
    with engines.peek(kit.running.path) as looking:
        looking.execute("UPDATE broadcasts SET state = 'stopped' WHERE id = 1")
    kit.modem.step()
    assert kit.daemon.send_all() == [] and kit.state(gone) == ""
    kit.modem.step()
    assert kit.state(stopped) == State.FAILED


def test_what_waited_until_it_was_worth_nothing_is_taken_back_and_tried_later(kit: Kit) -> None:
    id = kit.queued(ANNA)
    kit.daemon.set("UPDATE outbox SET InsertIntoDB = datetime('now', '-2 hours')")
    assert kit.modem.step().withdrawn == 1
    kit.modem.step()
    assert kit.daemon.send_all() == [] and kit.state(id) == State.QUEUED


# --- the process -----------------------------------------------------------------------------------------------------


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end, "in vain"
        sleep(0.02)


def test_in_its_thread_it_answers_by_itself_and_only_one_process_does(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modems, "LOOK_EVERY", 0.01)
    looks: list[Modem] = []
    look = Modem.step
    monkeypatch.setattr(Modem, "step", lambda self: [looks.append(self), look(self)][1])
    with kit.modem as first:
        until(lambda: first in looks)
        with kit.modem as second:
            kit.daemon.receive(ANNA, "12347")
            until(lambda: bool(kit.daemon.send_all()))
            assert second not in looks
            first.__exit__(None, None, None)
            until(lambda: second in looks)


def test_a_daemons_database_that_comes_later_is_found(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modems, "LOOK_EVERY", 0.01)
    kit.daemon.path.unlink()
    with pytest.raises(Away):
        kit.modem.step()
    with kit.modem:
        sleep(0.05)
        kit.daemon.make().receive(ANNA, "12347")
        until(lambda: bool(kit.daemon.send_all()))


def test_a_service_with_a_modem_sends_by_it(kit: Kit) -> None:
    assert kit.service.senders == ("twilio", "modem")


def test_the_clock_of_the_service_may_be_wrong_by_years(kit: Kit) -> None:
    kit.running.clock.now = NOW - timedelta(days=900)
    assert kit.ask(ANNA, "12347")

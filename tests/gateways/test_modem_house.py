"""What a modem's database comes to: clocks that are set, phones of others, a card's pace, reports among thousands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from responder import modem as modems
from responder.core.delivery import State
from responder.core.segments import cost
from responder.gateways import modem_box, modem_reports, smsd
from responder.gateways.modem_reports import Reports
from responder.gateways.smsd import Smsd
from responder.modem import Modem
from tests.conftest import NOW, Running, a_point
from tests.fakes.smsd import Daemon, Died
from tests.gateways.modem_kit import ANNA, BERTIL, FREE, Kit

HOUR, DAY = 3600, 86_400


@pytest.fixture
def make(start: Callable[..., Running], tmp_path: Path) -> Callable[..., Kit]:
    """A kit with other settings."""

    def made(**settings: object) -> Kit:
        daemon = Daemon(tmp_path / "smsd.db").make()
        running = start(gateway="recorder,modem", modem_database=str(daemon.path), **{**FREE, **settings})
        running.put(a_point(confirmed_at=NOW))
        return Kit(running, daemon)

    return made


@pytest.fixture
def kit(make: Callable[..., Kit]) -> Kit:
    return make()


# --- the clock of the machine is set ---------------------------------------------------------------------------------


def set_clock(kit: Kit, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes forward (or back) by so many: what stands there is that much older, or dated ahead."""
    boot = modems.clock_gettime
    monkeypatch.setattr(modems, "clock_gettime", lambda clock: boot(clock) - seconds)
    for column, table in (("InsertIntoDB", "outbox"), ("SendingTimeOut", "outbox")):
        shift = f"UPDATE {table} SET {column} = datetime({column}, ?) WHERE {column} > '2001-01-01'"
        kit.daemon.set(shift, f"{-seconds:+d} seconds")
    for table in ("inbox", "sentitems"):
        kit.pass_time(seconds, table)


@pytest.mark.parametrize("seconds", [3 * HOUR, 900 * DAY])
def test_an_answer_that_waits_to_be_sent_is_not_lost_because_the_clock_is_set(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    modem = kit.modem
    kit.daemon.receive(ANNA, "12347")
    modem.step()
    set_clock(kit, seconds, monkeypatch)
    for _ in range(2):
        assert modem.step().withdrawn == 0
    kit.daemon.send_all()
    assert len(kit.daemon.texts) == 1


def test_and_is_given_up_when_its_hour_is_over_by_the_clock_that_was_set_back(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    modem = kit.modem
    kit.daemon.receive(ANNA, "12347")
    modem.step()
    set_clock(kit, -3 * HOUR, monkeypatch)
    modem.step()
    kit.daemon.set("UPDATE outbox SET InsertIntoDB = datetime(InsertIntoDB, '-2 hours')")
    assert modem.step().withdrawn == 1


def test_what_a_process_finds_that_starts_after_the_clock_went_back_was_put_there_now(kit: Kit) -> None:
    kit.queued(ANNA)
    kit.daemon.set("UPDATE outbox SET InsertIntoDB = datetime('now', '+2 days')")
    kit.modem.step()
    assert kit.daemon.rows("SELECT InsertIntoDB <= datetime('now') FROM outbox") == [(1,)]


def test_the_end_of_a_long_text_is_not_waited_for_until_a_clock_that_was_ahead_is_right(kit: Kit) -> None:
    kit.part(1, 2, "12347 hej")
    kit.pass_time(-DAY)
    modem = kit.modem
    assert kit.texts(modem) == []
    kit.pass_time(90)
    assert kit.texts(modem) == ["12347 hej"]


def test_a_text_that_came_just_before_the_clock_was_set_right_is_not_old(kit: Kit) -> None:
    kit.daemon.receive(ANNA, "12347", at=str(kit.daemon.now()))
    kit.pass_time(3 * DAY)  # by the machine, which did not know the day
    assert kit.modem.step().answered == 1


def test_a_text_that_a_daemon_had_in_hand_when_it_died_goes_out_though_the_clock_went_back(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.queued(ANNA)

    def dies(step: str) -> None:
        if step == "send 1":
            raise Died

    kit.daemon.before = dies
    with pytest.raises(Died):
        kit.daemon.send()
    kit.daemon.before = lambda _: None
    set_clock(kit, -DAY, monkeypatch)
    kit.modem.step()
    waits = "(julianday(SendingTimeOut) - julianday('now', 'localtime')) * 86400"
    (row,) = kit.daemon.rows(f"SELECT {waits} FROM outbox")
    assert 0 < float(str(row[0])) <= 61


def test_a_daemon_that_was_started_by_a_clock_that_was_ahead_is_not_taken_for_dead(kit: Kit) -> None:
    kit.daemon.set("UPDATE phones SET InsertIntoDB = datetime('now', '+1 year')")
    id, modem = kit.queued(ANNA, "x" * 400), kit.modem
    kit.daemon.before = lambda step: modem.step() if step in ("note 2", "note 3") else None
    kit.daemon.send()
    modem.step()
    assert kit.daemon.rows("SELECT count(*) FROM sentitems") == [(3,)] and kit.state(id) == State.SENT


@pytest.mark.parametrize("noted", [1, 2])
def test_a_text_over_which_a_daemon_died_minutes_ago_is_put_right_before_another_takes_it(kit: Kit, noted: int) -> None:
    id, modem = kit.queued(ANNA, "x" * 200), kit.modem

    def dies(step: str) -> None:
        if step == ("send 2", "clear")[noted - 1]:
            raise Died

    kit.daemon.before = dies
    with pytest.raises(Died):
        kit.daemon.send()
    kit.daemon.before = lambda _: None
    kit.daemon.set("UPDATE outbox SET SendingTimeOut = datetime(SendingTimeOut, '-10 minutes')")
    kit.daemon.set("UPDATE sentitems SET SendingDateTime = datetime(SendingDateTime, '-10 minutes')")
    kit.daemon.set("UPDATE phones SET InsertIntoDB = datetime(InsertIntoDB, '-1 day')")
    modem.step()
    assert kit.daemon.rows("SELECT count(*) FROM sentitems") == [(noted,)], "that daemon may be there yet"
    with kit.daemon.opened() as db:
        db.executescript(
            "DROP TRIGGER update_phones_time; UPDATE phones SET UpdatedInDB = datetime('now', '-9 minutes')"
        )
    modem.step()
    kit.daemon.start().send_all()
    modem.step()
    assert len(kit.daemon.air) == 4 - noted and kit.state(id) == State.SENT


# --- what is over ----------------------------------------------------------------------------------------------------


def test_what_was_sent_before_a_day_without_power_is_known_to_be_sent(kit: Kit) -> None:
    id = kit.queued(ANNA)
    kit.daemon.send_all()
    kit.pass_time(25 * HOUR, "sentitems")
    kit.modem.step()
    assert kit.state(id) == State.SENT


def test_and_is_kept_until_that_could_be_told(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    id, modem = kit.queued(ANNA), kit.modem
    kit.daemon.send_all()
    kit.pass_time(25 * HOUR, "sentitems")

    def away(*_: object) -> None:
        raise modems.StoreAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(kit.service.receiver, "receipt", away)
        modem.step()
    modem.step()
    assert kit.state(id) == State.SENT


def test_what_a_clock_that_was_ahead_has_dated_is_forgotten_a_day_after_too(kit: Kit) -> None:
    kit.ask(ANNA, "12347")
    for table in ("inbox", "sentitems"):
        kit.pass_time(-900 * DAY, table)
    kit.modem.step()
    for table in ("inbox", "sentitems"):
        kit.pass_time(25 * HOUR, table)
    kit.modem.step()
    assert kit.daemon.rows("SELECT ID FROM inbox UNION ALL SELECT ID FROM sentitems") == []


# --- somebody else's phone -------------------------------------------------------------------------------------------


def test_what_waits_for_another_phone_neither_takes_our_room_nor_is_taken_back(make: Callable[..., Kit]) -> None:
    kit = make(modem_phone_id="kit")
    database = Smsd(kit.daemon.path)
    with database.write() as connection:
        for n in range(8):
            smsd.put(connection, "other", BERTIL, "Deras", smsd.delivery_name(900 + n, 1), HOUR, 0)
    kit.daemon.receive(ANNA, "12347")
    steps = kit.modem.step()
    assert (steps.answered, steps.withdrawn) == (1, 0)


# --- the pace of a card ----------------------------------------------------------------------------------------------


def test_answers_and_messages_together_go_no_faster_than_the_card_may(make: Callable[..., Kit]) -> None:
    kit = make(modem_rate=0.2)
    modem = kit.modem
    for n in range(60):
        kit.daemon.receive(f"+467017407{n:02d}", "12347")
    for _ in range(20):  # by a modem that sends as fast as it is asked to
        modem.step()
        kit.daemon.send_all()
    segments = len(kit.daemon.air)
    longest = max(cost(words).segments for _, words in kit.daemon.texts)
    assert 12 <= segments < 12 + longest, "12 a minute, and what one answer is longer"
    kit.daemon.receive(ANNA, "STOPP")
    modem.step()
    assert kit.daemon.send_all(), "but STOPP is told at once"
    kit.daemon.set("UPDATE sentitems SET SendingDateTime = datetime(SendingDateTime, '-61 seconds')")
    modem.step()
    assert kit.daemon.send_all(), "a minute later it goes on"


def test_a_clock_that_was_ahead_stops_no_answer(make: Callable[..., Kit]) -> None:
    kit = make(modem_rate=0.2)
    modem = kit.modem
    for n in range(60):
        kit.daemon.receive(f"+467017407{n:02d}", "12347")
    for _ in range(20):
        modem.step()
        kit.daemon.send_all()
    kit.daemon.set("UPDATE sentitems SET SendingDateTime = datetime(SendingDateTime, '+1 day')")
    assert modem.step().answered


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sent(kit: Kit) -> Kit:
    """Two thousand texts of two parts went out this day."""
    with kit.daemon.opened() as db:
        db.execute("BEGIN")
        for n in range(1, 2001):
            for part in (1, 2):
                db.execute(
                    "INSERT INTO sentitems (CreatorID, ID, SequencePosition, Text, UDH, SenderID, UpdatedInDB)"
                    " VALUES (?, ?, ?, '', ?, 'kit', datetime('now', ?))",
                    (smsd.delivery_name(n, 1), n, part, f"0500030702{part:02X}", f"-{100 + n * 30} seconds"),
                )
        db.execute("COMMIT")
    return kit


def all_told(reports: Reports) -> list[tuple[int, str]]:
    found = reports.new()
    for report in found:
        reports.told(report)
    return [(report.delivery, report.receipt.status) for report in found]


def test_only_what_has_changed_is_read_again(sent: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    reports, read = Reports(Smsd(sent.daemon.path)), []
    header = modem_reports.udh.read
    monkeypatch.setattr(modem_reports.udh, "read", lambda digits: [read.append(digits), header(digits)][1])
    assert len(all_told(reports)) == 2000 and len(read) == 4000
    read.clear()
    assert all_told(reports) == [] and len(read) == 0
    sent.daemon.set("UPDATE sentitems SET Status = 'DeliveryOK' WHERE ID = 7 AND SequencePosition = 1")
    assert all_told(reports) == [] and len(read) == 2
    sent.daemon.set("UPDATE sentitems SET Status = 'DeliveryOK' WHERE ID = 7 AND SequencePosition = 2")
    assert all_told(reports) == [(7, "delivered")] and len(read) <= 6


def test_what_is_looked_at_twice_a_second_goes_by_an_index(sent: Kit) -> None:
    sent.modem.step()
    plans = [
        "SELECT ID FROM sentitems WHERE UpdatedInDB BETWEEN datetime('now', '-1 minute') AND datetime('now')",
        f"{modem_box._ROW.replace(':phone', '?')} AND Processed = 'false' ORDER BY ID LIMIT 9",
    ]
    said = [str(sent.daemon.rows(f"EXPLAIN QUERY PLAN {sql}", *[""] * sql.count("?"))) for sql in plans]
    assert "trygghetssvar_changed" in said[0] and "trygghetssvar_unread" in said[1]


def test_a_report_that_could_not_be_told_for_minutes_is_told(sent: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = Reports(Smsd(sent.daemon.path))
    all_told(reports)
    sent.daemon.set("UPDATE sentitems SET Status = 'DeliveryFailed', StatusError = 70 WHERE ID = 9")
    assert len(reports.new()) == 1
    sent.pass_time(300, "sentitems", "ID = 9")
    at = smsd.now
    monkeypatch.setattr(smsd, "now", lambda connection: at(connection) + 300)
    assert len(reports.new()) == 1 and all_told(reports) == [(9, "failed")] and all_told(reports) == []


@pytest.mark.parametrize("seconds", [-3 * HOUR, -900 * DAY])
def test_a_report_that_comes_after_the_clock_went_back_is_told(
    sent: Kit, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    reports, at = Reports(Smsd(sent.daemon.path)), smsd.now
    with monkeypatch.context() as patch:
        patch.setattr(smsd, "now", lambda connection: at(connection) - seconds)
        all_told(reports)
    sent.daemon.set("UPDATE sentitems SET Status = 'DeliveryOK' WHERE ID = 7")
    assert all_told(reports) == [(7, "delivered")]


def test_a_row_that_does_not_seem_to_have_changed_is_seen_minutes_later(
    sent: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(Smsd(sent.daemon.path))
    all_told(reports)
    sent.daemon.set("UPDATE sentitems SET Status = 'DeliveryOK' WHERE ID = 7")
    sent.pass_time(HOUR, "sentitems", "ID = 7")
    assert all_told(reports) == []
    later = modem_reports.monotonic() + modem_reports.ALL_EVERY + 1
    monkeypatch.setattr(modem_reports, "monotonic", lambda: later)
    assert all_told(reports) == [(7, "delivered")]


def test_another_file_in_its_place_is_read_from_the_beginning(sent: Kit, tmp_path: Path) -> None:
    reports = Reports(Smsd(sent.daemon.path))
    all_told(reports)
    other = Daemon(tmp_path / "other.db").make()
    other.set(
        "INSERT INTO sentitems (CreatorID, ID, Text, UDH, SenderID, UpdatedInDB)"
        " VALUES (?, 1, '', '', 'kit', datetime('now', '-2 hours'))", smsd.delivery_name(77, 1)
    )  # fmt: skip
    other.path.rename(sent.daemon.path)
    assert all_told(reports) == [(77, "sent")]


def test_a_process_that_begins_tells_a_day_of_reports_bit_by_bit_and_answers_between(
    sent: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent.service.receiver, "receipt", lambda *_: None)
    modem: Modem = sent.modem
    sent.daemon.receive(ANNA, "12347")
    assert modem.step().reported == modems.MOST_TOLD
    assert sum(modem.step().reported for _ in range(10)) == 2000 - modems.MOST_TOLD
    assert modem._reports.untold == 0

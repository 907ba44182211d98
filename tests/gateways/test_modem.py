"""The modem by SMSD's database: what is put there, once; what is read there; what it says of what became of it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core import udh
from responder.core.delivery import NO_SUCH_NUMBER
from responder.core.segments import cost, cut
from responder.gateways import modem_house, smsd
from responder.gateways.modem import ModemGateway
from responder.gateways.modem_box import ModemBox
from responder.gateways.modem_check import look_at_modem
from responder.gateways.modem_reports import Reports
from responder.gateways.modem_sender import MOST_WAITING, ModemSender
from responder.gateways.smsd import EXPIRED, FAILED, WITHDRAWN, Away, Smsd
from responder.ports import MODEM, NotSent, Outbound, Receipt
from responder.settings import Settings
from tests.fakes.smsd import PACKAGE, SCHEMA, Daemon, Died

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NUMBER, ANOTHER = "+46701740605", "+46700000002"
LONG = "Trygghetspunkten i Farsta är öppen till kl. 20 och har vatten, värme, laddning och information. " * 3
RUSSIAN = "Пункт безопасности открыт до 20:00. Есть вода, тепло и зарядка для телефона 🙂. " * 2


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "smsd.db").make()


@pytest.fixture
def sender(daemon: Daemon) -> ModemSender:
    return ModemSender(Smsd(daemon.path, patience=0.2), rate=0.2, timeout=10)


@pytest.fixture
def box(daemon: Daemon) -> ModemBox:
    return ModemBox(Smsd(daemon.path, patience=0.2), lambda text: f"{hash(text):x}".encode(), 0.2)


@pytest.fixture
def reports(daemon: Daemon) -> Reports:
    return Reports(Smsd(daemon.path))


def send(
    sender: ModemSender,
    body: str = "Svar åäö",
    delivery: int = 1,
    attempt: int = 1,
    number: str = NUMBER,
    valid: int = 3600,
) -> str:
    receipts = ModemGateway(real=False).receipts(delivery, attempt)
    return asyncio.run(sender.text(number, body, receipts, valid))


def found(sender: ModemSender, number: str = NUMBER, since: datetime = LONG_AGO) -> list[tuple[str, str]]:
    return [(sent.id, sent.body) for sent in asyncio.run(sender.find(number, False, since))]


# --- the database ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PACKAGE.exists(), reason="gammu-smsd is not installed")
def test_the_tables_that_the_tests_use_are_those_of_the_package() -> None:
    def tables(script: str) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(script)
            names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            assert db.execute("SELECT Version FROM gammu").fetchall() == [(smsd.SCHEMA,)]
            return {name: sorted(row[1:] for row in db.execute(f"PRAGMA table_info({name})")) for name in names}

    assert tables(SCHEMA) == tables(PACKAGE.read_text(encoding="utf-8"))


def test_another_schema_is_refused_by_its_number(daemon: Daemon, sender: ModemSender, box: ModemBox) -> None:
    daemon.set("UPDATE gammu SET Version = 18")
    with pytest.raises(NotSent, match="schema 18, and we know 17"):
        send(sender)
    with pytest.raises(Away, match="schema 18"):
        box.pending()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(NotSent, match="unable to open"):
        send(ModemSender(Smsd(path), 0.2, 10))
    assert not path.exists()


def test_a_file_that_is_no_database_or_an_empty_one_is_refused(tmp_path: Path) -> None:
    for content in (b"this is no database" * 100, b""):
        path = tmp_path / "odd.db"
        path.write_bytes(content)
        with pytest.raises(NotSent, match="not a database|no such table"):
            send(ModemSender(Smsd(path), 0.2, 10))
        assert path.read_bytes() == content


def test_while_somebody_holds_the_lock_nothing_is_sent_and_one_is_told_so(daemon: Daemon, sender: ModemSender) -> None:
    with daemon.opened() as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotSent, match="locked"):
            send(sender)
    assert daemon.rows("SELECT * FROM outbox") == []
    assert send(sender) == "trygghetssvar:delivery:1:1"


def test_from_the_look_whether_it_stands_there_until_it_does_nobody_else_can_write(daemon: Daemon) -> None:
    with Smsd(daemon.path).write(), pytest.raises(Away, match="locked"), Smsd(daemon.path, patience=0).write():
        pass


# --- going out -------------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("aå€{🙂ж\n"), max_size=400))
def test_a_text_is_cut_into_as_many_parts_as_it_costs_and_they_are_the_whole(text: str) -> None:
    parts = cut(text)
    assert "".join(parts) == text and len(parts) == cost(text).segments
    if len(parts) > 1:
        gsm = cost(text).encoding == "GSM-7"
        assert all(cost(part).units <= 153 or cost(part).encoding == "UCS-2" for part in parts) if gsm else True
        assert gsm or all(len(part.encode("utf-16-be")) <= 134 for part in parts)


@pytest.mark.parametrize(("body", "coding"), [(LONG, "Default_No_Compression"), (RUSSIAN, "Unicode_No_Compression")])
def test_a_long_text_goes_out_in_parts_that_belong_together(
    daemon: Daemon, sender: ModemSender, body: str, coding: str
) -> None:
    send(sender, body)
    first = daemon.rows("SELECT Coding, UDH, TextDecoded, MultiPart, DeliveryReport, RelativeValidity FROM outbox")[0]
    rest = daemon.rows("SELECT Coding, UDH, TextDecoded FROM outbox_multipart ORDER BY SequencePosition")
    assert first[0] == coding and first[3:] == ("true", "yes", 11)  # an hour in steps of five minutes, from 0
    headers = [udh.read(str(row[1])) for row in (first, *rest)]
    assert [(h.part, h.parts) for h in headers] == [(n, len(headers)) for n in range(1, len(headers) + 1)]
    assert len({h.reference for h in headers}) == 1
    assert "".join(str(row[2]) for row in (first, *rest)) == body
    daemon.send_all()
    assert daemon.air == [(NUMBER, part) for part in cut(body)] and found(sender) == [
        ("trygghetssvar:delivery:1:1", body)
    ]


def test_the_list_of_a_number_has_our_deliveries_to_it_since_then_and_nothing_else(
    daemon: Daemon, sender: ModemSender, box: ModemBox
) -> None:
    daemon.receive(NUMBER, "12347")
    box.close(box.pending()[0], "Svar åäö")  # reads alike
    daemon.send_all()
    assert found(sender) == []
    send(sender)
    assert found(sender) == [("trygghetssvar:delivery:1:1", "Svar åäö")] and found(sender, ANOTHER) == []
    assert found(sender, since=LONG_AGO.replace(year=2100)) == []


def test_two_long_texts_to_one_number_do_not_share_a_reference(daemon: Daemon, sender: ModemSender) -> None:
    for n in (1, 2):
        send(sender, LONG, delivery=n)
    assert len({udh.read(str(row[0])).reference for row in daemon.rows("SELECT UDH FROM outbox")}) == 2


@pytest.mark.parametrize(("seconds", "ticks"), [(1, 0), (299, 0), (600, 1), (3600, 11), (36_000, 119), (10**6, 143)])
def test_a_text_is_worth_nothing_any_more_before_its_time_is_over(
    daemon: Daemon, sender: ModemSender, seconds: int, ticks: int
) -> None:
    send(sender, valid=seconds)
    assert daemon.rows("SELECT RelativeValidity FROM outbox") == [(ticks,)]


def test_an_attempt_is_put_there_once_however_often_it_is_asked_for(daemon: Daemon, sender: ModemSender) -> None:
    for _ in range(3):
        assert send(sender) == "trygghetssvar:delivery:1:1"
    assert daemon.rows("SELECT count(*) FROM outbox") == [(1,)]
    daemon.send_all()
    assert send(sender) == "trygghetssvar:delivery:1:1" and daemon.send_all() == []
    assert daemon.air == [(NUMBER, "Svar åäö")]


def test_a_delivery_that_stands_there_is_not_put_there_again_by_its_next_attempt(
    daemon: Daemon, sender: ModemSender
) -> None:
    assert send(sender) == send(sender, attempt=2) == "trygghetssvar:delivery:1:1"
    daemon.send_all()
    assert send(sender, attempt=3) == "trygghetssvar:delivery:1:1"
    assert send(sender, delivery=11) == "trygghetssvar:delivery:11:1" and len(daemon.send_all()) == 1


@pytest.mark.parametrize("status", FAILED)
def test_one_that_failed_is_put_there_again_by_its_next_attempt(
    daemon: Daemon, sender: ModemSender, status: str
) -> None:
    send(sender)
    daemon.send_all()
    daemon.report(status)
    assert send(sender) == "trygghetssvar:delivery:1:1" and daemon.send_all() == []
    assert send(sender, attempt=2) == "trygghetssvar:delivery:1:2" and len(daemon.send_all()) == 1


def test_a_delivery_of_another_database_of_ours_is_not_taken_for_this_one(daemon: Daemon, sender: ModemSender) -> None:
    send(sender)
    assert send(sender, number=ANOTHER) == "trygghetssvar:delivery:1:1"
    assert daemon.rows("SELECT count(*) FROM outbox") == [(2,)]
    daemon.set("UPDATE outbox SET InsertIntoDB = datetime('now', '-2 hours')")
    send(sender)
    assert daemon.rows("SELECT count(*) FROM outbox") == [(3,)]


def test_hundreds_of_askers_at_once_put_one_there(daemon: Daemon) -> None:
    def ask() -> None:
        patient = ModemSender(Smsd(daemon.path, patience=10), 0.2, 30)
        for n in range(10):
            send(patient, delivery=n % 3)

    askers = [Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert daemon.rows("SELECT count(*), count(DISTINCT CreatorID) FROM outbox") == [(3, 3)]


def test_what_took_longer_than_anybody_waits_for_is_not_put_there(daemon: Daemon) -> None:
    with pytest.raises(NotSent, match="too long"):
        send(ModemSender(Smsd(daemon.path), 0.2, timeout=0))
    assert daemon.rows("SELECT * FROM outbox") == []


def test_the_daemon_gets_few_at_a_time_and_then_asks_us_to_slow_down(daemon: Daemon, sender: ModemSender) -> None:
    for n in range(MOST_WAITING):
        send(sender, delivery=n)
    with pytest.raises(NotSent) as refused:
        send(sender, delivery=99)
    assert (refused.value.status, refused.value.wait) == (429, 5.0) and sender.waiting() == MOST_WAITING
    assert send(sender, delivery=0) == "trygghetssvar:delivery:0:1"  # it stands there
    daemon.send()
    send(sender, delivery=99)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM phones", "not running"),
        ("UPDATE phones SET NetCode = ''", "no network"),
        ("UPDATE phones SET NetCode = 'ERROR'", "no network"),
        ("UPDATE phones SET Send = 'no'", "not to send"),
    ],
)
def test_nothing_is_put_there_where_nobody_would_send_it(
    daemon: Daemon, sender: ModemSender, change: str, why: str
) -> None:
    daemon.set(change)
    for ask in (lambda: send(sender), lambda: found(sender)):
        with pytest.raises(NotSent, match=why):
            ask()
    assert daemon.rows("SELECT * FROM outbox") == []


def grow_old(daemon: Daemon, table: str, seconds: int) -> None:
    """The trigger would write the time that it is."""
    daemon.set(f"DROP TRIGGER update_{table}_time")
    daemon.set(f"UPDATE {table} SET UpdatedInDB = datetime('now', '{-seconds:+d} seconds')")


@pytest.mark.parametrize(("age", "alive"), [(100, True), (200, False), (-60, False)])
def test_a_daemon_that_has_not_told_of_itself_for_long_is_not_running(
    daemon: Daemon, sender: ModemSender, age: int, alive: bool
) -> None:
    grow_old(daemon, "phones", age)
    if alive:
        send(sender)
    else:
        with pytest.raises(NotSent, match="not running"):
            send(sender)


def test_a_text_that_has_not_been_begun_can_be_taken_back_and_none_else(daemon: Daemon, sender: ModemSender) -> None:
    send(sender, LONG)
    database = Smsd(daemon.path)

    def take_back() -> bool:
        with database.write() as connection:
            return smsd.withdraw(connection, 1, WITHDRAWN)

    def dies(step: str) -> None:
        if step == "send 1":
            raise Died

    assert take_back() and daemon.send_all() == [] and daemon.air == []
    assert daemon.rows("SELECT count(*) FROM outbox_multipart") == [(0,)] and not take_back()
    send(sender, LONG, attempt=2)
    daemon.before = dies
    with pytest.raises(Died):
        daemon.send()
    with database.write() as connection:
        assert smsd.unbegun(connection, "") == [] and not smsd.withdraw(connection, 2, WITHDRAWN)


def test_a_modem_has_no_webhooks_and_makes_no_calls(sender: ModemSender) -> None:
    gateway = ModemGateway(real=True)
    assert not gateway.genuine("/modem", {}, "anything") and gateway.text_reply(Outbound("Svar")) == "Svar"
    assert gateway.voice_reply(Outbound()) == gateway.hold(Outbound(), 1) == gateway.call_document((), (), (), "") == ""
    for read in (lambda: gateway.read_text({}), lambda: gateway.read_call({}, 0), lambda: gateway.read_receipt({}, 1)):
        with pytest.raises(ValueError, match="no requests"):
            read()
    with pytest.raises(NotSent):
        asyncio.run(sender.call(NUMBER, "", ""))
    assert not sender.calls and asyncio.run(sender.find(NUMBER, True, LONG_AGO)) == []


# --- a daemon that dies ----------------------------------------------------------------------------------------------

STEPS = ["take", "send 1", "note 1", "send 2", "note 2", "clear"]


@pytest.mark.parametrize("step", STEPS)
def test_a_daemon_that_dies_over_a_text_sends_it_when_it_is_back_and_again_only_where_nobody_can_know(
    daemon: Daemon, sender: ModemSender, reports: Reports, step: str
) -> None:
    body = "x" * 200
    send(sender, body)

    def dies(now: str) -> None:
        if now == step:
            raise Died

    daemon.before = dies
    with pytest.raises(Died):
        daemon.send()
    daemon.before = lambda _: None
    for table, column in (("sentitems", "SendingDateTime"), ("outbox", "SendingTimeOut")):  # a minute later
        gone = f"{column} <> '{smsd.AT_ONCE}'"
        daemon.set(f"UPDATE {table} SET {column} = datetime('now', '-1 minute', 'localtime') WHERE {gone}")
    daemon.start()
    with Smsd(daemon.path).write() as connection:
        modem_house.mend(connection, "")
    daemon.send_all()
    first, second = cut(body)
    for part, least in ((first, 1), (second, 1)):
        assert least <= daemon.air.count((NUMBER, part)) <= 2
    if step in ("take", "send 1", "clear"):
        assert daemon.air == [(NUMBER, first), (NUMBER, second)]
    assert daemon.rows("SELECT count(*) FROM outbox") == [(0,)]
    assert [report.receipt.status for report in reports.new()] == ["sent"]


# --- coming in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["VÄDER Malmö", LONG, "Где пункт? 🙂 12347", RUSSIAN, "x" * 66 + "🙂" + "ж" * 40, ""])
def test_a_text_is_read_as_it_was_written_whatever_its_parts(daemon: Daemon, box: ModemBox, text: str) -> None:
    daemon.receive(NUMBER, text)
    letter = box.pending()[0]
    assert letter.inbound is not None
    assert (letter.inbound.sender, letter.inbound.text, letter.inbound.gateway) == (NUMBER, text, MODEM)
    box.close(letter)
    assert box.pending() == []


def test_an_emoji_that_a_phone_split_over_two_parts_is_whole_again(daemon: Daemon, box: ModemBox) -> None:
    whole = smsd.digits("Var? 🙂 12347")
    for n, (part, header) in enumerate(zip((whole[:24], whole[24:]), udh.written(7, 2), strict=True)):
        daemon.insert(
            SenderNumber=NUMBER,
            RecipientID="kit",
            Coding="Unicode_No_Compression",
            UDH=header,
            Text=part,
            TextDecoded="?" * n,
        )
    assert [letter.inbound.text for letter in box.pending() if letter.inbound] == ["Var? 🙂 12347"]


def test_parts_in_any_order_and_of_several_people_come_together(daemon: Daemon, box: ModemBox) -> None:
    headers = udh.written(9, 3)
    for n in (2, 0, 1):
        for sender, words in ((NUMBER, "abc"), (ANOTHER, "xyz")):
            daemon.insert(SenderNumber=sender, RecipientID="kit", UDH=headers[n], Text=smsd.digits(words[n]))
    texts = {letter.inbound.sender: letter.inbound.text for letter in box.pending() if letter.inbound}
    assert texts == {NUMBER: "abc", ANOTHER: "xyz"}


def test_a_part_is_waited_for_and_then_there_is_an_answer_without_it(daemon: Daemon, box: ModemBox) -> None:
    text = "12347 " + "a" * 160 + "b" * 160
    assert daemon.receive(NUMBER, text, leave_out=(2,)) == 3
    assert box.pending() == []
    grow_old(daemon, "inbox", 90)
    letter = box.pending()[0]
    first, _, third = cut(text)
    assert letter.inbound is not None and letter.inbound.text == f"{first} {third}"


def test_a_part_that_comes_after_its_text_was_answered_is_set_aside(daemon: Daemon, box: ModemBox) -> None:
    one, two = udh.written(5, 2)
    daemon.insert(SenderNumber=NUMBER, RecipientID="kit", UDH=one, Text=smsd.digits("12347 "))
    grow_old(daemon, "inbox", 90)
    box.close(box.pending()[0])
    daemon.set("UPDATE inbox SET UpdatedInDB = datetime('now')")
    daemon.insert(SenderNumber=NUMBER, RecipientID="kit", UDH=two, Text=smsd.digits("tack"))
    late = box.pending()[0]
    assert late.inbound is None and "answered without it" in late.why
    box.close(late)
    for header, text in ((one, "igen "), (two, "12347")):  # the same reference, 256 texts later
        daemon.insert(SenderNumber=NUMBER, RecipientID="kit", UDH=header, Text=smsd.digits(text))
    assert [letter.inbound.text for letter in box.pending() if letter.inbound] == ["igen 12347"]


def test_the_same_long_text_twice_is_two_texts(daemon: Daemon, box: ModemBox) -> None:
    for at in ("2026-11-24 14:20:00", "2026-11-24 14:20:10"):
        for header, text in zip(udh.written(3, 2), ("ab", "cd"), strict=True):
            columns = {"ReceivingDateTime": at, "UDH": header, "Text": smsd.digits(text)}
            daemon.insert(SenderNumber=NUMBER, RecipientID="kit", **columns)
    assert [letter.inbound.text for letter in box.pending() if letter.inbound] == ["abcd", "abcd"]


@pytest.mark.parametrize(
    "columns",
    [
        {"Coding": "8bit", "Text": "DEADBEEF"},
        {"UDH": "06050423F00000", "Text": "0061"},  # to a port: a setting, a picture
        {"UDH": "0401020001", "Text": ""},  # voice mail waits
    ],
)
def test_what_is_for_no_person_is_no_text(daemon: Daemon, box: ModemBox, columns: dict[str, object]) -> None:
    daemon.insert(**{"SenderNumber": NUMBER, "RecipientID": "kit", "UDH": "", **columns})
    assert [letter.inbound for letter in box.pending()] == [None]


def test_a_flash_is_a_text_like_any(daemon: Daemon, box: ModemBox) -> None:
    daemon.receive(NUMBER, "12347", Class=0)
    assert [letter.inbound.text for letter in box.pending() if letter.inbound] == ["12347"]


@given(st.binary(max_size=20))
def test_any_header_can_be_read(data: bytes) -> None:
    header = udh.read(data.hex())
    assert 1 <= header.part <= header.parts


def test_digits_that_are_none_say_nothing() -> None:
    assert udh.read("xyz") == udh.read("") == udh.Header()


def test_a_text_keeps_its_name_in_another_row_and_another_text_has_another(daemon: Daemon, box: ModemBox) -> None:
    def names() -> list[str]:
        return [letter.inbound.id for letter in box.pending() if letter.inbound]

    at = "2026-11-24 14:20:00"
    daemon.receive(NUMBER, "12347", at)
    daemon.receive(NUMBER, "12347", at)  # the network brings it again
    daemon.receive(NUMBER, "12347", "2026-11-24 14:20:01")
    daemon.receive(ANOTHER, "12347", at)
    daemon.receive(NUMBER, "12348", at)
    first, again, *others = names()
    assert first == again and len({first, *others}) == 4 and len(first) <= 64 and NUMBER[1:] not in first
    daemon.path.unlink()
    daemon.make()
    daemon.receive(ANOTHER, "Hej", at)
    daemon.receive(NUMBER, "12347", at)
    assert names()[1] == first


def test_texts_that_the_network_gave_no_time_are_told_apart_by_their_rows(daemon: Daemon, box: ModemBox) -> None:
    for _ in range(2):
        daemon.receive(NUMBER, "12347", "0000-00-00 00:00:00")
    assert len({letter.inbound.id for letter in box.pending() if letter.inbound}) == 2


def test_only_the_texts_of_our_phone_are_ours(daemon: Daemon) -> None:
    daemon.receive(NUMBER, "12347")
    daemon.receive(NUMBER, "12348", RecipientID="another")
    mine = ModemBox(Smsd(daemon.path, "kit"), lambda text: text[:4].encode(), 0.2)
    assert [letter.inbound.text for letter in mine.pending() if letter.inbound] == ["12347"]


def test_an_answer_and_the_note_that_it_was_given_are_one(daemon: Daemon, box: ModemBox) -> None:
    daemon.receive(NUMBER, LONG)
    letter = box.pending()[0]
    daemon.set("CREATE TRIGGER full BEFORE UPDATE ON inbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(Away, match="disk full"):
        box.close(letter, "Svar")
    assert daemon.rows("SELECT count(*) FROM outbox") == [(0,)] and len(box.pending()) == 1
    daemon.set("DROP TRIGGER full")
    for _ in range(2):
        box.close(letter, "Svar")
    assert daemon.rows("SELECT DestinationNumber, TextDecoded FROM outbox") == [(NUMBER, "Svar")]
    assert box.pending() == []


def test_answers_go_before_what_was_queued_earlier(daemon: Daemon, box: ModemBox, sender: ModemSender) -> None:
    send(sender, "Nytt")
    daemon.receive(NUMBER, "12347")
    box.close(box.pending()[0], "Svar")
    daemon.send_all()
    assert [text for _, text in daemon.air] == ["Svar", "Nytt"]


# --- what became of it -----------------------------------------------------------------------------------------------


def told(reports: Reports) -> list[tuple[str, int]]:
    found = reports.new()
    for report in found:
        reports.told(report)
    return [(report.receipt.status, report.receipt.code) for report in found]


def test_a_text_is_sent_and_delivered_when_all_its_parts_are_and_each_is_told_once(
    daemon: Daemon, sender: ModemSender, reports: Reports
) -> None:
    send(sender, LONG)
    assert told(reports) == []
    daemon.send_all()
    assert told(reports) == [("sent", 0)] and told(reports) == []
    for part in range(1, len(cut(LONG)) + 1):
        assert told(reports) == []
        daemon.report("DeliveryOK", part=part)
    assert told(reports) == [("delivered", 0)] and told(reports) == []


def test_a_report_that_could_not_be_told_comes_again_and_another_process_tells_all_again(
    daemon: Daemon, sender: ModemSender, reports: Reports
) -> None:
    send(sender)
    daemon.send_all()
    assert reports.new() == reports.new() != []
    told(reports)
    assert told(Reports(Smsd(daemon.path))) == [("sent", 0)]


@pytest.mark.parametrize(
    ("status", "said", "cause", "code"),
    [
        ("SendingError", -1, -1, 0),  # no answer: it may have been sent
        ("SendingError", -1, 1, NO_SUCH_NUMBER),
        ("SendingError", -1, 42, 30008),
        ("SendingError", -1, 332, 0),  # the network did not answer
        ("Error", -1, -1, 0),
        ("DeliveryFailed", 70, -1, 30036),
        ("DeliveryFailed", 65, -1, NO_SUCH_NUMBER),
        ("DeliveryFailed", 99, -1, 30003),
    ],
)
def test_one_part_that_failed_is_a_text_that_failed(
    daemon: Daemon, sender: ModemSender, reports: Reports, status: str, said: int, cause: int, code: int
) -> None:
    send(sender, LONG)
    daemon.send_all()
    daemon.set("UPDATE sentitems SET StatusCode = ? WHERE SequencePosition = 2", cause)
    daemon.report(status, said, part=2)
    assert told(reports) == [("failed", code)]


def test_what_was_taken_back_is_reported_by_the_attempt_it_was_of(
    daemon: Daemon, sender: ModemSender, reports: Reports
) -> None:
    for delivery, why in ((1, WITHDRAWN), (2, EXPIRED)):
        send(sender, delivery=delivery, attempt=3)
        with Smsd(daemon.path).write() as connection:
            smsd.withdraw(connection, smsd.unbegun(connection, "")[0].id, why)
    receipts = [report.receipt for report in reports.new()]
    names = [f"trygghetssvar:delivery:{n}:3" for n in (1, 2)]
    assert receipts == [Receipt(names[0], "canceled", 0, 3), Receipt(names[1], "canceled", 30036, 3)]


def test_what_others_sent_by_the_same_modem_is_not_reported(daemon: Daemon, reports: Reports) -> None:
    daemon.set(
        f"INSERT INTO outbox (SendingDateTime, SendingTimeOut, DestinationNumber, TextDecoded, Text, UDH, CreatorID) VALUES ('{smsd.AT_ONCE}', '{smsd.AT_ONCE}', ?, 'Hej', '', '', 'Gammu 1.42.0')",
        NUMBER,
    )
    daemon.send_all()
    assert reports.new() == []


def test_a_day_after_nothing_of_it_is_kept(daemon: Daemon, box: ModemBox, sender: ModemSender) -> None:
    daemon.receive(NUMBER, "hemligheten")
    box.close(box.pending()[0], "svaret på den")
    daemon.receive(NUMBER, "oläst")
    daemon.send_all()

    def purge() -> None:
        with Smsd(daemon.path).write() as connection:
            modem_house.purge(connection, "", sent=True)

    purge()
    assert daemon.rows("SELECT count(*) FROM sentitems") == [(1,)]
    for table in ("inbox", "sentitems"):
        grow_old(daemon, table, 90_000)
    purge()
    assert daemon.rows("SELECT TextDecoded FROM inbox") == [("oläst",)]
    content = daemon.path.read_bytes()
    assert not any(word in content for word in (b"hemligheten", b"svaret", smsd.digits("svaret").encode()))


# --- the doctor ------------------------------------------------------------------------------------------------------


@pytest.fixture
def looked(daemon: Daemon) -> Callable[[], dict[bool, str]]:
    def look() -> dict[bool, str]:
        settings = Settings(_env_file=None, gateway="recorder,modem", modem_database=str(daemon.path))  # type: ignore[call-arg]
        findings = list(look_at_modem(settings))
        return {well: "\n".join(f.text for f in findings if f.well is well) for well in (True, False)}

    return look


def test_a_modem_that_works_has_nothing_to_complain_of(looked: Callable[[], dict[bool, str]]) -> None:
    said = looked()
    assert said[False] == ""
    for part in ("schema 17", "gammu-smsd runs", "in the network 240 01", "signal 60 %", "sends and receives"):
        assert part in said[True]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE gammu SET Version = 16", "schema 16"),
        ("DELETE FROM phones", "no phone has been seen"),
        ("UPDATE phones SET NetCode = ''", "in no network"),
        ("UPDATE phones SET Signal = 6", "signal 6 %"),
        ("UPDATE phones SET Receive = 'no'", "not to receive"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_modem(
    daemon: Daemon, looked: Callable[[], dict[bool, str]], change: str, why: str
) -> None:
    daemon.set(change)
    assert why in looked()[False]


def test_the_doctor_says_what_piles_up(
    daemon: Daemon, looked: Callable[[], dict[bool, str]], sender: ModemSender
) -> None:
    daemon.receive(NUMBER, "12347")
    grow_old(daemon, "inbox", 400)
    send(sender)
    daemon.refuse = 42
    daemon.send_all()
    grow_old(daemon, "phones", 200)
    said = looked()[False]
    assert "1 texts have waited" in said and "1 texts could not be sent" in said and "last heard of 20" in said
    daemon.path.unlink()
    assert "unable to open" in looked()[False]


def test_where_there_is_no_modem_the_doctor_says_nothing() -> None:
    assert list(look_at_modem(Settings(_env_file=None))) == []  # type: ignore[call-arg]

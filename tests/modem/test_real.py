"""The real daemon: texts in by its phone, answers out by it, killed and locked out in the middle."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from responder import modem as modems
from responder.core.segments import cut
from responder.gateways import smsd
from responder.gateways.modem import ModemGateway
from responder.gateways.modem_reports import Reports
from responder.gateways.modem_sender import ModemSender
from responder.gateways.smsd import Smsd
from responder.modem import Modem
from tests.conftest import NOW, Running, a_point
from tests.modem.daemon import INSTALLED, Real, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INSTALLED, reason="gammu-smsd is not installed")]
ANNA, BERTIL = "+46701740605", "+46701740606"
SWEDISH = (
    "Hej, jag är gammal och bor ensam i Farsta. Det är mörkt överallt och jag behöver värme, vatten och laddning till"
    " telefonen. Vart kan jag gå i natt? Tack på förhand, hälsningar Åsa Öländsk. 12347"
)
RUSSIAN = "Где ближайший пункт безопасности? 12347 🙂"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Real]:
    folder = tmp_path / "smsd"
    folder.mkdir()
    real = Real(folder).make().start()
    yield real
    real.end()


@pytest.fixture
def running(start: Callable[..., Running], daemon: Real) -> Running:
    service = start(gateway="recorder,modem", modem_database=str(daemon.path), modem_phone_id="kit", modem_rate=100)
    service.put(a_point(confirmed_at=NOW))
    return service


@pytest.fixture
def modem(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modem]:
    monkeypatch.setattr(modems, "LOOK_EVERY", 0.1)
    with looked_after(running) as modem:
        yield modem


def looked_after(running: Running) -> Modem:
    return Modem(running.app.extensions["responder"])


def send(daemon: Real, delivery: int, body: str, number: str = ANNA) -> None:
    sender = ModemSender(Smsd(daemon.path, "kit", patience=5), 0.2, 10)
    asyncio.run(sender.text(number, body, ModemGateway(real=False).receipts(delivery, 1), 3600))


def test_a_two_part_text_and_one_in_cyrillic_come_in_and_are_answered(daemon: Real, modem: Modem) -> None:
    assert len(cut(SWEDISH)) == 2
    daemon.receive(ANNA, SWEDISH)
    daemon.receive(BERTIL, RUSSIAN, "-unicode")
    until(lambda: len(daemon.sent()) == 2)
    for number, text in daemon.sent():
        assert number in (ANNA, BERTIL) and "Hallen p1" in text
    assert daemon.rows("SELECT count(*) FROM inbox WHERE Processed = 'false'") == [(0,)]
    sleep(3)
    assert len(daemon.sent()) == 2 and len(daemon.transmitted()) == len(daemon.rows("SELECT 1 FROM sentitems"))


def test_half_an_emoji_keeps_nobody_from_being_answered(daemon: Real, modem: Modem) -> None:
    daemon.end()
    daemon.receive(ANNA, "12347 🙂", "-unicode")
    lies = next((daemon.folder / "phone" / "sms/3").iterdir())
    lies.write_text(lies.read_text("latin-1").replace("D83DDE42", "D83D"), "latin-1")
    daemon.receive(BERTIL, "12347")
    daemon.start()
    until(lambda: {number for number, _ in daemon.sent()} == {ANNA, BERTIL}, 30)


def test_a_part_that_never_comes_does_not_keep_the_rest_from_an_answer(
    daemon: Real, modem: Modem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responder.gateways.modem_box.PART_WAIT", 2.0)
    daemon.end()
    daemon.receive(ANNA, "12347. " + SWEDISH)
    (daemon.folder / "phone" / "sms/3" / "2").unlink()
    daemon.start()
    until(lambda: len(daemon.sent()) == 1, 30)
    assert "Hallen p1" in daemon.sent()[0][1]


@pytest.mark.parametrize("body", ["Öppet: Hallen, kl. 8-20 € {@} " * 8, RUSSIAN * 4, "Kort åäö"])
def test_what_goes_out_by_the_daemon_is_what_was_put_there(daemon: Real, body: str) -> None:
    send(daemon, 1, body)
    until(lambda: daemon.sent() == [(ANNA, body)] and daemon.rows("SELECT 1 FROM outbox") == [])
    rows = daemon.rows("SELECT Coding, Status, RelativeValidity, CreatorID, SenderID FROM sentitems")
    coding = "Default_No_Compression" if body[0] in "ÖK" else "Unicode_No_Compression"
    assert rows == [(coding, "SendingOK", 11, "trygghetssvar:delivery:1:1", "kit")] * len(cut(body))
    send(daemon, 1, body)
    assert daemon.rows("SELECT 1 FROM outbox") == []
    assert [report.receipt.status for report in Reports(Smsd(daemon.path)).new()] == ["sent"]


def test_what_the_daemon_has_not_begun_can_be_taken_back(daemon: Real) -> None:
    daemon.end()
    send(daemon, 1, "Gammalt")
    send(daemon, 2, "Nytt")
    with Smsd(daemon.path).write() as connection:
        assert smsd.withdraw(connection, smsd.unbegun(connection, "")[0].id, smsd.WITHDRAWN)
    daemon.start()
    until(lambda: (ANNA, "Nytt") in daemon.sent())
    assert daemon.sent() == [(ANNA, "Nytt")]


def test_a_daemon_that_is_killed_and_started_again_loses_and_repeats_nothing(daemon: Real, modem: Modem) -> None:
    numbers = [f"+467017406{n:02d}" for n in range(5)]
    daemon.kill()
    for number in numbers[:3]:
        daemon.receive(number, "12347")
    daemon.start()
    until(lambda: daemon.rows("SELECT count(*) FROM sentitems") != [(0,)])
    daemon.kill()
    for number in numbers[3:]:
        daemon.receive(number, "12347")
    daemon.start()
    until(lambda: {number for number, _ in daemon.sent()} == set(numbers), 120)
    until(lambda: daemon.rows("SELECT 1 FROM outbox") == [], 120)
    assert len(daemon.sent()) == 5


def leave_as_if_killed(daemon: Real, sent: int) -> None:
    """What a daemon leaves that is killed when it has sent and noted down so many parts of a text. (It would keep the
    text to itself for a minute.)
    """
    with closing(sqlite3.connect(daemon.path)) as db:
        db.execute("UPDATE outbox SET SendingTimeOut = datetime('now', '+8 seconds', 'localtime')")
        parts = db.execute(
            "SELECT 1, ID, Text, UDH FROM outbox UNION SELECT SequencePosition, ID, Text, UDH FROM outbox_multipart ORDER BY 1"
        ).fetchall()
        for part, id, text, header in parts[:sent]:
            db.execute(
                "INSERT INTO sentitems (ID, SequencePosition, Text, UDH, SenderID, CreatorID, DestinationNumber,"
                " SendingDateTime) VALUES (?, ?, ?, ?, 'kit', 'trygghetssvar:delivery:1:1', ?,"
                " datetime('now', '-5 seconds', 'localtime'))",
                (id, part, text, header, ANNA),
            )
        db.commit()


@pytest.mark.parametrize("sent", [1, 2])
def test_what_a_daemon_left_that_died_over_a_long_text_is_put_right(daemon: Real, running: Running, sent: int) -> None:
    daemon.kill()
    send(daemon, 1, SWEDISH)
    leave_as_if_killed(daemon, sent)
    with looked_after(running):  # only now: what was not begun, and of no delivery of ours, is taken back
        daemon.start()
        until(lambda: daemon.rows("SELECT 1 FROM outbox") == [], 60)
    assert len(daemon.rows("SELECT 1 FROM sentitems")) == 2
    assert len(daemon.transmitted()) == (2 if sent == 1 else 0)
    assert daemon.rows("SELECT DISTINCT Status FROM sentitems") == [("SendingOK",)]


def test_without_us_such_a_text_never_arrives_whole(daemon: Real) -> None:
    daemon.kill()
    send(daemon, 1, SWEDISH)
    leave_as_if_killed(daemon, 1)
    daemon.start()
    until(lambda: "1" in [part for _, part, _ in daemon.transmitted()], 60)
    sleep(20)
    assert [part for _, part, _ in daemon.transmitted()].count("2") == 0


def test_somebody_who_holds_the_lock_delays_a_text_and_no_more(daemon: Real, modem: Modem) -> None:
    daemon.receive(ANNA, "12347")
    with closing(sqlite3.connect(daemon.path, isolation_level=None, timeout=10)) as db:
        db.execute("BEGIN EXCLUSIVE")
        sleep(6)
        db.execute("COMMIT")
    until(lambda: len(daemon.sent()) == 1, 60)
    sleep(3)
    assert len(daemon.sent()) == len({number for _, _, number in daemon.transmitted()}) == 1
    assert len(daemon.transmitted()) == len(daemon.rows("SELECT 1 FROM sentitems"))

"""What the gate lets in, in which order, and what it says to the others."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from responder.app import MAX_BODY as MAX_FORM
from responder.core.dialogue import may_stop
from responder.core.flow import Flow
from responder.core.segments import cost
from responder.core.wording import Channel
from responder.store import engine
from responder.web import gate as gates
from responder.web import worker
from responder.web.allowance import REMEMBERED, Allowance
from responder.web.asked import asked
from responder.web.gate import Gate
from responder.web.line import Arrivals, Kind, Line
from responder.web.signed import MAX_BODY, TooLarge, read_body
from tests import engines
from tests.conftest import TOKEN, URL, Running, a_point
from tests.fakes.elks import SETTINGS

FIRST, SECOND = Kind("first", 0, 10, 5), Kind("second", 1, 10, 5)
HURRIED = replace(SECOND, patience=0.01)


def gate_of(running: Running) -> Gate:
    found: Gate = running.app.extensions["gate"]
    return found


def send(running: Running, path: str = "/twilio/sms", **fields: str) -> TestResponse:
    """A signed request; a text with a question unless `fields` say otherwise."""
    text = {"MessageSid": f"SM{next(_ids)}", "Body": "12347"} if path == "/twilio/sms" else {"CallSid": "CA1"}
    form = {"From": "+46700000001", **text, **fields}
    signature = RequestValidator(TOKEN).compute_signature(URL + path, form)
    return running.app.test_client().post(path, data=form, headers={"X-Twilio-Signature": signature})


_ids = iter(range(1_000_000))


def turns(running: Running) -> int:
    with engines.peek(running.path) as looking:
        count: int = looking.execute("SELECT count(*) FROM turns").fetchone()[0]
    return count


@contextmanager
def full(running: Running, monkeypatch: pytest.MonkeyPatch, *but: str) -> Iterator[None]:
    """While every line is full, for every kind but those named."""
    entered = Line.enter
    monkeypatch.setattr(Line, "enter", lambda line, kind: kind.name in but and entered(line, kind))
    yield
    monkeypatch.undo()


@dataclass
class Crowd:
    """Threads before a line, and the order in which they came in."""

    line: Line
    came: list[str]
    threads: list[threading.Thread]

    def join(self, name: str, kind: Kind) -> None:
        """Have one more wait, and wait until it does."""
        before = self.line.waiting

        def wait() -> None:
            if self.line.enter(kind):
                self.came.append(name)
                self.line.leave(kind)

        self.threads.append(threading.Thread(target=wait))
        self.threads[-1].start()
        while self.line.waiting == before:
            pass

    def over(self) -> list[str]:
        """The order in which they came in."""
        for thread in self.threads:
            thread.join(5)
        return self.came


@pytest.fixture
def crowd() -> Crowd:
    """Before a line whose one seat is taken."""
    line = Line(1)
    assert line.enter(FIRST)
    return Crowd(line, [], [])


def test_whoever_has_the_lower_rank_goes_first_and_then_whoever_came_first(crowd: Crowd) -> None:
    for name, kind in (("a", SECOND), ("b", SECOND), ("c", FIRST), ("d", FIRST)):
        crowd.join(name, kind)
    crowd.line.leave(FIRST)
    assert crowd.over() == ["c", "d", "a", "b"]
    assert (crowd.line.at_work, crowd.line.waiting) == (0, 0)


def test_a_line_that_is_full_for_one_kind_has_places_for_another(crowd: Crowd) -> None:
    crowd.join("a", SECOND)
    assert not crowd.line.enter(replace(SECOND, room=1))
    crowd.join("b", replace(FIRST, room=2))
    crowd.line.leave(FIRST)
    assert crowd.over() == ["b", "a"]


def test_who_loses_patience_leaves_the_line_and_keeps_no_seat(crowd: Crowd) -> None:
    assert not crowd.line.enter(HURRIED)
    assert crowd.line.waiting == 0
    crowd.line.leave(FIRST)
    assert crowd.line.at_work == 0


def test_a_seat_that_is_left_is_nobodys_until_somebody_enters() -> None:
    line = Line(2)
    assert line.enter(FIRST) and line.enter(FIRST) and not line.enter(HURRIED)
    line.leave(FIRST)
    assert line.enter(SECOND) and line.at_work == 2


def test_what_goes_first_has_seats_of_its_own_beside_which_the_others_keep_theirs() -> None:
    line = Line(2, kept=1)
    assert line.enter(SECOND) and line.enter(SECOND) and not line.enter(HURRIED)
    assert line.enter(FIRST) and not line.enter(replace(FIRST, patience=0.01))
    line.leave(FIRST)
    assert not line.enter(HURRIED), "the seat that is free is kept"
    line.leave(SECOND)
    assert line.enter(FIRST) and line.enter(FIRST), "it may take the others' too"
    crowd = Crowd(line, [], [])
    crowd.join("a", SECOND)
    line.leave(FIRST)
    assert crowd.over() == ["a"], "one that goes first and one that does not are at work: the third seat is anybody's"


def test_stopp_is_done_while_everybody_else_waits_for_a_slow_database(service: Running) -> None:
    gate = gate_of(service)
    for _ in range(gates.SEATS):
        assert gate._residents.enter(gates.TEXT)
    for _ in range(2 * gates.STOP_SEATS):
        assert "raderat" in send(service, From=f"+4670{next(_ids):07d}", Body="STOPP").text
    assert gate.figures().at_work["residents"] == gates.SEATS


def test_every_resident_at_work_has_a_connection() -> None:
    assert gates.SEATS + gates.STOP_SEATS <= engine.HOT


def test_what_is_urgent_arrives_while_the_others_are_too_many() -> None:
    arrivals, came = Arrivals(urgent=1, others=1), []

    def arrive(name: str, urgent: bool) -> threading.Thread:
        def come() -> None:
            with arrivals.arriving(urgent):
                came.append(name)

        thread = threading.Thread(target=come)
        thread.start()
        return thread

    with arrivals.arriving(urgent=False):
        late = arrive("other", urgent=False)
        arrive("urgent", urgent=True).join(5)
        assert came == ["urgent"]
        arrivals.through()  # the gate has let this one in, or has it wait
        late.join(5)
        assert came == ["urgent", "other"]


def test_an_allowance_is_a_burst_and_then_one_at_a_time() -> None:
    allowance = Allowance(3, 10)
    assert [allowance.take("+1", 0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take("+2", 0)
    assert [allowance.take("+1", at) for at in (9, 10, 11, 19, 20, 30)] == [False, True, False, False, True, True]
    assert [allowance.take("+1", 1000) for _ in range(4)] == [True, True, True, False]


def test_a_hundred_thousand_numbers_take_no_more_memory_and_do_not_free_the_one_that_floods() -> None:
    allowance = Allowance(1, 3600)
    assert allowance.take("flooding", 0)
    for number in range(100_000):
        allowance.take(f"+4670{number:07d}", 1)
        assert number % 1000 or not allowance.take("flooding", 1)
    assert len(allowance) == REMEMBERED


def test_a_resident_who_texts_five_times_in_every_minute_never_meets_the_allowance(service: Running) -> None:
    minute = service.app.extensions["responder"].settings.number_per_minute
    allowance = Allowance(minute, 60 / minute)
    assert all(allowance.take("+1", minutes * 60) for minutes in range(60) for _ in range(5))


def test_a_number_that_floods_gets_nothing_at_no_row_each_and_stopp_from_it_is_done(
    start: Callable[..., Running],
) -> None:
    running = start(number_per_minute=3)
    running.put(a_point())
    replies = [send(running).text for _ in range(6)]
    assert all("<Message>" in reply for reply in replies[:3])
    assert all(reply.endswith("<Response/>") for reply in replies[3:])
    assert turns(running) == 3
    assert "raderat" in send(running, Body="STOPP").text
    assert "<Message>" in send(running, From="+46700000002").text
    assert gate_of(running).figures().outcomes["text", "nothing"] == 3


def test_stopp_without_end_from_one_number_is_done_once_in_a_while(service: Running) -> None:
    replies = [send(service, Body="STOPP").text for _ in range(9)]
    assert [reply.endswith("<Response/>") for reply in replies] == [False] * 3 + [True] * 6  # 3: the same too often
    assert gate_of(service).figures().outcomes == {("stop", "let in"): gates.STOPS, ("stop", "nothing"): 4}


def test_a_stopp_that_found_no_room_may_come_again_at_once(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(service, monkeypatch):
        for _ in range(2 * gates.STOPS):
            send(service, Body="STOPP")
    assert "raderat" in send(service, Body="STOPP").text


def test_nobody_loses_a_seat_because_something_could_not_be_counted(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(gates.metrics, "gate", lambda *_: 1 / 0)
        for _ in range(gates.SEATS + 1):
            with pytest.raises(ZeroDivisionError):
                send(service)
    assert "<Message>" in send(service).text


def test_without_room_a_text_gets_a_short_answer_in_its_language_that_nothing_is_written_of(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.put(a_point())
    with full(service, monkeypatch):
        assert "Många frågar just nu" in send(service).text
        assert "Many are asking" in send(service, Body="where is the nearest open point please").text
        assert turns(service) == 0
    assert "ÖPPEN" in send(service).text


def test_a_message_that_got_a_short_answer_is_answered_in_full_when_it_comes_again(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.put(a_point())
    with full(service, monkeypatch):
        assert "hann inte" in send(service, MessageSid="SMagain").text
    assert "ÖPPEN" in send(service, MessageSid="SMagain").text


def test_a_short_answer_promises_nothing(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(service, monkeypatch):
        for said in ("STOPP", "JA", "START 12347"):
            reply = send(service, Body=said, From="+46700000003").text
            assert "Klart" not in reply and "igen om fem minuter" in reply
    with engines.peek(service.path) as looking:
        for table in ("turns", "subscriptions", "suppressions"):
            assert looking.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_every_short_answer_is_one_segment(flow: Flow) -> None:
    for wording in flow.languages.values():
        assert [cost(wording.alphabet(wording.text[key])).segments for key in ("say.busy", "say.busy_stop")] == [1, 1]


def test_no_more_short_answers_go_to_a_number_than_identical_replies(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full(service, monkeypatch):
        replies = [send(service).text for _ in range(5)]
    assert ["<Message>" in reply for reply in replies] == [True] * 3 + [False] * 2


def test_who_may_not_be_answered_gets_no_short_answer(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(spend_per_day=1.0)
    with full(running, monkeypatch):
        assert send(running, From="Kommunen").text.endswith("<Response/>")
        assert "<Message>" in send(running, From="+46700000005").text
        assert send(running, From="+46700000006").text.endswith("<Response/>")  # the day's money is spent


def test_stopp_gets_in_where_texts_do_not(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with full(service, monkeypatch, "stop"):
        assert "Många frågar" in send(service).text
        assert "raderat" in send(service, Body="stopp!").text


def test_stopp_has_places_that_nobody_else_may_take() -> None:
    assert gates.STOP.rank < gates.UNDER_WAY.rank < gates.CALL.rank < gates.TEXT.rank
    assert gates.STOP.room > gates.UNDER_WAY.room > gates.CALL.room > gates.TEXT.room


@pytest.mark.parametrize(
    "text",
    [
        "STOPP",
        " stopp. ",
        "Stopp Farsta",
        "stop",
        "jag vill avsluta",
        "Jag vill inte ha fler sms!",
        "avanmäl",
        "CANCEL",
        "ＳＴＯＰＰ",
    ],
)
def test_what_the_dialogue_takes_for_stopp_goes_first(flow: Flow, text: str) -> None:
    assert may_stop(flow, text)


@pytest.mark.parametrize("text", ["", "12347", "Stoppsignalen 3", "hur stoppar jag blödningen", "JA"])
def test_what_is_not_stopp_goes_with_the_others(flow: Flow, text: str) -> None:
    assert not may_stop(flow, text)


def test_every_word_for_stopp_in_every_language_goes_first(flow: Flow) -> None:
    words = {word for wording in flow.languages.values() for word in wording.commands["stop"]}
    assert words and all(may_stop(flow, word) for word in words)


def test_a_call_that_finds_no_room_is_told_so_in_every_language_and_hung_up(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full(service, monkeypatch):
        reply = send(service, "/twilio/voice").text
    assert "Många ringer just nu" in reply and "Many are calling" in reply and "<Hangup/>" in reply
    assert turns(service) == 0


def test_a_call_under_way_is_never_hung_up_but_asked_to_hold_on(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.put(a_point())
    send(service, "/twilio/voice")
    with full(service, monkeypatch):
        reply = send(service, "/twilio/voice/1", Digits="12347").text
    assert "Vänta kvar" in reply and "Hangup" not in reply
    assert re.search("<Redirect[^>]*>([^<]+)", reply)[1] == "/twilio/voice/1"  # type: ignore[index]
    assert "Hallen p1" in send(service, "/twilio/voice/1", Digits="12347").text


def test_a_key_on_a_call_of_ours_that_finds_no_room_is_not_said_to_be_done(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full(service, monkeypatch):
        reply = send(service, "/twilio/called/1", Digits="9").text
    assert "Vi kan inte svara" in reply and "<Hangup/>" in reply


@pytest.mark.parametrize("path", ["/twilio/receipts/1", "/twilio/voice/status", "/console/sign-in", "/readyz"])
def test_what_no_resident_waits_for_is_told_to_come_again(
    service: Running, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    with full(service, monkeypatch):
        reply = send(service, path) if path.startswith("/twilio") else service.app.test_client().get(path)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
        assert service.app.test_client().get("/healthz").status_code == 200


def test_pages_receipts_and_probes_have_lines_of_their_own(service: Running) -> None:
    gate = gate_of(service)
    for _ in range(gates.SEATS):
        assert gate._residents.enter(gates.TEXT)
    assert service.app.test_client().get("/console/sign-in").status_code == 200
    assert service.app.test_client().get("/readyz").status_code == 200
    assert send(service, "/twilio/voice/status", CallStatus="completed").status_code == 200
    assert gate.figures().at_work == {
        "residents": gates.SEATS,
        **dict.fromkeys(("receipts", "pages", "probes", "audio"), 0),
    }


def test_what_is_forged_has_no_place_in_the_line_and_does_not_use_up_an_allowance(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(number_per_minute=1)
    form = {"MessageSid": "SM1", "From": "+46700000001", "Body": "STOPP"}
    with full(running, monkeypatch):
        for _ in range(3):
            forged = running.app.test_client().post("/twilio/sms", data=form, headers={"X-Twilio-Signature": "x"})
            assert forged.status_code == 403
    assert "<Message>" in send(running).text
    assert gate_of(running).figures().outcomes == {("text", "forged"): 3, ("text", "let in"): 1}


def test_a_view_without_the_gate_before_it_answers_nobody(service: Running) -> None:
    service.app.wsgi_app = gate_of(service)._app  # type: ignore[method-assign]
    assert send(service).status_code == 403


def test_every_route_of_a_provider_is_known_to_the_gate(start: Callable[..., Running]) -> None:
    service = start(**SETTINGS)
    rules = [rule.rule for rule in service.app.url_map.iter_rules() if rule.rule.startswith(("/twilio/", "/46elks/"))]
    found = [asked("POST", re.sub("<[^>]+>", "7", rule)) for rule in rules]
    assert len(rules) >= 12
    assert all(what and what.gateway == rule.split("/")[1] for what, rule in zip(found, rules, strict=True))


class Measured(BytesIO):
    """A body that notes how much of it was asked for."""

    asked = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size >= 0
        self.asked += size
        return super().read(size)


@pytest.mark.parametrize(
    "given", [{"CONTENT_LENGTH": str(MAX_BODY + 1)}, {"wsgi.input_terminated": True}, {"CONTENT_LENGTH": "9" * 30}]
)
def test_no_more_than_the_limit_is_read_into_memory(given: dict[str, object]) -> None:
    stream = Measured(b"x" * 10 * MAX_BODY)
    with pytest.raises(TooLarge):
        read_body({**given, "wsgi.input": stream})
    assert stream.asked <= MAX_BODY + 1


def test_there_are_threads_for_all_who_may_wait_and_some_to_turn_others_away() -> None:
    config = (Path(__file__).parents[2] / "gunicorn.conf.py").read_text()
    threads, connections = (
        int(re.search(rf"^{name} = (\d+)$", config, re.MULTILINE)[1])  # type: ignore[index]
        for name in ("threads", "worker_connections")
    )
    rooms = gates.STOP.room + gates.RECEIPT.room + gates.PAGE.room + gates.PROBE.room + gates.AUDIO.room
    seats = gates.SEATS + gates.RECEIPT_SEATS + gates.PAGE_SEATS + gates.PROBE_SEATS + gates.AUDIO_SEATS
    assert rooms + seats + gates.STOP_SEATS + 6 <= threads < connections  # six: those that arrive (line.ARRIVALS)


HEAD = b"POST /twilio/sms HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("seen", "is_whole"),
    [
        (b"", False), (b"POST /twil", False), (HEAD[:-2], False), (HEAD, False), (HEAD + b"Body=123", False),
        (HEAD + b"Body=1234", True), (b"GET / HTTP/1.1\r\n\r\n", True), (HEAD + b"Body=1234GET / HT", True),
        (HEAD.replace(b"Host: x", b"Expect: 100-Continue"), False),
        (HEAD.replace(b"9", b"%d" % MAX_FORM) + b"x" * (MAX_FORM - 1), False),
    ],
)  # fmt: skip
def test_a_request_is_looked_at_once_it_has_come_as_a_whole(seen: bytes, is_whole: bool) -> None:
    assert worker.is_whole(seen) is is_whole


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (HEAD.replace(b"Content-Length: 9", b"Transfer-Encoding: chunked"), 411),
        (HEAD.replace(b"Host: x", b"transfer-ENCODING:identity"), 411),
        (HEAD.replace(b"9", b"9999999999"), 400), (HEAD.replace(b": 9", b": +9"), 400),
        (HEAD.replace(b": 9", b":\r\n 9"), 400), (HEAD.replace(b"9", b"%d" % (MAX_FORM + 1)), 413),
        (b"x" * worker.LONGEST_HEAD, 431), (b"\r\n\r\n", 400), (b"\r\n" + HEAD, 400),
    ],
)  # fmt: skip
def test_a_request_that_does_not_say_how_long_it_is_is_refused_and_waited_for_by_nobody(
    seen: bytes, status: int
) -> None:
    with pytest.raises(worker.Refused) as refused:
        worker.is_whole(seen)
    assert refused.value.status == status


def test_a_client_that_dribbles_is_let_go_and_one_that_sends_all_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(HEAD)
        assert worker.arrived(ours, within=0.01) == b""
        theirs.send(b"Body=1234" + HEAD)
        assert worker.arrived(ours, HEAD, within=5) == HEAD + b"Body=1234" + HEAD  # what came with it is the next one
        theirs.send(b"Body=5678")
        assert worker.arrived(ours, HEAD, within=5) == HEAD + b"Body=5678"
        theirs.close()
        assert worker.arrived(ours, within=0.01) == b""


def test_a_client_that_does_not_hang_up_keeps_only_its_own_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn's loop closes a connection by waiting for the other side: what is closed here leaves it nothing to do."""
    monkeypatch.setattr(worker, "LINGER", 0.01)
    ours, theirs = socket.socketpair()
    with theirs:
        connection = SimpleNamespace(sock=ours, close=None)
        worker.close(connection)
        assert ours.fileno() == -1
        assert theirs.recv(1) == b""
        connection.close(graceful=True)


@pytest.mark.parametrize(
    ("seen", "urgent"),
    [
        (HEAD + b"From=%2B46&Body=12347", False), (HEAD + b"From=%2B46&Body=%20Stopp%21", True), (HEAD + b"Body=stop", True),
        (b"POST /twilio/voice/3 HTTP/1.1\r\n\r\n", True), (b"POST /twilio/voice HTTP/1.1\r\n\r\n", True),
        (b"POST /twilio/receipts/3?attempt=1 HTTP/1.1\r\n\r\n", False), (b"GET /healthz HTTP/1.1\r\n\r\n", True),
        (b"POST http://svar.example/twilio/voice HTTP/1.1\r\n\r\n", True),
        (b"GET /console/ HTTP/1.1\r\n\r\n", False), (b"", False), (b"\xff\xfe \x00", False),
    ],
)  # fmt: skip
def test_stopp_calls_and_probes_are_looked_at_before_others(service: Running, seen: bytes, urgent: bool) -> None:
    assert gate_of(service).urgent(seen) is urgent


def test_what_is_turned_away_is_logged_together(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with full(service, monkeypatch):
        for number in range(20):
            send(service, From=f"+467000001{number:02d}")
    lines = [record.getMessage() for record in caplog.records if record.name == "responder.gate"]
    assert lines == ["text: short, 1 more (1 since the start)"]
    assert gate_of(service).figures().outcomes["text", "short"] == 20


def test_the_short_sentences_are_there_for_every_channel(flow: Flow) -> None:
    for wording in flow.languages.values():
        assert all(wording.template(key, channel) for channel in Channel for key in ("say.busy", "say.busy_hold"))

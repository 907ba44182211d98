"""What a load balancer and a monitoring system are told: /readyz and /metrics."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from responder import metrics
from responder.core.points import Status
from responder.store import gauges
from responder.store.engine import Database
from responder.store.gateways import Found, report, say
from responder.store.meter import SPEND
from responder.store.migrations import upgrade
from responder.store.restored import hold
from responder.store.schedule import DAY, LEASE, add_usage, lead
from responder.web import monitor
from tests import engines
from tests.conftest import NOW, TOKEN, Running, a_point, run
from tests.fakes import elks

AS_SHIPPED = monitor.PATIENCE
METRICS = "a-token-for-metrics-1234"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(running: Running) -> Samples:
    """(name, labels) to value, as the monitoring system sees them."""
    answer = running.app.test_client().get("/metrics", headers={"Authorization": f"Bearer {METRICS}"})
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"responder_{name}", tuple(sorted(labels.items()))), 0.0)


def readyz(running: Running, query: str = "") -> tuple[int, list[str]]:
    answer = running.app.test_client().get(f"/readyz{query}")
    return answer.status_code, answer.get_data(as_text=True).splitlines()


def away(running: Running) -> None:
    """The database cannot be reached any more."""
    running.database.close()
    running.app.extensions["responder"].database.__dict__.update(
        Database("postgresql://nobody@127.0.0.1:9/none").__dict__
    )


@pytest.fixture
def watched(start: Callable[..., Running]) -> Running:
    """A service with an open point and a token for /metrics."""
    running = start(metrics_token=METRICS)
    running.put(a_point())
    running.phone.text("12347")
    return running


def queue(running: Running, count: int, priority: int = 3, since: float = 0.0, state: str = "queued") -> None:
    """Deliveries of a broadcast that is being sent."""
    with running.database.write() as connection:
        id = connection.execute(
            text(
                "INSERT INTO broadcasts (kind, template, exercise, state, version, priority, audience, texts, fallback,"
                " operator, editors, approved_by, approved_version, reason, recipients, created_at) VALUES ('message',"
                " '', false, 'sending', 1, :priority, '', '{}', 'sv', '', '[]', '', 1, '', 0, 0) RETURNING id"
            ),
            {"priority": priority},
        ).scalar_one()
        row = (
            "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place, service,"
            " serial, state, target, told, told_before, said, said_before, attempt, not_before, lease_until, owner,"
            " claimed_at, looked, body, segments, provider_id, error, created_at) VALUES (:b, 'message', :hash, :hash,"
            " 'text', 'sv', '', '', '', :state, '', '', '', '', '', 0, 0, 0, '', 0, 0, '', 0, '', 0, :since)"
        )
        rows = [{"b": id, "hash": n.to_bytes(16), "state": state, "since": since} for n in range(count)]
        connection.execute(text(row), rows)


class TestReady:
    def test_it_says_in_plain_lines_what_is_well(self, watched: Running) -> None:
        status, lines = readyz(watched)
        assert (status, lines[0]) == (200, "ready")
        assert [line.split(":")[0] for line in lines[1:]] == [
            "ok database", "ok flows", "ok memory", "ok jobs", *(["ok disk"] if not engines.POSTGRESQL else []),
        ]  # fmt: skip

    def test_and_in_json_for_a_program(self, watched: Running) -> None:
        answer = watched.app.test_client().get("/readyz", headers={"Accept": "application/json"}).get_json()
        assert answer["ready"] is True
        assert {"what": "flows", "state": "ok", "text": "37 nodes, en, sv"} in answer["findings"]

    def test_with_the_database_away_it_is_ready_for_it_answers_from_memory_but_not_if_one_is_strict(
        self, watched: Running
    ) -> None:
        away(watched)
        status, lines = readyz(watched)
        assert status == 200
        assert lines[1] == "warning database: database away: answering from memory, promising nothing"
        assert "Hallen p1" in watched.phone.text("12347")
        assert readyz(watched, "?strict")[0] == 503

    def test_with_the_database_away_and_nothing_in_memory_it_is_not(self, watched: Running) -> None:
        away(watched)
        watched.app.extensions["responder"].snapshot.view = None
        status, lines = readyz(watched)
        assert (status, lines[0]) == (503, "not ready")
        assert lines[1].startswith("fault database:")

    def test_an_old_database_is_not_and_it_says_what_to_do(self, tmp_path: Path) -> None:
        running = run(tmp_path / "old.db")
        upgrade(running.database.engine, "0002")
        status, lines = readyz(running)
        assert status == 503
        assert lines[1] == "fault database: not upgraded: run `responder init`"
        running.database.close()

    def test_a_database_that_takes_no_writes_is_a_warning(
        self, watched: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(monitor, "_writable", lambda _paths: False)
        assert readyz(watched)[1][1].startswith("warning database: takes no writes")

    def test_a_file_or_folder_that_may_not_be_written_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "x.db"
        path.touch()
        assert monitor._writable([path])
        monkeypatch.setattr(monitor.os, "access", lambda where, _mode: where != tmp_path)
        assert not monitor._writable([path])

    def test_nobody_who_leads_is_a_warning_once_something_waits(self, watched: Running) -> None:
        with watched.database.write() as connection:
            connection.execute(text("UPDATE due SET done_at = 1"))
        assert "ok jobs: no process leads, and nothing waits" in readyz(watched)[1]
        queue(watched, 1, since=NOW.timestamp())
        assert "ok jobs: no process leads, and nothing waits" in readyz(watched)[1], "one that starts may take a while"
        watched.clock.pass_time(seconds=31)
        assert readyz(watched)[1][1].startswith("warning jobs: something waits to be done or sent")
        with watched.database.write() as connection:
            lead(connection, LEASE, "somebody", watched.clock.now.timestamp(), 10)
        assert "ok jobs: a process leads" in readyz(watched)[1]

    def test_what_a_restore_holds_back_is_no_leader(self, watched: Running) -> None:
        with watched.database.write() as connection:
            hold(connection, watched.clock.now, "anna")
        assert "warning jobs: held since a restore: set the points, then `responder release`" in readyz(watched)[1]
        assert scrape(watched)[("responder_leader", ())] == 0

    def test_a_change_that_nobody_pushes_is_a_warning_too(self, watched: Running) -> None:
        watched.clock.pass_time(seconds=31)
        assert readyz(watched)[1][1].startswith("warning jobs:")

    @pytest.mark.only_sqlite  # the disk of a server is elsewhere
    def test_little_room_on_the_disk_is_a_warning(self, watched: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(monitor, "free_bytes", lambda _folder: monitor.LOW_DISK - 1)
        assert readyz(watched) == (
            200,
            ["ready", "warning disk: less than 500 MB left: make room", *readyz(watched)[1][2:]],
        )

    def test_a_database_that_hangs_is_away_within_two_seconds_however_many_ask(
        self, watched: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert AS_SHIPPED < 2
        looks, begun, goes_on = [], Event(), Event()

        def hangs(*_: object) -> None:
            looks.append(1)
            begun.set()
            goes_on.wait(60)

        readyz(watched)
        monkeypatch.setattr(monitor, "PATIENCE", 0.2)
        monkeypatch.setattr(monitor, "read_gauges", hangs)
        for _ in range(2):
            status, lines = readyz(watched)
            assert (status, lines[1].split(":")[0]) == (200, "warning database")
            assert value(scrape(watched), "database_up") == 0
        assert begun.wait(60) and len(looks) == 1, "one looks for all, and they were answered while it hung"
        goes_on.set()
        for thread in enumerate_threads():
            if thread.name == "monitor":
                thread.join(60)  # its connection is given back before the service ends

    def test_it_tells_nothing_that_helps_an_attacker(self, watched: Running) -> None:
        queue(watched, 3)
        said = "\n".join(readyz(watched)[1])
        away(watched)
        said += "\n".join(readyz(watched)[1])
        for word in (str(watched.path), watched.path.name, "sqlite", "postgres", "/", TOKEN, METRICS, "+467", "p1"):
            assert word not in said.replace("`responder jobs`", "")


class TestWhoMayMeasure:
    @pytest.mark.parametrize("header", [{}, {"Authorization": f"Bearer {METRICS}"}, {"Authorization": "Bearer "}])
    def test_without_a_token_in_the_settings_there_is_no_such_page(
        self, service: Running, header: dict[str, str]
    ) -> None:
        assert service.app.test_client().get("/metrics", headers=header).status_code == 404

    @pytest.mark.parametrize("said", ["", METRICS, f"Bearer {METRICS}x", f"Basic {METRICS}", "Bearer ", "Bearer å"])
    def test_with_one_nobody_comes_in_without_it(self, watched: Running, said: str) -> None:
        answer = watched.app.test_client().get("/metrics", headers={"Authorization": said} if said else {})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert b"responder_" not in answer.data


class TestWhatIsCounted:
    def test_texts_by_node_and_outcome(self, watched: Running) -> None:
        before = scrape(watched)
        watched.phone.text("12347", "SM-a")
        watched.phone.text("12347", "SM-a")
        watched.phone.text("qqxxzz blurg")
        watched.another_phone("+19005551234").text("12347")
        for _ in range(3):
            watched.another_phone("+46700000009").text("TEST")
        watched.another_phone("+46700000009").text("TEST")
        after = scrape(watched)

        def more(name: str, **labels: str) -> float:
            return value(after, name, **labels) - value(before, name, **labels)

        inbound = "inbound_total"
        assert more(inbound, channel="text", intent="answered", outcome="answered") == 1
        assert more(inbound, channel="text", intent="", outcome="repeated") == 1
        assert more(inbound, channel="text", intent="unknown", outcome="answered") == 1
        assert more(inbound, channel="text", intent="", outcome="unanswered") == 1
        assert more(inbound, channel="text", intent="test", outcome="answered") == 3
        assert more(inbound, channel="text", intent="test", outcome="silenced") == 1
        assert more("recognition_total", channel="text", recognised="yes") == 4
        assert more("recognition_total", channel="text", recognised="no") == 1
        assert more("reply_seconds_count", channel="text") == 8

    def test_a_silent_caller_is_no_word_that_was_not_recognised(self, watched: Running) -> None:
        before = scrape(watched)
        watched.phone.call()
        watched.phone.keys("")
        watched.phone.keys("12347")
        after = scrape(watched)
        for recognised, more in (("yes", 1), ("no", 0)):
            labels = {"channel": "voice", "recognised": recognised}
            assert value(after, "recognition_total", **labels) - value(before, "recognition_total", **labels) == more
        assert (
            value(after, "reply_seconds_count", channel="voice") - value(before, "reply_seconds_count", channel="voice")
            == 3
        )

    def test_caps_answers_from_memory_failures_and_forgeries(
        self, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = start(metrics_token=METRICS, number_per_day=1)
        running.put(a_point())
        before = scrape(running)
        for body in ("12347", "TEST", "12347"):
            running.phone.text(body)
        running.app.test_client().post("/twilio/sms", data={"Body": "12347"})
        answerer = running.app.extensions["responder"].answerer
        with monkeypatch.context() as patch:
            patch.setattr(answerer, "respond", lambda _: 1 / 0)
            running.phone.text("12347")
        away(running)
        running.another_phone("+46700000005").text("12347")
        after = scrape(running)

        def more(name: str, **labels: str) -> float:
            return value(after, name, **labels) - value(before, name, **labels)

        assert sum(more("inbound_total", channel="text", intent=i, outcome="capped") for i in ("test", "answered")) == 2
        assert more("inbound_total", channel="text", intent="", outcome="unavailable") == 1
        assert more("inbound_total", channel="text", intent="", outcome="from memory") == 1
        assert more("gate_total", kind="text", outcome="forged") == 1
        assert more("database_errors_total", kind="away") >= 1

    def test_labels_are_names_of_ours_whatever_is_sent(self, watched: Running) -> None:
        for body in ("+46701234567", "<script>", "Kalle", "x" * 500, "12347"):
            watched.phone.text(body)
            watched.app.test_client().post(f"/twilio/{body[:20]}", data={"Body": body})
        nodes = {"", *watched.app.extensions["responder"].flow.nodes}
        for (name, labels), _ in scrape(watched).items():
            for label, said in labels:
                assert label != "intent" or said in nodes | {"order", "host"}  # by their phones
                assert label in ("intent", "le") or len(said) < 20, (name, label, said)

    def test_error_codes_are_told_apart_up_to_a_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metrics, "_codes", set())
        said = [metrics._clipped(code) for code in (0, *range(30001, 30001 + metrics.MOST_CODES), 99999, 30001)]
        assert said == ["", *map(str, range(30001, 30001 + metrics.MOST_CODES)), "other", "30001"]


class TestHowItStands:
    def test_queues_by_priority_and_channel_with_the_age_of_the_oldest(self, watched: Running) -> None:
        queue(watched, 3, priority=2, since=NOW.timestamp())
        queue(watched, 2, priority=3, since=NOW.timestamp() + 10)
        queue(watched, 1, priority=3, since=NOW.timestamp() + 30)
        queue(watched, 4, state="unknown")
        watched.clock.pass_time(seconds=60)
        samples = scrape(watched)
        assert value(samples, "queue_depth", priority="closed_door", channel="text") == 3
        assert value(samples, "queue_oldest_seconds", priority="closed_door", channel="text") == 60
        assert value(samples, "queue_depth", priority="status", channel="text") == 3
        assert value(samples, "queue_oldest_seconds", priority="status", channel="text") == 50
        assert value(samples, "deliveries_unknown") == 4

    def test_what_the_day_has_cost_and_may_cost(self, watched: Running) -> None:
        with watched.database.write() as connection:
            add_usage(connection, {(SPEND, int(NOW.timestamp() // DAY)): (3, 41.5), (SPEND, 1): (1, 7.0)})
        samples = scrape(watched)
        spent = value(samples, "spent_today")
        assert 41.5 <= spent < 45  # and what the fixture's reply has cost, if that is added up already
        assert value(samples, "spend_per_day") == watched.app.extensions["responder"].settings.spend_per_day

    def test_who_leads_and_for_how_long(self, watched: Running) -> None:
        assert value(scrape(watched), "leader") == 0
        with watched.database.write() as connection:
            lead(connection, LEASE, "somebody", NOW.timestamp(), 10)
        watched.clock.pass_time(seconds=4)
        samples = scrape(watched)
        assert (value(samples, "leader"), value(samples, "lease_remaining_seconds")) == (1, 6)

    def test_points_that_are_activated_and_those_nobody_has_confirmed_lately(self, watched: Running) -> None:
        stale = NOW - timedelta(hours=13)
        watched.put(
            a_point("a"), a_point("b", confirmed_at=stale), a_point("c", status=Status.CLOSED, confirmed_at=stale)
        )
        watched.phone.text("12347")
        samples = scrape(watched)
        found = {state: value(samples, "points", state=state) for state in ("activated", "unconfirmed", "usable")}
        assert found == {"activated": 3, "unconfirmed": 1, "usable": 3}  # p1 too

    def test_a_database_that_is_away_is_told_and_the_rest_still_is(self, watched: Running) -> None:
        assert value(scrape(watched), "database_up") == 1
        away(watched)
        samples = scrape(watched)
        assert value(samples, "database_up") == 0
        assert value(samples, "points", state="activated") == 1
        assert value(samples, "reply_seconds_count", channel="text") >= 1
        assert not any(name.startswith("responder_queue") for name, _ in samples)

    @pytest.mark.only_sqlite  # its plans
    @pytest.mark.parametrize("statement", ["DEPTH", "NEXT", "HELD"])
    def test_nothing_is_read_from_one_end_to_the_other(self, watched: Running, statement: str) -> None:
        with watched.database.read() as connection:
            values = {"broadcast": 1, "channel": "text", "now": 0.0}
            sql = text(f"EXPLAIN QUERY PLAN {getattr(gauges, statement)}")
            plan = [row[3] for row in connection.execute(sql, {k: v for k, v in values.items() if f":{k}" in str(sql)})]
        read = [step for step in plan if any(table in step for table in ("deliveries", "broadcasts", "due"))]
        assert read
        assert all("USING" in step and "INDEX" in step for step in read), plan
        assert not any("TEMP B-TREE" in step for step in plan), plan


class TestGateways:
    @pytest.fixture
    def two(self, start: Callable[..., Running]) -> Running:
        """A service with 46elks behind Twilio, and nobody who has looked at them."""
        return start(metrics_token=METRICS, **elks.SETTINGS)

    @staticmethod
    def found(running: Running, owner: str = "one", **states: str) -> None:
        now = running.clock.now.timestamp()
        with running.database.write() as connection:
            report(connection, [Found(name, owner, state, 0.5, 0.1, 0.0, now) for name, state in states.items()])

    @staticmethod
    def told(running: Running) -> list[str]:
        return [line for line in readyz(running)[1] if " gateways:" in line]

    def test_nothing_is_said_while_nobody_has_looked(self, two: Running) -> None:
        assert self.told(two) == []
        assert not any(name == "responder_gateway_up" for name, _ in scrape(two))

    def test_one_that_is_down_is_a_warning_and_says_who_is_used_instead(self, two: Running) -> None:
        self.found(two, **{"twilio": "up", "46elks": "up"})
        assert self.told(two) == ["ok gateways: twilio is used"]
        self.found(two, **{"twilio": "down", "46elks": "suspect"})
        assert self.told(two) == ["warning gateways: twilio down; 46elks is used"]
        assert readyz(two, "?strict")[0] == 503
        samples = scrape(two)
        assert [value(samples, "gateway_up", gateway=name) for name in ("twilio", "46elks")] == [0, 1]

    def test_it_works_if_one_process_finds_so_and_what_is_old_does_not_count(self, two: Running) -> None:
        self.found(two, "one", twilio="down")
        self.found(two, "two", twilio="up")
        assert self.told(two) == ["ok gateways: twilio is used"]
        two.clock.pass_time(seconds=30)
        assert self.told(two) == []

    def test_where_none_works_nothing_is_sent(self, two: Running) -> None:
        self.found(two, **{"twilio": "down", "46elks": "down"})
        assert self.told(two) == ["warning gateways: none works that may be used: nothing is sent"]

    def test_what_operators_have_said_is_not_forgotten(self, two: Running) -> None:
        with two.database.write() as connection:
            say(connection, "46elks", "only", "anna", 0.0)
        assert self.told(two) == ["warning gateways: operators say 46elks is only; 46elks is used"]

    def test_requests_are_counted_by_gateway_and_outcome(self, two: Running) -> None:
        before = value(scrape(two), "gateway_requests_total", gateway="46elks", outcome="failed")
        metrics.gateway("46elks", "failed")
        assert value(scrape(two), "gateway_requests_total", gateway="46elks", outcome="failed") == before + 1


ROOT = Path(__file__).resolve().parents[2]


class TestTheRules:
    RULES = (ROOT / "deploy" / "prometheus-rules.yml").read_text(encoding="utf-8")

    def test_they_ask_for_what_there_is(self, watched: Running) -> None:
        told = {name for name, _ in scrape(watched)} | {
            f"{family.name}{end}" for family in metrics.REGISTRY.collect() for end in ("", "_total", "_bucket")
        }
        # where there is a queue, a file, and a process that sends
        told |= {"responder_queue_oldest_seconds", "responder_disk_free_bytes", "responder_gateway_up"}
        asked = set(re.findall(r"\bresponder_\w+", self.RULES))
        assert len(asked) > 10
        assert asked <= told

    def test_each_alert_names_a_chapter_of_the_runbook(self) -> None:
        chapters = re.findall(r"(?m)^## (.+)$", (ROOT / "RUNBOOK.md").read_text(encoding="utf-8"))
        named = re.findall(r"(?m)^ +runbook: (.+)$", self.RULES)
        assert len(named) == self.RULES.count("- alert:") > 7
        assert set(named) <= set(chapters)

"""What operators do with broadcasts: who hears, who approves, what is refused, and that each is one change with a line."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from responder.actions import announce
from responder.actions.announce import Announcer, Outcome
from responder.actions.track import Tracker
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.broadcast import BadTarget, Broadcast, BroadcastError, IllegalStep, NoSuchBroadcast, State, Template
from responder.core.estimate import BadText, TextMissing
from responder.core.flow import Flow
from responder.core.places import Gazetteer
from responder.settings import Settings
from responder.store import broadcasts as store
from responder.store import exercises
from responder.store.engine import Database
from responder.store.queries import audit_log, save_points
from tests import engines
from tests.conftest import NOW, a_point

ANNA, BO, EVA = (Operator(name, Role.APPROVER, signed_in=True) for name in ("anna", "bo", "eva"))
HOUR = timedelta(hours=1)
FARSTA, BROMMA = "12347", "16733"


@dataclass
class Desk:
    """An announcer on a database of its own, at a time that a test sets."""

    announcer: Announcer
    now: datetime = NOW

    def subscribe(self, number: str, place: str = FARSTA, **fields: object) -> None:
        """Somebody who hears about `place`."""
        row = {
            "number_hash": hashed(number), "number_sealed": number.encode(), "channel": "text", "language": "sv",
            "place": place, "service": "", "state": "active", "exercise": False, "told": "", "said": "", "said_at": 0.0,
            "created_at": 0.0, **fields,
        }  # fmt: skip
        self.do("INSERT INTO subscriptions ({}) VALUES ({})", row)

    def ask(self, number: str, said: str, way: str = "text", at: datetime = NOW, language: str = "sv") -> None:
        """Somebody who was told of the points in `said`."""
        row = {
            "id": f"{number} {at}", "channel": "text", "key": hashed(f"{number}{at}"), "number": 1, "state_sealed": b"",
            "reply_sealed": b"", "outcome": "", "at": at.timestamp(), "sender_hash": hashed(number), "body_sealed": b"",
            "sender_sealed": number.encode(), "way": way, "language": language, "said": said, "said_at": at.timestamp(),
        }  # fmt: skip
        self.do("INSERT INTO turns ({}) VALUES ({})", row)

    def stop(self, number: str) -> None:
        """Somebody who said STOPP."""
        row = {"number_hash": hashed(number), "at": 0.0, "reason": "stop"}
        self.do("INSERT INTO suppressions ({}) VALUES ({})", row)

    def do(self, sql: str, row: dict[str, object]) -> None:
        """Write one row."""
        names = sql.format(", ".join(row), ", ".join(f":{name}" for name in row))
        with self.announcer.database.write() as connection:
            connection.execute(text(names), row)

    def rows(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """What a SELECT finds."""
        with self.announcer.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]

    def exercise(self) -> None:
        """An exercise begins."""
        with self.announcer.database.write() as connection:
            assert exercises.begin(connection, "Höstövning", "anna", self.now.timestamp())

    def draft(self, *to: str, by: Operator = ANNA, **how: object) -> Broadcast:
        """A draft that says Hej."""
        how = {"texts": {"sv": "Hej"}, "fallback": "sv", **how}
        return self.announcer.draft(by, to or ("everyone",), self.now, **how)  # type: ignore[arg-type]

    def submit(self, *to: str, by: Operator = ANNA, **how: object) -> Broadcast:
        """A draft that was submitted."""
        return self.announcer.submit(by, self.draft(*to, by=by, **how).id, self.now)[0]

    def sent(self, *to: str, **how: object) -> Broadcast:
        """One that is being sent, approved by the rule."""
        return self.announcer.send(ANNA, self.submit(*to, **how).id, self.now)

    def heard(self, broadcast: Broadcast) -> list[str]:
        """The numbers that it has a delivery for."""
        rows = self.rows("SELECT number_sealed FROM deliveries WHERE broadcast_id = :id", id=broadcast.id)
        return sorted(row[0].decode() for row in rows)  # type: ignore[attr-defined]

    def becomes(self, broadcast: Broadcast, number: str, state: str) -> None:
        """What has become of the delivery to `number`."""
        self.do(
            "UPDATE deliveries SET state = :state WHERE broadcast_id = :id AND number_sealed = :number",
            {"state": state, "id": broadcast.id, "number": number.encode()},
        )

    def read(self, id: int) -> Broadcast:
        """It, as it is stored."""
        return self.announcer.show(ANNA, id, self.now).broadcast

    def lines(self, id: int) -> list[tuple[str, str]]:
        """(who, action) of its lines in the audit log."""
        with self.announcer.database.read() as connection:
            return [(line.who, line.action) for line in audit_log(connection, f"broadcast:{id}")]


def hashed(number: str) -> bytes:
    return hashlib.sha256(number.encode()).digest()[:16]


@pytest.fixture
def begin(tmp_path: Path, prepared: Path, flow: Flow) -> Iterator[Callable[..., Desk]]:
    """Makes a desk; settings may be given."""
    path = tmp_path / "announce.db"
    engines.copy(prepared, path)
    database = Database(engines.url(path))
    with database.write() as connection:
        save_points(connection, [a_point("farsta-1"), a_point("farsta-11"), a_point("farsta_1")], {}, NOW)

    def beginning(**chosen: object) -> Desk:
        settings = Settings(_env_file=None, **chosen)  # type: ignore[call-arg,arg-type]
        return Desk(Announcer(database, settings, flow.languages))

    yield beginning
    database.close()


@pytest.fixture
def desk(begin: Callable[..., Desk]) -> Desk:
    """A desk where two may be reached without a second person, and three not."""
    return begin(approve_above=2)


def three(desk: Desk) -> None:
    for number in ("1", "2", "3"):
        desk.subscribe(number)


class TestWhoHears:
    def test_only_active_subscriptions_of_the_area_that_have_not_said_stop(self, desk: Desk) -> None:
        desk.subscribe("farsta")
        desk.subscribe("bromma", BROMMA)
        desk.subscribe("pending", state="pending")
        desk.subscribe("stopped")
        desk.stop("stopped")
        assert desk.heard(desk.sent("district:Farsta")) == ["farsta"]

    def test_a_number_with_several_subscriptions_hears_once_by_the_first(self, desk: Desk) -> None:
        desk.subscribe("1", BROMMA, language="en", channel="call")
        desk.subscribe("1", FARSTA)
        desk.subscribe("1", FARSTA, service="water")
        sent = desk.sent("district:Farsta", "postcode:12347", "district:Bromma")
        found = desk.rows("SELECT channel, language, subscription_id, place FROM deliveries")
        assert (sent.recipients, found) == (1, [("call", "en", 1, "")])

    def test_a_missing_empty_or_unknown_target_is_refused_and_nothing_is_kept(self, desk: Desk) -> None:
        for to in ((), ("",), ("district:",), ("district:Nowhere",), ("point:nowhere",)):
            with pytest.raises(BadTarget):
                desk.announcer.draft(ANNA, to, NOW, {"sv": "Hej"})
        assert Tracker(desk.announcer.database).newest(ANNA, 10) == []

    def test_a_target_that_has_vanished_meanwhile_is_nobody_and_never_everyone(self, desk: Desk) -> None:
        desk.subscribe("1")
        made = desk.draft("postcode:12347")
        desk.do("DELETE FROM places WHERE code = :code", {"code": "12347"})
        with pytest.raises(announce.NobodyToHear, match="nobody subscribes to postcode:12347"):
            desk.announcer.submit(ANNA, made.id, NOW)
        desk.do("UPDATE broadcasts SET audience = :none", {"none": ""})
        with pytest.raises(BadTarget, match="names nobody"):
            desk.announcer.submit(ANNA, made.id, NOW)

    def test_the_people_of_a_point_were_told_of_just_that_point_and_not_long_ago(
        self, begin: Callable[..., Desk]
    ) -> None:
        desk = begin()
        late = (NOW - 4 * HOUR).timestamp()
        desk.subscribe("told", told="open farsta-1 open 0")
        desk.subscribe("said", told="none_open - - 0", said=";bromma-1 open 0;farsta-1 open 0", said_at=NOW.timestamp())
        desk.subscribe("said long ago", said=";farsta-1 open 0", said_at=late)
        desk.subscribe("told another", told="open farsta-11 open 0")
        desk.subscribe("told a point called open", told="open p open 0")
        desk.subscribe("told and asked", told="open farsta-1 open 0", channel="call")
        desk.ask("told and asked", ";farsta-1 open 0")
        desk.ask("asked", ";farsta-1 open 0", at=NOW - HOUR, language="en")
        desk.ask("asked", ";farsta-1 open 0", way="call")
        desk.ask("asked long ago", ";farsta-1 open 0", at=NOW - 4 * HOUR)
        desk.ask("asked of another", ";farsta-11 open 0")
        desk.ask("cannot be reached", ";farsta-1 open 0", way="")
        desk.ask("stopped", ";farsta-1 open 0")
        desk.stop("stopped")
        sent = desk.sent("point:farsta-1")
        assert desk.heard(sent) == ["asked", "said", "told", "told and asked"]
        asked = desk.rows("SELECT channel, language, turn_id FROM deliveries WHERE number_sealed = :n", n=b"asked")
        assert asked == [("call", "sv", f"asked {NOW}")]

    def test_an_id_with_an_underscore_is_no_pattern(self, desk: Desk) -> None:
        desk.ask("1", ";farsta-1 open 0")
        desk.ask("2", ";farsta_1 open 0")
        assert desk.heard(desk.sent("point:farsta_1")) == ["2"]

    def test_an_exercise_reaches_only_the_enrolled(self, desk: Desk) -> None:
        desk.subscribe("enrolled", exercise=True)
        desk.subscribe("other", told="open farsta-1 open 0")
        desk.ask("asked", ";farsta-1 open 0")
        desk.exercise()
        sent = desk.sent("district:Farsta", "point:farsta-1", exercise=True)
        assert desk.heard(sent) == ["enrolled"]
        assert sent.texts == {"sv": "ÖVNING. Hej /Stockholms stad ÖVNING"}
        with pytest.raises(announce.NobodyToHear, match="of those enrolled for exercises"):
            desk.submit("district:Bromma", exercise=True)

    def test_what_is_no_exercise_reaches_the_enrolled_too(self, desk: Desk) -> None:
        desk.subscribe("enrolled", exercise=True)
        assert desk.heard(desk.sent()) == ["enrolled"]

    def test_a_hundred_thousand_with_overlapping_targets_are_counted_and_queued_once(
        self, begin: Callable[..., Desk], stockholm: Gazetteer
    ) -> None:
        """Two fifths live in Farsta, a tenth of all follow a second place there; it takes a second, not a minute."""
        desk, dice = begin(), random.Random(1)
        places = [place for place in stockholm.places if place.district == "Farsta"]
        elsewhere = [place for place in stockholm.places if place.district == "Bromma"]
        rows = []
        for n in range(100_000):
            pool = places if n % 5 < 2 else elsewhere
            follows = dice.sample(pool, 1 + (n % 10 == 0))
            rows += [(hashed(str(n)), b"x", "call" if n % 4 == 0 else "text", "sv", place.code) for place in follows]
        with desk.announcer.database.write() as connection:
            driver = connection.connection.cursor()
            driver.executemany(
                "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, state, created_at)"
                f" VALUES ({', '.join('%s' if engines.POSTGRESQL else '?' for _ in range(5))}, 'active', 0)",
                rows,
            )
            driver.close()
        made = desk.draft("district:Farsta", "area:Farsta", "area:Hökarängen", "postcode:12347", "postcode:12869")
        began = time.perf_counter()
        submitted, priced = desk.announcer.submit(ANNA, made.id, NOW)
        desk.announcer.approve(BO, made.id, 1, NOW)
        sent = desk.announcer.send(ANNA, made.id, NOW)
        assert time.perf_counter() - began < 10
        assert submitted.recipients == sent.recipients == priced.recipients == 40_000
        numbers = desk.rows(
            "SELECT count(*), count(DISTINCT number_hash) FROM deliveries WHERE broadcast_id = :i", i=sent.id
        )
        assert numbers == [(40_000, 40_000)]
        by_channel = "SELECT channel, count(*) FROM deliveries GROUP BY channel ORDER BY channel"
        assert desk.rows(by_channel) == [("call", priced.lines[0].by_call), ("text", priced.lines[0].by_text)]


class TestTexts:
    def test_what_is_prewritten_is_in_every_language(self, desk: Desk, flow: Flow) -> None:
        made = desk.draft(texts={}, fallback="", template=Template.ALL_CLEAR)
        assert set(made.texts) == set(flow.languages)
        assert made.texts["sv"].endswith("/Stockholms stad")
        exercise = desk.draft(texts={}, fallback="", exercise=True)
        assert exercise.template == Template.EXERCISE
        assert all(said.startswith("ÖVNING") and said.endswith("ÖVNING") for said in exercise.texts.values())

    def test_a_free_text_is_needed_in_a_language_there_is(self, desk: Desk) -> None:
        with pytest.raises(BroadcastError, match="no text"):
            desk.draft(texts={}, fallback="")
        with pytest.raises(BadText, match="text xx: no such language; choose among sv, en"):
            desk.draft(texts={"xx": "Hej"}, fallback="")
        with pytest.raises(BadText, match="text en: chosen as the fallback, but there is no such text"):
            desk.draft(fallback="en")

    def test_every_language_with_recipients_needs_a_text_before_it_is_submitted(self, desk: Desk) -> None:
        desk.subscribe("1", language="en")
        made = desk.draft(fallback="")
        assert "no text in en" in str(desk.announcer.show(ANNA, made.id, NOW).lacking)
        with pytest.raises(TextMissing):
            desk.announcer.submit(ANNA, made.id, NOW)
        desk.announcer.edit(ANNA, made.id, NOW, texts={"en": "Hello"})
        assert desk.announcer.submit(ANNA, made.id, NOW)[0].state is State.APPROVED

    def test_an_exercise_never_becomes_real_nor_the_reverse(self, desk: Desk) -> None:
        exercise, real = desk.draft(exercise=True), desk.draft()
        changed = desk.announcer.edit(ANNA, exercise.id, NOW, texts={"sv": "Kom till hallen"})
        assert (changed.exercise, changed.texts["sv"]) == (True, "ÖVNING. Kom till hallen /Stockholms stad ÖVNING")
        with pytest.raises(BadText, match="begins like an exercise"):
            desk.announcer.edit(ANNA, real.id, NOW, texts={"sv": "ÖVNING. Hej. ÖVNING"})

    def test_a_correction_cannot_be_drafted_by_itself(self, desk: Desk) -> None:
        with pytest.raises(BroadcastError, match="belongs to what it corrects"):
            desk.draft(template=Template.CORRECTION)


class TestApproval:
    def test_few_recipients_are_approved_by_the_rule_and_many_wait(self, desk: Desk) -> None:
        three(desk)
        assert desk.submit("everyone").state is State.SUBMITTED
        desk.stop("3")
        few = desk.submit("everyone", by=BO)
        assert (few.state, few.approved_by, few.approved_version) == (State.APPROVED, "rule", 1)
        assert desk.lines(few.id) == [("bo", "draft"), ("bo", "submit"), ("rule", "approve")]

    def test_many_in_pieces_within_an_hour_wait_too(self, desk: Desk) -> None:
        desk.subscribe("1")
        desk.subscribe("2")
        assert desk.submit("everyone").state is State.APPROVED
        assert desk.submit("everyone").state is State.SUBMITTED
        desk.now += 2 * HOUR
        assert desk.submit("everyone").state is State.APPROVED

    def test_writing_in_turn_does_not_double_what_one_may_reach(self, desk: Desk) -> None:
        desk.subscribe("1")
        desk.subscribe("2")
        desk.submit("everyone")
        second = desk.draft("everyone", by=BO)
        desk.announcer.edit(ANNA, second.id, NOW, texts={"sv": "Hej igen"})
        assert desk.announcer.submit(BO, second.id, NOW)[0].state is State.SUBMITTED

    def test_pushes_of_the_same_operator_count_and_corrections_do_not(self, desk: Desk) -> None:
        desk.subscribe("1")
        row = {"state": "done", "operator": "anna", "recipients": 2, "created_at": 0.0, "started_at": NOW.timestamp()}
        correction = {**row, "kind": "message", "template": "correction", "priority": 1}
        desk.do("INSERT INTO broadcasts ({}) VALUES ({})", correction)
        assert desk.submit("everyone").state is State.APPROVED
        desk.do("INSERT INTO broadcasts ({}) VALUES ({})", {**row, "kind": "status", "priority": 3})
        assert desk.submit("everyone").state is State.SUBMITTED

    def test_nobody_approves_what_they_wrote_or_an_account_of_their_making(self, desk: Desk) -> None:
        three(desk)
        made = desk.submit("everyone")
        for name, by in (("anna", "shell:root"), ("carl", "anna"), ("dora", "carl"), ("bo", "eva")):
            row = {"name": name, "role": "approver", "token_hash": name, "phone_sealed": b"", "created_by": by}
            desk.do("INSERT INTO operators ({}) VALUES ({})", {**row, "created_at": 0.0})
        for operator in (ANNA, replace(ANNA, name="carl"), replace(ANNA, name="dora")):
            with pytest.raises(announce.NotApproved):
                desk.announcer.approve(operator, made.id, 1, NOW)
        assert desk.announcer.approve(BO, made.id, 1, NOW).approved_by == "bo"

    def test_the_bare_shell_never_approves_whatever_its_name(self, desk: Desk) -> None:
        three(desk)
        made = desk.submit("everyone")
        for bare in (shell("root"), replace(shell("root"), role=Role.ADMIN), replace(BO, signed_in=False)):
            for decide in (desk.announcer.return_, desk.announcer.reject):
                with pytest.raises(Forbidden):
                    decide(bare, made.id, NOW)
            with pytest.raises(Forbidden):
                desk.announcer.approve(bare, made.id, 1, NOW)
        assert desk.read(made.id).state is State.SUBMITTED

    def test_the_bare_shell_drafts_sends_and_stops(self, desk: Desk) -> None:
        desk.subscribe("1")
        bare = shell("root")
        made = desk.submit("everyone", by=bare)
        assert desk.announcer.send(bare, made.id, NOW).state is State.SENDING
        assert desk.announcer.stop(bare, made.id, NOW).state is State.STOPPED

    def test_a_viewer_looks_and_does_nothing_else(self, desk: Desk) -> None:
        made = desk.draft()
        viewer = Operator("vera", Role.VIEWER, signed_in=True)
        assert desk.announcer.show(viewer, made.id, NOW).broadcast == made
        for act in (desk.announcer.submit, desk.announcer.edit, desk.announcer.send, desk.announcer.stop):
            with pytest.raises(Forbidden):
                act(viewer, made.id, NOW)

    def test_an_approval_is_of_the_version_that_was_read(self, desk: Desk) -> None:
        three(desk)
        made = desk.submit("everyone")
        desk.announcer.edit(ANNA, made.id, NOW, texts={"sv": "Annat"})
        desk.announcer.submit(ANNA, made.id, NOW)
        with pytest.raises(announce.NotApproved, match="version 1 was read, but it is now version 2"):
            desk.announcer.approve(BO, made.id, 1, NOW)

    def test_an_edit_voids_an_approval(self, desk: Desk) -> None:
        three(desk)
        made = desk.submit("everyone")
        desk.announcer.approve(BO, made.id, 1, NOW)
        edited = desk.announcer.edit(EVA, made.id, NOW, version=1, texts={"sv": "Något annat"})
        assert (edited.state, edited.version, edited.approved_by, edited.approved_version) == (State.DRAFT, 2, "", 0)
        assert edited.editors == ("anna", "eva")
        with pytest.raises(IllegalStep):
            desk.announcer.send(ANNA, made.id, NOW)

    def test_an_edit_of_a_version_that_is_gone_says_who_was_first(self, desk: Desk) -> None:
        made = desk.draft()
        desk.announcer.edit(BO, made.id, NOW, version=1, texts={"sv": "Bo /Stockholms stad"})
        with pytest.raises(
            announce.EditedMeanwhile, match=f"bo edited broadcast {made.id} meanwhile: it is version 2, not 1"
        ):
            desk.announcer.edit(ANNA, made.id, NOW, version=1, texts={"sv": "Anna"})
        assert desk.read(made.id).texts == {"sv": "Bo /Stockholms stad"}

    def test_two_approvals_at_once_give_one(self, desk: Desk) -> None:
        three(desk)
        made = desk.submit("everyone")
        start, outcomes = threading.Barrier(2), []

        def approve(operator: Operator) -> None:
            start.wait()
            try:
                outcomes.append(desk.announcer.approve(operator, made.id, 1, NOW).approved_by)
            except BroadcastError as error:
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=approve, args=(operator,)) for operator in (BO, EVA)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({"bo", "eva"} & set(outcomes)) == 1 and len(outcomes) == 2
        assert desk.read(made.id).approved_by in outcomes
        assert [action for _, action in desk.lines(made.id)].count("approve") == 1

    def test_a_change_from_what_is_no_longer_there_is_refused_by_the_store(self, desk: Desk) -> None:
        made = desk.draft()
        desk.announcer.edit(BO, made.id, NOW, texts={"sv": "Bo /Stockholms stad"})
        with pytest.raises(store.Clash), desk.announcer.database.write() as connection:
            store.save_broadcast(connection, made, replace(made, state=State.SUBMITTED))

    def test_what_is_returned_may_be_written_better_and_what_is_rejected_not(self, desk: Desk) -> None:
        three(desk)
        first, second = desk.submit("everyone"), desk.submit("everyone")
        desk.announcer.return_(BO, first.id, NOW, "Kortare")
        assert desk.announcer.submit(ANNA, first.id, NOW)[0].state is State.SUBMITTED
        assert desk.rows("SELECT decision FROM audit WHERE action = 'return'") == [("Kortare",)]
        desk.announcer.reject(BO, second.id, NOW)
        with pytest.raises(IllegalStep, match="cannot edit a broadcast that is rejected; possible now: nothing"):
            desk.announcer.edit(ANNA, second.id, NOW, texts={"sv": "Igen"})

    def test_danger_to_life_does_not_wait_but_says_why(self, desk: Desk) -> None:
        three(desk)
        made = desk.draft("everyone")
        with pytest.raises(announce.ReasonMissing, match="at least 10 characters, 'brand' is too short"):
            desk.announcer.submit(ANNA, made.id, NOW, danger="brand ")
        urgent, _ = desk.announcer.submit(ANNA, made.id, NOW, danger="Gasläcka vid Farsta centrum")
        assert (urgent.state, urgent.reason) == (State.APPROVED, "Gasläcka vid Farsta centrum")
        assert desk.announcer.send(ANNA, made.id, NOW).state is State.SENDING
        assert ("Gasläcka vid Farsta centrum",) in desk.rows("SELECT decision FROM audit WHERE action = 'submit'")

    def test_an_edit_takes_the_danger_back(self, desk: Desk) -> None:
        three(desk)
        made = desk.draft("everyone")
        desk.announcer.submit(ANNA, made.id, NOW, danger="Gasläcka vid Farsta centrum")
        desk.announcer.edit(ANNA, made.id, NOW, texts={"sv": "Köp glass"})
        again, _ = desk.announcer.submit(ANNA, made.id, NOW)
        assert (again.state, again.reason) == (State.SUBMITTED, "")

    def test_over_the_days_spend_is_refused_with_the_figures(self, begin: Callable[..., Desk]) -> None:
        desk = begin(spend_per_day=2.0, price_segment=0.6)
        three(desk)
        day = int(NOW.timestamp() // 86400)
        desk.do("INSERT INTO usage ({}) VALUES ({})", {"scope": "spend", "span": day, "count": 1, "cost": 0.3})
        made = desk.draft("everyone")
        with pytest.raises(announce.TooDear) as refused:
            desk.announcer.submit(ANNA, made.id, NOW)
        assert str(refused.value) == (
            "it would cost 1.80 SEK, but 1.70 are left of the 2.00 that may be spent today (0.30 are spent); reach fewer, "
            "shorten it, or have the limit raised"
        )
        assert desk.announcer.submit(ANNA, made.id, NOW + timedelta(days=1))[0].state is State.APPROVED


class TestSending:
    def test_sending_makes_the_deliveries_in_the_same_change(self, desk: Desk) -> None:
        desk.subscribe("1", language="en", channel="call")
        sent = desk.sent("everyone")
        assert (sent.state, sent.started_at) == (State.SENDING, NOW.timestamp())
        assert desk.rows("SELECT kind, channel, language, place, service, serial, state FROM deliveries") == [
            ("message", "call", "en", "", "", "", "queued")
        ]

    def test_what_is_not_approved_is_not_sent(self, desk: Desk) -> None:
        three(desk)
        with pytest.raises(IllegalStep, match="cannot send a broadcast that is submitted"):
            desk.sent("everyone")
        assert desk.rows("SELECT id FROM deliveries") == []

    def test_what_the_rule_approved_and_has_grown_must_be_approved_by_a_person(self, desk: Desk) -> None:
        desk.subscribe("1")
        made = desk.submit("everyone")
        desk.subscribe("2")
        desk.subscribe("3")
        with pytest.raises(announce.HasGrown, match="with it 3 would now be reached in an hour, and above 2"):
            desk.announcer.send(ANNA, made.id, NOW)
        assert desk.rows("SELECT id FROM deliveries") == []

    def test_pause_resume_and_stop(self, desk: Desk) -> None:
        desk.subscribe("1")
        sent = desk.sent("everyone")
        assert desk.announcer.pause(BO, sent.id, NOW).state is State.PAUSED
        assert desk.announcer.resume(BO, sent.id, NOW).state is State.SENDING
        stopped = desk.announcer.stop(BO, sent.id, NOW)
        assert (stopped.state, stopped.finished_at) == (State.STOPPED, NOW.timestamp())
        with pytest.raises(IllegalStep):
            desk.announcer.resume(BO, sent.id, NOW)
        assert desk.lines(sent.id)[-3:] == [("bo", "pause"), ("bo", "resume"), ("bo", "stop")]

    def test_every_change_has_its_before_and_after(self, desk: Desk) -> None:
        desk.subscribe("1")
        sent = desk.sent("everyone")
        ((before, changed),) = desk.rows("SELECT before, after FROM audit WHERE action = 'send'")
        assert json.loads(str(before))["state"] == "approved"
        assert json.loads(str(changed))["state"] == "sending"
        assert json.loads(str(changed))["audience"] == ["everyone"]
        assert desk.lines(sent.id)[0] == ("anna", "draft")

    def test_the_carrier_of_what_residents_ask_for_is_no_broadcast_of_operators(self, desk: Desk) -> None:
        with pytest.raises(NoSuchBroadcast, match="no broadcast 1"):
            desk.announcer.stop(ANNA, 1, NOW)

    def test_a_push_can_be_paused_and_approved_but_not_written_in(self, desk: Desk) -> None:
        row = {"kind": "status", "state": "submitted", "operator": "anna", "priority": 3, "created_at": 0.0}
        desk.do("INSERT INTO broadcasts ({}) VALUES ({})", {**row, "recipients": 5})
        with pytest.raises(BroadcastError, match="nobody wrote it"):
            desk.announcer.edit(ANNA, 2, NOW, texts={"sv": "Hej"})
        with pytest.raises(announce.NotApproved, match="anna wrote it or changed it"):
            desk.announcer.approve(ANNA, 2, 1, NOW)
        approved = desk.announcer.approve(BO, 2, 1, NOW)  # and it goes: its deliveries are there already
        assert (approved.state, approved.recipients) == (State.SENDING, 5)
        assert desk.announcer.pause(ANNA, 2, NOW).state is State.PAUSED


class TestScheduled:
    def start(self, desk: Desk, id: int, now: datetime) -> bool:
        with desk.announcer.database.write() as connection:
            return desk.announcer.start_due(connection, id, now)

    def scheduled(self, desk: Desk) -> Broadcast:
        desk.subscribe("1")
        return desk.announcer.send(ANNA, desk.submit("everyone").id, NOW, NOW + HOUR)

    def test_it_stays_approved_until_its_time_and_is_due_then(self, desk: Desk) -> None:
        made = self.scheduled(desk)
        assert (made.state, made.send_at) == (State.APPROVED, (NOW + HOUR).timestamp())
        assert desk.rows("SELECT job, at, done_at FROM due WHERE job LIKE 'send:%'") == [
            (f"send:{made.id}", made.send_at, None)
        ]
        assert not self.start(desk, made.id, NOW)
        assert self.start(desk, made.id, NOW + HOUR)
        assert desk.heard(made) == ["1"]
        assert not self.start(desk, made.id, NOW + HOUR)
        assert desk.lines(made.id)[-1] == ("schedule", "send")

    @pytest.mark.parametrize("change", ["stop", "edit", "later", "sent at once"])
    def test_it_does_not_start_if_something_else_was_decided(self, desk: Desk, change: str) -> None:
        made = self.scheduled(desk)
        match change:
            case "stop":
                desk.announcer.stop(BO, made.id, NOW)
            case "edit":
                desk.announcer.edit(BO, made.id, NOW, texts={"sv": "Annat"})
            case "later":
                desk.announcer.send(BO, made.id, NOW, NOW + 2 * HOUR)
            case _:
                desk.announcer.send(BO, made.id, NOW)
        assert not self.start(desk, made.id, NOW + HOUR)
        open_jobs = desk.rows("SELECT at FROM due WHERE job LIKE 'send:%' AND done_at IS NULL")
        assert open_jobs == ([((NOW + 2 * HOUR).timestamp(),)] if change == "later" else [])

    def test_one_that_has_grown_is_not_started_and_says_so(self, desk: Desk) -> None:
        made = self.scheduled(desk)
        desk.subscribe("2")
        desk.subscribe("3")
        assert not self.start(desk, made.id, NOW + HOUR)
        left = desk.read(made.id)
        assert (left.state, left.send_at, desk.heard(made)) == (State.APPROVED, None, [])
        assert desk.lines(made.id)[-1] == ("schedule", "not sent")

    @pytest.mark.parametrize(("minutes", "starts"), [(59, True), (61, False)])
    def test_one_that_nobody_could_start_for_an_hour_waits_for_a_person(
        self, desk: Desk, minutes: int, starts: bool
    ) -> None:
        """`Vatten delas ut kl 16 i dag` would be wrong the day after."""
        made = self.scheduled(desk)
        assert self.start(desk, made.id, NOW + HOUR + timedelta(minutes=minutes)) is starts
        left = desk.read(made.id)
        assert (left.state, desk.heard(made)) == ((State.SENDING, ["1"]) if starts else (State.APPROVED, []))
        assert desk.lines(made.id)[-1] == ("schedule", "send" if starts else "not sent")
        if not starts:
            assert desk.announcer.send(ANNA, made.id, NOW + 3 * HOUR).state is State.SENDING

    def test_a_time_that_has_passed_is_refused(self, desk: Desk) -> None:
        desk.subscribe("1")
        with pytest.raises(BroadcastError, match="has passed"):
            desk.announcer.send(ANNA, desk.submit("everyone").id, NOW, NOW)


class TestCorrection:
    STATES = ("queued", "sending", "accepted", "sent", "delivered", "unknown", "failed", "suppressed", "stopped")

    def spread(self, begin: Callable[..., Desk]) -> tuple[Desk, Broadcast]:
        """A broadcast with a delivery in every state."""
        desk = begin(approve_above=20)
        for state in self.STATES:
            desk.subscribe(state)
        sent = desk.sent("everyone")
        for state in self.STATES:
            desk.becomes(sent, state, state)
        return desk, sent

    def test_it_reaches_exactly_those_reached_and_stops_the_rest(self, begin: Callable[..., Desk]) -> None:
        desk, wrong = self.spread(begin)
        correction = desk.announcer.correct(BO, wrong.id, NOW + HOUR)
        assert desk.heard(correction) == ["accepted", "delivered", "sending", "sent", "unknown"]
        assert (correction.state, correction.priority, correction.corrects) == (State.SENDING, 1, wrong.id)
        assert correction.recipients == 5
        assert desk.read(wrong.id).state is State.STOPPED
        assert "som började 'Hej' var fel" in correction.texts["sv"]

    def test_who_has_said_stop_since_is_left_alone(self, begin: Callable[..., Desk]) -> None:
        desk, wrong = self.spread(begin)
        desk.stop("sent")
        desk.do(
            "UPDATE deliveries SET number_sealed = :nothing WHERE number_sealed = :number",
            {"nothing": b"", "number": b"delivered"},
        )
        assert desk.heard(desk.announcer.correct(BO, wrong.id, NOW)) == ["accepted", "sending", "unknown"]

    def test_it_never_waits_and_is_never_too_dear(self, begin: Callable[..., Desk]) -> None:
        _, wrong = self.spread(begin)
        strict = begin(approve_above=0, spend_per_day=0.1)
        assert strict.announcer.correct(shell("root"), wrong.id, NOW).state is State.SENDING

    def test_with_a_text_of_somebodys_own_it_may_wait_but_the_rest_is_stopped_at_once(
        self, begin: Callable[..., Desk]
    ) -> None:
        _, wrong = self.spread(begin)
        strict = begin(approve_above=4)
        waiting = strict.announcer.correct(BO, wrong.id, NOW, {"sv": "Hallen är stängd."}, "sv")
        assert (waiting.state, waiting.recipients) == (State.SUBMITTED, 5)
        assert strict.read(wrong.id).state is State.STOPPED
        with pytest.raises(BadTarget, match=f"those whom broadcast {wrong.id} reached, and to nobody else"):
            strict.announcer.edit(BO, waiting.id, NOW, to=["everyone"])
        strict.announcer.approve(EVA, waiting.id, 1, NOW)
        assert strict.announcer.send(BO, waiting.id, NOW).recipients == 5
        assert begin(approve_above=5).announcer.correct(BO, wrong.id, NOW + 2 * HOUR, {"sv": "Hej"}, "sv").state is (
            State.SENDING
        )

    def test_what_is_done_can_be_corrected_and_what_never_went_out_not(self, desk: Desk) -> None:
        desk.subscribe("1")
        sent = desk.sent("everyone")
        desk.becomes(sent, "1", "delivered")
        desk.do("UPDATE broadcasts SET state = 'done' WHERE id = :id", {"id": sent.id})
        assert desk.heard(desk.announcer.correct(ANNA, sent.id, NOW)) == ["1"]
        assert desk.read(sent.id).state is State.STOPPED  # nothing of it is tried again after its correction
        for unsent in (desk.draft(), desk.announcer.stop(ANNA, desk.submit().id, NOW)):
            with pytest.raises(announce.NothingToCorrect, match="nothing of it has gone out"):
                desk.announcer.correct(ANNA, unsent.id, NOW)

    def test_the_correction_of_an_exercise_is_an_exercise(self, desk: Desk) -> None:
        desk.subscribe("1", exercise=True)
        desk.exercise()
        sent = desk.sent("everyone", exercise=True)
        desk.becomes(sent, "1", "sent")
        correction = desk.announcer.correct(ANNA, sent.id, NOW)
        assert correction.exercise and correction.texts["sv"].startswith("ÖVNING. RÄTTELSE")
        assert correction.texts["sv"].endswith("ÖVNING")


class TestUnknownDeliveries:
    def unknown(self, desk: Desk, kind: str = "message", told: str = "") -> tuple[Broadcast, int]:
        desk.subscribe("1", told="open farsta-1 open 0")
        sent = desk.sent("everyone")
        desk.do(
            "UPDATE deliveries SET state = 'unknown', kind = :kind, told = :told, told_before = :before",
            {"kind": kind, "told": told, "before": "none_open - - 0"},
        )
        ((id,),) = desk.rows("SELECT id FROM deliveries")
        return sent, int(str(id))

    def test_one_that_was_sent_counts_as_accepted(self, desk: Desk) -> None:
        _, id = self.unknown(desk)
        desk.announcer.resolve(ANNA, id, Outcome.SENT, NOW)
        assert desk.rows("SELECT state FROM deliveries") == [("accepted",)]
        lines = desk.rows("SELECT who, action, subject FROM audit WHERE subject LIKE 'delivery%'")
        assert lines == [("anna", "resolve sent", f"delivery:{id}")]
        with pytest.raises(announce.NotUnknown, match=f"delivery {id} is accepted, not unknown"):
            desk.announcer.resolve(ANNA, id, Outcome.RESEND, NOW)
        with pytest.raises(announce.NotUnknown, match="there is no delivery 999"):
            desk.announcer.resolve(ANNA, 999, Outcome.SENT, NOW)

    @pytest.mark.parametrize(
        ("kind", "told", "knows"),
        [("message", "", "open farsta-1 open 0"), ("status", "open farsta-1 open 0", "none_open - - 0")],
    )
    def test_one_that_is_sent_again_waits_and_its_subscriber_knows_what_they_knew(
        self, desk: Desk, kind: str, told: str, knows: str
    ) -> None:
        _, id = self.unknown(desk, kind, told)
        desk.announcer.resolve(ANNA, id, Outcome.RESEND, NOW)
        assert desk.rows("SELECT state, not_before, owner FROM deliveries") == [("queued", 0.0, "")]
        assert desk.rows("SELECT told FROM subscriptions") == [(knows,)]

    def test_who_was_told_something_newer_since_keeps_that(self, desk: Desk) -> None:
        _, id = self.unknown(desk, "status", "open farsta-1 open 0")
        desk.do("UPDATE subscriptions SET told = :newer", {"newer": "open farsta-11 open 0"})
        desk.announcer.resolve(ANNA, id, Outcome.RESEND, NOW)
        assert desk.rows("SELECT told FROM subscriptions") == [("open farsta-11 open 0",)]

    def test_what_is_done_goes_on_for_it_and_what_is_stopped_does_not(self, desk: Desk) -> None:
        sent, id = self.unknown(desk)
        desk.do("UPDATE broadcasts SET state = 'stopped' WHERE id = :id", {"id": sent.id})
        with pytest.raises(BroadcastError, match="is stopped; nothing of it is sent again"):
            desk.announcer.resolve(ANNA, id, Outcome.RESEND, NOW)
        desk.do("UPDATE broadcasts SET state = 'done' WHERE id = :id", {"id": sent.id})
        desk.announcer.resolve(ANNA, id, Outcome.RESEND, NOW)
        assert desk.read(sent.id).state is State.SENDING

    def test_show_has_them_with_how_far_it_is(self, desk: Desk) -> None:
        sent, id = self.unknown(desk)
        seen = desk.announcer.show(ANNA, sent.id, NOW)
        assert (seen.progress, [lost.id for lost in seen.unknown]) == ({"unknown": 1}, [id])

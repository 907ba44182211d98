"""What was not understood: learnt from and answered by hand, with the sender behind it."""

from dataclasses import dataclass

import pytest
from sqlalchemy import text

from responder.actions import load, reveal
from responder.actions.housekeep import keep_house
from responder.actions.inbox import BadAlias, CannotAnswer, Group, Inbox, NoSuchGroup
from responder.core.access import Forbidden, NotSignedIn, Operator, Role, shell
from responder.core.exercise import ExerciseGoesOn
from responder.core.places import Match
from responder.settings import Settings
from responder.store import exercises
from responder.store.engine import Database
from responder.store.queries import read_places, versions
from responder.store.vault import Vault
from tests import engines
from tests.conftest import Running, a_point
from tests.sending.conftest import Line
from tests.sending.conftest import connect as connect
from tests.sending.conftest import line as line

ANNA, BERTIL = "+46701740601", "+46701740602"
EVA = Operator("eva", Role.COMMUNICATOR, signed_in=True)
SERIAL = "a-serial-of-a-form"


def inbox_of(running: Running, **changed: object) -> Inbox:
    service = running.app.extensions["responder"]
    settings: Settings = service.settings.model_copy(update=changed)
    return Inbox(service.database, service.vault, service.snapshot, settings, service.flow.languages)


@dataclass
class Asked:
    """A running service, and its inbox."""

    running: Running

    def text(self, number: str, body: str) -> str:
        reply = self.running.another_phone(number).text(body)
        self.running.clock.pass_time(seconds=1)
        return reply

    @property
    def inbox(self) -> Inbox:
        return inbox_of(self.running)

    def group(self, words: str = "mordor") -> Group:
        return next(g for g in self.inbox.read(EVA, self.running.clock.now).groups if g.words == words)

    def answer(self, said: str = "Hej.", serial: str = SERIAL, turn: str = "") -> int:
        return self.inbox.answer(EVA, self.group(), said, serial, self.running.clock.now, turn)


@pytest.fixture
def asked(service: Running) -> Asked:
    service.put(a_point())
    return Asked(service)


def rows(database: Database, question: str) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(question))]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER])
def test_who_may_not_answer_reads_learns_and_sends_nothing(asked: Asked, role: Role) -> None:
    asked.text(ANNA, "mordor")
    other, now, group = Operator("x", role, signed_in=True), asked.running.clock.now, asked.group()
    for forbidden in (
        lambda: asked.inbox.read(other, now),
        lambda: asked.inbox.add_alias(other, "mordor", "12347", now),
        lambda: asked.inbox.remove_alias(other, 1, now),
        lambda: asked.inbox.answer(other, group, "Hej", SERIAL, now),
        lambda: asked.inbox.set_handled(other, group.id, 0, now),
        lambda: asked.inbox.senders(other, group),
    ):
        with pytest.raises(Forbidden):
            forbidden()


def test_a_number_is_revealed_to_nobody_who_has_not_signed_in(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    database, vault, now = asked.running.database, asked.inbox.vault, asked.running.clock.now
    turn = asked.group().newest.turn
    with pytest.raises(NotSignedIn):
        reveal.of_turn(database, vault, shell("root"), turn, "en god anledning", now)
    assert reveal.of_turn(database, vault, EVA, turn, "en god anledning", now) == ANNA
    with pytest.raises(reveal.NoNumber):
        reveal.of_turn(database, vault, EVA, "no such turn", "en god anledning", now)
    assert rows(database, "SELECT action, subject FROM audit WHERE who = 'eva'") == [("reveal", f"turn:{turn}")]


def test_a_name_is_known_at_once_to_another_process(asked: Asked) -> None:
    other = asked.running.app.extensions["responder"].snapshot.__class__(
        Database(engines.url(asked.running.path)), "Europe/Stockholm", asked.inbox.snapshot._stale_after, (), True
    )
    now = asked.running.clock.now
    assert other.read_if_changed(now).gazetteer.recognise("mordor").match is Match.NOTHING
    (place, *_), sure = asked.inbox.places(EVA, "Hökarängen", now)
    assert sure
    asked.inbox.add_alias(EVA, "Mordor", place.code, now)
    found = other.read_if_changed(now).gazetteer.recognise("var i mordor finns värme?")
    assert found.match is Match.FOUND and found.places[0].code == place.code
    with asked.running.database.read() as connection:
        assert versions(connection)[1] > 1


def test_a_word_is_given_to_one_place_only(asked: Asked) -> None:
    now = asked.running.clock.now
    asked.inbox.add_alias(EVA, "Mordor", "stadsdel:hokarangen:stockholm", now)
    for code in ("stadsdel:hokarangen:stockholm", "stadsdel:bagarmossen:stockholm"):
        with pytest.raises(BadAlias):
            asked.inbox.add_alias(EVA, "MORDOR", code, now)
    asked.inbox.remove_alias(EVA, 1, now)
    with pytest.raises(BadAlias):
        asked.inbox.remove_alias(EVA, 1, now)
    asked.inbox.add_alias(EVA, "mordor", "stadsdel:bagarmossen:stockholm", now)


def test_a_places_file_that_is_read_again_neither_sees_nor_loses_what_was_learnt(asked: Asked) -> None:
    asked.inbox.add_alias(EVA, "Mordor", "stadsdel:hokarangen:stockholm", asked.running.clock.now)
    file = (load.DATA / "places.csv").read_text(encoding="utf-8")
    assert load.load_places(asked.running.database, file).changed == 0
    with asked.running.database.read() as connection:
        (place,) = (p for p in read_places(connection) if p.code == "stadsdel:hokarangen:stockholm")
        assert "Mordor" in place.aliases
        assert all("Mordor" not in p.aliases for p in read_places(connection, learnt=False))


def test_no_command_of_any_language_can_ever_be_a_place(asked: Asked) -> None:
    now = asked.running.clock.now
    for wording in asked.inbox.languages.values():
        for said in (word for command in wording.commands.values() for word in command):
            with pytest.raises(BadAlias):
                asked.inbox.add_alias(EVA, said, "stadsdel:hokarangen:stockholm", now)
    assert rows(asked.running.database, "SELECT count(*) FROM aliases") == [(0,)]


@pytest.mark.parametrize("said", ["jag vill", "var finns", "vatten nu", "where is", "hjälp mig", "stopp farsta"])
def test_what_people_write_in_whatever_they_ask_for_can_be_no_place(asked: Asked, said: str) -> None:
    with pytest.raises(BadAlias):
        asked.inbox.add_alias(EVA, said, "stadsdel:hokarangen:stockholm", asked.running.clock.now)


def test_what_is_older_than_is_kept_and_more_than_is_looked_at_is_left_out(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.text(ANNA, "mordor")
    now = asked.running.clock.now
    asked.running.clock.pass_time(days=asked.inbox.settings.retain_days + 1)
    assert asked.inbox.read(EVA, asked.running.clock.now).groups == ()
    asked.running.clock.now = now
    monkeypatch.setattr("responder.actions.inbox.MOST", 2)
    for word in ("gnomhålan", "atlantis"):
        asked.text(BERTIL, word)
    seen = asked.inbox.read(EVA, asked.running.clock.now)
    assert [group.words for group in seen.groups] == ["atlantis", "gnomhålan"] and seen.more


def test_not_even_a_hash_of_the_words_is_kept_longer_than_they_are(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    running, service = asked.running, asked.running.app.extensions["responder"]
    asked.inbox.set_handled(EVA, asked.group().id, running.clock.now.timestamp(), running.clock.now)
    for days, kept in ((asked.inbox.settings.retain_days - 1, 1), (2, 0)):
        running.clock.pass_time(days=days)
        now = running.clock.now
        view = service.snapshot.read_if_changed(now)
        keep_house(service.database, service.vault, service.messages, view, service.settings, now)
        assert rows(running.database, "SELECT count(*) FROM handled") == [(kept,)]


def test_words_that_were_dealt_with_stay_so_under_another_lookup_key(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    now, old = asked.running.clock.now, asked.inbox
    old.set_handled(EVA, asked.group().id, now.timestamp(), now)
    keys = old.settings
    vault = Vault((keys.number_key,), ("a newer key", keys.lookup_key))
    newer = Inbox(old.database, vault, old.snapshot, old.settings, old.languages)
    (group,) = newer.read(EVA, now).groups
    assert group.handled_by == "eva"
    with pytest.raises(NoSuchGroup):
        newer.group(EVA, "00" * 16, now)


# --- answering by hand ---------------------------------------------------------------------------------------------------


def test_an_answer_reaches_the_phone_once_signed(line: Line) -> None:
    asked = Asked(line.running)
    asked.text(ANNA, "mordor")
    assert asked.answer("Gå till Farsta.") == 1 and asked.answer("Gå till Farsta.") == 0
    line.send()
    assert line.texts(ANNA) == [f"Gå till Farsta. /{line.service.settings.sender_name}"]
    assert line.states() == {"delivered": 1}


def test_a_point_that_changes_meanwhile_does_not_keep_an_answer_from_being_sent(line: Line) -> None:
    asked = Asked(line.running)
    asked.text(ANNA, "mordor")
    asked.answer("Gå till Farsta.")
    deliverer = line.service.deliverer("test")
    (ready,) = deliverer.take_up("text", 10)
    line.running.put(a_point("another"))
    assert deliverer._may_start(ready)


def test_who_says_stopp_before_it_is_sent_gets_nothing(line: Line) -> None:
    asked = Asked(line.running)
    asked.text(ANNA, "mordor")
    asked.text(BERTIL, "mordor")
    asked.answer("Gå till Farsta.")
    asked.text(ANNA, "STOPP")
    line.send()
    assert line.texts(ANNA) == [] and len(line.texts(BERTIL)) == 1


def test_the_last_look_sees_who_said_stopp_after_it_was_taken_up(line: Line) -> None:
    asked = Asked(line.running)
    asked.text(ANNA, "mordor")
    asked.answer("Gå till Farsta.")
    deliverer = line.service.deliverer("test")
    (ready,) = deliverer.take_up("text", 10)
    asked.text(ANNA, "STOPP")
    assert not deliverer._may_start(ready)


def test_who_is_on_the_list_of_those_who_said_stopp_is_not_answered(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    with asked.running.database.write() as connection:
        values = {"hash": asked.inbox.vault.newest(ANNA)}
        connection.execute(text("INSERT INTO suppressions (number_hash, at, reason) VALUES (:hash, 1, 'stop')"), values)
    with pytest.raises(CannotAnswer, match="STOPP"):
        asked.answer()
    assert rows(asked.running.database, "SELECT count(*) FROM deliveries") == [(0,)]


def test_who_has_been_answered_is_not_answered_again_with_everybody_until_they_write_again(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    assert asked.answer() == 1
    with pytest.raises(CannotAnswer, match="everybody"):
        asked.answer(serial="another-serial")
    asked.text(BERTIL, "mordor")
    assert asked.answer(serial="a-third-serial") == 1
    assert asked.answer(serial="a-fourth-serial", turn=asked.group().asked[-1].turn) == 1  # but alone they are


def test_many_are_not_answered_without_a_second_person(asked: Asked) -> None:
    for n in range(3):
        asked.text(f"+4670174060{n}", "mordor")
    few = inbox_of(asked.running, approve_above=2)
    with pytest.raises(CannotAnswer, match="second person"):
        few.answer(EVA, asked.group(), "Hej", SERIAL, asked.running.clock.now)
    one = inbox_of(asked.running, approve_above=0)
    turn = asked.group().newest.turn
    assert one.answer(EVA, asked.group(), "Hej", SERIAL, asked.running.clock.now, turn) == 1


def test_an_exercise_keeps_it_from_being_sent(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    with asked.running.database.write() as connection:
        exercises.begin(connection, "Höstvind", "eva", 1.0)
    with pytest.raises(ExerciseGoesOn):
        asked.answer()


@pytest.mark.parametrize("serial", ["", "kort", "a" * 65, "a b c d e f g h", "' OR 1=1 --'"])
def test_a_form_without_its_serial_sends_nothing(asked: Asked, serial: str) -> None:
    asked.text(ANNA, "mordor")
    with pytest.raises(CannotAnswer):
        asked.answer(serial=serial)


def test_a_number_of_a_country_that_is_not_answered_is_not_answered_by_hand_either(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    (sender,) = asked.inbox.senders(EVA, asked.group())
    assert sender.why_not is None and sender.number == "+4670*****01"
    none = inbox_of(asked.running, reply_countries="NO")
    (sender,) = none.senders(EVA, asked.group())
    assert sender.why_not is not None


def test_the_audit_log_has_the_answer_and_no_number(asked: Asked) -> None:
    asked.text(ANNA, "mordor")
    asked.answer(f"Ring {BERTIL}.")
    ((who, after),) = rows(asked.running.database, "SELECT who, after FROM audit WHERE action = 'answer'")
    assert who == "eva" and "+4670*****02" in str(after) and BERTIL not in str(after)

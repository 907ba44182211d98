"""What comes back from a laptop, what stays as it is here, and who hears of it."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from responder.actions import publish
from responder.core.access import shell
from responder.core.points import Status
from responder.store.dump import BackupError
from responder.store.kits import KitError
from responder.store.merge_rules import RULES
from tests.kit.world import ANNA, BO, CILLA, DAVID, WHO, ZONE, Pair, Side


def follow(side: Side, *numbers: str) -> None:
    """Each follows 12347."""
    for number in numbers:
        side.text(number, "12347")
        side.text(number, "JA")
        assert side.follows(number) == [("12347", "active")]


def audit(side: Side) -> list[tuple]:  # type: ignore[type-arg]
    """Every line that is about a point."""
    line = SQLModel.metadata.tables["audit"].c
    wanted = select(line.at, line.who, line.action, line.subject, line.before, line.after).order_by(line.id)
    with side.service.database.read() as connection:
        return [tuple(row) for row in connection.execute(wanted.where(line.subject.not_like("%:%")))]


def counts(side: Side) -> dict[str, int]:
    """How many rows each table has."""
    return {name: side.rows(f"SELECT count(*) FROM {name}")[0][0] for name in SQLModel.metadata.tables}


def test_every_table_has_a_rule() -> None:
    assert sorted(rule.table for rule in RULES) == sorted(SQLModel.metadata.tables)
    assert all(rule.comes for rule in RULES)


# Points


def test_what_changed_on_the_laptop_alone_is_taken_and_whoever_knew_otherwise_hears(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED, who="laptop-anna")
    done = pair.merge(laptop)
    assert not done.conflicts and done.taken["points"] == 1
    assert pair.server.point("near").status is Status.CLOSED
    lines = [(who, action) for _, who, action, subject, _, _ in audit(pair.server) if subject == "near"]
    assert lines == [("shell:laptop-anna", "set closed"), (WHO, "merge")]
    pair.server.push()
    assert [number for number, _ in pair.server.send()] == [ANNA]


def test_whoever_heard_it_from_the_laptop_does_not_hear_it_again(pair: Pair) -> None:
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    laptop.push()
    assert sorted(number for number, _ in laptop.send()) == [ANNA, BO]
    follow(pair.server, CILLA)  # who was told here, meanwhile, that it is open
    assert not pair.merge(laptop).conflicts
    pair.server.push()
    assert [number for number, _ in pair.server.send()] == [CILLA]


def test_whoever_only_asked_hears_once_that_the_door_is_closed_from_whichever_side(pair: Pair) -> None:
    pair.server.text(ANNA, "12347")
    laptop = pair.laptop()
    laptop.text(BO, "12347")
    laptop.set("near", Status.CLOSED)
    laptop.push()
    assert sorted(number for number, _ in laptop.send()) == [ANNA, BO]
    laptop.text(CILLA, "12347")  # is sent to the next one
    pair.merge(laptop)
    pair.server.push()
    assert pair.server.send() == []
    pair.server.set("far", Status.CLOSED)
    pair.server.push()
    assert CILLA in [number for number, _ in pair.server.send()]


def test_what_both_sides_changed_stays_as_it_is_here_and_is_listed(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.FULL)
    pair.server.set("near", Status.CLOSED)
    done = pair.merge(laptop)
    assert [(one.table, one.what, one.here, one.there) for one in done.conflicts] == [
        ("points", "near (Hallen near)", "closed", "full")
    ]
    assert pair.server.point("near").status is Status.CLOSED
    assert ("shell:anna", "set full") in [(who, action) for _, who, action, *_ in audit(pair.server)]
    assert audit(pair.server)[-1][2] == "merge: kept as it is here"


def test_whoever_was_told_by_the_laptop_what_is_not_so_here_hears_how_it_is(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    laptop.push()
    assert len(laptop.send()) == 1
    pair.server.set("near", Status.OPEN, closes="22:00")
    pair.merge(laptop)
    pair.server.push()
    assert [number for number, _ in pair.server.send()] == [ANNA]


def test_what_both_sides_changed_to_the_same_is_no_conflict(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.FULL)
    pair.server.set("near", Status.FULL)
    assert not pair.merge(laptop).conflicts


def test_of_two_confirmations_the_later_counts(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.clock.pass_time(hours=2)
    publish.confirm(laptop.service.database, "near", shell("anna"), ZONE, laptop.clock.now)
    assert not pair.merge(laptop).conflicts
    assert pair.server.point("near").confirmed_at == laptop.clock.now


def test_notes_of_operators_and_what_residents_are_told_are_judged_apart(pair: Pair) -> None:
    laptop = pair.laptop()
    publish.note(laptop.service.database, "near", publish.Notes(visitors="40"), shell("anna"), ZONE, laptop.clock.now)
    pair.server.set("near", Status.FULL)
    assert not pair.merge(laptop).conflicts
    point = pair.server.point("near")
    assert (point.status, point.visitors) == (Status.FULL, 40)


# STOPP


def test_stopp_on_the_laptop_ends_everything_here(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    pair.server.set("near", Status.CLOSED)
    pair.server.push()  # a message waits here
    laptop.text(ANNA, "STOPP")
    done = pair.merge(laptop)
    assert not done.conflicts and pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []
    assert pair.server.send() == []


def test_stopp_here_holds_though_they_said_ja_on_the_laptop(pair: Pair) -> None:
    laptop = pair.laptop()
    pair.server.text(ANNA, "STOPP")
    laptop.clock.pass_time(minutes=5)
    follow(laptop, ANNA)
    done = pair.merge(laptop)
    assert [(one.table, one.what) for one in done.conflicts] == [("subscriptions", "+4670*****01")]
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []
    assert ANNA[3:] not in str(done)


def test_stopp_here_holds_though_they_said_ja_again_to_what_they_followed_before(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    pair.server.text(ANNA, "STOPP")
    laptop.clock.pass_time(minutes=5)
    follow(laptop, ANNA)
    file = pair.packed(laptop)
    pair.server.clock.now = laptop.clock.now
    assert [one.there for one in pair.merge(file).conflicts] == ["JA for 12347"]
    assert pair.server.follows(ANNA) == [] and pair.merge(file).nothing


def test_ja_before_the_stopp_is_no_conflict(pair: Pair) -> None:
    laptop = pair.laptop()
    follow(laptop, ANNA)
    pair.server.clock.now = laptop.clock.now + timedelta(minutes=5)
    pair.server.text(ANNA, "STOPP")
    assert not pair.merge(laptop).conflicts
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []


def test_stopp_on_the_laptop_holds_though_they_said_ja_here_afterwards(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.text(ANNA, "STOPP")
    pair.server.clock.pass_time(minutes=5)
    follow(pair.server, ANNA)
    done = pair.merge(laptop)
    assert [(one.table, one.what) for one in done.conflicts] == [("suppressions", "+4670*****01")]
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []


def test_start_on_the_laptop_lifts_the_stopp_that_both_sides_knew(pair: Pair) -> None:
    pair.server.text(ANNA, "STOPP")
    laptop = pair.laptop()
    laptop.text(ANNA, "START")
    follow(laptop, ANNA)
    assert not pair.merge(laptop).conflicts
    assert not pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == [("12347", "active")]


def test_start_on_the_laptop_lifts_no_stopp_that_was_said_again_here(pair: Pair) -> None:
    pair.server.text(ANNA, "STOPP")
    laptop = pair.laptop()
    laptop.text(ANNA, "START")
    pair.server.text(ANNA, "START")
    pair.server.clock.pass_time(minutes=1)
    pair.server.text(ANNA, "STOPP")
    done = pair.merge(laptop)
    assert [one.there for one in done.conflicts] == ["START"] and pair.server.said_stop(ANNA)


def test_start_here_is_not_undone_by_the_old_stopp_on_the_laptop(pair: Pair) -> None:
    pair.server.text(ANNA, "STOPP")
    laptop = pair.laptop()
    pair.server.text(ANNA, "START")
    assert not pair.merge(laptop).conflicts
    assert not pair.server.said_stop(ANNA)


# Subscriptions


def test_new_subscriptions_come_in_and_hear_what_they_do_not_know(pair: Pair) -> None:
    laptop = pair.laptop()
    follow(laptop, ANNA)
    pair.server.set("near", Status.CLOSED)
    pair.merge(laptop)
    assert pair.server.follows(ANNA) == [("12347", "active")]
    pair.server.push()
    assert [number for number, _ in pair.server.send()] == [ANNA]


def test_one_that_ended_there_ends_here_and_one_that_ended_here_stays_ended(pair: Pair) -> None:
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    laptop.do("DELETE FROM subscriptions WHERE number_hash = :hash", hash=laptop.hash(ANNA))
    pair.server.do("DELETE FROM subscriptions WHERE number_hash = :hash", hash=pair.server.hash(BO))
    pair.merge(laptop)
    assert pair.server.follows(ANNA) == pair.server.follows(BO) == []


def test_whoever_followed_on_both_sides_is_one_subscription(pair: Pair) -> None:
    laptop = pair.laptop()
    follow(laptop, ANNA)
    follow(pair.server, ANNA)
    pair.merge(laptop)
    assert pair.server.follows(ANNA) == [("12347", "active")]


def test_a_message_that_waits_here_is_not_sent_once_the_laptop_has_told_it(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    for side in (pair.server, laptop):
        side.set("near", Status.CLOSED)
        side.push()
    assert len(laptop.send()) == 1
    pair.merge(laptop)
    assert pair.server.send() == []
    pair.server.push()
    assert pair.server.send() == []


# What was sent and asked


def test_what_was_sent_there_is_history_here_and_what_was_in_hand_is_unknown(pair: Pair) -> None:
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    laptop.push()
    laptop.send()
    [(first,), (second,)] = laptop.rows("SELECT id FROM deliveries WHERE kind = 'status' ORDER BY id")
    laptop.do("UPDATE deliveries SET state = 'sending', lease_until = 9 WHERE id = :id", id=first)
    done = pair.merge(laptop)
    assert pair.server.rows("SELECT id, state, lease_until FROM deliveries WHERE kind = 'status' ORDER BY id") == [
        (first, "unknown", 0.0), (second, "accepted", 0.0),
    ]  # fmt: skip
    assert done.notices == (
        f"1 messages may have been sent by the laptop, from {first}: `responder deliveries --state unknown`, then"
        " `responder delivery resolve ID sent` or `resend`",
    )
    assert pair.server.send() == []
    laptop.do("UPDATE deliveries SET state = 'delivered' WHERE id = :id", id=first)
    laptop.clock.pass_time(minutes=1)
    pair.merge(laptop)  # by now the laptop knows
    assert pair.server.rows("SELECT state FROM deliveries WHERE id = :id", id=first) == [("delivered",)]


def test_a_broadcast_that_was_going_out_from_the_laptop_is_paused_here(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.do(
        "INSERT INTO broadcasts (kind, template, exercise, state, priority, texts, fallback, operator, audience,"
        " created_at) VALUES ('message', 'free', false, 'sending', 4, '{\"sv\": \"Kom\"}', 'sv', 'anna', '', 1)"
    )
    [(id,)] = laptop.rows("SELECT max(id) FROM broadcasts")
    laptop.do(
        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, state, created_at)"
        " SELECT :id, 'message', number_hash, number_sealed, 'text', 'sv', 'queued', 1 FROM subscriptions",
        id=id,
    )
    done = pair.merge(laptop)
    assert pair.server.rows("SELECT state FROM broadcasts WHERE id = :id", id=id) == [("paused",)]
    assert done.notices == (
        f"broadcast {id} was going out from the laptop, and is paused: `responder broadcast show {id}`",
    )
    assert pair.server.send() == []
    again = pair.merge(laptop)
    assert again.nothing and not again.notices


def test_a_conversation_goes_on_where_it_stood_last(pair: Pair) -> None:
    pair.server.text(ANNA, "12347")
    laptop = pair.laptop()
    laptop.text(ANNA, "MER")
    laptop.text(ANNA, "vad är detta för nonsens")
    pair.server.text(ANNA, "12348")  # before that, by the clock of the server
    done = pair.merge(laptop)
    assert done.taken["turns"] == 2
    numbers = pair.server.rows("SELECT number FROM turns WHERE key = :key ORDER BY at", key=pair.server.hash(ANNA))
    assert len(numbers) == 4 and len(set(numbers)) == 4
    pair.server.text(ANNA, "12347")


# The log, and what is changed by hand


def test_each_line_of_the_logs_comes_once(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    laptop.do("INSERT INTO notes (at, who, kind, text) VALUES (1, 'anna', 'note', 'SIM i fönstret')")
    pair.merge(laptop)
    laptop.set("near", Status.OPEN)
    pair.merge(laptop)
    pair.merge(laptop)
    assert [action for _, _, action, *_ in audit(pair.server)] == ["set closed", "merge", "set open", "merge"]
    assert pair.server.rows("SELECT text FROM notes") == [("SIM i fönstret",)]


def test_words_hosts_and_numbers_come_in_and_what_contradicts_is_listed(pair: Pair) -> None:
    laptop = pair.laptop()
    for side, place in ((laptop, "12347"), (pair.server, "12348")):
        side.do(
            "INSERT INTO aliases (alias, place, added_by, added_at, removed_by) VALUES ('torget', :place, 'x', 5, '')",
            place=place,
        )
    laptop.do("INSERT INTO aliases (alias, place, added_by, added_at, removed_by) VALUES ('ica', '12347', 'x', 5, '')")
    laptop.do(
        "INSERT INTO hosts (point, name, number_hash, number_sealed, created_by, created_at)"
        " VALUES ('near', 'Eva', :hash, :sealed, 'x', 5)",
        hash=laptop.hash(DAVID), sealed=laptop.service.vault.seal(DAVID),
    )  # fmt: skip
    laptop.add("questions", host=1, code="41", version=1, asked_at=5.0, until=9e9, answer="yes")
    number = laptop.rows("SELECT max(number) + 1 FROM point_numbers")[0][0]
    laptop.do("INSERT INTO point_numbers (number, point) VALUES (:n, 'new')", n=number)
    pair.server.do("INSERT INTO point_numbers (number, point) VALUES (:n, 'other')", n=number)
    done = pair.merge(laptop)
    assert [(one.table, one.here, one.there) for one in done.conflicts] == [
        ("point_numbers", "other", "new"), ("aliases", "12348", "12347"),
    ]  # fmt: skip
    assert pair.server.rows("SELECT alias, place FROM aliases ORDER BY alias") == [
        ("ica", "12347"),
        ("torget", "12348"),
    ]
    [(host, asked)] = pair.server.rows("SELECT h.name, q.answer FROM hosts h JOIN questions q ON q.host = h.id")
    assert (host, asked) == ("Eva", "yes")
    assert pair.server.rows(
        "SELECT count(*) FROM questions WHERE until > :now", now=pair.server.clock.now.timestamp()
    ) == [(0,)]


def an_account(side: Side, name: str, role: str, recovery: str = "[]") -> None:
    """An account that was made on one side."""
    side.do(
        "INSERT INTO operators (name, role, districts, token_hash, phone_sealed, created_by, created_at, password_hash,"
        " totp_sealed, totp_step, recovery, invite_hash, invite_until, language, phone_hash, paper_codes) VALUES"
        " (:name, :role, '[]', '', :no, 'x', 1, '', :no, 0, :recovery, '', 0, 'sv', :no, '[\"p1\", \"p2\"]')",
        name=name, role=role, no=b"", recovery=recovery,
    )  # fmt: skip


def test_accounts_are_an_admins_matter_and_a_code_that_was_used_opens_nothing(pair: Pair) -> None:
    an_account(pair.server, "bo", "reporter", '["a", "b"]')
    an_account(pair.server, "eva", "admin")
    laptop = pair.laptop()
    an_account(laptop, "ny", "admin")
    laptop.do("UPDATE operators SET role = 'admin', recovery = '[\"b\"]', paper_codes = '[\"p2\"]' WHERE name = 'bo'")
    laptop.do("UPDATE operators SET disabled_at = 5, totp_step = 77 WHERE name = 'eva'")
    done = pair.merge(laptop)
    assert [(one.what, one.here, one.there) for one in done.conflicts] == [
        ("bo, another role or other districts there", "reporter, all districts", "admin, all districts"),
        ("eva, disabled there", "admin, all districts", "admin, all districts, disabled"),
        ("ny, made there", "no account", "admin, all districts"),
    ]
    rows = pair.server.rows("SELECT name, role, recovery, paper_codes, totp_step FROM operators ORDER BY name")
    assert rows == [("bo", "reporter", '["b"]', '["p2"]', 0), ("eva", "admin", "[]", '["p1", "p2"]', 77)]


# Once


def test_without_apply_nothing_is_changed_and_the_same_is_said(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.set("near", Status.FULL)
    pair.server.set("near", Status.CLOSED)
    laptop.text(ANNA, "STOPP")
    before = counts(pair.server)
    dry = pair.merge(laptop, apply=False)
    assert counts(pair.server) == before and not pair.server.said_stop(ANNA)
    wet = pair.merge(laptop)
    assert (wet.taken, wet.conflicts) == (dry.taken, dry.conflicts)


def test_of_the_same_database_nothing_is_left_to_do(pair: Pair) -> None:
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.set("near", Status.FULL)
    pair.server.set("near", Status.CLOSED)
    follow(laptop, BO)
    file = pair.packed(laptop)
    pair.server.clock.now = max(pair.server.clock.now, laptop.clock.now)
    assert pair.merge(file).conflicts
    before = counts(pair.server)
    again = pair.merge(file)
    assert again.nothing and again.again and counts(pair.server) == before


def test_a_later_return_brings_only_what_is_new(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.FULL)
    follow(laptop, ANNA)
    pair.merge(laptop)
    pair.server.set("far", Status.CLOSED)
    pair.server.text(ANNA, "STOPP")
    pair.server.text(ANNA, "START")
    laptop.set("far", Status.FULL)
    laptop.set("north", Status.FULL)
    follow(laptop, BO)
    done = pair.merge(laptop)
    assert done.again and done.taken["points"] == 1 and done.taken["subscriptions"] == 1
    assert [one.what for one in done.conflicts] == ["far (Hallen far)"]
    assert pair.server.point("north").status is Status.FULL and pair.server.follows(ANNA) == []


def test_ids_here_go_on_after_those_of_every_kit_that_is_out(pair: Pair) -> None:
    first, second = pair.laptop(), pair.laptop()
    for laptop, number in ((first, ANNA), (second, BO)):
        follow(laptop, number)
    pair.merge(first)
    follow(pair.server, CILLA)
    pair.merge(second)
    ids = [id for (id,) in pair.server.rows("SELECT id FROM subscriptions ORDER BY id")]
    assert len(ids) == 3 and ids[2] > max(ids[:2]) and ids[1] - ids[0] >= 4_000_000


# What is refused


def test_a_kit_that_was_opened_on_two_laptops_comes_back_from_one(pair: Pair) -> None:
    file = pair.make()
    one, other = pair.open(file, "one"), pair.open(file, "other")
    one.set("near", Status.CLOSED)
    other.set("near", Status.FULL)
    pair.merge(one)
    with pytest.raises(KitError, match="opened on two laptops"):
        pair.merge(other)


def test_a_server_that_was_restored_from_before_the_kit_goes_by_the_laptops_word(pair: Pair) -> None:
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    pair.server.do("DELETE FROM kits")
    pair.server.do("DELETE FROM subscriptions WHERE number_hash = :hash", hash=pair.server.hash(BO))
    laptop.set("near", Status.CLOSED)
    done = pair.merge(laptop)
    assert not done.is_known and not done.conflicts
    assert pair.server.follows(BO) == [("12347", "active")] and pair.server.point("near").status is Status.CLOSED
    pair.server.do("DELETE FROM subscriptions WHERE number_hash = :hash", hash=pair.server.hash(BO))
    assert pair.merge(laptop).nothing and pair.server.follows(BO) == []


def test_a_database_that_is_no_laptops_is_refused(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.do("DELETE FROM kits")
    with pytest.raises(KitError, match="knows of no kit"):
        pair.merge(pair.folder / "laptop-0" / "responder.db")


def test_a_return_of_a_newer_version_is_refused(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.do("UPDATE alembic_version SET version_num = '9999'")
    before = counts(pair.server)
    with pytest.raises(BackupError, match="a newer version made it"):
        pair.merge(laptop)
    assert counts(pair.server) == before


def test_what_had_a_time_here_and_was_sent_from_the_laptop_has_none_any_more(pair: Pair) -> None:
    pair.server.add(
        "broadcasts", kind="message", template="free", state="approved", priority=4, operator="anna", created_at=1.0,
        send_at=9e9,
    )  # fmt: skip
    [(id,)] = pair.server.rows("SELECT max(id) FROM broadcasts")
    pair.server.add("due", job=f"send:{id}", at=9e9)
    laptop = pair.laptop()
    laptop.do("UPDATE broadcasts SET state = 'done' WHERE id = :id", id=id)
    assert pair.merge(laptop).taken["broadcasts"] == 1
    assert pair.server.rows("SELECT state, send_at FROM broadcasts WHERE id = :id", id=id) == [("done", None)]
    assert pair.server.rows("SELECT 1 FROM due WHERE done_at IS NULL AND job LIKE 'send:%'") == []


def test_another_services_database_is_refused(pair: Pair) -> None:
    laptop = pair.laptop()
    [(base,)] = laptop.rows("SELECT base FROM kits")
    laptop.do("UPDATE kits SET base = :base", base=json.dumps({**json.loads(base), "keys": "others"}))
    with pytest.raises(KitError, match="other keys"):
        pair.merge(laptop)


def test_a_laptops_database_itself_can_be_merged_while_it_is_used(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    pair.server.clock.now = laptop.clock.now
    assert pair.merge(pair.folder / "laptop-0" / "responder.db").taken["points"] == 1


def test_nothing_is_merged_while_an_exercise_goes_on(pair: Pair) -> None:
    laptop = pair.laptop()
    pair.server.do("INSERT INTO exercises (name, begun_by, begun_at, ended_by, current) VALUES ('x', 'a', 1, '', 1)")
    with pytest.raises(KitError, match="exercise goes on here"):
        pair.merge(laptop)

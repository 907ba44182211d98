"""Residents hear when their own answer changes: by text and by call, once, and never after STOPP."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text as sql

from responder.actions.announce import Announcer, NotApproved, ReasonMissing
from responder.actions.push import Pushed
from responder.core.access import Operator, Role, shell
from responder.core.points import Status
from responder.store.queries import audit_log
from tests.conftest import NOW, a_point
from tests.fakes.twilio import Answers, Busy, NoAnswer
from tests.sending.conftest import LANDLINE, MOBILE, OTHER, Line
from tests.web.test_hooks import signed

HOUR = timedelta(hours=1)


def subscribe(line: Line, number: str = MOBILE, place: str = "12347") -> None:
    line.text(number, place)
    assert line.text(number, "JA").startswith("Klart. Du får")


def subscriptions(line: Line) -> list[tuple]:  # type: ignore[type-arg]
    return line.rows("SELECT channel, place, service, state FROM subscriptions ORDER BY id")


# --- subscribing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yes", ["JA", "ja.", "Ja!", "YES", "japp"])
def test_yes_after_an_answer_subscribes_and_says_what_is_kept(line: Line, yes: str) -> None:
    line.text(MOBILE, "12347")
    reply = line.text(MOBILE, yes)
    assert "Vi sparar nummer, plats och språk tills du svarar STOPP" in reply or "We keep number, place and" in reply
    assert subscriptions(line) == [("text", "12347", "", "active")]


@pytest.mark.parametrize(
    "order", ["START 12347", "PRENUMERERA 12347", "bevaka 12347", "Start, 123 47", "subscribe 12347"]
)
def test_a_word_and_a_place_subscribe_at_once(line: Line, order: str) -> None:
    line.text(MOBILE, order)
    assert subscriptions(line) == [("text", "12347", "", "active")]


def test_a_word_alone_asks_for_the_place(line: Line) -> None:
    assert line.text(MOBILE, "PRENUMERERA").startswith("Vilken plats?")
    assert line.text(MOBILE, "Bagarmossen").startswith("Klart.")
    assert [row[1] for row in subscriptions(line)] == ["stadsdel:bagarmossen:stockholm"]


def test_a_name_with_several_meanings_is_asked_for_and_then_subscribed(line: Line) -> None:
    assert "Svara med siffran" in line.text(MOBILE, "START Bergshamra")
    assert line.text(MOBILE, "1").startswith("Klart. Du får")
    assert len(subscriptions(line)) == 1


def test_a_service_is_part_of_the_subscription(line: Line) -> None:
    line.text(MOBILE, "ladda mobilen 12347")
    assert "12347 (laddning)" in line.text(MOBILE, "JA")
    assert subscriptions(line) == [("text", "12347", "phone_charging", "active")]


def test_yes_without_a_place_asks_for_one(line: Line) -> None:
    assert line.text(MOBILE, "JA").startswith("Vilken plats?")
    assert subscriptions(line) == []


def test_the_same_place_twice_is_one_subscription(line: Line) -> None:
    subscribe(line)
    subscribe(line)
    assert len(subscriptions(line)) == 1


def test_five_places_a_number_at_most(line: Line) -> None:
    for place in ("12347", "12833", "Bagarmossen", "Kista", "Farsta"):
        assert line.text(MOBILE, f"START {place}").startswith("Klart")
    reply = line.text(MOBILE, "START Vällingby")
    assert reply.startswith("Du kan bevaka högst 5 platser, nu 12347, 12833, Bagarmossen, Kista och Farsta.")
    assert len(subscriptions(line)) == 5
    line.text(MOBILE, "STOPP Kista")
    assert line.text(MOBILE, "START Vällingby").startswith("Klart")


def test_mine_lists_what_is_followed(line: Line) -> None:
    assert line.text(MOBILE, "MINA").startswith("Du bevakar ingen plats.")
    subscribe(line)
    line.text(MOBILE, "START vatten Farsta")
    assert line.text(MOBILE, "mina").startswith("Du bevakar 12347 och Farsta (vatten).")


def test_stop_and_a_place_ends_that_one(line: Line) -> None:
    subscribe(line)
    subscribe(line, place="Farsta")
    assert line.text(MOBILE, "STOPP FARSTA") == "Klart. Du får inget mer om Farsta. STOPP avslutar allt."
    assert [row[1] for row in subscriptions(line)] == ["12347"]
    assert line.text(MOBILE, "STOPP Kista").startswith("Du bevakar inte Kista.")


STOPS = ["stopp", "stopp.", "Stop!", "STOPP", "AVSLUTA", "avregistrera", "STOPALL", "unsubscribe", "Cancel", "END", "quit",
         "stopp nu", "sluta tack", "Stopp.Tack", "Sluta skicka sms till mig", "STOPP jag vill inte ha fler sms",
         "Jag vill avsluta"]  # fmt: skip


@pytest.mark.parametrize("word", STOPS)
def test_stop_ends_all_deletes_the_number_and_keeps_a_keyed_hash(line: Line, word: str) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    assert "START tar bort den" in line.text(MOBILE, word)
    assert subscriptions(line) == []
    assert line.rows("SELECT length(number_hash), reason FROM suppressions") == [(16, "stop")]
    assert line.rows("SELECT count(*) FROM deliveries WHERE length(number_sealed) > 0") == [(0,)]
    assert (line.send(), line.fake.posts) == (0, ())


@pytest.mark.parametrize(
    "before", [["12347"], ["english", "12347"], ["START Bergshamra"], ["PRENUMERERA"], ["hej"], ["12347", "MER"]]
)
def test_stop_is_heard_in_every_state_and_language(line: Line, before: list[str]) -> None:
    for text in before:
        line.text(MOBILE, text)
    line.text(MOBILE, "STOP")
    assert line.rows("SELECT count(*) FROM suppressions") == [(1,)]


def test_the_providers_own_opt_out_is_ours_too(line: Line) -> None:
    subscribe(line)
    form = {"MessageSid": "SM-stop", "From": MOBILE, "To": "71000", "Body": "STOP", "OptOutType": "STOP"}
    assert "<Message>" not in signed(line.running, "/twilio/sms", form).text
    assert subscriptions(line) == []
    form = {**form, "MessageSid": "SM-start", "Body": "START", "OptOutType": "START"}
    signed(line.running, "/twilio/sms", form)
    assert line.rows("SELECT count(*) FROM suppressions") == [(0,)]


def test_after_stop_only_start_lets_messages_through_again(line: Line) -> None:
    line.text(MOBILE, "STOPP")
    line.text(MOBILE, "12347")
    assert line.text(MOBILE, "JA").startswith("Du har svarat STOPP")
    assert line.text(MOBILE, "JA") == line.text(MOBILE, "PRENUMERERA 12347")
    line.text(MOBILE, "START")
    line.text(MOBILE, "12347")
    assert line.text(MOBILE, "JA").startswith("Klart.")


def test_start_and_a_place_is_enough_after_stop(line: Line) -> None:
    line.text(MOBILE, "STOPP")
    assert line.text(MOBILE, "START 12347").startswith("Klart. Du får")
    assert line.rows("SELECT count(*) FROM suppressions") == [(0,)]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("+46900123456", "betalnummer"), ("+870773111632", "satellittelefon"), ("+15005550006", "vi skickar inte till det landet"),
        ("+79161234567", "vi skickar inte till det landet"), ("+4671234567890", "det går inte att nå"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_subscribe_is_told_why(line: Line, number: str, said: str) -> None:
    phone = line.running.another_phone(number)
    phone.call()
    phone.keys("12347")
    spoken = " ".join(phone.keys("4"))
    assert said in spoken
    assert subscriptions(line) == []


def test_a_key_on_the_phone_waits_for_a_text_from_the_number_itself(line: Line) -> None:
    """Caller ID can be forged: pressing a key subscribes nobody."""
    phone = line.running.another_phone(MOBILE)
    phone.call()
    phone.keys("12347")
    assert "Vi skickar ett sms" in " ".join(phone.keys("4"))
    assert subscriptions(line) == [("text", "12347", "", "pending")]
    line.set("near", Status.CLOSED)
    phone.hang_up()
    assert line.send() == 1
    assert line.texts(MOBILE)[0].startswith(
        "Någon ringde från ditt nummer och bad om sms när trygghetspunkten vid 12347"
    )
    assert "väntar på ditt JA" in line.text(MOBILE, "MINA")
    assert line.text(MOBILE, "JA").startswith("Klart. Du får veta när din närmaste trygghetspunkt ändras vid 12347.")
    assert subscriptions(line) == [("text", "12347", "", "active")]


def test_a_landline_is_called_back_and_a_key_there_subscribes(line: Line) -> None:
    phone = line.running.another_phone(LANDLINE)
    phone.call()
    phone.keys("12347")
    assert "Vi ringer upp dig" in " ".join(phone.keys("4"))
    line.fake.phone(LANDLINE).behaves = Answers("1")
    line.send()
    assert "Tack. Då ringer vi" in line.calls(LANDLINE)[0]
    assert subscriptions(line) == [("call", "12347", "", "active")]


def test_nine_on_any_call_of_ours_ends_everything(line: Line) -> None:
    phone = line.running.another_phone(LANDLINE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    line.fake.phone(LANDLINE).behaves = Answers("9")
    line.send()
    assert "Vi har raderat ditt nummer" in line.calls(LANDLINE)[0]
    assert (subscriptions(line), line.rows("SELECT count(*) FROM suppressions")) == ([], [(1,)])


def test_text_me_the_address_sends_it_and_is_capped(line: Line) -> None:
    phone = line.running.another_phone(MOBILE)
    for number in range(4):
        phone.call()
        phone.keys("12347")
        said = " ".join(phone.keys("5"))
        assert ("Vi skickar adressen" in said) is (number < 3), said
    for _ in range(3):  # what looks the same to the provider goes one after the other
        assert line.send() == 1
        line.running.clock.pass_time(seconds=6)
    assert [text.splitlines()[1][:25] for text in line.texts(MOBILE)] == ["Hallen near, Testgatan 36"] * 3
    landline = line.running.another_phone(LANDLINE)
    landline.call()
    landline.keys("12347")
    assert "kan vi inte skicka sms" in " ".join(landline.keys("5"))


def test_a_hidden_caller_is_told_so(line: Line) -> None:
    phone = line.running.another_phone("anonymous")
    phone.call()
    phone.keys("12347")
    assert "det är dolt" in " ".join(phone.keys("4"))


def test_a_message_that_subscribes_is_done_once_however_often_it_comes(line: Line) -> None:
    phone = line.running.another_phone(MOBILE)
    phone.text("12347", "SM-a")
    assert phone.text("JA", "SM-b") == phone.text("JA", "SM-b")
    assert len(subscriptions(line)) == 1


# --- pushing ----------------------------------------------------------------------------------------------------------


def test_a_closed_door_is_told_to_the_subscriber_with_the_next_best(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)
    assert line.send() == 1
    assert line.texts(MOBILE) == [
        "ÄNDRAT 14.21, 12347:\n"
        "Hallen near, Testgatan 36, Farsta, är STÄNGD. Gå inte dit.\n"
        "Trygghetspunkt ÖPPEN nu:\n"
        "Hallen far, Testgatan 36, Farsta, ca 2 km från 12347\n"
        "Öppet. Info, laddning, vatten, värme.\n"
        "Kontrollerat 14.20.\n"
        "Avsluta: STOPP\n"
        "/Stockholms stad"
    ]


CHANGES = [
    ("full", {}, "Hallen near, Testgatan 36, Farsta, är FULL."),
    ("moved", {"moved_to": "Provhuset, Provgränd 12"}, "har FLYTTAT till Provhuset, Provgränd 12."),
    ("closed", {}, "är STÄNGD. Gå inte dit."),
    ("on_call", {"phone": "08-508 00 508"}, "Trygghetspunkt, RING FÖRST:\nHallen near"),
    ("open", {"closes": "19:00"}, "STÄNGER kl 19."),
    ("open", {"opens": "19:00"}, "är STÄNGD. Gå inte dit."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "fields", "said"), CHANGES, ids=[f"{c[0]}{list(c[1])}" for c in CHANGES])
def test_whatever_becomes_of_a_door_is_told(line: Line, status: str, fields: dict[str, str], said: str) -> None:
    subscribe(line)
    line.set("near", Status(status), **fields)
    line.push()
    line.send()
    (text,) = line.texts(MOBILE)
    assert said in text


def test_only_those_whose_own_answer_changed_hear(line: Line) -> None:
    line.running.put(a_point("kista", lat=59.4030, lon=17.9440, district="Järva"))
    subscribe(line)
    subscribe(line, OTHER, "16440")
    line.set("kista", Status.CLOSED)
    line.push()
    line.send()
    assert (len(line.texts(OTHER)), line.texts(MOBILE)) == (1, [])


def test_an_opening_is_told_to_those_it_is_nearest_to(line: Line) -> None:
    line.set("near", Status.CLOSED)
    line.push()
    subscribe(line)
    line.set("near", Status.OPEN)
    assert line.push() == Pushed(changed=1)
    line.send()
    assert line.texts(MOBILE)[0].startswith("ÄNDRAT 14.22, 12347:\nTrygghetspunkt ÖPPEN nu:\nHallen near")


def test_a_flap_that_ends_where_it_began_sends_nothing(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.running.clock.pass_time(seconds=30)
    assert line.push(settle=False) is None
    line.set("near", Status.OPEN)
    assert line.push() == Pushed()
    assert line.send() == 0


def test_a_flap_beside_a_settled_change_is_not_told_with_it(line: Line) -> None:
    line.running.put(a_point("nearest", lat=59.2424, lon=18.0847, status=Status.CLOSED))
    subscribe(line)
    line.set("far", Status.CLOSED)
    line.running.clock.pass_time(seconds=50)
    line.set("nearest", Status.OPEN)  # by mistake
    line.running.clock.pass_time(seconds=11)
    assert line.push(settle=False) == Pushed()
    line.set("nearest", Status.CLOSED)
    assert line.push() == Pushed()


def test_a_flap_while_the_message_waits_sends_nothing(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.set("near", Status.OPEN)
    line.push()
    assert (line.send(), line.states()) == (0, {"superseded": 1})


def test_a_newer_answer_supersedes_an_unsent_one_and_is_what_is_said(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.set("far", Status.CLOSED)
    line.push()
    assert line.send() == 1
    (text,) = line.texts(MOBILE)
    assert "Ingen trygghetspunkt är öppen" in text
    assert line.states() == {"superseded": 1, "delivered": 1}


def test_the_text_is_made_when_it_is_sent(line: Line) -> None:
    """A change that has not settled is not pushed, but nobody is sent a text that it has made untrue."""
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.set("far", Status.FULL)
    line.send()
    assert "Hallen far" in line.texts(MOBILE)[0]
    assert "FULL" in line.texts(MOBILE)[0]


def test_the_same_push_twice_tells_nobody_twice(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.push_now()
    line.send()
    line.push_now()
    assert (line.send(), len(line.texts(MOBILE))) == (0, 1)


def test_a_confirmation_and_the_passing_of_time_push_nothing(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.OPEN)
    assert line.push() == Pushed()
    line.running.clock.pass_time(hours=20)
    assert line.push_now() == Pushed()


def test_regular_daily_hours_push_nothing(line: Line) -> None:
    line.running.put(a_point("near", hours="08:00-20:00"))
    subscribe(line)
    for _ in range(24):
        line.running.clock.pass_time(hours=1)
        assert line.push_now() == Pushed()


def test_at_night_nobody_is_told_what_they_have_been_told(line: Line) -> None:
    """Both doors that the hours close are told by nobody at 21; the one open all night is what everybody knows."""
    hours = "08:00-20:00"
    beside = a_point("beside", lat=59.2424, lon=18.0847, hours=hours, status=Status.CLOSED)
    line.running.put(a_point("near", hours=hours), a_point("far", lat=59.26), beside)
    line.running.clock.pass_time(hours=7)
    subscribe(line)
    line.set("beside", Status.OPEN)
    assert line.push() == Pushed(changed=1)
    assert (line.send(), line.states()) == (0, {"superseded": 1})
    assert line.push_now() == Pushed()


def test_an_announced_closing_is_told_ahead_and_not_again_when_it_comes(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.OPEN, closes="19:00")
    line.push()
    line.send()
    assert "STÄNGER kl 19." in line.texts(MOBILE)[0]
    line.running.clock.pass_time(hours=6)
    assert line.push(settle=False) == Pushed(lapsed=1)
    assert line.send() == 0
    line.set("far", Status.CLOSED)  # the answer that they have had since
    assert line.push() == Pushed(closed_doors=1)


def test_an_announced_opening_is_told_when_it_comes(line: Line) -> None:
    line.running.put(a_point("near", opens=NOW + 2 * HOUR), a_point("far", lat=59.26, status=Status.CLOSED))
    line.text(MOBILE, "12347")
    line.text(MOBILE, "JA")
    line.running.clock.pass_time(hours=2, minutes=2)
    assert line.push(settle=False) == Pushed(changed=1)
    line.send()
    assert "Trygghetspunkt ÖPPEN nu:\nHallen near" in line.texts(MOBILE)[0]


def test_a_text_is_worthless_when_the_door_closes(line: Line) -> None:
    """Validity ends with the announced closing."""
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.set("far", Status.OPEN, closes="15:00")
    line.push()
    (ready,) = line.service.deliverer("x").take_up("text", 5)
    assert ready.message.valid == 39 * 60 - 1  # from 14.21.01 to 15.00


# --- no closed door ---------------------------------------------------------------------------------------------------


def test_whoever_was_told_that_a_point_is_open_hears_when_it_closes_subscriber_or_not(line: Line) -> None:
    line.text(MOBILE, "12347")
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)
    line.send()
    assert "är STÄNGD. Gå inte dit.\nTrygghetspunkt ÖPPEN nu:\nHallen far" in line.texts(MOBILE)[0]
    assert line.push_now() == Pushed()
    line.set("far", Status.CLOSED)  # and again of the point that they were sent to instead
    line.push()
    line.send()
    assert len(line.texts(MOBILE)) == 2


def test_nobody_but_subscribers_hears_of_openings(line: Line) -> None:
    line.set("near", Status.CLOSED)
    line.push()
    line.text(MOBILE, "12347")
    line.set("near", Status.OPEN)
    assert line.push() == Pushed()


def test_a_caller_hears_too_by_the_way_their_number_allows(line: Line) -> None:
    for number in (LANDLINE, MOBILE, "anonymous"):
        phone = line.running.another_phone(number)
        phone.call()
        phone.keys("12347")
        phone.hang_up()
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=2)
    line.send()
    assert "är stängd. Gå inte dit." in line.calls(LANDLINE)[0]
    assert "är STÄNGD" in line.texts(MOBILE)[0]


def test_the_second_point_of_an_answer_and_those_of_more_count_too(line: Line) -> None:
    line.running.put(a_point("near"), a_point("beside", lon=18.0901), a_point("far", lat=59.26))
    line.text(MOBILE, "12347")
    line.text(MOBILE, "MER")
    line.set("far", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)
    line.send()
    assert "Hallen far, Testgatan 36, Farsta, är STÄNGD." in line.texts(MOBILE)[0]


def test_one_number_that_asked_three_times_hears_once(line: Line) -> None:
    for question in ("12347", "Farsta", "vatten i Farsta"):
        line.text(MOBILE, question)
    subscribe(line)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)
    assert line.push_now() == Pushed()


def test_follow_up_ends_after_follow_up_hours(line: Line) -> None:
    line.text(MOBILE, "12347")
    line.running.clock.pass_time(hours=3, minutes=1)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed()


def test_a_point_that_opened_again_before_it_was_told_is_still_watched(line: Line) -> None:
    line.text(MOBILE, "12347")
    line.set("near", Status.CLOSED)
    line.push()
    line.set("near", Status.OPEN)
    assert line.send() == 0
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)


def test_a_change_between_a_subscription_and_its_first_push_is_found(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    line.set("near", Status.OPEN)
    line.text(MOBILE, "12347")  # asks meanwhile, and is told
    line.text(MOBILE, "JA")
    assert line.push() == Pushed()


def test_every_closed_door_is_named_that_somebody_was_sent_to(line: Line) -> None:
    """Two questions, an answer and MER, a subscription beside a question: one message, all the doors."""
    line.running.put(a_point("kista", lat=59.4030, lon=17.9440, district="Järva"))
    line.text(MOBILE, "12347")
    line.text(MOBILE, "16440")
    line.text(OTHER, "12347")
    line.text(OTHER, "MER")
    subscribe(line, OTHER, "16440")
    for id in ("near", "far", "kista"):
        line.set(id, Status.CLOSED)
    line.push()
    line.send()
    assert [len(line.texts(number)) for number in (MOBILE, OTHER)] == [1, 1]
    for number, names in ((MOBILE, ("near", "kista")), (OTHER, ("near", "far", "kista"))):
        assert all(f"Hallen {name}" in line.texts(number)[0] for name in names), line.texts(number)[0]


def test_a_door_that_was_only_asked_about_survives_a_newer_answer(line: Line) -> None:
    """It stands in the message of the subscription, which is overtaken before it is sent."""
    line.running.put(a_point("kista", lat=59.4030, lon=17.9440, district="Järva"))
    subscribe(line)
    line.text(MOBILE, "16440")
    for id in ("near", "kista"):
        line.set(id, Status.CLOSED)
    line.push()
    line.set("far", Status.CLOSED)
    line.push()
    line.send()
    (text,) = line.texts(MOBILE)
    assert "Hallen kista" in text
    assert "Hallen near" in text


def test_what_goes_round_for_hours_before_anything_can_be_sent_does_not_grow(line: Line) -> None:
    subscribe(line)
    for _ in range(12):
        for id, status in (
            ("near", Status.CLOSED),
            ("far", Status.CLOSED),
            ("near", Status.OPEN),
            ("far", Status.OPEN),
        ):
            line.set(id, status)
            line.push()
    longest = "SELECT max(length(said_before)) FROM deliveries", "SELECT max(length(said)) FROM subscriptions"
    assert all(line.rows(sql)[0][0] <= len(";near open 0;far open 0;near closed 0;far closed 0") for sql in longest)
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    (text,) = line.texts(MOBILE)
    assert "Hallen near, Testgatan 36, Farsta, är STÄNGD" in text


def test_who_was_sent_to_more_places_than_an_index_takes_hears_of_each_that_is_closed(line: Line) -> None:
    subscribe(line)
    many = ";near open 0" + "".join(f";near open {1_800_000_000 + n}" for n in range(400))
    with line.running.database.write() as connection:
        connection.execute(sql("UPDATE subscriptions SET said = :said"), {"said": many})
    line.set("near", Status.CLOSED)
    assert line.push().closed_doors == 1
    line.send()
    assert "Hallen near, Testgatan 36, Farsta, är STÄNGD" in line.texts(MOBILE)[0]


def test_a_forged_call_changes_nothing_of_what_a_number_follows(line: Line) -> None:
    """Somebody calls in its name, hears the new answer and presses the key: the number still hears."""
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    forged = line.running.another_phone(MOBILE)
    forged.call()
    forged.keys("*")
    forged.keys("12347")
    forged.keys("4")
    assert line.rows("SELECT language, state, told FROM subscriptions") == [("sv", "active", "open near open 0")]
    line.send()
    assert any("Hallen near, Testgatan 36, Farsta, är STÄNGD" in text for text in line.texts(MOBILE))


def test_an_opening_that_waits_for_approval_does_not_hold_up_a_closed_door(connect: Callable[..., Line]) -> None:
    line = connect(approve_above=0)
    line.running.put(a_point("near", status=Status.CLOSED), a_point("far", lat=59.26))
    subscribe(line)
    line.set("near", Status.OPEN)
    assert line.push() == Pushed(changed=1, waiting=1)
    line.set("far", Status.CLOSED)
    assert line.push().closed_doors == 1
    assert line.send() == 1
    assert "Hallen far, Testgatan 36, Farsta, är STÄNGD" in line.texts(MOBILE)[0]
    assert "ÖPPEN nu:\nHallen near" in line.texts(MOBILE)[0]


def test_yes_to_an_answer_that_is_old_by_now_is_told_the_new_one(line: Line) -> None:
    line.set("near", Status.CLOSED)
    line.set("far", Status.CLOSED)
    line.push()
    assert "Svara JA för sms när en öppnar" in line.text(MOBILE, "12347")
    line.set("near", Status.OPEN)
    line.text(MOBILE, "JA")
    assert line.push() == Pushed(changed=1)


def test_start_and_a_place_says_how_it_is_now(line: Line) -> None:
    reply = line.text(MOBILE, "START 12347")
    assert "Klart. Du får sms" in reply
    assert "Trygghetspunkt ÖPPEN nu:\nHallen near" in reply
    assert "svara JA" not in reply
    assert line.push() == Pushed()
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)


def test_a_point_that_opened_as_announced_and_closed_as_announced_broke_no_promise(line: Line) -> None:
    line.running.put(
        a_point("near", opens=NOW + HOUR, closes=NOW + 2 * HOUR), a_point("far", lat=59.26, status=Status.CLOSED)
    )
    line.text(MOBILE, "12347")
    line.running.clock.pass_time(hours=2, minutes=2)
    assert line.push_now() == Pushed()


def test_a_full_point_that_closes_is_a_closed_door(connect: Callable[..., Line]) -> None:
    line = connect(approve_above=0)
    line.running.put(a_point("near", status=Status.FULL))
    subscribe(line)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=1)


def test_an_opening_that_was_rejected_or_stopped_does_not_come_back(connect: Callable[..., Line]) -> None:
    line, announcer, id = waiting(connect)
    announcer.reject(Operator("bo", Role.APPROVER, signed_in=True), id, line.running.clock.now)
    line.finish()
    assert (line.push_now(), line.send()) == (Pushed(), 0)
    line.set("far", Status.CLOSED)
    line.set("near", Status.CLOSED)
    assert line.push().closed_doors == 1


def test_who_has_left_a_place_hears_no_more_of_it_even_what_is_on_its_way(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    line.text(MOBILE, "STOPP 12347")
    assert line.send() == 0
    line.set("near", Status.OPEN)
    line.push()
    line.text(MOBILE, "12347")
    line.text(MOBILE, "STOPP 12347")
    line.set("near", Status.CLOSED)
    line.push()
    assert line.send() == 0


def test_yes_said_on_the_phone_agrees_to_nothing(line: Line) -> None:
    phone = line.running.another_phone(MOBILE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    phone.speak("ja")
    assert subscriptions(line) == [("text", "12347", "", "pending")]
    line.text(MOBILE, "STOPP")
    phone.call()
    phone.speak("start 12347")
    assert (subscriptions(line), line.rows("SELECT count(*) FROM suppressions")) == ([], [(1,)])


def test_no_to_what_somebody_asked_for_by_phone_drops_it(line: Line) -> None:
    phone = line.running.another_phone(MOBILE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    assert line.text(MOBILE, "NEJ").startswith("Då gör vi inget.")
    assert subscriptions(line) == []


# --- landlines --------------------------------------------------------------------------------------------------------


def landline(line: Line) -> None:
    phone = line.running.another_phone(LANDLINE)
    phone.call()
    phone.keys("12347")
    phone.keys("4")
    line.fake.phone(LANDLINE).behaves = Answers("1")
    line.send()


def test_a_landline_is_called_and_told_twice_with_a_key_to_stop(line: Line) -> None:
    landline(line)
    line.set("near", Status.CLOSED)
    line.fake.phone(LANDLINE).behaves = Answers()
    line.push()
    line.send()
    spoken = line.calls(LANDLINE)[1]
    assert spoken.count("Hallen near, Testgatan 36, Farsta är stängd.") == 2
    assert spoken.endswith("Tryck 9 om du inte vill bli uppringd mer.")


@pytest.mark.parametrize("away", [Busy(), NoAnswer()])
def test_a_busy_line_is_called_twice_more_with_what_is_true_then(line: Line, away: Busy | NoAnswer) -> None:
    landline(line)
    line.set("near", Status.CLOSED)
    line.fake.phone(LANDLINE).behaves = [Answers("1"), away, away, Answers()]
    line.push()
    assert line.send() == 1
    line.finish()
    line.running.clock.pass_time(minutes=6)
    assert line.send() == 1
    line.set("far", Status.CLOSED)
    line.running.clock.pass_time(minutes=6)
    assert line.send() == 1
    assert "Ingen trygghetspunkt är öppen" in line.calls(LANDLINE)[-1]
    assert line.send() == 0


def test_nobody_is_called_a_fourth_time(line: Line) -> None:
    landline(line)
    line.set("near", Status.CLOSED)
    line.fake.phone(LANDLINE).behaves = Busy()
    line.push()
    for _ in range(6):
        line.send()
        line.running.clock.pass_time(minutes=6)
    assert len(line.calls(LANDLINE)) == 4  # the one that confirmed, and three
    assert line.states() == {"delivered": 1, "failed": 1}


# --- approval ---------------------------------------------------------------------------------------------------------


def test_many_openings_wait_for_a_second_person_and_closed_doors_never_do(connect: Callable[..., Line]) -> None:
    line = connect(approve_above=1)
    line.running.put(a_point("near"), a_point("far", lat=59.26))
    for number in (MOBILE, OTHER):
        subscribe(line, number)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=2)
    assert line.send() == 2
    line.set("near", Status.OPEN)
    assert line.push() == Pushed(changed=2, waiting=2)
    assert line.send() == 0
    assert line.rows("SELECT state, operator FROM broadcasts WHERE priority = 3") == [("submitted", "shell:anna")]
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed()
    assert line.send() == 0


def waiting(connect: Callable[..., Line]) -> tuple[Line, Announcer, int]:
    """An opening that waits for a second person."""
    line = connect(approve_above=0)
    line.running.put(a_point("near", status=Status.CLOSED), a_point("far", lat=59.26))
    subscribe(line)
    line.set("near", Status.OPEN)
    assert line.push() == Pushed(changed=1, waiting=1)
    ((id,),) = line.rows("SELECT id FROM broadcasts WHERE state = 'submitted'")
    return line, line.service.announcer, id


def test_a_second_person_lets_the_openings_out(connect: Callable[..., Line]) -> None:
    line, announcer, id = waiting(connect)
    anna = Operator("anna", Role.APPROVER, signed_in=True)
    with pytest.raises(NotApproved, match="anna wrote it or changed it"):
        announcer.approve(anna, id, 1, line.running.clock.now)  # who opened it in a shell of hers
    announcer.approve(Operator("bo", Role.APPROVER, signed_in=True), id, 1, line.running.clock.now)
    assert line.send() == 1


def test_one_person_alone_lets_them_out_where_there_is_danger_to_life(connect: Callable[..., Line]) -> None:
    line, announcer, id = waiting(connect)
    with pytest.raises(ReasonMissing):
        announcer.hasten(shell("anna"), id, "bråttom", line.running.clock.now)
    announcer.hasten(shell("anna"), id, "Farstas värme är borta, minus 20", line.running.clock.now)
    assert line.send() == 1
    assert line.service.tracker.newest(shell("x"), 1)[0].reason == "Farstas värme är borta, minus 20"


def test_when_residents_were_told_is_noted_beside_the_change(line: Line) -> None:
    subscribe(line)
    line.set("near", Status.CLOSED)
    line.push()
    assert line.rows("SELECT told_at FROM audit WHERE subject = 'near'") == [(None,)]
    line.running.clock.pass_time(minutes=1)
    line.send()
    with line.running.database.read() as connection:
        (entry,) = audit_log(connection, "near")
    assert entry.told_at and f"{entry.told_at:%Y-%m-%d %H:%M:%S}" == "2026-11-24 13:22:01"


def test_a_place_that_is_gone_from_the_tables_is_logged_and_stops_nobody_else(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(line)
    with line.running.database.write() as connection:
        connection.exec_driver_sql("UPDATE subscriptions SET place = 'gone' WHERE id = 1")
    subscribe(line, OTHER)
    line.set("near", Status.CLOSED)
    assert line.push() == Pushed(closed_doors=2)  # the other, and the first one's answer of a moment ago
    assert "places that are no longer known: gone" in caplog.text


def test_news_is_told_in_the_language_of_the_subscription(line: Line) -> None:
    line.text(MOBILE, "english")
    line.text(MOBILE, "12347")
    assert line.text(MOBILE, "YES").startswith("Done.")
    line.set("near", Status.CLOSED)
    line.push()
    line.send()
    assert line.texts(MOBILE)[0].startswith("CHANGED 14.21, 12347:\nHallen near, Testgatan 36, Farsta, is CLOSED.")

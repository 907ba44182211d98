"""What an operator reads before saving is what residents then get: the same words, to as many."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from responder.actions.publish import Change, Foresight, Preview, set_point
from responder.core.access import shell
from responder.core.points import Point, Status
from tests import engines
from tests.conftest import NOW, ZONE, a_point
from tests.sending.conftest import MOBILE, OTHER, Line

ANNA = shell("anna")


def foresee(line: Line, id: str, change: Change) -> Preview:
    service, now = line.service, line.running.clock.now
    foresight = Foresight(service.database, service.messages, service.manner, service.settings)
    return foresight.preview(service.snapshot.read_if_changed(now), id, change, ANNA, now)


def put(line: Line, *points: Point) -> None:
    """Points of which everybody has heard."""
    line.running.put(*points)
    line.running.clock.pass_time(seconds=120)
    line.push()


def at_postcode(line: Line, **fields: object) -> Point:
    """A point exactly where the postcode 12347 is."""
    place = line.service.snapshot.read(NOW).gazetteer.by_code["12347"]
    return a_point("here", lat=place.lat, lon=place.lon, postcode="12347", **fields)


@pytest.mark.parametrize(
    "change",
    [
        Change(Status.OPEN, closes="20:00"), Change(Status.FULL), Change(Status.ON_CALL, phone="08-123 45 67"),
        Change(Status.CLOSED), Change(Status.MOVED, moved_to="Nya hallen, Nyvägen 2"), Change(Status.PLANNED),
        Change(Status.OPEN, opens="18:00"), Change(Status.OPEN, note="Ta med filt", services=("water", "beds")),
    ],
    ids=str,
)  # fmt: skip
def test_the_sentence_is_the_answer_to_who_stands_there(connect: Callable[..., Line], change: Change) -> None:
    line = connect()
    put(line, at_postcode(line, status=Status.OPEN), a_point("far", lat=59.30, lon=18.10))
    told = foresee(line, "here", change)
    assert told.texts["sv"] != line.text(MOBILE, "12347")  # nothing has happened yet
    set_point(line.service.database, "here", change, ANNA, ZONE, line.running.clock.now)
    assert told.texts["sv"] == line.text(MOBILE, "12347")
    line.text(OTHER, "English")
    assert told.texts["en"] == line.text(OTHER, "12347")


def test_the_news_are_what_is_sent_to_a_subscriber_there(connect: Callable[..., Line]) -> None:
    line = connect()
    put(line, at_postcode(line), a_point("far", lat=59.30, lon=18.10))
    line.text(MOBILE, "12347")
    line.text(MOBILE, "JA")
    line.push()
    told = foresee(line, "here", Change(Status.CLOSED))
    line.set("here", Status.CLOSED)
    line.push()
    line.send()
    minute = lambda text: text.partition(",")[2]  # noqa: E731 - the head says when it was sent
    assert [minute(text) for text in line.texts(MOBILE)] == [minute(told.news["sv"])]
    assert told.news["sv"].startswith("ÄNDRAT")


def test_a_change_that_changes_no_answer_has_no_news(connect: Callable[..., Line]) -> None:
    line = connect()
    put(line, at_postcode(line))
    line.text(MOBILE, "START 12347")
    line.push()
    told = foresee(line, "here", Change(Status.OPEN, note="Ta med filt"))
    assert (told.news, told.hear) == ({}, 0)


def test_the_counts_are_those_of_the_push(connect: Callable[..., Line]) -> None:
    """Whoever follows or has asked, in many places, and one change after another."""
    line = connect(approve_above=10_000)
    rnd = random.Random(7)
    places = ["12347", "12830", "12640", "16450", "11826", "Farsta", "Skarpnäck", "12331"]
    ids = [f"p{n}" for n in range(6)]
    put(line, *(a_point(id, lat=59.24 + n / 50, lon=18.0 + n / 40) for n, id in enumerate(ids)))
    for n in range(60):
        number = f"+4670174{n:04d}"
        line.text(number, rnd.choice(places))
        if n % 3:
            line.text(number, rnd.choice(["JA", f"START {rnd.choice(places)}", f"START vatten {rnd.choice(places)}"]))
        if n % 17 == 0:
            line.text(number, "STOPP")
    line.push()
    heard = 0
    changes = [Change(Status.CLOSED), Change(Status.FULL), Change(Status.OPEN), Change(Status.OPEN, closes="16:00")]
    changes += [Change(Status.ON_CALL, phone="08-123 45 67"), Change(Status.MOVED, moved_to="Nya hallen")]
    for _ in range(24):
        id, change = rnd.choice(ids), rnd.choice(changes)
        told = foresee(line, id, change)
        set_point(line.service.database, id, change, ANNA, ZONE, line.running.clock.now)
        pushed = line.push()
        assert pushed is not None
        assert (told.closed, told.changed) == (pushed.closed_doors, pushed.changed), (id, change)
        heard += told.hear
        line.send()
    assert heard > 50


def test_so_many_that_they_must_be_approved_is_said_before(connect: Callable[..., Line]) -> None:
    line = connect(approve_above=2)
    put(line, at_postcode(line, status=Status.CLOSED))
    for number in ("+46701740610", "+46701740611"):
        line.text(number, "START 12347")
    assert not foresee(line, "here", Change(Status.OPEN)).waits
    line.text("+46701740612", "START 12347")
    line.push()
    told = foresee(line, "here", Change(Status.OPEN))
    assert (told.changed, told.waits) == (3, True)
    line.set("here", Status.OPEN)
    pushed = line.push()
    assert pushed and pushed.waiting == 3


def test_a_preview_writes_nothing(connect: Callable[..., Line]) -> None:
    line = connect()
    put(line, at_postcode(line))
    line.text(MOBILE, "START 12347")
    with engines.peek(line.running.path) as looking:
        tables = looking.tables()
    before = {name: line.rows(f"SELECT * FROM {name}") for name in tables}
    assert foresee(line, "here", Change(Status.CLOSED)).closed == 1
    assert {name: line.rows(f"SELECT * FROM {name}") for name in tables} == before


def test_the_time_is_when_a_change_has_settled(connect: Callable[..., Line]) -> None:
    line = connect(push_settle_seconds=90)
    put(line, at_postcode(line))
    told = foresee(line, "here", Change(Status.CLOSED))
    assert told.sent_at == line.running.clock.now + timedelta(seconds=90)

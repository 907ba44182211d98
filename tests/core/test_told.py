"""What somebody was told: the key of an answer, whether it still holds, and all places at once."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from responder.core.answer import board
from responder.core.places import Gazetteer, Place, PlaceKind
from responder.core.points import SERVICES, Point, Status
from responder.core.told import News, Now, at, entries, key_of, keys, neutral, said_of
from tests.conftest import NOW, STALE, ZONE, a_place, a_point

HOUR = timedelta(hours=1)
SEVEN = NOW + 5 * HOUR  # 19.20
NEAR, FAR = a_point("near"), a_point("far", lat=59.26)


def standing(*points: Point, now: datetime = NOW) -> Now:
    return at(board(points, now, ZONE, STALE), now)


def told(*points: Point, now: datetime = NOW) -> str:
    return standing(*points, now=now).key(a_place(), "")


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def test_a_key_names_kind_first_point_its_state_and_until_when() -> None:
    assert told(NEAR, FAR) == "open near open 0"
    assert told(replace(NEAR, closes=SEVEN)) == f"open near open {seconds(SEVEN)}"
    assert told(replace(NEAR, status=Status.FULL), FAR) == "open far open 0"
    assert told(replace(NEAR, status=Status.FULL)) == "open near full 0"
    assert told(replace(NEAR, opens=SEVEN)) == f"opens_later near opens_at {seconds(SEVEN)}"
    assert told(replace(NEAR, status=Status.CLOSED)) == "none_open - - 0"
    assert told(replace(NEAR, status=Status.PLANNED)) == "not_activated - - 0"


@pytest.mark.parametrize(
    "same",
    [
        replace(NEAR, confirmed_at=NOW - 3 * HOUR), replace(NEAR, confirmed_at=None), replace(NEAR, hours="20:00-22:00"),
        replace(NEAR, hours="08:00-20:00"), replace(NEAR, note="Ring på"), replace(NEAR, services=("water",)),
    ],
)  # fmt: skip
def test_confirmation_hours_and_notes_make_no_other_answer(same: Point) -> None:
    """Regular daily hours and *obekräftad* push nothing."""
    assert told(same) == told(NEAR)


def test_a_door_about_to_close_is_still_open() -> None:
    closing = replace(NEAR, closes=NOW + HOUR / 2)
    assert told(closing) == f"open near open {seconds(NOW + HOUR / 2)}"


BROKEN = [
    ("open 0", replace(NEAR), False),
    ("open 0", replace(NEAR, status=Status.CLOSED), True),
    ("open 0", replace(NEAR, status=Status.FULL), True),
    ("open 0", replace(NEAR, status=Status.MOVED, moved_to="Provhuset"), True),
    ("open 0", replace(NEAR, status=Status.ON_CALL, phone="08-1"), True),
    ("open 0", replace(NEAR, status=Status.CANDIDATE), True),
    ("open 0", replace(NEAR, closes=SEVEN), True),
    (f"open {seconds(SEVEN)}", replace(NEAR, closes=SEVEN), False),
    (f"open {seconds(SEVEN)}", replace(NEAR, closes=SEVEN - HOUR), True),
    (f"open {seconds(SEVEN)}", replace(NEAR, closes=SEVEN + HOUR), False),
    (f"open {seconds(NOW - HOUR)}", replace(NEAR, status=Status.CLOSED), False),
    ("by_phone 0", replace(NEAR, status=Status.CLOSED), True),
    ("by_phone 0", NEAR, False),
    ("full 0", replace(NEAR, status=Status.CLOSED), False),
    (f"opens_at {seconds(SEVEN)}", replace(NEAR, opens=SEVEN), False),
    (f"opens_at {seconds(SEVEN)}", NEAR, False),
    (f"opens_at {seconds(SEVEN)}", replace(NEAR, opens=SEVEN + HOUR), True),
    (f"opens_at {seconds(SEVEN)}", replace(NEAR, status=Status.CLOSED), True),
]


@pytest.mark.parametrize(("was", "point", "broken"), BROKEN, ids=range(len(BROKEN)))
def test_whoever_was_told_that_a_door_is_open_must_know_when_it_is_not(was: str, point: Point, broken: bool) -> None:
    assert standing(point).any_broken(f";far open 0;near {was}") is True  # `far` is not there at all
    assert standing(point, FAR).any_broken(f";far open 0;near {was}") is broken


def test_a_point_that_is_gone_is_a_closed_door() -> None:
    assert standing(FAR).any_broken(";near open 0")


NEWS = [
    ((NEAR, FAR), (NEAR, FAR), News.NONE),
    ((NEAR, FAR), (replace(NEAR, status=Status.CLOSED), FAR), News.CLOSED_DOOR),
    ((NEAR, FAR), (replace(NEAR, status=Status.FULL), FAR), News.CLOSED_DOOR),
    ((NEAR,), (replace(NEAR, closes=SEVEN),), News.CLOSED_DOOR),
    ((replace(NEAR, closes=SEVEN),), (replace(NEAR, closes=SEVEN + HOUR),), News.CHANGED),
    ((FAR,), (NEAR, FAR), News.CHANGED),
    ((replace(NEAR, status=Status.CLOSED),), (NEAR,), News.CHANGED),
    ((replace(NEAR, opens=SEVEN),), (NEAR,), News.CHANGED),
    ((replace(NEAR, opens=SEVEN),), (replace(NEAR, status=Status.CLOSED),), News.CLOSED_DOOR),
]


@pytest.mark.parametrize(("before", "after", "news"), NEWS, ids=range(len(NEWS)))
def test_what_a_change_means(before: tuple[Point, ...], after: tuple[Point, ...], news: News) -> None:
    assert standing(*after).news(told(*before), told(*after)) is news


def test_a_door_that_closes_when_it_was_said_to_is_no_news() -> None:
    closing = replace(NEAR, closes=SEVEN)
    later = SEVEN + HOUR / 60
    assert standing(closing, FAR, now=later).news(told(closing, FAR), told(closing, FAR, now=later)) is News.LAPSED
    closed = replace(NEAR, status=Status.CLOSED)
    assert standing(closed, FAR, now=later).news(told(closing, FAR), told(closed, FAR, now=later)) is News.LAPSED
    longer = replace(NEAR, closes=SEVEN + 3 * HOUR)
    assert standing(longer, FAR, now=later).news(told(closing, FAR), told(longer, FAR, now=later)) is News.CHANGED


def test_what_was_said_lists_every_point_as_it_really_stood() -> None:
    real = board([replace(NEAR, hours="08:00-20:00"), a_point("beside", lon=18.0901)], NOW, ZONE, STALE)
    said = said_of(real.answer(a_place()))
    assert {entry.point for entry in entries(said)} == {"near", "beside"}
    assert [entry.until for entry in entries(said) if entry.point == "near"] == [
        seconds(NOW + timedelta(hours=5, minutes=40))
    ]


def random_points(draw: random.Random, gazetteer: Gazetteer, count: int) -> list[Point]:
    homes = draw.sample([p for p in gazetteer.places if p.municipality], count)
    return [
        Point(
            f"p{n}", f"Hall {draw.randrange(count)}", home.lat, home.lon, draw.choice(list(Status)),
            municipality=home.municipality, district=home.district, coordinate_accuracy=draw.choice([10, 100, 1000]),
            services=tuple(draw.sample(SERVICES, draw.randrange(5))), phone="08-1", moved_to="Annanstans",
            opens=draw.choice([None, None, NOW - HOUR, NOW + HOUR]), closes=draw.choice([None, NOW + 3 * HOUR, NOW - HOUR]),
            hours=draw.choice(["", "08:00-20:00", "20:00-22:00"]), confirmed_at=draw.choice([None, NOW, NOW - 2 * STALE]),
        )
        for n, home in enumerate(homes)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_all_places_at_once_have_the_keys_they_have_one_by_one(stockholm: Gazetteer, seed: int) -> None:
    draw = random.Random(seed)
    points = random_points(draw, stockholm, draw.choice([0, 1, 5, 40, 150]) if seed else 60)
    here = board(neutral(points), NOW, ZONE, STALE)
    every = list(stockholm.by_code.values())
    kinds = [place for place in every if place.kind in (PlaceKind.AREA, PlaceKind.MUNICIPALITY)]
    asked: list[tuple[Place, str]] = [
        (place, draw.choice(["", "", "water", "phone_charging", "shower"]))
        for place in [*kinds, *draw.sample(every, 700)]
    ]
    one_by_one = [key_of(here.answer(place, service)) for place, service in asked]
    assert keys(here, asked) == one_by_one

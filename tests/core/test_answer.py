"""Which points somebody is told, and in which order."""

from datetime import datetime, timedelta
from random import Random

import pytest

from responder.core.answer import Answer, AnswerKind, answer, board
from responder.core.places import PlaceKind
from responder.core.points import Point, Status
from tests.conftest import NOW, STALE, ZONE, a_place, a_point


def asked(*points: Point, service: str = "", skip: int = 0, **place: object) -> Answer:
    return answer(board(points, NOW, ZONE, STALE), a_place(**place), service, skip)  # type: ignore[arg-type]


def north(km: float, id: str, **fields: object) -> Point:
    """A point so many kilometres north of 12347."""
    return a_point(id, lat=59.2425 + km / 111.195, lon=18.0846, **fields)


def ids(found: Answer) -> list[str]:
    return [offer.point.id for offer in found.offers]


def test_the_nearest_open_point_is_told_alone() -> None:
    assert ids(asked(north(2, "b"), north(1, "a"), north(3, "c"))) == ["a"]


def test_two_points_within_the_margin_are_both_told_as_near() -> None:
    sharp = asked(north(1, "a"), north(1.3, "b"), accuracy=100)
    blurred = asked(north(1, "a"), north(1.3, "b"), accuracy=600)
    assert (ids(sharp), sharp.both_near) == (["a"], False)
    assert (ids(blurred), blurred.both_near) == (["a", "b"], True)


@pytest.mark.parametrize("status", [Status.CLOSED, Status.PLANNED, Status.CANDIDATE, Status.MOVED])
def test_nobody_is_sent_to_a_door_that_is_not_open(status: Status) -> None:
    assert ids(asked(north(0.1, "shut", status=status), north(2, "open"))) == ["open"]


def test_a_point_that_opens_later_is_not_open_now() -> None:
    later = north(0.1, "later", opens=NOW + timedelta(hours=1))
    assert ids(asked(later, north(2, "open"))) == ["open"]
    found = asked(later)
    assert (found.kind, ids(found)) == (AnswerKind.OPENS_LATER, ["later"])


def test_a_full_point_comes_after_a_free_one_and_is_named() -> None:
    found = asked(north(0.5, "full", status=Status.FULL), north(2, "free"))
    assert (ids(found), found.full and found.full.point.id) == (["free"], "full")


def test_when_the_first_is_by_phone_a_second_is_told() -> None:
    found = asked(
        north(1, "call", status=Status.ON_CALL, phone="08-1"), north(2, "full", status=Status.FULL), north(3, "x")
    )
    assert ids(found) == ["call", "x"]


def test_a_full_point_that_is_told_is_not_named_again() -> None:
    call = north(2, "call", status=Status.ON_CALL, phone="08-1")
    found = asked(north(1, "full", status=Status.FULL), call)
    assert (ids(found), found.full) == (["call", "full"], None)


def test_when_all_are_full_two_are_told() -> None:
    assert ids(asked(*(north(n, f"f{n}", status=Status.FULL) for n in (1, 2, 3)))) == ["f1", "f2"]


def test_an_unconfirmed_point_is_told_with_one_that_is_confirmed() -> None:
    found = asked(north(1, "old", confirmed_at=NOW - 2 * STALE), north(2, "new"))
    assert ids(found) == ["old", "new"]


def test_more_goes_on_after_what_was_told_and_skips_nobody() -> None:
    points = [
        north(1, "call", status=Status.ON_CALL, phone="08-1"), north(2, "p2", status=Status.ON_CALL, phone="08-2"),
        north(3, "open"), north(4, "d"), north(5, "full", status=Status.FULL),
    ]  # fmt: skip
    told = ids(asked(*points))
    while len(told) < 5:
        more = asked(*points, skip=len(told))
        assert 1 <= len(more.offers) <= 2
        assert more.left == 5 - len(told) - len(more.offers)
        told += ids(more)
    assert told == ["call", "open", "p2", "d", "full"]
    assert asked(*points, skip=5).offers == ()


def test_a_service_filters_and_a_much_closer_point_without_it_is_named() -> None:
    near, far = north(0.5, "near", services=("information",)), north(4, "far", services=("first_aid",))
    found = asked(near, far, service="first_aid")
    assert (ids(found), found.service_found, found.closer and found.closer.point.id) == (["far"], True, "near")


def test_a_service_nobody_has_falls_back_to_the_nearest_and_says_so() -> None:
    found = asked(north(1, "a"), service="shower")
    assert (ids(found), found.service_found) == (["a"], False)


def test_a_moved_point_nearby_is_told_but_never_as_open() -> None:
    found = asked(north(0.5, "old", status=Status.MOVED, moved_to="Ny gata 1"), north(2, "open"))
    assert (ids(found), found.moved and found.moved.point.id) == (["open"], "old")


def test_a_hidden_point_has_no_distance() -> None:
    assert asked(north(1, "h", hidden=True)).offers[0].metres is None


def test_an_area_lists_its_open_points_without_distances() -> None:
    found = asked(
        north(1, "in"), north(0.1, "out", district="Skarpnäck"), north(2, "in2"), kind=PlaceKind.AREA, name="Farsta"
    )
    assert ids(found) == ["in", "in2"]
    assert found.in_area
    assert all(offer.metres is None for offer in found.offers)


def test_an_area_without_an_open_point_gets_the_nearest_elsewhere() -> None:
    found = asked(north(3, "out", district="Skarpnäck"), kind=PlaceKind.AREA, name="Farsta")
    assert (ids(found), found.in_area) == (["out"], False)


def test_only_planned_points_means_not_activated() -> None:
    found = asked(north(1, "p", status=Status.PLANNED), north(0.5, "c", status=Status.CANDIDATE))
    assert (found.kind, found.planned and found.planned.point.id) == (AnswerKind.NOT_ACTIVATED, "p")


def test_closed_points_mean_that_none_is_open() -> None:
    assert asked(north(1, "x", status=Status.CLOSED), north(2, "p", status=Status.PLANNED)).kind is AnswerKind.NONE_OPEN


def test_a_municipality_that_reports_no_points_is_told_so_with_the_nearest_beside() -> None:
    near = asked(north(2, "a"), municipality="Nacka", district="")
    far = asked(north(30, "a"), municipality="Nacka", district="")
    assert (near.kind, ids(near)) == (AnswerKind.NO_POINTS, ["a"])
    assert (far.kind, ids(far)) == (AnswerKind.NO_POINTS, [])


def test_a_board_is_made_anew_when_something_on_it_changes() -> None:
    points = [a_point(closes=NOW + timedelta(hours=2))]
    now = board(points, NOW, ZONE, STALE)
    assert now.at(NOW + timedelta(minutes=59)) is now
    soon = now.at(NOW + timedelta(minutes=60))
    assert soon.standings[0].kind.value == "closes_soon"
    assert soon.at(NOW + timedelta(hours=2)).standings[0].kind.value == "closed"


def test_a_board_made_of_the_last_one_is_the_board_made_anew() -> None:
    draw = Random(1)

    def some(id: int) -> Point:
        def moment() -> datetime | None:
            return draw.choice([None, NOW + timedelta(minutes=draw.randrange(-300, 600))])

        return a_point(
            str(id), name=draw.choice("ABC"), status=draw.choice(list(Status)), opens=moment(), closes=moment(),
            hours=draw.choice(["", "08:00-20:00", "Mo-Fr 10:00-14:00"]), confirmed_at=moment(), lat=59 + draw.random(),
        )  # fmt: skip

    points = [some(id) for id in range(40)]
    carried, now = board(points, NOW, ZONE, STALE), NOW
    for _ in range(60):
        now += timedelta(minutes=draw.randrange(-20, 60))  # a clock that is put back, too
        if draw.random() < 0.5:
            chosen = draw.randrange(len(points))
            points = [*points[:chosen], some(chosen), *points[chosen + 1 :]]
            carried = board(points, now, ZONE, STALE, carried)
        else:
            carried = carried.at(now)
        anew = board(points, now, ZONE, STALE)
        shown = [(s.kind, s.until, s.opens, s.unconfirmed) for s in carried.standings]
        assert shown == [(s.kind, s.until, s.opens, s.unconfirmed) for s in anew.standings]
        assert carried.good_until == anew.good_until
        for place in (a_place(lat=59 + draw.random(), kind=draw.choice(list(PlaceKind))) for _ in range(5)):
            service, skip = draw.choice(["", "water", "beds"]), draw.randrange(3)
            assert ids(carried.answer(place, service, skip)) == ids(answer(anew, place, service, skip))


def test_an_earlier_board_of_another_zone_or_patience_lends_nothing() -> None:
    point = a_point(hours="08:00-20:00", confirmed_at=NOW - timedelta(hours=1))
    before = board([point], NOW, ZONE, STALE)
    tokyo = board([point], NOW, "Asia/Tokyo", STALE)
    assert board([point], NOW, "Asia/Tokyo", STALE, before).standings == tokyo.standings != before.standings
    assert board([point], NOW, ZONE, timedelta(minutes=30), before).standings[0].unconfirmed

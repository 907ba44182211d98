"""The truth table of ARCHITECTURE.md: status x opens/closes x hours x now gives what a point is for a resident."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from responder.core.points import Kind, Status, parsed_hours, standing
from tests.conftest import NOW, STALE, ZONE, a_point

H = timedelta(hours=1)
SHUT = "Mo-Su 20:00-22:00"  # the door is shut at 14.20
OPEN = "Mo-Su 08:00-20:00"


def told(now: datetime = NOW, **fields: object) -> tuple[Kind, datetime | None, datetime | None]:
    found = standing(a_point(**fields), now, ZONE, STALE)
    return found.kind, found.until, found.opens


def local(hour: int, minute: int = 0, day: int = 24) -> datetime:
    return datetime(2026, 11, day, hour - 1, minute, tzinfo=UTC)


CELLS = [
    # status, opens, closes, hours -> kind, until, opens
    ("open, nothing announced", Status.OPEN, None, None, "", Kind.OPEN, None, None),
    ("open until closes", Status.OPEN, None, NOW + 5 * H, "", Kind.OPEN, NOW + 5 * H, None),
    ("open, closes within the hour", Status.OPEN, None, NOW + H / 2, "", Kind.CLOSES_SOON, NOW + H / 2, None),
    ("open, closes in exactly an hour", Status.OPEN, None, NOW + H, "", Kind.CLOSES_SOON, NOW + H, None),
    ("open, closes now", Status.OPEN, None, NOW, "", Kind.CLOSED, None, None),
    ("open, closed already", Status.OPEN, None, NOW - H, "", Kind.CLOSED, None, None),
    ("open, opens later", Status.OPEN, NOW + H, None, "", Kind.OPENS_AT, None, NOW + H),
    ("open, opens now", Status.OPEN, NOW, None, "", Kind.OPEN, None, None),
    ("open, opened already", Status.OPEN, NOW - H, None, "", Kind.OPEN, None, None),
    ("open, opens and closes later", Status.OPEN, NOW + H, NOW + 3 * H, "", Kind.OPENS_AT, NOW + 3 * H, NOW + H),
    ("open, door open by its hours", Status.OPEN, None, None, OPEN, Kind.OPEN, local(20), None),
    ("open, door shut by its hours", Status.OPEN, None, None, SHUT, Kind.OPENS_AT, local(22), local(20)),
    ("open, closes before the door would open", Status.OPEN, None, NOW + H, SHUT, Kind.CLOSED, None, None),
    ("open, closes before the door shuts", Status.OPEN, None, NOW + 2 * H, OPEN, Kind.OPEN, NOW + 2 * H, None),
    ("open, opens when the door is shut", Status.OPEN, NOW + H, None, SHUT, Kind.OPENS_AT, local(22), local(20)),
    ("open, the door never opens", Status.OPEN, None, None, "off", Kind.CLOSED, None, None),
    ("full", Status.FULL, None, None, "", Kind.FULL, None, None),
    ("full until closes", Status.FULL, None, NOW + H / 2, "", Kind.FULL, NOW + H / 2, None),
    ("full, closed already", Status.FULL, None, NOW - H, "", Kind.CLOSED, None, None),
    ("full, door shut", Status.FULL, None, None, SHUT, Kind.OPENS_AT, local(22), local(20)),
    ("on call", Status.ON_CALL, None, None, "", Kind.BY_PHONE, None, None),
    ("on call within its hours", Status.ON_CALL, None, None, OPEN, Kind.BY_PHONE, local(20), None),
    ("on call outside its hours", Status.ON_CALL, None, None, SHUT, Kind.OPENS_AT, local(22), local(20)),
    ("on call, closed already", Status.ON_CALL, None, NOW - H, "", Kind.CLOSED, None, None),
    ("on call, opens later", Status.ON_CALL, NOW + H, None, "", Kind.OPENS_AT, None, NOW + H),
    ("closed", Status.CLOSED, None, None, "", Kind.CLOSED, None, None),
    ("closed, whatever was announced", Status.CLOSED, NOW - H, NOW + H, OPEN, Kind.CLOSED, None, None),
    ("moved", Status.MOVED, None, None, "", Kind.MOVED, None, None),
    ("moved, whatever was announced", Status.MOVED, NOW - H, NOW + H, OPEN, Kind.MOVED, None, None),
    ("planned", Status.PLANNED, None, None, "", Kind.PLANNED, None, None),
    ("planned, whatever was announced", Status.PLANNED, NOW - H, NOW + H, OPEN, Kind.PLANNED, None, None),
    ("candidate", Status.CANDIDATE, None, None, "", Kind.UNTOLD, None, None),
    ("candidate, whatever was announced", Status.CANDIDATE, NOW - H, NOW + H, OPEN, Kind.UNTOLD, None, None),
    ("rejected", Status.REJECTED, None, None, "", Kind.UNTOLD, None, None),
]


@pytest.mark.parametrize(
    ("status", "opens", "closes", "hours", "kind", "until", "opening"),
    [cell[1:] for cell in CELLS],
    ids=[cell[0] for cell in CELLS],
)
def test_the_truth_table(
    status: Status,
    opens: datetime | None,
    closes: datetime | None,
    hours: str,
    kind: Kind,
    until: datetime | None,
    opening: datetime | None,
) -> None:
    assert told(status=status, opens=opens, closes=closes, hours=hours) == (kind, until, opening)


def test_the_table_in_the_documentation_is_this_one() -> None:
    said = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    doors = {"": "-", SHUT: "20-22", OPEN: "8-20", "off": "never"}

    def clock(at: datetime | None) -> str:
        return f"{at.astimezone(ZoneInfo(ZONE)):%H.%M}" if at else "-"

    for _, status, opens, closes, hours, kind, until, opening in CELLS:
        cells = (status, clock(opens), clock(closes), doors[hours], kind, clock(until), clock(opening))
        assert f"| {' | '.join(cells)} |" in said


@pytest.mark.parametrize(
    ("confirmed_at", "unconfirmed"),
    [(None, True), (NOW, False), (NOW - STALE + H, False), (NOW - STALE, True), (NOW - 3 * STALE, True)],
    ids=["never", "now", "just within", "exactly stale", "long ago"],
)
@pytest.mark.parametrize("status", Status)
def test_an_old_confirmation_makes_any_point_unconfirmed(
    status: Status, confirmed_at: datetime | None, unconfirmed: bool
) -> None:
    assert standing(a_point(status=status, confirmed_at=confirmed_at), NOW, ZONE, STALE).unconfirmed is unconfirmed


def test_a_point_by_phone_says_so_also_before_it_opens() -> None:
    assert standing(a_point(status=Status.ON_CALL, opens=NOW + H), NOW, ZONE, STALE).call_first


def test_public_holidays_are_swedish() -> None:
    christmas = datetime(2026, 12, 25, 12, tzinfo=UTC)
    assert told(christmas, hours="Mo-Su 08:00-20:00; PH off")[0] is Kind.OPENS_AT


def test_hours_follow_the_clock_on_the_wall_over_the_change_to_winter_time() -> None:
    night = datetime(2026, 10, 24, 20, tzinfo=UTC)  # the clocks go back at 03 that night
    kind, _, opens = told(night, hours="Mo-Su 08:00-20:00", confirmed_at=night)
    assert (kind, opens) == (Kind.OPENS_AT, datetime(2026, 10, 25, 7, tzinfo=UTC))


@pytest.mark.parametrize("hours", ["Mo-Fr 9-18", "hela dagen", "25:00-26:00x"])
def test_hours_that_are_no_opening_hours_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="opening hours"):
        parsed_hours(hours, ZONE)


@pytest.mark.parametrize("cell", CELLS, ids=[cell[0] for cell in CELLS])
def test_a_standing_holds_until_the_moment_it_names(cell: tuple[object, ...]) -> None:
    """A board is kept until `changes_at`: nothing may change before, minute by minute over half a day."""
    _, status, opens, closes, hours, *_ = cell
    point = a_point(status=status, opens=opens, closes=closes, hours=hours)
    at = NOW
    for _ in range(6):
        now = standing(point, at, ZONE, STALE)
        if now.changes_at is None or now.changes_at > NOW + 14 * H:
            break
        assert now.changes_at > at
        minute = at
        while (minute := minute + timedelta(minutes=7)) < now.changes_at:
            later = standing(point, minute, ZONE, STALE)
            assert (later.kind, later.until, later.unconfirmed) == (now.kind, now.until, now.unconfirmed)
        at = now.changes_at

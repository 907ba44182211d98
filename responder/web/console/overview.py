"""How everything stands, on one page: whether the service is alive, which points are open, and what waits for people.

Its figures and its map are fetched anew every few seconds, each as a part of its own: who has a mark of the map in
focus still sees the figures move.
"""

from collections import defaultdict
from dataclasses import dataclass

from flask import Blueprint, render_template, request

from responder.actions import steer, watch
from responder.actions.watch import Shown
from responder.core.access import Operator, Permission
from responder.core.points import Kind
from responder.core.problem import Phrase
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.language import clock, gettext, moment
from responder.web.console.map import draw
from responder.wiring import rates

MOST_STALE = MOST_SENDING = 10  # rows of unconfirmed points, and of broadcasts, before "and 40 more"
MOST_NAMED = 60  # points on the page by name: beyond that only those of one's own districts
LEGEND = (Kind.OPEN, Kind.CLOSES_SOON, Kind.FULL, Kind.BY_PHONE, Kind.OPENS_AT, Kind.CLOSED, Kind.MOVED, Kind.PLANNED)


@dataclass(frozen=True, slots=True)
class Titles:
    """What a mark of the map says to whoever points at it or cannot see it."""

    desk: Desk

    def __call__(self, shown: Shown) -> str:
        """Name, what it is now, and until when."""
        zone, now = self.desk.service.settings.timezone, self.desk.now
        said: list[object] = [gettext(shown.standing.kind.value)]
        if shown.standing.opens:
            said.append(Phrase("from {time}", time=moment(shown.standing.opens, now, zone)))
        elif shown.standing.until:
            said.append(Phrase("until {time}", time=moment(shown.standing.until, now, zone)))
        if shown.stale:
            said.append(Phrase("unconfirmed"))
        parts = [one.told(gettext) if isinstance(one, Phrase) else str(one) for one in said]
        return f"{shown.point.name}: {', '.join(parts)}"


def named(points: tuple[Shown, ...], operator: Operator) -> dict[str, list[Shown]]:
    """The points that stand on the overview by name, one tap away, by district: all if few, else the operator's own."""
    found: dict[str, list[Shown]] = defaultdict(list)
    for shown in points:
        if len(points) <= MOST_NAMED or shown.point.district in operator.districts:
            found[shown.point.district].append(shown)
    return {district: rows for district, rows in found.items() if len(rows) <= MOST_NAMED}


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    service = desk.service
    database, zone, stale_after = service.database, service.settings.timezone, service.manner.stale_after

    def figures() -> dict[str, object]:
        seen = watch.watch(database, desk.operator, zone, stale_after, desk.now)
        ways = steer.glance(database, desk.operator, rates(service.settings), desk.now)
        most = {"ways": ways, "most_stale": MOST_STALE, "most_sending": MOST_SENDING}
        return {"seen": seen, "latest": clock(desk.now, zone), "named": named(seen.points, desk.operator), **most}

    def chosen() -> str:
        return request.args.get("district", "")

    def map_of(points: tuple[Shown, ...]) -> dict[str, object]:
        district, known = chosen(), service.snapshot.read_if_changed(desk.now).gazetteer
        within = [shown for shown in points if not district or shown.point.district == district]
        return {
            "map": draw(within, known, district), "district": district, "legend": LEGEND, "title_of": Titles(desk),
            "districts": sorted({shown.point.district for shown in points if shown.point.district} | known.districts),
        }  # fmt: skip

    @console.get("/overview")
    @access(Permission.VIEW)
    def overview() -> str:
        seen = figures()
        return render_template("overview.html", **{**map_of(seen["seen"].points), **seen})  # type: ignore[attr-defined]

    @console.get("/overview/part")
    @access(Permission.VIEW, polls=True)
    def overview_part() -> str:
        return render_template("_overview_part.html", **figures())

    @console.get("/overview/map")
    @access(Permission.VIEW, polls=True)
    def overview_map() -> str:
        points = watch.points(database, zone, stale_after, desk.now)
        return render_template("_map.html", **map_of(points))

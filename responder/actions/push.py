"""Find out whose answer has changed, and queue what they hear: once, after a change has settled.

Everything is looked at anew from what stands in the database, so that a push can be run at any time and as often as
one likes: it finds only what nobody has been told yet.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from responder.core.answer import board
from responder.core.broadcast import Priority, State, Template, waits
from responder.core.places import Gazetteer
from responder.core.points import Point
from responder.core.told import News, Now, at, keys, opener
from responder.store import pushes
from responder.store.broadcasts import recent_recipients
from responder.store.engine import Database
from responder.store.queries import point_from_json
from responder.store.schedule import PUSH, done, due
from responder.store.snapshot import View

log = logging.getLogger("responder.push")

SUBSCRIBERS = timedelta(hours=24)  # for which the points that a subscriber was sent to are followed up, at least
RECENT = timedelta(hours=1)  # for which an operator's openings and free texts are added up


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a change settles (seconds), for how long an answer is followed up (hours), and what must be approved."""

    settle: float
    follow_up: float
    approve_above: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many answers lapsed, were overtaken before they were sent, and are now queued."""

    lapsed: int = 0
    superseded: int = 0
    closed_doors: int = 0
    changed: int = 0
    waiting: int = 0  # of the changed ones: until a second person has approved


def push_due(database: Database, view: View, rules: Rules, now: datetime) -> Pushed | None:
    """Run the pushes that are due, as one; None if there was none. Raises StoreAway."""
    with database.read() as connection:
        jobs = [(job, moment) for job, moment in due(connection, now.timestamp() - rules.settle) if job == PUSH]
    return push(database, view, rules, now, jobs) if jobs else None


def push(
    database: Database, view: View, rules: Rules, now: datetime, jobs: list[tuple[str, float]] | None = None
) -> Pushed:
    """Compare what everybody was told with what they would be told now, and queue the difference. Raises StoreAway."""
    stamp, settled_by = now.timestamp(), now.timestamp() - rules.settle
    since = stamp - rules.follow_up * 3600
    subscribed_since = min(since, (now - SUBSCRIBERS).timestamp())
    with database.read() as connection:
        changing = pushes.changes_since(connection, settled_by, stamp)
        in_use = pushes.answers_in_use(connection)
        said = pushes.said_lately(connection, since, subscribed_since)
    standing = _settled(view, changing, now)
    broken = [places for places in said if standing.any_broken(places)]
    news = _news(standing, in_use, view.gazetteer)
    with database.write() as connection:
        who = pushes.last_changed_by(connection, {row["about"] for row in news})
        rows = [{**row, "operator": who.get(row["about"], "")} for row in news]
        pushes.load_news(connection, rows, broken)
        superseded = pushes.supersede(connection, stamp)
        closed = pushes.add_push(connection, Priority.CLOSED_DOOR, State.SENDING, "", stamp, stamp)
        operators = sorted({row["operator"] for row in rows if row["news"] == News.CHANGED})
        doors = pushes.queue_closed(connection, closed, since, subscribed_since, stamp)
        pushes.set_recipients(connection, closed, doors, State.SENDING)
        changed = waiting = 0
        for name in operators:
            id = pushes.add_push(connection, Priority.STATUS, State.SENDING, name, stamp, stamp)
            count = pushes.queue_changed(connection, id, name, stamp)
            recent = recent_recipients(connection, name, (now - RECENT).timestamp(), id)
            held = waits(Template.FREE, count, recent, rules.approve_above, free=True)
            pushes.set_recipients(connection, id, count, State.SUBMITTED if held else State.SENDING)
            changed, waiting = changed + count, waiting + count * held
        # deliveries, then subscriptions, then turns, as a STOPP goes: nobody waits for one who waits for them
        lapsed = pushes.lapse(connection)
        pushes.carry_over(connection, stamp)
        pushes.clear_asked(connection, since)
        pushes.taken_in(connection, stamp, settled_by)
        done(connection, jobs or (), stamp)
    pushed = Pushed(lapsed, superseded, doors, changed, waiting)
    log.info("push: %s", pushed)
    return pushed


def _settled(view: View, changing: Mapping[str, str], now: datetime) -> Now:
    """How the points stood before the changes that may still flap back."""
    real = view.board.at(now)
    if not changing:
        return at(real, now)
    points = [point for point in (_before(p, changing) for p in real.points) if point]
    return at(board(points, now, real.zone, real.stale_after), now)


def _before(point: Point, changing: Mapping[str, str]) -> Point | None:
    if point.id not in changing:
        return point
    if not changing[point.id]:
        return None
    return replace(point_from_json(changing[point.id]), municipality=point.municipality, district=point.district)


def _news(now: Now, in_use: list[tuple[str, str, str]], known: Gazetteer) -> list[dict[str, str]]:
    """A row for each (place, service, told) whose answer is another now; `about`: the point it is due to."""
    asked = sorted({(place, service) for place, service, _ in in_use if place in known.by_code})
    found = keys(now.neutral, [(known.by_code[place], service) for place, service in asked])
    current = dict(zip(asked, found, strict=True))
    lost = {place for place, _, _ in in_use} - set(known.by_code)
    if lost:
        log.error("subscriptions to %d places that are no longer known: %s", len(lost), ", ".join(sorted(lost)[:5]))
    rows = []
    for place, service, told in in_use:
        key = current.get((place, service))
        news = now.news(told, key) if key else News.NONE
        if key and news is not News.NONE:
            about = opener(key) or opener(told)
            rows.append(
                {"place": place, "service": service, "told": told, "current": key, "news": news, "about": about}
            )
    return rows

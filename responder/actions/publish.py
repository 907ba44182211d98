"""Change what a point is: one transaction with who did it, by whose decision, and what it was before.

While an exercise goes on, points are changed in the exercise alone: what they really are stays, and nobody hears of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.answer import Board, board
from responder.core.broadcast import Template, waits
from responder.core.estimate import exercise_text
from responder.core.message import Messages
from responder.core.places import Gazetteer, Place, PlaceKind
from responder.core.points import ACTIVATED, PROPOSED, SERVICES, Point, Standing, Status, YesNo, standing
from responder.core.pointsfile import LONGEST, check_point, moment, people
from responder.core.problem import Fault, Meanwhile, Phrase, Problem, listed
from responder.core.reply import Manner, Voiceover
from responder.core.told import News, Now, at, keys, said_of
from responder.core.words import clean
from responder.settings import Settings
from responder.store import exercises, pushes, watching
from responder.store.broadcasts import recent_recipients
from responder.store.engine import Database
from responder.store.exercises import Exercise
from responder.store.queries import Clash, add_audit, save_points
from responder.store.snapshot import View

SUBSCRIBERS = timedelta(hours=24)  # as in a push: for which the points that a subscriber was sent to are followed up
RECENT = timedelta(hours=1)  # for which an operator's openings and free texts are added up
LANGUAGES = ("sv", "en")  # in which a change is shown before it is made
NOTES = ("capacity", "visitors", "staffing", "supplies")  # what operators tell each other, and residents never hear
_ANSWERS = ("step_free", "pets", "overnight", "backup_power")
_CLOCK = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")


class ChangeRefused(Problem):
    """A change that would make a point misleading; `faults` say which field and why. Nothing was changed."""

    def __init__(self, why: str | Phrase | Sequence[Fault], /, **values: object) -> None:
        self.faults: tuple[Fault, ...] = ()
        if not isinstance(why, str | Phrase):
            self.faults = tuple(why)
            why = listed(self.faults)
        super().__init__(why, **values)


class Overtaken(ChangeRefused, Meanwhile):
    """Somebody has changed the point since it was looked at: `who` ("" if nobody knows) at `at`, to what it is now.

    `begun_or_ended`: an exercise has, so that another point was looked at than would be changed.
    """

    def __init__(self, point: Point, version: int, seen: int, who: str, at: datetime | None, zone: str) -> None:
        self.point, self.version, self.who, self.at = point, version, who, at
        self.begun_or_ended = seen > 0 and version // exercises.VERSIONS != seen // exercises.VERSIONS
        why = Phrase(
            "{id} was changed meanwhile by {who}: it is {now}. You saw version {seen}, it is now version {version}; "
            "look at it and say again what it is to be",
            id=point.id,
            who=Phrase("{who} at {time}", who=who, time=_clock(at, zone)) if at else Phrase("somebody"),
            now=_now(point, zone),
            seen=seen,
            version=version,
        )
        if self.begun_or_ended:
            why = Phrase(
                "an exercise has begun or ended since you looked at {id}: it is {now}; look at it and say again what "
                "it is to be",
                id=point.id,
                now=_now(point, zone),
            )
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Notes:
    """What operators tell each other of a point: numbers of people as they are written. "" removes, None keeps."""

    capacity: str | None = None
    visitors: str | None = None
    staffing: str | None = None
    supplies: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator says of a point. Opens and closes always replace the old ones; None keeps the other fields, and
    of these "" removes those that are texts or numbers of people.
    """

    status: Status
    opens: str = ""
    closes: str = ""
    hours: str | None = None
    note: str | None = None
    phone: str | None = None
    moved_to: str | None = None
    services: Sequence[str] | None = None  # codes, in any order
    step_free: str | None = None  # these four: a YesNo
    pets: str | None = None
    overnight: str | None = None
    backup_power: str | None = None
    capacity: str | None = None
    visitors: str | None = None
    staffing: str | None = None
    supplies: str | None = None


def set_point(
    database: Database,
    id: str,
    change: Change,
    operator: Operator,
    zone: str,
    now: datetime,
    decision: str = "",
    decided_by: str = "",
    seen: int | None = None,
) -> tuple[Point, Point]:
    """(before, after) of the point `id`, confirmed by `operator` at `now`, by a `decision` of somebody.

    `seen`: the version that the operator looked at; if somebody has changed the point since, that is shown instead.
    The change, its audit line and the push it may call for are one transaction. Raises ChangeRefused (Overtaken if it
    is that), Forbidden or StoreAway.
    """
    with database.write() as connection:
        return set_point_in(connection, id, change, operator, zone, now, decision, decided_by, seen)


def set_point_in(
    connection: Connection,
    id: str,
    change: Change,
    operator: Operator,
    zone: str,
    now: datetime,
    decision: str = "",
    decided_by: str = "",
    seen: int | None = None,
) -> tuple[Point, Point]:
    """`set_point` as a part of the caller's transaction, which must write alone."""
    found = _found(connection, id, operator, seen, zone)
    after = _changed(found.point, change, zone, now)
    found.save(connection, after, now)
    found.write_down(connection, operator, f"set {change.status}", after, now, clean(decision), clean(decided_by))
    return found.point, after


def confirm(
    database: Database, id: str, operator: Operator, zone: str, now: datetime, seen: int | None = None
) -> tuple[Point, Point]:
    """(before, after) of a point that is still what it was said to be: only when it was confirmed is new.

    Refused for one that is not open, full or on call, or that has closed by its own time. Raises as `set_point`.
    """
    with database.write() as connection:
        return confirm_in(connection, id, operator, zone, now, seen)


def confirm_in(
    connection: Connection, id: str, operator: Operator, zone: str, now: datetime, seen: int | None, decision: str = ""
) -> tuple[Point, Point]:
    """`confirm` as a part of the caller's transaction, which must write alone."""
    found = _found(connection, id, operator, seen, zone)
    before = found.point
    if before.status not in ACTIVATED:
        raise ChangeRefused("{id} is {status}, so it cannot be still open", id=id, status=before.status)
    if before.closes and before.closes <= now:
        raise ChangeRefused(
            "{id} was to close {time}, and that has passed; say when it closes now",
            id=id,
            time=_day(before.closes, zone),
        )
    after = replace(before, confirmed_at=now)
    found.save(connection, after, now)
    found.write_down(connection, operator, "confirm", after, now, decision)
    return before, after


@dataclass(frozen=True)
class Counter:
    """What orders by phone do to points, each in the transaction of the reply."""

    foresight: "Foresight"
    zone: str

    def foresee(self, view: View, id: str, status: Status, closes: str, operator: Operator, now: datetime) -> "Preview":
        """What it would do; everything but status and times stays. Raises as `set_point`."""
        with self.foresight.database.read() as connection:
            change = self._change(connection, id, status, closes, now)
        return self.foresight.preview(view, id, change, operator, now)

    def change(
        self, connection: Connection, id: str, status: Status, closes: str, operator: Operator, now: datetime,
        decision: str, seen: int,
    ) -> Point:  # fmt: skip
        """The point as it is then. Raises as `set_point`."""
        change = self._change(connection, id, status, closes, now)
        return set_point_in(connection, id, change, operator, self.zone, now, decision, seen=seen)[1]

    def put(
        self, connection: Connection, id: str, status: Status, opens: str, closes: str, operator: Operator,
        now: datetime, decision: str, seen: int,
    ) -> Point:  # fmt: skip
        """The point as it is then, with exactly these times, ISO 8601 or "". Raises as `set_point`."""
        change = Change(status, opens=opens, closes=closes)
        return set_point_in(connection, id, change, operator, self.zone, now, decision, seen=seen)[1]

    def confirm(
        self, connection: Connection, id: str, operator: Operator, now: datetime, decision: str, seen: int
    ) -> Point:
        """The point as it is then. Raises as `confirm`."""
        return confirm_in(connection, id, operator, self.zone, now, seen, decision)[1]

    def _change(self, connection: Connection, id: str, status: Status, closes: str, now: datetime) -> Change:
        """What is announced to close later still does, unless another time is given."""
        known = watching.current_point(connection, id)
        if known and not closes and {status, known[0].status} <= ACTIVATED:
            before = known[0].closes
            closes = before.isoformat() if before and before > now else ""
        return Change(status, closes=closes)


def note(
    database: Database, id: str, notes: Notes, operator: Operator, zone: str, now: datetime
) -> tuple[Point, Point]:
    """(before, after) of a point of which operators say how full or well supplied it is: that confirms nothing,
    changes no answer and makes nobody's version of it old. Raises as `set_point`.
    """
    with database.write() as connection:
        found = _found(connection, id, operator, None, zone)
        faults: list[Fault] = []
        after = replace(found.point, **_notes(notes, faults))
        if faults:
            raise ChangeRefused(faults)
        if after != found.point:
            found.save_note(connection, after)
            found.write_down(connection, operator, "note", after, now)
    return found.point, after


@dataclass(frozen=True, slots=True)
class _Found:
    """A point as operators see it, and where it is written: in truth, or in the exercise that goes on."""

    point: Point
    version: int
    exercise: Exercise | None

    def save(self, connection: Connection, after: Point, now: datetime) -> None:
        try:
            if self.exercise:
                exercises.save_played(connection, [after], {after.id: self.version})
            else:
                save_points(connection, [after], {after.id: self.version}, now)
        except Clash as error:
            raise self._meanwhile() from error

    def save_note(self, connection: Connection, after: Point) -> None:
        save = watching.save_played_note if self.exercise else watching.save_note
        try:
            save(connection, after, self.version)
        except Clash as error:
            raise self._meanwhile() from error

    def write_down(
        self, connection: Connection, operator: Operator, action: str, after: Point, now: datetime, *decision: str
    ) -> None:
        """The line of the log. What changes nothing for residents has a subject of its own, that no push looks at."""
        if not self.exercise and action != "note":
            add_audit(connection, now, operator.name, action, self.point, after, *decision)
            return
        action = f"exercise: {action}" if self.exercise else action
        prefix = watching.PLAYED if self.exercise else watching.NOTED
        watching.add_quiet_line(connection, now, operator.name, action, prefix, self.point, after, *decision)

    def _meanwhile(self) -> ChangeRefused:
        return ChangeRefused(
            "{id} was changed by somebody else at the same moment; look at it and try again", id=self.point.id
        )


def _found(connection: Connection, id: str, operator: Operator, seen: int | None, zone: str) -> _Found:
    """The point `id`, that `operator` may change and of which they saw the newest version."""
    exercise, known = exercises.current(connection), watching.current_point(connection, id)
    if known is None:
        raise ChangeRefused("no point has the id '{id}'; look it up in the list of points", id=id)
    point, version = known
    require(operator, Permission.POINT, point.district)
    if seen is not None and seen != version:
        who, when = watching.last_change(connection, id, exercise is not None) or ("", None)
        raise Overtaken(point, version, seen, who, when, zone)
    return _Found(point, version, exercise)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do. `texts`, `news`: by language, what somebody right at the point is answered, and what is
    sent to somebody there who knows the present answer (empty if theirs stays the same). `closed`, `changed`: about how
    many messages say that a door is not open, or another answer; they go from `sent_at` on; `waits`: `changed` must be
    approved first. In an exercise nobody hears: both are 0.
    """

    before: Point
    after: Point
    version: int
    was: Standing
    becomes: Standing
    texts: Mapping[str, str]
    news: Mapping[str, str]
    closed: int
    changed: int
    sent_at: datetime
    waits: bool
    exercise: bool

    @property
    def hear(self) -> int:
        """How many messages in all."""
        return self.closed + self.changed


@dataclass(frozen=True)
class Foresight:
    """Shows what a change would do, without doing it."""

    database: Database
    messages: Messages
    manner: Manner
    settings: Settings

    def preview(
        self, view: View, id: str, change: Change, operator: Operator, now: datetime, seen: int | None = None
    ) -> Preview:
        """What `change` would make of the point `id` and tell residents, on a board of `view` with the changed point.

        The texts are made by what answers and sends. The numbers are those of this change alone, at `now`: left out are
        other changes that are settling, messages that still wait in the queue, and whoever asks until it is sent.
        Raises as `set_point`.
        """
        zone = self.manner.zone
        with self.database.read() as connection:
            found = _found(connection, id, operator, seen, zone)
            after = _changed(found.point, change, zone, now)
            old, new = self._boards(connection, view, found, after, now)
            closed = changed = recent = 0
            if not found.exercise:
                closed, changed = self._hearers(connection, view.gazetteer, old, new, now)
                recent = recent_recipients(connection, operator.name, (now - RECENT).timestamp(), 0)
        place = _right_at(after, view.gazetteer)
        mark = exercise_text if found.exercise else lambda text, _: text
        over = Voiceover(self.manner, now)
        return Preview(
            found.point,
            after,
            found.version,
            standing(found.point, now, zone, self.manner.stale_after),
            standing(after, now, zone, self.manner.stale_after),
            {code: mark(self.messages.address(place, "", new, over, code).text, code) for code in LANGUAGES},
            {code: mark(text, code) for code, text in self._news(place, old, new, over).items()},
            closed,
            changed,
            now + timedelta(seconds=self.settings.push_settle_seconds),
            waits(Template.FREE, changed, recent, self.settings.approve_above, free=True),
            found.exercise is not None,
        )

    def answers(self, view: View, id: str, now: datetime) -> dict[str, str]:
        """What somebody right at the point is answered now, by language; of an exercise if one goes on. Raises
        ChangeRefused if there is no such point, StoreAway.
        """
        with self.database.read() as connection:
            exercise, known = exercises.current(connection), watching.current_point(connection, id)
            if known is None:
                raise ChangeRefused("no point has the id '{id}'; look it up in the list of points", id=id)
            points = {point.id: point for point, _ in watching.current_points(connection)} if exercise else {}
        real = view.board.at(now)
        shown = _board(real, points, now) if exercise else real
        place, over = _right_at(known[0], view.gazetteer), Voiceover(self.manner, now)
        texts = {code: self.messages.address(place, "", at(shown, now), over, code).text for code in LANGUAGES}
        return {code: exercise_text(text, code) for code, text in texts.items()} if exercise else texts

    def _boards(
        self, connection: Connection, view: View, found: _Found, after: Point, now: datetime
    ) -> tuple[Now, Now]:
        """How all points stand without and with the change."""
        real = view.board.at(now)
        points: dict[str, Point] = {found.point.id: found.point}
        if found.exercise:
            points |= {id: point for id, (point, _) in exercises.played(connection).items()}
        before = at(_board(real, points, now) if found.exercise else real, now)
        return before, at(_board(real, points | {after.id: after}, now), now)

    def _hearers(self, connection: Connection, known: Gazetteer, old: Now, new: Now, now: datetime) -> tuple[int, int]:
        """(closed, changed) of a Preview: as a push finds them on the new board and would not on the old one."""
        in_use = [row for row in pushes.answers_in_use(connection) if row[0] in known.by_code]
        asked = sorted({(place, service) for place, service, _ in in_use})
        where = [(known.by_code[place], service) for place, service in asked]
        pairs = zip(keys(old.neutral, where), keys(new.neutral, where), strict=True)
        current = dict(zip(asked, pairs, strict=True))
        rows = []
        for place, service, told in in_use:
            was, becomes = current[place, service]
            news = new.news(told, becomes)
            if news in (News.CHANGED, News.CLOSED_DOOR) and (was != becomes or old.news(told, was) is not news):
                rows.append(
                    {"place": place, "service": service, "told": told, "current": becomes, "news": news, "operator": ""}
                )
        since = now.timestamp() - self.settings.follow_up_hours * 3600
        subscribed_since = min(since, (now - SUBSCRIBERS).timestamp())
        said = pushes.said_lately(connection, since, subscribed_since)
        broken = [places for places in said if new.any_broken(places) and not old.any_broken(places)]
        return watching.hearers(connection, rows, broken, since, subscribed_since)

    def _news(self, place: Place, old: Now, new: Now, over: Voiceover) -> dict[str, str]:
        """What is sent to somebody at `place` who was answered by the `old` board; nothing if it still holds."""
        said = said_of(old.real.answer(place, ""))
        known = said or old.key(place, "")
        same = old.key(place, "") == new.key(place, "") or said == said_of(new.real.answer(place, ""))
        if same and not new.any_broken(said):
            return {}
        return {code: self.messages.changed(place, "", known, new, over, code, call=False).text for code in LANGUAGES}


def _board(real: Board, points: Mapping[str, Point], now: datetime) -> Board:
    """The board `real` with other `points` in place of those of the same id, where they lie."""
    changed = (
        replace(points[p.id], municipality=p.municipality, district=p.district) if p.id in points else p
        for p in real.points
    )
    return board(changed, now, real.zone, real.stale_after)


def _right_at(point: Point, known: Gazetteer) -> Place:
    """Where somebody is who stands before the door and names its postcode, or the place around it."""
    home = known.home(point.lat, point.lon, point.postcode)
    if home is None:
        return Place(
            point.id, point.district or point.name, PlaceKind.POSTCODE, point.lat, point.lon, 100, point.district,
            point.municipality,
        )  # fmt: skip
    return replace(home, lat=point.lat, lon=point.lon)


def _now(point: Point, zone: str) -> list[Status | Phrase]:
    """What an operator has said of `point`."""
    said: list[Status | Phrase] = [point.status]
    if point.opens:
        said.append(Phrase("opens {time}", time=_day(point.opens, zone)))
    if point.closes:
        said.append(Phrase("closes {time}", time=_day(point.closes, zone)))
    return said


def _clock(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%H.%M}"


def _day(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def next_time(text: str, after: datetime, zone: str) -> datetime:
    """ISO 8601, or HH:MM as the next such time on the clock of `zone` after `after`; in UTC. Raises Problem."""
    clock = _CLOCK.fullmatch(text.strip())
    if not clock:
        try:
            return moment(text, zone)
        except Problem:
            raise Problem("'{time}' is no time; write it like 14:20 or 2026-11-24T14:20", time=text) from None
    local = after.astimezone(ZoneInfo(zone))
    at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, fold=0)
    if at.astimezone(UTC) <= after:
        at += timedelta(days=1)
    return at.astimezone(UTC)


def _changed(before: Point, change: Change, zone: str, now: datetime) -> Point:
    faults: list[Fault] = []
    for status in (before.status, change.status):
        if status in PROPOSED:
            raise ChangeRefused("{id} is only proposed; decide on it as a proposal first", id=before.id)
    opens = _time("opens", change.opens, now, zone, faults)
    closes = _time("closes", change.closes, max(now, opens or now), zone, faults)
    texts = _texts(change, ("hours", "note", "phone", "moved_to"), faults)
    others = _services(change, faults) | _yes_or_no(change, faults) | _notes(change, faults)
    after = replace(before, status=change.status, opens=opens, closes=closes, confirmed_at=now, **texts, **others)
    faults += check_point(after, zone)
    if closes and closes <= now and change.status in ACTIVATED:
        faults.append(Fault("closes", Phrase("has passed; give a later time")))
    if change.status not in ACTIVATED:
        needless = Phrase(
            "means nothing while the status is {status}; leave it out, or choose open", status=change.status
        )
        faults += [Fault(name, needless) for name, at in (("opens", opens), ("closes", closes)) if at]
    if faults:
        raise ChangeRefused(faults)
    return after


def _texts(given: Change | Notes, names: Sequence[str], faults: list[Fault]) -> dict[str, Any]:
    """Those of the texts called `names` that are given, cleaned."""
    texts = {name: clean(value) for name in names if (value := getattr(given, name)) is not None}
    for name, value in texts.items():
        if len(value) > LONGEST[name]:
            long = Phrase("{count} characters, at most {most}; shorten it", count=len(value), most=LONGEST[name])
            faults.append(Fault(name, long))
    return texts


def _notes(given: Change | Notes, faults: list[Fault]) -> dict[str, Any]:
    """What operators tell each other, as far as it is given."""
    values = _texts(given, ("staffing", "supplies"), faults)
    for name in ("capacity", "visitors"):
        said = getattr(given, name)
        if said is None:
            continue
        try:
            values[name] = people(said.strip()) if said.strip() else None
        except Problem as error:
            faults.append(Fault(name, error.phrase))
    return values


def _services(change: Change, faults: list[Fault]) -> dict[str, Any]:
    if change.services is None:
        return {}
    unknown = [code for code in change.services if code not in SERVICES]
    if unknown:
        faults.append(Fault("services", Phrase("there is no service {codes}", codes=unknown)))
    return {"services": tuple(code for code in SERVICES if code in change.services)}


def _yes_or_no(change: Change, faults: list[Fault]) -> dict[str, Any]:
    values = {}
    for name in _ANSWERS:
        said = getattr(change, name)
        if said is None:
            continue
        try:
            values[name] = YesNo(said)
        except ValueError:
            faults.append(Fault(name, Phrase("'{answer}' is not yes, no or unknown", answer=said)))
    return values


def _time(field: str, text: str, after: datetime, zone: str, faults: list[Fault]) -> datetime | None:
    try:
        return next_time(text, after, zone) if text else None
    except Problem as error:
        faults.append(Fault(field, error.phrase))
        return None

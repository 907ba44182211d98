"""Points, in a merge, and the numbers that they have on a phone."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.merging import Settled, Verdict, judged, settled
from responder.core.points import Point
from responder.store.kits import SUBJECT, digests
from responder.store.merging import CLOCKS_DIFFER, Merging
from responder.store.queries import add_audit, read_points, save_points
from responder.store.watching import NOTED, add_quiet_line, save_note

ACTION, KEPT = "merge", "merge: kept as it is here"


def merge_points(m: Merging, zone: str) -> None:
    """What changed there alone becomes a new version here, with a push; after the laptop's own lines of the log."""
    met: dict[str, list[list[str]]] = {id: [one, one] for id, one in m.theirs.base["points"].items()}
    met |= m.seen.get("points", {})
    here = {point.id: (point, version) for point, version in read_points(m.here)}
    seen: dict[str, list[list[str]]] = {}
    for there in (_of_now(m, point) for point, _ in read_points(m.there)):
        before_here, before_there = met.get(there.id, (["", ""], ["", ""]))
        known = here.get(there.id)
        if known is None:
            if not met.get(there.id):
                _add(m, there)
                before_here = digests(there)
            seen[there.id] = [before_here, digests(there)]
            continue
        seen[there.id] = _meet(m, known, there, (before_here, before_there), zone)
    m.next_seen["points"] = seen


def _add(m: Merging, there: Point) -> None:
    save_points(m.here, [there], {}, m.now)
    add_audit(m.here, m.now, m.who, ACTION, None, there, _decision(m))
    m.taken["points"] += 1


def _meet(
    m: Merging, known: tuple[Point, int], there: Point, before: tuple[list[str], list[str]], zone: str
) -> list[list[str]]:
    here, version = known
    now_here, now_there = digests(here), digests(there)
    verdicts = [judged(*four) for four in zip(before[0], now_here, before[1], now_there, strict=True)]
    if verdicts[0] is Verdict.TAKE and _was_confirmed_since(m, here, there):
        verdicts[0] = Verdict.CONFLICT
    after = settled(here, there, verdicts[0], verdicts[1])
    _save(m, here, version, after)
    _list(m, here, there, after, zone)
    known_here = list(before[0])
    for n, verdict in enumerate(verdicts):
        if verdict is Verdict.TAKE or now_here[n] == now_there[n]:
            known_here[n] = now_there[n]
    return [known_here, now_there]


def _was_confirmed_since(m: Merging, here: Point, there: Point) -> bool:
    """Whether somebody has said here, after it was changed there, that it is as it stands here."""
    if here.confirmed_at is None or here.confirmed_at.timestamp() <= m.theirs.made_at:
        return False
    return there.confirmed_at is None or there.confirmed_at < here.confirmed_at


def _of_now(m: Merging, there: Point) -> Point:
    """Without a confirmation that is dated in the future."""
    is_ahead = there.confirmed_at is not None and there.confirmed_at.timestamp() > m.stamp + CLOCKS_DIFFER
    return replace(there, confirmed_at=None) if is_ahead else there


def _save(m: Merging, here: Point, version: int, after: Settled) -> None:
    point = after.point
    if point == here:
        return
    m.taken["points"] += 1
    if after.told is Verdict.TAKE or point.confirmed_at != here.confirmed_at:
        save_points(m.here, [point], {here.id: version}, m.now)
        add_audit(m.here, m.now, m.who, ACTION, here, point, _decision(m))
    else:
        save_note(m.here, point, version)
        add_quiet_line(m.here, m.now, m.who, ACTION, NOTED, here, point, _decision(m))


def _list(m: Merging, here: Point, there: Point, after: Settled, zone: str) -> None:
    if after.told is Verdict.CONFLICT:
        m.conflict("points", f"{here.id} ({here.name})", _said(here, zone), _said(there, zone))
        if after.point == here:  # after the laptop's lines: who looks for the last change finds that it stayed
            add_audit(m.here, m.now, m.who, KEPT, here, here, _decision(m))
    if after.noted is Verdict.CONFLICT:
        m.conflict("points", f"{here.id} ({here.name}), notes", _noted(here), _noted(there))


def _decision(m: Merging) -> str:
    return f"{SUBJECT}{m.kit.id}"


def _said(point: Point, zone: str) -> str:
    words: list[str] = [point.status.value]
    for name, moment in (("opens", point.opens), ("closes", point.closes)):
        if moment:
            words.append(f"{name} {_clock(moment, zone)}")
    words += [point.moved_to] if point.moved_to else []
    words += [f"note: {point.note}"] if point.note else []
    return ", ".join(words)


def _clock(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _noted(point: Point) -> str:
    values: dict[str, Any] = {name: getattr(point, name) for name in ("capacity", "visitors", "staffing", "supplies")}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, "")) or "nothing"


def merge_numbers(m: Merging) -> None:
    """New numbers of points; one that means two things is for somebody to decide."""
    here = _numbers(m.here)
    numbers = {point: number for number, point in here.items()}
    seen = {int(number): point for number, point in m.seen.get("numbers", {}).items()}
    there = _numbers(m.there)
    for number, point in there.items():
        if here.get(number) == point or seen.get(number) == point:
            continue
        if number in here or point in numbers:
            m.conflict("point_numbers", f"number {number}", _meaning(number, point, here, numbers), str(point))
            continue
        m.here.execute(
            text("INSERT INTO point_numbers (number, point) VALUES (:number, :point)"),
            {"number": number, "point": point},
        )
        m.taken["point_numbers"] += 1
    m.next_seen["numbers"] = {str(number): point for number, point in there.items()}


def _numbers(side: Connection) -> dict[int, str]:
    return {row[0]: row[1] for row in side.execute(text("SELECT number, point FROM point_numbers ORDER BY number"))}


def _meaning(number: int, point: str, here: dict[int, str], numbers: dict[str, int]) -> str:
    return here[number] if number in here else f"{point} has the number {numbers[point]}"

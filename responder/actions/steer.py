"""How the gateways do, and what operators say about them: which may be used. Each change is a transaction with its line
in the audit log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.problem import Problem
from responder.core.ways import USUAL_SEGMENTS, Mode, Waiting, allowed, chosen, finish, works
from responder.store import gateways as store
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.gateways import Found

LATELY = timedelta(hours=1)


class BadGateway(Problem):
    """A gateway that there is none of, or a choice that leaves none. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Way:
    """A gateway: what operators have said (`who` is "" if nobody has), how each process finds it, the segments a second
    that it may be given, and what it has sent today and for how much. `main`: it takes what is bound to none.
    """

    name: str
    mode: Mode
    who: str
    since: float
    found: tuple[Found, ...]
    rate: float
    sent: int
    cost: float
    main: bool = False

    @property
    def state(self) -> str:
        """The best that a process finds; "" if none has looked lately."""
        return min((one.state for one in self.found), key=_ORDER.index, default="")

    @property
    def failed(self) -> float:
        """The largest share of failures that a process finds, 0 to 1."""
        return max((one.failed for one in self.found), default=0.0)

    @property
    def last_success(self) -> float:
        """When it last took a message, in seconds since 1970; 0 if no process knows of any."""
        return max((one.last_success for one in self.found), default=0.0)


_ORDER = ("up", "suspect", "down")


@dataclass(frozen=True, slots=True)
class Standing:
    """All gateways, the preferred first; what waits, by priority; and when the last of that has gone if nothing changes
    (None: nothing waits, or no gateway works).
    """

    ways: tuple[Way, ...]
    waiting: tuple[Waiting, ...]
    finish: datetime | None

    @property
    def main(self) -> Way | None:
        """The one that takes what is bound to none."""
        return next((way for way in self.ways if way.main), None)

    @property
    def plain(self) -> bool:
        """Whether all is as ever: the preferred one is used, all that were looked at work, nobody has said anything."""
        return all(way.state in ("", "up") and way.mode is Mode.AUTO for way in self.ways)


def show(database: Database, operator: Operator, rates: Mapping[str, float], now: datetime) -> Standing:
    """How the gateways do that `rates` names, the preferred first. Raises Forbidden, StoreAway."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return standing(connection, rates, now)


def glance(database: Database, operator: Operator, rates: Mapping[str, float], now: datetime) -> Standing:
    """As `show`, for a page that asks often: what waits is counted only where not all is as ever."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        return standing(connection, rates, now, always=False)


def standing(connection: Connection, rates: Mapping[str, float], now: datetime, always: bool = True) -> Standing:
    """The same, within somebody's transaction."""
    stamp, names = now.timestamp(), list(rates)
    said, used = store.said(connection), store.used(connection, names, stamp)
    reported = store.reported(connection, stamp)
    ways = []
    stray = sorted(name for name, one in said.items() if name not in names and one.mode != Mode.AUTO)
    for name in (*names, *stray):  # an operator's word holds for one that nobody has any more, too
        mode, who, at = (Mode(said[name].mode), said[name].who, said[name].at) if name in said else (Mode.AUTO, "", 0.0)
        found = tuple(one for one in reported if one.name == name)
        ways.append(Way(name, mode, who, at, found, rates.get(name, 0.0), *used.get(name, (0, 0.0))))
    modes = {way.name: way.mode for way in ways}
    usable = [way.name for way in ways if works(way.state) or not reported or way.mode is Mode.ONLY]
    main = chosen(names, modes, usable)
    seen = Standing(tuple(replace(way, main=way.name == main) for way in ways), (), None)
    if not main or (seen.plain and not always):
        return seen
    segments = store.segments_lately(connection, (now - LATELY).timestamp())
    waiting = finish(store.queues(connection), segments or USUAL_SEGMENTS, rates[main])
    ends = now + timedelta(seconds=waiting[-1].seconds) if waiting else None
    return replace(seen, waiting=tuple(waiting), finish=ends)


def use(database: Database, operator: Operator, names: Sequence[str], name: str, now: datetime) -> None:
    """Send by this gateway alone, whatever becomes of it. Raises BadGateway, Forbidden, StoreAway."""
    _say(database, operator, names, name, Mode.ONLY, now)


def off(database: Database, operator: Operator, names: Sequence[str], name: str, now: datetime) -> None:
    """Send nothing by this gateway. Raises BadGateway, Forbidden, StoreAway."""
    _say(database, operator, names, name, Mode.OFF, now)


def auto(database: Database, operator: Operator, names: Sequence[str], now: datetime) -> None:
    """Each gateway is used by how it does. Raises Forbidden, StoreAway."""
    require(operator, Permission.SEND)
    with database.write() as connection:
        before = store.modes(connection)
        for one in sorted({*names, *before}):
            store.say(connection, one, Mode.AUTO, operator.name, now.timestamp())
        _note(connection, operator, "let gateways choose", "all", before, {}, now)


def _say(database: Database, operator: Operator, names: Sequence[str], name: str, mode: Mode, now: datetime) -> None:
    require(operator, Permission.SEND)
    if name not in names:
        raise BadGateway("there is no gateway {name}; there are {names}", name=name, names=", ".join(names))
    with database.write() as connection:
        before = store.modes(connection)
        after = {**before, name: mode.value}
        if mode is Mode.ONLY:
            after = {one: Mode.AUTO if said == Mode.ONLY and one != name else said for one, said in after.items()}
        if not allowed(names, after):
            raise BadGateway(
                "without {name} there would be no gateway to send by; to send nothing, pause the broadcasts", name=name
            )
        for one, said in after.items():
            if before.get(one) != said:
                store.say(connection, one, said, operator.name, now.timestamp())
        action = "use gateway alone" if mode is Mode.ONLY else "turn gateway off"
        _note(connection, operator, action, name, before, after, now)


def _note(
    connection: Connection,
    operator: Operator,
    action: str,
    name: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    now: datetime,
) -> None:
    said = [json.dumps(dict(sorted(modes.items()))) for modes in (before, after)]
    add_line(connection, now, operator.name, action, f"gateway:{name}", *said)

"""What a merge has in hand: both databases, what each knew of the other, and what was found."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from responder.store import tables  # noqa: F401 - fills the metadata
from responder.store.kits import Kit
from responder.store.move import batches

SOME = 500  # values of an IN
CLOCKS_DIFFER = 300.0  # seconds by which two clocks may, before anything is made of it
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something for somebody to decide: what it is, how it stands `here` (and stays), how it stood `there`."""

    table: str
    what: str
    here: str
    there: str


@dataclass
class Merging:
    """A merge under way. `seen`: how the laptop stood when it was merged before. `is_known`: the kit was made by this
    database as it is now; False after a restore from an older backup. `mask`: a sealed number for people to read.
    """

    here: Connection
    there: Connection
    kit: Kit
    theirs: Kit
    is_known: bool
    now: datetime
    who: str
    mask: Callable[[bytes], str]
    seen: dict[str, Any]
    taken: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    next_seen: dict[str, Any] = field(default_factory=dict)

    @property
    def stamp(self) -> float:
        """Now, in seconds since 1970."""
        return self.now.timestamp()

    @property
    def met_broadcasts(self) -> dict[str, list[str]]:
        """Broadcast to [here, there]: how it stood when both sides last knew of each other."""
        return dict(self.seen.get("broadcasts", self.theirs.base["broadcasts"]))

    @property
    def since(self) -> float:
        """Until when both sides knew what the other did."""
        return float(self.seen.get("until", self.theirs.made_at))

    @cached_property
    def since_there(self) -> float:
        """The same by the laptop's clock, if that was behind: before the first thing that was done there."""
        first = min((float(at) for at in self._first_there() if at), default=math.inf)
        return first - 1 if first <= self.since else self.since

    @property
    def is_behind(self) -> bool:
        """Whether the laptop's clock was: something was done there before it was made."""
        return self.since_there < self.theirs.made_at - 1

    def _first_there(self) -> Iterator[float | None]:
        line = SQLModel.metadata.tables["audit"].c
        at = self.there.execute(select(func.min(line.at)).where(line.id > self.mark("audit"))).scalar()
        yield at.timestamp() if at else None
        mark = max(self.theirs.base["first"]["deliveries"], self.seen.get("marks", {}).get("deliveries", 0))
        sql = text("SELECT min(claimed_at) FROM deliveries WHERE id > :mark AND claimed_at > 0")
        yield self.there.execute(sql, {"mark": mark}).scalar()

    def mark(self, table: str) -> int:
        """The highest id of a table there that was dealt with."""
        return int(self.seen.get("marks", self.theirs.base["marks"]).get(table, 0))

    def both_knew(self, table: str, id: int) -> bool:
        """Whether a row with this id was on both sides when they last met."""
        highest, first = int(self.theirs.base["highest"][table]), int(self.theirs.base["first"][table])
        return id <= highest or first < id <= int(self.seen.get("marks", {}).get(table, 0))

    def rows(self, table: str, where: str = "", **values: object) -> Iterator[list[Row]]:
        """Rows there, some at a time."""
        wanted: Any = text(where).bindparams(**values) if where else None
        return batches(self.there, SQLModel.metadata.tables[table], wanted)

    def conflict(self, table: str, what: str, here: str, there: str) -> None:
        """Something that somebody has to decide."""
        self.conflicts.append(Conflict(table, *(" ".join(said.split()) for said in (what, here, there))))


def table(name: str) -> Table:
    """Its columns and types."""
    return SQLModel.metadata.tables[name]


def found(
    connection: Connection, name: str, column: str, values: Sequence[Any], more: ColumnElement[bool] | None = None
) -> list[Row]:
    """Rows of a table in which `column` is one of `values`."""
    rows: list[Row] = []
    which = table(name).columns[column]
    for start in range(0, len(values), SOME):
        where = which.in_(values[start : start + SOME])
        for some in batches(connection, table(name), where if more is None else where & more):
            rows += some
    return rows


def newest(side: Connection) -> float:
    """When anything last happened to a resident, in seconds since 1970; 0 if nothing ever did."""
    return max(float(side.execute(text(sql)).scalar() or 0.0) for sql in _NEWEST)


_NEWEST = (
    "SELECT max(at) FROM turns", "SELECT max(said_at) FROM subscriptions", "SELECT max(claimed_at) FROM deliveries",
)  # fmt: skip


def suppressed(connection: Connection) -> dict[bytes, float]:
    """Hash of each number that said STOPP, to when."""
    return {bytes(row[0]): row[1] for row in connection.execute(text("SELECT number_hash, at FROM suppressions"))}

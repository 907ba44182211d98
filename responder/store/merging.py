"""What a merge has in hand: both databases, what each knew of the other, and what was found."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, text
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from responder.store import tables  # noqa: F401 - fills the metadata
from responder.store.kits import Kit
from responder.store.move import batches

SOME = 500  # values of an IN
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
    def since(self) -> float:
        """Until when both sides knew what the other did."""
        return float(self.seen.get("until", self.theirs.made_at))

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


def suppressed(connection: Connection) -> dict[bytes, float]:
    """Hash of each number that said STOPP, to when."""
    return {bytes(row[0]): row[1] for row in connection.execute(text("SELECT number_hash, at FROM suppressions"))}

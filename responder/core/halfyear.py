"""The half-years that districts report for, such as "2026-2"."""

import re
from dataclasses import dataclass
from datetime import date

from responder.core.problem import Problem

_PERIOD = re.compile(r"(20\d\d)-([12])")


@dataclass(frozen=True, slots=True, order=True)
class HalfYear:
    """Half a year; `half` is 1 or 2."""

    year: int
    half: int

    def __str__(self) -> str:
        return f"{self.year}-{self.half}"

    @property
    def last_day(self) -> date:
        """30 June or 31 December: when the report is due unless somebody has said otherwise."""
        return date(self.year, 6, 30) if self.half == 1 else date(self.year, 12, 31)

    @property
    def before(self) -> "HalfYear":
        """The one before."""
        return HalfYear(self.year, 1) if self.half == 2 else HalfYear(self.year - 1, 2)

    @property
    def after(self) -> "HalfYear":
        """The one after."""
        return HalfYear(self.year, 2) if self.half == 1 else HalfYear(self.year + 1, 1)


def half_year(day: date) -> HalfYear:
    """The one that `day` is in."""
    return HalfYear(day.year, 1 if day.month <= 6 else 2)


def read_half_year(text: str) -> HalfYear:
    """The one that somebody wrote as YEAR-HALF. Raises Problem."""
    found = _PERIOD.fullmatch(text.strip())
    if not found:
        raise Problem("'{period}' is no half-year; write it like 2026-2", period=text)
    return HalfYear(int(found[1]), int(found[2]))

"""Reading a table that somebody else wrote: every fault named with line, column and reason, then all or nothing."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from responder.core.words import clean

T = TypeVar("T")


class TableError(ValueError):
    """A file that cannot be taken in: `faults` say line, column and reason, one each. Nothing was taken in."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass
class Row:
    """One row, read field by field; `faults` collects what is wrong with it."""

    line: str  # how a reader finds it: "line 3", "feature 2"
    values: dict[str, str]
    faults: list[str] = field(default_factory=list)

    def fault(self, column: str, reason: str) -> None:
        """Note that `column` is wrong."""
        self.faults.append(f"{self.line}, column {column}: {reason}")

    def text(self, column: str, longest: int = 120, needed: bool = False) -> str:
        """The field, cleaned; "" where it is missing."""
        value = clean(self.values.get(column, ""))
        if needed and not value:
            self.fault(column, "missing")
        if len(value) > longest:
            self.fault(column, f"{len(value)} characters, at most {longest}")
        return value

    def number(self, column: str, low: float, high: float, default: float | None = None) -> float:
        """A number from `low` to `high`."""
        value = self.values.get(column, "").strip()
        if not value and default is not None:
            return default
        try:
            number = float(value)
        except ValueError:
            self.fault(column, f"{value!r} is not a number" if value else "missing")
            return low
        if not low <= number <= high:
            self.fault(column, f"{value} is not from {low:g} to {high:g}")
        return number

    def parsed(self, column: str, parse: Callable[[str], T], default: T) -> T:
        """The field as `parse` reads it; its ValueError becomes the fault."""
        value = self.values.get(column, "").strip()
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.fault(column, str(error))
            return default


def csv_rows(text: str, known: Sequence[str], needed: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV text with a header. Raises TableError on a header that lacks or doubles a column."""
    text = text.removeprefix("\ufeff")
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        faults = [f"line 1, column {name}: missing" for name in needed if name not in header]
        faults += [f"line 1, column {name}: no such column" for name in header if name not in known]
        faults += [f"line 1, column {name}: twice" for name in dict.fromkeys(header) if header.count(name) > 1]
        if faults:
            raise TableError(faults)
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row = Row(f"line {line}", dict(zip(header, cells, strict=False)))
                if len(cells) > len(header):
                    row.fault(str(len(header) + 1), f"{len(cells)} fields, the header has {len(header)}")
                yield row
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError([f"line {reader.line_num}: {error}"]) from error


def five_digits(text: str) -> str:
    """A postcode without its space. Raises ValueError."""
    digits = text.replace(" ", "")
    if len(digits) != 5 or not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{text!r} is not five digits")
    return digits

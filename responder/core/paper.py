"""Lists to print, for when no screen works: as plain text, and as one HTML file that needs nothing else. In Swedish, as
whoever works with them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from responder.core.access import Role
from responder.core.points import PROPOSED, Point, Status

_STATES = {
    Status.OPEN: "öppen", Status.FULL: "full", Status.ON_CALL: "öppnas på telefon", Status.CLOSED: "stängd",
    Status.MOVED: "flyttad", Status.PLANNED: "planerad",
}  # fmt: skip
_ROLES = {
    Role.VIEWER: "läser", Role.REPORTER: "rapporterar", Role.COMMUNICATOR: "kommunikatör", Role.APPROVER: "godkänner",
    Role.ADMIN: "administratör",
}  # fmt: skip
_STYLE = (
    "body{font:11pt/1.35 sans-serif;margin:1.5cm;color:#000;background:#fff}h1{font-size:16pt}h2{font-size:13pt;"
    "page-break-before:always}h2.first{page-break-before:avoid}table{border-collapse:collapse;width:100%}th,td{border:"
    "1px solid #000;padding:2pt 5pt;text-align:left;vertical-align:top}thead{display:table-header-group}tr{"
    "page-break-inside:avoid}pre{font:inherit;white-space:pre-wrap}@page{margin:1.2cm}"
)
_WARNING = "HEMLIGT: här står telefonnummer och skyddade adresser. Lämna aldrig ut, lämna aldrig kvar."


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody to call: an operator with a role and districts, or a host at a point."""

    name: str
    phone: str
    what: str


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the columns, the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """All that is printed: `sheets` are texts with a heading, such as what to do in the first hour."""

    title: str
    sheets: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]


def paper(
    kit: str,
    made_at: datetime,
    zone: str,
    points: Iterable[tuple[Point, int | None]],
    operators: Iterable[Contact],
    hosts: Iterable[Contact],
    sheets: Sequence[tuple[str, str]],
) -> Paper:
    """The lists of a kit. `points` with the short number that each has on a phone, if it has one."""
    listed = sorted(
        ((point, number) for point, number in points if point.status not in PROPOSED),
        key=lambda one: (one[0].district, one[1] is None, one[1] or 0, one[0].name),
    )
    return Paper(
        f"Trygghetssvar: reservkoffert {kit}, gjord {_clock(made_at, zone)}",
        tuple(sheets),
        (
            Table(
                "Punkter",
                ("Nr", "Namn", "Adress", "Stadsdel", "Läge när listan gjordes", "Kontakt", "Läge nu"),
                tuple(_row(point, number, zone) for point, number in listed),
            ),
            Table("Operatörer", ("Namn", "Telefon", "Roll"), _contacts(operators)),
            Table("Värdar på punkterna", ("Namn", "Telefon", "Punkt"), _contacts(hosts)),
        ),
    )


def as_text(printed: Paper) -> str:
    """As plain text."""
    parts = [printed.title, _WARNING]
    for title, sheet in printed.sheets:
        parts.append(f"\n{title.upper()}\n\n{sheet.strip()}")
    for table in printed.tables:
        parts.append(f"\n{table.title.upper()}\n")
        parts += ["  ".join(f"{name}: {value}" for name, value in _named(table, row)) for row in table.rows] or [
            "(inga)"
        ]
    return "\n".join(parts) + "\n"


def as_html(printed: Paper) -> str:
    """As one HTML file."""
    body = [f"<h1>{escape(printed.title)}</h1><p><strong>{escape(_WARNING)}</strong></p>"]
    for n, (title, sheet) in enumerate(printed.sheets):
        first = "" if n else ' class="first"'
        body.append(f"<h2{first}>{escape(title)}</h2><pre>{escape(sheet.strip())}</pre>")
    body += [_html_table(table) for table in printed.tables]
    return (
        f'<!doctype html><html lang="sv"><head><meta charset="utf-8"><title>{escape(printed.title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _html_table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in table.rows)
    return (
        f"<h2>{escape(table.title)}</h2><table><thead><tr>{heads}</tr></thead><tbody>"
        f"{rows or f'<tr><td colspan={len(table.columns)}>(inga)</td></tr>'}</tbody></table>"
    )


def _named(table: Table, row: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in zip(table.columns, row, strict=True) if value]


def _row(point: Point, number: int | None, zone: str) -> tuple[str, ...]:
    hidden = " (SKYDDAD ADRESS)" if point.hidden else ""
    address = ", ".join(part for part in (point.address, point.postcode, point.city) if part)
    contact = ", ".join(part for part in (point.contact, point.phone) if part)
    shown = "" if number is None else str(number)
    return shown, point.name, f"{address}{hidden}", point.district, _state(point, zone), contact, ""


def _state(point: Point, zone: str) -> str:
    words = [_STATES.get(point.status, point.status.value)]
    words += [f"från {_clock(point.opens, zone)}"] if point.opens else []
    words += [f"till {_clock(point.closes, zone)}"] if point.closes else []
    words += [f"dörrens tider {point.hours}"] if point.hours else []
    words += [point.moved_to] if point.moved_to else []
    return ", ".join(words)


def _contacts(contacts: Iterable[Contact]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted((one.name, one.phone or "-", one.what) for one in contacts))


def role(name: Role, districts: Sequence[str]) -> str:
    """What an operator is trusted with, and where."""
    return f"{_ROLES[name]}, {', '.join(districts) or 'alla stadsdelar'}"


def _clock(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"

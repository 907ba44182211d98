"""What became of texts that the modem sent: the daemon's reports, as receipts.

A text is where all its parts are; one part that failed is a text that failed. A daemon notes what the network refused
(a cause) and what it reports of a text it took (a status); both are told in the codes of core/delivery. Sources: 3GPP
TS 24.011, E.2 (causes) and TS 23.040, 9.2.3.15 (status).
"""
# ruff: noqa: S608 - statements are put together from constants of ours; values are always bound

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from time import monotonic

from responder.core import udh
from responder.core.delivery import NO_SUCH_NUMBER
from responder.gateways import smsd
from responder.gateways.smsd import EXPIRED, FAILED, SENT, WITHDRAWN, Smsd
from responder.ports import Receipt

ALL_EVERY = 600.0  # seconds
LATE = 60.0  # seconds between the time that a row gets and that at which others can see it, at most
_UNREACHABLE, _TRY_LATER, _TOO_LATE = 30003, 30008, 30036
_NO_SUCH = frozenset({1, 28, 30})  # causes: no such number, and two kinds of unknown subscriber
_BUSY = frozenset({27, 38, 41, 42, 47})  # out of order, a passing failure, congestion, no resources
_VALIDITY_ENDED, _PASSING = 70, 96  # status: how it ended for good, and from where on it was given up as passing


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told of a delivery, by the id of its `text` with the daemon."""

    text: int
    delivery: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class _Part:
    creator: str
    part: int
    status: str
    said: int  # the status that the network reported, or ours
    cause: int
    parts: int


class Reports:
    """The reports of a daemon, each told once while this process lives; who comes after it tells them again.

    Read is what has changed since the last time. All of it is read at first, where the clock went back or there is
    another file, and now and then: whatever else may keep a row from being seen to have changed does so no longer.
    """

    def __init__(self, database: Smsd) -> None:
        self._database = database
        self._told: dict[int, Receipt] = {}  # by the text's id there
        self._untold: dict[int, Report] = {}
        self._read_at = 0.0  # by the clock that the rows are dated by
        self._all_at = float("-inf")  # monotonic
        self._file: tuple[int, int] = (0, 0)

    @property
    def untold(self) -> int:
        """How many are known and not told yet."""
        return len(self._untold)

    def new(self) -> list[Report]:
        """What has not been told. Raises Away."""
        file = self._database.file()
        with self._database.read() as connection:
            now = smsd.now(connection)
            everything = now < self._read_at or file != self._file or monotonic() - self._all_at > ALL_EVERY
            found = self._changed(connection, 0.0 if everything else self._read_at - LATE)
        self._read_at = now
        if everything:
            self._file, self._all_at = file, monotonic()
            self._told = {id: receipt for id, receipt in self._told.items() if id in found}
            self._untold = {}
        for id, report in found.items():
            self._untold.pop(id, None)
            if report and self._told.get(id) != report.receipt:
                self._untold[id] = report
        return list(self._untold.values())

    def told(self, report: Report) -> None:
        """It has been told."""
        self._told[report.text] = report.receipt
        self._untold.pop(report.text, None)

    def _changed(self, connection: sqlite3.Connection, since: float) -> dict[int, Report | None]:
        """What is said of each text of which something has changed since then."""
        lately = (
            "SELECT ID FROM sentitems WHERE UpdatedInDB BETWEEN datetime(:since, 'unixepoch')"
            f" AND datetime('now', '+{LATE:.0f} seconds')"
        )
        sql = (
            "SELECT ID, CreatorID, SequencePosition, Status, StatusError, StatusCode, UDH FROM sentitems"
            f" WHERE CreatorID GLOB '{smsd.OURS}:delivery:*' AND :phone IN ('', SenderID)"
            f" AND {f'ID IN ({lately})' if since else ':since = 0'} ORDER BY ID, SequencePosition"
        )
        rows = connection.execute(sql, {"phone": self._database.phone, "since": int(since)}).fetchall()
        return {
            id: _report(id, [_part(*row[1:]) for row in group]) for id, group in groupby(rows, lambda row: int(row[0]))
        }


def _part(creator: str, part: int, status: str, said: int, cause: int, header: str) -> _Part:
    return _Part(creator, part, status, said, cause, udh.read(header).parts)


def _report(text: int, parts: Sequence[_Part]) -> Report | None:
    """What parts of a text say together; None if they say nothing yet."""
    of = smsd.delivery_of(parts[0].creator)
    if of is None:
        return None
    delivery, attempt = of
    for part in parts:
        if part.status in FAILED:
            status = "canceled" if part.said in (WITHDRAWN, EXPIRED) else "failed"
            why = code(part.status, part.said, part.cause)
            return Report(text, delivery, Receipt(part.creator, status, why, attempt))
    if {part.part for part in parts} < set(range(1, parts[0].parts + 1)) or any(p.status not in SENT for p in parts):
        return None
    status = "delivered" if all(part.status == "DeliveryOK" for part in parts) else "sent"
    return Report(text, delivery, Receipt(parts[0].creator, status, 0, attempt))


def code(status: str, said: int, cause: int) -> int:
    """The code of core/delivery for a text that failed. What the network has not refused in so many words may have been
    sent: 0, so that it is not sent again.
    """
    if said == EXPIRED or (status == "DeliveryFailed" and said == _VALIDITY_ENDED):
        return _TOO_LATE
    if status == "DeliveryFailed":
        return _UNREACHABLE if said >= _PASSING else NO_SUCH_NUMBER
    if status == "SendingError" and cause in _NO_SUCH:
        return NO_SUCH_NUMBER
    return _TRY_LATER if status == "SendingError" and cause in _BUSY else 0

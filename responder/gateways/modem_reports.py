"""What became of texts that the modem sent: the daemon's reports, as receipts.

A text is where all its parts are; one part that failed is a text that failed. A daemon notes what the network refused
(a cause) and what it reports of a text it took (a status); both are told in the codes of core/delivery. Sources: 3GPP
TS 24.011, E.2 (causes) and TS 23.040, 9.2.3.15 (status).
"""
# ruff: noqa: S608 - statements are put together from constants of ours; values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from responder.core import udh
from responder.core.delivery import NO_SUCH_NUMBER
from responder.gateways import smsd
from responder.gateways.smsd import EXPIRED, FAILED, SENT, WITHDRAWN, Smsd
from responder.ports import Receipt

_UNREACHABLE, _TRY_LATER, _TOO_LATE = 30003, 30008, 30036
_NO_SUCH = frozenset({1, 28, 30})  # causes: no such number, and two kinds of unknown subscriber
_BUSY = frozenset({27, 38, 41, 42, 47})  # out of order, a passing failure, congestion, no resources
_VALIDITY_ENDED, _PASSING = 70, 96  # status: how it ended for good, and from where on it was given up as passing


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told of a delivery."""

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
    """The reports of a daemon, each told once while this process lives; who comes after it tells them again."""

    def __init__(self, database: Smsd) -> None:
        self._database = database
        self._told: dict[str, Receipt] = {}

    def new(self) -> list[Report]:
        """What has not been told. Raises Away."""
        sql = (
            "SELECT CreatorID, SequencePosition, Status, StatusError, StatusCode, UDH FROM sentitems"
            f" WHERE CreatorID GLOB '{smsd.OURS}:delivery:*' AND ? IN ('', SenderID)"
            " AND UpdatedInDB > datetime('now', '-1 day') ORDER BY CreatorID, ID, SequencePosition"
        )
        with self._database.read() as connection:
            rows = connection.execute(sql, (self._database.phone,)).fetchall()
        parts = [
            _Part(creator, n, status, said, cause, udh.read(header).parts)
            for creator, n, status, said, cause, header in rows
        ]
        found = [report for _, group in groupby(parts, lambda part: part.creator) if (report := _report(list(group)))]
        named = {report.receipt.id for report in found}
        self._told = {id: receipt for id, receipt in self._told.items() if id in named}
        return [report for report in found if self._told.get(report.receipt.id) != report.receipt]

    def told(self, report: Report) -> None:
        """It has been told."""
        self._told[report.receipt.id] = report.receipt


def _report(parts: Sequence[_Part]) -> Report | None:
    """What parts of a text say together; None if they say nothing yet."""
    of = smsd.delivery_of(parts[0].creator)
    if of is None:
        return None
    delivery, attempt = of
    for part in parts:
        if part.status in FAILED:
            status = "canceled" if part.said in (WITHDRAWN, EXPIRED) else "failed"
            return Report(delivery, Receipt(part.creator, status, code(part.status, part.said, part.cause), attempt))
    if {part.part for part in parts} < set(range(1, parts[0].parts + 1)) or any(p.status not in SENT for p in parts):
        return None
    status = "delivered" if all(part.status == "DeliveryOK" for part in parts) else "sent"
    return Report(delivery, Receipt(parts[0].creator, status, 0, attempt))


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

"""What a fake provider keeps of messages and calls, as its API shows them."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import islice
from urllib.parse import urlencode

from responder.core.segments import cost

API = "2010-04-01"
_PAGE, _PAGE_MOST = 50, 1000


@lru_cache(maxsize=4096)
def _segments(body: str) -> str:
    return str(cost(body).segments)


@lru_cache(maxsize=64)
def _stamp(second: datetime) -> str:
    return format_datetime(second)


def rfc2822(at: datetime | None) -> str | None:
    """A moment as the API writes it: UTC, whole seconds."""
    return None if at is None else _stamp(at.astimezone(UTC).replace(microsecond=0))


@dataclass(slots=True)
class Record:
    """A message or a call. `steps`: the statuses that are still to come; `held`: receipts that wait for the last."""

    account: str
    sid: str
    number: int
    to: str
    sender: str
    callback: str
    created: datetime
    visible: float  # monotonic seconds from which lists show it
    updated: datetime
    steps: list[str]
    status: str = "queued"
    began: datetime | None = None
    held: list[dict[str, str]] = field(default_factory=list)
    posting: asyncio.Task[None] | None = None

    @staticmethod
    def status_in(form: dict[str, str]) -> str:
        """The status that a receipt tells."""
        return form.get("MessageStatus") or form["CallStatus"]

    def uri(self, kind: str) -> str:
        """Where the API has it, without the ending."""
        return f"/{API}/Accounts/{self.account}/{kind}/{self.sid}"


@dataclass(slots=True)
class Message(Record):
    """A text. It `began` when it was sent."""

    body: str = ""
    service: str | None = None
    error: int | None = None
    fate: int | None = None  # the error it will end with

    def shown(self) -> dict[str, object]:
        """As the API shows it."""
        uri = self.uri("Messages")
        return {
            "account_sid": self.account,
            "api_version": API,
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": rfc2822(self.began),
            "date_updated": rfc2822(self.updated),
            "direction": "outbound-api",
            "error_code": self.error,
            "error_message": None if self.error is None else f"Error {self.error}",
            "from": self.sender or None,
            "messaging_service_sid": self.service,
            "num_media": "0",
            "num_segments": "0" if self.service else _segments(self.body),
            "price": None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }

    def receipt(self) -> dict[str, str]:
        """The form of a receipt for its present status."""
        form = {
            "MessageSid": self.sid,
            "MessageStatus": self.status,
            "SmsSid": self.sid,
            "SmsStatus": self.status,
            "To": self.to,
            "From": self.sender,
            "AccountSid": self.account,
            "ApiVersion": API,
        }
        if self.service:
            form["MessagingServiceSid"] = self.service
        if self.error is not None:
            form["ErrorCode"] = str(self.error)
        return form


@dataclass(slots=True)
class Call(Record):
    """A call. It `began` when it was answered."""

    url: str = ""
    method: str = "POST"
    twiml: str = ""
    events: frozenset[str] = frozenset({"completed"})
    callback_method: str = "POST"
    ended: datetime | None = None
    told: int = 0

    @property
    def seconds(self) -> int:
        """How long it lasted; an answered call counts as a second at least."""
        if self.began is None or self.ended is None:
            return 0
        return max(1, round((self.ended - self.began).total_seconds()))

    def shown(self) -> dict[str, object]:
        """As the API shows it."""
        uri = self.uri("Calls")
        return {
            "account_sid": self.account,
            "annotation": None,
            "answered_by": None,
            "api_version": API,
            "caller_name": None,
            "date_created": rfc2822(self.created),
            "date_updated": rfc2822(self.updated),
            "direction": "outbound-api",
            "duration": str(self.seconds) if self.ended else None,
            "end_time": rfc2822(self.ended),
            "forwarded_from": None,
            "from": self.sender,
            "from_formatted": self.sender,
            "group_sid": None,
            "parent_call_sid": None,
            "phone_number_sid": None,
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "sid": self.sid,
            "start_time": rfc2822(self.began),
            "status": self.status,
            "subresource_uris": {"events": f"{uri}/Events.json", "recordings": f"{uri}/Recordings.json"},
            "to": self.to,
            "to_formatted": self.to,
            "trunk_sid": None,
            "uri": f"{uri}.json",
        }

    def form(self) -> dict[str, str]:
        """The fields of every request about it."""
        return {
            "CallSid": self.sid,
            "AccountSid": self.account,
            "From": self.sender,
            "To": self.to,
            "CallStatus": self.status,
            "Direction": "outbound-api",
            "ApiVersion": API,
        }

    def receipt(self) -> dict[str, str]:
        """The form of a receipt for its present status."""
        form = self.form() | {
            "Timestamp": rfc2822(self.updated) or "",
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self.told),
        }
        self.told += 1
        if self.ended is not None:
            form["CallDuration"] = str(self.seconds)
        return form


class Book:
    """All records of one kind, as the API lists them: `key` is the name of the list in its answer."""

    def __init__(self, key: str, prefix: str) -> None:
        self.key = key
        self.by_sid: dict[str, Message | Call] = {}
        self._all: list[Message | Call] = []
        self._by_to: dict[str, list[Message | Call]] = defaultdict(list)
        self._sids = prefix + secrets.token_hex(8)

    def next_sid(self) -> str:
        """An identifier that no other record has, also not of another run."""
        return f"{self._sids}{len(self._all) + 1:016x}"

    def __len__(self) -> int:
        return len(self._all)

    def add(self, record: Message | Call) -> None:
        """Take a record in."""
        self._all.append(record)
        self._by_to[record.to].append(record)
        self.by_sid[record.sid] = record

    def page(self, path: str, query: dict[str, str], now: float) -> dict[str, object]:
        """One page, newest first. Raises ValueError for a number that is none."""
        size = min(max(int(query.get("PageSize", _PAGE)), 1), _PAGE_MOST)
        number = int(query.get("Page", 0))
        last = self.by_sid.get(query.get("PageToken", "")[2:])
        skip = 0 if last else number * size
        rows = list(islice(self._matching(query, now, last), skip, skip + size + 1))
        kept = {name: value for name, value in query.items() if name not in ("Page", "PageToken", "PageSize")}

        def uri(page: int, **more: str) -> str:
            return f"{path}?{urlencode(kept | {'PageSize': size, 'Page': page} | more)}"

        following = uri(number + 1, PageToken=f"PA{rows[size - 1].sid}") if len(rows) > size else None
        return {
            "first_page_uri": uri(0),
            "next_page_uri": following,
            "previous_page_uri": uri(number - 1) if number else None,
            "page": number,
            "page_size": size,
            "start": number * size,
            "end": number * size + max(0, min(len(rows), size) - 1),
            "uri": uri(number),
            self.key: [row.shown() for row in rows[:size]],
        }

    def _matching(self, query: dict[str, str], now: float, last: Message | Call | None) -> Iterator[Message | Call]:
        rows = self._by_to.get(query["To"], []) if query.get("To") else self._all
        for row in reversed(rows):
            if row.visible > now or (last is not None and row.number >= last.number):
                continue
            if query.get("From", row.sender) == row.sender and _on_day(row, query):
                yield row


def _on_day(row: Message | Call, query: dict[str, str]) -> bool:
    """The filters by day: what has not begun has no day, and is in none of them."""
    for name in ("DateSent", "StartTime"):
        for sign in ("", "<", ">"):
            if asked := query.get(name + sign):
                day = "" if row.began is None else row.began.date().isoformat()
                if not day or not (day == asked[:10] or (sign and (day < asked[:10]) == (sign == "<"))):
                    return False
    if "Status" in query:
        return row.status == query["Status"]
    return True

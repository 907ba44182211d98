"""What a fake 46elks keeps of messages and calls, as its API shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.fakes.records import Book, Call, Message

PAGE = 100
_STATES = {"completed": "success", "busy": "busy", "no-answer": "failed", "failed": "failed"}


def stamp(at: datetime) -> str:
    """A moment as the API writes it: UTC without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(slots=True)
class ElksMessage(Message):
    """A text, going out or coming in. `direction`: outgoing, incoming or outgoing-reply."""

    direction: str = "outgoing"

    @staticmethod
    def status_in(form: dict[str, str]) -> str:
        """See Record."""
        return form["status"]

    def shown(self) -> dict[str, object]:
        """As the API shows it."""
        row: dict[str, object] = {
            "id": self.sid, "direction": self.direction, "from": self.sender, "to": self.to,
            "created": stamp(self.created), "message": self.body, "cost": 3500,
        }  # fmt: skip
        if self.direction != "incoming":
            row["status"] = "created" if self.status == "queued" else self.status
        return row

    def receipt(self) -> dict[str, str]:
        """The form of a receipt for its present status."""
        form = {"id": self.sid, "status": self.status}
        return form | ({"delivered": stamp(self.updated)} if self.status == "delivered" else {})


@dataclass(slots=True)
class ElksCall(Call):
    """A call. `twiml` holds its first action, `url` where that is."""

    direction: str = "outgoing"

    @staticmethod
    def status_in(form: dict[str, str]) -> str:
        """See Record."""
        return form["state"]

    @property
    def state(self) -> str:
        """What has become of it."""
        return _STATES.get(self.status, "ongoing")

    def shown(self) -> dict[str, object]:
        """As the API shows it."""
        row: dict[str, object] = {
            "id": self.sid, "direction": self.direction, "from": self.sender, "to": self.to,
            "created": stamp(self.created), "state": self.state, "owner": self.account,
        }  # fmt: skip
        if self.began:
            row |= {"start": stamp(self.began), "duration": self.seconds}
        return row

    def form(self) -> dict[str, str]:
        """The fields of every request about it while it lasts."""
        return {"callid": self.sid, "direction": self.direction, "from": self.sender, "to": self.to}

    def receipt(self) -> dict[str, str]:
        """The form of what is posted when it is over."""
        return {name: str(value) for name, value in self.shown().items()}


class ElksBook(Book):
    """All records of one kind. Only the list of texts has a filter by number."""

    def listed(self, query: dict[str, str], now: float, filtered: bool) -> dict[str, object]:
        """One page, newest first; `next` where there is more. Raises ValueError for a number that is none."""
        limit = min(max(int(query.get("limit", PAGE)), 1), PAGE)
        rows = list(self._found(query, now, filtered))
        page: dict[str, object] = {"data": [row.shown() for row in rows[:limit]]}
        if len(rows) > limit:
            page["next"] = stamp(rows[limit - 1].created)
        return page

    def _found(self, query: dict[str, str], now: float, filtered: bool) -> Iterator[Message | Call]:
        rows = self._by_to.get(query["to"], []) if filtered and "to" in query else self._all
        for row in reversed(rows):
            created = stamp(row.created)
            if row.visible <= now and created < query.get("start", "~") and created > query.get("end", ""):
                yield row

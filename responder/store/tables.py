"""The tables, as SQLModel rows. Times are UTC; `*_hash` and `key` are keyed hashes, `*_sealed` is AES-GCM."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

_CALLS = text("channel = 'voice'")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC, on engines with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


class MetaRow(SQLModel, table=True):
    """Counters that tell the workers that points or places have changed."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: int


class PointRow(SQLModel, table=True):
    """A trygghetspunkt; `data` holds the fields of core.points.Point as JSON, `version` counts its changes."""

    __tablename__ = "points"
    id: str = Field(primary_key=True)
    version: int = 1
    data: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class PlaceRow(SQLModel, table=True):
    """A place that residents can name; the columns are those of core.places.Place."""

    __tablename__ = "places"
    code: str = Field(primary_key=True)
    name: str
    kind: str
    lat: float
    lon: float
    accuracy: int
    district: str = ""
    municipality: str = ""
    aliases: str = ""
    near: str = ""
    method: str = ""


class AuditRow(SQLModel, table=True):
    """Who changed what, by whose decision, and what it was before and after (JSON)."""

    __tablename__ = "audit"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    who: str
    action: str
    subject: str
    decision: str = ""
    before: str = Field(default="", sa_type=Text)
    after: str = Field(default="", sa_type=Text)


class TurnRow(SQLModel, table=True):
    """One message, or turn of a call, with the reply it got (a redelivery gets the same again) and how it left the
    conversation `key`: the newest `number` says where that stands, and two turns at once cannot both be the next.
    """

    __tablename__ = "turns"
    id: str = Field(primary_key=True)
    channel: str
    key: bytes = Field(sa_type=LargeBinary)
    number: int
    state_sealed: bytes = Field(sa_type=LargeBinary)
    reply_sealed: bytes = Field(sa_type=LargeBinary)
    outcome: str
    at: float  # seconds since 1970, UTC
    sender_hash: bytes = Field(sa_type=LargeBinary)
    sender_sealed: bytes = Field(sa_type=LargeBinary)
    body_sealed: bytes = Field(sa_type=LargeBinary)
    __table_args__: Any = (
        UniqueConstraint("key", "number"),
        Index("turns_at", "at"),
        Index("turns_caller", "sender_hash", sqlite_where=_CALLS, postgresql_where=_CALLS),
    )

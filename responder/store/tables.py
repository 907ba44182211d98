"""The tables, as SQLModel rows. Times are UTC; `*_hash` and `key` are keyed hashes, `*_sealed` is AES-GCM."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, BindParameter, DateTime, Index, LargeBinary, Text, UniqueConstraint, bindparam, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

NOT_UNDERSTOOD = "outcome IN ('unknown', 'no_such_code')"  # turns that nobody could make anything of
# Deliveries of which nobody knows; said so that the small index of what is in hand is used, not one of all there are.
UNKNOWN = "state = 'unknown' AND state IN ('sending', 'unknown') AND lease_until >= 0"
UNTAKEN = "run IS NULL AND subject NOT LIKE '%:%'"  # changes of points that no push has taken in

_CALLS = text("channel = 'voice'")
_SAID = text("said <> ''")
_MISSED = text(NOT_UNDERSTOOD)
_NO_ID_TWICE = {"sqlite_autoincrement": True}  # a receipt, or a delivery, may speak of a row that is gone
_UNTAKEN = text(UNTAKEN)
_CLAIMED = text("claimed_at > 0")
_FAILED = text("state = 'failed'")
_IN_HAND = text("state IN ('sending', 'unknown')")
_BOUND = text("via <> '' AND state = 'queued'")


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
        """Always aware, and in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def utc_param(seconds: float, name: str = "at") -> BindParameter[datetime]:
    """The value `:at`, or of another name, of a statement, compared with a column of times."""
    return bindparam(name, datetime.fromtimestamp(seconds, UTC), type_=UtcDateTime())


_TYPES: dict[type, TypeEngine[Any]] = {str: Text(), int: BigInteger(), bytes: LargeBinary()}


def many(name: str, kind: type[str] | type[int] | type[bytes]) -> BindParameter[Any]:
    """The values of `column IN :name`, of which there may be none: PostgreSQL must know their type even then."""
    return bindparam(name, expanding=True, type_=_TYPES[kind])


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
    """Who changed what, by whose decision, what it was before and after (JSON), and when residents were told.

    `subject` is the id of a point, or of anything else "KIND:ID", such as "broadcast:12": pushes tell them apart by the
    colon. `run`: the push that took the change in.
    """

    __tablename__ = "audit"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    who: str
    action: str
    subject: str
    decision: str = ""
    decided_by: str = ""
    before: str = Field(default="", sa_type=Text)
    after: str = Field(default="", sa_type=Text)
    run: float | None = None
    told_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    __table_args__: Any = (
        Index("audit_subject", "subject", "id"),
        Index("audit_at", "at"),
        Index("audit_action", "action", "id"),
        Index("audit_untaken", "at", sqlite_where=_UNTAKEN, postgresql_where=_UNTAKEN),
    )


class TurnRow(SQLModel, table=True):
    """One message, or turn of a call, with the reply it got (a redelivery gets the same again) and how it left the
    conversation `key`: the newest `number` says where that stands, and two turns at once cannot both be the next.

    `said` (core.told) holds the points that the answer sent somebody to, for as long as they may have to hear that
    one of them has closed; `way` is how the sender can be reached then: "text", "call" or "".
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
    way: str = ""
    language: str = ""
    gateway: str = "twilio"
    place: str = ""
    service: str = ""
    said: str = ""
    said_at: float = 0.0
    __table_args__: Any = (
        UniqueConstraint("key", "number"),
        Index("turns_at", "at"),
        Index("turns_caller", "sender_hash", sqlite_where=_CALLS, postgresql_where=_CALLS),
        Index("turns_said", "said_at", sqlite_where=_SAID, postgresql_where=_SAID),
        Index("turns_missed", "at", "channel", sqlite_where=_MISSED, postgresql_where=_MISSED),
    )


class SubscriptionRow(SQLModel, table=True):
    """Somebody who hears when the answer for a place changes. `told` is the key (core.told) of the answer they know,
    `said` the points that the last text sent them to. `state` is "pending" until a text or a key confirms it.
    """

    __tablename__ = "subscriptions"
    id: int | None = Field(default=None, primary_key=True)
    number_hash: bytes = Field(sa_type=LargeBinary)
    number_sealed: bytes = Field(sa_type=LargeBinary)
    channel: str  # "text" or "call"
    language: str
    place: str
    service: str = ""
    state: str
    exercise: bool = False
    told: str = ""
    said: str = ""
    said_at: float = 0.0
    created_at: float
    __table_args__: Any = (
        UniqueConstraint("number_hash", "place", "service"),
        Index("subscriptions_answer", "place", "service", "told", "state"),
        _NO_ID_TWICE,
    )


class SuppressionRow(SQLModel, table=True):
    """A number that said STOPP: its keyed hash and nothing else. START clears it."""

    __tablename__ = "suppressions"
    number_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    at: float
    reason: str


class BroadcastRow(SQLModel, table=True):
    """Something that is sent to many: written by people ("message"), a changed answer ("status"), or what residents
    asked for by phone and operators must hear ("system"). Lower `priority` goes first (core.broadcast).
    """

    __tablename__ = "broadcasts"
    id: int | None = Field(default=None, primary_key=True)
    kind: str
    template: str = ""
    exercise: bool = False
    state: str
    version: int = 1
    priority: int
    audience: str = Field(default="", sa_type=Text)  # JSON
    texts: str = Field(default="{}", sa_type=Text)  # JSON: language code to text
    fallback: str = ""
    operator: str = ""  # who wrote it, or whose change it tells
    editors: str = Field(default="[]", sa_type=Text)  # JSON: everybody who wrote at it
    approved_by: str = ""
    approved_version: int = 0
    reason: str = ""  # danger to life: why one person alone sent it
    corrects: int | None = None
    run: float | None = None  # the push that made it
    recipients: int = 0
    created_at: float
    submitted_at: float | None = None
    send_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    __table_args__: Any = (Index("broadcasts_state", "state", "priority"), _NO_ID_TWICE)


class DeliveryRow(SQLModel, table=True):
    """One text or call to one number: the outbox. core.delivery says what may follow on what.

    Unique by broadcast and number; a status push adds the place it is about, a request the turn that made it.
    `number_sealed` is emptied by STOPP. `target`: key of the answer it was made for; `told`, `said`: as rendered;
    `told_before`, `said_before`: what comes back if it turns out not to have been sent. `gateway`: through whom this
    attempt goes or went, which alone knows of it; `via`: the only one that it may go through, "" for any.
    """

    __tablename__ = "deliveries"
    id: int | None = Field(default=None, primary_key=True)
    broadcast_id: int
    kind: str
    number_hash: bytes = Field(sa_type=LargeBinary)
    number_sealed: bytes = Field(sa_type=LargeBinary)
    channel: str
    language: str
    place: str = ""
    service: str = ""
    serial: str = ""
    subscription_id: int | None = None
    turn_id: str | None = None
    state: str
    target: str = ""
    told: str = ""
    told_before: str = ""
    said: str = ""
    said_before: str = ""
    attempt: int = 0
    not_before: float = 0.0
    lease_until: float = 0.0
    owner: str = ""
    claimed_at: float = 0.0
    looked: int = 0  # how often the provider was asked what became of it
    missed: int = 0  # how often it could say, and did not have it
    body: str = Field(default="", sa_type=Text)
    segments: int = 0
    gateway: str = ""
    via: str = ""
    provider_id: str = ""
    error: int = 0
    created_at: float
    settled_at: float | None = None
    __table_args__: Any = (
        UniqueConstraint("number_hash", "broadcast_id", "place", "service", "serial"),
        Index("deliveries_next", "broadcast_id", "channel", "state", "not_before", "id"),
        Index("deliveries_in_hand", "lease_until", sqlite_where=_IN_HAND, postgresql_where=_IN_HAND),
        Index(
            "deliveries_bound",
            "via",
            "state",
            "broadcast_id",
            "channel",
            "not_before",
            "id",
            sqlite_where=_BOUND,
            postgresql_where=_BOUND,
        ),
        Index("deliveries_created", "created_at"),
        Index("deliveries_claimed", "claimed_at", sqlite_where=_CLAIMED, postgresql_where=_CLAIMED),
        Index("deliveries_failed", "settled_at", "broadcast_id", sqlite_where=_FAILED, postgresql_where=_FAILED),
        _NO_ID_TWICE,
    )


class OperatorRow(SQLModel, table=True):
    """Somebody who runs the service. `token_hash`: SHA-256 of the token that the command line signs in with, "" for
    none; `invite_hash`: of the one that lets them choose a password. `recovery`: SHA-256 of the codes that are left, as
    JSON. `totp_step`: the last time step a code was taken for, so that none is taken twice.
    """

    __tablename__ = "operators"
    name: str = Field(primary_key=True)
    role: str
    districts: str = "[]"  # JSON; empty: all
    token_hash: str
    phone_sealed: bytes = Field(default=b"", sa_type=LargeBinary)
    created_by: str
    created_at: float
    disabled_at: float | None = None
    password_hash: str = ""
    totp_sealed: bytes = Field(default=b"", sa_type=LargeBinary)
    totp_step: int = 0
    recovery: str = "[]"
    invite_hash: str = ""
    invite_until: float = 0.0
    language: str = "sv"
    phone_hash: bytes = Field(default=b"", sa_type=LargeBinary, index=True)
    paper_codes: str = "[]"  # JSON: keyed hashes of the printed single-use codes that are left


class SessionRow(SQLModel, table=True):
    """A browser that somebody is signed in with. `id_hash`: SHA-256 of what its cookie holds. `seen_at` moves with what
    a person does, never by polling; `fresh_at` is when they last proved who they are.
    """

    __tablename__ = "sessions"
    id_hash: str = Field(primary_key=True)
    operator: str = Field(index=True)
    created_at: float
    seen_at: float
    fresh_at: float
    address: str
    agent: str
    ended_at: float | None = None


class FailureRow(SQLModel, table=True):
    """Attempts to sign in that failed, by account ("a:...") and by address ("i:...")."""

    __tablename__ = "failures"
    scope: str = Field(primary_key=True)
    count: int
    last_at: float


class AliasRow(SQLModel, table=True):
    """A word that residents use for a place, as operators learnt from what was not understood."""

    __tablename__ = "aliases"
    id: int | None = Field(default=None, primary_key=True)
    alias: str
    place: str
    added_by: str
    added_at: float
    removed_by: str = ""
    removed_at: float | None = None


class HandledRow(SQLModel, table=True):
    """Words that were not understood and that somebody has dealt with, as a keyed hash."""

    __tablename__ = "handled"
    words_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    who: str
    at: float


class NoteRow(SQLModel, table=True):
    """A line of the shift log: a note, or somebody who goes on or off duty (`kind` "note", "on", "off")."""

    __tablename__ = "notes"
    id: int | None = Field(default=None, primary_key=True)
    at: float
    who: str
    kind: str
    text: str = Field(default="", sa_type=Text)


class ExerciseRow(SQLModel, table=True):
    """An exercise. `current` is 1 while it goes on and NULL after, so that only one does at a time."""

    __tablename__ = "exercises"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    begun_by: str
    begun_at: float
    ended_by: str = ""
    ended_at: float | None = None
    current: int | None = Field(default=1, unique=True)


class PlayedPointRow(SQLModel, table=True):
    """What a point is in the exercise that goes on, where that differs from what it is."""

    __tablename__ = "played_points"
    id: str = Field(primary_key=True)
    version: int
    data: str = Field(sa_type=Text)


class ReportRow(SQLModel, table=True):
    """A district's report for half a year, such as "2026-2": when it is due, who signed it and what they said."""

    __tablename__ = "reports"
    district: str = Field(primary_key=True)
    period: str = Field(primary_key=True)
    deadline: str = ""  # ISO 8601 date
    signed_by: str = ""
    signed_at: float | None = None
    note: str = Field(default="", sa_type=Text)


class GatewayRow(SQLModel, table=True):
    """What an operator has said of a gateway: `mode` "auto" (by its health), "off" or "only"."""

    __tablename__ = "gateways"
    name: str = Field(primary_key=True)
    mode: str
    who: str
    at: float


class GatewayHealthRow(SQLModel, table=True):
    """How a gateway does, as the process `owner` sees it: `state` "up" or "down", the share of its last requests that
    failed, their median seconds, and when one last succeeded. For people to look at; each process goes by its own.
    """

    __tablename__ = "gateway_health"
    name: str = Field(primary_key=True)
    owner: str = Field(primary_key=True)
    state: str
    failed: float
    latency: float
    last_success: float
    at: float


class PointNumberRow(SQLModel, table=True):
    """The short number by which a point is named on a phone. It is never given to another."""

    __tablename__ = "point_numbers"
    number: int = Field(primary_key=True)
    point: str = Field(unique=True)


class WishRow(SQLModel, table=True):
    """What an operator has asked for by phone, and proved to be theirs; done on their second word, until `until`.
    One a phone and channel: a newer one replaces it. `command`: JSON, with the version of what they were shown.
    """

    __tablename__ = "wishes"
    key: bytes = Field(sa_type=LargeBinary, primary_key=True)
    operator: str
    command: str = Field(sa_type=Text)
    created_at: float
    until: float


class HostRow(SQLModel, table=True):
    """Somebody at a point who is asked by text whether it is open."""

    __tablename__ = "hosts"
    id: int | None = Field(default=None, primary_key=True)
    point: str = Field(index=True)
    name: str
    number_hash: bytes = Field(sa_type=LargeBinary, index=True)
    number_sealed: bytes = Field(sa_type=LargeBinary)
    created_by: str
    created_at: float
    removed_at: float | None = None


class QuestionRow(SQLModel, table=True):
    """A question to a host, its two-digit `code`, the point's `version` when it was asked, and what they answered: "",
    "yes", "full" or "no".
    """

    __tablename__ = "questions"
    id: int | None = Field(default=None, primary_key=True)
    host: int = Field(index=True)
    code: str
    version: int
    asked_at: float
    until: float
    tries: int = 0
    answer: str = ""
    answered_at: float | None = None


class KitRow(SQLModel, table=True):
    """A copy that went out on a laptop. `base`: JSON, how things stood when it was made; `here`: this is that copy."""

    __tablename__ = "kits"
    id: str = Field(primary_key=True)
    made_by: str
    made_at: float
    base: str = Field(sa_type=Text)
    here: bool = False
    merged_at: float | None = None


class DueRow(SQLModel, table=True):
    """Something to do at a time: each (job, at) once."""

    __tablename__ = "due"
    job: str = Field(primary_key=True)
    at: float = Field(primary_key=True)
    done_at: float | None = None
    __table_args__: Any = (
        Index("due_open", "at", sqlite_where=text("done_at IS NULL"), postgresql_where=text("done_at IS NULL")),
    )


class LeaseRow(SQLModel, table=True):
    """Who leads, and until when."""

    __tablename__ = "leases"
    name: str = Field(primary_key=True)
    owner: str
    until: float


class UsageRow(SQLModel, table=True):
    """What a number, a range of numbers or everybody has cost in a span of time: `scope` "spend", "n:..." or "p:...",
    `span` the day or hour since 1970.
    """

    __tablename__ = "usage"
    scope: str = Field(primary_key=True)
    span: int = Field(primary_key=True)
    count: int = 0
    cost: float = 0.0

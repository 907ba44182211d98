"""Named reads for the phone simulator: what has been sent to a number, and who plays at being an operator."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.store.tables import many


@dataclass(frozen=True, slots=True)
class Arrived:
    """A delivery that is on a phone: `body` is the text, or the words of a call. `at`: seconds since 1970."""

    id: int
    attempt: int
    channel: str
    language: str
    body: str
    segments: int
    at: float


def arrived(connection: Connection, hashes: Sequence[bytes], most: int) -> list[Arrived]:
    """The newest `most` that the provider took for the number with these keyed hashes, the oldest first."""
    sql = text(
        "SELECT id, attempt, channel, language, body, segments, claimed_at FROM deliveries WHERE number_hash IN :hashes"
        " AND state IN ('accepted', 'sent', 'delivered') ORDER BY claimed_at DESC, id DESC LIMIT :most"
    ).bindparams(many("hashes", bytes))
    rows = connection.execute(sql, {"hashes": list(hashes), "most": most}).all()
    return [Arrived(*row) for row in reversed(rows)]


def created_by(connection: Connection, creator: str) -> list[str]:
    """The names of the accounts that `creator` made and that still open something, by name."""
    sql = text("SELECT name FROM operators WHERE created_by = :creator AND disabled_at IS NULL ORDER BY name")
    return list(connection.execute(sql, {"creator": creator}).scalars())

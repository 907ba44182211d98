"""Subscribers who know the present answer, for harnesses with real processes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from responder.core.places import PlaceKind
from responder.core.told import at
from responder.wiring import Service


def follow(service: Service, numbers: Sequence[str], areas: Sequence[str], each: int, now: datetime) -> list[str]:
    """Each of `numbers` (E.164) follows one of the first `each` postcodes of `areas`, in turn; the postcodes' codes."""
    view, vault = service.snapshot.read(now), service.vault
    standing = at(view.board, now)
    streets = [p for p in view.gazetteer.by_code.values() if p.kind is PlaceKind.POSTCODE and not p.is_box]
    places = [place for area in areas for place in [p for p in streets if p.district == area][:each]]
    rows = [
        {
            "hash": vault.newest(number), "sealed": vault.seal(number), "place": place.code, "no": False,
            "told": standing.key(place, ""), "at": now.timestamp(),
        }
        for number, place in zip(numbers, places * (len(numbers) // len(places) + 1), strict=False)
    ]  # fmt: skip
    with service.database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state,"
                " exercise, told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', 'sv', :place, '',"
                " 'active', :no, :told, '', 0, :at)"
            ),
            rows,
        )
        connection.execute(text("DELETE FROM due WHERE job = 'push'"))
    return [place.code for place in places]

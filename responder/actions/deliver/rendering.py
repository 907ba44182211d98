"""What a delivery says when it is taken up."""

from datetime import datetime

from responder.core.answer import Board
from responder.core.message import Message, Messages
from responder.core.places import Place
from responder.core.reply import Manner, Voiceover
from responder.core.told import Now, said_of
from responder.store import outbox
from responder.store.outbox import Item
from responder.store.snapshot import View


class Renderer:
    """Makes messages of deliveries; remembers what neighbours are told for as long as that is true."""

    def __init__(self, messages: Messages, manner: Manner) -> None:
        self._messages, self._manner = messages, manner
        self._remembered: dict[tuple[object, ...], Message] = {}
        self._remembered_of: tuple[Board | None, datetime | None] = (None, None)

    def message(
        self, item: Item, before: tuple[str, str], texts: dict[str, str], fallback: str, view: View, now: Now
    ) -> Message | None:
        """What the delivery says now; None if it is what they know already."""
        over, call = Voiceover(self._manner, now.at), item.channel == "call"
        if item.kind == "message":
            return self._messages.written(texts, fallback, over, item.language, call)
        if item.kind in ("operator", outbox.BY_HAND):
            return Message(item.body)
        place = view.gazetteer.by_code.get(item.place)
        if place is None:
            return None
        if item.kind == "agree":
            return self._messages.agree(place, over, item.language, call)
        if item.kind == "address":
            return self._messages.address(place, item.service, now, over, item.language)
        told, said = before
        broken = bool(said) and now.any_broken(said)
        changed = item.kind == "status" and now.key(place, item.service) != told
        if not broken and (not changed or said == said_of(now.real.answer(place, item.service))):
            return None
        return self._changed(place, item.service, said or told, now, item.language, call)

    def _changed(self, place: Place, service: str, known: str, now: Now, language: str, call: bool) -> Message:
        """The news for a place; neighbours are told the same, so it is made once a minute."""
        board, minute = self._remembered_of
        if board is not now.real or minute != now.at.replace(second=0, microsecond=0):
            self._remembered_of, self._remembered = (now.real, now.at.replace(second=0, microsecond=0)), {}
        key = (place, service, known, language, call)
        if key not in self._remembered:
            over = Voiceover(self._manner, now.at)
            self._remembered[key] = self._messages.changed(place, service, known, now, over, language, call)
        return self._remembered[key]

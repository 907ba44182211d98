"""Answer whatever comes in: a text or one turn of a call.

One read, one pure conversation, one write. A redelivery gets the stored reply again; two turns of one
conversation at once are played one after the other; without the database the answer comes from the last
view in memory and says from when it is.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

import phonenumbers

from responder.core.dialogue import Begin, Event, Found, Heard, Need, Say, Session, Silence, Turn, step
from responder.core.flow import Flow
from responder.core.memory import Memory, packed, unpacked
from responder.core.places import Match, Place, PlaceKind
from responder.core.reply import Manner, Voiceover, spoken_code
from responder.core.segments import to_gsm
from responder.core.telling import Teller
from responder.core.wording import Channel, plainly, spoken_digits
from responder.core.words import clean
from responder.ports import Clock, Gateway, Inbound, Outbound
from responder.store.engine import StoreAway
from responder.store.queries import Clash, Closing, Opening, Turns
from responder.store.snapshot import Snapshot, View
from responder.store.vault import Vault, masked

log = logging.getLogger("responder.answer")

PURGE_EVERY = 3600  # seconds
UNSURE_SPEECH = 0.45  # confidence under which a heard district is confirmed
SAID_LENGTH = 30  # characters of a resident's own words that are repeated back
ATTEMPTS = 4
_SWEDISH_MOBILE = re.compile(r"\+467[02369]\d{7}")  # possible by the numbering plan; any other is asked of phonenumbers


class Answerer:
    """Answers inbound texts and turns of calls."""

    def __init__(
        self,
        flow: Flow,
        manner: Manner,
        gateway: Gateway,
        turns: Turns,
        snapshot: Snapshot,
        vault: Vault,
        clock: Clock,
    ) -> None:
        self._flow, self._manner, self._gateway = flow, manner, gateway
        self._turns, self._snapshot, self._vault, self._clock = turns, snapshot, vault, clock
        self._purged_at = 0.0
        self._teller = Teller(flow)

    def respond(self, inbound: Inbound) -> str:
        """The provider's document that answers `inbound`, recorded before it is returned."""
        render = self._gateway.text_reply if inbound.channel is Channel.TEXT else self._gateway.voice_reply
        try:
            for _ in range(ATTEMPTS):
                try:
                    return self._recorded(inbound, render)
                except Clash:
                    continue
            raise StoreAway("two turns at once, again and again")
        except StoreAway as error:
            log.error("database away, %s answered from memory: %s", inbound.id, error)
            return render(self._unrecorded(inbound))

    def preview(self, text: str, sender: str = "", language: str = "") -> str:
        """The exact reply to a text from `sender`, if any, without recording anything. Raises StoreAway."""
        now = self._clock()
        session = self._new(Channel.TEXT).session
        if sender:
            if not _is_number(sender):
                return ""
            session = self._remembered(self._turns.open("", self._vault.hashes(sender)), Channel.TEXT, now).session
        if language:
            session = replace(session, language=language, chosen=True)
        view = self._snapshot.at(self._snapshot.read(now), now)
        _, outbound = self._converse(session, Heard(text), view, Voiceover(self._manner, now))
        return outbound.text

    def ended(self, call: str) -> None:
        """Forget where a call stood, once it is over. Raises StoreAway."""
        self._turns.end(self._vault.hashes(call))

    def unavailable(self, channel: Channel) -> str:
        """The document for when nothing else can be said."""
        render = self._gateway.text_reply if channel is Channel.TEXT else self._gateway.voice_reply
        return render(self._unavailable(channel, Voiceover(self._manner, self._clock())))

    def _recorded(self, inbound: Inbound, render: Callable[[Outbound], str]) -> str:
        now = self._clock()
        keys = self._vault.hashes(inbound.call or inbound.sender)
        opening = self._turns.open(inbound.id, keys)
        if opening.reply_sealed is not None:
            log.info("%s came again", inbound.id)
            return self._vault.open(opening.reply_sealed)
        stamp = now.timestamp()
        memory = self._remembered(opening, inbound.channel, now)
        turn, outbound = Turn(memory.session), Outbound()
        if _answerable(inbound):
            view = self._snapshot.fresh(opening.points_version, opening.places_version, now)
            over = Voiceover(self._manner, now)
            turn, outbound = self._converse(memory.session, _event(inbound), view, over, inbound)
        silenced = bool(outbound.text) and memory.is_one_too_many(outbound.text, stamp)
        if silenced:
            outbound = Outbound()
        document = render(outbound)
        closing = Closing(
            id=inbound.id,
            channel=inbound.channel,
            key=keys[0],
            number=opening.number + 1,
            state_sealed=self._vault.seal(packed(memory.after(turn.session, outbound.text, stamp))),
            reply_sealed=self._vault.seal(document),
            outcome="silenced" if silenced else turn.session.node,
            at=stamp,
            sender_hash=self._vault.newest(inbound.sender),
            sender_sealed=self._vault.seal(inbound.sender),
            body_sealed=self._vault.seal(clean(inbound.text)),
        )
        if "forget" in turn.effects:
            bare = self._new(inbound.channel).session  # how often we said so must be known; nothing else
            state = self._vault.seal(packed(memory.after(bare, outbound.text, stamp)))
            closing = replace(closing, state_sealed=state, sender_hash=b"", sender_sealed=b"", body_sealed=b"")
            self._turns.forget(closing, self._vault.hashes(inbound.sender))
        else:
            self._turns.close(closing)
        self._purge(stamp)
        if inbound.channel is Channel.TEXT and not outbound.text:
            why = "the same reply too often" if silenced else "not a number that can be answered, or answered already"
            log.info("%s from %s: no reply, %s", inbound.id, masked(inbound.sender), why)
        return document

    def _remembered(self, opening: Opening, channel: Channel, now: datetime) -> Memory:
        if not opening.state_sealed:
            return self._new(channel)
        try:
            state = self._vault.open(opening.state_sealed)
        except ValueError as error:  # its key is gone, and with it where the conversation stood
            log.error("a conversation starts anew: %s", error)
            return self._new(channel)
        return unpacked(state).at(now.timestamp() - opening.at)

    def _new(self, channel: Channel) -> Memory:
        return Memory(Session(channel, self._flow.default_language))

    def _purge(self, stamp: float) -> None:
        if stamp - self._purged_at > PURGE_EVERY:
            self._purged_at = stamp
            self._turns.purge(stamp - self._manner.retain_days * 86_400)

    def _unrecorded(self, inbound: Inbound) -> Outbound:
        now = self._clock()
        view = self._snapshot.view
        if not _answerable(inbound):
            return Outbound()
        if view is None:
            return self._unavailable(inbound.channel, Voiceover(self._manner, now))
        over = Voiceover(self._manner, now, as_of=view.read_at)
        session = self._new(inbound.channel).session
        turn, outbound = self._converse(session, _event(inbound), self._snapshot.at(view, now), over, inbound)
        if turn.effects:  # a promise that cannot be kept is not made
            return self._unavailable(inbound.channel, over)
        return outbound

    def _unavailable(self, channel: Channel, over: Voiceover) -> Outbound:
        turn = Turn(self._new(channel).session, (Say("say.unavailable"),), ends=True)
        return self._told(turn, over, 0)[0]

    def _converse(
        self, session: Session, event: Event, view: View, over: Voiceover, inbound: Inbound | None = None
    ) -> tuple[Turn, Outbound]:
        turn = step(self._flow, session, event)
        if turn.need:
            turn = step(self._flow, turn.session, self._look_up(turn.need, turn.session, view))
        outbound, untold = self._told(turn, over, inbound.turn if inbound else 0)
        if untold:  # MORE goes on where this text had to stop
            turn = replace(turn, session=replace(turn.session, told=turn.session.told - untold))
        return turn, outbound

    def _look_up(self, need: Need, session: Session, view: View) -> Found:
        """What the flow needs to know: which place was meant, and what is open near it."""
        gazetteer, service = view.gazetteer, need.service
        if not need.text:
            place = gazetteer.by_code.get(need.code)
            if place is None:
                return Found("ask_place", service=service)
            return self._answered(place, service, need.told, view)
        wording = self._flow.languages[session.language]
        text = spoken_digits(need.text, wording.numbers)
        seen = gazetteer.recognise(text)
        service = self._service(need.text, session.language) or service
        if seen.match in (Match.FOUND, Match.UNSURE):
            place = seen.places[0]
            unsure = seen.match is Match.UNSURE or (need.sure < UNSURE_SPEECH and place.kind is not PlaceKind.POSTCODE)
            if session.channel is Channel.VOICE and unsure:
                return Found("unsure", (place,), service=service)
            return self._answered(place, service, 0, view)
        if seen.match is Match.SEVERAL:
            return Found("several", seen.places, service=service)
        said = _said(seen.code or need.text, session.channel)
        if seen.match is Match.NOTHING:
            if service and service != need.service and need.code in gazetteer.by_code:
                return self._answered(gazetteer.by_code[need.code], service, 0, view)
            return Found("ask_place" if service and service != need.service else "unknown", service=service, said=said)
        return Found(seen.match.value, service=service, said=said)

    def _answered(self, place: Place, service: str, told: int, view: View) -> Found:
        city = place.kind is PlaceKind.MUNICIPALITY and place.municipality in view.gazetteer.divided
        if place.is_box or city:
            return Found("district", (place,), service=service, said=place.name)
        found = view.board.answer(place, service, told)
        if told and not found.offers:
            return Found("no_more", (place,), service=service)
        return Found("answer", (place,), found, service)

    def _service(self, text: str, language: str) -> str:
        languages = self._flow.languages
        said = plainly(clean(text))
        if said.isdecimal():
            return ""
        ordered = [languages[language], *(w for code, w in languages.items() if code != language)]
        return next((code for code in (wording.service(said) for wording in ordered) if code), "")

    def _told(self, turn: Turn, over: Voiceover, number: int) -> tuple[Outbound, int]:
        """Turn `number` of a conversation in words, and how many points had no room."""
        language = turn.session.language
        if turn.session.channel is Channel.VOICE:
            spoken = self._teller.speech(turn, over)
            return Outbound("", spoken, language, turn.digits, turn.ends, number + 1), 0
        text, untold = self._teller.text(turn, over)
        return Outbound(text, language=language, ends=turn.ends), untold


def _event(inbound: Inbound) -> Event:
    if inbound.begins:
        return Begin()
    if inbound.silent:
        return Silence()
    return Heard(inbound.text, inbound.keyed, inbound.sure)


def _answerable(inbound: Inbound) -> bool:
    """A text must come from a phone number that can take an answer; a call can always be answered."""
    if inbound.channel is Channel.VOICE:
        return True
    return not inbound.handled and _is_number(inbound.sender)


@lru_cache(maxsize=10_000)
def _is_number(sender: str) -> bool:
    if _SWEDISH_MOBILE.fullmatch(sender):
        return True
    if not sender.startswith("+"):
        return False
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(sender))
    except phonenumbers.NumberParseException:
        return False


def _said(text: str, channel: Channel) -> str:
    """A resident's own words, short and harmless, to repeat back."""
    short = clean(text)[:SAID_LENGTH]
    return spoken_code(short) if channel is Channel.VOICE else to_gsm(short).strip()

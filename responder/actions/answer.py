"""Answer whatever comes in: a text or one turn of a call.

One read, one pure conversation, one write. A redelivery gets the stored reply again; two turns of one
conversation at once are played one after the other; without the database the answer comes from the last
view in memory and says from when it is.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic, sleep
from typing import Any

from responder import metrics
from responder.core import numbers
from responder.core.dialogue import (
    Begin,
    Event,
    Found,
    Heard,
    Need,
    Say,
    Session,
    Silence,
    Turn,
    in_their_language,
    step,
)
from responder.core.flow import Flow
from responder.core.memory import Memory, packed, unpacked
from responder.core.places import Match, Place, PlaceKind
from responder.core.reply import Manner, Voiceover, spoken_code
from responder.core.segments import cost, to_gsm
from responder.core.telling import Teller
from responder.core.told import at, said_of
from responder.core.wording import Channel, Wording, plainly, spoken_digits
from responder.core.words import clean
from responder.ports import DESK, Clock, Gateway, Inbound, Outbound
from responder.store.engine import Passing, StoreAway
from responder.store.meter import Cap, Meter
from responder.store.people import Followed, People, Person, Write
from responder.store.queries import Clash, Closing, Opening, Turns
from responder.store.snapshot import Snapshot, View
from responder.store.vault import Vault, masked

log = logging.getLogger("responder.answer")

PURGE_EVERY = 3600  # seconds
UNSURE_SPEECH = 0.45  # confidence under which a heard district is confirmed
SAID_LENGTH = 30  # characters of a resident's own words that are repeated back
ATTEMPTS = 12  # more than can be at work on one conversation at a time
PATIENCE, TRY_EVERY = 4.0, 0.25  # seconds: STOPP and JA cannot be answered from memory ...
LAST_TRY = 8.0  # ... but the provider waits 15: seconds after its first a turn is not tried again
PATIENT = 3  # that try again at once: the others are told at once, so that questions have room
ANYWHERE = frozenset({numbers.EVERYWHERE})
PLACES = 5  # that a number may follow
REQUESTS = 3  # messages that a caller may have sent to a number in a day: caller ID can be forged
NOT_UNDERSTOOD = ("unknown", "no_such_code")  # nodes of the flow
STOP_WORDS = 8  # "stopp jag vill inte ha fler sms" is STOPP; a longer text that begins so is about something else


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose texts are answered and who may subscribe (countries), and what a reply costs."""

    replies: frozenset[str]
    subscribers: frozenset[str]
    price_segment: float
    price_call: float


class Answerer:
    """Answers inbound texts and turns of calls."""

    def __init__(
        self,
        flow: Flow,
        manner: Manner,
        gateways: Mapping[str, Gateway],
        turns: Turns,
        snapshot: Snapshot,
        vault: Vault,
        clock: Clock,
        people: People,
        meter: Meter,
        reach: Reach,
    ) -> None:
        self._flow, self._manner, self._gateways = flow, manner, gateways
        self._turns, self._snapshot, self._vault, self._clock = turns, snapshot, vault, clock
        self._people, self._meter, self._reach = people, meter, reach
        self._purged_at = 0.0
        self._patient = threading.BoundedSemaphore(PATIENT)
        self._teller = Teller(flow)

    def respond(self, inbound: Inbound) -> str:
        """The provider's document that answers `inbound`, recorded before it is returned."""
        render, began = self._render(inbound.gateway, inbound.channel), monotonic()
        try:
            return self._settled(inbound, render)
        except StoreAway as error:
            outbound = self._unrecorded(inbound)
            if outbound is None and isinstance(error, Passing):
                end = min(monotonic() + PATIENCE, began + LAST_TRY)
                if document := self._patiently(inbound, render, end):
                    return document
            log.error("database away, %s answered from memory: %s", inbound.id, error)
            metrics.inbound(inbound.channel, "from memory")
            return render(outbound or self._unavailable(inbound.channel, self._over(inbound.gateway, self._clock())))

    def _settled(self, inbound: Inbound, render: Callable[[Outbound], str]) -> str:
        """The document, recorded, whichever turn was saved first. Raises StoreAway."""
        for _ in range(ATTEMPTS):
            try:
                return self._recorded(inbound, render)
            except Clash:
                continue
        raise StoreAway("two turns at once, again and again")

    def _patiently(self, inbound: Inbound, render: Callable[[Outbound], str], end: float) -> str:
        """Try again until `end`, which somebody can wait for; "" if it was in vain, or if enough others wait so."""
        if not self._patient.acquire(blocking=False):
            return ""
        try:
            while monotonic() < end:
                sleep(TRY_EVERY)
                try:
                    return self._settled(inbound, render)
                except Passing:
                    continue
                except StoreAway:
                    break
            return ""
        finally:
            self._patient.release()

    def preview(self, text: str, sender: str = "", language: str = "") -> str:
        """The exact reply to a text from `sender`, if any, without recording anything. Raises StoreAway."""
        now = self._clock()
        session = self._new(Channel.TEXT).session
        if sender:
            if not numbers.can_be_answered(sender, self._reach.replies):
                return ""
            session = self._remembered(self._turns.open("", self._vault.hashes(sender)), Channel.TEXT, now).session
        if language:
            session = replace(session, language=language, chosen=True)
        view = self._snapshot.at(self._snapshot.read(now), now)
        _, outbound = self._converse(session, Heard(text), view, Voiceover(self._manner, now), sender)
        return outbound.text

    def ended(self, call: str) -> None:
        """Forget where a call stood, once it is over. Raises StoreAway."""
        self._turns.end(self._vault.hashes(call))

    def unavailable(self, channel: Channel, gateway: str) -> str:
        """The document of a gateway for when nothing else can be said."""
        return self._render(gateway, channel)(self._unavailable(channel, self._over(gateway, self._clock())))

    def busy(self, inbound: Inbound, sentence: str) -> str:
        """The document that tells who cannot be answered now so, by the sentence of this key. Nothing is read, recorded
        or promised; what it costs is counted as any reply's. A caller hears it in every language, since nobody knows
        yet which is theirs; a call under way is kept, and asks again.
        """
        text, now = inbound.channel is Channel.TEXT, self._clock()
        render = self._render(inbound.gateway, inbound.channel)
        if text and not self._answerable(inbound):
            return render(Outbound())
        session = in_their_language(self._flow, self._new(inbound.channel).session, inbound.text)
        others = () if text else tuple(code for code in self._flow.languages if code != session.language)
        turn = Turn(session, tuple(Say(sentence, language=code) for code in (session.language, *others)), ends=True)
        said = self._told(turn, self._over(inbound.gateway, now), inbound.turn)[0]
        if not text and not inbound.begins:
            return self._gateways[inbound.gateway].hold(said, inbound.turn)
        return render(self._metered(inbound, turn, said, now)[1])

    def _over(self, gateway: str, now: datetime, as_of: datetime | None = None) -> Voiceover:
        return Voiceover(self._manner, now, as_of, keys_only=not self._gateways[gateway].speech)

    def _render(self, gateway: str, channel: Channel) -> Callable[[Outbound], str]:
        through = self._gateways[gateway]
        return through.text_reply if channel is Channel.TEXT else through.voice_reply

    def _recorded(self, inbound: Inbound, render: Callable[[Outbound], str]) -> str:
        now = self._clock()
        keys = self._vault.hashes(inbound.call or inbound.sender)
        opening = self._turns.open(inbound.id, keys)
        if opening.reply_sealed is not None:
            log.info("%s came again", inbound.id)
            metrics.inbound(inbound.channel, "repeated")
            return self._vault.open(opening.reply_sealed)
        stamp = now.timestamp()
        memory = self._remembered(opening, inbound.channel, now)
        turn, outbound = Turn(memory.session), Outbound()
        if self._answerable(inbound):
            view = self._snapshot.fresh(opening.points_version, opening.places_version, now)
            over = self._over(inbound.gateway, now)
            turn, outbound = self._converse(memory.session, _event(inbound), view, over, inbound.sender, inbound.turn)
        elif inbound.handled in ("STOP", "START"):  # the provider has answered; what it promised is ours to do too
            turn = step(self._flow, memory.session, Heard(inbound.handled))
        silenced = bool(outbound.text) and memory.is_one_too_many(outbound.text, stamp)
        if silenced:
            outbound = Outbound()
        turn, outbound = self._metered(inbound, turn, outbound, now)
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
            gateway=inbound.gateway,
            sender_hash=self._vault.newest(inbound.sender),
            sender_sealed=self._vault.seal(inbound.sender),
            body_sealed=self._vault.seal(clean(inbound.text)),
            **self._sent_somewhere(inbound, turn, outbound, stamp),
        )
        if any(effect.do == "forget" for effect in turn.effects):
            bare = self._new(inbound.channel).session  # how often we said so must be known; nothing else
            state = self._vault.seal(packed(memory.after(bare, outbound.text, stamp)))
            closing = replace(closing, state_sealed=state, sender_hash=b"", sender_sealed=b"", body_sealed=b"")
            hashes = self._vault.hashes(inbound.sender)
            forgotten = [*hashes, *self._vault.hashes(f"{DESK}{inbound.sender}")]  # what they ordered by phone too
            self._turns.promise(closing, self._people.stop(hashes, stamp), forgotten)
        elif turn.effects:
            self._turns.promise(closing, self._writes(turn, inbound, stamp))
        else:
            self._turns.close(closing)
        self._purge(stamp)
        _count(inbound, turn, outbound, silenced)
        if inbound.channel is Channel.TEXT and not outbound.text:
            why = "the same reply too often" if silenced else "cannot be answered, or is answered already, or is capped"
            log.info("%s from %s: no reply, %s", inbound.id, masked(inbound.sender), why)
        return document

    def _metered(self, inbound: Inbound, turn: Turn, outbound: Outbound, now: datetime) -> tuple[Turn, Outbound]:
        """The turn, unless a cap is reached: then what was asked for is still done if it is STOPP, but not told."""
        begins = inbound.channel is Channel.VOICE and inbound.begins
        if not outbound.text and not begins:
            return turn, outbound
        price = self._reach.price_call if begins else self._reach.price_segment * cost(outbound.text).segments
        hidden = begins and numbers.line(inbound.sender, ANYWHERE).why is numbers.Why.INVALID  # "anonymous", +266696687
        if inbound.sender.startswith("+") and not hidden:
            whose, range_ = self._vault.newest(inbound.sender), numbers.prefix(inbound.sender)
        else:
            whose, range_ = None, "-"  # all hidden callers together
        cap = self._meter.add(whose, range_, price, now)
        if cap is None:
            return turn, outbound
        log.error("%s from %s: the cap %s is reached", inbound.id, masked(inbound.sender), cap.value)
        stops = tuple(effect for effect in turn.effects if effect.do in ("forget", "unsubscribe"))
        turn = replace(turn, says=(Say("say.capped"),), options=(), effects=stops, ends=True)
        if cap is Cap.NUMBER or begins:
            return turn, self._told(turn, self._over(inbound.gateway, now), inbound.turn)[0]
        return turn, Outbound()

    def _sent_somewhere(self, inbound: Inbound, turn: Turn, outbound: Outbound, stamp: float) -> dict[str, Any]:
        """The columns that say to which points this turn sent somebody, and how they hear if one of those closes."""
        answers = [say.answer for say in turn.says if say.answer]
        if not answers or not (outbound.text or outbound.spoken):
            return {}
        told = answers[0].offers[: turn.session.told - answers[0].skipped]  # those that the text had room for
        said = said_of(replace(answers[0], offers=told))
        text = inbound.channel is Channel.TEXT
        way = "text" if text else numbers.line(inbound.sender, self._reach.subscribers).way
        if not said or not way:
            return {}
        place, language = answers[0].place.code, turn.session.language
        return {
            "way": way, "language": language, "place": place, "service": answers[0].service, "said": said,
            "said_at": stamp,
        }  # fmt: skip

    def _writes(self, turn: Turn, inbound: Inbound, stamp: float) -> list[Write]:
        """What the turn promises, as writes of its own transaction."""
        hashes = self._vault.hashes(inbound.sender)
        session = turn.session
        number = {"number_sealed": self._vault.seal(inbound.sender), "language": session.language, "at": stamp}
        way = numbers.line(inbound.sender, self._reach.subscribers).way
        writes: list[Write] = []
        for effect in turn.effects:
            about = {"place": effect.place, "service": effect.service}
            if effect.do in ("subscribe", "ask_first"):
                state = "active" if effect.do == "subscribe" else "pending"
                told, said = self._known(effect.place, effect.service, session.seen)
                writes += self._people.subscribe(
                    hashes, PLACES, channel=way, state=state, told=told, said=said, **about, **number
                )
            if effect.do in ("ask_first", "text_me"):
                kind = "agree" if effect.do == "ask_first" else "address"
                serial = f"agree {int(stamp // 86_400)}" if kind == "agree" else inbound.id  # asked once a day
                back = inbound.gateway if way == "text" else ""  # from the number that they know
                writes += self._people.request(kind, hashes, channel=way, serial=serial, via=back, **about, **number)
            if effect.do in ("subscribe", "welcome_back", "agree"):
                writes += self._people.lift(hashes)
            if effect.do == "agree":
                writes += self._people.agree(hashes)
            if effect.do == "decline":
                writes += self._people.decline(hashes)
            if effect.do == "unsubscribe":
                writes += self._people.unsubscribe(hashes, effect.place)
            if effect.do == "exercise":
                writes += self._people.enrol(hashes)
        return writes

    def _known(self, code: str, service: str, seen: int) -> tuple[str, str]:
        """(told, said) of the answer that somebody who subscribes knows: the present one, if no point has changed since
        they got it (`seen`), else nothing: then the next push tells them.
        """
        view = self._snapshot.view
        place = view.gazetteer.by_code.get(code) if view else None
        if view is None or place is None or view.points_version != seen:
            return "", ""
        now = at(view.board, self._clock())
        return now.key(place, service), said_of(now.real.answer(place, service))

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
            try:
                self._turns.purge(stamp - self._manner.retain_days * 86_400)
            except StoreAway as error:  # the turn is saved, and they are told so
                log.warning("old turns are deleted later: %s", error)

    def _unrecorded(self, inbound: Inbound) -> Outbound | None:
        """The answer from memory; None if there is none: a promise that cannot be kept is not made."""
        now = self._clock()
        view = self._snapshot.view
        if not self._answerable(inbound):
            return Outbound()
        if view is None:
            return None
        over = self._over(inbound.gateway, now, view.read_at)
        session = self._new(inbound.channel).session
        view = self._snapshot.at(view, now)
        try:
            turn, outbound = self._converse(session, _event(inbound), view, over, inbound.sender, inbound.turn)
        except StoreAway:  # it asked what only the database knows: who follows what
            return None
        return None if turn.effects else outbound

    def _unavailable(self, channel: Channel, over: Voiceover) -> Outbound:
        turn = Turn(self._new(channel).session, (Say("say.unavailable"),), ends=True)
        return self._told(turn, over, 0)[0]

    def _converse(
        self, session: Session, event: Event, view: View, over: Voiceover, sender: str, number: int = 0
    ) -> tuple[Turn, Outbound]:
        turn = step(self._flow, session, event)
        if turn.need:
            look_up = self._look_up if not turn.need.purpose else self._look_up_person
            turn = step(self._flow, turn.session, look_up(turn.need, turn.session, view, sender))
        outbound, untold = self._told(turn, over, number)
        if untold:  # MORE goes on where this text had to stop
            turn = replace(turn, session=replace(turn.session, told=turn.session.told - untold))
        if any(say.answer for say in turn.says):
            turn = replace(turn, session=replace(turn.session, seen=view.points_version))
        return turn, outbound

    def _look_up(self, need: Need, session: Session, view: View, _sender: str = "") -> Found:
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

    def _look_up_person(self, need: Need, session: Session, view: View, sender: str) -> Found:
        """What the flow needs to know of whoever wants to follow a place, or no more."""
        line = numbers.line(sender, self._reach.subscribers)
        wording, channel = self._flow.languages[session.language], session.channel
        person = self._people.of(self._vault.hashes(sender), self._clock().timestamp() - 86_400)
        listed = wording.listed([self._label(f, wording, channel, view) for f in person.follows])
        match need.purpose:
            case "unsubscribe":
                return self._unsubscribed(need, session, view, person)
            case "mine":
                return Found("mine" if person.follows else "mine_none", values={"list": listed})
            case "exercise":
                return Found("exercise" if person.follows else "mine_none")
        if not line.way:
            why = f"why.{line.why.value if line.why and sender.startswith('+') else 'hidden'}"
            return Found("not_you", service=need.service, said=wording.say(why, channel))
        text = channel is Channel.TEXT
        if text and need.purpose == "agree" and any(followed.pending for followed in person.follows):
            listed = wording.listed([self._label(f, wording, channel, view, False) for f in person.follows])
            return Found("agreed", service=need.service, values={"list": listed})
        if person.said_stop and not (text and need.purpose == "start"):
            return Found("said_stop", service=need.service)
        if need.purpose == "text_me" and line.way != "text":
            return Found("no_texts", service=need.service)
        if not text and person.requests >= REQUESTS:
            return Found("too_often", service=need.service)
        found = self._look_up(need, session, view) if need.text or need.code else Found("ask_subscribe")
        if found.outcome != "answer":
            return found
        place, service = found.places[0], found.service
        label = self._label(Followed(place.code, service, False, False), wording, channel, view)
        if need.purpose == "text_me":
            return Found("texted", (place,), service=service)
        others = [f for f in person.follows if (f.place, f.service) != (place.code, service)]
        if len(others) >= PLACES:
            return Found("too_many", service=service, values={"list": listed, "most": str(PLACES)})
        outcome = "subscribed" if text else "asked_first"
        outcome += "_call" if line.way == "call" else ""
        news = found.answer if text and need.text else None  # who has not asked yet wants to know how it is now
        return Found(outcome, (place,), news, service, values={"place": label})

    def _unsubscribed(self, need: Need, session: Session, view: View, person: Person) -> Found:
        """STOPP and a place ends that place; STOPP and anything else short is STOPP."""
        found = self._look_up(replace(need, purpose=""), session, view)
        if found.outcome != "answer":
            return Found("stop_all") if len(need.text.split()) < STOP_WORDS else found
        place = found.places[0]
        followed = any(followed.place == place.code for followed in person.follows)
        return Found("unsubscribed" if followed else "not_subscribed", (place,), values={"place": place.name})

    def _label(self, followed: Followed, wording: Wording, channel: Channel, view: View, waiting: bool = True) -> str:
        """What a followed place is called: "12347", "Farsta (laddning)"."""
        place = view.gazetteer.by_code.get(followed.place)
        name = place.name if place else followed.place
        label = spoken_code(name) if channel is Channel.VOICE else name
        if followed.service:
            label += f" ({wording.label(followed.service, channel)})"
        return wording.say("waiting", channel, place=label) if followed.pending and waiting else label

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

    def _answerable(self, inbound: Inbound) -> bool:
        """A text must come from a phone number that can take an answer; a call can always be answered."""
        if inbound.channel is Channel.VOICE:
            return True
        return not inbound.handled and numbers.can_be_answered(inbound.sender, self._reach.replies)

    def _told(self, turn: Turn, over: Voiceover, number: int) -> tuple[Outbound, int]:
        """Turn `number` of a conversation in words, and how many points had no room."""
        language = turn.session.language
        if turn.session.channel is Channel.VOICE:
            spoken = self._teller.speech(turn, over)
            return Outbound("", spoken, language, turn.digits, turn.ends, number + 1), 0
        text, untold = self._teller.text(turn, over)
        return Outbound(text, language=language, ends=turn.ends), untold


def _count(inbound: Inbound, turn: Turn, outbound: Outbound, silenced: bool) -> None:
    capped = any(say.key == "say.capped" for say in turn.says)
    told = "answered" if outbound.text or outbound.spoken else "unanswered"
    outcome = "silenced" if silenced else "capped" if capped else told
    metrics.inbound(inbound.channel, outcome, turn.session.node)
    if outcome == "answered" and not inbound.begins and not inbound.silent:
        metrics.recognition(inbound.channel, turn.session.node not in NOT_UNDERSTOOD)


def _event(inbound: Inbound) -> Event:
    if inbound.begins:
        return Begin()
    if inbound.silent:
        return Silence()
    return Heard(inbound.text, inbound.keyed, inbound.sure)


def _said(text: str, channel: Channel) -> str:
    """A resident's own words, short and harmless, to repeat back."""
    short = clean(text)[:SAID_LENGTH]
    return spoken_code(short) if channel is Channel.VOICE else to_gsm(short).strip()

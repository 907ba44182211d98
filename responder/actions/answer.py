"""Answer whatever comes in: a text or one turn of a call.

One read, one pure conversation, one write. A redelivery gets the stored reply again; two turns of one
conversation at once are played one after the other; without the database the answer comes from the last
view in memory and says from when it is.
"""

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

import phonenumbers

from responder.core.answer import Answer
from responder.core.dialogue import Begin, Event, Found, Heard, Need, Say, Session, Silence, Turn, step
from responder.core.flow import Flow
from responder.core.places import Match, Place, PlaceKind
from responder.core.reply import Voiceover, answer_speech, answer_text, spoken_code, spoken_phone
from responder.core.segments import gsm_twins, is_gsm, to_gsm
from responder.core.wording import Channel, Wording, plainly, spoken_digits
from responder.core.words import clean
from responder.ports import Clock, Gateway, Inbound, Outbound, Spoken
from responder.store.engine import StoreAway
from responder.store.queries import Clash, Closing, Duplicate, Opening, StoredSession, Turns
from responder.store.snapshot import Snapshot, View
from responder.store.vault import Vault, masked

log = logging.getLogger("responder.answer")

SESSION_TTL = 30 * 60  # seconds after which a question is new; the chosen language stays
SAME_REPLIES = 3  # identical replies to a number ...
SAME_WITHIN = 10 * 60  # ... in so many seconds
PURGE_EVERY = 3600  # seconds
UNSURE_SPEECH = 0.45  # confidence under which a heard district is confirmed
SAID_LENGTH = 30  # characters of a resident's own words that are repeated back
ATTEMPTS = 4
_SWEDISH_MOBILE = re.compile(r"\+467[02369]\d{7}")  # possible by the numbering plan; any other is asked of phonenumbers


@dataclass(frozen=True)
class Manner:
    """How this service answers: names, numbers and limits from the settings."""

    sender: str
    helpline: str
    zone: str
    stale_after: timedelta
    retain_days: int


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
        # One turn at a time: the interpreter runs one thread anyway, and passing it round at each call to SQLite
        # took half the speed (measured with 8 threads; more processes are what scales).
        self._one_turn = threading.Lock()
        self._texts = _Texts()

    def respond(self, inbound: Inbound) -> str:
        """The provider's document that answers `inbound`, recorded before it is returned."""
        render = self._gateway.text_reply if inbound.channel is Channel.TEXT else self._gateway.voice_reply
        try:
            for _ in range(ATTEMPTS):
                try:
                    with self._one_turn:
                        return self._recorded(inbound, render)
                except (Clash, Duplicate):
                    continue
            raise StoreAway("two turns at once, again and again")
        except StoreAway as error:
            log.error("database away, %s answered from memory: %s", inbound.id, error)
            return render(self._unrecorded(inbound))

    def preview(self, text: str, sender: str = "", language: str = "") -> Outbound:
        """The exact reply to a text from `sender`, if any, without recording anything. Raises StoreAway."""
        now = self._clock()
        session = Session(Channel.TEXT, self._flow.default_language)
        if sender:
            if not _is_number(sender):
                return Outbound()
            stored = self._turns.open("", self._vault.hashes(f"{Channel.TEXT}:{sender}")[0]).session
            session = _alive(stored, Channel.TEXT, self._flow.default_language, now.timestamp())
        if language:
            session = replace(session, language=language, chosen=True)
        view = self._snapshot.at(self._snapshot.read(now), now)
        _, outbound = self._converse(session, Heard(text), view, now)
        return outbound

    def ended(self, call: str) -> None:
        """Forget where a call stood, once it is over. Raises StoreAway."""
        self._turns.end(self._vault.hashes(f"{Channel.VOICE}:{call}")[0])

    def unavailable(self, channel: Channel) -> str:
        """The document for when nothing else can be said."""
        turn = Turn(Session(channel, self._flow.default_language), (Say("say.unavailable"),), ends=True)
        outbound = self._told(turn, None, self._clock(), None)
        return (self._gateway.text_reply if channel is Channel.TEXT else self._gateway.voice_reply)(outbound)

    def _recorded(self, inbound: Inbound, render: Callable[[Outbound], str]) -> str:
        now = self._clock()
        key = self._vault.hashes(f"{inbound.channel}:{inbound.call or inbound.sender}")[0]
        opening = self._turns.open(inbound.id, key)
        if opening.reply is not None:
            log.info("%s came again", inbound.id)
            return opening.reply
        stamp = now.timestamp()
        session = _alive(opening.session, inbound.channel, self._flow.default_language, stamp)
        if not _answerable(inbound):
            turn, outbound, outcome = Turn(session), Outbound(), "unanswerable"
        else:
            view = self._snapshot.fresh(opening.points_version, opening.places_version, now)
            turn, outbound = self._converse(session, _event(inbound), view, now, inbound)
            outcome = turn.session.node
        recent, silent = _recent(opening.session, outbound.text, stamp)
        if silent:
            outbound, outcome = Outbound(), "silenced"
        document = render(outbound)
        self._save(inbound, turn, opening, document, outcome, recent, key, stamp)
        level = logging.INFO if outcome in ("silenced", "unanswerable") else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "%s %s from %s: %s", inbound.channel, inbound.id, masked(inbound.sender), outcome)
        return document

    def _save(
        self,
        inbound: Inbound,
        turn: Turn,
        opening: Opening,
        document: str,
        outcome: str,
        recent: str,
        key: bytes,
        stamp: float,
    ) -> None:
        version = opening.session.version + 1 if opening.session else 1
        state = _to_json(_packed(turn.session))
        closing = Closing(
            id=inbound.id,
            channel=inbound.channel,
            number_hash=self._vault.hashes(inbound.sender)[0],
            number_sealed=self._vault.seal(inbound.sender),
            body_sealed=self._vault.seal(clean(inbound.text)),
            reply=document,
            outcome=outcome,
            at=stamp,
            session_key=key,
            session=StoredSession(version, state, recent, stamp),
        )
        if "forget" in turn.effects:
            keys = [k for c in Channel for k in self._vault.hashes(f"{c}:{inbound.sender}")]
            self._turns.forget(closing, self._vault.hashes(inbound.sender), [key, *keys])
        else:
            self._turns.close(closing)
        if stamp - self._purged_at > PURGE_EVERY:
            self._purged_at = stamp
            self._turns.purge(stamp - self._manner.retain_days * 86_400)

    def _unrecorded(self, inbound: Inbound) -> Outbound:
        now = self._clock()
        session = Session(inbound.channel, self._flow.default_language)
        view = self._snapshot.view
        if not _answerable(inbound):
            return Outbound()
        if view is None:
            return self._told(Turn(session, (Say("say.unavailable"),), ends=True), inbound, now, None)
        turn, outbound = self._converse(
            session, _event(inbound), self._snapshot.at(view, now), now, inbound, as_of=view.read_at
        )
        if turn.effects:  # a promise that cannot be kept is not made
            return self._told(Turn(session, (Say("say.unavailable"),), ends=True), inbound, now, None)
        return outbound

    def _converse(
        self,
        session: Session,
        event: Event,
        view: View,
        now: datetime,
        inbound: Inbound | None = None,
        as_of: datetime | None = None,
    ) -> tuple[Turn, Outbound]:
        turn = step(self._flow, session, event)
        if turn.need:
            found = self._look_up(turn.need, turn.session, view)
            turn = step(self._flow, turn.session, found)
        outbound = self._told(turn, inbound, now, as_of)
        if outbound.untold:  # MORE goes on where this text had to stop
            told = turn.session.told - outbound.untold
            turn = replace(turn, session=replace(turn.session, told=told))
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
        said = _said(seen.code or need.text, session.channel)
        if seen.match is Match.NOTHING:
            if service and service != need.service and need.code in gazetteer.by_code:
                return self._answered(gazetteer.by_code[need.code], service, 0, view)
            return Found("ask_place" if service and service != need.service else "unknown", service=service, said=said)
        if seen.match in (Match.OUTSIDE, Match.NO_SUCH_CODE):
            return Found(seen.match.value, service=service, said=said)
        if seen.match is Match.SEVERAL:
            return Found("several", seen.places, service=service)
        place = seen.places[0]
        doubtful = seen.match is Match.UNSURE or (need.sure < UNSURE_SPEECH and place.kind is not PlaceKind.POSTCODE)
        if session.channel is Channel.VOICE and doubtful:
            return Found("unsure", (place,), service=service)
        return self._answered(place, service, 0, view)

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
        ordered = [languages[language], *(w for code, w in languages.items() if code != language)]
        return next((code for code in (wording.service(said) for wording in ordered) if code), "")

    def _told(self, turn: Turn, inbound: Inbound | None, now: datetime, as_of: datetime | None) -> Outbound:
        """The turn in words."""
        language = turn.session.language
        wording = self._flow.languages[language]
        over = Voiceover(
            sender=self._manner.sender,
            helpline=self._manner.helpline,
            now=now,
            zone=self._manner.zone,
            stale_after=self._manner.stale_after,
            retain_days=self._manner.retain_days,
            as_of=as_of,
        )
        if turn.session.channel is Channel.TEXT:
            lines, untold = [], 0
            for say in turn.says:
                line, left_out = self._text_line(say, wording, over)
                lines.append(line)
                untold += left_out
            lines += [wording.say("option", Channel.TEXT, key=key, label=label) for key, label in turn.options]
            return Outbound(text="\n".join(lines), language=language, ends=turn.ends, untold=untold)
        spoken = tuple(sentence for say in turn.says for sentence in self._sentences(say, language, over))
        options = tuple(
            Spoken(wording.say("option", Channel.VOICE, key=key, label=label), language) for key, label in turn.options
        )
        number = int(inbound.id.rpartition("/")[2]) + 1 if inbound else 1
        return Outbound("", spoken + options, language, turn.digits, turn.ends, turn=number)

    def _text_line(self, say: Say, wording: Wording, over: Voiceover) -> tuple[str, int]:
        if say.answer:
            return self._texts.get(say.answer, wording, over)
        values = self._values(say, wording, over, Channel.TEXT)
        text = gsm_twins(wording.say(say.key, Channel.TEXT, **values))
        return (to_gsm(text) if is_gsm(gsm_twins(wording.text[say.key])) else text), 0

    def _sentences(self, say: Say, language: str, over: Voiceover) -> list[Spoken]:
        code = say.language or language
        wording = self._flow.languages[code]
        if say.answer:
            parts = answer_speech(say.answer, wording, over)
            return [Spoken(part.text, code, wording.clips.get(part.key, "")) for part in parts]
        values = self._values(say, wording, over, Channel.VOICE)
        text = wording.say(say.key, Channel.VOICE, **values)
        return [Spoken(text, code, wording.clips.get(say.key, ""))]

    def _values(self, say: Say, wording: Wording, over: Voiceover, channel: Channel) -> dict[str, str]:
        voice = channel is Channel.VOICE
        values = {
            "sender": wording.sender(over.sender),
            "helpline": spoken_phone(over.helpline) if voice else over.helpline,
            "days": str(over.retain_days),
            "said": "",
            "service": "",
            "place": "",
            **say.values,
        }
        values["said"] = values["said"] or wording.text["say.that"]
        return values


class _Texts:
    """The texts of this minute's answers: in a crisis a district asks the same thing again and again."""

    LIMIT = 20_000

    def __init__(self) -> None:
        self._minute: tuple[datetime, datetime | None] | None = None
        self._texts: dict[tuple[int, str], tuple[Answer, tuple[str, int]]] = {}

    def get(self, answer: Answer, wording: Wording, over: Voiceover) -> tuple[str, int]:
        """`answer_text`, from memory if this very answer was told in this minute."""
        minute = (over.now.replace(second=0, microsecond=0), over.as_of)
        if minute != self._minute or len(self._texts) > self.LIMIT:
            self._minute, self._texts = minute, {}
        key = (id(answer), wording.code)
        known = self._texts.get(key)
        if known is None or known[0] is not answer:
            known = self._texts[key] = answer, answer_text(answer, wording, over)
        return known[1]


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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


def _alive(stored: StoredSession | None, channel: Channel, language: str, stamp: float) -> Session:
    """The stored session; once it has expired only its language is left."""
    if stored is None:
        return Session(channel, language)
    session = _unpacked(stored.state)
    if stamp - stored.touched_at <= SESSION_TTL:
        return session
    return Session(channel, session.language, chosen=session.chosen)


def _packed(session: Session) -> dict[str, object]:
    return {name: getattr(session, name) for name in Session.__dataclass_fields__}


def _unpacked(state: str) -> Session:
    data = json.loads(state)
    candidates = tuple((code, label) for code, label in data.pop("candidates"))
    return replace(Session(Channel(data.pop("channel")), data.pop("language")), candidates=candidates, **data)


def _recent(stored: StoredSession | None, text: str, stamp: float) -> tuple[str, bool]:
    """The replies of the last minutes with this one (JSON), and whether this one is one too many of the same."""
    recent = json.loads(stored.recent) if stored else []
    recent = [[mark, at] for mark, at in recent if stamp - at < SAME_WITHIN][-20:]
    if not text:
        return _to_json(recent), False
    mark = hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
    silent = sum(seen == mark for seen, _ in recent) >= SAME_REPLIES
    if not silent:
        recent.append([mark, int(stamp)])
    return _to_json(recent), silent

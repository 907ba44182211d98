"""What a delivery says when it is taken up: pure, from how everything stands then."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from responder.core.answer import Offer
from responder.core.flow import Flow
from responder.core.places import Place
from responder.core.reply import Part, Voiceover, answer_text, news_speech, news_text, spoken_code
from responder.core.segments import cost
from responder.core.telling import Spoken
from responder.core.told import Now, said_of
from responder.core.wording import Channel, Wording

LONGEST_VALID = 36_000  # seconds a text may wait at the provider


@dataclass(frozen=True, slots=True)
class Message:
    """`text` for a text; for a call `spoken`, told once more after `again`, and `after`, while a key may be pressed.

    `told` and `said` as in core.told, "" for a message that is no answer; `valid`: seconds after which it is worthless.
    """

    text: str = ""
    spoken: tuple[Spoken, ...] = ()
    again: tuple[Spoken, ...] = ()
    after: tuple[Spoken, ...] = ()
    told: str = ""
    said: str = ""
    valid: int = LONGEST_VALID

    @property
    def body(self) -> str:
        """What is written down of it: the text, or the words of a call."""
        return self.text or " ".join(sentence.text for sentence in self.spoken + self.after)

    @property
    def segments(self) -> int:
        """Segments of a text; a call counts as none."""
        return _segments(self.text) if self.text else 0


@lru_cache(maxsize=4096)
def _segments(text: str) -> int:
    """Many get the same text."""
    return cost(text).segments


class Messages:
    """Tells changes, requests and broadcasts in the languages of `flow`."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def language(self, code: str) -> Wording:
        """The wording of `code`, or of the language we start in if its file is gone."""
        return self._flow.languages.get(code) or self._flow.languages[self._flow.default_language]

    def changed(
        self, place: Place, service: str, known: str, now: Now, over: Voiceover, language: str, call: bool
    ) -> Message:
        """The present answer for somebody who knows `known` (a key or a said)."""
        wording = self.language(language)
        answer, lost = now.real.answer(place, service), now.lost(known)
        if call:
            message = self._twice(self._spoken(news_speech(lost, answer, wording, over), wording), wording)
        else:
            message = Message(news_text(lost, answer, wording, over))
        return replace(message, told=now.key(place, service), said=said_of(answer), valid=_valid(now, answer.offers))

    def address(self, place: Place, service: str, now: Now, over: Voiceover, language: str) -> Message:
        """The present answer as somebody gets it who asks by text."""
        answer = now.real.answer(place, service)
        text, _ = answer_text(answer, self.language(language), over)
        return Message(text, said=said_of(answer), valid=_valid(now, answer.offers))

    def agree(self, place: Place, over: Voiceover, language: str, call: bool) -> Message:
        """The question whether it was really they who wanted to hear."""
        wording = self.language(language)
        sender = wording.sender(over.manner.sender)
        if not call:
            return Message(wording.alphabet(wording.say("push.agree", Channel.TEXT, list=place.name, sender=sender)))
        asked = self._say("push.agree", wording, list=spoken_code(place.name))
        return Message(spoken=(self._say("push.head", wording, sender=sender),), after=(asked, asked))

    def written(self, texts: Mapping[str, str], fallback: str, over: Voiceover, language: str, call: bool) -> Message:
        """What operators wrote, in the recipient's language or the one named for all others."""
        code = next(code for code in (language, fallback, self._flow.default_language, *texts) if code in texts)
        if not call:
            return Message(texts[code])
        wording = self.language(code)
        head = self._say("push.head", wording, sender=wording.sender(over.manner.sender))
        said = texts[code].removesuffix(f"/{wording.sender(over.manner.sender)}").strip()  # nobody says a signature
        return self._twice((head, Spoken(said, wording.code)), wording)

    def stale(self, point: str, since: datetime | None, now: datetime, zone: str, language: str) -> str:
        """What an operator reads of a point that nobody has confirmed."""
        wording = self.language(language)
        time = wording.moment(since, now, zone) if since else "-"
        return wording.say("push.stale", Channel.TEXT, point=point, time=time)

    def sentence(self, key: str, language: str, **values: str) -> tuple[Spoken, ...]:
        """One sentence on the phone."""
        return (self._say(key, self.language(language), **values),)

    def _twice(self, spoken: tuple[Spoken, ...], wording: Wording) -> Message:
        again, stop = self._say("news.again", wording), self._say("news.stop", wording)
        return Message(spoken=spoken, again=(again,), after=(stop,))

    def _say(self, key: str, wording: Wording, /, **values: str) -> Spoken:
        return Spoken(wording.say(key, Channel.VOICE, **values), wording.code, wording.clips.get(key, ""))

    def _spoken(self, parts: list[Part], wording: Wording) -> tuple[Spoken, ...]:
        return tuple(Spoken(part.text, wording.code, wording.clips.get(part.key, "")) for part in parts)


def _valid(now: Now, offers: tuple[Offer, ...]) -> int:
    """Seconds until the first point that is told closes or opens: after that the text would mislead."""
    if not offers:
        return LONGEST_VALID
    standing = offers[0].standing
    moment = standing.opens or standing.until
    left = int((moment - now.at).total_seconds()) if moment else LONGEST_VALID
    return max(1, min(left, LONGEST_VALID))

"""A turn of the conversation in words: one text, or the sentences of a call."""

from dataclasses import dataclass
from datetime import datetime

from responder.core.answer import Answer
from responder.core.dialogue import Say, Turn
from responder.core.flow import Flow
from responder.core.reply import Voiceover, answer_speech, answer_text, spoken_phone
from responder.core.segments import cost
from responder.core.wording import Channel, Wording

_REMEMBERED = 20_000  # texts


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence on the phone: `clip` is played where there is one, else `text` is said."""

    text: str
    language: str
    clip: str = ""


class Teller:
    """Tells turns in the languages of `flow`. In a crisis a district asks the same again and again, so the texts of
    a minute's answers are remembered.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._minute: tuple[datetime, datetime | None] | None = None
        self._texts: dict[tuple[int, str, bool], tuple[Answer, tuple[str, int]]] = {}

    def text(self, turn: Turn, over: Voiceover) -> tuple[str, int]:
        """The text of `turn`, and how many points of its answer had no room."""
        wording = self._flow.languages[turn.session.language]
        lines: list[str] = []
        untold = 0
        for say in turn.says:
            line, left_out = self._line(say, wording, over)
            if say.answer and lines and cost("\n".join([*lines, line])).segments > wording.budget_other:
                line, left_out = answer_text(say.answer, wording, over, say.offers, "\n".join(lines))
                lines = []  # they are in it
            lines.append(line)
            untold += left_out
        options = (wording.say("option", Channel.TEXT, key=key, label=label) for key, label in turn.options)
        lines += [wording.alphabet(option) for option in options]
        return "\n".join(lines), untold

    def speech(self, turn: Turn, over: Voiceover) -> tuple[Spoken, ...]:
        """The sentences of `turn`, its options last."""
        language = turn.session.language
        wording = self._spoken(language, over)
        options = [wording.say("option", Channel.VOICE, key=key, label=label) for key, label in turn.options]
        return (
            *(sentence for say in turn.says for sentence in self._sentences(say, language, over)),
            *(Spoken(option, language) for option in options),
        )

    def _spoken(self, language: str, over: Voiceover) -> Wording:
        wording = self._flow.languages[language]
        return wording.keys_only if over.keys_only else wording

    def _line(self, say: Say, wording: Wording, over: Voiceover) -> tuple[str, int]:
        if say.answer:
            return self._answer(say.answer, wording, over, say.offers)
        return wording.alphabet(wording.say(say.key, Channel.TEXT, **_values(say, wording, over, Channel.TEXT))), 0

    def _answer(self, answer: Answer, wording: Wording, over: Voiceover, offers: bool) -> tuple[str, int]:
        minute = (over.now.replace(second=0, microsecond=0), over.as_of)
        if minute != self._minute or len(self._texts) > _REMEMBERED:
            self._minute, self._texts = minute, {}
        key = (id(answer), wording.code, offers)
        known = self._texts.get(key)
        if known is None or known[0] is not answer:
            known = self._texts[key] = answer, answer_text(answer, wording, over, offers)
        return known[1]

    def _sentences(self, say: Say, language: str, over: Voiceover) -> list[Spoken]:
        code = say.language or language
        wording = self._spoken(code, over)
        if say.answer:
            parts = answer_speech(say.answer, wording, over)
            return [Spoken(part.text, code, wording.clips.get(part.key, "")) for part in parts]
        text = wording.say(say.key, Channel.VOICE, **_values(say, wording, over, Channel.VOICE))
        return [Spoken(text, code, wording.clips.get(say.key, ""))]


def _values(say: Say, wording: Wording, over: Voiceover, channel: Channel) -> dict[str, str]:
    manner = over.manner
    values = {
        "sender": wording.sender(manner.sender),
        "helpline": spoken_phone(manner.helpline) if channel is Channel.VOICE else manner.helpline,
        "days": str(manner.retain_days),
        "said": "",
        "service": "",
        "place": "",
        **say.values,
    }
    values["said"] = values["said"] or wording.text["say.that"]
    return values

"""What a broadcast says: texts that people wrote, checked and signed, or those that its template has."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten

from responder.core.broadcast import BroadcastError, Template
from responder.core.estimate import BadText, checked_text
from responder.core.problem import Phrase
from responder.core.wording import Channel, Wording

QUOTED = 40  # characters of a wrong message that its correction repeats


@dataclass(frozen=True)
class Scribe:
    """Writes in `languages`, signs as `sender`, tells times of `zone`. Raises BadText, BroadcastError."""

    languages: Mapping[str, Wording]
    sender: str
    zone: str

    def preview(self, text: str, language: str, exercise: bool) -> str:
        """`text` exactly as it would be sent: signed, and marked if it is of an exercise. Raises BadText."""
        return self.checked({language: text}, exercise)[language]

    def prewritten(self, template: Template, exercise: bool, now: datetime) -> Mapping[str, str]:
        """What a template says in each language; nothing where people write it themselves."""
        return {} if template is Template.FREE else self.texts(template, exercise, {}, "", now, now)[0]

    def texts(
        self,
        template: Template,
        exercise: bool,
        texts: Mapping[str, str],
        fallback: str,
        about: datetime,
        now: datetime,
        wrong: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, str], str]:
        """(texts, fallback): those that are given, or the prewritten ones. `about`: when what is corrected began, and
        what it said in each language is `wrong`.
        """
        if texts:
            said = self.checked(texts, exercise)
            return said, checked_fallback(fallback, said)
        if template is Template.FREE:
            raise BroadcastError("no text; write one, or choose a template that has one")
        prewritten = {
            code: self._prewritten(wording, template, about, now, (wrong or {}).get(code, ""))
            for code, wording in self.languages.items()
        }
        said = self.checked(prewritten, exercise)
        return said, checked_fallback(fallback or next(iter(said)), said)

    def _prewritten(self, wording: Wording, template: Template, about: datetime, now: datetime, wrong: str) -> str:
        sender = wording.sender(self.sender)
        values = {
            "said": shorten(wrong.removesuffix(f"/{sender}"), QUOTED, placeholder="..."),
            "time": wording.moment(about, now, self.zone),
            "sender": sender,
        }
        push = template is Template.CORRECTION and not wrong  # it had no text of its own
        return wording.say(f"broadcast.{template}{'_push' * push}", Channel.TEXT, **values)

    def checked(self, texts: Mapping[str, str], exercise: bool) -> dict[str, str]:
        for language in texts:
            if language not in self.languages:
                known = Phrase("no such language; choose among {languages}", languages=list(self.languages))
                raise BadText(language, known)
        return {
            language: checked_text(self._signed(said, language, exercise), language, exercise)
            for language, said in texts.items()
        }

    def _signed(self, text: str, language: str, exercise: bool) -> str:
        """`text` with the sender's name: what nobody has signed is not believed."""
        sender, text = self.languages[language].sender(self.sender), text.strip()
        if not text or sender in text:
            return text
        return f"{text.removesuffix('ÖVNING').strip() if exercise else text} /{sender}"


def checked_fallback(language: str, texts: Mapping[str, str]) -> str:
    """`language`, if there is a text in it or if it is "". Raises BadText."""
    if language and language not in texts:
        raise BadText(
            language,
            Phrase("chosen as the fallback, but there is no such text; write it, or choose another fallback"),
        )
    return language

"""What a broadcast says, costs and when it goes: texts checked, price and end foreseen, a time on the clock."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from responder.core.broadcast import BroadcastError
from responder.core.problem import Phrase
from responder.core.segments import Cost, cost, gsm_twins
from responder.core.words import printable

MAX_SEGMENTS = 6


class BadText(BroadcastError):
    """A text that may not be sent: in which language, and why."""

    def __init__(self, language: str, reason: Phrase) -> None:
        self.language, self.reason = language, reason
        super().__init__(Phrase("text {language}: {reason}", language=language, reason=reason))


class TextMissing(BroadcastError):
    """Languages that have recipients, but neither a text nor a fallback with one."""

    def __init__(self, languages: Sequence[str]) -> None:
        self.languages = tuple(languages)
        super().__init__(
            Phrase(
                "no text in {languages}, which recipients have chosen; write one, or choose a fallback language that "
                "has a text",
                languages=[name or Phrase("(unknown)") for name in languages],
            )
        )


class BadTime(BroadcastError):
    """A time that cannot be sent at."""


_EXERCISE = re.compile(r"\W*(övning|exercise)(?!\w)", re.IGNORECASE)


def checked_text(text: str, language: str, exercise: bool) -> str:
    """`text` as it will be sent: NFC, cheap twins, and marked if it is an exercise. Raises BadText."""
    text = gsm_twins(unicodedata.normalize("NFC", printable(text)).replace("\r\n", "\n")).strip()
    if not text:
        raise BadText(language, Phrase("empty; write what it should say"))
    if exercise:
        text = exercise_text(text, language)
    elif _EXERCISE.match(text):
        raise BadText(
            language,
            Phrase("begins like an exercise, but this is none; leave that word out, or draft a new one as an exercise"),
        )
    price = cost(text)
    if price.segments > MAX_SEGMENTS:
        raise BadText(language, _too_long(price))
    return text


def _too_long(price: Cost) -> Phrase:
    if not price.culprits:
        return Phrase("{segments} segments, at most {most}; shorten it", segments=price.segments, most=MAX_SEGMENTS)
    return Phrase(
        "{segments} segments because of {characters}, at most {most}; leave those out, or shorten it",
        segments=price.segments,
        characters=" ".join(price.culprits),
        most=MAX_SEGMENTS,
    )


def exercise_text(text: str, language: str = "sv") -> str:
    """`text` that begins and ends with ÖVNING, in English with the English word too."""
    if not text.startswith("ÖVNING"):
        text = f"ÖVNING. {text}"
    if language == "en" and "exercise" not in text.lower():
        text = f"ÖVNING. EXERCISE. {text.removeprefix('ÖVNING').lstrip('. ')}"
    return text if text.endswith("ÖVNING") else f"{text} ÖVNING"


@dataclass(frozen=True, slots=True)
class Prices:
    """What a segment and a call cost."""

    segment: float
    call: float


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast it goes: segments and calls a second."""

    segments: float
    calls: float


@dataclass(frozen=True, slots=True)
class Line:
    """What recipients of one language get: the exact text, and in which language it is written."""

    language: str
    written_in: str
    text: str
    cost: Cost
    by_text: int
    by_call: int
    price: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a broadcast comes to, and when the last has been sent if it begins now."""

    lines: tuple[Line, ...]
    recipients: int
    price: float
    finish: datetime


Counts = Mapping[tuple[str, str], int]  # (language, "text" or "call") to recipients


def estimate(
    texts: Mapping[str, str], fallback: str, counts: Counts, prices: Prices, rates: Rates, now: datetime
) -> Estimate:
    """What `texts` cost for `counts`; texts and calls go out side by side. Raises TextMissing."""
    needed = sorted({language for (language, _), number in counts.items() if number})
    missing = [language for language in needed if language not in texts and fallback not in texts]
    if missing:
        raise TextMissing(missing)
    lines = tuple(_line(language, texts, fallback, counts, prices) for language in dict.fromkeys((*texts, *needed)))
    segments = sum(line.by_text * line.cost.segments for line in lines)
    calls = sum(line.by_call for line in lines)
    seconds = max(segments / rates.segments, calls / rates.calls)
    return Estimate(
        lines,
        recipients=sum(line.by_text + line.by_call for line in lines),
        price=sum(line.price for line in lines),
        finish=now + timedelta(seconds=seconds),
    )


def sending_time(text: str, zone: str, now: datetime) -> datetime:
    """ISO 8601, or HH:MM as the next such time on the clock of `zone`; in UTC. Raises BadTime."""
    here = ZoneInfo(zone)
    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock:
            local = now.astimezone(here).replace(
                hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, tzinfo=None
            )
            given = local if local > now.astimezone(here).replace(tzinfo=None) else local + timedelta(days=1)
        elif len(text.strip()) <= 10:
            raise ValueError
        else:
            given = datetime.fromisoformat(text.strip())
        at = given.astimezone(UTC) if given.tzinfo else _only(given, here)
    except BadTime:
        raise
    except (ValueError, OverflowError):  # the latter beyond the years 1 and 9999
        raise BadTime("'{time}' is no time; write it like 14:20 or 2026-11-24T14:20", time=text) from None
    if at <= now:
        raise BadTime("{time} has passed; choose a later time", time=text)
    return at


_CLOCK = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")


def _only(given: datetime, here: ZoneInfo) -> datetime:
    first, second = (given.replace(tzinfo=here, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if first.astimezone(UTC).astimezone(here).replace(tzinfo=None) != given:
        raise BadTime(
            "{time} does not exist on the clock of {zone}, as summer time begins; choose another time",
            time=f"{given:%Y-%m-%d %H:%M}",
            zone=here.key,
        )
    raise BadTime(
        "{time} comes twice on the clock of {zone}; write {first} or {second}",
        time=f"{given:%Y-%m-%d %H:%M}",
        zone=here.key,
        first=first.isoformat(timespec="minutes"),
        second=second.isoformat(timespec="minutes"),
    )


def _line(language: str, texts: Mapping[str, str], fallback: str, counts: Counts, prices: Prices) -> Line:
    written_in = language if language in texts else fallback
    text, price = texts[written_in], cost(texts[written_in])
    by_text, by_call = counts.get((language, "text"), 0), counts.get((language, "call"), 0)
    total = by_text * price.segments * prices.segment + by_call * prices.call
    return Line(language, written_in, text, price, by_text, by_call, total)

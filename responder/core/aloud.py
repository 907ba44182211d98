"""A sentence as a speech synthesiser should get it: one line, no markup, numbers in the way that people say them."""

import re
import unicodedata

from responder.core.reply import spoken_phone

LONGEST = 2000  # characters of one sentence
_NOT_SAID = re.compile(r"[\x00-\x1f\x7f-\x9f<>\[\]{}\\|`\ud800-\udfff]+")  # markup, and what steers a synthesiser
_AGAIN = re.compile(r"([^\w\s])\1+")
_PHONE = re.compile(r"(?<![\w-])(?:\+\d{1,3}[ -]?\d|0\d{1,3}-\d)[\d ]{4,14}\d(?!\w)")
_CODE = re.compile(r"(?<![\d.,])\d{3} \d{2}(?![\d.,]?\d)")  # 123 47, 113 13
_CRISIS = re.compile(r"(?<![\d.,])(?:112|1177)(?![.,]?\d)")
_LONG = re.compile(r"\d{5,}")
_TIME = re.compile(r"(?<![\d.,])([01]?\d|2[0-4])[.:]([0-5]\d)(?![.,]?\d)")
_DECIMAL = re.compile(r"(?<![\d,])(\d+),(\d+)(?!,?\d)")
_DATE = re.compile(r"(?<![\d/])([0-3]?\d)/([01]?\d)(?![\d/])")
_CLOCK = re.compile(r"\bkl\.?\s*(?=\d)", re.IGNORECASE)


def aloud(text: str, language: str) -> str:
    """`text`, at most LONGEST characters, as it is to be read in `language` (a code); "" if nothing can be said."""
    plain = _AGAIN.sub(r"\1", _NOT_SAID.sub(" ", unicodedata.normalize("NFC", text[: 4 * LONGEST])))
    said = " ".join("".join(c for c in plain if unicodedata.category(c)[0] != "C").split())
    if not any(map(str.isalnum, said)):
        return ""
    for number in (_PHONE, _CODE):
        said = number.sub(lambda found: spoken_phone(found[0]), said)
    for number in (_CRISIS, _LONG):
        said = number.sub(lambda found: " ".join(found[0]), said)
    said = _TIME.sub(r"\1 \2", said)
    if language == "sv":
        said = _DECIMAL.sub(r"\1 komma \2", _CLOCK.sub("klockan ", said))
        said = _DATE.sub(lambda found: f"den {_ordinal(found[1])} {_ordinal(found[2])}", said)
    return said if len(said) <= LONGEST else said[:LONGEST].rsplit(" ", 1)[0]


def _ordinal(number: str) -> str:
    """Swedish: 1:a, 2:a, 3:e, 11:e, 21:a."""
    value = int(number)
    return f"{value}:{'a' if value % 10 in (1, 2) and value not in (11, 12) else 'e'}"

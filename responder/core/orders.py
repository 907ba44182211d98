"""What operators and hosts order by text, read forgivingly: `ÖPPEN 7 till 20 482913`, `läge`, `JA 41`.

A text is an order only if each of its words belongs to one, so that a resident's question never is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from responder.core.broadcast import Template
from responder.core.onetime import PAPER_DIGITS, TOTP_DIGITS
from responder.core.points import Status
from responder.core.words import clean, fold, swedish

POINT_DIGITS = 4  # of a point's number at most: five digits are a postcode
ID_DIGITS = 9  # of a broadcast's number at most
HOST_DIGITS = 2  # of the code of a question to a host
EVERYONE = "everyone"


class Verb(StrEnum):
    """What is ordered."""

    OPEN = "open"
    FULL = "full"
    CLOSED = "closed"
    STATE = "state"
    SEND = "send"
    APPROVE = "approve"
    STOP = "stop"


class Answer(StrEnum):
    """A word that answers a question."""

    YES = "yes"
    FULL = "full"
    NO = "no"


BECOMES = {Verb.OPEN: Status.OPEN, Verb.FULL: Status.FULL, Verb.CLOSED: Status.CLOSED}  # what a point is to be
ABOUT_A_BROADCAST = (Verb.APPROVE, Verb.STOP)


@dataclass(frozen=True, slots=True)
class Order:
    """An order. `code`: its digits, "" for none; `number`: of a point or a broadcast; `closes`: "20:00", or "".

    `template` and `target` (as it was written, `EVERYONE`, or "" where the template says whom) are of SEND.
    """

    verb: Verb
    code: str = ""
    number: int | None = None
    closes: str = ""
    template: Template | None = None
    target: str = ""


_VERBS: Mapping[str, Verb] = {
    **dict.fromkeys(("oppen", "oppet", "oppna", "oppnad", "open"), Verb.OPEN),
    **dict.fromkeys(("full", "fullt"), Verb.FULL),
    **dict.fromkeys(("stangd", "stangt", "stang", "closed", "close"), Verb.CLOSED),
    **dict.fromkeys(("lage", "laget", "status", "state"), Verb.STATE),
    **dict.fromkeys(("sand", "skicka", "send"), Verb.SEND),
    **dict.fromkeys(("godkann", "godkanner", "approve"), Verb.APPROVE),
    **dict.fromkeys(("stoppa", "stopp", "stop"), Verb.STOP),
}
_FILLERS = frozenset(
    ("punkt", "punkten", "point", "nr", "nummer", "number", "kod", "code", "nu", "now", "kl", "utskick")
)
_YES = frozenset(("ja", "japp", "j", "yes", "y"))
_NO = frozenset(("nej", "n", "no"))
_EVERYONE = frozenset(("alla", "everyone", "all"))
_TEMPLATES: Sequence[tuple[str, Template]] = (  # in `fold`ed words
    ("faran over", Template.ALL_CLEAR), ("fara over", Template.ALL_CLEAR), ("all clear", Template.ALL_CLEAR),
    ("rattelse", Template.CORRECTION), ("correction", Template.CORRECTION),
    ("ovning", Template.EXERCISE), ("exercise", Template.EXERCISE),
)  # fmt: skip
_UNTIL = re.compile(
    r"(?<![^\W\d])(?:tills|till|til|until)\s*(?:kl|klockan)?\s*"
    r"(?:([01]?\d|2[0-4])\s*[.:]\s*([0-5]\d)|([01]\d|2[0-4])([0-5]\d)|([01]?\d|2[0-4]))(?!\d)"
)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_ALSO_YES = frozenset(("jo", "javisst", "jajamen", "ok", "okej", "okay", "yep"))
_COURTESY = frozenset(
    ("tack", "thanks", "thank", "you", "please", "snalla", "garna", "da", "det", "gor", "stammer", "jo", "ja", "visst",
     "nu", "hej", "mvh", "do", "it")
)  # fmt: skip
_WHOLE = re.compile(rf"(?<!\d)(?:\d{{{PAPER_DIGITS}}}|\d{{{TOTP_DIGITS}}})(?!\d)")
_PIECES = re.compile(rf"\d(?:[\W_]{{0,3}}\d){{{TOTP_DIGITS - 1},}}")
_GROUPS = ((3, 2), (2, 3), (4, 2), (2, 4))  # (digits, groups) in which people write codes of six and of eight


def order(text: str) -> Order | None:
    """The order that `text` is; None if it is something else. One without a code is told from the others by that."""
    said = swedish(clean(text))
    if len(said) > 160:
        return None
    closes, rest = _closing(fold(said), said)
    tokens = _TOKEN.findall(rest)
    words = [fold(token) for token in tokens if not token.isdecimal()]
    digits = [token for token in tokens if token.isdecimal()]
    verbs = [_VERBS[word] for word in words if word in _VERBS]
    if not verbs:
        return None
    code, numbers = _code(digits, verbs[0] in ABOUT_A_BROADCAST)
    if verbs[0] is Verb.SEND:
        return None if numbers or closes else _sending(tokens, words, code)
    others = [word for word in words if word not in _VERBS and word not in _FILLERS]
    verb, *more = dict.fromkeys(verbs)
    if others or more:
        return None
    if verb is Verb.STOP and digits and not _is_stop(code, numbers, closes):
        return (
            None if _is_postcode(digits) else Order(verb)
        )  # no resident's STOPP since its code is mistyped or missing
    if len(numbers) > 1 or (closes and verb not in (Verb.OPEN, Verb.FULL)):
        return None
    number = int(numbers[0]) if numbers else None
    if verb is Verb.STATE:
        known = number is None or len(numbers[0]) <= POINT_DIGITS
        return Order(verb, code, number) if known and (digits or len(words) == 1) else None
    if number is None:  # STOPP alone is a resident's
        return None
    if len(numbers[0]) > (ID_DIGITS if verb in ABOUT_A_BROADCAST else POINT_DIGITS):
        return None
    return Order(verb, code, number, closes)


def answer(text: str) -> tuple[Answer, str] | None:
    """(what is answered, the digits given with it or "") of a text that is an answer: `JA`, `full 41`, `nej 41 tack`.

    Digits among words that may change its sense count as none: `JA 41 men vi stänger snart` is to be said plainly.
    """
    tokens = _TOKEN.findall(fold(swedish(clean(text)))) if len(text) <= 80 else []
    words = [token for token in tokens if not token.isdecimal()]
    digits = [token for token in tokens if token.isdecimal()]
    said = {found for found in map(_answered, words) if found}
    if len(said) != 1 or len(digits) > 1 or (digits and len(digits[0]) != HOST_DIGITS):
        return None
    others = [word for word in words if not _answered(word)]
    if not digits and len(words) > 1:
        return None
    if all(word in _COURTESY for word in others):
        return said.pop(), digits[0] if digits else ""
    return (said.pop(), "") if _answered(tokens[0]) else None


def _answered(word: str) -> Answer | None:
    """The answer that a `fold`ed word is."""
    if _VERBS.get(word) is Verb.FULL:
        return Answer.FULL
    return Answer.YES if word in _YES else Answer.NO if word in _NO else None


def meant(text: str) -> tuple[Answer, str] | None:
    """As `answer`, while one is waited for: the word comes first, courtesy or digits may follow: `Ja tack`, `JA 7`."""
    tokens = _TOKEN.findall(fold(swedish(clean(text)))) if len(text) <= 80 else []
    if not tokens or tokens[0] not in _YES | _ALSO_YES | _NO:
        return None
    digits = [token for token in tokens[1:] if token.isdecimal()]
    if any(not token.isdecimal() and token not in _COURTESY for token in tokens[1:]):
        return None
    return (Answer.NO if tokens[0] in _NO else Answer.YES), "".join(digits)


def is_garbled(text: str) -> bool:
    """Whether `text`, which is no order, has an order's word and what may be a code."""
    found = _TOKEN.findall(swedish(clean(text)))
    return any(fold(token) in _VERBS for token in found) and without_codes(text) != clean(text)


def without_code(text: str, code: str) -> str:
    """`text` as it may be kept: neither `code` nor what may be another is to be read in it any longer."""
    kept = clean(text)
    if not code:
        return without_codes(kept)
    return _starred(_WHOLE, re.sub(r"[\W_]*".join(code), "*" * len(code), kept, count=1))


def without_codes(text: str) -> str:
    """`text` without anything that may be a code: groups of six or eight digits, and as many in small groups."""
    return _starred(_PIECES, _starred(_WHOLE, clean(text)))


def _starred(groups: re.Pattern[str], text: str) -> str:
    return groups.sub(lambda found: re.sub(r"\d", "*", found[0]), text)


def _closing(folded: str, said: str) -> tuple[str, str]:
    """("20:00" or "", the text without it). Folding keeps the places of letters."""
    found = _UNTIL.search(folded)
    if not found or len(folded) != len(said):
        return "", said
    hour, minute = next((h, m or "0") for h, m in ((found[1], found[2]), (found[3], found[4]), (found[5], "0")) if h)
    if int(hour) == 24:
        hour = "0"
    return f"{int(hour):02d}:{int(minute):02d}", f"{said[: found.start()]} {said[found.end() :]}"


def _code(digits: list[str], after_a_long_number: bool = False) -> tuple[str, list[str]]:
    """(the one code among groups of digits or "", the other groups). Codes may be written in groups of their own.

    `after_a_long_number`: of two groups that both may be one, the last is: the number of a broadcast grows that long.
    """
    whole = [index for index, group in enumerate(digits) if len(group) in (TOTP_DIGITS, PAPER_DIGITS)]
    if len(whole) == 1 or (after_a_long_number and len(digits) == 2 == len(whole)):
        index = whole[-1]
        return digits[index], digits[:index] + digits[index + 1 :]
    found = []
    for size, count in () if whole else _GROUPS:
        for start in range(len(digits) - count + 1):
            groups = digits[start : start + count]
            if all(len(group) == size for group in groups):
                found.append(("".join(groups), digits[:start] + digits[start + count :]))
    return found[0] if len(found) == 1 else ("", digits)


def _is_stop(code: str, numbers: list[str], closes: str) -> bool:
    """Whether STOPP with these digits stops a broadcast."""
    return bool(code) and len(numbers) == 1 and len(numbers[0]) <= ID_DIGITS and not closes


def _is_postcode(digits: list[str]) -> bool:
    """Whether it is one postcode and nothing else, written as people do."""
    return [len(group) for group in digits] in ([5], [3, 2])


def _sending(tokens: list[str], words: list[str], code: str) -> Order | None:
    """SEND, a target and a template in any order; a correction names nobody."""
    named = " ".join(words)
    for said, template in _TEMPLATES:
        if re.search(rf"\b{said}\b", named):
            gone = [*said.split(), *(word for word in _VERBS if _VERBS[word] is Verb.SEND)]
            left = [t for t in tokens if not t.isdecimal() and fold(t) not in gone and fold(t) not in _FILLERS - {"nu"}]
            target = " ".join(left)
            if any(fold(token) in _EVERYONE for token in left):
                target = EVERYONE if len(left) == 1 else ""
            if bool(target) == (template is Template.CORRECTION):
                return None
            return Order(Verb.SEND, code, template=template, target=target)
    return None

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
    code, numbers = _code(digits)
    if verbs[0] is Verb.SEND:
        return None if numbers or closes else _sending(tokens, words, code)
    others = [word for word in words if word not in _VERBS and word not in _FILLERS]
    verb, *more = dict.fromkeys(verbs)
    if others or more or len(numbers) > 1 or (closes and verb not in (Verb.OPEN, Verb.FULL)):
        return None
    number = int(numbers[0]) if numbers else None
    if verb is Verb.STATE:
        known = number is None or len(numbers[0]) <= POINT_DIGITS
        return Order(verb, code, number) if known and (digits or len(words) == 1) else None
    if number is None or (verb is Verb.STOP and not code):  # STOPP alone, or of a place, is a resident's
        return None
    if len(numbers[0]) > (ID_DIGITS if verb in ABOUT_A_BROADCAST else POINT_DIGITS):
        return None
    return Order(verb, code, number, closes)


def answer(text: str) -> tuple[Answer, str] | None:
    """(what is answered, the digits given with it or "") of a text that is a bare answer: `JA`, `full 41`."""
    tokens = _TOKEN.findall(fold(swedish(clean(text)))) if len(text) <= 40 else []
    words = [token for token in tokens if not token.isdecimal()]
    digits = [token for token in tokens if token.isdecimal()]
    if len(words) != 1 or len(digits) > 1:
        return None
    said = Answer.YES if words[0] in _YES else Answer.NO if words[0] in _NO else None
    if _VERBS.get(words[0]) is Verb.FULL:
        said = Answer.FULL
    if said is None or (digits and len(digits[0]) != HOST_DIGITS):
        return None
    return said, digits[0] if digits else ""


def without_code(text: str, code: str) -> str:
    """`text` as it may be kept: a code in it is no longer to be read."""
    kept = clean(text)
    return re.sub(r"[\s-]*".join(code), "*" * len(code), kept, count=1) if code else kept


def _closing(folded: str, said: str) -> tuple[str, str]:
    """("20:00" or "", the text without it). Folding keeps the places of letters."""
    found = _UNTIL.search(folded)
    if not found or len(folded) != len(said):
        return "", said
    hour, minute = next((h, m or "0") for h, m in ((found[1], found[2]), (found[3], found[4]), (found[5], "0")) if h)
    if int(hour) == 24:
        hour = "0"
    return f"{int(hour):02d}:{int(minute):02d}", f"{said[: found.start()]} {said[found.end() :]}"


def _code(digits: list[str]) -> tuple[str, list[str]]:
    """(the one code among groups of digits or "", the other groups). Codes may be written in groups of their own."""
    whole = [index for index, group in enumerate(digits) if len(group) in (TOTP_DIGITS, PAPER_DIGITS)]
    if len(whole) == 1:
        index = whole[0]
        return digits[index], digits[:index] + digits[index + 1 :]
    found = []
    for size, count in () if whole else _GROUPS:
        for start in range(len(digits) - count + 1):
            groups = digits[start : start + count]
            if all(len(group) == size for group in groups):
                found.append(("".join(groups), digits[:start] + digits[start + count :]))
    return found[0] if len(found) == 1 else ("", digits)


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

"""What a phone number is: its country, whether it takes texts or calls, and why it may be refused.

Numbers are E.164. The numbering plans are those of the phonenumbers library. Premium and satellite numbers are never
sent anything: that is how traffic is pumped.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType as Type

EVERYWHERE = "*"
HOME = "SE"
_SWEDISH_MOBILE = re.compile(r"\+467[02369]\d{7}")  # possible by the numbering plan; any other is asked of the library
_WORLD = "001"  # country codes of no country: satellites and global services
_NEVER = frozenset({Type.PREMIUM_RATE, Type.SHARED_COST, Type.PAGER, Type.VOICEMAIL})
_TEXTS = frozenset({Type.MOBILE, Type.FIXED_LINE_OR_MOBILE})
_CALLS = frozenset({Type.FIXED_LINE, Type.VOIP, Type.PERSONAL_NUMBER, Type.UAN})


class Why(StrEnum):
    """Why a number cannot be reached."""

    INVALID = "invalid"
    PREMIUM = "premium"
    COUNTRY = "country"


@dataclass(frozen=True, slots=True)
class Line:
    """A number: `way` is "text", "call", or "" if it is refused, and then `why` says why."""

    number: str
    country: str = ""
    way: str = ""
    why: Why | None = None


def countries(setting: str) -> frozenset[str]:
    """The ISO codes of a setting such as "SE,NO"; "*" stands for all."""
    return frozenset(code.strip().upper() for code in setting.split(",") if code.strip())


@lru_cache(maxsize=20_000)
def line(number: str, allowed: frozenset[str]) -> Line:
    """What `number` is for somebody who wants to hear from us, from one of the `allowed` countries."""
    try:
        parsed = phonenumbers.parse(number) if number.startswith("+") else None
    except phonenumbers.NumberParseException:
        parsed = None
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        return Line(number, why=Why.INVALID)
    country = phonenumbers.region_code_for_number(parsed) or ""
    kind = phonenumbers.number_type(parsed)
    if kind in _NEVER or country == _WORLD:
        return Line(number, country, why=Why.PREMIUM)
    if EVERYWHERE not in allowed and country not in allowed:
        return Line(number, country, why=Why.COUNTRY)
    way = "text" if kind in _TEXTS else "call" if kind in _CALLS else ""
    return Line(number, country, way, None if way else Why.INVALID)


def can_be_answered(sender: str, allowed: frozenset[str]) -> bool:
    """Whether a text from `sender` can be answered: a number that is possible, neither premium nor satellite."""
    if _SWEDISH_MOBILE.fullmatch(sender) and (EVERYWHERE in allowed or HOME in allowed):
        return True
    return _possible(sender, allowed)


@lru_cache(maxsize=10_000)
def _possible(sender: str, allowed: frozenset[str]) -> bool:
    if not sender.startswith("+"):
        return False
    try:
        parsed = phonenumbers.parse(sender)
    except phonenumbers.NumberParseException:
        return False
    if not phonenumbers.is_possible_number(parsed) or phonenumbers.number_type(parsed) in _NEVER:
        return False
    country = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    return country != _WORLD and (EVERYWHERE in allowed or country in allowed)


def prefix(number: str) -> str:
    """The range that `number` is counted with: 10,000 numbers at home, a whole country code abroad."""
    if number.startswith("+46"):
        return number[:-4]
    try:
        return f"+{phonenumbers.parse(number).country_code}"
    except phonenumbers.NumberParseException:
        return number[:4]

"""How many segments a text costs, in which alphabet, and which of its characters make it dear.

Source: 3GPP TS 23.038 (alphabet; tables from the gsm0338 package) and 23.040 (concatenation). A long text
is cut greedily: 153 septets or 67 UTF-16 units a part, and an escape pair or a surrogate pair is never
split over two parts.
"""

import unicodedata
from dataclasses import dataclass

from gsm0338.charset import BASIC_CHARACTER_SET, BASIC_CHARACTER_SET_EXTENSION

_BASIC = frozenset(unicodedata.lookup(name) for code, name in BASIC_CHARACTER_SET.items() if code != 0x1B)
_EXTENDED = frozenset(unicodedata.lookup(name) for name in BASIC_CHARACTER_SET_EXTENSION.values())

# Characters that phones and editors put in for us, with the twin that GSM-7 holds.
_TWINS = str.maketrans(
    {
        "‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'", "´": "'", "`": "'",
        "“": '"', "”": '"', "„": '"', "″": '"', "«": '"', "»": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-",
        "…": "...", "\u00a0": " ", "\u2007": " ", "\u2009": " ", "\u202f": " ", "\t": " ", "•": "-", "·": "-",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a text costs: `encoding` is "GSM-7" or "UCS-2", `units` are septets or UTF-16 code units."""

    encoding: str
    units: int
    segments: int
    culprits: tuple[str, ...] = ()  # the characters that force UCS-2, in order of appearance


def gsm_twins(text: str) -> str:
    """NFC, with curly quotes, dashes, ellipses and odd spaces swapped for their GSM-7 twins."""
    return unicodedata.normalize("NFC", text).translate(_TWINS)


def to_gsm(text: str) -> str:
    """`text` in GSM-7 alone: twins swapped, other accents dropped, and what is left unknown removed."""
    out = []
    for char in gsm_twins(text):
        if char in _BASIC or char in _EXTENDED:
            out.append(char)
        else:
            out.extend(c for c in unicodedata.normalize("NFKD", char) if c in _BASIC)
    return "".join(out)


def is_gsm(text: str) -> bool:
    """Whether every character of `text` is in the GSM-7 alphabet or its extension."""
    return all(char in _BASIC or char in _EXTENDED for char in text)


def cost(text: str) -> Cost:
    """Encoding, units and segments of `text`, as Twilio bills it. An empty text is one segment of 0 units."""
    culprits = tuple(dict.fromkeys(char for char in text if char not in _BASIC and char not in _EXTENDED))
    if culprits:
        widths = [2 if ord(char) > 0xFFFF else 1 for char in text]
        return Cost("UCS-2", sum(widths), _parts(widths, single=70, multi=67), culprits)
    widths = [2 if char in _EXTENDED else 1 for char in text]
    return Cost("GSM-7", sum(widths), _parts(widths, single=160, multi=153))


def _parts(widths: list[int], single: int, multi: int) -> int:
    if sum(widths) <= single:
        return 1
    parts, room = 1, multi
    for width in widths:
        if width > room:
            parts, room = parts + 1, multi
        room -= width
    return parts

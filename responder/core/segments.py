"""How many segments a text costs, in which alphabet, and which of its characters make it dear.

Source: 3GPP TS 23.038 (alphabet; tables from the gsm0338 package) and 23.040 (concatenation). A long text
is cut greedily: 153 septets or 67 UTF-16 units a part, and an escape pair or a surrogate pair is never
split over two parts.
"""

import re
import unicodedata
from dataclasses import dataclass

from gsm0338.charset import BASIC_CHARACTER_SET, BASIC_CHARACTER_SET_EXTENSION

_BASIC = frozenset(unicodedata.lookup(name) for code, name in BASIC_CHARACTER_SET.items() if code != 0x1B)
_EXTENDED = frozenset(unicodedata.lookup(name) for name in BASIC_CHARACTER_SET_EXTENSION.values())

_NOT_BASIC = re.compile(f"[^{re.escape(''.join(sorted(_BASIC)))}]")
_NOT_GSM = re.compile(f"[^{re.escape(''.join(sorted(_BASIC | _EXTENDED)))}]")

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
    if not _NOT_GSM.search(text):
        return text
    return unicodedata.normalize("NFC", text).translate(_TWINS)


def to_gsm(text: str) -> str:
    """`text` in GSM-7 alone: twins swapped, other accents dropped, and what is left unknown removed."""
    if not _NOT_GSM.search(text):
        return text
    text = gsm_twins(text)
    return _NOT_GSM.sub(lambda found: "".join(c for c in unicodedata.normalize("NFKD", found[0]) if c in _BASIC), text)


def is_gsm(text: str) -> bool:
    """Whether every character of `text` is in the GSM-7 alphabet or its extension."""
    return not _NOT_GSM.search(text)


def cost(text: str) -> Cost:
    """Encoding, units and segments of `text`, as Twilio bills it. An empty text is one segment of 0 units."""
    if not _NOT_BASIC.search(text):
        return Cost("GSM-7", len(text), 1 if len(text) <= 160 else -(-len(text) // 153))
    culprits = tuple(dict.fromkeys(_NOT_GSM.findall(text)))
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


def cut(text: str) -> list[str]:
    """`text` in the parts that it goes out in: as many as it costs segments, together the whole."""
    gsm = not _NOT_GSM.search(text)
    single, multi = (160, 153) if gsm else (70, 67)
    widths = [2 if (char in _EXTENDED if gsm else ord(char) > 0xFFFF) else 1 for char in text]
    if sum(widths) <= single:
        return [text]
    parts, begun, left = [], 0, multi
    for at, width in enumerate(widths):
        if width > left:
            parts.append(text[begun:at])
            begun, left = at, multi
        left -= width
    return [*parts, text[begun:]]


def room(text: str) -> int:
    """How many more plain characters fit into the segments that `text` needs anyway."""
    price = cost(text)
    single, multi = (160, 153) if price.encoding == "GSM-7" else (70, 67)
    left = (single if price.segments == 1 else multi * price.segments) - price.units
    while left > 0 and cost(text + "a" * left).segments > price.segments:
        left -= 1  # a pair that was not split over two parts took a place
    return left

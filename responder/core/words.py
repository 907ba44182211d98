"""What people type or say, made comparable: cleaned, folded and split into words.

Everything that reads a resident's text goes through `clean` first, so that a hostile or odd character
(NUL, right-to-left override, Arabic-Indic digits, look-alike letters) is dealt with in one place.
"""

import re
import unicodedata

MAX_TEXT = 1600  # characters; Twilio's own limit for an inbound body

# Look-alike letters that turn up in copied or forged text. Only letters that are drawn alike.
_LOOKALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјкморсухΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρ",
    "ABESIJKMHOPCTYXaesijkmopcyxABEZHIKMNOPTYXaovp",
)
_LATIN_TWINS = str.maketrans({"ß": "ss", "æ": "ä", "Æ": "Ä", "ø": "ö", "Ø": "Ö", "đ": "d", "ł": "l", "Ł": "L"})
_XML_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_TEXT = re.compile(r"[\t\n\r -~åäöÅÄÖéÉ]*")  # nothing in it to clean but its spaces
_SWEDISH_TEXT = re.compile(r"[ -~åäö]*")
_WORD = re.compile(r"[^\W_]+")
_TURNS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FORMULA = tuple("=+-@|%＝＋－＠")
# International, or with the 0 of a country's own numbers: at least eight digits, apart by at most two of " -/()".
_PHONE = re.compile(r"(?:\+|(?<![\w.:-])(?:00?|46))[ ()/-]{0,2}[1-9](?:[ ()/-]{0,2}\d){6,13}(?!\w)")


def printable(text: str) -> str:
    """`text` without the characters XML 1.0 forbids (NUL, most controls, lone surrogates, U+FFFE)."""
    return _XML_ILLEGAL.sub("", text)


def inert(text: str) -> str:
    """Somebody's words for a table that a spreadsheet may open: no formula, no control characters, nothing that turns
    the direction of what stands beside it.
    """
    text = _TURNS.sub("", printable(text))
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in _FORMULA else text


def hidden_numbers(text: str) -> str:
    """`text` with every telephone number in it masked as in a log: "+4670*****05". Dates, times and codes stay."""
    return _PHONE.sub(lambda found: _masked(found[0]), text)


def _masked(number: str) -> str:
    bare = "".join(char for char in number if char.isdecimal() or char == "+")
    return f"{bare[:5]}{'*' * (len(bare) - 7)}{bare[-2:]}"


def clean(raw: str) -> str:
    """At most `MAX_TEXT` characters, NFC, any Unicode decimal digit as ASCII, no format characters, single spaces."""
    if _PLAIN_TEXT.fullmatch(raw):
        return " ".join(raw.split())[:MAX_TEXT]
    out = []
    for char in unicodedata.normalize("NFC", printable(raw[: MAX_TEXT * 2])):
        category = unicodedata.category(char)
        if category == "Nd":
            out.append(str(unicodedata.decimal(char)))
        elif category == "Cf":
            continue
        elif category in ("Cc", "Zs", "Zl", "Zp"):
            out.append(" ")
        else:
            out.append(char)
    return " ".join("".join(out).split())[:MAX_TEXT]


def swedish(text: str) -> str:
    """Lower case, look-alikes as Latin, every accent removed except those of å, ä and ö."""
    lower = text.lower()
    if _SWEDISH_TEXT.fullmatch(lower):
        return lower
    text = text.translate(_LOOKALIKES).translate(_LATIN_TWINS).casefold()
    out = []
    for char in text:
        if char in "åäö":
            out.append(char)
        else:
            out.append("".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)))
    return "".join(out)


def fold(text: str) -> str:
    """`swedish(text)` with å, ä and ö also reduced to a, a and o: what is left when a phone has no Swedish keys."""
    lower = swedish(text)
    return lower if lower.isascii() else lower.translate(_PLAIN)


_PLAIN = str.maketrans("åäö", "aao")


def words(text: str) -> tuple[str, ...]:
    """The letter-and-digit words of `text`, in order, unchanged in case."""
    return tuple(_WORD.findall(text))

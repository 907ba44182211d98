"""What stands before the words of a text on the air: which part of a long one it is, or that it is for no person.

Source: 3GPP TS 23.040, 9.2.3.24 (user data header). SMSD keeps it as hexadecimal digits.
"""

from dataclasses import dataclass

_SHORT, _LONG = 0x00, 0x08  # of which text this is a part: a reference of 8 or of 16 bits
_NOT_FOR_PEOPLE = frozenset({0x01, 0x04, 0x05})  # "you have voice mail", and texts to a program by its port
MOST_PARTS = 255


@dataclass(frozen=True, slots=True)
class Header:
    """A text of one part has no `reference`. `told`: whether there are words for a person behind it."""

    reference: str = ""
    parts: int = 1
    part: int = 1
    told: bool = True


def read(digits: str) -> Header:
    """The header in hexadecimal `digits`; what cannot be read says nothing."""
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        return Header()
    found, at, end = Header(), 1, 1 + (data[0] if data else 0)
    while at + 2 <= min(end, len(data)):
        kind, value = data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
        if kind in _NOT_FOR_PEOPLE:
            found = Header(found.reference, found.parts, found.part, told=False)
        if (kind, len(value)) in ((_SHORT, 3), (_LONG, 4)) and 1 <= value[-1] <= value[-2]:
            found = Header(value[:-2].hex() if value[-2] > 1 else "", value[-2], value[-1], found.told)
    return found


def written(reference: int, parts: int) -> list[str]:
    """The header of each part of a text, "" for one that is whole."""
    if parts == 1:
        return [""]
    return [f"050003{reference % 256:02X}{parts:02X}{part:02X}" for part in range(1, parts + 1)]

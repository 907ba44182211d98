"""What people type, made comparable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.words import clean, fold, printable, swedish, words


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("  Farsta \n strand ", "Farsta strand", id="white space"),
        pytest.param("١٢٣٤٧", "12347", id="Arabic-Indic digits"),
        pytest.param("१२३ ४७", "123 47", id="Devanagari digits"),
        pytest.param("Far\u200bsta\u202e", "Farsta", id="format characters"),
        pytest.param("Fa\x00rsta\x0b!", "Farsta!", id="what XML forbids"),
        pytest.param("A\u030arsta", "Årsta", id="decomposed"),
        pytest.param("x" * 10_000, "x" * 1600, id="too long"),
    ],
)
def test_clean(raw: str, expected: str) -> None:
    """One place where odd characters are dealt with."""
    assert clean(raw) == expected


def test_folding_keeps_swedish_letters_only_where_asked() -> None:
    """`swedish` keeps å, ä, ö; `fold` does not; Cyrillic look-alikes are read as Latin."""
    assert swedish("ÅRSTA Café") == "årsta cafe"
    assert fold("Ålsten") == "alsten"
    assert fold("Fаrstа") == "farsta"  # the two а are Cyrillic


@given(st.text())
def test_nothing_breaks_the_cleaning(text: str) -> None:
    """Any text at all comes out printable, and words are words."""
    assert printable(clean(text)) == clean(text)
    assert all(word.strip() == word and word for word in words(clean(text)))

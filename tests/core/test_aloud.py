"""Sentences as a synthesiser gets them: no markup, one line, numbers as people say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.aloud import LONGEST, aloud


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ungefär 400 meter från 1 2 3 4 7.", "ungefär 400 meter från 1 2 3 4 7."),  # digit by digit already
        ("Öppet till klockan 14.20.", "Öppet till klockan 14 20."),
        ("Öppet till klockan 8.05", "Öppet till klockan 8 05"),
        ("STÄNGER kl 22", "STÄNGER klockan 22"),
        ("kl. 14:20", "klockan 14 20"),
        ("ungefär 1,2 kilometer", "ungefär 1 komma 2 kilometer"),
        ("Lyssna på P4 Stockholm, 103,3, eller ring", "Lyssna på P4 Stockholm, 103 komma 3, eller ring"),
        ("24/12 klockan 8", "den 24:e 12:e klockan 8"),
        ("1/2 klockan 8", "den 1:a 2:a klockan 8"),
        ("11/11", "den 11:e 11:e"),
        ("Ring 112 vid fara", "Ring 1 1 2 vid fara"),
        ("Vårdråd 1177.", "Vårdråd 1 1 7 7."),
        ("Krisinfo 113 13.", "Krisinfo 1 1 3, 1 3."),
        ("postnummer 12347", "postnummer 1 2 3 4 7"),
        ("postnummer 123 47", "postnummer 1 2 3, 4 7"),
        ("Ring 08-123 45 67 nu", "Ring 0 8, 1 2 3, 4 5, 6 7 nu"),
        ("Farstaplan 16 A", "Farstaplan 16 A"),
        ("DEMO <b>Hallen</b>\nrad två\ttre", "DEMO b Hallen /b rad två tre"),
        ("[[f'as]] hej", "f'as hej"),
        ("a\x00b\x01c", "a b c"),
        ("Hallo!!! ...nej --", "Hallo! .nej -"),
        ("hej\u202e då\u200b", "hej då"),
    ],
)  # fmt: skip
def test_swedish_is_read_as_people_say_it(text: str, said: str) -> None:
    assert aloud(text, "sv") == said


@pytest.mark.parametrize(
    ("text", "said"),
    [("Open until 14.20.", "Open until 14 20."), ("about 1.2 kilometres", "about 1.2 kilometres"),
     ("FM 103.3", "FM 103.3"), ("24/12 8", "24/12 8"), ("call 1 1 2", "call 1 1 2")],
)  # fmt: skip
def test_other_languages_keep_their_decimals(text: str, said: str) -> None:
    assert aloud(text, "en") == said


@pytest.mark.parametrize("text", ["", " ", "...", "-", "\n\n", "<>", "\x00"])
def test_where_nothing_can_be_said_nothing_is(text: str) -> None:
    assert aloud(text, "sv") == ""


def test_what_is_too_long_ends_with_a_whole_word() -> None:
    said = aloud("trygghetspunkt " * 5000, "sv")
    assert LONGEST - 20 < len(said) <= LONGEST
    assert said.endswith("trygghetspunkt")


@given(st.text(max_size=200), st.sampled_from(["sv", "en"]))
def test_whatever_it_was_it_is_one_line_without_markup(text: str, language: str) -> None:
    said = aloud(text, language)
    assert said.isprintable()
    assert not set("<>[]{}|\\`\n\r\t\x00") & set(said)
    assert said == said.strip()
    said.encode("utf-8")

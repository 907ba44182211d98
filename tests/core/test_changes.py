"""What a line of the audit log changed, and what is never in it."""

import json

import pytest

from responder.core.changes import Changed, as_text, changed
from responder.core.words import hidden_numbers, inert


def test_only_the_fields_that_differ_are_told() -> None:
    before, after = json.dumps({"a": 1, "b": "x", "c": []}), json.dumps({"a": 1, "b": "y", "d": False})
    assert changed(before, after) == (Changed("b", "x", "y"), Changed("d", None, False))


def test_of_something_new_the_empty_fields_are_left_out() -> None:
    assert changed("", json.dumps({"name": "x", "note": "", "list": []})) == (Changed("name", None, "x"),)


@pytest.mark.parametrize("data", ["no json", "[1, 2]", "null", '"text"', "{"])
def test_what_is_no_object_is_told_as_it_is(data: str) -> None:
    assert len(changed("", data)) <= 1


def test_numbers_are_hidden_however_deep_but_not_where_they_are_public() -> None:
    after = json.dumps({"phone": "08-123 45 67", "x": [{"y": "ring +46701740601"}]})
    assert changed("", after, frozenset({"phone"})) == (
        Changed("phone", None, "08-123 45 67"),
        Changed("x", None, [{"y": "ring +4670*****01"}]),
    )
    assert changed("", after)[0].after == "08123**67"


@pytest.mark.parametrize(
    "number",
    ["+46701740601", "+46 70 174 06 01", "070-174 06 01", "0701740601", "0046701740601", "46701740601", "+46 (0)8 123 45 67",
     "tel:+46701740601", "08-123 45 67", "+1 415 555 0100", "070/1740601"],
)  # fmt: skip
def test_a_telephone_number_is_hidden_however_it_is_written(number: str) -> None:
    digits = "".join(char for char in number if char.isdecimal())
    shown = "".join(char for char in hidden_numbers(f"Ring {number}, tack") if char.isdecimal())
    assert shown != digits and len(shown) < len(digits) and hidden_numbers(f"Ring {number}, tack").endswith(", tack")


@pytest.mark.parametrize(
    "text",
    ["2026-11-24T13:20:00+00:00", "2026-01-05 08.20", "12347", "123 47", "59.24000, 18.09000", "1764076811.25", "kl 08-20",
     "Mo-Su 08:00-20:00", "broadcast:12", "a1b2c3d4e5f60718"],
)  # fmt: skip
def test_dates_times_codes_and_coordinates_stay(text: str) -> None:
    assert hidden_numbers(text) == text


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("x")', " =1", "+1", "-1", "@x", "\t=1", "\r=1", "|x", "%x", "\u202e=1", "\x00=1", "＝1"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = inert(text)
    assert cell.startswith("'") and "\x00" not in cell and "\u202e" not in cell


@pytest.mark.parametrize("text", ["", "Farsta", "12347", "a=b", "å"])
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert inert(text) == text


def test_values_are_told_as_one_reads_them() -> None:
    assert as_text(None) == "" and as_text(["a", "b"]) == "a, b" and as_text({"å": 1}) == '{"å": 1}'
    assert as_text(True) == "true" and as_text(3) == "3"

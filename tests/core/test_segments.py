"""Segments as Twilio bills them (3GPP TS 23.038 and 23.040)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.segments import cost, gsm_twins, is_gsm, to_gsm


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        pytest.param("", "GSM-7", 0, 1, id="empty"),
        pytest.param("åäöÅÄÖé" * 10, "GSM-7", 70, 1, id="swedish letters are basic"),
        pytest.param("a" * 160, "GSM-7", 160, 1, id="one full segment"),
        pytest.param("a" * 161, "GSM-7", 161, 2, id="one septet over"),
        pytest.param("a" * 306, "GSM-7", 306, 2, id="two full parts"),
        pytest.param("a" * 307, "GSM-7", 307, 3, id="three parts"),
        pytest.param("€" * 80, "GSM-7", 160, 1, id="escapes count twice"),
        pytest.param("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3, id="an escape pair is never split"),
        pytest.param("–" + "a" * 69, "UCS-2", 70, 1, id="a dash costs the alphabet"),
        pytest.param("–" + "a" * 70, "UCS-2", 71, 2, id="71 units are two parts"),
        pytest.param("a" * 66 + "😀" + "a" * 66, "UCS-2", 134, 3, id="a surrogate pair is never split"),
        pytest.param("a\u030a", "UCS-2", 2, 1, id="decomposed å"),
    ],
)
def test_cost(text: str, encoding: str, units: int, segments: int) -> None:
    """Encoding, units and segments of texts at every edge."""
    got = cost(text)
    assert (got.encoding, got.units, got.segments) == (encoding, units, segments)


def test_culprits_are_named_once_in_order() -> None:
    """An operator is shown just the characters that make a text dear."""
    assert cost("a–b…c–").culprits == ("–", "…")


def test_composing_swaps_what_phones_put_in() -> None:
    """Curly quotes, dashes, ellipsis and odd spaces have GSM twins; a decomposed å is composed."""
    assert gsm_twins("”Hej” – a\u030a…\u00a0x") == '"Hej" - å... x'
    assert to_gsm("čaj ل😀") == "caj "


@given(st.text())
def test_to_gsm_always_is_gsm(text: str) -> None:
    """Whatever comes in, `to_gsm` leaves only what GSM-7 holds."""
    assert is_gsm(to_gsm(text))


@given(st.text(max_size=700))
def test_segments_are_never_fewer_than_the_room_they_need(text: str) -> None:
    """The count lies between the perfect packing and one lost unit a part."""
    got = cost(text)
    single, multi = (160, 153) if got.encoding == "GSM-7" else (70, 67)
    least = 1 if got.units <= single else -(-got.units // multi)
    assert least <= got.segments <= max(least, -(-got.units // (multi - 1)))

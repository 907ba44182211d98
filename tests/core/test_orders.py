"""What operators and hosts order by text: read forgivingly, and never where a resident asks something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.broadcast import Template
from responder.core.hosting import Reply, judged
from responder.core.orders import (
    EVERYONE,
    Answer,
    Order,
    Verb,
    answer,
    is_garbled,
    meant,
    order,
    without_code,
    without_codes,
)

CODE = "482913"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ÖPPEN 7 482913", Order(Verb.OPEN, CODE, 7)),
        ("öppet 7 482913", Order(Verb.OPEN, CODE, 7)),
        ("oppen 7 482913", Order(Verb.OPEN, CODE, 7)),
        ("Open 7, 482913.", Order(Verb.OPEN, CODE, 7)),
        ("482913 7 öppen", Order(Verb.OPEN, CODE, 7)),
        ("7 ÖPPEN 482 913", Order(Verb.OPEN, CODE, 7)),
        ("öppen7 482913", Order(Verb.OPEN, CODE, 7)),
        ("ÖPPEN   7\n482913", Order(Verb.OPEN, CODE, 7)),
        ("ÖPPEN ٧ ٤٨٢٩١٣", Order(Verb.OPEN, CODE, 7)),
        ("ÖPPEN punkt nr 7 kod 482913", Order(Verb.OPEN, CODE, 7)),
        ("O\u0308PPEN 7 482913", Order(Verb.OPEN, CODE, 7)),
        ("öppen 7 till 20 482913", Order(Verb.OPEN, CODE, 7, "20:00")),
        ("öppen 7 482913 till 20.30", Order(Verb.OPEN, CODE, 7, "20:30")),
        ("öppen till kl 8:15 7 482913", Order(Verb.OPEN, CODE, 7, "08:15")),
        ("open 7 until 2030 482913", Order(Verb.OPEN, CODE, 7, "20:30")),
        ("öppen 7 till 24 482913", Order(Verb.OPEN, CODE, 7, "00:00")),
        ("FULLT 7 48 29 13", Order(Verb.FULL, CODE, 7)),
        ("full 7 till 20 482913", Order(Verb.FULL, CODE, 7, "20:00")),
        ("Stängd 12 48291312", Order(Verb.CLOSED, "48291312", 12)),
        ("STÄNGT 12 4829 1312", Order(Verb.CLOSED, "48291312", 12)),
        ("closed 12 482913", Order(Verb.CLOSED, CODE, 12)),
        ("LÄGE", Order(Verb.STATE)),
        ("läge 482913", Order(Verb.STATE, CODE)),
        ("läge 7 482913", Order(Verb.STATE, CODE, 7)),
        ("läge 7", Order(Verb.STATE, "", 7)),
        ("öppen 7", Order(Verb.OPEN, "", 7)),
        ("SÄND FARSTA FARA ÖVER 482913", Order(Verb.SEND, CODE, template=Template.ALL_CLEAR, target="farsta")),
        ("482913 fara över farsta sänd", Order(Verb.SEND, CODE, template=Template.ALL_CLEAR, target="farsta")),
        ("sänd alla övning 482913", Order(Verb.SEND, CODE, template=Template.EXERCISE, target=EVERYONE)),
        ("SEND EVERYONE ALL CLEAR 482913", Order(Verb.SEND, CODE, template=Template.ALL_CLEAR, target=EVERYONE)),
        ("sänd rättelse 482913", Order(Verb.SEND, CODE, template=Template.CORRECTION)),
        ("GODKÄNN 12 482913", Order(Verb.APPROVE, CODE, 12)),
        ("approve 12 482913", Order(Verb.APPROVE, CODE, 12)),
        ("STOPPA 12 482913", Order(Verb.STOP, CODE, 12)),
        ("stopp 12 482913", Order(Verb.STOP, CODE, 12)),
        ("GODKÄNN 10000001 482913", Order(Verb.APPROVE, CODE, 10_000_001)),
        ("STOPPA 10000001 48291312", Order(Verb.STOP, "48291312", 10_000_001)),
        ("GODKÄNN 123456 482913", Order(Verb.APPROVE, CODE, 123_456)),
        ("STOPPA 41", Order(Verb.STOP)),
        ("STOPPA 41 48291", Order(Verb.STOP)),
        ("STOPP 41 482 91", Order(Verb.STOP)),
        ("STOPPA 482913", Order(Verb.STOP)),
    ],
)  # fmt: skip
def test_an_order_is_read_however_it_is_written(text: str, read: Order) -> None:
    found = order(text)
    assert found == read or (found and found.target.split() == read.target.split() and found.code == read.code)


@pytest.mark.parametrize(
    "text",
    ["STOPP", "STOPPA", "stopp 12347", "STOPP 123 47", "STOPP Farsta", "STOPP Farsta 12", "12347", "öppen 12347", "är det öppet i Farsta", "var är det öppet",
     "öppet nu", "ÖPPEN", "full", "öppen stängd 7 482913", "öppen 7 8 482913", "öppen 7 farsta 482913", "",
     "482913", "7 482913", "sänd hjälp till farsta 482913", "sänd farsta 482913", "sänd fara över 482913",
     "sänd farsta rättelse 482913", "läge i farsta", "mer", "JA", "öppen 7 482913 482914", "stängd 7 till 20 482913",
     "öppen " + "7" * 200],
)  # fmt: skip
def test_what_is_no_order_is_a_residents_text(text: str) -> None:
    assert order(text) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("JA", (Answer.YES, "")), ("ja.", (Answer.YES, "")), ("Yes", (Answer.YES, "")), ("NEJ", (Answer.NO, "")),
        ("ja 41", (Answer.YES, "41")), ("JA41", (Answer.YES, "41")), ("41 ja", (Answer.YES, "41")),
        ("Fullt 41", (Answer.FULL, "41")), ("nej, 41!", (Answer.NO, "41")), ("JA ٤١", (Answer.YES, "41")),
        ("ja tack", None), ("JA 4", None), ("ja 412", None), ("ja nej", None), ("41", None), ("", None),
        ("ja 41 42", None), ("12347", None), ("ja 41 tack", (Answer.YES, "41")), ("Hej, nej 41", (Answer.NO, "41")),
        ("NEJ 41 vi har stängt", (Answer.NO, "")), ("ja 41 men vi stänger snart", (Answer.YES, "")),
        ("jag bor i 41 ja", None), ("ja 41 nej", None), ("ja vi har stängt", None),
    ],
)  # fmt: skip
def test_an_answer_is_one_word_with_two_digits_or_none_and_courtesy(text: str, read: tuple[Answer, str] | None) -> None:
    assert answer(text) == read


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = order(text)
    assert found is None or not found.code or len(found.code) in (6, 8)
    answer(text)


@given(
    st.permutations(["öppen", "7", "482913"]), st.sampled_from([" ", "  ", "\n", ", ", " - "]), st.booleans()
)  # fmt: skip
def test_neither_order_nor_space_nor_case_matters(words: list[str], between: str, loud: bool) -> None:
    text = between.join(words)
    assert order(text.upper() if loud else text) == Order(Verb.OPEN, CODE, 7)


@pytest.mark.parametrize(
    "text",
    ["ÖPPEN 7 482913", "ÖPPEN 7 482.913", "ÖPPEN 7 482_913", "öppen 7 482 913", "48 29 13 öppen 7", "öppen 7 48-29-13"],
)
def test_what_is_kept_of_an_order_holds_no_code(text: str) -> None:
    found = order(text)
    assert found and found.code == CODE
    assert "29" not in without_code(text, found.code) and "7" in without_code(text, found.code)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Ja tack", (Answer.YES, "")), ("jo", (Answer.YES, "")), ("JA 7", (Answer.YES, "7")), ("Ja, gör det!", (Answer.YES, "")),
        ("nej tack", (Answer.NO, "")), ("ja men vänta", None), ("tack ja", None), ("ja nej", None), ("12347", None), ("", None),
    ],
)  # fmt: skip
def test_while_an_answer_is_waited_for_courtesy_and_digits_may_follow_it(
    text: str, read: tuple[Answer, str] | None
) -> None:
    assert meant(text) == read


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("STÄNGD 7, 482913. Mvh Anna", "STÄNGD 7, ******. Mvh Anna"), ("ÖPPEN skolan 12345678", "ÖPPEN skolan ********"),
        ("ÖPPEN skolan 482.913", "ÖPPEN skolan ***.***"), ("ÖPPEN skolan 4829_1312", "ÖPPEN skolan ****_****"),
        ("var är det öppet nära 12347", ""), ("hej 482913", ""), ("öppet till 20.30", ""),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_read_is_told_by_its_word_and_its_code_which_is_not_kept(text: str, kept: str) -> None:
    assert order(text) is None and is_garbled(text) is bool(kept)
    assert without_codes(text) == kept or not kept


# --- answers to questions ---------------------------------------------------------------------------------------------


class Question:
    def __init__(self, code: str = "41", until: float = 100.0, tries: int = 0, answer: str = "") -> None:
        self.code, self.until, self.tries, self.answer = code, until, tries, answer


@pytest.mark.parametrize(
    ("question", "digits", "now", "reply"),
    [
        (Question(), "41", 50, Reply.TAKE), (Question(tries=2), "41", 50, Reply.TAKE),
        (Question(tries=3), "41", 50, Reply.SPENT), (Question(), "42", 50, Reply.WRONG),
        (Question(answer="no"), "41", 50, Reply.ANSWERED), (Question(answer="yes"), "41", 101, Reply.ANSWERED),
        (Question(tries=3), "42", 50, Reply.SPENT), (Question(), "41", 101, Reply.LATE),
        (Question(answer="yes"), "41", 50, Reply.ANSWERED), (Question(), "", 50, Reply.EXPLAIN),
        (Question(tries=1), "", 50, Reply.NONE), (Question(answer="yes"), "", 50, Reply.NONE),
        (Question(), "", 101, Reply.NONE), (Question(), "42", 101, Reply.NONE),
        (Question(), "41", 100_000, Reply.NONE),
    ],
)  # fmt: skip
def test_an_answer_counts_in_time_once_and_at_most_three_tries(
    question: Question, digits: str, now: float, reply: Reply
) -> None:
    assert judged([question], digits, now)[0] is reply


@pytest.mark.parametrize(
    ("was", "said", "now", "reply"),
    [
        ("yes", "no", 50, Reply.MEND), ("yes", "full", 50, Reply.MEND), ("yes", "yes", 50, Reply.ANSWERED),
        ("no", "yes", 50, Reply.ANSWERED), ("full", "no", 50, Reply.ANSWERED), ("changed", "no", 50, Reply.ANSWERED),
        ("yes", "no", 101, Reply.ANSWERED),
    ],
)  # fmt: skip
def test_only_a_yes_is_mended_and_only_within_the_hour(was: str, said: str, now: float, reply: Reply) -> None:
    assert judged([Question(answer=was)], "41", now, said)[0] is reply

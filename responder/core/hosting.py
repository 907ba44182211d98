"""When a host is asked whether their point is open, and what an answer is to: pure.

A question is good for an hour, for three tries, and for one answer.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from responder.core.orders import Answer

GOOD_FOR = 3600.0  # seconds
MOST_TRIES = 3
REMEMBERED = 86_400.0  # seconds for which a late answer is told to be one
BEFORE_STALE = timedelta(minutes=45)  # before what is known grows too old, in which one asks once more
CODES = range(10, 100)


class Asked(Protocol):
    """A question as it is stored; times in seconds since 1970."""

    @property
    def code(self) -> str: ...
    @property
    def until(self) -> float: ...
    @property
    def tries(self) -> int: ...
    @property
    def answer(self) -> str: ...


Question = TypeVar("Question", bound=Asked)


class Reply(StrEnum):
    """What an answer is."""

    TAKE = "take"  # the right digits, in time
    WRONG = "wrong"
    SPENT = "spent"  # too many wrong ones before
    LATE = "late"
    ANSWERED = "answered"
    MEND = "mend"  # no or full after a yes, as long as the question is good
    EXPLAIN = "explain"  # a bare word, the first time
    NONE = "none"  # no answer to a question of ours


def judged(
    questions: Sequence[Question], digits: str, now: float, said: str = Answer.YES
) -> tuple[Reply, Question | None]:
    """What the word `said` with `digits` (or "") answers, of the questions to one phone, the newest first."""
    good = [one for one in questions if one.until >= now and not one.answer]
    if not digits:
        first = next((one for one in good if one.tries == 0), None)
        return (Reply.EXPLAIN, first) if first else (Reply.NONE, None)
    for one in good:
        if one.code == digits:
            return (Reply.TAKE, one) if one.tries < MOST_TRIES else (Reply.SPENT, one)
    for one in questions:
        if one.code == digits and one.answer == Answer.YES != said and one.until >= now and one.tries < MOST_TRIES:
            return Reply.MEND, one
        if one.code == digits and now - one.until <= REMEMBERED:
            return (Reply.ANSWERED if one.answer else Reply.LATE), one
    if not good:
        return Reply.NONE, None
    return (Reply.WRONG if any(one.tries < MOST_TRIES for one in good) else Reply.SPENT), good[0]


def should_ask(
    confirmed_at: datetime | None, asked_at: datetime | None, now: datetime, every: timedelta, stale_after: timedelta
) -> bool:
    """Whether nobody has said a word for `every`, neither confirmed nor been asked; or what is known grows too old
    soon, and nobody has been asked since that was so.
    """
    heard = max((at for at in (confirmed_at, asked_at) if at), default=None)
    if heard is None or now - heard >= every:
        return True
    if confirmed_at is None:
        return False
    soon = confirmed_at + stale_after - BEFORE_STALE
    return now >= soon and (asked_at is None or asked_at < soon)


def code(taken: Collection[str], draw: int) -> str:
    """Two digits by a random number `draw`, unlike those `taken` by other questions to the phone."""
    free = [f"{number}" for number in CODES if f"{number}" not in taken]
    return free[draw % len(free)]

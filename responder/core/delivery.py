"""What may become of one text or call, whoever says so and in whatever order: our own requests, receipts, operators.

A delivery only moves forward. `queued` is taken up as `sending` under a lease; the provider takes it (`accepted`),
hands it on (`sent`), and says in the end `delivered` or `failed`. `unknown` waits for an operator. Error codes:
Twilio's dictionary, and below 100 our own for providers that have no codes, sorted as an operator would act on them.
"""

from enum import StrEnum
from typing import NamedTuple

CALL_TRIES = 3  # of a number that is busy or does not answer
TEXT_TRIES = 3  # of a phone that is switched off
CALL_AGAIN = 300.0  # seconds after which a busy line is called again
TEXT_AGAIN = 1800.0
LOOKS = 6  # times the provider is asked before an operator has to decide


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"  # the number has said STOPP
    SUPERSEDED = "superseded"  # a newer answer made it needless
    STOPPED = "stopped"  # its broadcast was stopped


RANK = {State.ACCEPTED: 1, State.SENT: 2, State.DELIVERED: 3, State.FAILED: 3}
REACHED = (State.SENDING, State.ACCEPTED, State.SENT, State.DELIVERED, State.UNKNOWN)

_TEXT_STATUS = {
    "accepted": State.ACCEPTED, "scheduled": State.ACCEPTED, "queued": State.ACCEPTED, "sending": State.ACCEPTED,
    "sent": State.SENT, "delivered": State.DELIVERED, "read": State.DELIVERED,
    "undelivered": State.FAILED, "failed": State.FAILED, "canceled": State.FAILED,
}  # fmt: skip
_CALL_STATUS = {
    "queued": State.ACCEPTED, "initiated": State.ACCEPTED, "ringing": State.ACCEPTED, "in-progress": State.ACCEPTED,
    "answered": State.ACCEPTED, "completed": State.DELIVERED,
    "busy": State.FAILED, "no-answer": State.FAILED, "failed": State.FAILED, "canceled": State.FAILED,
}  # fmt: skip
_NOT_IN = ("busy", "no-answer")

OPTED_OUT = 21610
NO_SUCH_NUMBER, NO_MONEY = 2, 3  # our own; 1 is a number's share of the day
_FOR_GOOD = frozenset({NO_SUCH_NUMBER, 21211, 21408, 21602, 21610, 21612, 21614, 21617, 30005, 30006, 30007, 30450})
_ACCOUNT = frozenset({NO_MONEY, 20003, 20005, 21212, 21603, 21606, 21659, 21660, 21661, 30002})  # the sender
_ALARM = _ACCOUNT | {21408}
_SLOW = frozenset({20429, 21611, 30001})
_LATER = frozenset({30003, 30008, 30036})  # 30036: its validity ended at the provider


class Answer(StrEnum):
    """What the provider's refusal of a request means."""

    FOR_GOOD = "for_good"  # this number will never get it
    SLOW = "slow"  # not sent: every sender must slow down
    HALT = "halt"  # not sent: nothing of ours is taken until an operator has acted
    ODD = "odd"  # not sent, for a reason that is in no list of ours: a few more times, then never
    UNCLEAR = "unclear"  # it may have been sent


class Became(NamedTuple):
    """What a receipt makes of a delivery: its state, and after how many seconds a `queued` one is tried again."""

    state: State
    again: float = 0.0


def refusal(status: int, code: int) -> Answer:
    """What an HTTP `status` with an error `code` (0: none) means for a message."""
    if status == 429 or code in _SLOW:
        return Answer.SLOW
    if code in _ACCOUNT or (status in (401, 402, 403) and code not in _FOR_GOOD):
        return Answer.HALT
    if code in _FOR_GOOD:
        return Answer.FOR_GOOD
    return Answer.ODD if 400 <= status < 500 and status != 408 else Answer.UNCLEAR


def is_alarm(code: int) -> bool:
    """Whether an operator must act on this error code."""
    return code in _ALARM


def after_receipt(state: State, attempt: int, status: str, code: int, told_attempt: int, call: bool) -> Became:
    """What a receipt with `status` for the attempt `told_attempt` makes of a delivery in `state`: never a step back.

    A receipt, also one with a status that we do not know, proves that something was sent, so it also ends a delivery
    that was about to be tried again, or that an operator was asked about.
    """
    became = (_CALL_STATUS if call else _TEXT_STATUS).get(status, State.ACCEPTED)
    if RANK[became] <= RANK.get(state, 0):
        return Became(state)
    if became is not State.FAILED:
        return Became(became)
    if told_attempt != attempt or state is State.QUEUED:  # of an earlier attempt: the newer one tells
        return Became(state)
    if state in (State.SUPPRESSED, State.SUPERSEDED, State.STOPPED):
        return Became(State.FAILED)
    if call and status in _NOT_IN and attempt < CALL_TRIES:
        return Became(State.QUEUED, CALL_AGAIN)
    if not call and code in _LATER and attempt < TEXT_TRIES:
        return Became(State.QUEUED, TEXT_AGAIN * attempt)
    return Became(State.FAILED)

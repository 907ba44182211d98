"""Where a call to the operators' menu stands: code, point, what it becomes, and whether that is meant. Pure.

The residents' engine is about places; this menu has four steps, and nothing in it is looked up by what was said.
"""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from responder.core.onetime import PAPER_DIGITS, TOTP_DIGITS
from responder.core.orders import POINT_DIGITS, Verb

ENTRY = "00000"  # keyed where a postcode is asked for: there is none of this
MOST_WRONG = 2  # codes; then the call ends
MOST_MISTAKES = 2  # in a row; then the call ends
GOOD_FOR = 300.0  # seconds between two keys
KEYS = {"1": Verb.OPEN, "2": Verb.FULL, "3": Verb.CLOSED, "4": Verb.STATE}


class Step(StrEnum):
    """What is asked for."""

    CODE = "code"
    POINT = "point"
    WHAT = "what"
    SURE = "sure"
    OVER = "over"


DIGITS = {Step.CODE: PAPER_DIGITS, Step.POINT: POINT_DIGITS, Step.WHAT: 1, Step.SURE: 1, Step.OVER: 1}


@dataclass(frozen=True, slots=True)
class Menu:
    """A call. `operator`: who has proved to call; `number`: the point that it is about; `at`: when a key came last."""

    step: Step = Step.CODE
    operator: str = ""
    language: str = ""
    number: int = 0
    wrong: int = 0
    mistakes: int = 0
    at: float = 0.0

    def mistaken(self) -> "Menu":
        """After something that means nothing here, or silence."""
        mistakes = self.mistakes + 1
        return replace(self, mistakes=mistakes, step=Step.OVER if mistakes > MOST_MISTAKES else self.step)

    def after_wrong_code(self) -> "Menu":
        """After a code that is nobody's."""
        wrong = self.wrong + 1
        return replace(self, wrong=wrong, mistakes=0, step=Step.OVER if wrong >= MOST_WRONG else self.step)

    def to(self, step: Step, **values: object) -> "Menu":
        """At another step."""
        return replace(self, step=step, mistakes=0, **values)  # type: ignore[arg-type]

    def means(self, keys: str) -> bool:
        """Whether `keys` can be what is asked for."""
        if not keys.isascii() or not keys.isdecimal():
            return False
        match self.step:
            case Step.CODE:
                return len(keys) in (TOTP_DIGITS, PAPER_DIGITS)
            case Step.POINT:
                return len(keys) <= POINT_DIGITS
            case Step.WHAT:
                return keys in KEYS
        return keys in ("1", "2")


def packed(menu: Menu) -> str:
    """As JSON."""
    return json.dumps(asdict(menu))


def unpacked(state: str) -> Menu:
    """What `packed` wrote."""
    row = json.loads(state)
    return Menu(**{**row, "step": Step(row["step"])})

"""One-time codes (TOTP, RFC 6238), and how long whoever guesses has to wait."""

import secrets

import pyotp

STEP = 30  # seconds that a code is good for
PAPER_DIGITS = 8  # of a code from a printed list
TOTP_DIGITS = 6
FREE = 5  # failures before there is a wait
FORGETS_AFTER = 15 * 60  # seconds without a failure
# By the first letter of a scope, seconds. Accounts (a), accounts where they come from (k), addresses (i), sessions (s);
# by phone (text or call), codes of an authenticator (o) and of a printed list (p), which are hard to guess.
LONGEST_WAIT = {"a": 30, "k": 30, "i": 300, "s": 300, "o": 300, "p": 30}


def bare(code: str) -> str:
    """A code without what people put between its groups."""
    return "".join(code.split()).replace("-", "").lower()


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step of which `code` is the code: this one, or one before or after. Nothing is a code of no secret."""
    if not secret:
        return None
    totp = pyotp.TOTP(secret)
    for step in (int(now // STEP) + n for n in (0, -1, 1)):
        if len(code) == totp.digits and secrets.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            return step
    return None


def wait_after(scope: str, failures: int) -> float:
    """Seconds that a scope waits after so many failures in a row."""
    return min(2.0 ** (failures - FREE), LONGEST_WAIT[scope[0]]) if failures >= FREE else 0.0


def is_step(scope: str, failures: int) -> bool:
    """Whether this failure is the first in a row, the first that somebody has to wait after, or the first after which
    the wait grows no more.
    """
    before, wait = wait_after(scope, failures - 1), wait_after(scope, failures)
    return failures == 1 or before == 0.0 < wait or before < wait == LONGEST_WAIT[scope[0]]


def still_counts(count: int, last: float, now: float) -> int:
    """How many of `count` failures, the last of them at `last`, count at `now` (seconds)."""
    return count if abs(now - last) <= FORGETS_AFTER else 0  # `last` may come later, by a clock that was set back

"""A turnstile before what is slow on purpose: a crowd that signs in must leave threads for residents.

A hash takes 64 MiB and every core, and judging a chosen password can take seconds. Whoever is turned away is told at
once, and no attempt of theirs is counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from responder.actions.signin import TooManyAttempts

INSIDE = 2  # at work, in this process
NEAR = 4  # at work or waiting for it: fewer than the pages that the gate lets in at a time, so that others are shown
COME_BACK = 3  # seconds


class Turnstile:
    """Lets few in at a time, has few wait, and turns others away."""

    def __init__(self) -> None:
        self._inside, self._near = BoundedSemaphore(INSIDE), BoundedSemaphore(NEAR)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One's turn. Raises TooManyAttempts where too many wait already."""
        if not self._near.acquire(blocking=False):
            raise TooManyAttempts(COME_BACK)
        try:
            with self._inside:
                yield
        finally:
            self._near.release()

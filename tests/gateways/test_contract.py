"""Twilio and 46elks keep the same contract."""

from collections.abc import Callable

import pytest

from responder.ports import ELKS, TWILIO
from tests.fakes.elks import UNKNOWN, FakeElks
from tests.gateways.contract import Contract, Side
from tests.sending.conftest import Line


class TwilioSide(Side):
    """Phones at Twilio."""

    def text(self, number: str, body: str, id: str = "") -> str:
        """See Side."""
        return self.line.running.another_phone(number).text(body, id)


class ElksSide(Side):
    """Phones at 46elks."""

    def text(self, number: str, body: str, id: str = "") -> str:
        """See Side."""
        assert isinstance(self.line.fake, FakeElks)
        return self.line.fake.text(number, body, id)


class TestTwilio(Contract):
    """The provider that signs."""

    @pytest.fixture
    def side(self, twilio_line: Line) -> Side:
        """See Contract."""
        line = twilio_line
        return TwilioSide(TWILIO, line, lambda number: line.fake.refuse(number, 21211), "SM0001")


class TestElks(Contract):
    """The provider with a secret address."""

    @pytest.fixture
    def side(self, elks_line: Callable[..., Line]) -> Side:
        """See Contract."""
        line = elks_line()
        return ElksSide(ELKS, line, lambda number: line.fake.refuse(number, UNKNOWN), "s0001")

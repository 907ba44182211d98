"""What sending goes by: limits, times, and a delivery that is taken up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from responder.core.health import Rule
from responder.core.message import Message
from responder.ports import LOCAL
from responder.store.outbox import Item

BATCH = 100
START_WITHIN = 5.0  # seconds after it was taken up in which a POST may begin
FLUSH_EVERY = 0.2  # seconds; what a kill takes with it has to be looked up
HALT = 30.0  # seconds for which nothing is sent where the account is refused
ALIKE_WAIT = 5.0
ODD_TRIES, ODD_WAIT = 3, 600.0  # for a refusal that we do not know
PUSH_AGAIN = 30.0  # seconds: after what was taken for told was not, one looks again, together
CAPPED = 1  # our own error code: the number had its share of the day
CHANNELS = ("text", "call")
FEW = 4  # requests at once to a gateway that is suspect
LATE = 3.0  # seconds after which a request that has no answer yet counts as failed


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates (segments a second by gateway, calls), requests at once to a gateway, time-outs in seconds, and the day's
    caps.
    """

    send_rates: Mapping[str, float]
    call_rate: float
    concurrency: int
    api_timeout: float
    reconcile: float
    price_segment: float
    price_call: float
    spend_per_day: float
    number_per_day: int
    rule: Rule = field(default_factory=Rule)

    @property
    def lease(self) -> float:
        """Seconds after which a POST has surely ended and the provider lists what it took."""
        return START_WITHIN + self.api_timeout + self.reconcile

    def patience(self, gateway: str, slowest: float = 0.0) -> float:
        """Seconds after which a request to it looks as if it hung, where good ones took `slowest` lately; one at this
        machine only has to answer in time.
        """
        usual = max(min(LATE, self.api_timeout / 2), 2 * slowest)
        return self.api_timeout if gateway in LOCAL else min(usual, self.api_timeout)


@dataclass(frozen=True, slots=True)
class Ready:
    """A delivery that is taken up: the row as it stands in the table, and what is needed to send it."""

    item: Item
    number: str
    message: Message
    version: int  # of the points, when it was rendered

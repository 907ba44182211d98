"""Send what is queued: nothing lost, nothing doubled, nothing after STOPP or stop; by one of several gateways.

A delivery is taken up under a committed lease for one gateway, rendered then, looked at once more right before its
POST, sent outside any transaction, and its outcome stored. Creating a message has no idempotency at any provider. So a
request with an unclear end, or one that a killed process left behind, is not repeated, and least of all by another
gateway, which knows nothing of it: once its lease has run out (longer than the request and the provider's list can
take) the gateway of the attempt is asked whether it has the message. Only when its list shows other messages of about
that age, and not this one, is it sent again, by whichever gateway works then; what stays unclear waits for an operator.
"""

from responder.actions.deliver.sending import Deliverer
from responder.actions.deliver.values import ALIKE_WAIT, PUSH_AGAIN, Limits, Ready

__all__ = ["ALIKE_WAIT", "PUSH_AGAIN", "Deliverer", "Limits", "Ready"]

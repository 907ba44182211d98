"""What operators and hosts do by phone, by text or with keys. A sender's number alone authorises nothing.

Whatever comes in is one transaction: the code that is used up, what is wished or done, and the row of the turn with its
reply. So a text that is delivered twice gets the same reply, and nothing happens twice.
"""

from responder.actions.desk.counter import Desk
from responder.actions.desk.needs import Broadcasts, Points, Questions

__all__ = ["Broadcasts", "Desk", "Points", "Questions"]

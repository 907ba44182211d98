"""How much one number may ask for in a while: see core/allowance.py, which the modem asks too."""

from responder.core.allowance import REMEMBERED, Allowance

__all__ = ["REMEMBERED", "Allowance"]

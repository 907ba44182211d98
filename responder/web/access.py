"""Who may use a route. Every view is marked with a rule; a test tries each route as each role, and refuses one without.

The rule is the door of a page. What may be done there is decided by the actions, which ask `core.access` again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from responder.core.access import Permission, Role, holds

View = TypeVar("View", bound=Callable[..., Any])


class Access(StrEnum):
    """Access rules that are not a permission."""

    PUBLIC = "public"  # anybody: says nothing that is not public
    PROVIDER = "provider"  # what proves the provider (signature, or address), checked before anything else
    MONITOR = "monitor"  # the token of METRICS_TOKEN; where there is none, not found
    DEMO = "demo"  # anybody, where only demo points are told and nothing leaves the machine; elsewhere not found
    SIGNED_IN = "signed in"  # any operator, also one who has yet to set up a second factor


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a route; `fresh`: having proved lately who they are; `polls`: it does not keep a session alive."""

    who: Access | Permission
    fresh: bool = False
    polls: bool = False

    def admits(self, role: Role | None) -> bool:
        """Whether somebody of `role` (None: who is not signed in) may come in."""
        if isinstance(self.who, Permission):
            return role is not None and holds(role, self.who)
        return role is not None or self.who is not Access.SIGNED_IN


def access(who: Access | Permission, fresh: bool = False, polls: bool = False) -> Callable[[View], View]:
    """Mark a view with its rule."""

    def mark(view: View) -> View:
        view.access = Rule(who, fresh, polls)  # type: ignore[attr-defined]
        return view

    return mark

"""Who may use a route. Every view is marked with one of these; a test refuses a route without."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Access(StrEnum):
    """An access rule."""

    PUBLIC = "public"  # anybody: says nothing that is not public
    PROVIDER = "provider"  # the signature of the provider, checked before anything else


def access(rule: Access) -> Callable[[View], View]:
    """Mark a view with its rule."""

    def mark(view: View) -> View:
        view.access = rule  # type: ignore[attr-defined]
        return view

    return mark

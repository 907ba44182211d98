"""Services in plain words: the console's own where it has them, else what residents read."""

from responder.web.console.desk import Desk
from responder.web.console.language import current, gettext, messages


def told(desk: Desk, code: str) -> str:
    """The name of the service `code` in the language of the page."""
    wording = desk.service.flow.languages.get(current())
    if code in messages(current()) or wording is None:
        return gettext(code)
    return wording.service_labels.get(code, code)

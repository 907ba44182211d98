"""Where somebody who finds a hole in this service learns whom to tell: RFC 9116."""

from datetime import timedelta

from flask import Blueprint, Response, abort

from responder.web.access import Access, access
from responder.wiring import Service

PATH = "/.well-known/security.txt"
GOOD_FOR = timedelta(days=180)  # the RFC wants less than a year


def blueprint(service: Service) -> Blueprint:
    """The route of `service`; not found without a SECURITY_CONTACT."""
    known = Blueprint("wellknown", __name__)
    settings = service.settings

    @known.get(PATH)
    @access(Access.PUBLIC)
    def security() -> Response:
        if not settings.security_contact:
            abort(404)
        expires = (service.clock() + GOOD_FOR).replace(hour=0, minute=0, second=0, microsecond=0)
        lines = (
            f"Contact: {settings.security_contact}",
            f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
            "Preferred-Languages: sv, en",
            f"Canonical: {settings.public_url}{PATH}",
        )
        return Response("\n".join((*lines, "")), content_type="text/plain; charset=utf-8")

    return known

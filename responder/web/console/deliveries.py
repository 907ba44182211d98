"""Deliveries that nobody knows about, and how many follow what. Never a list of numbers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from responder.actions.announce import Outcome
from responder.core.access import Permission, require
from responder.core.places import Place
from responder.store.broadcasts import Delivery
from responder.store.people import SYSTEM
from responder.store.queries import subscription_counts
from responder.store.vault import masked
from responder.web.access import access
from responder.web.console.desk import Desk
from responder.web.console.language import gettext

MOST = 200  # deliveries on the page
PLACES = 100
FEW = 5  # below this a count could point at somebody


def add(console: Blueprint, desk: Desk) -> None:
    """The routes."""
    service = desk.service

    def number(delivery: Delivery) -> str:
        try:
            return masked(service.vault.open(delivery.number_sealed)) if delivery.number_sealed else "-"
        except ValueError:
            return gettext("(its key is gone)")

    @console.get("/unknown")
    @access(Permission.VIEW)
    def unknown() -> str:
        found = service.tracker.deliveries(desk.operator, "unknown", None, MOST + 1)
        rows = [(one, number(one)) for one in found[:MOST]]
        return render_template("unknown.html", rows=rows, more=len(found) > MOST, system=SYSTEM)

    @console.post("/unknown/<int:id>/sent")
    @access(Permission.SEND)
    def unknown_sent(id: int) -> AnyResponse:
        service.announcer.resolve(desk.operator, id, Outcome.SENT, desk.now)
        flash(gettext("Delivery {id} counts as sent.").format(id=id))
        return redirect(url_for("console.unknown"), 303)

    @console.post("/unknown/<int:id>/resend")
    @access(Permission.SEND)
    def unknown_resend(id: int) -> AnyResponse:
        service.announcer.resolve(desk.operator, id, Outcome.RESEND, desk.now)
        flash(gettext("Delivery {id} is sent again.").format(id=id))
        return redirect(url_for("console.unknown"), 303)

    @console.get("/subscriptions")
    @access(Permission.VIEW)
    def subscriptions() -> str:
        require(desk.operator, Permission.VIEW)
        with service.database.read() as connection:
            rows, numbers, stopped = subscription_counts(connection)
        known = service.snapshot.read_if_changed(desk.now).gazetteer.by_code
        district = request.args.get("district", "")

        def home(code: str) -> str:
            place = known.get(code)
            return (place.district or place.municipality) if place else ""

        places = _counted(rows, lambda place, *_: place)
        here = [(code, n) for code, n in places if not district or home(code) == district]
        return render_template(
            "subscriptions.html", numbers=numbers, stopped=stopped, total=sum(row[-1] for row in rows),
            pending=sum(row[-1] for row in rows if row[2] == "pending"), few=FEW, district=district,
            by_district=_counted(rows, lambda place, *_: home(place)), more=max(0, len(here) - PLACES),
            by_place=[(_called(code, known), home(code), n) for code, n in here[:PLACES]],
            by_service=_counted(rows, lambda _place, wanted, *_: wanted),
            by_language=_counted(rows, lambda _place, _wanted, _state, language, _channel: language),
            by_channel=_counted(rows, lambda *row: row[4]), labels=service.flow.languages,
        )  # fmt: skip


def _counted(rows: Iterable[tuple[object, ...]], by: Callable[..., str]) -> list[tuple[str, int]]:
    """(what, how many), most first; few of something in the order of its name, so that the order tells nothing."""
    found: Counter[str] = Counter()
    for *row, n in rows:
        found[by(*row)] += int(str(n))
    return sorted(found.items(), key=lambda item: (-item[1] if item[1] >= FEW else 0, item[0]))


def _called(code: str, known: Mapping[str, Place]) -> str:
    place = known.get(code)
    return place.name if place else code

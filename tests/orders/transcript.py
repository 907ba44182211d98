"""An operator closes a point by text, and whoever follows it hears: `python -m tests.orders.transcript` prints it.

A second operator approves a broadcast, a host answers a question, and a stranger with a guessed code gets nowhere.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import text

from responder.actions.push import push_due
from responder.core.access import Role
from responder.core.segments import cost
from tests import engines
from tests.conftest import a_point, prepare, run
from tests.orders.office import ANNA, BO, HOST, RESIDENT, Office

SETTLED = 61  # seconds after a change when a push takes it in


def played(office: Office) -> Iterator[str]:
    """The lines of the story; texts that go out are rendered as the deliverer does."""
    running, said = office.running, office.phones
    resident = running.another_phone(RESIDENT)

    def texts(who: str, phone: Callable[[str], str], body: str, shown: str = "") -> Iterator[str]:
        reply = phone(body)
        yield f"{who}> {shown or body}"
        yield from (f"      {line}" for line in reply.splitlines())
        yield f"      -- {cost(reply).segments} segments, {cost(reply).encoding}"

    def order(who: str, body: str) -> Iterator[str]:
        code = office.code(who)
        yield from texts(who, said[who].text, f"{body} {code}", f"{body} ******")

    yield from texts("resident", resident.text, "START 12347")
    yield from order("anna", "LÄGE")
    yield from texts("a stranger as anna", said["anna"].text, "STÄNGD 1 123456")
    yield from order("anna", "STÄNGD 1")
    yield from texts("anna", said["anna"].text, "JA")
    office.later(seconds=SETTLED)
    yield from sent(office)
    yield from order("anna", "SÄND FARSTA FARA ÖVER")
    yield from texts("anna", said["anna"].text, "JA")
    with running.database.read() as connection:
        id = int(connection.execute(text("SELECT max(id) FROM broadcasts WHERE kind = 'message'")).scalar_one())
    yield from order("anna", f"GODKÄNN {id}")
    yield from order("bo", f"GODKÄNN {id}")
    yield from texts("bo", said["bo"].text, "JA")
    office.later(hours=4)
    office.ask()
    question = office.told(HOST)[-1]
    yield f"      to the host: {question}"
    digits = question.split("JA ")[1][:2]
    host = running.another_phone(HOST)
    yield from texts("host", host.text, "JA", "JA")
    yield from texts("host", host.text, f"FULL {digits}", f"FULL {digits}")


def sent(office: Office) -> Iterator[str]:
    """What a push queues, as it is said when it is taken up."""
    service, now = office.service, office.running.clock()
    pushed = push_due(service.database, service.snapshot.read_if_changed(now), service.rules, now)
    yield f"      push: {pushed}"
    for ready in service.deliverer("transcript").take_up("text", 10):
        yield from (f"      to {ready.number}: {line}" for line in ready.item.body.splitlines())


def opened(path: Path) -> Office:
    """Anna and Bo, a host, and two points in Farsta."""
    running = run(path, push_settle_seconds=60)
    running.put(
        a_point(name="Exempelhallen"), a_point("p2", name="Exempelgården", lat=59.25, lon=18.1, address="Provgatan 2")
    )
    office = Office(running)
    office.operator("anna", ANNA)
    office.operator("bo", BO, Role.APPROVER)
    office.host("p2")
    return office


def main() -> None:
    """Print it."""
    with tempfile.TemporaryDirectory() as folder:
        office = opened(prepare(Path(folder) / "story.db"))
        try:
            print("\n".join(played(office)))
        finally:
            office.running.database.close()
            engines.stop()


if __name__ == "__main__":
    main()

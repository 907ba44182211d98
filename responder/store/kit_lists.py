"""What is printed of a kit: points with the numbers they have on a phone, whom to call."""

import json

from sqlalchemy import text
from sqlalchemy.engine import Connection

from responder.core.access import Role
from responder.core.paper import Contact, role
from responder.core.points import Point
from responder.store.queries import read_points
from responder.store.vault import Vault


def listed(connection: Connection, vault: Vault) -> tuple[list[tuple[Point, int | None]], list[Contact], list[Contact]]:
    """(points with their short numbers, operators who may come in, hosts)."""
    numbers = {row.point: row.number for row in connection.execute(text("SELECT number, point FROM point_numbers"))}
    points = [point for point, _ in read_points(connection)]
    names = {point.id: point.name for point in points}
    operators = [
        Contact(row.name, _number(vault, row.phone_sealed), role(Role(row.role), json.loads(row.districts)))
        for row in connection.execute(text(_OPERATORS))
    ]
    hosts = [
        Contact(row.name, _number(vault, row.number_sealed), names.get(row.point, row.point))
        for row in connection.execute(text("SELECT name, point, number_sealed FROM hosts WHERE removed_at IS NULL"))
    ]
    return [(point, numbers.get(point.id)) for point in points], operators, hosts


_OPERATORS = "SELECT name, role, districts, phone_sealed FROM operators WHERE disabled_at IS NULL"


def _number(vault: Vault, sealed: bytes) -> str:
    try:
        return vault.open(bytes(sealed)) if sealed else ""
    except ValueError:
        return "(kan inte läsas: nyckeln finns inte kvar)"

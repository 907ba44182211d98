"""Hosts: who at a point is asked by text whether it is open, and when they are asked."""

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.clerk import Clerk
from responder.core.flow import Flow
from responder.core.hosting import GOOD_FOR, code, should_ask
from responder.core.numbers import line
from responder.core.points import ACTIVATED, PROPOSED, USABLE, Point, Status, standing
from responder.core.problem import Problem
from responder.core.reply import Manner
from responder.core.wording import Channel
from responder.core.words import clean
from responder.store import desk, exercises, outbox
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.queries import read_point, read_points
from responder.store.vault import Vault

log = logging.getLogger("responder.hosts")

LONGEST_NAME = 40
MOST = 5  # hosts of a point


class BadHost(Problem):
    """Somebody who cannot be a host, or a host that is none. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A host as operators look at them. `asked_at`: when they were asked last, if they were."""

    host: desk.Host
    point: Point
    asked_at: datetime | None


def add(
    database: Database,
    vault: Vault,
    operator: Operator,
    point: str,
    name: str,
    number: str,
    allowed: frozenset[str],
    now: datetime,
) -> int:
    """The id of a new host of `point`, who is texted at `number` (E.164, of one of the `allowed` countries). Raises
    BadHost, Forbidden.
    """
    name, number = clean(name), "".join(number.split()).replace("-", "")
    if not name or len(name) > LONGEST_NAME:
        raise BadHost("a host needs a name of at most {most} characters", most=LONGEST_NAME)
    if line(number, allowed).way != "text":
        raise BadHost("'{number}' cannot be texted; write a mobile number like +46701234567", number=number)
    with database.write() as connection:
        known = _point(connection, operator, point)
        if known.status in PROPOSED:
            raise BadHost("{id} is only proposed; nobody is asked about it", id=point)
        others = [host for host in desk.hosts(connection) if host.point == point]
        if any(host.number_hash in vault.hashes(number) for host in others):
            raise BadHost("{id} has a host with this number already", id=point)
        if outbox.suppressed(connection, vault.hashes(number)):
            raise BadHost("'{number}' has said STOPP; they must text START before they can be asked", number=number)
        if len(others) >= MOST:
            raise BadHost("{id} has {most} hosts; remove one first", id=point, most=MOST)
        sealed = {"hash": vault.newest(number), "sealed": vault.seal(number)}
        id = desk.add_host(connection, point, name, sealed, operator.name, now.timestamp())
        after = json.dumps({"point": point, "name": name}, ensure_ascii=False)
        add_line(connection, now, operator.name, "add host", f"host:{id}", "", after)
    return id


def remove(database: Database, operator: Operator, id: int, now: datetime) -> None:
    """Ask them no more, and forget their number. Raises BadHost, Forbidden."""
    with database.write() as connection:
        found = next((host for host in desk.hosts(connection) if host.id == id), None)
        if found is None:
            raise BadHost("there is no host {id}; look it up in the list of hosts", id=id)
        _point(connection, operator, found.point)
        desk.remove_host(connection, id, now.timestamp())
        before = json.dumps({"point": found.point, "name": found.name}, ensure_ascii=False)
        add_line(connection, now, operator.name, "remove host", f"host:{id}", before, "")


def listed(database: Database, operator: Operator) -> list[Listed]:
    """Every host, by point."""
    require(operator, Permission.VIEW)
    with database.read() as connection:
        points, asked = {p.id: p for p, _ in read_points(connection)}, desk.last_asked(connection)
        return [
            Listed(host, points[host.point], _moment(asked.get(host.id)))
            for host in desk.hosts(connection)
            if host.point in points
        ]


@dataclass(frozen=True)
class Asking:
    """Asks hosts of activated points whether they are open, by night too: whoever goes there does so by night."""

    database: Database
    vault: Vault
    flow: Flow
    manner: Manner
    every: timedelta

    def ask(self, now: datetime) -> int:
        """How many are asked. It looks anew, alone in its transaction, so that no question is asked by two processes.
        Raises StoreAway.
        """
        with self.database.read() as connection:
            if not self._due(connection, now):
                return 0
        with self.database.write() as connection:
            due = self._due(connection, now)
            for host, point, version in due:
                self.ask_host(connection, host, point, version, now)
        if due:
            log.info("asked %d hosts whether their point is open", len(due))
        return len(due)

    def _due(self, connection: Connection, now: datetime) -> list[tuple[desk.Host, Point, int]]:
        """(host, point, version) of those who are to be asked: nobody while an exercise goes on."""
        hosts = desk.hosts(connection)
        if not hosts or exercises.current(connection):
            return []
        asked, found = desk.last_asked(connection), []
        known: Mapping[str, tuple[Point, int]] = {p.id: (p, version) for p, version in read_points(connection)}
        for host in hosts:
            point, version = known.get(host.point, (None, 0))
            if point is None or not self._is_open(point, now):
                continue
            at = _moment(asked.get(host.id))
            if should_ask(point.confirmed_at, at, now, self.every, self.manner.stale_after):
                found.append((host, point, version))
        return found

    def _is_open(self, point: Point, now: datetime) -> bool:
        kind = standing(point, now, self.manner.zone, self.manner.stale_after).kind
        return point.status in ACTIVATED and kind in USABLE

    def ask_host(self, connection: Connection, host: desk.Host, point: Point, version: int, now: datetime) -> None:
        """A question to `host`, by text, in the caller's transaction."""
        try:
            number = self.vault.open(host.number_sealed)
        except ValueError as error:
            log.error("the number of host %d cannot be read: %s", host.id, error)
            return
        same_phone = [one.id for one in desk.hosts_of_phone(connection, self.vault.hashes(number))] or [host.id]
        taken = {one.code for one in desk.questions_of(connection, same_phone)[:30]}
        digits, stamp = code(taken, secrets.randbelow(1_000_000)), now.timestamp()
        id = desk.add_question(connection, host.id, digits, version, stamp, stamp + GOOD_FOR)
        wording = self.flow.languages[self.flow.default_language]
        clerk = Clerk(wording, Channel.TEXT, now, self.manner.zone)
        key = "ask_full" if point.status is Status.FULL else "ask"
        body = clerk.say(key, point=point.name, code=digits, sender=wording.sender(self.manner.sender))
        row = {
            "hash": self.vault.newest(number), "sealed": self.vault.seal(number), "body": body, "now": stamp,
            "serial": f"question:{id}", "language": wording.code,
        }  # fmt: skip
        outbox.tell_operator(connection, row)


def _point(connection: Connection, operator: Operator, id: str) -> Point:
    """The point, if `operator` may change it."""
    found = read_point(connection, id)
    if found is None:
        raise BadHost("no point has the id '{id}'; look it up in the list of points", id=id)
    require(operator, Permission.POINT, found[0].district)
    return found[0]


def _moment(at: float | None) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at else None

"""What can be wished at the desk: what it would do is shown first, and it is done on a second word."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from responder.actions.desk.needs import Broadcasts, Points
from responder.core.access import Operator, Permission, holds, may
from responder.core.broadcast import Broadcast, Shown, Template
from responder.core.clerk import Clerk
from responder.core.estimate import Counts
from responder.core.orders import BECOMES, EVERYONE, Order, Verb
from responder.core.places import Gazetteer
from responder.core.points import ACTIVATED, PROPOSED, Point, Standing, standing
from responder.core.problem import Meanwhile, Problem, Translate
from responder.core.words import fold
from responder.store import desk
from responder.store.snapshot import Snapshot, View
from responder.store.watching import current_point, current_points

HOLDS_FOR = 300.0  # seconds for which a wish waits for the second word
APART = 60.0  # seconds that the clocks of two servers may be
Command = dict[str, Any]
_ABOUT_A_POINT = {"verb", "point", "number", "version", "opens", "closes", "exercise"}
_FIELDS = {  # of a command
    **dict.fromkeys(BECOMES, _ABOUT_A_POINT), Verb.SEND: {"verb", "template", "to", "shown"},
    Verb.APPROVE: {"verb", "id", "version"}, Verb.STOP: {"verb", "id", "version"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is answered to an order, and what the second word would do: nothing if `command` is None."""

    says: str
    command: Command | None = None


@dataclass(frozen=True)
class Wishes:
    """Shows what an order would do, and does what was wished."""

    points: Points
    broadcasts: Broadcasts
    snapshot: Snapshot
    phrases: Callable[[str], Translate]  # by language
    stale_after: timedelta

    def plan(self, connection: Connection, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        """What `order` would do; nothing is written. Raises StoreAway."""
        try:
            match order.verb:
                case Verb.STATE:
                    return self._state(connection, order, operator, clerk)
                case Verb.SEND:
                    return self._sending(order, operator, clerk)
                case Verb.APPROVE:
                    return self._approving(order, operator, clerk)
                case Verb.STOP:
                    return self._stopping(order, operator, clerk)
            return self._setting(connection, order, operator, clerk)
        except Problem as problem:
            return Plan(self.refused(problem, clerk))

    def counts(self, command: Command, operator: Operator, now: datetime) -> Counts:
        """Whom a broadcast that is to be ordered reaches: counted before the transaction. Raises Problem, StoreAway."""
        if command["verb"] != Verb.SEND:
            return {}
        return self.broadcasts.foresee(operator, Template(command["template"]), command["to"], now)[1]

    def do(
        self, connection: Connection, command: Command, operator: Operator, counts: Counts, clerk: Clerk, how: str
    ) -> str:
        """Do what was wished, as what was seen; what is answered. Raises Problem, of which nothing stays, or
        StoreAway.
        """
        now = clerk.now
        match Verb(command["verb"]):
            case Verb.SEND:
                template = Template(command["template"])
                shown = Shown(**command["shown"])
                new = self.broadcasts.order(connection, operator, template, command["to"], counts, now, how, shown)
                return clerk.say("submitted", id=str(new.id))
            case Verb.APPROVE:
                id, version = command["id"], command["version"]
                sent = self.broadcasts.approve_and_send(connection, operator, id, version, now, how)
                return clerk.say("sent", id=str(sent.id), count=clerk.count(sent.recipients))
            case Verb.STOP:
                id, version = command["id"], command["version"]
                stopped = self.broadcasts.stop_in(connection, operator, id, version, now, how)
                return clerk.say("stopped", id=str(stopped.id))
        return self._set(connection, command, operator, clerk, how)

    def refused(self, problem: Problem, clerk: Clerk) -> str:
        """Why nothing is done, in the operator's language."""
        return clerk.say("refused", why=problem.told(self.phrases(clerk.wording.code)))

    def standing(self, point: Point, clerk: Clerk) -> Standing:
        """What a point is for residents now."""
        return standing(point, clerk.now, clerk.zone, self.stale_after)

    def overtaken(self, connection: Connection, command: Command, clerk: Clerk) -> str:
        """Somebody was faster: what the point is now; of a broadcast, that it would be another."""
        if "point" not in command:
            return clerk.say("changed")
        known = current_point(connection, command["point"])
        if known is None:
            return clerk.say("dropped")
        name = clerk.name(command["number"], known[0])
        return clerk.say("overtaken", point=name, state=clerk.state(self.standing(known[0], clerk)))

    # --- points --------------------------------------------------------------------------------------------------

    def _setting(self, connection: Connection, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        id = desk.point_of(connection, order.number or 0)
        if id is None:
            return Plan(clerk.say("no_point", id=str(order.number)))
        view, status = self._view(clerk.now), BECOMES[order.verb]
        seen = self.points.foresee(view, id, status, order.closes, operator, clerk.now)
        values = {
            "point": clerk.name(order.number, seen.after),
            "state": clerk.state(seen.becomes),
            "text": seen.texts.get(clerk.wording.code) or next(iter(seen.texts.values())),
        }
        command: Command = {
            "verb": order.verb, "point": id, "number": order.number, "version": seen.version,
            "opens": _iso(seen.after.opens), "closes": _iso(seen.after.closes), "exercise": seen.exercise,
        }  # fmt: skip
        if seen.exercise:
            return Plan(clerk.say("echo_played", **values), command)
        return Plan(clerk.say("echo", count=clerk.count(seen.hear), **values), command)

    def _set(self, connection: Connection, command: Command, operator: Operator, clerk: Clerk, how: str) -> str:
        status = BECOMES[Verb(command["verb"])]
        point = self.points.put(
            connection, command["point"], status, command["opens"], command["closes"], operator, clerk.now, how,
            command["version"],
        )  # fmt: skip
        values = {
            "point": clerk.name(command["number"], point),
            "state": clerk.state(self.standing(point, clerk)),
            "time": clerk.time(clerk.now),
        }
        return clerk.say("done_played" if command["exercise"] else "done", **values)

    def _state(self, connection: Connection, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        if order.number is not None:
            id = desk.point_of(connection, order.number)
            known = current_point(connection, id) if id else None
            if known is None:
                return Plan(clerk.say("no_point", id=str(order.number)))
            return Plan(self.line(order.number, known[0], clerk))
        return Plan(clerk.points(self._theirs(connection, operator, clerk)))

    def line(self, number: int, point: Point, clerk: Clerk) -> str:
        """A point, what it is, and when somebody last said so."""
        values = {"point": clerk.name(number, point), "state": clerk.state(self.standing(point, clerk))}
        return clerk.say("line", time=clerk.time(point.confirmed_at), **values)

    def _theirs(
        self, connection: Connection, operator: Operator, clerk: Clerk
    ) -> list[tuple[int | None, Point, Standing]]:
        """The points that the operator may change (look at, if they change none), the activated first."""
        numbers = desk.point_numbers(connection)
        changes = holds(operator.role, Permission.POINT)
        found = [
            (numbers.get(p.id), p, self.standing(p, clerk))
            for p, _ in current_points(connection)
            if p.status not in PROPOSED and (may(operator, Permission.POINT, p.district) or not changes)
        ]
        return sorted(found, key=lambda one: (one[1].status not in ACTIVATED, one[0] or 0))

    # --- broadcasts ----------------------------------------------------------------------------------------------

    def _sending(self, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        template = order.template or Template.ALL_CLEAR
        to, target = [], clerk.say("reached")
        if order.target == EVERYONE:
            to, target = ["everyone"], clerk.say("everyone")
        elif order.target:
            found = _target(order.target, self._view(clerk.now).gazetteer)
            if not found:
                return Plan(clerk.say("no_target", target=order.target[:40]))
            to, target = [found], found.partition(":")[2]
        new, counts = self.broadcasts.foresee(operator, template, to, clerk.now)
        count = clerk.count(sum(counts.values()))
        says = clerk.say("send", count=count, target=target, text=_text(new, clerk))
        shown = asdict(Shown(new.corrects, new.exercise, dict(new.texts), new.created_at))
        return Plan(says, {"verb": Verb.SEND, "template": template, "to": to, "shown": shown})

    def _approving(self, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        found, recipients = self.broadcasts.waiting(operator, order.number or 0)
        values = {"id": str(found.id), "who": _who(found, clerk)}
        shown = {**values, "count": clerk.count(recipients), "text": _text(found, clerk)}
        is_free = not found.written or found.template == Template.FREE
        if is_free or not clerk.fits("approve", **shown):  # nobody approves what they have not read
            return Plan(clerk.say("unread", id=str(found.id)))
        says = clerk.say("approve", **shown)
        return Plan(says, {"verb": Verb.APPROVE, "id": found.id, "version": found.version})

    def _stopping(self, order: Order, operator: Operator, clerk: Clerk) -> Plan:
        found = self.broadcasts.stoppable(operator, order.number or 0)
        values = {"id": str(found.id), "who": _who(found, clerk)}
        says = clerk.say("stop", text=_text(found, clerk), **values)
        return Plan(says, {"verb": Verb.STOP, "id": found.id, "version": found.version})

    def _view(self, now: datetime) -> View:
        return self.snapshot.read_if_changed(now)


def packed(command: Command) -> str:
    """A command as it is stored."""
    return json.dumps(command, ensure_ascii=False)


def still_holds(wish: desk.Wish, now: datetime) -> bool:
    """Whether the second word still counts. One that is dated further ahead than any can be is of a clock that was set
    back since: nobody knows how old it is.
    """
    return now.timestamp() <= wish.until <= now.timestamp() + HOLDS_FOR + APART


def unpacked(stored: str) -> Command | None:
    """What `packed` wrote; None for what another version of the program did: all that was shown is not known then."""
    try:
        command = json.loads(stored)
        verb = Verb(command["verb"])
        if verb is Verb.SEND:
            Template(command["template"])
            Shown(**command["shown"])
        return command if command.keys() == _FIELDS[verb] else None
    except (ValueError, TypeError, KeyError):
        return None


def _iso(at: datetime | None) -> str:
    """The very time that was shown: "20:00" would be tomorrow's once it has passed."""
    return at.isoformat() if at else ""


def is_overtaken(problem: Problem) -> bool:
    """Whether somebody was faster."""
    return isinstance(problem, Meanwhile)


def _who(broadcast: Broadcast, clerk: Clerk) -> str:
    """Whose it is: the last who wrote at it; the service's own, where points have changed."""
    return broadcast.editors[-1] if broadcast.editors else broadcast.operator or clerk.say("service")


def _text(broadcast: Broadcast, clerk: Clerk) -> str:
    """What it says in the operator's language, or in one that it has; what nobody wrote says how points stand then."""
    texts = broadcast.texts
    said = texts.get(clerk.wording.code) or texts.get(broadcast.fallback) or next(iter(texts.values()), "")
    return said or clerk.say("unwritten")


def _target(said: str, known: Gazetteer) -> str:
    """The district or else the area that somebody calls so, as a broadcast takes it; "" for none."""

    def plain(name: str) -> str:
        return "".join(char for char in fold(name) if char.isalnum())

    for district in sorted(known.districts):
        if plain(district) == plain(said):
            return f"district:{district}"
    named = sorted({p.name for p in known.places if p.kind != "postcode" and plain(p.name) == plain(said)})
    return f"area:{named[0]}" if named else ""

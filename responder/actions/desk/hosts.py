"""What hosts answer to our questions: `JA 41`. The digits are of the question; a number alone changes nothing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.engine import Connection

from responder import metrics
from responder.actions.desk.book import Book
from responder.actions.desk.codes import BY
from responder.actions.desk.needs import Points, Questions
from responder.core.access import Operator, Permission, Role, may
from responder.core.clerk import Clerk
from responder.core.flow import Flow
from responder.core.hosting import GOOD_FOR, MOST_TRIES, Reply, judged
from responder.core.orders import Answer
from responder.core.points import ACTIVATED, Point, Status, standing
from responder.core.problem import Meanwhile, Problem, Translate
from responder.core.reply import Manner
from responder.core.wording import Channel
from responder.ports import Clock, Inbound, Outbound
from responder.store import desk, outbox
from responder.store.accounts import read_accounts
from responder.store.broadcasts import add_line
from responder.store.engine import Database, StoreAway
from responder.store.exercises import current
from responder.store.vault import Vault
from responder.store.watching import current_point

log = logging.getLogger("responder.desk")
PROVED = (Reply.TAKE, Reply.MEND)
NAMELESS = {"point": "-"}  # where only what a sentence costs is asked for
OVERTAKEN = "changed"  # the answer of a question whose point was another by then


class Hosts:
    """Takes in hosts' answers."""

    def __init__(
        self,
        flow: Flow,
        manner: Manner,
        database: Database,
        vault: Vault,
        clock: Clock,
        book: Book,
        points: Points,
        questions: Questions,
        phrases: Callable[[str], Translate],
    ) -> None:
        self._flow, self._manner, self._db, self._vault, self._clock = flow, manner, database, vault, clock
        self._book, self._points, self._questions, self._phrases = book, points, questions, phrases

    def answered(self, inbound: Inbound, said: Answer, digits: str) -> str:
        """The document that answers a host; "" if the text is no answer to a question of ours. Raises StoreAway."""
        with self._db.read() as connection:
            hosts = desk.hosts_of_phone(connection, self._vault.hashes(inbound.sender))
            questions = desk.questions_of(connection, [one.id for one in hosts]) if hosts else []
        if not questions:
            return ""
        now = self._clock()
        reply, _ = judged(questions, digits, now.timestamp(), said)
        if reply is Reply.NONE:
            return ""
        costs = "" if reply in PROVED else self._clerk(now).say(f"host.{reply}", **NAMELESS)
        capped = bool(costs) and self._book.charge(inbound, costs, now) is not None
        with self._db.write() as connection:
            if before := self._book.again(connection, inbound):
                return before
            hosts = desk.hosts_of_phone(connection, self._vault.hashes(inbound.sender))  # of whom none was removed
            says, is_proved = self._taken(connection, hosts, said, digits, now)
            if not says:
                return ""
            outbound = Outbound(text=says)
            if not is_proved:
                outbound = self._book.unproved(connection, inbound, says, now, capped)
            document = self._book.write(connection, inbound, outbound, now, inbound.text)
        if not costs:
            self._book.charge(inbound, says, now)
        metrics.inbound(inbound.channel, "answered" if outbound.text else "capped", "host")
        return document

    def leave(self, inbound: Inbound) -> None:
        """They said STOPP: nobody asks them any more, and operators hear of it. What STOPP does besides is not ours."""
        hashes, now = self._vault.hashes(inbound.sender), self._clock()
        try:
            with self._db.read() as connection:
                if not desk.hosts_of_phone(connection, hashes):
                    return
            with self._db.write() as connection:
                for host in desk.hosts_of_phone(connection, hashes):
                    known = current_point(connection, host.point)
                    desk.remove_host(connection, host.id, now.timestamp())
                    add_line(connection, now, f"host {host.name}", "stop", f"host:{host.id}", "", "")
                    if known:
                        self._tell(connection, known[0], f"gone:{host.id}", "host.gone", {"who": host.name}, now)
        except StoreAway as error:  # their STOPP must not wait for that: no text goes to who is on the list
            log.error("a host who said STOPP is still on the list of hosts: %s", error)

    def _taken(
        self, connection: Connection, hosts: Sequence[desk.Host], said: Answer, digits: str, now: datetime
    ) -> tuple[str, bool]:
        """(what is answered, whether the digits have proved who it is)."""
        by_id = {host.id: host for host in hosts}
        questions = desk.questions_of(connection, by_id)
        reply, question = judged(questions, digits, now.timestamp(), said)
        clerk = self._clerk(now)
        if reply is Reply.NONE:
            return "", False
        if reply in (Reply.WRONG, Reply.EXPLAIN):
            open_ones = [q for q in questions if q.until >= now.timestamp() and not q.answer and q.tries < MOST_TRIES]
            desk.count_try(connection, [q.id for q in open_ones])
            spent = [q for q in open_ones if q.tries + 1 >= MOST_TRIES]
            if [q for q in spent if self._spent(connection, by_id[q.host], q, questions, now)]:
                return clerk.say("host.anew"), False
            if spent and len(spent) == len(open_ones):
                return clerk.say("host.spent"), False
        if question is None or reply not in PROVED:
            known = current_point(connection, by_id[question.host].point) if question else None
            values = {"point": known[0].name} if reply is Reply.EXPLAIN and known else {}
            return clerk.say(f"host.{reply}", **values), False
        return self._acted(connection, by_id[question.host], question, said, now), True

    def _spent(
        self, connection: Connection, host: desk.Host, spent: desk.Question, questions: Sequence[desk.Question],
        now: datetime,
    ) -> bool:  # fmt: skip
        """Nobody can answer that question any more: operators hear of it, and the host is asked anew, once an hour;
        whether they are.
        """
        known = current_point(connection, host.point)
        if known is None:
            return False
        self._tell(connection, known[0], f"tries:{spent.id}", "host.tries", {"who": host.name}, now)
        since = spent.asked_at - GOOD_FOR
        others = [q for q in questions if q.host == host.id and q.id != spent.id and q.tries >= MOST_TRIES]
        if any(q.asked_at >= since for q in others) or known[0].status not in ACTIVATED or current(connection):
            return False
        self._questions.ask_host(connection, host, known[0], known[1], now)
        return True

    def _acted(
        self, connection: Connection, host: desk.Host, question: desk.Question, said: Answer, now: datetime
    ) -> str:
        """Do what they say, if the point is still as it was when they were asked, or as their own yes has left it. What
        is refused for another reason can be answered again.
        """
        clerk, stamp = self._clerk(now), now.timestamp()
        known = current_point(connection, host.point)
        if known is None:
            desk.answer_question(connection, question.id, said.value, stamp, question.answer)
            return clerk.say("host.late")
        seen = question.version + (question.answer != "")  # their yes made the next version
        try:
            with connection.begin_nested():
                point = self._done(connection, host, known[0], seen, said, now)
        except Meanwhile:
            desk.answer_question(connection, question.id, OVERTAKEN, stamp, question.answer)
            return clerk.say("host.changed", point=known[0].name, state=self._state(known[0], clerk))
        except Problem as problem:
            return clerk.say("host.not", why=problem.told(self._phrases(clerk.wording.code)))
        desk.answer_question(connection, question.id, said.value, stamp, question.answer)
        if said is Answer.NO:
            values = {"who": host.name, "time": clerk.time(now)}
            self._tell(connection, point, f"closed:{question.id}", "host.closed", values, now)
        return clerk.say("host.done", point=point.name, state=self._state(point, clerk))

    def _done(
        self, connection: Connection, host: desk.Host, before: Point, version: int, said: Answer, now: datetime
    ) -> Point:
        who = Operator(f"host {host.name}", Role.REPORTER, (before.district,))
        if said is Answer.YES or (said is Answer.FULL and before.status is Status.FULL):
            return self._points.confirm(connection, host.point, who, now, BY[Channel.TEXT], version)
        status = Status.FULL if said is Answer.FULL else Status.CLOSED
        return self._points.change(connection, host.point, status, "", who, now, BY[Channel.TEXT], version)

    def _tell(
        self, connection: Connection, point: Point, serial: str, key: str, values: Mapping[str, str], now: datetime
    ) -> None:
        """A text to every operator with a phone who may change the point."""
        for account in read_accounts(connection):
            one = account.operator
            if not account.phone_sealed or account.disabled_at is not None:
                continue
            if not may(one, Permission.POINT, point.district):
                continue
            try:
                number = self._vault.open(account.phone_sealed)
            except ValueError as error:
                log.error("the phone of %s cannot be read: %s", one.name, error)
                continue
            clerk = self._clerk(now)
            row = {
                "hash": self._vault.newest(number), "sealed": self._vault.seal(number), "serial": f"host:{serial}",
                "body": clerk.say(key, point=point.name, **values), "language": clerk.wording.code,
                "now": now.timestamp(),
            }  # fmt: skip
            outbox.tell_operator(connection, row)

    def _state(self, point: Point, clerk: Clerk) -> str:
        return clerk.state(standing(point, clerk.now, clerk.zone, self._manner.stale_after))

    def _clerk(self, now: datetime) -> Clerk:
        wording = self._flow.languages[self._flow.default_language]
        return Clerk(wording, Channel.TEXT, now, self._manner.zone)

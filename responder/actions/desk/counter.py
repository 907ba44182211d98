"""The desk: decides whether what came in is an operator's or a host's, and answers that. All else is a resident's."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from sqlalchemy.engine import Connection

from responder import metrics
from responder.actions.desk.book import Book
from responder.actions.desk.calls import Calls
from responder.actions.desk.codes import BY, Codes
from responder.actions.desk.hosts import Hosts
from responder.actions.desk.needs import Broadcasts, Points, Questions
from responder.actions.desk.wishes import HOLDS_FOR, Command, Plan, Wishes, is_overtaken, packed, still_holds, unpacked
from responder.core.access import Operator
from responder.core.clerk import Clerk
from responder.core.estimate import Counts
from responder.core.flow import Flow
from responder.core.onetime import PAPER_DIGITS, TOTP_DIGITS
from responder.core.orders import Answer, Order, answer, is_garbled, meant, order, without_code, without_codes
from responder.core.problem import Problem, Translate
from responder.core.reply import Manner
from responder.core.wording import Channel, plainly
from responder.core.words import clean
from responder.ports import Clock, Gateway, Inbound, Outbound
from responder.store import accounts, desk
from responder.store.engine import Database, StoreAway
from responder.store.meter import Meter
from responder.store.queries import Clash
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault

log = logging.getLogger("responder.desk")

LOOK_EVERY = 10.0  # seconds between two looks at whose phones are known, at most
LOOK_SOONER = 1.0  # where a phone that is not known orders something: it may have been given to somebody just now
TOO_LATE = 3600.0  # seconds for which somebody is told that their wish has run out; after that JA is a resident's
ATTEMPTS = 5


@dataclass(frozen=True)
class Caller:
    """What is known of whoever sent a text: accounts with this phone, and their wish."""

    names: Sequence[str]
    language: str
    wish: desk.Wish | None
    asked_at: float  # when the number last spoke to us as a resident does


class Desk:
    """Answers operators and hosts. Thread-safe."""

    def __init__(
        self,
        flow: Flow,
        manner: Manner,
        gateways: Mapping[str, Gateway],
        database: Database,
        snapshot: Snapshot,
        vault: Vault,
        clock: Clock,
        meter: Meter,
        price_segment: float,
        points: Points,
        broadcasts: Broadcasts,
        questions: Questions,
        phrases: Callable[[str], Translate],
    ) -> None:
        self._flow, self._manner, self._db, self._vault, self._clock = flow, manner, database, vault, clock
        self._codes = Codes(vault)
        self._book = Book(vault, gateways, meter, price_segment)
        self._wishes = Wishes(points, broadcasts, snapshot, phrases, manner.stale_after)
        self._hosts = Hosts(flow, manner, database, vault, clock, self._book, points, questions, phrases)
        self._calls = Calls(flow, manner, database, vault, clock, self._book, self._codes, self._wishes)
        self._known: frozenset[bytes] = frozenset()
        self._looked: float | None = None
        self._in_vain = False  # whether the last look was
        self._looking = threading.Lock()

    def respond(self, inbound: Inbound) -> str:
        """The document that answers an operator or a host; "" if it is for whoever answers residents."""
        if not self._knows(inbound):
            return ""
        try:
            for _ in range(ATTEMPTS):
                try:
                    return self._calls.respond(inbound) if inbound.channel is Channel.VOICE else self._text(inbound)
                except Clash:
                    continue
            raise StoreAway("two turns at once, again and again")
        except StoreAway as error:
            log.error("database away, nothing is done of %s: %s", inbound.id, error)
            return self._away(inbound)

    def look(self) -> None:
        """Learn whose phones are known. Raises StoreAway."""
        with self._db.read() as connection:
            self._known = frozenset(desk.phones(connection))
        self._looked, self._in_vain = monotonic(), False

    def _knows(self, inbound: Inbound) -> bool:
        """Whether the sender may be an operator or a host: decided in memory, so that residents pay nothing for it."""
        self._look_after(LOOK_EVERY)
        if not self._is_known(inbound.sender) and not self._in_vain and _hurries(inbound):
            self._look_after(LOOK_SOONER)
        return self._is_known(inbound.sender)

    def _look_after(self, seconds: float) -> None:
        """Look once more, if that is longer ago."""
        due = self._looked is None or monotonic() - self._looked > seconds
        if due and self._looking.acquire(blocking=False):
            try:
                self._looked = monotonic()  # also if it is in vain: nobody waits for it again and again
                self.look()
            except StoreAway as error:
                self._in_vain = True
                log.warning("whose phones are known is as it was: %s", error)
            finally:
                self._looking.release()

    def _is_known(self, sender: str) -> bool:
        if not self._known or not sender.startswith("+"):
            return False
        return not self._known.isdisjoint(self._vault.hashes(sender))

    # --- texts ---------------------------------------------------------------------------------------------------

    def _text(self, inbound: Inbound) -> str:
        if inbound.handled:
            if inbound.handled == "STOP":
                self._hosts.leave(inbound)
            return ""
        if not _may_be_ours(inbound.text):
            self._left(inbound)
            return ""
        caller, before = self._caller(inbound)
        if before:
            metrics.inbound(inbound.channel, "repeated")
            return before
        document = self._answered(inbound, caller)
        if document:
            return document
        wanted = order(inbound.text)
        if caller.names and (wanted or is_garbled(inbound.text)):
            return self._ordered(inbound, caller, wanted) if wanted else self._garbled(inbound, caller)
        self._left(inbound)
        return ""

    def _left(self, inbound: Inbound) -> None:
        """Whoever says STOPP is asked as a host no more."""
        if self._stops(inbound.text):
            self._hosts.leave(inbound)

    def _stops(self, text: str) -> bool:
        said = plainly(clean(text))
        return any(wording.command(said) == "stop" for wording in self._flow.languages.values())

    def _caller(self, inbound: Inbound) -> tuple[Caller, str]:
        """Who texts, and the document that this text was answered with before, or ""."""
        hashes = self._vault.hashes(inbound.sender)
        with self._db.read() as connection:
            before = self._book.again(connection, inbound)
            names = desk.names_of_phone(connection, hashes)
            known = accounts.credentials(connection, names[0]) if names else None
            wish = desk.wish(connection, self._book.wishes(inbound))
            asked_at = desk.last_turn(connection, hashes)[2]
        return Caller(names, known.language if known else "", wish, asked_at), before

    def _answered(self, inbound: Inbound, caller: Caller) -> str:
        """What an answer is to: a question to a host if it has two digits, else the wish if there is one; else nothing
        of ours.
        """
        said, words = answer(inbound.text), meant(inbound.text)
        if said and said[1] and (document := self._hosts.answered(inbound, *said)):
            return document
        wish, stamp = caller.wish, self._clock().timestamp()
        if wish and words and caller.names and stamp <= wish.until + TOO_LATE:
            if caller.asked_at <= wish.created_at:
                return self._second_word(inbound, caller, wish, *words)
            if words[0] is Answer.YES and stamp <= wish.until:
                return self._forgotten(inbound, caller)
        return self._hosts.answered(inbound, *said) if said and not said[1] else ""

    def _forgotten(self, inbound: Inbound, caller: Caller) -> str:
        """A yes to an order after which they asked as a resident does: it is to neither."""
        return self._refused(inbound, self._clerk(caller.language).say("forgotten"))

    def _garbled(self, inbound: Inbound, caller: Caller) -> str:
        """What was to be an order and is none: its code, still unspent, lies in no inbox."""
        return self._refused(inbound, self._clerk(caller.language).say("garbled"))

    def _refused(self, inbound: Inbound, says: str) -> str:
        """Nothing is done, nothing is wished any more, and nothing was proved."""
        now = self._clock()
        capped = self._book.charge(inbound, says, now) is not None
        with self._db.write() as connection:
            if before := self._book.again(connection, inbound):
                return before
            return self._unproved(connection, inbound, says, now, capped, without_codes(inbound.text))

    def _unproved(
        self, connection: Connection, inbound: Inbound, says: str, now: datetime, capped: bool, body: str
    ) -> str:
        """Answer what a number alone has asked for; whatever was ordered before is no longer meant."""
        desk.drop_wishes(connection, self._book.wishes(inbound))
        outbound = self._book.unproved(connection, inbound, says, now, capped)
        metrics.inbound(inbound.channel, "answered" if outbound.text else "capped", "order")
        return self._book.write(connection, inbound, outbound, now, body)

    def _ordered(self, inbound: Inbound, caller: Caller, wanted: Order) -> str:
        now, plan, seems = self._clock(), None, None
        if not wanted.code:
            return self._refused(inbound, self._clerk(caller.language).say("code"))
        body = without_code(inbound.text, wanted.code)
        stamp = now.timestamp()
        with self._db.read() as connection:  # to count a million must not keep residents waiting
            seems = self._codes.fits(connection, inbound, wanted.code, stamp)
            if seems:
                plan = self._planned(connection, wanted, seems)
        refusal = self._clerk(caller.language).say("not_done")
        capped = self._book.charge(inbound, plan.says if plan else refusal, now) is not None
        with self._db.write() as connection:
            if before := self._book.again(connection, inbound):
                return before
            operator = self._codes.take(connection, inbound, wanted.code, stamp)
            if operator is None:  # nobody learns why
                return self._unproved(connection, inbound, refusal, now, capped, body)
            if plan is None or seems is None or seems.name != operator.name:
                plan = self._planned(connection, wanted, operator)
            self._wish(connection, inbound, operator, plan)
            document = self._book.write(connection, inbound, Outbound(text=plan.says), now, body)
        metrics.inbound(inbound.channel, "answered", "order")
        return document

    def _planned(self, connection: Connection, wanted: Order, operator: Operator) -> Plan:
        return self._wishes.plan(connection, wanted, operator, self._clerk_of(connection, operator))

    def _wish(self, connection: Connection, inbound: Inbound, operator: Operator, plan: Plan) -> None:
        """What is wished now is the only wish; an order that asks for none leaves none."""
        keys, stamp = self._book.wishes(inbound), self._clock().timestamp()
        desk.drop_wishes(connection, keys)
        if plan.command is not None:
            command = packed(plan.command)
            desk.set_wish(connection, desk.Wish(keys[0], operator.name, command, stamp, stamp + HOLDS_FOR))

    def _second_word(self, inbound: Inbound, caller: Caller, wish: desk.Wish, said: Answer, digits: str) -> str:
        """`digits`: given with the word. Those of another point or broadcast make a yes a no."""
        now, command = self._clock(), unpacked(wish.command)
        is_yes = said is Answer.YES and not (command and _is_of_another(digits, command))
        late = not still_holds(wish, now)
        counts, refused = self._counts(inbound, wish, command, now) if is_yes and not late else ({}, None)
        with self._db.write() as connection:
            if before := self._book.again(connection, inbound):
                return before
            if desk.wish(connection, self._book.wishes(inbound)) != wish:
                raise Clash  # done, or another is wished, meanwhile
            desk.drop_wishes(connection, self._book.wishes(inbound))
            operator = self._codes.operator(connection, self._vault.hashes(inbound.sender), wish.operator)
            clerk = self._clerk_of(connection, operator) if operator else self._clerk(caller.language)
            if late:
                says = clerk.say("late")
            elif operator is None or not is_yes:
                says = clerk.say("dropped")
            elif command is None:
                says = clerk.say("changed")
            elif refused is not None:
                says = self._wishes.refused(refused, clerk)
            else:
                says = self._done(connection, inbound, command, operator, counts, clerk)
            document = self._book.write(connection, inbound, Outbound(text=says), now, without_codes(inbound.text))
        self._counted(inbound, says)
        return document

    def _counts(
        self, inbound: Inbound, wish: desk.Wish, command: Command | None, now: datetime
    ) -> tuple[Counts, Problem | None]:
        """(whom a broadcast that is to be ordered reaches, why it cannot be counted): before the transaction."""
        with self._db.read() as connection:
            operator = self._codes.operator(connection, self._vault.hashes(inbound.sender), wish.operator)
        try:
            return (self._wishes.counts(command, operator, now) if operator and command else {}), None
        except Problem as problem:
            return {}, problem

    def _done(
        self,
        connection: Connection,
        inbound: Inbound,
        command: Command,
        operator: Operator,
        counts: Counts,
        clerk: Clerk,
    ) -> str:
        """Do what was wished; what is answered. Of what is refused nothing stays."""
        try:
            with connection.begin_nested():
                return self._wishes.do(connection, command, operator, counts, clerk, BY[inbound.channel])
        except Problem as problem:
            if is_overtaken(problem):
                return self._wishes.overtaken(connection, command, clerk)
            return self._wishes.refused(problem, clerk)

    def _counted(self, inbound: Inbound, says: str) -> None:
        self._book.charge(inbound, says, self._clock())
        metrics.inbound(inbound.channel, "answered", "order")

    def _clerk_of(self, connection: Connection, operator: Operator) -> Clerk:
        known = accounts.credentials(connection, operator.name)
        return self._clerk(known.language if known else "")

    def _clerk(self, language: str) -> Clerk:
        wording = self._flow.languages.get(language) or self._flow.languages[self._flow.default_language]
        return Clerk(wording, Channel.TEXT, self._clock(), self._manner.zone)

    def _away(self, inbound: Inbound) -> str:
        """What somebody is told whose order or answer could not be looked at: nothing is recorded, so that it may come
        once more. A resident's question is answered from memory.
        """
        if inbound.channel is Channel.VOICE:
            return self._calls.away(inbound)
        if not (order(inbound.text) or answer(inbound.text) or is_garbled(inbound.text)):
            return ""
        return self._book.render(inbound, Outbound(text=self._clerk("").say("away")))


def _may_be_ours(text: str) -> bool:
    """Whether `text` can be an order or an answer to anything we asked."""
    return bool(order(text) or answer(text) or meant(text) or is_garbled(text))


def _hurries(inbound: Inbound) -> bool:
    """Whether an unknown phone may be an operator's who got it just now: it keys something, or texts what may be an
    order with its code.
    """
    if inbound.channel is Channel.VOICE:
        return inbound.keyed
    if sum(map(str.isdecimal, inbound.text)) < TOTP_DIGITS:
        return False
    found = order(inbound.text)
    return bool(found.code) if found else is_garbled(inbound.text)


def _is_of_another(digits: str, command: Command) -> bool:
    """Whether `digits`, said with a yes, name another point or broadcast than the wish is about. They may be a code
    instead, which is not asked for, if they are as many as it has and the number has fewer or more.
    """
    number = str(command.get("number", command.get("id", "")))
    is_code = len(digits) in (TOTP_DIGITS, PAPER_DIGITS) and len(digits) != len(number)
    return bool(digits) and not is_code and digits.lstrip("0") != number

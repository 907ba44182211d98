"""The operators' menu of a call from a registered phone: 00000 leads to it, a code opens it.

Each turn is one transaction, as a text is: a retried turn is told the same again.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from responder import metrics
from responder.actions.desk.book import Book
from responder.actions.desk.codes import BY, Codes
from responder.actions.desk.wishes import HOLDS_FOR, Plan, Wishes, is_overtaken, packed, still_holds, unpacked
from responder.core.access import Operator
from responder.core.clerk import Clerk
from responder.core.flow import Flow
from responder.core.keypad import DIGITS, ENTRY, GOOD_FOR, KEYS, Menu, Step
from responder.core.keypad import packed as menu_packed
from responder.core.keypad import unpacked as menu_unpacked
from responder.core.orders import Order, Verb
from responder.core.problem import Problem
from responder.core.reply import Manner
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.ports import Clock, Inbound, Outbound
from responder.store import accounts, desk
from responder.store.engine import Database, StoreAway
from responder.store.queries import Clash
from responder.store.vault import Vault
from responder.store.watching import current_point

log = logging.getLogger("responder.desk")
REMEMBERED = 1000  # calls


@dataclass(frozen=True, slots=True)
class Next:
    """What a turn leads to."""

    menu: Menu
    says: tuple[str, ...]


class Calls:
    """Answers the turns of such calls."""

    def __init__(
        self,
        flow: Flow,
        manner: Manner,
        database: Database,
        vault: Vault,
        clock: Clock,
        book: Book,
        codes: Codes,
        wishes: Wishes,
    ) -> None:
        self._flow, self._manner, self._db, self._vault, self._clock = flow, manner, database, vault, clock
        self._book, self._codes, self._wishes = book, codes, wishes
        self._ours = OrderedDict[str, bool]()  # call to whether it is at this menu, for those that came in last

    def respond(self, inbound: Inbound) -> str:
        """The document of a turn; "" if the call is a resident's. Raises Clash, StoreAway."""
        hashes, keys = self._vault.hashes(inbound.sender), self._book.keys(inbound)
        enters = inbound.keyed and inbound.text == ENTRY
        with self._db.read() as connection:
            number, state, _ = desk.last_turn(connection, keys)
            names = desk.names_of_phone(connection, hashes) if number or enters else []
            self._note(inbound.call, bool(names))
            if not names:
                return ""
            if before := self._book.again(connection, inbound):
                return before
            menu = self._standing(connection, state, names)
            plan = self._planned(connection, menu, inbound, hashes) if number else None
        try:
            return self._turn(inbound, number, menu, plan)
        except StoreAway as error:
            log.error("database away, nothing is done of %s: %s", inbound.id, error)
            return self._held(inbound, menu)

    def away(self, inbound: Inbound) -> str:
        """The document of a turn that nothing could be read of; "" if the call is a resident's as far as is known: what
        is keyed at the operators' menu never reaches the residents'.
        """
        if inbound.begins:
            self._note(inbound.call, False)
        enters = inbound.keyed and inbound.text == ENTRY
        may_be_ours = inbound.keyed and len(inbound.text) != len(ENTRY)  # five digits are a postcode
        if not enters and not self._ours.get(inbound.call, may_be_ours):
            return ""
        self._note(inbound.call, True)
        return self._held(inbound, Menu())

    def _held(self, inbound: Inbound, menu: Menu) -> str:
        """It is told to wait, and asked for the same again."""
        clerk = self._clerk(menu)
        away = Outbound(spoken=(Spoken(clerk.say("away"), clerk.wording.code),), language=clerk.wording.code)
        return self._book.gateways[inbound.gateway].hold(away, inbound.turn)

    def _note(self, call: str, ours: bool) -> None:
        """Remember whose a call is while the database cannot be asked."""
        self._ours[call] = ours
        if len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)

    def _turn(self, inbound: Inbound, number: int, menu: Menu, plan: Plan | None) -> str:
        """The document of a turn that is ours, after `number` others. Raises Clash, StoreAway."""
        now = self._clock()
        with self._db.write() as connection:
            if before := self._book.again(connection, inbound):
                return before
            if desk.last_turn(connection, self._book.keys(inbound))[0] != number:
                raise Clash
            following = self._next(connection, inbound, menu, plan) if number else self._entered(menu)
            document = self._said(connection, inbound, following, now)
        metrics.inbound(inbound.channel, "answered", "order")
        return document

    def _standing(self, connection: Connection, state: bytes, names: Sequence[str]) -> Menu:
        """Where the call stands; at the code again, if the account has gone or nobody has pressed a key for long."""
        known = accounts.credentials(connection, names[0])
        fresh = Menu(language=known.language if known else "")
        if not state:
            return fresh
        menu = menu_unpacked(self._vault.open(state))
        gone = menu.operator and menu.operator not in names
        return replace(fresh, wrong=menu.wrong) if gone or self._clock().timestamp() - menu.at > GOOD_FOR else menu

    def _entered(self, menu: Menu) -> Next:
        return Next(menu, (self._clerk(menu).say("key.code"),))

    def _planned(self, connection: Connection, menu: Menu, inbound: Inbound, hashes: Sequence[bytes]) -> Plan | None:
        """What a point would become: shown before the transaction, for counting may take long."""
        keys = inbound.text if inbound.keyed else ""
        if menu.step is not Step.WHAT or not menu.means(keys) or KEYS[keys] is Verb.STATE:
            return None
        operator = self._codes.operator(connection, hashes, menu.operator)
        if operator is None:
            return None
        return self._wishes.plan(connection, Order(KEYS[keys], number=menu.number), operator, self._clerk(menu))

    def _next(self, connection: Connection, inbound: Inbound, menu: Menu, plan: Plan | None) -> Next:
        keys = inbound.text if inbound.keyed else ""
        hashes, clerk = self._vault.hashes(inbound.sender), self._clerk(menu)
        if not menu.means(keys):
            return self._again(connection, menu.mistaken(), clerk.say("key.mistake") if keys or inbound.text else "")
        if menu.step is Step.CODE:
            return self._code(connection, inbound, menu, keys)
        operator = self._codes.operator(connection, hashes, menu.operator)
        if operator is None:
            return self._again(connection, menu.to(Step.OVER), "")
        match menu.step:
            case Step.POINT:
                return self._point(connection, menu, int(keys), clerk)
            case Step.WHAT:
                return self._what(connection, inbound, menu, keys, plan, operator)
        return self._sure(connection, inbound, menu, keys, operator)

    def _code(self, connection: Connection, inbound: Inbound, menu: Menu, keys: str) -> Next:
        operator = self._codes.take(connection, inbound, keys, self._clock().timestamp())
        if operator is None:
            return self._again(connection, menu.after_wrong_code(), self._clerk(menu).say("key.wrong"))
        known = accounts.credentials(connection, operator.name)
        menu = menu.to(Step.POINT, operator=operator.name, language=known.language if known else menu.language)
        return Next(menu, (self._clerk(menu).say("key.point"),))

    def _point(self, connection: Connection, menu: Menu, number: int, clerk: Clerk) -> Next:
        id = desk.point_of(connection, number)
        if id is None or current_point(connection, id) is None:
            return self._again(connection, menu.mistaken(), clerk.say("key.unknown"))
        return self._again(connection, menu.to(Step.WHAT, number=number), "")

    def _what(
        self, connection: Connection, inbound: Inbound, menu: Menu, keys: str, plan: Plan | None, operator: Operator
    ) -> Next:
        clerk, following = self._clerk(menu), menu.to(Step.POINT)
        id = desk.point_of(connection, menu.number) or ""
        known = current_point(connection, id)
        if KEYS[keys] is Verb.STATE and known:
            values = {"point": known[0].name, "state": clerk.state(self._wishes.standing(known[0], clerk))}
            state = clerk.say("key.state", time=clerk.time(known[0].confirmed_at), **values)
            return Next(following, (state, clerk.say("key.next")))
        plan = plan or self._wishes.plan(connection, Order(KEYS[keys], number=menu.number), operator, clerk)
        if plan.command is None:
            return Next(following, (plan.says, clerk.say("key.next")))
        wishes, stamp = self._book.wishes(inbound), clerk.now.timestamp()
        desk.drop_wishes(connection, wishes)
        wish = desk.Wish(wishes[0], operator.name, packed(plan.command), stamp, stamp + HOLDS_FOR)
        desk.set_wish(connection, wish)
        return Next(menu.to(Step.SURE), (plan.says,))

    def _sure(self, connection: Connection, inbound: Inbound, menu: Menu, keys: str, operator: Operator) -> Next:
        clerk, following = self._clerk(menu), menu.to(Step.POINT)
        wishes = self._book.wishes(inbound)
        wish = desk.wish(connection, wishes)
        desk.drop_wishes(connection, wishes)
        if keys == "2" or wish is None:
            return Next(following, (clerk.say("dropped"), clerk.say("key.next")))
        if not still_holds(wish, clerk.now):
            return Next(following, (clerk.say("late"), clerk.say("key.next")))
        command = unpacked(wish.command)
        if command is None:
            return Next(following, (clerk.say("changed"), clerk.say("key.next")))
        try:
            with connection.begin_nested():
                says = self._wishes.do(connection, command, operator, {}, clerk, BY[inbound.channel])
        except Problem as problem:
            says = self._wishes.refused(problem, clerk)
            if is_overtaken(problem):
                says = self._wishes.overtaken(connection, command, clerk)
        return Next(following, (says, clerk.say("key.next")))

    def _again(self, connection: Connection, menu: Menu, first: str) -> Next:
        """What is asked for where the call stands, after `first`."""
        clerk = self._clerk(menu)
        asked: tuple[str, ...]
        match menu.step:
            case Step.WHAT:
                asked = (self._asked_what(connection, menu, clerk),)
            case Step.SURE:
                asked = (clerk.say("key.again"),)
            case Step.OVER:
                asked = (clerk.say("key.bye"),)
            case _:
                asked = (clerk.say(f"key.{menu.step}"),)
        return Next(menu, (*((first,) if first else ()), *asked))

    def _asked_what(self, connection: Connection, menu: Menu, clerk: Clerk) -> str:
        known = current_point(connection, desk.point_of(connection, menu.number) or "")
        if known is None:
            return clerk.say("key.unknown")
        return clerk.say("key.what", point=known[0].name, state=clerk.state(self._wishes.standing(known[0], clerk)))

    def _said(self, connection: Connection, inbound: Inbound, following: Next, now: datetime) -> str:
        menu = replace(following.menu, at=now.timestamp())
        over = menu.step is Step.OVER
        language = self._clerk(menu).wording.code
        spoken = tuple(Spoken(line, language) for line in following.says if line)
        outbound = Outbound(
            "", spoken, language, DIGITS[menu.step], over, inbound.turn + 1, finish="*" if over else "#"
        )
        body = "" if inbound.keyed else inbound.text  # no code is kept
        return self._book.write(connection, inbound, outbound, now, body, menu_packed(menu))

    def _clerk(self, menu: Menu) -> Clerk:
        wording = self._flow.languages.get(menu.language) or self._flow.languages[self._flow.default_language]
        return Clerk(wording, Channel.VOICE, self._clock(), self._manner.zone)

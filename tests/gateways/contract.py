"""What holds for every gateway alike, whatever is behind it: a provider's webhooks and API, or a modem.

A gateway's tests inherit `Contract` and give it a `side`: a service whose only gateway that is, with its double.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from responder.core.access import Operator, Role
from responder.core.points import Status
from responder.ports import NotSent, Sent, Unclear
from responder.store.engine import StoreAway
from tests.fakes.values import Faults
from tests.sending.conftest import MOBILE, OTHER, Line
from tests.sending.test_deliver import LEASE

ANNA = Operator("anna", Role.APPROVER, signed_in=True)
QUESTION = "Farsta å ä ö 😀"


@dataclass
class Side:
    """One gateway with its double. `refuse`: has the double take nothing for a number; `refuses_as`: how a refusal is
    raised; `known`: an id as the gateway's own, for a text that is delivered twice.
    """

    name: str
    line: Line
    refuse: Callable[[str], None]
    known: str

    def text(self, number: str, body: str, id: str = "") -> str:
        """Somebody texts; the reply."""
        raise NotImplementedError

    def sent(self, number: str, body: str = "Hej") -> str:
        """What the sender says to a text: its id, or how it failed."""

        async def sending() -> str:
            sender = self.line.service.deliverer("contract")._ways.senders[self.name]
            try:
                return await sender.text(number, body, self.line.service.gateways[self.name].receipts(7, 1), 3600)
            except (NotSent, Unclear) as error:
                return type(error).__name__
            finally:
                await sender.close()

        return asyncio.run(sending())

    def listed(self, number: str) -> list[Sent]:
        """What the sender finds for a number."""

        async def finding() -> list[Sent]:
            sender = self.line.service.deliverer("contract")._ways.senders[self.name]
            try:
                return await sender.find(number, False, self.line.running.clock.now - timedelta(hours=2))
            finally:
                await sender.close()

        return asyncio.run(finding())

    def subscribe(self, number: str = MOBILE) -> None:
        """Somebody follows 12347."""
        assert self.text(number, "START 12347").startswith("Klart")

    def close_the_door(self) -> None:
        """A closed door is queued for every subscriber."""
        self.line.set("near", Status.CLOSED)
        self.line.push()

    def deliveries(self) -> list[tuple[str, str, int]]:
        """State, gateway and attempt of each delivery."""
        return self.line.rows("SELECT state, gateway, attempt FROM deliveries ORDER BY id")


class Contract:
    """The tests. `side` is a fixture of the class that inherits them."""

    def test_a_text_is_answered_as_everywhere_and_kept_with_where_it_came_in(self, side: Side) -> None:
        expected = side.line.service.answerer.preview(QUESTION)
        assert side.text(MOBILE, QUESTION) == expected != ""
        vault = side.line.service.vault
        (row,) = side.line.rows("SELECT gateway, channel, sender_sealed, body_sealed FROM turns")
        assert row[:2] == (side.name, "text")
        assert (vault.open(bytes(row[2])), vault.open(bytes(row[3]))) == (MOBILE, QUESTION)

    def test_a_text_that_is_delivered_twice_has_the_same_reply_and_one_row(self, side: Side) -> None:
        first = side.text(MOBILE, "12347", side.known)
        side.line.set("near", Status.CLOSED)  # the answer would be another one now
        side.line.running.clock.pass_time(seconds=30)
        assert side.text(MOBILE, "12347", side.known) == first != ""
        assert side.line.rows("SELECT count(*) FROM turns") == [(1,)]

    @pytest.mark.parametrize("sender", ["Kommunen", "71234", "", "anonymous", "+46", "+4690012345678901234567"])
    def test_who_is_no_phone_is_not_answered(self, side: Side, sender: str) -> None:
        assert side.text(sender, "12347") == ""

    def test_a_text_that_is_sent_arrives_and_is_found_as_it_was_written(self, side: Side) -> None:
        body = 'Räksmörgås {} [€] ~ ^\n"Rad två" 100 % & + = ? / 😀'
        id = side.sent(MOBILE, body)
        (found,) = side.listed(MOBILE)
        assert (found.id, found.body) == (id, body)
        assert found.created.tzinfo is not None and side.listed(OTHER) == []

    def test_what_we_replied_is_not_taken_for_something_that_was_sent(self, side: Side) -> None:
        assert side.text(MOBILE, "12347") != ""
        assert side.listed(MOBILE) == []

    def test_a_refusal_was_surely_not_sent(self, side: Side) -> None:
        side.refuse(MOBILE)
        assert side.sent(MOBILE) == "NotSent"
        assert side.listed(MOBILE) == []

    @pytest.mark.parametrize("fault", ["lose", "error_after", "stall_after"])
    def test_what_was_taken_without_our_being_told_is_unclear_and_found_afterwards(
        self, side: Side, fault: str
    ) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.fake.faults = Faults(**{fault: 1.0}, stall_seconds=3, receipts=False)  # type: ignore[arg-type]
        if fault == "stall_after":
            side.line.hurry(2)
        side.line.send(until_idle=False)
        assert side.deliveries() == [("sending", side.name, 1)]
        side.line.fake.faults = Faults(receipts=False)
        side.line.running.clock.pass_time(seconds=LEASE)
        side.line.reconcile()
        assert side.deliveries() == [("accepted", side.name, 1)]
        assert (side.line.send(until_idle=False), len(side.line.fake.accepted)) == (0, 1)

    @pytest.mark.parametrize("fault", ["drop", "error_before", "stall_before"])
    def test_what_was_not_taken_is_unclear_and_sent_again_once_the_list_shows_that(
        self, side: Side, fault: str
    ) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.fake.faults = Faults(**{fault: 1.0}, stall_seconds=3)  # type: ignore[arg-type]
        if fault == "stall_before":
            side.line.hurry(2)
        side.line.send(until_idle=False)
        assert side.deliveries() == [("sending", side.name, 1)]
        side.line.fake.faults = Faults()
        side.line.running.clock.pass_time(seconds=LEASE)
        side.line.reconcile()
        side.line.send()
        assert side.deliveries() == [("delivered", side.name, 2)] and len(side.line.fake.accepted) == 1

    def test_receipts_move_a_delivery_on_however_they_come(self, side: Side) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.fake.faults = Faults(receipt_double=1, receipt_shuffle=True)
        side.line.send()
        assert side.deliveries() == [("delivered", side.name, 1)]

    def test_a_receipt_that_comes_before_we_have_stored_what_was_taken_counts(self, side: Side) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.fake.faults = Faults(receipt_early=1)
        side.line.send()
        assert side.deliveries() == [("delivered", side.name, 1)]

    def test_what_the_provider_gives_up_has_failed(self, side: Side) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.fake.undeliverable(MOBILE, 30005)
        side.line.send()
        assert side.deliveries() == [("failed", side.name, 1)]

    def test_after_stopp_nothing_is_sent_and_what_waits_is_dropped(self, side: Side) -> None:
        side.subscribe()
        side.close_the_door()
        assert "raderat" in side.text(MOBILE, "STOPP")
        side.line.send()
        assert side.line.texts(MOBILE)[2:] == [] and side.line.fake.accepted == ()
        assert side.line.rows("SELECT count(*) FROM turns WHERE length(sender_sealed) > 0") == [(0,)]

    def test_who_hears_hears_by_the_gateway_that_there_is(self, side: Side) -> None:
        side.subscribe()
        side.close_the_door()
        side.line.send()
        (body,) = [accepted.body for accepted in side.line.fake.accepted]
        assert (
            "Hallen far" in body
            and side.line.texts(MOBILE)[-1] == body
            and side.deliveries() == [("delivered", side.name, 1)]
        )

    def test_a_text_is_answered_from_memory_while_the_database_is_away(
        self, side: Side, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = side.text(MOBILE, "12347")

        def away(*_: object) -> None:
            raise StoreAway("gone")

        monkeypatch.setattr(side.line.service.answerer._turns, "open", away)
        assert first.splitlines()[0] in side.text(OTHER, "12347")
        assert side.line.rows("SELECT count(*) FROM turns") == [(1,)]

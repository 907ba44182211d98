"""The modem keeps the contract of every gateway; what can never be unclear at a modem is made so, to be looked up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from responder.gateways import smsd
from responder.gateways.modem_sender import ModemSender
from responder.gateways.smsd import Smsd
from responder.modem import Modem
from responder.ports import MODEM, Sent, Unclear
from tests.conftest import Running, a_point
from tests.fakes.smsd import Daemon
from tests.fakes.values import Faults
from tests.gateways.conftest import KEYS
from tests.gateways.contract import Contract, Side
from tests.sending.conftest import FAST, Line


@dataclass
class Phones:
    """Phones that a daemon reaches, in the place of a provider's double."""

    daemon: Daemon
    modem: list[Modem] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    gone: set[str] = field(default_factory=set)

    @property
    def accepted(self) -> tuple[SimpleNamespace, ...]:
        """What of ours, but for replies, the daemon has or had."""
        sql = (
            "SELECT CreatorID, TextDecoded FROM outbox UNION ALL SELECT CreatorID, TextDecoded FROM"
            " (SELECT * FROM sentitems ORDER BY SequencePosition)"
        )
        found: dict[str, str] = {}
        for creator, text in self.daemon.rows(sql):
            if smsd.delivery_of(str(creator)):
                found[str(creator)] = found.get(str(creator), "") + str(text)
        return tuple(SimpleNamespace(body=body) for body in found.values())

    def phone(self, number: str) -> SimpleNamespace:
        """What came to a phone."""
        texts = [SimpleNamespace(body=text) for to, text in self.daemon.texts if to == number]
        return SimpleNamespace(texts=texts)

    def undeliverable(self, number: str, _: int) -> None:
        """The network gives up on a number."""
        self.gone.add(number)

    def wait_idle(self) -> None:
        """Everything is sent, and reported of."""
        self.daemon.send_all()
        self.modem[0].step()
        self.daemon.report("DeliveryOK")
        for number in self.gone:
            self.daemon.set("UPDATE sentitems SET Status = 'DeliveryFailed' WHERE DestinationNumber = ?", number)
        for _ in range(2):
            self.modem[0].step()


@dataclass
class ModemSide(Side):
    """Phones at the end of a modem."""

    def text(self, number: str, body: str, id: str = "") -> str:
        """See Side. The network knows a text by when it took it."""
        daemon = self.line.fake.daemon  # type: ignore[attr-defined]
        before = len(daemon.texts)
        if id:  # brought again, and not yet answered: else nothing would come back
            daemon.set("DELETE FROM sentitems")
        daemon.receive(number, body, "2026-11-24 14:20:00" if id else "")
        self.line.fake.modem[0].step()  # type: ignore[attr-defined]
        daemon.send_all()
        return "".join(text for to, text in daemon.texts[before:] if to == number)

    def listed(self, number: str) -> list[Sent]:
        """See Side. The daemon's times are of the clock on its wall."""
        self.line.fake.daemon.start()  # type: ignore[attr-defined]
        sender = ModemSender(Smsd(self.line.fake.daemon.path), 1, 2)  # type: ignore[attr-defined]
        return asyncio.run(sender.find(number, False, datetime(2000, 1, 1, tzinfo=UTC)))


class TestModem(Contract):
    """The modem of this machine."""

    @pytest.fixture
    def side(self, start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
        """See Contract."""
        daemon = Daemon(tmp_path / "smsd.db").make()
        phones = Phones(daemon)
        running = start(**{**FAST, **KEYS, "gateway": "modem", "modem_database": str(daemon.path), "modem_rate": 1000})
        line = Line(running, phones)  # type: ignore[arg-type]
        phones.modem.append(Modem(line.service))
        running.put(a_point("near"), a_point("far", lat=59.26))
        put = ModemSender.text

        async def text(self: ModemSender, number: str, body: str, receipts: str, valid: int) -> str:
            faults = line.fake.faults
            if faults.drop or faults.error_before or faults.stall_before:
                raise Unclear("as if")
            id = await put(self, number, body, receipts, valid)
            if faults.lose or faults.error_after or faults.stall_after:
                raise Unclear("as if")
            return id

        monkeypatch.setattr(ModemSender, "text", text)
        return ModemSide(MODEM, line, lambda _: daemon.set("UPDATE phones SET NetCode = ''"), "once")

"""The modem of this machine: its texts are answered, its reports told on, and what should not go out taken back.

All of it goes by SMSD's database and by ours, by nothing else: no net is needed, and while our database is away too,
answers come from memory. What was killed on its way is done again from the beginning, to the same end: an answer is
recorded before it is given, and given together with the note that it was.
"""

import fcntl
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic
from types import TracebackType

from responder import logs, metrics
from responder.core.allowance import Allowance
from responder.core.broadcast import State as Stage
from responder.core.dialogue import may_stop
from responder.core.wording import Channel
from responder.gateways import modem_house, smsd
from responder.gateways.modem_box import OLD, Letter, ModemBox
from responder.gateways.modem_house import JUMP
from responder.gateways.modem_reports import Reports
from responder.gateways.smsd import EXPIRED, WITHDRAWN, Away, Waiting
from responder.ports import MODEM, Inbound
from responder.store import outbox
from responder.store.engine import StoreAway
from responder.wiring import Service
from responder.wiring import smsd as database_of

log = logging.getLogger("responder.modem")

LOOK_EVERY = 0.5  # seconds
PURGE_EVERY = 3_600.0
MOST_TOLD = 200  # reports in a look: a process that has just begun tells a day's, and residents wait
STOPS, STOPS_EVERY = 5, 20.0  # STOPP from one number: at once, and one more every so many seconds
SAY_EVERY = 60.0  # seconds between two lines about the same


@dataclass(frozen=True, slots=True)
class Steps:
    """What one look came to."""

    answered: int = 0
    reported: int = 0
    withdrawn: int = 0


class Modem:
    """The modem of `service`. As a context manager it is looked after in a thread of its own, by one process only.

    `respond` has what came in answered, and gives the document of ports.MODEM.
    """

    def __init__(self, service: Service, respond: Callable[[Inbound], str] | None = None) -> None:
        self._service, self._respond = service, respond or service.respond
        self._database = database_of(service.settings)
        self._box = ModemBox(self._database, service.vault.newest, service.settings.modem_rate)
        self._reports = Reports(self._database)
        self._check = outbox.check(service.database.engine)
        a_minute = service.settings.number_per_minute
        self._texts, self._stops = Allowance(a_minute, 60 / a_minute), Allowance(STOPS, STOPS_EVERY)
        self._admitted: set[str] = set()  # what the allowance of its number let in, and waits
        self._purged = float("-inf")
        self._ahead: float | None = None  # the clock, of the time since the machine was started
        self._said: dict[str, tuple[float, int]] = {}  # when it was last said, and how often there was reason to since
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Modem":
        self._thread = threading.Thread(target=self._until_ended, name="modem", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join(10)

    def step(self) -> Steps:
        """Look once, and do what there is to do. Raises Away."""
        with logs.bound(request=f"modem-{secrets.token_hex(6)}"):
            self._notice_clock()
            answered = self._answer_all()
            reported, withdrawn = self._report(), self._withdraw()
            self._keep_house()
        return Steps(answered, reported, withdrawn)

    # --- coming in ---------------------------------------------------------------------------------------------------

    def _answer_all(self) -> int:
        """STOPP goes first, and needs no room; else each number has its turn, however many texts one has sent."""
        letters = self._box.pending()
        self._admitted &= {letter.inbound.id for letter in letters if letter.inbound}
        stops = {letter.rows for letter in letters if self._is_stop(letter)}
        turns: Counter[str] = Counter()
        order: list[tuple[bool, int, Letter]] = []
        for letter in letters:
            sender = letter.inbound.sender if letter.inbound else ""
            order.append((letter.rows not in stops, turns[sender], letter))
            turns[sender] += 1
        done, full = 0, False
        for *_, letter in sorted(order, key=lambda one: one[:2]):
            if letter.inbound and letter.rows in stops:
                done += self._answer(letter, letter.inbound, stop=True)
            elif inbound := self._let_in(letter):
                full = full or not self._box.has_room()
                done += 0 if full else self._answer(letter, inbound)
        return done

    def _is_stop(self, letter: Letter) -> bool:
        return letter.inbound is not None and may_stop(self._service.flow, letter.inbound.text)

    def _let_in(self, letter: Letter) -> Inbound | None:
        """What there is to answer in a letter. One that is not is done with at once: a flood would fill the inbox."""
        inbound, why = letter.inbound, letter.why
        if inbound and inbound.id not in self._admitted:
            if letter.age > OLD:
                why = "it is too old"
            elif not self._texts.take(inbound.sender, monotonic()):
                why = "its number has sent too many"
                metrics.gate("text", "nothing")
        if inbound and not why:
            self._admitted.add(inbound.id)
            return inbound
        self._set_aside(letter, why)
        return None

    def _set_aside(self, letter: Letter, why: str) -> None:
        self._box.close(letter)
        self._say(logging.WARNING, f"a text is not answered: {why}")

    def _answer(self, letter: Letter, inbound: Inbound, stop: bool = False) -> int:
        if stop and not self._stops.take(inbound.sender, monotonic()):
            metrics.gate("stop", "nothing")
            self._set_aside(letter, "its number has sent too many")
            return 0
        try:
            reply = self._respond(inbound)
        except Exception:  # whatever it is, somebody waits for an answer
            log.exception("%s could not be answered", inbound.id)
            metrics.inbound(Channel.TEXT, "unavailable")
            reply = self._service.answerer.unavailable(Channel.TEXT, MODEM)
        if stop:  # what still lies there must not go out behind it
            self._withdraw()
        try:
            self._box.close(letter, reply)
        except Away:
            raise
        except Exception:  # one that cannot be put there must not keep all others waiting
            log.exception("%s: its answer cannot be put into the outbox", inbound.id)
            self._box.close(letter)
            return 0
        return 1

    # --- going out ---------------------------------------------------------------------------------------------------

    def _report(self) -> int:
        """Tell on what the daemon reports; what cannot be told now is told later."""
        told = 0
        for report in self._reports.new()[:MOST_TOLD]:
            try:
                self._service.receiver.receipt(report.delivery, report.receipt, self._service.clock())
                told += 1
            except StoreAway as error:
                log.error("database away, a report for %d waits: %s", report.delivery, error)
                break
            except Exception:  # one that cannot be told must not keep all others waiting
                log.exception("a report for %d cannot be told", report.delivery)
            self._reports.told(report)
        return told

    def _withdraw(self) -> int:
        """Take back what has not been begun and should not go out any more; it is reported as any that failed."""
        with self._database.read() as connection:
            found = smsd.unbegun(connection, self._database.phone)
        gone = [(waiting.id, why) for waiting in found if (why := self._why_not(waiting))]
        if not gone:
            return 0
        with self._database.write() as connection:
            return sum(smsd.withdraw(connection, id, why) for id, why in gone)

    def _why_not(self, waiting: Waiting) -> int:
        """Why a text should not go out: what to note of it, 0 if it should."""
        if waiting.overdue:
            return EXPIRED
        delivery = smsd.delivery_of(waiting.creator)
        if delivery is None:
            return 0
        try:
            rows = self._service.database.fetch(self._check, {"id": delivery[0]})
        except StoreAway:
            return 0
        if not rows:  # forgotten, as a STOPP has it
            return WITHDRAWN
        _, _, stage, _, stopp, *_ = rows[0]
        return WITHDRAWN if stopp or stage == Stage.STOPPED else 0

    def _notice_clock(self) -> None:
        """When the clock is set, what waits must be neither too old all at once, nor new for ever."""
        phone, running = self._database.phone, clock_gettime(CLOCK_BOOTTIME)  # which goes on while a laptop sleeps
        with self._database.read() as connection:
            ahead, wrong = smsd.now(connection) - running, modem_house.ahead(connection, phone)
        by = ahead - self._ahead if self._ahead is not None else 0.0
        if abs(by) > JUMP:
            log.error("the clock was set by %.0f s", by)
        if abs(by) > JUMP or wrong:
            with self._database.write() as connection:
                if abs(by) > JUMP:
                    modem_house.clock_was_set(connection, phone, by)
                modem_house.put_right(connection, phone)
        self._ahead = ahead

    def _keep_house(self) -> None:
        phone = self._database.phone
        with self._database.read() as connection:
            left = modem_house.torn(connection, phone)
        if left:
            with self._database.write() as connection:
                log.warning("the daemon died over %d texts", modem_house.mend(connection, phone))
        if monotonic() - self._purged > PURGE_EVERY:
            with self._database.write() as connection:
                modem_house.prepare(connection)
                modem_house.purge(connection, phone, sent=not self._reports.untold)
            self._purged = monotonic()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _until_ended(self) -> None:
        while not self._stopping.is_set():
            try:
                with _alone(self._database.path) as alone:
                    while alone and not self._stopping.is_set():
                        self._look()
                        self._stopping.wait(LOOK_EVERY)
            except OSError as error:
                self._say(logging.ERROR, f"beside SMSD's database nothing can be written: {error}")
            self._stopping.wait(2.0)

    def _look(self) -> None:
        try:
            self.step()
        except Away as error:
            self._say(logging.ERROR, f"the modem is away: {error}")
        except Exception:
            log.exception("the modem is looked after again after an error")

    def _say(self, level: int, what: str) -> None:
        """The first time at once, and others together."""
        at, more = self._said.get(what, (float("-inf"), 0))
        if monotonic() - at < SAY_EVERY:
            self._said[what] = at, more + 1
            return
        self._said[what] = monotonic(), 0
        log.log(level, "%s%s", what, f" ({more} more before)" if more else "")


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no other process of this machine looks after the modem; none does meanwhile. Raises OSError."""
    with path.with_name(f"{path.name}.responder-lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True

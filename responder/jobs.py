"""The jobs process: one leader pushes and keeps house, and all of them send. No rules: it only says when.

APScheduler ticks in UTC and holds nothing that a restart would lose: what is due stands in our own table, each (job,
time) once. The leader holds a lease in the database; another process takes over when it runs out.
"""

import asyncio
import logging
import secrets
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType

from apscheduler.schedulers.background import BackgroundScheduler

from responder import logs, metrics
from responder.actions.deliver import values
from responder.actions.housekeep import keep_house, rekey
from responder.actions.push import push, push_due
from responder.core.broadcast import SEND_JOB
from responder.ports import LOCAL
from responder.store import outbox
from responder.store.engine import StoreAway
from responder.store.schedule import LEASE, SENDER, SLOT, done, due, join, lead, missing_slots, resign
from responder.wiring import Service

log = logging.getLogger("responder.jobs")

LEASE_SECONDS = 10.0
RENEW_EVERY = 3  # seconds; a dead leader is followed within LEASE_SECONDS + RENEW_EVERY
TICK_EVERY = 1


class Share:
    """The part of a rate that a process has by a lease of its own, which all that send by it hold."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._from = self._until = 0.0
        self._sharers = 1

    def part(self, now: float) -> float:
        """0 to 1, at this time."""
        return 1 / self._sharers if self._from <= now < self._until else 0.0

    def renew(self, now: float, sharers: int) -> None:
        """So many hold it now, we among them; none do where nobody shall send."""
        if now >= self._until and sharers > 1:  # the others give us our part when they next renew
            self._from = now + RENEW_EVERY
        self._until, self._sharers = (now + LEASE_SECONDS if sharers else 0.0), max(1, sharers)

    def drop(self) -> None:
        """It is ours no more."""
        self._from = self._until = 0.0


class Jobs:
    """The jobs of one process. As a context manager it runs them in threads of its own."""

    def __init__(self, service: Service, owner: str = "") -> None:
        self.service = service
        self.owner = owner or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._leads_until = 0.0
        self._shares = {"": Share(SENDER)} | {
            name: Share(f"{SENDER[:-1]} {name}:") for name in service.senders if name in LOCAL
        }
        self._rekeyed = False
        self._latest = 0.0
        self._went_back = False
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._sender: threading.Thread | None = None

    def leads(self) -> bool:
        """Whether this process is the leader, by its own lease: one that was frozen for too long knows it is not."""
        return self.service.clock().timestamp() < self._leads_until

    def part(self, gateway: str = "") -> float:
        """Our part of what may be sent in a second through a gateway, by our own leases: several processes share it;
        one that is at a single machine is shared by those there.
        """
        now = self.service.clock().timestamp()
        self._notice(now)
        part = self._shares[""].part(now)
        if part:
            metrics.job("send", now)
        return self._shares[gateway].part(now) if part and gateway in self._shares else part

    def _notice(self, now: float) -> None:
        """A clock that was set back leaves times behind that do not come for long: of our leases and the scheduler's,
        and what stands in the database, which the leader puts right.
        """
        if now < self._latest - LEASE_SECONDS:
            log.error("the clock went back by %.0f s", self._latest - now)
            self._went_back = True
            self._leads_until = 0.0
            for share in self._shares.values():
                share.drop()
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.fromtimestamp(now, UTC))
        self._latest = now

    def lead(self) -> None:
        """Become or stay the leader, if nobody else is; and stay a sender."""
        with logs.bound(owner=self.owner):
            self._lead()

    def _lead(self) -> None:
        now = self.service.clock().timestamp()
        was = now < self._leads_until
        try:
            with self.service.database.write(alone=False) as connection:
                is_leader = lead(connection, LEASE, self.owner, now, LEASE_SECONDS)
                sharers = {
                    gateway: join(connection, self.owner, now, LEASE_SECONDS, share.name)
                    for gateway, share in self._shares.items()
                }
        except StoreAway as error:
            log.error("database away, the lease is not renewed: %s", error)
            return
        self._leads_until = now + LEASE_SECONDS if is_leader else 0.0
        for gateway, share in self._shares.items():
            share.renew(now, sharers[gateway])
        if is_leader != was:
            log.info("leads" if is_leader else "does not lead")

    def tick(self) -> None:
        """Do what is due, if this process leads."""
        if not self.leads():
            return
        with logs.bound(owner=self.owner, request=f"tick-{secrets.token_hex(6)}"):
            self._tick()

    def _tick(self) -> None:
        service, now, begun = self.service, self.service.clock(), monotonic()
        try:
            if not self._rekeyed:
                rekey(service.database, service.vault, now)
                self._put_right(now)  # the clock may have been set while nobody ran
                self._rekeyed = True
            view = service.snapshot.read_if_changed(now)
            if self._went_back:
                self._put_right(now)
                push(service.database, view, service.rules, now)
                self._went_back = False
            if push_due(service.database, view, service.rules, now) is not None:
                metrics.job("push", now.timestamp(), monotonic() - begun)
            self._start_scheduled(now)
            with service.database.write() as connection:
                outbox.finish(connection, now.timestamp())
                slots = missing_slots(connection, now.timestamp())
            if slots:
                self._slots(now)
            metrics.job("tick", now.timestamp(), monotonic() - begun)
        except StoreAway as error:
            log.error("database away, to be done later: %s", error)
        except Exception:
            log.exception("a tick failed; the next one tries again")

    def _put_right(self, now: datetime) -> None:
        """What a clock that was ahead has put off, or dated."""
        settings = self.service.settings
        lease = values.START_WITHIN + settings.api_timeout + settings.reconcile_seconds
        with self.service.database.write() as connection:
            found = outbox.clock_went_back(connection, now.timestamp(), lease)
        if found:
            log.warning("%d deliveries were put off or dated by a clock that was ahead", found)

    def _start_scheduled(self, now: datetime) -> None:
        database, stamp = self.service.database, now.timestamp()
        with database.read() as connection:
            jobs = [(job, at) for job, at in due(connection, stamp) if job.startswith(SEND_JOB)]
        for job, at in jobs:
            with database.write() as connection:
                if done(connection, [(job, at)], stamp):
                    self.service.announcer.start_due(connection, int(job.removeprefix(SEND_JOB)), now)

    def _slots(self, now: datetime) -> None:
        """Housekeeping, once for all quarters that were missed; and a push, in case one was overtaken by an answer."""
        service, stamp = self.service, now.timestamp()
        with service.database.write() as connection:
            open_slots = [(job, at) for job, at in due(connection, stamp) if job == SLOT]
            if not done(connection, open_slots, stamp):
                return
        view, begun = service.snapshot.read_if_changed(now), monotonic()
        push(service.database, view, service.rules, now)
        metrics.job("push", stamp, monotonic() - begun)
        service.asking.ask(now)
        keep_house(service.database, service.vault, service.messages, view, service.settings, now)
        metrics.job("housekeeping", stamp, monotonic() - begun)

    def __enter__(self) -> "Jobs":
        self.lead()
        self._scheduler.add_job(self.lead, "interval", seconds=RENEW_EVERY, coalesce=True, max_instances=1)
        self._scheduler.add_job(self.tick, "interval", seconds=TICK_EVERY, coalesce=True, max_instances=1)
        self._scheduler.start()
        ready = threading.Event()
        self._sender = threading.Thread(target=self._send_until_ended, args=(ready,), name="sender", daemon=True)
        self._sender.start()
        ready.wait(10)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown(wait=True)
        if self._loop and self._stopping:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._sender:
            self._sender.join(self.service.settings.api_timeout + 5)
        with suppress(StoreAway), self.service.database.write(alone=False) as connection:
            resign(connection, LEASE, self.owner)
            for share in self._shares.values():
                resign(connection, share.name + self.owner, self.owner)

    def _send_until_ended(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._send(ready))
        except Exception:  # else it would be told to nobody but stderr, as it is
            log.critical("nothing is sent any more: restart `responder jobs`", exc_info=True)

    async def _send(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        deliverer = self.service.deliverer(self.owner)
        ready.set()
        try:
            await deliverer.run(self.part, self._stopping)
        finally:
            await deliverer.close()

"""The jobs process: one leader pushes, sends, and keeps house. No rules: it only says when.

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
from types import TracebackType

from apscheduler.schedulers.background import BackgroundScheduler

from responder.actions.housekeep import keep_house, rekey
from responder.actions.push import push, push_due
from responder.core.broadcast import SEND_JOB
from responder.store import outbox
from responder.store.engine import StoreAway
from responder.store.schedule import LEASE, SLOT, done, due, lead, missing_slots, resign
from responder.wiring import Service

log = logging.getLogger("responder.jobs")

LEASE_SECONDS = 10.0
RENEW_EVERY = 3  # seconds; a dead leader is followed within LEASE_SECONDS + RENEW_EVERY
TICK_EVERY = 1


class Jobs:
    """The jobs of one process. As a context manager it runs them in threads of its own."""

    def __init__(self, service: Service, owner: str = "") -> None:
        self.service = service
        self.owner = owner or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._leads_until = 0.0
        self._rekeyed = False
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._sender: threading.Thread | None = None

    def leads(self) -> bool:
        """Whether this process is the leader, by its own lease: one that was frozen for too long knows it is not."""
        return self.service.clock().timestamp() < self._leads_until

    def lead(self) -> None:
        """Become or stay the leader, if nobody else is."""
        now = self.service.clock().timestamp()
        was = now < self._leads_until
        try:
            with self.service.database.write() as connection:
                is_leader = lead(connection, LEASE, self.owner, now, LEASE_SECONDS)
        except StoreAway as error:
            log.error("database away, the lease is not renewed: %s", error)
            return
        self._leads_until = now + LEASE_SECONDS if is_leader else 0.0
        if is_leader != was:
            log.info("%s %s", self.owner, "leads" if is_leader else "does not lead")

    def tick(self) -> None:
        """Do what is due, if this process leads."""
        if not self.leads():
            return
        service, now = self.service, self.service.clock()
        try:
            if not self._rekeyed:
                rekey(service.database, service.vault, now)
                self._rekeyed = True
            view = service.snapshot.read_if_changed(now)
            push_due(service.database, view, service.rules, now)
            self._start_scheduled(now)
            with service.database.write() as connection:
                outbox.finish(connection, now.timestamp())
                slots = missing_slots(connection, now.timestamp())
            if slots:
                self._slots(now)
        except StoreAway as error:
            log.error("database away, to be done later: %s", error)
        except Exception:
            log.exception("a tick failed; the next one tries again")

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
        view = service.snapshot.read_if_changed(now)
        push(service.database, view, service.rules, now)
        keep_house(service.database, service.vault, service.messages, view, service.settings, now)

    def __enter__(self) -> "Jobs":
        self.lead()
        self._scheduler.add_job(self.lead, "interval", seconds=RENEW_EVERY, coalesce=True, max_instances=1)
        self._scheduler.add_job(self.tick, "interval", seconds=TICK_EVERY, coalesce=True, max_instances=1)
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.start()
        ready = threading.Event()
        self._sender = threading.Thread(target=lambda: asyncio.run(self._send(ready)), name="sender", daemon=True)
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
        with suppress(StoreAway), self.service.database.write() as connection:
            resign(connection, LEASE, self.owner)

    async def _send(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        deliverer = self.service.deliverer(self.owner)
        ready.set()
        try:
            await deliverer.run(self.leads, self._stopping)
        finally:
            await deliverer.close()

"""What a load balancer and a monitoring system ask: /readyz and /metrics, both from one bounded look at the database.

`/readyz` is 503 only where another instance would serve residents better: the database has yet to be made or upgraded
for this version, or is away and this process has nothing in memory to answer from. With the database away and a view in
memory it is 200 with a warning. All instances share the database, so that all would be out at once, and a balancer
without instances answers nobody, while each of them still answers from memory and says from when. Whoever is to be
woken by any warning asks `/readyz?strict`, which is 503 then.

It names no host, no path and no number: anybody may ask.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from responder import metrics
from responder.core.broadcast import Priority
from responder.core.points import ACTIVATED, USABLE
from responder.core.ways import Mode, chosen
from responder.store.engine import NotUpgraded, StoreAway
from responder.store.gauges import Gauges, read_gauges, takes_writes
from responder.store.migrations import behind
from responder.store.snapshot import View
from responder.store.soundness import LOW_DISK, files, free_bytes
from responder.wiring import Service

PATIENCE = 1.5  # seconds; a database that has not answered by then is away
OVERDUE = 30.0  # seconds that work may wait before somebody must lead; a dead leader is followed within 13
_PRIORITIES = {priority.value: priority.name.lower() for priority in Priority}


class State(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARNING = "warning"  # look at it; residents are answered
    FAULT = "fault"  # send residents elsewhere


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the database found. `gauges`: None if it is away or old."""

    gauges: Gauges | None = None
    old: bool = False
    writable: bool = False


class Monitor:
    """Looks at one service. Thread-safe: whoever asks while somebody looks waits for the same look, and no longer than
    PATIENCE, so that asking often costs little and a database that hangs holds one thread.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._looking: tuple[threading.Thread, list[Look]] | None = None

    def look(self) -> Look:
        """The database as it stands."""
        with self._lock:
            if self._looking is None or not self._looking[0].is_alive():
                found: list[Look] = []
                thread = threading.Thread(target=lambda: found.append(self._look()), name="monitor", daemon=True)
                thread.start()
                self._looking = (thread, found)
            thread, found = self._looking
        thread.join(PATIENCE)
        return found[0] if found else Look()

    def _look(self) -> Look:
        database, now = self._service.database, self._service.clock().timestamp()
        try:
            if behind(database.engine):
                return Look(old=True)
            with database.read() as connection:
                gauges = read_gauges(connection, now)
                return Look(gauges, False, takes_writes(connection, database.sqlite) and _writable(files(database)))
        except NotUpgraded:
            return Look(old=True)
        except (StoreAway, OSError):
            return Look()

    def findings(self) -> list[Finding]:
        """What is well and what is not, the database first."""
        service, now, look = self._service, self._service.clock(), self.look()
        view = service.snapshot.view
        flow = service.flow
        found = [
            _database(look, view),
            Finding("flows", State.OK, f"{len(flow.nodes)} nodes, {', '.join(sorted(flow.languages))}"),
            _memory(view, now),
        ]
        if look.gauges:
            found.append(_leader(look.gauges, now.timestamp()))
            found += _gateways(look.gauges, service.settings.gateways)
        if (room := self._room()) is not None:
            low = room < LOW_DISK
            said = "less than 500 MB left: make room" if low else "room enough"
            found.append(Finding("disk", State.WARNING if low else State.OK, said))
        return found

    def page(self) -> bytes:
        """Everything there is to measure, in Prometheus's text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client's collectors: what the processes counted, and how it stands now."""
        now, look = self._service.clock(), self.look()
        yield from metrics.collected()
        yield _gauge("database_up", "Whether the database answers and is of this version.", look.gauges is not None)
        yield _gauge("database_old", "Whether the database waits for `responder init`.", look.old)
        yield _gauge("database_writable", "Whether the database takes writes.", look.writable)
        if look.gauges:
            yield from _standing(look.gauges, now.timestamp())
        yield _gauge(
            "spend_per_day", "SPEND_PER_DAY, at which nothing more is sent.", self._service.settings.spend_per_day
        )
        if view := self._service.snapshot.view:
            yield from _points(self._service.snapshot.at(view, now), now)
        if (room := self._room()) is not None:
            yield _gauge("disk_free_bytes", "Room left where the database's file lies.", room)

    def _room(self) -> int | None:
        try:
            return min((free_bytes(path.parent) for path in files(self._service.database)), default=None)
        except OSError:
            return None


def ready(findings: Iterable[Finding], strict: bool = False) -> bool:
    """Whether residents should be sent here; `strict`: whether all is well."""
    return not any(f.state is State.FAULT or (strict and f.state is State.WARNING) for f in findings)


def told(findings: list[Finding], is_ready: bool) -> str:
    """Plain lines, what is wrong first."""
    order = (State.FAULT, State.WARNING, State.OK)
    lines = [f"{f.state} {f.what}: {f.text}" for f in sorted(findings, key=lambda f: order.index(f.state))]
    return "\n".join(["ready" if is_ready else "not ready", *lines, ""])


def as_json(findings: list[Finding], is_ready: bool) -> dict[str, object]:
    """The same for a program."""
    return {"ready": is_ready, "findings": [asdict(finding) for finding in findings]}


def _database(look: Look, view: View | None) -> Finding:
    if look.old:
        return Finding("database", State.FAULT, "not upgraded: run `responder init`")
    if look.gauges is None:
        if view is None:
            return Finding("database", State.FAULT, "database away, and nothing in memory to answer from")
        return Finding("database", State.WARNING, "database away: answering from memory, promising nothing")
    if not look.writable:
        return Finding("database", State.WARNING, "takes no writes: answering from memory, promising nothing")
    return Finding("database", State.OK, "reachable, writable, upgraded")


def _memory(view: View | None, now: datetime) -> Finding:
    if view is None:
        return Finding("memory", State.WARNING, "no points have been read yet")
    age = int((now - view.read_at).total_seconds())
    return Finding("memory", State.OK, f"{len(view.board.points)} points, read {age} s ago")


def _leader(gauges: Gauges, now: float) -> Finding:
    if gauges.held:
        return Finding("jobs", State.WARNING, "held since a restore: set the points, then `responder release`")
    if gauges.leads_until is not None:
        return Finding("jobs", State.OK, "a process leads")
    since = gauges.work_since
    if since is not None and now - since > OVERDUE:
        return Finding(
            "jobs", State.WARNING, "something waits to be done or sent, and no process leads: `responder jobs`"
        )
    return Finding("jobs", State.OK, "no process leads, and nothing waits")


def _gateways(gauges: Gauges, names: Sequence[str]) -> Iterator[Finding]:
    """Nothing where no process has looked lately: then nobody knows."""
    down = [name for name in names if not gauges.gateways.get(name, True)]
    said = [f"{name} is {mode}" for name, mode in sorted(gauges.modes.items()) if mode != Mode.AUTO]
    main = chosen(names, gauges.modes, [name for name in names if name not in down])
    if not main:
        yield Finding("gateways", State.WARNING, "none works that may be used: nothing is sent")
    elif down or said:
        parts = [f"{', '.join(down)} down"] * bool(down) + [f"operators say {', '.join(said)}"] * bool(said)
        yield Finding("gateways", State.WARNING, f"{'; '.join(parts)}; {main} is used")
    elif gauges.gateways:
        yield Finding("gateways", State.OK, f"{main} is used")


def _standing(gauges: Gauges, now: float) -> Iterator[Metric]:
    depth = GaugeMetricFamily("responder_queue_depth", "Deliveries that wait.", labels=["priority", "channel"])
    oldest = GaugeMetricFamily(
        "responder_queue_oldest_seconds", "How long the first of them could have gone.", labels=["priority", "channel"]
    )
    for (priority, channel), queue in gauges.queues.items():
        labels = [_PRIORITIES.get(priority, metrics.OTHER), channel]
        depth.add_metric(labels, queue.depth)
        oldest.add_metric(labels, _age(queue.since, now))
    up = GaugeMetricFamily("responder_gateway_up", "Whether a process finds that it works.", labels=["gateway"])
    for name, is_up in gauges.gateways.items():
        up.add_metric([name], is_up)
    yield from (depth, oldest, up)
    yield _gauge("deliveries_sending", "Deliveries on their way to the provider.", gauges.sending)
    yield _gauge("deliveries_unknown", "Deliveries of which an operator must say what became.", gauges.unknown)
    yield _gauge("broadcasts_submitted", "Broadcasts that wait for approval.", gauges.submitted)
    yield _gauge("broadcasts_submitted_seconds", "How long the first waits.", _age(gauges.submitted_since, now))
    yield _gauge(
        "due_seconds", "How long the first job has been due; a push settles first.", _age(gauges.due_since, now)
    )
    yield _gauge("spent_today", "What replies, texts and calls have cost since midnight UTC.", gauges.spent)
    yield _gauge("leader", "Whether a jobs process leads.", gauges.leads_until is not None)
    yield _gauge("lease_remaining_seconds", "For how long it does.", max(0.0, (gauges.leads_until or now) - now))


def _points(view: View, now: datetime) -> Iterator[Metric]:
    both = list(zip(view.board.points, view.board.standings, strict=True))
    active = [standing for point, standing in both if point.status in ACTIVATED]
    points = GaugeMetricFamily("responder_points", "Points, by what they are now.", labels=["state"])
    points.add_metric(["activated"], len(active))
    points.add_metric(["unconfirmed"], sum(standing.unconfirmed for standing in active))
    points.add_metric(["usable"], sum(standing.kind in USABLE for _, standing in both))
    yield points
    age = (now - view.read_at).total_seconds()
    yield _gauge("view_age_seconds", "Since the worker that answers here last read the points anew.", age)


def _gauge(name: str, help: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"responder_{name}", help, value=float(value))


def _age(since: float | None, now: float) -> float:
    return max(0.0, now - since) if since is not None else 0.0


def _writable(paths: list[Path]) -> bool:
    """Whether files and folders let themselves be written to; true of none."""
    folders = {path.parent for path in paths}
    return all(os.access(path, os.W_OK) for path in [*paths, *folders]) and not any(
        os.statvfs(folder).f_flag & os.ST_RDONLY for folder in folders
    )

"""What a process counts, for Prometheus. What the database knows is read when it is asked for: web/monitor.py.

Alone, a process counts in memory. Once they `join`, all processes of a server count in files of one folder, so that
whichever is asked tells for all. Every metric has labels, because one without would choose where to count before its
process has joined. Labels are names of ours (channels, nodes of the flow, states), and so many error codes.
"""

import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

OTHER = "other"
MOST_CODES = 40  # error codes that a process tells apart
_BYTES = 1 << 20  # of a file: what the library makes it as long as anyway
_KINDS = ("counter", "histogram", "gauge_max", "gauge_livesum")
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)  # the provider waits 15 s

REGISTRY = CollectorRegistry()
_INBOUND = Counter(
    "responder_inbound", "Texts and turns of calls, by node of the flow and what became of them.",
    ["channel", "intent", "outcome"], registry=REGISTRY,
)  # fmt: skip
_RECOGNITION = Counter(
    "responder_recognition", "What residents wrote, said or keyed, by whether anything could be made of it.",
    ["channel", "recognised"], registry=REGISTRY,
)  # fmt: skip
_GATE = Counter(
    "responder_gate", "Requests at the gate: let in, or what became of them instead.", ["kind", "outcome"],
    registry=REGISTRY,
)  # fmt: skip
_REPLY = Histogram(
    "responder_reply_seconds", "From a genuine request to its answer.", ["channel"], buckets=_BUCKETS, registry=REGISTRY
)
_DELIVERIES = Counter(
    "responder_deliveries", "What became of deliveries, step by step, with the provider's error code.",
    ["channel", "outcome", "code"], registry=REGISTRY,
)  # fmt: skip
_GATEWAYS = Counter(
    "responder_gateway_requests", "What became of requests to a gateway; what is a number's own fault is not counted.",
    ["gateway", "outcome"], registry=REGISTRY,
)  # fmt: skip
_DATABASE_ERRORS = Counter(
    "responder_database_errors", "Statements that failed because the database is away or old.", ["kind"],
    registry=REGISTRY,
)  # fmt: skip
_LAST_RUN = Gauge(
    "responder_jobs_last_run_timestamp_seconds", "When the leader last ticked, pushed, kept house, or looked for "
    "something to send.", ["what"], registry=REGISTRY, multiprocess_mode="max",
)  # fmt: skip
_LAST_TOOK = Gauge(
    "responder_jobs_last_duration_seconds", "How long the last of them took.", ["what"], registry=REGISTRY,
    multiprocess_mode="max",
)  # fmt: skip
_WORKERS = Gauge(
    "responder_workers", "Processes that answer.", ["server"], registry=REGISTRY, multiprocess_mode="livesum"
)

log = logging.getLogger("responder.metrics")

_ALL = (
    _INBOUND,
    _RECOGNITION,
    _GATE,
    _REPLY,
    _DELIVERIES,
    _GATEWAYS,
    _DATABASE_ERRORS,
    _LAST_RUN,
    _LAST_TOOK,
    _WORKERS,
)
_held: list[int] = []  # the locks of runs that began here, as file descriptors
_codes: set[int] = set()
_folder: Path | None = None


def inbound(channel: str, outcome: str, intent: str = "") -> None:
    """Something came in: `intent` is the node of the flow that answered, `outcome` what became of it."""
    _INBOUND.labels(channel, intent, outcome).inc()


def gate(kind: str, outcome: str) -> None:
    """The gate let in a request of a kind, or not."""
    _GATE.labels(kind, outcome).inc()


def recognition(channel: str, recognised: bool) -> None:
    """Somebody said something, and it was understood or not."""
    _RECOGNITION.labels(channel, "yes" if recognised else "no").inc()


def replied(channel: str, seconds: float) -> None:
    """A request was answered after so long."""
    _REPLY.labels(channel).observe(seconds)


def delivery(channel: str, outcome: str, code: int = 0, count: int = 1) -> None:
    """Deliveries took a step; `code`: the provider's, 0 for none."""
    if count:
        _DELIVERIES.labels(channel, outcome, _clipped(code)).inc(count)


def gateway(name: str, outcome: str) -> None:
    """A request to a gateway was "good", "failed" or "barred"."""
    _GATEWAYS.labels(name, outcome).inc()


def database_error(kind: str) -> None:
    """The database failed: "away" or "old"."""
    _DATABASE_ERRORS.labels(kind).inc()


def job(what: str, at: float, took: float | None = None) -> None:
    """The leader did something at a time (seconds since 1970), in so many seconds."""
    _LAST_RUN.labels(what).set(at)
    if took is not None:
        _LAST_TOOK.labels(what).set(took)


def answering() -> None:
    """This process answers requests."""
    _WORKERS.labels("web").set(1)


def collected() -> Iterable[Metric]:
    """All that was counted: by this process, or by all that share its folder."""
    if _folder is None:
        return REGISTRY.collect()
    for _ in range(3):
        files = [str(path) for kind in _KINDS for path in sorted(_folder.glob(f"{kind}_*-*.db"))]
        try:
            return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
        except FileNotFoundError:  # swept away meanwhile
            continue
        except Exception:  # how it stands is told all the same
            log.exception("what was counted cannot be read")
            break
    return []


def begin(folder: Path) -> str:
    """The name of a run of this process and its children, which count in `folder`; "" where that cannot be used.

    A run holds a lock for as long as any of them lives, in whatever container. What ended runs have left is deleted.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "guard").open("w") as guard:
            flock(guard, LOCK_EX)
            _sweep(folder)
            run = secrets.token_hex(4)
            _held.append(os.open(folder / f"run_{run}.lock", os.O_CREAT | os.O_RDWR, 0o600))
            flock(_held[-1], LOCK_EX)
        return run
    except OSError as error:
        log.error("what is counted will not be seen: METRICS_DIR: %s", error)
        return ""


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Within, this process counts in a run of its own, with the others of its server."""
    run = begin(folder)
    join(folder, run)
    try:
        yield
    finally:
        _leave()


def join(folder: Path, run: str, slot: int = 0) -> None:
    """Count with the others of this server. A worker has a `slot` in the run of its master, where it goes on from what
    a worker that ended has left there. Without a run, or room on the disk, the process counts alone.
    """
    if not run:
        return
    try:
        _share(folder, f"{run}-{slot}")
    except OSError as error:
        log.error("what this process counts will not be seen: METRICS_DIR: %s", error)


def ended(folder: Path, run: str, slot: int) -> None:
    """The worker in the `slot` of a run answers no more; what it has counted stays."""
    mark_process_dead(f"{run}-{slot}", str(folder))  # type: ignore[no-untyped-call]


def _share(folder: Path, name: str) -> None:
    """The files get their room now: a page that a full disk has none for would kill the process that writes to it."""
    global _folder
    for kind in _KINDS:
        path = folder / f"{kind}_{name}.db"
        if not path.exists():
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
            fresh.rename(path)
    _forget()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
    _folder = folder


def _leave() -> None:
    """Count alone from here on, from nothing; runs that began here have ended."""
    global _folder
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    values.ValueClass, _folder = values.MutexValue, None
    _forget()
    values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
    while _held:
        os.close(_held.pop())


def _forget() -> None:
    """What was counted in another place before is not counted on there."""
    for metric in _ALL:
        metric.clear()


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"run_{'?' * 8}.lock"):
        with path.open() as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                continue
            for left in (*folder.glob(f"*_{path.stem.removeprefix('run_')}-*"), path):
                left.unlink(missing_ok=True)


def _clipped(code: int) -> str:
    if not code:
        return ""
    if code not in _codes and len(_codes) >= MOST_CODES:
        return OTHER
    _codes.add(code)
    return str(code)

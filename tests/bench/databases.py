"""The databases that the benches run on, and what a PostgreSQL server needs of memory meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import Server, server

ENGINES = ("sqlite", "postgresql")
SAMPLE_EVERY = 0.05  # seconds


@dataclass(frozen=True)
class Place:
    """Where a bench keeps its data: DATABASE_URL, and the server if there is one."""

    url: str
    server: Server | None = None


@contextmanager
def database(engine: str, folder: Path) -> Iterator[Place]:
    """An empty database: a file in `folder`, or on a server that syncs to the same disk, as in production."""
    if engine == "sqlite":
        yield Place(f"sqlite:///{folder / 'bench.db'}")
        return
    folder.chmod(0o755)  # the server runs as somebody else
    with server(folder, durable=True) as running:
        yield Place(running.url("bench"), running)


@contextmanager
def backends(place: Place) -> Iterator[list[float]]:
    """Note the most memory of its own (MB, without what all share) that one process of the server has meanwhile."""
    most, ending = [0.0], threading.Event()

    def watching(pid: int) -> None:
        while not ending.wait(SAMPLE_EVERY):
            most[0] = max([most[0], *(_own(child) for child in _children(pid))])

    if place.server is None or place.server.process is None:
        yield most
        return
    thread = threading.Thread(target=watching, args=(place.server.process.pid,), daemon=True)
    thread.start()
    try:
        yield most
    finally:
        ending.set()
        thread.join()


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _own(pid: int) -> float:
    """Anonymous memory in MB."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0

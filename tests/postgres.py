"""A PostgreSQL server for tests: Debian's binaries, in a folder of its own, on a Unix socket and a port of loopback.

    with server() as running:
        running.url("some_name")   # DATABASE_URL of a database, made if there is none
        running.restart()

PostgreSQL does not run as root; as root the server runs as the user `postgres`.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

USER = "postgres"
# Nothing here outlives the machine. A test that kills the server (not the machine) loses nothing by it.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "autovacuum": "off",
}


def binaries() -> Path:
    """Where initdb and postgres lie. Raises RuntimeError with what to install."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    raise RuntimeError("there is no PostgreSQL server. On Debian or Ubuntu: apt-get install postgresql")


@dataclass
class Server:
    """A running server; its data lie in `folder`."""

    folder: Path
    port: int
    options: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def dsn(self, name: str = USER) -> str:
        """A database as libpq has it."""
        return f"host={self.folder} port={self.port} user={USER} dbname={name}"

    def address(self, name: str) -> str:
        """DATABASE_URL of a database."""
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}&port={self.port}"

    def url(self, name: str, template: str = "") -> str:
        """DATABASE_URL of a database, which is made if there is none: empty, or a copy of `template`."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
        return self.address(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-h", "127.0.0.1", *options], stdout=log, stderr=log, start_new_session=True, **_as_user()
            )
        for _ in range(600):
            with suppress(psycopg.OperationalError), psycopg.connect(self.dsn(), connect_timeout=2):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts every connection, SIGQUIT is as a crash, SIGTERM waits for who is connected."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and start it again."""
        self.stop(how)
        self.start()


@contextmanager
def server(parent: Path | None = None, durable: bool = False, **options: str) -> Iterator[Server]:
    """A server for the length of a `with`. `durable`: it syncs as in production; `options` of postgresql.conf."""
    place = parent or (Path("/dev/shm") if Path("/dev/shm").is_dir() and not durable else None)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=place))
    folder.chmod(0o755)
    if user := _as_user():
        os.chown(folder, pwd.getpwnam(str(user["user"])).pw_uid, -1)
    made = Server(folder, _free_port(), {**({} if durable else _FAST), "max_connections": "200", **options})
    try:
        subprocess.run(
            [str(binaries() / "initdb"), "-D", str(made.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
             "--no-sync"],
            check=True, capture_output=True, cwd="/", **_as_user(),
        )  # fmt: skip
        made.start()
        yield made
    finally:
        made.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def name_of(path: Path) -> str:
    """A database name for a path: its own, short, and good for SQL."""
    return f"t{zlib.crc32(str(path).encode()):08x}{len(str(path))}"


def _as_user() -> dict[str, str]:
    return {"user": USER, "group": USER} if os.getuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

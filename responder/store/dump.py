"""PostgreSQL's own tools: found, told where the database is without its password on a command line, run, timed out."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from sqlalchemy import URL, Engine
from sqlalchemy.engine import Connection

MAGIC = b"PGDMP"  # the first bytes of a dump in the custom format
TIMEOUT = 3600.0  # seconds for a dump or a restore
_DEBIAN = Path("/usr/lib/postgresql")
_TOLD = 5  # lines of what a tool complains about


class BackupError(RuntimeError):
    """A backup, restore or move that was refused or failed; what there was is as it was."""


def tool(name: str, server: int = 0) -> str:
    """The path of pg_dump or pg_restore: of the server's version, or the nearest newer one. Raises BackupError."""
    found = [(version, path) for path in _candidates(name) if (version := _version(path))]
    fit = min((one for one in found if one[0] >= server), default=None) if server else max(found, default=None)
    if fit:
        return fit[1]
    install = f"install postgresql-client-{server or 15} (Debian, Ubuntu: apt-get install postgresql-client)"
    if found:
        raise BackupError(f"{name} is of version {max(found)[0]}, older than the server's {server}: {install}")
    raise BackupError(f"{name} is missing: {install}")


def server_version(connection: Connection) -> int:
    """The server's major version."""
    return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


def dump(engine: Engine, server: int, to: Path, snapshot: str) -> None:
    """Dump what the exported `snapshot` sees into the file `to`. Raises BackupError."""
    words = ("--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--lock-wait-timeout=30000",
             f"--snapshot={snapshot}", f"--file={to}")  # fmt: skip
    run(tool("pg_dump", server), words, environment(engine.url, engine))


def load(engine: Engine, server: int, file: Path, name: str) -> None:
    """Load a dump into the empty database `name` of the server of `engine`. Raises BackupError."""
    words = ("--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={make_conninfo(dbname=name)}", str(file))
    run(tool("pg_restore", server), words, environment(engine.url.set(database=name), engine))


def check(file: Path) -> None:
    """Read the whole dump, to see that it is one and that nothing is missing at its end. Raises BackupError."""
    run(tool("pg_restore"), ("--list", str(file)))
    run(tool("pg_restore"), (f"--file={os.devnull}", str(file)))


def script(file: Path, *words: str) -> str:
    """What pg_restore would run for a part of the dump. Raises BackupError."""
    return run(tool("pg_restore"), (*words, "--file=-", str(file)))


@contextmanager
def lines(file: Path, *words: str) -> Iterator[Iterator[str]]:
    """What pg_restore would run for a part of the dump, line by line. Raises BackupError if it fails."""
    command = [tool("pg_restore"), *words, "--file=-", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:  # noqa: S603
        assert running.stdout  # it is a pipe
        yield (line.decode().removesuffix("\n") for line in running.stdout)
        if running.wait(TIMEOUT):
            raise BackupError(f"pg_restore ended with {running.returncode} while {file} was read")


def environment(url: URL, engine: Engine) -> Mapping[str, str]:
    """Our environment, with libpq's variables for the database of `url`, its password among them."""
    _, options = engine.dialect.create_connect_args(url)
    names = {one.keyword.decode(): one.envvar.decode() for one in Conninfo.get_defaults() if one.envvar}
    chosen = {names[key]: str(value) for key, value in options.items() if key in names}
    return {**os.environ, "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "responder backup", **chosen}


def run(path: str, words: Sequence[str], environment: Mapping[str, str] | None = None, within: float = TIMEOUT) -> str:
    """What a tool prints. Raises BackupError with what it complains about."""
    name = Path(path).name
    try:
        done = subprocess.run(  # noqa: S603 - a fixed tool, no shell
            [path, *words], env=environment, capture_output=True, text=True, errors="replace", timeout=within,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{name} took longer than {within:.0f} s and was ended") from error
    except OSError as error:
        raise BackupError(f"{name} cannot be run: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise BackupError(f"{name}: {'; '.join(said[:_TOLD]) or f'ended with {done.returncode}'}")
    return done.stdout


def _candidates(name: str) -> list[str]:
    """Debian's folders by version come first: the tool in PATH is a wrapper there, which picks one by other rules."""
    found = [str(path) for path in _DEBIAN.glob(f"*/bin/{name}")]
    return found or [path for path in [shutil.which(name)] if path]


def _version(path: str) -> int:
    try:
        said = re.search(r"\) (\d+)", run(path, ("--version",), within=10.0))
    except BackupError:
        return 0
    return int(said[1]) if said else 0

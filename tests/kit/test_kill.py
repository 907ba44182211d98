"""Whoever kills a kit or a merge in the middle finds nothing half done, and can do it again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from responder.core.points import Status
from tests.kit.test_merge import counts
from tests.kit.world import PASSPHRASE, Pair

ROOT = Path(__file__).resolve().parents[2]
# The command, in a process that is killed the n-th time it is about to call `where`.
RUNNER = """
import os, signal, sys
where, n = sys.argv[1], int(sys.argv[2])
module, _, name = where.rpartition(".")
import importlib
from responder.store import sealedfile
sealedfile._N = 1 << 4
owner = importlib.import_module(module)
real, count = getattr(owner, name), 0
def counted(*args, **options):
    global count
    count += 1
    if count == n:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)
setattr(owner, name, counted)
from responder.cli import main
main(sys.argv[3:])
"""


def killed(pair: Pair, folder: Path, where: str, n: int, *words: str) -> None:
    """Run `responder WORDS` in `folder`, killed before the n-th call of `where`."""
    known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    known |= {"PYTHONPATH": str(ROOT), "KIT_PASSPHRASE": PASSPHRASE, "USER": "anna"}
    if folder == pair.folder:
        known["DATABASE_URL"] = pair.server.url
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, where, str(n), *words], cwd=folder, env=known, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def visible(folder: Path) -> set[str]:
    """What has a name in a folder."""
    ours = ("-wal", "-shm")  # what SQLite leaves beside a database that was in use
    return {path.name for path in folder.iterdir() if not path.name.startswith(".") and not path.name.endswith(ours)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "n"),
    [
        ("responder.actions.kit.write_copy", 1),
        ("responder.actions.kit.pack", 1),
        ("responder.actions.kit.add_kit", 1),
        ("responder.store.backup.link", 1),
    ],
)
def test_a_kit_is_there_as_a_whole_or_not_at_all(pair: Pair, where: str, n: int) -> None:
    before = visible(pair.folder)
    killed(pair, pair.folder, where, n, "kit", "make", "a.kit")
    assert visible(pair.folder) == before
    pair.open(pair.make())


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["responder.store.kit_pack.sync", "responder.actions.kit.check_sqlite", "responder.actions.kit.save_base",
              "responder.actions.kit.sync"],
)  # fmt: skip
def test_a_folder_is_ready_to_run_or_not_there(pair: Pair, where: str) -> None:
    file = pair.make()
    before = visible(pair.folder)
    killed(pair, pair.folder, where, 1, "kit", "open", str(file), "laptop")
    assert visible(pair.folder) == before
    laptop = pair.open(file)
    assert not [path for path in pair.folder.iterdir() if "partial" in path.name]
    assert laptop.point("near").status is Status.OPEN


@pytest.mark.slow
@pytest.mark.parametrize("where", ["responder.actions.kit.pack", "responder.store.backup.link"])
def test_a_return_is_there_as_a_whole_or_not_at_all(pair: Pair, where: str) -> None:
    laptop = pair.laptop()
    folder = pair.folder / "laptop-0"
    before = visible(folder)
    killed(pair, folder, where, 1, "kit", "return", "home.kit")
    assert "home.kit" not in visible(folder) and before <= visible(folder)
    assert pair.merge(laptop).taken["lines of the audit log"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        f"responder.store.merge.{name}"
        for name in ("merge_turns", "merge_points", "merge_reports", "save_base", "set_sequences")
    ],
)
def test_a_merge_is_done_as_a_whole_or_not_at_all(pair: Pair, where: str) -> None:
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    file, before = pair.packed(laptop), counts(pair.server)
    killed(pair, pair.folder, where, 1, "merge", str(file), "--apply")
    assert counts(pair.server) == before and pair.server.point("near").status is Status.OPEN
    pair.server.clock.now = laptop.clock.now
    assert pair.merge(file).taken["points"] == 1

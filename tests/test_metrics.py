"""Several processes count together, and what one has counted outlives it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from responder import metrics
from tests.conftest import TOKEN, prepare

ROOT = Path(__file__).resolve().parents[1]
METRICS = "a-token-for-metrics-1234"
COUNTS = """
import sys
from pathlib import Path
from responder import metrics
folder, run, slot, count = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
metrics.join(folder, run, slot)
metrics.answering()
for _ in range(count):
    metrics.inbound("text", "answered", "help")
metrics.job("tick", float(count))
for metric in metrics.collected():
    for sample in metric.samples:
        print(sample.name, sorted(sample.labels.items()), sample.value)
"""


def counted(folder: Path, run: str, slot: int, count: int) -> dict[str, float]:
    """What a process sees that counts `count` texts in a slot and then ends: name to the sum of it."""
    command = [sys.executable, "-c", COUNTS, str(folder), run, str(slot), str(count)]
    found: dict[str, float] = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        name, value = line.split()[0], float(line.split()[-1])
        found[name] = found.get(name, 0.0) + value
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".db", ".new"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[str]:
    """A run of this process, as a master has one, on `tmp_path`."""
    yield metrics.begin(tmp_path)
    os.close(metrics._held.pop())


def test_processes_count_together_and_a_successor_goes_on_in_the_slot_of_one_that_ended(
    tmp_path: Path, run: str
) -> None:
    assert counted(tmp_path, run, 0, 3)["responder_inbound_total"] == 3
    assert counted(tmp_path, run, 1, 4)["responder_inbound_total"] == 7
    before = files(tmp_path)
    metrics.ended(tmp_path, run, 0)
    found = counted(tmp_path, run, 0, 2)
    assert (found["responder_inbound_total"], found["responder_workers"]) == (9, 2)
    assert found["responder_jobs_last_run_timestamp_seconds"] == 4, "the latest of all"
    assert files(tmp_path) == before, "a worker that dies again and again does not fill the disk"


def test_one_that_ended_is_no_worker_any_more(tmp_path: Path, run: str) -> None:
    counted(tmp_path, run, 0, 1)
    metrics.ended(tmp_path, run, 0)
    found = counted(tmp_path, run, 1, 1)
    assert (found["responder_inbound_total"], found["responder_workers"]) == (2, 1)


def test_what_a_run_that_has_ended_has_left_is_swept_away_and_nothing_else(tmp_path: Path, run: str) -> None:
    command = (
        "import sys; from pathlib import Path; from responder import metrics; print(metrics.begin(Path(sys.argv[1])))"
    )
    gone = subprocess.run([sys.executable, "-c", command, str(tmp_path)], check=True, capture_output=True, text=True)
    counted(tmp_path, run, 0, 1)
    counted(tmp_path, gone.stdout.strip(), 0, 1)
    (tmp_path / "notes_of-somebody.txt").touch()
    (tmp_path / f"counter_{gone.stdout.strip()}-1.new").touch()
    assert len(files(tmp_path)) == 9
    other = metrics.begin(tmp_path)
    assert {name.rpartition("_")[2] for name in files(tmp_path)} == {f"{run}-0.db"}
    assert (tmp_path / "notes_of-somebody.txt").exists()
    assert {path.stem for path in tmp_path.glob("*.lock")} == {f"run_{run}", f"run_{other}"}
    os.close(metrics._held.pop())


def test_within_shared_a_process_counts_with_the_others_and_after_it_alone_and_anew(tmp_path: Path) -> None:
    for name in ("responder.db", "counter_broken-0.db"):
        (tmp_path / name).write_bytes(b"no counts")

    def texts() -> float:
        return sum(s.value for m in metrics.collected() for s in m.samples if s.name == "responder_inbound_total")

    with metrics.shared(tmp_path):
        metrics.inbound("text", "answered", "help")
        assert texts() == 0, "a broken file costs what was counted, and no more"
        (tmp_path / "counter_broken-0.db").unlink()
        assert texts() == 1
    assert texts() == 0
    metrics.inbound("text", "answered", "help")
    assert texts() == 1
    metrics.begin(tmp_path)
    os.close(metrics._held.pop())
    assert files(tmp_path) == ["responder.db"]


def test_files_have_their_room_from_the_start_so_that_a_full_disk_kills_nobody(tmp_path: Path, run: str) -> None:
    counted(tmp_path, run, 0, 0)
    sizes = [(tmp_path / name).stat() for name in files(tmp_path)]
    assert len(sizes) == 4
    assert all(size.st_blocks * 512 >= size.st_size == 1 << 20 for size in sizes)


def test_where_the_folder_or_the_disk_cannot_be_used_a_process_counts_alone(
    tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(metrics, "_folder", None)
    assert metrics.begin(tmp_path / "file") == ""
    metrics.join(tmp_path / "file", "")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(metrics.os, "posix_fallocate", full)
    metrics.join(tmp_path, run)
    assert caplog.text.count("METRICS_DIR") == 2
    assert metrics._folder is None


@contextmanager
def served(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """gunicorn as it is set up here, with two workers and a jobs process, on a database in `folder`."""
    environment = {
        **os.environ, "DATABASE_URL": f"sqlite:///{folder / 'responder.db'}", "METRICS_TOKEN": METRICS, "GATEWAY": "recorder",
        "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": f"http://127.0.0.1:{port}", "BIND": f"127.0.0.1:{port}", "WORKERS": "2",
    }  # fmt: skip
    gunicorn = ["-m", "gunicorn", "wsgi:app", "-c", str(ROOT / "gunicorn.conf.py"), "--access-logfile", "-"]
    jobs = ["-c", "from responder.cli import main; main(['jobs'])"]
    with (folder / "log").open("a") as log:
        processes = [
            subprocess.Popen([sys.executable, *what], cwd=ROOT, env=environment, stderr=log, stdout=log, text=True)
            for what in (gunicorn, jobs)
        ]
        try:
            yield processes[0]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.mark.slow
def test_any_worker_tells_for_all_and_for_the_jobs_and_a_start_begins_anew(tmp_path: Path) -> None:
    prepare(tmp_path / "responder.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])

    def fetch(path: str, **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def sample(name: str) -> float:
        page = fetch("/metrics", Authorization=f"Bearer {METRICS}")
        found = re.search(rf"(?m)^responder_{re.escape(name)} (\S+)$", page)
        return float(found[1]) if found else 0.0

    pages = 'gate_total{kind="page",outcome="let in"}'
    with served(tmp_path, port) as web:
        until(lambda: sample('workers{server="web"}') == 2)
        until(lambda: sample('jobs_last_run_timestamp_seconds{what="tick"}') > 0)
        for _ in range(20):
            fetch("/console/invitation/inbjudan-som-ingen-vet?x=1")
        assert {sample(pages) for _ in range(10)} == {20}
        children = Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        until(lambda: Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split() != children)
        until(lambda: sample('workers{server="web"}') == 2)
        assert sample(pages) == 20
    with served(tmp_path, port):
        until(lambda: sample('workers{server="web"}') == 2)
        assert sample(pages) == 0
    log = (tmp_path / "log").read_text()
    assert "inbjudan" not in log
    assert "?x=1" not in log
    assert all(line.startswith("{") for line in log.splitlines() if not line.startswith("jobs: "))
    assert '"logger": "gunicorn.access"' in log

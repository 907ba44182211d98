"""46elks, gunicorn and espeak as they are in service: over real HTTP, with real sound, and what the logs hold of it."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from responder.demo import free_port
from tests import engines
from tests.conftest import prepare
from tests.fakes.elks import NUMBER, PASSWORD, SECRET, SETTINGS, USERNAME, FakeElks
from tests.sending.conftest import MOBILE

ROOT = Path(__file__).resolve().parents[2]
SERVE = [sys.executable, "-m", "gunicorn", "--access-logfile", "-", "--log-level", "debug", "wsgi:app"]


@contextmanager
def serving(folder: Path, fake: FakeElks) -> Iterator[tuple[str, Path]]:
    """The service at an address, and the file that its logs go to."""
    port, log = free_port(21000 + os.getpid() % 20000), folder / "log"
    url = f"http://127.0.0.1:{port}"
    told = {name.upper(): value for name, value in SETTINGS.items()}
    told |= {
        "DATABASE_URL": engines.url(prepare(folder / "responder.db")), "PUBLIC_URL": url, "ELKS_API_URL": fake.url,
        "AUDIO_DIR": str(folder / "audio"), "METRICS_DIR": str(folder / "metrics"), "BIND": f"127.0.0.1:{port}",
        "WORKERS": "1",
    }  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(SERVE, cwd=ROOT, env={**os.environ, **told}, stdout=file, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"{url}/healthz", process)
            yield url, log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def test_texts_and_calls_are_answered_and_no_log_holds_the_secret(tmp_path: Path) -> None:
    with FakeElks() as fake, serving(tmp_path, fake) as (url, log):
        fake.sms_url, fake.voice_start = f"{url}/46elks/{SECRET}/text", f"{url}/46elks/{SECRET}/voice"
        assert fake.text(MOBILE, "HJÄLP").startswith("Skicka")
        assert fake.text(MOBILE, "12347", "s1") == fake.text(MOBILE, "12347", "s1") != ""
        heard = fake.ring_us(MOBILE, "12347", "*#")
        assert len(heard.spoken) >= 3 and fake.broken == []
        assert all(address.startswith(f"{url}/audio/") for address in heard.spoken)
        for wrong in (
            f"{url}/46elks/{SECRET}x/text",
            f"{url}/46elks/{SECRET}/nowhere",
            f"{url}/46elks/{SECRET}/voice?a",
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong, b"id=s1&message=x" if "voice" not in wrong else None, timeout=5)
            assert SECRET not in refused.value.read().decode()
    said = log.read_text()
    assert "/46elks/***/" in said and "GET /healthz" in said  # the log of all requests is on
    for secret in (SECRET, USERNAME, PASSWORD, MOBILE, NUMBER):
        assert secret not in said

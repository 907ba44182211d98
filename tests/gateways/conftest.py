"""Services whose only gateway is one of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from responder.core.telling import Spoken
from responder.gateways.elks import ElksGateway
from tests.conftest import TOKEN, URL, Running, a_point
from tests.fakes import elks
from tests.fakes.elks import FakeElks
from tests.fakes.twilio import FakeTwilio
from tests.sending.conftest import ACCOUNT, FAST, Line

KEYS = {"secret_key": "s" * 32, "number_key": "n" * 32, "lookup_key": "l" * 32}
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


class Tape:
    """Stands in for recordings, and knows what each says."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[Spoken, ...]] = {}

    def address(self, sentences: tuple[Spoken, ...]) -> str:
        """See Recordings."""
        if not sentences:
            return ""
        address = f"{URL}/audio/{abs(hash(sentences))}.wav"
        self.said[address] = sentences
        return address

    def prepare(self, sentences: tuple[Spoken, ...]) -> None:
        """See Recordings."""

    def words(self, address: str) -> str:
        """What is heard there."""
        return " ".join(sentence.text for sentence in self.said[address])

    def sound(self, address: str) -> tuple[int, str, bytes]:
        """What is fetched from there."""
        return (200, "audio/wav", WAV) if address in self.said else (404, "text/plain", b"")


def posting(line: Callable[[], Running]) -> Callable[[str, dict[str, str], dict[str, str]], tuple[int, str]]:
    """What takes a double's requests to the service."""

    def back(url: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        target = urlsplit(url)
        path = f"{target.path}?{target.query}" if target.query else target.path
        response = line().app.test_client().post(path, data=form, headers=headers)
        return response.status_code, response.get_data(as_text=True)

    return back


@pytest.fixture
def elks_line(start: Callable[..., Running], tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """Starts a real service with 46elks alone; settings may be given. Its fake has a `tape`."""
    with ExitStack() as opened:

        def starting(**chosen: Any) -> Line:
            lines: list[Line] = []
            tape = Tape()
            fake = opened.enter_context(
                FakeElks(callback=posting(lambda: lines[0].running), sound=tape.sound, words=tape.words)
            )
            usual = {**FAST, **elks.SETTINGS, **KEYS, "gateway": "46elks", "elks_api_url": fake.url,
                     "audio_dir": str(tmp_path / "audio")}  # fmt: skip
            running = start(**{**usual, **chosen})
            line = Line(running, fake)
            lines.append(line)
            gateway = line.service.gateways["46elks"]
            assert isinstance(gateway, ElksGateway)
            gateway._recordings = tape
            root = f"{URL}/46elks/{elks.SECRET}"
            fake.sms_url, fake.voice_start = f"{root}/text", f"{root}/voice"
            running.put(a_point("near"), a_point("far", lat=59.26))
            return line

        yield starting


@pytest.fixture
def twilio_line(start: Callable[..., Running]) -> Iterator[Line]:
    """A real service with Twilio alone."""
    lines: list[Line] = []
    with FakeTwilio(ACCOUNT, TOKEN, callback=posting(lambda: lines[0].running)) as fake:
        running = start(
            **{
                **FAST, **KEYS, "gateway": "twilio", "twilio_account_sid": ACCOUNT, "twilio_from": "+46770000000",
                "twilio_api_url": fake.url,
            }
        )  # fmt: skip
        lines.append(Line(running, fake))
        running.put(a_point("near"), a_point("far", lat=59.26))
        yield lines[0]

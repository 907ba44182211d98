"""What is spoken in calls is served, and nothing else of the disk."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from responder.core.telling import Spoken
from responder.gateways.recordings import recordings
from responder.web import gate as gates
from tests.conftest import FLOWS, URL, Running

NAME = "a" * 40


@pytest.fixture
def served(start: Callable[..., Running], tmp_path: Path) -> Running:
    folder = tmp_path / "audio"
    folder.mkdir()
    (folder / f"{NAME}.wav").write_bytes(b"RIFF and so on")
    (tmp_path / "secret.wav").write_bytes(b"no")
    (folder / f"{'b' * 40}.wav").symlink_to(tmp_path / "secret.wav")
    (folder / f"{'c' * 40}.wav").symlink_to(folder / f"{'c' * 40}.wav")
    (folder / f"{'d' * 40}.wav").mkdir()
    (folder / "other.wav").write_bytes(b"no")
    (folder / f"{NAME}.{'e' * 16}.part").write_bytes(b"no")
    return start(audio_dir=str(folder))


def test_a_rendered_answer_is_served_and_may_be_kept_for_ever(served: Running) -> None:
    response = served.app.test_client().get(f"/audio/{NAME}.wav", buffered=True)
    assert response.status_code == 200
    assert response.data == b"RIFF and so on"
    assert response.mimetype.startswith("audio/")
    assert {"public", "immutable", "max-age=31536000"} <= set(response.headers["Cache-Control"].split(", "))
    assert (
        served.app.test_client().get(f"/audio/{NAME}.wav", headers={"Range": "bytes=0-3"}, buffered=True).data
        == b"RIFF"
    )
    assert served.app.test_client().head(f"/audio/{NAME}.wav", buffered=True).status_code == 200


def test_what_the_recordings_hand_out_is_found_at_its_address(served: Running) -> None:
    settings = served.app.extensions["responder"].settings
    made = recordings(settings, served.app.extensions["responder"].flow, served.clock)
    address = made.address((Spoken("Hej.", "sv"), Spoken("Hello.", "en")))
    response = served.app.test_client().get(address.removeprefix(URL), buffered=True)
    assert response.data[:4] == b"RIFF"
    assert response.data[8:12] == b"WAVE"


@pytest.mark.parametrize(
    "path",
    [
        f"{'b' * 40}.wav", f"{'c' * 40}.wav", f"{'d' * 40}.wav", "other.wav", f"{NAME}.{'e' * 16}.part", f"{'f' * 40}.wav",
        f"{NAME}.mp3", f"{NAME.upper()}.wav", f"x/{NAME}.wav", f"../audio/{NAME}.wav", f"%2e%2e/audio/{NAME}.wav", f"..%2faudio%2f{NAME}.wav",
        f"/{NAME}.wav", f"{NAME}.wav/", f"{NAME}.wav%00", f"{NAME}%0a.wav", "%00.wav", f"{'x' * 5000}.wav", "..%5c..%5csecret.wav", "../secret.wav",
        "C:/x.wav", ".wav", "%ff.wav",
    ],
)  # fmt: skip
def test_nothing_else_is_served(served: Running, path: str) -> None:
    response = served.app.test_client().get(f"/audio/{path}", buffered=True)
    assert response.status_code in (404, 308, 400)
    assert response.data != b"no"
    assert b"RIFF" not in response.data
    assert "immutable" not in response.headers.get("Cache-Control", "")


def test_clips_of_the_flow_are_served_as_before_and_no_link_leads_out_of_them(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    flows = tmp_path / "flows"
    (flows / "audio" / "xx").mkdir(parents=True)
    for name in ("resident.toml", "wording"):
        (flows / name).symlink_to(FLOWS / name)
    (flows / "audio" / "xx" / "clip.mp3").write_bytes(b"clip")
    (tmp_path / "secret.mp3").write_bytes(b"no")
    (flows / "audio" / "link.mp3").symlink_to(tmp_path / "secret.mp3")
    client = start(flows_dir=flows).app.test_client()
    response = client.get("/audio/xx/clip.mp3", buffered=True)
    assert response.data == b"clip"
    assert "max-age=3600" in response.headers["Cache-Control"]
    assert client.get("/audio/link.mp3", buffered=True).status_code == 404


def test_two_hundred_callers_at_once_get_their_answer_from_two_processes(served: Running) -> None:
    """Each process has the share of one that gets half of them."""
    codes: list[int] = []

    def fetch() -> None:
        codes.append(served.app.test_client().get(f"/audio/{NAME}.wav", buffered=True).status_code)

    threads = [threading.Thread(target=fetch) for _ in range(gates.AUDIO_SEATS + gates.AUDIO.room)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) >= 100
    assert set(codes) == {200}

"""`responder audio`, as somebody types it. Needs espeak-ng."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from responder.cli import main
from responder.gateways import pcm
from tests import engines


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, on a database with places."""
    engines.settle(tmp_path, prepared, monkeypatch)
    monkeypatch.setenv("AUDIO_DIR", str(tmp_path / "audio"))


def said(*words: str, code: int = 0) -> list[str]:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result.output.splitlines()


def recorded(folder: Path, clips: dict[str, str]) -> Path:
    """A folder with a Swedish manifest and half a second of noise for each file."""
    folder.mkdir()
    rows = [f'"{key}" = "{name}"' for key, name in clips.items()]
    (folder / "sv.toml").write_text("\n".join(["[clips]", *rows]), encoding="utf-8")
    noise = np.random.default_rng(1).integers(-9000, 9000, 4000).astype(np.int16)
    for name in clips.values():
        (folder / name).write_bytes(pcm.write(noise))
    return folder


def test_what_callers_hear_is_rendered_ahead_once(tmp_path: Path) -> None:
    fixed, points, total = said("audio", "render")
    assert fixed.startswith("fixed: ")
    assert "(sv " in fixed and ", en " in fixed
    assert points == "points: 0 sentences (none), 0 new, 0.0 minutes of sound"
    files = len(list((tmp_path / "audio").glob("*.wav")))
    assert f"{files} files" in total
    assert files > 100
    assert all(", 0 new, " in line for line in said("audio", "render")[:2])
    assert len(list((tmp_path / "audio").glob("*.wav"))) == files


def test_points_are_rendered_as_they_stand() -> None:
    said("init", "--demo")
    points = said("audio", "render")[1]
    assert int(points.split()[1]) > 50


def test_check_tells_what_a_manifest_lacks_by_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.split(":")[0] for line in said("audio", "check")] == ["sv", "en"]
    own = recorded(tmp_path / "own", {"open.head": "head.wav", "state.open_until": "until.wav"})
    monkeypatch.setenv("RECORDINGS_DIR", str(own))
    lines = said("audio", "check")
    assert lines[0].startswith("sv: 2 recordings, ")
    assert lines[-1].startswith("en: 0 recordings, ")
    assert "  - Den här trygghetspunkten öppnar om du ringer först:" in lines
    assert "  - Närmaste öppna trygghetspunkt är:" not in lines
    assert "  - Öppet till" not in lines


def test_check_tells_which_files_are_broken_and_which_sound_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recorded(
        tmp_path / "own", {"open.head": "head.wav", "state.open_until": "until.wav", "state.full": "full.wav"}
    )
    (own / "head.wav").write_bytes(pcm.write(np.zeros(0, np.int16)))
    (own / "until.wav").write_bytes(b"no sound")
    (own / "full.wav").unlink()
    monkeypatch.setenv("RECORDINGS_DIR", str(own))
    bad = [line for line in said("audio", "check", code=1) if line.startswith("BAD ")]
    assert "BAD sv.toml: full.wav: there is no such file" in bad
    assert "BAD head.wav: nothing is heard in it" in bad
    assert any(line.startswith("BAD until.wav: no WAV file") for line in bad)
    assert any("full.wav" in line for line in said("audio", "render", code=1))


def test_without_any_voice_it_is_told_what_nobody_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = said("audio", "check", code=1)
    assert lines[0].startswith("sv: 0 recordings, ")
    assert "no voice" in lines[0]
    assert not lines[0].endswith("mute: 0")
    assert any("Install espeak-ng" in line for line in said("audio", "render", code=1))

"""Speech as files: one file an answer, found again, never half, and safe whatever the text is. Needs espeak-ng."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from responder.core.flow import Flow
from responder.core.telling import Spoken
from responder.core.wording import Channel
from responder.gateways import pcm, recordings
from responder.gateways.elks import ElksGateway
from responder.gateways.elks_paths import Paths
from responder.gateways.espeak import Espeak, Mute
from responder.gateways.manifest import load_manifest
from responder.gateways.recordings import PAUSE, Recordings
from responder.gateways.shelf import KEEP, Shelf
from responder.settings import SettingsError
from tests.conftest import URL, Clock

ANSWER = (
    Spoken("Närmaste öppna trygghetspunkt är:", "sv"),
    Spoken("Hallen, Testgatan 36, ungefär 400 meter från 1 2 3 4 7.", "sv"),
    Spoken("Öppet till klockan 14.20.", "sv"),
    Spoken("För att höra igen, tryck 1.", "sv"),
)
MOST = 100_000_000


class Counting(Espeak):
    """espeak-ng, and what it was asked to say. `slow`: seconds that each sentence takes longer."""

    def __init__(self, name: str = "espeak-ng", slow: float = 0.0) -> None:
        super().__init__(name)
        self.said: list[str] = []
        self._slow = slow

    def say(self, text: str, voice: str, timeout: float) -> pcm.Samples:
        """As Espeak."""
        self.said.append(text)
        time.sleep(self._slow)
        return super().say(text, voice, timeout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audio"


pytestmark = pytest.mark.audio


def of(
    flow: Flow, folder: Path, espeak: Espeak | None = None, own: Path | None = None, key: bytes = b"k" * 32,
    clock: Clock | None = None, most: int = MOST, budget: float = 30.0,
) -> Recordings:  # fmt: skip
    """Recordings in `folder`. The budget is large: these tests run beside others."""
    manifests = {code: load_manifest(own, wording) for code, wording in flow.languages.items()} if own else {}
    shelf = Shelf(folder, most, clock or Clock())
    return Recordings(flow, URL, key, shelf, manifests, espeak or Counting(), folder / "clips", budget)


def heard(folder: Path, address: str) -> pcm.Samples:
    """The sound at `address`, which must be as telephones take it."""
    name = address.removeprefix(f"{URL}/audio/")
    assert len(name) == 44
    assert set(name[:40]) <= set("0123456789abcdef")
    with wave.open(str(folder / name)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert file.getnframes() == (Path(folder / name).stat().st_size - 44) // 2
    return pcm.read((folder / name).read_bytes())


def tone(path: Path, hertz: float, seconds: float = 0.5, rate: int = 8000) -> None:
    """A recording that can be told from all others by its pitch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavy = 12_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(wavy.astype("<i2").tobytes())


def pitch(sound: pcm.Samples) -> float:
    """The loudest frequency in it, hertz."""
    return float(np.abs(np.fft.rfft(sound)).argmax()) * pcm.RATE / sound.size


def manifest(folder: Path, language: str, **tables: dict[str, object]) -> Path:
    """A folder with a manifest; each file in it that is not there is half a second at 1,000 Hz."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for table, rows in tables.items():
        lines.append(f"[{table}]")
        for name, files in rows.items():
            lines.append(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(files)}")
            for file in files if isinstance(files, list) else [files]:
                if str(file).endswith(".wav") and not (folder / str(file)).exists():
                    tone(folder / str(file), 1000)
    (folder / f"{language}.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_an_answer_is_one_file_of_all_its_sentences_with_pauses_between_them(flow: Flow, folder: Path) -> None:
    made = of(flow, folder)
    whole = heard(folder, made.address(ANSWER))
    alone = [heard(folder, made.address((sentence,))) for sentence in ANSWER]
    assert whole.size == sum(sound.size for sound in alone) + 3 * round(PAUSE * 8000)
    assert (whole[: alone[0].size] == alone[0]).all()
    assert not pcm.silent(whole)


@pytest.mark.parametrize("language", ["sv", "en"])
def test_a_sentence_is_about_as_long_as_somebody_takes_to_say_it(flow: Flow, folder: Path, language: str) -> None:
    made = of(flow, folder)
    for key in ("open.head", "say.ask_place", "none.advice"):
        text = flow.languages[language].voice[key]
        seconds = pcm.seconds(heard(folder, made.address((Spoken(text, language),))))
        assert 0.04 * len(text) < seconds < 0.12 * len(text), text


def test_the_same_sentences_are_the_same_file_for_every_process(flow: Flow, folder: Path) -> None:
    first = of(flow, folder).address(ANSWER)
    again = Counting()
    assert of(flow, folder, again).address(ANSWER) == first
    assert again.said == []


def test_other_words_languages_orders_or_keys_are_other_files(flow: Flow, folder: Path) -> None:
    made = of(flow, folder)
    addresses = {
        made.address(ANSWER), made.address(ANSWER[::-1]), made.address(ANSWER[:1]),
        made.address((Spoken(ANSWER[0].text, "en"),)), of(flow, folder, key=b"o" * 32).address(ANSWER),
    }  # fmt: skip
    assert len(addresses) == 5


def test_an_answer_that_is_nothing_has_no_address(flow: Flow, folder: Path) -> None:
    assert of(flow, folder).address(()) == of(flow, folder).address((Spoken("", "sv"),)) == ""


def test_whoever_asks_for_the_same_at_once_has_it_rendered_once(flow: Flow, folder: Path) -> None:
    espeak = Counting(slow=0.2)
    made = of(flow, folder, espeak)
    addresses: list[str] = []
    threads = [threading.Thread(target=lambda: addresses.append(made.address(ANSWER))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(addresses) == 8
    assert len(set(addresses)) == 1
    assert sorted(espeak.said) == sorted(set(espeak.said))
    assert len(espeak.said) == len(ANSWER)


KILLED = """
import os, signal, sys
from pathlib import Path
from datetime import UTC, datetime
from responder.gateways.shelf import Shelf
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
Shelf(Path(sys.argv[1]), 10**9, lambda: datetime(2026, 11, 24, tzinfo=UTC)).put("f" * 40, b"half")
"""


def test_a_render_that_is_killed_leaves_no_half_file(flow: Flow, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list(folder.glob("*.wav"))
    [left] = folder.glob("*.part")
    os.utime(left, (0, 0))
    Shelf(folder, MOST, Clock()).sweep()
    assert not left.exists()


def test_a_disk_that_takes_nothing_leaves_no_half_file(
    flow: Flow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = of(flow, folder)
    made.check()
    before = {path.name for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert made.address(ANSWER).removeprefix(f"{URL}/audio/") in before  # please send a text
    assert {path.name for path in folder.iterdir()} == before


HOSTILE = [
    '<speak><audio src="http://evil.example/x.mp3"/><break time="3600s"/>hej</speak>',
    "<mark name='x'/>&lt;prosody rate='x-slow'&gt;hej",
    "--help", "-v en --stdout hej", "-f /etc/passwd", "@/etc/passwd",
    "$(touch {marker}) `touch {marker}`; touch {marker}", "hej\n--voices\nrad tre\r\n\r\n", "[[f'as.ta]] [[", "\x01\x02+50S\x01\x0f hej",
    "hej\x00hemligt", "\ud800\udfff hej", "\U0001f600 hej \u202e", "a" * 65_536, "hej " * 16_384, "9" * 65_536, "((((" * 1000 + " hej",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_only_text(flow: Flow, folder: Path, tmp_path: Path, text: str) -> None:
    marker = tmp_path / "marker"
    made = of(flow, folder, own=manifest(tmp_path / "own", "sv", said={"hej": "hej.wav", "1": "1.wav"}))
    sound = heard(folder, made.address((Spoken(text.replace("{marker}", str(marker)), "sv"),)))
    assert 0.2 < pcm.seconds(sound) < 1200
    assert not pcm.silent(sound)
    assert not marker.exists()


def test_a_sentence_that_looks_like_an_option_is_said(flow: Flow, folder: Path) -> None:
    made = of(flow, folder)
    assert (
        0.2
        < pcm.seconds(heard(folder, made.address((Spoken("--help", "en"),))))
        < pcm.seconds(heard(folder, made.address((Spoken("--help me with all of this", "en"),))))
        < 5
    )


def phonemes(text: str, voice: str) -> str:
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "-q", "-x", "-b", "1", "--stdin"],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return " ".join(done.stdout.decode().split()).replace("'", "").replace(",", "").replace("_!", "").replace("_:", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3 4 7", "1 2 3 4 7"),
        ("Öppet till klockan 14.20", "Öppet till klockan 14 20"),
        ("klockan 8.05", "klockan 8 0 5"),
        ("103,3", "103 komma 3"),
        ("1/2", "den första andra"),
        ("Ring 112", "Ring 1 1 2"),
        ("12347", "1 2 3 4 7"),
    ],
)
def test_numbers_and_times_are_said_as_swedes_say_them(flow: Flow, folder: Path, text: str, words: str) -> None:
    espeak = Counting()
    of(flow, folder, espeak).address((Spoken(text, "sv"),))
    assert phonemes(espeak.said[0], "sv") == " ".join(phonemes(word, "sv") for word in words.split())


def slow_program(tmp_path: Path) -> str:
    """A program that has the voices of espeak-ng, and speaks for a minute before anything is heard."""
    path = tmp_path / "slow-espeak"
    real = shutil.which("espeak-ng")
    path.write_text(f'#!/bin/sh\ncase "$1" in --v*) exec {real} "$1";; esac\nexec /bin/sleep 60\n')
    path.chmod(0o755)
    return str(path)


def test_what_cannot_be_spoken_in_time_is_left_out_and_the_caller_asked_for_a_text(
    flow: Flow, folder: Path, tmp_path: Path
) -> None:
    ready = of(flow, folder)
    ready.check()
    ready.address(ANSWER[:1])
    ready.address(ANSWER[3:])
    slow = Counting(slow_program(tmp_path))
    made = of(flow, folder, slow, budget=0.5)
    begun = time.monotonic()
    address = made.address(ANSWER)
    assert time.monotonic() - begun < 5
    plea = Spoken(flow.languages["sv"].voice["say.not_spoken"], "sv")
    assert address == ready.address((ANSWER[0], plea, ANSWER[3]))
    assert made.address(ANSWER) == address
    tried = len(slow.said)
    assert made.address(ANSWER) == address and len(slow.said) == tried  # nobody waits for either again
    assert address != ready.address(ANSWER)
    assert made.address(ANSWER) == ready.address(ANSWER)  # by then another process has made what was missing


def test_a_call_of_ours_for_which_nobody_waits_yet_is_recorded_whole_however_slow_that_is(
    flow: Flow, folder: Path
) -> None:
    """Else whoever is called hears that they should text, and counts as told."""
    slow = Counting(slow=0.3)
    made = of(flow, folder, slow, budget=0.1)
    assert made.address(ANSWER) != of(flow, folder).address(ANSWER)  # somebody waited, and it takes too long
    others = tuple(Spoken(f"{sentence.text} Gå inte dit.", "sv") for sentence in ANSWER)
    slow.said.clear()
    gateway = ElksGateway(Paths(URL, "s" * 32), "s" * 32, (), made)
    called = json.loads(gateway.call_document(others[:2], (), others[2:], "/46elks/called/1"))
    ready = of(flow, folder)
    assert (called["play"], called["next"]["ivr"]) == (ready.address(others[:2]), ready.address(others[2:]))
    assert len(slow.said) == len(others)


def test_a_slow_program_does_not_outlive_its_time(flow: Flow, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Mute, match="TimeoutExpired"):
        Espeak(slow_program(tmp_path)).say("hej", "sv", 0.3)
    left = subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "sleep"], capture_output=True, check=False)
    assert left.stdout == b""


def test_a_program_that_fails_says_nothing(tmp_path: Path) -> None:
    real = shutil.which("espeak-ng")
    for last in ("exit 1", "echo no sound"):
        path = tmp_path / "broken"
        path.write_text(f'#!/bin/sh\ncase "$1" in --v*) exec {real} "$1";; esac\ncat >/dev/null; {last}\n')
        path.chmod(0o755)
        with pytest.raises(Mute):
            Espeak(str(path)).say("hej", "sv", 5)


def test_where_nobody_can_speak_the_service_does_not_start(flow: Flow, folder: Path) -> None:
    with pytest.raises(SettingsError, match="Install espeak-ng, or name a recording of it in a manifest"):
        of(flow, folder, Espeak("no-such-program")).check()


def test_where_only_the_plea_is_recorded_every_answer_is_the_plea(flow: Flow, folder: Path, tmp_path: Path) -> None:
    own = manifest(tmp_path / "own", "sv", clips={"say.not_spoken": "plea.wav"})
    made = of(flow, folder, Espeak("no-such-program"), own)
    made.check()
    for sentences in (ANSWER, (Spoken("The nearest", "en"),)):
        sound = heard(folder, made.address(sentences))
        assert pcm.seconds(sound) == 0.5
        assert abs(pitch(sound) - 1000) < 10


def test_what_is_said_when_all_else_fails_is_there_from_the_start(flow: Flow, folder: Path) -> None:
    of(flow, folder).check()
    later = Counting()
    made = of(flow, folder, later)
    for language in flow.languages:
        for key in ("say.not_spoken", "say.unavailable", "say.busy", "say.busy_hold"):
            heard(folder, made.address((Spoken(flow.languages[language].template(key, Channel.VOICE), language),)))
    assert later.said == []


def test_a_folder_that_cannot_be_written_is_told_at_the_start(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="AUDIO_DIR"):
        of(flow, tmp_path / "file" / "audio").check()


def test_own_recordings_win_by_text_and_by_the_key_of_the_sentence(flow: Flow, folder: Path, tmp_path: Path) -> None:
    own = manifest(
        tmp_path / "own", "sv",
        clips={"open.head": "head.wav", "state.open_until": ["until.wav"]},
        said={"klockan": "clock.wav", "14": "14.wav", "20": "20.wav"},
    )  # fmt: skip
    espeak = Counting()
    made = of(flow, folder, espeak, own)
    sound = heard(folder, made.address((ANSWER[0], ANSWER[2])))
    assert espeak.said == []
    assert pcm.seconds(sound) == pytest.approx(5 * 0.5 + PAUSE)  # head; until, klockan, 14, 20
    assert abs(pitch(sound) - 1000) < 5


def test_what_is_not_recorded_is_spoken_between_the_recordings(flow: Flow, folder: Path, tmp_path: Path) -> None:
    own = manifest(tmp_path / "own", "sv", clips={"state.open_until": "until.wav"})
    espeak = Counting()
    sound = heard(folder, of(flow, folder, espeak, own).address((ANSWER[2],)))
    assert espeak.said == ["klockan 14 20."]
    assert abs(pitch(sound[:4000]) - 1000) < 5


def test_a_sentence_that_is_recorded_in_part_is_left_out_where_nobody_can_say_the_rest(
    flow: Flow, folder: Path, tmp_path: Path
) -> None:
    own = manifest(tmp_path / "own", "sv", clips={"state.open_until": "until.wav", "say.not_spoken": "plea.wav"})
    tone(own / "plea.wav", 500)
    sound = heard(folder, of(flow, folder, Espeak("no-such-program"), own).address((ANSWER[2],)))
    assert abs(pitch(sound) - 500) < 5


def test_a_recording_that_was_made_anew_is_another_file(flow: Flow, folder: Path, tmp_path: Path) -> None:
    own = manifest(tmp_path / "own", "sv", clips={"open.head": "head.wav"})
    first = of(flow, folder, own=own).address(ANSWER[:1])
    tone(own / "head.wav", 440)
    second = of(flow, folder, own=own).address(ANSWER[:1])
    assert first != second
    assert abs(pitch(heard(folder, second)) - 440) < 5


def test_a_clip_of_a_language_that_has_no_voice_is_played(flow: Flow, folder: Path) -> None:
    tone(folder / "clips" / "xx" / "welcome.wav", 700, rate=44_100)
    sound = heard(folder, of(flow, folder).address((Spoken("Soo dhawow", "sv", "xx/welcome.wav"),)))
    assert abs(pitch(sound) - 700) < 5
    outside = heard(folder, of(flow, folder).address((Spoken("hej", "sv", "../../x.wav"),)))
    assert not pcm.silent(outside)  # spoken, since there is no such clip


def test_a_language_that_espeak_lacks_is_read_by_the_voice_of_the_first(flow: Flow, folder: Path) -> None:
    made = of(flow, folder)
    assert made.plan(Spoken("hej", "xx")).pieces[0].voice == "sv"  # type: ignore[union-attr]
    assert made.voice("en") == "en-gb"


@pytest.mark.parametrize(
    ("locale", "voice"),
    [("sv-SE", "sv"), ("en-GB", "en-gb"), ("en-US", "en-us"), ("fi-FI", "fi"), ("ar-XA", "ar"), ("uk-UA", "uk"), ("pl-PL", "pl"),
     ("es-ES", "es"), ("fa-IR", "fa"), ("am-ET", "am"), ("nb-NO", "nb"), ("so-SO", ""), ("ti-ER", ""), ("--help", ""), ("", "")],
)  # fmt: skip
def test_a_locale_has_the_voice_of_its_language_or_none(locale: str, voice: str) -> None:
    assert Espeak().voice(locale) == voice


def test_the_oldest_go_first_and_nothing_goes_that_was_handed_out_within_the_hour(flow: Flow, folder: Path) -> None:
    clock = Clock()
    shelf = Shelf(folder, 10_000, clock)
    names = [f"{number:040x}" for number in range(10)]
    for name in names:
        shelf.put(name, b"x" * 2_000)
        clock.pass_time(minutes=1)
    assert shelf.sweep() == 0  # 20 kB, and all within the hour
    clock.pass_time(minutes=KEEP.total_seconds() / 60 - 6)
    assert shelf.has(names[0])  # handed out again
    shelf.sweep()
    left = {path.stem for path in folder.glob("*.wav")}
    assert left == {names[0], *names[4:]}
    clock.pass_time(hours=2)
    assert shelf.sweep() == 3
    assert shelf.size() == (4, 8_000)


def test_a_folder_that_is_too_large_is_swept_while_files_are_put(flow: Flow, folder: Path) -> None:
    clock = Clock()
    shelf = Shelf(folder, 100_000, clock)
    for number in range(200):
        shelf.put(f"{number:040x}", b"x" * 2_000)
        clock.pass_time(minutes=5)
    assert shelf.size()[1] < 200_000


def test_a_file_that_was_swept_away_is_made_again(flow: Flow, folder: Path) -> None:
    made = of(flow, folder)
    address = made.address(ANSWER)
    for path in folder.glob("*.wav"):
        path.unlink()
    assert made.address(ANSWER) == address
    assert not pcm.silent(heard(folder, address))


@pytest.mark.parametrize(
    ("rate", "channels", "width"), [(44_100, 2, 2), (48_000, 1, 3), (22_050, 1, 1), (8000, 2, 4), (16_000, 1, 2)]
)
def test_recordings_of_any_usual_kind_are_brought_to_8_khz(
    tmp_path: Path, rate: int, channels: int, width: int
) -> None:
    wavy = np.sin(2 * np.pi * 600 * np.arange(rate) / rate) * 0.5
    whole = (np.repeat(wavy[:, None], channels, axis=1).reshape(-1) * (2 ** (8 * width - 1) - 1)).astype("<i4")
    if width == 1:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    sound = pcm.read(path.read_bytes())
    assert abs(pcm.seconds(sound) - 1) < 0.001
    assert abs(pitch(sound) - 600) < 5
    assert 14_000 < np.abs(sound[800:-800]).max() < 18_000


def test_what_is_above_4_khz_does_not_fold_back(tmp_path: Path) -> None:
    tone(tmp_path / "x.wav", 6500, rate=44_100)
    assert pcm.silent(pcm.read((tmp_path / "x.wav").read_bytes())[800:-800])


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"ID3" + b"x" * 1000, b"RIFF" + b"\xff" * 200]
)
def test_what_is_no_sound_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(pcm.NoSound):
        pcm.read(data)


def test_every_fault_of_a_manifest_is_named_at_the_start(flow: Flow, folder: Path, tmp_path: Path) -> None:
    own = manifest(
        tmp_path / "own", "sv",
        clips={"say.nothing": "a.wav", "state.open_until": ["a.wav", "b.wav"], "open.head": "gone/../../x.wav", "say.thanks": "x.mp3"},
        said={"...": "a.wav"},
    )  # fmt: skip
    (tmp_path / "x.wav").unlink(missing_ok=True)
    with pytest.raises(SettingsError) as told:
        of(flow, folder, own=own).check()
    for fault in (
        "say.nothing: there is no such sentence", "state.open_until: 2 files, and 1 stretches", "x.wav: not in this folder",
        "x.mp3: not WAV", "nothing is said",
    ):  # fmt: skip
        assert fault in str(told.value)


def test_a_manifest_that_is_no_toml_is_named(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "sv.toml").write_text("clips =")
    [fault] = load_manifest(tmp_path, flow.languages["sv"]).faults
    assert fault.startswith("sv.toml: ")


def test_files_in_which_nothing_is_heard_are_named(flow: Flow, tmp_path: Path) -> None:
    own = manifest(tmp_path / "own", "sv", said={"ett": "1.wav", "två": "2.wav", "tre": "3.wav", "fyra": "4.wav"})
    tone(own / "2.wav", 500, seconds=0)
    (own / "3.wav").write_bytes(b"no sound")
    (own / "4.wav").write_bytes(pcm.write(np.zeros(8000, np.int16)))
    faults = load_manifest(own, flow.languages["sv"]).unheard()
    assert [fault.split(":")[0] for fault in faults] == ["2.wav", "3.wav", "4.wav"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Storgatan 5", ["Storgatan 5"]),  # one recorded word is not worth a change of voice
        ("1 2 3 4 7", ["1", "2", "3", "4", "7"]),
        ("Gå inte dit nu", ["gå inte dit", "nu"]),  # the longest recording, not gå and inte
        ("GÅ INTE DIT!", ["gå inte dit"]),
        ("15", ["15"]),  # not 1 and 5
        ("Gå inte dit förrän klockan 5", ["gå inte dit", "förrän klockan 5"]),
    ],
)
def test_a_sentence_is_put_together_of_the_longest_recordings(
    flow: Flow, tmp_path: Path, text: str, said: list[str]
) -> None:
    recorded = ["1", "2", "3", "4", "5", "7", "gå", "inte", "gå inte dit"]
    own = manifest(tmp_path / "own", "sv", said={words: f"{words}.wav" for words in recorded})
    parts = load_manifest(own, flow.languages["sv"]).cover(text)
    assert [part if isinstance(part, str) else part.path.stem for part in parts] == said


def test_the_settings_name_all_of_it(flow: Flow, tmp_path: Path) -> None:
    from tests.test_settings import settings

    own = manifest(tmp_path / "own", "sv", clips={"open.head": "head.wav"})
    given = settings(
        database_url=f"sqlite:///{tmp_path}/x.db", public_url=URL, recordings_dir=str(own), secret_key="s" * 40
    )
    made = recordings.recordings(given, flow, Clock())
    made.check()
    address = made.address(ANSWER[:1])
    assert abs(pitch(heard(tmp_path / "audio", address)) - 1000) < 5
    files = made.size[0]
    made.check()
    assert made.size[0] == files
    elsewhere = settings(audio_dir=str(tmp_path / "there"), public_url=URL)
    assert heard(tmp_path / "there", recordings.recordings(elsewhere, flow, Clock()).address(ANSWER)).size


def test_time_that_is_over_is_no_time(flow: Flow) -> None:
    with pytest.raises(Mute, match="no time"):
        Espeak().say("hej", "sv", timedelta(0).total_seconds())

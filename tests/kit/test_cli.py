"""`responder kit` and `responder merge`, as somebody types them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from responder.cli import main
from responder.core.points import Status
from responder.settings import Settings
from tests.kit.world import PASSPHRASE, Pair

Run = Callable[..., Result]
UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


@pytest.fixture
def run(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `responder ...` on the server, with the passphrase in KIT_PASSPHRASE unless another is typed."""
    monkeypatch.chdir(pair.folder)
    monkeypatch.setenv("DATABASE_URL", pair.server.url)

    def running(*words: str, code: int = 0, typed: str = "") -> Result:
        env = {"KIT_PASSPHRASE": "" if typed else PASSPHRASE}
        result = CliRunner().invoke(main, list(words), input=typed or None, env=env)
        assert result.exit_code == code, result.output
        return result

    return running


def test_a_kit_is_made_shown_and_named_by_the_time(run: Run, pair: Pair) -> None:
    assert re.search(r"a\.kit: kit \d{6}-[0-9a-f]{6}, \d+ bytes, \d+ rows", run("kit", "make", "a.kit").output)
    assert "points\t4" in run("kit", "show", "a.kit").output
    run("kit", "make", "--folder", "kits", "--keep", "7")
    [made] = (pair.folder / "kits").iterdir()
    assert re.fullmatch(r"responder-\d{8}T\d{6}Z\.kit", made.name)
    assert "name a FILE" in run("kit", "make", code=2).output


def test_the_passphrase_is_typed_twice_and_never_shown(run: Run) -> None:
    said = run("kit", "make", "a.kit", typed=f"{PASSPHRASE}\n{PASSPHRASE}\n").output
    assert PASSPHRASE not in said
    assert "do not match" in run("kit", "make", "b.kit", typed=f"{PASSPHRASE}\nanother\n", code=1).output
    assert run("kit", "show", "a.kit", typed="wrong\n", code=1).output.endswith("the passphrase is wrong\n")


def test_a_merge_lists_does_and_ends_with_3_if_something_is_to_be_decided(run: Run, pair: Pair) -> None:
    laptop = pair.laptop()
    pair.packed(laptop)
    assert "lines of the audit log\t1" in run("merge", "home.kit").output
    laptop.set("near", Status.FULL)
    pair.server.set("near", Status.CLOSED)
    pair.packed(laptop)
    dry = run("merge", "home.kit", code=3).output
    assert "DECIDE points: near (Hallen near)\n  here (stays): closed\n  laptop:       full\n" in dry
    assert (
        "nothing was changed; 1 to decide" in dry
        and "merged; 1 to decide" in run("merge", "home.kit", "--apply", code=3).output
    )
    assert "nothing to do" in run("merge", "home.kit", "--apply").output


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0 and nothing more"])
def test_what_is_neither_a_return_nor_a_database_is_refused_in_a_sentence(run: Run, pair: Pair, content: bytes) -> None:
    (pair.folder / "x").write_bytes(content)
    said = run("merge", "x", code=1).output
    assert said.startswith("Error: x") and said.count("\n") == 1


def test_the_timer_makes_kits_and_keeps_none_longer_than_numbers_may_be_kept() -> None:
    service = (UNITS / "responder-kit.service").read_text(encoding="utf-8")
    days = int(re.search(r"--keep (\d+)$", service, re.MULTILINE)[1])  # type: ignore[index]
    assert days <= Settings.model_fields["retain_days"].default
    assert "EnvironmentFile=/etc/trygghetssvar/kit.env" in service
    assert "OnCalendar=*-*-* 05:30:00" in (UNITS / "responder-kit.timer").read_text(encoding="utf-8")

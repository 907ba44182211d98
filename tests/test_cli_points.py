"""Points on the command line: confirmed and noted as on the pages, by the same actions."""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from responder.cli import main
from responder.core.points import Point
from responder.store import exercises
from responder.store.engine import Database
from responder.store.queries import read_points
from tests import engines


@pytest.fixture
def run(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Runs `responder ...` in a folder of its own, on a database with demo points."""
    monkeypatch.delenv("RESPONDER_TOKEN", raising=False)
    engines.settle(tmp_path, prepared, monkeypatch)
    CliRunner().invoke(main, ["init", "--demo"])

    def running(*words: str, fails: bool = False) -> Result:
        result = CliRunner().invoke(main, list(words))
        assert (result.exit_code != 0) is fails, result.output
        return result

    return running  # type: ignore[return-value]


def point(id: str = "demo-farsta") -> Point:
    with Database(engines.url(Path("var/responder.db"))).read() as connection:
        return {point.id: point for point, _ in read_points(connection)}[id]


def test_the_list_tells_times_as_the_clock_on_the_wall_has_them(run) -> None:  # type: ignore[no-untyped-def]
    local = point().confirmed_at.astimezone(ZoneInfo("Europe/Stockholm"))
    assert f"confirmed {local:%Y-%m-%d %H:%M}\tv1" in run("points").output


def test_a_point_is_confirmed_as_still_open(run) -> None:  # type: ignore[no-untyped-def]
    before = point()
    assert run("point", "confirm", "demo-farsta").output == "demo-farsta (DEMO Exempelhallen): open, confirmed\n"
    assert point().confirmed_at > before.confirmed_at
    assert "changed meanwhile" in run("point", "confirm", "demo-farsta", "--seen", "1", fails=True).output
    run("point", "set", "demo-farsta", "--status", "closed")
    assert "cannot be still open" in run("point", "confirm", "demo-farsta", fails=True).output


def test_visitors_and_supplies_are_noted_and_confirm_nothing(run) -> None:  # type: ignore[no-untyped-def]
    before = point()
    run("point", "note", "demo-farsta", "--visitors", "45", "--supplies", "Filtar slut")
    assert (point().visitors, point().supplies, point().confirmed_at) == (45, "Filtar slut", before.confirmed_at)
    run("point", "note", "demo-farsta", "--visitors", "")
    assert (point().visitors, point().supplies) == (None, "Filtar slut")
    assert "no number of people" in run("point", "note", "demo-farsta", "--visitors", "x", fails=True).output


def test_a_change_may_say_which_services_there_are(run) -> None:  # type: ignore[no-untyped-def]
    given = ("--service", "water", "--service", "beds", "--capacity", "80")
    run("point", "set", "demo-farsta", "--status", "open", *given)
    assert (point().services, point().capacity) == (("water", "beds"), 80)
    run("point", "set", "demo-farsta", "--status", "full")
    assert (point().services, point().capacity) == (("water", "beds"), 80)


def test_in_an_exercise_the_command_line_too_changes_only_the_exercise(run) -> None:  # type: ignore[no-untyped-def]
    before = point()
    with Database(engines.url(Path("var/responder.db"))).write() as connection:
        exercises.begin(connection, "Stormen", "anna", 1.0)
    assert run("point", "set", "demo-farsta", "--status", "closed").output.endswith("told as closed\n")
    run("point", "note", "demo-farsta", "--visitors", "3")
    assert point() == before

"""Exercises on the command line: the same rules as in the console."""

import re

from sqlalchemy import text

from responder.core.points import Status
from responder.store.engine import Database
from responder.store.queries import add_audit, save_points
from tests.conftest import NOW, a_point
from tests.test_cli_broadcasts import Run, added
from tests.test_cli_broadcasts import database as database
from tests.test_cli_broadcasts import run as run


def test_one_is_begun_with_a_token_listed_and_ended_from_a_bare_shell(run: Run) -> None:
    anna = added(run, "anna", "admin")
    assert "no exercises; `responder exercise begin NAME` begins one" in run("exercise", "list")
    assert "shell:root" in run("exercise", "begin", "Höstövning", fails=True)
    assert "EXERCISE Höstövning goes on" in run("exercise", "begin", "Höstövning", token=anna)
    assert "goes on already" in run("exercise", "begin", "En till", token=anna, fails=True)
    assert run("exercise", "list") == "1\tHöstövning\tbegun by anna\tGOES ON\n"
    assert run("exercise", "end") == "exercise Höstövning is over; broadcasts stopped: none\n"
    assert "this exercise is over" in run("exercise", "end", fails=True)
    assert run("exercise", "list") == "1\tHöstövning\tbegun by anna\tended by shell:root\n"


def test_the_command_line_too_sends_nothing_real_while_one_goes_on(run: Run) -> None:
    anna = added(run, "anna", "admin")
    run("broadcast", "draft", "--to", "everyone", "--text", "sv=Hej", "--fallback", "sv")
    run("exercise", "begin", "Höstövning", token=anna)
    refused = run("broadcast", "submit", "2", "--danger-to-life", "Gasläcka i Farsta", fails=True)
    assert "the exercise Höstövning goes on, and broadcast 2 is real" in refused
    run("exercise", "end")
    run("broadcast", "draft", "--to", "everyone", "--exercise")
    assert "broadcast 3 is an exercise, and none goes on" in run("broadcast", "submit", "3", fails=True)


def test_the_list_of_points_shows_the_version_that_a_change_in_the_exercise_must_name(
    run: Run, database: Database
) -> None:
    with database.write() as connection:
        save_points(connection, [a_point(status=Status.PLANNED)], {}, NOW)
        add_audit(connection, NOW, "import", "import", None, a_point())
        connection.execute(text("UPDATE audit SET run = 1"))
    anna = added(run, "anna", "admin")
    real = re.search(r"\tv([0-9]+)\t", run("points"))
    run("exercise", "begin", "Höstövning", token=anna)
    listed = run("points")
    played = re.search(r"\tv([0-9]+)\t", listed)
    assert real and played and "the exercise Höstövning goes on" in listed
    assert "an exercise has begun or ended" in run(
        "point", "set", "p1", "--status", "open", "--seen", real[1], token=anna, fails=True
    )
    run("point", "set", "p1", "--status", "open", "--seen", played[1], token=anna)
    assert "p1\topen\topen" in run("points")
    run("exercise", "end")
    assert "p1\tplanned\tplanned" in run("points")

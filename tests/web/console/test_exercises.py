"""Exercises in the console: begun loudly, ended by whoever may send, and seen by everybody."""

from html import unescape

import pytest

from responder.actions import exercise
from responder.core.access import Operator, Role
from responder.core.points import Status
from tests.conftest import NOW, a_point
from tests.web.console.conftest import Browser, Console

ANNA = Operator("anna", Role.APPROVER, signed_in=True)


@pytest.fixture
def anna(console: Console) -> Browser:
    """An approver."""
    console.running.put(a_point("near", status=Status.CLOSED))
    return english(console.browser(Role.APPROVER, "anna"))


def english(browser: Browser) -> Browser:
    browser.post("/console/language", language="en")
    return browser


def going(console: Console) -> str:
    found = exercise.current(console.service.database, ANNA)
    return found.name if found else ""


def test_one_is_begun_by_name_and_every_page_says_so_to_everybody(console: Console, anna: Browser) -> None:
    page = anna.page("/console/exercises")
    assert "No exercise goes on." in page and "Nothing real can be sent until somebody ends it." in page
    anna.post("/console/exercises/begin", name="Strömavbrott <b>hösten")
    assert going(console) == "Strömavbrott <b>hösten"
    viewer = english(console.browser(Role.VIEWER, "vera"))
    for browser in (anna, viewer):
        for path in ("/console/exercises", "/console/broadcasts", "/console/points"):
            page = browser.page(path)
            assert 'class="banner exercise"' in page and "Strömavbrott &lt;b&gt;hösten" in page, path
    for path in ("/console/sign-in", "/console/accessibility", "/simulator"):
        page = console.guest().page(path)
        assert 'class="banner exercise"' in page and "Strömavbrott &lt;b&gt;hösten" in page, path


@pytest.mark.parametrize(("name", "beside"), [("ab", True), ("", True), ("x" * 61, True), ("Höstövning", False)])
def test_what_keeps_it_from_beginning_is_said_and_the_name_is_kept(
    console: Console, anna: Browser, name: str, beside: bool
) -> None:
    if not beside:
        console.running.put(a_point("near"))
    answer = anna.post("/console/exercises/begin", name=name)
    html = unescape(answer.get_data(as_text=True))
    assert answer.status_code == 422 and f'value="{name}"' in html and going(console) == ""
    if beside:
        assert 'href="#name"' in html and "give it one of 3 to 60" in html
    else:
        assert "activated points: Hallen near" in html


def test_who_may_not_begin_one_is_not_asked_and_who_may_send_ends_it(console: Console, anna: Browser) -> None:
    carl = english(console.browser(Role.COMMUNICATOR, "carl"))
    assert "An approver or an admin can begin one." in carl.page("/console/exercises")
    assert carl.post("/console/exercises/begin", name="Höstövning").status_code == 403
    anna.post("/console/exercises/begin", name="Höstövning")
    begun = exercise.current(console.service.database, ANNA)
    assert begun is not None and "End the exercise Höstövning" in carl.page("/console/exercises")
    answer = carl.post("/console/exercises/end", True, id=str(begun.id))
    assert "The exercise Höstövning is over. Broadcasts stopped with it: 0." in answer.get_data(as_text=True)
    assert going(console) == ""
    page = carl.page("/console/exercises")
    assert "Past exercises" in page and "Höstövning" in page and 'class="banner exercise"' not in page


def test_a_page_that_is_old_ends_no_other_exercise_than_the_one_it_shows(console: Console, anna: Browser) -> None:
    first = exercise.begin(console.service.database, ANNA, "Första", NOW)
    exercise.end(console.service.database, ANNA, NOW)
    exercise.begin(console.service.database, ANNA, "Andra", NOW)
    assert anna.post("/console/exercises/end", id=str(first.id)).status_code == 409
    assert going(console) == "Andra"


def test_a_viewer_is_told_whom_to_ask(console: Console, anna: Browser) -> None:
    exercise.begin(console.service.database, ANNA, "Höstövning", NOW)
    viewer = english(console.browser(Role.VIEWER, "vera"))
    page = viewer.page("/console/exercises")
    assert "End the exercise" not in page and "Ask a communicator or an approver." in page
    assert viewer.post("/console/exercises/end").status_code == 403

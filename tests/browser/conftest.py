"""One browser for all, a server for those who look and one for those who change things; every request is noted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.axe import Found, table
from tests.browser.bed import ARGUMENTS, CHROMIUM, MISSING, Bed, running
from tests.browser.visits import Watch, opened

WATCH, FOUND = Watch(), list[Found]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; without it the tests fail, they are not left out."""
    if not CHROMIUM.exists():
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A server with one of everything, to look at."""
    with running(tmp_path_factory.mktemp("museum"), filled=True, approve_above=1) as bed:
        yield bed


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A server with demo points, to do things with."""
    with running(tmp_path_factory.mktemp("town")) as bed:
        yield bed


@pytest.fixture(autouse=True)
def nothing_leaves() -> Iterator[None]:
    """No page asks another host for anything, nor breaks, nor does what our own policy forbids."""
    WATCH.errors.clear()
    yield
    assert not WATCH.foreign, WATCH.foreign
    assert not WATCH.errors, WATCH.errors


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of a server in a context of its own."""
    made: list[Page] = []

    def opening(bed: Bed, width: int = 1280, height: int = 900, touch: bool = False) -> Page:
        made.append(opened(browser, bed, WATCH, width, height, touch))
        return made[-1]

    yield opening
    for page in made:
        page.context.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was looked at, in figures."""
    if FOUND:
        terminalreporter.section("accessibility")
        for line in table(FOUND):
            terminalreporter.write_line(line)
        for line in sorted({line for one in FOUND for line in one.best}):
            terminalreporter.write_line(f"best practice: {line}")
        wcag, best = (sum(len(getattr(one, kind)) for one in FOUND) for kind in ("wcag", "best"))
        terminalreporter.write_line(f"{len(FOUND)} looks: {wcag} against WCAG A and AA, {best} against best practice")
    if WATCH.requests:
        terminalreporter.write_line(f"requests to other hosts: {len(WATCH.foreign)} of {WATCH.requests}")

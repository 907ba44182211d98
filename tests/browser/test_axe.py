"""Every page of the console and the simulator, wide and narrow: no violation of WCAG 2.1 AA, nothing wider than the screen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from responder.app import create_app
from responder.core.access import Role
from tests.browser.axe import Found, sideways, violations
from tests.browser.bed import Bed, running
from tests.browser.conftest import FOUND
from tests.browser.visits import pages, sign_in

Open = Callable[..., Page]
WIDTHS = (1280, 320)
IN_EXERCISE = (
    "/console/overview", "/console/points", "/console/points/demo-farsta", "/console/broadcasts",
    "/console/broadcasts/new", "/console/exercises", "/console/shift",
)  # fmt: skip


@pytest.fixture(scope="module")
def app(museum: Bed) -> Flask:
    """The routes, as the server has them."""
    return create_app(museum.service.settings)


@pytest.fixture
def signed_in(museum: Bed, open_page: Open) -> Page:
    """A page of somebody who may see everything."""
    page = open_page(museum)
    sign_in(page, museum, museum.person(Role.ADMIN))
    return page


def look(page: Page, name: str, width: int) -> Found:
    """Axe, and whether the page scrolls sideways."""
    found = violations(page, name, width)
    found.wide = sideways(page)
    FOUND.append(found)
    return found


def told(found: list[Found]) -> str:
    """What is wrong, a line each."""
    return "\n".join(
        f"{one.page} at {one.width}: {line}"
        for one in found
        for line in [*one.wcag, *(f"sideways: {w}" for w in one.wide)]
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_a_violation(museum: Bed, app: Flask, signed_in: Page, width: int) -> None:
    shown, wrong = pages(signed_in.context, app, museum.samples)
    assert len(shown) > 10
    signed_in.set_viewport_size({"width": width, "height": 900})
    found = []
    for address in shown:
        signed_in.goto(address)
        found.append(look(signed_in, address, width))
    assert not (wrong or told(found)), "\n".join(["", *wrong, told(found)])


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_for_those_outside_has_a_violation(museum: Bed, app: Flask, open_page: Open, width: int) -> None:
    page = open_page(museum, width)
    shown, wrong = pages(page.context, app, museum.samples, signed_out=True)
    found = []
    for address in shown:
        page.goto(address)
        found.append(look(page, f"{address} (signed out)", width))
    assert not (wrong or told(found)), "\n".join(["", *wrong, told(found)])


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_that_say_no_have_no_violation(museum: Bed, open_page: Open, width: int) -> None:
    page, found = open_page(museum, width), []
    page.goto("/console/sign-in")
    page.locator("main form button").click()
    page.locator("#errors").wait_for()
    found.append(look(page, "sign-in, not filled in", width))
    person = museum.person(Role.APPROVER)
    sign_in(page, museum, person)
    page.goto("/console/no-such-page")
    found.append(look(page, "no such page", width))
    page.goto("/console/operators")
    found.append(look(page, "not allowed", width))
    museum.grow_stale(person)
    page.goto("/console/prove")
    page.locator("#proof").wait_for()
    found.append(look(page, "is it still you", width))
    assert not told(found), "\n" + told(found)


def test_a_phone_in_use_has_no_violation(museum: Bed, open_page: Open) -> None:
    for width in WIDTHS:
        page = open_page(museum, width)
        page.goto("/simulator")
        phone = page.locator(".phone").first
        phone.locator("textarea").fill("12347")
        phone.locator(".send").click()
        phone.locator(".theirs").first.wait_for()
        phone.locator("button.call").click()
        phone.locator(".keypad button").first.wait_for()
        phone.locator("summary").click()
        found = look(page, "/simulator, on a call", width)
        assert not told([found]), "\n" + told([found])


def test_no_page_has_a_violation_while_an_exercise_goes_on(tmp_path: Path, open_page: Open) -> None:
    with running(tmp_path, filled=True, approve_above=1) as bed:
        bed.begin_exercise()
        page, found = open_page(bed), []
        sign_in(page, bed, bed.person(Role.ADMIN))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for address in IN_EXERCISE:
                page.goto(address)
                expect(page.locator(".banner.exercise")).to_be_visible()
                found.append(look(page, f"{address} (exercise)", width))
        assert not told(found), "\n" + told(found)


def test_at_twice_the_size_of_text_no_page_scrolls_sideways(museum: Bed, app: Flask, signed_in: Page) -> None:
    shown, _ = pages(signed_in.context, app, museum.samples)
    signed_in.set_viewport_size({"width": 640, "height": 900})
    wrong = []
    for address in shown:
        signed_in.goto(address)
        signed_in.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
        wrong += [f"{address}: {line}" for line in sideways(signed_in)]
    assert not wrong, "\n" + "\n".join(wrong)

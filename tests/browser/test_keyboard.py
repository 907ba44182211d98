"""What a mouse can do, keys can: Tab comes to everything that can be used, and shows where it is."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from responder.core.access import Role
from tests.browser.bed import Bed
from tests.browser.visits import sign_in

PAGES = (
    "/console/sign-in", "/console/overview", "/console/points/demo-farsta/change", "/console/broadcasts/new", "/simulator",
)  # fmt: skip
MARK = """() => {
  const wanted = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  const radios = new Set();
  let n = 0;
  for (const e of document.querySelectorAll(wanted)) {
    if (e.disabled || !e.checkVisibility({visibilityProperty: true}) || e.tabIndex < 0) continue;
    if (e.type === 'radio') { if (radios.has(e.name)) { continue; } radios.add(e.name); }
    e.dataset.mark = e.type === 'radio' ? `radio ${e.name}` : String(n);
    n += 1;
  }
  return [...new Set([...document.querySelectorAll('[data-mark]')].map(e => e.dataset.mark))];
}"""
HERE = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const mark = e.type === 'radio' ? `radio ${e.name}` : e.dataset.mark;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const seen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== 'none';
  return {mark: mark ?? '', seen: seen && box.width > 0 && box.height > 0 && box.right > 0, html: e.outerHTML.slice(0, 120)};
}"""


@pytest.mark.parametrize("address", PAGES)
def test_tab_comes_to_everything_and_shows_where_it_is(
    museum: Bed, open_page: Callable[..., Page], address: str
) -> None:
    page = open_page(museum)
    if address not in ("/console/sign-in", "/simulator"):
        sign_in(page, museum, museum.person(Role.APPROVER))
    answer = page.goto(address)
    assert answer is not None and answer.ok, (address, answer)
    left, unseen = set(page.evaluate(MARK)), []
    assert len(left) > 3
    most = 3 * len(left) + 20
    for _ in range(most):
        page.keyboard.press("Tab")
        here = page.evaluate(HERE)
        if here is None:
            continue
        if not here["seen"]:
            unseen.append(here["html"])
        left.discard(here["mark"])
        if not left:
            break
    html = [page.locator(f'[data-mark="{mark}"]').first.evaluate("e => e.outerHTML.slice(0, 120)") for mark in left]
    assert not html, "\n".join(["Tab does not come to:", *html])
    assert not unseen, "\n".join(["no sign of the focus at:", *dict.fromkeys(unseen)])


def test_the_first_tab_leads_past_the_menu(museum: Bed, open_page: Callable[..., Page]) -> None:
    page = open_page(museum)
    sign_in(page, museum, museum.person(Role.VIEWER))
    page.goto("/console/overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_who_fills_in_a_form_wrongly_is_led_to_what_is_wrong(museum: Bed, open_page: Callable[..., Page]) -> None:
    page = open_page(museum)
    page.goto("/console/sign-in")
    page.locator("main form button").focus()
    page.keyboard.press("Enter")
    page.locator("#errors").wait_for()
    assert page.evaluate("document.activeElement.id") == "errors"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("anna")
    assert page.locator("#name").input_value() == "anna"

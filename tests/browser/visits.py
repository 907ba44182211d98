"""Which pages there are, and how somebody comes to them."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect
from werkzeug.exceptions import HTTPException

from responder.web.access import Access, Rule
from responder.web.console.language import messages
from tests.browser.bed import PASSWORD, Bed, Person

# What the samples of `bed` are for, by where an address stands. Others are found by following the links of pages.
KINDS = {
    "/console/points/": "point", "/console/broadcasts/": "broadcast", "/console/operators/": "operator",
    "/console/invitation/": "token", "/console/readiness/point/": "proposed",
}  # fmt: skip
PARAMETER = re.compile(r"<(?:[^:>]+:)?(\w+)>")
HREF = re.compile(r'(?:href|src)="(/[^"]*)"')
MOST = 3  # pages of one kind that are found by links


@dataclass
class Watch:
    """Notes every request of the pages: to the server, and to anybody else."""

    host: str = ""
    requests: int = 0
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def context(self, context: BrowserContext) -> None:
        """Watch all pages of a context."""
        context.on("request", self.request)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", lambda said: self.errors.append(said.text) if "Content Security" in said.text else None)

    def request(self, request: Request) -> None:
        """A request of a page."""
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss"):
            self.requests += 1
            if parts.netloc != self.host:
                self.foreign.append(request.url)


def opened(browser: Browser, bed: Bed, watch: Watch, width: int = 1280, height: int = 900, touch: bool = False) -> Page:
    """A page in a context of its own; `touch`: of a phone."""
    watch.host = urlsplit(bed.url).netloc
    context = browser.new_context(
        base_url=bed.url, viewport={"width": width, "height": height}, locale="sv-SE", has_touch=touch, is_mobile=touch
    )
    context.set_default_timeout(15_000)
    watch.context(context)
    return context.new_page()


def sign_in(page: Page, bed: Bed, person: Person) -> None:
    """Through the door, as everybody comes in."""
    page.goto("/console/sign-in")
    page.locator("#name").fill(person.name)
    page.locator("#password").fill(PASSWORD)
    if person.secret:
        page.locator("#code").fill(bed.code(person))
    page.locator("main form button").click()
    page.wait_for_url("**/console/overview")


def says(page: Page, text: str, phone: int = 0) -> str:
    """Text something from a phone of the simulator; the reply."""
    box = page.locator(".phone").nth(phone)
    before = box.locator(".theirs").count()
    box.locator(".texting textarea").fill(text)
    box.locator(".texting .send").click()
    expect(box.locator(".theirs")).to_have_count(before + 1)
    return box.locator(".theirs").last.inner_text()


def change_point(page: Page, point: str, status: str) -> None:
    """In two steps, as everybody does: say what it is, read what that does."""
    page.goto(f"/console/points/{point}")
    page.locator(f'button[name=become][value="{status}"]').click()
    page.locator('main form[action$="/save"] button').first.click()
    page.wait_for_url(f"**/console/points/{point}")


def prove(page: Page, bed: Bed, person: Person) -> None:
    """Answer the page that asks who one is."""
    page.locator("#proof").fill(bed.code(person))
    page.locator("main form button").click()


def eventually(find: Callable[[], Any], seconds: float = 20) -> Any:
    """What `find` finds, once it finds something."""
    for _ in range(int(seconds * 10)):
        if found := find():
            return found
        time.sleep(0.1)
    pytest.fail("it never came to be so")


def sv(text: str) -> str:
    """An English text of the console as Swedish pages say it, whatever the Swedish is by now."""
    found = messages("sv")[text]
    return found if isinstance(found, str) else found[-1]


NOWHERE = "console.nowhere"  # every address that is no page; test_axe.py looks at one


def rules(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    """(endpoint, pattern, rule) of every page of the console and the simulator that can be looked at."""
    for route in sorted(app.url_map.iter_rules(), key=str):
        rule: Rule = app.view_functions[route.endpoint].access  # type: ignore[attr-defined]
        ours = route.endpoint.startswith(("console.", "simulator.")) and not route.endpoint.endswith(".static")
        if ours and "GET" in (route.methods or ()) and not rule.polls and route.endpoint != NOWHERE:
            yield route.endpoint, str(route), rule


def pages(
    context: BrowserContext, app: Flask, samples: dict[str, list[str]], signed_out: bool = False
) -> tuple[list[str], list[str]]:
    """(addresses of all pages to look at, what is wrong with others). What is fetched as a file is left out.

    A page with a parameter is found by its sample or by a link on another page; one that is not is wrong too.
    """
    found: dict[str, list[str]] = {}
    for endpoint, pattern, rule in rules(app):
        if not signed_out or rule.who in (Access.PUBLIC, Access.DEMO):
            found[endpoint] = _samples(pattern, samples)
    shown: list[str] = []
    wrong: list[str] = []
    seen: set[str] = set()
    while waiting := [one for many in found.values() for one in many if one not in seen]:
        for address in waiting:
            seen.add(address)
            answer = context.request.get(address, max_redirects=0)
            if answer.status >= 400 and answer.status != 409:  # a page too: it says why that cannot be done now
                wrong.append(f"{address}: {answer.status}")
            elif answer.status in (200, 409) and answer.headers.get("content-type", "").startswith("text/html"):
                shown.append(address)
                for link in HREF.findall(answer.text()):
                    _take(app, found, link.replace("&amp;", "&"))
    wrong += [
        f"{endpoint}: no link leads there, and tests/browser/bed.py has no sample"
        for endpoint, many in found.items()
        if not many
    ]
    return shown, wrong


def _take(app: Flask, found: dict[str, list[str]], link: str) -> None:
    """Remember where a link leads if that is a page with a parameter of which few are known."""
    path = link.partition("?")[0].partition("#")[0]
    try:
        endpoint, values = app.url_map.bind("", "/").match(path)
    except HTTPException:
        return
    if values and endpoint in found and path not in found[endpoint] and len(found[endpoint]) < MOST:
        found[endpoint].append(path)


def _samples(pattern: str, samples: dict[str, list[str]]) -> list[str]:
    names = PARAMETER.findall(pattern)
    if not names:
        return [pattern]
    kind = next((kind for start, kind in KINDS.items() if pattern.startswith(start)), "")
    return [PARAMETER.sub(id, pattern) for id in samples.get(kind, ())] if len(names) == 1 else []

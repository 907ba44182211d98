"""axe in a page: what it finds against WCAG 2.0 and 2.1, A and AA; and what it calls best practice, apart."""

from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
BEST = "best-practice"


@dataclass
class Found:
    """What is wrong with a page: against WCAG, and against best practice. A line each."""

    page: str
    width: int
    wcag: list[str] = field(default_factory=list)
    best: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)  # what makes it scroll sideways


def violations(page: Page, name: str, width: int) -> Found:
    """What axe finds in `page` as it is now."""
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": [*WCAG, BEST]}}
    found = Found(name, width)
    for violation in Axe().run(page, options=options).response["violations"]:
        nodes = violation["nodes"]
        line = (
            f"{violation['id']}: {violation['help']} ({len(nodes)}x, {nodes[0]['target'][0]}: {nodes[0]['html'][:120]})"
        )
        (found.wcag if set(WCAG) & set(violation["tags"]) else found.best).append(line)
    return found


def sideways(page: Page) -> list[str]:
    """What is wider than the window, if the page scrolls sideways."""
    return page.evaluate(
        """() => {
            const wide = document.scrollingElement.scrollWidth;
            if (wide <= window.innerWidth) return [];
            const out = [...document.querySelectorAll("body *")]
              .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1 && !e.closest(".wide"))
              .map(e => `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}.${e.className}`);
            return [`${wide} px in ${window.innerWidth}`, ...out.slice(0, 3)];
        }"""
    )  # type: ignore[no-any-return]


def table(rows: list[Found]) -> list[str]:
    """Pages and widths to numbers of violations, for people."""
    lines = [f"{'page':<58}{'width':>6}{'WCAG A/AA':>11}{'best practice':>15}{'sideways':>10}"]
    for row in rows:
        lines.append(
            f"{row.page:<58}{row.width:>6}{len(row.wcag):>11}{len(row.best):>15}{'yes' if row.wide else 'no':>10}"
        )
    return lines

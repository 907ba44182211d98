"""Pictures of every page, to look at:

    python -m tests.browser.shots OUTDIR [--language sv] [--exercise]

A PNG of each at 1280 and 360 pixels, as an admin sees it, and of the pages for those outside.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from flask import Flask
from playwright.sync_api import Page, sync_playwright

from responder.app import create_app
from responder.core.access import Role
from responder.store import accounts
from tests.browser.bed import ARGUMENTS, CHROMIUM, MISSING, Bed, running
from tests.browser.visits import Watch, opened, pages, sign_in

WIDTHS = (1280, 360)


def file_name(address: str, width: int) -> str:
    """points_demo-farsta_change-360.png"""
    name = re.sub(r"[^\w-]+", "_", address.removeprefix("/console/")).strip("_")
    return f"{name[:80] or 'front'}-{width}.png"


def shoot(page: Page, app: Flask, bed: Bed, out: Path, signed_out: bool = False) -> int:
    """A picture of each page at each width; how many."""
    shown, wrong = pages(page.context, app, bed.samples, signed_out)
    for line in wrong:
        print(line, file=sys.stderr)
    for address in shown:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            page.screenshot(path=out / file_name(address, width), full_page=True)
    return len(shown) * len(WIDTHS)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--language", default="sv")
    parser.add_argument("--exercise", action="store_true", help="while an exercise goes on")
    options = parser.parse_args()
    if not CHROMIUM.exists():
        sys.exit(MISSING)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), filled=True, approve_above=1) as bed:
        app, boss = create_app(bed.service.settings), bed.person(Role.ADMIN, "astrid")
        with bed.service.database.write() as connection:
            accounts.set_credentials(connection, boss.name, language=options.language)
        if options.exercise:
            bed.begin_exercise()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = opened(browser, bed, Watch())
            taken = shoot(page, app, bed, options.out, signed_out=True)
            sign_in(page, bed, boss)
            taken += shoot(page, app, bed, options.out)
            browser.close()
    print(f"{taken} pictures in {options.out}")


if __name__ == "__main__":
    main()

"""The audit log: read, looked through, written out."""

import csv
import io
import json
import re
from datetime import timedelta

import pytest

from responder.actions import publish
from responder.core.access import Role, shell
from responder.core.points import Status
from responder.store.broadcasts import add_line
from tests import engines
from tests.conftest import ZONE, a_point
from tests.web.console import hostile
from tests.web.console.conftest import Browser, Console

PAGE = "/console/audit"
NUMBER = "+46701740601"


def flat(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def line(console: Console, who: str, action: str, subject: str, before: str = "", after: str = "", **more: str) -> None:
    with console.service.database.write() as connection:
        add_line(connection, console.running.clock.now, who, action, subject, before, after, **more)


@pytest.fixture
def browser(console: Console) -> Browser:
    return console.browser(Role.APPROVER)


def cells(browser: Browser, query: str = "") -> list[dict[str, str]]:
    answer = browser.get(f"/console/audit.csv{query}")
    assert answer.status_code == 200 and answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))


def objects(browser: Browser, query: str = "") -> list[dict[str, object]]:
    text = browser.get(f"/console/audit.jsonl{query}").get_data(as_text=True)
    return [json.loads(row) for row in text.split("\n") if row]


def test_only_what_changed_is_shown(console: Console, browser: Browser) -> None:
    console.running.put(a_point())
    console.running.clock.pass_time(minutes=5)
    now = console.running.clock.now
    publish.set_point(
        console.service.database,
        "p1",
        publish.Change(Status.FULL, phone="08-123 45 67"),
        shell("bo"),
        ZONE,
        now,
        "Beslut 7",
    )
    page = flat(browser.page(PAGE))
    assert "status : före öppen efter full" in page
    assert "telefon : efter 08-123 45 67" in page  # a point's own number is public
    assert "Testgatan" not in page and "Beslut 7" in page


def test_it_is_looked_through_by_who_about_what_and_day(console: Console) -> None:
    line(console, "anna", "edit", "broadcast:3")
    console.running.clock.pass_time(days=1)
    line(console, "bo_x", "stop", "broadcast:30")
    line(console, "boyx", "stop", "p1")
    browser = console.browser(Role.APPROVER)
    found = {
        "who=anna": ["anna"], "who=bo_": ["bo_x"], "who=ANN": ["anna"], "subject=broadcast:3": ["bo_x", "anna"],
        "action=stop": ["boyx", "bo_x"], "since=2026-11-25": ["boyx", "bo_x"], "until=2026-11-24": ["anna"],
        "since=2026-11-24&until=2026-11-24": ["anna"], "who=nobody": [], "who=%25": [],
    }  # fmt: skip
    for query, names in found.items():
        shown = [row["who"] for row in cells(browser, f"?{query}") if row["who"] != "boss"]
        assert shown == names, query
        page = browser.page(f"{PAGE}?{query}")
        assert all((f"<bdi>{name}</bdi>" in page) == (name in names) for name in ("anna", "bo_x", "boyx")), query


def test_a_day_is_a_day_in_stockholm(console: Console) -> None:
    console.running.clock.now += timedelta(hours=10)  # 00.20 on the 25th there, 23.20 on the 24th in UTC
    line(console, "anna", "edit", "p1")
    browser = console.browser(Role.APPROVER)
    assert [row["who"] for row in cells(browser, "?since=2026-11-25&who=anna")] == ["anna"]
    assert cells(browser, "?until=2026-11-24&who=anna") == []


def test_what_is_no_date_is_said_and_filters_nothing(console: Console, browser: Browser) -> None:
    line(console, "anna", "edit", "p1")
    page = browser.page(f"{PAGE}?since=igår&before=zz")
    assert "Ett datum skrivs" in page and "anna" in page


def test_pages_stay_what_they_are_while_lines_come_in(console: Console, browser: Browser) -> None:
    for n in range(60):
        line(console, "anna", "edit", f"p{n:02d}")
    first = browser.page(f"{PAGE}?who=anna")
    assert "<bdi>p59<" in first and "<bdi>p10<" in first and "<bdi>p09<" not in first
    older = re.search(r'href="(/console/audit\?[^"]*before=\d+[^"]*)"', first)
    assert older
    line(console, "anna", "edit", "p60")
    second = browser.page(older[1].replace("&amp;", "&"))
    assert "<bdi>p09<" in second and "<bdi>p10<" not in second and "<bdi>p00<" in second
    assert not re.search(r'href="[^"]*before=', second)


def test_all_lines_that_fit_are_written_out_however_many(console: Console, browser: Browser) -> None:
    with console.service.database.write() as connection:
        for n in range(1203):
            add_line(connection, console.running.clock.now, "anna", "edit", f"p{n}", "", '{"n": 1}')
    assert len(cells(browser, "?who=anna")) == 1203
    ids = [row["id"] for row in objects(browser, "?who=anna")]
    assert len(ids) == 1203 and ids == sorted(ids, reverse=True)  # type: ignore[type-var]


def test_no_full_number_is_in_it_wherever_somebody_put_one(console: Console, browser: Browser) -> None:
    deep = json.dumps(
        {"texts": {"sv": f"Ring {NUMBER} eller 070-174 06 01"}, "phone": NUMBER, "kl": "2026-11-24T13:20:00+00:00"}
    )
    line(console, "anna", "edit", "operator:bo", "", deep, decision=f"Enligt {NUMBER}")
    page = browser.page(PAGE)
    files = [browser.get(f"{PAGE}.{kind}").get_data(as_text=True) for kind in ("csv", "jsonl")]
    assert all("701740601" not in re.sub(r"[ -]", "", text) for text in (page, *files))
    assert "kl: efter 14.20" in flat(page).replace("kl :", "kl:")  # a time as people here write it ...
    assert all("2026-11-24T13:20:00+00:00" in text for text in files)  # ... and as machines do


@pytest.mark.parametrize("text", hostile.ALL, ids=("formula", "script", "turned", "controls", "long"))
def test_what_is_meant_to_do_harm_is_harmless_on_the_page_and_in_what_is_written_out(
    console: Console, browser: Browser, text: str
) -> None:
    text = text.replace("\0", "") if engines.POSTGRESQL else text  # which stores none
    line(console, text[:200], "edit", text[:200], "", json.dumps({"name": text}), decision=text)
    page = browser.page(PAGE)
    assert "<script>alert" not in page and "<img src=x" not in page and len(page) < 60_000
    assert not re.search("[\x00-\x08\x0e-\x1f]", page)
    (row,) = (row for row in cells(browser) if row["field"] == "name")
    for cell in row.values():
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r"), cell
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f]", cell)
    raw = browser.get("/console/audit.jsonl").get_data(as_text=True)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0e-\x1f]", raw)
    (found,) = (one for one in objects(browser) if "name" in one["changes"])  # type: ignore[operator]
    assert str(found["changes"]["name"]["after"]).replace("\x00", "")[:20] == text.replace("\x00", "")[:20]  # type: ignore[index]


def test_reading_it_writes_nothing(console: Console, browser: Browser) -> None:
    line(console, "anna", "edit", "p1")
    before = objects(browser)
    browser.page(PAGE)
    cells(browser)
    assert objects(browser) == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER, Role.COMMUNICATOR])
def test_who_may_not_read_it_gets_no_file_either(console: Console, role: Role) -> None:
    someone = console.browser(role)
    for path in (PAGE, "/console/audit.csv", "/console/audit.jsonl"):
        assert someone.get(path).status_code == 403

"""Whole stories at the console: what people see, what is written down, and what the phones beside them get."""

import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Page, expect

from responder.core.access import Role
from responder.core.points import Point, Status
from responder.core.pointsfile import read_points_file
from responder.store.queries import read_points, save_points
from tests.browser.apart import Apart, apart
from tests.browser.axe import sideways
from tests.browser.bed import BERIT, PASSWORD, Bed, Person, running
from tests.browser.visits import change_point, eventually, prove, says, sign_in, sv

Open = Callable[..., Page]
LONG = 30_000  # milliseconds for a change to settle, be pushed, and arrive
CROWD = [f"+467017406{n}" for n in range(20, 38)]  # they all subscribe to 12347; the last three in English
ENGLISH = 3
AT_ONCE = 1  # texts a second: a broadcast to the crowd lasts long enough to be stopped
NEWCOMER = "+46701740638"
REAL = "hasselby-hall"  # a point that nobody would take for made up


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A server on which three people are many, sending is slow, and a crowd subscribes."""
    with running(tmp_path_factory.mktemp("stage"), approve_above=2, send_rate=AT_ONCE) as bed:
        for n, number in enumerate(CROWD):
            phone = bed.handset(number)
            if n >= len(CROWD) - ENGLISH:
                phone.text("ENGLISH")
            phone.text("12347")
            phone.text("YES" if n >= len(CROWD) - ENGLISH else "JA")
        yield bed


def rows(bed: Bed, question: str, *values: object) -> list[tuple[Any, ...]]:
    """What stands in the database."""
    with bed.service.database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(question, values)]


def deeds(bed: Bed, person: Person, subject: str) -> list[str]:
    """What the audit log says that somebody did."""
    found = rows(bed, "SELECT action FROM audit WHERE who = ? AND subject = ? ORDER BY id", person.name, subject)
    return [action for (action,) in found]


def point_now(bed: Bed, id: str) -> Point:
    """A point as it is stored."""
    with bed.service.database.read() as connection:
        return next(point for point, _ in read_points(connection) if point.id == id)


def by_action(page: Page, ending: str) -> Locator:
    """The button of the form that goes to an address with this ending."""
    return page.locator(f'main form[action$="{ending}"] button:not([formaction])')


def untimed(text: str) -> str:
    """A text without times of day, which may move on by a minute."""
    return re.sub(r"\d{1,2}\.\d\d", "", text)


def review(page: Page, status: str) -> None:
    """From a point's page to what residents will be told."""
    page.locator(f'button[name=become][value="{status}"]').click()
    page.wait_for_url("**/review")
    expect(by_action(page, "/save")).to_be_visible()


def draft(page: Page, text: str, address: str = "/console/broadcasts/new", to: str = "input[name=everyone]") -> int:
    """Write a broadcast and save it; its id."""
    page.goto(address)
    page.locator("#text_sv").fill(text)
    page.locator(to).check()
    page.locator("main form[novalidate] button:not([name])").click()
    page.wait_for_url(re.compile(r"/console/broadcasts/\d+$"))
    return int(page.url.rpartition("/")[2])


# --- 1. a point is opened ------------------------------------------------------------------------------------------


def test_a_point_is_opened_in_two_steps_and_a_phone_gets_the_sentence_that_was_read(
    stage: Bed, open_page: Open
) -> None:
    street, office = open_page(stage), open_page(stage)
    street.goto("/simulator")
    says(street, "Tensta centrum")  # where the point is: what they get is what the operator reads
    says(street, "JA")
    person = stage.person(Role.APPROVER, language="sv")
    sign_in(office, stage, person)
    office.goto("/console/points/demo-jarva-2")
    expect(office.locator(".now .status.closed")).to_be_visible()

    review(office, "open")
    told = [one.inner_text() for one in office.locator("main .sms").all() if one.is_visible()]
    assert len(told) == 2 and all("DEMO Testtorget" in text for text in told), "the answer, and what is sent"
    assert re.search(r"\b1\b", office.locator("main .figure").inner_text())
    assert point_now(stage, "demo-jarva-2").status is Status.CLOSED, "reading saves nothing"
    office.locator("main details summary", has=office.locator("xpath=../*[.//input[@id='decision']]")).click()
    office.locator("#decision").fill("KL 2026/14")
    office.locator("#decided_by").fill("Krisledningsnämnden")
    by_action(office, "/save").click()

    office.wait_for_url("**/console/points/demo-jarva-2")
    expect(office.locator(".now .status.open")).to_be_visible()
    phone = street.locator(".phone").first
    expect(phone.locator(".theirs").last).to_contain_text("DEMO Testtorget", timeout=LONG)
    assert untimed(told[1]) in untimed(phone.locator(".theirs").last.inner_text())
    assert street.locator(".phone").nth(1).locator(".bubble").count() == 0

    office.locator('main a[href$="/history"]').click()
    line = office.locator("main tbody tr").first
    for what in (person.name, "KL 2026/14", "Krisledningsnämnden", sv("closed"), sv("open")):
        expect(line).to_contain_text(what)
    expect(line.locator("td").last).not_to_have_text("-")
    assert deeds(stage, person, "demo-jarva-2") == ["set open"]


# --- 2. a broadcast ------------------------------------------------------------------------------------------------


def test_a_broadcast_is_written_approved_by_another_stopped_on_the_way_and_corrected(
    stage: Bed, open_page: Open
) -> None:
    street, writing, deciding = open_page(stage), open_page(stage), open_page(stage)
    street.add_init_script(f"sessionStorage.setItem('phones', '{' '.join(CROWD)}')")
    street.goto("/simulator")
    expect(street.locator(".phone")).to_have_count(len(CROWD))
    writer, approver = stage.person(Role.COMMUNICATOR, language="sv"), stage.person(Role.APPROVER, language="sv")

    # written: each text is counted while it grows, and what makes it dear is named
    sign_in(writing, stage, writer)
    writing.goto("/console/broadcasts/new")
    counted = writing.locator("#count-sv")
    writing.locator("#text_sv").press_sequentially("Vattnet i kranarna kan inte drickas.")
    expect(counted.locator("strong")).to_contain_text("GSM-7")
    one = counted.locator("strong").inner_text()
    writing.locator("#text_sv").press_sequentially(" Koka det i tre minuter, även till barn och djur." * 3)
    expect(counted.locator("strong")).not_to_have_text(one)
    expect(counted.locator("strong")).to_contain_text(re.compile(r"\b2\b"))
    writing.locator("#text_sv").press_sequentially(" Łódź")
    expect(counted).to_contain_text("Ł")
    expect(counted.locator("strong")).to_contain_text("UCS-2")
    swedish = "Vattnet i kranarna kan inte drickas. Koka det i tre minuter."
    writing.locator("#text_sv").fill(swedish)
    expect(counted.locator("strong")).to_contain_text("GSM-7")
    writing.locator("#text_en").fill("Do not drink tap water. Boil it for three minutes.")
    expect(writing.locator("#count-en strong")).to_contain_text("GSM-7")
    writing.locator('input[name=districts][value="Farsta"]').check()
    writing.locator("main form[novalidate] button:not([name])").click()
    writing.wait_for_url(re.compile(r"/console/broadcasts/\d+$"))
    id = int(writing.url.rpartition("/")[2])

    # read: whom it reaches, what it costs, when the last has it
    estimate = stage.service.announcer.show(BERIT, id, stage.service.clock()).estimate
    assert estimate is not None and estimate.recipients == len(CROWD)
    assert estimate.price == pytest.approx(0.6 * len(CROWD)), "one segment each"
    main = writing.locator("main")
    expect(main.locator("p strong", has_text=str(len(CROWD)))).to_contain_text(
        f"{estimate.price:.2f}".replace(".", ",")
    )
    expect(main.locator("p", has=main.page.locator("strong", has_text=str(len(CROWD))))).to_contain_text(
        re.compile(r"\d\d\.\d\d")
    )
    lines = [
        re.findall(r"\d+", row.inner_text()) for row in main.locator("table", has_text="SEK").locator("tbody tr").all()
    ]
    assert sorted(int(line[0]) for line in lines) == [ENGLISH, len(CROWD) - ENGLISH]

    # submitted: whoever wrote it is told why they cannot go on
    by_action(writing, "/submit").click()
    expect(main.locator(".warning").first).to_contain_text(sv("An approver who has not written at it must approve it."))
    expect(by_action(writing, "/approve")).to_have_count(0)
    expect(by_action(writing, "/send")).to_have_count(0)
    token = writing.locator("input[name=csrf_token]").first.input_value()
    for step, status in (("approve", 403), ("send", 409)):
        answer = writing.request.post(f"/console/broadcasts/{id}/{step}", form={"csrf_token": token, "version": "1"})
        assert answer.status == status
    assert rows(stage, "SELECT state FROM broadcasts WHERE id = ?", id) == [("submitted",)]

    # approved by another, who is asked for a code first
    sign_in(deciding, stage, approver)
    stage.grow_stale(approver)
    deciding.goto("/console/overview")
    deciding.locator(f'main a[href$="/broadcasts/{id}"]').first.click()
    by_action(deciding, "/approve").click()
    deciding.locator("#proof").fill("000000")
    deciding.locator("main form button").click()
    expect(deciding.locator("#proof-error")).to_be_visible()
    assert rows(stage, "SELECT state FROM broadcasts WHERE id = ?", id) == [("submitted",)]
    prove(deciding, stage, approver)
    expect(by_action(deciding, "/send").first).to_be_visible()
    assert deeds(stage, approver, f"broadcast:{id}") == ["approve"]

    # sent, seen to move, and stopped by somebody else from another page, which learns of it by itself
    writing.goto("/console/overview")
    expect(writing.locator(f'form[action$="/{id}/stop"]')).to_have_count(0)
    by_action(deciding, "/send").first.click()
    expect(deciding.locator("main progress").first).to_have_attribute("max", str(len(CROWD)))
    expect(deciding.locator("main progress").first).to_have_attribute(
        "value", re.compile(r"([2-9]|\d\d)"), timeout=LONG
    )
    stop = writing.locator(f'form[action$="/{id}/stop"] button')
    stop.click()
    writing.wait_for_url(f"**/console/broadcasts/{id}")
    expect(writing.locator("main .note").first).to_be_visible()
    assert rows(stage, "SELECT state FROM broadcasts WHERE id = ?", id) == [("stopped",)]

    def settled() -> dict[str, int]:
        """How many deliveries are in each state, once none waits."""
        counted = "SELECT state, count(*) FROM deliveries WHERE broadcast_id = ? GROUP BY state"
        found = dict(rows(stage, counted, id))
        return {} if {"queued", "sending"} & set(found) else found

    states = eventually(settled)
    assert states["stopped"] > 0 and states["accepted"] >= 2 and sum(states.values()) == len(CROWD), states
    expect(writing.locator(".under-way section")).to_have_count(0)
    over = deciding.locator("main dl.facts").first
    expect(over).to_contain_text(sv("stopped"), timeout=10_000)
    reached = rows(stage, "SELECT number_hash FROM deliveries WHERE broadcast_id = ? AND provider_id != ''", id)
    assert len(reached) == states["accepted"]
    heard = street.locator(".phone", has_text="tre minuter").or_(street.locator(".phone", has_text="three minutes"))
    expect(heard).to_have_count(len(reached))

    # corrected: those who got it hear that it was wrong, and nobody else
    deciding.goto(f"/console/broadcasts/{id}")
    deciding.locator(f'main a[href$="/{id}/correct"]').first.click()
    expect(deciding.locator("main")).to_contain_text(re.compile(rf"\b{len(reached)}\b"))
    wording = deciding.locator("main .sms").first.inner_text()
    by_action(deciding, "/correct").first.click()
    deciding.wait_for_url(re.compile(r"/console/broadcasts/\d+$"))
    correction = int(deciding.url.rpartition("/")[2])
    assert correction != id
    eventually(lambda: rows(stage, "SELECT state FROM broadcasts WHERE id = ?", correction) == [("done",)])
    again = rows(stage, "SELECT number_hash FROM deliveries WHERE broadcast_id = ?", correction)
    assert sorted(again) == sorted(reached)
    numbers = [one.get_attribute("data-number") for one in heard.all()]
    corrected = street.locator(".phone", has_text=wording.split(":")[0]).or_(
        street.locator(".phone", has_text="CORRECTION")
    )
    expect(corrected).to_have_count(len(reached))
    assert [one.get_attribute("data-number") for one in corrected.all()] == numbers
    assert settled() == states, "what was stopped stays so"


# --- 3. two at once ------------------------------------------------------------------------------------------------


def test_two_change_one_point_at_once_and_the_second_sees_both_and_loses_nothing(stage: Bed, open_page: Open) -> None:
    pages, people = [], [stage.person(Role.APPROVER, language="sv") for _ in range(2)]
    for person in people:
        page = open_page(stage)
        sign_in(page, stage, person)
        page.goto("/console/points/demo-bromma/change")
        pages.append(page)
    first, second = pages
    first.locator("#note").fill("Ingång från gården.")
    second.locator("#note").fill("Ta med egen filt.")
    second.locator("#decision").fill("Muntligt beslut 7")
    second.locator("main form[novalidate] .buttons button").click()  # both read what theirs would do
    second.wait_for_url("**/review")
    first.locator("main form[novalidate] .buttons button").click()
    first.wait_for_url("**/review")
    by_action(first, "/save").click()
    first.wait_for_url("**/console/points/demo-bromma")

    by_action(second, "/save").click()
    errors = second.locator("#errors")
    expect(errors).to_be_focused()
    for what in (people[0].name, "Ingång från gården.", "Ta med egen filt."):
        expect(errors).to_contain_text(what)
    expect(second.locator("#note")).to_have_value("Ta med egen filt.")
    expect(second.locator("#decision")).to_have_value("Muntligt beslut 7")
    assert point_now(stage, "demo-bromma").note == "Ingång från gården."
    assert deeds(stage, people[1], "demo-bromma") == []

    second.locator("main form[novalidate] .buttons button").click()  # and says again what it is to be
    second.wait_for_url("**/review")
    expect(second.locator("main")).to_contain_text("Ingång från gården.")
    by_action(second, "/save").click()
    second.wait_for_url("**/console/points/demo-bromma")
    assert point_now(stage, "demo-bromma").note == "Ta med egen filt."
    assert rows(stage, "SELECT decision FROM audit WHERE who = ? AND subject = 'demo-bromma'", people[1].name) == [
        ("Muntligt beslut 7",)
    ]


def test_two_write_at_one_broadcast_at_once_and_the_second_sees_both_and_loses_nothing(
    stage: Bed, open_page: Open
) -> None:
    pages, people = [], [stage.person(Role.COMMUNICATOR, language="sv") for _ in range(2)]
    for person in people:
        pages.append(open_page(stage))
        sign_in(pages[-1], stage, person)
    first, second = pages
    id = draft(first, "Första texten.")
    for page in pages:
        page.goto(f"/console/broadcasts/{id}/edit")
    save = "main form[novalidate] button:not([name])"
    first.locator("#text_sv").fill("Den andra texten, av den första.")
    second.locator("#text_sv").fill("Den tredje texten, av den andra.")
    second.locator("#text_en").fill("The third text.")
    first.locator(save).click()
    first.wait_for_url(f"**/broadcasts/{id}")
    second.locator(save).click()
    theirs = second.locator("section[aria-labelledby=theirs]")
    expect(theirs).to_contain_text(people[0].name)
    expect(theirs.locator(".sms")).to_have_text(re.compile("^Den andra texten, av den första. /"))
    expect(second.locator("#text_sv")).to_have_value("Den tredje texten, av den andra.")
    expect(second.locator("#text_en")).to_have_value("The third text.")
    assert "av den första" in rows(stage, "SELECT texts FROM broadcasts WHERE id = ?", id)[0][0]
    second.locator(save).click()
    second.wait_for_url(f"**/broadcasts/{id}")
    expect(second.locator("main .sms").first).to_contain_text("Den tredje texten, av den andra.")


# --- 4. a session is ended -----------------------------------------------------------------------------------------


def test_whoever_is_signed_out_by_an_admin_is_told_and_can_do_nothing_more(stage: Bed, open_page: Open) -> None:
    office, watching = open_page(stage), open_page(stage)
    person, admin = stage.person(Role.APPROVER, language="sv"), stage.person(Role.ADMIN)
    sign_in(watching, stage, person)
    acting = watching.context.new_page()
    acting.goto("/console/points/demo-vallingby")
    review(acting, "closed")
    sign_in(office, stage, admin)
    office.goto("/console/operators")
    office.locator(f'main a[href$="/{person.name}"]').click()
    by_action(office, "/sessions").click()
    expect(office.locator("main .note").first).to_contain_text(person.name)

    lost = watching.locator("#lost")
    expect(lost).to_have_text(str(lost.get_attribute("data-signed-out")), timeout=15_000)
    by_action(acting, "/save").click()
    acting.wait_for_url("**/console/sign-in*")
    expect(acting.locator("main .note")).to_have_text(
        sv("You have been signed out, and nothing was saved. Sign in and do it once more.")
    )
    watching.locator('nav.side a[href$="/points"]').click()
    watching.wait_for_url(re.compile("/console/sign-in"))
    expect(watching.locator("main .note")).to_have_text(sv("You have been signed out. Sign in to go on."))
    assert point_now(stage, "demo-vallingby").status is Status.OPEN
    assert deeds(stage, person, "demo-vallingby") == []

    watching.locator("#name").fill(person.name)  # and comes to where they wanted to go
    watching.locator("#password").fill(PASSWORD)
    watching.locator("#code").fill(stage.code(person))
    watching.locator("main form button").click()
    watching.wait_for_url("**/console/points")


# --- 5. readiness --------------------------------------------------------------------------------------------------


def propose(page: Page, district: str, name: str, x: int, y: int) -> str:
    """A proposal whose place is shown on the map; its id."""
    page.goto(f"/console/readiness/district/{district}")
    page.locator('main a[href$="/propose"]').click()
    page.locator("#name").fill(name)
    page.locator("input.pick.large").click(position={"x": x, "y": y})
    expect(page.locator("#lat")).to_have_value(re.compile(r"59\.\d+"))
    expect(page.locator("#name")).to_have_value(name)
    page.locator("#proposal button:not([name])").last.click()
    page.wait_for_url("**/readiness/point/*")
    return page.url.partition("#")[0].rpartition("/")[2]


def test_a_district_plans_by_the_map_decides_and_signs(stage: Bed, open_page: Open) -> None:
    district = "Norra innerstaden"
    planning, deciding = open_page(stage), open_page(stage)
    reporter = stage.person(Role.REPORTER, districts=(district,), language="sv")
    approver = stage.person(Role.APPROVER, language="sv")

    def covered() -> list[str]:
        deciding.goto(f"/console/readiness/district/{district}")
        return deciding.locator("main .columns table tbody td strong").all_inner_texts()

    sign_in(deciding, stage, approver)
    before = covered()
    sign_in(planning, stage, reporter)
    wanted = propose(planning, district, "DEMO Norra hallen", 470, 330)
    unwanted = propose(planning, district, "DEMO Källaren", 320, 230)
    assert covered() == before, "a proposal counts for nothing"
    expect(by_action(planning, "/plan")).to_have_count(0)
    token = planning.locator("input[name=csrf_token]").first.input_value()
    refused = planning.request.post(
        f"/console/readiness/point/{unwanted}/plan", form={"csrf_token": token, "seen": "1"}
    )
    assert refused.status == 403
    assert point_now(stage, unwanted).status is Status.CANDIDATE

    deciding.goto(f"/console/readiness/district/{district}")
    deciding.locator(f'main a[href$="/{wanted}"]').first.click()
    by_action(deciding, "/plan").click()
    expect(deciding.locator("main .status.planned").first).to_be_visible()
    deciding.goto(f"/console/readiness/point/{unwanted}")
    by_action(deciding, "/reject").click()
    expect(deciding.locator("#errors")).to_be_visible()  # not without a reason
    assert point_now(stage, unwanted).status is Status.CANDIDATE
    deciding.locator("#reason").fill("Ingen reservkraft.")
    by_action(deciding, "/reject").click()
    expect(deciding.locator("main .status.rejected").first).to_be_visible()
    expect(deciding.locator("main")).to_contain_text("Ingen reservkraft.")
    after = covered()
    assert after != before and len(after) == len(before), (before, after)

    stage.grow_stale(approver)
    signing = deciding.locator('main form[action*="/sign"]')
    signing.locator("#note").fill("Enligt nämnden.")
    signing.locator("button").click()
    prove(deciding, stage, approver)
    expect(deciding.locator("main .status.open").first).to_contain_text(approver.name)
    expect(deciding.locator("main")).to_contain_text("Enligt nämnden.")

    deciding.goto("/console/readiness")
    with deciding.expect_download() as taken:
        deciding.locator('main a[href$="/points.csv"]').click()
    text = Path(taken.value.path()).read_text(encoding="utf-8-sig")
    status = {row["id"]: row["status"] for row in csv.DictReader(io.StringIO(text))}
    assert (status[wanted], status[unwanted]) == ("planned", "rejected")
    now = stage.service.clock()
    assert {point.id for point in read_points_file(text, stage.service.settings.timezone, now)} == set(status)


# --- 6. what was not understood ------------------------------------------------------------------------------------


def test_words_that_nobody_understood_are_learnt_and_forgotten(stage: Bed, open_page: Open) -> None:
    street, office = open_page(stage), open_page(stage)
    words = "storgrytan"
    street.goto("/simulator")
    assert "DEMO" not in says(street, words, 1)
    sign_in(office, stage, stage.person(Role.COMMUNICATOR, language="sv"))
    office.locator('nav.side a[href$="/inbox"]').click()
    office.locator("main tbody a", has_text=words).click()
    expect(office.locator("#alias")).to_have_value(words)
    office.locator("#place").fill("Bagarmossen")
    by_action(office, "/alias").click()
    office.wait_for_url("**/console/inbox")
    expect(office.locator("main .note").first).to_contain_text(words)
    assert "DEMO" in says(street, words, 1)
    office.locator('main a[href$="/aliases"]').click()
    office.locator("main tbody tr", has_text=words).locator("button").click()
    expect(office.locator("main tbody tr", has_text=words)).to_have_count(0)
    assert "DEMO" not in says(street, words, 1)


# --- 8. on a small screen by touch, and by keys alone --------------------------------------------------------------


def test_a_point_is_opened_by_touch_on_a_small_screen(stage: Bed, open_page: Open) -> None:
    page, person = open_page(stage, 320, 640, touch=True), stage.person(Role.APPROVER, language="sv")
    street = open_page(stage, 320, 640, touch=True)

    def tap(what: Locator, to: str = "") -> None:
        page = what.page
        what.scroll_into_view_if_needed()
        box = what.bounding_box()
        assert box and box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= 320, what
        what.tap()
        if to:
            page.wait_for_url(f"**/console/{to}")
        assert sideways(page) == [], page.url

    street.goto("/simulator")
    phone = street.locator(".phone").nth(1)
    for n, text in enumerate(("12534", "JA")):
        tap(phone.locator("textarea"))
        phone.locator("textarea").fill(text)
        tap(phone.locator(".send"))
        expect(phone.locator(".theirs")).to_have_count(n + 1)
    page.goto("/console/sign-in")
    for field, value in (("#name", person.name), ("#password", PASSWORD), ("#code", stage.code(person))):
        tap(page.locator(field))
        page.locator(field).fill(value)
    tap(page.locator("main form button"), "overview")
    tap(page.locator("details.menu summary"))
    tap(page.locator('details.menu a[href$="/console/points"]'), "points")
    tap(page.locator('main a[href$="/points/demo-alvsjo"]'), "points/demo-alvsjo")
    tap(page.locator("button[name=become][value=open]"), "points/demo-alvsjo/review")
    expect(page.locator("main .sms").first).to_contain_text("DEMO Exempelsalen")
    tap(by_action(page, "/save"), "points/demo-alvsjo")
    expect(page.locator(".now .status.open")).to_be_visible()
    assert deeds(stage, person, "demo-alvsjo") == ["set open"]
    expect(phone.locator(".theirs").last).to_contain_text("DEMO Exempelsalen", timeout=LONG)


def test_a_point_is_opened_by_keys_alone(stage: Bed, open_page: Open) -> None:
    office, person = open_page(stage), stage.person(Role.APPROVER, language="sv")
    street = open_page(stage)
    page = street

    def to(selector: str, most: int = 90) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        pytest.fail(f"Tab does not come to {selector} on {page.url}")

    street.goto("/simulator")
    phone = street.locator(".phone").first
    for text in ("12732", "JA"):
        before = phone.locator(".theirs").count()
        to(".phone:first-of-type textarea")
        street.keyboard.type(text)
        to(".send")
        street.keyboard.press("Enter")
        expect(phone.locator(".theirs")).to_have_count(before + 1)
    page = office
    page.goto("/console/sign-in")
    for field, value in (("#name", person.name), ("#password", PASSWORD), ("#code", stage.code(person))):
        to(field)
        page.keyboard.type(value)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/overview")
    to('nav.side a[href$="/console/points"]')
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/points")
    to("#q")
    page.keyboard.type("Bredprovet")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/points?*")
    to(".skip")
    page.keyboard.press("Enter")
    to('main a[href$="/points/demo-skarholmen-2"]')
    page.keyboard.press("Enter")
    page.wait_for_url("**/points/demo-skarholmen-2")
    to("button[name=become][value=open]")
    page.keyboard.press("Space")
    page.wait_for_url("**/review")
    to('form[action$="/save"] button:not([formaction])')
    page.keyboard.press("Space")
    page.wait_for_url("**/points/demo-skarholmen-2")
    expect(page.locator(".now .status.open")).to_be_visible()
    assert deeds(stage, person, "demo-skarholmen-2") == ["set open"]
    expect(phone.locator(".theirs").last).to_contain_text("DEMO Bredprovet", timeout=LONG)


# --- 9. twice, and a process killed --------------------------------------------------------------------------------


def twice(page: Page, button: Locator) -> None:
    """Two clicks, as an impatient hand does it."""
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(2):
        page.mouse.down()
        page.mouse.up()
        time.sleep(0.06)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_two_quick_clicks_save_once_and_say_that_it_is_saved(stage: Bed, open_page: Open, scripts: bool) -> None:
    page, person = open_page(stage), stage.person(Role.APPROVER, language="sv")
    if not scripts:
        page.route("**/*.js", lambda route: route.abort())
    sign_in(page, stage, person)
    page.goto("/console/points/demo-kungsholmen")
    review(page, "full" if scripts else "open")
    with stage.service.database.write():  # the server is slow: the second click comes before the first is answered
        twice(page, by_action(page, "/save"))
        time.sleep(0.5)
    page.wait_for_url("**/console/points/demo-kungsholmen")
    expect(page.locator("main .note").first).to_have_text(sv("Saved. Residents get the new answer from now on."))
    assert len(deeds(stage, person, "demo-kungsholmen")) == 1


def test_two_quick_clicks_write_one_draft(stage: Bed, open_page: Open) -> None:
    page, person = open_page(stage), stage.person(Role.COMMUNICATOR, language="sv")
    sign_in(page, stage, person)
    page.goto("/console/broadcasts/new")
    page.locator("#text_sv").fill("Bara en gång.")
    page.locator("input[name=everyone]").check()
    with stage.service.database.write():
        twice(page, page.locator("main form[novalidate] button:not([name])"))
        time.sleep(0.5)
    page.wait_for_url(re.compile(r"/console/broadcasts/\d+$"))
    assert rows(stage, "SELECT count(*) FROM broadcasts WHERE operator = ?", person.name) == [(1,)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Apart]:
    """A server that can be killed."""
    with apart(tmp_path) as one:
        yield one


def test_a_server_that_is_killed_between_reading_and_saving_saves_what_was_read(server: Apart, open_page: Open) -> None:
    bed = server.bed
    page, person = open_page(bed), bed.person(Role.APPROVER, language="sv")
    sign_in(page, bed, person)
    other = page.context.new_page()
    other.goto("/console/points/demo-alvsjo")
    page.goto("/console/points/demo-farsta")
    review(page, "closed")
    review(other, "open")
    with other.expect_event("requestfailed"), bed.service.database.write():
        by_action(other, "/save").click(no_wait_after=True)  # it is on its way when the power goes
        time.sleep(0.5)
        server.kill()
    lost = page.locator("#lost")
    expect(lost).to_have_text(str(lost.get_attribute("data-no-contact")), timeout=20_000)
    assert point_now(bed, "demo-alvsjo").status is Status.CLOSED
    assert deeds(bed, person, "demo-alvsjo") == []
    server.start()

    expect(lost).to_have_text("", timeout=15_000)
    by_action(page, "/save").click()
    page.wait_for_url("**/console/points/demo-farsta")
    expect(page.locator(".now .status.closed")).to_be_visible()
    assert deeds(bed, person, "demo-farsta") == ["set closed"]
    other.reload()  # the browser sends once more what was not answered
    other.wait_for_url("**/console/points/demo-alvsjo")
    expect(other.locator(".now .status.open")).to_be_visible()
    assert deeds(bed, person, "demo-alvsjo") == ["set open"]


# --- 7. an exercise (last: nothing real is sent while it goes on) --------------------------------------------------


@pytest.fixture
def a_real_point(stage: Bed) -> str:
    """A point that is open, and not made up."""
    with stage.service.database.write() as connection:
        known = read_points(connection)
        like = next(point for point, _ in known if point.id == "demo-hasselby")
        hall = replace(like, id=REAL, name="Hässelby hall", lat=like.lat + 0.01)
        versions = {point.id: version for point, version in known}
        save_points(connection, [*(point for point, _ in known), hall], versions, stage.service.clock())
    return REAL


def test_an_exercise_from_its_name_to_its_end(stage: Bed, open_page: Open, a_real_point: str) -> None:
    street, office = open_page(stage), open_page(stage)
    street.add_init_script(f"sessionStorage.setItem('phones', '{NEWCOMER}')")  # nothing is on its way to this phone
    street.goto("/simulator")
    for text in ("14240", "JA", "ÖVNING"):
        says(street, text)
    approver = stage.person(Role.APPROVER, language="sv")
    sign_in(office, stage, approver)

    # it does not begin while something real is open
    def begin() -> None:
        office.goto("/console/exercises")
        office.locator("#name").fill("Elavbrott höst 2026")
        by_action(office, "/begin").click()

    begin()
    expect(office.locator("#errors")).to_contain_text("Hässelby hall")
    expect(office.locator("#name")).to_have_value("Elavbrott höst 2026")
    change_point(office, a_real_point, "closed")

    def begun() -> bool:
        begin()
        return office.locator(".banner.exercise").count() == 1

    eventually(begun)
    for page in ("overview", "points", "broadcasts", "readiness", "inbox", "points/demo-farsta", "account"):
        office.goto(f"/console/{page}")
        expect(office.locator(".banner.exercise")).to_contain_text("Elavbrott höst 2026")

    # what is done to a point is played, and nobody hears of it
    crowd = stage.handset(CROWD[0])
    said = crowd.text("12347")
    before = rows(stage, "SELECT count(*) FROM deliveries")
    bubbles = street.locator(".phone").first.locator(".bubble").count()
    office.goto("/console/points/demo-skarpnack")
    review(office, "closed")
    expect(office.locator("main .figure")).to_have_text(sv("Nobody: this is an exercise"))
    by_action(office, "/save").click()
    office.wait_for_url("**/console/points/demo-skarpnack")
    expect(office.locator(".now .status.closed")).to_be_visible()
    assert point_now(stage, "demo-skarpnack").status is Status.OPEN

    # nothing real is sent
    real = draft(office, "Vatten vid torget.", "/console/broadcasts/new?exercise=0")
    expect(office.locator("main .warning", has_text="Elavbrott höst 2026")).to_be_visible()
    expect(by_action(office, "/submit")).to_have_count(0)
    token = office.locator("input[name=csrf_token]").first.input_value()
    refused = office.request.post(f"/console/broadcasts/{real}/submit", form={"csrf_token": token, "version": "1"})
    assert refused.status == 409
    assert "Elavbrott höst 2026" in refused.text()

    # an exercise broadcast reaches whoever enrolled, and is marked at both ends
    def written(text: str) -> int:
        id = draft(office, text, "/console/broadcasts/new?template=exercise")
        by_action(office, "/submit").click()
        return id

    first = written("Öppna reservplatsen.")
    by_action(office, "/send").first.click()
    last = street.locator(".phone").first.locator(".theirs").last
    expect(last).to_contain_text("Öppna reservplatsen.", timeout=LONG)
    text = last.locator("span").last.inner_text()
    assert text.startswith("ÖVNING") and text.rstrip(".").endswith("ÖVNING"), text
    assert street.locator(".phone").first.locator(".bubble").count() == bubbles + 1
    assert rows(stage, "SELECT count(*) FROM deliveries") == [(before[0][0] + 1,)]
    assert crowd.text("12347") == said, "whoever asks gets what is real"
    eventually(lambda: rows(stage, "SELECT state FROM broadcasts WHERE id = ?", first) == [("done",)])

    # the end stops what is left, and all is as it was
    later = written("Andra övningen.")
    local = (stage.service.clock() + timedelta(hours=3)).astimezone(ZoneInfo(stage.service.settings.timezone))
    office.locator("main details", has=office.locator("#at")).locator("summary").click()
    office.locator("#at").fill(f"{local:%Y-%m-%dT%H:%M}")
    office.locator("button[name=later]").click()
    assert rows(stage, "SELECT state FROM broadcasts WHERE id = ?", later) == [("approved",)]
    office.goto("/console/exercises")
    by_action(office, "/end").click()
    expect(office.locator("main .note").first).to_contain_text("Elavbrott höst 2026")
    expect(office.locator(".banner.exercise")).to_have_count(0)
    assert rows(stage, "SELECT state FROM broadcasts WHERE id = ?", later) == [("stopped",)]
    office.goto("/console/points/demo-skarpnack")
    expect(office.locator(".now .status.open")).to_be_visible()
    office.goto(f"/console/broadcasts/{real}")
    expect(by_action(office, "/submit")).to_be_visible()

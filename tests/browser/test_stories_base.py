"""Whole stories in a browser: an operator at the console, and a resident's phone beside it."""

import re
from collections.abc import Callable

import pyotp
import pytest
from playwright.sync_api import Page, expect

from responder.actions import signin
from responder.core.access import Role
from responder.store import accounts
from tests.browser.bed import NOBODY, PASSWORD, Bed
from tests.browser.visits import change_point, eventually, says, sign_in

Open = Callable[..., Page]
LISTENING = """
window.heard = [];
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; this.lang = ""; } };
Object.defineProperty(window, "speechSynthesis",
  { value: { speak: (one) => heard.push([one.text, one.lang]), cancel: () => {} } });
"""  # a voice that is written down
LONG = 30_000  # milliseconds for a change to settle, be pushed, and arrive


def test_somebody_signs_in_with_a_code_and_is_let_out_again(town: Bed, open_page: Open) -> None:
    page, person = open_page(town), town.person(Role.APPROVER)
    page.goto("/console/overview")
    assert "/console/sign-in" in page.url
    sign_in(page, town, person)
    expect(page.locator(".who")).to_contain_text(person.name)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")
    page.goto("/console/points")
    assert "/console/sign-in" in page.url


def test_a_wrong_code_lets_nobody_in_and_says_not_what_was_wrong(town: Bed, open_page: Open) -> None:
    page, person = open_page(town), town.person(Role.APPROVER)
    wrong = "000000" if town.code(person) != "000000" else "111111"
    told = []
    for password, code in ((PASSWORD, wrong), ("another password", town.code(person)), (PASSWORD, "")):
        page.goto("/console/sign-in")
        page.locator("#name").fill(person.name)
        page.locator("#password").fill(password)
        page.locator("#code").fill(code)
        page.locator("main form button").click()
        told.append(page.locator("#errors").inner_text())
        page.goto("/console/overview")
        assert "/console/sign-in" in page.url
    assert len(set(told)) == 1


def test_who_is_invited_chooses_a_password_and_an_authenticator(town: Bed, open_page: Open) -> None:
    person = town.person(Role.COMMUNICATOR)
    door = signin.Door(town.service.database, town.service.vault, town.service.settings)
    token = door.invite(NOBODY, person.name, town.service.clock())
    page = open_page(town)
    page.goto(f"/console/invitation/{token}")
    for name in ("password", "again"):
        page.locator(f"#{name}").fill("sju tysta lyktor vid kajen")
    page.locator("main form button").last.click()
    page.wait_for_url("**/console/sign-in")
    page.locator("#name").fill(person.name)
    page.locator("#password").fill("sju tysta lyktor vid kajen")
    page.locator("main form button").click()
    page.wait_for_url("**/console/second-factor*")
    found = re.search(r"(?:[A-Z2-7]{4}\s+){7}[A-Z2-7]{4}", page.locator("main").inner_text())
    assert found, "the secret is not there to be typed"
    secret = re.sub(r"\s", "", found[0])
    page.locator("#code").fill(pyotp.TOTP(secret).at(town.service.clock()))
    page.locator("main form button").last.click()
    expect(page.locator("main")).to_contain_text(re.compile("[0-9a-f]{8}-[0-9a-f]{8}"))
    page.goto("/console/overview")
    assert page.url.endswith("/console/overview")
    with town.service.database.read() as connection:
        known = accounts.credentials(connection, person.name)
    assert known is not None and town.service.vault.open(known.totp_sealed) == secret


def test_the_simulator_shows_the_code_that_opens_the_console(town: Bed, open_page: Open) -> None:
    page = open_page(town)
    page.goto("/simulator")
    row = page.get_by_role("row", name="berit")
    code, password = row.locator("code").inner_text(), page.locator(".password").inner_text()
    page.goto("/console/sign-in")
    page.locator("#name").fill("berit")
    page.locator("#password").fill(password)
    page.locator("#code").fill(code)
    page.locator("main form button").click()
    page.wait_for_url("**/console/overview")


def test_a_phone_subscribes_an_operator_closes_the_point_and_the_phone_hears_of_it(town: Bed, open_page: Open) -> None:
    street, office = open_page(town), open_page(town)
    street.goto("/simulator")
    says(street, "12347")
    expect(street.locator(".phone").first.locator(".theirs").last).to_contain_text("DEMO Exempelhallen")
    says(street, "JA")
    sign_in(office, town, town.person(Role.APPROVER))
    change_point(office, "demo-farsta", "closed")
    phone = street.locator(".phone").first
    expect(phone.locator(".theirs").last).to_contain_text("STÄNGD", timeout=LONG)
    expect(phone.locator(".theirs").last.locator(".from")).to_contain_text(
        re.compile(r"Tjänsten, \d\d\.\d\d \(\d sms-del")
    )
    change_point(office, "demo-farsta", "open")
    expect(phone.locator(".theirs").last).to_contain_text("ÖPPEN", timeout=LONG)
    other = street.locator(".phone").nth(1)
    assert other.locator(".bubble").count() == 0


def test_a_landline_is_called_back_and_agrees_by_a_key(town: Bed, open_page: Open) -> None:
    page = open_page(town)
    page.goto("/simulator")
    phone = page.locator('.phone[data-number="+46846500410"]')
    phone.get_by_role("button", name="Ring", exact=True).click()
    keypad = phone.locator(".keypad")
    for key in "12347":
        keypad.get_by_role("button", name=key, exact=True).click()
    expect(phone.locator(".screen")).to_contain_text("DEMO", timeout=LONG)
    keypad.get_by_role("button", name="4", exact=True).click()
    send = phone.get_by_role("button", name="Skicka knapparna")
    if phone.locator(".entered").inner_text():
        send.click()
    phone.get_by_role("button", name="Lägg på").click()
    answer = phone.get_by_role("button", name="Svara på samtalet")
    answer.wait_for(timeout=LONG)
    answer.click()
    keypad.get_by_role("button", name="1", exact=True).click()
    expect(phone.locator(".calling")).to_be_hidden()
    with town.service.database.read() as connection:
        states = connection.exec_driver_sql("SELECT state FROM subscriptions WHERE channel = 'call'").scalars().all()
    assert states == ["active"]


def test_a_call_is_led_by_words_and_silence_and_read_aloud_in_its_languages(town: Bed, open_page: Open) -> None:
    page = open_page(town)
    page.add_init_script(LISTENING)
    page.goto("/simulator")
    phone = page.locator(".phone").nth(1)
    phone.get_by_role("button", name="Ring", exact=True).click()
    expect(phone.locator(".theirs").first).to_be_visible()
    assert page.evaluate("heard") == []
    page.get_by_label("Läs upp samtal").check()
    phone.get_by_role("button", name="Säg ingenting").click()
    expect(phone.locator(".mine")).to_have_text("Du säger ingenting.")
    eventually(lambda: page.evaluate("heard.length > 0"))
    assert {lang for _, lang in page.evaluate("heard")} <= {"sv-SE", "en-GB"}
    phone.get_by_label("Säg något").fill("Farsta")
    phone.get_by_role("button", name="Säg", exact=True).click()
    expect(phone.locator(".screen")).to_contain_text("DEMO")
    assert any("DEMO" in text and lang == "sv-SE" for text, lang in page.evaluate("heard"))
    phone.get_by_text("TwiML").click()
    expect(phone.locator(".document")).to_contain_text("<Gather")
    phone.get_by_role("button", name="Lägg på").click()
    expect(phone.get_by_role("button", name="Ring", exact=True)).to_be_focused()


def test_phones_are_added_and_removed_and_are_there_again(town: Bed, open_page: Open) -> None:
    page = open_page(town)
    page.goto("/simulator")
    page.get_by_role("button", name="Lägg till en mobil").click()
    expect(page.locator(".phone")).to_have_count(4)
    expect(page.locator(".phone h2").last).to_be_focused()
    page.locator(".phone").first.get_by_role("button", name="Ta bort telefonen").click()
    page.reload()
    expect(page.locator(".phone")).to_have_count(3)
    expect(page.locator(".phone h2").last).to_have_text("Telefon 070-174 06 05")


@pytest.mark.parametrize("code", ["sv", "en"])
def test_the_simulator_speaks_both_languages(town: Bed, open_page: Open, code: str) -> None:
    page = open_page(town)
    page.goto("/simulator")
    if code == "en":
        page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", code)
    expect(page.locator("h1")).to_have_text({"sv": "Telefonsimulator", "en": "Phone simulator"}[code])
    expect(page.locator(".phone h2").first).to_have_text(
        {"sv": "Telefon 070-174 06 10", "en": "Phone 070-174 06 10"}[code]
    )

"""What no page of ours sends: bodies that are too big or broken, numbers beyond all bounds, addresses with line ends.
Each gets an answer that says so, and none an error of ours.
"""

import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from responder.actions import signin
from responder.core.access import Permission, Role
from responder.web.access import Access
from responder.web.console import turnstile
from responder.web.console.desk import safe_next
from tests.conftest import Running, a_point
from tests.web.console.conftest import PASSWORD, Browser, Console
from tests.web.console.test_routes import routes, rule_of

HUGE = "9" * 20  # more than 64 bits hold
ENDLESS = "9" * 5000  # more than Python reads as a number


@pytest.fixture
def anna(console: Console) -> Browser:
    console.running.put(a_point())
    browser = console.browser(Role.ADMIN)
    browser.post("/console/shift", text="So that it has its token.")
    return browser


def test_a_number_in_an_address_that_nothing_can_have_is_no_error_of_ours(anna: Browser) -> None:
    tried = 0
    for method, path, _ in list(routes(anna.console.running.app)):
        for number in (HUGE, ENDLESS):
            if "/1" in path and "sign-out" not in path:
                address = path.replace("/1", f"/{number}")
                answer = anna.get(address) if method == "GET" else anna.post(address, version=number)
                assert answer.status_code < 500, f"{method} {path}"
                tried += 1
    assert tried > 40


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/shift", "/console/language", "/simulator/text"])
@pytest.mark.parametrize("who", [None, Role.ADMIN])
def test_a_body_that_is_too_big_or_in_too_many_parts_is_refused_on_a_page(
    console: Console, path: str, who: Role | None
) -> None:
    client = (console.browser(who) if who else console.guest()).client
    part = b'Content-Disposition: form-data; name="a"\r\n\r\nv\r\n--x\r\n'
    big = client.post(path, data=b"a=" + b"x" * 300_000, content_type="application/x-www-form-urlencoded")
    many = client.post(path, data=b"--x\r\n" + part * 3000, content_type="multipart/form-data; boundary=x")
    for answer in (big, many):
        assert answer.status_code == 413
        assert "Content-Security-Policy" in answer.headers and answer.headers["Cache-Control"] == "no-store"


def test_as_many_fields_as_a_body_holds_are_read(anna: Browser) -> None:
    fields = f"csrf_token={anna._token}&text=Kl. 14&" + "a&" * 120_000
    answer = anna.client.post("/console/shift", data=fields, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 303


@pytest.mark.parametrize("raw", [b"%00", b"%ff%fe", b"%ed%a0%80", b"%e2%80%ae", b"%0d%0aX-Evil: 1"])
def test_what_is_no_text_is_no_error_of_ours(anna: Browser, raw: bytes) -> None:
    for path in ("shift", "sign-in", "language", "inbox/count", "broadcasts/count", "points/p1/notes"):
        body = b"csrf_token=%s&text=a%s&name=%s&next=/%s&visitors=%s" % (anna._token.encode(), raw, raw, raw, raw)
        answer = anna.client.post(f"/console/{path}", data=body, content_type="application/x-www-form-urlencoded")
        assert answer.status_code < 500, path
    for path in ("points/", "points?q=", "overview?district=", "audit?who=", "sign-in?next=/", "invitation/"):
        assert anna.get(f"/console/{path}{raw.decode()}").status_code < 500, path


@pytest.mark.parametrize("end", ["\r\nSet-Cookie: a=b", "\n", "\t/evil.example", "\x00", "\u2028"])
def test_one_goes_on_to_no_address_with_a_control_character(console: Console, end: str) -> None:
    with console.running.app.test_request_context():
        assert safe_next(f"/console/points{end}") == "/console/overview"
    answer = console.browser(Role.VIEWER).get("/console/sign-in", query_string={"next": f"/console/points{end}"})
    assert (answer.status_code, answer.location) in ((303, "/console/overview"), (404, None))


def test_a_version_beyond_all_bounds_is_not_the_one_that_was_read(anna: Browser) -> None:
    made = anna.post("/console/broadcasts/new", everyone="y", text_sv="Hej.", fallback="sv").location
    for version in (HUGE, ENDLESS):
        answer = anna.post(f"{made}/edit", everyone="y", text_sv="Hej då.", fallback="sv", version=version)
        assert answer.status_code == 422
        assert anna.post(f"{made}/submit", version=version).status_code == 409


def test_a_page_that_says_a_file_is_missing_is_kept_by_no_cache(console: Console) -> None:
    browser = console.browser(Role.ADMIN)
    missing, found = browser.get("/console/static/none.css"), browser.get("/console/static/console.css")
    assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")
    assert found.status_code == 200 and "immutable" in found.headers["Cache-Control"]
    found.close()


def test_the_cookie_tells_nobody_the_secret_that_is_being_set_up(console: Console) -> None:
    browser = console.browser(Role.VIEWER)
    page = browser.page("/console/second-factor")
    secret = page[page.index('class="secret"') :].replace("<span>", "").replace("</span> ", "")
    secret = secret.partition(">")[2].partition("<")[0].strip()
    assert len(secret) == 32
    with browser.client.session_transaction() as cookie:
        assert secret not in str(dict(cookie)) and secret.encode() not in cookie["pending"]
    answer = browser.get("/console/second-factor")  # the same page: reloading takes no other secret
    assert "".join(f"<span>{secret[n : n + 4]}</span> " for n in range(0, 32, 4)) in answer.get_data(as_text=True)


def test_a_crowd_at_the_door_leaves_threads_for_residents(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.account("eva", Role.VIEWER)
    go, lock, came, inside, most = threading.Event(), threading.Lock(), threading.Semaphore(0), 0, 0

    def slowly(password_hash: str, password: str) -> bool:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        came.release()
        assert go.wait(20)
        with lock:
            inside -= 1
        return password == PASSWORD

    monkeypatch.setattr(signin, "_verified", slowly)
    guests = [console.guest() for _ in range(turnstile.NEAR + 2)]
    for guest in guests:
        guest.post("/console/language", language="sv")  # its token

    def enter(guest: Browser) -> int:
        return guest.post("/console/sign-in", name="eva", password=PASSWORD).status_code

    with ThreadPoolExecutor(len(guests)) as pool:
        answers = [pool.submit(enter, guest) for guest in guests]
        told = as_completed(answers, timeout=20)
        turned_away = [next(told).result() for _ in range(2)]  # at once, while the others are still at it
        assert all(came.acquire(timeout=20) for _ in range(turnstile.INSIDE))
        go.set()
        assert turned_away == [422, 422]
        assert sorted(answer.result() for answer in answers) == [303] * turnstile.NEAR + [422, 422]
    assert most == turnstile.INSIDE
    assert enter(console.guest()) == 303  # and everybody has left again


def test_only_the_blueprints_that_ask_who_it_is_have_routes_that_are_not_for_everybody(service: Running) -> None:
    """A rule is kept by `Desk.guard`, which the console and the simulator run; a signature by each hook of its own."""
    for route in service.app.url_map.iter_rules():
        rule = rule_of(service.app, route)
        if isinstance(rule.who, Permission) or rule.who in (Access.SIGNED_IN, Access.DEMO):
            blueprint = route.endpoint.rpartition(".")[0]
            guards = service.app.before_request_funcs.get(blueprint, [])
            assert "Desk.guard" in [guard.__qualname__ for guard in guards], route
        elif rule.who is Access.PROVIDER:
            assert route.methods == {"POST", "OPTIONS"}, route
            path = route.rule.replace("<int:delivery>", "1").replace("<int:turn>", "1")
            assert service.app.test_client().post(path, data={"a": "b"}).status_code == 403, route


@pytest.mark.parametrize("number", [HUGE, ENDLESS, "nan", "-1", "²", "1e400"])
def test_a_number_of_people_that_is_none_stands_beside_its_field(anna: Browser, number: str) -> None:
    for field in ("visitors", "capacity"):
        answer = anna.post("/console/points/p1/notes", **{field: number})
        assert answer.status_code == 422 and f'id="{field}-error"' in answer.get_data(as_text=True)


@pytest.mark.parametrize("was", ["[" * 60_000, '{"a":' * 15_000, "[]", "null", "9" * 5000, "{", '{"visitors": []}'])
def test_what_stood_in_a_form_is_whatever_came_back(anna: Browser, was: str) -> None:
    assert anna.post("/console/points/p1/notes", visitors="7", was=was).status_code == 303


@pytest.mark.parametrize("seen", ["nan", "inf", "-inf", "1e400", ENDLESS, "x"])
def test_what_is_no_time_deals_with_all_that_is_shown(anna: Browser, seen: str) -> None:
    anna.console.running.phone.text("zzqx")
    found = re.search(r"/console/inbox/([0-9a-f]{32})\b", anna.page("/console/inbox"))
    assert found
    group = found[1]
    assert anna.post(f"/console/inbox/{group}/handled", seen=seen).status_code == 303
    assert f'href="/console/inbox/{group}"' not in anna.page("/console/inbox")

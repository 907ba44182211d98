"""Every route states who may use it, and lets in those and nobody else."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import Rule as Route

from responder.core.access import Permission, Role, holds
from responder.web.access import Access, Rule
from tests import engines
from tests.conftest import Running, a_point
from tests.web.console.conftest import Browser, Console

WHO: tuple[Role | None, ...] = (None, *Role)
SAMPLE = {"id": "1", "delivery": "1", "turn": "1", "name": "console.css", "district": "Farsta", "token": "none"}


def rule_of(app: Flask, route: Route) -> Rule:
    return app.view_functions[route.endpoint].access  # type: ignore[attr-defined,no-any-return]


def routes(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    """(method, path, rule) of every route of the console."""
    for route in sorted(app.url_map.iter_rules(), key=str):
        if route.endpoint.startswith(("console.", "simulator.")):
            path = re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda found: SAMPLE.get(found[1], "1"), str(route))
            for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
                yield method, path, rule_of(app, route)


def outcome(browser: Browser, method: str, path: str) -> str:
    """What became of a request: let in, asked to sign in, or refused."""
    answer = browser.get(path) if method == "GET" else browser.post(path)
    answer.close()
    assert answer.status_code < 500, f"{method} {path}: {answer.status_code}"
    if answer.status_code == 401 or (answer.status_code == 302 and "/sign-in" in answer.location):
        return "sign in"
    return "refused" if answer.status_code == 403 else "let in"


def expected(rule: Rule, role: Role | None) -> str:
    if rule.who in (Access.PUBLIC, Access.DEMO):
        return "let in"
    if role is None:
        return "sign in"
    return "let in" if rule.who is Access.SIGNED_IN or holds(role, Permission(rule.who)) else "refused"


def test_every_route_states_a_rule(service: Running) -> None:
    for route in service.app.url_map.iter_rules():
        assert isinstance(rule_of(service.app, route), Rule), route


def test_no_route_that_changes_anything_takes_a_get(service: Running) -> None:
    """A view that takes both shows a form by GET; the rest is in test_a_get_writes_nothing."""
    for method, path, _ in routes(service.app):
        assert method in ("GET", "POST"), path


def test_a_get_writes_nothing(console: Console) -> None:
    console.running.put(a_point("1"))
    browser = console.browser(Role.ADMIN)
    browser.post("/console/broadcasts/new", everyone="y", text_sv="Hej.", fallback="sv")
    browser.get("/console/overview")
    with engines.peek(console.running.path) as watching:
        before, found = watching.writes(), 0
        for method, path, _ in list(routes(console.running.app)):
            if method == "GET":
                for answer in (browser.get(path), browser.client.head(path)):
                    found += answer.status_code == 200
                    answer.get_data()
                    answer.close()
                    assert watching.writes() == before, path
        assert found > 50
        browser.post("/console/shift/on")
        assert watching.writes() != before  # or nothing would be seen here


@pytest.mark.parametrize("role", WHO, ids=lambda role: role.value if role else "nobody")
def test_each_role_comes_in_where_the_rule_says_and_nowhere_else(console: Console, role: Role | None) -> None:
    for method, path, rule in list(routes(console.running.app)):
        browser = console.browser(role) if role else console.guest()  # anew: signing out is a route too
        assert outcome(browser, method, path) == expected(rule, role), f"{method} {path} as {role}"


@pytest.mark.parametrize("role", Role)
def test_who_has_not_proved_lately_who_they_are_is_asked_before_anything_grave(console: Console, role: Role) -> None:
    for method, path, rule in list(routes(console.running.app)):
        if rule.fresh and rule.admits(role):
            browser = console.browser(role, stale=True)
            answer = browser.get(path) if method == "GET" else browser.post(path, kept="what was filled in")
            text = answer.get_data(as_text=True)
            assert answer.status_code == 200 and 'name="proof"' in text, f"{method} {path}"
            assert method == "GET" or "what was filled in" in text, f"{method} {path}"


FIELDS = {
    "version": "1", "seen": "1", "status": "closed", "visitors": "3", "text": "Ett meddelande.", "text_sv": "Hej.",
    "everyone": "y", "fallback": "sv", "danger": "Det brinner i huset.", "why": "Det är fel ort.", "sure": "y",
    "reason": "Det måste bli så.", "name": "kalle", "role": "admin", "alias": "zzqx", "place": "Bagarmossen",
    "lat": "59.24", "lon": "18.09", "coordinate_accuracy": "50", "deadline": "2026-12-30",
}  # fmt: skip


def written(console: Console, browser: Browser) -> set[str]:
    """Which routes that need a permission change what is stored, where every door stands open."""
    found = set()
    with engines.peek(console.running.path) as watching:
        for method, path, rule in list(routes(console.running.app)):
            if method == "POST" and isinstance(rule.who, Permission):
                before = watching.writes()
                browser.post(path.replace("account/console.css", "account/boss"), **FIELDS).close()
                if watching.writes() != before:
                    found.add(path)
    return found


def test_what_the_door_lets_through_the_actions_refuse(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule lives in a page: a door that is left open lets nobody do anything."""
    console.running.put(a_point("1"))
    admin = console.browser(Role.ADMIN)
    admin.post("/console/broadcasts/new", everyone="y", text_sv="Hej.", fallback="sv")
    viewer, elsewhere = console.browser(Role.VIEWER), console.browser(Role.REPORTER, districts=("Bromma",))
    monkeypatch.setattr(Rule, "admits", lambda rule, role: True)
    assert written(console, viewer) == set()
    assert written(console, elsewhere) == {"/console/shift", "/console/shift/on"}
    assert len(written(console, admin)) > 10


def test_a_form_without_its_token_is_refused_everywhere(console: Console) -> None:
    browser = console.browser(Role.ADMIN)
    for method, path, rule in list(routes(console.running.app)):
        if method == "POST" and rule.who is not Access.PROVIDER:
            assert browser.client.post(path).status_code == 400, path


def table(app: Flask) -> str:
    """Role x route, as ARCHITECTURE.md and the notes show it: `python -m tests.web.console.test_routes`."""
    lines = [f"{'route':<58}{'rule':<42}" + "".join(f"{role.value if role else 'nobody':<14}" for role in WHO)]
    for method, path, rule in routes(app):
        what = f"{rule.who}{', fresh' if rule.fresh else ''}{', polls' if rule.polls else ''}"
        marks = {"let in": "yes", "sign in": "-", "refused": "no"}
        lines.append(f"{method + ' ' + path:<58}{what:<42}" + "".join(f"{marks[expected(rule, r)]:<14}" for r in WHO))
    return "\n".join(lines)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from tests.conftest import prepare, run

    with tempfile.TemporaryDirectory() as folder:
        print(table(run(prepare(Path(folder) / "routes.db")).app))

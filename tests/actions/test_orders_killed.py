"""A process that is killed while it answers an order, and two that answer at once: it has happened once, or not yet."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from responder.core.access import Role
from responder.core.points import Status
from tests import engines
from tests.conftest import Running, a_point
from tests.orders.office import ANNA, BO, HOST, RESIDENT, Office

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def office(start: Callable[..., Running]) -> Office:
    """Anna writes, Bo approves, Kerstin is a host, and one resident follows 12347."""
    service = start(number_per_minute=10_000)
    service.put(a_point())
    made = Office(service)
    made.operator("anna", ANNA)
    made.operator("bo", BO, Role.APPROVER)
    made.host()
    service.another_phone(RESIDENT).text("START 12347")
    return made


def killed(office: Office, number: str, sid: str, body: str, where: str) -> None:
    """Have a process answer it that is killed there."""
    seconds = str(office.running.clock().timestamp())
    command = [
        sys.executable,
        "-m",
        "tests.orders.killed",
        engines.url(office.running.path),
        seconds,
        number,
        sid,
        body,
    ]
    done = subprocess.run([*command, where], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def order(office: Office) -> tuple[str, str]:
    return ANNA, f"FULL 1 {office.code('anna')}"


def second_word(office: Office) -> tuple[str, str]:
    office.order("anna", "FULL 1")
    return ANNA, "JA"


def approval(office: Office) -> tuple[str, str]:
    office.order("anna", "SÄND FARSTA FARA ÖVER")
    said = office.phones["anna"].text("JA")
    found = re.search(r"Utskick (\d+)", said)
    assert found
    office.order("bo", f"GODKÄNN {found[1]}")
    return BO, "JA"


def answer(office: Office) -> tuple[str, str]:
    office.later(hours=4)
    office.ask()
    found = re.search(r"FULL (\d\d)", office.told(HOST)[-1])
    assert found
    return HOST, f"FULL {found[1]}"


def traces(office: Office) -> dict[str, int]:
    """What the steps leave behind."""
    return {name: office.count(name) for name in ("wishes", "audit", "broadcasts", "deliveries", "turns")}


@pytest.mark.parametrize("step", [order, second_word, approval, answer], ids=lambda step: step.__name__)
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_step_that_was_killed_is_done_once_when_it_comes_again(
    office: Office, step: Callable[[Office], tuple[str, str]], where: str
) -> None:
    number, body = step(office)
    before = traces(office)
    killed(office, number, "SM-once", body, where)
    assert (traces(office) == before) is (where == "before")
    phone = office.running.another_phone(number)
    said = phone.text(body, "SM-once")
    after = traces(office)
    assert said and not said.startswith("Inget är gjort") and phone.text(body, "SM-once") == said
    assert traces(office) == after and after["turns"] == before["turns"] + 1
    if step is not order:
        assert after["audit"] > before["audit"]
    if step in (second_word, answer):
        assert office.point().status is Status.FULL
        assert [line[1] for line in office.log()].count("set full") == 1
    if step is approval:
        assert after["deliveries"] == before["deliveries"] + 1


@pytest.mark.parametrize("same", [True, False], ids=["one text twice", "two texts"])
def test_two_at_once_do_it_once(office: Office, same: bool) -> None:
    office.order("anna", "FULL 1")
    sids = ["SM-a", "SM-a" if same else "SM-b"]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda sid: office.phones["anna"].text("JA", sid), sids))
    assert [line[1] for line in office.log()].count("set full") == 1
    assert sum("är FULL" in one for one in said) == (2 if same else 1)


def test_a_code_that_is_sent_twice_at_once_is_taken_once(office: Office) -> None:
    code = office.code("anna")
    with ThreadPoolExecutor(4) as pool:
        texts = [f"FULL 1 {code}"] * 4
        said = list(pool.map(office.phones["anna"].text, texts))
    assert sorted("blir FULL" in one for one in said) == [False, False, False, True]

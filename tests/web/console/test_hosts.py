"""The page of hosts: added and removed by who may change the point, their numbers masked."""

from responder.core.access import Role
from tests.conftest import a_point
from tests.web.console.conftest import Console


def test_a_host_is_added_listed_and_removed(console: Console) -> None:
    console.running.put(a_point(), a_point("b", name="Borgen", district="Bromma"))
    browser = console.browser(Role.REPORTER)
    page = browser.page("/console/hosts")
    assert "Hallen p1, Farsta" in page and "Borgen" not in page
    answer = browser.post("/console/hosts/add", point="p1", name="Kerstin", number="+46700000201")
    assert answer.status_code == 303
    page = browser.page("/console/hosts")
    assert "Kerstin" in page and "+4670*****01" in page and "+46700000201" not in page
    assert browser.post("/console/hosts/remove", id="1").status_code == 303
    assert "Kerstin" not in browser.page("/console/hosts")


def test_what_is_wrong_stands_beside_its_field(console: Console) -> None:
    console.running.put(a_point())
    browser = console.browser(Role.REPORTER)
    answer = browser.post("/console/hosts/add", point="p1", name="Kerstin", number="08-123")
    assert answer.status_code == 422 and "kan inte få sms" in answer.get_data(as_text=True)


def test_who_only_looks_sees_no_form(console: Console) -> None:
    console.running.put(a_point())
    page = console.browser(Role.VIEWER).page("/console/hosts")
    assert "hosts/add" not in page
    assert console.browser(Role.VIEWER).post("/console/hosts/add", point="p1").status_code == 403

"""Signing in with a browser, invitations, codes, one's own account, and the accounts of others."""

import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from responder.actions import housekeep, signin, staff
from responder.core.access import Role
from responder.store import accounts
from responder.store.accounts import Account
from responder.web.console.accounts import browser as in_words
from responder.web.console.desk import safe_next
from tests.web.console.conftest import BOSS, PASSWORD, SECRET, Browser, Console

OTHER = "åtta blå bussar på torget"


def body(answer: TestResponse) -> str:
    return answer.get_data(as_text=True)


def code(console: Console, secret: str = SECRET) -> str:
    return str(pyotp.TOTP(secret).at(console.running.clock.now))


def sign_in(browser: Browser, name: str, password: str = PASSWORD, code: str = "", to: str = "") -> TestResponse:
    answer = browser.post(f"/console/sign-in{to}", name=name, password=password, code=code)
    browser._token = ""  # another session has another token for its forms
    return answer


def account(console: Console, name: str) -> Account:
    with console.service.database.read() as connection:
        found = accounts.read_account(connection, name)
    assert found
    return found


def token_in(page: str) -> str:
    found = re.search(r"https://svar\.example(/console/invitation/[\w-]+)", page)
    assert found, page
    return found[1]


def audit(console: Console, name: str) -> list[tuple[str, str]]:
    with console.service.database.read() as connection:
        rows = connection.execute(
            text("SELECT who, action FROM audit WHERE subject = :s ORDER BY id"), {"s": f"operator:{name}"}
        )
        return [(row[0], row[1]) for row in rows]


class TestSigningIn:
    def test_whoever_is_not_signed_in_comes_where_they_wanted_to_go(self, console: Console) -> None:
        console.account("eva", Role.COMMUNICATOR)
        guest = console.guest()
        asked = guest.get("/console/account?x=1")
        assert (asked.status_code, asked.location) == (302, "/console/sign-in?next=/console/account?x%3D1")
        answer = guest.post(asked.location, name="eva", password=PASSWORD, code=code(console))
        assert (answer.status_code, answer.location) == (303, "/console/account?x=1")
        assert "eva" in guest.page("/console/account")

    def test_what_is_wrong_is_told_without_saying_which_and_the_name_stays(self, console: Console) -> None:
        console.account("eva", Role.VIEWER)
        answer = sign_in(console.guest(), "eva", "wrong")
        assert answer.status_code == 422
        assert "Namn, lösenord eller kod är fel." in body(answer) and 'value="eva"' in body(answer)
        assert "wrong" not in body(answer).replace("field wrong", "")

    def test_after_five_failures_there_is_a_wait(self, console: Console) -> None:
        guest = console.guest()
        for _ in range(5):
            sign_in(guest, "eva", "wrong")
        assert "För många försök. Vänta 1 sekunder" in body(sign_in(guest, "eva", "wrong"))

    def test_empty_fields_are_named(self, console: Console) -> None:
        answer = console.guest().post("/console/sign-in")
        assert answer.status_code == 422 and body(answer).count("Fyll i det här.") >= 4  # beside and above, twice

    def test_somebody_who_is_signed_in_already_is_sent_on(self, console: Console) -> None:
        eva = console.browser(Role.VIEWER)
        assert eva.get("/console/sign-in?next=/console/account").location == "/console/account"
        assert eva.get("/console/sign-in").location == "/console/overview"

    def test_signing_out_ends_the_session_and_not_only_the_cookie(self, console: Console) -> None:
        eva = console.browser(Role.VIEWER)
        with eva.client.session_transaction() as cookie:
            kept = cookie["id"]
        assert eva.post("/console/sign-out").location == "/console/sign-in"
        thief = console.guest()
        with thief.client.session_transaction() as cookie:
            cookie["id"] = kept
        assert thief.get("/console/account").status_code == 302

    def test_signing_in_makes_another_session_than_the_cookie_held(self, console: Console) -> None:
        console.account("eva", Role.VIEWER)
        guest = console.guest()
        with guest.client.session_transaction() as cookie:
            cookie["id"], cookie["pending"] = "planted", "PLANTED"
        sign_in(guest, "eva")
        with guest.client.session_transaction() as cookie:
            assert cookie["id"] != "planted" and "pending" not in cookie

    def test_the_language_stays_when_one_signs_out(self, console: Console) -> None:
        eva = console.browser(Role.VIEWER)
        eva.post("/console/language", language="en", next="/console/account")
        assert "My account" in eva.page("/console/account")
        eva.post("/console/sign-out")
        assert "Sign in" in eva.page("/console/sign-in")

    def test_the_cookie_is_for_this_host_and_no_script(self, console: Console) -> None:
        console.account("eva", Role.VIEWER)
        cookie = sign_in(console.guest(), "eva").headers["Set-Cookie"]
        assert cookie.startswith("__Host-responder=")
        assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"))


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "evil.example", "", None, "http://[", "//[", "/\t/evil.example", "\n//evil.example", "/\n/evil.example",
        " //evil.example",
    ],
)  # fmt: skip
def test_nobody_is_sent_on_to_another_host(console: Console, target: str | None) -> None:
    with console.running.app.test_request_context("/console/"):
        assert safe_next(target) == "/console/overview"
        assert safe_next("/console/points?x=1#y") == "/console/points?x=1#y"


class TestSecondFactor:
    def test_whoever_can_send_sets_it_up_before_anything_else(self, console: Console) -> None:
        console.account("eva", Role.COMMUNICATOR)
        with console.service.database.write() as connection:
            accounts.set_credentials(connection, "eva", totp_sealed=b"")
        guest = console.guest()
        assert sign_in(guest, "eva", to="?next=/console/points").location == "/console/points"
        assert guest.get("/console/points").location == "/console/second-factor"
        page = guest.page("/console/second-factor")
        secret = "".join(re.findall(r"<span>([A-Z2-7]{4})</span>", page))
        assert len(secret) == 32 and "<svg" in page and "style=" not in page
        wrong = guest.post("/console/second-factor", code="000000")
        assert wrong.status_code == 422 and "Koden stämmer inte." in body(wrong)
        assert secret[:4] in body(wrong)  # the same one still
        done = guest.post("/console/second-factor", code=code(console, secret))
        codes = re.findall(r"[0-9a-f]{8}-[0-9a-f]{8}", body(done))
        assert done.status_code == 200 and len(codes) == 10
        assert guest.get("/console/overview").status_code == 200
        console.running.clock.pass_time(minutes=1)
        for given in (code(console, secret), codes[0]):
            assert sign_in(console.guest(), "eva", code=given).status_code == 303
        assert sign_in(console.guest(), "eva").status_code == 422

    def test_sending_the_form_again_takes_no_other_secret(self, console: Console) -> None:
        eva = console.browser(Role.VIEWER)
        page = eva.page("/console/second-factor")
        secret = "".join(re.findall(r"<span>([A-Z2-7]{4})</span>", page))
        eva.post("/console/second-factor", code=code(console, secret))
        console.running.clock.pass_time(minutes=1)
        again = eva.post("/console/second-factor", code=code(console, secret))
        assert (again.status_code, again.location) == (303, "/console/second-factor")
        assert sign_in(console.guest(), "viewer", code=code(console, secret)).status_code == 303

    def test_replacing_it_needs_a_code_once_more(self, console: Console) -> None:
        eva = console.browser(Role.APPROVER, stale=True)
        assert 'name="proof"' in eva.page("/console/second-factor")
        assert 'name="proof"' in body(eva.post("/console/second-factor", code="123456"))
        assert eva.post("/console/second-factor", code="123456", proof=code(console)).status_code == 303

    def test_new_recovery_codes_are_shown_once_and_need_a_code(self, console: Console) -> None:
        eva = console.browser(Role.APPROVER, stale=True)
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{8}", body(eva.post("/console/account/codes")))
        shown = body(eva.post("/console/account/codes", proof=code(console)))
        assert len(re.findall(r"[0-9a-f]{8}-[0-9a-f]{8}", shown)) == 10
        page = eva.page("/console/account")
        assert "Reservkoder kvar: 10." in page and not re.search(r"[0-9a-f]{8}-[0-9a-f]{8}", page)


class TestProof:
    def test_what_was_filled_in_is_kept_and_then_done(self, console: Console) -> None:
        console.account("bo", Role.VIEWER)
        boss = console.browser(Role.ADMIN, stale=True)
        fields = {"role": "reporter", "districts": ["Farsta", "Bromma"]}
        asked = boss.post("/console/operators/account/bo", **fields)
        page = body(asked)
        assert account(console, "bo").operator.role is Role.VIEWER
        assert 'name="role" value="reporter"' in page and page.count('name="districts"') == 2
        carried = page[page.index('<form method="post" class="narrow"') :]
        assert carried.count('name="csrf_token"') == 1  # its own: what came is not carried along
        assert 'action="/console/operators/account/bo?"' in page
        assert boss.post("/console/operators/account/bo", **fields, proof=code(console)).status_code == 303
        assert account(console, "bo").operator.districts == ("Farsta", "Bromma")

    def test_a_wrong_code_does_nothing_and_a_row_of_them_has_to_wait(self, console: Console) -> None:
        console.account("bo", Role.VIEWER)
        boss = console.browser(Role.ADMIN, stale=True)
        for _ in range(5):
            answer = boss.post("/console/operators/account/bo/disable", sure="y", proof="000000")
            assert answer.status_code == 422 and "Det stämde inte. Försök igen." in body(answer)
        answer = boss.post("/console/operators/account/bo/disable", sure="y", proof=code(console))
        assert answer.status_code == 422 and "För många försök." in body(answer)
        assert account(console, "bo").disabled_at is None

    def test_a_code_lets_nobody_do_what_their_role_may_not(self, console: Console) -> None:
        console.account("bo", Role.VIEWER)
        eva = console.browser(Role.APPROVER, stale=True)
        answer = eva.post("/console/operators/account/bo/disable", sure="y", proof=code(console))
        assert answer.status_code == 403 and account(console, "bo").disabled_at is None

    def test_what_is_carried_along_is_text_and_nothing_else(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN, stale=True)
        page = body(boss.post("/console/operators/new", name='"><script>alert(1)</script>'))
        assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page

    def test_after_a_page_that_asked_one_is_sent_back_to_it_and_to_no_other_host(self, console: Console) -> None:
        eva = console.browser(Role.APPROVER, stale=True)
        asked = eva.page("/console/second-factor")
        assert 'action="/console/prove?next=/console/second-factor?"' in asked
        assert eva.post("/console/prove?next=//evil.example", proof=code(console)).location == "/console/overview"


class TestInvitation:
    def invited(self, console: Console, name: str = "bo") -> str:
        """The token of an invitation for a new viewer."""
        console.account("boss", Role.ADMIN)
        service, now = console.service, console.running.clock.now
        staff.add(service.database, service.vault, BOSS, name, Role.VIEWER, now, with_token=False)
        return console.door.invite(BOSS, name, now)

    def test_the_address_lets_somebody_choose_a_password_once(self, console: Console) -> None:
        path, guest = f"/console/invitation/{self.invited(console)}", console.guest()
        page = guest.page(path)
        assert "Välkommen, bo" in page and "Minst 12 tecken." in page
        assert guest.post(path, password=OTHER, again=OTHER).location == "/console/sign-in"
        assert sign_in(console.guest(), "bo", OTHER).status_code == 303
        for answer in (console.guest().get(path), console.guest().post(path, password=PASSWORD, again=PASSWORD)):
            assert answer.status_code == 409 and "Inbjudan är redan använd eller för gammal." in body(answer)

    @pytest.mark.parametrize(
        ("password", "again", "said"),
        [
            ("kort", "kort", "För kort: minst 12 tecken."), ("password12345", "password12345", "För lätt att gissa"),
            (OTHER, PASSWORD, "De är inte lika."), ("", "", "Fyll i det här."), ("x" * 129, "x" * 129, "För långt"),
        ],
    )  # fmt: skip
    def test_a_bad_one_is_told_beside_its_field(self, console: Console, password: str, again: str, said: str) -> None:
        path = f"/console/invitation/{self.invited(console)}"
        answer = console.guest().post(path, password=password, again=again)
        assert answer.status_code == 422 and said in body(answer) and 'aria-invalid="true"' in body(answer)
        assert not account(console, "bo").has_password

    def test_whoever_was_signed_in_on_that_computer_is_not_any_more(self, console: Console) -> None:
        path, eva = f"/console/invitation/{self.invited(console)}", console.browser(Role.APPROVER)
        eva.post(path, password=OTHER, again=OTHER)
        assert "/sign-in" in eva.get("/console/account").location

    def test_the_address_is_sent_to_no_other_host(self, console: Console) -> None:
        answer = console.guest().get(f"/console/invitation/{self.invited(console)}")
        assert answer.headers["Referrer-Policy"] == "same-origin" and answer.headers["Cache-Control"] == "no-store"
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', body(answer))


class TestMyAccount:
    def test_it_says_when_one_will_be_signed_out(self, console: Console) -> None:
        page = console.browser(Role.VIEWER).page("/console/account")
        assert "Du loggas ut efter 60 minuter om du inte gör något, och senast 25 nov 02.20." in page

    def test_a_password_is_changed_by_the_present_one(self, console: Console) -> None:
        eva, elsewhere = console.browser(Role.VIEWER, "eva"), console.browser(Role.VIEWER, "eva")
        wrong = eva.post("/console/account/password", old="wrong", password=OTHER, again=OTHER)
        assert wrong.status_code == 422 and "Det nuvarande lösenordet är fel." in body(wrong)
        assert OTHER not in body(wrong)  # passwords are not sent back
        assert eva.post("/console/account/password", old=PASSWORD, password=OTHER, again=OTHER).status_code == 303
        assert eva.get("/console/account").status_code == 200
        assert elsewhere.get("/console/account").status_code == 302
        assert sign_in(console.guest(), "eva", OTHER).status_code == 303

    def test_ones_browsers_are_listed_and_each_can_be_signed_out(self, console: Console) -> None:
        eva, second, third = (console.browser(Role.VIEWER, "eva") for _ in range(3))
        other = console.browser(Role.VIEWER, "other")
        page = eva.page("/console/account")
        which = re.findall(r'name="session" value="(\w+)"', page)
        assert len(which) == 2 and page.count("den här") >= 1
        eva.post("/console/account/sessions", session=which[0])
        assert sorted(b.get("/console/account").status_code for b in (eva, second, third)) == [200, 200, 302]
        eva.post("/console/account/sessions")
        assert [b.get("/console/account").status_code for b in (eva, second, third, other)] == [200, 302, 302, 200]

    def test_nobody_ends_the_sessions_of_others_there(self, console: Console) -> None:
        eva, other = console.browser(Role.VIEWER, "eva"), console.browser(Role.VIEWER, "other")
        with other.client.session_transaction() as cookie:
            theirs = signin.hashed(cookie["id"])
        eva.post("/console/account/sessions", session=theirs)
        assert other.get("/console/account").status_code == 200

    @pytest.mark.parametrize(
        ("agent", "said"),
        [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Windows"),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari, iPhone"),
            ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome, Android"),
            ("curl", "okänd webbläsare"), ("", "okänd webbläsare"),
        ],
    )  # fmt: skip
    def test_a_browser_is_told_in_words(self, agent: str, said: str) -> None:
        assert in_words(agent) == said


class TestOperators:
    def test_an_admin_adds_somebody_and_hands_over_an_address_that_is_shown_once(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN)
        added = boss.post(
            "/console/operators/new", name="Bo", role="reporter", districts=["Farsta"], phone="+46 70-123 45 67"
        )
        assert added.status_code == 200
        path = token_in(body(added))
        bo = account(console, "bo")
        assert (bo.operator.role, bo.operator.districts, bo.operator.created_by) == (
            Role.REPORTER,
            ("Farsta",),
            "admin",
        )
        assert not bo.has_token and console.service.vault.open(bo.phone_sealed) == "+46701234567"
        assert path.rsplit("/", 1)[1] not in boss.page("/console/operators") + boss.page(
            "/console/operators/account/bo"
        )
        assert "inbjuden, har inte loggat in än" in boss.page("/console/operators")
        console.guest().post(path, password=OTHER, again=OTHER)
        assert sign_in(console.guest(), "bo", OTHER).status_code == 303
        assert "aktivt" in boss.page("/console/operators")
        assert audit(console, "bo")[:2] == [("admin", "add"), ("admin", "invite")]

    @pytest.mark.parametrize(
        ("fields", "field", "said"),
        [
            ({"name": "rule of thumb", "role": "viewer"}, "name", "ett namn är bokstäver"),
            ({"name": "admin", "role": "viewer"}, "name", "det finns redan ett konto"),
            ({"name": "bo", "role": "viewer", "phone": "070"}, "phone", "är inte i internationell form"),
            ({"name": "bo", "role": "reporter"}, "districts", "behöver minst ett stadsdelsområde"),
            ({"name": "bo", "role": "king"}, "role", "Välj en roll."),
            ({"name": "bo"}, "role", "Välj en roll."),
            ({"role": "viewer"}, "name", "Fyll i det här."),
        ],
    )
    def test_what_is_wrong_stands_beside_its_field(
        self, console: Console, fields: dict[str, str], field: str, said: str
    ) -> None:
        answer = console.browser(Role.ADMIN).post("/console/operators/new", **fields)
        assert answer.status_code == 422
        assert re.search(rf'href="#{field}">[^<]*</a>: [^<]*{said}', body(answer)), body(answer)
        with console.service.database.read() as connection:
            assert accounts.read_account(connection, "bo") is None

    def test_a_role_and_districts_are_changed_and_count_at_once(self, console: Console) -> None:
        boss, bo = console.browser(Role.ADMIN), console.browser(Role.VIEWER, "bo")
        boss.post("/console/operators/account/bo", role="admin")
        assert bo.get("/console/operators").location == "/console/second-factor"  # can send now, and has no codes
        boss.post("/console/operators/account/bo", role="reporter", districts=["Farsta"])
        assert bo.get("/console/operators").location == "/console/second-factor"  # a changed point sends messages too
        boss.post("/console/operators/account/bo", role="viewer", districts=["Farsta"])
        assert bo.get("/console/operators").status_code == 403
        assert account(console, "bo").operator.districts == ("Farsta",)
        answer = boss.post("/console/operators/account/bo", role="reporter")
        assert answer.status_code == 422 and account(console, "bo").operator.districts == ("Farsta",)

    def test_nobody_changes_their_own_role_but_may_change_their_districts(self, console: Console) -> None:
        console.account("boss", Role.ADMIN)
        boss = console.browser(Role.ADMIN)
        answer = boss.post("/console/operators/account/admin", role="approver")
        assert answer.status_code == 422 and "du kan inte ändra din egen roll" in body(answer)
        assert boss.post("/console/operators/account/admin", role="admin", districts=["Farsta"]).status_code == 303

    def test_inviting_again_ends_password_codes_and_sessions(self, console: Console) -> None:
        boss, bo = console.browser(Role.ADMIN), console.browser(Role.APPROVER, "bo")
        path = token_in(body(boss.post("/console/operators/account/bo/invite")))
        assert "/sign-in" in bo.get("/console/account").location
        assert sign_in(console.guest(), "bo", PASSWORD, code(console)).status_code == 422
        console.guest().post(path, password=OTHER, again=OTHER)
        guest = console.guest()
        console.running.clock.pass_time(minutes=1)
        assert sign_in(guest, "bo", OTHER).status_code == 303
        assert guest.get("/console/overview").location == "/console/second-factor"

    def test_signing_somebody_out_everywhere(self, console: Console) -> None:
        boss, bo = console.browser(Role.ADMIN), console.browser(Role.VIEWER, "bo")
        boss.post("/console/operators/account/bo/sessions")
        assert "/sign-in" in bo.get("/console/account").location

    def test_who_was_signed_out_hears_of_it_and_whether_anything_was_saved(self, console: Console) -> None:
        bo = console.browser(Role.VIEWER, "bo")
        console.browser(Role.ADMIN).post("/console/operators/account/bo/sessions")
        looked = bo.get("/console/points", follow_redirects=True).get_data(as_text=True)
        assert "Du har loggats ut. Logga in för att fortsätta." in looked
        saved = bo.post("/console/points/p1/save", follow=True).get_data(as_text=True)
        assert "Du har loggats ut, och inget sparades." in saved
        assert "för att fortsätta" not in console.guest().get("/console/points", follow_redirects=True).get_data(
            as_text=True
        )

    def test_a_token_for_the_command_line_is_withdrawn(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN)
        console.account("bo", Role.VIEWER)
        assert account(console, "bo").has_token
        boss.post("/console/operators/account/bo/token")
        assert not account(console, "bo").has_token

    def test_a_phone_is_given_changed_and_removed_and_never_shown_whole(self, console: Console) -> None:
        boss, path = console.browser(Role.ADMIN), "/console/operators/account/bo"
        console.account("bo", Role.REPORTER, ("Farsta",))
        assert "ingen angiven" in boss.page(path) and "Ta bort telefonen" not in boss.page(path)
        for number, shown in (("+46 70-765 43 21", "+4670*****21"), ("+46707654399", "+4670*****99")):
            answer = boss.post(f"{path}/phone", phone=number)
            assert answer.location == path
            page = boss.page(path)
            assert f"bo har nu telefonen {shown}. Från den förra går det inte att ge order längre." in page
            assert f"<dd>{shown}</dd>" in page and "7654" not in page
        assert console.service.vault.open(account(console, "bo").phone_sealed) == "+46707654399"
        assert boss.post(f"{path}/phone/remove").location == path
        assert "bo har ingen telefon nu." in boss.page(path) and not account(console, "bo").phone_sealed
        assert audit(console, "bo")[-3:] == [("admin", "change phone")] * 3
        assert "7654" not in boss.page("/console/audit") and "bytt telefon" in boss.page("/console/audit")

    @pytest.mark.parametrize(("phone", "said"), [("070", "är inte i internationell form"), ("", "Fyll i det här")])
    def test_what_is_no_number_is_told_beside_the_field_and_changes_nothing(
        self, console: Console, phone: str, said: str
    ) -> None:
        boss = console.browser(Role.ADMIN)
        console.account("bo", Role.VIEWER)
        boss.post("/console/operators/account/bo/phone", phone="+46701234567")
        answer = boss.post("/console/operators/account/bo/phone", phone=phone)
        assert answer.status_code == 422 and re.search(rf'id="phone-error">[^<]*{said}', body(answer))
        assert account(console, "bo").phone_sealed

    def test_a_disabled_account_is_given_no_phone(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN)
        console.account("bo", Role.VIEWER)
        boss.post("/console/operators/account/bo/disable", sure="y")
        assert "/phone" not in boss.page("/console/operators/account/bo")
        assert boss.post("/console/operators/account/bo/phone", phone="+46701234567").status_code >= 400
        assert not account(console, "bo").phone_sealed

    def test_disabling_wants_a_tick_and_is_at_once(self, console: Console) -> None:
        boss, bo = console.browser(Role.ADMIN), console.browser(Role.VIEWER, "bo")
        assert boss.post("/console/operators/account/bo/disable").status_code == 422
        assert bo.get("/console/account").status_code == 200
        assert boss.post("/console/operators/account/bo/disable", sure="y").status_code == 303
        assert "/sign-in" in bo.get("/console/account").location
        assert "avstängt" in boss.page("/console/operators/account/bo")

    def test_the_last_admin_stays(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN)
        boss.post("/console/operators/account/boss/disable", sure="y")
        answer = boss.post("/console/operators/account/admin/disable", sure="y")
        assert answer.status_code == 422 and "den sista administratören" in body(answer)

    def test_what_nobody_is_called_is_not_found(self, console: Console) -> None:
        boss = console.browser(Role.ADMIN)
        for path in ("", "/invite", "/sessions", "/token", "/disable"):
            assert boss.post(f"/console/operators/account/nobody{path}").status_code == 404
        assert boss.get("/console/operators/account/nobody").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["sign-in", "accessibility", "account", "operators", "operators/new", "operators/account/admin", "second-factor"],
)
@pytest.mark.parametrize("language", ["sv", "en"])
def test_pages_hold_no_style_or_script_that_the_policy_forbids(console: Console, path: str, language: str) -> None:
    browser = console.guest() if path == "sign-in" else console.browser(Role.ADMIN)
    browser.post("/console/language", language=language)
    page = browser.page(f"/console/{path}")
    assert f'<html lang="{language}">' in page
    assert not re.search(r'\sstyle="|\son\w+="|<style|<script(?! src="/console/static/)', page)
    assert len(re.findall(r"<h1[ >]", page)) == 1


def test_a_session_that_has_grown_too_old_ends_whatever_one_does(console: Console) -> None:
    eva = console.browser(Role.VIEWER)
    for _ in range(24):
        console.running.clock.now += timedelta(minutes=30)
        assert eva.get("/console/account").status_code == 200
    console.running.clock.now += timedelta(seconds=1)
    assert eva.get("/console/account").status_code == 302


def test_keeping_house_forgets_old_sessions_and_failures(console: Console) -> None:
    service, now = console.service, console.running.clock.now
    console.browser(Role.VIEWER)
    sign_in(console.guest(), "eva", "wrong")

    def left(days: float) -> list[int]:
        at = now + timedelta(days=days)
        view = service.snapshot.read(at)
        housekeep.keep_house(service.database, service.vault, service.messages, view, service.settings, at)
        with service.database.read() as connection:
            counts = [connection.execute(text(f"SELECT count(*) FROM {name}")) for name in ("sessions", "failures")]
            return [int(one.scalar_one()) for one in counts]

    assert [left(0.9), left(1.1), left(29.9), left(30.1)] == [[1, 2], [1, 0], [1, 0], [0, 0]]

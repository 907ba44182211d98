"""Accounts: who may make them, that a token is told once, and that there is always an admin."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from responder.actions import staff
from responder.core.access import Forbidden, Operator, Role, shell
from responder.core.broadcast import objection
from responder.store import accounts as store
from responder.store.engine import Database
from responder.store.queries import audit_log
from responder.store.vault import Vault
from tests import engines
from tests.conftest import NOW

VAULT = Vault(("number key",), ("lookup key",))
ROOT = shell("root")


@pytest.fixture
def database(tmp_path: Path, prepared: Path) -> Iterator[Database]:
    """A database without accounts."""
    path = tmp_path / "staff.db"
    engines.copy(prepared, path)
    found = Database(engines.url(path))
    yield found
    found.close()


def add(database: Database, by: Operator, name: str, role: Role = Role.COMMUNICATOR, **more: object) -> Operator:
    """Add an account and sign in with its token."""
    return staff.signed_in(database, staff.add(database, VAULT, by, name, role, NOW, **more))  # type: ignore[arg-type]


@pytest.fixture
def anna(database: Database) -> Operator:
    """The first admin."""
    return add(database, ROOT, "anna", Role.ADMIN)


def test_a_bare_shell_adds_the_first_admin_and_nobody_else(database: Database) -> None:
    with pytest.raises(staff.BadAccount, match="the first account must be an admin, not approver"):
        add(database, ROOT, "bo", Role.APPROVER)
    assert add(database, ROOT, "anna", Role.ADMIN).created_by == "shell:root"
    with pytest.raises(Forbidden, match="shell:root may not manage operators: sign in first"):
        add(database, ROOT, "bo", Role.ADMIN)


def test_only_a_signed_in_admin_manages_accounts(database: Database, anna: Operator) -> None:
    bo = add(database, anna, "bo", Role.APPROVER)
    for somebody in (bo, ROOT):
        with pytest.raises(Forbidden):
            add(database, somebody, "carl")
        with pytest.raises(Forbidden):
            staff.set_role(database, somebody, "bo", Role.ADMIN, NOW)
        with pytest.raises(Forbidden):
            staff.disable(database, somebody, "anna", NOW)


def test_only_a_hash_of_the_token_is_kept(database: Database) -> None:
    token = staff.add(database, VAULT, ROOT, "anna", Role.ADMIN, NOW)
    with database.read() as connection:
        row = connection.execute(text("SELECT * FROM operators")).one()
        log = audit_log(connection, "operator:anna")
    assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert token not in f"{row} {log}"
    assert [(line.who, line.action) for line in log] == [("shell:root", "add")]


def test_signing_in_tells_who_it_is(database: Database, anna: Operator) -> None:
    bo = add(database, anna, " Bo ", Role.REPORTER, districts=["Farsta", "Farsta"])
    assert bo == Operator("bo", Role.REPORTER, ("Farsta",), "anna", signed_in=True)


def test_an_unknown_token_and_that_of_a_disabled_account_are_refused(database: Database, anna: Operator) -> None:
    token = staff.add(database, VAULT, anna, "bo", Role.APPROVER, NOW)
    with pytest.raises(staff.UnknownToken):
        staff.signed_in(database, token + "x")
    staff.disable(database, anna, "bo", NOW)
    with pytest.raises(staff.Disabled, match="the account bo is disabled"):
        staff.signed_in(database, token)
    with pytest.raises(staff.BadAccount, match="disabled already"):
        staff.disable(database, anna, "bo", NOW)


def test_the_last_admin_stays_one(database: Database, anna: Operator) -> None:
    add(database, anna, "bo", Role.APPROVER)
    with pytest.raises(staff.LastAdmin, match="anna is the last admin"):
        staff.disable(database, anna, "anna", NOW)
    with pytest.raises(staff.LastAdmin):
        staff.set_role(database, anna, "anna", Role.VIEWER, NOW)
    staff.set_role(database, anna, "bo", Role.ADMIN, NOW)
    staff.disable(database, anna, "anna", NOW)
    with pytest.raises(staff.LastAdmin, match="bo is the last admin"):
        staff.set_role(database, Operator("bo", Role.ADMIN, signed_in=True), "bo", Role.APPROVER, NOW)


@pytest.mark.parametrize("name", ["", "shell:root", "rule of thumb", "-bo", "b" * 41])
def test_a_name_that_could_be_taken_for_another_is_refused(database: Database, name: str) -> None:
    with pytest.raises(staff.BadAccount, match="a name is letters"):
        add(database, ROOT, name, Role.ADMIN)


def test_a_name_is_given_once(database: Database, anna: Operator) -> None:
    with pytest.raises(staff.BadAccount, match="already an account 'anna'"):
        add(database, anna, "Anna")
    with pytest.raises(staff.BadAccount, match="no account is called 'carl'"):
        staff.set_role(database, anna, "carl", Role.VIEWER, NOW)


def test_a_phone_is_sealed_and_must_be_a_number(database: Database, anna: Operator) -> None:
    add(database, anna, "bo", phone="+46 70-123 45 67")
    bo = next(account for account in staff.accounts(database, anna) if account.operator.name == "bo")
    assert VAULT.open(bo.phone_sealed) == "+46701234567"
    for wrong in ("0701234567", "+46", "hej"):
        with pytest.raises(staff.BadAccount, match="phone"):
            add(database, anna, "carl", phone=wrong)


def test_a_reporter_has_districts_whenever_they_are_one(database: Database, anna: Operator) -> None:
    for none in ([], ["", "  "]):
        with pytest.raises(staff.BadDistricts, match="a reporter needs at least one district"):
            add(database, anna, "bo", Role.REPORTER, districts=none)
    add(database, anna, "bo", Role.VIEWER)
    with pytest.raises(staff.BadDistricts):
        staff.set_role(database, anna, "bo", Role.REPORTER, NOW)
    staff.set_role(database, anna, "bo", Role.REPORTER, NOW, ["Farsta", " Bromma "])
    staff.set_role(database, anna, "bo", Role.APPROVER, NOW)  # keeps them
    assert staff.account(database, anna, "bo").operator == Operator("bo", Role.APPROVER, ("Farsta", "Bromma"), "anna")
    with pytest.raises(staff.BadDistricts):
        staff.set_role(database, anna, "bo", Role.REPORTER, NOW, [])
    staff.set_role(database, anna, "bo", Role.APPROVER, NOW, [])
    assert staff.account(database, anna, "bo").operator.districts == ()


def test_nobody_changes_their_own_role(database: Database, anna: Operator) -> None:
    add(database, anna, "bo", Role.ADMIN)
    with pytest.raises(staff.OwnRole):
        staff.set_role(database, anna, "anna", Role.APPROVER, NOW)
    staff.set_role(database, anna, "anna", Role.ADMIN, NOW, ["Farsta"])  # districts are not a role
    assert staff.account(database, anna, "anna").operator.districts == ("Farsta",)


def test_an_admin_who_has_never_come_in_is_no_reason_to_let_the_last_one_go(database: Database, anna: Operator) -> None:
    staff.add(database, VAULT, anna, "bo", Role.ADMIN, NOW, with_token=False)
    with pytest.raises(staff.LastAdmin):
        staff.disable(database, anna, "anna", NOW)
    with database.write() as connection:
        store.set_credentials(connection, "bo", password_hash="chosen")
    staff.disable(database, anna, "anna", NOW)


@pytest.mark.parametrize("token", ["", " ", "\n"])
def test_an_account_without_a_token_is_opened_by_none(database: Database, anna: Operator, token: str) -> None:
    assert staff.add(database, VAULT, anna, "bo", Role.ADMIN, NOW, with_token=False) == ""
    assert not staff.account(database, anna, "bo").has_token
    with pytest.raises(staff.UnknownToken):
        staff.signed_in(database, token)
    with database.read() as connection:
        assert store.account_with(connection, "") is None


def test_another_token_ends_the_one_before(database: Database, anna: Operator) -> None:
    first = staff.add(database, VAULT, anna, "bo", Role.VIEWER, NOW)
    bo = staff.signed_in(database, first)
    second = staff.new_token(database, bo, "bo", NOW)
    with pytest.raises(staff.UnknownToken):
        staff.signed_in(database, first)
    third = staff.new_token(database, anna, "bo", NOW)
    with pytest.raises(staff.UnknownToken):
        staff.signed_in(database, second)
    staff.withdraw_token(database, anna, "bo", NOW)
    with pytest.raises(staff.UnknownToken):
        staff.signed_in(database, third)
    with database.read() as connection:
        log = audit_log(connection, "operator:bo")
    assert [(line.who, line.action) for line in log] == [
        ("anna", "add"), ("bo", "token"), ("anna", "token"), ("anna", "withdraw token"),
    ]  # fmt: skip
    assert not any(token in str(log) for token in (first, second, third))


def test_a_token_is_made_for_oneself_or_by_an_admin(database: Database, anna: Operator) -> None:
    bo = add(database, anna, "bo", Role.APPROVER)
    for somebody in (bo, ROOT, Operator("anna", Role.ADMIN)):
        for change in (staff.new_token, staff.withdraw_token):
            with pytest.raises(Forbidden):
                change(database, somebody, "anna", NOW)
    staff.disable(database, anna, "bo", NOW)
    with pytest.raises(staff.BadAccount, match="disabled"):
        staff.new_token(database, anna, "bo", NOW)


def test_whoever_makes_a_token_for_somebody_else_counts_as_who_created_the_account(
    database: Database, anna: Operator
) -> None:
    dora = add(database, anna, "dora", Role.ADMIN)
    add(database, anna, "bo", Role.APPROVER)
    as_bo = staff.signed_in(database, staff.new_token(database, dora, "bo", NOW))
    assert as_bo.created_by == "dora"
    with database.read() as connection:
        creators = {one.operator.name: one.operator.created_by for one in store.read_accounts(connection)}
    for writer in ("dora", "anna", "shell:root"):  # anna created dora
        assert "goes back to" in str(objection(as_bo, [writer], creators, 1, 1))
    assert objection(as_bo, ["cilla"], creators, 1, 1) is None
    assert staff.signed_in(database, staff.new_token(database, as_bo, "bo", NOW)).created_by == "dora"


def test_whoever_could_still_come_in_otherwise_counts_beside_who_makes_a_token(
    database: Database, anna: Operator
) -> None:
    dora = add(database, anna, "dora", Role.ADMIN)
    add(database, anna, "bo", Role.APPROVER)
    with database.write() as connection:  # bo has come in by an invitation of anna's, who may know the password
        store.set_credentials(connection, "bo", password_hash="a hash")
    assert staff.signed_in(database, staff.new_token(database, dora, "bo", NOW)).created_by == "anna, dora"


def test_the_last_admin_keeps_a_way_in(database: Database, anna: Operator) -> None:
    with pytest.raises(staff.LastAdmin):
        staff.withdraw_token(database, anna, "anna", NOW)
    with database.write() as connection:
        store.set_credentials(connection, "anna", password_hash="a hash")
    staff.withdraw_token(database, anna, "anna", NOW)
    assert not staff.account(database, anna, "anna").has_token

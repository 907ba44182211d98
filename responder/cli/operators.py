"""`responder operator`: who runs the service, and as whom a command is run."""

import getpass
import os

import click

from responder.actions import staff
from responder.actions.signin import Door
from responder.cli import _plainly
from responder.core.access import Operator, Role, shell
from responder.settings import Settings, key_list, load_settings
from responder.store.engine import Database
from responder.store.vault import Vault, masked
from responder.wiring import utc_now

TOKEN = "RESPONDER_TOKEN"  # noqa: S105 - the name of a variable
ROLES = click.Choice([role.value for role in Role])


def who(database: Database) -> Operator:
    """Whose token is in RESPONDER_TOKEN, or whoever has this shell."""
    token = os.environ.get(TOKEN, "").strip()
    return staff.signed_in(database, token) if token else shell(getpass.getuser())


def vault_of(settings: Settings) -> Vault:
    """What numbers are sealed with."""
    return Vault(key_list(settings.number_key), key_list(settings.lookup_key))


def number(vault: Vault, sealed: bytes) -> str:
    """A sealed number, masked; "-" where there is none."""
    if not sealed:
        return "-"
    try:
        return masked(vault.open(sealed))
    except ValueError:
        return "(sealed by a key that is gone)"


def invitation(settings: Settings, database: Database, by: Operator, name: str) -> str:
    """The address at which `name` chooses a password."""
    door = Door(database, vault_of(settings), settings)
    return f"{settings.public_url}/console/invitation/{door.invite(by, name, utc_now())}"


@click.group()
def operator() -> None:
    """Who runs the service. Without RESPONDER_TOKEN you are shell:USER, who never approves."""


@operator.command(name="add")
@click.argument("name")
@click.option("--role", required=True, type=ROLES)
@click.option("--district", "districts", multiple=True, help="Whose points they may change. Repeat it. None: all.")
@click.option("--phone", default="", help="International form, such as +46701234567.")
@_plainly
def operator_add(name: str, role: str, districts: tuple[str, ...], phone: str) -> None:
    """Add an account; print its token, and the address at which they choose a password, once. The first must be an
    admin.
    """
    settings = load_settings()
    database = Database(settings.database_url)
    vault, by = vault_of(settings), who(database)
    token = staff.add(database, vault, by, name, Role(role), utc_now(), districts, phone)
    click.echo(f"{TOKEN}={token}")
    click.echo(invitation(settings, database, by, name.strip().lower()))
    click.echo("Both are shown once; only their hashes are kept. The address is good for three days.", err=True)


@operator.command(name="invite")
@click.argument("name")
@_plainly
def operator_invite(name: str) -> None:
    """Print an address at which somebody chooses a password. Password, codes and browsers of before are ended."""
    settings = load_settings()
    database = Database(settings.database_url)
    click.echo(invitation(settings, database, who(database), name))
    click.echo("This is shown once. It is good for three days.", err=True)


@operator.command(name="token")
@click.argument("name")
@_plainly
def operator_token(name: str) -> None:
    """Print a new token for the command line, yours or as an admin anybody's. The one before is ended."""
    database = Database(load_settings().database_url)
    click.echo(f"{TOKEN}={staff.new_token(database, who(database), name, utc_now())}")
    click.echo("This is shown once; only its hash is kept.", err=True)


@operator.command(name="codes")
@click.argument("name")
@_plainly
def operator_codes(name: str) -> None:
    """Print twenty codes for orders by phone, each good once; those of before are void."""
    settings = load_settings()
    database = Database(settings.database_url)
    for code in staff.print_codes(database, vault_of(settings), who(database), name, utc_now()):
        click.echo(f"{code[:4]} {code[4:]}")
    click.echo("These are shown once; only their hashes are kept. Cross each out when it is used.", err=True)


@operator.command(name="list")
@_plainly
def operator_list() -> None:
    """All accounts."""
    settings = load_settings()
    database, vault = Database(settings.database_url), vault_of(settings)
    found = staff.accounts(database, who(database))
    for account in found:
        one = account.operator
        state = "active" if account.disabled_at is None else "disabled"
        where = ", ".join(one.districts) or "all districts"
        phone = number(vault, account.phone_sealed)
        click.echo(f"{one.name}\t{one.role}\t{state}\t{where}\tby {one.created_by}\t{phone}")
    if not found:
        click.echo("no accounts; `responder operator add NAME --role admin` adds the first")


@operator.command(name="role")
@click.argument("name")
@click.argument("role", type=ROLES)
@click.option("--district", "districts", multiple=True, help="Other districts. Repeat it. None: those they have.")
@_plainly
def operator_role(name: str, role: str, districts: tuple[str, ...]) -> None:
    """Give an account another role, or other districts."""
    database = Database(load_settings().database_url)
    staff.set_role(database, who(database), name, Role(role), utc_now(), districts or None)
    click.echo(f"{name}: {role}")


@operator.command(name="phone")
@click.argument("name")
@click.argument("number", default="")
@click.option("--remove", is_flag=True, help="They have no phone any more.")
@_plainly
def operator_phone(name: str, number: str, remove: bool) -> None:
    """Give an account another phone: NUMBER in international form, such as +46701234567. The one before orders nothing
    any more.
    """
    if bool(number) is remove:
        raise click.UsageError("give either a number or --remove")
    settings = load_settings()
    database, vault = Database(settings.database_url), vault_of(settings)
    phone = staff.set_phone(database, vault, who(database), name, number, utc_now())
    click.echo(f"{name}: {phone or 'no phone'}")


@operator.command(name="disable")
@click.argument("name")
@_plainly
def operator_disable(name: str) -> None:
    """End an account: nothing of theirs opens anything any more."""
    database = Database(load_settings().database_url)
    staff.disable(database, who(database), name, utc_now())
    click.echo(f"{name}: disabled")

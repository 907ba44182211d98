"""`responder jobs` and `responder subscriptions`."""

import signal
import threading
from contextlib import closing, nullcontext

import click

from responder import logs, metrics
from responder.cli import _plainly
from responder.cli.operators import who
from responder.core.access import Permission, require
from responder.jobs import Jobs
from responder.modem import Modem
from responder.settings import load_settings
from responder.store.engine import Database
from responder.store.queries import subscription_counts
from responder.wiring import wire


@click.command()
@_plainly
def jobs() -> None:
    """Push changes, send, keep house, and look after this machine's modem, until it is told to end. Run as many as you
    like: all send, one leads.
    """
    settings = load_settings()
    logs.install(settings.log_format, settings.secrets)
    service = wire(settings)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    modem = Modem(service) if settings.modem_database else nullcontext()
    with metrics.shared(settings.metrics_folder), closing(service.database), Jobs(service) as running, modem:
        click.echo(f"jobs: {running.owner}, {'leads' if running.leads() else 'waits to lead'}")
        ending.wait()


@click.command()
@_plainly
def subscriptions() -> None:
    """How many follow which place, by language and channel. Never a number."""
    database = Database(load_settings().database_url)
    require(who(database), Permission.VIEW)
    with database.read() as connection:
        rows, numbers, stopped = subscription_counts(connection)
    for row in rows:
        click.echo("\t".join(str(value) for value in row))
    click.echo(f"{sum(row[-1] for row in rows)} subscriptions of {numbers} numbers; {stopped} numbers have said STOPP")

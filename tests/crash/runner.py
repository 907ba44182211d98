"""`responder jobs` whose leader is followed sooner than in real life, or which is broken on purpose.

CRASH_LEASE=1 CRASH_START_WITHIN=5 CRASH_SABOTAGE=0 python -m tests.crash.runner
"""

import os

from responder import jobs
from responder.actions import deliver
from responder.cli import main
from responder.store import outbox
from responder.store.outbox import Item

RENEWALS = 3  # in the time of a lease


async def _resend(self: deliver.Deliverer, item: Item, complete: bool) -> None:
    """What must not be done: send again what a dead process left behind, without asking the provider."""
    with self._db.write() as connection:
        outbox.put_back(connection, [item], self._clock().timestamp(), tried=True)


def prepare() -> None:
    """Take the constants from the environment."""
    if lease := float(os.environ.get("CRASH_LEASE", 0)):
        jobs.LEASE_SECONDS = lease
        jobs.RENEW_EVERY = lease / RENEWALS  # type: ignore[assignment]
    deliver.START_WITHIN = float(os.environ.get("CRASH_START_WITHIN", deliver.START_WITHIN))
    if os.environ.get("CRASH_SABOTAGE") == "1":
        deliver.Deliverer._look_up = _resend  # type: ignore[method-assign]


if __name__ == "__main__":
    prepare()
    main(["jobs"])

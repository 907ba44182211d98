"""Twilio fails in every way while messages go out, and 46elks takes over: is anybody left out, or told twice?

    python -m tests.failover.run [--quick] [--engine sqlite|postgresql] [--senders 2] [--seed 1] [--sabotage]

Real processes on one database: gunicorn for residents and receipts, and `--senders` times `responder jobs`, which send by
both. While broadcasts and changes of points flow and residents say STOPP, Twilio answers 500, then hangs, then takes or
loses messages and cuts the connection (while its list answers, so that it is tried with messages), and is well again in
between; now and then a sender is killed with -9 and another begins. In the end what BOTH providers took is compared with
what everybody should have had. `--sabotage` sends what is unclear by the other provider, and must be found out.
"""

import argparse
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path

from responder.ports import ELKS, TWILIO
from responder.settings import Settings
from tests.bench.reply import free_port
from tests.conftest import TOKEN
from tests.crash import harness
from tests.crash.harness import ACCOUNT, Feeder, Leavers, Timing, World, database_in, environment_of, settled
from tests.crash.processes import Jobs, Nursery, Web, wait_for
from tests.crash.verdict import Verdict, judge
from tests.failover.watch import Transcript, Watch, first_after, wait_until
from tests.fakes import elks
from tests.fakes.elks import FakeElks
from tests.fakes.twilio import FakeTwilio, Faults

RATE = 10.0  # segments a second, of each gateway
BACKLOG = 40
TIMING = Timing((0.2, 1.0), reconcile=3.0, api_timeout=4.0, start_within=2.0)
SWITCH_WITHIN = 10.0  # seconds from the first request that failed
USUAL = Faults(
    latency=0.04, lose=0.01, error_before=0.005, error_after=0.005, list_delay=(0.2, 1.0), receipt_delay=(0.05, 2.0),
    receipt_double=0.1, receipt_lost=0.3,
)  # fmt: skip
CUT = Faults(**{**vars(USUAL), "lose": 0.5, "drop": 0.49})
OUTAGES = ("500", "hang", "cut")
SHOWN = 10
_OF_GATEWAYS = re.compile(r"gateway \S+ (is down|works)")


@dataclass(frozen=True)
class Plan:
    """Seconds: how long a gateway stays away (GATEWAY_HOLD), how long Twilio fails and is well; and how often."""

    hold: float
    bad: float
    well: float
    rounds: tuple[str, ...]
    kill_every: tuple[float, float]


PLANS = {
    False: Plan(hold=10, bad=20, well=12, rounds=OUTAGES * 2, kill_every=(4.0, 9.0)),
    True: Plan(hold=3, bad=7, well=3, rounds=("500", "cut"), kill_every=(3.0, 5.0)),
}


@dataclass
class Senders:
    """Processes that send; one is killed now and then."""

    nursery: Nursery
    folder: Path
    many: int
    dice: random.Random
    transcript: Transcript
    plan: Plan
    running: list[Jobs] = field(default_factory=list)
    kills: int = 0
    _next: float = 0.0
    _serial: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def fill_up(self) -> None:
        """As many as there shall be."""
        self.running = [one for one in self.running if one.alive]
        while len(self.running) < self.many:
            self.running.append(self.nursery.jobs(self.folder / f"jobs-{next(self._serial)}.log"))

    def live(self, seconds: float) -> None:
        """Let time pass, and kill one whenever it is time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fill_up()
            if not all(one.owner for one in self.running):
                self._next = 0.0  # they are let come up first
            elif not self._next:
                self._next = time.monotonic() + self.dice.uniform(*self.plan.kill_every)
            elif time.monotonic() > self._next:
                victim = self.dice.choice(self.running)
                victim.kill()
                self.kills += 1
                self.transcript.say(f"a sender is killed ({victim.owner})")
            time.sleep(0.1)

    def end(self) -> None:
        """Ask all to end."""
        for one in self.running:
            one.end()


@dataclass(frozen=True)
class Switch:
    """What an outage came to, in seconds: from the first request that failed until the other had its first message and
    until it had nearly all; from its end until Twilio had nearly all again. None: never.
    """

    outage: str
    first: float | None
    away: float | None
    back: float | None


def outage(
    how: str, providers: dict[str, FakeTwilio], watch: Watch, senders: Senders, plan: Plan, transcript: Transcript
) -> Switch:
    """Let Twilio fail for a while, and wait until it is used again."""
    twilio = providers[TWILIO]
    _fail(twilio, how)
    began = time.monotonic()
    said = {"500": "answers 500", "hang": "hangs", "cut": "takes or loses messages, and cuts the connection"}
    transcript.say(f"Twilio {said[how]}")
    senders.live(plan.bad)
    failed = first_after(twilio, began) or began
    other = first_after(providers[ELKS], failed)
    swung = next((at for at, name in watch.switches if at > failed and name == ELKS), None)
    _fail(twilio, "")
    ended = time.monotonic()
    transcript.say("Twilio is well again")
    back = None
    if wait_until(lambda: watch.used == TWILIO, 60 + 4 * plan.hold):
        back = next((at for at, name in watch.switches if at > ended and name == TWILIO), None)
    senders.live(plan.well)
    return Switch(
        how, other - failed if other else None, swung - failed if swung else None, back - ended if back else None
    )


def _fail(twilio: FakeTwilio, how: str) -> None:
    twilio.faults = CUT if how == "cut" else USUAL
    twilio.outage = how if how in ("500", "hang") else None  # type: ignore[assignment]


def late(providers: dict[str, FakeTwilio], stopped: dict[str, float]) -> list[str]:
    """Messages that a provider took after a confirmed STOPP, but for those that were on their way."""
    ahead = time.time() - time.monotonic()  # noqa: TID251 - the providers' clock, of the steady one
    return [
        f"{name} took one {message.created.timestamp() - ahead - stopped[message.to]:.1f} s after STOPP"
        for name, provider in providers.items()
        for message in provider.accepted
        if message.to in stopped and message.created.timestamp() - ahead > stopped[message.to] + TIMING.api_timeout
    ]


def told(folder: Path, transcript: Transcript) -> list[str]:
    """What the senders said about gateways, with the seconds since the beginning."""
    ahead = time.time() - time.monotonic()  # noqa: TID251 - the logs' clock, of the steady one
    found = []
    for log in folder.glob("jobs-*.log"):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if "gateway" in line and line.startswith("{") and _OF_GATEWAYS.match(event := json.loads(line)["event"]):
                at = datetime.fromisoformat(json.loads(line)["time"]).timestamp() - ahead - transcript.began
                found.append(f"{at:7.1f} s  {log.stem}: {event}")
    return sorted(found)


def report(
    verdict: Verdict,
    switches: list[Switch],
    providers: dict[str, FakeTwilio],
    senders: Senders,
    world: World,
    quiet: bool,
) -> None:
    """Print the table."""

    def seconds(value: float | None) -> str:
        return f"{value:.1f} s" if value is not None else "NEVER"

    by = Counter(dict(world.rows("SELECT gateway, count(*) FROM deliveries WHERE gateway <> '' GROUP BY gateway")))
    lines = {
        "work": f"{len(world.written)} broadcasts, {world.changes} changes, to {len(world.numbers)} numbers;"
        f" {len(world.stopped)} said STOPP",
        "kills": f"{senders.kills} of {senders.many} senders",
        "deliveries": f"{sum(verdict.states.values())}: {dict(verdict.states.most_common())}, last attempts {dict(by)}",
        "accepted": ", ".join(
            f"{name} {len(one.accepted)} of {len(one.posts)} POSTs" for name, one in providers.items()
        ),
        **{name: str(len(found)) for name, found in verdict.faults.items() if name != "TOO FAST"},
        "unknown": str(verdict.states["unknown"]),
        "odd": str(len(verdict.odd)),
        **{
            f"{n}. {one.outage}": f"first message elsewhere after {seconds(one.first)}, nearly all after"
            f" {seconds(one.away)}; back {seconds(one.back)} after it was well"
            for n, one in enumerate(switches, 1)
        },
        "longest delivery": f"{verdict.longest:.1f} s",
        "settled": "yes" if quiet else f"NO: {world.waiting()} deliveries are not over",
    }
    for name, line in lines.items():
        print(f"{name:18}{line}")
    for name, found in {**verdict.faults, "odd": verdict.odd}.items():
        for line in found[:SHOWN]:
            print(f"{name}: {line}")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.failover.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two outages, within a minute")
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--senders", type=int, default=2, help="processes that send")
    parser.add_argument("--numbers", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", action="store_true", help="what is unclear is sent by the other")
    return parser.parse_args()


def environment(
    url: str, folder: Path, port: int, providers: dict[str, FakeTwilio], plan: Plan, sabotage: bool
) -> dict[str, str]:
    """The settings of every process."""
    ours = environment_of(url, folder, port, providers[TWILIO], TIMING, RATE)
    theirs = {name.upper(): str(value) for name, value in elks.SETTINGS.items()}
    return {
        **ours, **theirs, "ELKS_API_URL": providers[ELKS].url, "ELKS_SEND_RATE": str(RATE),
        "GATEWAY_HOLD": str(plan.hold), "AUDIO_DIR": str(folder / "audio"),
        "CRASH_START_WITHIN": str(TIMING.start_within), "CRASH_LEASE": "2",
        "CRASH_SABOTAGE": "elsewhere" if sabotage else "",
    }  # fmt: skip


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Let Twilio fail, let all settle, compare, report; whether it is as it should be."""
    plan, dice, port = PLANS[options.quick], random.Random(options.seed), free_port()
    harness.BACKLOG = BACKLOG
    numbers = [f"+46701{n:06d}" for n in range(100, 100 + options.numbers)]
    with ExitStack() as stack:
        providers: dict[str, FakeTwilio] = {
            TWILIO: stack.enter_context(FakeTwilio(ACCOUNT, TOKEN, faults=USUAL, seed=options.seed)),
            ELKS: stack.enter_context(FakeElks(faults=USUAL, seed=options.seed)),
        }
        url, _ = stack.enter_context(database_in(folder, options.engine))
        chosen = environment(url, folder, port, providers, plan, options.sabotage)
        os.environ.update(chosen)
        world = World(Settings(_env_file=None), numbers)  # type: ignore[call-arg]
        stack.callback(world.service.database.close)
        web, nursery, transcript = Web(port, chosen, folder / "web.log", dice), Nursery(chosen), Transcript()
        senders = Senders(nursery, folder, options.senders, dice, transcript, plan)
        feeder, leavers, watch = Feeder(world, options.seed), Leavers(world, options.seed), Watch(providers, transcript)
        try:
            wait_for(web.answers, 30)
            senders.fill_up()
            for thread in (feeder, leavers, watch):
                thread.start()
            wait_until(lambda: watch.used == TWILIO, 40)
            transcript.say(f"{options.senders} senders, {RATE:.0f} segments a second by Twilio")
            senders.live(plan.well)
            switches = [outage(how, providers, watch, senders, plan, transcript) for how in plan.rounds]
            leavers.end()
            feeder.end()
            transcript.say("no more work")
            quiet = settled(world)
            transcript.say("all has gone out" if quiet else "it does not settle")
            watch.end()
            for provider in providers.values():
                provider.wait_idle(60)
            accepted = [message for one in providers.values() for message in one.accepted]
            verdict = judge(world.deliveries(), accepted, world.written, numbers, [], world.followers(), leavers.tried)
            verdict.late += late(providers, world.stopped)
            verdict.odd += world.kept()
            print("what the senders said:", *told(folder, transcript), sep="\n")
            report(verdict, switches, providers, senders, world, quiet)
        finally:
            senders.end()
            with suppress(subprocess.TimeoutExpired):
                nursery.end()
            web.end()
    swift = all(one.away is not None and one.away <= SWITCH_WITHIN and one.back is not None for one in switches)
    if not swift:
        print(f"too slow: nearly all within {SWITCH_WITHIN:.0f} s, and back again")
    return quiet and swift and not any(verdict.faults.values()) and not verdict.states["unknown"]


def main() -> None:
    """Exit with 1 if anything was found that must not be."""
    options = arguments()
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started is ended too
    with tempfile.TemporaryDirectory() as folder:
        well = run(options, Path(folder))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()

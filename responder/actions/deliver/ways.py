"""The gateways that one process sends by: how each does, how fast it may, and what it is given."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from responder import metrics
from responder.actions.deliver.values import CHANNELS, FEW, Limits
from responder.core.health import (
    Health,
    Outcome,
    State,
    asked,
    asking,
    given_up,
    heard,
    may_be_asked,
    may_be_tried,
    settled,
    told,
    tried,
)
from responder.core.pace import Pace
from responder.core.ways import SOON, WAIT, Mode, allowed, chosen
from responder.ports import LOCAL, Gateway, Sender
from responder.store.gateways import Found
from responder.store.outbox import Lane

log = logging.getLogger("responder.deliver")

SAY_EVERY = 60.0  # seconds between two lines about the same
NOBODY = "+46701740699"  # one of the numbers that are kept for fiction: asked about, never sent to


class Ways:
    """`senders` and `gateways` by name, the preferred first. Times are monotonic, but where they are called stamps."""

    def __init__(self, senders: Mapping[str, Sender], gateways: Mapping[str, Gateway], limits: Limits) -> None:
        self.senders, self.gateways, self._limits = dict(senders), gateways, limits
        self.health = {name: Health() for name in senders}
        self.modes: Mapping[str, str] = {}
        self.elsewhere: tuple[str, ...] = ()  # gateways that other processes have, and that work there
        self.paces = {
            (name, channel): Pace(limits.send_rates[name] if channel == "text" else limits.call_rate)
            for name in senders
            for channel in CHANNELS
        }
        self.under_way: Counter[str] = Counter()
        self._too_fast: dict[str, tuple[float, float]] = {}  # first and last time, where nothing was taken since
        self._said_at = float("-inf")

    def lanes(self, channel: str, now: float, stamp: float) -> list[tuple[Lane, int]]:
        """What each gateway takes of a channel just now, and how many of those at most."""
        for name, health in self.health.items():
            self._set(name, settled(health, now, self._limits.rule, self._alone(name)))
        ours = allowed(self._able(channel), self.modes)
        able = [name for name in ours if self.health[name].works or self.modes.get(name) == Mode.ONLY]
        working = [name for name in able if self.paces[name, channel].paused_until - now <= SOON]
        main = chosen(ours, self.modes, working)
        if not ours and channel == CHANNELS[0] and now - self._said_at > SAY_EVERY:
            self._said_at = now
            log.error("operators let none of our gateways be used (%s): nothing is sent here", dict(self.modes))
        known = (*working, *(name for name in self.elsewhere if name in allowed([*self.senders, name], self.modes)))
        lanes = []
        for name in ours:
            health, room = self.health[name], self._room(name, channel, now)
            if name in working:
                lanes.append((Lane(name, name == main, known, stamp - WAIT, stamp - SOON), room))
            elif may_be_tried(health, now, self._limits.rule, not main) and not self.under_way[name]:
                lanes.append((Lane(name, True, known, stamp - WAIT, stamp - SOON, calmest=bool(main)), min(1, room)))
        return [(lane, room) for lane, room in lanes if room > 0]

    def takes(self, name: str, channel: str, modes: Mapping[str, str]) -> bool:
        """Whether operators let it take anything of a channel."""
        return name in allowed(self._able(channel), modes)

    def believe(self, found: Sequence[Found], owner: str, now: float) -> None:
        """What another found last, as long as we have not sent anything ourselves: else each process that begins would
        learn it by messages of residents.
        """
        for name in self.senders:
            theirs = [one for one in found if one.name == name and one.owner != owner]
            if theirs and max(theirs, key=lambda one: one.at).state == State.DOWN:
                self.health[name] = told(self.health[name], now)

    def begin(self, name: str, now: float) -> None:
        """A request begins."""
        self.under_way[name] += 1
        self.health[name] = tried(self.health[name], now)

    def hear(self, name: str, outcome: Outcome, began: float, now: float) -> None:
        """What a request came to."""
        metrics.gateway(name, outcome)
        if outcome is Outcome.GOOD:
            self._too_fast.pop(name, None)
        new = heard(self.health[name], outcome, began, now, self._limits.rule)
        if len(self.senders) == 1:  # there is nothing to swing to, and to send nothing would be worse
            new = replace(new, state=State.UP)
        self._set(name, new)

    def too_fast(self, name: str, began: float, now: float) -> None:
        """A request was one too many. That says nothing of a gateway, unless it is all that it has said for a while: a
        closed door would wait. One at this machine is as fast as it is.
        """
        first, last = self._too_fast.get(name, (now, now))
        self._too_fast[name] = (first if now - last < 2 * SOON else now), now
        if now - self._too_fast[name][0] > SOON and name not in LOCAL:
            self.hear(name, Outcome.FAILED, began, now)

    def give_up(self, name: str, began: float) -> None:
        """A request that was late has failed in the end."""
        self._set(name, given_up(self.health[name], began))

    def patience(self, name: str) -> float:
        """Seconds after which a request looks as if it hung."""
        return self._limits.patience(name, self.health[name].slowest)

    def slow_down(self, name: str, now: float, seconds: float) -> None:
        """A gateway asks us to, or has to be left alone for a while."""
        for channel in CHANNELS:
            self.paces[name, channel].slow_down(now, seconds)

    def to_ask(self, now: float) -> list[str]:
        """Those that are down and may be there again: it is time to ask."""
        return [name for name, health in self.health.items() if may_be_asked(health, now, self._limits.rule)]

    async def ask(self, name: str, now: float, clock: datetime) -> None:
        """Find out whether it is there, by a question that sends nothing. A second one waits for the next time."""
        self.health[name] = asking(self.health[name], now)
        try:
            async with asyncio.timeout(self._limits.api_timeout):
                await self.senders[name].find(NOBODY, False, clock)
            answered = True
        except Exception as error:  # whatever it is, it is no answer
            log.info("gateway %s: still away: %s", name, str(error) or "timed out")
            answered = False
        self.health[name] = asked(self.health[name], answered, now)

    def found(self, owner: str, now: float, stamp: float) -> list[Found]:
        """How each does, for others to look at."""
        return [
            Found(
                name, owner, health.state, health.failed, health.latency,
                stamp - now + health.last_success if health.last_success is not None else 0.0, stamp,
            )
            for name, health in self.health.items()
        ]  # fmt: skip

    def _able(self, channel: str) -> list[str]:
        return [name for name, sender in self.senders.items() if channel == "text" or sender.calls]

    def _alone(self, name: str) -> bool:
        others = [other for other in allowed(list(self.senders), self.modes) if other != name]
        return not any(self.health[other].works for other in others)

    def _room(self, name: str, channel: str, now: float) -> int:
        few = self.health[name].state is not State.UP
        free = min(FEW if few else self._limits.concurrency, self._limits.concurrency) - self.under_way[name]
        if self.under_way[name] and not few and free < self._limits.concurrency // 8:
            return 0  # a commit for a handful costs as much as for many
        return min(free, self.paces[name, channel].room(now))

    def _set(self, name: str, new: Health) -> None:
        old, self.health[name] = self.health[name], new
        if new.state is State.DOWN and old.works:
            log.error("gateway %s is down: %.0f %% of the last %d failed", name, new.failed * 100, len(new.recent))
        elif new.works and not old.works:
            log.warning("gateway %s works again", name)

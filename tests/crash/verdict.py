"""What the provider took, compared with what should have been sent: who was lost, who got it twice, who got something
after STOPP, and whether all senders together were too fast.
"""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.fakes.twilio import Accepted

_DELIVERY = re.compile(r"/receipts/(\d+)\?")
_TAKEN = ("accepted", "sent", "delivered")  # states that say that the provider has it
SPAN, OVER = 10.0, 1.1  # seconds in which no more is sent than this much of the rate
ON_ITS_WAY = 2.0  # seconds from the last look before a POST until it is written: API_TIMEOUT, after which it is not


class Row(NamedTuple):
    """A delivery as it stands in the end."""

    id: int
    kind: str
    state: str
    number: str
    subscription: int | None
    told: str
    body: str
    provider_id: str
    created_at: float
    error: int
    claimed_at: float


class Follower(NamedTuple):
    """A subscription in the end: the key it is on record as knowing, and that of the present answer."""

    id: int
    number: str
    told: str
    present: str


@dataclass
class Verdict:
    """Descriptions of everything that went wrong, and what was counted."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    fast: list[str] = field(default_factory=list)
    fastest: float = 0.0  # POSTs a second in the busiest `SPAN`
    states: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    @property
    def faults(self) -> dict[str, list[str]]:
        """What must not be."""
        return {"LOST": self.lost, "DOUBLED": self.doubled, "AFTER STOPP": self.late, "TOO FAST": self.fast}


def judge(
    rows: Iterable[Row],
    accepted: Sequence[Accepted],
    written: Sequence[str],
    numbers: Iterable[str],
    refused: Iterable[str],
    followers: Iterable[Follower],
    left: Collection[str] = (),
    moved_clock: bool = False,
) -> Verdict:
    """Compare. `written`: the body of every broadcast that went to all `numbers`; `refused`: who can get nothing; `left`:
    who said STOPP, after which nothing is kept of what they got; `moved_clock`: times in rows say nothing of their order.
    """
    known = {row.id: row for row in rows}
    sent: dict[int, list[Accepted]] = defaultdict(list)
    for message in accepted:
        sent[delivery_of(message)].append(message)
    verdict = Verdict(states=Counter(row.state for row in known.values()))
    for row in known.values():
        _one_each(verdict, row, sent.get(row.id, []), row.number in left)
    for id in sent.keys() - known.keys():
        if len(sent[id]) > 1:
            verdict.doubled.append(f"delivery {id}, deleted since: {len(sent[id])} messages")
        if not {message.to for message in sent[id]} <= set(left):
            verdict.odd.append(f"a message for the delivery {id}, which is not known")
    _written(verdict, known, accepted, written, set(numbers) - set(refused), left)
    _answers(verdict, known, accepted, followers, set(refused), moved_clock)
    verdict.longest = max(
        (m.created.timestamp() - known[id].created_at for id, ms in sent.items() if id in known for m in ms), default=0
    )
    return verdict


def after_stopp(posts: Iterable[tuple[float, str]], stopped: Mapping[str, float]) -> list[float]:
    """Seconds from each STOPP that was confirmed to every POST to the number since. Both in one clock."""
    return [at - stopped[number] for at, number in posts if number in stopped and at > stopped[number]]


def fastest(posts: Iterable[tuple[float, str]], span: float = SPAN) -> float:
    """The most POSTs a second over any `span` seconds."""
    times = sorted(at for at, _ in posts)
    return max((bisect.bisect_left(times, at + span) - n for n, at in enumerate(times)), default=0) / span


def judge_posts(
    verdict: Verdict, posts: Sequence[tuple[float, str]], stopped: Mapping[str, float], rate: float
) -> None:
    """Nothing leaves after a confirmed STOPP, and all senders together are no faster than `rate` a second."""
    verdict.late += [f"{after:.2f} s after" for after in after_stopp(posts, stopped) if after > ON_ITS_WAY]
    verdict.fastest = fastest(posts)
    if verdict.fastest > OVER * rate:
        verdict.fast.append(f"{verdict.fastest:.0f} POSTs/s over {SPAN:.0f} s, where {rate:.0f} are allowed")


def delivery_of(message: Accepted) -> int:
    """The delivery that a message was sent for."""
    found = _DELIVERY.search(message.callback)
    return int(found[1]) if found else 0


def news(row: Row) -> set[str]:
    """The lines of a message about a change, without the one that says when."""
    return set(row.body.splitlines()[1:])


def _one_each(verdict: Verdict, row: Row, sent: list[Accepted], left: bool) -> None:
    """A delivery that the provider has was sent once, any other not at all, an unknown one at most once, and one that
    was under way at a STOPP at most once.
    """
    name = f"delivery {row.id} ({row.kind}, {row.state}, {row.number})"
    if len(sent) > 1:
        verdict.doubled.append(f"{name}: {len(sent)} messages, {', '.join(str(m.created) for m in sent)}")
    should = row.state in _TAKEN or (row.state == "failed" and bool(row.provider_id))
    if should and not sent:
        verdict.lost.append(f"{name}: no message")
    if sent and not should and row.state != "unknown" and not (left and row.state == "suppressed"):
        verdict.odd.append(f"{name}: has a message")
    if should and sent and row.provider_id not in [m.sid for m in sent]:
        verdict.odd.append(f"{name}: is said to be {row.provider_id}")


def _written(
    verdict: Verdict,
    known: Mapping[int, Row],
    accepted: Sequence[Accepted],
    written: Sequence[str],
    numbers: set[str],
    left: Collection[str],
) -> None:
    """Everybody has every broadcast once, whatever the table says; who said STOPP at most once."""
    got: dict[tuple[str, str], set[int]] = defaultdict(set)
    for message in accepted:
        got[message.to, message.body].add(delivery_of(message))
    unknown = {(row.number, row.body) for row in known.values() if row.state == "unknown"}
    for body in written:
        for number in numbers:
            if not got[number, body] and (number, body) not in unknown and number not in left:
                verdict.lost.append(f"{number} has never had {body!r}")
            if len(got[number, body]) > 1:
                verdict.doubled.append(f"{number} has had {body!r} by {sorted(got[number, body])}")


def _answers(
    verdict: Verdict,
    known: Mapping[int, Row],
    accepted: Sequence[Accepted],
    followers: Iterable[Follower],
    refused: set[str],
    moved_clock: bool,
) -> None:
    """Everybody knows the present answer from the last message they had, and was told nothing twice running."""
    told: dict[int, list[Row]] = defaultdict(list)
    for message in accepted:
        row = known.get(delivery_of(message))
        if row and row.kind == "status" and row.subscription:
            told[row.subscription].append(row)
    unknown = {row.subscription for row in known.values() if row.state == "unknown" and row.kind == "status"}
    for one in followers:
        decided = told[one.id]
        if not moved_clock:  # two under way may arrive the other way round
            decided = sorted(decided, key=lambda row: row.claimed_at)
        had = [row for n, row in enumerate(decided) if n == 0 or decided[n - 1].id != row.id]
        for earlier, later in pairwise(had):
            if earlier.told == later.told and news(later) <= news(earlier):  # another closed door is news
                verdict.doubled.append(f"{one.number} was told {later.told!r} by {earlier.id} and {later.id}")
        if one.id in unknown or one.number in refused:
            continue
        if one.told != one.present:
            verdict.lost.append(f"{one.number} is on record with {one.told!r}, not {one.present!r}")
        if had and had[-1].told != one.present:
            verdict.lost.append(f"{one.number} last had {had[-1].told!r} by {had[-1].id}, not {one.present!r}")

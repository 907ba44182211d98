"""Whatever is done on both sides, in whatever order: no STOPP is lost, nothing of here is overwritten, nothing comes
twice.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from responder.core.points import Status
from tests.kit.test_merge import audit, counts
from tests.kit.world import ANNA, BO, CILLA, DAVID, Pair, Side, a_pair

NUMBERS = (ANNA, BO, CILLA, DAVID)
POINTS = ("near", "far", "north", "south")
STATES = (Status.OPEN, Status.FULL, Status.CLOSED)


def lives(side: Side, draw: random.Random, steps: int) -> None:
    """Things happen on one side."""
    for _ in range(steps):
        side.clock.pass_time(seconds=draw.randrange(1, 300))
        what, number = draw.randrange(7), draw.choice(NUMBERS)
        if what < 2:
            side.set(draw.choice(POINTS), draw.choice(STATES), who=f"by-{draw.randrange(100)}")
        elif what == 2:
            side.text(number, "12347")
            side.text(number, "JA")
        elif what == 3:
            side.text(number, "STOPP")
        elif what == 4:
            side.text(number, "START")
        elif what == 5:
            side.push()
        else:
            side.send()


def stops(side: Side) -> dict[str, float]:
    """Number to when it said STOPP, of those who hold to it."""
    rows = {bytes(row[0]): row[1] for row in side.rows("SELECT number_hash, at FROM suppressions")}
    return {number: rows[side.hash(number)] for number in NUMBERS if side.hash(number) in rows}


def told(side: Side) -> dict[str, tuple[str, str]]:
    """What residents are told of each point, as far as a person decides it."""
    return {id: (side.point(id).status.value, side.point(id).name) for id in POINTS}


def meet(pair: Pair, laptop: Side) -> None:
    """Merge, and hold it to what must be."""
    server = pair.server
    base, here, there = told_at(pair), told(server), told(laptop)
    stopped_here, stopped_there = stops(server), stops(laptop)
    file = pair.packed(laptop)
    server.clock.now = max(server.clock.now, laptop.clock.now)
    dry = pair.merge(file, apply=False)
    assert (told(server), stops(server)) == (here, stopped_here)
    wet = pair.merge(file)
    assert (dict(dry.taken), dry.conflicts) == (dict(wet.taken), wet.conflicts)
    after, stopped = told(server), stops(server)
    for id in POINTS:
        if here[id] != base[id]:
            assert after[id] == here[id], "a point that was changed here is overwritten"
        else:
            assert after[id] == there[id], "a point that was changed there alone has not come"
    for number in NUMBERS:
        knew = pair.known_stops.get(number)
        if stopped_here.get(number, knew) != knew or stopped_there.get(number, knew) != knew:
            assert number in stopped, "a STOPP is lost"
        if number in stopped:
            assert server.follows(number) == []
            assert not server.rows(
                "SELECT 1 FROM deliveries WHERE number_hash = :hash AND state IN ('queued', 'sending')",
                hash=server.hash(number),
            )
        assert len(server.follows(number)) == len(set(server.follows(number)))
    lines, mine = Counter(audit(server)), Counter(audit(laptop))
    assert all(lines[line] == count for line, count in mine.items()), "a line of the laptop is lost, or twice"
    before = counts(server)
    assert pair.merge(file).nothing and counts(server) == before


def told_at(pair: Pair) -> dict[str, tuple[str, str]]:
    """What both sides knew."""
    return pair.known_points


@pytest.mark.parametrize(
    "seed", [1, 2, 3, pytest.param(4, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]
)
def test_whatever_happens_on_both_sides(tmp_path: Path, prepared: Path, seed: int) -> None:
    draw = random.Random(seed)
    with a_pair(tmp_path, prepared) as pair:
        lives(pair.server, draw, 10)
        laptop = pair.laptop()
        pair.known_points, pair.known_stops = told(pair.server), stops(pair.server)
        for side in (laptop, pair.server):
            lives(side, draw, 14)
        meet(pair, laptop)
        pair.server.push()
        heard = [number for number, _ in pair.server.send()]
        assert not set(heard) & set(stops(pair.server)) and len(heard) == len(set(heard))
        pair.server.push()
        assert pair.server.send() == []

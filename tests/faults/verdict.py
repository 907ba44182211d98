"""What was promised, compared with what stands in the database and what the provider took."""

from collections import Counter
from dataclasses import dataclass, field

from tests.crash.verdict import judge
from tests.fakes.twilio import FakeTwilio
from tests.faults.residents import Heard, Ledger
from tests.faults.world import World

IN_FLIGHT = 5.0  # seconds: a request that was under way when STOPP came has API_TIMEOUT, and the fake takes its time


@dataclass
class Found:
    """Descriptions of every promise that was broken."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    after_stop: list[str] = field(default_factory=list)
    wrong_doors: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    unknown: int = 0
    waits: int = 0
    states: Counter[str] = field(default_factory=Counter)


def compare(world: World, ledger: Ledger, fake: FakeTwilio, steady: list[str], moved_clock: bool) -> Found:
    """Everything that went wrong. `steady`: those who follow from beginning to end."""
    vault = world.service.vault
    everybody = {*world.numbers, *ledger.asked_to_follow}
    hashes = {hashed: number for number in everybody for hashed in vault.hashes(number)}
    rows = world.deliveries(hashes)
    bodies = [body for body, _, _ in world.written]
    followers = world.followers()
    waits = sum(not one.told for one in followers)  # they began while a change was being committed: the quarter's push
    told = [one for one in followers if one.told]
    verdict = judge(rows, fake.accepted, bodies, steady, (), told, moved_clock=moved_clock)
    found = Found(verdict.lost, verdict.doubled, unknown=verdict.states["unknown"], waits=waits, states=verdict.states)
    _followed(found, world, ledger, fake, hashes)
    _stopped(found, world, ledger, fake, hashes)
    _changed(found, world)
    _doors(found, world, ledger, moved_clock)
    for answer in ledger.answers:
        if answer.heard in (Heard.LATE, Heard.ERROR):
            took = answer.came - answer.sent
            found.unanswered.append(f"{answer.asked!r}: {answer.heard} after {took:.1f} s: {answer.text[:120]!r}")
    found.lost += [f"the database itself: {line}" for line in world.store.check()]
    return found


def _followed(found: Found, world: World, ledger: Ledger, fake: FakeTwilio, hashes: dict[bytes, str]) -> None:
    """Who was told that they follow does, and has had what was sent since; nobody has anything twice."""
    rows = world.store.rows("SELECT number_hash, place FROM subscriptions WHERE state = 'active'")
    follows = {(hashes.get(bytes(hashed), "?"), place) for hashed, place in rows}
    got = Counter((message.to, message.body) for message in fake.accepted)
    for number, (place, since) in ledger.follows.items():
        if (number, place) not in follows:
            found.lost.append(f"{number} was told that they follow {place}, and do not")
        for body, began, _ in world.written:
            if since < began and not got[number, body]:
                found.lost.append(f"{number}, who follows, has never had {body!r}")
    bodies = {body for body, _, _ in world.written}
    found.doubled += [f"{to} has had {body!r} {n} times" for (to, body), n in got.items() if n > 1 and body in bodies]


def _stopped(found: Found, world: World, ledger: Ledger, fake: FakeTwilio, hashes: dict[bytes, str]) -> None:
    """Who was told that nothing more is sent gets nothing more."""
    listed = {hashes.get(bytes(row[0]), "?") for row in world.store.rows("SELECT number_hash FROM suppressions")}
    rows = world.store.rows("SELECT number_hash FROM subscriptions")
    following = {hashes.get(bytes(row[0]), "?") for row in rows}
    for number, since in ledger.stopped.items():
        if number not in listed or number in following:
            found.lost.append(f"the STOPP of {number} is not in the database")
        for message in fake.accepted:
            if message.to == number and message.created.timestamp() > since + IN_FLIGHT:
                late = message.created.timestamp() - since
                found.after_stop.append(f"{number} said STOPP and was sent {message.body!r} {late:.1f} s later")


def _changed(found: Found, world: World) -> None:
    """What an operator was not told to have failed is in the log, and the points are as was said last."""
    shown = world.audited()
    for change in world.changes:
        if change.sure and change.mark and change.mark not in shown:
            found.lost.append(f"{change.name} was opened until {change.mark}, which is not in the log")
    statuses = {row[0]: row[1] for row in world.points()}
    for name in {change.name for change in world.changes}:
        last = [change for change in world.changes if change.name == name]
        sure = max((n for n, change in enumerate(last) if change.sure), default=-1)
        allowed = {change.status.value for change in last[max(sure, 0) :]}
        if sure >= 0 and statuses[name] not in allowed:
            found.lost.append(f"{name} is {statuses[name]}, not {' or '.join(sorted(allowed))}")


def _doors(found: Found, world: World, ledger: Ledger, moved_clock: bool) -> None:
    """Nobody is sent to a point that was closed when they asked, unless the answer says from when it is."""
    for answer in ledger.answers:
        name = answer.open_point
        if not name:
            continue
        as_of = answer.as_of()
        if as_of is None:
            since, until = answer.sent, answer.came
        elif moved_clock:
            continue
        else:
            since, until = as_of, as_of + 60
        if not world.may_be_open(name, since, until):
            found.wrong_doors.append(f"{answer.asked!r} was sent to {name}: {answer.text[:160]!r}")

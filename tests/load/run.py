"""Proves what is promised in a flood, on the service as it runs in production. Exit code 1 if a promise is broken.

    python -m tests.load.run [--seconds 60] [--engine sqlite|postgresql] [--rate 300] [--offer 3000]

(a) texts in a crisis; (b) ten times as many from one number, with ordinary residents, STOPP and an operator's pages
beside them; (c) the same from 100,000 numbers; (d) 200 calls at once; (e) 100 calls begun within the flood of (c).
Requests are sent by the clock. The generator shares the machine with the server: `late` is how long after its time it
sent a request for which a connection was free, so that a slow generator is not taken for a slow server. A flooding
request that finds none of its connections free is `not taken`: a proxy with a limit answers those.
"""

import argparse
import asyncio
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from responder.core.wording import Channel
from responder.ports import TWILIO, Inbound
from tests.bench.reply import questions
from tests.load.bed import Bed, Memory, recorded, running, suppressed
from tests.load.calls import Call, all_at_once
from tests.load.generator import Firing, Outcome, Shot

STOPP_WITHIN = 2.0  # seconds, the slowest
BACK_WITHIN = 10.0  # seconds after a flood
GROWS_AT_MOST = 150.0  # MB that a worker may take more at the peak than before
PAGE_WITHIN = 5.0  # seconds, the 95th percentile
FLOOD_CONNECTIONS = 800  # more than the workers have threads to spare for, fewer than they take in
RESIDENT_CONNECTIONS = 300
FLOODING = "+46709999999"
EMPTY = "<Response/>"
_AT_ONCE = re.compile(r"SMb\d+")  # of the one number that floods


@dataclass
class Report:
    """What was seen, and which promises were broken."""

    bed: Bed
    broken: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)  # id of a text or turn -> the document that answered it
    untold: set[str] = field(default_factory=set)  # ids that got a short answer
    stopped: set[str] = field(default_factory=set)  # numbers that were told that it is done
    ordinary: float = 0.25

    def promise(self, holds: bool, what: str) -> None:
        """Note `what`, unless it holds."""
        if not holds:
            self.broken.append(what)
            print(f"    BROKEN: {what}")


class Words:
    """Tells answers apart by what the service in this process would say."""

    def __init__(self, bed: Bed) -> None:
        answerer, flow = bed.service.answerer, bed.service.flow
        languages = flow.languages.values()
        texts = {wording.say(key) for wording in languages for key in ("say.busy", "say.busy_stop")}
        self.short = {f"<Message>{text}</Message>" for text in texts}
        self.done = {f"<Message>{wording.say('say.stopped')}</Message>" for wording in languages}
        self.unavailable = answerer.unavailable(Channel.TEXT, TWILIO)
        assert any(
            text in answerer.busy(Inbound("x", Channel.TEXT, "+46700000001", "12347"), "say.busy")
            for text in self.short
        )

    def of(self, outcome: Outcome) -> str:
        """full, short, none, failed (the service could not), error, or `not taken`."""
        if outcome.status == -1:
            return "not taken"
        if outcome.status != 200:
            return "error"
        if EMPTY in outcome.document:
            return "none"
        if outcome.document == self.unavailable:
            return "failed"
        return "short" if any(short in outcome.document for short in self.short) else "full"


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--offer", type=float, default=3000)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    flood_seconds = max(5, options.seconds // 3)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), options.engine) as bed:
        report, words, draw = Report(bed), Words(bed), random.Random(1)
        print(f"{options.engine}, {len(bed.workers())} workers; generator on the same machine")
        _warm(report, words, draw)
        _steady(report, words, draw, options.rate, options.seconds)
        for name, numbers in (("b", 1), ("c", 100_000)):
            _flood(report, words, draw, name, numbers, options.offer, flood_seconds)
        _calls(report, "d", draw, options.calls)
        _calls(report, "e", draw, options.calls // 2, offer=options.offer, words=words)
        _consistent(report)
    for broken in report.broken:
        print(f"BROKEN: {broken}")
    print("every promise held" if not report.broken else f"{len(report.broken)} promises broken")
    sys.exit(bool(report.broken))


def _warm(report: Report, words: Words, draw: random.Random) -> None:
    shots = _residents(report.bed, "SMwarm", draw, 100, 3)
    _take(report, words, shots, Firing(report.bed.port, shots, time.monotonic() + 0.2, 16, True).outcomes())


def _steady(report: Report, words: Words, draw: random.Random, rate: float, seconds: float) -> None:
    print(f"(a) {rate:.0f} texts/s for {seconds:.0f} s, a crisis mix")
    shots = _residents(report.bed, "SMa", draw, rate, seconds)
    with report.bed.watched() as memory:
        outcomes = Firing(report.bed.port, shots, time.monotonic() + 0.5, RESIDENT_CONNECTIONS, True).outcomes()
    kinds = _take(report, words, shots, outcomes)
    _table("texts", shots, outcomes, kinds)
    _remembered(report, "a", memory)
    report.promise(_only(kinds, "full", "short"), f"(a) every text is answered: {dict(kinds)}")
    slowest = _percentile([o.done - s.at for s, o in zip(shots, outcomes, strict=True)], 99)
    report.ordinary = min(max(0.25, 2 * slowest), 2.0)


def _flood(
    report: Report, words: Words, draw: random.Random, name: str, numbers: int, offer: float, seconds: float
) -> None:
    bed = report.bed
    whose = "one number" if numbers == 1 else f"{numbers:,} numbers"
    print(f"({name}) {offer:.0f} texts/s offered from {whose} for {seconds:.0f} s, residents beside them")
    flood = _flooding(bed, f"SM{name}", draw, numbers, offer, seconds)
    beside = [
        *_residents(bed, f"SM{name}r", draw, 5, seconds),
        *_stops(bed, f"SM{name}s", 1 if name == "b" else 2, seconds),
        *(Shot(at + 0.7, bed.page(), kind="page") for at in range(int(seconds))),
    ]
    beside.sort(key=lambda shot: shot.at)
    after = _residents(bed, f"SM{name}z", draw, 10, BACK_WITHIN)
    with bed.watched() as memory:
        start = time.monotonic() + 0.5
        flooding = Firing(bed.port, flood, start, FLOOD_CONNECTIONS, False)
        outcomes = Firing(bed.port, beside, start, RESIDENT_CONNECTIONS, True).outcomes()
        back = Firing(bed.port, after, max(time.monotonic(), start + seconds), RESIDENT_CONNECTIONS, True).outcomes()
        flooded = flooding.outcomes()
    kinds = _take(report, words, flood, flooded)
    _table("flood", flood, flooded, kinds)
    report.promise(not kinds["error"] and not kinds["failed"], f"({name}) nothing taken in fails: {dict(kinds)}")
    for kind in ("text", "stop", "page"):
        chosen = [(s, o) for s, o in zip(beside, outcomes, strict=True) if s.kind == kind]
        mine, theirs = [s for s, _ in chosen], [o for _, o in chosen]
        kinds = _take(report, words, mine, theirs)
        took = [o.done - s.at for s, o in chosen]
        _table({"text": "residents", "stop": "STOPP", "page": "pages"}[kind], mine, theirs, kinds)
        if kind == "page":
            report.promise(_only(kinds, "full"), f"({name}) an operator gets every page: {dict(kinds)}")
            report.promise(_percentile(took, 95) < PAGE_WITHIN, f"({name}) pages within {PAGE_WITHIN} s")
        elif kind == "stop":
            done = all(any(d in o.document for d in words.done) for o in theirs)
            report.promise(done, f"({name}) every STOPP is done: {dict(kinds)}")
            report.promise(max(took) < STOPP_WITHIN, f"({name}) STOPP within {STOPP_WITHIN} s: {max(took):.2f}")
            report.stopped |= {s.number for s, o in chosen if any(d in o.document for d in words.done)}
        else:
            report.promise(_only(kinds, "full", "short"), f"({name}) residents hear from us: {dict(kinds)}")
    _take(report, words, after, back)
    hashes = suppressed(bed.service)
    missing = [number for number in report.stopped if bed.service.vault.newest(number) not in hashes]
    report.promise(not missing, f"({name}) {len(missing)} numbers were told that STOPP is done, and it is not")
    seconds_until = _back_after(report, words, after, back)
    print(f"    ordinary again (under {report.ordinary * 1000:.0f} ms) after {seconds_until:.1f} s")
    report.promise(seconds_until < BACK_WITHIN, f"({name}) ordinary again within {BACK_WITHIN} s")
    _remembered(report, name, memory)


def _back_after(report: Report, words: Words, shots: Sequence[Shot], outcomes: Sequence[Outcome]) -> float:
    """Seconds after which every text is answered in full and in ordinary time."""
    slow = [
        shot.at + 0.1
        for shot, outcome in zip(shots, outcomes, strict=True)
        if words.of(outcome) != "full" or outcome.done - shot.at > report.ordinary
    ]
    return max(slow, default=0.0)


def _calls(
    report: Report, name: str, draw: random.Random, count: int, offer: float = 0, words: Words | None = None
) -> None:
    bed, seconds = report.bed, 8
    print(f"({name}) {count} calls at once{', within the flood of 100,000 numbers' if offer else ''}")
    calls = [
        Call(f"CA{name}{number:030d}", code, point) for number, (code, point) in enumerate(_asked(bed, draw, count))
    ]
    flood = _flooding(bed, f"SM{name}", draw, 100_000, offer, seconds) if offer else []
    with bed.watched() as memory:
        flooding = Firing(bed.port, flood, time.monotonic() + 0.3, FLOOD_CONNECTIONS, False) if flood else None
        time.sleep(2 if flood else 0)
        asyncio.run(all_at_once(bed, calls))
        if flooding and words:
            _take(report, words, flood, flooding.outcomes())
    took = [seconds for call in calls for seconds in call.took]
    failed = Counter(call.failed.rpartition(": ")[2] for call in calls if call.failed)
    turned_away = sum(bool(call.failed) and not call.turns for call in calls)
    print(
        f"    {'turns':10}{len(took):7}  right {count - sum(failed.values())} of {count}, held {sum(c.held for c in calls)},"
        f" p50 {_percentile(took, 50) * 1000:.0f} p95 {_percentile(took, 95) * 1000:.0f} max {max(took) * 1000:.0f} ms"
    )
    report.told |= {turn: "" for call in calls for turn in call.turns}
    if offer:  # a call may be told at its beginning that there is no room, and not later
        wrong = sum(failed.values()) - turned_away
        print(f"    {'':10}{turned_away:7} told at the beginning to call again")
        report.promise(not wrong, f"({name}) no call under way is given up: {dict(failed)}")
    else:
        report.promise(not failed, f"({name}) every call is told the right point: {dict(failed)}")
    _remembered(report, name, memory)


def _consistent(report: Report) -> None:
    """Every answer has its row with the reply given, and no row is without an answer."""
    time.sleep(0.5)
    rows = recorded(report.bed.service)
    texts = {id: document for id, document in report.told.items() if document}
    full = {id: document for id, document in texts.items() if EMPTY not in document}
    silent = sum(id in rows for id in texts.keys() - full.keys())
    missing = [id for id in full if id not in rows]
    at_once = [id for id in missing if _AT_ONCE.fullmatch(id)]
    missing = [id for id in missing if not _AT_ONCE.fullmatch(id)]
    other = [id for id, document in full.items() if id in rows and rows[id] != document]
    calls = [id for id in report.told if not report.told[id] and id not in rows]
    short = [id for id in report.untold if id in rows]
    unknown = [id for id in rows if id not in report.told]
    print(
        f"    rows {len(rows)}: {len(full)} full answers, {silent} recorded silences,"
        f" {sum(not document for document in report.told.values())} turns of calls;"
        f" {len(at_once)} answered from memory, where many texts of one number came at once"
    )
    report.promise(not missing, f"{len(missing)} answers have no row: {[texts[id] for id in missing[:2]]}")
    report.promise(not other, f"{len(other)} rows hold another reply than was given")
    report.promise(not calls, f"{len(calls)} turns of calls have no row")
    report.promise(not short, f"{len(short)} short answers have a row")
    report.promise(not unknown, f"{len(unknown)} rows have no answer: {unknown[:3]}")


def _take(report: Report, words: Words, shots: Sequence[Shot], outcomes: Sequence[Outcome]) -> Counter[str]:
    """How many answers of each kind; what was told is remembered for the end."""
    kinds: Counter[str] = Counter()
    for shot, outcome in zip(shots, outcomes, strict=True):
        kind = words.of(outcome)
        kinds[kind] += 1
        if shot.id and kind in ("full", "none"):
            report.told[shot.id] = outcome.document
        elif shot.id and kind == "short":
            report.untold.add(shot.id)
    return kinds


def _table(name: str, shots: Sequence[Shot], outcomes: Sequence[Outcome], kinds: Counter[str]) -> None:
    answered = [(s, o) for s, o in zip(shots, outcomes, strict=True) if o.status > 0]
    took = [o.done - s.at for s, o in answered]
    late = [o.sent - s.at for s, o in answered]
    span = max((o.done for _, o in answered), default=0.0) - min((s.at for s in shots), default=0.0)
    cuts = " ".join(f"p{cut} {_percentile(took, cut) * 1000:.0f}" for cut in (50, 95, 99))
    parts = " ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    print(
        f"    {name:10}{len(shots):7}  {cuts} max {max(took, default=0) * 1000:.0f} ms  late p99"
        f" {_percentile(late, 99) * 1000:.0f} ms  {len(answered) / max(span, 0.1):.0f}/s  {parts}"
    )


def _remembered(report: Report, name: str, memory: Memory) -> None:
    print(f"    {'memory':10}before {memory.before:.0f}, peak {memory.peak:.0f}, after {memory.after:.0f} MB a worker")
    grown = memory.peak - memory.before
    report.promise(grown < GROWS_AT_MOST, f"({name}) a worker grows by less than {GROWS_AT_MOST:.0f} MB: {grown:.0f}")


def _residents(bed: Bed, name: str, draw: random.Random, rate: float, seconds: float) -> list[Shot]:
    """Ordinary texts by Zipf's law over places, from many numbers."""
    asked = questions()
    random.Random(1).shuffle(asked)
    count = int(rate * seconds)
    bodies = draw.choices(asked, [1 / rank for rank in range(1, len(asked) + 1)], k=count)
    shots = []
    for number, body in enumerate(bodies):
        sender = f"+4670{draw.randrange(7_000_000):07d}"
        shots.append(Shot(number / rate, bed.text(f"{name}{number}", sender, body), f"{name}{number}", number=sender))
    return shots


def _flooding(bed: Bed, name: str, draw: random.Random, numbers: int, rate: float, seconds: float) -> list[Shot]:
    asked = questions()
    shots = []
    for number in range(int(rate * seconds)):
        sender = FLOODING if numbers == 1 else f"+46708{draw.randrange(numbers):06d}"
        request = bed.text(f"{name}{number}", sender, draw.choice(asked))
        shots.append(Shot(number / rate, request, f"{name}{number}", number=sender))
    return shots


def _stops(bed: Bed, name: str, series: int, seconds: float) -> list[Shot]:
    said = ("STOPP", "stopp!", "Avsluta", "STOP", "sluta")
    shots = []
    for number in range(int(seconds)):
        sender = f"+4673{series}{number:06d}"
        request = bed.text(f"{name}{number}", sender, said[number % len(said)])
        shots.append(Shot(number + 0.35, request, f"{name}{number}", "stop", sender))
    return shots


def _asked(bed: Bed, draw: random.Random, count: int) -> list[tuple[str, str]]:
    """(postcode, name of the point that is nearest and open) of so many places that have one."""
    service = bed.service
    view = service.snapshot.read(service.clock())
    found = []
    codes = [place for place in view.gazetteer.by_code.values() if place.name.isdecimal() and not place.is_box]
    draw.shuffle(codes)
    for place in codes:
        offers = view.board.answer(place, "", 0).offers
        if offers and len(found) < count:
            found.append((place.name, offers[0].point.name))
    return [found[number % len(found)] for number in range(count)]


def _only(kinds: Counter[str], *allowed: str) -> bool:
    return not set(+kinds) - set(allowed)


def _percentile(values: Sequence[float], cut: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[cut - 1] if len(values) > 1 else sum(values)


if __name__ == "__main__":
    main()

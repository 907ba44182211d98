"""Generated texts and calls through the whole reply path, each reply checked: `python -m tests.fuzz.run`.

Prints what was tried, each finding with the shortest input that still shows it and how to see it again
(`--replay SEED:N`), and how long a body of 64 kB takes. Exit status 1 if anything was found.
"""

import argparse
import faulthandler
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.fuzz.cases import EPISODE, LONG, WEB, Case, writer
from tests.fuzz.checks import Finding, Judge, values
from tests.fuzz.world import Reply, TooSlow, World, world

BATCH = 50  # episodes that a process takes at a time
HANGS = 30  # seconds after which a case is given up
SHORTER = 60  # inputs that are tried to find a shorter one
MOST = 20  # findings that are told in full
LIMIT_MS = 5.0  # for a body of 64 kB
QUIET = 15  # times that such a body is answered; the best counts

_open = ExitStack()
_world: World | None = None
_folder = ""  # where the databases of all processes lie; whoever started them takes it away


def _memory() -> "tempfile.TemporaryDirectory[str]":
    """A folder, in memory where that can be had."""
    shm = "/dev/shm"
    return tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None)


def _settle(folder: str) -> None:
    global _folder
    _folder = folder


@dataclass
class Tally:
    """What a batch came to: counts by what was sent, and (seed, number, rule, detail, input) of each finding."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, int, str, str, str]] = field(default_factory=list)


def here() -> World:
    """The world of this process."""
    global _world
    if _world is None:
        folder = tempfile.mkdtemp(dir=_folder or _open.enter_context(_memory()))
        _world = _open.enter_context(world(Path(folder)))
        gc.freeze()  # what there is now stays: looking through it again and again says nothing
    return _world


def batch(seed: int, episodes: range, cases: int) -> Tally:
    """Play `episodes`; of the last one only what belongs to the first `cases`."""
    tally, made = Tally(), here()
    for episode in episodes:
        for case, reply, found in play(made, seed, episode, cases):
            tally.counts[_kind(case)] += 1
            tally.counts[f"HTTP {reply.status}" if reply else "hangs"] += 1
            tally.counts["web"] += case.web
            found = [one for one in found if one.rule != "time" or reply is None or _again(made, seed, case)]
            for finding in found:
                tally.counts[f"finding: {finding.rule}"] += 1
                if len(tally.findings) < MOST:
                    shown = shortest(made, seed, case, finding.rule)
                    tally.findings.append((seed, case.number, finding.rule, finding.detail, shown))
            if found:
                break  # what follows in this episode may follow from it
    return tally


def _again(made: World, seed: int, case: Case) -> bool:
    """Whether a case that was slow is slow once more: a machine that is busy, or collects garbage, is none of its."""
    again = (found for one, _, found in play(made, seed, case.number // EPISODE, case.number + 1) if one == case)
    return any(finding.rule == "time" for found in again for finding in found)


def play(
    made: World, seed: int, episode: int, cases: int, change: Callable[[Case], Case | None] = lambda case: case
) -> Iterator[tuple[Case, Reply | None, list[Finding]]]:
    """Each case of an episode with its reply and what is wrong with it. `change`: plays another case, or none."""
    written = writer(seed, episode, made.places)
    made.begin(random.Random(f"world {seed}:{episode}"))
    judge = Judge(made.service.flow)
    for case in written.cases(seed, episode):
        if case.number >= cases:
            return
        for event in case.before:
            made.happen(event)
        played = change(case)
        if played is not None:
            yield played, *_judged(made, judge, played)


def _judged(made: World, judge: Judge, case: Case) -> tuple[Reply | None, list[Finding]]:
    came_before = not made.away and judge.answered(case) and made.is_known(judge.id(case))
    try:
        with _watched():
            reply = made.answer(case)
    except TooSlow:
        return None, [Finding("time", f"more than {HANGS} s")]
    except Exception as error:  # whatever it is, it is what we look for
        return None, [Finding("exception", f"{type(error).__name__}: {error}")]
    return reply, list(judge.judge(case, reply, made, came_before))


@contextmanager
def _watched() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _kind(case: Case) -> str:
    return "text" if case.path.startswith("/twilio/sms") else "end of a call" if "status" in case.path else "call"


def shortest(made: World, seed: int, case: Case, rule: str) -> str:
    """The shortest form that still breaks `rule`, and whether it does so without what came before."""
    episode = case.number // EPISODE

    def breaks(tried: Case, alone: bool) -> bool:
        def change(one: Case) -> Case | None:
            return tried if one.number == case.number else None if alone else one

        found = [f for one, _, all in play(made, seed, episode, case.number + 1, change) for f in all if one is tried]
        return any(finding.rule == rule for finding in found)

    alone, form, left = breaks(case, True), case.form, SHORTER
    for name in ("Body", "SpeechResult", "Digits", "From"):
        text = form.get(name, [""])[0]
        size = max(1, len(text) // 2)
        while text and size and left:
            for start in range(0, len(text), size):
                cut = text[:start] + text[start + size :]
                left -= 1
                if left > 0 and breaks(_with(case, {**form, name: [cut]}), alone):
                    text, form = cut, {**form, name: [cut]}
                    break
            else:
                size //= 2
            left = max(left, 0)
    shown = values(_with(case, form))
    return f"{case.path} {shown} {'alone' if alone else 'after the cases before it in its episode'}"


def _with(case: Case, form: dict[str, list[str]]) -> Case:
    body = urlencode(form, doseq=True, errors="surrogateescape" if case.errors == "surrogateescape" else "replace")
    return replace(case, body=body.encode())


def replay(seed: int, number: int) -> int:
    """Play the episode of a case up to it, and print it; how many findings it has."""
    made = here()
    for case, reply, found in play(made, seed, number // EPISODE, number + 1):
        mark = ">" if case.number == number else " "
        print(f"{mark} {case.number} {case.path} {'web ' * case.web}{values(case)} {case.before}")
        if reply and (found or case.number == number):
            print(f"    HTTP {reply.status}, {reply.seconds * 1000:.1f} ms CPU, {reply.document}")
        for finding in found:
            print(f"    FINDING {finding.rule}: {finding.detail}")
        if case.number == number:
            return len(found)
    return 0


def quiet() -> tuple[list[float], list[float]]:
    """Milliseconds for bodies of 64 kB through the whole application, one after the other: (of waiting, all; of CPU, the
    best of each): what others do on this machine lengthens the first most.
    """
    made = here()
    made.begin(random.Random("quiet"))
    texts = (
        "a", "å", "12347 ", "farsta ", "sextio", "en ", "\u0301", "<", "{said}", "0", "1 ", "xq zu ", "var är närmaste ",
        "farsta stran ", "\x00", "🆘", "STOPP ", "start ", "٣", "- ",
    )  # fmt: skip
    all_, best = [], []
    for number, unit in enumerate(texts):
        took, spent = [], []
        for time_ in range(QUIET):
            made.clock.now = made.clock.now.replace(microsecond=time_)
            fields = {"MessageSid": f"SMquiet{number}x{time_}", "From": f"+467000{number:02d}{time_:03d}", "Body": ""}
            room = LONG - len(urlencode(fields))
            fields["Body"] = unit * (room // len(urlencode({"": unit})[1:]))
            case = Case(0, "/twilio/sms", urlencode(fields).encode(), "replace", web=True)
            reply = made.answer(case)
            took.append(reply.waited * 1000)
            spent.append(reply.seconds * 1000)
            if reply.status not in (200, 413) or reply.errors:
                raise RuntimeError(f"{unit!r}: {reply}")
        all_ += took
        best.append(min(spent))
    return all_, best


def _told(tally: Tally, cases: int, seconds: float, workers: int) -> None:
    counts = tally.counts
    done = counts["text"] + counts["call"] + counts["end of a call"]
    print(
        f"{done} cases in {seconds:.0f} s, {done / seconds:.0f}/s in {workers} processes: {counts['text']} texts, "
        f"{counts['call']} turns of calls, {counts['end of a call']} ends of calls"
    )
    print(
        f"  {counts['web']} ({counts['web'] / max(1, done):.1%}, meant: {WEB:.0%}) through the whole WSGI application, "
        "the others from the gateway's check of the signature on"
    )
    codes = {name: count for name, count in sorted(counts.items()) if name.startswith("HTTP")}
    print(f"  {codes}; {cases - done} not played because an episode ends with its first finding")
    for seed, number, rule, detail, shown in tally.findings[:MOST]:
        print(f"FINDING {rule}: {detail[:600]}\n    {shown[:600]}\n    --replay {seed}:{number}")
    found = {name: count for name, count in counts.items() if name.startswith("finding")}
    print(f"findings: {found or 'none'}")


def _timed() -> bool:
    all_, best = quiet()
    all_.sort()
    print(
        f"a body of 64 kB, whole application, {len(all_)} answers one after the other: "
        f"p50 {all_[len(all_) // 2]:.2f} ms, p99 {all_[int(len(all_) * 0.99)]:.2f} ms, max {all_[-1]:.2f} ms; "
        f"CPU, best of {QUIET} of each of {len(best)} bodies: median {sorted(best)[len(best) // 2]:.2f} ms, "
        f"max {max(best):.2f} ms (limit {LIMIT_MS:g}); load of the machine {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores"
    )
    return max(best) < LIMIT_MS


def main() -> int:
    """Play the cases; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="SEED:N", help="play one case, with what came before it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    faulthandler.enable()
    logging.getLogger().setLevel(logging.CRITICAL)
    with _open:
        if options.replay:
            seed, number = map(int, options.replay.split(":"))
            return 1 if replay(seed, number) else 0
        begun, total = time.monotonic(), Tally()
        episodes = -(-options.cases // EPISODE)
        with _memory() as folder, ProcessPoolExecutor(options.processes, None, _settle, (folder,)) as pool:
            tasks = [
                pool.submit(batch, options.seed, range(start, min(start + BATCH, episodes)), options.cases)
                for start in range(0, episodes, BATCH)
            ]
            for number, task in enumerate(as_completed(tasks), 1):
                tally = task.result()
                total.counts += tally.counts
                total.findings += tally.findings
                if number % 100 == 0:
                    print(f"  {number * BATCH * EPISODE} ...", file=sys.stderr, flush=True)
        _told(total, options.cases, time.monotonic() - begun, options.processes)
        quick = _timed()
    return 0 if quick and not total.findings else 1


if __name__ == "__main__":
    sys.exit(main())

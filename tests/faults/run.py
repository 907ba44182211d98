"""Break things under a running service: what does a resident hear, what is lost, what is doubled, how long until well?

    python -m tests.faults.run [--engine sqlite|postgresql|both] [--only NAME] [--quick] [--at-once N] [--keep FOLDER]

Real processes: gunicorn with two workers, `responder jobs`, a fake provider over HTTP, residents who text and call, an
operator who sends and changes points. What was promised is noted by the harness: a "Klart" that says that somebody
follows or is sent nothing more, a change that an operator was not told to have failed, a broadcast that was sent. In
the end each must hold, every text must have been answered within 15 s, and no answer may have named a closed door.
Exit 1 if one does not hold. Disks are filled, and files made immutable, by root alone; else that row says so.
"""

import argparse
import http.client
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import psycopg

from responder.store.engine import StoreAway
from responder.wiring import utc_now
from tests.bench.reply import ROOT, free_port
from tests.conftest import TOKEN
from tests.crash.processes import wait_for
from tests.fakes.twilio import FakeTwilio, Faults
from tests.faults.breaking import FAULTS, Bed, Fault
from tests.faults.entry import Moved
from tests.faults.processes import tied, web
from tests.faults.residents import Answer, Heard, Ledger, Residents
from tests.faults.stores import STORES, CannotBreak, loosen
from tests.faults.verdict import Found, compare
from tests.faults.world import ACCOUNT, Operator, World, environment_of, install

STEADY, STOPPERS = 96, 36
WARM_UP = 3.0
QUIET_FOR = 3.0  # seconds without work until it is taken for well
SETTLE = {True: 75.0, False: 300.0}  # seconds, by whether it is quick
NOISE = {"lose": 0.01, "error_after": 0.005, "drop": 0.005}
SHOWN = 6
WORKERS = 2
COLUMNS = ("fault", "engine", "full", "memory", "unav.", "late", "errors", "lost", "doubled", "STOPP", "doors", "well")
WIDTHS = (32, 10, 6, 6, 6, 5, 6, 5, 7, 5, 5, 7)


def run_row(name: str, engine: str, quick: bool, seed: int, folder: Path) -> dict[str, Any]:
    """Break one thing on one engine; what came of it, as JSON has it."""
    fault, port, dice = FAULTS[name], free_port(), random.Random(seed)
    clock = folder / "clock" if fault.clock else None
    if clock:
        clock.write_text("0")
    numbers = [f"+46701{n:06d}" for n in range(100, 100 + STEADY + STOPPERS)]
    shape = Faults(
        latency=0.04, list_delay=(0.1, 0.5), receipt_delay=(0.05, 1.0), **(NOISE if fault.noise else {})
    )  # fmt: skip
    reconcile = 60.0 if name == "provider" and not quick else 3.0
    with ExitStack() as stack:
        store = STORES[engine](folder, fault.small_disk, fault.proxy)
        stack.callback(store.close)
        fake = stack.enter_context(FakeTwilio(ACCOUNT, TOKEN, faults=shape, seed=seed))
        environment = environment_of(store, port, fake, clock, reconcile)
        install(environment)
        world = World(store, numbers, Moved(clock))
        bed = Bed(store, fake, world, environment, folder, clock, dice, quick)
        served = web(port, environment, folder / "web.log", clock is not None)
        stack.callback(served.end)
        stack.callback(lambda: [one.end() for one in bed.senders])
        bed.start_jobs(fault.senders)
        if not wait_for(lambda: _up(port, bed) and bool(world.leader()), 180, 0.3):
            raise RuntimeError("the service does not start: " + (folder / "web.log").read_text()[-2000:])
        return _broken(fault, bed, port, numbers, seed) | {"fault": name, "engine": engine}


def _broken(fault: Fault, bed: Bed, port: int, numbers: list[str], seed: int) -> dict[str, Any]:
    """Let residents and an operator in, break it, wait until all is well, and compare."""
    world, ledger = bed.world, None
    residents = Residents(port, world.codes, numbers[STEADY:], seed)
    operator = Operator(world, seed)
    ledger = residents.ledger
    residents.start()
    operator.start()
    time.sleep(WARM_UP)
    began = utc_now().timestamp()
    try:
        fault.does(bed)
    finally:
        ended = utc_now().timestamp()
        bed.store.keep_up()
        operator.end()
    _work_once_more(world, bed.dice)
    well = _until_quiet(world, ended, SETTLE[bed.quick])
    residents.end()
    settled = well is not None and _until_quiet(world, ended, SETTLE[bed.quick]) is not None
    with suppress(TimeoutError):
        bed.fake.wait_idle(30)
    found = compare(world, ledger, bed.fake, numbers[:STEADY], bed.clock is not None)
    _keep(bed, ledger)
    if not settled:
        found.lost.append(f"{world.waiting()} deliveries are not over, {world.pushes_due()} pushes are due")
    found.lost += bed.broken
    found.lost += [f"{one.log.name}: a process that runs the jobs has ended" for one in bed.senders if not one.alive]
    if found.unknown:
        found.lost.append(f"of {found.unknown} deliveries nobody knows whether they were sent")
    last = max((a.came for a in ledger.answers if a.sent >= ended and a.heard is not Heard.FULL), default=ended)
    return _told(found, ledger, bed, (began, ended), max(well or SETTLE[bed.quick], last - ended), operator.refused)


def _told(
    found: Found, ledger: Ledger, bed: Bed, times: tuple[float, float], well: float, refused: int
) -> dict[str, Any]:
    kinds = ledger.kinds(*times)
    tries = ", ".join(f"{n} x {count}" for n, count in sorted(ledger.stop_tries.items()))
    slowest = max((a.came - a.sent for a in ledger.answers), default=0.0)
    return {
        "kinds": {kind.value: kinds[kind] for kind in Heard},
        "heard": _sample(ledger, *times),
        "well": well,
        "seconds": times[1] - times[0],
        "slowest": slowest,
        "lost": found.lost,
        "doubled": found.doubled,
        "after_stop": found.after_stop,
        "wrong_doors": found.wrong_doors,
        "unanswered": found.unanswered,
        "notes": [
            *bed.notes, f"slowest answer {slowest:.1f} s", f"STOPP done after tries: {tries}",
            f"{len(ledger.follows)} began to follow", f"{len(bed.world.written)} broadcasts",
            f"{sum(change.sure for change in bed.world.changes)} changes, {refused} that an operator was told to fail",
            f"{len(bed.fake.accepted)} messages", f"{found.waits} hear with the quarter's push", str(dict(found.states)),
        ],
    }  # fmt: skip


def _keep(bed: Bed, ledger: Ledger) -> None:
    """What was heard and sent, for whoever wants to know why."""
    sent = [(one.created.timestamp(), one.to, one.body, one.callback) for one in bed.fake.accepted]
    rows = bed.store.rows(
        "SELECT id, kind, state, subscription_id, told, told_before, said, said_before, attempt, created_at,"
        " claimed_at, body FROM deliveries ORDER BY id"
    )
    kept = {
        "answers": [asdict(answer) for answer in ledger.answers],
        "sent": sent,
        "deliveries": [list(row) for row in rows],
        "changes": [asdict(change) for change in bed.world.changes],
    }
    (bed.folder / "kept.json").write_text(json.dumps(kept, indent=0))


def _work_once_more(world: World, dice: random.Random) -> None:
    """A change and a broadcast after all is over, tried until they are done."""
    works = [lambda: world.change(dice), world.announce]
    end = time.monotonic() + 60
    while works and time.monotonic() < end:
        try:
            works[0]()
            works.pop(0)
        except StoreAway:
            time.sleep(0.5)


def _until_quiet(world: World, since: float, seconds: float) -> float | None:
    """Seconds from `since` (1970) until nothing waited any more; None if that was not within `seconds` from now."""
    quiet = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            busy = world.waiting() or world.pushes_due()
        except (psycopg.Error, OSError):
            busy = 1
        if busy:
            quiet = 0.0
        else:
            quiet = quiet or utc_now().timestamp()
            if utc_now().timestamp() - quiet > QUIET_FOR:
                return max(0.0, quiet - since)
        time.sleep(0.25)
    return None


def _sample(ledger: Ledger, began: float, ended: float) -> str:
    """What somebody heard meanwhile, the least good of the common ones, shortened."""
    answers = [a for a in ledger.answers if began <= a.sent <= ended and a.asked.isdigit()]
    kinds = ledger.kinds(began, ended)
    for kind in (Heard.MEMORY, Heard.UNAVAILABLE, Heard.FULL):
        of_kind = [a for a in answers if a.heard is kind]
        if of_kind and kinds[kind] > 0.05 * sum(kinds.values()):
            return _shortened(of_kind[len(of_kind) // 2])
    return _shortened(answers[0]) if answers else ""


def _shortened(answer: Answer) -> str:
    lines = answer.text.splitlines()
    if answer.heard is not Heard.MEMORY:
        return " ".join(lines)[:110]
    since = next((line for line in lines if "Uppgift" in line), "")
    return " ".join(lines[:2])[:70] + " [...] " + since[since.index("Uppgift") :][:45]


def _up(port: int, bed: Bed) -> bool:
    """Whether both workers answer: each puts a line in the log for a page that there is not."""

    def ask(_: int) -> None:
        with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=3)) as line:
            line.request("GET", "/no-such-page")
            line.getresponse()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(6)))
    lines = (bed.folder / "web.log").read_text().splitlines()
    return len({line.rpartition('"process"')[2] for line in lines if '"event": "request"' in line}) == WORKERS


def one_row(options: argparse.Namespace) -> NoReturn:
    """The process of one row: writes its JSON to the folder. Threads that still wait for an answer end with it."""
    logging.disable(logging.CRITICAL)
    code = 1
    try:
        try:
            result = run_row(options.only, options.engine, options.quick, options.seed, options.row)
        except CannotBreak as error:
            result = {"fault": options.only, "engine": options.engine, "cannot": str(error)}
        (options.row / "result.json").write_text(json.dumps(result))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def all_rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every row in a process of its own, so many at once; the longest first."""
    engines = list(STORES) if options.engine == "both" else [options.engine]
    names = [options.only] if options.only else sorted(FAULTS, key=["provider", "clock", "restarts"].__contains__)[::-1]
    running: set[subprocess.Popen[bytes]] = set()
    results: list[dict[str, Any]] = []

    def row(name: str, engine: str) -> dict[str, Any]:
        place = folder / f"{name}-{engine}"
        loosen(place)
        place.mkdir(mode=0o755)
        command = [sys.executable, "-m", "tests.faults.run", "--only", name, "--engine", engine, "--row", str(place)]
        command += ["--seed", str(options.seed), *(["--quick"] if options.quick else [])]
        with (place / "row.log").open("wb") as log:
            process = subprocess.Popen(tied(command), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        running.add(process)
        process.wait()
        running.discard(process)
        try:
            result: dict[str, Any] = json.loads((place / "result.json").read_text())
        except (OSError, ValueError):
            why = (place / "row.log").read_text()[-1500:]
            result = {"fault": name, "engine": engine, "crashed": why or f"exit {process.returncode}"}
        print(f"{name} on {engine}: {'as it should be' if holds(result) else 'NOT as it should be'}", file=sys.stderr)
        if not options.keep:
            loosen(place)
        return result

    try:
        with ThreadPoolExecutor(options.at_once) as pool:
            waiting = [pool.submit(row, name, engine) for name in names for engine in engines]
            try:
                results = [one.result() for one in waiting]
            except BaseException:
                for one in waiting:
                    one.cancel()
                for process in list(running):
                    process.terminate()
                raise
    finally:
        for process in list(running):
            process.terminate()
    order = list(FAULTS)
    return sorted(results, key=lambda result: (order.index(result["fault"]), result["engine"] != "sqlite"))


BROKEN = ("lost", "doubled", "after_stop", "wrong_doors", "unanswered")


def holds(result: dict[str, Any]) -> bool:
    """Whether every promise was kept; a row that this machine cannot do breaks none."""
    return "cannot" in result or ("crashed" not in result and not any(result[name] for name in BROKEN))


def table(results: list[dict[str, Any]], quick: bool) -> str:
    """The table, and under it what was heard and what was broken."""
    lines = [_line(COLUMNS)]
    for result in results:
        start = (FAULTS[result["fault"]].title, result["engine"])
        if "cannot" in result or "crashed" in result:
            lines.append(_line((*start, result.get("cannot") or "the harness failed, see below")))
            continue
        cells = [result["kinds"][kind.value] for kind in Heard if kind is not Heard.SILENCED]
        counts = [len(result[name]) for name in ("lost", "doubled", "after_stop", "wrong_doors")]
        lines.append(_line((*start, *map(str, cells), *map(str, counts), f"{result['well']:.1f} s")))
    lines.append("")
    for result in results:
        lines.append(f"{result['fault']} on {result['engine']}:")
        if "heard" not in result:
            lines.append(f"  {result.get('cannot') or result['crashed']}")
            continue
        lines.append(f"  heard: {result['heard']}")
        lines.append(f"  {'; '.join(result['notes'])}; broken for {result['seconds']:.0f} s")
        for name in BROKEN:
            lines += [f"  {name.upper()}: {line}" for line in result[name][:SHOWN]]
            if len(result[name]) > SHOWN:
                lines.append(f"  {name.upper()}: and {len(result[name]) - SHOWN} more")
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)).rstrip()


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--engine", choices=[*STORES, "both"], default="both")
    parser.add_argument("--only", choices=list(FAULTS), help="one fault")
    parser.add_argument("--quick", action="store_true", help="shorter, for CI")
    parser.add_argument("--at-once", type=int, default=3, help="rows that run at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the databases and the logs in this folder")
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """0 if every promise was kept."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started is ended too
    if options.row:
        one_row(options)
    began = time.monotonic()
    folder = Path(options.keep or tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    try:
        results = all_rows(options, folder)
    finally:
        if not options.keep:
            loosen(folder)
    print(table(results, options.quick))
    kept = all(map(holds, results))
    print(f"\n{'Every promise was kept' if kept else 'A PROMISE WAS BROKEN'}, {time.monotonic() - began:.0f} s.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""Real programs that hang, and some that only look so: `python -m reliability real_programs [--only NAME]`.

Each is started as a job, on servers, files and ports of its own. Of one that hangs Corral has to say that it is stuck, and its
root in the first line of `why`, within `stuck_after` and some seconds; one that only looks so is watched for longer, and may
never be called stuck. What is not installed is left out, and said. Exits with 1 where fewer than nineteen in twenty were
explained, or where there was any false alarm.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import corral
from reliability.programs import CASES, Case, Place

STUCK_AFTER = 3.0
LONGEST = 20.0
"""Seconds until one that hangs is given up; a machine under load is slow to begin."""
WATCHED = 14.0
"""Seconds that one is watched which only looks so."""
PAUSE = 0.2


class Outcome:
    """What became of one case: right where `wrong` is empty; `left_out` is why it was not tried."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.left_out = ""
        self.wrong = ""
        self.said = ""
        self.seconds = 0.0


async def judged(manager: corral.JobManager, case: Case) -> Outcome:
    outcome = Outcome(case)
    missing = [program for program in case.needs if shutil.which(program) is None]
    if missing:
        outcome.left_out = f"{', '.join(missing)} is not installed"
        return outcome
    with (
        tempfile.TemporaryDirectory(prefix="corral-real-", ignore_cleanup_errors=True) as folder,
        Place(Path(folder)) as place,
    ):
        try:
            line = await asyncio.to_thread(case.prepare, place)
        except Exception as error:  # whatever a server has against this machine
            outcome.left_out = f"it could not be set up: {error!r}"
            return outcome
        handle = await manager.start(
            line,
            pty=case.pty,
            stdin="interactive" if case.typed else None,
            stuck_after=STUCK_AFTER,
            env=place.env,
            cwd=folder,
        )
        try:
            began = time.monotonic()
            await (_hangs if case.hangs else _looks_so)(handle, outcome)
            outcome.seconds = time.monotonic() - began
        finally:
            await asyncio.to_thread(place.let_go)
            await handle.stop(grace=0.5)
    return outcome


async def _hangs(handle: corral.JobHandle, outcome: Outcome) -> None:
    """Until it is explained, or too late."""
    deadline = time.monotonic() + LONGEST
    while True:
        job, told = await handle.snapshot(), await handle.why()
        outcome.said = told.summary
        outcome.wrong = _wrong(outcome.case, job.health, told.summary)
        if not outcome.wrong or job.is_ended or time.monotonic() > deadline:
            return
        await asyncio.sleep(PAUSE)


def _wrong(case: Case, health: str | None, summary: str) -> str:
    if health != "stuck" and not case.any_health:
        return f"its health is {health}"
    return "" if re.search(case.says, summary) else f"it should match {case.says!r}"


async def _looks_so(handle: corral.JobHandle, outcome: Outcome) -> None:
    """Called stuck once is once too often."""
    deadline = time.monotonic() + WATCHED
    while time.monotonic() < deadline:
        job = await handle.snapshot()
        if job.health == "stuck" or job.is_ended:
            outcome.wrong = "it ended" if job.is_ended else "a false alarm"
            outcome.said = (await handle.why()).summary
            return
        await asyncio.sleep(PAUSE)
    outcome.said = (await handle.why()).summary


async def run(asked: argparse.Namespace) -> int:
    chosen = [case for case in CASES if not asked.only or any(one in case.name for one in asked.only)]
    turn = asyncio.Semaphore(asked.at_once)
    outcomes: list[Outcome] = []

    async def one(manager: corral.JobManager, case: Case) -> None:
        async with turn:
            outcome = await judged(manager, case)
        outcomes.append(outcome)
        show(outcome)

    async with corral.open() as manager:
        await asyncio.gather(*(one(manager, case) for case in chosen))
    return summary(outcomes)


def show(outcome: Outcome) -> None:
    if outcome.left_out:
        print(f"left out  {outcome.case.name}: {outcome.left_out}", flush=True)
        return
    print(
        f"{'WRONG' if outcome.wrong else 'right'} {outcome.seconds:4.1f}  {outcome.case.name}: {outcome.said}",
        flush=True,
    )
    if outcome.wrong:
        print(f"            {outcome.wrong}", flush=True)


def summary(outcomes: list[Outcome]) -> int:
    tried = [one for one in outcomes if not one.left_out]
    hang, look = [one for one in tried if one.case.hangs], [one for one in tried if not one.case.hangs]
    right = sum(not one.wrong for one in hang)
    alarms = sum(bool(one.wrong) for one in look)
    print(
        f"{right} of {len(hang)} explained in the first line; false alarms {alarms} of {len(look)}; {len(outcomes) - len(tried)} left out"
    )
    return 0 if right >= 0.95 * len(hang) and not alarms else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="cases with this in their name; may be repeated"
    )
    parser.add_argument("--at-once", type=int, default=4)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())

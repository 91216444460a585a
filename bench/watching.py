"""Watching and diagnosing 200 jobs: idle, stuck in every way, printing, pipelines. The daemon's share of one core."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import common
from common import Options, Report, Row, Verdict
from idle import share
from terminal import OnTerminal

import corral
from corral.library.job_handle import JobHandle
from corral.protocol.requests import AskWhy

JOBS = 200
SECONDS = 20.0
STUCK_AFTER = 5.0
PATIENCE = 40.0
"""Seconds at most until they are stuck. The programs of the zoo end by themselves after 120 s."""
MOST = 0.95
"""The share of them that is waited for: a connect(2) in vain looks as if it could still succeed for a while."""
SETTLE_SECONDS = 10.0
"""A pipeline is left alone once it has not moved for 8 s."""
ZOO = Path(__file__).resolve().parent.parent / "tests" / "zoo"
PRINTS = (
    "import time\nwhile True: print('a line as a build or a server prints it', flush=True); time.sleep(0.1)"
)
HANGS = (
    "reads_terminal", "reads_terminal_from_background", "stops_itself", "polls_its_input", "opens_fifo_to_read",
    "opens_fifo_to_write", "reads_its_own_pipe", "fills_its_own_pipe", "talks_to_a_child_that_talks_back",
    "waits_for_a_child_that_reads_from_it", "waits_for_a_child_that_hangs", "waits_for_a_lock_of_its_parent",
    "locks_two_files_crosswise", "wants_lock", "wants_record_lock", "threads_wait_for_each_other",
    "mutexes_crosswise", "locks_twice", "reads_silent_socket", "polls_silent_socket",
    "asks_a_child_that_does_not_answer", "sends_to_who_does_not_read", "connects_in_vain",
    "connects_in_vain_to_unix_socket", "waits_in_vfork",
)  # fmt: skip
LOCKS = ("wants_lock", "wants_record_lock")


def python(*words: str) -> list[str]:
    return [sys.executable, "-S", "-E", *words]


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[str]:
    """A file that this program holds both kinds of lock on."""
    with path.open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield str(path)


def hanging(count: int, locked: str) -> list[list[str]]:
    """So many single programs, each of which never goes on, in turn of each kind."""
    return [
        python(str(ZOO / "waits.py"), name, *([locked] if name in LOCKS else []))
        for name in islice(cycle(HANGS), count)
    ]


async def start(
    manager: corral.JobManager, commands: Sequence[str | Sequence[str]], *, typed: bool = False
) -> list[JobHandle]:
    """A few at a time, so that the machine is not what is measured."""
    handles = []
    for first in range(0, len(commands), 20):
        some = commands[first : first + 20]
        if typed:
            handles += await manager.start_many(some, stuck_after=STUCK_AFTER, stdin="interactive")
        else:
            handles += await manager.start_many(some, stuck_after=STUCK_AFTER)
    return handles


async def start_mix(manager: corral.JobManager, locked: str) -> list[JobHandle]:
    """As on a busy machine, where half of all is stuck."""
    slow, never = (" ".join(python(str(ZOO / name))) for name in ("waits.py", "never_reads.py"))
    return [
        *await start(manager, [["sleep", "3600"]] * 60),
        *await start(manager, hanging(60, locked)),
        *await start(manager, [python("-c", PRINTS)] * 20),
        *await start(manager, [f"yes | cat | {slow} reads_slowly"] * 20),
        *await start(manager, [f"yes | cat | {never}"] * 20),
        *await start(manager, ["cat | sort | head -n 1"] * 20, typed=True),
    ]


async def start_stuck(manager: corral.JobManager, locked: str) -> list[JobHandle]:
    """Each of them is stuck before long."""
    never = " ".join(python(str(ZOO / "never_reads.py")))
    return [
        *await start(manager, hanging(140, locked)),
        *await start(manager, [f"yes | cat | {never}"] * 30),
        *await start(manager, ["cat | sort | head -n 1"] * 30, typed=True),
    ]


async def settled(manager: corral.JobManager, expected: int) -> int:
    """Wait until most of so many are stuck and all is quiet, or for long enough; how many are stuck then."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while asyncio.get_running_loop().time() < deadline:
        if await stuck_now(manager) >= MOST * expected:
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(SETTLE_SECONDS)
    return await stuck_now(manager)


async def stuck_now(manager: corral.JobManager) -> int:
    return sum(job.health == "stuck" for job in await manager.jobs())


async def ask_all(manager: corral.JobManager, handles: Sequence[JobHandle], daemon: int) -> float:
    """CPU milliseconds that one diagnosis costs the daemon, of all of them asked for one after the other."""
    before = common.cpu_seconds(daemon)
    for handle in handles:
        await manager.session.call(AskWhy(job=handle.id))
    return 1000 * (common.cpu_seconds(daemon) - before) / len(handles)


@contextlib.asynccontextmanager
async def daemon(options: Options) -> AsyncIterator[tuple[corral.JobManager, str, int]]:
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            yield manager, home, manager.session.hello.pid  # type: ignore[union-attr]


async def run(options: Options) -> Report:
    seconds = options.seconds(SECONDS)
    report = Report(
        f"{JOBS} jobs of every kind, watched and diagnosed",
        f"60 sleep, 100 are stuck in {len(HANGS) + 2} ways, 20 print, 20 are pipelines that flow; then {JOBS} that all are "
        f"stuck; share of one core by CPU clock over {seconds:g} s",
    )
    with common.workspace(options) as folder, held_lock(folder / "locked") as locked:
        os.environ["TMPDIR"] = str(folder)  # What the programs of the zoo leave when they are ended.
        async with daemon(options) as (manager, home, pid):
            handles = await start_mix(manager, locked)
            stuck = await settled(manager, 100)
            alone = (await share({"daemon": pid}, seconds))["daemon"]
            with OnTerminal([common.CORRAL], home) as dashboard:
                dashboard.seconds_until(b"sleep")
                await asyncio.sleep(3)
                both = await share({"daemon": pid, "dashboard": dashboard.pid}, seconds)
            asked = await ask_all(manager, handles, pid)
            await manager.stop(handles, grace=0)
        async with daemon(options) as (manager, _, pid):
            handles = await start_stuck(manager, locked)
            all_stuck = await settled(manager, JOBS)
            still = (await share({"daemon": pid}, seconds))["daemon"]
            still_asked = await ask_all(manager, handles, pid)
            memory = common.resident_bytes(pid) / 1e6
            await manager.stop(handles, grace=0)
    report.rows += [
        Row(f"daemon alone, {stuck} stuck", [alone], "%"),
        Row("daemon with a dashboard", [both["daemon"]], "%"),
        Row("dashboard", [both["dashboard"]], "%"),
        Row(f"daemon alone, {all_stuck} stuck", [still], "%", f"{memory:.0f} MB"),
        Row(f"one `why`, {stuck} stuck", [asked], "ms", "CPU of the daemon"),
        Row(f"one `why`, {all_stuck} stuck", [still_asked], "ms", "CPU of the daemon"),
    ]
    report.verdicts += [
        Verdict("daemon alone", alone, 8, "%"),
        Verdict("daemon with a dashboard", both["daemon"], 10, "%"),
        Verdict("daemon, all stuck", still, 5, "%"),
        Verdict("one `why`", max(asked, still_asked), 20, "ms"),
    ]
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

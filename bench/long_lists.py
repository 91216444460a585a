"""Long queues and long lists: 200,000 queued jobs of one stage, 10,000 of 32, and the same once they have ended."""

from __future__ import annotations

import asyncio
import os
import time
from typing import NamedTuple

import common
from common import Options, Report, Row, Verdict
from terminal import OnTerminal

import corral

LONG, WIDE = 200_000, 10_000
STAGES = 32
A_BATCH = 2500
MEGABYTE = 1e6


class Command(NamedTuple):
    """How a whole command went."""

    seconds: float
    peak_bytes: int
    """Of its own memory (`ru_maxrss` of getrusage(2))."""


def command(home: str, *words: str) -> Command:
    """`corral` with these words, its output dropped."""
    began = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        argv = [common.CORRAL, *words]
        pid = os.posix_spawn(argv[0], argv, common.environment(home), file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"corral {' '.join(words)} failed: {os.waitstatus_to_exitcode(status)}")
    return Command(time.perf_counter() - began, used.ru_maxrss * 1024)


async def queue(manager: corral.JobManager, line: str, count: int) -> corral.JobHandle:
    """So many jobs behind one that sleeps."""
    gate = await manager.start("sleep 36000", name="gate")
    for start in range(0, count, A_BATCH):
        await manager.start_many([line] * min(A_BATCH, count - start), after=[gate])
    return gate


def first_rows(home: str) -> float:
    with OnTerminal([common.CORRAL], home) as dashboard:
        return dashboard.seconds_until(b"gate")


async def seconds_until_gone(job: corral.JobHandle) -> float:
    began = time.perf_counter()
    await job.wait()
    return time.perf_counter() - began


async def measure(options: Options, report: Report, line: str, count: int, what: str) -> None:
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            hello = manager.session.hello
            assert hello is not None
            pid = hello.pid
            gate = await manager.start("sleep 36000")
            running = ["ps", "--state", "running"]
            rounds = range(options.rounds(9))
            few = [await asyncio.to_thread(command, home, *running) for _ in rounds]
            alone = await asyncio.to_thread(command, home, "stop", "--all")
            await gate.wait()
            before = common.resident_bytes(pid)
            began = time.perf_counter()
            gate = await queue(manager, line, count)
            report.rows.append(Row(f"{what}: accepted in", [time.perf_counter() - began]))
            each = (common.resident_bytes(pid) - before) / count
            report.verdicts.append(Verdict(f"{what}: a queued job in the daemon", each, 700, "B"))
            many = [await asyncio.to_thread(command, home, *running) for _ in rounds]
            ratio = (
                Row("", [one.seconds for one in many]).median / Row("", [one.seconds for one in few]).median
            )
            report.verdicts.append(Verdict(f"{what}: ps of what runs against none queued", ratio, 2, "×"))
            first = [await asyncio.to_thread(first_rows, home) for _ in rounds]
            report.rows.append(Row(f"{what}, queued: first rows on the dashboard", first))
            report.verdicts.append(
                Verdict(f"{what}: first rows on the dashboard", Row("", first).median, 0.5, "s")
            )
            await listed(report, home, pid, f"{what}, queued")
            gone = asyncio.create_task(seconds_until_gone(gate))
            stopped = await asyncio.to_thread(command, home, "stop", "--all")
            report.rows += [
                Row(f"{what}: stop --all", [stopped.seconds]),
                Row("until the one that runs was gone", [await gone]),
                Row("stop --all of one that runs", [alone.seconds]),
            ]
            await listed(report, home, pid, f"{what}, ended")


async def listed(report: Report, home: str, pid: int, what: str) -> None:
    """`ps -a` of all of them, and what it takes of the client's and the daemon's memory."""
    before = common.resident_bytes(pid)
    found = await asyncio.to_thread(command, home, "ps", "-a")
    grown = (common.resident_bytes(pid) - before) / MEGABYTE
    report.rows.append(Row(f"{what}: ps -a", [found.seconds]))
    report.verdicts += [
        Verdict(f"{what}: memory of ps -a", found.peak_bytes / MEGABYTE, 60, "MB"),
        Verdict(f"{what}: daemon's memory grew by", grown, 10, "MB"),
    ]


async def run(options: Options) -> Report:
    report = Report("Long lists", "jobs that wait for one that sleeps; whole commands, their output dropped")
    share = 10 if options.quick else 1
    await measure(options, report, "true", LONG // share, f"{LONG // share:,} jobs")
    wide = " | ".join(["cat"] * STAGES)
    await measure(options, report, wide, WIDE // share, f"{WIDE // share:,} of {STAGES} stages")
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

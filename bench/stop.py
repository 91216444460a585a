"""Stopping a tree of 100 that obeys TERM, and 1,000 sleeping jobs: until all is gone and proven."""

from __future__ import annotations

import asyncio

import common
from common import Options, Report, Row, Verdict

import corral

JOBS = 1000
TREE = 100
GROW = f"i=1; while [ $i -lt {TREE} ]; do sleep 3600 & i=$((i+1)); done; wait"


async def stop_tree(manager: corral.JobManager) -> float:
    handle = await manager.start(["sh", "-c", GROW])
    while len(await handle.processes()) < TREE:
        await asyncio.sleep(0.02)
    began = asyncio.get_running_loop().time()
    report = await handle.stop()
    took = asyncio.get_running_loop().time() - began
    if report.survivors or len(report.processes) < TREE:
        raise SystemExit(f"{len(report.processes)} processes, {len(report.survivors)} survive")
    return took


async def stop_many(manager: corral.JobManager) -> float:
    handles = []
    for _ in range(JOBS // 500):
        handles += await manager.start_many([["sleep", "3600"]] * 500)
    async with asyncio.timeout(120):
        while sum(job.state == "running" for job in await manager.jobs()) < JOBS:
            await asyncio.sleep(0.05)
    began = asyncio.get_running_loop().time()
    reports = await manager.stop(handles)
    took = asyncio.get_running_loop().time() - began
    if any(report.survivors or report.state != "stopped" for report in reports) or len(reports) != JOBS:
        raise SystemExit("something survived")
    return took


async def run(options: Options) -> Report:
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            trees = [await stop_tree(manager) for _ in range(options.rounds(9))]
            many = [await stop_many(manager) for _ in range(options.rounds(5))]
    report = Report(
        "Stopping",
        "from the client's request to its reply with the proof, so an upper bound of the time in the daemon",
    )
    report.rows += [Row(f"a tree of {TREE}", trees), Row(f"{JOBS:,} sleeping jobs", many)]
    report.verdicts += [
        Verdict(f"a tree of {TREE}", report.rows[0].median, 0.2, "s"),
        Verdict(f"{JOBS:,} sleeping jobs", report.rows[1].median, 0.5, "s"),
    ]
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

"""Watching 1,000 idle children: the share of a core, and the memory, of the daemon and of the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import common
from common import Options, Report, Row, Verdict
from terminal import OnTerminal

import corral

JOBS = 1000
SECONDS = 40.0
SETTLE_SECONDS = 12.0
"""A job counts as one that sleeps after 8 s without any movement."""
OTHERS = ("btop", "htop")


async def share(pids: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Percent of a core that each of these processes uses."""
    before = {name: common.cpu_seconds(pid) for name, pid in pids.items()}
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    took = asyncio.get_running_loop().time() - began
    return {name: 100 * (common.cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}


async def run(options: Options) -> Report:
    seconds = options.seconds(SECONDS)
    report = Report(
        f"{JOBS:,} idle children, watched for {seconds:g} s",
        "jobs of one `sleep` each; share of one core by CPU clock",
    )
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            for _ in range(JOBS // 500):
                await manager.start_many([["sleep", "3600"]] * 500)
            async with asyncio.timeout(120):
                while sum(job.state == "running" for job in await manager.jobs()) < JOBS:
                    await asyncio.sleep(0.1)
            daemon = manager.session.hello.pid  # type: ignore[union-attr]
        await asyncio.sleep(SETTLE_SECONDS)
        alone = (await share({"daemon": daemon}, seconds))["daemon"]
        with OnTerminal([common.CORRAL], home) as dashboard:
            dashboard.seconds_until(b"sleep")
            await asyncio.sleep(options.seconds(SETTLE_SECONDS))
            both = await share({"daemon": daemon, "dashboard": dashboard.pid}, seconds)
            memory = {
                name: common.resident_bytes(pid) / 1e6
                for name, pid in (("daemon", daemon), ("dashboard", dashboard.pid))
            }
        report.rows += [
            Row("daemon alone", [alone], "%"),
            Row("daemon with a dashboard", [both["daemon"]], "%", f"{memory['daemon']:.0f} MB"),
            Row("dashboard", [both["dashboard"]], "%", f"{memory['dashboard']:.0f} MB"),
        ]
        report.rows += [await other(tool, options.seconds(10)) for tool in OTHERS]
    report.verdicts += [
        Verdict("daemon alone", alone, 0.5, "%"),
        Verdict("daemon with a dashboard", both["daemon"], 0.8, "%"),
        Verdict("dashboard", both["dashboard"], 2.0, "%"),
        Verdict("daemon's memory", memory["daemon"], 60, "MB"),
        Verdict("dashboard's memory", memory["dashboard"], 60, "MB"),
    ]
    return report


async def other(tool: str, seconds: float) -> Row:
    """A process viewer on a terminal, watching the same children."""
    if not common.is_installed(tool):
        return common.missing(tool)
    with OnTerminal([tool]) as viewer:
        await asyncio.sleep(3)
        percent = (await share({tool: viewer.pid}, seconds))[tool]
        return Row(tool, [percent], "%", f"{common.resident_bytes(viewer.pid) / 1e6:.0f} MB")


if __name__ == "__main__":
    common.main(__doc__, run)

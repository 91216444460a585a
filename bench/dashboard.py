"""The dashboard on a terminal of 160×50: what printing jobs cost, how soon a key is seen, how many bytes it paints."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import common
from common import Options, Report, Row, Verdict
from idle import share
from terminal import OnTerminal

import corral

SECONDS = 20.0
SETTLE_SECONDS = 20.0
"""The sparks of a new job fill their eight cells for sixteen seconds."""
PRESSES = 200
PYTHON = (sys.executable, "-S", "-E", "-u", "-c")
PRINTS = (*PYTHON, "import time\nwhile True:\n print('one line of a job that prints'); time.sleep(0.1)")
FLOODS = (
    *PYTHON,
    "import os, time\nblock = (b'x' * 99 + b'\\n') * 10000\nbegan, sent = time.monotonic(), 0\n"
    "while True:\n os.write(1, block); sent += len(block)\n"
    " time.sleep(max(0, sent / 100e6 - time.monotonic() + began))",
)
"""100 MB a second."""
SLEEPS = ("sleep", "3600")


@asynccontextmanager
async def shown(
    options: Options, jobs: Sequence[tuple[str, ...]], *, max_output: int | None = None
) -> AsyncIterator[tuple[OnTerminal, int]]:
    """A dashboard over these jobs once all run and all has settled, and the pid of their daemon."""
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            for start in range(0, len(jobs), 500):
                await manager.start_many(
                    [list(argv) for argv in jobs[start : start + 500]], max_output=max_output
                )
            async with asyncio.timeout(120):
                while sum(job.state == "running" for job in await manager.jobs()) < len(jobs):
                    await asyncio.sleep(0.1)
            daemon = manager.session.hello.pid  # type: ignore[union-attr]
        with OnTerminal([common.CORRAL], home) as dashboard:
            dashboard.seconds_until(b"running")
            await asyncio.sleep(options.seconds(SETTLE_SECONDS))
            yield dashboard, daemon


async def cost_of_printing(options: Options, report: Report) -> None:
    async with shown(options, [PRINTS] * 100) as (dashboard, daemon):
        used = await share({"daemon": daemon, "dashboard": dashboard.pid}, options.seconds(SECONDS))
    for name, percent in used.items():
        report.rows.append(Row(f"100 jobs that print 10 lines a second: {name}", [percent], "%"))
    report.verdicts.append(
        Verdict("100 jobs that print 10 lines a second: daemon and dashboard", sum(used.values()), 3.0, "%")
    )


async def keys(options: Options, report: Report) -> None:
    """From the write of `?`, which opens the help, until its first line is there; escape closes it."""
    took = []
    async with shown(options, [FLOODS, *[SLEEPS] * 999], max_output=64 << 20) as (dashboard, _):
        for _ in range(options.rounds(PRESSES)):
            took.append(1000 * await asyncio.to_thread(dashboard.seconds_from, b"?", HELP))
            dashboard.type(b"\x1b")
            await asyncio.sleep(0.3)
    what = "a key to its paint, 1,000 jobs and 100 MB/s"
    report.rows.append(Row(what, took, "ms"))
    percentile = statistics.quantiles(took, n=100, method="inclusive")[98]
    report.verdicts.append(Verdict(f"{what}, 99th percentile", percentile, 30.0, "ms"))


HELP = b"esc closes this help"


async def painted(options: Options, report: Report) -> None:
    for what, jobs, at_most in (
        ("bytes painted a second, 50 idle jobs", [SLEEPS] * 50, 2000.0),
        ("bytes painted a second, 65 jobs of which 15 print", [*[PRINTS] * 15, *[SLEEPS] * 50], 4000.0),
    ):
        async with shown(options, jobs) as (dashboard, _):
            before, seconds = dashboard.painted_bytes, options.seconds(SECONDS)
            await asyncio.sleep(seconds)
            rate = (dashboard.painted_bytes - before) / seconds
        report.rows.append(Row(what, [rate], "B/s"))
        report.verdicts.append(Verdict(what, rate, at_most, "B/s"))


async def run(options: Options) -> Report:
    report = Report("The dashboard", f"`corral` on a terminal of 160×50; each is looked at for {SECONDS:g} s")
    await cost_of_printing(options, report)
    await keys(options, report)
    await painted(options, report)
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

"""First paint of the dashboard, with a daemon up and ten jobs: against `python -c 'import textual.app'`."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import common
from common import Options, Report, Row, Verdict
from terminal import OnTerminal

import corral

JOBS = 10


def import_textual() -> None:
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True, env=common.environment())


def paint(home: str) -> float:
    with OnTerminal([common.CORRAL], home) as dashboard:
        return dashboard.seconds_until(b"sleeper")


async def run(options: Options) -> Report:
    theirs, ours = [], []
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            for number in range(JOBS):
                await manager.start(["sleep", "3600"], name=f"sleeper{number}")
            for _ in range(options.rounds(15) + 1):
                theirs.append(await asyncio.to_thread(common.timed, import_textual))
                ours.append(await asyncio.to_thread(paint, home))
    report = Report(
        "First paint", f"from the start of `corral` to the first byte of its {JOBS} jobs on a pty"
    )
    report.rows += [Row("import textual.app", theirs[1:]), Row("corral, first paint", ours[1:])]
    report.verdicts.append(
        Verdict("first paint against import", Row("", common.ratios(ours[1:], theirs[1:])).median, 1.4)
    )
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

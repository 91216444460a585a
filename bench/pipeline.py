"""A four-stage pipeline, 2 GB, watched by a dashboard's connection: the time against bash."""

from __future__ import annotations

import asyncio
import subprocess

import common
from common import Options, Report, Row, Verdict

import corral

BYTES = 2_000_000_000
LINE = f"head -c {BYTES} /dev/zero | cat | cat | wc -c"


def in_bash() -> None:
    found = subprocess.run(["bash", "-c", LINE], check=True, capture_output=True).stdout
    if int(found) != BYTES:
        raise SystemExit(f"bash lost bytes: {found!r}")


async def run(options: Options) -> Report:
    theirs, ours = [], []
    with common.home(options) as home:
        async with corral.connect(home) as manager, corral.connect(home) as watcher:
            await watcher.session.subscribe()
            for _ in range(options.rounds(9) + 1):
                theirs.append(await asyncio.to_thread(common.timed, in_bash))
                began = asyncio.get_running_loop().time()
                result = await manager.run(LINE, check=True)
                ours.append(asyncio.get_running_loop().time() - began)
                if int(result.stdout) != BYTES:
                    raise SystemExit(f"bytes were lost: {result.stdout!r}")
    report = Report("Four stages, 2 GB", f"`{LINE}`, with a subscriber that gets every change")
    report.rows += [Row("bash", theirs[1:]), Row("as a job, watched", ours[1:])]
    report.verdicts.append(
        Verdict("as a job against bash", Row("", common.ratios(ours[1:], theirs[1:])).median, 0.85)
    )
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

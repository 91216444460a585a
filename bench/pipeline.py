"""A four-stage pipeline, 2 GB, watched by a dashboard's connection: the time against bash."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess

import common
from common import Options, Report, Row, Verdict

import corral

BYTES = 2_000_000_000
STAGES = 4
MEBIBYTE = 1 << 20
LINE = f"head -c {BYTES} /dev/zero | cat | cat | wc -c"


def in_bash() -> None:
    found = subprocess.run(["bash", "-c", LINE], check=True, capture_output=True).stdout
    if int(found) != BYTES:
        raise SystemExit(f"bash lost bytes: {found!r}")


def bare(capacity: int | None = None) -> None:
    """Popen for each stage, as a program without Corral would, its pipes made larger or not."""
    stages, source = [], subprocess.DEVNULL
    for number, words in enumerate(LINE.split(" | "), 1):
        reader, sink = os.pipe() if number < STAGES else (-1, os.open(os.devnull, os.O_WRONLY))
        if capacity is not None and number < STAGES:
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, capacity)
        stages.append(subprocess.Popen(words.split(), stdin=source, stdout=sink, close_fds=False))
        os.close(sink)
        if source >= 0:
            os.close(source)
        source = reader
    statuses = [stage.wait() for stage in stages]
    if any(statuses):
        raise SystemExit("a stage failed")


def with_pv() -> None:
    subprocess.run(["bash", "-c", LINE.replace(" | ", " | pv -q | ")], check=True, stdout=subprocess.DEVNULL)


def others(options: Options) -> list[Row]:
    rounds = range(options.rounds(4))
    rows = [
        Row("Popen", [common.timed(bare) for _ in rounds]),
        Row("Popen, pipes of 1 MiB", [common.timed(lambda: bare(MEBIBYTE)) for _ in rounds]),
    ]
    if not common.is_installed("pv"):
        return [*rows, common.missing("pv on each edge")]
    return [*rows, Row("pv on each edge", [common.timed(with_pv) for _ in rounds])]


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
    report.rows += await asyncio.to_thread(others, options)
    report.verdicts.append(
        Verdict("as a job against bash", Row("", common.ratios(ours[1:], theirs[1:])).median, 0.85)
    )
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

"""A four-stage pipeline, 2 GB, looked at without pause: the time against bash, and against nobody looking."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
from collections.abc import AsyncIterator

import common
from common import Options, Report, Row, Verdict

import corral
from corral.platform.files.pipes import set_capacity
from corral.platform.spawn.executables import find_program
from corral.platform.spawn.spawn import spawn
from corral.protocol.requests import PeekPipes, ShowJob, WatchJobs

BYTES = 2_000_000_000
STAGES = 4
MEBIBYTE = 1 << 20
LINE = f"head -c {BYTES} /dev/zero | cat | cat | wc -c"


def in_bash() -> None:
    found = subprocess.run(["bash", "-c", LINE], check=True, capture_output=True).stdout
    if int(found) != BYTES:
        raise SystemExit(f"bash lost bytes: {found!r}")


def unwatched(output: str) -> None:
    """What a job of this line is made of, by the same code, but for the daemon: nobody looks at it."""
    stages = []
    source = os.open(os.devnull, os.O_RDONLY)
    errors = os.open(os.devnull, os.O_WRONLY)
    for number, words in enumerate(LINE.split(" | "), 1):
        reader, sink = (
            os.pipe() if number < STAGES else (-1, os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        )
        if number < STAGES:
            set_capacity(sink, MEBIBYTE)
        argv = words.split()
        stages.append(
            spawn(
                argv,
                find_program(argv[0], os.environ["PATH"], "/"),
                (source, sink, errors),
                cwd="/",
                environment=os.environb,
                umask=0o022,
                carried_mark=None,
            )
        )
        os.close(sink)
        os.close(source)
        source = reader
    os.close(errors)
    statuses = [stage.wait() for stage in stages]
    if any(statuses):
        raise SystemExit("a stage failed")
    with open(output, encoding="ascii") as file:
        if int(file.read()) != BYTES:
            raise SystemExit("bytes were lost")


@contextlib.asynccontextmanager
async def looking(watcher: corral.JobManager, job: str) -> AsyncIterator[None]:
    """As an opened job does: on the screen, its pipes four times a second, and the bytes in one of them each second."""

    async def look() -> None:
        turn = 0
        await watcher.session.call(WatchJobs(ids=(job,)))
        while True:
            await watcher.session.call(PeekPipes(job=job))
            if turn % 4 == 0:
                await watcher.session.call(ShowJob(job=job))
                await watcher.session.call(PeekPipes(job=job, pipe=2, bytes=4096))
            turn += 1
            await asyncio.sleep(0.25)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def watched(manager: corral.JobManager, watcher: corral.JobManager) -> None:
    handle = await manager.start(LINE)
    async with looking(watcher, handle.id):
        await handle.wait()
    if int(await handle.stdout()) != BYTES:
        raise SystemExit("bytes were lost")


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
    theirs, ours, alone = [], [], []
    with common.home(options) as home, common.workspace(options) as folder:
        async with corral.connect(home) as manager, corral.connect(home) as watcher:
            await watcher.session.subscribe()
            for _ in range(options.rounds(9) + 1):
                theirs.append(await asyncio.to_thread(common.timed, in_bash))
                began = asyncio.get_running_loop().time()
                await watched(manager, watcher)
                ours.append(asyncio.get_running_loop().time() - began)
                alone.append(await asyncio.to_thread(common.timed, lambda: unwatched(str(folder / "output"))))
    report = Report(
        "Four stages, 2 GB",
        f"`{LINE}`; a subscriber gets every change, and somebody looks at its pipes four times a second and into one each second",
    )
    report.rows += [
        Row("bash", theirs[1:]),
        Row("as a job, watched", ours[1:]),
        Row("the same stages and pipes, unwatched", alone[1:]),
    ]
    report.rows += await asyncio.to_thread(others, options)
    report.verdicts += [
        Verdict("as a job against bash", Row("", common.ratios(ours[1:], theirs[1:])).median, 0.85),
        Verdict("watched against unwatched", Row("", common.ratios(ours[1:], alone[1:])).median, 1.05),
    ]
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

"""1,000 × `true`, two at a time, one batch through the library: the time against a bare Popen loop."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path

import common
from common import Options, Report, Row, Verdict

import corral

JOBS = 1000


def bare_loop() -> None:
    """Popen that keeps two running."""
    running: list[subprocess.Popen[bytes]] = []
    for _ in range(JOBS):
        if len(running) == 2:
            running.pop(0).wait()
        running.append(subprocess.Popen(["true"]))
    for process in running:
        process.wait()


def with_xargs() -> None:
    subprocess.run(["xargs", "-P2", "-I{}", "true"], input=b"x\n" * JOBS, check=True)


def with_parallel() -> None:
    subprocess.run(["parallel", "-j2", "true"], input=b"x\n" * JOBS, check=True, stdout=subprocess.DEVNULL)


def with_task_spooler(folder: Path) -> None:
    with common.task_spooler(folder, 2) as own:
        for _ in range(JOBS):
            subprocess.run(["tsp", "true"], check=True, env=own, stdout=subprocess.DEVNULL)
        subprocess.run(["tsp", "-w"], check=True, env=own)


def once(options: Options) -> list[Row]:
    """Those that take several times as long: one round each."""
    rows = []
    if common.is_installed("tsp"):
        with common.workspace(options) as folder:
            rows.append(Row("task-spooler", [common.timed(lambda: with_task_spooler(folder))]))
    else:
        rows.append(common.missing("task-spooler"))
    if common.is_installed("parallel"):
        rows.append(Row("GNU parallel -j2", [common.timed(with_parallel)]))
    else:
        rows.append(common.missing("GNU parallel"))
    return rows


async def run(options: Options) -> Report:
    tempfile.tempdir = options.folder
    bare, ours, xargs = [], [], []
    async with corral.open(parallel=2) as manager:
        daemon = manager.session.hello.pid  # type: ignore[union-attr]
        used = []
        for _ in range(options.rounds(9) + 1):
            bare.append(await asyncio.to_thread(common.timed, bare_loop))
            cpu = common.cpu_seconds(daemon)
            began = asyncio.get_running_loop().time()
            handles = await manager.start_many(["true"] * JOBS)
            jobs = await manager.wait(handles)
            ours.append(asyncio.get_running_loop().time() - began)
            used.append(common.cpu_seconds(daemon) - cpu)
            if [job.state for job in jobs] != ["succeeded"] * JOBS:
                raise SystemExit("a job was lost")
            xargs.append(await asyncio.to_thread(common.timed, with_xargs))
    report = Report(
        f"{JOBS:,} × true, two at a time",
        "one batch, warm private daemon, journal and output files included; rounds interleaved",
    )
    report.rows += [
        Row("Popen loop", bare[1:]),
        Row("corral", ours[1:]),
        Row("of it CPU of the daemon", used[1:]),
        Row("xargs -P2", xargs[1:]),
    ]
    report.rows += await asyncio.to_thread(once, options)
    report.verdicts.append(
        Verdict("corral against the Popen loop", Row("", common.ratios(ours[1:], bare[1:])).median, 1.6)
    )
    return report


if __name__ == "__main__":
    common.main(__doc__, run)

"""The library as programs use it, for mypy: `make check` reads it. An ignore that is not needed is an error there."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import corral


async def typical(directory: Path, names: Sequence[str]) -> int | None:
    async with corral.open(parallel=4) as manager:
        result: corral.Result = await manager.run(
            "sort names | uniq -c", cwd=directory, timeout=60, check=True
        )
        lines: list[bytes] = result.stdout.splitlines()
        await manager.run(["wc", "-l", directory / "names"], env={**os.environ, "LANG": "C"}, max_output=None)
        await manager.run(Path("/usr/bin/env"), input=bytearray(b"x"), stop_signal=signal.SIGINT)
        many: list[corral.JobHandle] = await manager.start_many((["echo", name] for name in names), name=None)
        first: corral.JobHandle = await manager.start(
            "cat", stdin="interactive", on_stuck="stop", stuck_after=5
        )
        await first.send(b"x")
        last = await manager.start("wc", stdin=first, after=many)
        with contextlib.suppress(TimeoutError, corral.NotSoError):
            await manager.wait(many, any=True, timeout=1.5)
        async with contextlib.aclosing(last.follow()) as chunks:
            lines += [chunk async for chunk in chunks]
        job: corral.Job = await last.snapshot()
        state: corral.State = job.state
        if state == "running" and job.memory_bytes is not None:
            report: corral.StopReport = await last.stop(signal="INT", grace=0)
            print([(each.pid, each.ended_by, each.seconds) for each in report.processes], report.survivors)
        diagnosis: corral.Diagnosis = await last.why()
        kinds: list[corral.WaitKind] = [wait.kind for wait in diagnosis.waits]
        print(kinds, [stage.cpu_seconds for stage in job.stages], await first.stderr(stage=1))
    return result.exit_status


async def with_options(command: corral.CommandLike, **options: Unpack[corral.Options]) -> corral.JobHandle:
    async with corral.connect(Path("/tmp/home")) as manager:
        try:
            return await manager.start(command, **options)
        except corral.CannotStartError as error:
            print(error.status)
            raise


async def mistaken(manager: corral.JobManager, job: corral.JobHandle) -> None:
    await manager.run("cat", input="text")  # type: ignore[arg-type]
    await manager.run("cat", timout=5)  # type: ignore[call-arg]
    await manager.run("cat", timeout="5s")  # type: ignore[arg-type]
    await manager.run("cat", on_stuck="kill")  # type: ignore[arg-type]
    await manager.run("cat", env={"PORT": 8080})  # type: ignore[dict-item]
    await manager.run("cat", after="build")  # type: ignore[arg-type]
    await manager.run(["cat", b"x"])  # type: ignore[list-item]
    await job.send("text")  # type: ignore[arg-type]
    await job.wait("5s")  # type: ignore[arg-type]
    corral.open(parallel="2")  # type: ignore[arg-type]
    (await job.snapshot()).state = "failed"  # type: ignore[misc]
    if (await job.snapshot()).state == "finished":  # type: ignore[comparison-overlap]
        print(corral.opne)  # type: ignore[attr-defined]

"""Jobs in the queue: of all but the first dozens only the journal has more than their name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from corral.commandline.parser import parse
from corral.jobs.acceptance import KEPT_WHOLE
from corral.jobs.executor import Observation
from corral.jobs.managed_job import new_job
from corral.jobs.snapshot_builder import snapshot_of
from corral.journal import rows
from corral.model.job import Job
from corral.model.spec import FileInput, InteractiveInput, JobInput, JobSpec, Surroundings
from managers import opened

MANY = KEPT_WHOLE + 50


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("true", {}),
        ("seq 9 | head -2 | wc -l", {"name": "count", "timeout": 60.0, "after": ("1", "2")}),
        ("cat", {"stdin": JobInput("3"), "stop_grace": 3.0, "stop_signal": "INT", "parent": "4"}),
        (
            "cat",
            {
                "stdin": FileInput("/etc/passwd"),
                "on_stuck": "stop",
                "stuck_after": 9.0,
                "max_output": 1 << 20,
            },
        ),
        ("cat", {"stdin": InteractiveInput(), "restarted_from": "5", "leftovers": "stop", "output": "pipe"}),
        ("vim", {"pty": True, "origin": "dashboard"}),
        (f"echo {'x' * 100_000}", {}),
    ],
)
def test_the_journal_tells_of_a_queued_job_what_the_job_itself_would_tell(
    line: str, fields: dict[str, Any]
) -> None:
    spec, created = JobSpec(parse(line), line, **fields), datetime.now(UTC)
    job = new_job(7, spec, Surroundings({}, "/tmp", 0o022), created)
    seen = Observation(pids=(None,) * len(job.stages), processes=0, cpu_seconds=0.0, output_rate=None)
    assert rows.new_job(7, spec, "/tmp", created) == snapshot_of(job, 0.0, None, seen, None)


async def by_name(manager: Any) -> dict[str | None, Job]:
    return {job.name: job for job in await manager.jobs(all=True)}


async def test_jobs_of_which_only_the_journal_has_all_start_in_their_order_and_with_all_they_were_given() -> (
    None
):
    async with opened(parallel=1) as manager:
        gate = await manager.start("sleep 100")
        await manager.start_many([["true"]] * MANY)
        last = await manager.start(["sh", "-c", 'echo "$GIVEN in $PWD"'], env={"GIVEN": "this"}, cwd="/")
        queued = await last.snapshot()
        assert (queued.state, queued.waiting_for) == ("queued", "limit: 1 of 1 running")
        await gate.stop()
        ended = await last.wait()
        assert (ended.state, await last.stdout()) == ("succeeded", b"this in /\n")
        jobs = await manager.jobs(all=True)
        assert [job.state for job in jobs] == ["stopped", *["succeeded"] * (MANY + 1)]
        started = [job.started for job in jobs]
        assert started == sorted(started, key=lambda at: at or datetime.max.replace(tzinfo=UTC))


async def test_what_is_taken_out_of_the_queue_never_starts_and_what_waited_for_it_fails() -> None:
    async with opened(parallel=1) as manager:
        running = await manager.start("sleep 100")
        queued = await manager.start_many([["true"]] * MANY)
        stopped = await manager.start("seq 3 | wc -l", name="stopped")
        waiting = await manager.start("true", name="waiting", after=[stopped])
        report = await stopped.stop()
        assert (report.state, report.note, report.survivors) == ("stopped", "never started", ())
        failed = await waiting.wait()
        assert (failed.state, failed.exit_status) == ("failed", 125)
        assert failed.reason == f"job {(await stopped.snapshot()).id}, which it waited for, was stopped"
        told = (await by_name(manager))["stopped"]
        assert (told.state, told.reason, told.exit_status, told.started) == (
            "stopped",
            "never started",
            None,
            None,
        )
        assert told.ended is not None
        assert [stage.state for stage in told.stages] == ["queued", "queued"]
        reports = await manager.stop([running, *queued])
        assert [report.id for report in reports] == [str(job) for job in range(1, MANY + 2)]
        assert {report.note for report in reports[1:]} == {"never started"}
        assert {job.state for job in await manager.jobs(all=True)} == {"stopped", "failed"}


async def test_of_a_job_whose_row_is_damaged_the_journal_says_so_and_the_others_start() -> None:
    async with opened(parallel=1) as manager:
        gate = await manager.start("sleep 100")
        await manager.start_many([["true"]] * MANY)
        damaged = await manager.start("true", name="damaged")
        after = await manager.start("echo still", name="after")
        with closing(sqlite3.connect(manager.session.home.journal)) as journal:
            journal.execute("UPDATE jobs SET spec = x'00' WHERE name = 'damaged'")
            journal.commit()
        await gate.stop()
        assert (await after.wait()).state == "succeeded"
        lost = await damaged.snapshot()
        assert (lost.state, lost.reason) == ("lost", "its record in the journal is damaged")

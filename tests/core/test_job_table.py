"""The table of jobs, the observers of starts and ends, and no loop over a long queue where only some jobs matter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from corral.commandline.parser import parse
from corral.jobs.job_observers import JobNotifier
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, new_job
from corral.jobs.queued_job import QueuedJob, queued_job
from corral.lifecycle.state import Ending, JobEnded
from corral.model.job import Job
from corral.model.spec import JobInput, JobSpec, Surroundings


def job_of(number: int, **fields: Any) -> ManagedJob:
    spec = JobSpec(parse("true"), "true", **fields)
    return new_job(number, spec, Surroundings({}, "/", 0o022), datetime.now(UTC))


def queued(number: int, **fields: Any) -> QueuedJob:
    return queued_job(number, JobSpec(parse("true"), "true", **fields), datetime.now(UTC))


def test_jobs_are_found_by_what_they_name_until_they_are_removed() -> None:
    table = JobTable()
    table.add(job_of(1, name="backup"))
    table.enqueue(queued(2, name="backup", parent="1", after=("1",)))
    table.enqueue(queued(3, instead_of=("1",), restarted_from="1", stdin=JobInput("2")))
    assert table.named.of("backup") == [1, 2]
    assert table.children.of("1") == table.waiters.of("1") == [2]
    assert table.restarts.of("1") == table.queued_replacements_of(1) == table.readers.of("2") == [3]
    assert (list(table.started), list(table.queued)) == ([1], [2, 3])
    assert (table.name_of(1), table.name_of(2), table.queued[3].title) == ("backup", "backup", "true")
    table.started[1].life = replace(table.started[1].life, state="succeeded")
    assert list(table.unended_ids()) == [2, 3]
    assert table.unended_count == 2
    assert table.take_changes() == (set(), set())
    table.withdraw([2])
    assert table.take_changes() == ({2}, set())
    assert not table.waiters.keys
    table.add(job_of(3, instead_of=("1",), restarted_from="1", stdin=JobInput("2")))
    assert table.queued_replacements_of(1) == []
    assert (list(table.started), list(table.queued)) == ([1, 3], [])
    for number in (1, 3):
        table.remove(number)
    assert table.is_empty
    assert not any(index.keys for index in (table.named, table.children, table.restarts, table.readers))


def test_a_job_is_closed_before_its_last_snapshot_and_observers_hear_of_that() -> None:
    heard = list[str]()

    class Observer:
        def job_ended(self, job: Job) -> None:
            heard.append(f"ended {job.id}")

        def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
            heard.append(f"withdrawn {job_ids}")

    def snapshot(job: ManagedJob) -> Job:
        heard.append("snapshot")
        return Job(id=str(job.id), name=None, command="true", cwd="/", created=job.created)

    table, job = JobTable(), job_of(1)
    table.add(job)
    events = JobNotifier(
        table,
        SimpleNamespace(job_ended=lambda *_: heard.append("journal")),  # type: ignore[arg-type]
        SimpleNamespace(snapshot=snapshot),  # type: ignore[arg-type]
        SimpleNamespace(stop_of=lambda _: None, close=lambda _: heard.append("closed")),  # type: ignore[arg-type]
        observers=(Observer(),),
        batch_job_ended=lambda _: heard.append("of a batch"),
    )
    events.ended(job, JobEnded(Ending("succeeded", 0, None, None)))
    events.withdrawn([2])
    assert heard.pop() == "withdrawn [2]"
    assert heard == ["closed", "snapshot", "journal", "ended 1"]
    assert list(table.ended) == [1]


NO_LOOP_OVER_ALL = """
import asyncio, sys
from corral.home.directory import prepare_home
from corral.lifecycle.scheduler import Group
from corral.journal.journal import Journal
from corral.engine.engine import Engine
from corral.jobs.job_table import JobTable
from corral.client.environment import surroundings
from corral.commandline.parser import parse
from corral.model.home import Home
from corral.model.spec import JobSpec

class Unlooped(dict):
    def __iter__(self):
        raise AssertionError("a loop over all jobs")
    keys = values = items = __iter__

make = JobTable.__init__
def make_unlooped(self, *arguments):
    make(self, *arguments)
    self.queued = Unlooped()
JobTable.__init__ = make_unlooped

async def main(home):
    prepare_home(home)
    engine = Engine(home, Journal.open(home))
    await engine.acceptance.accept([JobSpec(parse("sleep 60"), "sleep 60", name="first")], surroundings())
    await engine.queue.until_started(1)
    engine.scheduler.configure(Group(paused=True))
    specs = [JobSpec(parse("true"), "true", name=f"job-{number}") for number in range(2, 12)]
    await engine.acceptance.accept(specs, surroundings())
    engine.executor.tick()
    assert engine.references.resolve("job-7") == 7
    assert engine.references.resolve("first") == 1
    engine.explanation.why(1), engine.explanation.why(7), engine.explanation.detail(7)
    engine.stops.request(8, by="by a test")
    assert (await engine.stops.report(8, wait=True)).state == "stopped"
    assert await engine.restarts.restart(7, "command_line") == 12
    engine.restarts.resume()
    assert engine.table.unended_count == 10
    engine.stops.request(1, by="by a test")
    assert (await engine.stops.report(1, wait=True)).state == "stopped"
    engine.executor.leftovers.check()
    assert engine.needed_jobs.all(shown=True) == {}
    assert await engine.removals.remove([1], force=False) == (["job 1 removed"], [])
    print("no loop")

asyncio.run(main(Home(sys.argv[1])))
"""


def test_nothing_that_concerns_single_jobs_loops_over_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_LOOP_OVER_ALL, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "no loop\n", done.stderr

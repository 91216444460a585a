"""Taking over what an earlier daemon left running: found by the journal and by marks, never started twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from corral.decide.endings import LOST
from corral.decide.life import Adopted, DeclaredLost, StagesSpawned
from corral.decide.recovery import StoredJob, unended_jobs
from corral.decide.store import StartedStage
from corral.manage.census import Seen
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.system.identity import ProcessIdentity, identify
from corral.system.pidfd import open_pidfd_if_possible
from corral.system.procfs import read_stat
from corral.values.jobs import Job
from corral.values.spec import JobInput

if TYPE_CHECKING:
    from corral.manage.manager import Manager

UNKNOWN_COMMAND = "(unknown)"


def adopt_all(manager: Manager) -> None:
    """Bring every job that has not ended into the manager's hands; end as lost what nothing is left of."""
    stored = unended_jobs(manager.journal, time.monotonic())
    found = manager.census.take([])
    for job in stored:
        _take_over(manager, job, found.get(job.id, []))
    for job_id, seen in found.items():
        if job_id not in manager.jobs:
            _add_leftovers(manager, job_id, seen)
    manager.commit_soon()
    manager.wake()


def _take_over(manager: Manager, stored: StoredJob, seen: Sequence[Seen]) -> None:
    job = manager.new_job(stored.id, stored.spec, stored.surroundings, stored.created)
    job.life, job.hidden = stored.life, stored.hidden
    if job.life.state == "queued" and not stored.is_starting:
        manager.enqueue(job)
        return
    manager.jobs[job.id] = job
    manager.scheduler.adopt(job.id)
    _find_processes(manager, job, stored, seen)
    if job.life.state == "queued" or not job.life.is_started:
        manager.apply(job, DeclaredLost(**moment(), reason=LOST))
        return
    manager.journal.record(job.id, datetime.now(UTC), "adopted", "taken over by a new daemon")
    if isinstance(job.spec.stdin, JobInput):
        text = "the daemon that fed it has ended, and with it its input"
        manager.journal.record(job.id, datetime.now(UTC), "feed", text)
    _watch(manager, job)
    manager.arm_timeout(job)
    manager.apply(job, Adopted(**moment()))


def _find_processes(manager: Manager, job: ManagedJob, stored: StoredJob, seen: Sequence[Seen]) -> None:
    """Give each stage its process: as the journal noted it, else, where the daemon died while starting, by the mark."""
    rows = {row.number: row for row in stored.stages}
    found: list[StartedStage] = []
    for stage in job.stages:
        row = rows.get(stage.number)
        if row is not None and row.pid is not None and row.started_ticks is not None:
            stage.identity = ProcessIdentity(row.pid, row.started_ticks)
            stage.started, stage.ended, stage.cpu_seconds = row.started, row.ended, row.cpu_seconds
            continue
        leader = _leader(seen, stage.number)
        if leader is not None:
            stage.identity = leader
            found.append(StartedStage(stage.number, leader.pid, leader.started))
    if found:
        manager.journal.stages_started(job.id, found, datetime.now(UTC))
        job.life = replace(job.life, is_starting=True)
        numbers = tuple(stage.number for stage in found)
        manager.apply(job, StagesSpawned(**moment(), numbers=numbers))
    if job.life.is_starting:
        # What had not been started when the daemon died never will be.
        job.life = replace(job.life, is_starting=False)


def _leader(seen: Sequence[Seen], stage: int) -> ProcessIdentity | None:
    """The marked process of a stage that leads its session: the one that was spawned."""
    for entry in seen:
        stat = read_stat(entry.pid) if entry.stage == stage else None
        if stat is not None and stat.session == stat.pid:
            return identify(entry.pid)
    return None


def _watch(manager: Manager, job: ManagedJob) -> None:
    for stage in job.stages:
        if not stage.is_running or stage.identity is None:
            continue
        if identify(stage.identity.pid) == stage.identity:
            stage.pidfd = open_pidfd_if_possible(stage.identity.pid)
        manager.children.watch(job, stage)


def _add_leftovers(manager: Manager, job_id: int, seen: Sequence[Seen]) -> None:
    """Processes with our mark of a job that has ended, or that the journal knows nothing of."""
    alive = [entry for entry in seen if (stat := read_stat(entry.pid)) and not stat.has_ended]
    if not alive:
        return
    if not manager.journal.exists(job_id):
        now = datetime.now(UTC)
        lost = Job(
            id=str(job_id),
            name=None,
            command=UNKNOWN_COMMAND,
            cwd="/",
            state="lost",
            created=now,
            ended=now,
            reason="found by its mark; the journal does not know it",
            leftovers=len(alive),
        )
        manager.journal.add_found(lost)
        manager.commit_soon()
    manager.leftovers.take_on(job_id)

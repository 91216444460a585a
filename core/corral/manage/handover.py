"""What a daemon hands to the program that takes its place in the same process: all that is not in the journal.

That is descriptors, how far stops and feeds are, whose turn had come, and what was observed. The rest, lives included,
is committed before, so that a program that cannot read this table takes over as after a crash and loses only these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from corral.decide.life import Adopted
from corral.decide.recovery import StoredJob, unended_jobs
from corral.manage import stories, truncations
from corral.manage.adopting import watch
from corral.manage.ahead import HandedStandIn
from corral.manage.feeding import Feed
from corral.manage.jobs import ManagedJob, ManagedStage, OutputSizes
from corral.manage.keeping import keep_observed
from corral.manage.moments import moment
from corral.manage.past import Cell, PastOfJob
from corral.manage.reaping import ChildEnd
from corral.manage.stopping import StopOfJob, Target
from corral.manage.streams import HandedStream
from corral.manage.terminals import HandedTerminal
from corral.observe.progress import Progress
from corral.system.identity import ProcessIdentity

if TYPE_CHECKING:
    from corral.manage.manager import Manager

FORMAT = 1
"""Of the table. It grows with every change after which an older table would be misread."""


class HandedStage(Struct, frozen=True):
    """What was observed of a stage."""

    number: int
    cpu_seconds: float | None = None
    cpu_percent: float | None = None
    does: str | None = None
    pidfd: int | None = None
    """Of a process that is not our child: once init has reaped it, only this descriptor tells its status."""


class Observed(Struct, frozen=True, kw_only=True):
    """What was observed of a job that runs. Times are monotonic seconds, which execve(2) does not touch."""

    last_moved: float
    active_since: float
    stages: tuple[HandedStage, ...] = ()
    health: str | None = None
    health_since: datetime | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    reaped_cpu_seconds: float = 0.0
    last_cpu_seconds: float = 0.0
    last_sampled: float | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    last_output: datetime | None = None
    recent_output: tuple[tuple[float, int], ...] = ()
    past: tuple[Cell, ...] = ()
    story: stories.HandedStory | None = None
    disk_full: datetime | None = None
    streams: tuple[HandedStream, ...] = ()
    truncated: datetime | None = None


class HandedJob(Struct, frozen=True, kw_only=True):
    """A job that has not ended."""

    id: int
    is_starting: bool = False
    """Its turn had come, and no process of it exists yet."""
    opened: tuple[tuple[int, int, int], ...] = ()
    """(stage, position, descriptor) of redirections that are open while others are waited for; the program before may have left some."""
    ahead: tuple[HandedStandIn, ...] = ()
    """What goes ahead of its stages."""
    stdin_descriptor: int | None = None
    stdin_writer: int | None = None
    terminal: HandedTerminal | None = None
    feed: Feed | None = None
    pipe_bytes: int = 0
    pipe_inodes: dict[int, int] = {}
    input_pipe: int | None = None
    observed: Observed | None = None


class HandedStop(Struct, frozen=True, kw_only=True):
    """A stop sequence that goes on."""

    job: int
    stage: int | None
    signal: str
    grace: float
    began: float
    is_killing: bool
    last_change: float
    is_hopeless: bool
    note: str | None
    targets: tuple[Target, ...]
    ends: tuple[tuple[ProcessIdentity, ChildEnd], ...] = ()
    """Of targets that were reaped and not yet noted as gone."""


class Handover(Struct, frozen=True, kw_only=True):
    """The whole table. `process` is who wrote it: only that very process may take it."""

    format: int
    process: ProcessIdentity
    jobs: tuple[HandedJob, ...] = ()
    stops: tuple[HandedStop, ...] = ()
    notices: tuple[str, ...] = ()
    """What no command line has been told yet."""

    @property
    def descriptors(self) -> frozenset[int]:
        """Every descriptor that is handed over."""
        found: set[int | None] = set()
        for job in self.jobs:
            found |= {job.stdin_descriptor, job.stdin_writer}
            found |= {descriptor for _, _, descriptor in job.opened}
            found |= {one.line for one in job.ahead}
            if job.terminal is not None:
                found |= job.terminal.descriptors
            if job.feed is not None:
                found |= {job.feed.writer, job.feed.reader}
            if job.observed is not None:
                found |= {stage.pidfd for stage in job.observed.stages}
        return frozenset(descriptor for descriptor in found if descriptor is not None)


# ---- giving -------------------------------------------------------------------------------------------------------


def note_lives(manager: Manager) -> None:
    """Commit all that the journal can hold. Raises CorralError where it cannot be written."""
    for job in manager.jobs.values():
        if job.life.is_started and not job.life.is_ended:
            manager.journal.state_changed(job.id, job.life)
    keep_observed(manager, is_last=True)
    manager.commit()


def gather(manager: Manager, process: ProcessIdentity) -> Handover:
    """The table, as of now. The manager must do nothing more once this is written."""
    return Handover(
        format=FORMAT,
        process=process,
        jobs=tuple(_handed(manager, job) for job in manager.jobs.values() if not job.life.is_ended),
        stops=tuple(_stop(manager, stop) for stop in manager.stopper.under_way()),
        notices=tuple(manager.journal.notices),
    )


def _handed(manager: Manager, job: ManagedJob) -> HandedJob:
    return HandedJob(
        id=job.id,
        is_starting=job.life.is_starting and not job.life.is_started,
        ahead=() if (ahead := manager.launcher.ahead_of(job)) is None else ahead.handed(),
        stdin_descriptor=job.run.stdin_descriptor,
        stdin_writer=job.run.stdin_writer,
        terminal=manager.terminals.handed(job),
        feed=manager.executor.feeds.of(job),
        pipe_bytes=job.run.pipe_bytes,
        pipe_inodes=job.run.pipe_inodes,
        input_pipe=job.run.input_pipe,
        observed=None if job.progress is None else _observed(job, job.progress),
    )


def _observed(job: ManagedJob, progress: Progress) -> Observed:
    return Observed(
        last_moved=progress.last_moved,
        active_since=progress.active_since,
        stages=tuple(
            HandedStage(
                stage.number,
                stage.cpu_seconds,
                stage.cpu_percent,
                stage.does,
                stage.handle.pidfd if stage.handle.popen is None else None,
            )
            for stage in job.stages
        ),
        health=job.health,
        health_since=job.health_since,
        cpu_percent=job.cpu_percent,
        memory_bytes=job.memory_bytes,
        peak_memory_bytes=job.peak_memory_bytes,
        reaped_cpu_seconds=job.reaped_cpu_seconds,
        last_cpu_seconds=job.last_cpu_seconds,
        last_sampled=job.last_sampled,
        stdout_bytes=job.output.stdout,
        stderr_bytes=job.output.stderr,
        last_output=job.output.last_output,
        recent_output=tuple(job.output.recent),
        past=job.past.cells,
        story=stories.handed(job),
        disk_full=job.disk_full,
        streams=truncations.handed(job),
        truncated=job.truncated,
    )


def _stop(manager: Manager, stop: StopOfJob) -> HandedStop:
    ends = ((target.identity, manager.children.end_of(target.identity)) for target in stop.alive)
    return HandedStop(
        job=stop.job.id,
        stage=stop.stage,
        signal=stop.signal,
        grace=stop.grace,
        began=stop.began,
        is_killing=stop.is_killing,
        last_change=stop.last_change,
        is_hopeless=stop.is_hopeless,
        note=stop.note,
        targets=tuple(stop.targets.values()),
        ends=tuple((identity, end) for identity, end in ends if end is not None),
    )


# ---- taking -------------------------------------------------------------------------------------------------------


def take_back(manager: Manager, table: Handover) -> None:
    """Go on with every job of the table. Ended ones with leftovers, and jobs it does not name, are for `adopt_all`.

    Descriptors of jobs that the journal does not know any more are closed.
    """
    handed = {job.id: job for job in table.jobs}
    taken = [
        (_in_hand(manager, stored, handed[stored.id]), handed.pop(stored.id))
        for stored in unended_jobs(manager.journal, time.monotonic())
        if stored.id in handed
    ]
    manager.journal.notices.extend(table.notices)
    _close(Handover(format=FORMAT, process=table.process, jobs=tuple(handed.values())).descriptors)
    for job, entry in taken:
        _go_on(manager, job, entry)
    go_on_stopping(manager, table.stops)
    for job, _ in taken:
        if job.life.is_started:
            manager.children.relays.apply_once_through(job, Adopted(**moment()))
    manager.wake()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _in_hand(manager: Manager, stored: StoredJob, entry: HandedJob) -> ManagedJob:
    """The job as the journal and the table tell, in the queue or beyond it."""
    job = manager.new_job(stored.id, stored.spec, stored.surroundings, stored.created)
    job.life, job.hidden = stored.life, stored.hidden
    job.run.stdin_descriptor, job.run.stdin_writer = entry.stdin_descriptor, entry.stdin_writer
    job.run.pipe_inodes, job.run.input_pipe = dict(entry.pipe_inodes), entry.input_pipe
    job.run.pipe_bytes = entry.pipe_bytes
    manager.budget.took(entry.pipe_bytes)
    if job.life.state == "queued" and not entry.is_starting:
        manager.enqueue(job)
        return job
    manager.table.add(job)
    manager.scheduler.adopt(job.id)
    job.life = replace(job.life, is_starting=entry.is_starting)
    rows = {row.number: row for row in stored.stages}
    for stage in job.stages:
        row = rows.get(stage.number)
        if row is not None and row.pid is not None and row.started_ticks is not None:
            stage.handle.identity = ProcessIdentity(row.pid, row.started_ticks)
            stage.started, stage.ended, stage.cpu_seconds = row.started, row.ended, row.cpu_seconds
    return job


def _go_on(manager: Manager, job: ManagedJob, entry: HandedJob) -> None:
    if job.life.is_starting and entry.ahead:
        if entry.terminal is not None:
            manager.terminals.go_on(job, entry.terminal)
        manager.launcher.go_on_ahead(job, entry.ahead)
        return
    if job.life.is_starting:
        opened = {(stage, position): descriptor for stage, position, descriptor in entry.opened}
        manager.launcher.start(job, opened)
        return
    if not job.life.is_started:
        return
    if entry.observed is not None:
        _recall(manager, job, entry.observed)
    if entry.feed is not None:
        manager.executor.feeds.begin(job, entry.feed)
    if entry.terminal is not None:
        manager.terminals.go_on(job, entry.terminal)
    watch(manager, job)
    manager.arm_timeout(job)


def _recall(manager: Manager, job: ManagedJob, seen: Observed) -> None:
    job.health, job.health_since = seen.health, seen.health_since
    job.cpu_percent, job.memory_bytes = seen.cpu_percent, seen.memory_bytes
    job.peak_memory_bytes = seen.peak_memory_bytes
    job.reaped_cpu_seconds, job.last_cpu_seconds = seen.reaped_cpu_seconds, seen.last_cpu_seconds
    job.last_sampled, job.disk_full = seen.last_sampled, seen.disk_full
    job.past = PastOfJob(seen.past)
    if seen.story is not None:
        stories.take_back(job, seen.story)
    job.output = OutputSizes(
        stdout=seen.stdout_bytes,
        stderr=seen.stderr_bytes,
        last_output=seen.last_output,
        written=seen.recent_output[-1][1] if seen.recent_output else 0,
        recent=list(seen.recent_output),
    )
    truncations.take_back(job, seen.streams)
    job.truncated = seen.truncated
    for stage, noted in zip(job.stages, seen.stages, strict=True):
        _recall_stage(stage, noted)
    progress = Progress(seen.active_since)
    progress.last_moved = seen.last_moved
    manager.monitor.go_on(job, progress)


def _recall_stage(stage: ManagedStage, noted: HandedStage) -> None:
    stage.cpu_seconds = noted.cpu_seconds if stage.cpu_seconds is None else stage.cpu_seconds
    stage.cpu_percent, stage.does, stage.handle.pidfd = noted.cpu_percent, noted.does, noted.pidfd


def go_on_stopping(manager: Manager, stops: Iterable[HandedStop]) -> None:
    """Go on with each sequence: what was sent is not sent again, and the grace that is left is what is left."""
    for handed in stops:
        job = manager.jobs.get(handed.job) or manager.leftovers.take_on(handed.job)
        if job.life.is_ended:
            job.life = replace(job.life, sweeping=True)
        for identity, end in handed.ends:
            manager.children.remember(identity, end)
        stop = StopOfJob(job, handed.signal, handed.grace, handed.stage, handed.began)
        stop.targets = {target.identity: target for target in handed.targets}
        stop.is_killing, stop.is_hopeless = handed.is_killing, handed.is_hopeless
        stop.last_change, stop.note = handed.last_change, handed.note
        manager.stopper.go_on(stop)

"""What a daemon hands to the program that takes its place in the same process: all that is not in the journal.

That is descriptors, how far stops and feeds are, whose turn had come, and what was observed. The rest, lives included,
is committed before, so that a program that cannot read this table takes over as after a crash and loses only these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.executors.local import LocalExecutor
from corral.jobs.acceptance import new_job
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Transitions
from corral.journal.journal import Journal
from corral.journal.unfinished_jobs import StoredJob, unended_jobs
from corral.lifecycle.clock import moment
from corral.lifecycle.scheduler import Scheduler
from corral.lifecycle.state import Adopted
from corral.measure.history import UNKNOWN, History, StageHistory, decode, encode
from corral.monitor.history_store import HistoryStore
from corral.monitor.monitor import Monitor
from corral.platform.process.identity import ProcessIdentity
from corral.processes.reaping import ChildEnd
from corral.processes.stop_sequence import LocalStop, Target
from corral.runner.feed import Feed
from corral.runner.stand_ins import HandedStandIn
from corral.runner.terminals import HandedTerminal

FORMAT = 2
"""Of the table. It grows with every change after which an older table would be misread; `decode_table` reads those."""


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
    pidfds: dict[int, int] = {}
    """By stage, of processes that are not our children: once init has reaped one, only this descriptor tells its status."""
    history: History | None = None
    """The whole of what was observed of it."""
    stages: tuple[StageHistory, ...] = ()
    """The same of its stages. Neither of a job that has not started: there may be very many."""


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
            found |= set(job.pidfds.values())
        return frozenset(descriptor for descriptor in found if descriptor is not None)


# ---- written ------------------------------------------------------------------------------------------------------


class _Head(Struct):
    """The part of a table of any format."""

    format: int
    process: ProcessIdentity


def decode_table(content: bytes, own: ProcessIdentity | None) -> Handover | str:
    """The table of the process `own`, of this format or an earlier one, or why it cannot be used."""
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.process != own:
            return "was written by another process"
        if not 1 <= head.format <= FORMAT:
            return f"has format {head.format}, this program reads {FORMAT}"
        if head.format == 1:
            table = msgspec.json.decode(content)
            table["jobs"] = [_from_format_1(job) for job in table["jobs"]]
            content = encode(table)
        return decode(content, Handover)
    except msgspec.DecodeError as error:
        return f"cannot be read: {error}"


def _from_format_1(job: dict[str, Any]) -> dict[str, Any]:
    """An entry that names what was observed one by one."""
    seen = job.pop("observed", None)
    if seen is None:
        return job
    stages, recent, story = seen["stages"], seen["recent_output"], seen["story"] or {}
    history = seen | {
        "still": {"last_moved": seen["last_moved"], "active_since": seen["active_since"]},
        "output": {
            "stdout": seen["stdout_bytes"],
            "stderr": seen["stderr_bytes"],
            "last_output": seen["last_output"],
            "written": recent[-1][1] if recent else 0,
            "recent": recent,
        },
        "recent": {"cells": seen["past"]},
        "stuck": story.get("diagnosis"),
        "stuck_at": story.get("diagnosed"),
        "lifetime": _lifetime_of_format_1(story.get("life")),
    }
    pidfds = {stage["number"]: stage["pidfd"] for stage in stages if stage["pidfd"] is not None}
    return job | {"history": history, "stages": stages, "pidfds": pidfds}


def _lifetime_of_format_1(life: dict[str, Any] | None) -> dict[str, Any] | None:
    if life is None:
        return None
    used, measured, peaks = zip(*life["cells"], strict=True) if life["cells"] else ((), (), ())
    return life | {"used": used, "measured": measured, "peaks": [UNKNOWN if p is None else p for p in peaks]}


class JobHandover:
    """Hands the jobs over to the program that takes the place of this one, and takes them back from the one before.

    Args:
        enqueue: puts a job that is in the journal into the queue.
        wake: starts what may start.
    """

    def __init__(
        self,
        table: JobTable,
        journal: Journal,
        transitions: Transitions,
        scheduler: Scheduler,
        executor: LocalExecutor,
        monitor: Monitor,
        history_store: HistoryStore,
        *,
        enqueue: Callable[[ManagedJob], None],
        wake: Callable[[], None],
    ) -> None:
        self._table = table
        self._journal = journal
        self._transitions = transitions
        self._scheduler = scheduler
        self._executor = executor
        self._monitor = monitor
        self._history_store = history_store
        self._enqueue = enqueue
        self._wake = wake

    # ---- giving

    def note_lives(self) -> None:
        """Commit all that the journal can hold, ends of the last moment included. Raises CorralError where it cannot be written."""
        self._executor.children.reap()
        for job in self._table.begun.values():
            if job.life.is_started and not job.life.is_ended:
                self._journal.state_changed(job.id, job.life)
        self._history_store.keep_all(is_last=True)
        self._journal.commit()

    def gather(self, process: ProcessIdentity) -> Handover:
        """The table, as of now. The engine must do nothing more once this is written."""
        return Handover(
            format=FORMAT,
            process=process,
            jobs=tuple(map(self._handed, self._table.all_unended())),
            stops=tuple(map(self._handed_stop, self._executor.stopper.under_way())),
            notices=tuple(self._journal.notices),
        )

    def _handed(self, job: ManagedJob) -> HandedJob:
        executor = self._executor
        return HandedJob(
            id=job.id,
            is_starting=job.life.is_starting and not job.life.is_started,
            ahead=() if (ahead := executor.launcher.ahead_of(job)) is None else ahead.handed(),
            stdin_descriptor=job.run.stdin_descriptor,
            stdin_writer=job.run.stdin_writer,
            terminal=executor.terminals.handed(job),
            feed=executor.feeds.of(job),
            pipe_bytes=job.run.pipe_bytes,
            pipe_inodes=job.run.pipe_inodes,
            input_pipe=job.run.input_pipe,
            pidfds={
                stage.number: stage.handle.pidfd
                for stage in job.stages
                if stage.handle.pidfd is not None and stage.handle.popen is None
            },
            history=job.history if job.life.is_started else None,
            stages=tuple(stage.history for stage in job.stages) if job.life.is_started else (),
        )

    def _handed_stop(self, stop: LocalStop) -> HandedStop:
        end_of = self._executor.children.end_of
        ends = ((target.identity, end_of(target.identity)) for target in stop.alive)
        return HandedStop(
            job=stop.job.id,
            stage=stop.stage,
            signal=stop.signal,
            grace=stop.grace,
            began=stop.began,
            is_killing=stop.is_killing,
            last_change=stop.last_change,
            is_hopeless=stop.gave_up,
            note=stop.note,
            targets=tuple(stop.targets.values()),
            ends=tuple((identity, end) for identity, end in ends if end is not None),
        )

    # ---- taking

    def take_back(self, table: Handover) -> None:
        """Go on with every job of the table. Ended ones with leftovers, and jobs it does not name, are for `Recovery`.

        Descriptors of jobs that the journal does not know any more are closed.
        """
        handed = {job.id: job for job in table.jobs}
        taken = [
            (self._take_on(stored, handed[stored.id]), handed.pop(stored.id))
            for stored in unended_jobs(self._journal, time.monotonic())
            if stored.id in handed
        ]
        self._journal.notices.extend(table.notices)
        unknown = Handover(format=FORMAT, process=table.process, jobs=tuple(handed.values()))
        for descriptor in unknown.descriptors:
            os.close(descriptor)
        for job, entry in taken:
            self._resume(job, entry)
        for stop in table.stops:
            self._resume_stop(stop)
        for job, _ in taken:
            if job.life.is_started:
                self._executor.children.relays.apply_once_through(job, Adopted(**moment()))
        self._wake()

    def _take_on(self, stored: StoredJob, entry: HandedJob) -> ManagedJob:
        """The job as the journal and the table tell, in the queue or beyond it."""
        job = new_job(stored.id, stored.spec, stored.surroundings, stored.created)
        job.life, job.hidden = stored.life, stored.hidden
        job.run.stdin_descriptor, job.run.stdin_writer = entry.stdin_descriptor, entry.stdin_writer
        job.run.pipe_inodes, job.run.input_pipe = dict(entry.pipe_inodes), entry.input_pipe
        job.run.pipe_bytes = entry.pipe_bytes
        self._executor.budget.took(entry.pipe_bytes)
        if job.life.state == "queued" and not entry.is_starting:
            self._enqueue(job)
            return job
        self._table.add(job)
        self._scheduler.adopt(job.id)
        job.life = replace(job.life, is_starting=entry.is_starting)
        self._executor.adopted.assign(job, stored)
        return job

    def _resume(self, job: ManagedJob, entry: HandedJob) -> None:
        executor = self._executor
        if job.life.is_starting:
            self._resume_start(job, entry)
            return
        if not job.life.is_started:
            return
        if entry.history is not None:
            self._recall(job, entry.history, entry)
        if entry.feed is not None:
            executor.feeds.begin(job, entry.feed)
        if entry.terminal is not None:
            executor.terminals.go_on(job, entry.terminal)
        executor.adopted.watch(job)
        self._transitions.arm_timeout(job)

    def _resume_start(self, job: ManagedJob, entry: HandedJob) -> None:
        if entry.ahead:
            if entry.terminal is not None:
                self._executor.terminals.go_on(job, entry.terminal)
            self._executor.launcher.go_on_ahead(job, entry.ahead)
        else:
            opened = {(stage, position): descriptor for stage, position, descriptor in entry.opened}
            self._executor.launcher.start(job, opened)

    def _recall(self, job: ManagedJob, history: History, entry: HandedJob) -> None:
        for stage, noted in zip(job.stages, entry.stages, strict=True):
            if stage.history.cpu_seconds is not None:  # of its end, by the journal
                noted.cpu_seconds = stage.history.cpu_seconds
            stage.history, stage.handle.pidfd = noted, entry.pidfds.get(stage.number)
        job.history = history
        for stream in history.streams:
            # What was being set up went with the threads of the program before.
            stream.has_tripwire = stream.has_tripwire is True
        progress, history.progress = history.progress, None
        if progress is not None:
            self._monitor.go_on(job, progress)

    def _resume_stop(self, handed: HandedStop) -> None:
        """What was sent is not sent again, and the grace that is left is what is left."""
        executor = self._executor
        job = self._table.managed.get(handed.job) or executor.leftovers.take_on(handed.job)
        if job.life.is_ended:
            job.life = replace(job.life, sweeping=True)
        for identity, end in handed.ends:
            executor.children.remember(identity, end)
        stop = LocalStop(job, handed.signal, handed.grace, handed.stage, handed.began)
        stop.targets = {target.identity: target for target in handed.targets}
        stop.is_killing, stop.gave_up = handed.is_killing, handed.is_hopeless
        stop.last_change, stop.note = handed.last_change, handed.note
        executor.stopper.go_on(stop)

"""What a daemon hands to the program that takes its place in the same process: all that is not in the journal.

That is descriptors, how far stops and feeds are, whose turn had come, and what was observed. The rest, lives included,
is committed before, so that a program that cannot read this table takes over as after a crash and loses only these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.decide.life import Adopted
from corral.decide.recovery import StoredJob, unended_jobs
from corral.manage.adopting import watch
from corral.manage.ahead import HandedStandIn
from corral.manage.feeding import Feed
from corral.manage.history import UNKNOWN, History, StageHistory, decode, encode
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.manage.reaping import ChildEnd
from corral.manage.stopping import StopOfJob, Target
from corral.manage.terminals import HandedTerminal
from corral.system.identity import ProcessIdentity

if TYPE_CHECKING:
    from corral.manage.manager import Manager

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
    history: History = msgspec.field(default_factory=History)
    """The whole of what was observed of it."""
    stages: tuple[StageHistory, ...] = ()
    """The same of its stages; none where nothing was observed yet."""


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


# ---- giving -------------------------------------------------------------------------------------------------------


def note_lives(manager: Manager) -> None:
    """Commit all that the journal can hold. Raises CorralError where it cannot be written."""
    for job in manager.jobs.values():
        if job.life.is_started and not job.life.is_ended:
            manager.journal.state_changed(job.id, job.life)
    manager.persistence.keep_all(is_last=True)
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
        pidfds={
            stage.number: stage.handle.pidfd
            for stage in job.stages
            if stage.handle.pidfd is not None and stage.handle.popen is None
        },
        history=job.history,
        stages=tuple(stage.history for stage in job.stages),
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
            stage.started, stage.ended = row.started, row.ended
            stage.history.cpu_seconds = row.cpu_seconds
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
    if entry.stages:
        _recall(manager, job, entry)
    if entry.feed is not None:
        manager.executor.feeds.begin(job, entry.feed)
    if entry.terminal is not None:
        manager.terminals.go_on(job, entry.terminal)
    watch(manager, job)
    manager.arm_timeout(job)


def _recall(manager: Manager, job: ManagedJob, entry: HandedJob) -> None:
    for stage, noted in zip(job.stages, entry.stages, strict=True):
        if stage.history.cpu_seconds is not None:  # of its end, by the journal
            noted.cpu_seconds = stage.history.cpu_seconds
        stage.history, stage.handle.pidfd = noted, entry.pidfds.get(stage.number)
    job.history = entry.history
    for stream in job.history.streams:
        # What was being set up went with the threads of the program before.
        stream.has_tripwire = stream.has_tripwire is True
    progress, job.history.progress = job.history.progress, None
    if progress is not None:
        manager.monitor.go_on(job, progress)


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

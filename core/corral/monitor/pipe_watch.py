"""The pipes between the stages of a job: the fill of each, and how much the processes at its ends have moved."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable

from msgspec import Struct, structs

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.measure.pipe_flow import Moved, PipeFlow, Side
from corral.measure.sampler import bytes_transferred
from corral.model.home import Home
from corral.monitor.waits_of_job import WaitsOfJobs
from corral.platform.files.pipes import fill_and_capacity
from corral.platform.inspect.open_files import descriptors_of, modes
from corral.processes.local_run import is_running, leader_of, leaders_of, run_of

MOST_PROCESSES = 64
"""Of one stage whose counters are read; `xargs -P` may have more, and then the smaller number is what is known."""
_NOWHERE = ("/dev/null", "anon_inode:")


class PipeWatch(Struct, eq=False):
    """Measures the pipes of running jobs."""

    _home: Home
    _waits: WaitsOfJobs

    def follow(self, job: ManagedJob, now: float) -> None:
        """One look at each pipe, at `now` (monotonic seconds)."""
        waits = {wait.pid: wait for wait in self._waits.look(job, leaders_only=True).waits}
        doing = {stage.number: waits.get(leader.pid) for stage, leader in leaders_of(job.stages)}
        moved = [moved_by(job, stage) for stage in job.stages]
        for flow, writer, reader in zip(job.pipes, job.stages, job.stages[1:], strict=False):
            fill, capacity = _measured(writer, reader) or (None, None)
            writing, reading = doing.get(writer.number), doing.get(reader.number)
            flow.observe(
                now,
                moved[writer.number - 1],
                moved[reader.number - 1],
                fill,
                capacity,
                writer_waits=writing.kind if writing else None,
                reader_waits=reading.kind if reading else None,
                writer_pending=writing.pending if writing else 0,
                writer_stderr_bytes=writer.history.stderr_bytes,
                writer_is_alone=sum(m.stage == writer.number for m in run_of(job).members.values()) <= 1,
                writer_runs=is_running(writer),
                reader_runs=is_running(reader),
            )
            if flow.suspect is not None:
                self._settle(job, flow, flow.suspect)
        job.pipe_views = tuple(flow.pipe() for flow in job.pipes)

    def _settle(self, job: ManagedJob, flow: PipeFlow, side: Side) -> None:
        """Decide whether the suspected side really moves bytes that are not counted, as splice(2) does.

        It does if the other side, whose counter rises, has nothing else open that it could have moved them to or from.
        """
        run = run_of(job)
        other = flow.to_stage if side == "writer" else flow.from_stage
        link = next(
            (f"pipe:[{inode}]" for inode, number in run.pipe_inodes.items() if number == flow.number),
            None,
        )
        pids = [pid for pid, member in run.members.items() if member.stage == other]
        # What goes to the stage's stderr is known by the size of that file, and taken off.
        stderr = self._home.stderr(job.id, other)
        known = [_as_linked(stderr)] if side == "reader" else []
        if link is not None and not moves_elsewhere(pids, [link, *known], writes=side == "reader"):
            flow.distrust_counter(side)
        else:
            flow.clear_suspicion()


def close_pipes(job: ManagedJob) -> None:
    """Every stage has ended: what was counted at its end is what went through. Of what never ran nothing was counted."""
    if not leaders_of(job.stages):
        return
    now = time.monotonic()
    # A job that ran for less than a tick was never observed.
    job.pipes = job.pipes or [PipeFlow(stage.number) for stage in job.stages[:-1]]
    for flow, writer, reader in zip(job.pipes, job.stages, job.stages[1:], strict=False):
        flow.observe(
            now,
            moved_by(job, writer),
            moved_by(job, reader),
            0,
            None,
            writer_stderr_bytes=writer.history.stderr_bytes,
            writer_runs=False,
            reader_runs=False,
        )
    job.pipe_views = tuple(
        structs.replace(
            flow.pipe(), fill_bytes=None, capacity_bytes=None, bytes_per_second=None, limited_by=None
        )
        for flow in job.pipes
    )


def moved_by(job: ManagedJob, stage: ManagedStage) -> Moved | None:
    """What a stage has moved: its process, those that it waited for and those of them that run.

    None where that is not known: of a stage that has ended and left processes, whose counters it takes with it.
    """
    members, leader = run_of(job).members, leader_of(stage)
    others = [
        member.identity
        for member in members.values()
        if member.stage == stage.number and member.identity != leader
    ]
    usage = stage.history.usage
    if usage is None:
        return None
    member = None if leader is None else members.get(leader.pid)
    # The clock of the whole process in nanoseconds; psutil's is in hundredths of a second.
    cpu_seconds = member.cpu_ns / 1e9 if member is not None else usage.cpu_seconds
    if not others:
        return Moved(usage.read_bytes, usage.written_bytes, cpu_seconds)
    if not is_running(stage) or leader is None:
        return None
    # Parents first: a child that ends meanwhile is missed this time, instead of being counted twice.
    pids = [leader.pid, *(one.pid for one in sorted(others, key=lambda one: one.started))]
    counters = [found for found in map(bytes_transferred, pids[:MOST_PROCESSES]) if found is not None]
    if not counters:
        return None
    return Moved(sum(read for read, _ in counters), sum(wrote for _, wrote in counters), cpu_seconds)


def _measured(writer: ManagedStage, reader: ManagedStage) -> tuple[int, int] | None:
    """Fill and capacity, by whichever end there is."""
    for stage, descriptor in ((reader, 0), (writer, 1)):
        leader = leader_of(stage)
        if leader is not None and is_running(stage):
            measured = fill_and_capacity(leader.pid, descriptor)
            if measured is not None:
                return measured
    return None


def _as_linked(path: str) -> str:
    """As a link in /proc/PID/fd has it. Itself it is not followed: a job may have put a symlink to anything there."""
    return os.path.join(os.path.realpath(os.path.dirname(os.path.dirname(path))), *path.rsplit("/", 2)[1:])


def moves_elsewhere(pids: Iterable[int], known: Collection[str], *, writes: bool) -> bool:
    """Whether these processes could write to (else read from) anything but what is `known`, by its link in /proc/PID/fd.

    So they could where nothing of them may be seen.
    """
    seen = False
    for pid in pids:
        for fd, name in descriptors_of(pid):
            seen = True
            if name in known or name.startswith(_NOWHERE):
                continue
            reads_it, writes_it = modes(pid, fd)
            if writes_it if writes else reads_it:
                return True
    return not seen

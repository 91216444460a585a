"""What clients ask for, done on the manager: stopping, signalling, pausing, restarting, removing, explaining."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import structs

from corral.decide.endings import whole_life
from corral.decide.life import (
    Event,
    PauseRequested,
    RemovedFromQueue,
    ResumeRequested,
    StageSignalled,
    StopCause,
    StopRequested,
)
from corral.decide.postmortem import explained
from corral.manage import stories
from corral.manage.buffering import with_hint
from corral.manage.census import Seen, kinship_of
from corral.manage.jobs import ManagedJob
from corral.manage.leftovers import live_members
from corral.manage.moments import moment
from corral.manage.reasons import observe_waits, tree_of
from corral.manage.refrain import with_refrain
from corral.manage.stopping import in_doubt, report_on
from corral.observe.diagnose import diagnose, on_full_disk
from corral.system.disk_usage import is_full
from corral.system.identity import ProcessIdentity, identify
from corral.system.ownfiles import look_at_own
from corral.system.signals import RefusedSignalError
from corral.values import kinds
from corral.values.errors import NotSoError, UnknownJobError, UsageError
from corral.values.jobs import ProcessView
from corral.values.reports import Detail, Diagnosis, OpenedInput, StopReport
from corral.values.shown import whole
from corral.values.spec import InteractiveInput
from corral.values.story import with_story
from corral.values.units import parse_signal, signal_name

if TYPE_CHECKING:
    from corral.manage.manager import Manager

_URGENCY = {"stuck": 0, "active": 3, "waiting": 2}

# ---- stopping -----------------------------------------------------------------------------------------------------


def request_stop(
    manager: Manager,
    job_id: int,
    *,
    by: str,
    signal: str | None = None,
    grace: float | None = None,
    cause: StopCause = "user",
    left: Mapping[int, list[Seen]] | None = None,
) -> bool:
    """Ask for the end of a job, or of the leftovers of an ended one. Returns at once: whether there was anything.

    `left`, where many are asked for: what `left_of_ended` has found.
    """
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended:
        seen = left.get(job_id) if left is not None else None
        if not live_members(left_of_ended(manager, [job_id])[job_id] if seen is None else seen):
            return False
        job = job or manager.leftovers.take_on(job_id)
    name = None if signal is None else signal_name(parse_signal(signal))
    kinds.OWN_SECONDS("grace", grace)
    if job.life.state == "queued" and not job.life.is_starting:
        manager.apply(job, RemovedFromQueue(**moment()))
        return True
    if grace == 0 and job.life.state == "stopping":
        manager.stopper.skip_grace(job)
    manager.apply(
        job, StopRequested(**moment(), cause=cause, reason=f"stopped {by}", signal=name, grace=grace)
    )
    return True


def left_of_ended(manager: Manager, job_ids: Sequence[int]) -> dict[int, list[Seen]]:
    """One look for those of these jobs that have ended: the processes of each, none for most."""
    known = {job_id: manager.jobs.get(job_id) for job_id in job_ids}
    ended = {job_id: job for job_id, job in known.items() if job is None or job.life.is_ended}
    found = manager.census.take([job for job in ended.values() if job is not None]) if ended else {}
    return {job_id: found.get(job_id, []) for job_id in ended}


async def stop_report(manager: Manager, job_id: int, *, wait: bool) -> StopReport:
    """The report on a stop that was asked for: now, or once nothing is left or nothing more helps."""
    job = manager.jobs.get(job_id)
    stop = manager.stopper.of(job) if job is not None else None
    if job is None or stop is None:
        return _report_on_ended(manager, job_id)
    if not wait:
        return report_on(stop)
    await manager.stopper.outcome(stop)
    if stop.is_done and job.report is not None:
        return with_children_named(manager, job_id, job.report)
    return report_on(stop)


def _report_on_ended(manager: Manager, job_id: int) -> StopReport:
    view = manager.snapshot(job_id)
    doubt = in_doubt(manager.census.doubtful(job_id), manager.census)
    report = manager.journal.stop_report(job_id) if view.is_ended else None
    if report is not None:
        return structs.replace(report, state=view.state, in_doubt=doubt)
    note = "never started" if view.reason == "never started" else "already ended"
    return StopReport(
        id=view.id, state=view.state, seconds=0.0, in_doubt=doubt, note=note, looked_at=datetime.now(UTC)
    )


def with_children_named(manager: Manager, job_id: int, report: StopReport) -> StopReport:
    """Name the jobs that were started from within: they are not of its tree and go on."""
    within = [
        str(job.id)
        for job in manager.jobs.values()
        if job.spec.parent == str(job_id) and not job.life.is_ended
    ]
    if not within:
        return report
    note = f"jobs started from within it go on: {', '.join(within)}; corral stop {' '.join(within)} ends them"
    return structs.replace(report, note=note if report.note is None else f"{report.note}; {note}")


async def stop_stage(
    manager: Manager, job_id: int, number: int, signal: str | None, grace: float | None, *, wait: bool
) -> StopReport:
    """Run the stop sequence on one stage's processes only. Asked a second time it skips the grace."""
    job = running_job(manager, job_id, "stopped")
    if not 1 <= number <= len(job.stages):
        raise UsageError(f"job {job_id} has no stage {number}; it has {len(job.stages)}")
    name = signal_name(parse_signal(signal or job.spec.stop_signal))
    kinds.OWN_SECONDS("grace", grace)
    if manager.stopper.of(job, number) is not None:
        manager.stopper.skip_grace(job, number)
    stop = manager.stopper.begin(job, name, job.spec.stop_grace if grace is None else grace, number)
    return await manager.stopper.outcome(stop) if wait else report_on(stop)


# ---- signals ------------------------------------------------------------------------------------------------------


def running_job(manager: Manager, job_id: int, what: str) -> ManagedJob:
    """The job, which has started and not ended. Raises NotSoError that says why it cannot be `what`."""
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended:
        view = manager.snapshot(job_id)
        raise NotSoError(f"job {job_id} cannot be {what}: it has ended ({view.state})")
    if not job.life.is_started:
        raise NotSoError(f"job {job_id} cannot be {what}: it is queued")
    return job


def signal_tree(manager: Manager, job: ManagedJob, signal: str, stage: int | None = None) -> list[int]:
    """Send to every process of the tree, or of one stage; the pids that got it.

    Looked at twice: what was started between the first look and its signal is found by the second.
    """
    number = parse_signal(signal)
    sent: set[ProcessIdentity] = set()
    refusal: Exception | None = None
    for _ in range(2):
        for entry in manager.census.take([job]).get(job.id, []):
            identity = identify(entry.pid)
            if identity is None or identity in sent or (stage is not None and entry.stage != stage):
                continue
            try:
                if manager.signaller.send(identity, number, kin=kinship_of(job, manager.home.path)):
                    sent.add(identity)
            except (RefusedSignalError, PermissionError) as error:
                # One that changed its uid, say, keeps nobody else from it.
                refusal = error
    if refusal is not None and not sent:
        raise refusal
    return [identity.pid for identity in sent]


def signal_job(
    manager: Manager,
    job_id: int,
    signal: str,
    *,
    tree: bool = False,
    stage: int | None = None,
    pid: int | None = None,
) -> str:
    """Send a signal to each stage's leader, or to what is named; what was done, in a few words.

    Raises:
        NotSoError: nothing to send it to.
        UsageError: no such stage or signal.
    """
    job = running_job(manager, job_id, "signalled")
    name = signal_name(parse_signal(signal))
    if stage is not None and not 1 <= stage <= len(job.stages):
        raise UsageError(f"job {job_id} has no stage {stage}; it has {len(job.stages)}")
    try:
        if pid is not None:
            pids = _signal_one(manager, job, name, pid)
        elif tree or stage is not None:
            _note_signalled(manager, job, name, stage)
            pids = signal_tree(manager, job, name, stage)
        else:
            _note_signalled(manager, job, name, None)
            pids = [
                sent
                for each in job.running_stages
                for sent in _signal_stage(manager, job, each.handle.identity, name)
            ]
    except (RefusedSignalError, PermissionError) as error:
        raise NotSoError(f"job {job_id}: {error}") from None
    if not pids:
        raise NotSoError(f"job {job_id}: nothing is left to signal")
    return f"{name} sent to {len(pids)} of job {job_id}"


def _signal_stage(
    manager: Manager, job: ManagedJob, identity: ProcessIdentity | None, name: str
) -> list[int]:
    if identity is None:
        return []
    kinship = kinship_of(job, manager.home.path)
    return [identity.pid] if manager.signaller.send(identity, parse_signal(name), kin=kinship) else []


def _signal_one(manager: Manager, job: ManagedJob, name: str, pid: int) -> list[int]:
    found = {entry.pid: entry for entry in manager.census.take([job]).get(job.id, [])}
    identity = identify(pid) if pid in found else None
    if identity is None:
        raise NotSoError(f"pid {pid} is no process of job {job.id}")
    for stage in job.running_stages:
        if stage.handle.identity == identity:
            _note_signalled(manager, job, name, stage.number)
    return _signal_stage(manager, job, identity, name)


def _note_signalled(manager: Manager, job: ManagedJob, name: str, stage: int | None) -> None:
    """Before it is sent: the end that it causes may come at once."""
    for each in job.running_stages:
        if stage in (None, each.number):
            event = StageSignalled(**moment(), number=each.number, signal=name, by="corral signal")
            manager.apply(job, event)
    manager.commits.for_sure()


# ---- pausing ------------------------------------------------------------------------------------------------------


def pause(manager: Manager, job_id: int) -> str:
    job = running_job(manager, job_id, "paused")
    if job.life.state != "running":
        raise NotSoError(f"job {job_id} cannot be paused: it is {job.life.state}")
    manager.apply(job, PauseRequested(**moment()))
    return f"job {job_id} is paused"


def resume(manager: Manager, job_id: int) -> str:
    """Let a paused job go on, or one that was suspended by others (state T)."""
    job = running_job(manager, job_id, "resumed")
    event: Event = ResumeRequested(**moment())
    if job.life.state == "paused":
        manager.apply(job, event)
        return f"job {job_id} goes on"
    states = [view.state for view in tree_of(manager, job)]
    if "T" not in states:
        raise NotSoError(f"job {job_id} is not paused: it is {job.life.state}")
    signal_tree(manager, job, "CONT")
    return f"job {job_id} goes on"


# ---- again, and away ----------------------------------------------------------------------------------------------


async def remove(manager: Manager, job_ids: Sequence[int], *, force: bool) -> tuple[list[str], list[str]]:
    """Delete ended jobs and their output; (what was done, what was not)."""
    errors, going = list[str](), list[int]()
    running = [job_id for job_id in job_ids if not manager.snapshot(job_id).is_ended]
    if force:
        for job_id in running:
            request_stop(manager, job_id, by="to remove it")
        await asyncio.gather(*(stop_report(manager, job_id, wait=True) for job_id in running))
    for job_id in dict.fromkeys(job_ids):
        try:
            view = manager.snapshot(job_id)
        except UnknownJobError as error:
            # Removed by somebody else, while ours was being stopped.
            errors.append(str(error))
            continue
        if not view.is_ended:
            hint = "something of it survives" if force else "corral rm --force stops it first"
            errors.append(f"job {job_id} is {view.state}; {hint}")
        elif job_id in manager.jobs and live_members(
            manager.census.take([manager.jobs[job_id]]).get(job_id, [])
        ):
            errors.append(f"processes of job {job_id} are still alive; corral stop {job_id} ends them")
        else:
            going.append(job_id)
    # No output goes whose row cannot go after it, so that the answer tells of both.
    await manager.commits.unlocked()
    gone, problems = await manager.cleaner.delete(going)
    await manager.commits.done()
    await manager.upkeep.empty_log()
    return [f"job {job_id} removed" for job_id in gone], errors + problems


def hide(manager: Manager, job_ids: Sequence[int], hidden: bool) -> tuple[list[str], list[str]]:
    """Take ended jobs off the dashboards' lists."""
    done, errors = [], []
    for job_id in job_ids:
        view = manager.snapshot(job_id)
        if not view.is_ended:
            errors.append(f"job {job_id} runs; corral stop {job_id} ends it")
            continue
        if job_id in manager.ended:
            manager.ended[job_id] = structs.replace(view, hidden=hidden)
        if job_id in manager.jobs:
            manager.jobs[job_id].hidden = hidden
        manager.journal.set_hidden([job_id], hidden)
        manager.note_changed(job_id)
        done.append(f"job {job_id} is off the list" if hidden else f"job {job_id} is on the list")
    manager.wake()
    return done, errors


# ---- input --------------------------------------------------------------------------------------------------------


def open_input(manager: Manager, job_id: int) -> tuple[OpenedInput, int]:
    """The write end of an interactive job's stdin, or the master of a job's terminal; both stay the manager's.

    Raises NotSoError with how to start one.
    """
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended or not job.spec.pty:
        return OpenedInput(), input_of(manager, job_id)
    terminal = manager.terminals.of(job)
    opened = OpenedInput(is_terminal=True, modes=terminal.modes, printed=terminal.printed)
    return opened, terminal.master


def input_of(manager: Manager, job_id: int) -> int:
    """The write end of an interactive job's stdin; stays the manager's. Raises NotSoError with how to start one."""
    job = manager.jobs.get(job_id)
    how = "start it with corral run -i, or --pty, to be able to send to it"
    if job is None or job.life.is_ended:
        raise NotSoError(f"job {job_id} has ended and reads nothing any more")
    if not isinstance(job.spec.stdin, InteractiveInput):
        raise NotSoError(f"job {job_id} has no open stdin; {how}")
    if job.life.state == "queued":
        raise NotSoError(f"job {job_id} is queued and has no stdin yet")
    if job.run.stdin_writer is None:
        raise NotSoError(f"the stdin of job {job_id} was closed; {how}")
    return job.run.stdin_writer


def close_input(manager: Manager, job_id: int) -> None:
    """Close the manager's end: EOF, once nobody else holds a copy. Of a terminal: type what means EOF there."""
    job = manager.jobs.get(job_id)
    if job is not None and job.spec.pty and not job.life.is_ended:
        manager.terminals.send_end_of_input(job)
        return
    os.close(input_of(manager, job_id))
    manager.jobs[job_id].run.stdin_writer = None


# ---- asking -------------------------------------------------------------------------------------------------------


def processes(manager: Manager, job_id: int) -> tuple[ProcessView, ...]:
    """The tree of a job, counted now; empty for one that has ended without leftovers."""
    job = manager.jobs.get(job_id)
    if job is None:
        return ()
    manager.monitor.scan_job(job)
    return tree_of(manager, job)


def why(manager: Manager, job_id: int) -> Diagnosis:
    """The diagnosis of a job, looked at now."""
    job = manager.jobs.get(job_id)
    view = manager.snapshot(job_id)
    if view.is_ended:
        manager.commit_soon()
        found = with_story(diagnose(view), view, stories.story(manager, job_id))
        return explained(found, view, manager.journal)
    if job is None or not job.life.is_started:
        return diagnose(view)
    manager.monitor.scan_job(job)
    view = manager.snapshot(job_id)
    printed = max(view.stdout_bytes, _size_of(manager.home.stdout(job_id)))
    found = with_hint(diagnose(view, observe_waits(manager, job)), view, printed)
    found = with_refrain(found, view, manager.home) if printed else found
    return on_full_disk(view, found) if is_full(manager.home.jobs) else found


def _size_of(path: str) -> int:
    """0 where the file is gone, or something else stands in its place: `logs` says so."""
    try:
        return look_at_own(path).st_size
    except OSError:
        return 0


def most_urgent(manager: Manager) -> int:
    """The job that needs somebody most: stuck, else the one that waits longest, else the newest."""
    views = [manager.view(job) for job in manager.jobs.values() if not job.life.is_ended]
    if not views:
        return manager.resolve("@")
    now = datetime.now(UTC)
    return int(
        min(
            views,
            key=lambda view: (_URGENCY.get(view.health or "", 1), view.health_since or now, -int(view.id)),
        ).id
    )


def detail(manager: Manager, job_id: int) -> Detail:
    """All of one job."""
    manager.commit_soon()
    found = manager.journal.detail(job_id)
    view = manager.fresh(job_id, time.monotonic())
    if view.cut:
        view = whole(view, manager.origin_of(job_id)[0])
    job = manager.jobs.get(job_id)
    report = job.report if job is not None and job.report is not None else found.stop
    events = whole_life(view, manager.journal.events(job_id))
    told = stories.story(manager, job_id)
    return structs.replace(
        found,
        job=view,
        events=events,
        tree=processes(manager, job_id),
        stop=report,
        life=told.life,
        diagnosis=told.diagnosis,
        diagnosed=told.diagnosed,
    )

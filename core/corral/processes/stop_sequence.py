"""The stop sequence: snapshot, signal all, wait, look again, KILL, look again, until nothing is left, with proof.

All jobs that are being stopped share one pass over the process table.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct, field

from corral.diagnosis.process_tree import where_of
from corral.jobs.managed_job import ManagedJob
from corral.model.reports import StoppedProcess, StopReport, Survivor
from corral.model.units import parse_signal
from corral.platform.files.descriptors import Reserve
from corral.platform.host import resource_errors
from corral.platform.host.daemon_log import log_fault
from corral.platform.host.procfs import Stat, read_file, read_stat
from corral.platform.inspect.ptrace_access import why_not_signalled
from corral.platform.process.identity import ProcessIdentity, is_alive
from corral.platform.process.signalling import RefusedSignalError, Signaller
from corral.processes.local_run import is_running, leader_of, leaders_of, run_of, running_stages
from corral.processes.process_scan import ProcessScan
from corral.processes.reaping import ChildEnd
from corral.processes.unmarked_claims import Seen, kinship_of

PATIENCE_AFTER_KILL = 5.0
"""Seconds without any change after KILL was sent to all, until what is left is named as surviving."""
_RESERVED = 4
"""Descriptors that a step of a stop sequence needs at a time: a listing, a file in /proc, a pidfd, one to spare."""
_NO_MARKS = "marks do not work here: a process that left its session and cleared its environment is not seen"
_MOST_JOBS = 5
"""Named in one sentence."""
_SHORTEST_PAUSE, _LONGEST_PAUSE, _GIVEN_UP_PAUSE = 0.002, 0.05, 1.0


class Target(Struct):
    """One process that is being ended."""

    identity: ProcessIdentity
    name: str
    stage: int
    where: str
    state: str = "?"
    signals: list[str] = []
    ended_by: str | None = None
    seconds: float | None = None
    refusal: str | None = None

    @property
    def is_gone(self) -> bool:
        return self.ended_by is not None


class LocalStop(Struct, eq=False):
    """The stop sequence of one job, or of one of its stages."""

    job: ManagedJob
    signal: str
    grace: float
    stage: int | None
    began: float
    targets: dict[ProcessIdentity, Target] = {}
    is_killing: bool = False
    last_change: float = 0.0
    gave_up: bool = False
    is_done: bool = False
    looked_at: datetime | None = None
    note: str | None = None
    in_doubt: tuple[Survivor, ...] = ()
    waiters: list[asyncio.Future[None]] = []

    @property
    def kill_at(self) -> float:
        return self.began + self.grace

    @property
    def phase_signal(self) -> str:
        return "KILL" if self.is_killing else self.signal

    @property
    def alive(self) -> list[Target]:
        return [target for target in self.targets.values() if not target.is_gone]

    @property
    def total(self) -> int:
        return len(self.targets)

    @property
    def left(self) -> int:
        return len(self.alive)

    def report(self) -> StopReport:
        """As of now."""
        return report_on(self)


class StopListener(Protocol):
    """What the stop sequence needs of the rest."""

    def reap(self) -> None:
        """Reap everything that has ended."""

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None:
        """How a process that we reaped lately has ended."""

    def note_stops(self) -> None:
        """Make sure that a next daemon knows what is being stopped, and why. Called before anything is signalled."""

    def signal_sent(self, stop: LocalStop, signal: str) -> None: ...

    def tree_emptied(self, stop: LocalStop) -> None: ...

    def survivors_found(self, stop: LocalStop, text: str) -> None: ...

    def unended(self) -> Collection[ManagedJob]: ...


class StopSequences(Struct, eq=False):
    """Runs every stop sequence in one task."""

    _owner: StopListener
    _process_scan: ProcessScan
    _signaller: Signaller
    _home: str
    _stops: dict[tuple[int, int | None], LocalStop] = {}
    _task: asyncio.Task[None] | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _reserve: Reserve = field(default_factory=lambda: Reserve(_RESERVED))

    # ---- asked by the engine

    def begin(self, job: ManagedJob, signal: str, grace: float, stage: int | None = None) -> LocalStop:
        """Begin, or return the one that goes on."""
        known = self._stops.get((job.id, stage))
        if known is not None:
            return known
        now = time.monotonic()
        stop = LocalStop(job, signal, grace, stage, now, last_change=now)
        stop.is_killing = signal == "KILL" or grace <= 0
        self.go_on(stop)
        return stop

    def go_on(self, stop: LocalStop) -> None:
        """Run a sequence from where it is."""
        self._stops[stop.job.id, stop.stage] = stop
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="stop sequences")
        self._woken.set()

    def under_way(self) -> list[LocalStop]:
        """Every sequence that goes on."""
        return list(self._stops.values())

    def skip_grace(self, job: ManagedJob, stage: int | None = None) -> None:
        stop = self._stops.get((job.id, stage))
        if stop is not None and not stop.is_killing:
            stop.grace = 0.0
            self._woken.set()

    def of(self, job: ManagedJob, stage: int | None = None) -> LocalStop | None:
        return self._stops.get((job.id, stage))

    def wake(self) -> None:
        """Something ended: look at once."""
        if self._task is not None:
            self._woken.set()

    async def outcome(self, job: ManagedJob, stage: int | None = None) -> None:
        """Wait until nothing is left, or until nothing more helps."""
        stop = self._stops.get((job.id, stage))
        if stop is None or stop.gave_up:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stop.waiters.append(future)
        await future

    # ---- the loop

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        try:
            while self._stops:
                self._woken.clear()
                began = time.monotonic()
                try:
                    has_changed = self._step_in_need()
                except Exception as error:  # noqa: BLE001  (a fault in one sequence must not hold up all the others)
                    log_fault("the stop sequences", error)
                    await asyncio.sleep(_GIVEN_UP_PAUSE)
                    continue
                cost = time.monotonic() - began
                pause = _SHORTEST_PAUSE if has_changed else min(_LONGEST_PAUSE, pause * 1.6)
                await self._rest(max(pause, 2 * cost), has_changed)
        finally:
            self._task = None

    async def _rest(self, pause: float, has_changed: bool) -> None:
        if has_changed and any(stop.is_killing and not stop.gave_up for stop in self._stops.values()):
            # Against a target that forks while it is being killed only speed helps.
            await asyncio.sleep(0)
            return
        if self._stops and all(stop.gave_up for stop in self._stops.values()):
            pause = _GIVEN_UP_PAUSE
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            return

    def _step_in_need(self) -> bool:
        """One step; where descriptors have run out, with those that are kept for that. Tried again where it fails."""
        try:
            return self._step()
        except (OSError, MemoryError):
            self._reserve.release()
        try:
            return self._step()
        except (OSError, MemoryError) as error:
            for stop in self._stops.values():
                stop.note = (
                    f"the processes cannot be looked at: {resource_errors.explanation(error)}; trying again"
                )
            return False
        finally:
            self._reserve.take()

    def _step(self) -> bool:
        """One look at everything that is being stopped. Whether anything was new."""
        self._owner.reap()
        self._owner.note_stops()
        found = self._process_scan.take(self._owner.unended())
        has_changed = False
        seemingly_empty = []
        for stop in list(self._stops.values()):
            has_changed |= self._look_at(stop, found.get(stop.job.id, []))
            if not stop.alive and not _has_running_stage(stop):
                seemingly_empty.append(stop)
        if seemingly_empty:
            self._prove(seemingly_empty)
        return has_changed

    def _look_at(self, stop: LocalStop, seen: list[Seen]) -> bool:
        """Note what is new and what is gone, and signal. Whether anything has changed."""
        now = time.monotonic()
        alive, new = self._compare(stop, [*seen, *_unseen_leaders(stop, seen)])
        gone = self._note_gone(stop, alive, now)
        if new or gone:
            stop.last_change = now
            stop.gave_up = False
        if not stop.is_killing and now >= stop.kill_at:
            stop.is_killing = True
            stop.last_change = now
            for target in stop.alive:
                # What changed its uid for a while may be ours to signal again.
                target.refusal = None
        self._signal(stop)
        if stop.is_killing and now - stop.last_change > PATIENCE_AFTER_KILL and not stop.gave_up:
            self._report_survivors(stop)
        return bool(new or gone)

    def _compare(self, stop: LocalStop, seen: list[Seen]) -> tuple[set[ProcessIdentity], bool]:
        """The identities that are alive, and whether some were not known before."""
        alive: set[ProcessIdentity] = set()
        is_new = False
        tree = {entry.pid for entry in seen}
        for entry in seen:
            if stop.stage is not None and entry.stage != stop.stage:
                continue
            stat = read_stat(entry.pid)
            if stat is None or stat.has_ended:
                continue
            identity = ProcessIdentity(entry.pid, stat.started)
            alive.add(identity)
            target = stop.targets.get(identity)
            if target is None:
                is_new = True
                target = stop.targets[identity] = _new_target(stop.job, entry, identity, stat, tree)
            target.state = stat.state
        return alive, is_new

    def _note_gone(self, stop: LocalStop, alive: set[ProcessIdentity], now: float) -> bool:
        # Not seen is not gone: it may have left every group it was known by, or lost its mark to setrlimit(2).
        gone = [
            target for target in stop.alive if target.identity not in alive and not is_alive(target.identity)
        ]
        if any(self._owner.end_of(target.identity) is None for target in gone):
            self._owner.reap()  # It ended after the last time: its status waits to be read.
        for target in gone:
            target.seconds = round(now - stop.began, 3)
            target.ended_by = _ended_by(target, self._owner.end_of(target.identity))
        return bool(gone)

    def _signal(self, stop: LocalStop) -> None:
        """Send the signal of this phase to everybody who has not had it."""
        signal = stop.phase_signal
        fresh = [target for target in stop.alive if signal not in target.signals and target.refusal is None]
        if not fresh:
            return
        kinship = kinship_of(stop.job, self._home)
        numbers = (
            (parse_signal(signal),) if signal == "KILL" else (parse_signal(signal), parse_signal("CONT"))
        )
        is_first = not any(signal in target.signals for target in stop.targets.values())
        for target in fresh:
            try:
                if self._signaller.send(target.identity, *numbers, kin=kinship):
                    target.signals.append(signal)
            except RefusedSignalError as refusal:
                target.refusal = str(refusal)
            except PermissionError:
                target.refusal = why_not_signalled(target.identity.pid)
        if is_first and any(signal in target.signals for target in stop.targets.values()):
            self._owner.signal_sent(stop, signal)

    def _prove(self, stops: list[LocalStop]) -> None:
        """Of these nothing was found and every child of ours is reaped: look once more, for all at once."""
        jobs = [stop.job for stop in stops]
        found = self._process_scan.take(jobs)
        alike = self._process_scan.lookalikes(jobs, found)
        for stop in stops:
            if not self._compare(stop, found.get(stop.job.id, []))[0]:
                self._finish(stop, alike.get(stop.job.id, []))

    def _finish(self, stop: LocalStop, alike: list[Stat]) -> None:
        stop.looked_at = datetime.now(UTC)
        stop.is_done = True
        notes = [_NO_MARKS] if not self._process_scan.has_marks else []
        notes += run_of(stop.job).contradictions.values()
        stop.note = "; ".join(notes) or None
        if stop.stage is None:
            stop.in_doubt = in_doubt(alike, self._process_scan)
        self._stops.pop((stop.job.id, stop.stage), None)
        try:
            self._owner.tree_emptied(stop)
        finally:
            self._answer(stop)

    def _report_survivors(self, stop: LocalStop) -> None:
        stop.gave_up = True
        names = ", ".join(f"{target.identity.pid} {target.name}" for target in stop.alive)
        self._owner.survivors_found(stop, f"still there after KILL: {names}")
        self._answer(stop)

    @staticmethod
    def _answer(stop: LocalStop) -> None:
        waiters, stop.waiters = stop.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _has_running_stage(stop: LocalStop) -> bool:
    """Also until what its stages wrote last is in the files."""
    if run_of(stop.job).is_draining:
        return True
    return any(is_running(stage) and stop.stage in (None, stage.number) for stage in stop.job.stages)


def _unseen_leaders(stop: LocalStop, seen: list[Seen]) -> list[Seen]:
    """Stages that run and were not found: of another uid with their mark unreadable, or without it by setrlimit(2)."""
    found = {entry.pid for entry in seen}
    return [
        Seen(leader.pid, stage.number, False)
        for stage, leader in leaders_of(running_stages(stop.job))
        if leader.pid not in found
    ]


def _new_target(
    job: ManagedJob, entry: Seen, identity: ProcessIdentity, stat: Stat, tree: set[int]
) -> Target:
    return Target(identity, stat.name, entry.stage, _whereabouts(job, entry, stat, tree), stat.state)


def _whereabouts(job: ManagedJob, entry: Seen, stat: Stat, tree: set[int]) -> str:
    leader = leader_of(job.stages[entry.stage - 1]) if 0 < entry.stage <= len(job.stages) else None
    if leader is not None and leader.pid == entry.pid:
        return "leader"
    return where_of(stat, None if leader is None else leader.pid, tree)


def _ended_by(target: Target, end: ChildEnd | None) -> str:
    """The signal that ended it where we reaped it, else the last that it was sent."""
    if end is not None and end.signal is not None:
        return end.signal
    if end is not None and end.exit_status is not None and target.signals:
        return f"exit {end.exit_status}"
    return target.signals[-1] if target.signals else "itself"


def report_on(stop: LocalStop) -> StopReport:
    """The report as of now."""
    now = time.monotonic()
    targets = sorted(
        stop.targets.values(), key=lambda target: (target.stage, target.where != "leader", target.identity)
    )
    is_going_on = not (stop.is_done or stop.gave_up)
    return StopReport(
        id=str(stop.job.id),
        state=stop.job.life.state,
        seconds=round(
            (max((t.seconds or 0.0 for t in targets), default=0.0)) if stop.is_done else now - stop.began, 3
        ),
        processes=tuple(_stopped(target) for target in targets),
        # While the sequence goes on it is not known yet what survives it.
        survivors=() if is_going_on else tuple(_survivor(target) for target in targets if not target.is_gone),
        in_doubt=stop.in_doubt,
        note=stop.note,
        kill_in=max(0.0, stop.kill_at - now) if is_going_on and not stop.is_killing else None,
        grace=stop.grace,
        looked_at=stop.looked_at,
    )


def _stopped(target: Target) -> StoppedProcess:
    return StoppedProcess(
        pid=target.identity.pid,
        name=target.name,
        stage=target.stage,
        signals=tuple(target.signals),
        ended_by=target.ended_by,
        seconds=target.seconds,
        where=target.where,
    )


def in_doubt(alike: Collection[Stat], process_scan: ProcessScan) -> tuple[Survivor, ...]:
    """What may be of a job, and is not signalled."""
    return tuple(
        Survivor(
            pid=stat.pid,
            name=stat.name,
            stage=None,
            state=stat.state,
            blocked_in=_blocked_in(stat.pid),
            reason=_why_in_doubt(stat, process_scan.jobs_that_may_have(stat)),
        )
        for stat in sorted(alike)
    )


def _why_in_doubt(stat: Stat, jobs: list[int]) -> str:
    why = "nothing proves that it is of this job"
    if len(jobs) > 1:
        *most, last = map(str, jobs[:_MOST_JOBS])
        more = f" or {len(jobs) - _MOST_JOBS} more" if len(jobs) > _MOST_JOBS else ""
        why = f"it may be of job {', '.join(most)} or {last}{more}, and nothing proves of which"
    return f"not signalled, since {why}; {why_not_signalled(stat.pid, default=f'kill {stat.pid} ends it')}"


def _blocked_in(pid: int) -> str | None:
    wchan = read_file(f"/proc/{pid}/wchan")
    return wchan.decode("ascii", "replace").strip() if wchan and wchan != b"0" else None


def _survivor(target: Target) -> Survivor:
    blocked_in = _blocked_in(target.identity.pid)
    return Survivor(
        pid=target.identity.pid,
        name=target.name,
        stage=target.stage,
        state=target.state,
        blocked_in=blocked_in,
        reason=target.refusal or _reason(target, blocked_in),
    )


def _reason(target: Target, blocked_in: str | None) -> str:
    if target.state == "D":
        where = f" in {blocked_in}" if blocked_in else ""
        return f"blocked in the kernel (state D){where}; KILL is waiting for it"
    if "KILL" in target.signals:
        return "KILL was sent to it and it is still there"
    return (
        f"{target.signals[-1]} was sent to it and it goes on"
        if target.signals
        else "no signal was sent to it yet"
    )

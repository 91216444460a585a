"""The children of this process: waking when one ends, reaping it, and reaping the orphans that come to us."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.jobs.transitions import Apply
from corral.journal.journal import Journal
from corral.lifecycle.clock import moment
from corral.lifecycle.state import StageEnded
from corral.measure.sampler import Usage, with_last_counters
from corral.model.home import Home
from corral.platform.process import mark
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.platform.process.identity import ProcessIdentity, identify
from corral.processes import reaping
from corral.processes.local_run import handle_of, is_running, run_of
from corral.processes.reaping import ChildEnd, Orphan
from corral.runner.output_relay import Relays
from corral.runner.terminals import Terminals

POLL_SECONDS = 0.02
KEPT_ENDS = 4096
"""Ends that are remembered for the reports of stop sequences."""
_UNSEEN = Usage(0.0, 0, None, None, "?", 1)
"""Of a process that has ended before anybody looked."""


def forget_gone(job: ManagedJob) -> None:
    """Those that a stage had waited for before it ended: wait4(2) counts their CPU time in the stage's own."""
    for pid in [pid for pid in run_of(job).members if cpu_nanoseconds(pid) is None]:
        del run_of(job).members[pid]


class Children:
    """Every process that was started for a stage, and every orphan below us.

    Args:
        nonce: of this home's marks; None where marks do not work.
        jobs: all jobs in hand, by id.
        note_end: called when a stage has ended; a start may be due.
        note_noticed: called when a stage has ended without a stop sequence having looked.
    """

    def __init__(
        self,
        home: Home,
        nonce: int | None,
        jobs: Mapping[int, ManagedJob],
        journal: Journal,
        apply: Apply,
        terminals: Terminals,
        *,
        touch: Callable[[ManagedJob], None],
        note_end: Callable[[], None],
        note_noticed: Callable[[], None],
    ) -> None:
        self._nonce = nonce
        self._jobs = jobs
        self._journal = journal
        self._terminals = terminals
        self._note_stage_end = note_end
        self._note_noticed = note_noticed
        self.relays = Relays(
            home, journal, apply, touch=touch, reap=self.reap, note_through=self._note_relay_through
        )
        self._loop = asyncio.get_running_loop()
        self._stages: dict[int, tuple[ManagedJob, ManagedStage]] = {}
        """By pid, while it is ours to reap."""
        self._ends: OrderedDict[ProcessIdentity, ChildEnd] = OrderedDict()
        self._polled: list[tuple[ManagedJob, ManagedStage]] = []
        self._poll_timer: asyncio.TimerHandle | None = None

    def watch(self, job: ManagedJob, stage: ManagedStage) -> None:
        """Let the stage's pidfd wake us when it ends. Without one it is polled, 50 times a second."""
        handle = handle_of(stage)
        if handle.popen is not None:
            self._stages[handle.popen.pid] = (job, stage)
        if not self._is_waking(job, stage) and is_running(stage):
            self._polled.append((job, stage))
            self._poll_soon()

    def _is_waking(self, job: ManagedJob, stage: ManagedStage) -> bool:
        """Whether its pidfd will wake us. ENOSPC: the user watches all that epoll lets him (max_user_watches, epoll(7))."""
        handle = handle_of(stage)
        if handle.pidfd is None:
            return False
        try:
            self._loop.add_reader(handle.pidfd, self._note_readable, job, stage)
        except OSError:
            os.close(handle.pidfd)
            handle.pidfd = None
        return handle.pidfd is not None

    def catch_up(self, job: ManagedJob, stage: ManagedStage) -> None:
        """It may have ended, and been reaped as nobody's, before it counted as a stage."""
        handle = handle_of(stage)
        end = None if handle.identity is None or not is_running(stage) else self.end_of(handle.identity)
        if end is not None and handle.popen is not None:
            handle.popen.returncode = 0
            self._note_end(job, stage, end)

    def poll(self, job: ManagedJob, stage: ManagedStage) -> bool:
        """Reap the stage if it has ended. Whether it had. Never blocks."""
        handle = handle_of(stage)
        if not is_running(stage):
            return False
        if handle.identity is not None and (stage.history.usage is not None or len(job.stages) > 1):
            # Reaping takes the counters away; a zombie still has them.
            stage.history.usage = with_last_counters(stage.history.usage or _UNSEEN, handle.identity.pid)
        end = reaping.poll(stage) if handle.popen is not None else reaping.poll_adopted(stage)
        if end is None:
            return False
        self._note_end(job, stage, end)
        return True

    def reap(self) -> None:
        """Reap every child that has ended, stages and orphans."""
        while (pid := reaping.next_zombie()) is not None:
            owned = self._stages.get(pid)
            if owned is not None:
                if not self.poll(*owned):
                    return
                continue
            job_id, identity = self._job_of_zombie(pid), _identity_of(pid)
            orphan = reaping.reap_orphan(pid)
            if orphan is None:
                return
            if identity is not None:
                self.remember(identity, orphan.end)
            self._note_orphan(orphan, job_id)

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None:
        """How a process that we reaped lately has ended."""
        return self._ends.get(identity)

    def _poll_soon(self) -> None:
        if self._poll_timer is None:
            self._poll_timer = self._loop.call_later(POLL_SECONDS, self._poll_all)

    def _poll_all(self) -> None:
        """Where the system has no pidfd, or gave none."""
        self._poll_timer = None
        polled, self._polled = self._polled, []
        for job, stage in polled:
            if self.poll(job, stage):
                self._note_noticed()
            elif is_running(stage):
                self._polled.append((job, stage))
        if self._polled:
            self._poll_soon()

    def _note_readable(self, job: ManagedJob, stage: ManagedStage) -> None:
        """The pidfd of a stage says that it has ended."""
        handle = handle_of(stage)
        if handle.pidfd is not None:
            self._loop.remove_reader(handle.pidfd)
        if self.poll(job, stage):
            self.reap()
            self._note_noticed()
        elif is_running(stage):
            self._polled.append((job, stage))
            self._poll_soon()

    def _note_end(self, job: ManagedJob, stage: ManagedStage, end: ChildEnd) -> None:
        handle = handle_of(stage)
        self._unwatch(stage)
        if job.spec.pty:
            # Before its end counts: what it printed last is still in the terminal.
            self._terminals.end(job)
        now = moment()
        stage.ended = now["at"]
        stage.history.cpu_seconds = end.cpu_seconds
        if end.peak_memory_bytes is not None:
            job.history.peak_memory_bytes = max(job.history.peak_memory_bytes or 0, end.peak_memory_bytes)
        if handle.popen is not None:
            self._stages.pop(handle.popen.pid, None)
        if handle.identity is not None:
            run_of(job).members.pop(handle.identity.pid, None)
            forget_gone(job)
            self.remember(handle.identity, end)
        self._journal.stage_ended(
            job.id, stage.number, now["at"], end.exit_status, end.signal, end.cpu_seconds
        )
        ended = StageEnded(**now, number=stage.number, exit_status=end.exit_status, signal=end.signal)
        self.relays.apply_once_through(job, ended)
        self._note_stage_end()

    def _note_relay_through(self) -> None:
        self._note_stage_end()
        self._note_noticed()

    def _unwatch(self, stage: ManagedStage) -> None:
        handle = handle_of(stage)
        if handle.pidfd is not None:
            self._loop.remove_reader(handle.pidfd)
            os.close(handle.pidfd)
            handle.pidfd = None

    def _job_of_zombie(self, pid: int) -> int | None:
        """Whose orphan it was: a zombie keeps its limits, and so its mark, until it is reaped."""
        if self._nonce is None:
            return None
        try:
            found = mark.read(pid)
        except PermissionError:
            return None
        return found.job if found is not None and found.nonce == self._nonce else None

    def _note_orphan(self, orphan: Orphan, job_id: int | None) -> None:
        self.relays.note_end(orphan.pid, orphan.end)
        job = self._jobs.get(job_id) if job_id is not None else None
        if job is not None:
            run_of(job).members.pop(orphan.pid, None)
            job.history.reaped_cpu_seconds += orphan.end.cpu_seconds

    def remember(self, identity: ProcessIdentity, end: ChildEnd) -> None:
        """Keep it for `end_of`, for a while."""
        self._ends[identity] = end
        while len(self._ends) > KEPT_ENDS:
            self._ends.popitem(last=False)


def _identity_of(pid: int) -> ProcessIdentity | None:
    """None also where there is nothing to look with: then its end is reaped all the same, and not remembered."""
    try:
        return identify(pid)
    except OSError:
        return None

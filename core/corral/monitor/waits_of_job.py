"""What the processes of one job wait for, read now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from corral.diagnosis import process_tree
from corral.diagnosis.wait_chains import Observations
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.model.job import ProcessView
from corral.platform.host.procfs import read_stat
from corral.platform.inspect.open_files import feeds
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.processes.local_run import leaders_of, run_of, running_stages
from corral.waits.holders import Holders, WaitHolders
from corral.waits.machine_files import KEPT_SECONDS
from corral.waits.process_wait import ProcessWait, short_text, wait_of

MOST_PROCESSES = 500
"""Processes of one job that are examined; 50 µs each."""
MOST_ASKED = 4
"""Processes behind one pipe that are checked for whether they pass on what they read."""
MAY_PASS_ON = ("event_loop", "socket_accept", "futex", "unknown")
"""What a process does that passes on what others ask of it, while it waits itself."""
OUTSIDERS = 16
"""Processes of others that are followed from one job: who holds what it waits for, and what those wait for."""


class WaitsOfJobs(Struct, eq=False):
    """Finds what the processes of jobs wait for, and which processes can end these waits."""

    _table: JobTable
    _holders: Holders

    def look(self, job: ManagedJob, *, leaders_only: bool = False) -> Observations:
        """The waits of the stages' own processes and, unless `leaders_only`, of the whole tree."""
        run = run_of(job)
        pids = [leader.pid for _, leader in leaders_of(running_stages(job))]
        if not leaders_only:
            pids += [pid for pid in run.members if pid not in pids]
        cuts: tuple[str, ...] = ()
        if len(pids) > MOST_PROCESSES:
            cuts = (f"{len(pids) - MOST_PROCESSES:,} of its {len(pids):,} processes",)
            pids = pids[:MOST_PROCESSES]
        now = datetime.now(UTC)
        clocks = {pid: cpu_nanoseconds(pid) for pid in pids}
        waits = tuple(wait for wait in map(wait_of, pids) if wait is not None)
        parents = {}
        holders: dict[int, WaitHolders] = {}
        outside: tuple[ProcessWait, ...] = ()
        idle_seconds: dict[int, float] = {}
        if not leaders_only:
            stats = (read_stat(wait.pid) for wait in waits)
            parents = {stat.pid: stat.ppid for stat in stats if stat is not None}
            if (
                job.history.progress is None
                or job.history.progress.still_for(time.monotonic()) < KEPT_SECONDS
            ):
                self._holders.forget_locks()
            polling = frozenset() if job.polling is None else job.polling.polling
            waits = tuple(
                self._holders.as_lock_retry(wait) if wait.kind == "timer" and wait.pid in polling else wait
                for wait in waits
            )
            holders, outside, more_cuts = self._holders_of(waits)
            cuts += more_cuts
            idle_seconds = {wait.pid: self._holders.still_for(wait.pid) for wait in outside}
        return Observations(
            waits=waits,
            stages={pid: member.stage for pid, member in run.members.items()},
            pipes=run.pipe_inodes,
            input_pipe=run.input_pipe,
            parents=parents,
            since={wait.pid: job.wait_clock.since(wait, now) for wait in waits},
            holders=holders,
            outside=outside,
            idle_seconds=idle_seconds,
            moved=frozenset(pid for pid, clock in clocks.items() if cpu_nanoseconds(pid) != clock),
            polling=frozenset() if job.polling is None else job.polling.polling,
            still=_still(job),
            daemon=os.getpid(),
            cuts=cuts,
            jobs={wait.pid: found for wait in outside if (found := self._job_of(job, wait.pid)) is not None},
        )

    def forget(self) -> None:
        """Forget what is cached."""
        self._holders.forget()

    def tree(self, job: ManagedJob) -> tuple[ProcessView, ...]:
        """The tree of the job as a screen shows it; the caller has just scanned it."""
        seen, run, leaders = self.look(job), run_of(job), leaders_of(job.stages)
        return process_tree.process_views(
            {member.identity: member.stage for member in run.members.values()},
            {stage.number: leader for stage, leader in leaders},
            {m.identity: m.usage for m in run.members.values() if m.usage is not None},
            {
                leader: stage.history.cpu_percent
                for stage, leader in leaders
                if stage.history.cpu_percent is not None
            },
            words_of(seen),
        )

    def _holders_of(
        self, waits: Sequence[ProcessWait]
    ) -> tuple[dict[int, WaitHolders], tuple[ProcessWait, ...], tuple[str, ...]]:
        """Which processes can end these waits; the waits of those outside the job, step by step; and what was left out."""
        found = _Search(self._holders, waits)
        found.follow(list(waits))
        found.follow_relays()
        return found.holders, tuple(found.outside.values()), self._holders.cuts(found.family)

    def _job_of(self, but: ManagedJob, pid: int) -> str | None:
        """The other job that a process belongs to."""
        for job in self._table.started.values():
            if job is not but and pid in run_of(job).members:
                return str(job.id)
        return None


def _still(job: ManagedJob) -> Mapping[int, float]:
    """Those that have stood still for so long that the job would be stuck if all had, and for how many seconds."""
    now = time.monotonic()
    still = {pid: now - member.moved_at for pid, member in run_of(job).members.items() if member.cpu_ns >= 0}
    return {pid: seconds for pid, seconds in still.items() if seconds >= job.spec.stuck_after}


class _Search:
    """Searches, step by step, for the processes that can end the waits of one job."""

    def __init__(self, holders: Holders, waits: Sequence[ProcessWait]) -> None:
        self._holders = holders
        self.family = self._holders.begin([wait.pid for wait in waits])
        self.holders: dict[int, WaitHolders] = {}
        self.outside: dict[int, ProcessWait] = {}
        self._own = {wait.pid: wait for wait in waits}
        self._followed: set[tuple[int, ...]] = set()
        self._askers: dict[int, set[int]] = {}
        self._passed_on: set[int] = set()

    def follow(self, waits: list[ProcessWait]) -> None:
        """These, and those of the processes of others that they lead to."""
        while waits:
            wait = waits.pop()
            held = self._holders.of(wait, self.family)
            if held is not None:
                waits += self._note(wait, held)

    def follow_relays(self) -> None:
        """Then beyond those that are waited for and pass on what they are asked."""
        while left := [pid for pid in self._askers if pid not in self._passed_on]:
            for pid in left:
                self._passed_on.add(pid)
                wait = self.outside.get(pid) or self._own.get(pid)
                if wait is None or not self._may_pass_on(wait):
                    continue
                held = self._holders.behind_proxy(wait, self.family, self._askers[pid])
                if held is not None:
                    self._ask(wait, held)
                    self.follow(self._note(wait, held))

    def _may_pass_on(self, wait: ProcessWait) -> bool:
        """Whether nothing is known of what it waits for itself, but perhaps who else speaks to it."""
        held = self.holders.get(wait.pid)
        is_open = held is None or (wait.kind == "event_loop" and held.detail is None)
        return wait.kind in MAY_PASS_ON and is_open and not wait.ring and wait.tried is None

    def _ask(self, wait: ProcessWait, held: WaitHolders) -> None:
        for pid in held.pids:
            if pid != wait.pid:
                self._askers.setdefault(pid, set()).add(wait.pid)

    def _note(self, wait: ProcessWait, held: WaitHolders) -> list[ProcessWait]:
        """The waits of those that were not followed yet."""
        self.holders[wait.pid] = held
        if wait.kind in ("socket_read", "socket_write"):
            self._ask(wait, held)
        elif wait.kind == "pipe_read" and len(held.pids) <= MOST_ASKED:
            # A process that only prints owes no answer: it must be one that the waiting process feeds.
            fed = tuple(
                pid for pid in held.pids if pid not in (wait.pid, os.getpid()) and feeds(wait.pid, pid)
            )
            self._ask(wait, held._replace(pids=fed))
        if held.pids in self._followed:
            return []
        self._followed.add(held.pids)
        new = []
        for pid in held.pids:
            is_known = pid in self.family.pids or pid in self.outside
            if is_known or pid == os.getpid() or len(self.outside) >= OUTSIDERS:
                continue
            found = wait_of(pid)
            if found is not None:
                self.outside[pid] = self._holders.at_work(found)
                new.append(self.outside[pid])
        return new


def words_of(seen: Observations) -> dict[int, str]:
    """By pid: what each process does, for a narrow column."""
    return {wait.pid: short_text(wait, seen.pipes, seen.input_pipe) for wait in seen.waits}

"""The processes that an earlier daemon has started: found by the journal and by their marks, and watched again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.journal.journal import StageStart
from corral.journal.unfinished_jobs import StoredJob
from corral.platform.host.procfs import read_stat
from corral.platform.process.identity import ProcessIdentity
from corral.platform.process.pidfd import open_pidfd_to_keep
from corral.processes.local_run import InheritedChild, StageHandle, handle_of, is_running
from corral.processes.process_scan import ProcessScan
from corral.processes.unmarked_claims import Seen
from corral.runner.children import Children

SETTLE_SECONDS = 0.5


class AdoptedProcesses(Struct, eq=False):
    """Gives jobs the processes that they have."""

    _process_scan: ProcessScan
    _children: Children

    def find_all(self, stored: Sequence[StoredJob]) -> dict[int, list[Seen]]:
        """The processes of all jobs. Looked for again where one is there that may just be on its way to lead its stage.

        A child has its mark before it has a session of its own (setsid(2) comes between fork and exec), and under load it
        may be so far only now.
        """
        nameless = [job for job in stored if job.is_starting and not job.stages]
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = self._process_scan.take([])
            on_their_way = [job for job in nameless if (seen := found.get(job.id)) and _leader(seen) is None]
            if not on_their_way or time.monotonic() > deadline:
                return found
            time.sleep(SETTLE_SECONDS / 20)

    def assign(self, job: ManagedJob, stored: StoredJob, seen: Sequence[Seen] = ()) -> list[StageStart]:
        """Give each stage its process as the journal noted it, else, where the daemon died while starting, by the mark.

        Returns those that only their mark tells of.
        """
        rows = {row.number: row for row in stored.stages}
        found: list[StageStart] = []
        for stage in job.stages:
            row = rows.get(stage.number)
            if row is not None and row.pid is not None and row.started_ticks is not None:
                handle_of(stage).identity = ProcessIdentity(row.pid, row.started_ticks)
                stage.started, stage.ended = row.started, row.ended
                stage.history.cpu_seconds = row.cpu_seconds
                continue
            leader = _leader([entry for entry in seen if entry.stage == stage.number])
            if leader is not None:
                handle_of(stage).identity = leader
                found.append(StageStart(stage.number, leader.pid, leader.started))
        return found

    def watch(self, job: ManagedJob) -> None:
        """Have the ends of its running stages noticed, those included that have ended since."""
        for stage in job.stages:
            handle = handle_of(stage)
            if not is_running(stage) or handle.identity is None:
                continue
            pid = handle.identity.pid
            if handle.pidfd is None:
                handle.pidfd = open_pidfd_to_keep(pid)
            # Asked once the pidfd is there: what is seen now is what it is of.
            stat = read_stat(pid)
            if stat is None or stat.started != handle.identity.started:
                _close_pidfd(handle)
            elif stat.ppid == os.getpid():
                # The daemon before was this very process, and the child is still ours.
                handle.popen = InheritedChild(pid)
            self._children.watch(job, stage)


def _leader(seen: Sequence[Seen]) -> ProcessIdentity | None:
    """The marked process that was spawned for a stage: it leads its session, and others that do came later."""
    leaders = [
        ProcessIdentity(entry.pid, stat.started)
        for entry in seen
        if (stat := read_stat(entry.pid)) is not None and stat.session == stat.pid
    ]
    return min(leaders, key=lambda leader: (leader.started, leader.pid), default=None)


def _close_pidfd(handle: StageHandle) -> None:
    """Another process has its pid now, or none: its pidfd tells nothing of it."""
    if handle.pidfd is not None:
        os.close(handle.pidfd)
        handle.pidfd = None

"""Processes of a job that have lost its mark: proven by other ways, and marked again where that is possible.

sudo and PAM reset limits, and a program may do so itself (setrlimit(2)); what copies the limits of another process has
the mark of another job. Decision 0018 has the proofs and their order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.platform.host.procfs import Stat, read_file, read_stat
from corral.platform.process import mark
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.kinship import ENOUGH_EVIDENCE, Kinship, job_in_environment
from corral.platform.process.mark import Mark
from corral.platform.process.signalling import RefusedSignalError, Signaller
from corral.processes.local_run import handle_of, is_running, leader_of, leaders_of, run_of

_DAEMON_PROGRAM = b"corral.service.launch"


class Seen(NamedTuple):
    """One process found. `is_proven` is False where only kinship speaks for it."""

    pid: int
    stage: int
    is_proven: bool = True


def kinship_of(
    job: ManagedJob,
    home: str,
    *,
    has_marks: bool = True,
    born: Collection[ProcessIdentity] = (),
    marked: Collection[ProcessIdentity] = (),
) -> Kinship:
    """What is known of the job's processes by other ways than the mark; `marked` are some that have it."""
    started = leaders_of(job.stages)
    leaders = {leader for stage, leader in started if _is_held(stage, leader)}
    known = {
        *leaders,
        *(member.identity for member in run_of(job).members.values()),
        *run_of(job).proven.values(),
        *marked,
    }
    # Orphans come to this process, a subreaper; which job they are of, another way has to tell.
    ancestors, numbers = {os.getpid()}, set[int]()
    if not has_marks:
        # Each stage leads a session and a group of its own, so their numbers are its pid (setsid(2)).
        numbers = {leader.pid for stage, leader in started if not _is_reused(stage)}
        ancestors |= numbers | set(run_of(job).members)
    return Kinship(job.id, ancestors, numbers, numbers, home, known, born, leaders)


def _is_held(stage: ManagedStage, identity: ProcessIdentity) -> bool:
    """Whether the process that was started for a stage is still that one: our own child that was not reaped, which keeps
    its pid, or one that an earlier daemon started and that leads a session, as each stage does.
    """
    if not is_running(stage):
        return False
    if handle_of(stage).popen is not None:
        return True
    try:
        return os.getsid(identity.pid) == identity.pid and identify(identity.pid) == identity
    except OSError:
        return False  # it has ended


def _is_reused(stage: ManagedStage) -> bool:
    """Whether another process has the leader's pid now, and perhaps a session and a group of that number.

    The kernel gives no process a number while a session or a group has it, so nothing of the stage's own is left in them.
    An unreaped child of ours keeps its pid.
    """
    leader = leader_of(stage)
    if leader is None or (handle_of(stage).popen is not None and is_running(stage)):
        return False
    now = identify(leader.pid)
    return now is not None and now != leader


def near(stats: list[Stat], known: set[int]) -> list[Stat]:
    """Those with a parent, session or group among the pids in `known`, which grows, and the descendants of such.

    Nothing else can be a relative, since the environment alone proves nothing.
    """
    close: list[Stat] = []
    while new := [
        stat
        for stat in stats
        if not known.isdisjoint((stat.pid, stat.ppid, stat.session, stat.process_group))
    ]:
        close += new
        known.update(stat.pid for stat in new)
        stats = [stat for stat in stats if stat not in new]
    return close


def stage_of(stat: Stat, job: ManagedJob) -> int:
    """The stage that a process is of, as far as its session, its group or its parent tell."""
    for stage, leader in leaders_of(job.stages):
        if leader.pid in (stat.pid, stat.session, stat.process_group):
            return stage.number
    known = run_of(job).members.get(stat.ppid)
    return known.stage if known is not None else 1


class UnmarkedClaims(Struct, eq=False):
    """One pass over what carries no mark, or perhaps the wrong one. `found`, by job, is added to."""

    _jobs: Mapping[int, ManagedJob]
    _found: dict[int, list[Seen]]
    _nonce: int
    _home: str
    _signaller: Signaller
    _born_in: Callable[[ProcessIdentity], Collection[int]]
    """The jobs that may have lived when a process was born."""
    _leaders: set[int] = set()
    """The pids of the stages that run. Their marks are what they are to be."""
    has_marked: bool = False
    """Whether a process has its mark again, which may have started others without before."""
    unmarked: set[int] = set()
    """Jobs with processes that are proven and cannot be marked."""
    doubtful: dict[int, list[Stat]] = {}
    """By job: what may be of it, and nothing proves it."""
    owners: dict[int, int] = {}
    """By pid: the job that it is found to be of."""

    def __post_init__(self) -> None:
        self.owners = {seen.pid: job_id for job_id, entries in self._found.items() for seen in entries}

    # ---- what is proven already

    def claim_known(self) -> None:
        """The processes of stages, and what was proven before, where they are not found by their mark."""
        owner_of, note_leader = self.owners.get, self._leaders.add
        for job in self._jobs.values():
            for stage in job.stages:
                if stage.ended is not None or (identity := leader_of(stage)) is None:
                    continue
                pid = identity[0]
                note_leader(pid)
                if owner_of(pid) != job.id:
                    self._claim(job, identity, stage.number, kinship_of(job, self._home))
            if run_of(job).proven:
                self.unmarked.add(job.id)
                self._claim_proven(job)

    def _claim_proven(self, job: ManagedJob) -> None:
        for pid, identity in list(run_of(job).proven.items()):
            stat = read_stat(pid)
            if stat is None or stat.started != identity.started or stat.has_ended:
                del run_of(job).proven[pid]
            elif self.owners.get(pid) != job.id:
                self._claim(job, identity, stage_of(stat, job), kinship_of(job, self._home))

    def _claim(self, job: ManagedJob, identity: ProcessIdentity, stage: int, kin: Kinship) -> bool:
        """Count a process as the job's, and mark it again. False where the guard knows better, or it has ended."""
        try:
            if self._may_be_marked(identity.pid):
                if not self._signaller.restore_mark(identity, Mark(self._nonce, job.id, stage), kin):
                    return False
                self.has_marked = True
            elif identity not in kin.leaders:
                return False
        except RefusedSignalError:
            return False
        except PermissionError:
            pass  # another user's, for example; it stays known by its identity
        before = self.owners.get(identity.pid)
        if before is not None:
            self._found[before] = [seen for seen in self._found[before] if seen.pid != identity.pid]
        self._found.setdefault(job.id, []).append(Seen(identity.pid, stage, False))
        self.owners[identity.pid] = job.id
        if self._is_marked(identity.pid, job):
            run_of(job).proven.pop(identity.pid, None)
        else:
            run_of(job).proven[identity.pid] = identity
            self.unmarked.add(job.id)
        return True

    def _may_be_marked(self, pid: int) -> bool:
        """Not a daemon of Corral, nor a process of another home: that is what their limit says."""
        try:
            value = mark.value_of(pid)
        except PermissionError:
            return True  # and it will be refused
        carried = None if value is None else mark.decode(value)
        return value != mark.APART and (carried is None or carried.nonce == self._nonce)

    # ---- the wrong mark

    def doubt_new(self, settled: Mapping[int, int]) -> None:
        """Look at marked processes that were not looked at before: whether all else says that they are of another job."""
        for pid, job_id in self.owners.items() - settled.items():
            job = self._jobs.get(job_id)
            if job is None or pid in self._leaders or pid in run_of(job).proven:
                continue
            stat = read_stat(pid)
            if stat is None or stat.has_ended or self.owners.get(stat.ppid) == job_id:
                continue
            identity = ProcessIdentity(pid, stat.started)
            for rival in self._named_by(stat):
                if rival is not job:
                    self._weigh(stat, identity, job, rival)

    def _weigh(self, stat: Stat, identity: ProcessIdentity, job: ManagedJob, rival: ManagedJob) -> None:
        """The mark is one way, and says `job`; who has more ways gets it."""
        ways = self._kin(stat, rival).agreeing_evidence(stat)
        against = 1 + self._kin(stat, job).agreeing_evidence(stat)
        who = f"{stat.pid} {stat.name}"
        if ways >= ENOUGH_EVIDENCE and ways > against:
            run_of(rival).proven[stat.pid] = identity  # which the guard goes by
            if self._claim(rival, identity, self._stage_of(stat, rival), kinship_of(rival, self._home)):
                run_of(job).contradictions[identity] = (
                    f"{who} had the mark of this job, but is a process of job {rival.id}"
                )
                run_of(rival).contradictions[identity] = f"{who} had the mark of job {job.id}"
                return
            del run_of(rival).proven[stat.pid]
        run_of(job).contradictions[identity] = (
            f"{who} has the mark of this job, but something else points to job {rival.id}"
        )
        run_of(rival).contradictions[identity] = (
            f"something points to this job for {who}, but it has the mark of job {job.id}, which ends it"
        )

    # ---- no mark

    def settle(self, stats: Iterable[Stat]) -> None:
        """Claim those that two ways prove, and their children; what is left and may be of a job is in doubt."""
        left = self._unclaimed([stat for stat in stats if not stat.has_ended])
        while any(self._claim_born(stat) for stat in left):
            left = self._unclaimed([stat for stat in left if stat.pid not in self.owners])
        self._doubt(left)

    def doubt_apart(self, stat: Stat) -> bool:
        """Whether a process that says that it is of another home, or of none, is in the midst of a job."""
        near_by = {stat.ppid, stat.session, stat.process_group} - {stat.pid}
        jobs = {self.owners[pid] for pid in near_by if pid in self.owners}
        is_daemon = bool(jobs) and _is_daemon_of_corral(stat.pid)  # whose parents are about to end
        for job_id in () if stat.has_ended or is_daemon else jobs:
            self.doubtful.setdefault(job_id, []).append(stat)
        return bool(jobs) and not is_daemon

    def _unclaimed(self, stats: list[Stat]) -> list[Stat]:
        while stats:
            left = [stat for stat in stats if not self._claim_proven_now(stat)]
            if len(left) == len(stats):
                break
            stats = left
        return stats

    def _claim_proven_now(self, stat: Stat) -> bool:
        kinships = [(job, self._kin(stat, job)) for job in self._named_by(stat)]
        proven = [(job, kin) for job, kin in kinships if kin.agreeing_evidence(stat) >= ENOUGH_EVIDENCE]
        if len(proven) != 1:
            return False
        job, kin = proven[0]
        return self._claim(job, ProcessIdentity(stat.pid, stat.started), self._stage_of(stat, job), kin)

    def _kin(self, stat: Stat, job: ManagedJob) -> Kinship:
        """What is known of the job, its marked processes that this one may descend from included."""
        pids = {stat.ppid, stat.session, stat.process_group} - {stat.pid}
        marked = {identity for pid in pids if (identity := self._marked(pid, job)) is not None}
        return kinship_of(job, self._home, marked=marked)

    def _marked(self, pid: int, job: ManagedJob) -> ProcessIdentity | None:
        if self.owners.get(pid) != job.id:
            return None
        identity = identify(pid)
        return identity if self._is_marked(pid, job) else None

    def _is_marked(self, pid: int, job: ManagedJob) -> bool:
        try:
            carried = mark.read(pid)
        except PermissionError:
            return False
        return carried is not None and (carried.nonce, carried.job) == (self._nonce, job.id)

    def _stage_of(self, stat: Stat, job: ManagedJob) -> int:
        parent = next((seen for seen in self._found.get(job.id, ()) if seen.pid == stat.ppid), None)
        return stage_of(stat, job) if parent is None else parent.stage

    def _named_by(self, stat: Stat) -> list[ManagedJob]:
        """The jobs that anything speaks for."""
        pids = {stat.ppid, stat.session, stat.process_group} - {stat.pid}
        ids = {job_in_environment(stat.pid, self._home), *(self.owners.get(pid) for pid in pids)}
        return [self._jobs[job_id] for job_id in ids if job_id is not None and job_id in self._jobs]

    def _claim_born(self, stat: Stat) -> bool:
        """An orphan that came to us, and of all jobs only one lived when it was born."""
        born = self._may_have_born(stat)
        if len(born) != 1 or born[0] not in self._jobs:
            return False
        if job_in_environment(stat.pid, self._home) not in (None, born[0]):
            return False
        identity, job = ProcessIdentity(stat.pid, stat.started), self._jobs[born[0]]
        return self._claim(job, identity, stage_of(stat, job), kinship_of(job, self._home, born={identity}))

    def _may_have_born(self, stat: Stat) -> list[int]:
        if stat.ppid != os.getpid() or stat.session == os.getsid(0) or _is_daemon_of_corral(stat.pid):
            return []
        return sorted(self._born_in(ProcessIdentity(stat.pid, stat.started)))

    def _doubt(self, left: list[Stat]) -> None:
        of: dict[int, set[int]] = {}
        for stat in left:
            jobs = set(self._may_have_born(stat))
            for job in self._named_by(stat):
                # An orphan's parent is this process, whatever job it is of.
                if self._kin(stat, job).agreeing_evidence(stat) > (stat.ppid == os.getpid()):
                    jobs.add(job.id)
            of[stat.pid] = jobs
        for _ in left:
            # What they started is in doubt with them.
            for stat in left:
                of[stat.pid] |= of.get(stat.ppid, set())
        for stat in left:
            for job_id in of[stat.pid]:
                self.doubtful.setdefault(job_id, []).append(stat)


def _is_daemon_of_corral(pid: int) -> bool:
    """One of an earlier release, which took the mark off and put no other sign in its place."""
    return _DAEMON_PROGRAM in (read_file(f"/proc/{pid}/cmdline") or b"").split(b"\0")

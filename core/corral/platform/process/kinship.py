"""What proves that a process is a job's where its mark does not: parent, session, group and environment, two of which agree."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cached_property

from msgspec import Struct

from corral.platform.host.procfs import Stat, read_file
from corral.platform.process.identity import ProcessIdentity, identify

ENOUGH_EVIDENCE = 2
"""How many kinds of it have to agree where the mark cannot be read."""


class Kinship(Struct, eq=False, dict=True):
    """What a job knows of its processes by other ways than the mark; two of them must agree.

    `known`: processes that were proven to be its own before. They are so for life, wherever they moved since; so is
    what has one of them as its parent. `born`: orphans that came to this process and that only this job can have born.
    `leaders`: those of `known` that this process started for the job and still holds; whatever mark they carry now.
    The numbers in `ancestors`, `sessions` and `groups` are believed; those of `known` only while that very process lives.
    """

    job: int
    ancestors: Collection[int]
    sessions: Collection[int]
    groups: Collection[int]
    home: str
    known: Collection[ProcessIdentity] = ()
    born: Collection[ProcessIdentity] = ()
    leaders: Collection[ProcessIdentity] = ()

    def knows(self, stat: Stat) -> bool:
        """Whether that very process was proven before."""
        return ProcessIdentity(stat.pid, stat.started) in self.known

    def agreeing_evidence(self, stat: Stat) -> int:
        """How many of parentage, session, process group and environment say that it belongs to the job."""
        if self.knows(stat) or self._lives(stat.ppid):
            return ENOUGH_EVIDENCE
        return (
            (stat.ppid in self.ancestors)
            + (stat.session in self.sessions or self._lives(stat.session))
            + (stat.process_group in self.groups or self._lives(stat.process_group))
            + self._environment_says_so(stat.pid)
            + (ProcessIdentity(stat.pid, stat.started) in self.born)
        )

    def _lives(self, pid: int) -> bool:
        """Whether that number is, at this moment, the pid of a process that is known.

        A living process has its pid for itself, and so a session and a group of that number are of its making (setsid(2)).
        """
        return pid in self._known_pids and (now := identify(pid)) is not None and now in self.known

    @cached_property
    def _known_pids(self) -> frozenset[int]:
        return frozenset(identity.pid for identity in self.known)

    def _environment_says_so(self, pid: int) -> bool:
        return job_in_environment(pid, self.home) == self.job


def job_in_environment(pid: int, home: str) -> int | None:
    """The job of that home that a process's environment names (execve(2) set it); None where it may not be read."""
    entries = (read_file(f"/proc/{pid}/environ") or b"").split(b"\0")
    if b"CORRAL_HOME=" + os.fsencode(home) not in entries:
        return None
    named = [entry[14:] for entry in entries if entry.startswith(b"CORRAL_JOB_ID=")]
    return int(named[0]) if len(named) == 1 and named[0].isdigit() and len(named[0]) < 20 else None

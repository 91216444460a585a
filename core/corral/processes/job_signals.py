"""Sending a signal to processes of a job: the first ones of its stages, all of its tree, or one."""

from __future__ import annotations

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.model.errors import NotSoError
from corral.model.units import parse_signal
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.signalling import RefusedSignalError, Signaller
from corral.processes.local_run import leader_of, leaders_of, running_stages
from corral.processes.process_scan import ProcessScan
from corral.processes.unmarked_claims import kinship_of


class JobSignals(Struct, eq=False):
    """Sends signals to the processes of jobs. All methods give the pids that got it, and raise RefusedSignalError and
    PermissionError where none did.
    """

    _home: str
    _process_scan: ProcessScan
    _signaller: Signaller

    def to_leaders(self, job: ManagedJob, signal: str) -> list[int]:
        """To the first process of each stage that runs."""
        leaders = leaders_of(running_stages(job))
        return [pid for _, leader in leaders for pid in self._send(job, leader, signal)]

    def to_tree(self, job: ManagedJob, signal: str, stage: int | None = None) -> list[int]:
        """To every process of the tree, or of one stage.

        Looked at twice: what was started between the first look and its signal is found by the second.
        """
        sent: set[ProcessIdentity] = set()
        refusal: Exception | None = None
        for _ in range(2):
            for entry in self._process_scan.take([job]).get(job.id, []):
                identity = identify(entry.pid)
                if identity is None or identity in sent or (stage is not None and entry.stage != stage):
                    continue
                try:
                    if self._send(job, identity, signal):
                        sent.add(identity)
                except (RefusedSignalError, PermissionError) as error:
                    # One process that changed its uid must not protect the others.
                    refusal = error
        if refusal is not None and not sent:
            raise refusal
        return [identity.pid for identity in sent]

    def to_process(self, job: ManagedJob, signal: str, pid: int) -> list[int]:
        """To one process. Raises NotSoError where it is none of the job's."""
        return self._send(job, self._identity_of(job, pid), signal)

    def leads(self, job: ManagedJob, pid: int) -> int | None:
        """The stage of which that is the first process. Raises NotSoError as `to_process` does."""
        identity = self._identity_of(job, pid)
        leads = (stage.number for stage in running_stages(job) if leader_of(stage) == identity)
        return next(leads, None)

    def _identity_of(self, job: ManagedJob, pid: int) -> ProcessIdentity:
        found = {entry.pid for entry in self._process_scan.take([job]).get(job.id, [])}
        identity = identify(pid) if pid in found else None
        if identity is None:
            raise NotSoError(f"pid {pid} is no process of job {job.id}")
        return identity

    def _send(self, job: ManagedJob, identity: ProcessIdentity, signal: str) -> list[int]:
        kinship = kinship_of(job, self._home)
        return [identity.pid] if self._signaller.send(identity, parse_signal(signal), kin=kinship) else []

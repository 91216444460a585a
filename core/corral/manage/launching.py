"""Bringing one job from its turn to running processes: opening, starting, feeding."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.decide.life import StagesSpawned, StartFailed
from corral.decide.store import StartedStage
from corral.manage.feeding import Feeder
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.manage.opening import FileOpener
from corral.manage.starting import Preparation, Starter, StartError, spawned_stages
from corral.values.errors import CannotStartError
from corral.values.spec import JobInput

if TYPE_CHECKING:
    from corral.manage.manager import Manager


class Launcher:
    """Starts jobs whose turn it is. Whatever goes wrong becomes the job's own reason."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._starter = Starter(manager.home, manager.nonce, manager.budget)
        self._opener = FileOpener()
        self._feeders: dict[int, Feeder] = {}

    def start(self, job: ManagedJob) -> None:
        """Start its stages; where a file may make us wait, once it is open."""
        try:
            preparation = self._starter.prepare(job)
            patient = self._starter.patient_ones(preparation)
            if patient:
                self._opener.open(preparation, patient, self._note_opened)
                self._manager.touch(job)
                return
            self._launch(preparation)
        except StartError as error:
            self._fail(job, error)
        except Exception as error:  # noqa: BLE001  (a fault in one start must not keep the others from starting)
            what = CannotStartError(f"the daemon failed at starting it: {type(error).__name__}: {error}", 125)
            self._fail(job, StartError(None, what, spawned_stages(job)))

    def end_feed(self, job: ManagedJob) -> None:
        """The job has ended: let go of what fed it."""
        feeder = self._feeders.pop(job.id, None)
        if feeder is not None:
            feeder.close()

    def _note_opened(self, preparation: Preparation, error: StartError | None) -> None:
        """The files that could make us wait are open, or one cannot be."""
        job = preparation.job
        if job.life.is_ended:
            preparation.close()
            return
        try:
            if error is not None:
                raise error
            self._launch(preparation)
        except StartError as problem:
            preparation.close()
            self._fail(job, problem)

    def _launch(self, preparation: Preparation) -> None:
        job = preparation.job
        self._starter.open_rest(preparation)
        try:
            self._starter.launch(preparation)
        finally:
            self._note_spawned(job)
        self._manager.apply(job, StagesSpawned(**moment()))
        if isinstance(job.spec.stdin, JobInput):
            self._feed(job, job.spec.stdin)
        self._manager.note_started(job)

    def _note_spawned(self, job: ManagedJob) -> None:
        rows = [
            StartedStage(stage.number, stage.identity.pid, stage.identity.started)
            for stage in job.stages
            if stage.identity is not None
        ]
        if rows:
            self._manager.journal.stages_started(job.id, rows, datetime.now(UTC))
        for stage in job.stages:
            self._manager.children.watch(job, stage)

    def _fail(self, job: ManagedJob, error: StartError) -> None:
        self._manager.close_stdin(job)
        failed = StartFailed(
            **moment(), stage=error.stage, status=error.status, message=str(error), spawned=error.spawned
        )
        self._manager.apply(job, failed)
        self._manager.note_started(job)

    def _feed(self, job: ManagedJob, source: JobInput) -> None:
        writer, job.stdin_writer = job.stdin_writer, None
        if writer is not None:
            self._feeders[job.id] = Feeder(self._manager, job, int(source.job), writer)

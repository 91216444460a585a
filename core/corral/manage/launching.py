"""Bringing one job from its turn to running processes: opening, starting, feeding."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from corral.decide.life import StagesSpawned, StartFailed
from corral.decide.store import StartedStage
from corral.manage.feeding import Feed, Feeder
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.manage.opening import FileOpener
from corral.manage.starting import OpenFiles, Preparation, Starter, StartError, spawned_stages
from corral.system import shortage
from corral.values.errors import CannotStartError
from corral.values.shown import short
from corral.values.spec import JobInput

if TYPE_CHECKING:
    from corral.manage.manager import Manager


RETRY_SECONDS = 1.0
"""Until the next try where the journal cannot be written."""


class Launcher:
    """Starts jobs whose turn it is. Whatever goes wrong becomes the job's own reason."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._starter = Starter(
            manager.home, manager.nonce, manager.budget, manager.monitor.truncations.watch
        )
        self._opener = FileOpener()
        self._feeders: dict[int, Feeder] = {}
        self._opening: dict[int, Preparation] = {}

    def start(self, job: ManagedJob, opened: OpenFiles | None = None) -> None:
        """Start its stages; where a file may make us wait, once it is open. `opened` are open already, and taken over."""
        opened = opened or {}
        try:
            if job.shown.is_cut:
                job.use(self._manager.origin_of(job.id)[0])
            preparation = self._prepared(job, opened)
            patient = [file for file in self._starter.patient_ones(preparation) if file[:2] not in opened]
            if patient:
                self._opening[job.id] = preparation
                # Nothing of it runs yet, and may not for days: were the daemon to end, the next one is to start it.
                self._manager.journal.mark_starting([job.id], False)
                self._manager.wake()
                self._opener.open(preparation, patient, self._note_opened)
                self._manager.touch(job)
                return
            if opened:
                self._note_opened(preparation, None)
                return
            self._launch(preparation)
        except StartError as error:
            self._fail(job, error)
        except Exception as error:  # noqa: BLE001  (a fault in one start must not keep the others from starting)
            self._fail(job, _explained(job, error))

    def _prepared(self, job: ManagedJob, opened: OpenFiles) -> Preparation:
        try:
            preparation = self._starter.prepare(job)
        except BaseException:
            for descriptor in opened.values():
                os.close(descriptor)
            raise
        preparation.opened.update(opened)
        return preparation

    def opened_for(self, job: ManagedJob) -> OpenFiles:
        """The files that are open for a job that waits for others to be opened."""
        preparation = self._opening.get(job.id)
        return {} if preparation is None else preparation.opened

    def feed_of(self, job: ManagedJob) -> Feed | None:
        """What it is fed with, as long as it is."""
        feeder = self._feeders.get(job.id)
        return None if feeder is None else feeder.feed()

    def feed(self, job: ManagedJob, feed: Feed) -> None:
        """Feed it from there on. Takes the descriptors over."""
        self._feeders[job.id] = Feeder(self._manager, job, feed)

    def end_feed(self, job: ManagedJob) -> None:
        """The job has ended: let go of what fed it."""
        self._opening.pop(job.id, None)
        feeder = self._feeders.pop(job.id, None)
        if feeder is not None:
            feeder.close()

    def _note_opened(self, preparation: Preparation, error: StartError | None) -> None:
        """The files that could make us wait are open, or one cannot be."""
        job = preparation.job
        if job.life.is_ended:
            self._opening.pop(job.id, None)
            preparation.close()
            return
        try:
            if error is not None:
                raise error
            if not self._is_marked(job):
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._note_opened, preparation, None)
                return
            self._opening.pop(job.id, None)
            self._launch(preparation)
        except StartError as problem:
            preparation.close()
            self._fail(job, problem)
        except Exception as problem:  # noqa: BLE001  (as in `start`)
            preparation.close()
            self._fail(job, _explained(job, problem))

    def _is_marked(self, job: ManagedJob) -> bool:
        """Whether the journal knows that it is being started, without which nothing is: it would start again."""
        self._manager.journal.mark_starting([job.id])
        return self._manager.commit_soon()

    def _launch(self, preparation: Preparation) -> None:
        job = preparation.job
        self._starter.open_rest(preparation)
        try:
            self._starter.launch(preparation)
            self._manager.terminals.begin(job)
            self._manager.children.relays.note_started(job)
        finally:
            self._note_spawned(job)
        self._manager.apply(job, StagesSpawned(**moment()))
        if isinstance(job.spec.stdin, JobInput):
            self._begin_feed(job, job.spec.stdin)
        self._manager.capping.watch_from_start(job)
        self._manager.note_started(job)

    def still_to_feed(self, source: int, cap: int) -> int | None:
        """From which offset on that job's stdout, of which `cap` bytes are kept, has yet to be fed to others."""
        wanted = (feeder.wanted_from(cap) for feeder in self._feeders.values() if feeder.source == source)
        return min((offset for offset in wanted if offset is not None), default=None)

    def head_goes(self, source: int, cut: int, cap: int) -> None:
        """All before `cut` of that job's stdout is dropped: nothing that is fed from it may be missing that."""
        for feeder in list(self._feeders.values()):
            if feeder.source == source:
                feeder.head_goes(cut, cap)

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
        self._let_go_of_command(job)

    @staticmethod
    def _let_go_of_command(job: ManagedJob) -> None:
        if job.shown.is_cut:
            job.use(short(job.spec))

    def _fail(self, job: ManagedJob, error: StartError) -> None:
        self._opening.pop(job.id, None)
        self._let_go_of_command(job)
        self._manager.close_stdin(job)
        failed = StartFailed(
            **moment(), stage=error.stage, status=error.status, message=str(error), spawned=error.spawned
        )
        self._manager.apply(job, failed)
        self._manager.note_started(job)

    def _begin_feed(self, job: ManagedJob, source: JobInput) -> None:
        writer, job.stdin_writer = job.stdin_writer, None
        if writer is not None:
            self.feed(job, Feed(int(source.job), writer))


def _explained(job: ManagedJob, error: Exception) -> StartError:
    """What was lacking; anything else is a fault of ours."""
    is_known = shortage.is_shortage(error)
    what = f"the daemon failed at starting it: {type(error).__name__}: {error}"
    cause = CannotStartError(shortage.in_words(error) if is_known else what, 125)
    return StartError(None, cause, spawned_stages(job))

"""Bringing one job from its turn to running processes: opening, starting, feeding."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from corral.commandline.abbreviation import with_short_argv
from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal, StageStart
from corral.lifecycle.clock import moment
from corral.lifecycle.state import StagesSpawned, StartFailed
from corral.model.errors import CannotStartError
from corral.model.spec import JobInput, JobSpec, Surroundings
from corral.platform.host import resource_errors
from corral.platform.spawn import inheritance
from corral.processes.local_run import leaders_of, run_of
from corral.runner.children import Children
from corral.runner.feed import Feed, Feeds
from corral.runner.open_and_spawn import Starter, spawned_stages
from corral.runner.output_cap import OutputCap
from corral.runner.preparation import OpenFiles, Preparation, StartError
from corral.runner.stand_ins import HandedStandIn, StandIns
from corral.runner.terminals import Terminals

RETRY_SECONDS = 1.0
"""Until the next try where the journal cannot be written."""


class Launcher(Struct, eq=False):
    """Starts jobs whose turn it is. Whatever goes wrong becomes the job's own reason."""

    _starter: Starter
    _journal: Journal
    _commits: Commits
    _apply: Apply
    _children: Children
    _terminals: Terminals
    _feeds: Feeds
    _output_cap: OutputCap
    whole: Callable[[int], JobSpec]
    """What a job is to be started with, all of a long command included."""
    touch: Callable[[ManagedJob], None]
    """Called with a job of which something has changed."""
    note_failed: Callable[[ManagedJob], None]
    """Called when its start has failed, whatever of it still runs."""
    make_room: Callable[[], None]
    """Called when a job waits for its start without a place in the queue."""
    _stand_ins: dict[int, StandIns] = {}
    """By job: what goes ahead of its stages while its start could make us wait."""

    def check(self, surroundings: Surroundings, programs: Sequence[str] = ()) -> None:
        """Raises OtherSurroundingsError where no job can have these from this process, CannotStartError where one of the
        programs cannot be run."""
        inheritance.check(surroundings, self._starter.own)
        for program in programs:
            self._starter.check_program(program, surroundings)

    def start(self, job: ManagedJob, opened: OpenFiles | None = None) -> None:
        """Start its stages; where that may make us wait, once it does not. `opened` are open already, and taken over."""
        try:
            if job.shown.is_cut:
                job.use(self.whole(job.id))
            preparation = self._prepared(job, opened or {})
            if preparation.may_wait:
                self._start_stand_ins(preparation)
            else:
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
        if opened:
            preparation.opened.update(opened)
            preparation.may_wait = True
        return preparation

    # ---- starts that may wait

    def _start_stand_ins(self, preparation: Preparation) -> None:
        job = preparation.job
        # Nothing of it runs yet, and may not for days: were the daemon to end, the next one is to start it.
        self._journal.mark_starting([job.id], False)
        self.make_room()
        self._starter.start_stand_ins(preparation, self._new_stand_ins(job, preparation))
        self.touch(job)

    def _new_stand_ins(self, job: ManagedJob, preparation: Preparation) -> StandIns:
        self._stand_ins[job.id] = stand_ins = StandIns(
            job,
            changed=lambda: self.touch(job),
            ready=lambda: self._note_ready(preparation),
            over=lambda error: self._note_over(job, error),
        )
        return stand_ins

    def stand_ins_of(self, job: ManagedJob) -> StandIns | None:
        """What its start waits for, where it could make us wait."""
        return self._stand_ins.get(job.id)

    def take_back_stand_ins(self, job: ManagedJob, handed: Iterable[HandedStandIn]) -> None:
        """Go on with what the program before had sent ahead."""
        preparation = Preparation(job, [], may_wait=True)
        self._new_stand_ins(job, preparation).take_back(handed)
        self.touch(job)

    def _note_ready(self, preparation: Preparation) -> None:
        """Nothing is waited for any more. Tried again while the journal cannot be written."""
        job = preparation.job
        stand_ins = self._stand_ins.get(job.id)
        if stand_ins is None:
            return  # stopped meanwhile
        if not self._is_marked(job):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._note_ready, preparation)
            return
        try:
            self._starter.release_stand_ins(preparation, stand_ins)
            self._terminals.begin(job)
            self._children.relays.note_started(job)
        except StartError as error:
            stand_ins.fail(error)
        except Exception as error:  # noqa: BLE001  (as in `start`)
            stand_ins.fail(_explained(job, error))

    def _note_over(self, job: ManagedJob, error: StartError | None) -> None:
        """All that went ahead has become the stages of its job, or one could not."""
        self._stand_ins.pop(job.id, None)
        self._note_spawned(job)
        if error is not None:
            self._fail(job, error)
        else:
            self._note_running(job)
        for stage in job.stages:
            self._children.catch_up(job, stage)

    def _is_marked(self, job: ManagedJob) -> bool:
        """Whether the journal knows that it is being started, without which nothing is: it would start again."""
        self._journal.mark_starting([job.id])
        return self._commits.soon()

    # ---- the end

    def end(self, job: ManagedJob) -> None:
        """The job has ended: close its stdin, and let go of what fed it and of what went ahead of it."""
        close_stdin(job)
        self._feeds.end(job)
        stand_ins = self._stand_ins.pop(job.id, None)
        started = () if stand_ins is None else stand_ins.give_up()
        if started:
            # Stopped between the starts of two stages: what runs is for the stop sequence.
            self._note_spawned(job)
            asyncio.get_running_loop().call_soon(self._note_half_started, job, started)

    def _note_half_started(self, job: ManagedJob, started: tuple[int, ...]) -> None:
        self._apply(job, StagesSpawned(**moment(), numbers=started))

    # ---- the children

    def _launch(self, preparation: Preparation) -> None:
        job = preparation.job
        self._starter.open_rest(preparation)
        try:
            self._starter.launch(preparation)
            self._terminals.begin(job)
            self._children.relays.note_started(job)
        finally:
            self._note_spawned(job)
        self._note_running(job)

    def _note_running(self, job: ManagedJob) -> None:
        self._apply(job, StagesSpawned(**moment()))
        if isinstance(job.spec.stdin, JobInput):
            self._begin_feed(job, job.spec.stdin)
        self._output_cap.watch_from_start(job)

    def _note_spawned(self, job: ManagedJob) -> None:
        rows = [
            StageStart(stage.number, leader.pid, leader.started) for stage, leader in leaders_of(job.stages)
        ]
        if rows:
            self._journal.stages_started(job.id, rows, datetime.now(UTC))
        for stage in job.stages:
            self._children.watch(job, stage)
        self._let_go_of_command(job)

    @staticmethod
    def _let_go_of_command(job: ManagedJob) -> None:
        if job.shown.is_cut:
            job.use(with_short_argv(job.spec))

    def _fail(self, job: ManagedJob, error: StartError) -> None:
        self._let_go_of_command(job)
        close_stdin(job)
        failed = StartFailed(
            **moment(), stage=error.stage, status=error.status, message=str(error), spawned=error.spawned
        )
        self._apply(job, failed)
        self.note_failed(job)

    def _begin_feed(self, job: ManagedJob, source: JobInput) -> None:
        writer, run_of(job).stdin_writer = run_of(job).stdin_writer, None
        if writer is not None:
            self._feeds.begin(job, Feed(int(source.job), writer))


def _explained(job: ManagedJob, error: Exception) -> StartError:
    """What was lacking; anything else is a fault of ours."""
    is_known = resource_errors.is_shortage(error)
    what = f"the daemon failed at starting it: {type(error).__name__}: {error}"
    cause = CannotStartError(resource_errors.explanation(error) if is_known else what, 125)
    return StartError(None, cause, spawned_stages(job))


def close_stdin(job: ManagedJob) -> None:
    """Close our ends of its stdin."""
    for descriptor in (run_of(job).stdin_descriptor, run_of(job).stdin_writer):
        if descriptor is not None:
            os.close(descriptor)
    run_of(job).stdin_descriptor = run_of(job).stdin_writer = None

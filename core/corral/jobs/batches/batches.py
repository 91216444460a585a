"""Batches: taken on, fed with inputs, and asked for the next job whenever one may start."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field, structs

from corral.batch.batch_files import LETTER_OF, BatchFiles, InputRecord
from corral.batch.batch_job import StoredInputs, spec_of_input, template_of
from corral.batch.batch_rows import batch_origin, newest_batch
from corral.batch.template import without_marks
from corral.jobs.acceptance import Acceptance
from corral.jobs.batches import kept_output
from corral.jobs.batches.batch_ends import BatchEnds
from corral.jobs.batches.hold_back import why_not_now
from corral.jobs.batches.joblog import open_joblog
from corral.jobs.batches.stored_batches import (
    StoredBatch,
    stored_run,
    unended_batches,
)
from corral.jobs.end_waiters import Waiters
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_batch import ManagedBatch
from corral.jobs.managed_job import ManagedJob
from corral.jobs.queued_job import links_of
from corral.jobs.start_queue import StartQueue
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.unfinished_jobs import StoredJob
from corral.lifecycle.batch_check import check_batch
from corral.lifecycle.batch_life import BatchLife, BatchStop
from corral.lifecycle.scheduler import Scheduler
from corral.lifecycle.spec_check import check_surroundings
from corral.lifecycle.state import Ending
from corral.model.batch import BatchInput, BatchJobId, BatchSpec, not_running
from corral.model.errors import NotSoError, UnknownJobError, UsageError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.spec import JobSpec, Surroundings

MOST_INPUTS = 10_000
"""In one request: they are written in one pass of the loop, 10 ms."""
COPIED_A_PASS = 2_000
FEEDER_COMES_BACK_SECONDS = 10.0
"""After another daemon has taken the batch over: whoever gave the inputs connects again."""


class Batches(Struct, eq=False):
    """The batches of one home."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _commits: Commits
    _scheduler: Scheduler
    _queue: StartQueue
    _acceptance: Acceptance
    ends: BatchEnds
    executor: Callable[[], Executor]
    _drains: Waiters = field(default_factory=Waiters)
    """Those that wait for inputs to be taken."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    # ---- taken on

    async def accept(self, spec: BatchSpec, surroundings: Surroundings) -> int:
        """Take a batch on; its inputs follow. Its row is committed when this returns.

        Raises:
            UsageError, UnknownJobError, CannotStartError: nothing was accepted.
            JournalError: neither.
        """
        check_surroundings(surroundings)
        check_batch(spec)
        plain = without_marks(spec.job.pipeline)
        job = self._acceptance.checked(structs.replace(spec.job, pipeline=plain))
        spec = structs.replace(spec, job=structs.replace(job, pipeline=spec.job.pipeline))
        template = template_of(spec)
        fixed = [
            stage.argv[0]
            for number, stage in enumerate(plain.stages, 1)
            if template.is_fixed(number) and all(name != "PATH" for name, _ in stage.assignments)
        ]
        self.executor().check(surroundings, fixed)
        joblog = None if spec.joblog is None else open_joblog(spec.joblog, is_resumed=spec.resume)
        created = datetime.now(UTC)
        batch_id = self._journal.add_batch(spec, surroundings, created)
        try:
            await self._commits.done()
        finally:
            if not self._journal.take_back([batch_id]):
                stored = StoredBatch(
                    id=batch_id,
                    spec=spec,
                    surroundings=surroundings,
                    created=created,
                    life=BatchLife(jobs=spec.jobs),
                )
                self._begin(stored).joblog = joblog
        return batch_id

    def _begin(self, stored: StoredBatch) -> ManagedBatch:
        batch = ManagedBatch(
            id=stored.id,
            spec=stored.spec,
            surroundings=stored.surroundings,
            created=stored.created,
            template=template_of(stored.spec),
            files=BatchFiles(self._home, stored.id, is_writer=True),
            life=stored.life,
            hidden=stored.hidden,
        )
        if stored.spec.resume and not stored.life.has_all_inputs:
            batch.succeeded_before = self._succeeded_before(batch)
        self._table.add_batch(batch)
        links = links_of(stored.spec.job)
        after = self._acceptance.dependencies(links)
        self._scheduler.add(batch.id, after=after, source=lambda: self.take(batch))
        self._table.note_changed(batch.id)
        self._queue.wake()
        return batch

    # ---- inputs

    def feed(self, batch_id: int, before: int, inputs: Sequence[BatchInput], *, is_last: bool) -> int:
        """Further inputs, after `before` others; those of them that are here already are left out. How many there are then.

        Raises:
            NotSoError: the batch takes no more.
            UsageError: some before these are missing.
        """
        batch = self._taking(batch_id)
        known = batch.total + batch.life.left_out
        if before > known:
            raise UsageError(f"inputs {known + 1} to {before} of batch {batch_id} have not come")
        new = inputs[known - before :]
        if batch.succeeded_before is not None:
            new = self._without_succeeded(batch, new)
        batch.total = batch.files.add_inputs(new, batch.total)
        if is_last:
            self.note_last_input(batch)
        self._go_on(batch)
        return batch.total

    def _taking(self, batch_id: int) -> ManagedBatch:
        batch = self._table.batches.get(batch_id)
        if batch is None or batch.life.stop is not None or batch.life.has_all_inputs:
            raise NotSoError(f"batch {batch_id} takes no more inputs")
        return batch

    def _without_succeeded(self, batch: ManagedBatch, inputs: Sequence[BatchInput]) -> list[BatchInput]:
        done, left = batch.succeeded_before or Counter(), []
        for each in inputs:
            if done[each.text] > 0:
                done[each.text] -= 1
                batch.life.left_out += 1
            else:
                left.append(each)
        self._journal.batch_changed(batch.id, batch.life)
        return left

    def _succeeded_before(self, batch: ManagedBatch) -> Counter[str]:
        """With what the newest batch of the same command, or of the same name, has succeeded."""
        name, found = batch.name, Counter[str]()
        earlier = newest_batch(self._journal, name=name, template=batch.spec.template, before=batch.id)
        if earlier is None or earlier in self._table.batches:
            return found
        files = BatchFiles(self._home, earlier)
        try:
            for number in files.numbers_in(LETTER_OF["succeeded"]):
                found[files.input(number).text] += 1
        finally:
            files.close()
        return found

    def note_last_input(self, batch: ManagedBatch, *, is_early: bool = False) -> None:
        """No more inputs come. `is_early`: whoever gave them went away before the last."""
        batch.life.has_all_inputs, batch.life.ended_early = True, is_early
        batch.feeder = batch.succeeded_before = None
        self._journal.batch_changed(batch.id, batch.life)

    def client_left(self, client: object) -> None:
        """A client has disconnected: what it has given is run."""
        for batch in [each for each in self._table.batches.values() if each.feeder is client]:
            self.note_last_input(batch, is_early=True)
            self._go_on(batch)

    async def until_few_wait(self, batch_id: int, most: int) -> None:
        """Return once no more than so many inputs of it wait for their turn, or it has ended."""
        while (batch := self._table.batches.get(batch_id)) is not None and batch.queued_count > most:
            await self._drains.add(batch_id)

    # ---- the next job

    def take(self, batch: ManagedBatch) -> int | None:
        """The next job of it that is to start now; None where none may."""
        while batch.has_room:
            now = time.monotonic()
            held_back = why_not_now(batch.spec, batch.last_start, now) if batch.queued_count else None
            if held_back is not None:
                batch.held_back = held_back[0]
                self._ask_again_in(batch, held_back[1])
                return None
            batch.held_back = None
            number = batch.take_number(time.time())
            if number is None:
                self._wait_for_retry(batch)
                return None
            self._drains.release(batch.id)
            batch.last_start = now
            if (job_id := self._begin_job(batch, number, now)) is not None:
                return job_id
        return None

    def _begin_job(self, batch: ManagedBatch, number: int, now: float) -> int | None:
        if batch.life.state == "queued":
            batch.life.state, batch.life.started = "running", datetime.now(UTC)
            self._journal.batch_changed(batch.id, batch.life)
        batch.rate.note_start(now)
        try:
            job = batch.begin(number, self._journal.take_run())
        except UsageError as error:
            self.ends.cannot_begin(batch, number, str(error))
            self._loop.call_soon(self.ends.settle, batch)
            return None
        self._table.add(job)
        return job.id

    def claim(self, job_id: BatchJobId) -> None:
        """Note that it is being started. Raises OSError."""
        batch = self._table.batches[job_id.batch]
        batch.claim(job_id.number)
        if batch.spare_folders:
            kept_output.give(batch.spare_folders.pop(), self._home, job_id)

    def claim_all(self) -> None:
        """Of all whose turn has come, for a daemon that hands over."""
        for batch in self._table.batches.values():
            for number in batch.under_way:
                batch.claim(number)

    def _wait_for_retry(self, batch: ManagedBatch) -> None:
        if batch.retries:
            self._ask_again_in(batch, max(0.0, batch.retries[0][0] - time.time()))

    def _ask_again_in(self, batch: ManagedBatch, seconds: float) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        batch.timer = self._loop.call_later(seconds + 0.001, self._go_on, batch)

    def go_on(self, batch: ManagedBatch) -> None:
        """There may be jobs to start."""
        self._scheduler.ask_again(batch.id)
        self._queue.wake()

    def _go_on(self, batch: ManagedBatch) -> None:
        self.ends.settle(batch)

    def set_jobs(self, batch_id: int, jobs: int) -> str:
        """So many run at a time from now on; what was done, in words. Raises NotSoError, UsageError."""
        batch = self.running(batch_id)
        if jobs < 1:
            raise UsageError(f"{jobs} jobs at a time: at least 1")
        batch.life.jobs = jobs
        self._journal.batch_changed(batch.id, batch.life)
        self._go_on(batch)
        return f"batch {batch_id}: {jobs} at a time"

    def running(self, batch_id: int) -> ManagedBatch:
        """Raises NotSoError where it is no batch that goes on."""
        batch = self._table.batches.get(batch_id)
        if batch is None:
            raise NotSoError(f"{batch_id} is no batch that goes on")
        return batch

    def fail(self, batch_id: int, message: str) -> None:
        """A job that it waited for has not succeeded: it never begins."""
        batch = self._table.batches[batch_id]
        batch.skip_rest()
        self.ends.end(batch, Ending("failed", 125, None, message))

    # ---- found again

    def job_id(self, batch_id: int, number: int) -> BatchJobId:
        """The id of the job of an input: of its run, where it is under way. Raises UnknownJobError."""
        batch = self._table.batches.get(batch_id)
        if batch is not None and number in batch.under_way:
            found = batch.under_way[number].job.id
            assert isinstance(found, BatchJobId)
            return found
        left = next(
            (
                each
                for each in self._table.started
                if isinstance(each, BatchJobId) and each.is_of(batch_id, number)
            ),
            None,
        )
        if left is not None:
            return left
        total = self._total(batch_id)
        if total is None:
            raise UnknownJobError(f"job {batch_id} is no batch, so there is no job {batch_id}.{number}")
        if not 1 <= number <= total:
            inputs = "1 input" if total == 1 else f"{total} inputs"
            raise UnknownJobError(f"no job {batch_id}.{number}: batch {batch_id} has {inputs}")
        return not_running(batch_id, number)

    def _total(self, batch_id: int) -> int | None:
        batch = self._table.batches.get(batch_id)
        if batch is not None:
            return batch.total
        if batch_origin(self._journal, batch_id) is None:
            return None
        try:
            files = BatchFiles(self._home, batch_id)
        except FileNotFoundError:
            return 0
        try:
            return files.total
        finally:
            files.close()

    def origin(self, batch_id: int) -> tuple[BatchSpec, Surroundings]:
        """What a batch was started with. Raises NotSoError."""
        batch = self._table.batches.get(batch_id)
        if batch is not None:
            return batch.spec, batch.surroundings
        found = batch_origin(self._journal, batch_id)
        if found is None:
            raise NotSoError(
                f"what batch {batch_id} was started with is not known: start it with corral each"
            )
        return found

    def files(self, batch_id: int) -> BatchFiles:
        """To be closed by the caller. Raises NotSoError."""
        try:
            return BatchFiles(self._home, batch_id)
        except OSError as error:
            raise NotSoError(f"the inputs of batch {batch_id} cannot be read: {error.strerror}") from None

    def origin_of_job(self, job_id: BatchJobId) -> tuple[JobSpec, Surroundings]:
        """What a job of a batch is or was started with. Raises NotSoError."""
        spec, surroundings = self.origin(job_id.batch)
        files = self.files(job_id.batch)
        try:
            record = files.record(job_id.number)
            return spec_of_input(spec, template_of(spec), files, job_id.number, record), surroundings
        finally:
            files.close()

    def stored_jobs(self, batch_id: int, numbers: Iterable[int]) -> list[Job]:
        """Jobs of it that are not under way. Raises NotSoError."""
        spec, surroundings = self.origin(batch_id)
        files = self.files(batch_id)
        try:
            created = (
                self._table.created(batch_id) if batch_id in self._table.batches else self._created(batch_id)
            )
            stored = StoredInputs(batch_id, spec, surroundings.cwd, created, files)
            return [stored.job(number) for number in numbers]
        finally:
            files.close()

    def _created(self, batch_id: int) -> datetime:
        return (self._table.ended.get(batch_id) or self._journal.job(batch_id)).created

    # ---- after another daemon

    def take_over(self, stored: StoredBatch) -> ManagedBatch:
        """A batch that another daemon had. What was under way of it is for `ManagedBatch.recount` to tell."""
        batch = self._begin(stored)
        if stored.spec.joblog is not None:
            batch.joblog = open_joblog(stored.spec.joblog, is_resumed=True)
        if not stored.life.has_all_inputs:
            self._loop.call_later(FEEDER_COMES_BACK_SECONDS, self._note_no_feeder, batch)
        return batch

    def _note_no_feeder(self, batch: ManagedBatch) -> None:
        if batch.feeder is None and not batch.life.has_all_inputs and batch.id in self._table.batches:
            self.note_last_input(batch, is_early=True)
            self._go_on(batch)

    def stored_run(self, batch: ManagedBatch, number: int, record: InputRecord) -> StoredJob:
        """What another daemon had begun of it."""
        spec = batch.spec_of(number, record)
        job_id = BatchJobId(record.run, batch.id, number)
        return stored_run(self._journal, job_id, spec, batch.surroundings, batch.created)

    def take_back(self) -> dict[int, StoredJob]:
        """From the program before this one in the same process: the batches, and by its run what was started of them."""
        found = {}
        for stored in unended_batches(self._journal):
            batch = self.take_over(stored)
            for number, record in batch.recount():
                found[record.run] = self.stored_run(batch, number, record)
        return found

    def adopt(self, job: ManagedJob) -> None:
        """A job that another daemon had begun."""
        assert isinstance(job.id, BatchJobId)
        batch = self._table.batches[job.id.batch]
        batch.adopt(job.id.number, batch.files.record(job.id.number), job)

    def find_run(self, run: int) -> BatchJobId | None:
        """The job whose last attempt was that run. Reads the records of all batches."""
        for name in os.listdir(self._home.jobs):
            if not os.path.exists(f"{self._home.jobs}/{name}/records"):
                continue
            files = self.files(int(name))
            try:
                number = files.number_of_run(run)
            finally:
                files.close()
            if number is not None:
                return BatchJobId(run, int(name), number)
        return None

    def stop(self, batch: ManagedBatch, reason: str) -> None:
        """Start no more of it; what runs is for the caller to end."""
        status = 130 if reason.endswith("by Ctrl-C") else 143
        if batch.life.stop is None or batch.life.stop.is_halt:
            self.ends.give_up(batch, BatchStop(reason, exit_status=status))
        self._drains.release(batch.id)

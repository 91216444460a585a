"""What the engine holds of a batch that has not ended: how far it is, and which of its jobs are under way."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct, field, structs

from corral.batch.batch_files import (
    CLAIMED,
    FAILED_LETTERS,
    LETTER_OF,
    QUEUED,
    RETRYING,
    SKIPPED,
    BatchFiles,
    InputRecord,
)
from corral.batch.batch_job import attempt_of, spec_of_input
from corral.batch.statistics import KEPT_DURATIONS, Durations, Failures, Rate
from corral.batch.template import Template
from corral.jobs.managed_job import ManagedJob, new_job
from corral.lifecycle.batch_life import BatchLife
from corral.model.batch import Attempt, BatchJobId, BatchJobInput, BatchProgress, BatchSpec
from corral.model.reports import StopReport
from corral.model.spec import JobSpec, Surroundings

LONGEST_RETRY_DELAY = 300.0
_ENDS = (*LETTER_OF.values(), SKIPPED)
_BEGUN = b"".join((*LETTER_OF.values(), CLAIMED, RETRYING))


class UnderWay(Struct):
    """A job whose turn has come and that has not ended, and what is noted of its input."""

    job: ManagedJob
    record: InputRecord


class ManagedBatch(Struct, eq=False, kw_only=True):
    """One batch that has not ended."""

    id: int
    spec: BatchSpec
    surroundings: Surroundings
    created: datetime
    template: Template
    files: BatchFiles
    life: BatchLife
    hidden: bool = False
    total: int = 0
    """Inputs that have come."""
    next_number: int = 1
    """Of the first input that was never taken."""
    skipped_ahead: set[int] = field(default_factory=set)
    """Of those that follow, the ones that are never to be started."""
    ends: dict[bytes, int] = field(default_factory=dict)
    """How many of its jobs ended in which state."""
    retries: list[tuple[float, int]] = field(default_factory=list)
    """A heap: when (seconds since the epoch) which input is tried again."""
    retried: int = 0
    under_way: dict[int, UnderWay] = field(default_factory=dict)
    """By the number of the input."""
    free_slots: list[int] = field(default_factory=list)
    """A heap of those up to `slots` that nobody has."""
    slots: int = 0
    durations: Durations = field(default_factory=Durations)
    rate: Rate = field(default_factory=Rate)
    failures: Failures = field(default_factory=Failures)
    cpu_seconds: float = 0.0
    """Of all that have ended, as the next three are."""
    peak_memory: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    last_start: float = 0.0
    """Monotonic seconds."""
    held_back: str | None = None
    """Why none starts although there is room, in words."""
    timer: asyncio.TimerHandle | None = None
    """Until there may be a reason to ask for jobs again."""
    joblog: int | None = None
    """Descriptor of the file that is told of each end."""
    spare_folders: list[str] = field(default_factory=list)
    """Of jobs that have ended, with empty files for the output of others."""
    stop_reports: list[StopReport] = field(default_factory=list)
    """On those that were ended with it."""
    feeder: object = None
    """The client that gives the inputs."""
    succeeded_before: Counter[str] | None = None
    """With `resume`: inputs that are to be left out, and how often."""

    @property
    def name(self) -> str | None:
        return self.spec.job.name

    @property
    def title(self) -> str:
        return self.name or self.spec.template

    def is_unended(self, number: int) -> bool:
        """Whether the job of that input runs, or still may."""
        if number in self.under_way or any(number == each for _, each in self.retries):
            return True
        return self.next_number <= number <= self.total and number not in self.skipped_ahead

    def adopt(self, number: int, record: InputRecord, job: ManagedJob) -> None:
        """A job that another daemon was starting, or ran."""
        job.batch_input = self._given(number, record, self.files.entry(record)[0].attempts)
        self.under_way[number] = UnderWay(job, record)
        self.slots = max(self.slots, record.slot)
        used = {each.record.slot for each in self.under_way.values()}
        self.free_slots = [slot for slot in range(1, self.slots + 1) if slot not in used]

    def _given(self, number: int, record: InputRecord, before: tuple[Attempt, ...]) -> BatchJobInput:
        return BatchJobInput(
            text=self.files.input(number, record).text,
            slot=record.slot,
            retries=self.spec.retries,
            retry_delay=self.spec.retry_delay,
            attempt=record.attempt,
            attempts=before,
        )

    # ---- counts

    @property
    def queued_count(self) -> int:
        return self.total - self.next_number + 1 - len(self.skipped_ahead) + len(self.retries)

    @property
    def failed_count(self) -> int:
        return sum(self.ends.get(bytes((letter,)), 0) for letter in FAILED_LETTERS)

    @property
    def ended_count(self) -> int:
        """How many have run, and ended for good."""
        return sum(count for state, count in self.ends.items() if state != SKIPPED)

    @property
    def skipped_count(self) -> int:
        return self.ends.get(SKIPPED, 0) + len(self.skipped_ahead)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is under way, or will be."""
        if self.under_way:
            return False
        return self.life.stop is not None or (self.life.has_all_inputs and not self.queued_count)

    def progress(self, now: float) -> BatchProgress:
        """As of `now` (monotonic seconds)."""
        per_second, seconds_left = self.rate.per_second(now), None
        if per_second and self.life.has_all_inputs and not self.is_over:
            seconds_left = round((self.queued_count + len(self.under_way)) / per_second, 1)
        return BatchProgress(
            total=self.total if self.life.has_all_inputs else None,
            queued=self.queued_count,
            running=len(self.under_way),
            succeeded=self.ends.get(LETTER_OF["succeeded"], 0),
            failed=self.failed_count,
            stopped=self.ends.get(LETTER_OF["stopped"], 0),
            skipped=self.skipped_count,
            retried=self.retried,
            per_second=None if per_second is None else round(per_second, 3),
            seconds_left=seconds_left,
            jobs_at_a_time=self.life.jobs,
        )

    def stragglers(self, now: float) -> list[ManagedJob]:
        """Jobs that have run much longer than most, longest first."""
        ages = [(each.job.life.elapsed(now) or 0.0, number) for number, each in self.under_way.items()]
        late = sorted((age, number) for age, number in ages if self.durations.is_straggling(age))
        return [self.under_way[number].job for _, number in reversed(late)]

    # ---- the next job

    @property
    def has_room(self) -> bool:
        is_going_on = self.life.stop is None and self.life.state in ("queued", "running")
        return is_going_on and len(self.under_way) < self.life.jobs

    def take_number(self, now: float) -> int | None:
        """The next input to be started, of those to be tried again first; None where there is none at `now` (since the epoch)."""
        if self.retries and self.retries[0][0] <= now:
            return heapq.heappop(self.retries)[1]
        while self.next_number <= self.total:
            number = self.next_number
            self.next_number += 1
            if number not in self.skipped_ahead:
                return number
            self.skipped_ahead.remove(number)
            self._count(SKIPPED)
        return None

    def begin(self, number: int, run: int) -> ManagedJob:
        """The job of an input whose turn has come, on its way to be started as that run."""
        before = self.files.record(number)
        slot = heapq.heappop(self.free_slots) if self.free_slots else self._new_slot()
        record = before._replace(run=run, slot=slot, attempt=before.attempt + 1, started=0.0)
        job = self.job_of(BatchJobId(run, self.id, number), record)
        job.batch_input = self._given(number, record, self.attempts(before))
        self.under_way[number] = UnderWay(job, record)
        return job

    def _new_slot(self) -> int:
        self.slots += 1
        return self.slots

    def attempts(self, record: InputRecord) -> tuple[Attempt, ...]:
        """All attempts that have ended, the last of which the record tells of."""
        if not record.attempt:
            return ()
        entry, _ = self.files.entry(record)
        return (*entry.attempts, attempt_of(record, entry.reason))

    def job_of(self, job_id: BatchJobId, record: InputRecord) -> ManagedJob:
        return new_job(job_id, self.spec_of(job_id.number, record), self.surroundings, self.created)

    def spec_of(self, number: int, record: InputRecord) -> JobSpec:
        """The specification of one of its jobs. Raises UsageError where its input does not fit into the command."""
        spec = spec_of_input(self.spec, self.template, self.files, number, record)
        limit = self.time_limit
        return spec if limit is None else structs.replace(spec, timeout=limit)

    @property
    def time_limit(self) -> float | None:
        """Of each job, where it follows from how long the others took."""
        percent = self.spec.timeout_percent
        return None if percent is None else self.durations.share_of_median(percent)

    def claim(self, number: int) -> None:
        """Note that it is being started, before its first process exists. Once is enough."""
        mine = self.under_way[number]
        if mine.record.started:
            return
        mine.record = mine.record._replace(
            started=time.time(), ended=0.0, exit_status=-1, signal=0, entry_bytes=0
        )
        self.files.write(number, mine.record, CLAIMED)

    # ---- ends

    def end(self, number: int, record: InputRecord, state: bytes) -> None:
        """The job of an input has ended, for good or to be tried again."""
        self.files.write(number, record, state)
        heapq.heappush(self.free_slots, self.under_way.pop(number).record.slot)
        if state == RETRYING:
            self.retried += 1
            self.retry_later(number, record)
        else:
            self._count(state)

    def fail_unbegun(self, number: int, record: InputRecord) -> None:
        """An input that was taken makes no command."""
        self.files.write(number, record, LETTER_OF["failed"])
        self._count(LETTER_OF["failed"])

    def lose(self, number: int, record: InputRecord) -> None:
        """Nobody can tell what became of a job that another daemon had begun."""
        self.files.write(number, record, LETTER_OF["lost"])
        self._count(LETTER_OF["lost"])

    def retry_later(self, number: int, record: InputRecord) -> None:
        delay = min(self.spec.retry_delay * 2.0 ** min(record.attempt - 1, 60), LONGEST_RETRY_DELAY)
        heapq.heappush(self.retries, (record.ended + delay, number))

    def skip(self, number: int) -> bool:
        """Never start that input. Whether it was still waiting."""
        if number >= self.next_number and number not in self.skipped_ahead:
            self.skipped_ahead.add(number)
        elif any(number == waiting for _, waiting in self.retries):
            self.retries = [each for each in self.retries if each[1] != number]
            heapq.heapify(self.retries)
            self._count(SKIPPED)
        else:
            return False
        self.files.set_state(number, SKIPPED)
        return True

    def skip_rest(self) -> None:
        """Start no more."""
        self.ends[SKIPPED] = self.skipped_count + self.queued_count
        never_taken = self.total - self.next_number + 1
        if never_taken > 0:
            self.files.set_state(self.next_number, SKIPPED * never_taken)
        for _, number in self.retries:
            self.files.set_state(number, SKIPPED)
        self.skipped_ahead, self.retries, self.next_number = set(), [], self.total + 1

    def _count(self, state: bytes) -> None:
        self.ends[state] = self.ends.get(state, 0) + 1

    # ---- after another daemon

    def recount(self) -> Iterator[tuple[int, InputRecord]]:
        """Work out from its files how far it is. Yields what that daemon was starting, or ran."""
        self.total = self.files.total
        counts = self.files.counts()
        self.ends = {state: counts[state] for state in _ENDS if counts.get(state)}
        self.next_number = 1 + max(self.files.numbers_in(_BEGUN), default=0)
        skipped = self.files.numbers_in(SKIPPED, after=self.next_number - 1)
        self.skipped_ahead = set(skipped)
        if self.skipped_ahead:
            self.ends[SKIPPED] -= len(self.skipped_ahead)
        self._recount_failures()
        self._recount_usage()
        # An input may have been taken by a daemon that died before it could note that.
        for number in self.files.numbers_in(QUEUED):
            if number < self.next_number:
                heapq.heappush(self.retries, (0.0, number))
        for number in self.files.numbers_in(RETRYING):
            self.retry_later(number, self.files.record(number))
        for number in self.files.numbers_in(CLAIMED):
            yield number, self.files.record(number)

    def _recount_usage(self) -> None:
        for record in self.files.records():
            self.cpu_seconds += record.cpu_seconds
            self.peak_memory = max(self.peak_memory, record.peak_memory)
            self.retried += max(0, record.attempt - 1)
        succeeded = deque(self.files.numbers_in(LETTER_OF["succeeded"]), KEPT_DURATIONS)
        for record in map(self.files.record, succeeded):
            self.durations.add(record.ended - record.started)

    def _recount_failures(self) -> None:
        for text in self.files.causes():
            self.failures.number_of(text)
        for number in self.files.numbers_in(FAILED_LETTERS):
            cause = self.files.record(number).cause
            if 0 < cause <= len(self.failures.causes):
                self.failures.note(cause, f"{self.id}.{number}")

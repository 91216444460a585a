"""A job of a batch that does not run, as its files tell: it is queued, has ended, or was never started."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from corral.batch.batch_files import CLAIMED, SKIPPED, STATE_OF, BatchFiles, Entry, InputRecord
from corral.batch.template import Template
from corral.commandline.parser import quote_pipeline
from corral.journal.rows import new_job, to_time
from corral.lifecycle.outcome import NEVER_STARTED
from corral.model.batch import Attempt, BatchSpec
from corral.model.job import Job, Stage
from corral.model.spec import JobSpec
from corral.model.units import signal_name


def template_of(spec: BatchSpec) -> Template:
    """Raises UsageError."""
    return Template(spec.job.pipeline, shell=spec.shell, replace=spec.replace, lines=spec.lines)


def spec_of_input(
    spec: BatchSpec, template: Template, files: BatchFiles, number: int, record: InputRecord
) -> JobSpec:
    """What the job of an input is started with. Raises UsageError where its input does not fit into the command."""
    pipeline = template.fill(files.input(number, record), number, record.slot)
    return structs.replace(
        spec.job, pipeline=pipeline, command=quote_pipeline(pipeline), name=None, after=(), instead_of=()
    )


def attempt_of(record: InputRecord, reason: str | None) -> Attempt:
    """The attempt that a record tells of."""
    return Attempt(
        number=record.attempt,
        started=to_time(record.started or None),
        ended=to_time(record.ended or None),
        exit_status=None if record.exit_status < 0 else record.exit_status,
        signal=signal_name(record.signal) if record.signal else None,
        reason=reason,
    )


class StoredInputs:
    """The inputs of one batch as jobs.

    Args:
        created: when the batch was.
    """

    def __init__(self, batch: int, spec: BatchSpec, cwd: str, created: datetime, files: BatchFiles) -> None:
        self._batch, self._spec, self._cwd, self._created, self._files = batch, spec, cwd, created, files
        self._template = template_of(spec)

    def job(self, number: int) -> Job:
        """Raises IndexError where there is no such input."""
        record, letter = self._files.record(number), self._files.state(number)
        spec = spec_of_input(self._spec, self._template, self._files, number, record)
        entry, _ = self._files.entry(record)
        job = new_job(f"{self._batch}.{number}", spec, self._cwd, self._created)
        job = structs.replace(
            job,
            batch=str(self._batch),
            input=self._files.input(number, record).text,
            retries=self._spec.retries,
            retry_delay=self._spec.retry_delay,
            attempt=max(1, record.attempt),
            attempts=entry.attempts,
        )
        if letter in STATE_OF:
            return self._ended(job, record, letter, entry)
        if letter == SKIPPED:
            return structs.replace(job, state="stopped", reason=NEVER_STARTED)
        if letter == CLAIMED:
            return structs.replace(job, state="running", started=to_time(record.started or None))
        tries = attempt_of(record, entry.reason) if record.attempt else None
        return job if tries is None else structs.replace(job, attempts=(*entry.attempts, tries))

    @staticmethod
    def _ended(job: Job, record: InputRecord, letter: bytes, entry: Entry) -> Job:
        last = attempt_of(record, entry.reason)
        sizes, dropped = entry.sizes or (0,), entry.dropped or (0,)
        return structs.replace(
            job,
            state=STATE_OF[letter],
            started=last.started,
            ended=last.ended,
            elapsed=round(record.ended - record.started, 3) if record.started else None,
            exit_status=last.exit_status,
            signal=last.signal,
            reason=last.reason,
            cpu_seconds=round(record.cpu_seconds, 3) if record.started else None,
            peak_memory_bytes=record.peak_memory or None,
            stdout_bytes=sizes[0],
            stderr_bytes=sum(sizes[1:]),
            stdout_dropped_bytes=dropped[0],
            stderr_dropped_bytes=sum(dropped[1:]),
            stages=tuple(_ended_stages(job, record, entry)),
        )


def _ended_stages(job: Job, record: InputRecord, entry: Entry) -> Iterator[Stage]:
    if not record.started:
        yield from job.stages
        return
    only = (
        None if record.exit_status < 0 else record.exit_status,
        signal_name(record.signal) if record.signal else None,
    )
    ends = entry.stages or (only,)
    for stage, (status, signal) in zip(job.stages, ends, strict=False):
        has_succeeded = status == 0 or signal == "PIPE"
        yield structs.replace(
            stage,
            state="succeeded" if has_succeeded else "failed",
            started=to_time(record.started),
            ended=to_time(record.ended),
            exit_status=status,
            signal=signal,
        )

"""What `show` says of a batch, and of a job as one of a batch."""

from __future__ import annotations

from collections.abc import Iterator

from corral.model.batch import Attempt
from corral.model.job import Job
from corral.model.reports import Detail
from corral_tui.text import numbers
from corral_tui.text.batch_progress import progress_text
from corral_tui.text.lines import FAILURE, HEADING, StyledLine
from corral_tui.text.phrases import moment
from corral_tui.text.terminal_output import visible


def batch_facts(detail: Detail) -> Iterator[tuple[str, str]]:
    """Counts, rate, time left and the slowest of a batch; the input and the attempts of a job in one."""
    job = detail.job
    if job.batch_progress is not None:
        yield "inputs", progress_text(job.batch_progress, with_rate=True)
        yield "at a time", str(job.batch_progress.jobs_at_a_time)
        if detail.slowest:
            yield (
                "slowest",
                ", ".join(f"{each} {numbers.duration(seconds)}" for each, seconds in detail.slowest),
            )
    if job.input is not None:
        yield "input", visible(job.input)
    if job.kind == "job" and (job.retries or job.attempts):
        yield "attempt", f"{job.attempt} of {job.retries + 1}"
    for before in job.attempts:
        yield "before", _attempt(before)


def _attempt(attempt: Attempt) -> str:
    started = "" if attempt.started is None else f"{moment(attempt.started)}  "
    status = "" if attempt.exit_status is None else f", exit status {attempt.exit_status}"
    return f"{started}attempt {attempt.number}: {visible(attempt.reason or 'failed')}{status}"


def failure_lines(job: Job) -> Iterator[StyledLine]:
    """What failed of a batch, by cause."""
    if not job.failures:
        return
    yield StyledLine()
    yield StyledLine("FAILURES", HEADING)
    width = max(len(str(group.count)) for group in job.failures)
    for group in job.failures:
        more = ", …" if group.count > len(group.ids) else ""
        yield StyledLine(
            f"  {group.count:>{width}}  {visible(group.cause)}  ({', '.join(group.ids)}{more})", FAILURE
        )

"""Sentences about lost output: truncated by the job's own program, or not written to a full disk. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from corral.model.job import Job
from corral_tui.text import numbers
from corral_tui.text.phrases import moment


def truncated_by_stream(job: Job) -> dict[int, int]:
    """The least number of bytes lost from each truncated stream: 0 is stdout, then stderr by stage."""
    found = {0: job.stdout_truncated_bytes}
    found |= {stage.number: stage.stderr_truncated_bytes for stage in job.stages}
    return {stream: lost for stream, lost in found.items() if lost}


def truncation_sentences(job: Job, streams: Collection[int] | None = None) -> Iterator[str]:
    """One for each of these streams (default: all) that lost something."""
    for stream, lost in truncated_by_stream(job).items():
        if streams is None or stream in streams:
            amount = f"{lost} bytes ({numbers.size(lost)})" if lost >= 1000 else numbers.counted(lost, "byte")
            at = "" if job.output_truncated is None else f" at {job.output_truncated.astimezone():%H:%M:%S}"
            yield (
                f"job {job.id}: its {stream_name(job, stream)} was made shorter{at}{_by_itself(job, stream)}: "
                f"at least {amount} of it {'is' if lost == 1 else 'are'} lost{advice(job)}"
            )


def stream_name(job: Job, stream: int) -> str:
    """`stdout`, `stderr`, `stderr of stage 2`."""
    if stream == 0:
        return "stdout"
    return f"stderr of stage {stream}" if len(job.stages) > 1 else "stderr"


def advice(job: Job) -> str:
    return "; run --output pipe keeps all" if _writes_itself(job) else ""


def _by_itself(job: Job, stream: int) -> str:
    return f", as > /dev/{'stderr' if stream else 'stdout'} does" if _writes_itself(job) else ""


def _writes_itself(job: Job) -> bool:
    return job.output == "file" and not job.pty


def disk_full_sentence(job: Job) -> str | None:
    """For a job whose disk was full. Output to a pty is not lost before the job ends: it waits for room."""
    if job.disk_full is None or (job.pty and not job.is_ended):
        return None
    at = moment(job.disk_full)
    return f"job {job.id}: the disk of its output was full at {at}; what it wrote then may be missing"


def truncated_in_short(job: Job) -> tuple[str, str]:
    """The same for all streams in a short and a shorter form; empty if nothing is lost."""
    if not job.truncated_bytes:
        return "", ""
    size = numbers.size(job.truncated_bytes)
    return f"at least {size} of output emptied by itself", f"{size}+ emptied"

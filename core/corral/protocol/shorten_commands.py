"""Shortening long commands in a list of jobs, so that it is quick to send and stays below the limit of a reply."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import structs

from corral.commandline.abbreviation import short_command
from corral.model.job import Job

MOST_TEXT = 24 << 20
"""Bytes of commands and arguments in one list; everything else about 20,000 jobs takes about as much."""
LEAST_TEXT = 512
"""Bytes that each job may have in any case; most need no more."""

_encoder = msgspec.json.Encoder()


def fit(jobs: Sequence[Job], most: int = MOST_TEXT) -> tuple[Job, ...]:
    """The jobs; where their commands and arguments together are too long, the longest are cut, and end in `…`."""
    sizes = [size_of(job) for job in jobs]
    share = share_of(sizes, most)
    return tuple(job if size <= share else cut_to(job, share) for job, size in zip(jobs, sizes, strict=True))


def share_of(sizes: Collection[int], most: int = MOST_TEXT) -> int:
    """The size limit of each, so that the total is at most `most`; smaller ones keep all of theirs."""
    if sum(sizes) <= most:
        return most
    left, count = most, len(sizes)
    for size in sorted(sizes):
        if size * count > left:
            break
        left -= size
        count -= 1
    return max(LEAST_TEXT, left // count)


def size_of(job: Job) -> int:
    """Bytes of its command and arguments, as JSON."""
    return len(_encoder.encode((job.command, [stage.argv for stage in job.stages])))


def cut_to(job: Job, share: int) -> Job:
    """With at most `share` bytes, half of them its command's and half of all its arguments."""
    told = short_command(job.command, [stage.argv for stage in job.stages], share // 2)
    if not told.is_cut:
        return job
    pairs = zip(job.stages, told.argvs, strict=True)
    stages = tuple(structs.replace(stage, argv=argv) for stage, argv in pairs)
    return structs.replace(job, command=told.command, stages=stages, cut=True)

"""What was observed of running jobs, kept for the next daemon now and then: peak memory, CPU of what ended, stillness."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from corral.manage import truncations
from corral.manage.census import Seen
from corral.manage.jobs import ManagedJob
from corral.manage.kept import Kept, Stillness
from corral.manage.stories import keep_now_and_then
from corral.manage.stories import recall as recall_story
from corral.observe.progress import MOVES_FOR, Progress

if TYPE_CHECKING:
    from corral.manage.manager import Manager

KEEP_TICKS = 10
"""Ticks between two times that this is written, for jobs of which it has changed."""
_WORTH_KEEPING = 1.02
"""How much a peak has to grow to be written again."""


_decoder = msgspec.json.Decoder(Kept)
_encoder = msgspec.json.Encoder()


def keep_observed(manager: Manager, *, is_last: bool = False) -> None:
    """Note what has changed, to be committed with the rest. `is_last`: this daemon looks no more."""
    now = time.monotonic()
    for job in manager.jobs.values():
        if job.progress is None or job.life.is_ended or (not is_last and _is_kept(job, job.progress)):
            continue
        keep_now_and_then(manager, job, is_last=is_last)
        streams = tuple(replace(stream, pieces=()) for stream in truncations.handed(job))
        still = _stillness(job, job.progress, now)
        kept = Kept(_peak(job), round(job.reaped_cpu_seconds, 3), still, streams, job.truncated)
        if kept != job.kept:
            job.kept = kept
            manager.journal.keep_usage(job.id, _encoder.encode(kept))


def _is_kept(job: ManagedJob, progress: Progress) -> bool:
    """Whether it has rested since this was written, so that there can be nothing new."""
    still = None if job.kept is None else job.kept.still
    if still is None or still.last_moved != progress.last_moved or job.story.has_news:
        return False
    life = job.story.life
    return life is None or not life.has_moved_since(job.story.kept_until)


def _peak(job: ManagedJob) -> int | None:
    before = None if job.kept is None else job.kept.peak_memory_bytes
    peak = job.peak_memory_bytes
    return before if before is not None and (peak or 0) < before * _WORTH_KEEPING else peak


def _stillness(job: ManagedJob, progress: Progress, now: float) -> Stillness | None:
    if progress.still_for(now) < MOVES_FOR or job.life.state != "running":
        return None
    cpu_ns = sum(max(0, member.cpu_ns) for member in job.run.members.values())
    output = job.output.stdout + job.output.stderr
    return Stillness(progress.last_moved, cpu_ns, output, tuple(sorted(job.run.members)))


def recall(manager: Manager, job: ManagedJob, seen: Sequence[Seen]) -> None:
    """Go on from what the daemon before has kept. `seen` are the job's processes now."""
    recall_story(manager, job)
    raw = manager.journal.usage(job.id)
    try:
        kept = Kept() if raw is None else _decoder.decode(raw)
    except msgspec.DecodeError:
        # A damaged row: nothing but these figures is lost.
        return
    job.peak_memory_bytes, job.reaped_cpu_seconds = kept.peak_memory_bytes, kept.reaped_cpu_seconds
    truncations.take_back(job, kept.streams)
    job.truncated = kept.truncated
    still = kept.still
    if still is None or still.last_moved > time.monotonic():
        return
    manager.monitor.set_members(job, seen)
    progress = Progress(still.last_moved)
    # Whatever ran meanwhile has used CPU, written or forked, and then the first look finds it otherwise.
    progress.observe(still.last_moved, still.cpu_ns, None, still.output_bytes, frozenset(still.pids))
    manager.monitor.go_on(job, progress)

"""Lists of jobs that fit into a line, however long the commands in them are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import structs

from corral.values.jobs import Job, Stage

MOST_TEXT = 24 << 20
"""Bytes of commands and arguments in one line; the rest of 20,000 jobs takes about as much."""
_FREE = 512
"""Bytes that nobody counts: of most jobs."""
CUT = "…"


def fitting(jobs: Sequence[Job], most: int = MOST_TEXT) -> tuple[Job, ...]:
    """The jobs; where their commands and arguments together are too long, the longest are cut, and end in `…`."""
    sizes = [size_of(job) for job in jobs]
    share = share_of(sizes, most)
    return tuple(job if size <= share else cut_to(job, share) for job, size in zip(jobs, sizes, strict=True))


def share_of(sizes: Collection[int], most: int = MOST_TEXT) -> int:
    """So much of each that all together are at most `most`, and nothing is taken from who needs less."""
    if sum(sizes) <= most:
        return most
    left, count = most, len(sizes)
    for size in sorted(sizes):
        if size * count > left:
            break
        left -= size
        count -= 1
    return max(_FREE, left // count)


def size_of(job: Job) -> int:
    """Bytes of its command and arguments, at most."""
    size = _bytes(job.command)
    for stage in job.stages:
        for word in stage.argv:
            size += _bytes(word)
    return size


def _bytes(text: str) -> int:
    """At most, as JSON: a control character is six."""
    if text.isascii():
        return len(text) if text.isprintable() else 6 * len(text)
    return (4 if text.isprintable() else 6) * len(text)


def cut_to(job: Job, share: int) -> Job:
    """With at most `share` bytes, half of them its command's and half of all its arguments."""
    stages: list[Stage] = []
    share //= 2
    left = share
    for stage in job.stages:
        words: list[str] = []
        for word in stage.argv:
            words.append(_head(word, left))
            left -= _bytes(words[-1])
            if words[-1] is not word:
                break
        stages.append(structs.replace(stage, argv=tuple(words)))
    return structs.replace(job, command=_head(job.command, share), stages=tuple(stages))


def _head(text: str, most: int) -> str:
    if _bytes(text) <= most:
        return text
    return text[: max(0, most // 6)] + CUT

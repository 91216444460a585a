"""What is said of the stage that holds up the rest of its pipeline, and what would make that one faster."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from corral.measure.stage_times import BOTTLENECK_LEAD, by_pipe_wait, pipe_wait_share
from corral.model.job import Job, Stage, StageTime
from corral.model.reports import Advice
from corral.model.units import quote

BUSY = 0.8
"""From this share of its time on a stage hardly waits for anything, and a faster program would help."""
LEAST_BLOCK = 64 << 10


class _Faster(NamedTuple):
    """A program that does the same on several cores: another one, or the same with an option."""

    program: str
    option: str | None
    has_it: re.Pattern[str]
    """An argument that says how many threads there are, or that it unpacks, which no number of them makes faster."""


_ON_ALL_CORES = {
    "gzip": _Faster("pigz", None, re.compile(r"-[a-z0-9]*[dlt]|--(decompress|uncompress|list|test)")),
    "bzip2": _Faster("lbzip2", None, re.compile(r"-[a-z0-9]*[dt]|--(decompress|test)")),
    "xz": _Faster(
        "xz", "-T0", re.compile(r"-[a-z0-9]*[dltT].*|--(decompress|uncompress|list|test|threads.*)")
    ),
    "zstd": _Faster(
        "zstd", "-T0", re.compile(r"-[a-z0-9]*[dltT].*|--(decompress|uncompress|list|test|threads.*)")
    ),
}


def in_words(stage: Stage, now: str | None) -> str:
    """What a stage does that holds up the rest: `runs 97 % of the time`. `now` is what it waits for, if no pipe of it."""
    time = stage.time
    if time is None:
        return now or "waits less for the others than they for it"
    if time.run >= max(time.other, pipe_wait_share(time)):
        return f"runs {time.run:.0%} of the time".replace("%", " %")
    if time.other >= pipe_wait_share(time) and now is not None and now != "is busy":
        return f"{now}, {time.other:.0%} of the time".replace("%", " %")
    shares = f"runs {time.run:.0%} of the time and waits {time.other:.0%} for something else than its pipes"
    return shares.replace("%", " %")


def stage_times(job: Job) -> tuple[StageTime | None, ...]:
    """What each stage spends its time on; nothing where nothing moves."""
    found = tuple(stage.time for stage in job.stages)
    return found if job.health == "active" and any(found) else ()


def evenly_slow(job: Job) -> tuple[Stage, ...]:
    """The two stages that are nearest to holding up the rest, where none does although there is work; else nothing."""
    shares = {stage.number: stage.time for stage in job.stages if stage.time is not None}
    first, *others = by_pipe_wait(shares) or [0]
    if job.bottleneck is not None or not others or pipe_wait_share(shares[first]) >= 1 - BOTTLENECK_LEAD:
        return ()
    return job.stages[first - 1], job.stages[others[0] - 1]


def advice(job: Job) -> tuple[Advice, ...]:
    """What would make the stage faster that holds up the rest; nothing for one that waits."""
    stage = next((stage for stage in job.stages if stage.number == job.bottleneck), None)
    if stage is None or stage.pid is None or not _is_busy(stage.time):
        return ()
    found = _on_all_cores(stage) or _in_larger_blocks(stage)
    return () if found is None else (found,)


def _on_all_cores(stage: Stage) -> Advice | None:
    faster = _ON_ALL_CORES.get(os.path.basename(stage.argv[0]))
    arguments = stage.argv[1:]
    if faster is None or stage.pid is None or any(faster.has_it.fullmatch(word) for word in arguments):
        return None
    if len(os.sched_getaffinity(0)) < 2 or not _is_beside(stage.pid, faster.program):
        return None
    words = [faster.program, *([faster.option] if faster.option else []), *arguments]
    return Advice("do the same on all cores", quote(words))


def _in_larger_blocks(stage: Stage) -> Advice | None:
    arguments = stage.argv[1:]
    if os.path.basename(stage.argv[0]) != "dd" or _block(arguments) >= LEAST_BLOCK:
        return None
    kept = [word for word in arguments if not re.match("(i|o|c)?bs=", word)]
    return Advice("move larger blocks", quote(["dd", "bs=1M", *kept]))


def _is_busy(time: StageTime | None) -> bool:
    return time is not None and time.run >= BUSY


def _is_beside(pid: int, program: str) -> bool:
    """Whether it is installed in the folder of the program that runs: no other is asked, which may never answer."""
    try:
        return os.access(os.path.join(os.path.dirname(os.readlink(f"/proc/{pid}/exe")), program), os.X_OK)
    except OSError:
        return False


def _block(arguments: Sequence[str]) -> int:
    """Bytes that dd(1) moves at a time; large where its number has a form that is not known here."""
    units = {"": 1, "c": 1, "w": 2, "b": 512, "k": 1 << 10, "K": 1 << 10}
    sizes = [found for word in arguments if (found := re.fullmatch(r"(?:[io]?bs)=(\d+)([a-zA-Z]*)", word))]
    if any(word.startswith(("bs=", "ibs=", "obs=")) for word in arguments) and not sizes:
        return LEAST_BLOCK
    return min((int(size[1]) * units.get(size[2], LEAST_BLOCK) for size in sizes), default=512)

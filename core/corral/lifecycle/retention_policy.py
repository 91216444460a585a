"""Which ended jobs are removed. Pure: jobs, rules and the time in, a choice out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from corral.model.retention import CleanRules, Rule

FRESH_SECONDS = 3600.0
"""A job that ended more recently than this is not taken for number or size …"""
FRESH_FACTOR = 2
"""… until so many times the number or size is reached: a batch of any length stays bounded."""

JUMP_SECONDS = 3600.0
"""How long a clock that was set ahead must stay ahead before jobs age by it."""
DRIFT_SECONDS = 60.0
"""A difference up to this is not a jump."""


class EndedJob(NamedTuple):
    """`ended`: seconds since the epoch; `size`: bytes of disk that its output takes."""

    id: int
    ended: float
    size: int


class Chosen(NamedTuple):
    """What is removed, oldest first, with the rule that takes it; and what a rule would take if it were not needed."""

    going: dict[int, Rule]
    spared: tuple[int, ...]


def choose(
    jobs: Iterable[EndedJob], rules: CleanRules, *, now: float, needed: Collection[int] = ()
) -> Chosen:
    """What the rules take of all ended jobs. A job is removed if any rule takes it, under the first one that does.

    The size rule never takes the newest job, nor one without output: removing that would free nothing.
    """
    oldest_first = _by_age(jobs)
    taken: dict[int, Rule] = dict.fromkeys(_too_old(oldest_first, rules.older_than, now), "age")
    for job in _too_many(oldest_first, rules.keep, now):
        taken.setdefault(job, "number")
    staying = [job for job in oldest_first if job.id not in taken or job.id in needed]
    for job in _too_large(staying, rules.max_size, now, needed):
        taken.setdefault(job, "size")
    return _without(needed, oldest_first, taken)


def choose_asked(
    jobs: Iterable[EndedJob],
    *,
    older_than: float | None,
    keep: int | None,
    now: float,
    needed: Collection[int] = (),
) -> Chosen:
    """What a user asks for: all but the newest `keep`, or all that ended longer ago; with both given, what is both.

    Nothing where neither is given.
    """
    if older_than is None and keep is None:
        return Chosen({}, ())
    oldest_first = _by_age(jobs)
    surplus = len(oldest_first) - (keep or 0)
    taken: dict[int, Rule] = {
        job.id: "asked"
        for rank, job in enumerate(oldest_first)
        if rank < surplus and (older_than is None or now - job.ended > older_than)
    }
    return _without(needed, oldest_first, taken)


def _by_age(jobs: Iterable[EndedJob]) -> list[EndedJob]:
    return sorted(jobs, key=lambda job: (job.ended, job.id))


def _without(needed: Collection[int], oldest_first: list[EndedJob], taken: dict[int, Rule]) -> Chosen:
    order = [job.id for job in oldest_first if job.id in taken]
    return Chosen(
        {job: taken[job] for job in order if job not in needed}, tuple(job for job in order if job in needed)
    )


def _too_old(oldest_first: list[EndedJob], older_than: float | None, now: float) -> Iterable[int]:
    if older_than is None:
        return []
    return [job.id for job in oldest_first if now - job.ended > older_than]


def _too_many(oldest_first: list[EndedJob], keep: int | None, now: float) -> Iterable[int]:
    if keep is None:
        return []
    count = len(oldest_first)
    ranked = ((count - index, job) for index, job in enumerate(oldest_first))
    return [job.id for rank, job in ranked if rank > (keep * FRESH_FACTOR if _is_fresh(job, now) else keep)]


def _too_large(
    staying: list[EndedJob], max_size: int | None, now: float, needed: Collection[int]
) -> Iterable[int]:
    if max_size is None:
        return []
    total = sum(job.size for job in staying)
    taken = []
    for job in staying[:-1]:
        if job.size and total > (max_size * FRESH_FACTOR if _is_fresh(job, now) else max_size):
            taken.append(job.id)
            total -= 0 if job.id in needed else job.size
    return taken


def _is_fresh(job: EndedJob, now: float) -> bool:
    """Also true of a job whose end lies in the future, because the clock was set back."""
    return now - job.ended < FRESH_SECONDS


class PatientClock:
    """The time by which jobs age: the wall clock, except that a jump ahead counts only after an hour.

    Otherwise a clock that is wrong for a minute, until NTP corrects it, would delete a month of history.
    `steady`, seconds of a clock that never jumps, counts the sleep of the machine too (CLOCK_BOOTTIME).
    """

    def __init__(self, wall: float, steady: float) -> None:
        self._offset = wall - steady
        self._ahead_since: float | None = None

    def now(self, wall: float, steady: float) -> float:
        """Seconds since the epoch, never more than `wall`."""
        offset = wall - steady
        is_ahead = offset > self._offset + DRIFT_SECONDS
        if is_ahead and self._ahead_since is None:
            self._ahead_since = steady
        if not is_ahead or steady - (self._ahead_since or 0.0) >= JUMP_SECONDS:
            self._offset, self._ahead_since = offset, None
        return steady + min(offset, self._offset)

"""The rules by which old jobs go: how long, how many and how much is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

DAY = 86400.0
Rule = Literal["age", "number", "size", "asked"]
"""What takes a job: one of the rules, or that somebody asked for it."""


class CleanRules(Struct, frozen=True):
    """Each is off where it is None."""

    older_than: float | None = 30 * DAY
    """Seconds since its end after which a job goes."""
    keep: int | None = 10_000
    """How many ended jobs are kept, the newest."""
    max_size: int | None = 20 << 30
    """Bytes of disk that the output of all ended jobs together may take."""


NO_RULES = CleanRules(older_than=None, keep=None, max_size=None)


class RuleShare(Struct, frozen=True):
    """How many jobs one rule takes, and the bytes of disk of their output."""

    rule: Rule
    jobs: int
    size: int
    limit: float | None = None
    """Of the rule, as in `CleanRules`; None of what somebody asked for."""


class OldJob(Struct, frozen=True):
    """An ended job that goes. `ended`: seconds since the epoch; `size`: bytes of disk of its output."""

    id: int
    name: str | None
    command: str
    state: str
    ended: float
    size: int
    rule: Rule


class StrayFolder(Struct, frozen=True):
    """A folder of output that belongs to no job of the journal. `touched`: seconds since the epoch."""

    name: str
    touched: float
    size: int


class CleanReport(Struct, frozen=True, kw_only=True):
    """What cleaning takes, or has taken. Sizes are bytes of disk."""

    shares: tuple[RuleShare, ...] = ()
    """One of each rule that is on, also where it takes nothing."""
    jobs: tuple[OldJob, ...] = ()
    """Oldest first; of a plan only."""
    folders: tuple[StrayFolder, ...] = ()
    spared: dict[str, int] = {}
    """How many jobs a rule would take, but are needed: by the reason."""
    ended: int = 0
    """How many ended jobs there are, or were before."""
    size: int = 0
    """What their output takes, or took."""
    errors: tuple[str, ...] = ()
    """A line for each job or folder that could not be deleted; it is still there."""
    notices: tuple[str, ...] = ()
    """A line for each thing in the user's settings that was not understood."""


def as_ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as (first, last) of each unbroken row of them: ten thousand ids in one short line."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)

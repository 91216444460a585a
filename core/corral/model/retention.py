"""The rules by which old jobs are removed: how long, how many and how much is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

DAY = 86400.0
Rule = Literal["age", "number", "size", "asked"]
"""Why a job is removed: by one of the rules, or because a user asked."""


class CleanRules(Struct, frozen=True):
    """A rule that is None is off."""

    older_than: float | None = 30 * DAY
    """Seconds since its end after which a job is removed."""
    keep: int | None = 10_000
    """How many ended jobs are kept, the newest."""
    max_size: int | None = 20 << 30
    """Bytes of disk that the output of all ended jobs together may take."""


NO_RULES = CleanRules(older_than=None, keep=None, max_size=None)


class RuleShare(Struct, frozen=True):
    """How many jobs one rule removes, and the disk space of their output in bytes."""

    rule: Rule
    jobs: int
    size: int
    limit: float | None = None
    """Of the rule, as in `CleanRules`; None for `asked`."""


class OldJob(Struct, frozen=True):
    """An ended job that is removed. `ended`: seconds since the epoch; `size`: disk space of its output in bytes."""

    id: int
    name: str | None
    command: str
    state: str
    ended: float
    size: int
    rule: Rule


class StrayFolder(Struct, frozen=True):
    """An output folder without a job in the journal. `touched`: seconds since the epoch."""

    name: str
    touched: float
    size: int


class CleanReport(Struct, frozen=True, kw_only=True):
    """What cleaning would remove, or has removed. Sizes are disk space in bytes."""

    shares: tuple[RuleShare, ...] = ()
    """One for each rule that is on, even if it removes nothing."""
    jobs: tuple[OldJob, ...] = ()
    """Oldest first; only in a plan."""
    folders: tuple[StrayFolder, ...] = ()
    spared: dict[str, int] = {}
    """How many jobs a rule would remove but are needed, by reason."""
    ended: int = 0
    """How many ended jobs there are, or were before cleaning."""
    size: int = 0
    """The disk space of their output, before cleaning."""
    errors: tuple[str, ...] = ()
    """A line for each job or folder that could not be deleted."""
    notices: tuple[str, ...] = ()
    """A line for each invalid setting of the user."""


def as_ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as (first, last) of each run of consecutive ones: keeps ten thousand ids in one short line."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)

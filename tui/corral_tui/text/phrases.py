"""Phrases used by several verbs. Imports nothing heavy, since `ps` uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral_tui.text import numbers

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from datetime import datetime

_MAX_IDS, _MAX_NAMED = 8, 20
"""At most so many are named in one sentence."""


def moment(at: datetime) -> str:
    """`2026-11-22 14:02:11`, by the clock of the user."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def named(names: Sequence[str]) -> str:
    """`1 build, 2 train and 7 more`."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def reason_text(state: str, reason: str | None) -> str | None:
    """Why a job ended, for people; in JSON the reason of a time limit is a bare duration."""
    return f"after {reason}" if state == "timed_out" and reason else reason


def delay_text(seconds: float) -> str:
    """`at once`, `after 0.4s`, `after 2m10s`."""
    return "at once" if seconds < 0.05 else f"after {numbers.duration(seconds)}"


def leftovers_line(leftovers: Mapping[str, int]) -> str:
    """`2 processes of ended job 13 live on: corral stop 13`; `leftovers` has the number of processes by job id."""
    count = sum(leftovers.values())
    jobs = "job" if len(leftovers) == 1 else "jobs"
    return (
        f"{numbers.counted(count, 'process')} of ended {jobs} {_listed(leftovers, ', ')} {live_on(count)}: "
        f"corral stop {_listed(leftovers, ' ')}"
    )


def live_on(count: int) -> str:
    return "lives on" if count == 1 else "live on"


def ends_them(count: int) -> str:
    return "ends it" if count == 1 else "ends them"


def _listed(ids: Mapping[str, int], between: str) -> str:
    more = f"{between}…" if len(ids) > _MAX_IDS else ""
    return between.join(list(ids)[:_MAX_IDS]) + more

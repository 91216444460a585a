"""Where a batch is in its life: what a next daemon must know besides its files, and how it ends."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from corral.lifecycle.state import Ending
from corral.model.batch import HaltRule
from corral.model.job import State

MOST_FAILED_TOLD = 101
"""The exit status tells no more: what is above means other things to a shell."""
INTERRUPTED = "by Ctrl-C"
_ENOUGH_ENDED = 3
"""Before a percentage of them means something."""


class BatchStop(Struct, frozen=True):
    """Why a batch starts no more."""

    reason: str
    is_halt: bool = False
    """By its own rule; else somebody has stopped it."""
    exit_status: int = 143
    """Where it is not a halt: 130 by Ctrl-C."""


class BatchLife(Struct, kw_only=True):
    """What a next daemon must know of a batch that has not ended, besides its files."""

    state: State = "queued"
    started: datetime | None = None
    has_all_inputs: bool = False
    ended_early: bool = False
    """Who gave the inputs went away before the last."""
    left_out: int = 0
    """Inputs that `resume` left out."""
    jobs: int = 1
    """How many run at a time, as of now."""
    stop: BatchStop | None = None


def halt_reason(rule: HaltRule, failed: int, ended: int) -> str | None:
    """Why a batch of which so many jobs have failed, of so many that ended, is given up; None where it is not."""
    if rule.when == "never" or not failed:
        return None
    if rule.is_percent:
        if ended < _ENOUGH_ENDED or failed * 100 < rule.fail * ended:
            return None
        return f"halted: {failed} of {ended} failed, and {rule.fail:g} % are too many"
    if failed < rule.fail:
        return None
    return f"halted: {failed} failed" if failed > 1 else "halted: 1 failed"


def batch_ending(life: BatchLife, failed: int, total: int, unsuccessful: int) -> Ending:
    """How a batch ends of which nothing runs any more. `unsuccessful` are all that did not succeed."""
    early = "its input ended early" if life.ended_early else None
    if life.stop is not None:
        status = min(max(failed, 1), MOST_FAILED_TOLD) if life.stop.is_halt else life.stop.exit_status
        return Ending("stopped", status, None, life.stop.reason)
    if unsuccessful:
        reason = f"{unsuccessful} of {total} {'failed' if failed == unsuccessful else 'did not succeed'}"
        return Ending(
            "failed", min(unsuccessful, MOST_FAILED_TOLD), None, f"{reason}; {early}" if early else reason
        )
    return Ending("succeeded", 0, None, early)

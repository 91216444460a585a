"""Words for a job and its stages: what it is called, how it ended. For display only."""

from __future__ import annotations

import os

from corral.commandline.program_name import program_words
from corral.model.job import Job, Stage
from corral_tui.dashboard.paint.lines import clean


def words_of_stage(stage: Stage) -> tuple[str, ...]:
    """The stage by its name, and the arguments of the program that does the work."""
    return (stage.name, *program_words(stage.argv)[1:])


def command_words(command: str) -> str:
    """A process's command line without the path of its program, which says little and takes much room."""
    program, blank, rest = command.partition(" ")
    return clean(f"{os.path.basename(program) or program}{blank}{rest}")


def title(job: Job) -> str:
    """Its name, fit for the screen."""
    return clean(job.title)


def end_reason(job: Job, *, is_behind_status: bool = False) -> str | None:
    """Why it ended as it did, in words. Behind the words of its status those are not said again."""
    if job.was_ended_as_stuck and is_behind_status:
        return clean((job.reason or "").partition(": ")[2])
    if job.state != "timed_out":
        return clean(job.reason) if job.reason else None
    if job.reason is None:
        return "its time was over"
    # Of a time limit that was reached the reason is but the limit.
    words = f"after {clean(job.reason)}" if job.reason[:1].isdigit() else clean(job.reason)
    return words if is_behind_status or not words.startswith("after ") else f"timed out {words}"

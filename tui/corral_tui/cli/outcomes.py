"""What a request came to: the lines that say so, and the exit status."""

from __future__ import annotations

from collections.abc import Sequence

from corral.service.protocol import Answers, ListJobs, Outcome
from corral.values.errors import CannotStartError
from corral.values.jobs import Job
from corral_tui.cli import connect
from corral_tui.cli.errors import CORRAL_FAILED, complain
from corral_tui.cli.terminal_output import is_terminal, print_json, say, visible


def carry_out(request: Answers[Outcome]) -> int:
    """Ask the daemon; 1 where a job was not touched. What was done is said only to a person."""
    import sys

    with connect.daemon() as client:
        outcome = client.call(request)
    if is_terminal(sys.stdout):
        for line in outcome.done:
            say(visible(line))
    for line in outcome.errors:
        complain(line)
    return 1 if outcome.errors else 0


_SHELL_WORDS = frozenset(
    (
        ".",
        "alias",
        "cd",
        "exec",
        "exit",
        "export",
        "for",
        "if",
        "read",
        "set",
        "source",
        "trap",
        "ulimit",
        "umask",
    )
)
"""What people start a line with although no program has this name."""


def could_not_start(caller: connect.Caller, error: CannotStartError, *, as_json: bool) -> int:
    """Say why nothing runs; with `as_json` print the failed job. 127 not found, 126 not executable, else 125."""
    if as_json and error.job is not None:
        print_json(caller.call(ListJobs(ids=(error.job,))).jobs[0])
    complain(f"{error}{what_to_do(str(error))}")
    return error.status


def what_to_do(message: str) -> str:
    """For a program that was not found; every other message says it itself. The job's own reason stays as it is."""
    _, is_missing, name = message.partition("no such program: ")
    if not is_missing or name == "the name is empty":
        return ""
    if " " in name:
        return "; a command line is one word, and options stand before it: corral run -w 'a | b'"
    if "/" in name:
        return "; is the path right?"
    if name in _SHELL_WORDS:
        return f"; {name} is a word of the shell: corral run --shell 'LINE'"
    return "; is it installed, and on PATH?"


def exit_status_of(jobs: Sequence[Job]) -> int:
    """The status of the first job that did not succeed; 125 where nobody knows it."""
    for job in jobs:
        if job.state != "succeeded":
            return CORRAL_FAILED if job.exit_status is None else job.exit_status
    return 0

"""What a request came to: the lines that say so, advice after a failed start, and the exit status."""

from __future__ import annotations

from collections.abc import Sequence

from corral.model.errors import CannotStartError
from corral.model.job import Job
from corral.protocol.requests import ListJobs, Outcome, Request
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import CORRAL_FAILED, complain
from corral_tui.text.terminal_output import is_terminal, print_json, say, visible


def send_and_report(request: Request[Outcome]) -> int:
    """Send a request; return 1 if it failed for a job. Successes are printed only on a terminal."""
    import sys

    with connect.daemon() as client:
        outcome = client.call(request)
    if is_terminal(sys.stdout):
        for line in outcome.done:
            say(visible(line))
    complain(*outcome.errors)
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
"""Shell builtins that are often typed as the first word of a command."""


def report_start_failure(caller: connect.Backend, error: CannotStartError, *, as_json: bool) -> int:
    """Report why the job could not start; with `as_json` print it. Returns 127 not found, 126 not executable, else 125."""
    if as_json and error.job is not None:
        print_json(caller.call(ListJobs(ids=(error.job,))).jobs[0])
    complain(f"{error}{start_failure_advice(str(error))}")
    return error.status


def start_failure_advice(message: str) -> str:
    """Advice to append to the message that a program was not found; empty for other messages."""
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
    """The status of the first job that did not succeed, 125 if it is unknown; 0 if all succeeded."""
    for job in jobs:
        if job.state != "succeeded":
            return CORRAL_FAILED if job.exit_status is None else job.exit_status
    return 0

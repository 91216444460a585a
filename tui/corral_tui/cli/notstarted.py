"""What is said of a job that could not start."""

from __future__ import annotations

from corral.service.protocol import ListJobs
from corral.values.errors import CannotStartError
from corral_tui.cli import reach
from corral_tui.cli.guard import complain
from corral_tui.cli.jsontext import print_json

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


def could_not_start(caller: reach.Caller, error: CannotStartError, *, as_json: bool) -> int:
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

"""Words for a job and its stages: what it is called, how it ended, which program a wrapper starts. For display only."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from corral.values.jobs import Job, Stage
from corral_tui.dashboard.lines import clean

_VALUED: dict[str, frozenset[str]] = {
    "nice": frozenset({"-n", "--adjustment"}),
    "ionice": frozenset({"-c", "-n", "--class", "--classdata"}),
    "env": frozenset({"-u", "-C", "--unset", "--chdir"}),
    "nohup": frozenset(),
    "setsid": frozenset(),
    "timeout": frozenset({"-k", "-s", "--kill-after", "--signal"}),
    "stdbuf": frozenset({"-i", "-o", "-e", "--input", "--output", "--error"}),
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "--user", "--group", "--chdir"}),
}
"""Programs that start another one: their options whose value is a word of its own (each one's man page)."""

_BEFORE_PROGRAM = {"timeout": 1}
"""Words between the options and the program: of timeout(1), how long."""

_PYTHON = re.compile(r"python[0-9.]*$")
_PYTHON_VALUED = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_MOST_WRAPPERS = 5


def program_words(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv of what really runs: behind `nice`, `env` and their like, a Python module or script by its name.

    Where the argv does not make it plain it is given as it is, its program without the path.
    """
    words = tuple(argv)
    for _ in range(_MOST_WRAPPERS):
        inner = _wrapped(words)
        if not inner:
            break
        words = inner
    if not words:
        return ()
    name = os.path.basename(words[0]) or words[0]
    return (_of_python(words[1:]) if _PYTHON.match(name) else None) or (name, *words[1:])


def _wrapped(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv that a wrapper starts; empty where this is no wrapper, or does not say what it starts."""
    wrapper = os.path.basename(argv[0]) if argv else ""
    if wrapper not in _VALUED:
        return ()
    rest = _behind_options(argv[1:], _VALUED[wrapper])[_BEFORE_PROGRAM.get(wrapper, 0) :]
    while wrapper in ("env", "sudo") and rest and "=" in rest[0]:
        rest = rest[1:]
    return () if rest and rest[0].startswith("-") else rest


def _behind_options(words: Sequence[str], valued: frozenset[str]) -> tuple[str, ...]:
    place = 0
    while place < len(words) and words[place].startswith("-"):
        if words[place] == "--":
            place += 1
            break
        place += 2 if words[place] in valued else 1
    return tuple(words[place:])


def _of_python(arguments: Sequence[str]) -> tuple[str, ...] | None:
    """`-m http.server 8080` is `server 8080`, `/srv/train.py --fast` is `train --fast`; None where neither is named."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        if arguments[place] == "-m" and place + 1 < len(arguments):
            module = arguments[place + 1].rpartition(".")[2]
            return (module, *arguments[place + 2 :]) if module else None
        if arguments[place] in ("-c", "-"):
            return None
        place += 2 if arguments[place] in _PYTHON_VALUED else 1
    rest = tuple(arguments[place:])
    script = os.path.basename(rest[0]).removesuffix(".py") if rest else ""
    return (script, *rest[1:]) if script else None


def stage_argv(stage: Stage) -> tuple[str, ...]:
    """`program_words` of a stage; what it is called where its argv names no other program."""
    words = program_words(stage.argv)
    if not words or words[1:] == tuple(stage.argv[1:]):
        return (stage.name, *stage.argv[1:])
    return words


def stage_name(stage: Stage) -> str:
    """What a drawing calls a stage."""
    return clean(stage_argv(stage)[0])


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

"""`--env` and `--env-file`: changes to the environment that a job gets from us."""

from __future__ import annotations

import os
from collections.abc import Sequence

from corral.values.errors import UsageError
from corral.values.wire import native


def job_environment(files: Sequence[str], settings: Sequence[str]) -> dict[str, str] | None:
    """Our environment with the variables of `files`, then `settings` (`K=V`, or `K` to take ours); None: unchanged.

    Raises UsageError for a line that is no assignment and for a `K` that is not set. Values appear in no error.
    """
    if not files and not settings:
        return None
    variables = dict(os.environ)
    for path in files:
        variables.update(_read_file(path))
    for setting in settings:
        name, sign, value = setting.partition("=")
        _check(name, "--env")
        if not sign and name not in os.environ:
            raise UsageError(f"--env {name}: it is not set here; write {name}=VALUE")
        variables[name] = value if sign else os.environ[name]
    return variables


def _read_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}; name a file that can be read") from None
    variables: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        assignment = line.strip().removeprefix("export ").lstrip()
        if not assignment or assignment.startswith("#"):
            continue
        name, sign, value = assignment.partition("=")
        place = f"--env-file {path}, line {number}"
        if not sign:
            raise UsageError(f"{place}: no NAME=VALUE; a comment begins with #")
        _check(name, place)
        variables[native(name)] = native(_unquoted(value))
    return variables


def _unquoted(value: str) -> str:
    """`value` without the quotes around the whole of it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _check(name: str, place: str) -> None:
    """No name is shown: where the line is wrong it may be a piece of a secret."""
    if not name or "\0" in name:
        raise UsageError(f"{place}: the name of the variable is missing; write NAME=VALUE")
    if not name.isprintable() or any(letter.isspace() for letter in name):
        raise UsageError(f"{place}: what stands before the = is no name for a variable; write NAME=VALUE")

"""The environment of a new job: ours, with what `--env` and `--env-file` say."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from corral.client.environment import own_environment
from corral.model.errors import UsageError
from corral.model.wire import native

_MAX_FILE_LENGTH = 8 << 20
"""Characters read from a file: more than any environment may have, but not endless like /dev/zero."""


def job_environment(files: Sequence[str], settings: Sequence[str]) -> dict[str, str] | None:
    """Our environment with the variables of `files`, then `settings` (`K=V`, or `K` to take ours); None: unchanged.

    Raises UsageError for a line that is no assignment and for a `K` that is not set. Values appear in no error.
    """
    if not files and not settings:
        return None
    own = own_environment()
    variables = dict(own)
    for path in files:
        variables.update(_read_file(path, own))
    for count, setting in enumerate(settings, start=1):
        name, sign, value = setting.partition("=")
        # A value in place of a name, as in -e "$TOKEN", must not end up in a log through an error.
        where = "--env" if len(settings) == 1 else f"--env, number {count}"
        variables[name] = _value(name, value if sign else None, own, where)
    return variables


def _read_file(path: str, own: Mapping[str, str]) -> dict[str, str]:
    """The assignments of a file, in the format of python-dotenv; nothing in it is expanded."""
    from dotenv.parser import parse_stream

    try:
        # utf-8-sig strips the byte order mark of Windows editors.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read(_MAX_FILE_LENGTH)
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}; name a file that can be read") from None
    if len(text) == _MAX_FILE_LENGTH:
        raise UsageError(
            f"--env-file {path}: longer than any environment may be; name a file of NAME=VALUE lines"
        )
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        whole, line = binding.original
        line += whole[: len(whole) - len(whole.lstrip())].count("\n")
        where = f"--env-file {path}, line {line}"
        if binding.error:
            raise UsageError(f"{where}: not NAME=VALUE, or a quote is not closed; a comment begins with #")
        if binding.key is not None:
            name, value = native(binding.key), binding.value
            variables[name] = _value(name, None if value is None else native(value), own, where)
    return variables


def _value(name: str, value: str | None, own: Mapping[str, str], where: str) -> str:
    """The value, or ours if none is given. Errors do not show the name, which may be part of a secret."""
    if not name or "\0" in name:
        raise UsageError(f"{where}: the name of the variable is missing; write NAME=VALUE")
    if not name.isprintable() or any(letter.isspace() for letter in name):
        raise UsageError(f"{where}: the text before = is not a variable name; write NAME=VALUE")
    if value is None:
        if name not in own:
            raise UsageError(f"{where}: no variable of this name is set here; write NAME=VALUE")
        return own[name]
    if "\0" in value:
        raise UsageError(f"{where}: the value contains a NUL, which a variable cannot hold; remove it")
    return value

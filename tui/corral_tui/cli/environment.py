"""`--env` and `--env-file`: changes to the environment that a job gets from us."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from corral.service.surroundings import own_environment
from corral.values.errors import UsageError
from corral.values.wire import native

_MOST = 8 << 20
"""Characters of a file that are read: more than any environment may have, and an end to /dev/zero."""


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
        # A value given in a name's place, -e "$TOKEN", must not go into the log of whatever runs us.
        place = "--env" if len(settings) == 1 else f"--env, number {count}"
        variables[name] = _value(name, value if sign else None, own, place)
    return variables


def _read_file(path: str, own: Mapping[str, str]) -> dict[str, str]:
    """The assignments of a file, in the format of python-dotenv; nothing in it is expanded."""
    from dotenv.parser import parse_stream

    try:
        # utf-8-sig: without the byte order mark that Windows' editors put first.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read(_MOST)
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}; name a file that can be read") from None
    if len(text) == _MOST:
        raise UsageError(
            f"--env-file {path}: longer than any environment may be; name a file of NAME=VALUE lines"
        )
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        whole, line = binding.original
        line += whole[: len(whole) - len(whole.lstrip())].count("\n")
        place = f"--env-file {path}, line {line}"
        if binding.error:
            raise UsageError(f"{place}: no NAME=VALUE, or a quote without its end; a comment begins with #")
        if binding.key is not None:
            name, value = native(binding.key), binding.value
            variables[name] = _value(name, None if value is None else native(value), own, place)
    return variables


def _value(name: str, value: str | None, own: Mapping[str, str], place: str) -> str:
    """What a variable is set to: ours where no value is given. No name is shown: it may be a piece of a secret."""
    if not name or "\0" in name:
        raise UsageError(f"{place}: the name of the variable is missing; write NAME=VALUE")
    if not name.isprintable() or any(letter.isspace() for letter in name):
        raise UsageError(f"{place}: what stands before the = is no name for a variable; write NAME=VALUE")
    if value is None:
        if name not in own:
            raise UsageError(f"{place}: no variable of this name is set here; write NAME=VALUE")
        return own[name]
    if "\0" in value:
        raise UsageError(f"{place}: the value has a NUL in it, which no variable can hold; take it out")
    return value

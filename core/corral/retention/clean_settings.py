"""The engine's part of the user's settings file: the table `[clean]`.

An invalid file deletes nothing: whatever is invalid becomes a notice, and its rule is off. The rest of the file counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from corral.model.errors import CorralError, UsageError
from corral.model.retention import NO_RULES, CleanRules
from corral.model.units import parse_duration, parse_size
from corral.platform.files.settings_file import parse_settings, read_settings_file

TABLES = frozenset({"clean"})
"""Tables of the file that are the engine's; the dashboard has the keys above them."""
OFF = ("never", "none")


class CleanSettings(NamedTuple):
    """The rules, and one line for each invalid setting."""

    rules: CleanRules
    notices: tuple[str, ...] = ()


def read_clean_settings(path: str, content: bytes | None = None) -> CleanSettings:
    """The rules in the file at `path`, or in its content; the defaults if there is no such file or table. Never raises."""
    try:
        tables = read_settings_file(path) if content is None else parse_settings(content)
    except CorralError as problem:
        return unreadable_settings(path, str(problem))
    return clean_settings(tables.get("clean", {}), path)


def unreadable_settings(path: str, problem: str) -> CleanSettings:
    """For a file that cannot be read: every rule is off."""
    return CleanSettings(NO_RULES, (_nothing_goes(path, problem),))


def clean_settings(table: object, path: str) -> CleanSettings:
    """The rules of the table `[clean]`, already parsed."""
    if not isinstance(table, Mapping):
        return CleanSettings(NO_RULES, (_nothing_goes(path, "clean is a table: write [clean]"),))
    values: dict[str, Any] = {}
    notices = []
    for key, value in table.items():
        reader = _READERS.get(key)
        if reader is None:
            known = ", ".join(_READERS)
            notices.append(f"{path}: there is no setting {key!r} in [clean]; there are {known}")
            continue
        try:
            values[key] = None if value in OFF else reader(value)
        except ValueError as problem:
            values[key] = None
            notices.append(f"{path}: {key} in [clean]: {problem}; this rule cleans nothing until then")
    return CleanSettings(CleanRules(**values), tuple(notices))


def _nothing_goes(path: str, problem: str) -> str:
    return f"{path}: {problem}; no job is cleaned by rules until it can be read"


def _age(value: object) -> float:
    example = 'write a duration with its unit, such as "30d", or "never"'
    if not isinstance(value, str) or value.strip().replace(".", "").isdecimal():
        raise ValueError(example)
    return _positive(parse_duration, value, example)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError('write a number from 1 on, or "never"')
    return value


def _size(value: object) -> int:
    example = 'write a size with its unit, such as "20G", or "none"'
    if not isinstance(value, str) or value.strip().replace(".", "").isdecimal():
        raise ValueError(example)
    return int(_positive(parse_size, value, example))


def _positive(parse: Callable[[str], float], value: str, example: str) -> float:
    """A bare number could be seconds or days, and 0 would remove every job as it ends: both are refused."""
    try:
        amount = parse(value)
    except UsageError:
        raise ValueError(example) from None
    if amount <= 0:
        raise ValueError(example)
    return amount


_READERS: dict[str, Callable[[object], float]] = {"older_than": _age, "keep": _number, "max_size": _size}

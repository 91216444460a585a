"""Defaults for new jobs: the table `[run]` of the user's settings file.

For the command line and the dashboard's prompt. The library takes explicit arguments only: a program must not depend
on the settings of the user who runs it. What cannot be understood in the file becomes a notice, and the built-in
default applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

from corral.model.errors import CorralError, UsageError
from corral.model.spec import DEFAULT_STUCK_AFTER, OnStuck
from corral.model.units import parse_duration
from corral.platform.files.settings_file import read_settings_file

TABLE = "run"
DEFAULT_ON_STUCK: OnStuck = "mark"


class RunDefaults(NamedTuple):
    """Seconds without progress after which a job may be stuck, what happens then, and notices about the file."""

    stuck_after: float = DEFAULT_STUCK_AFTER
    on_stuck: OnStuck = DEFAULT_ON_STUCK
    notices: tuple[str, ...] = ()


BUILT_IN = RunDefaults()


def read_run_defaults(path: str | None = None) -> RunDefaults:
    """The defaults from the settings file; the built-in ones if there is no such file or table. Never raises."""
    if path is None:
        from corral.model.home import config_path

        path = config_path()
    try:
        return run_defaults(read_settings_file(path).get(TABLE, {}), path)
    except CorralError as problem:
        return _built_in(path, str(problem))


def run_defaults(table: object, path: str) -> RunDefaults:
    """The defaults of a parsed table `[run]`."""
    if not isinstance(table, Mapping):
        return _built_in(path, "run is a table: write [run]")
    found, notices = BUILT_IN, []
    for key, value in table.items():
        if key == "stuck_after":
            seconds = _seconds(value)
            if seconds is None:
                problem = f'write a duration, such as "5m"; until then it is {DEFAULT_STUCK_AFTER:g}s'
                notices.append(f"{path}: stuck_after in [run]: {problem}")
            else:
                found = found._replace(stuck_after=seconds)
        elif key == "on_stuck":
            if value in get_args(OnStuck):
                found = found._replace(on_stuck=value)
            else:
                notices.append(
                    f'{path}: on_stuck in [run]: write "mark" or "stop"; until then it is {DEFAULT_ON_STUCK}'
                )
        else:
            notices.append(f"{path}: there is no setting {key!r} in [run]; there are on_stuck, stuck_after")
    return found._replace(notices=tuple(notices))


def _seconds(value: object) -> float | None:
    """A bare number is seconds, as on the command line."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = parse_duration(str(value))
    except UsageError:
        return None
    return seconds if seconds > 0 else None


def _built_in(path: str, problem: str) -> RunDefaults:
    return RunDefaults(
        notices=(f"{path}: {problem}; the defaults of [run] are ignored until it can be read",)
    )

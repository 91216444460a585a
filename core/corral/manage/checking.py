"""What a specification has to be before a job is made of it: clients are programs, and programs have faults."""

from __future__ import annotations

from corral.system import mark
from corral.values.errors import UsageError
from corral.values.spec import Command, JobSpec, Redirection
from corral.values.units import check_name, parse_signal

LONGEST_SECONDS = 100 * 366 * 86400.0
"""A hundred years: beyond it the end of a duration is no date any more."""

LEAST_OUTPUT = 64 << 10
"""Holes are punched in whole blocks of the file system; below this a cap would mean little."""


def check_values(spec: JobSpec) -> None:
    """Raises UsageError."""
    stages = spec.pipeline.stages
    if not stages or not all(command.argv for command in stages):
        raise UsageError("nothing to run: the pipeline has a stage without a command")
    if len(stages) > mark.MAX_STAGES:
        raise UsageError(f"{len(stages)} stages: at most {mark.MAX_STAGES} are supported")
    if spec.pty or spec.on_stuck != "mark":
        raise UsageError("a terminal (pty) and on_stuck=stop are not supported by this version")
    if spec.name is not None:
        check_name(spec.name)
    parse_signal(spec.stop_signal)
    for what in ("timeout", "stop_grace", "stuck_after"):
        check_seconds(what, getattr(spec, what))
    if spec.max_output is not None and spec.max_output < LEAST_OUTPUT:
        raise UsageError(
            f"max_output of {spec.max_output} bytes: at least {LEAST_OUTPUT >> 10}K, or none to keep all"
        )
    for command in stages:
        _check_redirections(command)


def check_seconds(what: str, seconds: float | None) -> None:
    """Raises UsageError for a duration that is negative, or longer than any job lives."""
    if seconds is not None and not 0 <= seconds <= LONGEST_SECONDS:
        raise UsageError(f"{what} of {seconds:g} s: at least 0 and at most 100 years are possible")


def _check_redirections(command: Command) -> None:
    for redirection in command.redirections:
        if redirection.fd not in (0, 1, 2):
            raise UsageError(f"redirection of descriptor {redirection.fd}: 0, 1 and 2 are supported")
        if (redirection.path is None) != (redirection.mode == "merge") or _is_backwards(redirection):
            raise UsageError(f"redirection of descriptor {redirection.fd}: it makes no sense so")


def _is_backwards(redirection: Redirection) -> bool:
    return (redirection.fd == 0) != (redirection.mode == "read")

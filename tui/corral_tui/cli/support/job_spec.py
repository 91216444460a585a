"""From the options of a new job to its specification."""

from __future__ import annotations

from collections.abc import Callable

from corral.client.environment import surroundings
from corral.commandline.expansion import ExpansionContext
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.parser import parse, parse_argv, shell_pipeline
from corral.model.errors import OtherSurroundingsError, UsageError
from corral.model.spec import (
    DEFAULT_MAX_OUTPUT,
    DEFAULT_STOP_GRACE,
    DEFAULT_STOP_SIGNAL,
    JobSpec,
    Pipeline,
    Surroundings,
)
from corral.model.units import check_new_name, quote
from corral.model.wire import to_wire
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.job_environment import job_environment
from corral_tui.cli.support.job_options import NewJobOptions
from corral_tui.cli.support.options import KEEP_ALL
from corral_tui.settings.run_defaults import RunDefaults

ParseLine = Callable[[str, ExpansionContext], Pipeline]


def surroundings_of(options: NewJobOptions) -> Surroundings:
    """Ours, with the directory and the variables of the options. Raises UsageError."""
    environment = job_environment(options.environment_files, options.environment)
    return surroundings(environment=environment, cwd=options.cwd)


def job_spec(
    options: NewJobOptions, around: Surroundings, defaults: RunDefaults, *, parse_line: ParseLine = parse
) -> JobSpec:
    """The job; `defaults` apply where no option is given. Raises UsageError."""
    return JobSpec(
        pipeline=_pipeline(options, around, parse_line),
        command=command_of(options),
        name=None if options.name is None else check_new_name(options.name),
        timeout=_timeout(options.timeout),
        stop_signal=options.stop_signal or DEFAULT_STOP_SIGNAL,
        stop_grace=DEFAULT_STOP_GRACE if options.stop_grace is None else options.stop_grace,
        stuck_after=defaults.stuck_after if options.stuck_after is None else options.stuck_after,
        on_stuck=options.on_stuck or defaults.on_stuck,
        leftovers=options.leftovers or "leave",
        max_output=_max_output(options.max_output),
        after=options.after,
        origin="command_line",
    )


def command_of(options: NewJobOptions) -> str:
    """The command as it was typed."""
    words = tuple(map(to_wire, options.words))
    return words[0] if options.is_line else quote(words)


def _pipeline(options: NewJobOptions, around: Surroundings, parse_line: ParseLine) -> Pipeline:
    words = tuple(map(to_wire, options.words))
    if options.shell:
        if len(words) > 1:
            raise UsageError("--shell: takes one word, the whole line; put quotes around it")
        return shell_pipeline(words[0])
    return parse_line(words[0], expansion_context(around)) if options.is_line else parse_argv(words)


def _timeout(seconds: float | None) -> float | None:
    if seconds == 0:
        raise UsageError("--timeout: 0 leaves no time to run; leave it out for no limit")
    return seconds


def _max_output(size: int | None) -> int | None:
    if size is None:
        return DEFAULT_MAX_OUTPUT
    return None if size == KEEP_ALL else size


def despite_an_idle_daemon(start: Callable[[], int]) -> int:
    """What `start` returns. An idle daemon that another shell has started, and that can therefore not give the job what it
    would have in this one, is replaced."""
    try:
        return start()
    except OtherSurroundingsError:
        from corral.client.restart_daemon import replace_idle_daemon

        # If it is not idle, another client that was refused as we were may have replaced it before us.
        replace_idle_daemon(chosen_home())
        return start()

"""From what the prompt's fields say to a job: values and errors, no widgets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, cast, get_args

from corral.client.environment import own_directory
from corral.client.snapshot import Snapshot
from corral.commandline.abbreviation import ELLIPSIS, with_short_command
from corral.model.errors import UsageError
from corral.model.job import Job
from corral.model.spec import (
    DEFAULT_TERMINAL_SIZE,
    InteractiveInput,
    JobInput,
    JobSpec,
    NullInput,
    OnStuck,
    Pipeline,
    StdinSource,
)
from corral.model.units import check_new_name, parse_duration
from corral.model.wire import typed_to_wire
from corral_tui.dashboard.paint.lines import clean
from corral_tui.dashboard.prompt.prompt_text import JobOptions
from corral_tui.settings.run_defaults import BUILT_IN, RunDefaults
from corral_tui.text.numbers import cut_middle

NOW = "now"
NO_INPUT = "none"
OPEN_INPUT = "open"
LIVE, WITH_OUTPUT, WITHOUT_OUTPUT = "live", "with", "without"
MOST_CHOICES = 20
"""Jobs offered by a field; the newest."""


class Fields(NamedTuple):
    """The prompt's fields, as typed or chosen."""

    name: str = ""
    start: str = NOW
    stdin: str = NO_INPUT
    timeout: str = ""
    stuck_after: str = ""
    on_stuck: str = ""
    """Empty: as the settings have it."""
    chain: str | None = None
    """How it hangs on the job it is chained onto; None where it is not chained."""
    chain_onto: str | None = None
    with_shell: bool = False
    with_terminal: bool = False


class FieldError(UsageError):
    """A field that makes no sense; `field` is its id."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


def start_options(snapshot: Snapshot) -> list[tuple[str, str]]:
    """When it may start: now, or after a job that has not ended."""
    unended = [job for job in reversed(snapshot.jobs.values()) if not job.is_ended]
    return [(NOW, NOW), *((job.id, f"after {_called(job)}") for job in unended[:MOST_CHOICES])]


def stdin_options(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Where its input may come from."""
    jobs = list(reversed(snapshot.jobs.values()))[:MOST_CHOICES]
    fixed = [(NO_INPUT, "none"), (OPEN_INPUT, "what corral send gives")]
    return [*fixed, *((job.id, f"output of {_called(job)}") for job in jobs)]


def stuck_options(usual: OnStuck) -> list[tuple[str, str]]:
    """What happens to it once it is stuck, the usual first. Stopped, it keeps the diagnosis that was taken before."""
    if usual == "stop":
        return [("", "stop it"), ("mark", "mark it")]
    return [("", "mark it"), ("stop", "stop it")]


def _called(job: Job) -> str:
    return f"{job.id} {cut_middle(clean(job.title), 16)}"


def chain_options(job: Job | None, job_id: str) -> list[tuple[str, str]]:
    """The ways to hang on a job; one that has ended has its output, whatever came of it."""
    if job is not None and job.is_ended:
        return [(LIVE, "now, fed its output"), (WITHOUT_OUTPUT, f"once {job_id} succeeded, without it")]
    return [
        (LIVE, "now, fed live"),
        (WITH_OUTPUT, f"once {job_id} succeeded, with its output"),
        (WITHOUT_OUTPUT, f"once {job_id} succeeded, without it"),
    ]


def wanted_of(fields: Fields, directory: str) -> JobOptions:
    """The fields understood.

    Raises:
        FieldError: for the first that makes no sense.
        UsageError: for two that do not go together.
    """
    after, source = _dependency(fields)
    if fields.with_terminal and (source is not None or (fields.chain is None and fields.stdin != NO_INPUT)):
        raise UsageError("pty: a job with a terminal reads from it; choose no other stdin")
    return JobOptions(
        name=_name(fields.name),
        cwd=directory if directory != current_directory() else None,
        after=after,
        from_job=source,
        is_interactive=fields.stdin == OPEN_INPUT and fields.chain is None,
        timeout=_duration("timeout", fields.timeout),
        stuck_after=_duration("stuck", fields.stuck_after),
        on_stuck=cast("OnStuck", fields.on_stuck) if fields.on_stuck in get_args(OnStuck) else None,
        with_shell=fields.with_shell,
        with_terminal=fields.with_terminal,
    )


def _dependency(fields: Fields) -> tuple[str | None, str | None]:
    """The job it starts after, and the job whose output it reads."""
    if fields.chain is not None:
        after = None if fields.chain == LIVE else fields.chain_onto
        return after, None if fields.chain == WITHOUT_OUTPUT else fields.chain_onto
    source = None if fields.stdin in (NO_INPUT, OPEN_INPUT) else fields.stdin
    return None if fields.start == NOW else fields.start, source


def _name(text: str) -> str | None:
    if not text.strip():
        return None
    try:
        return check_new_name(text.strip())
    except UsageError as error:
        raise FieldError("name", str(error)) from None


def _duration(field: str, text: str) -> float | None:
    if text.strip() in ("", "none"):
        return None
    try:
        seconds = parse_duration(text)
    except UsageError as error:
        raise FieldError(field, f"{field}: {error}") from None
    if seconds <= 0:
        raise FieldError(field, f"{field}: more than 0, or none")
    return seconds


def spec_of(
    text: str,
    pipeline: Pipeline,
    wanted: JobOptions,
    terminal_size: tuple[int, int],
    usual: RunDefaults = BUILT_IN,
) -> JobSpec:
    """The job to start; a terminal of it is as large as ours. Text from the terminal is put into wire form."""
    stdin: StdinSource = NullInput()
    if wanted.is_interactive:
        stdin = InteractiveInput()
    elif wanted.from_job is not None:
        stdin = JobInput(wanted.from_job)
    spec = JobSpec(
        pipeline=pipeline,
        command=typed_to_wire(text),
        name=wanted.name,
        stdin=stdin,
        pty=wanted.with_terminal,
        terminal_size=terminal_size if wanted.with_terminal else DEFAULT_TERMINAL_SIZE,
        timeout=wanted.timeout,
        stuck_after=wanted.stuck_after or usual.stuck_after,
        on_stuck=wanted.on_stuck or usual.on_stuck,
        after=(wanted.after,) if wanted.after else (),
        origin="dashboard",
    )
    return with_short_command(spec)


class Earlier(NamedTuple):
    """A command that ran before: the line, and whether sh ran it."""

    text: str
    with_shell: bool


def earlier_commands(jobs: Sequence[Job]) -> list[Earlier]:
    """Commands of the jobs, newest first, each once. `jobs` are in the order of their numbers. One whose text was cut is none."""
    found: dict[Earlier, None] = {}
    for job in reversed(jobs):
        argv = job.stages[0].argv if len(job.stages) == 1 else ()
        is_shell = argv[:2] == ("/bin/sh", "-c") and len(argv) == 3
        text = argv[2] if is_shell else job.command
        is_cut = job.cut and text.endswith(ELLIPSIS)  # what a short line became may be long
        if text.isprintable() and not is_cut:
            found.setdefault(Earlier(text, is_shell))
    return list(found)


def current_directory() -> str:
    """The dashboard's directory, as it is called; `/` where it has been removed."""
    try:
        return own_directory()
    except FileNotFoundError:
        return "/"


def short_directory(path: str) -> str:
    """`path` with the home directory as `~`."""
    home = os.path.expanduser("~")
    if path == home or path.startswith(home + "/"):
        return "~" + path[len(home) :]
    return path


def full_directory(text: str) -> str:
    """What was typed for a directory, absolute; relative to the dashboard's."""
    return os.path.normpath(os.path.join(current_directory(), os.path.expanduser(text.strip() or ".")))

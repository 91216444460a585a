"""How a program says what to run: a command in any of its forms, and options; made into a specification."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

from msgspec.structs import replace

from corral.service.handles import JobHandle
from corral.service.surroundings import surroundings
from corral.values.commandline import parse, parse_argv, quote_pipeline, shell_pipeline
from corral.values.errors import UsageError
from corral.values.shown import with_short_command
from corral.values.spec import (
    DEFAULT_MAX_OUTPUT,
    DEFAULT_STOP_GRACE,
    DEFAULT_STOP_SIGNAL,
    DEFAULT_STUCK_AFTER,
    FileInput,
    InteractiveInput,
    JobInput,
    JobSpec,
    NullInput,
    OnLeftovers,
    OnStuck,
    OutputMode,
    Pipeline,
    StdinSource,
    Surroundings,
)
from corral.values.units import check_name, parse_signal, signal_name
from corral.values.wire import to_wire, typed_to_wire

CommandLike = str | Sequence[str] | Pipeline


class Options(TypedDict, total=False):
    """How to run a job; all are optional. Durations in seconds.

    Keys:
        name: `[A-Za-z][A-Za-z0-9_.-]{0,63}`.
        cwd: its directory, this program's unless given.
        env: its whole environment, this program's unless given.
        stdin: a path to read; `interactive` keeps a pipe open for `JobHandle.send`; a `JobHandle` feeds that job's output.
        timeout: its time limit; then the stop sequence, and the state `timed_out`.
        stop_signal, stop_grace: how the stop sequence begins, and how long until KILL.
        stuck_after: seconds without any progress until it counts as stuck.
        on_stuck: `mark` (unless given), or `stop`: end it then, the diagnosis kept (`JobHandle.story`).
        leftovers: `leave` (unless given) or `stop` what outlives the job.
        max_output: bytes kept of each output stream, the newest; 1 GiB unless given, None keeps all.
        output: `file` (unless given), or `pipe`: through a relay, so that no program can empty what it wrote before
            by opening `/dev/stdout` anew; not with `pty`.
        after: jobs that have to succeed first.
        shell: run a str with /bin/sh, as one stage.
        pty: give it a terminal of its own, of 80 by 24; one stage only, and no `stdin`. stderr is part of its stdout.
    """

    name: str
    cwd: str
    env: Mapping[str, str]
    stdin: str | os.PathLike[str] | JobHandle | Literal["interactive"]
    timeout: float
    stop_signal: str
    stop_grace: float
    stuck_after: float
    on_stuck: OnStuck
    leftovers: OnLeftovers
    max_output: int | None
    output: OutputMode
    after: Iterable[JobHandle]
    shell: bool
    pty: bool


def spec_of(command: CommandLike, options: Options) -> JobSpec:
    pipeline = _pipeline(command, shell=options.get("shell", False))
    name = options.get("name")
    spec = JobSpec(
        pipeline=pipeline,
        command=to_wire(command) if isinstance(command, str) else typed_to_wire(quote_pipeline(pipeline)),
        name=None if name is None else check_name(name),
        pty=options.get("pty", False),
        stdin=_stdin(options.get("stdin")),
        timeout=options.get("timeout"),
        stop_signal=signal_name(parse_signal(options.get("stop_signal", DEFAULT_STOP_SIGNAL))),
        stop_grace=options.get("stop_grace", DEFAULT_STOP_GRACE),
        stuck_after=options.get("stuck_after", DEFAULT_STUCK_AFTER),
        on_stuck=options.get("on_stuck", "mark"),
        leftovers=options.get("leftovers", "leave"),
        max_output=options.get("max_output", DEFAULT_MAX_OUTPUT),
        output=options.get("output", "file"),
        after=tuple(handle.id for handle in options.get("after", ())),
    )
    return with_short_command(spec)


def _pipeline(command: CommandLike, *, shell: bool) -> Pipeline:
    if isinstance(command, Pipeline):
        return command
    if isinstance(command, str):
        return shell_pipeline(to_wire(command)) if shell else parse(to_wire(command))
    if shell:
        raise UsageError("shell=True takes one str; POSIX sh would run only the first item of a sequence")
    return parse_argv([to_wire(os.fspath(word)) for word in command])


def _stdin(source: object) -> StdinSource:
    match source:
        case None:
            return NullInput()
        case "interactive":
            return InteractiveInput()
        case JobHandle():
            return JobInput(source.id)
        case str() | os.PathLike():
            return FileInput(to_wire(os.fspath(source)))
        case _:
            raise UsageError(f"stdin is a path, a job or 'interactive', not {source!r}")


def with_stdin(spec: JobSpec, source: StdinSource) -> JobSpec:
    return replace(spec, stdin=source)


def surroundings_of(options: Options) -> Surroundings:
    env = options.get("env")
    return surroundings(environment=env, cwd=options.get("cwd"))

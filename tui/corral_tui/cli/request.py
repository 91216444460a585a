"""From the options of `run` to the specification of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from corral.service.protocol import StartJobs
from corral.service.surroundings import surroundings
from corral.system.destinations import DESCRIPTOR, NOT_TO_BE_HELD, destination, file_that_may_hang
from corral.system.expanding import outside
from corral.system.mounts import Mounts
from corral.values.commandline import parse, parse_argv, shell_pipeline
from corral.values.errors import UsageError
from corral.values.shown import with_short_command
from corral.values.spec import (
    DEFAULT_MAX_OUTPUT,
    DEFAULT_STOP_GRACE,
    DEFAULT_STOP_SIGNAL,
    DEFAULT_TERMINAL_SIZE,
    DescriptorInput,
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
from corral.values.units import check_name, quote
from corral.values.wire import to_wire
from corral_tui.cli.environment import job_environment
from corral_tui.cli.homes import chosen_home
from corral_tui.cli.options import KEEP_ALL
from corral_tui.rundefaults import BUILT_IN, RunDefaults


class Wanted(NamedTuple):
    """The options of `run`."""

    words: tuple[str, ...]
    is_argv: bool = False
    """Written after `--`: one word is a program, not a line."""
    name: str | None = None
    cwd: str | None = None
    environment: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    stdin: str | None = None
    interactive: bool = False
    source: str | None = None
    shell: bool = False
    pty: bool = False
    timeout: float | None = None
    stop_signal: str | None = None
    stop_grace: float | None = None
    stuck_after: float | None = None
    on_stuck: OnStuck | None = None
    leftovers: OnLeftovers | None = None
    max_output: int | None = None
    output: OutputMode | None = None
    after: tuple[str, ...] = ()
    wait: bool = False
    raw: bool = False
    quiet: bool = False
    as_json: bool = False


class Prepared(NamedTuple):
    """A request, and the descriptors that go with it."""

    request: StartJobs
    descriptors: tuple[int, ...]


def prepare(wanted: Wanted, usual: RunDefaults = BUILT_IN) -> Prepared:
    """The request to start what is wanted; `usual` stands for what no option says. Raises UsageError."""
    words = tuple(map(to_wire, wanted.words))
    source, descriptors = _stdin(wanted)
    around = surroundings(
        environment=job_environment(wanted.environment_files, wanted.environment), cwd=wanted.cwd
    )
    spec = JobSpec(
        pipeline=_pipeline(words, wanted, around),
        command=words[0] if _is_line(words, wanted) else quote(words),
        name=None if wanted.name is None else check_name(wanted.name),
        stdin=source,
        pty=wanted.pty,
        terminal_size=_terminal_size(wanted),
        timeout=_timeout(wanted.timeout),
        stop_signal=wanted.stop_signal or DEFAULT_STOP_SIGNAL,
        stop_grace=DEFAULT_STOP_GRACE if wanted.stop_grace is None else wanted.stop_grace,
        stuck_after=usual.stuck_after if wanted.stuck_after is None else wanted.stuck_after,
        on_stuck=wanted.on_stuck or usual.on_stuck,
        leftovers=wanted.leftovers or "leave",
        max_output=_max_output(wanted.max_output),
        output=_output(wanted),
        after=wanted.after,
        origin="command_line",
    )
    request = StartJobs(specs=(with_short_command(spec),), surroundings=around, wait_started=True)
    return Prepared(request, descriptors)


def _is_line(words: Sequence[str], wanted: Wanted) -> bool:
    return wanted.shell or (len(words) == 1 and not wanted.is_argv)


def _pipeline(words: Sequence[str], wanted: Wanted, around: Surroundings) -> Pipeline:
    if wanted.shell:
        if len(words) > 1:
            raise UsageError("run --shell: takes one word, the whole line; put quotes around it")
        return shell_pipeline(words[0])
    return parse(words[0], outside(around)) if _is_line(words, wanted) else parse_argv(words)


def _terminal_size(wanted: Wanted) -> tuple[int, int]:
    if not wanted.pty:
        return DEFAULT_TERMINAL_SIZE
    from corral_tui.cli.rawterminal import own_size

    return own_size()


def _timeout(seconds: float | None) -> float | None:
    if seconds == 0:
        raise UsageError("run --timeout: 0 leaves no time to run; leave it out for no limit")
    return seconds


def _max_output(size: int | None) -> int | None:
    if size is None:
        return DEFAULT_MAX_OUTPUT
    return None if size == KEEP_ALL else size


def _output(wanted: Wanted) -> OutputMode:
    if wanted.output == "pipe" and wanted.pty:
        raise UsageError(
            "run: --output pipe and --pty exclude each other; a terminal is what such a job prints on"
        )
    return wanted.output or "file"


def _stdin(wanted: Wanted) -> tuple[StdinSource, tuple[int, ...]]:
    ways = [
        option
        for option, is_given in (
            ("--stdin", wanted.stdin is not None),
            ("--interactive", wanted.interactive),
            ("--from", wanted.source is not None),
            ("--pty", wanted.pty),
        )
        if is_given
    ]
    if len(ways) > 1:
        raise UsageError(f"run: {' and '.join(ways)} exclude each other; a job has one stdin")
    if wanted.interactive:
        return InteractiveInput(), ()
    if wanted.source is not None:
        return JobInput(wanted.source), ()
    if wanted.stdin is not None:
        return _from_file(wanted.stdin)
    return NullInput(), ()


def _from_file(path: str) -> tuple[StdinSource, tuple[int, ...]]:
    own = _own_descriptor(path)
    if own is None:
        # Where the user types, not where the job will run: that is what the shell completes, too.
        return FileInput(to_wire(os.path.abspath(path))), ()
    try:
        is_terminal = os.isatty(own)
        os.fstat(own)
    except OSError:
        raise UsageError(f"run --stdin {path}: it is closed here; name a file") from None
    if is_terminal:
        raise UsageError(
            f"run --stdin {path}: it is a terminal, which a job in the background cannot read; "
            "use --pty and corral attach, -i and corral send, or name a file"
        )
    return _passed(path, own)


def _passed(path: str, own: int) -> tuple[StdinSource, tuple[int, ...]]:
    """Our descriptor; or its file by name, where the daemon had better not hold it open until the job starts."""
    found = file_that_may_hang(own, Mounts(chosen_home().path).may_hang)
    if found is None:
        return DescriptorInput(), (own,)
    if os.lseek(own, 0, os.SEEK_CUR):
        raise UsageError(f"run --stdin {path}: {NOT_TO_BE_HELD}")
    return FileInput(to_wire(found)), ()


def _own_descriptor(path: str) -> int | None:
    """The descriptor of this process that `path` means, also through symlinks; to the daemon it would mean one of its own."""
    if path == "-":
        return 0
    found = destination(os.path.abspath(path), Mounts(chosen_home().path).may_hang)
    return found.number if found.kind == DESCRIPTOR else None

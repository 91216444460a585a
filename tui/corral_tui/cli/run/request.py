"""From the options of `run` to the request that starts a job."""

from __future__ import annotations

import os
from typing import NamedTuple

from msgspec import structs

from corral.commandline.abbreviation import with_short_command
from corral.model.errors import UsageError
from corral.model.spec import (
    DEFAULT_TERMINAL_SIZE,
    DescriptorInput,
    FileInput,
    InteractiveInput,
    JobInput,
    NullInput,
    OutputMode,
    StdinSource,
)
from corral.model.wire import to_wire
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import (
    DESCRIPTOR,
    HANGING_FILE_REFUSED,
    destination,
    file_that_may_hang,
)
from corral.protocol.requests import StartJobs
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.job_options import NewJobOptions
from corral_tui.cli.support.job_spec import job_spec, surroundings_of
from corral_tui.settings.run_defaults import BUILT_IN, RunDefaults


class RunOptions(NewJobOptions, frozen=True, kw_only=True):
    """The options of `run`."""

    stdin: str | None = None
    interactive: bool = False
    source: str | None = None
    pty: bool = False
    output: OutputMode | None = None
    wait: bool = False
    raw: bool = False


class PreparedRequest(NamedTuple):
    """A request, and the descriptors to send with it."""

    request: StartJobs
    descriptors: tuple[int, ...]


def prepare(options: RunOptions, defaults: RunDefaults = BUILT_IN) -> PreparedRequest:
    """The request to start a job; `defaults` apply where no option is given. Raises UsageError."""
    source, descriptors = _stdin(options)
    around = surroundings_of(options)
    spec = structs.replace(
        job_spec(options, around, defaults),
        stdin=source,
        pty=options.pty,
        terminal_size=_terminal_size(options),
        output=_output(options),
    )
    request = StartJobs(specs=(with_short_command(spec),), surroundings=around, wait_started=True)
    return PreparedRequest(request, descriptors)


def _terminal_size(options: RunOptions) -> tuple[int, int]:
    if not options.pty:
        return DEFAULT_TERMINAL_SIZE
    from corral_tui.cli.run.raw_terminal import own_size

    return own_size()


def _output(options: RunOptions) -> OutputMode:
    if options.output == "pipe" and options.pty:
        raise UsageError(
            "run: --output pipe and --pty exclude each other; a job with --pty prints on its terminal"
        )
    return options.output or "file"


def _stdin(options: RunOptions) -> tuple[StdinSource, tuple[int, ...]]:
    given = [
        option
        for option, is_given in (
            ("--stdin", options.stdin is not None),
            ("--interactive", options.interactive),
            ("--from", options.source is not None),
            ("--pty", options.pty),
        )
        if is_given
    ]
    if len(given) > 1:
        raise UsageError(f"run: {' and '.join(given)} exclude each other; a job has one stdin")
    if options.interactive:
        return InteractiveInput(), ()
    if options.source is not None:
        return JobInput(options.source), ()
    if options.stdin is not None:
        return _from_file(options.stdin)
    return NullInput(), ()


def _from_file(path: str) -> tuple[StdinSource, tuple[int, ...]]:
    own = _own_descriptor(path)
    if own is None:
        # Relative to our directory, not the job's: shell completion does the same.
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
    return _pass_descriptor(path, own)


def _pass_descriptor(path: str, own: int) -> tuple[StdinSource, tuple[int, ...]]:
    """Pass our descriptor, or the path of its file if the daemon should not hold it open until the job starts."""
    found = file_that_may_hang(own, HangingMounts(chosen_home().path).may_hang)
    if found is None:
        return DescriptorInput(), (own,)
    if os.lseek(own, 0, os.SEEK_CUR):
        raise UsageError(f"run --stdin {path}: {HANGING_FILE_REFUSED}")
    return FileInput(to_wire(found)), ()


def _own_descriptor(path: str) -> int | None:
    """The descriptor of this process that `path` means, also through symlinks; the daemon would take it for its own."""
    if path == "-":
        return 0
    found = destination(os.path.abspath(path), HangingMounts(chosen_home().path).may_hang)
    return found.number if found.kind == DESCRIPTOR else None

"""From the options of `run` to the specification of a job."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corral.client.environment import own_environment, surroundings
from corral.commandline.abbreviation import with_short_command
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.parser import parse, parse_argv, shell_pipeline
from corral.model.errors import UsageError
from corral.model.spec import (
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
from corral.model.units import check_name, quote
from corral.model.wire import native, to_wire
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import (
    DESCRIPTOR,
    HANGING_FILE_REFUSED,
    destination,
    file_that_may_hang,
)
from corral.protocol.requests import StartJobs
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.options import KEEP_ALL
from corral_tui.settings.run_defaults import BUILT_IN, RunDefaults


class RunOptions(NamedTuple):
    """The options of `run`."""

    words: tuple[str, ...]
    is_argv: bool = False
    """Typed after `--`: a single word is a program, not a command line."""
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


class PreparedRequest(NamedTuple):
    """A request, and the descriptors to send with it."""

    request: StartJobs
    descriptors: tuple[int, ...]


def prepare(options: RunOptions, defaults: RunDefaults = BUILT_IN) -> PreparedRequest:
    """The request to start a job; `defaults` apply where no option is given. Raises UsageError."""
    words = tuple(map(to_wire, options.words))
    source, descriptors = _stdin(options)
    around = surroundings(
        environment=job_environment(options.environment_files, options.environment), cwd=options.cwd
    )
    spec = JobSpec(
        pipeline=_pipeline(words, options, around),
        command=words[0] if _is_line(words, options) else quote(words),
        name=None if options.name is None else check_name(options.name),
        stdin=source,
        pty=options.pty,
        terminal_size=_terminal_size(options),
        timeout=_timeout(options.timeout),
        stop_signal=options.stop_signal or DEFAULT_STOP_SIGNAL,
        stop_grace=DEFAULT_STOP_GRACE if options.stop_grace is None else options.stop_grace,
        stuck_after=defaults.stuck_after if options.stuck_after is None else options.stuck_after,
        on_stuck=options.on_stuck or defaults.on_stuck,
        leftovers=options.leftovers or "leave",
        max_output=_max_output(options.max_output),
        output=_output(options),
        after=options.after,
        origin="command_line",
    )
    request = StartJobs(specs=(with_short_command(spec),), surroundings=around, wait_started=True)
    return PreparedRequest(request, descriptors)


def _is_line(words: Sequence[str], options: RunOptions) -> bool:
    return options.shell or (len(words) == 1 and not options.is_argv)


def _pipeline(words: Sequence[str], options: RunOptions, around: Surroundings) -> Pipeline:
    if options.shell:
        if len(words) > 1:
            raise UsageError("run --shell: takes one word, the whole line; put quotes around it")
        return shell_pipeline(words[0])
    return parse(words[0], expansion_context(around)) if _is_line(words, options) else parse_argv(words)


def _terminal_size(options: RunOptions) -> tuple[int, int]:
    if not options.pty:
        return DEFAULT_TERMINAL_SIZE
    from corral_tui.cli.run.raw_terminal import own_size

    return own_size()


def _timeout(seconds: float | None) -> float | None:
    if seconds == 0:
        raise UsageError("run --timeout: 0 leaves no time to run; leave it out for no limit")
    return seconds


def _max_output(size: int | None) -> int | None:
    if size is None:
        return DEFAULT_MAX_OUTPUT
    return None if size == KEEP_ALL else size


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

"""How a program says what to run: a command in any of its forms, and options; checked, and made into a specification."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypedDict, cast, get_args, get_type_hints

import msgspec
from msgspec import structs

from corral.batch.template import replacement_words, without_marks
from corral.client.environment import surroundings
from corral.client.session import Session
from corral.commandline.abbreviation import with_short_command
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.parser import parse, parse_argv, quote_pipeline, shell_pipeline
from corral.library.job_handle import JOBS, JobHandle, id_in
from corral.lifecycle.spec_check import check_sense
from corral.model import validators
from corral.model.errors import UsageError, WrongTypeError, brief_repr, shorten
from corral.model.spec import (
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
from corral.model.validators import Validator
from corral.model.wire import to_wire, typed_to_wire

Word = str | os.PathLike[str]
CommandLike = Word | Sequence[Word] | Pipeline
"""A command line, a program by its path, an argv, or a pipeline."""


def _stdin(value: object) -> object:
    return value if value is None or isinstance(value, JobHandle) else validators.PATH.read(value)


class Options(TypedDict, total=False):
    """How to run a job; all are optional. Durations in seconds.

    Keys:
        name: `[A-Za-z][A-Za-z0-9_.-]{0,63}`, not ending in a dot and digits.
        cwd: its directory, this program's unless given.
        env: its whole environment, this program's unless given.
        stdin: a path to read, relative to `cwd`; `interactive` keeps a pipe open for `JobHandle.send`; a `JobHandle`
            feeds that job's output.
        timeout: its time limit; then the stop sequence, and the state `timed_out`.
        stop_signal, stop_grace: how the stop sequence begins, and how long until KILL.
        stuck_after: seconds without any progress until it counts as stuck.
        on_stuck: `mark` (unless given), or `stop`: end it then, the diagnosis kept (`JobHandle.story`).
        leftovers: `leave` (unless given) or `stop` what outlives the job.
        max_output: bytes kept of each output stream, the newest; 1 GiB unless given, None keeps all.
        output: `file` (unless given), or `pipe`: through a relay, so that no program can empty what it wrote before
            by opening `/dev/stdout` again; not with `pty`.
        after: jobs that have to succeed first.
        shell: run a str with /bin/sh, as one stage.
        pty: give it a terminal of its own, of 80 by 24; one stage only, and no `stdin`. stderr is part of its stdout.
    """

    name: Annotated[str | None, validators.NEW_NAME]
    cwd: Annotated[str | os.PathLike[str] | None, validators.or_none(validators.PATH, "for this program's")]
    env: Annotated[Mapping[str, str] | None, validators.ENVIRONMENT]
    stdin: Annotated[
        str | os.PathLike[str] | JobHandle | Literal["interactive"] | None,
        Validator("a path, 'interactive', a job of this manager, or None for /dev/null", _stdin),
    ]
    timeout: Annotated[float | None, validators.TIME_LIMIT]
    stop_signal: Annotated[str | int, validators.SIGNAL]
    stop_grace: Annotated[float, validators.SECONDS]
    stuck_after: Annotated[float, validators.SECONDS]
    on_stuck: Annotated[OnStuck, validators.choice(*get_args(OnStuck))]
    leftovers: Annotated[OnLeftovers, validators.choice(*get_args(OnLeftovers))]
    max_output: Annotated[int | None, validators.OUTPUT_BYTES]
    output: Annotated[OutputMode, validators.choice(*get_args(OutputMode))]
    after: Annotated[Iterable[JobHandle], JOBS]
    shell: Annotated[bool, validators.FLAG]
    pty: Annotated[bool, validators.FLAG]


OF_SUBPROCESS = frozenset(
    ("stdout", "stderr", "capture_output", "text", "encoding", "errors", "universal_newlines")
)
"""What the habit of `subprocess.run` asks for."""
_AS_IN_SPEC = frozenset(JobSpec.__struct_fields__) - {"stdin", "after"}
"""Options that a specification has too, with the same meaning."""


def checked(options: Options) -> Options:
    """The options as they were meant, and what is iterated only once a list. Raises UsageError that names the option."""
    known = _kinds()
    for name, value in options.items():
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? There are" if near and name not in OF_SUBPROCESS else "there are"
            if name in OF_SUBPROCESS:
                hint = f"stdout and stderr are always kept, as bytes (Result, JobHandle.stdout); {hint}"
            raise UsageError(
                f"{shorten(name)}={brief_repr(value)}: no such option; {hint} {', '.join(known)}"
            )
    return cast(Options, {name: known[name](name, value) for name, value in options.items()})


@cache
def _kinds() -> dict[str, Validator[Any]]:
    hints = get_type_hints(Options, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items()}


def spec_of(
    command: CommandLike,
    options: Options,
    session: Session,
    around: Surroundings,
    replaced: re.Pattern[str] | None = None,
) -> JobSpec:
    """A specification that the daemon takes; the words of a str are expanded as they are there now, which reads directories.

    `options` are checked. `replaced`: what stands for an input in it. Raises UsageError.
    """
    command = _command(command)
    pipeline = _pipeline(command, around, replaced, shell=options.get("shell", False))
    spec = JobSpec(
        pipeline=pipeline,
        command=to_wire(command) if isinstance(command, str) else typed_to_wire(quote_pipeline(pipeline)),
        stdin=_source(options.get("stdin"), session),
        after=tuple(id_in(session, handle) for handle in options.get("after", ())),
        **{name: value for name, value in options.items() if name in _AS_IN_SPEC},  # type: ignore[arg-type]
    )
    check_sense(spec if replaced is None else structs.replace(spec, pipeline=without_marks(pipeline)))
    return with_short_command(spec)


async def template_spec_of(
    command: CommandLike, options: Options, session: Session, around: Surroundings
) -> JobSpec:
    """The same of the jobs of a batch. Of a str only what was typed stands for an input, not what it expands to."""
    return await asyncio.to_thread(spec_of, command, options, session, around, replacement_words())


async def specs_of(
    commands: Sequence[CommandLike], options: Options, session: Session, around: Surroundings
) -> list[JobSpec]:
    """The same of several, beside the loop where files are looked for: their directory may be of a dead server."""

    def made() -> list[JobSpec]:
        return [spec_of(command, options, session, around) for command in commands]

    looks = any(isinstance(command, str) and any(mark in command for mark in "~*?[") for command in commands)
    return await asyncio.to_thread(made) if looks else made()


def _command(command: object) -> str | list[str] | Pipeline:
    """The command in one of three forms, its words plain text. Raises UsageError."""
    match command:
        case str():
            return validators.TEXT("command", command)
        case os.PathLike():
            return [validators.PATH("command", command)]
        case Pipeline():
            return _plain_pipeline(command)
        case Sequence() if not isinstance(command, bytes | bytearray | memoryview):
            return [_WORD(f"command[{index}]", word) for index, word in enumerate(command)]
    raise WrongTypeError(
        f"command={brief_repr(command)}: expected a command line (a str), a list of words, or a Pipeline"
    )


def _word(value: object) -> str:
    return validators.TEXT.read(os.fspath(value) if isinstance(value, os.PathLike) else value)


_WORD = Validator("a str or an os.PathLike of one, without NUL and lone surrogates", _word)


def _plain_pipeline(pipeline: Pipeline) -> Pipeline:
    """A pipeline is made of what a program has put into it: nothing has looked at that."""
    try:
        content = msgspec.to_builtins(pipeline, builtin_types=(bytes, bytearray, memoryview))
        return msgspec.convert(_plain(content), Pipeline)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongTypeError(f"command={brief_repr(pipeline)}: {error}") from None


def _plain(content: object) -> object:
    """What was turned into dicts and lists, each text in it fit to be sent."""
    match content:
        case str():
            return to_wire(validators.TEXT.read(content))
        case list() | tuple():
            return [_plain(each) for each in content]
        case dict():
            return {name: _plain(each) for name, each in content.items()}
    return content


def _pipeline(
    command: str | list[str] | Pipeline,
    around: Surroundings,
    replaced: re.Pattern[str] | None,
    *,
    shell: bool,
) -> Pipeline:
    if isinstance(command, str):
        line = to_wire(command)
        context = expansion_context(around)._replace(replaced=replaced)
        return shell_pipeline(line) if shell else parse(line, context)
    if shell:
        raise UsageError("shell=True takes one str; POSIX sh would run only the first item of a sequence")
    return command if isinstance(command, Pipeline) else parse_argv([to_wire(word) for word in command])


def _source(stdin: object, session: Session) -> StdinSource:
    match stdin:
        case None:
            return NullInput()
        case "interactive":
            return InteractiveInput()
        case JobHandle():
            return JobInput(id_in(session, stdin))
    return FileInput(to_wire(str(stdin)))


def surroundings_of(options: Options) -> Surroundings:
    cwd = options.get("cwd")
    return surroundings(environment=options.get("env"), cwd=None if cwd is None else str(cwd))

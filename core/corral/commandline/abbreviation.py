"""Abbreviates commands that are too long for lists: their beginning, and `…`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import structs

from corral.commandline.parser import parts, quote_pipeline
from corral.model.job import Job
from corral.model.spec import JobSpec, Pipeline
from corral.model.units import quote

MOST_BYTES = 32 << 10
"""Bytes of a command, and of all its arguments together, that lists contain; only `show` has more."""
ELLIPSIS = "…"
_END = 4
"""Bytes of the ellipsis, counted as `json_size` does."""

Argv = tuple[str, ...]


class ShortCommand(NamedTuple):
    """A command as lists contain it."""

    command: str
    argvs: tuple[Argv, ...]
    """By stage."""
    is_cut: bool = False


def short_command(command: str, argvs: Sequence[Argv], most: int = MOST_BYTES) -> ShortCommand:
    """At most about `most` bytes of the command, and as many of all arguments together."""
    # What was cut before is not cut again: each piece has at most one `…`.
    most_with_ends = most + _END * (1 + len(argvs))
    if json_size(command) <= most_with_ends and sum(map(json_size_of_words, argvs)) <= most_with_ends:
        return ShortCommand(command, tuple(argvs))
    return ShortCommand(prefix(command, most), _prefixes(argvs, most), True)


def short_command_of(spec: JobSpec) -> ShortCommand:
    """The same for a specification."""
    found = short_command(spec.command, [command.argv for command in spec.pipeline.stages])
    return found._replace(is_cut=True) if spec.cut else found


def with_short_command(spec: JobSpec) -> JobSpec:
    """The specification with its command as typed abbreviated; what runs is complete."""
    command = prefix(spec.command)
    return spec if command is spec.command else structs.replace(spec, command=command, cut=True)


def with_short_argv(spec: JobSpec) -> JobSpec:
    """The specification with argv abbreviated too: for keeping in memory, never for running."""
    found = short_command_of(spec)
    if not found.is_cut:
        return spec
    pairs = zip(spec.pipeline.stages, found.argvs, strict=True)
    pipeline = Pipeline(tuple(structs.replace(command, argv=argv) for command, argv in pairs))
    return structs.replace(spec, pipeline=pipeline, command=found.command, cut=True)


def with_full_command(job: Job, spec: JobSpec) -> Job:
    """The job with its complete command and arguments."""
    if not job.cut:
        return job
    commands = spec.pipeline.stages
    stages = tuple(
        structs.replace(stage, argv=command.argv) for stage, command in zip(job.stages, commands, strict=True)
    )
    command = quote_pipeline(spec.pipeline) if spec.cut else spec.command
    return structs.replace(job, command=command, stages=stages, cut=False)


def expanded_argvs(job: Job) -> list[tuple[int, str]]:
    """The number and argv of each stage whose argv differs from the words typed: they were expanded, or sh runs it."""
    argvs = [(stage.number, stage.argv, quote(stage.argv)) for stage in job.stages]
    if all(words in job.command for _, _, words in argvs):
        return []
    typed = [part for part in parts(job.command) if part.role in ("program", "argument")]
    return [
        (number, words)
        for number, argv, words in argvs
        if argv != tuple(part.token.value for part in typed if part.stage == number)
    ]


def json_size_of_words(words: Iterable[str]) -> int:
    """About how many bytes they take as JSON."""
    return sum(map(json_size, words))


def json_size(text: str) -> int:
    """About how many bytes it takes as JSON: a control character takes six."""
    if text.isascii():
        return len(text) if text.isprintable() else 6 * len(text)
    return (4 if text.isprintable() else 6) * len(text)


def prefix(text: str, most: int = MOST_BYTES) -> str:
    """The text, or its beginning in about `most` bytes."""
    if json_size(text) <= most:
        return text
    heads = (text[: max(0, most // bytes_each)] for bytes_each in (1, 4, 6))
    return next(head for head in heads if json_size(head) <= max(0, most)) + ELLIPSIS


def _prefixes(argvs: Sequence[Argv], most: int) -> tuple[Argv, ...]:
    left, found = most, []
    for argv in argvs:
        words: list[str] = []
        for word in argv:
            words.append(prefix(word, left))
            left -= json_size(words[-1])
            if words[-1] is not word:
                break
        found.append(tuple(words))
    return tuple(found)

"""What is shown of a command that is too long to stand in every list: its beginning, and `…`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import structs

from corral.values.commandline import parts, quote_pipeline
from corral.values.jobs import Job
from corral.values.spec import JobSpec, Pipeline
from corral.values.units import quote

LONGEST_SHOWN = 32 << 10
"""Bytes of a command, and of all its arguments, that are shown of it but where all of one job is asked for."""
CUT = "…"
_END = 4
"""Bytes of it, reckoned as those of any letter."""

Argv = tuple[str, ...]


class Shown(NamedTuple):
    """What lists have of a job's command."""

    command: str
    argvs: tuple[Argv, ...]
    """By stage."""
    is_cut: bool = False


def shown(command: str, argvs: Sequence[Argv], most: int = LONGEST_SHOWN) -> Shown:
    """At most about so many bytes of the command, and as many of all arguments together."""
    # What was cut before stays as it is: each piece has at most one `…`.
    most_with_ends = most + _END * (1 + len(argvs))
    if size_of(command) <= most_with_ends and sum(map(size_of_words, argvs)) <= most_with_ends:
        return Shown(command, tuple(argvs))
    return Shown(beginning(command, most), _beginnings(argvs, most), True)


def shown_of(spec: JobSpec) -> Shown:
    """The same of what a job is started with."""
    found = shown(spec.command, [command.argv for command in spec.pipeline.stages])
    return found._replace(is_cut=True) if spec.cut else found


def with_short_command(spec: JobSpec) -> JobSpec:
    """The specification with so much of the command as is shown anywhere; what runs stays whole."""
    command = beginning(spec.command)
    return spec if command is spec.command else structs.replace(spec, command=command, cut=True)


def short(spec: JobSpec) -> JobSpec:
    """The specification with no more of its command than is shown: to be kept, never to be run."""
    found = shown_of(spec)
    if not found.is_cut:
        return spec
    pairs = zip(spec.pipeline.stages, found.argvs, strict=True)
    pipeline = Pipeline(tuple(structs.replace(command, argv=argv) for command, argv in pairs))
    return structs.replace(spec, pipeline=pipeline, command=found.command, cut=True)


def whole(job: Job, spec: JobSpec) -> Job:
    """The job with all of its command and arguments."""
    if not job.cut:
        return job
    commands = spec.pipeline.stages
    stages = tuple(
        structs.replace(stage, argv=command.argv) for stage, command in zip(job.stages, commands, strict=True)
    )
    command = quote_pipeline(spec.pipeline) if spec.cut else spec.command
    return structs.replace(job, command=command, stages=stages, cut=False)


def as_run(job: Job) -> list[tuple[int, str]]:
    """Each stage's number and argv, where the line has other words for it: they were expanded, or sh runs it."""
    argvs = [(stage.number, stage.argv, quote(stage.argv)) for stage in job.stages]
    if all(words in job.command for _, _, words in argvs):
        return []
    typed = [part for part in parts(job.command) if part.role in ("program", "argument")]
    return [
        (number, words)
        for number, argv, words in argvs
        if argv != tuple(part.token.value for part in typed if part.stage == number)
    ]


def size_of_words(words: Iterable[str]) -> int:
    """Bytes that they take as JSON, about."""
    return sum(map(size_of, words))


def size_of(text: str) -> int:
    """Bytes that it takes as JSON, about: a control character is six."""
    if text.isascii():
        return len(text) if text.isprintable() else 6 * len(text)
    return (4 if text.isprintable() else 6) * len(text)


def beginning(text: str, most: int = LONGEST_SHOWN) -> str:
    """The text, or about so much of it as fits."""
    if size_of(text) <= most:
        return text
    heads = (text[: max(0, most // bytes_each)] for bytes_each in (1, 4, 6))
    return next(head for head in heads if size_of(head) <= max(0, most)) + CUT


def _beginnings(argvs: Sequence[Argv], most: int) -> tuple[Argv, ...]:
    left, found = most, []
    for argv in argvs:
        words: list[str] = []
        for word in argv:
            words.append(beginning(word, left))
            left -= size_of(words[-1])
            if words[-1] is not word:
                break
        found.append(tuple(words))
    return tuple(found)

"""The command of a batch: a line is expanded once, before any input goes in."""

from __future__ import annotations

from msgspec import structs

from corral.batch.template import replacement_words
from corral.commandline.expansion import ExpansionContext
from corral.commandline.globs import globs
from corral.commandline.lexer import Problem
from corral.commandline.parser import CommandLineError, parse, parts
from corral.model.errors import UsageError
from corral.model.spec import Pipeline
from corral_tui.cli.support.job_spec import ParseLine

_NOTHING = "{999999}"
"""A column that no input has: it gives no word at all."""


def template_parser(replace: str) -> ParseLine:
    """Parses a line in which an input may go into words, but into no pattern of files."""
    pattern = replacement_words(replace)

    def parse_template(line: str, context: ExpansionContext) -> Pipeline:
        for part in parts(line):
            letters = part.token.letters
            if letters is not None and globs(letters.bare) and pattern.search(part.token.value):
                raise CommandLineError(line, _no_pattern(part.start, part.end - part.start))
        return parse(line, context)

    return parse_template


def _no_pattern(start: int, length: int) -> Problem:
    problem = "files are matched once, before an input goes in, so a word has either of them"
    return Problem(start, length, problem, "quote the pattern, or match files behind :::")


def without_input(pipeline: Pipeline, replace: str, *, is_shell: bool) -> Pipeline:
    """The command for `--max-args 0`: it is not given the input at all. Raises UsageError where it says where that goes."""
    pattern = replacement_words(replace)
    counts = False
    for stage in pipeline.stages:
        words = [*stage.argv, *(value for _, value in stage.assignments)]
        words += [one.path or "" for one in stage.redirections]
        for found in (found for word in words for found in pattern.finditer(word)):
            counts = counts or found["count"] is not None
            if found["whole"] or found["column"] or found["part"]:
                raise UsageError(
                    f"--max-args 0 puts no input into the command, and {found[0]} would; leave out either"
                )
    if counts:
        return pipeline
    first, *others = pipeline.stages
    *words, last = first.argv
    added = (f"{last} {_NOTHING}",) if is_shell else (last, _NOTHING)
    return Pipeline((structs.replace(first, argv=(*words, *added)), *others))

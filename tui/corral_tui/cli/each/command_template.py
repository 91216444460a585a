"""The command of a batch: a line is expanded once, before any input goes in."""

from __future__ import annotations

from msgspec import structs

from corral.batch.template import replacement_words
from corral.commandline.parser import parse
from corral.commandline.template_words import split_word
from corral.model.errors import UsageError
from corral.model.spec import Pipeline
from corral_tui.cli.support.job_spec import ParseLine

_NOTHING = "{999999}"
"""A column that no input has: it gives no word at all."""


def template_parser(replace: str) -> ParseLine:
    """Parses a line in which an input may go into words."""
    replaced = replacement_words(replace)
    return lambda line, context: parse(line, context._replace(replaced=replaced))


def without_input(pipeline: Pipeline, replace: str, *, is_shell: bool) -> Pipeline:
    """The command for `--max-args 0`: it is not given the input at all. Raises UsageError where it says where that goes."""
    pattern = replacement_words(replace)
    counts = False
    for stage in pipeline.stages:
        words = [*stage.argv, *(value for _, value in stage.assignments)]
        words += [one.path or "" for one in stage.redirections]
        typed = (piece for word in words for piece in split_word(word, pattern)[1::2])
        for found in filter(None, map(pattern.fullmatch, typed)):
            counts = counts or found["count"] is not None
            if found["count"] is None:
                raise UsageError(
                    f"--max-args 0 puts no input into the command, and {found[0]} would; leave out either"
                )
    if counts:
        return pipeline
    first, *others = pipeline.stages
    *words, last = first.argv
    added = (f"{last} {_NOTHING}",) if is_shell else (last, _NOTHING)
    return Pipeline((structs.replace(first, argv=(*words, *added)), *others))

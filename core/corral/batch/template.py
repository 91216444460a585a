"""A command with words that stand for an input, such as `{}` and `{/.}`, and the command that an input makes of it.

An input is data: it becomes words, or parts of words, of commands that are parsed already. Where sh runs the line, it is
quoted for sh, and refused where no quotes could hold it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import structs

from corral.commandline.lexer import Problem
from corral.commandline.parser import CommandLineError
from corral.commandline.template_words import MARK, split_word
from corral.model.batch import DEFAULT_REPLACE, BatchInput
from corral.model.errors import UsageError
from corral.model.spec import Command, Pipeline, Redirection

_Part = Callable[[str], str]
_SHELL_REPLACE = re.compile(r"[\w{},.:%@+=/-]+", re.ASCII)
"""What may stand for the input in a line for sh: nothing that sh reads in its own way."""
_NOT_SIMPLE = re.compile(r"[|;&\n()<>]")
_SHELL_DANGER = re.compile(r"\$[({'\[]|`|<<|\(\(")
"""From here on quotes of ours may not hold: substitutions, arithmetic, here-documents, quotes of bash."""
_SHELL_QUOTE = re.compile(r"'[^']*'?|\"(?:\\.|[^\"\\])*\"?|\\.|(?:(?<=[\s;&|()])|^)#[^\n]*", re.DOTALL)


def _without_extension(path: str) -> str:
    head, dot, tail = path.rpartition(".")
    return head if dot and "/" not in tail else path


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def _directory(path: str) -> str:
    """As dirname(1): slashes at the end do not count."""
    head = path.rstrip("/").rpartition("/")[0].rstrip("/")
    return head or ("/" if path.startswith("/") else ".")


_PARTS: dict[str, _Part] = {
    "": lambda text: text,
    ".": _without_extension,
    "/": _last_part,
    "//": _directory,
    "/.": lambda path: _without_extension(_last_part(path)),
}


class _Blank(NamedTuple):
    """One place to be filled. `column` 0: the whole input, of which `is_line` makes one word; `part` None: a number that has
    nothing to do with it."""

    column: int
    part: _Part | None
    is_slot: bool = False
    is_line: bool = False

    def texts(self, given: BatchInput, number: int, slot: int) -> Sequence[str]:
        if self.part is None:
            return (str(slot if self.is_slot else number),)
        columns = given.columns
        if not self.column:
            return (self.part(given.text),) if self.is_line else [self.part(text) for text in columns]
        index = self.column - 1 if self.column > 0 else len(columns) + self.column
        return (self.part(columns[index]),) if 0 <= index < len(columns) else ()


_Word = str | tuple[str | _Blank, ...]


def replacement_words(replace: str = DEFAULT_REPLACE) -> re.Pattern[str]:
    """What is replaced in a word; `replace` is what stands for the whole input. Raises UsageError where nothing can."""
    if not replace or MARK in replace:
        raise UsageError("what stands for the input is empty; leave it out for {}")
    return re.compile(
        r"(?P<whole>"
        + re.escape(replace)
        + r")|\{(?!\})(?:(?P<count>[#%])|(?P<column>-?[1-9]\d{0,5})?(?P<part>\.|//?|/\.)?)\}"
    )


def without_marks(pipeline: Pipeline) -> Pipeline:
    """As it reads: no longer known is which `{}` came from an expansion."""
    return Pipeline(tuple(map(_without_marks, pipeline.stages)))


def _without_marks(stage: Command) -> Command:
    return structs.replace(
        stage,
        argv=tuple(word.replace(MARK, "") for word in stage.argv),
        assignments=tuple((name, value.replace(MARK, "")) for name, value in stage.assignments),
        redirections=tuple(
            one if one.path is None else structs.replace(one, path=one.path.replace(MARK, ""))
            for one in stage.redirections
        ),
    )


class Template:
    """A pipeline with replacement words, compiled once for all inputs of a batch.

    Args:
        pipeline: its words may be marked as in `corral.commandline.template_words`; without marks all of them was typed.
        shell: the pipeline is a line for sh, as `shell_pipeline` makes it.
        replace: what stands for the whole input.
        lines: inputs are lines of which the columns are parts; the whole is the line.

    Raises:
        UsageError: nothing says where the input goes; or it would be code there.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        shell: bool = False,
        replace: str = DEFAULT_REPLACE,
        lines: bool = False,
    ) -> None:
        self._pattern = replacement_words(replace)
        if shell and not _SHELL_REPLACE.fullmatch(replace):
            raise UsageError(
                f"{replace}: sh reads that in its own way, so it cannot stand for the input; take {{}}"
            )
        self._shell = shell
        self._whole = _Blank(0, _PARTS[""], is_line=lines)
        self._stages = pipeline.stages
        if shell:
            self._check_shell(pipeline.stages[0].argv[-1])
        self._argvs = [[self._compiled(word) for word in stage.argv] for stage in pipeline.stages]
        self._rest = [self._compiled_rest(stage) for stage in pipeline.stages]
        if not self._has_blanks:
            self._append_input(replace)

    # ---- made

    def _compiled(self, word: str) -> _Word:
        texts = split_word(word, self._pattern)
        blanks = [self._pattern.fullmatch(text) for text in texts[1::2]]
        if not any(blanks):
            return "".join(texts)
        pieces = list[str | _Blank](texts)
        pieces[1::2] = [
            text if found is None else self._blank(found)
            for text, found in zip(texts[1::2], blanks, strict=True)
        ]
        return tuple(piece for piece in pieces if piece != "")

    def _blank(self, found: re.Match[str]) -> _Blank:
        if found["whole"]:
            return self._whole
        if found["count"]:
            return _Blank(0, None, is_slot=found["count"] == "%")
        part = _PARTS[found["part"] or ""]
        return _Blank(int(found["column"] or 0), part, is_line=self._whole.is_line)

    def _compiled_rest(self, stage: Command) -> tuple[list[tuple[str, _Word]], list[_Word]] | None:
        """Values of assignments and targets of redirections; None where they stay as they are."""
        values = [(name, self._compiled(value)) for name, value in stage.assignments]
        paths = [one.path or "" for one in stage.redirections]
        targets = [self._compiled(path) for path in paths]
        is_fixed = tuple(values) == stage.assignments and targets == paths
        return None if is_fixed else (values, targets)

    @property
    def _has_blanks(self) -> bool:
        words = list(itertools.chain(*self._argvs))
        for values, targets in filter(None, self._rest):
            words += [*(value for _, value in values), *targets]
        return any(isinstance(word, tuple) for word in words)

    def _append_input(self, replace: str) -> None:
        if len(self._argvs) > 1:
            raise UsageError(f"a pipeline for each input: say where the input goes: {replace}")
        if self._shell:
            line = self._argvs[0][-1]
            self._argvs[0][-1] = (f"{line} ", self._whole)
        else:
            self._argvs[0].append((self._whole,))

    def _check_shell(self, line: str) -> None:
        spans = list(_quoted_spans(line))
        blanks = list(self._pattern.finditer(line))
        for found in blanks:
            is_quoted = any(start <= found.start() < end for start, end in spans)
            # Before the quotes that are put around the input a $ would begin a quote of bash.
            if is_quoted or line.endswith("$", 0, found.start()):
                problem = Problem(
                    found.start(),
                    len(found[0]),
                    f'"{found[0]}" would be read as code there, or as plain text',
                    f'begin with i={found[0]}; and write "$i" there',
                )
                raise CommandLineError(line, problem)
        if not blanks and not _takes_one_more(line, spans):
            hint = f"say where the input goes: begin with i={DEFAULT_REPLACE};"
            raise CommandLineError(line, Problem(len(line), 0, "a word added here may be anything", hint))

    # ---- filled

    def is_fixed(self, stage: int) -> bool:
        """Whether every input runs the same program as that stage, counted from 1."""
        return isinstance(self._argvs[stage - 1][0], str)

    def fill(self, given: BatchInput, number: int, slot: int) -> Pipeline:
        """The commands for an input, which is that number of all, from 1 on, in a slot of those that run at a time.

        Raises:
            UsageError: it has no program then.
        """
        if "\0" in given.text or any("\0" in column for column in given.columns):
            raise UsageError("an input contains a NUL, which no argument can hold")
        stages = []
        for stage, argv, rest in zip(self._stages, self._argvs, self._rest, strict=True):
            words: list[str] = []
            for word in argv:
                if isinstance(word, str):
                    words.append(word)
                else:
                    words += self._words(word, given, number, slot)
            if not words:
                raise UsageError(f"input {number} leaves nothing to run: no program is named")
            filled = structs.replace(stage, argv=tuple(words))
            stages.append(filled if rest is None else self._with_rest(filled, rest, given, number, slot))
        return Pipeline(tuple(stages))

    def _with_rest(
        self,
        stage: Command,
        rest: tuple[list[tuple[str, _Word]], list[_Word]],
        given: BatchInput,
        number: int,
        slot: int,
    ) -> Command:
        def one(word: _Word) -> str:
            return word if isinstance(word, str) else self._joined(word, given, number, slot)

        values, targets = rest
        redirections = tuple(
            before if before.path is None else Redirection(before.fd, before.mode, one(target))
            for before, target in zip(stage.redirections, targets, strict=True)
        )
        assignments = tuple((name, one(value)) for name, value in values)
        return structs.replace(stage, assignments=assignments, redirections=redirections)

    def _words(
        self, word: tuple[str | _Blank, ...], given: BatchInput, number: int, slot: int
    ) -> Sequence[str]:
        """A word that is nothing but one place gives as many words as there are texts for it; one of several places where no
        text is, none."""
        texts = [piece.texts(given, number, slot) for piece in word if isinstance(piece, _Blank)]
        is_bare = len(texts) == len(word) and not self._shell
        if is_bare and (len(texts) == 1 or not any(texts)):
            return texts[0]
        return (self._joined(word, given, number, slot),)

    def _joined(self, word: tuple[str | _Blank, ...], given: BatchInput, number: int, slot: int) -> str:
        quoted = _quoted if self._shell else str
        return "".join(
            piece if isinstance(piece, str) else " ".join(map(quoted, piece.texts(given, number, slot)))
            for piece in word
        )


def _quoted(text: str) -> str:
    """For sh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _takes_one_more(line: str, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a line is a single command, and what is added to it one more of its arguments."""
    bare = list(line)
    for start, end in spans:
        span = line[start:end]
        if end == len(line) and not (len(span) > 1 and span[0] in "'\"" and span[-1] == span[0]):
            return False
        bare[start:end] = "x" * (end - start)
    return not (line.endswith("\\") or _NOT_SIMPLE.search("".join(bare)))


def _quoted_spans(line: str) -> Iterator[tuple[int, int]]:
    """Where in a line for sh an input must not stand: in quotes, after a backslash, in comments, and after the first thing
    whose end is not easily told."""
    at = 0
    while at < len(line):
        danger, quote = _SHELL_DANGER.search(line, at), _SHELL_QUOTE.search(line, at)
        if danger is not None and (quote is None or danger.start() <= quote.start()):
            yield danger.start(), len(line)
            return
        if quote is None:
            return
        if quote[0].startswith("#") and quote.start() == at > 0:
            at += 1  # the blank before it is escaped, or quoted: no comment
            continue
        yield quote.span()
        # Within double quotes there are substitutions, too.
        inner = _SHELL_DANGER.search(quote[0]) if quote[0].startswith('"') else None
        if inner is not None:
            yield quote.start(), len(line)
            return
        at = quote.end()

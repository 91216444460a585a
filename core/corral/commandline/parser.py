"""The command line of a pipeline, parsed by Corral itself: no shell ever sees it.

Words and quotes are those of POSIX sh; `|`, `|&`, `<`, `>`, `>>`, `>|`, `2>`, `2>>`, `2>&1`, `NAME=value` in front, `~`,
`$NAME` and globs mean what they mean there. Anything else that a shell would interpret is refused with its position, never
taken literally.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from corral.commandline.expansion import EMPTY_CONTEXT, ExpansionContext, expand, glob_of_file
from corral.commandline.lexer import QUOTE_IT, RUN_WITH_SHELL, Problem, Token, excerpt, lex
from corral.model.errors import UsageError
from corral.model.spec import Command, Pipeline, Redirection, RedirectionMode
from corral.model.units import RESERVED_WORDS, quote, quote_words

WordRole = Literal["program", "argument", "assignment", "operator", "file", "blank"]
"""What a token is for: `file` is the target of a redirection, `blank` a newline without meaning."""

_PIPES = ("|", "|&")
_MODES: dict[tuple[str, str], tuple[int, RedirectionMode]] = {
    ("", "<"): (0, "read"),
    ("0", "<"): (0, "read"),
    ("", ">"): (1, "write"),
    ("", ">|"): (1, "write"),
    ("", ">>"): (1, "append"),
    ("1", ">"): (1, "write"),
    ("1", ">|"): (1, "write"),
    ("1", ">>"): (1, "append"),
    ("2", ">"): (2, "write"),
    ("2", ">|"): (2, "write"),
    ("2", ">>"): (2, "append"),
    ("2", ">&"): (2, "merge"),
}


class CommandLineError(UsageError):
    """A command line that Corral does not accept.

    `position` is the index of the first offending character and `length` how many there are (at least 0, for an end
    of line that came too soon); `problem` says what is wrong, `hint` what to do, `needs_shell` whether sh would take it.
    """

    def __init__(self, text: str, found: Problem) -> None:
        super().__init__(f"{_place(text, found.position)}: {found.problem}; {found.hint}")
        self.position = found.position
        self.length = found.length
        self.problem = found.problem
        self.hint = found.hint
        self.needs_shell = found.needs_shell


class Part(NamedTuple):
    """One token of a line, and its role. `stage` counts from 1; a pipe belongs to the stage before it."""

    token: Token
    role: WordRole
    stage: int
    problem: Problem | None
    words: tuple[str, ...] = ()
    """What it expands to, once `expanded`; as typed if it has a problem."""

    @property
    def start(self) -> int:
        return self.token.start

    @property
    def end(self) -> int:
        return self.token.end


class WordAt(NamedTuple):
    """The word that contains or ends at the cursor: `text[start:end]`, empty after a blank.

    `value` is the word without quotes, `before` the part of it left of the cursor; `quote` is the quote that is open
    there.
    """

    start: int
    end: int
    value: str
    before: str
    role: WordRole
    quote: str = ""


def parse(text: str, context: ExpansionContext = EMPTY_CONTEXT) -> Pipeline:
    """The pipeline of the line `text`, its words expanded in `context`.

    Raises:
        CommandLineError: for what Corral does not support, what sh would not accept either, and what cannot be expanded;
            the first problem. Nothing is expanded if the line cannot run anyway.
    """
    found = _checked(text, parts(text))
    return pipeline_of(_checked(text, expanded(found, context)))


def _checked(text: str, found: list[Part]) -> list[Part]:
    problem = first_problem(found)
    if problem is not None:
        raise CommandLineError(text, problem)
    return found


def pipeline_of(found: Iterable[Part]) -> Pipeline:
    """The pipeline of `expanded` parts without problems."""
    commands: list[_CommandBuilder] = [_CommandBuilder()]
    for part in found:
        if part.role == "operator" and part.token.value in _PIPES:
            commands[-1].merges = part.token.value == "|&"
            commands.append(_CommandBuilder())
        else:
            commands[-1].take(part)
    return Pipeline(tuple(command.build() for command in commands))


def parse_argv(argv: Sequence[str]) -> Pipeline:
    """One stage that runs exactly `argv`.

    Raises:
        UsageError: for an empty argv, and for NUL characters, which no program can be given (execve(2)).
    """
    if not argv:
        raise UsageError("no command: name the program to run")
    for number, word in enumerate(argv):
        if "\0" in word:
            raise UsageError(f"word {number + 1} of the command holds a NUL character: take it out")
    return Pipeline((Command(tuple(argv)),))


def shell_pipeline(text: str) -> Pipeline:
    """One stage in which sh runs the whole of `text`.

    Raises:
        UsageError: for an empty line, and for NUL characters.
    """
    if not text.strip():
        raise UsageError("empty command line: write the commands that sh is to run")
    return parse_argv(("/bin/sh", "-c", text))


def quote_pipeline(pipeline: Pipeline) -> str:
    """`pipeline` as a line that `parse` turns back into an equal value."""
    written: list[str] = []
    for number, command in enumerate(pipeline.stages, start=1):
        written.append(_quote_command(command))
        if number < len(pipeline.stages):
            written.append("|&" if command.merges_stderr_into_pipe else "|")
    return " ".join(written)


def _quote_command(command: Command) -> str:
    front = [f"{name}={''.join(quote_words([value]))}" for name, value in command.assignments]
    behind = [_quote_redirection(redirection) for redirection in command.redirections]
    return " ".join([*front, quote(command.argv), *behind])


def _quote_redirection(redirection: Redirection) -> str:
    if redirection.mode == "merge" or redirection.path is None:
        return "2>&1"
    arrow = {"read": "<", "write": ">", "append": ">>"}[redirection.mode]
    digits = "2" if redirection.fd == 2 else ""
    return f"{digits}{arrow} {''.join(quote_words([redirection.path]))}"


def parts(text: str) -> list[Part]:
    """Every token of `text` with its role and its problem; never raises, even for an incomplete line.

    A problem at the end of the line belongs to an empty last part.
    """
    walk = _RoleAssigner(len(text))
    found = [walk.part(token) for token in lex(text)]
    last = walk.problem_of_end()
    if last is not None:
        end = Token("newline", len(text), len(text), "")
        found.append(Part(end, "blank", walk.stage, last))
    return found


def expanded(found: Iterable[Part], context: ExpansionContext) -> list[Part]:
    """The parts with the words that they expand to, or the problem that prevents it."""
    done: list[Part] = []
    assigned: dict[str, str] = {}
    for part in found:
        if done and done[-1].stage != part.stage:
            assigned = {}
        done.append(_expanded(part, context, assigned))
        if part.role == "assignment":
            name, value = _assignment(done[-1])
            assigned[name] = value
    return done


def _expanded(part: Part, context: ExpansionContext, assigned: Mapping[str, str]) -> Part:
    token = part.token
    if token.kind != "word" or part.problem is not None:
        return part._replace(words=(token.value,))
    purpose = part.role if part.role in ("assignment", "file") else "words"
    words = expand(token, purpose, context, assigned)
    if isinstance(words, Problem):
        return part._replace(words=(token.value,), problem=words)
    return part._replace(words=words, problem=_emptiness_problem(part, words))


def _emptiness_problem(part: Part, words: tuple[str, ...]) -> Problem | None:
    """A program or file whose name expanded to nothing."""
    if words[0] or part.token.letters is None or part.role not in ("program", "file"):
        return None
    what = "a file" if part.role == "file" else "a program"
    problem = f"{excerpt(part.token.value)} is empty, but {what} is needed here"
    return part.token.wrong(problem, f"name {what}")


def _assignment(part: Part) -> tuple[str, str]:
    place = part.token.assigns
    return part.words[0][:place], part.words[0][place + 1 :]


def word_at(text: str, cursor: int) -> WordAt:
    """The word under or before `cursor`, for completion. Never raises."""
    cursor = max(0, min(cursor, len(text)))
    left = [part for part in parts(text[:cursor]) if part.end > part.start]
    if left and left[-1].end == cursor and left[-1].token.kind == "word":
        here = left[-1]
        whole = _word_from(text, here.start) or here.token
        return WordAt(here.start, whole.end, whole.value, here.token.value, here.role, here.token.open_quote)
    following = parts(f"{text[:cursor]} x")[len(left) :]
    role = following[0].role if following else "blank"
    whole_after = _word_from(text, cursor)
    if whole_after is None:
        return WordAt(cursor, cursor, "", "", role)
    return WordAt(cursor, whole_after.end, whole_after.value, "", role)


def _word_from(text: str, start: int) -> Token | None:
    return next((token for token in lex(text) if token.start == start and token.kind == "word"), None)


class _CommandBuilder:
    """Builds one command from parts without problems."""

    def __init__(self) -> None:
        self.argv: list[str] = []
        self.assignments: list[tuple[str, str]] = []
        self.redirections: list[Redirection] = []
        self.operator: Token | None = None
        self.merges = False

    def take(self, part: Part) -> None:
        if part.role in ("program", "argument"):
            self.argv += part.words
        elif part.role == "assignment":
            self.assignments.append(_assignment(part))
        elif part.role == "operator":
            self.operator = part.token
        elif part.role == "file" and self.operator is not None:
            descriptor, mode = _MODES[self.operator.descriptor, self.operator.value]
            path = None if mode == "merge" else part.words[0]
            self.redirections.append(Redirection(descriptor, mode, path))

    def build(self) -> Command:
        return Command(tuple(self.argv), tuple(self.assignments), tuple(self.redirections), self.merges)


class _RoleAssigner:
    """Assigns each token its role, from the tokens before it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.stage = 1
        self.pipe: Token | None = None
        self.redirection: Token | None = None
        self.first: Token | None = None
        self.has_program = False
        self.line_is_over: Token | None = None

    def part(self, token: Token) -> Part:
        if token.kind == "newline":
            return self._newline(token)
        stage = self.stage
        extra = self._second_line() if self.line_is_over is not None else None
        if token.kind == "operator":
            role, problem = self._operator(token)
        elif token.kind == "comment":
            role, problem = "blank", token.problem
        else:
            role, problem = self._word(token)
        return Part(token, role, stage, extra or problem)

    def _newline(self, token: Token) -> Part:
        """It ends a command, but not before the first word or after a pipe (POSIX 2.10.2, linebreak)."""
        problem = self._missing_file(token) if self.redirection is not None else None
        if self.first is not None and self.line_is_over is None:
            self.line_is_over = token
        return Part(token, "blank", self.stage, problem)

    def _second_line(self) -> Problem:
        newline, self.line_is_over = self.line_is_over, None
        position = newline.start if newline else 0
        hint = f"{RUN_WITH_SHELL}, or end the line with a backslash or a pipe"
        return Problem(position, 1, "a shell would run the next line as a second command", hint, True)

    def _operator(self, token: Token) -> tuple[WordRole, Problem | None]:
        if self.redirection is not None:
            return "operator", self._missing_file(token)
        if token.problem is not None:
            return "operator", token.problem
        if token.value in _PIPES:
            return "operator", self._pipe(token)
        self.redirection = self.first = token
        return "operator", _redirection_problem(token)

    def _pipe(self, token: Token) -> Problem | None:
        problem = None if self.has_program else self._no_program(token.start, len(token.value))
        self.stage += 1
        self.pipe, self.first, self.has_program = token, None, False
        return problem

    def _word(self, token: Token) -> tuple[WordRole, Problem | None]:
        operator, self.redirection = self.redirection, None
        self.first = self.first or token
        if operator is not None:
            return "file", token.problem or _file_problem(operator, token)
        if self.has_program:
            return "argument", token.problem
        if token.assigns:
            return "assignment", token.problem or _assignment_problem(token)
        self.has_program = True
        return "program", token.problem or _program_problem(token)

    def problem_of_end(self) -> Problem | None:
        if self.redirection is not None:
            return self._missing_file(None)
        return None if self.has_program else self._no_program(self.length, 0)

    def _missing_file(self, token: Token | None) -> Problem:
        operator, self.redirection = self.redirection, None
        if operator is None:
            raise AssertionError("no redirection waits for its file")
        length = (operator.end if token is None else token.end) - operator.start
        shown = f"{operator.descriptor}{operator.value}"
        if operator.value == ">&":
            return Problem(operator.start, length, f'"{shown}" names no descriptor', "write 2>&1")
        return Problem(operator.start, length, f'"{shown}" names no file', "write the file's name after it")

    def _no_program(self, position: int, length: int) -> Problem:
        """`position` and `length` are those of the pipe or the end that comes too soon."""
        if self.first is not None:
            what = "a redirection" if self.first.kind == "operator" else "an assignment"
            return self.first.wrong(f"{what} without a command", "write the program after it")
        if self.pipe is not None:
            return self.pipe.wrong("nothing follows this pipe", "write the next program")
        if length:
            return Problem(position, length, "nothing comes before this pipe", "write a program there")
        return Problem(0, self.length, "empty command line", "write the program to run")


def _redirection_problem(token: Token) -> Problem | None:
    if (token.descriptor, token.value) in _MODES:
        return None
    shown = f"{token.descriptor}{token.value}"
    hint = f"use < > >> 2> 2>> 2>&1, or {RUN_WITH_SHELL}"
    return token.wrong(f'"{shown}" is a redirection that Corral does not support', hint, needs_shell=True)


def _file_problem(operator: Token, target: Token) -> Problem | None:
    start, length = operator.start, target.end - operator.start
    if operator.value == ">&" and (target.value != "1" or target.is_quoted):
        hint = f"only 2>&1 is known; {RUN_WITH_SHELL}"
        return Problem(start, length, "Corral does not support this copy of a descriptor", hint, True)
    if not target.value:
        return target.wrong("a file name cannot be empty", "name a file")
    return glob_of_file(target)


def _assignment_problem(token: Token) -> Problem | None:
    if token.value[token.assigns] != "+":
        return None
    place = token.start + token.assigns
    return Problem(place, 2, '"+=" is an assignment of bash', "write NAME=value")


def _program_problem(token: Token) -> Problem | None:
    if token.is_quoted or token.value not in RESERVED_WORDS:
        return None
    problem = f'"{token.value}" is syntax of a shell, and Corral uses none'
    return token.wrong(problem, f"{RUN_WITH_SHELL}, or {QUOTE_IT}", needs_shell=True)


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position)
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return f"line {line + 1}, column {column}" if "\n" in text.strip("\n") else f"column {column}"


def first_problem(found: Iterable[Part]) -> Problem | None:
    """The problem that `parse` raises; None for a line that can run."""
    return next((part.problem for part in found if part.problem is not None), None)

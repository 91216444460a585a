"""Splits a command line into words and operators as POSIX sh does (POSIX.1-2017, Shell Command Language, 2.2-2.3).

Never raises: what Corral does not support is a token with a problem, so that a prompt can mark an incomplete line.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

TokenKind = Literal["word", "operator", "newline", "comment"]


class Problem(NamedTuple):
    """What is wrong at `text[position : position + length]`, and what to do."""

    position: int
    length: int
    problem: str
    hint: str
    needs_shell: bool = False
    """Whether running the whole line with sh would make it work."""


class Letters(NamedTuple):
    """The characters of a word that may contain expansions. A variable counts as one, as typed."""

    texts: tuple[str, ...]
    """Empty where a quote opens: it separates a tilde from a name."""
    bare: str
    """As long as `texts`: characters outside quotes, and `MASK` for all others, variables included."""
    sources: tuple[int, ...]
    """The position of each in the line."""
    variables: dict[int, str]
    """The name of each, by its index in `texts`."""


class Token(NamedTuple):
    """`text[start:end]`. `value` is what a program would get: quotes removed, variables and patterns as typed."""

    kind: TokenKind
    start: int
    end: int
    value: str
    assigns: int = 0
    """The length of NAME in an unquoted `NAME=` at the start; 0 without one."""
    is_quoted: bool = False
    descriptor: str = ""
    """The digits written before a redirection."""
    problem: Problem | None = None
    open_quote: str = ""
    """The quote that is not closed by the end of the text."""
    letters: Letters | None = None
    """None for a word without expansions."""

    def wrong(self, problem: str, hint: str, *, needs_shell: bool = False) -> Problem:
        """That this token is not as it has to be."""
        return Problem(self.start, self.end - self.start, problem, hint, needs_shell)


RUN_WITH_SHELL = "--shell runs the whole line with sh"
QUOTE_IT = "quote it to mean the character itself"

_OPERATOR = re.compile(r"&&|\|\||\|&|\||;;|;|&>>|&>|&|\(|\)|<<<|<<-|<<|<>|<&|<\(|<|>>|>\||>&|>\(|>")
_DESCRIPTOR = re.compile(r"([0-9]+)(?:\\\n)*(?=[<>])")
_NAME = r"(?:\\\n)*[A-Za-z_](?:[A-Za-z0-9_]|\\\n)*"
_VARIABLE = re.compile(rf"\$(?:({_NAME})|(?:\\\n)*\{{({_NAME})\}})")
"""A line continuation is allowed anywhere in it."""
_REFUSED_EXPANSION = re.compile(r"\$(?:\\\n)*(?:[0-9@*#?$!-]|\{[^}]*\}?|\(\(?|\[)")
"""`$[` is arithmetic for bash."""
_QUOTE_OF_BASH = re.compile(r"\$(?:\\\n)*['\"]")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
MASK = "\0"
"""Replaces a quoted character where only unquoted ones count; no word can contain it."""

_EXPANDED = "is expanded by a shell, and Corral uses none"
_REFUSED_OPERATORS = {
    "&&": "runs a second command after the first",
    "||": "runs a second command if the first fails",
    ";": "ends one command and starts another",
    ";;": "belongs to a shell's case",
    "&": "puts a command into the background of a shell",
    "(": "starts a subshell",
    ")": "ends a subshell",
    "<<": "starts a here-document",
    "<<-": "starts a here-document",
    "<<<": "starts a here-string",
    "<(": "starts a process substitution",
    ">(": "starts a process substitution",
    "&>": "redirects both outputs in bash",
    "&>>": "redirects both outputs in bash",
}
_INSTEAD_OF_BASH = {
    "<<<": "bash -c '…' has it, or --stdin gives the command a file",
    "<(": "bash -c '…' has it",
    ">(": "bash -c '…' has it",
    "&>": "write > FILE 2>&1",
    "&>>": "write >> FILE 2>&1",
}
"""Not supported by sh itself, where `a &> f` runs `a` in the background and truncates f."""


def lex(text: str) -> list[Token]:
    """Every token of `text`, in order, without blanks and line continuations."""
    found: list[Token] = []
    position = 0
    while (position := _skip_blanks(text, position)) < len(text):
        found.append(_token_at(text, position))
        position = found[-1].end
    return found


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text):
        if text[position] in " \t":
            position += 1
        elif text.startswith("\\\n", position):
            position += 2
        else:
            break
    return position


def _token_at(text: str, start: int) -> Token:
    if text[start] == "\n":
        return Token("newline", start, start + 1, "\n")
    if text[start] == "#":
        return _comment(text, start)
    digits = _DESCRIPTOR.match(text, start)
    operator = _OPERATOR.match(text, digits.end() if digits else start)
    if operator is not None:
        descriptor = digits[1] if digits else ""
        problem = _operator_problem(operator[0], start, operator.end())
        return Token("operator", start, operator.end(), operator[0], 0, False, descriptor, problem)
    return _Word(text, start).read()


def _comment(text: str, start: int) -> Token:
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    problem = Problem(start, 1, '"#" starts a comment in a shell', f"{QUOTE_IT}, or leave the comment out")
    return Token("comment", start, end, text[start:end], problem=problem)


def _operator_problem(operator: str, start: int, end: int) -> Problem | None:
    meaning = _REFUSED_OPERATORS.get(operator)
    if meaning is None:
        return None
    hint = _INSTEAD_OF_BASH.get(operator, f"{RUN_WITH_SHELL}, or {QUOTE_IT}")
    what = f'"{operator}" {meaning}, and Corral uses no shell'
    return Problem(start, end - start, what, hint, operator not in _INSTEAD_OF_BASH)


class _Word:
    """Reads one word: its value, and the same with quoted characters masked."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start
        self.position = start
        self.value: list[str] = []
        self.bare: list[str] = []
        self.sources: list[int] = []
        self.variables: dict[int, str] = {}
        self.problem: Problem | None = None
        self.open_quote = ""
        self.is_quoted = False

    def read(self) -> Token:
        while self.position < len(self.text):
            letter = self.text[self.position]
            if letter in " \t\n|&;<>()":
                break
            self._read_part(letter)
        bare = "".join(self.bare)
        assigned = _ASSIGNMENT.match(bare)
        problem = self._earliest(self._brace_problem(bare))
        return Token(
            "word",
            self.start,
            self.position,
            "".join(self.value),
            len(assigned[1]) if assigned else 0,
            self.is_quoted,
            "",
            problem,
            self.open_quote,
            self._letters(bare),
        )

    def _letters(self, bare: str) -> Letters | None:
        if not self.variables and not any(mark in bare for mark in "~*?["):
            return None
        return Letters(tuple(self.value), bare, tuple(self.sources), self.variables)

    def _read_part(self, letter: str) -> None:
        if letter == "'":
            self._single_quotes()
        elif letter == '"':
            self._double_quotes()
        elif letter == "\\":
            self._backslash()
        elif not self._take_variable():
            self._note_expansion(letter, QUOTE_IT)
            self._take(letter, is_bare=True)

    def _take(self, letter: str, *, is_bare: bool) -> None:
        if letter == "\0":
            self._note(1, "a NUL character cannot be given to a program", "take it out", needs_shell=False)
        self._add(letter, letter if is_bare else MASK)
        self.position += 1

    def _add(self, text: str, bare: str) -> None:
        self.value.append(text)
        self.bare.append(bare)
        self.sources.append(self.position)

    def _take_variable(self) -> bool:
        """Read `$NAME` or `${NAME}`, also inside double quotes."""
        found = _VARIABLE.match(self.text, self.position)
        if found is None:
            return False
        self.variables[len(self.value)] = (found[1] or found[2]).replace("\\\n", "")
        self._add(found[0], MASK)
        self.position = found.end()
        return True

    def _single_quotes(self) -> None:
        opened = self._open_quote("'")
        while self.position < len(self.text):
            letter = self.text[self.position]
            if letter == "'":
                self.position += 1
                return
            self._take(letter, is_bare=False)
        self._unclosed(opened, "'")

    def _double_quotes(self) -> None:
        opened = self._open_quote('"')
        while self.position < len(self.text):
            letter = self.text[self.position]
            if letter == '"':
                self.position += 1
                return
            if (letter == "\\" and self._escapes_in_double_quotes()) or self._take_variable():
                continue
            self._note_expansion(letter, "single quotes mean the character itself")
            self._take(letter, is_bare=False)
        self._unclosed(opened, '"')

    def _open_quote(self, quote: str) -> int:
        self.is_quoted = True
        self._add("", MASK)
        self.position += 1
        return self.position - 1

    def _unclosed(self, opened: int, quote: str) -> None:
        self.open_quote = quote
        self._note(
            1,
            f"this {quote} is never closed",
            f"close it, or write \\{quote} for the quote itself",
            opened,
            needs_shell=False,
        )

    def _escapes_in_double_quotes(self) -> bool:
        """A backslash quotes only `$`, a backquote, `"`, a backslash and a newline here (POSIX 2.2.3)."""
        following = self.text[self.position + 1 : self.position + 2]
        if not following or following not in '$`"\\\n':
            return False
        self.position += 1
        if following == "\n":
            self.position += 1
        else:
            self._take(following, is_bare=False)
        return True

    def _backslash(self) -> None:
        following = self.text[self.position + 1 : self.position + 2]
        self.is_quoted = True
        if not following:
            self._note(
                1, "nothing follows this backslash", "write \\\\ to mean a backslash", needs_shell=False
            )
            self.open_quote = "\\"
        self.position += 1
        if following == "\n":
            self.position += 1
        elif following:
            self._take(following, is_bare=False)

    def _note_expansion(self, letter: str, literal: str) -> None:
        """Note the problem of `$` and a backquote; a `$` that no name or expansion follows is literal."""
        if letter == "`":
            self._note(1, f'"`" {_EXPANDED}', f"{RUN_WITH_SHELL}, or {literal}")
        if letter != "$":
            return
        found = _REFUSED_EXPANSION.match(self.text, self.position)
        quoted = _QUOTE_OF_BASH.match(self.text, self.position)
        if found is not None:
            self._note(len(found[0]), f'"{excerpt(found[0])}" {_EXPANDED}', f"{RUN_WITH_SHELL}, or {literal}")
        elif literal is QUOTE_IT and quoted is not None:
            problem = f"{excerpt(quoted[0])} is a quote of bash, which Corral does not know"
            self._note(len(quoted[0]), problem, "leave the $ out", needs_shell=False)

    def _brace_problem(self, bare: str) -> Problem | None:
        span = _braces(bare)
        if span is None:
            return None
        start = self.sources[span[0]]
        length = self.sources[span[1] - 1] + 1 - start
        shown = excerpt(self.text[start : start + length])
        return Problem(start, length, f'"{shown}" {_EXPANDED}', f"bash -c '…' expands it, or {QUOTE_IT}")

    def _note(
        self, length: int, problem: str, hint: str, position: int | None = None, *, needs_shell: bool = True
    ) -> None:
        place = self.position if position is None else position
        self.problem = self._earliest(Problem(place, length, problem, hint, needs_shell))

    def _earliest(self, other: Problem | None) -> Problem | None:
        found = [problem for problem in (self.problem, other) if problem is not None]
        return min(found, key=lambda problem: problem.position, default=None)


def _braces(bare: str) -> tuple[int, int] | None:
    """The first `{a,b}` or `{1..3}` to be closed; `{}` and `{a}` are literal, as in bash."""
    opened: list[int] = []
    is_list: list[bool] = []
    for place, letter in enumerate(bare):
        if letter == "{":
            opened.append(place)
            is_list.append(False)
        elif opened and (letter == "," or bare.startswith("..", place)):
            is_list[-1] = True
        elif opened and letter == "}":
            start = opened.pop()
            if is_list.pop():
                return start, place + 1
    return None


def excerpt(text: str, most: int = 40) -> str:
    """`text` for an error message: one line of at most `most` characters."""
    shown = "".join(letter if letter.isprintable() else "·" for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"

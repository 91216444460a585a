"""Expands `~`, `$NAME` and globs as POSIX sh does (2.6.1, 2.6.2, 2.6.6), except that a value is never split into words nor
globbed, and that an unset variable or a pattern without matches is an error. Pure: the context does all look-ups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from corral.commandline.globs import FileName, file_names, globs
from corral.commandline.lexer import MASK, QUOTE_IT, RUN_WITH_SHELL, Letters, Problem, Token, excerpt
from corral.commandline.template_words import MARK, join_word, split_word

Purpose = Literal["words", "assignment", "file"]

_TILDE = re.compile(r"~([^/]*)")
_TILDE_IN_ASSIGNMENT = re.compile(r"~([^/:]*)")


class Matches(NamedTuple):
    """The files that a pattern matches, in the order of sh; relative if the pattern is."""

    paths: tuple[str, ...] = ()
    no_match_reason: str = ""
    """Why there are none, if not simply because no file matches."""
    is_complete: bool = True
    """False if the search was given up before its end."""


class ExpansionContext(NamedTuple):
    """What expansions look up. Text is in wire form (`corral.model.wire`)."""

    environment: Mapping[str, str]
    """The job's, without the `NAME=value` of the line itself."""
    directory: str
    home_of: Callable[[str], str | None]
    """The home directory of a user, `""` for this one; None if there is no such user."""
    files: Callable[[Sequence[FileName]], Matches]
    replaced: re.Pattern[str] | None = None
    """What stands for an input, which goes in after all expansions. Words are as in `corral.commandline.template_words` then."""


EMPTY_CONTEXT = ExpansionContext({}, "/", lambda user: None, lambda names: Matches())
"""Without any variable, user or file."""


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.problem)
        self.problem = problem


class _Written(NamedTuple):
    """A word after the first expansions. `mask` is as in `corral.commandline.globs`."""

    text: str
    """With marks around all that stands for an input."""
    mask: str
    sources: tuple[int, ...]


def expand(
    token: Token, purpose: Purpose, context: ExpansionContext, assigned: Mapping[str, str]
) -> tuple[str, ...] | Problem:
    """The words that a word expands to; a `NAME=value` and a file expand to exactly one.

    Args:
        assigned: earlier assignments of the same command; only assignments see them.
    """
    try:
        if purpose == "assignment" and context.replaced is not None:
            _refuse_replaced_name(token, context.replaced)
        if token.letters is None:
            return (token.value,)
        written = _written(token.letters, purpose, context, assigned)
        spans = globs(written.mask) if purpose == "words" else []
        texts = _paths(token, written, spans, context) if spans else (written.text,)
    except _RefusedError as refused:
        return refused.problem
    if context.replaced is None:
        return texts
    return tuple(join_word(text.split(MARK), context.replaced) for text in texts)


def _refuse_replaced_name(token: Token, replaced: re.Pattern[str]) -> None:
    found = replaced.search(token.value)
    if found is not None and found.start() <= token.assigns:
        problem = f'"{excerpt(found[0])}" stands for an input, and no name of a variable does'
        raise _RefusedError(token.wrong(problem, "choose another name, or another word for the input"))


def glob_of_file(token: Token) -> Problem | None:
    """The problem of a redirection to a pattern: several files might match."""
    letters = token.letters
    spans = globs(letters.bare) if letters is not None else []
    if letters is None or not spans:
        return None
    start, length, shown = _marked(spans[0], letters.texts, letters.sources)
    problem = f'"{shown}" may match several files, but a redirection needs one'
    return Problem(start, length, problem, f"name the file, or {QUOTE_IT}")


def _written(
    letters: Letters, purpose: Purpose, context: ExpansionContext, assigned: Mapping[str, str]
) -> _Written:
    texts, bare, replaced = list(letters.texts), list(letters.bare), context.replaced
    blanks = _blanks(letters, replaced) if replaced is not None else []
    environment = context.environment
    if purpose == "assignment":
        environment = {**environment, **_marked_values(assigned, replaced)}
    for place, name in letters.variables.items():
        texts[place] = _value(name, place, letters, environment, assigned)
    for start, end in blanks:
        bare[start:end] = [MASK] * (end - start)
        texts[start] = MARK + texts[start]
        texts[end - 1] += MARK
    for found in _tildes(letters.bare, purpose):
        if bare[found.start()] == MASK:
            continue
        if MASK in bare[found.start() : found.end()]:
            raise _RefusedError(_too_early("~", letters.sources[found.start()], 1))
        home = _home(found[1], letters.sources[found.start()], environment, context)
        has_slash = home.endswith("/") and letters.bare.startswith("/", found.end())
        texts[found.start() : found.end()] = [home[:-1] if has_slash else home] + [""] * len(found[1])
        bare[found.start() : found.end()] = [MASK] * len(found[0])
    flat = list(zip(texts, bare, letters.sources, strict=True))
    return _Written(
        "".join(texts),
        "".join(sign if sign != MASK else re.sub("[^/]", MASK, text) for text, sign, _ in flat),
        tuple(source for text, _, source in flat for _ in text),
    )


def _blanks(letters: Letters, replaced: re.Pattern[str]) -> list[tuple[int, int]]:
    """Which letters stand for an input."""
    places: list[int] = []
    typed: list[str] = []
    for place, text in enumerate(letters.texts):
        seen = MASK if place in letters.variables else text
        places += [place] * len(seen)
        typed.append(seen)
    return [
        (places[found.start()], places[found.end() - 1] + 1) for found in replaced.finditer("".join(typed))
    ]


def _marked_values(assigned: Mapping[str, str], replaced: re.Pattern[str] | None) -> Mapping[str, str]:
    if replaced is None:
        return assigned
    return {name: MARK.join(split_word(value, replaced)) for name, value in assigned.items()}


def _too_early(shown: str, start: int, length: int, *, needs_shell: bool = False) -> Problem:
    problem = f'"{shown}" is looked up once, before any input goes in, so no word has both'
    hint = f"{RUN_WITH_SHELL}, or {QUOTE_IT}" if needs_shell else QUOTE_IT
    return Problem(start, length, problem, hint, needs_shell)


def _value(
    name: str, place: int, letters: Letters, environment: Mapping[str, str], assigned: Mapping[str, str]
) -> str:
    value = environment.get(name)
    if value is not None:
        return value
    hint = "set it before, or write \\$ to mean the character itself"
    if name in assigned:
        hint = f"{name}=… in front of a program is for that program alone; set it before"
    typed = letters.texts[place]
    problem = f"{excerpt(typed)} is not set"
    raise _RefusedError(Problem(letters.sources[place], len(typed), problem, hint))


def _tildes(bare: str, purpose: Purpose) -> list[re.Match[str]]:
    """Each tilde with the user's name behind it; a quote or a variable in the name makes the tilde literal."""
    if purpose == "assignment":
        first = bare.index("=")
        starts = [place + 1 for place in range(first, len(bare)) if place == first or bare[place] == ":"]
        found = [_TILDE_IN_ASSIGNMENT.match(bare, start) for start in starts]
    else:
        found = [_TILDE.match(bare)]
    return [one for one in found if one is not None and MASK not in one[1]]


def _home(user: str, source: int, environment: Mapping[str, str], context: ExpansionContext) -> str:
    home = environment.get("HOME") if not user else None
    home = context.home_of(user) if home is None else home
    if home is not None:
        return home
    problem = f'no user is called "{excerpt(user)}"' if user else "HOME is not set, and this user has no home"
    hint = "write $HOME for your own directory" if user.startswith(":") else QUOTE_IT
    raise _RefusedError(Problem(source, 1 + len(user), problem, hint))


def _paths(
    token: Token, written: _Written, spans: list[tuple[int, int]], context: ExpansionContext
) -> tuple[str, ...]:
    for span in spans:
        if MARK in written.text:
            start, length, shown = _marked(span, written.text, written.sources)
            raise _RefusedError(_too_early(shown, start, length, needs_shell=True))
        if written.mask.startswith("[^", span[0]):
            start, length, shown = _marked(span, written.text, written.sources)
            problem = f'"{shown}" means other letters than these in bash, and these letters in sh'
            raise _RefusedError(Problem(start, length, problem, f"write [!…], or {QUOTE_IT}"))
    found = context.files(file_names(written.text, written.mask))
    if found.paths or not found.is_complete:
        return found.paths or (token.value,)
    where = "" if written.text.startswith("/") else f" in {excerpt(context.directory, 200)}"
    no_match_reason = (
        excerpt(found.no_match_reason, 200) if found.no_match_reason else f"matches no file{where}"
    )
    problem = f'"{excerpt(token.value)}" {no_match_reason}'
    start, length, _ = _marked(spans[0], written.text, written.sources)
    raise _RefusedError(Problem(start, length, problem, f"correct it, or {QUOTE_IT}"))


def _marked(span: tuple[int, int], texts: Sequence[str], sources: Sequence[int]) -> tuple[int, int, str]:
    """Start and length of the pattern in the line, and an excerpt of it."""
    first, last = span
    start = sources[first]
    return start, sources[last - 1] + 1 - start, excerpt("".join(texts[first:last]).replace(MARK, ""))

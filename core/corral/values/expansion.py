"""What `~`, `$NAME` and globs in a word become, as in POSIX sh (2.6.1, 2.6.2, 2.6.6), but that a value is never split into
words nor globbed, and that what is unset or matches nothing is an error. Pure: what only the system knows is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from corral.values.globs import FileName, file_names, globs
from corral.values.words import MASK, QUOTE_IT, Letters, Problem, Token, one_line

Purpose = Literal["words", "assignment", "file"]

_TILDE = re.compile(r"~([^/]*)")
_TILDE_IN_ASSIGNMENT = re.compile(r"~([^/:]*)")


class Found(NamedTuple):
    """The files that a pattern matches, in the order of sh, as it writes them: relative to where it is looked for."""

    paths: tuple[str, ...] = ()
    trouble: str = ""
    """Where there are none: what the pattern does instead of matching, unless that is simply nothing."""
    is_whole: bool = True
    """False where nobody waited until all was looked at."""


class Outside(NamedTuple):
    """What the words of a line can ask for. Text is in wire form (`corral.values.wire`)."""

    environment: Mapping[str, str]
    """The job's, without the `NAME=value` of the line itself."""
    directory: str
    home_of: Callable[[str], str | None]
    """The home directory of a user, `""` for this one; None where there is no such user."""
    files: Callable[[Sequence[FileName]], Found]


NOTHING = Outside({}, "/", lambda user: None, lambda names: Found())
"""Where no variable is set, nobody lives and no file is."""


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.problem)
        self.problem = problem


class _Written(NamedTuple):
    """A word after the first expansions. `mask` is as in `corral.values.globs`."""

    text: str
    mask: str
    sources: tuple[int, ...]


def expand(
    token: Token, purpose: Purpose, outside: Outside, assigned: Mapping[str, str]
) -> tuple[str, ...] | Problem:
    """The words that a word becomes; of `NAME=value` and of a file it is one.

    Args:
        assigned: what the line has assigned before, for this command; only assignments see it.
    """
    if token.letters is None:
        return (token.value,)
    try:
        written = _written(token.letters, purpose, outside, assigned)
        spans = globs(written.mask) if purpose == "words" else []
        return _paths(token, written, spans, outside) if spans else (written.text,)
    except _RefusedError as refused:
        return refused.problem


def glob_of_file(token: Token) -> Problem | None:
    """Why the target of a redirection is none: several files might match."""
    letters = token.letters
    spans = globs(letters.bare) if letters is not None else []
    if letters is None or not spans:
        return None
    start, length, shown = _marked(spans[0], letters.texts, letters.sources)
    problem = f'"{shown}" may match several files, and a redirection has one'
    return Problem(start, length, problem, f"name the file, or {QUOTE_IT}", False)


def _written(letters: Letters, purpose: Purpose, outside: Outside, assigned: Mapping[str, str]) -> _Written:
    texts, bare = list(letters.texts), list(letters.bare)
    environment = {**outside.environment, **assigned} if purpose == "assignment" else outside.environment
    for place, name in letters.variables.items():
        texts[place] = _value(name, place, letters, environment, assigned)
    for found in _tildes(letters.bare, purpose):
        home = _home(found[1], letters.sources[found.start()], environment, outside)
        has_slash = home.endswith("/") and letters.bare.startswith("/", found.end())
        texts[found.start() : found.end()] = [home[:-1] if has_slash else home] + [""] * len(found[1])
        bare[found.start() : found.end()] = [MASK] * len(found[0])
    flat = list(zip(texts, bare, letters.sources, strict=True))
    return _Written(
        "".join(texts),
        "".join(sign if sign != MASK else re.sub("[^/]", MASK, text) for text, sign, _ in flat),
        tuple(source for text, _, source in flat for _ in text),
    )


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
    problem = f"{one_line(typed)} is not set"
    raise _RefusedError(Problem(letters.sources[place], len(typed), problem, hint, False))


def _tildes(bare: str, purpose: Purpose) -> list[re.Match[str]]:
    """With what follows of a user's name; a quote or a variable in that makes the tilde stand for itself."""
    if purpose == "assignment":
        first = bare.index("=")
        starts = [place + 1 for place in range(first, len(bare)) if place == first or bare[place] == ":"]
        found = [_TILDE_IN_ASSIGNMENT.match(bare, start) for start in starts]
    else:
        found = [_TILDE.match(bare)]
    return [one for one in found if one is not None and MASK not in one[1]]


def _home(user: str, source: int, environment: Mapping[str, str], outside: Outside) -> str:
    home = environment.get("HOME") if not user else None
    home = outside.home_of(user) if home is None else home
    if home is not None:
        return home
    problem = (
        f'no user is called "{one_line(user)}"' if user else "HOME is not set, and this user has no home"
    )
    hint = "write $HOME for your own directory" if user.startswith(":") else QUOTE_IT
    raise _RefusedError(Problem(source, 1 + len(user), problem, hint, False))


def _paths(
    token: Token, written: _Written, spans: list[tuple[int, int]], outside: Outside
) -> tuple[str, ...]:
    for span in spans:
        if written.mask.startswith("[^", span[0]):
            start, length, shown = _marked(span, written.text, written.sources)
            problem = f'"{shown}" means other letters than these for bash, and these for sh'
            raise _RefusedError(Problem(start, length, problem, f"write [!…], or {QUOTE_IT}", False))
    found = outside.files(file_names(written.text, written.mask))
    if found.paths or not found.is_whole:
        return found.paths or (token.value,)
    where = "" if written.text.startswith("/") else f" in {one_line(outside.directory, 200)}"
    trouble = one_line(found.trouble, 200) if found.trouble else f"matches no file{where}"
    problem = f'"{one_line(token.value)}" {trouble}'
    start, length, _ = _marked(spans[0], written.text, written.sources)
    raise _RefusedError(Problem(start, length, problem, f"correct it, or {QUOTE_IT}", False))


def _marked(span: tuple[int, int], texts: Sequence[str], sources: Sequence[int]) -> tuple[int, int, str]:
    """Where in the line the pattern stands, how long it is there, and what is shown of it."""
    first, last = span
    start = sources[first]
    return start, sources[last - 1] + 1 - start, one_line("".join(texts[first:last]))

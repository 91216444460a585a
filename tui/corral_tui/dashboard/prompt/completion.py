"""Completion of a command line: programs where a program stands, files elsewhere. Pure but for reading directories."""

from __future__ import annotations

import os
from typing import NamedTuple

from corral.commandline.expansion import expand
from corral.commandline.lexer import Problem, lex
from corral.commandline.parser import word_at
from corral.model.units import quote_words
from corral.model.wire import from_wire, typed_to_wire
from corral_tui.dashboard.prompt.line_check import LineContext

MOST_CANDIDATES = 400
"""More names than anybody reads; the directory is not read further."""


class Completion(NamedTuple):
    """`text[start:end]` becomes `word`; `candidates` are what it could be, by their last part."""

    start: int
    end: int
    word: str
    candidates: tuple[str, ...]

    def applied(self, text: str) -> tuple[str, int]:
        """The new text, and the cursor in it."""
        return text[: self.start] + self.word + text[self.end :], self.start + len(self.word)


def complete(text: str, cursor: int, place: LineContext) -> Completion | None:
    """How the word that ends at `cursor` goes on; None where no completion is known or it stands complete."""
    word = word_at(text, cursor)
    if word.end != cursor or not word.before or word.role not in ("program", "argument", "file"):
        return None
    typed = text[word.start : cursor]
    before = _meant(typed, place)
    is_program = word.role == "program" and "/" not in before
    names = _programs(before, place) if is_program else _files(before, place)
    if not names:
        return None
    common = _common_start(names)
    is_only = len(names) == 1
    if is_only and common == before:
        return None
    shown = tuple(os.path.basename(name.rstrip("/")) + ("/" if name.endswith("/") else "") for name in names)
    name = common[before.rfind("/") + 1 :]
    written = typed if common == before else _written(typed, name, is_whole=is_only)
    return Completion(word.start, word.end, written, shown)


def _meant(typed: str, place: LineContext) -> str:
    """The path that the beginning of a word means; empty where nobody can tell."""
    (token,) = lex(typed_to_wire(typed))
    if token.letters and "$" in typed[typed.rfind("/") + 1 :]:
        return ""
    words = expand(token, "file", place.context, {})
    return "" if isinstance(words, Problem) else from_wire(words[0])


def complete_directory(text: str) -> str | None:
    """`text` with its last part completed to a directory, or None."""
    names = [name for name in _files(text, LineContext("/", "")) if name.endswith("/")] if text else []
    common = _common_start(names)
    return common if common and common != text else None


def _common_start(names: list[str]) -> str:
    """The letters that all of them start with. Of sorted names the first and the last differ the earliest."""
    if not names:
        return ""
    first, last = min(names), max(names)
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]


def _written(typed: str, name: str, *, is_whole: bool) -> str:
    """The word with `name` as its last part: its directory as typed (`~/`, `$HOME/`), with the blank that ends a whole one."""
    head = typed[: typed.rfind("/") + 1]
    closing = lex(head)[0].open_quote if head else ""
    return head + closing + "".join(quote_words([name])) + (" " if is_whole and name[-1] != "/" else "")


def _programs(prefix: str, place: LineContext) -> list[str]:
    found: set[str] = set()
    for directory in place.search_path.split(os.pathsep):
        for name in _names_in(directory or ".", prefix):
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                found.add(name)
    return sorted(found)


def _files(prefix: str, place: LineContext) -> list[str]:
    """Paths as typed that start with `prefix`, directories with a slash. Hidden ones only where the dot is typed."""
    directory, name = os.path.split(prefix)
    inside = os.path.join(place.directory, directory)
    names = [each for each in _names_in(inside, name) if name.startswith(".") or not each.startswith(".")]
    paths = (os.path.join(directory, each) for each in names)
    return sorted(
        path + "/" if os.path.isdir(os.path.join(place.directory, path)) else path for path in paths
    )


def _names_in(directory: str, prefix: str) -> list[str]:
    """Names that start so; those that no line of text can hold are left out."""
    names: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and entry.name.isprintable():
                    names.append(entry.name)
                    if len(names) >= MOST_CANDIDATES:
                        break
    except OSError:
        return []
    return names

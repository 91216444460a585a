"""What a typed command line would do: parsed, its programs found, its files looked at. Reads only, starts nothing."""

from __future__ import annotations

import math
import os
import shutil
import stat
from itertools import chain, pairwise
from typing import NamedTuple

from corral.client.environment import surroundings
from corral.commandline.expansion import EMPTY_CONTEXT, ExpansionContext
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.lexer import RUN_WITH_SHELL
from corral.commandline.parser import Part, expanded, first_problem, parts, pipeline_of, shell_pipeline
from corral.model.errors import UsageError
from corral.model.spec import Command, Pipeline, Redirection
from corral.model.units import quote_words
from corral.model.wire import from_wire, typed_to_wire
from corral.platform.spawn.executables import advice_on
from corral_tui.text import numbers

MOST_WORDS = 100
"""That are shown of what one word becomes: more than fit into a line."""


class Finding(NamedTuple):
    """Why the line cannot start: a mark under `text[position : position + length]`, the reason, the way out."""

    position: int
    length: int
    problem: str
    hint: str
    offers_shell: bool = False


class FileNote(NamedTuple):
    """What a redirection will do: `> top.txt` and `4.1M: emptied`. `loses` where bytes are thrown away."""

    arrow: str
    path: str
    note: str
    loses: bool = False


class StagePreview(NamedTuple):
    """One stage that the line will start. `found` is the program's path, None where there is none."""

    number: int
    words: str
    found: str | None
    files: tuple[FileNote, ...] = ()


class LineCheck(NamedTuple):
    """A line, looked at. It can start where `finding` is None; then `pipeline` is what will run."""

    text: str
    finding: Finding | None
    stages: tuple[StagePreview, ...] = ()
    pipeline: Pipeline | None = None


class LineContext(NamedTuple):
    """Where the line would run."""

    directory: str
    search_path: str
    """PATH, colon-separated."""
    context: ExpansionContext = EMPTY_CONTEXT


def line_context(directory: str, *, seconds: float = math.inf) -> LineContext:
    """For a job of ours in this directory, an absolute path; files are looked for so long."""
    around = surroundings(cwd=directory)
    search_path = from_wire(around.environment.get("PATH", os.defpath))
    return LineContext(directory, search_path, expansion_context(around, seconds=seconds))


def check_line(text: str, place: LineContext, *, with_shell: bool = False) -> LineCheck:
    """Look at `text` as it would run in `place`; with `with_shell` as one stage that sh runs."""
    directory = _directory_finding(place)
    if directory is not None:
        return LineCheck(text, directory)
    if with_shell:
        return _check_shell_line(text)
    typed = parts(typed_to_wire(text))
    found = expanded(typed, place.context)
    problem = first_problem(typed) or first_problem(found)
    stages = _previews(found, place)
    if problem is not None:
        hint = problem.hint.removeprefix(RUN_WITH_SHELL).removeprefix(", ").removeprefix("or ")
        finding = Finding(problem.position, problem.length, problem.problem, hint, problem.needs_shell)
        return LineCheck(text, finding, stages)
    pipeline = pipeline_of(found)
    return LineCheck(text, _first_finding(found, pipeline, place), stages, pipeline)


def _directory_finding(place: LineContext) -> Finding | None:
    if os.path.isdir(place.directory):
        return None
    return Finding(
        0, 0, f"no such directory: {place.directory}", "correct the directory in front of the line"
    )


def _check_shell_line(text: str) -> LineCheck:
    try:
        pipeline = shell_pipeline(text)
    except UsageError as error:
        return LineCheck(text, Finding(0, len(text), str(error), "write the commands that sh is to run"))
    return LineCheck(text, None, (StagePreview(1, f"sh -c {text}", "/bin/sh"),), pipeline)


# ---- programs -----------------------------------------------------------------------------------------------------


def find_program(
    program: str, place: LineContext, assignments: tuple[tuple[str, str], ...] = ()
) -> str | None:
    """The path that execvp(3) would run, or None. A PATH assigned in front of the program counts."""
    program = from_wire(program)
    if "/" in program:
        path = os.path.join(place.directory, program)
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None
    assigned = dict(assignments).get("PATH")
    search = place.search_path if assigned is None else from_wire(assigned)
    return shutil.which(program, path=search)


def _program_problem(program: str, place: LineContext) -> tuple[str, str]:
    path = os.path.join(place.directory, from_wire(program))
    if "/" not in program:
        return (
            f"no such program: {program}",
            "it is in no directory of PATH; correct it, or write its whole path",
        )
    if os.path.isdir(path):
        return f"{program} is a directory", "name the program in it"
    if os.path.exists(path):
        return f"{program} is not executable", advice_on(path)
    return f"no such file: {program}", "correct the path"


# ---- files --------------------------------------------------------------------------------------------------------


def _file_problem(one: Redirection, place: LineContext) -> tuple[str, str] | None:
    """What keeps a redirection from being opened. Nothing is opened here: opening a FIFO would block."""
    if one.path is None:
        return None
    path = os.path.join(place.directory, from_wire(one.path))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return _missing_file_problem(one, path)
    except OSError as error:
        return f"{one.path}: {(error.strerror or str(error)).lower()}", "name another file"
    if one.mode == "read":
        if stat.S_ISDIR(mode):
            return f"{one.path} is a directory", "name a file to read"
        return None if os.access(path, os.R_OK) else (f"{one.path} may not be read", "see its permissions")
    if stat.S_ISDIR(mode):
        return f"{one.path} is a directory", "name a file in it"
    return None if os.access(path, os.W_OK) else (f"{one.path} may not be written", "see its permissions")


def _missing_file_problem(one: Redirection, path: str) -> tuple[str, str] | None:
    if one.mode == "read":
        return f"no such file: {one.path}", "the command reads it; correct the name"
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        return (
            f"no such directory: {os.path.dirname(one.path or '') or parent}",
            "make it, or name another file",
        )
    return (
        None if os.access(parent, os.W_OK) else (f"nothing may be written in {parent}", "name another file")
    )


def _file_note(one: Redirection, place: LineContext) -> FileNote | None:
    if one.path is None:
        return None
    arrow = {"read": "<", "append": ">>"}.get(one.mode, ">")
    arrow = f"2{arrow}" if one.fd == 2 else arrow
    try:
        status = os.stat(os.path.join(place.directory, from_wire(one.path)))
    except OSError:
        return FileNote(arrow, one.path, "" if one.mode == "read" else "new file")
    if not stat.S_ISREG(status.st_mode):
        return FileNote(arrow, one.path, "")
    size = numbers.size(status.st_size) if status.st_size >= 1000 else numbers.counted(status.st_size, "byte")
    if one.mode == "write" and status.st_size:
        return FileNote(arrow, one.path, f"{size}: emptied", loses=True)
    return FileNote(arrow, one.path, f"{size}: added to" if one.mode == "append" else size)


# ---- the whole line -----------------------------------------------------------------------------------------------


def _first_finding(found: list[Part], pipeline: Pipeline, place: LineContext) -> Finding | None:
    """The first program or file that is not there, at the word that names it."""
    for number, command in enumerate(pipeline.stages, start=1):
        words = [part for part in found if part.stage == number]
        finding = _command_finding(command, words, place)
        if finding is not None:
            return finding
    return None


def _command_finding(command: Command, words: list[Part], place: LineContext) -> Finding | None:
    program = next(part for part in words if part.role == "program")
    if find_program(command.argv[0], place, command.assignments) is None:
        problem, hint = _program_problem(command.argv[0], place)
        return Finding(program.start, program.end - program.start, problem, hint)
    files = [part for part in words if part.role == "file"]
    for part, redirection in zip(files, command.redirections, strict=True):
        trouble = _file_problem(redirection, place)
        if trouble is not None:
            return Finding(part.start, part.end - part.start, *trouble)
    return None


def _previews(found: list[Part], place: LineContext) -> tuple[StagePreview, ...]:
    """The stages as far as they are written; a word with a problem is shown as typed."""
    numbers_of_stages = sorted({part.stage for part in found if part.role in ("program", "argument")})
    return tuple(
        _preview(number, [part for part in found if part.stage == number], place)
        for number in numbers_of_stages
    )


def _preview(number: int, words: list[Part], place: LineContext) -> StagePreview:
    argv = [
        word for part in words if part.role in ("program", "argument") for word in part.words[:MOST_WORDS]
    ]
    command = pipeline_of(part for part in words if part.role == "assignment").stages[0]
    program = next((part for part in words if part.role == "program"), None)
    path = find_program(program.words[0], place, command.assignments) if program else None
    matched = [_match_note(part) for part in words if len(part.words) > 1]
    notes = [note for note in (_file_note(one, place) for one in _redirections(words)) if note]
    return StagePreview(number, " ".join(quote_words(argv)), path, (*matched, *notes))


def _match_note(part: Part) -> FileNote:
    return FileNote("", part.token.value, numbers.counted(len(part.words), "file"))


def _redirections(words: list[Part]) -> tuple[Redirection, ...]:
    """What `parse` would make of the redirections, for a line that may not be whole yet."""
    sound = (
        pair
        for pair in pairwise(words)
        if pair[1].role == "file" and not pair[0].problem and not pair[1].problem
    )
    return pipeline_of(chain.from_iterable(sound)).stages[0].redirections

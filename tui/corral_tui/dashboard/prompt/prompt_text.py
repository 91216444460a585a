"""What the prompt shows below its line: the mark and the reason, the stages to be, the same as a command. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from corral.model.spec import OnStuck
from corral.model.units import format_duration, quote_words
from corral_tui.dashboard.paint.lines import Line, Span, clean, cut, plain, width_of, wrapped
from corral_tui.dashboard.prompt.line_check import FileNote, Finding, StagePreview
from corral_tui.text import numbers
from corral_tui.text.charset import Charset

SHELL_HINT = "ctrl+t  run the whole line with sh (one stage; its pipes are not watched)"
SIDE_BY_SIDE = 120
MARK_LIMIT = 40
"""Cells that a reason needs beside its mark; with fewer it goes on a line of its own."""


def finding_lines(finding: Finding, column: int, width: int, charset: Charset) -> list[Line]:
    """The mark under the character at `column`, the reason and the way out."""
    column = min(max(column, 1), width - 2)
    mark = charset.up[0] if charset.name == "ascii" else "^"
    mark *= max(1, min(finding.length, width - column - 1, 40))
    words = [_sentence(finding.problem)]
    if finding.offers_shell:
        words.append(SHELL_HINT)
        words.append(f"or {finding.hint}" if finding.hint else "")
    else:
        words.append(finding.hint)
    words = [each for each in words if each]
    start = column + len(mark) + 1
    if width - start < MARK_LIMIT:
        below = [line for each in words for line in wrapped(each, width, indent="   ", role="muted")]
        return [[(" " * column + mark, "error")], *below]
    lines = wrapped(words[0], width, hanging=" " * start, lead=[(" " * column, "plain"), (mark, "error")])
    for each in words[1:]:
        lines += wrapped(each, width, indent=" " * start, role="muted")
    return lines


def _sentence(problem: str) -> str:
    return clean(problem) + ("" if problem.endswith(".") else ".")


# ---- stages -------------------------------------------------------------------------------------------------------


def stage_lines(stages: Sequence[StagePreview], width: int, charset: Charset, most: int) -> list[Line]:
    """What the line will start: side by side where that fits, else one below the other, at most `most` lines."""
    if most == 0:
        return []
    if width >= SIDE_BY_SIDE:
        line = _side_by_side(stages, charset)
        if width_of(line) <= width:
            return [line]
    longest = max((numbers.cells(clean(stage.words)) for stage in stages), default=0)
    room = max(min(width // 2 - 6, longest), 12)
    lines = [_stage_line(stage, room, width, charset) for stage in stages]
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], plain(f"   and {len(lines) - most + 1} more", "muted")]


def _side_by_side(stages: Sequence[StagePreview], charset: Charset) -> Line:
    line: Line = []
    for stage in stages:
        joint = f"   {charset.flows_to}  " if line else "   "
        line += [
            (joint, "muted"),
            (f"{stage.number}  ", "muted"),
            (clean(stage.words), "plain"),
            ("  ", "plain"),
        ]
        line.append(_found(stage))
        for note in stage.files:
            line += [("   ", "plain"), *_file(note)]
    return line


def _found(stage: StagePreview) -> Span:
    if not stage.words:
        return "", "plain"
    return (stage.found, "muted") if stage.found else ("! not found", "error")


def _stage_line(stage: StagePreview, room: int, width: int, charset: Charset) -> Line:
    line: Line = [
        (f"  {stage.number:>2} ", "muted"),
        (numbers.left(clean(stage.words), room), "plain"),
        ("  ", "plain"),
        _found(stage),
    ]
    for note in stage.files:
        line += [("   ", "plain"), *_file(note)]
    return cut(line, width, charset.ellipsis)


def _file(note: FileNote) -> Line:
    return [
        (f"{note.arrow} {clean(note.path)}".lstrip(), "plain"),
        (
            f"   {'! ' if note.loses else ''}{note.note}" if note.note else "",
            "warning" if note.loses else "muted",
        ),
    ]


# ---- the same as a command ------------------------------------------------------------------------------------------


class JobOptions(NamedTuple):
    """What the fields of the prompt say, beside the line."""

    name: str | None = None
    cwd: str | None = None
    """Where it differs from the dashboard's directory."""
    after: str | None = None
    from_job: str | None = None
    is_interactive: bool = False
    timeout: float | None = None
    stuck_after: float | None = None
    on_stuck: OnStuck | None = None
    """Both where they were said, and are not left to the settings."""
    with_shell: bool = False
    with_terminal: bool = False


def equivalent_command(text: str, wanted: JobOptions) -> str:
    """`corral run --shell --name top 'zcat … > top.txt'`: what one would type in a terminal for the same job."""
    words = ["corral", "run"]
    if wanted.with_shell:
        words.append("--shell")
    if wanted.with_terminal:
        words.append("--pty")
    options = (
        ("--name", wanted.name),
        ("--cwd", wanted.cwd),
        ("--after", wanted.after),
        ("--from", wanted.from_job),
        ("--timeout", None if wanted.timeout is None else format_duration(wanted.timeout)),
        ("--stuck-after", None if wanted.stuck_after is None else format_duration(wanted.stuck_after)),
        ("--on-stuck", wanted.on_stuck),
    )
    for option, value in options:
        if value is not None:
            words += [option, value]
    if wanted.is_interactive:
        words.append("--interactive")
    return " ".join([*quote_words(words), in_single_quotes(text)])


def in_single_quotes(text: str) -> str:
    """The line as one word, so that the user's shell takes nothing of it for itself."""
    return "'" + text.replace("'", "'\\''") + "'"

"""The drawing of a pipeline: its stages, the pipes between them with their fill, the stage that holds up the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textual.geometry import Region

from corral.model.job import Job, Pipe, Stage
from corral.model.urgency import is_stuck
from corral_tui.dashboard.paint.job_words import end_reason, words_of_stage
from corral_tui.dashboard.paint.lines import Line, Span, clean, cut, padded, plain, width_of, wrapped
from corral_tui.dashboard.paint.pipeline_line import at_most, fill_of, state_of
from corral_tui.text import numbers
from corral_tui.text.charset import CPU_FLOOR, Charset, Role, bar, sparks, stuck_label
from corral_tui.text.diagnosis_text import time_words

SIDE_BY_SIDE = 120
MOST_SIDE_BY_SIDE = 4
AS_TABLE = 152
"""From this width on each pipe of a long pipeline stands in the row of the stage that it leaves."""
PIPE_CELLS = 16
SHORT_PIPE_CELLS = 12
DOES_CELLS = 16
BOX_LEAST, BOX_MOST = 24, 34
PIPE_WIDTH = 24

StageHistories = Mapping[int, Sequence[float | None]]


class Drawing(NamedTuple):
    """The lines of a pipeline, and where in them its pipes are."""

    lines: list[Line]
    spots: Mapping[int, Region] = {}

    def pipe_at(self, x: int, y: int) -> int | None:
        return next((pipe for pipe, spot in self.spots.items() if spot.contains(x, y)), None)


class DrawingContext(NamedTuple):
    """What a drawing is made with, beside the job."""

    histories: StageHistories
    width: int
    charset: Charset
    chosen: int | None = None
    """The pipe that `enter` looks into."""


def draw(job: Job, context: DrawingContext) -> Drawing:
    """Side by side where at most four stages fit so, else one below the other; and what it all means.

    The meaning of a long one stands on top, where it is seen without scrolling.
    """
    meaning = _meaning(job, context.width, context.charset)
    drawn = _side_by_side(job, context) if context.width >= SIDE_BY_SIDE else None
    if drawn is not None:
        return drawn._replace(lines=[*drawn.lines, *meaning])
    drawn = _as_table(job, context) if context.width >= AS_TABLE else _downwards(job, context)
    if len(job.stages) <= MOST_SIDE_BY_SIDE:
        return drawn._replace(lines=[*drawn.lines, [], *meaning])
    moved = {pipe: spot.translate((0, len(meaning))) for pipe, spot in drawn.spots.items()}
    return Drawing([*meaning, *drawn.lines], moved)


def _meaning(job: Job, width: int, charset: Charset) -> list[Line]:
    if job.is_ended:
        reason = end_reason(job)
        return wrapped(reason, width) if reason else []
    if is_stuck(job) and job.summary:
        return _stuck_words(clean(job.summary), width, charset)
    if job.bottleneck is None:
        return wrapped(clean(job.summary), width) if job.summary else []
    stage = next((each for each in job.stages if each.number == job.bottleneck), None)
    said = clean(job.summary) if job.summary else ""
    words = said or (f"stage {stage.number} ({clean(stage.name)}) holds up the rest" if stage else "")
    return wrapped(words, width, "", hanging="   ", lead=plain(f" {charset.bottleneck} ", "warning"))


def _stuck_words(words: str, width: int, charset: Charset) -> list[Line]:
    return wrapped(words, width, role="bold", lead=[(" ", "plain"), *stuck_label(charset)])


# ---- words ----------------------------------------------------------------------------------------------------------


def stage_words(stage: Stage) -> str:
    """`gzip -9`: the program and as much of its arguments as says what it does."""
    return clean(" ".join(words_of_stage(stage)))


def does_words(job: Job, stage: Stage, room: int, charset: Charset) -> tuple[str, Role]:
    """What the stage spends its time on, else what it does now, or how it ended."""
    if stage.ended is not None or stage.state in ("succeeded", "failed"):
        how = f"by SIG{stage.signal}" if stage.signal else f"exit {stage.exit_status}"
        mark = charset.succeeded if stage.state == "succeeded" else charset.failed
        return f"{mark} {how}", "muted" if stage.state == "succeeded" else "error"
    if stage.pid is None:
        return "not started", "muted"
    spent = time_words(job, stage, room)
    if spent is not None:
        return spent, "plain"
    # Which pipe it waits for is seen in the drawing.
    return clean(stage.waits or "runs").partition(": pipe ")[0], "plain"


def cpu_words(stage: Stage) -> str:
    """Its share of a core now; of an ended one how many seconds it used in all."""
    if stage.ended is not None and stage.cpu_seconds is not None:
        used = stage.cpu_seconds
        return f"{used:.2f}s" if used < 0.95 else numbers.duration(used)
    return numbers.cpu_share(stage.cpu_percent)


def _moved_words(job: Job, stage: Stage) -> str:
    """What the first stage has read, what the last one has written."""
    if stage.number == len(job.stages) and stage.written_bytes is not None and len(job.stages) > 1:
        return f"wrote {numbers.size(stage.written_bytes)}"
    return "" if stage.read_bytes is None else f"read {numbers.size(stage.read_bytes)}"


def fill_words(pipe: Pipe) -> str:
    state = state_of(pipe).replace("full", "FULL")
    if not state:
        return "fill not known"
    return f"{numbers.size(pipe.fill_bytes)} of {numbers.size(pipe.capacity_bytes)} {state}"


def rate_words(pipe: Pipe, charset: Charset) -> str:
    return at_most(pipe, numbers.rate(pipe.bytes_per_second), charset)


def total_words(pipe: Pipe, charset: Charset, after: str = " so far") -> str:
    if pipe.bytes_total is None:
        return ""
    return at_most(pipe, numbers.size(pipe.bytes_total), charset) + after


def went_words(pipe: Pipe, charset: Charset) -> str:
    """All that went through the pipe of an ended job."""
    return total_words(pipe, charset, " went through") or "nobody measured what went through"


def slow_words(pipe: Pipe) -> str:
    return {"reader": "the reader is slow", "writer": "the writer is slow"}.get(pipe.limited_by or "", "")


def bar_role(pipe: Pipe) -> Role:
    return "warning" if state_of(pipe) == "full" else "spark"


def _pipe_name(pipe: Pipe, context: DrawingContext) -> Span:
    return (f"pipe {pipe.number}", "rule-selected" if pipe.number == context.chosen else "muted")


def _pointer(pipe: Pipe, context: DrawingContext) -> Span:
    """One cell in front of the chosen pipe."""
    return (context.charset.cursor if pipe.number == context.chosen else " ", "key")


# ---- one below the other --------------------------------------------------------------------------------------------


def _downwards(job: Job, context: DrawingContext) -> Drawing:
    lines: list[Line] = []
    spots: dict[int, Region] = {}
    is_short = len(job.stages) > MOST_SIDE_BY_SIDE
    for place, stage in enumerate(job.stages):
        lines.append(_stage_line(job, stage, context, _name_room(context.width)))
        if place < len(job.pipes):
            pipe = job.pipes[place]
            drawn = _short_pipe_lines(job, pipe, context) if is_short else _pipe_lines(job, pipe, context)
            spots[pipe.number] = Region(0, len(lines), context.width, len(drawn))
            lines += drawn
    return Drawing(lines, spots)


def _name_room(width: int) -> int:
    if width < 60:
        return max(width - 22, 8)
    return 16 if width < 100 else 30


def _stage_line(job: Job, stage: Stage, context: DrawingContext, name_room: int) -> Line:
    charset = context.charset
    is_slow = stage.number == job.bottleneck and not job.is_ended
    mark: Span = (f"{charset.bottleneck if is_slow else '':>2} ", "warning")
    number = f"{stage.number:>{len(str(len(job.stages)))}}"
    name = numbers.left(stage_words(stage), name_room, charset.ellipsis)
    does, role = does_words(job, stage, DOES_CELLS, charset)
    line: Line = [mark, (f"{number} {name} ", "bold" if is_slow else "plain")]
    line.append((f"cpu {cpu_words(stage):>5} ", "plain"))
    if context.width >= 60:
        line.append((sparks(tuple(context.histories.get(stage.number, ())), 8, CPU_FLOOR, charset), "spark"))
        line.append((f"  {numbers.left(does, DOES_CELLS, charset.ellipsis)} ", role))
        line.append((f"{numbers.left(_moved_words(job, stage), 12)}", "muted"))
        line.append((f"{stage.pid or '':>7}", "muted"))
    return cut(line, context.width, charset.ellipsis)


def _pipe_lines(job: Job, pipe: Pipe, context: DrawingContext) -> list[Line]:
    """A pipe with room around it."""
    charset = context.charset
    down, branch, arrow = ("|", "+", "v") if charset.name == "ascii" else ("│", "├", "▼")
    line: Line = [
        (" ", "plain"),
        _pointer(pipe, context),
        (f"   {branch} ", "muted"),
        _pipe_name(pipe, context),
    ]
    line += [(" ", "plain"), *_flow(job, pipe, context, PIPE_CELLS, after=" so far")]
    slow = "" if job.is_ended else slow_words(pipe)
    below: list[Line] = [[(f"     {down}        {slow}", "muted")]] if slow else []
    above: list[Line] = [[(f"     {down}", "muted")]]
    return [*above, cut(line, context.width, charset.ellipsis), *below, [(f"     {arrow}", "muted")]]


def _short_pipe_lines(job: Job, pipe: Pipe, context: DrawingContext) -> list[Line]:
    """One line for a pipe of a long pipeline."""
    charset = context.charset
    branch = "+" if charset.name == "ascii" else "├"
    indent = len(str(len(job.stages))) + 1
    line: Line = [(" ", "plain"), _pointer(pipe, context), (f"{' ' * indent}{branch} ", "muted")]
    line += [_pipe_name(pipe, context), (" " * (2 - len(str(pipe.number)) + 1), "plain")]
    line += _flow(job, pipe, context, SHORT_PIPE_CELLS)
    if context.width >= 60:
        line.append(_short_slow(job, pipe))
    return [cut(line, context.width, charset.ellipsis)]


def _short_slow(job: Job, pipe: Pipe) -> Span:
    slow = "" if job.is_ended else slow_words(pipe).removeprefix("the ").replace(" is ", " ")
    return (f"  {slow}" if slow else "", "muted")


def _flow(job: Job, pipe: Pipe, context: DrawingContext, room: int, after: str = "") -> Line:
    """`▕████    ▏ 512K of 1.0M 50%   41M/s   74.1G so far`; of an ended job what went through."""
    if job.is_ended:
        return [(went_words(pipe, context.charset), "plain")]
    flow = rate_words(pipe, context.charset)
    if context.width < 60:
        drawn = bar(fill_of(pipe), 6, context.charset)
        full = " FULL" if state_of(pipe) == "full" else ""
        return [(drawn, bar_role(pipe)), (f" {flow}{full}", "plain")]
    filled = numbers.left(fill_words(pipe), 17 if not after else 18)
    total = f"{total_words(pipe, context.charset, after):<6}"
    words = f" {filled} {numbers.right(flow, 8)}  {total}"
    return [(bar(fill_of(pipe), room, context.charset), bar_role(pipe)), (words, "plain")]


# ---- a row a stage --------------------------------------------------------------------------------------------------


def _as_table(job: Job, context: DrawingContext) -> Drawing:
    """Each stage with the pipe that leaves it: twelve stages in twelve rows."""
    lines: list[Line] = []
    spots: dict[int, Region] = {}
    for place, stage in enumerate(job.stages):
        line = padded(_stage_line(job, stage, context, 16), TABLE_STAGE, context.charset.ellipsis)
        if place < len(job.pipes):
            pipe = job.pipes[place]
            spots[pipe.number] = Region(TABLE_STAGE, len(lines), context.width - TABLE_STAGE, 1)
            line += [
                _pointer(pipe, context),
                _pipe_name(pipe, context),
                (" " * (3 - len(str(pipe.number))), "plain"),
            ]
            line += _flow(job, pipe, context, SHORT_PIPE_CELLS)
            line.append(_short_slow(job, pipe))
        lines.append(cut(line, context.width, context.charset.ellipsis))
    return Drawing(lines, spots)


TABLE_STAGE = 80
"""Cells of a stage in a row with its pipe."""


# ---- side by side ---------------------------------------------------------------------------------------------------


def _side_by_side(job: Job, context: DrawingContext) -> Drawing | None:
    """Boxes with pipes between them, five rows; None where they do not fit."""
    count = len(job.stages)
    box = min((context.width - 4 - (count - 1) * PIPE_WIDTH) // count, BOX_MOST) if count else 0
    if not 1 <= count <= MOST_SIDE_BY_SIDE or box < BOX_LEAST or len(job.pipes) != count - 1:
        return None
    rows: list[Line] = [[("   ", "plain")] for _ in range(5)]
    spots: dict[int, Region] = {}
    for place, stage in enumerate(job.stages):
        for row, piece in zip(rows, _box(job, stage, context, box), strict=True):
            row += piece
        if place < len(job.pipes):
            pipe = job.pipes[place]
            spots[pipe.number] = Region(width_of(rows[0]), 0, PIPE_WIDTH, 5)
            for row, piece in zip(rows, _between(job, pipe, context), strict=True):
                row += piece
    return Drawing([cut(row, context.width, context.charset.ellipsis) for row in rows], spots)


def _box(job: Job, stage: Stage, context: DrawingContext, width: int) -> list[Line]:
    charset = context.charset
    is_slow = stage.number == job.bottleneck and not job.is_ended
    frame, rule = (charset.heavy_frame, charset.heavy_rule) if is_slow else (charset.frame, charset.rule)
    colour: Role = "warning" if is_slow else "rule"
    inner = width - 4
    mark = f"  {charset.bottleneck}" if is_slow else ""
    name = numbers.cut_end(
        f"{stage.number} {stage_words(stage)}", inner - 2 - numbers.cells(mark), charset.ellipsis
    )
    top_rule = rule * (width - 5 - numbers.cells(name + mark))
    top: Line = [
        (frame[0] + rule + " ", colour),
        (name, "bold"),
        (mark, "warning"),
        (f" {top_rule}{frame[1]}", colour),
    ]
    does, role = does_words(job, stage, inner, charset)
    spark = sparks(tuple(context.histories.get(stage.number, ())), 8, CPU_FLOOR, charset)
    moved, pid = _moved_words(job, stage), f"pid {stage.pid}" if stage.pid else ""
    inside: list[Line] = [
        [(does, role)],
        [(f"cpu {cpu_words(stage):>5} ", "plain"), (spark, "spark")],
        [(f"{moved}  {pid}".strip(), "muted")],
    ]
    side = frame[4]
    rows = [
        [(side + " ", colour), *padded(line, inner, charset.ellipsis), (" " + side, colour)]
        for line in inside
    ]
    return [top, *rows, [(frame[3] + rule * (width - 2) + frame[2], colour)]]


def _between(job: Job, pipe: Pipe, context: DrawingContext) -> list[Line]:
    charset = context.charset
    if job.is_ended:
        arrow = charset.rule * (PIPE_CELLS + 1) + charset.flows_to
        total = total_words(pipe, charset, "")
        told = [f"pipe {pipe.number}", arrow, *((total, "went through") if total else ("not measured", ""))]
        texts: list[Line] = [[(words, "muted")] for words in (*told, "")]
    else:
        flow: Line = [_pipe_name(pipe, context), (f" {charset.dot} {rate_words(pipe, charset)}", "muted")]
        drawn: Line = [(bar(fill_of(pipe), PIPE_CELLS, charset) + charset.flows_to, bar_role(pipe))]
        texts = [
            flow,
            drawn,
            [(fill_words(pipe), "plain")],
            [(slow_words(pipe), "muted")],
            [(total_words(pipe, charset), "muted")],
        ]
    blank: Span = (" ", "key")
    front = [_pointer(pipe, context), blank, blank, blank, blank]
    return [
        [(" ", "plain"), piece, *padded(text, PIPE_WIDTH - 3), (" ", "plain")]
        for piece, text in zip(front, texts, strict=True)
    ]

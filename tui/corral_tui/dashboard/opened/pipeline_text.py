"""The drawing of a pipeline: its stages, the pipes between them with their fill, the stage that holds up the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral.values.jobs import Job, Pipe, Stage
from corral_tui import numbers
from corral_tui.dashboard.lines import Line, Piece, clean, cut, padded, wrapped
from corral_tui.dashboard.marks import CPU_FLOOR, Charset, Role, bar, sparks
from corral_tui.dashboard.pipeline import FULL, fill_of
from corral_tui.dashboard.words import end_reason, stage_argv, stage_name

SIDE_BY_SIDE = 120
MOST_SIDE_BY_SIDE = 4
PIPE_CELLS = 16
BOX_LEAST, BOX_MOST = 24, 34
PIPE_WIDTH = 24

StagePasts = Mapping[int, Sequence[float | None]]


def pipeline_lines(job: Job, pasts: StagePasts, width: int, charset: Charset) -> list[Line]:
    """Horizontal where at most four stages fit side by side, else vertical; then what it all means."""
    drawn = _horizontal(job, pasts, width, charset) if width >= SIDE_BY_SIDE else None
    lines = drawn if drawn is not None else _vertical(job, pasts, width, charset)
    return [*lines, *_meaning(job, width, charset)]


def _meaning(job: Job, width: int, charset: Charset) -> list[Line]:
    if job.is_ended:
        reason = end_reason(job)
        return wrapped(reason, width) if reason else []
    if job.bottleneck is None:
        return wrapped(clean(job.summary), width) if job.summary else []
    stage = next((each for each in job.stages if each.number == job.bottleneck), None)
    said = clean(job.summary) if job.summary else ""
    words = said or (f"stage {stage.number} ({stage_name(stage)}) holds up the rest" if stage else "")
    lines = wrapped(words, width, indent=f" {charset.bottleneck} ", hanging="   ")
    first = lines[0][0][0]
    lead = len(charset.bottleneck) + 2
    return [[(first[:lead], "warning"), (first[lead:], "plain")], *lines[1:]]


def stage_words(stage: Stage) -> str:
    """`gzip -9`: the program and as much of its arguments as says what it does."""
    return clean(" ".join(stage_argv(stage)))


def does_words(stage: Stage, charset: Charset) -> tuple[str, Role]:
    """What the stage does now, or how it ended."""
    if stage.ended is not None or stage.state in ("succeeded", "failed"):
        how = f"by SIG{stage.signal}" if stage.signal else f"exit {stage.exit_status}"
        mark = charset.succeeded if stage.state == "succeeded" else charset.failed
        return f"{mark} {how}", "muted" if stage.state == "succeeded" else "error"
    if stage.pid is None:
        return "not started", "muted"
    # Which pipe it waits for is seen in the drawing.
    return clean(stage.waits or "runs").partition(": pipe ")[0], "plain"


def _moved_words(job: Job, stage: Stage) -> str:
    """What the first stage has read, what the last one has written."""
    if stage.number == len(job.stages) and stage.written_bytes is not None and len(job.stages) > 1:
        return f"wrote {numbers.size(stage.written_bytes)}"
    return "" if stage.read_bytes is None else f"read {numbers.size(stage.read_bytes)}"


def fill_words(pipe: Pipe) -> str:
    fill = fill_of(pipe)
    if fill is None:
        return "fill not known"
    state = "FULL" if fill >= FULL else "empty" if pipe.fill_bytes == 0 else f"{fill * 100:.0f}%"
    return f"{numbers.size(pipe.fill_bytes)} of {numbers.size(pipe.capacity_bytes)} {state}"


def total_words(pipe: Pipe) -> str:
    if pipe.bytes_total is None:
        return ""
    return f"{'' if pipe.exact else 'up to '}{numbers.size(pipe.bytes_total)} so far"


def slow_words(pipe: Pipe) -> str:
    return {"reader": "the reader is slow", "writer": "the writer is slow"}.get(pipe.limited_by or "", "")


def bar_role(pipe: Pipe) -> Role:
    fill = fill_of(pipe)
    return "warning" if fill is not None and fill >= FULL else "spark"


# ---- one below the other --------------------------------------------------------------------------------------------


def _vertical(job: Job, pasts: StagePasts, width: int, charset: Charset) -> list[Line]:
    lines: list[Line] = []
    for place, stage in enumerate(job.stages):
        lines.append(_stage_line(job, stage, pasts, width, charset))
        if place < len(job.pipes):
            lines += _pipe_lines(job.pipes[place], width, charset, is_short=len(job.stages) > 4)
    return [*lines, []]


def _stage_line(job: Job, stage: Stage, pasts: StagePasts, width: int, charset: Charset) -> Line:
    is_slow = stage.number == job.bottleneck and not job.is_ended
    name_room = 16 if width < 100 else 30
    room = name_room if width >= 60 else max(width - 22, 8)
    mark: Piece = (f" {numbers.left(charset.bottleneck if is_slow else '', 1)} ", "warning")
    name = numbers.left(stage_words(stage), room, charset.ellipsis)
    does, role = does_words(stage, charset)
    line: Line = [mark, (f"{stage.number} {name} ", "bold" if is_slow else "plain")]
    line.append((f"cpu {numbers.cpu_share(stage.cpu_percent):>5} ", "plain"))
    if width >= 60:
        line.append((sparks(tuple(pasts.get(stage.number, ())), 8, CPU_FLOOR, charset), "spark"))
        line.append((f"  {numbers.left(does, 17)}", role))
        line.append((f"{numbers.left(_moved_words(job, stage), 12)}", "muted"))
        line.append((f"{stage.pid or '':>8}", "muted"))
    return cut(line, width, charset.ellipsis)


def _pipe_lines(pipe: Pipe, width: int, charset: Charset, *, is_short: bool) -> list[Line]:
    down, branch, arrow = ("|", "+", "v") if charset.name == "ascii" else ("│", "├", "▼")
    cells = PIPE_CELLS if width >= 60 else 6
    flow = numbers.rate(pipe.bytes_per_second)
    words = f" {numbers.left(fill_words(pipe), 19)} {flow:>7}   {total_words(pipe)}"
    line: Line = [
        (f"     {branch} pipe {pipe.number} ", "muted"),
        (bar(fill_of(pipe), cells, charset), bar_role(pipe)),
        (words if width >= 60 else f" {flow}", "plain"),
    ]
    fitting = cut(line, width, charset.ellipsis)
    if is_short:
        return [fitting]
    slow = slow_words(pipe)
    below: list[Line] = [[(f"     {down}        {slow}", "muted")]] if slow else []
    return [[(f"     {down}", "muted")], fitting, *below, [(f"     {arrow}", "muted")]]


# ---- side by side ---------------------------------------------------------------------------------------------------


def _horizontal(job: Job, pasts: StagePasts, width: int, charset: Charset) -> list[Line] | None:
    """Boxes with pipes between them, five rows; None where they do not fit."""
    count = len(job.stages)
    box = min((width - 4 - (count - 1) * PIPE_WIDTH) // count, BOX_MOST) if count else 0
    if not 1 <= count <= MOST_SIDE_BY_SIDE or box < BOX_LEAST or len(job.pipes) != count - 1:
        return None
    rows: list[Line] = [[("   ", "plain")] for _ in range(5)]
    for place, stage in enumerate(job.stages):
        for row, piece in zip(rows, _box(job, stage, pasts, box, charset), strict=True):
            row += piece
        if place < len(job.pipes):
            for row, piece in zip(rows, _between(job.pipes[place], charset), strict=True):
                row += piece
    return [cut(row, width, charset.ellipsis) for row in rows]


def _box(job: Job, stage: Stage, pasts: StagePasts, width: int, charset: Charset) -> list[Line]:
    is_slow = stage.number == job.bottleneck and not job.is_ended
    frame, rule = (charset.heavy_frame, charset.heavy_rule) if is_slow else (charset.frame, charset.rule)
    look: Role = "warning" if is_slow else "rule"
    inner = width - 4
    mark = f"  {charset.bottleneck}" if is_slow else ""
    name = numbers.cut_end(
        f"{stage.number} {stage_words(stage)}", inner - 2 - numbers.cells(mark), charset.ellipsis
    )
    top_rule = rule * (width - 5 - numbers.cells(name + mark))
    top: Line = [
        (frame[0] + rule + " ", look),
        (name, "bold"),
        (mark, "warning"),
        (f" {top_rule}{frame[1]}", look),
    ]
    does, role = does_words(stage, charset)
    spark = sparks(tuple(pasts.get(stage.number, ())), 8, CPU_FLOOR, charset)
    moved, pid = _moved_words(job, stage), f"pid {stage.pid}" if stage.pid else ""
    inside: list[Line] = [
        [(does, role)],
        [(f"cpu {numbers.cpu_share(stage.cpu_percent):>5} ", "plain"), (spark, "spark")],
        [(f"{moved}  {pid}".strip(), "muted")],
    ]
    side = frame[4]
    rows = [
        [(side + " ", look), *padded(line, inner, charset.ellipsis), (" " + side, look)] for line in inside
    ]
    return [top, *rows, [(frame[3] + rule * (width - 2) + frame[2], look)]]


def _between(pipe: Pipe, charset: Charset) -> list[Line]:
    flow = f"pipe {pipe.number} {charset.dot} {numbers.rate(pipe.bytes_per_second)}"
    drawn: Line = [(bar(fill_of(pipe), PIPE_CELLS, charset) + charset.flows_to, bar_role(pipe))]
    texts: list[Line] = [
        [(flow, "muted")],
        drawn,
        [(fill_words(pipe), "plain")],
        [(slow_words(pipe), "muted")],
        [(total_words(pipe), "muted")],
    ]
    return [[("  ", "plain"), *padded(text, PIPE_WIDTH - 3), (" ", "plain")] for text in texts]

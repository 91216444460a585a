"""The board as a table: one row a job, columns that go when it is narrow, a scrollbar that says where trouble is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from textual.geometry import Region

from corral.model.job import Job
from corral.model.urgency import ended_badly, is_stuck, needs_a_human
from corral_tui.dashboard.board.view_state import BoardMap, ViewState
from corral_tui.dashboard.paint.batch_lines import progress_line
from corral_tui.dashboard.paint.job_words import title
from corral_tui.dashboard.paint.lines import Span, Spans, padded
from corral_tui.dashboard.paint.row_widget import EMPTY, Row, padded_row
from corral_tui.settings.dashboard import Order
from corral_tui.text.charset import Role, Status, stuck_label
from corral_tui.text.numbers import cells, count, cpu, cut_end, cut_middle, left, rate, right, size

ColumnName = Literal[
    "id", "name", "status", "cpu", "cpu_spark", "mem", "mem_spark", "procs", "out", "time", "last"
]


RowCache = dict[str, tuple[Job, object, Row]]
"""By job id: the very job that was drawn, what else went into its row, and the row."""


class Column(NamedTuple):
    """One column: its width, and the blanks in front of it."""

    name: ColumnName
    width: int
    gap: int = 1


_WIDE = 100
_WITH_WHY = 36
"""Cells for the progress of a batch that has to say something besides."""
_DROPPED_FIRST: tuple[ColumnName, ...] = ("procs", "out", "mem_spark", "cpu_spark", "mem", "last")
_DROPPED_LAST: tuple[ColumnName, ...] = ("cpu", "time", "status")
_ORDER_OF: dict[ColumnName, Order] = {
    "id": "started",
    "name": "name",
    "status": "status",
    "cpu": "cpu",
    "cpu_spark": "cpu",
    "mem": "mem",
    "mem_spark": "mem",
    "procs": "procs",
    "out": "out",
    "time": "time",
}
_HEADS: dict[ColumnName, str] = {
    "id": "ID",
    "name": "NAME",
    "status": "STATUS",
    "cpu": "CPU%",
    "mem": "MEM",
    "procs": "PROCS",
    "out": "OUT",
    "time": "TIME",
    "last": "LAST LINE, OR WHY",
}


_TIGHT = {"succeeded": "well", "timed out": "timeout", "stopping": "stops"}
"""Words for a status column of nine cells."""


def columns_for(width: int, widest_id: int) -> tuple[Column, ...]:
    """The columns that fit into `width` cells, the scrollbar's one not counted."""
    is_wide = width >= _WIDE
    id_width = max(widest_id, 4 if width >= 60 else 3)
    wanted = [
        Column("id", id_width, 0),
        Column("name", 16 if is_wide else 10),
        Column("status", 14 if is_wide else (11 if width >= 60 else 9)),
        Column("cpu", 4, 1),
        Column("cpu_spark", 8),
        Column("mem", 5, 2 if is_wide else 1),
        Column("mem_spark", 8),
        Column("procs", 5, 2),
        Column("out", 7, 2),
        Column("time", 6, 2 if is_wide else 1),
        Column("last", 0, 2 if is_wide else 1),
    ]
    least = 40 if is_wide else 18
    for name in _DROPPED_FIRST:
        if _room_left(wanted, width) >= least:
            break
        wanted = [column for column in wanted if column.name != name]
        least = min(least, 18)
    for name in _DROPPED_LAST:
        if _room_left(wanted, width) >= 0:
            break
        wanted = [column for column in wanted if column.name != name]
    return _with_last(wanted, width)


def _room_left(columns: Sequence[Column], width: int) -> int:
    return width - 2 - sum(column.width + column.gap for column in columns)


def _with_last(columns: list[Column], width: int) -> tuple[Column, ...]:
    room = max(_room_left(columns, width), 0)
    if columns[-1].name == "last":
        return (*columns[:-1], columns[-1]._replace(width=room))
    # Nothing to say why: the names get the room.
    named = columns[1]._replace(width=max(min(columns[1].width + room, 24), 4))
    return (columns[0], named, *columns[2:])


def draw_table(
    view_state: ViewState, width: int, height: int, offset: int, cache: RowCache
) -> tuple[list[Row], BoardMap]:
    """`height` rows from the job at `offset` on, the heads first where there is room for them."""
    jobs = view_state.model.shown
    widest = max((len(job.id) for job in (jobs[-1:] + jobs[:1])), default=1)
    widest = max(widest, max((len(job.id) for job in jobs), default=1) if len(jobs) < 50 else widest)
    columns = columns_for(width - 1, widest)
    has_heads = height >= 12
    visible = jobs[offset : offset + height - has_heads]
    rows = [_heads(view_state, columns, width)] if has_heads else []
    bar = scrollbar(
        view_state, len(visible) if len(jobs) <= height - has_heads else height - has_heads, offset
    )
    for job, (glyph, role) in zip(visible, bar, strict=False):
        rows.append(_cached(view_state, job, columns, width, (glyph, role), cache))
    rows += [EMPTY] * (height - len(rows))
    places = {job.id: Region(0, y, width, 1) for y, job in enumerate(visible, start=int(has_heads))}
    track = Region(width - 1, int(has_heads), 1, height - has_heads)
    return rows, BoardMap(places, _head_places(columns) if has_heads else (), track)


def _head_places(columns: Sequence[Column]) -> tuple[tuple[Region, Order], ...]:
    ends = list(accumulate((column.gap + column.width for column in columns), initial=2))
    return tuple(
        (Region(start, 0, end - start, 1), _ORDER_OF[column.name])
        for column, start, end in zip(columns, [0, *ends[1:]], ends[1:], strict=False)
        if column.name in _ORDER_OF
    )


def _heads(view_state: ViewState, columns: Sequence[Column], width: int) -> Row:
    model = view_state.model
    pieces: list[Span] = [("  ", "muted")]
    for column in columns:
        head = _HEADS.get(column.name, "")
        role: Role = "bold" if _ORDER_OF.get(column.name) == model.order and head else "muted"
        is_left = column.name in ("name", "status", "last", "cpu_spark", "mem_spark")
        cell = left(head, column.width, "") if is_left else right(head, column.width)
        pieces.append((" " * column.gap + cell, role))
    arrow = view_state.charset.menu_up if model.is_reversed else view_state.charset.menu
    note = f"order: {model.order} {arrow}  {len(model.shown)} "
    if columns[-1].name == "last" and columns[-1].width >= cells(note) + 20:
        text, look = pieces[-1]
        pieces[-1] = (left(text, cells(text) - cells(note), ""), look)
        pieces.append((note, "muted"))
    return padded_row(pieces, width)


def _cached(
    view_state: ViewState,
    job: Job,
    columns: tuple[Column, ...],
    width: int,
    bar: tuple[str, Role],
    cache: RowCache,
) -> Row:
    """The row of a job; rebuilt only where something in it differs."""
    model = view_state.model
    is_selected, is_marked = job.id == model.selected_id, job.id in model.marks
    status, time = view_state.status(job), view_state.time(job)
    last = _last(view_state, job, columns[-1].width)
    wants_sparks = any(column.name == "cpu_spark" for column in columns)
    spark = view_state.spark(job, "cpu", 8) + view_state.spark(job, "memory", 8) if wants_sparks else ""
    key = (
        id(job),
        columns,
        width,
        bar,
        is_selected,
        is_marked,
        status,
        time,
        last,
        spark,
        view_state.charset.name,
    )
    known = cache.get(job.id)
    if known is not None and known[0] is job and known[1] == key:
        return known[2]
    drawn = _row(view_state, job, columns, width, bar, status, last)
    cache[job.id] = (job, key, drawn)
    return drawn


def _last(view_state: ViewState, job: Job, width: int) -> Spans:
    why = view_state.why(job)
    if job.batch_progress is not None and job.started is not None:
        line = progress_line(job, width if why is None else min(width, _WITH_WHY), view_state.charset)
        return (*line, ("   " + why, "plain")) if why else line
    if why is None:
        return view_state.last_line(job)
    return ((why, "muted" if job.state == "queued" else "plain"),)


def _row(
    view_state: ViewState,
    job: Job,
    columns: Sequence[Column],
    width: int,
    bar: tuple[str, Role],
    status: Status,
    last: Spans,
) -> Row:
    model, charset = view_state.model, view_state.charset
    is_selected = job.id == model.selected_id
    pieces: list[Span] = [
        (charset.cursor if is_selected else " ", "rule-selected"),
        ("*" if job.id in model.marks else " ", "marked"),
    ]
    for column in columns:
        if column.gap:
            pieces.append((" " * column.gap, "plain"))
        if column.name == "last":
            pieces += padded(last, column.width, charset.ellipsis)
        elif column.name == "status":
            pieces += status_cell(view_state, status, column.width)
        else:
            pieces.append(_cell(view_state, job, column))
    body = padded(pieces, width - 1, charset.ellipsis)
    return Row((*body, bar), "cursor" if is_selected else None)


def _cell(view_state: ViewState, job: Job, column: Column) -> Span:
    width, has_numbers = column.width, job.state in ("running", "paused", "stopping")
    if column.name == "id":
        return right(job.id, width), "muted"
    if column.name == "name":
        role: Role = "muted" if job.is_ended and not ended_badly(job) else "plain"
        return left(cut_middle(title(job), width, view_state.charset.ellipsis), width), role
    if column.name == "time":
        return right(view_state.time(job), width), "plain"
    if not has_numbers:
        return " " * width, "plain"
    if column.name == "cpu_spark":
        return view_state.spark(job, "cpu", width), "spark"
    if column.name == "mem_spark":
        return view_state.spark(job, "memory", width), "spark"
    texts = {
        "cpu": cpu(job.cpu_percent),
        "mem": size(job.memory_bytes),
        "procs": count(job.processes),
        "out": rate(job.output_bytes_per_second),
    }
    return right(texts[column.name], width), "plain"


def status_cell(view_state: ViewState, status: Status, width: int) -> Spans:
    """The status in exactly `width` cells: mark and word; where the number does not fit it goes first."""
    if status.is_stuck:
        time = status.word.removeprefix("STUCK").strip()
        gap = " " if width >= 12 else ""
        return padded((*stuck_label(view_state.charset), (gap + time, "warning")), width, "")
    words = (status.word, status.short, _TIGHT.get(status.short, status.short))
    word = next((each for each in words if cells(each) + 2 <= width), words[-1])
    return (
        (status.mark + " ", status.mark_role),
        (left(cut_end(word, width - 2, ""), width - 2), status.role),
    )


def scrollbar(view_state: ViewState, height: int, offset: int) -> list[tuple[str, Role]]:
    """A cell for each visible row: the track, the part that is seen, and a tick where a job needs a human."""
    jobs, charset = view_state.model.shown, view_state.charset
    total = len(jobs)
    if total <= height:
        return [(" ", "plain")] * height
    first = round(offset / total * height)
    length = max(round(height / total * height), 1)
    first = min(first, height - length)
    bar: list[tuple[str, Role]] = [
        (charset.thumb, "plain") if first <= y < first + length else (charset.track, "rule")
        for y in range(height)
    ]
    for place, job in enumerate(jobs):
        if needs_a_human(job):
            y = min(place * height // total, height - 1)
            if bar[y][1] != "warning":
                bar[y] = (charset.stuck, "warning") if is_stuck(job) else (charset.failed, "error")
    return bar

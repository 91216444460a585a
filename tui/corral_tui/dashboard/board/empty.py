"""What the board shows when nothing runs: how to start something, and what ended before."""

from __future__ import annotations

from datetime import datetime

from textual.geometry import Region

from corral.model.job import Job
from corral.model.urgency import ended_badly
from corral_tui.dashboard.board.view_state import BoardMap, ViewState
from corral_tui.dashboard.paint.job_words import title
from corral_tui.dashboard.paint.lines import Span, Spans, clean, padded
from corral_tui.dashboard.paint.row_widget import EMPTY, Row, padded_row
from corral_tui.text.charset import Role
from corral_tui.text.numbers import cut_middle, duration, left


def draw_empty(view_state: ViewState, jobs: list[Job], width: int, height: int) -> tuple[list[Row], BoardMap]:
    """`height` rows. `jobs` ended before, the newest first."""
    if not view_state.is_ready:
        return [EMPTY] * height, BoardMap()
    margin = 36 if width >= 150 else (8 if width >= 100 else 2)
    lines = _words(width - margin, height, is_private=view_state.is_private)
    first, shown = len(lines), 0
    if jobs and height - first >= 3:
        lines += (
            [(), (("Ended before:", "plain"),)] if height - first > 4 else [(("Ended before:", "plain"),)]
        )
        first = len(lines)
        shown = min(len(jobs), height - first, 10)
        lines += [_ended(view_state, job, width - margin) for job in jobs[:shown]]
    top = max((height - len(lines)) // 3, 0) if height > 24 else min(1, max(height - len(lines), 0))
    rows = [EMPTY] * top
    places: dict[str, Region] = {}
    for number, line in enumerate(lines):
        job_id = jobs[number - first].id if first <= number < first + shown else None
        is_selected = job_id is not None and job_id == view_state.model.selected_id
        if job_id is not None:
            places[job_id] = Region(0, top + number, width, 1)
        edge = view_state.charset.cursor if is_selected else " "
        pieces: Spans = ((edge, "rule-selected"), (" " * (margin - 1), "plain"), *line)
        rows.append(padded_row(pieces, width, base="cursor" if is_selected else None))
    rows += [EMPTY] * (height - len(rows))
    return rows[:height], BoardMap(places)


def _words(width: int, height: int, *, is_private: bool) -> list[Spans]:
    if height < 8 or width < 60:
        return _few_words(height)
    example = "zcat big.gz | sort | uniq -c > top.txt"
    start: list[Spans] = [
        (("n", "key"), ("    start something here, such as   ", "plain"), ("make -j8", "bold")),
        (("                                or   ", "plain"), (example, "bold")),
    ]
    lines: list[Spans] = [
        (("Nothing runs.", "bold"),),
        (),
        *start,
        (),
        (("In another terminal, this starts a job that shows up here:", "plain"),),
        (("     corral run make -j8", "bold"),),
        ((f"     corral run '{example}'", "bold"),),
    ]
    if height >= 14:
        lines += [
            (),
            (
                ("corral demo", "bold"),
                ("    try it with real jobs of every kind; some of them hang", "plain"),
            ),
            (),
            (
                (
                    "Jobs end when you leave (q)."
                    if is_private
                    else "Jobs go on when you leave (q) or lose the connection.",
                    "plain",
                ),
            ),
        ]
    return lines


def _few_words(height: int) -> list[Spans]:
    lines: list[Spans] = [
        (("Nothing runs.", "bold"),),
        (("n", "key"), ("  start something here", "plain")),
        (("or elsewhere: ", "plain"), ("corral run make -j8", "bold")),
    ]
    return lines[: max(height, 1)]


def _ended(view_state: ViewState, job: Job, width: int) -> Spans:
    """`9 vacuum       ✓ 4m40s   today 13:20   psql -c "vacuum analyze"`"""
    status = view_state.status(job)
    role: Role = status.mark_role if ended_badly(job) else "muted"
    ended = f"{status.mark} {status.word if ended_badly(job) else duration(job.elapsed)}"
    line: list[Span] = [
        (f"{job.id:>5} ", "muted"),
        (left(cut_middle(title(job), 14, view_state.charset.ellipsis), 15), "plain"),
        (left(ended, 12), role),
    ]
    if width >= 40:
        line.append((left(_when(job.ended, view_state.now), 14), "muted"))
    return padded((*line, (clean(job.command), "muted")), max(width - 1, 0), view_state.charset.ellipsis)


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    here, there = now.astimezone(), at.astimezone()
    if here.date() == there.date():
        return there.strftime("today %H:%M")
    return there.strftime("%d %b %H:%M")

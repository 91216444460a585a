"""The selected job below the table: its sentence, its numbers, its last lines."""

from __future__ import annotations

from corral.model.job import Job
from corral_tui.dashboard.board.view_state import ViewState
from corral_tui.dashboard.paint.batch_lines import batch_lines
from corral_tui.dashboard.paint.job_words import end_reason, title
from corral_tui.dashboard.paint.lines import Spans, clean, padded, width_of, wrapped
from corral_tui.dashboard.paint.pipeline_line import draw_pipeline
from corral_tui.dashboard.paint.row_widget import EMPTY, Row
from corral_tui.text.charset import stuck_label
from corral_tui.text.lost_output import truncated_in_short
from corral_tui.text.numbers import counted, cpu_share, cut_middle, rate, size


def preview_height(height: int, is_wanted: bool | None) -> int:
    """How many of the board's rows the preview takes; `is_wanted` None lets the room decide."""
    if is_wanted is False or height < 6:
        return 0
    if height >= 36:
        return 13
    if is_wanted:
        return min(max(height // 3, 3), 9)
    return 3 if height < 10 else 0


def draw_preview(view_state: ViewState, job: Job | None, width: int, height: int) -> list[Row]:
    """Exactly `height` rows."""
    if height <= 0:
        return []
    if job is None:
        return [EMPTY] * height
    lines = [_head(view_state, job, width)]
    lines += (
        _few_lines(view_state, job, width - 2)
        if height <= 4
        else _lines(view_state, job, width - 2, height - 1)
    )
    ellipsis = view_state.charset.ellipsis
    rows = [Row(tuple(lines[0]))]
    rows += [Row(((" ", "plain"), *padded(line, width - 1, ellipsis))) for line in lines[1:height]]
    return rows + [EMPTY] * (height - len(rows))


def _head(view_state: ViewState, job: Job, width: int) -> Spans:
    """`─ 214 enc-0214   ffmpeg -i … ─────── i hides this ─`"""
    rule = view_state.charset.rule
    tail: Spans = (
        ((" ", "plain"), ("i", "key"), (" hides this ", "muted"), (rule, "rule")) if width >= 80 else ()
    )
    name: Spans = ((rule + " ", "rule"), (f"{job.id} ", "muted"), (title(job), "bold"))
    room = width - width_of((*name, *tail)) - 8
    command: Spans = ()
    if room >= 8:
        command = (("   " + cut_middle(clean(job.command), room, view_state.charset.ellipsis), "muted"),)
    head = (*name, *command, (" ", "plain"))
    missing = width - width_of((*head, *tail))
    return padded((*head, (rule * max(missing, 0), "rule"), *tail), width, "")


def _few_lines(view_state: ViewState, job: Job, width: int) -> list[Spans]:
    why = view_state.why(job) or end_reason(job)
    if job.batch_progress is not None:
        return batch_lines(job, width, 2, view_state.charset)
    if why:
        return [*wrapped(why, width, "")]
    return [view_state.last_line(job)]


def _lines(view_state: ViewState, job: Job, width: int, height: int) -> list[Spans]:
    lines: list[Spans] = _sentence_lines(view_state, job, width)
    if not job.is_ended and job.state != "queued":
        lines.append(_numbers(view_state, job, width))
    if job.batch_progress is not None:
        return [*lines, *batch_lines(job, width, height - len(lines), view_state.charset)]
    if len(job.stages) > 1 and not job.is_ended:
        lines += draw_pipeline(job, width, view_state.charset)
    tail = view_state.tails.of(job)
    room = height - len(lines) - 1
    output = list(tail.last_lines(room)) if tail and room > 0 else []
    if output:
        lines += [(), *output]
    return lines


def _sentence_lines(view_state: ViewState, job: Job, width: int) -> list[Spans]:
    why = view_state.why(job) or end_reason(job) or clean(job.summary or "")
    status = view_state.status(job)
    if not status.is_stuck:
        word: Spans = ((f"{status.mark} ", status.mark_role), (status.word, status.role))
        return [(*word, ("   " + why, "plain"))]
    since = ""
    if job.health_since is not None:
        since = job.health_since.astimezone().strftime(" since %H:%M:%S")
    return [(*stuck_label(view_state.charset), (f"{since}: ", "warning"), (why, "plain"))]


def _numbers(view_state: ViewState, job: Job, width: int) -> Spans:
    spark = max(min((width - 62) // 3, 28), 0)
    dropped = job.stdout_dropped_bytes + job.stderr_dropped_bytes
    kept = f"{size(job.stdout_bytes + job.stderr_bytes - dropped)} kept"
    return (
        ("cpu ", "muted"),
        (f"{cpu_share(job.cpu_percent)} ", "plain"),
        (view_state.spark(job, "cpu", spark), "spark"),
        ("   mem ", "muted"),
        (f"{size(job.memory_bytes)} ", "plain"),
        (view_state.spark(job, "memory", spark), "spark"),
        ("   out ", "muted"),
        (f"{rate(job.output_bytes_per_second)} ", "plain"),
        (view_state.spark(job, "output", spark), "spark"),
        (f"   {counted(job.processes, 'process')}   {kept}", "muted"),
        (f", {size(dropped)} dropped" if dropped else "", "warning"),
        (f", {truncated_in_short(job)[1]}" if job.truncated_bytes else "", "warning"),
    )

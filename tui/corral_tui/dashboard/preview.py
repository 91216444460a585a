"""The selected job below the table: its sentence, its numbers, its last lines."""

from __future__ import annotations

from corral.values.jobs import Job
from corral_tui.dashboard.lines import clean, wrapped
from corral_tui.dashboard.marks import stuck_label
from corral_tui.dashboard.painter import EMPTY, Painted_, Row
from corral_tui.dashboard.pipeline import draw_pipeline
from corral_tui.dashboard.scene import Scene, padded_line
from corral_tui.dashboard.words import end_reason, title
from corral_tui.lost_output import truncated_in_short
from corral_tui.numbers import cells, counted, cpu_share, cut_middle, rate, size

Line = tuple[Painted_, ...]


def preview_height(height: int, is_wanted: bool | None) -> int:
    """How many of the board's rows the preview takes; `is_wanted` None lets the room decide."""
    if is_wanted is False or height < 6:
        return 0
    if height >= 36:
        return 13
    if is_wanted:
        return min(max(height // 3, 3), 9)
    return 3 if height < 10 else 0


def draw_preview(scene: Scene, job: Job | None, width: int, height: int) -> list[Row]:
    """Exactly `height` rows."""
    if height <= 0:
        return []
    if job is None:
        return [EMPTY] * height
    lines = [_head(scene, job, width)]
    lines += _few_lines(scene, job, width - 2) if height <= 4 else _lines(scene, job, width - 2, height - 1)
    ellipsis = scene.charset.ellipsis
    rows = [Row(lines[0])]
    rows += [Row(((" ", "plain"), *padded_line(line, width - 1, ellipsis))) for line in lines[1:height]]
    return rows + [EMPTY] * (height - len(rows))


def _head(scene: Scene, job: Job, width: int) -> Line:
    """`─ 214 enc-0214   ffmpeg -i … ─────── i hides this ─`"""
    rule = scene.charset.rule
    tail: Line = (
        ((" ", "plain"), ("i", "key"), (" hides this ", "muted"), (rule, "rule")) if width >= 80 else ()
    )
    name: Line = ((rule + " ", "rule"), (f"{job.id} ", "muted"), (title(job), "bold"))
    room = width - sum(cells(text) for text, _ in (*name, *tail)) - 8
    command: Line = ()
    if room >= 8:
        command = (("   " + cut_middle(clean(job.command), room, scene.charset.ellipsis), "muted"),)
    head = (*name, *command, (" ", "plain"))
    missing = width - sum(cells(text) for text, _ in (*head, *tail))
    return padded_line((*head, (rule * max(missing, 0), "rule"), *tail), width, "")


def _few_lines(scene: Scene, job: Job, width: int) -> list[Line]:
    why = scene.why(job) or end_reason(job)
    if why:
        return [tuple(line) for line in wrapped(why, width, "")]
    return [scene.last_line(job)]


def _lines(scene: Scene, job: Job, width: int, height: int) -> list[Line]:
    lines: list[Line] = _sentence_lines(scene, job, width)
    if not job.is_ended and job.state != "queued":
        lines.append(_numbers(scene, job, width))
    if len(job.stages) > 1 and not job.is_ended:
        lines += draw_pipeline(job, width, scene.charset)
    tail = scene.tails.of(job)
    room = height - len(lines) - 1
    output = list(tail.last_lines(room)) if tail and room > 0 else []
    if output:
        lines += [(), *output]
    return lines


def _sentence_lines(scene: Scene, job: Job, width: int) -> list[Line]:
    why = scene.why(job) or end_reason(job) or clean(job.summary or "")
    status = scene.status(job)
    if not status.is_stuck:
        word: Line = ((f"{status.mark} ", status.mark_role), (status.word, status.role))
        return [(*word, ("   " + why, "plain"))]
    since = ""
    if job.health_since is not None:
        since = job.health_since.astimezone().strftime(" since %H:%M:%S")
    return [(*stuck_label(scene.charset), (f"{since}: ", "warning"), (why, "plain"))]


def _numbers(scene: Scene, job: Job, width: int) -> Line:
    spark = max(min((width - 62) // 3, 28), 0)
    dropped = job.stdout_dropped_bytes + job.stderr_dropped_bytes
    kept = f"{size(job.stdout_bytes + job.stderr_bytes - dropped)} kept"
    return (
        ("cpu ", "muted"),
        (f"{cpu_share(job.cpu_percent)} ", "plain"),
        (scene.cpu_spark(job, spark), "spark"),
        ("   mem ", "muted"),
        (f"{size(job.memory_bytes)} ", "plain"),
        (scene.memory_spark(job, spark), "spark"),
        ("   out ", "muted"),
        (f"{rate(job.output_bytes_per_second)} ", "plain"),
        (scene.output_spark(job, spark), "spark"),
        (f"   {counted(job.processes, 'process')}   {kept}", "muted"),
        (f", {size(dropped)} dropped" if dropped else "", "warning"),
        (f", {truncated_in_short(job)[1]}" if job.truncated_bytes else "", "warning"),
    )

"""A batch in lines: its bar and counts, what failed by cause, which jobs take long. Pure: a job in, lines out."""

from __future__ import annotations

from corral.model.batch import BatchProgress
from corral.model.job import Job
from corral_tui.dashboard.paint.lines import Line, Span, Spans, clean, cut, width_of
from corral_tui.text import numbers
from corral_tui.text.batch_progress import rate_text
from corral_tui.text.charset import Charset

WIDEST_BAR = 30
LEAST_BAR = 7
_GAP = "  "


def progress_line(job: Job, width: int, charset: Charset) -> Spans:
    """`▕█████░░░▏ 340/1000  3 failed  8 run  2m left  1.3/s  12 tried again`: as much of it as fits, the bar as long as it can
    be."""
    progress = job.batch_progress
    if progress is None:
        return ()
    words: Line = []
    for part in _parts(job, progress):
        more = [*words, (_GAP, "plain"), part] if words else [part]
        is_needed = part[1] in ("bold", "error")
        if width_of(more) + (0 if is_needed else LEAST_BAR + 1) > width and words:
            break
        words = more
    bar = _bar(progress, min(width - width_of(words) - 1, WIDEST_BAR), charset)
    return cut([*bar, *words], width, charset.ellipsis)


def _parts(job: Job, progress: BatchProgress) -> list[Span]:
    """The words, those that matter most first."""
    over = finished(progress)
    total = f"{over:,} done" if progress.total is None else f"{over:,}/{progress.total:,}"
    parts: list[Span] = [(total, "bold")]
    if progress.failed:
        parts.append((f"{progress.failed:,} failed", "error"))
    if progress.running:
        parts.append((f"{progress.running:,} run", "plain"))
    if progress.seconds_left is not None:
        parts.append((f"{numbers.one_unit(progress.seconds_left)} left", "plain"))
    if progress.stopped or progress.skipped:
        parts.append((f"{progress.stopped + progress.skipped:,} stopped", "muted"))
    if progress.per_second is not None and not job.is_ended:
        parts.append((f"{rate_text(progress.per_second)}/s", "muted"))
    if progress.total is None:
        parts.append(("more inputs come", "muted"))
    if progress.retried:
        parts.append((f"{progress.retried:,} tried again", "muted"))
    if not job.is_ended:
        parts.append((f"{progress.jobs_at_a_time} at a time", "muted"))
    return parts


def finished(progress: BatchProgress) -> int:
    """How many inputs are done with."""
    return progress.succeeded + progress.failed + progress.stopped + progress.skipped


def _bar(progress: BatchProgress, width: int, charset: Charset) -> Line:
    """What is done with, the failed at its end; nothing while the number of inputs is not known, and where it would be tiny."""
    if not progress.total or width < LEAST_BAR:
        return []
    inner, over = width - 2, finished(progress)
    taken = _cells(over, progress.total, inner)
    failed = min(_cells(progress.failed, progress.total, inner), taken)
    before, after = charset.bar_edges
    return [
        (before + charset.bar_full * (taken - failed), "plain"),
        (charset.bar_full * failed, "error"),
        (charset.bar_rest * (inner - taken) + after + " ", "plain"),
    ]


def _cells(part: int, total: int, width: int) -> int:
    """Full means full, and empty means none."""
    share = round(part / total * width)
    return min(max(share, int(part > 0)), width - int(part < total))


def failure_lines(job: Job, width: int, most: int, charset: Charset) -> list[Spans]:
    """`✗ 12  exit 9: connection refused   12.3 12.9 12.44`, a cause a line; the last says how many there are besides."""
    groups = job.failures
    shown = groups[:most] if len(groups) <= most or most < 2 else groups[: most - 1]
    widest = max((len(f"{group.count:,}") for group in shown), default=1)
    lines: list[Spans] = []
    for group in shown:
        head: Spans = ((charset.failed + " ", "error"), (f"{group.count:>{widest},}  ", "bold"))
        ids: Spans = (("   " + " ".join(group.ids), "muted"),)
        if width < width_of(head) + width_of(ids) + 20:
            ids = ()
        cause: Spans = ((clean(group.cause), "plain"),)
        room = width - width_of(head) - width_of(ids)
        lines.append((*head, *cut(cause, room, charset.ellipsis), *ids))
    if len(shown) < min(len(groups), most):
        lines.append(((f"  and {numbers.counted(len(groups) - len(shown), 'other cause')}", "muted"),))
    return lines


def straggler_line(job: Job, width: int, charset: Charset) -> Spans:
    """Which jobs run much longer than most did; nothing where none does."""
    if not job.stragglers:
        return ()
    several = len(job.stragglers) > 1
    words = f" {'run' if several else 'runs'} much longer than most did"
    ids = " ".join(job.stragglers)
    room = max(width - len(words) - len(charset.bottleneck) - 1, 8)
    shown = numbers.cut_end(ids, room, charset.ellipsis)
    return ((charset.bottleneck + " ", "warning"), (shown, "bold"), (words, "plain"))


def batch_lines(job: Job, width: int, most: int, charset: Charset) -> list[Spans]:
    """What can be said of a batch in at most `most` lines of `width` cells: the most important first."""
    lines: list[Spans] = [progress_line(job, width, charset)]
    slow = straggler_line(job, width, charset)
    if slow:
        lines.append(slow)
    room = most - len(lines)
    return [*lines, *(failure_lines(job, width, room, charset) if room > 0 else ())][:most]

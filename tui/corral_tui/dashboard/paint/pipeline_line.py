"""A pipeline as a line: its stages, the fill of each pipe between them, and the stage that holds up the rest."""

from __future__ import annotations

from corral.model.job import Job, Pipe, Stage
from corral_tui.dashboard.paint.job_words import words_of_stage
from corral_tui.dashboard.paint.lines import Span, Spans, clean
from corral_tui.text.charset import Charset, bar
from corral_tui.text.numbers import UNKNOWN, cells, cut_middle, rate

LEAST_NAME = 4
FULL = 0.98


def fill_of(pipe: Pipe) -> float | None:
    """From 0, empty, to 1, full; None where it is not known."""
    if pipe.fill_bytes is None or not pipe.capacity_bytes:
        return None
    return min(pipe.fill_bytes / pipe.capacity_bytes, 1.0)


def state_of(pipe: Pipe) -> str:
    fill = fill_of(pipe)
    if fill is None:
        return ""
    if fill >= FULL:
        return "full"
    return "empty" if pipe.fill_bytes == 0 else f"{fill * 100:.0f}%"


def at_most(pipe: Pipe, words: str, charset: Charset) -> str:
    """A number of a pipe, marked where it is only a bound: its stages also wrote or read something else."""
    is_bound = not pipe.exact and words not in (UNKNOWN, "0", "0/s")
    return f"{charset.at_most}{words}" if is_bound else words


def draw_pipeline(job: Job, width: int, charset: Charset) -> tuple[Spans, Spans]:
    """Two lines of at most `width` cells: the drawing, and beneath it CPU and flow where each belongs."""
    names, bar_width = _fitted(job, width, charset)
    top: list[Span] = []
    beneath: list[Span] = []
    for place, stage in enumerate(job.stages):
        _draw_stage(job, stage, names[place], charset, top, beneath)
        pipe = job.pipes[place] if place < len(job.pipes) else None
        if pipe is not None:
            _draw_pipe(pipe, bar_width, charset, top, beneath)
    return top, beneath


def _draw_stage(
    job: Job, stage: Stage, name: str, charset: Charset, top: list[Span], beneath: list[Span]
) -> None:
    is_slow = stage.number == job.bottleneck
    label = f"{name} {charset.bottleneck}" if is_slow else name
    if is_slow:
        top += [(name + " ", "bold"), (charset.bottleneck, "warning"), (" ", "plain")]
    else:
        top.append((name + " ", "muted" if stage.ended else "plain"))
    share = "" if stage.cpu_percent is None else f"{stage.cpu_percent:.0f}%"
    if stage.ended is not None:
        share = charset.succeeded if stage.state == "succeeded" else charset.failed
    beneath.append((_centred(share, cells(label)) + " ", "muted"))


def _draw_pipe(pipe: Pipe, width: int, charset: Charset, top: list[Span], beneath: list[Span]) -> None:
    drawn, is_full = bar(fill_of(pipe), width, charset), state_of(pipe) == "full"
    top.append((drawn + charset.flows_to + " ", "warning" if is_full else "spark"))
    room = cells(drawn) + 2
    flow = "" if pipe.bytes_per_second is None else at_most(pipe, rate(pipe.bytes_per_second), charset)
    text = f"{flow} {'full' if is_full else ''}".strip()
    beneath.append((_centred(text if cells(text) < room else flow, room), "muted"))


def _centred(text: str, width: int) -> str:
    return text[:width].center(width)


def _fitted(job: Job, width: int, charset: Charset) -> tuple[list[str], int]:
    """Names and the bars' width so that all stages fit; what is too much even so is cut at the edge."""
    short = [clean(stage.name) for stage in job.stages]
    full = short
    if len(job.stages) <= 4:
        full = [clean(" ".join(words_of_stage(stage)[:2])) for stage in job.stages]
    extra = sum(2 for stage in job.stages if stage.number == job.bottleneck)
    cut: list[str] = []
    for names, most in ((full, 16), (short, 16), (short, 8), (short, LEAST_NAME)):
        cut = [cut_middle(name, most, charset.ellipsis) for name in names]
        fixed = sum(cells(name) + 1 for name in cut) + extra
        room = (width - fixed) // max(len(job.pipes), 1) - 4
        if room >= (4 if names is full else 3):
            return cut, min(room, 8)
    return cut, 2

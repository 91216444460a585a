"""Line 1: how many jobs do what, the machine, the clock."""

from __future__ import annotations

from collections import Counter

from corral.model.machine import Machine
from corral.model.urgency import ended_badly, is_stuck
from corral_tui.dashboard.board.view_state import ViewState
from corral_tui.dashboard.paint.lines import Span, Spans, clean, cut, width_of
from corral_tui.text.charset import Charset, sparks
from corral_tui.text.numbers import size

_WIDE = 100


def count_jobs(view_state: ViewState) -> Counter[str]:
    """Jobs that were taken off the list do not count; those that ended well count for today."""
    counts: Counter[str] = Counter(queued=view_state.model.unlisted_queued)
    today = view_state.now.astimezone().date()
    for job in view_state.model.snapshot.jobs.values():
        if job.hidden:
            continue
        if not job.is_ended:
            counts[job.state] += 1
            counts["stuck"] += is_stuck(job)
        elif ended_badly(job):
            counts["failed"] += 1
        elif job.state == "succeeded" and (job.ended is None or job.ended.astimezone().date() == today):
            counts["well"] += 1
    return counts


def header(view_state: ViewState, counts: Counter[str], width: int) -> Spans:
    """The line, in at most `width` cells; the machine's part goes before the counts do."""
    is_wide = width >= _WIDE
    left = _left(view_state, counts, width)
    for right in _rights(view_state, width):
        missing = width - width_of(left) - width_of(right)
        if missing >= 1:
            return (*left, (" " * missing, "plain"), *right)
    return cut(left, width, view_state.charset.ellipsis if is_wide else "")


def _left(view_state: ViewState, counts: Counter[str], width: int) -> Spans:
    is_wide = width >= _WIDE
    trouble = view_state.model.snapshot.trouble
    brand: Spans = ((" CORRAL", "bold"), ("   ", "plain")) if is_wide else ((" ", "plain"),)
    if not view_state.is_ready:
        return (*brand, ("connecting", "muted"))
    if trouble:
        return (*brand, (f" {clean(trouble)} ", "error-alert"))
    if not any(counts[each] for each in ("running", "paused", "stopping", "queued", "failed")):
        return (*brand, ("nothing runs", "plain"))
    is_crowded = bool(counts["paused"] or counts["stopping"] or counts["failed"])
    gap = (
        ("  " if is_crowded else "   ") if width >= 140 else ("  " if width >= 60 and not is_crowded else " ")
    )
    parts = [part for part in _parts(counts, width) if part]
    line: list[Span] = list(brand)
    for number, part in enumerate(parts):
        line += [(gap, "plain")] if number else []
        line += part
    return line


def _parts(counts: Counter[str], width: int) -> list[Spans]:
    is_full = width >= 60
    is_crowded = bool(counts["paused"] or counts["stopping"] or counts["queued"] > 9) and width < _WIDE
    running = "run" if not is_full or is_crowded else "running"
    edge = " " if width >= _WIDE else ""
    failed: Spans = (
        ((f"[{edge}{counts['failed']} FAILED{edge}]", "error-alert"),)
        if counts["failed"]
        else (("0 failed", "muted"),)
    )
    if is_crowded and not counts["failed"]:
        failed = ()
    stuck: Spans = ((f"[{edge}{counts['stuck']} STUCK{edge}]", "alert"),) if counts["stuck"] else ()
    parts: list[Spans] = [((f"{counts['running']} {running}", "plain"),), stuck, failed]
    parts += [
        ((f"{number} {word}", "plain"),) if number else ()
        for number, word in ((counts["paused"], "paused"), (counts["stopping"], "stopping"))
    ]
    if is_full:
        parts.append(((f"{counts['queued']:,} queued", "plain" if counts["queued"] else "muted"),))
    if width >= 120:
        crowded = counts["paused"] or counts["stopping"] or counts["failed"]
        parts.append(((f"{counts['well']} {'well' if crowded else 'ended well'}", "muted"),))
    return parts


def _rights(view_state: ViewState, width: int) -> list[Spans]:
    """The machine and the clock, the fullest form first."""
    machine, charset = view_state.model.snapshot.machine, view_state.charset
    clock = view_state.now.astimezone()
    if machine is None:
        return [((clock.strftime("%H:%M:%S "), "plain"),), ((clock.strftime("%H:%M "), "plain"),)]
    cpu = f"{machine.cpu_percent:.0f}%"
    used, total = size(machine.memory_used_bytes), size(machine.memory_total_bytes)
    short: Spans = (("cpu ", "muted"), (cpu, "plain"), ("  mem ", "muted"), (f"{used}/{total}", "plain"))
    forms: list[Spans] = []
    if width >= _WIDE:
        forms.append((*_with_sparks(machine, charset), (clock.strftime("   %H:%M:%S "), "plain")))
        forms.append((*short, (clock.strftime("   %H:%M:%S "), "plain")))
    forms.append((*short, (clock.strftime("  %H:%M "), "plain")))
    forms.append((*short, (" ", "plain")))
    forms.append((("cpu ", "muted"), (f"{cpu} ", "plain")))
    return forms


def _with_sparks(machine: Machine, charset: Charset) -> Spans:
    cpu, memory = list(machine.cpu_past), list(machine.memory_past)
    cores = f"{machine.cpu_percent:3.0f}% of {machine.cores} core{'s' if machine.cores != 1 else ''}"
    used, total = size(machine.memory_used_bytes), size(machine.memory_total_bytes)
    return (
        ("cpu ", "muted"),
        (sparks(cpu, 8, 100.0, charset), "spark"),
        (f" {cores}", "plain"),
        ("   mem ", "muted"),
        (sparks(memory, 8, 100.0, charset), "spark"),
        (f" {used:>5} of {total}", "plain"),
    )

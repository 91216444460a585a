"""All else of a job: how it was started, its limits, its life, the proof of its stop, earlier runs."""

from __future__ import annotations

from statistics import median

from corral.commandline.abbreviation import expanded_argvs
from corral.model.job import Job
from corral.model.reports import Detail
from corral.model.units import format_duration, format_size
from corral_tui.dashboard.dialogs.stop_text import ending_sentence, looked_words, survivor_lines
from corral_tui.dashboard.job.header import ORIGINS
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, width_of, wrapped
from corral_tui.dashboard.paint.pipeline_line import at_most
from corral_tui.text import numbers
from corral_tui.text.charset import Charset, mark_of

LABEL = 9
INPUTS = {
    "none": "none",
    "file": "a file",
    "descriptor": "the stdin of the command that started it",
    "interactive": "open: corral send writes to it",
    "job": "another job's output",
    "terminal": "its terminal: a attaches",
}
ARGV_LINES = 3
"""About so many are shown of what a stage was given: a pattern may have matched thousands of files."""


def about_lines(
    job: Job, detail: Detail | None, *, shows_values: bool, width: int, charset: Charset
) -> list[Line]:
    """The lines of the pane; before the daemon has answered those that the snapshot knows."""
    lines: list[Line] = []
    if detail is not None:
        if shows_values:
            lines += [*_environment(detail, width, shows_values=True), []]
        lines += _with_gap([*_life(detail, width), *_stop(detail, width)])
    lines += _history(job, detail, width, charset)
    if detail is not None and detail.earlier_runs:
        lines += _earlier(detail, width, charset)
    lines += _field("command", clean(job.command), width)
    for number, argv in expanded_argvs(job):
        lines += _field(f"stage {number}", numbers.cut_middle(clean(argv), ARGV_LINES * width), width)
    lines += _field("in", clean(job.cwd), width)
    lines += _field("started", _started(job), width)
    lines += _field("limits", _limits(job), width)
    lines += _field("stdin", _stdin(job, detail), width)
    if detail is not None and not shows_values:
        lines += _environment(detail, width, shows_values=False)
    return lines


def _with_gap(lines: list[Line]) -> list[Line]:
    return [*lines, []] if lines else []


def _field(label: str, words: str, width: int) -> list[Line]:
    lead = plain(f" {label:<{LABEL}}", "muted")
    return wrapped(words, width, indent="", hanging=" " * width_of(lead), lead=lead)


def _history(job: Job, detail: Detail | None, width: int, charset: Charset) -> list[Line]:
    """What it has used, what went through its pipes, and why it was stuck last."""
    used = [] if job.cpu_seconds is None else [f"{job.cpu_seconds:.1f} s of CPU"]
    if job.peak_memory_bytes is not None:
        used.append(f"{numbers.size(job.peak_memory_bytes)} of memory at its peak")
    lines = _field("used", ", ".join(used), width) if used else []
    moved = [
        f"{at_most(pipe, numbers.size(pipe.bytes_total), charset)} through pipe {pipe.number}"
        for pipe in job.pipes
        if pipe.bytes_total is not None
    ]
    lines += _field("pipes", ", ".join(moved), width) if moved else []
    if detail is not None and detail.diagnosis is not None:
        at = "" if detail.diagnosed is None else f"{detail.diagnosed.astimezone():%d %b %H:%M:%S}: "
        label = "stuck" if detail.diagnosis.health == "stuck" else "waited"
        lines += _field(label, at + clean(detail.diagnosis.summary), width)
    return lines


def _started(job: Job) -> str:
    at = job.started or job.created
    words = f"{at.astimezone():%d %b %H:%M:%S} {ORIGINS.get(job.origin, clean(job.origin))}"
    words += f", within job {job.parent}" if job.parent else ""
    words += f", after {', '.join(job.after)}" if job.after else ""
    return words + (f", as {job.restarted_from} was" if job.restarted_from else "")


def _limits(job: Job) -> str:
    timeout = "no timeout" if job.timeout is None else f"timeout {format_duration(job.timeout)}"
    stop = f"stop {job.stop_signal}, KILL after {format_duration(job.stop_grace)}"
    stuck = f"stuck after {format_duration(job.stuck_after)}"
    kept = (
        "all output kept" if job.max_output is None else f"{format_size(job.max_output)} of each output kept"
    )
    return f"{timeout}, {stop}, {stuck}, {kept}"


def _stdin(job: Job, detail: Detail | None) -> str:
    if detail is not None and detail.stdin_path is not None:
        return clean(detail.stdin_path)
    return f"the output of job {job.from_}" if job.from_ else INPUTS.get(job.stdin, clean(job.stdin))


def _environment(detail: Detail, width: int, *, shows_values: bool) -> list[Line]:
    """Names alone are told unasked: a value may be a secret, and somebody may look over the shoulder."""
    names = sorted(detail.environment)
    if not names:
        return []
    if not shows_values:
        return _field("env", f"{numbers.counted(len(names), 'name')}, V shows them", width)
    lines = _field("env", f"{numbers.counted(len(names), 'name')} (V hides them)", width)
    for name in names:
        words = f"{clean(name)}={clean(detail.environment[name])}"
        lines += wrapped(words, width, indent=" " * (LABEL + 1), hanging=" " * (LABEL + 3), role="muted")
    return lines


def _life(detail: Detail, width: int) -> list[Line]:
    if not detail.events:
        return []
    lines: list[Line] = [plain(" EVENTS", "muted")]
    for event in detail.events:
        at = f"{event.at.astimezone():%H:%M:%S}"
        lines += wrapped(clean(event.text), width, indent=f"   {at}  ", hanging=" " * 13)
    return lines


def _stop(detail: Detail, width: int) -> list[Line]:
    report = detail.stop
    if report is None:
        return []
    lines: list[Line] = [plain(" ITS STOP", "muted")]
    if not report.nothing_is_left:
        return [*lines, *survivor_lines(report, width)] if report.left else [*lines, plain("   going on")]
    lines += wrapped(ending_sentence(report), width, indent="   ")
    for one in report.processes:
        how = f"{'+'.join(one.signals) or 'no signal'}, ended by {one.ended_by or 'nothing yet'}"
        when = "" if one.seconds is None else f" after {one.seconds:.1f} s"
        lines.append(cut(plain(f"   {one.pid} {clean(one.name)}: {clean(how)}{when}", "muted"), width))
    looked = looked_words(report)
    return [*lines, *wrapped(looked, width, indent="   ", role="muted")] if looked else lines


def _earlier(detail: Detail, width: int, charset: Charset) -> list[Line]:
    """`28m ✓  29m ✓  (median 28m)`."""
    runs = [
        f"{numbers.duration(elapsed)} {mark_of(state, charset)}" for _, state, elapsed in detail.earlier_runs
    ]
    middle = median(elapsed for _, _, elapsed in detail.earlier_runs)
    return _field("earlier", "  ".join(runs[:8]) + f"   (median {numbers.duration(middle)})", width)

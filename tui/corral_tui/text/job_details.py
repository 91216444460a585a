"""The output of `corral show`: all details of one job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from corral.commandline.abbreviation import expanded_argvs
from corral.model.job import Job, JobEvent, Pipe, ProcessView, Stage
from corral.model.reports import Detail
from corral.model.units import format_duration, format_size
from corral.model.urgency import ended_badly, is_stuck
from corral_tui.text import numbers
from corral_tui.text.batch_details import batch_facts, failure_lines
from corral_tui.text.columns import lay_out
from corral_tui.text.diagnosis_text import time_words
from corral_tui.text.life_charts import life_lines
from corral_tui.text.lines import ALERT, FAILURE, HEADING, MUTED, StyledLine
from corral_tui.text.lost_output import truncated_in_short
from corral_tui.text.phrases import ends_them, live_on, moment, reason_text
from corral_tui.text.stop_report import report_lines
from corral_tui.text.terminal_output import visible, width_of

_ORIGINS = {
    "dashboard": "from the dashboard",
    "command_line": "from the command line",
    "library": "from a program",
}


def detail_lines(detail: Detail) -> Iterator[StyledLine]:
    """All sections as lines; empty sections are left out."""
    job = detail.job
    yield StyledLine(f"{job.id} {visible(job.title)}  {_status(job)}", _style(job))
    yield StyledLine(visible(job.command))
    for number, argv in expanded_argvs(job):
        yield StyledLine(f"  {number:>2}  {visible(argv)}", MUTED)
    yield StyledLine()
    for key, value in batch_facts(detail):
        yield StyledLine(f"  {key:<10} {value}")
    for key, value in _facts(job, _stdin(detail)):
        yield StyledLine(f"  {key:<10} {value}")
    yield from failure_lines(job)
    yield from _table(
        "STAGES", _STAGE_HEADER, [_stage(job, stage) for stage in job.stages], {0, 2, 4, 5, 6, 7, 8}
    )
    yield from _table("PIPES", _PIPE_HEADER, [_pipe(pipe) for pipe in job.pipes], {0, 1, 2, 3, 4, 5, 6})
    yield from _table("PROCESSES", _TREE_HEADER, [_process(process) for process in detail.tree], {0, 4, 5})
    yield from life_lines(detail)
    yield from _life(detail.events)
    if detail.stop is not None:
        yield from _heading("STOP")
        for line in report_lines(detail.stop, "the stop"):
            yield StyledLine(f"  {line}")
    yield from _earlier(detail)


def _status(job: Job) -> str:
    health = f", {job.health}" if job.health else ""
    elapsed = "" if job.elapsed is None else f"  {numbers.duration(job.elapsed)}"
    return f"{job.state.replace('_', ' ')}{health}{elapsed}"


def _style(job: Job) -> str:
    if ended_badly(job):
        return FAILURE
    return ALERT if is_stuck(job) else HEADING


def _facts(job: Job, stdin: str) -> Iterator[tuple[str, str]]:
    yield "directory", visible(job.cwd)
    yield "created", f"{moment(job.created)} {_ORIGINS.get(job.origin, job.origin)}{_parent(job)}"
    if job.started is not None:
        yield "started", moment(job.started)
    if job.waiting_for is not None:
        yield "queued", visible(job.waiting_for)
    if job.summary is not None:
        yield "now", visible(job.summary)
    if job.ended is not None:
        yield "ended", f"{moment(job.ended)} {_result(job)}"
    if job.leftovers:
        yield (
            "leftovers",
            f"{numbers.counted(job.leftovers, 'process')} {live_on(job.leftovers)}; "
            f"corral stop {job.id} {ends_them(job.leftovers)}",
        )
    yield "stdin", stdin
    yield "limits", _limits(job) + _retries(job)
    yield "usage", _usage(job)
    yield "output", _output(job)


def _stdin(detail: Detail) -> str:
    if detail.job.from_ is not None:
        return f"the stdout of job {detail.job.from_}"
    return detail.job.stdin if detail.stdin_path is None else visible(detail.stdin_path)


def _parent(job: Job) -> str:
    return f", within job {job.parent}" if job.parent is not None else ""


def _result(job: Job) -> str:
    status = "" if job.exit_status is None else f"exit status {job.exit_status}"
    reason = visible(reason_text(job.state, job.reason) or "")
    return ", ".join(part for part in (reason, status) if part)


def _limits(job: Job) -> str:
    timeout = "no timeout" if job.timeout is None else f"timeout {format_duration(job.timeout)}"
    grace = format_duration(job.stop_grace)
    stuck = f"{format_duration(job.stuck_after)}{', and then stopped' if job.on_stuck == 'stop' else ''}"
    kept = (
        "all output kept" if job.max_output is None else f"{format_size(job.max_output)} of each output kept"
    )
    return f"{timeout}; stuck after {stuck}; stop with {job.stop_signal}, KILL after {grace}; {kept}"


def _retries(job: Job) -> str:
    if not job.retries:
        return ""
    return f"; tried again up to {numbers.counted(job.retries, 'time')}, after {format_duration(job.retry_delay)}"


def _usage(job: Job) -> str:
    seconds = "-" if job.cpu_seconds is None else f"{job.cpu_seconds:.1f} s"
    parts = [f"cpu {seconds}"]
    if not job.is_ended:
        share = "" if job.cpu_percent is None else f"{numbers.cpu(job.cpu_percent)} % "
        parts = [f"cpu {share}({seconds})" if share else parts[0], f"memory {numbers.size(job.memory_bytes)}"]
    parts.append(f"peak memory {numbers.size(job.peak_memory_bytes)}")
    if job.processes:
        parts.append(numbers.counted(job.processes, "process"))
    return ", ".join(parts)


def _output(job: Job) -> str:
    parts = [f"stdout {numbers.size(job.stdout_bytes)}", f"stderr {numbers.size(job.stderr_bytes)}"]
    dropped = job.stdout_dropped_bytes + job.stderr_dropped_bytes
    if dropped:
        parts.append(f"dropped {numbers.size(dropped)}")
    parts += [text for text in truncated_in_short(job)[:1] if text]
    if job.output != "file":
        parts.append("through a relay")
    if job.last_output is not None:
        parts.append(f"last at {moment(job.last_output)}")
    return ", ".join(parts)


_STAGE_HEADER = ("N", "NAME", "PID", "STATE", "EXIT", "CPU%", "MEM", "READ", "WRITTEN", "WHY")
_PIPE_HEADER = ("N", "FROM", "TO", "FILL", "CAPACITY", "RATE", "TOTAL", "LIMITED BY")
_TREE_HEADER = ("PID", "NAME", "WHERE", "STATE", "CPU%", "MEM", "DOES")


def _stage(job: Job, stage: Stage) -> tuple[str, ...]:
    end = stage.signal if stage.signal is not None else _number(stage.exit_status)
    return (
        str(stage.number),
        visible(stage.name),
        _number(stage.pid),
        stage.state,
        end,
        numbers.cpu(stage.cpu_percent),
        numbers.size(stage.memory_bytes),
        numbers.size(stage.read_bytes),
        numbers.size(stage.written_bytes),
        visible(stage.reason or time_words(job, stage, 40) or stage.waits or "-"),
    )


def _pipe(pipe: Pipe) -> tuple[str, ...]:
    return (
        str(pipe.number),
        str(pipe.from_stage),
        str(pipe.to_stage),
        numbers.size(pipe.fill_bytes),
        numbers.size(pipe.capacity_bytes),
        _at_most(pipe, numbers.rate(pipe.bytes_per_second)),
        _at_most(pipe, numbers.size(pipe.bytes_total)),
        pipe.limited_by or "-",
    )


def _at_most(pipe: Pipe, words: str) -> str:
    """Mark upper bounds: the kernel counts per process, and a stage may also read and write something else."""
    return words if pipe.exact or words == numbers.UNKNOWN else f"≤{words}"


def _process(process: ProcessView) -> tuple[str, ...]:
    return (
        str(process.pid),
        visible(process.name),
        process.where,
        process.state,
        numbers.cpu(process.cpu_percent),
        numbers.size(process.memory_bytes),
        visible(process.does or "-"),
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]
) -> Iterator[StyledLine]:
    if not rows:
        return
    yield from _heading(title)
    width = width_of(sys.stdout)
    lines = lay_out(header, rows, frozenset(right), None if width is None else width - 2)
    for number, line in enumerate(lines):
        yield StyledLine(f"  {line}", MUTED if number == 0 else "")


def _life(events: Sequence[JobEvent]) -> Iterator[StyledLine]:
    if events:
        yield from _heading("EVENTS")
    for event in events:
        yield StyledLine(f"  {moment(event.at)}  {visible(event.text)}")


def _earlier(detail: Detail) -> Iterator[StyledLine]:
    if detail.earlier_runs:
        yield from _heading("EARLIER RUNS")
    for run, state, elapsed in detail.earlier_runs:
        yield StyledLine(f"  {run}  {state.replace('_', ' ')}  {numbers.duration(elapsed)}")


def _heading(title: str) -> Iterator[StyledLine]:
    yield StyledLine()
    yield StyledLine(title, HEADING)

"""What `corral clean` says: the jobs that would go, a line for each rule, and what was done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from corral.service.protocol import CleanJobs
from corral.values.rules import CleanReport, OldJob, RuleShare
from corral.values.sizes import format_size
from corral.values.units import format_duration
from corral_tui import numbers
from corral_tui.cli.columns import lay_out
from corral_tui.cli.plain import visible

_HEADER = ("ID", "NAME", "STATE", "ENDED", "SIZE", "COMMAND")
_NUMBERS = frozenset({0, 4})


def listing_lines(plan: CleanReport, width: int | None) -> Iterator[str]:
    """The jobs that would go, oldest first, and the folders without a job; nothing where there are none."""
    if plan.jobs:
        yield from lay_out(_HEADER, [_row(job) for job in plan.jobs], _NUMBERS, width)
    for folder in plan.folders:
        touched = _time(folder.touched)
        yield f"jobs/{folder.name}  last written {touched}  {numbers.size(folder.size)}  no job has it"


def _row(job: OldJob) -> tuple[str, ...]:
    return (
        str(job.id),
        job.name or "-",
        job.state,
        _time(job.ended),
        numbers.size(job.size),
        visible(job.command),
    )


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def plan_lines(plan: CleanReport, request: CleanJobs) -> Iterator[str]:
    """A line for each rule, for the folders without a job, for all together, and for what is spared."""
    if not (plan.jobs or plan.folders):
        yield f"nothing to clean: {numbers.counted(plan.ended, 'ended job')}, {numbers.size(plan.size)} of output"
        yield from _spared(plan)
        return
    rows = [(_rule(share, request), _jobs(share.jobs), numbers.size(share.size)) for share in plan.shares]
    if plan.folders:
        names = ", ".join(f"jobs/{folder.name}" for folder in plan.folders[:8])
        more = ", …" if len(plan.folders) > 8 else ""
        size = sum(folder.size for folder in plan.folders)
        folders = numbers.counted(len(plan.folders), "folder")
        rows.append((f"no job has {names}{more}", folders, numbers.size(size)))
    if len(rows) > 1:
        rows.append(("together", _jobs(len(plan.jobs)), numbers.size(_freed(plan))))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for rule, count, freed in rows:
        yield f"{rule:<{first}}  {count:>{second}}  {freed:>5}"
    yield from _spared(plan)


def removed_line(done: CleanReport) -> str:
    """`123 jobs deleted, 3.3G freed`."""
    folders = f" and {numbers.counted(len(done.folders), 'folder')}" if done.folders else ""
    count = sum(share.jobs for share in done.shares)
    return f"{_jobs(count)}{folders} deleted, {numbers.size(_freed(done))} freed"


def _freed(report: CleanReport) -> int:
    of_jobs = sum(share.size for share in report.shares)
    return of_jobs + sum(folder.size for folder in report.folders)


def _jobs(count: int) -> str:
    return numbers.counted(count, "job")


def _rule(share: RuleShare, request: CleanJobs) -> str:
    limit = share.limit or 0
    if share.rule == "age":
        return f"ended more than {format_duration(limit)} ago"
    if share.rule == "number":
        return f"beyond the newest {int(limit)}"
    if share.rule == "size":
        return f"beyond {format_size(int(limit))} of output"
    ago = "" if request.older_than is None else f"ended more than {format_duration(request.older_than)} ago"
    beyond = "" if request.keep is None else f"beyond the newest {request.keep}"
    return " and ".join(filter(None, (ago, beyond)))


def _spared(plan: CleanReport) -> Iterator[str]:
    """What a rule would take, but is needed."""
    for reason, count in sorted(plan.spared.items()):
        yield f"kept: {_jobs(count)}: {reason}"

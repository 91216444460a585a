"""`corral clean`: deletes ended jobs by the configured rules or by those given as options."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from corral.journal.reader import JournalReader
from corral.model.errors import NotSoError
from corral.model.retention import CleanReport, OldJob, RuleShare, as_ranges
from corral.model.units import format_duration, format_size
from corral.protocol.requests import CleanJobs
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.options import DURATION
from corral_tui.text import numbers
from corral_tui.text.columns import lay_out
from corral_tui.text.phrases import moment
from corral_tui.text.terminal_output import is_terminal, say, visible, width_of


@click.command(
    "clean",
    short_help="Delete old jobs with their output.",
    epilog="Example: corral clean --older-than 7d --dry-run",
)
@click.option("--older-than", type=DURATION, help="Jobs that ended longer ago than this.")
@click.option("--keep", metavar="N", type=click.IntRange(min=0), help="All but the newest N ended jobs.")
@click.option("--dry-run", is_flag=True, help="List what would go; delete nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(older_than: float | None, keep: int | None, dry_run: bool, yes: bool) -> int:
    """Delete old jobs with their output, by the rules by which the daemon cleans regularly. There is no way back.

    With an option, only the jobs that it names are deleted; with both, only the jobs that match both. Jobs that have
    not ended, and jobs that something still needs, are never deleted.
    """
    if not _has_anything_to_clean():
        say("nothing to clean: no job has ended")
        return 0
    request = CleanJobs(plan=True, older_than=older_than, keep=keep)
    with connect.daemon() as client:
        plan = client.call(request)
        for notice in plan.notices:
            complain(f"settings: {notice}")
        say(*_plan_text(plan, request, dry_run=dry_run))
        if dry_run or not (plan.jobs or plan.folders):
            return 0
        if yes:
            request.plan = False
        elif _is_confirmed():
            request = _only_what_was_shown(plan, request)
        else:
            say("nothing was deleted")
            return 1
        done = client.call(request)
    say(removed_line(done))
    complain(*done.errors)
    return 1 if done.errors else 0


def _has_anything_to_clean() -> bool:
    """Whether to ask a daemon at all: if none runs, the journal and the output folder tell."""
    home = chosen_home()
    with connect.running_daemon() as client:
        if client is not None:
            return True
    if os.path.isdir(home.jobs) and os.listdir(home.jobs):
        return True
    reader = JournalReader.open(home)
    try:
        return bool(reader.ids())
    finally:
        reader.close()


def _plan_text(plan: CleanReport, request: CleanJobs, *, dry_run: bool) -> Iterator[str]:
    if dry_run:
        yield from listing_lines(plan, width_of(sys.stdout))
    yield from plan_lines(plan, request)


def _only_what_was_shown(plan: CleanReport, request: CleanJobs) -> CleanJobs:
    """A request for what was shown, without jobs that have become old enough since."""
    return CleanJobs(
        older_than=request.older_than,
        keep=request.keep,
        only=as_ranges(job.id for job in plan.jobs),
        folders=tuple(folder.name for folder in plan.folders),
    )


def _is_confirmed() -> bool:
    """Ask the user. Raises NotSoError if there is no terminal to ask on."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise NotSoError(
            "clean: nothing was deleted, since there is no terminal to ask on; -y deletes without asking"
        )
    sys.stdout.write("Delete them? There is no way back. [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say("")
    return answer.strip().lower() in ("y", "yes")


_HEADER = ("ID", "NAME", "STATE", "ENDED", "SIZE", "COMMAND")
_NUMBERS = frozenset({0, 4})


def listing_lines(plan: CleanReport, width: int | None) -> Iterator[str]:
    """The jobs that would be deleted, oldest first, and the folders without a job."""
    if plan.jobs:
        yield from lay_out(_HEADER, [_row(job) for job in plan.jobs], _NUMBERS, width)
    for folder in plan.folders:
        touched = _time(folder.touched)
        yield f"jobs/{folder.name}  last written {touched}  {numbers.size(folder.size)}  belongs to no job"


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
    return moment(datetime.fromtimestamp(seconds, UTC))


def plan_lines(plan: CleanReport, request: CleanJobs) -> Iterator[str]:
    """A line for each rule, for the folders without a job, for the total, and for what is kept."""
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
        rows.append((f"{names}{more}, of no job", folders, numbers.size(size)))
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
    """What matches a rule but is still needed."""
    for reason, count in sorted(plan.spared.items()):
        yield f"kept: {_jobs(count)}: {reason}"

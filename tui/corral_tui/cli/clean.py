"""`corral clean`: ended jobs go by the rules, or those that are selected."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from corral.decide.reader import JournalReader
from corral.service.protocol import CleanJobs
from corral.values.errors import NotSoError
from corral.values.rules import CleanReport, as_ranges
from corral_tui.cli import reach
from corral_tui.cli.cleaning_text import listing_lines, plan_lines, removed_line
from corral_tui.cli.guard import complain
from corral_tui.cli.homes import chosen_home
from corral_tui.cli.options import DURATION
from corral_tui.cli.plain import is_terminal, say, width_of


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
    """Delete old jobs with their output, by the rules that the daemon cleans by now and then. There is no way back.

    With an option only what it names goes, with both only what both name. Jobs that have not ended, and those that
    something still needs, never go.
    """
    if not _has_any():
        say("nothing to clean: no job has ended")
        return 0
    request = CleanJobs(plan=True, older_than=older_than, keep=keep)
    with reach.daemon() as client:
        plan = client.call(request)
        for notice in plan.notices:
            complain(f"settings: {notice}")
        for line in _said_before(plan, request, dry_run=dry_run):
            say(line)
        if dry_run or not (plan.jobs or plan.folders):
            return 0
        if yes:
            request.plan = False
        elif _is_wanted():
            request = _just_that(plan, request)
        else:
            say("nothing was deleted")
            return 1
        done = client.call(request)
    say(removed_line(done))
    for line in done.errors:
        complain(line)
    return 1 if done.errors else 0


def _has_any() -> bool:
    """Whether a daemon is worth asking: where none runs, the journal and the folder of output say it too."""
    home = chosen_home()
    with reach.running_daemon() as client:
        if client is not None:
            return True
    if os.path.isdir(home.jobs) and os.listdir(home.jobs):
        return True
    reader = JournalReader.open(home)
    try:
        return bool(reader.ids())
    finally:
        reader.close()


def _said_before(plan: CleanReport, request: CleanJobs, *, dry_run: bool) -> Iterator[str]:
    if dry_run:
        yield from listing_lines(plan, width_of(sys.stdout))
    yield from plan_lines(plan, request)


def _just_that(plan: CleanReport, request: CleanJobs) -> CleanJobs:
    """What was shown, and nothing that has grown old since."""
    return CleanJobs(
        older_than=request.older_than,
        keep=request.keep,
        only=as_ranges(job.id for job in plan.jobs),
        folders=tuple(folder.name for folder in plan.folders),
    )


def _is_wanted() -> bool:
    """Ask. Raises NotSoError where nobody can be asked."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise NotSoError(
            "clean: nothing was deleted, since nobody can be asked here; -y deletes without asking"
        )
    sys.stdout.write("Delete them? There is no way back. [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say()
    return answer.strip().lower() in ("y", "yes")

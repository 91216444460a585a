"""`corral signal`, `corral pause` and `corral resume`."""

from __future__ import annotations

import click

from corral.model.errors import UsageError
from corral.protocol.requests import PauseJobs, ResumeJobs, SignalJobs
from corral_tui.cli.support.options import SIGNAL, ids_argument
from corral_tui.cli.support.outcomes import send_and_report
from corral_tui.cli.support.usable_jobs import is_paused, is_running, is_started


@click.command(
    "signal", short_help="Send a signal, and do nothing else.", epilog="Example: corral signal --tree USR1 7"
)
@click.option("--tree", is_flag=True, help="To every process of the job, not only the leaders.")
@click.option("--stage", type=click.IntRange(min=1), help="Only to the processes of this stage.")
@click.option("--pid", type=click.IntRange(min=2), help="Only to this process of the job.")
@click.argument("number", metavar="SIG", type=SIGNAL)
@ids_argument(usable=is_started)
def signal(tree: bool, stage: int | None, pid: int | None, number: str, ids: tuple[str, ...]) -> int:
    """Send a signal to the leader (the first process) of each stage of these jobs."""
    if sum((tree, stage is not None, pid is not None)) > 1:
        raise UsageError("signal: --tree, --stage and --pid exclude each other; give one")
    return send_and_report(SignalJobs(ids=ids, signal=number, tree=tree, stage=stage, pid=pid))


@click.command(
    "pause", short_help="Suspend jobs with all their processes.", epilog="Example: corral pause build"
)
@ids_argument(usable=is_running)
def pause(ids: tuple[str, ...]) -> int:
    """Suspend jobs with all their processes; `corral resume` lets them continue.

    Paused time does not count towards timeouts.
    """
    return send_and_report(PauseJobs(ids=ids))


@click.command("resume", epilog="Example: corral resume build")
@ids_argument(usable=is_paused)
def resume(ids: tuple[str, ...]) -> int:
    """Let paused jobs continue."""
    return send_and_report(ResumeJobs(ids=ids))

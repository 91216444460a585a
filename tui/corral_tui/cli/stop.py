"""`corral stop`: the stop sequence, to the proof that nothing is left."""

from __future__ import annotations

import click

from corral.service.protocol import StopJobs
from corral_tui.cli.options import DURATION, SIGNAL, ids_argument, json_option
from corral_tui.cli.stopping import stop_jobs
from corral_tui.cli.usable import has_what_to_stop


@click.command(
    "stop",
    short_help="End jobs, with whatever they started.",
    epilog="Example: corral stop --grace 30s build 7",
)
@click.option(
    "-s", "--signal", "first", type=SIGNAL, help="Send this first, in place of the job's stop signal."
)
@click.option("--grace", type=DURATION, help="Time from the first signal to KILL.")
@click.option("--stage", type=click.IntRange(min=1), help="Only this stage of the job.")
@click.option("--all", "everything", is_flag=True, help="All jobs that have not ended.")
@click.option("--no-wait", is_flag=True, help="Return at once; the stop goes on.")
@json_option
@ids_argument(required=False, usable=has_what_to_stop)
def command(
    first: str | None,
    grace: float | None,
    stage: int | None,
    everything: bool,
    no_wait: bool,
    as_json: bool,
    ids: tuple[str, ...],
) -> int:
    """End jobs, with whatever they started, and say how each process ended.

    The stop signal goes to the whole tree, KILL follows after the grace. Exits with 0 only if nothing is left.
    """
    request = StopJobs(
        ids=ids,
        all=everything,
        signal=first,
        grace=grace,
        stage=stage,
        wait=not no_wait,
        by="by corral stop",
    )
    return stop_jobs(request, verb="stop", as_json=as_json)

"""`corral ps`: the options for click. The work and the fast path are in `ps_list`."""

from __future__ import annotations

import click

from corral_tui.cli.jobs import ps_list
from corral_tui.cli.support.options import ids_argument


def _states() -> click.Choice[str]:
    return click.Choice(ps_list.CHOICES["--state"][1])


@click.command("ps", epilog="Example: corral ps --health stuck -q")
@click.option("-a", "--all", "everything", is_flag=True, help="List ended jobs too.")
@click.option("-q", "--quiet", "only_ids", is_flag=True, help="Print only the ids, one a line.")
@click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    type=_states(),
    help=f"Only jobs in this state: {', '.join(ps_list.CHOICES['--state'][1])}.",
)
@click.option(
    "--health",
    "healths",
    multiple=True,
    type=click.Choice(ps_list.CHOICES["--health"][1]),
    help="Only jobs of this health.",
)
@click.option(
    "--sort",
    "sorts",
    multiple=True,
    type=click.Choice(ps_list.CHOICES["--sort"][1]),
    help="Order of the list. health: stuck jobs first; cpu, memory, time: the largest first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@ids_argument(required=False)
def command(**options: object) -> int:
    """List the jobs that have not ended, or those that you name."""
    return ps_list.list_jobs(ps_list.ListOptions(**options))  # type: ignore[arg-type]

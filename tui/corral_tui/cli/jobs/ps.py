"""`corral ps`: the options for click. The work and the fast path are in `ps_list`."""

from __future__ import annotations

from collections.abc import Callable

import click

from corral_tui.cli.jobs import ps_list
from corral_tui.cli.support.options import Function, ids_argument


def _choices(option: str, words: str, metavar: str | None = None) -> Callable[[Function], Function]:
    name, allowed = ps_list.CHOICES[option]
    return click.option(option, name, multiple=True, type=click.Choice(allowed), metavar=metavar, help=words)


@click.command("ps", epilog="Example: corral ps --health stuck -q")
@click.option("-a", "--all", "everything", is_flag=True, help="List ended jobs too.")
@click.option("-q", "--quiet", "only_ids", is_flag=True, help="Print only the ids, one a line.")
@_choices("--state", f"Only jobs in this state: {', '.join(ps_list.CHOICES['--state'][1])}.", metavar="STATE")
@_choices("--health", "Only jobs of this health.")
@_choices("--sort", "Order of the list. health: stuck jobs first; cpu, memory, time: the largest first.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@ids_argument(required=False)
def command(**options: object) -> int:
    """List the jobs that have not ended, or those that you name."""
    return ps_list.list_jobs(ps_list.ListOptions(**options))  # type: ignore[arg-type]

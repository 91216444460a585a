"""`corral rm`: deletes ended jobs with their output."""

from __future__ import annotations

import click

from corral.protocol.requests import RemoveJobs
from corral_tui.cli.support.options import ids_argument
from corral_tui.cli.support.outcomes import send_and_report
from corral_tui.cli.support.usable_jobs import is_removable


@click.command("rm", epilog="Example: corral rm --force build 7")
@click.option("--force", is_flag=True, help="First stop the jobs that still run.")
@ids_argument(usable=is_removable)
def command(force: bool, ids: tuple[str, ...]) -> int:
    """Delete ended jobs with their output. There is no way back."""
    return send_and_report(RemoveJobs(ids=ids, force=force))

"""`corral pause`: stops the clock of a job and of whatever it started."""

from __future__ import annotations

import click

from corral.service.protocol import PauseJobs
from corral_tui.cli.options import ids_argument
from corral_tui.cli.outcomes import carry_out
from corral_tui.cli.usable import is_running


@click.command(
    "pause", short_help="Suspend jobs with all their processes.", epilog="Example: corral pause build"
)
@ids_argument(usable=is_running)
def command(ids: tuple[str, ...]) -> int:
    """Suspend jobs with all their processes; `corral resume` lets them go on. The time counts for no timeout."""
    return carry_out(PauseJobs(ids=ids))

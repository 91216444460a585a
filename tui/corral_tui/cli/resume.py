"""`corral resume`: lets paused jobs go on."""

from __future__ import annotations

import click

from corral.service.protocol import ResumeJobs
from corral_tui.cli.options import ids_argument
from corral_tui.cli.outcomes import carry_out
from corral_tui.cli.usable import is_paused


@click.command("resume", epilog="Example: corral resume build")
@ids_argument(usable=is_paused)
def command(ids: tuple[str, ...]) -> int:
    """Let paused jobs go on."""
    return carry_out(ResumeJobs(ids=ids))

"""`corral` alone: the dashboard, where there is a terminal to show it on."""

from __future__ import annotations

import os
import sys

from corral.values.errors import NotSoError
from corral_tui.cli.home import chosen_home
from corral_tui.cli.terminal_output import is_terminal


def open_dashboard() -> int:
    """Show the dashboard until the user leaves it. Raises NotSoError where no screen can be shown."""
    refuse_without_terminal()
    from corral_tui.dashboard.start import run_dashboard

    return run_dashboard(chosen_home())


def refuse_without_terminal() -> None:
    """Raises NotSoError unless keys can be read from stdin and a screen painted on stdout."""
    for stream, what in ((sys.stdin, "stdin"), (sys.stdout, "stdout")):
        if stream is None or not is_terminal(stream):
            raise NotSoError(f"the dashboard needs a terminal, and {what} is none; corral ps lists the jobs")
    if os.environ.get("TERM") in ("dumb", "", None):
        raise NotSoError(
            "the dashboard needs a terminal that can place text, and TERM names none; corral ps lists the jobs"
        )

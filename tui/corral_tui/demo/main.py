"""`corral demo`: real jobs of every kind in a home of their own, on the dashboard or as plain lines."""

from __future__ import annotations

import sys

import click

from corral_tui.lazy import load
from corral_tui.text.terminal_output import is_terminal


@click.command(
    "demo",
    short_help="Try it with real jobs, which end when you leave.",
    epilog="Example: corral demo --plain",
)
@click.option("--plain", is_flag=True, help="No dashboard: run each kind of job once, and check the results.")
def command(plain: bool) -> int:
    """Show a set of real jobs, in a CORRAL_HOME of their own. When you leave, they end, with proof."""
    is_plain = plain or not (is_terminal(sys.stdin) and is_terminal(sys.stdout))
    status: int = load(
        "corral_tui.demo.plain:run_plain" if is_plain else "corral_tui.demo.screen:run_on_screen"
    )()
    return status

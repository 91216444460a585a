"""`corral` without a verb: opens the dashboard on the terminal."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

from corral.client.session import Session
from corral.model.errors import NotSoError
from corral.model.home import Home
from corral_tui.cli.support.home import chosen_home
from corral_tui.lazy import load
from corral_tui.text.terminal_output import is_terminal


def open_dashboard() -> int:
    """Show the dashboard until the user leaves it. Raises NotSoError if there is no suitable terminal."""
    refuse_without_terminal()
    return asyncio.run(_connect_and_show(chosen_home()))


async def _connect_and_show(home: Home) -> int:
    """Connect to the home's daemon while Textual is being imported, and show the dashboard. Returns its exit status.

    Raises CorralError if no daemon answers and none can be started.
    """
    connecting = asyncio.ensure_future(Session.connect(home, origin="dashboard"))
    gc.disable()  # what is imported stays: to look through it for garbage takes a tenth of the time
    try:
        # The import holds the interpreter's lock most of the time, but not while the daemon starts.
        show = await asyncio.to_thread(load, "corral_tui.dashboard.start:show")
    finally:
        gc.freeze()
        gc.enable()
        source = await connecting
    try:
        status: int = await show(source)
    finally:
        await source.close()
    return status


def refuse_without_terminal() -> None:
    """Raise NotSoError unless stdin and stdout are terminals that can show a screen."""
    for stream, what in ((sys.stdin, "stdin"), (sys.stdout, "stdout")):
        if stream is None or not is_terminal(stream):
            raise NotSoError(f"the dashboard needs a terminal, and {what} is none; corral ps lists the jobs")
    if os.environ.get("TERM") in ("dumb", "", None):
        raise NotSoError(
            "the dashboard needs a full-screen terminal, and TERM names none; corral ps lists the jobs"
        )

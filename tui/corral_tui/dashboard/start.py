"""Starting the dashboard: the daemon is reached while Textual is still being imported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from corral.service.source import Source
from corral.values.home import Home

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp

Prepare = Callable[["DashboardApp"], None]

FIRST_SNAPSHOT = 0.25
"""Seconds to wait for the first snapshot, so that the first paint already shows the jobs."""


def run_dashboard(home: Home) -> int:
    """The dashboard of that home's daemon, until the user leaves it; the exit status.

    Raises CorralError where no daemon answers and none can be started.
    """
    return asyncio.run(_run(home))


def run_dashboard_on(source: Source, prepare: Prepare | None = None) -> int:
    """The dashboard on a source that is there already.

    `prepare` gets the app before it starts, as the demo wants: it may set `app.strip` and call `app.on_action`.
    """
    return asyncio.run(show(source, prepare))


async def _run(home: Home) -> int:
    from corral.service.session import Session

    connecting = asyncio.ensure_future(Session.connect(home, origin="dashboard"))
    try:
        # The import holds the interpreter's lock most of the time, but not while the daemon starts.
        await asyncio.to_thread(_import_app)
    finally:
        source = await connecting
    try:
        return await show(source)
    finally:
        await source.close()


def _import_app() -> None:
    import corral_tui.dashboard.app  # noqa: F401


async def show(source: Source, prepare: Prepare | None = None) -> int:
    """`run_dashboard_on`, on the running loop."""
    from corral_tui.dashboard.app import DashboardApp
    from corral_tui.dashboard.settings import read_settings

    coming = asyncio.ensure_future(source.changed())
    await source.subscribe()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(coming, FIRST_SNAPSHOT)
    app = DashboardApp(source, settings=read_settings(source.home))
    if prepare is not None:
        prepare(app)
    app.take_signals()
    await app.run_async()
    return app.return_code or 0

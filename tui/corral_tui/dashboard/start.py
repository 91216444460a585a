"""Starting the dashboard. With this module Textual is imported; so it is loaded by name, once a dashboard is wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from corral.client.source import Source
from corral_tui.dashboard.app import DashboardApp
from corral_tui.settings.dashboard import read_settings

FIRST_SNAPSHOT = 0.25
"""Seconds to wait for the first snapshot, so that the first paint already shows the jobs."""


async def show(source: Source, prepare: Callable[[DashboardApp], None] | None = None) -> int:
    """The dashboard on a source, until the user leaves it; the exit status.

    `prepare` gets the app before it starts, as the demo wants: it may set `app.strip` and call `app.on_action`.
    """
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

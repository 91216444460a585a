"""Running the dashboard on a fake source, and reading its screen as text."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.board.screen import BoardScreen
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import UNICODE, Charset
from tui.fake_jobs import fixed_clock
from tui.fake_source import FakeSource

SNAPSHOTS = Path(__file__).parent / "snapshots"


async def until(condition: Callable[[], object], what: str, *, seconds: float = 30.0) -> None:
    """Let the app go on until `condition` is true; AssertionError that names it at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(min(max(0.005, 2 * (now - asked)), 0.1))


def screen_text(app: DashboardApp) -> str:
    """What is on the screen, line by line, without blanks at the ends of lines."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips()) + "\n"


def board_of(app: DashboardApp) -> BoardScreen:
    """The main screen, wherever it is in the stack."""
    return next(screen for screen in app.screen_stack if isinstance(screen, BoardScreen))


@asynccontextmanager
async def running(
    source: FakeSource,
    size: tuple[int, int] = (80, 24),
    *,
    charset: Charset = UNICODE,
    settings: Settings | None = None,
    clock: Callable[[], Any] = fixed_clock,
) -> AsyncIterator[tuple[DashboardApp, Pilot[int]]]:
    """The dashboard, drawn for the first time, its sparks filled."""
    app = DashboardApp(source, charset=charset, settings=settings, clock=clock)
    async with app.run_test(size=size) as pilot:
        screen = board_of(app)
        await until(lambda: screen.board.view_state is not None, "a first paint")
        await until(
            lambda: not screen.history.missing(screen.board.visible_jobs(), clock()),
            "the past of the visible jobs",
        )
        await pilot.pause()
        yield app, pilot


async def shown(app: DashboardApp, condition: Callable[[str], bool], what: str) -> str:
    """The screen's text, once it fulfils the condition and nothing waits to be laid out: a title comes a frame earlier."""

    def is_there() -> bool:
        is_at_rest = not (app.screen._layout_required or app.screen._dirty_widgets)
        return is_at_rest and condition(screen_text(app))

    await until(is_there, what)
    return screen_text(app)


def is_as_kept(app: DashboardApp, name: str) -> bool:
    """Whether the screen is as in `snapshots/NAME.txt`; True where the file is to be written."""
    if os.environ.get("CORRAL_UPDATE_SNAPSHOTS") == "1":
        return True
    return screen_text(app) == (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")


def assert_snapshot(app: DashboardApp, name: str) -> None:
    """The screen is as in `snapshots/NAME.txt`; CORRAL_UPDATE_SNAPSHOTS=1 writes the file instead."""
    path, text = SNAPSHOTS / f"{name}.txt", screen_text(app)
    if os.environ.get("CORRAL_UPDATE_SNAPSHOTS") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        f"{path.name} differs; look, then CORRAL_UPDATE_SNAPSHOTS=1"
    )

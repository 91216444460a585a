"""Waiting until what a dialog or an opened job wants to show is what stands on the screen."""

from __future__ import annotations

from contextlib import suppress

from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.paint.block_widgets import Block, ScrolledLines
from tui.screens import assert_snapshot, is_as_kept, until


def is_settled(app: DashboardApp) -> bool:
    """Whether each visible block has as many rows as it has lines, and nothing waits for a layout."""
    if app.screen._layout_required or app.screen._dirty_widgets:
        return False
    views = [view for view in app.screen.query(ScrolledLines) if view.display and view.size.width]
    if not all(_has_its_scrollbar(view) for view in views):
        return False
    blocks = [block for block in app.screen.query(Block) if block.display and block.size.width]
    return all(block.size.height == len(block.lines) for block in blocks if block.styles.height.is_auto)  # type: ignore[union-attr]


def _has_its_scrollbar(view: ScrolledLines) -> bool:
    """Whether a scrollbar is laid out just where lines are more than rows."""
    is_laid_out = view.show_vertical_scrollbar and view.vertical_scrollbar.region.height > 0
    return is_laid_out == (len(view.lines) > view.outer_size.height)


async def assert_settled_snapshot(app: DashboardApp, name: str) -> None:
    """`assert_snapshot`, once nothing waits to be laid out, or for an answer: a block that grew has its rows one frame later."""
    await until(lambda: is_settled(app), "the layout to settle")
    with suppress(AssertionError):
        await until(lambda: is_settled(app) and is_as_kept(app, name), "the screen that was kept", seconds=5)
    assert_snapshot(app, name)
